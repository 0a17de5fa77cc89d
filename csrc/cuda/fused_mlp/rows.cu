// The kernel that leaves the gradients of kernels to products; see fused_mlp.h. Every warp has rows of its own and waits for no other.
// What a layer puts out is the next one's operand as its lanes have it: they take the columns of a tile in an order in which
// lane t of four has four neighbours, 4t to 4t + 3, and so do weights. That way rows are read and written in whole sectors.
#include <type_traits>

#include "cuda/device_rows.h"
#include "cuda/fused_mlp/ends.h"
#include "cuda/fused_mlp/fused_mlp.h"
#include "cuda/runtime/device_data.h"
#include "cuda/runtime/port.h"

namespace fd::cuda {
namespace {

constexpr int most_tiles = 8;  // of a layer's inputs or outputs

// A tile of 16 x 16 as a warp has it: of lane l, g = l / 4 and t = l % 4, numbers 0, 1, 4 and 5 are columns 4t to 4t + 3 of row g, the
// others those of row g + 8. As an operand they are `words` registers; a Line is what a lane has of a row.
template <class O>
struct RowTile;

template <>
struct RowTile<Bf16Operand> {
    using F = Fragments<Bf16Operand>;
    using E = F::E;
    using Line = uint2;
    static constexpr int words = 4;
    static __device__ __forceinline__ void pack(const float (&v)[8], unsigned (&a)[words]) {
#pragma unroll
        for (int i = 0; i < 4; ++i) a[i] = F::rounded(v[2 * i], v[2 * i + 1]);
    }
    static __device__ __forceinline__ Line line(const unsigned (&a)[words], int half) { return {a[half], a[2 + half]}; }
    static __device__ __forceinline__ Quad<float> numbers(Line l) {
        return {{F::first(l.x), F::second(l.x), F::first(l.y), F::second(l.y)}};
    }
    // Rows and columns of weights lie in the order of the products, so that tiles can be loaded whole.
    static __device__ int place(int at) { return at / 16 * 16 + at % 16 / 4 * 2 + at % 4 / 2 * 8 + at % 2; }
    static __device__ __forceinline__ void store_weights(E* weights, int ld, int row, int col, float4 v) {
        unsigned* const to = reinterpret_cast<unsigned*>(weights + place(row) * ld + place(col));
        to[0] = F::rounded(v.x, v.y), to[4] = F::rounded(v.z, v.w);
    }
    // A tile of weights, as they are or transposed; at(): what of it is the lane's.
    template <bool transposed>
    struct B {
        unsigned f[4];
        static __device__ int at(int lane, int ld) { return F::at_b<transposed>(lane, ld); }
        __device__ __forceinline__ void load(const E* at, int ld) { F::load_b<transposed>(f, at, ld); }
        __device__ __forceinline__ void multiply(TileSums& s, const unsigned (&a)[words]) const {
            multiply_add<Bf16Operand>(s, a, f);
        }
    };
};

template <>
struct RowTile<Tf32Operand> {
    using F = Fragments<Tf32Operand>;
    using E = float;
    using Line = float4;
    static constexpr int words = 8;
    static __device__ __forceinline__ void pack(const float (&v)[8], unsigned (&a)[words]) {
#pragma unroll
        for (int i = 0; i < 8; ++i)  // columns 4t and 4t + 2 are the left half of a product's terms
            a[i / 4 * 4 + i % 2 * 2 + i / 2 % 2] = __float_as_uint(Tf32Operand::rounded(v[i]));
    }
    static __device__ __forceinline__ Line line(const unsigned (&a)[words], int half) {
        return {__uint_as_float(a[half]), __uint_as_float(a[2 + half]), __uint_as_float(a[4 + half]),
                __uint_as_float(a[6 + half])};
    }
    static __device__ __forceinline__ Quad<float> numbers(Line l) { return {{l.x, l.y, l.z, l.w}}; }
    static __device__ __forceinline__ void store_weights(E* weights, int ld, int row, int col, float4 v) {
        Tf32Operand::store4(weights + row * ld + col, v);
    }
    template <bool transposed>
    struct B {
        unsigned f[2][4];  // of the terms 4t and 4t + 1, 4t + 2 and 4t + 3
        static __device__ int at(int lane, int ld) {
            const int term = lane % 4 * 4, col = lane / 8 * 4 + lane / 4 % 2;
            return transposed ? col * ld + term : term * ld + col;
        }
        __device__ __forceinline__ void load(const E* at, int ld) {
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                const int term = i / 4 * 2 + i % 2, col = i / 2 % 2 * 2;
                f[i / 4][i % 4] = __float_as_uint(at[transposed ? col * ld + term : term * ld + col]);
            }
        }
        __device__ __forceinline__ void multiply(TileSums& s, const unsigned (&a)[words]) const {
            multiply_add<Tf32Operand>(s, {a[0], a[1], a[2], a[3]}, f[0]);
            multiply_add<Tf32Operand>(s, {a[4], a[5], a[6], a[7]}, f[1]);
        }
    };
};

// `tiles` times 16 rows are a warp's at a time.
template <class O, int tiles, bool relu>
__global__ void __launch_bounds__(32 * most_row_warps, 1) mlp_rows_kernel(MlpProgram p, MlpBatch batch) {
    using R = RowTile<O>;
    using E = typename R::E;
    using Line = typename R::Line;
    FD_DYN_SHARED(char, shared);
    const int thread = int(threadIdx.x), threads = int(blockDim.x), warp = thread >> 5, warps = threads >> 5,
              lane = thread & 31, g = lane / 4, t = lane % 4;
    const MlpLayer &bottom = p.layers[0], &last = p.layers[p.count - 1];
    const int ld_outputs = 16 * last.out_tiles + 4;
    auto operand = [&](int at) { return reinterpret_cast<E*>(shared + at); };
    auto floats = [&](int at) { return reinterpret_cast<float*>(shared + at); };
    char* const own = shared + p.outputs + warp * p.warp_bytes;
    uint4* const operands = reinterpret_cast<uint4*>(own);  // the next layer's, tile by tile; or
    float* const outputs = reinterpret_cast<float*>(own);   // those of the net, which become gradients
    char* const memory = batch.memory + p.block_bytes * (int64_t(blockIdx.x) * warps + warp);
    double* const losses = reinterpret_cast<double*>(shared + p.losses);

    const MlpRows caller(batch);
    const bool x_aligned = batch.x_stride % 16 == 0 && reinterpret_cast<uintptr_t>(caller.x) % 16 == 0;

    for (int l = 0; l < p.count; ++l) {
        const MlpLayer& layer = p.layers[l];
        const float* const kernel = batch.parameters + layer.kernel;
        const int quads = 4 * layer.out_tiles, cols = 16 * layer.out_tiles;
        const bool aligned = in_quads(kernel, layer.out);
        for (int e = thread; e < 16 * layer.in_tiles * quads; e += threads) {
            const int row = e / quads, col = e % quads * 4;
            R::store_weights(operand(layer.weights), cols + O::pad, row, col,
                             four(kernel, layer.out, row, layer.in, col, layer.out, aligned));
        }
        for (int c = thread; c < cols; c += threads)
            floats(layer.biases)[c] = layer.bias >= 0 && c < layer.out ? batch.parameters[layer.bias + c] : 0;
        for (int e = thread; e < warps * cols; e += threads) floats(layer.bias_sums)[e] = 0;
    }
    __syncthreads();

    double loss = 0;
    const int64_t parts = (batch.rows + p.rows - 1) / p.rows;
    // neighbours go to different multiprocessors
    for (int64_t part = int64_t(warp) * gridDim.x + blockIdx.x; part < parts; part += int64_t(warps) * gridDim.x) {
        const int64_t first = part * p.rows;
        const int rows = int(batch.rows - first < p.rows ? batch.rows - first : p.rows);  // that are there
        const int64_t row_at = lane < rows ? caller.place(first + lane) : 0;
        unsigned a[tiles][most_tiles][R::words];

        bool there[tiles][2];
#pragma unroll
        for (int m = 0; m < tiles; ++m)
            for (int half = 0; half < 2; ++half) there[m][half] = 16 * m + 8 * half + g < rows;
        // An operand's rows in device memory: what this lane has of the first of them.
        auto far = [&](int64_t before, int col_tiles) {
            return reinterpret_cast<E*>(batch.operands + before * batch.rows) + (first + g) * 16 * col_tiles + 4 * t;
        };
        auto line_at = [](int m, int half, int c, int col_tiles) {
            return (16 * m + 8 * half) * 16 * col_tiles + 16 * c;
        };
        auto write = [&](int m, int c, const unsigned (&w)[R::words], E* to, int col_tiles) {
#pragma unroll
            for (int half = 0; half < 2; ++half)
                if (there[m][half]) *reinterpret_cast<Line*>(to + line_at(m, half, c, col_tiles)) = R::line(w, half);
        };
        // An operand's tile for the next product, and for those afterwards.
        auto put = [&](int m, int c, const float (&v)[8], E* to, int col_tiles) {
            unsigned w[R::words];
            R::pack(v, w);
#pragma unroll
            for (int i = 0; i < R::words; i += 4)
                operands[((c * tiles + m) * (R::words / 4) + i / 4) * 32 + lane] =
                    uint4{w[i], w[i + 1], w[i + 2], w[i + 3]};
            write(m, c, w, to, col_tiles);
        };
        auto take = [&](int col_tiles) {
#pragma unroll
            for (int c = 0; c < most_tiles; ++c)
                if (c < col_tiles)
#pragma unroll
                    for (int m = 0; m < tiles; ++m)
#pragma unroll
                        for (int i = 0; i < R::words; i += 4) {
                            const uint4 w = operands[((c * tiles + m) * (R::words / 4) + i / 4) * 32 + lane];
                            a[m][c][i] = w.x, a[m][c][i + 1] = w.y, a[m][c][i + 2] = w.z, a[m][c][i + 3] = w.w;
                        }
        };
        // by the weights from `at` on, whose tiles along the sum are `step` apart
        auto multiply = [&](auto b, TileSums(&sums)[tiles], const E* at, int ld, int step, int terms) {
#pragma unroll
            for (int m = 0; m < tiles; ++m) sums[m].clear();
#pragma unroll
            for (int k = 0; k < most_tiles; ++k)
                if (k < terms) {
                    b.load(at, ld);
#pragma unroll
                    for (int m = 0; m < tiles; ++m) b.multiply(sums[m], a[m][k]);
                    at += step;
                }
        };
        auto kept_at = [&](const MlpLayer& layer) {
            return reinterpret_cast<float*>(memory + layer.kept) + g * 16 * layer.out_tiles + 4 * t;
        };

        E* const x_to = far(bottom.inputs, bottom.in_tiles);
#pragma unroll
        for (int m = 0; m < tiles; ++m) {
            const int upper = 16 * m + g, lower = upper + 8;
            const float* const lines[2] = {
                reinterpret_cast<const float*>(caller.x + __shfl_sync(whole_warp, row_at, upper) * batch.x_stride),
                reinterpret_cast<const float*>(caller.x + __shfl_sync(whole_warp, row_at, lower) * batch.x_stride)};
#pragma unroll 1
            for (int c = 0; c < bottom.in_tiles; ++c) {
                const float4 u = four(lines[0], 0, 0, there[m][0], 16 * c + 4 * t, bottom.in, x_aligned),
                             w = four(lines[1], 0, 0, there[m][1], 16 * c + 4 * t, bottom.in, x_aligned);
                put(m, c, {u.x, u.y, w.x, w.y, u.z, u.w, w.z, w.w}, x_to, bottom.in_tiles);
            }
        }

        for (int l = 0; l < p.count; ++l) {
            const MlpLayer& layer = p.layers[l];
            const bool top = l + 1 == p.count;
            take(layer.in_tiles);
            if (top) __syncwarp();  // outputs lie where operands did
            E* const to = top ? nullptr : far(p.layers[l + 1].inputs, layer.out_tiles);
            float* const kept = relu || layer.kept < 0 ? nullptr : kept_at(layer);
            using B = typename R::template B<false>;
            const int ld = 16 * layer.out_tiles + O::pad;
            const E* const at = operand(layer.weights) + B::at(lane, ld);
#pragma unroll 1
            for (int c = 0; c < layer.out_tiles; ++c) {
                TileSums sums[tiles];
                multiply(B(), sums, at + 16 * c, ld, 16 * ld, layer.in_tiles);
                const float4 bias = *reinterpret_cast<const float4*>(floats(layer.biases) + 16 * c + 4 * t);
#pragma unroll
                for (int m = 0; m < tiles; ++m) {
                    float (&v)[8] = sums[m].v;
                    v[0] += bias.x, v[1] += bias.y, v[2] += bias.x, v[3] += bias.y;
                    v[4] += bias.z, v[5] += bias.w, v[6] += bias.z, v[7] += bias.w;
                    auto keep = [&] {
#pragma unroll
                        for (int half = 0; half < 2; ++half)
                            *reinterpret_cast<float4*>(kept + line_at(m, half, c, layer.out_tiles)) =
                                float4{v[2 * half], v[2 * half + 1], v[4 + 2 * half], v[5 + 2 * half]};
                    };
                    if (kept && layer.keeps_input) keep();
                    with_activation<relu>(layer.activation, [&](auto f) {
#pragma unroll
                        for (float& z : v) z = f.value(z, layer.alpha);
                    });
                    if (kept && !layer.keeps_input) keep();
                    if (!top) {
                        put(m, c, v, to, layer.out_tiles);
                        continue;
                    }
#pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        const int row = 16 * m + 8 * half + g, col = 16 * c + 4 * t;
                        const float out[4] = {v[2 * half], v[2 * half + 1], v[4 + 2 * half], v[5 + 2 * half]};
                        write_quad(outputs + row * ld_outputs + col, out);
                        if (!batch.outputs || row >= rows) continue;
#pragma unroll 1
                        for (int i = 0; i < 4 && col + i < layer.out; ++i)
                            batch.outputs[(first + row) * layer.out + col + i] = outputs[row * ld_outputs + col + i];
                    }
                }
            }
        }
        __syncwarp();

        {  // loss; outputs become gradients of the last layer's sums
            const RowLanes lanes{lane % p.row_lanes, p.row_lanes};
            const float* const kept = last.kept < 0 ? nullptr : reinterpret_cast<float*>(memory + last.kept);
            for (int base = 0; base < p.rows; base += 32 / p.row_lanes) {
                const int r = base + lane / p.row_lanes;
                const bool there = r < rows;
                const int64_t row = __shfl_sync(whole_warp, row_at, there ? r : 0);
                const double value = loss_to_gradients(p, batch, caller, row, there, outputs + r * ld_outputs,
                                                       kept ? kept + r * 16 * last.out_tiles : nullptr, lanes);
                if (there && lanes.lane == 0) loss += value;
            }
            __syncwarp();
            E* const to = far(last.sums, last.out_tiles);
#pragma unroll
            for (int c = 0; c < most_tiles; ++c) {
                if (c >= last.out_tiles) continue;
                TileSums total;
                total.clear();
#pragma unroll
                for (int m = 0; m < tiles; ++m) {
                    float v[8];
#pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        const int row = 16 * m + 8 * half + g;
                        const float4 d = four(outputs, ld_outputs, row, p.rows, 16 * c + 4 * t, last.out, true);
                        v[2 * half] = d.x, v[2 * half + 1] = d.y, v[4 + 2 * half] = d.z, v[5 + 2 * half] = d.w;
                    }
                    R::pack(v, a[m][c]);
                    write(m, c, a[m][c], to, last.out_tiles);
#pragma unroll
                    for (int i = 0; i < 8; ++i) total.v[i] += v[i];
                }
                add_columns(total, floats(last.bias_sums) + warp * 16 * last.out_tiles + 16 * c, 4, 2);
            }
            __syncwarp();  // operands lie where outputs did
        }

