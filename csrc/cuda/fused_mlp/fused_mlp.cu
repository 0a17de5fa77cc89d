// The kernel that has the sums of all gradients in shared memory; see fused_mlp.h. Products are cut into tiles of 16 x 16, divided among warps, which finish a tile's sums in registers. Every sum
// has one owner and a fixed order. Rows beyond the batch and columns beyond a layer hold whatever the activation makes of 0, and
// gradients of 0.
#include "cuda/fused_mlp/fused_mlp.h"

#include <type_traits>

#include "cuda/device_rows.h"
#include "cuda/fused_mlp/ends.h"
#include "cuda/runtime/device_data.h"
#include "cuda/runtime/port.h"

namespace fd::cuda {
namespace {

constexpr int tile_numbers = 256, sum_warps = 8;

// How the warps share the tiles of a product: `strips` of them side by side, in `groups`; some warps may have none.
template <int warps>
struct Share {
    int strips, groups, strip, group;
    __device__ explicit Share(int col_tiles) : strips(mlp_strips(warps, col_tiles)), groups(warps / strips) {
        const int warp = int(threadIdx.x) >> 5;
        strip = warp % strips, group = warp / strips;
    }
};

template <class O>
struct Tile {
    TileSums sums;
    typename Fragments<O>::Stored stored[4];  // numbers in the places of the sums, if the product is to have any
};

// start(tile, row tile, col tile) before, end(same) after; then column(col tile, sums) with what end() has left in `sums`, added up
// over one or two tiles. Tiles are made two by two, one below the other, so that operands are used twice.
template <class O, int warps, bool TA, bool TB, class Start, class End, class Column>
__device__ __forceinline__ void multiply(const typename O::type* a, int lda, const typename O::type* b, int ldb,
                                         int row_tiles, int col_tiles, int length, Start start, End end,
                                         Column column) {
    using F = Fragments<O>;
    using E = typename O::type;
    const Share<warps> share(col_tiles);
    if (share.group >= share.groups) return;
    const int lane = int(threadIdx.x) & 31, step_a = F::k * (TA ? lda : 1), step_b = F::k * (TB ? 1 : ldb);
    a += F::template at_a<TA>(lane, lda), b += F::template at_b<TB>(lane, ldb);
#pragma unroll 1
    for (int c = share.strip; c < col_tiles; c += share.strips)
#pragma unroll 1
        for (int r = share.group; r < row_tiles; r += 2 * share.groups) {
            const int r2 = r + share.groups;
            const bool two = r2 < row_tiles;
            const E *upper = a + 16 * r * (TA ? 1 : lda), *lower = a + 16 * r2 * (TA ? 1 : lda);
            const E* at_b = b + 16 * c * (TB ? ldb : 1);
            Tile<O> t, t2;
            start(t, r, c);
            if (two) start(t2, r2, c);
#pragma unroll 4
            for (int k = 0; k < length; k += F::k) {
                unsigned fa[4], fb[4];
                F::template load_b<TB>(fb, at_b, ldb);
                F::template load_a<TA>(fa, upper, lda);
                multiply_add<O>(t.sums, fa, fb);
                if (two) {
                    F::template load_a<TA>(fa, lower, lda);
                    multiply_add<O>(t2.sums, fa, fb);
                }
                upper += step_a, lower += step_a, at_b += step_b;
            }
            end(t, r, c);
            if (two) {
                end(t2, r2, c);
#pragma unroll
                for (int i = 0; i < 8; ++i) t.sums.v[i] += t2.sums.v[i];
            }
            column(c, t.sums);
        }
}

// Lines of numbers become an operand, 0 where they end; line(l): the address, or null.
template <class O, int threads, class Line>
__device__ __forceinline__ void load_operand(Line line, int width, bool aligned, typename O::type* to, int lines,
                                             int tiles) {
    const int quads = 4 * tiles, ld = 16 * tiles + O::pad;
    for (int e = int(threadIdx.x); e < lines * quads; e += threads) {
        const int l = e / quads, at = e % quads * 4;
        O::store4(to + l * ld + at, four(line(l), 0, 0, line(l) ? 1 : 0, at, width, aligned));
    }
}

template <class O, int warps, bool relu>
__global__ void __launch_bounds__(32 * warps, 16 / warps) mlp_kernel(MlpProgram p, MlpBatch batch) {
    using E = typename O::type;
    using F = Fragments<O>;
    using Stored = typename F::Stored;
    constexpr int threads = 32 * warps;
    FD_DYN_SHARED(char, shared);
    char* const memory = batch.memory + p.block_bytes * blockIdx.x;
    const int thread = int(threadIdx.x), lane = thread & 31;
    const TilePlaces places(lane);
    int64_t* const row_at = reinterpret_cast<int64_t*>(shared + p.places);
    float* const outputs = reinterpret_cast<float*>(shared + p.outputs);
    double* const losses = reinterpret_cast<double*>(shared + p.losses);
    const MlpLayer &bottom = p.layers[0], &last = p.layers[p.count - 1];
    const int ld_outputs = 16 * last.out_tiles + 4, row_tiles = p.rows / 16;
    auto operand = [&](int at) { return reinterpret_cast<E*>(shared + at); };
    auto floats = [&](int at) { return reinterpret_cast<float*>(shared + at); };

    const MlpRows caller(batch);
    const bool x_aligned = batch.x_stride % 16 == 0 && reinterpret_cast<uintptr_t>(caller.x) % 16 == 0;

    for (int l = 0; l < p.count; ++l) {
        const MlpLayer& layer = p.layers[l];
        const float* const kernel = batch.parameters + layer.kernel;
        load_operand<O, threads>([&](int k) { return k < layer.in ? kernel + k * layer.out : nullptr; }, layer.out,
                                 in_quads(kernel, layer.out), operand(layer.weights), 16 * layer.in_tiles,
                                 layer.out_tiles);
        for (int c = thread; c < 16 * layer.out_tiles; c += threads)
            floats(layer.biases)[c] = layer.bias >= 0 && c < layer.out ? batch.parameters[layer.bias + c] : 0;
        const int groups = Share<warps>(layer.out_tiles).groups;
        for (int e = thread; e < groups * 16 * layer.out_tiles; e += threads) floats(layer.bias_sums)[e] = 0;
    }
    for (int r = thread; r < p.rows; r += threads) losses[r] = 0;

    const int64_t tiles = (batch.rows + p.rows - 1) / p.rows;
    for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const bool fresh = tile == blockIdx.x;
        const int64_t first = tile * p.rows;
        const int rows = int(batch.rows - first < p.rows ? batch.rows - first : p.rows);  // that are there
        for (int r = thread; r < rows; r += threads) row_at[r] = caller.place(first + r);
        __syncthreads();
        load_operand<O, threads>(
            [&](int r) {
                return r < rows ? reinterpret_cast<const float*>(caller.x + row_at[r] * batch.x_stride) : nullptr;
            },
            bottom.in, x_aligned, operand(bottom.input), p.rows, bottom.in_tiles);
        __syncthreads();

        for (int l = 0; l < p.count; ++l) {
            const MlpLayer& layer = p.layers[l];
            const bool top = l + 1 == p.count;
            const int ld_to = 16 * layer.out_tiles + O::pad;
            const float* const biases = floats(layer.biases);
            E *const to = top ? nullptr : operand(p.layers[l + 1].input), *const from = operand(layer.input);
            float* const kept = relu || layer.kept < 0 ? nullptr : reinterpret_cast<float*>(memory + layer.kept);
            multiply<O, warps, false, false>(
                from, 16 * layer.in_tiles + O::pad, operand(layer.weights), ld_to, row_tiles, layer.out_tiles,
                16 * layer.in_tiles, [](Tile<O>& t, int, int) { t.sums.clear(); },
                [&](Tile<O>& t, int r, int c) {
                    float (&v)[8] = t.sums.v;
                    auto keep = [&] {
#pragma unroll
                        for (int i = 0; i < 8; i += 2)
                            *reinterpret_cast<float2*>(kept + (16 * r + places.row(i)) * 16 * layer.out_tiles + 16 * c +
                                                       places.col(i)) = float2{v[i], v[i + 1]};
                    };
#pragma unroll
                    for (int i = 0; i < 8; i += 4) {
                        const float2 bias = *reinterpret_cast<const float2*>(biases + 16 * c + places.col(i));
                        v[i] += bias.x, v[i + 1] += bias.y, v[i + 2] += bias.x, v[i + 3] += bias.y;
                    }
                    if (kept && layer.keeps_input) keep();
                    with_activation<relu>(layer.activation, [&](auto f) {
#pragma unroll
                        for (float& z : v) z = f.value(z, layer.alpha);
                    });
                    if (kept && !layer.keeps_input) keep();
#pragma unroll
                    for (int i = 0; i < 8; i += 2) {
                        const int row = 16 * r + places.row(i), col = 16 * c + places.col(i);
                        if (!top) {
                            *reinterpret_cast<Stored*>(to + row * ld_to + col) = F::rounded(v[i], v[i + 1]);
                            continue;
                        }
                        *reinterpret_cast<float2*>(outputs + row * ld_outputs + col) = float2{v[i], v[i + 1]};
                        for (int k = 0; k < 2; ++k)
                            if (batch.outputs && row < rows && col + k < layer.out)
                                batch.outputs[(first + row) * layer.out + col + k] = v[i + k];
                    }
                },
                [](int, const TileSums&) {});
            __syncthreads();
        }

        {  // loss; outputs become gradients of the last layer's sums
            const RowLanes lanes{lane % p.row_lanes, p.row_lanes};
            const float* const kept = last.kept < 0 ? nullptr : reinterpret_cast<float*>(memory + last.kept);
            for (int base = 0; base < p.rows; base += threads / p.row_lanes) {
                const int r = base + thread / p.row_lanes;
                const bool there = r < rows;
                const int64_t row = row_at[there ? r : 0];
                const double loss = loss_to_gradients(p, batch, caller, row, there, outputs + r * ld_outputs,
                                                      kept ? kept + r * 16 * last.out_tiles : nullptr, lanes);
                if (there && lanes.lane == 0) losses[r] += loss;
            }
            __syncthreads();
            load_operand<O, threads>([&](int r) { return outputs + r * ld_outputs; }, last.out, true, operand(p.top),
                                     p.rows, last.out_tiles);
            const int groups = Share<warps>(last.out_tiles).groups, cols = 16 * last.out_tiles;
            for (int e = thread; e < groups * cols; e += threads) {
                float sum = 0;
                for (int r = e / cols; r < p.rows; r += groups) sum += outputs[r * ld_outputs + e % cols];
                floats(last.bias_sums)[e] += sum;
            }
            __syncthreads();
        }

        for (int l = p.count - 1; l >= 0; --l) {
            const MlpLayer& layer = p.layers[l];
            const int ld_in = 16 * layer.in_tiles + O::pad, ld_out = 16 * layer.out_tiles + O::pad;
            const E* const d = operand(l + 1 == p.count ? p.top : p.layers[l + 1].input);
            E* const input = operand(layer.input);
            float4* const sums = reinterpret_cast<float4*>(shared + layer.kernel_sums) + lane;
            auto at = [&](int r, int c) { return sums + (r * layer.out_tiles + c) * (tile_numbers / 4); };
            multiply<O, warps, true, false>(
                input, ld_in, d, ld_out, layer.in_tiles, layer.out_tiles, p.rows,
                [&](Tile<O>& t, int r, int c) {
                    t.sums.clear();
                    if (fresh) return;
                    const float4 left = at(r, c)[0], right = at(r, c)[32];
                    t.sums = {{left.x, left.y, left.z, left.w, right.x, right.y, right.z, right.w}};
                },
                [&](Tile<O>& t, int r, int c) {
                    const float (&v)[8] = t.sums.v;
                    at(r, c)[0] = float4{v[0], v[1], v[2], v[3]}, at(r, c)[32] = float4{v[4], v[5], v[6], v[7]};
                },
                [](int, const TileSums&) {});
            __syncthreads();
            if (l == 0) break;
            const MlpLayer& below = p.layers[l - 1];
            const float* const kept = relu || below.kept < 0 ? nullptr : reinterpret_cast<float*>(memory + below.kept);
            float* const bias_sums = floats(below.bias_sums) + Share<warps>(layer.in_tiles).group * 16 * layer.in_tiles;
            multiply<O, warps, false, true>(
                d, ld_out, operand(layer.weights), ld_out, row_tiles, layer.in_tiles, 16 * layer.out_tiles,
                [&](Tile<O>& t, int r, int c) {
                    t.sums.clear();
#pragma unroll
                    for (int i = 0; i < 8; i += 2)
                        t.stored[i / 2] = *reinterpret_cast<const Stored*>(input + (16 * r + places.row(i)) * ld_in +
                                                                           16 * c + places.col(i));
                },
                [&](Tile<O>& t, int r, int c) {
                    float (&v)[8] = t.sums.v;
                    float stored[8];
#pragma unroll
                    for (int i = 0; i < 8; i += 2) {
                        stored[i] = F::first(t.stored[i / 2]), stored[i + 1] = F::second(t.stored[i / 2]);
                        if (!kept) continue;
                        const float2 exact = *reinterpret_cast<const float2*>(
                            kept + (16 * r + places.row(i)) * 16 * layer.in_tiles + 16 * c + places.col(i));
                        stored[i] = exact.x, stored[i + 1] = exact.y;
                    }
                    with_activation<relu>(below.activation, [&](auto f) {
#pragma unroll
                        for (int i = 0; i < 8; ++i) v[i] *= f.derivative(stored[i], below.alpha);
                    });
#pragma unroll
                    for (int i = 0; i < 8; i += 2)
                        *reinterpret_cast<Stored*>(input + (16 * r + places.row(i)) * ld_in + 16 * c + places.col(i)) =
                            F::rounded(v[i], v[i + 1]);
                },
                [&](int c, const TileSums& s) { add_columns(s, bias_sums + 16 * c, 2, 8); });
            __syncthreads();
        }
    }

    float* const part = batch.parts + int64_t(p.part) * blockIdx.x;
    for (int l = 0; l < p.count; ++l) {
        const MlpLayer& layer = p.layers[l];
        const int count = tile_numbers * layer.in_tiles * layer.out_tiles;
        for (int e = 4 * thread; e < count; e += 4 * threads)
            *reinterpret_cast<float4*>(part + layer.part_kernel + e) =
                *reinterpret_cast<const float4*>(floats(layer.kernel_sums) + e);
        put_bias_part(layer, floats(layer.bias_sums), Share<warps>(layer.out_tiles).groups, part);
    }
    if (thread != 0) return;
    double loss = 0;
    for (int r = 0; r < p.rows; ++r) loss += losses[r];
    batch.loss_parts[blockIdx.x] = loss;
}

// A warp of neighbours, and several warps to the parts of the same 32 numbers.
__global__ void sum_parts_kernel(MlpProgram p, MlpBatch batch, int count) {
    __shared__ float sums[sum_warps][32];
    const int warp = int(threadIdx.x) >> 5, lane = int(threadIdx.x) & 31, i = int(blockIdx.x) * 32 + lane;
    float sum = 0;
    for (int64_t s = warp; s < count && i < p.part; s += sum_warps) sum += batch.parts[s * p.part + i];
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp != 0 || i >= p.part) return;
    for (int w = 1; w < sum_warps; ++w) sum += sums[w][lane];
    for (int l = 0; l < p.count; ++l) {
        const MlpLayer& layer = p.layers[l];
        const int bias = i - layer.part_bias, e = i - layer.part_kernel;
        if (layer.bias >= 0 && bias >= 0 && bias < layer.out)
            for (int s = 0; s < batch.splits[l]; ++s)
                batch.gradients[s * batch.stride + layer.bias + bias] = s ? 0 : sum;
        if (p.by_rows || e < 0 || e >= tile_numbers * layer.in_tiles * layer.out_tiles) continue;
        const int tile = e / tile_numbers, number = e % 4 + e / 128 % 2 * 4;
        const TilePlaces places(e / 4 % 32);
        const int row = tile / layer.out_tiles * 16 + places.row(number),
                  col = tile % layer.out_tiles * 16 + places.col(number);
        if (row < layer.in && col < layer.out) batch.gradients[layer.kernel + row * layer.out + col] = sum;
    }
}