        for (int l = p.count - 1; l > 0; --l) {
            const MlpLayer &layer = p.layers[l], &below = p.layers[l - 1];
            if (l + 1 < p.count) take(layer.out_tiles);
            float* const bias_sums = floats(below.bias_sums) + warp * 16 * layer.in_tiles;
            E* const to = far(below.sums, layer.in_tiles);
            const E* const inputs = far(layer.inputs, layer.in_tiles);
            const float* const kept = relu || below.kept < 0 ? nullptr : kept_at(below);
            using B = typename R::template B<true>;
            const int ld = 16 * layer.out_tiles + O::pad;
            const E* const at = operand(layer.weights) + B::at(lane, ld);
#pragma unroll 1
            for (int c = 0; c < layer.in_tiles; ++c) {
                Line stored[tiles][2];
#pragma unroll
                for (int m = 0; m < tiles; ++m)
#pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        stored[m][half] = Line{};
                        if (there[m][half])  // what this lane has written
                            stored[m][half] =
                                *reinterpret_cast<const Line*>(inputs + line_at(m, half, c, layer.in_tiles));
                    }
                TileSums sums[tiles];
                multiply(B(), sums, at + 16 * c * ld, ld, 16, layer.out_tiles);
#pragma unroll
                for (int m = 0; m < tiles; ++m) {
                    float (&v)[8] = sums[m].v;
                    float of[8];
#pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        auto [n] = R::numbers(stored[m][half]);
                        if (kept) {
                            const float4 exact =
                                *reinterpret_cast<const float4*>(kept + line_at(m, half, c, layer.in_tiles));
                            n[0] = exact.x, n[1] = exact.y, n[2] = exact.z, n[3] = exact.w;
                        }
                        of[2 * half] = n[0], of[2 * half + 1] = n[1], of[4 + 2 * half] = n[2], of[5 + 2 * half] = n[3];
                    }
                    with_activation<relu>(below.activation, [&](auto f) {
#pragma unroll
                        for (int i = 0; i < 8; ++i) v[i] *= f.derivative(of[i], below.alpha);
                    });
                    put(m, c, v, to, layer.in_tiles);
                }
#pragma unroll
                for (int m = 1; m < tiles; ++m)
#pragma unroll
                    for (int i = 0; i < 8; ++i) sums[0].v[i] += sums[m].v[i];
                add_columns(sums[0], bias_sums + 16 * c, 4, 2);
            }
        }
    }

    loss = warp_sum(loss);
    if (lane == 0) losses[warp] = loss;
    __syncthreads();
    float* const part = batch.parts + int64_t(p.part) * blockIdx.x;
    for (int l = 0; l < p.count; ++l) {
        const MlpLayer& layer = p.layers[l];
        put_bias_part(layer, floats(layer.bias_sums), warps, part);
    }
    if (thread != 0) return;
    for (int w = 1; w < warps; ++w) loss += losses[w];
    batch.loss_parts[blockIdx.x] = loss;
}

}  // namespace

template <class F>
static void with_kernel(const MlpProgram& p, Precision precision, F&& f) {
    const auto choose = [&](auto relu) {
        constexpr bool r = decltype(relu)::value;
        if (precision == Precision::tf32) f(mlp_rows_kernel<Tf32Operand, 1, r>);
        else if (p.rows == 16) f(mlp_rows_kernel<Bf16Operand, 1, r>);
        else f(mlp_rows_kernel<Bf16Operand, 2, r>);
    };
    if (p.relu) choose(std::true_type());
    else choose(std::false_type());
}
void mlp_rows_step(const MlpProgram& p, const MlpBatch& batch, Precision precision, int64_t blocks,
                   cudaStream_t stream) {
    with_kernel(p, precision, [&](auto mlp_rows) {
        allow_shared_memory(reinterpret_cast<const void*>(mlp_rows));
        FD_LAUNCH(mlp_rows, unsigned(blocks), unsigned(32 * p.warps), p.shared_bytes, stream, p, batch);
    });
}

}  // namespace fd::cuda