template <class F>
void with_kernel(const MlpProgram& p, Precision precision, F&& f) {
    const bool bf16 = precision == Precision::bf16;
    const auto choose = [&](auto two_blocks, auto relu) {
        constexpr int warps = decltype(two_blocks)::value ? 8 : 16;
        if (bf16) f(mlp_kernel<Bf16Operand, warps, decltype(relu)::value>);
        else f(mlp_kernel<Tf32Operand, warps, decltype(relu)::value>);
    };
    if (p.warps == 8 && p.relu) choose(std::true_type(), std::true_type());
    else if (p.warps == 8) choose(std::true_type(), std::false_type());
    else if (p.relu) choose(std::false_type(), std::true_type());
    else choose(std::false_type(), std::false_type());
}

}  // namespace

int mlp_blocks_per_processor(const MlpProgram& p, Precision precision) {
    if (p.by_rows) return 1;
    int blocks = 0;
    with_kernel(p, precision, [&](auto kernel) {
        allow_shared_memory(reinterpret_cast<const void*>(kernel));
        FD_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, 32 * p.warps, p.shared_bytes));
    });
    return blocks > 1 ? blocks : 1;
}
void mlp_step(const MlpProgram& p, const MlpBatch& batch, Precision precision, int64_t blocks, cudaStream_t stream) {
    if (p.by_rows) return mlp_rows_step(p, batch, precision, blocks, stream);
    with_kernel(p, precision, [&](auto mlp) {
        FD_LAUNCH(mlp, unsigned(blocks), unsigned(32 * p.warps), p.shared_bytes, stream, p, batch);
    });
}
void mlp_sum_parts(const MlpProgram& p, const MlpBatch& batch, int64_t blocks, cudaStream_t stream) {
    if (!p.part) return;
    FD_LAUNCH(sum_parts_kernel, unsigned((p.part + 31) / 32), 32 * sum_warps, 0, stream, p, batch, int(blocks));
}

}  // namespace fd::cuda
