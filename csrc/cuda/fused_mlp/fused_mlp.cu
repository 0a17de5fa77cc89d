// See fused_mlp.h. Products are cut into tiles of 16 x 16, divided among warps; the epilogue of a product is applied to a tile of sums
// that its warp has put into its stage. Every sum has one owner and a fixed order.
#include "cuda/fused_mlp/fused_mlp.h"

#include "cuda/device_rows.h"
#include "cuda/layerwise/mma.h"
#include "cuda/runtime/port.h"

namespace fd::cuda {
namespace {

constexpr int threads = 32 * mlp_warps;
constexpr int stage_ld = mlp_stage / 16;  // what is read by rows, most of it, then finds all banks

template <int n>
__device__ __forceinline__ void activate_all(ops::Activation activation, float (&v)[n], float p) {
    switch (activation) {
#define FD_CASE(name, functor)                                                             \
    case ops::Activation::name:                                                            \
        _Pragma("unroll") for (int i = 0; i < n; ++i) v[i] = ops::functor::value(v[i], p); \
        break;
        FD_ELEMENTWISE_ACTIVATIONS(FD_CASE)
#undef FD_CASE
        case ops::Activation::softmax: break;  // part of the loss
    }
}
template <int n>
__device__ __forceinline__ void multiply_derivatives(ops::Activation activation, float (&v)[n],
                                                     const float (&stored)[n], float p) {
    switch (activation) {
#define FD_CASE(name, functor)                                                                        \
    case ops::Activation::name:                                                                       \
        _Pragma("unroll") for (int i = 0; i < n; ++i) v[i] *= ops::functor::derivative(stored[i], p); \
        break;
        FD_ELEMENTWISE_ACTIVATIONS(FD_CASE)
#undef FD_CASE
        case ops::Activation::softmax: break;
    }
}
__device__ __forceinline__ float4 quad(const float (&v)[4]) { return float4{v[0], v[1], v[2], v[3]}; }

// How the warps share the tiles of a product: `strips` of them side by side, in `groups`.
struct Share {
    int strips, groups, strip, group;
    __device__ explicit Share(int col_tiles) : strips(col_tiles > 2 ? 4 : col_tiles), groups(mlp_warps / strips) {
        const int warp = int(threadIdx.x) >> 5;
        strip = warp % strips, group = warp / strips;
    }
};

// start(sums, row tile, col tile) before, end(same) after; two tiles at once, or two by two if there are more than four columns of
// tiles, so that operands are used twice.
template <class O, bool wide, bool TA, bool TB, class Start, class End>
__device__ __forceinline__ void multiply(const typename O::type* a, int lda, const typename O::type* b, int ldb,
                                         int row_tiles, int col_tiles, int length, Start start, End end) {
    [[maybe_unused]] constexpr int k_unroll = wide ? 4 : 2;  // two blocks a processor leave few registers
    const Share share(col_tiles);
    for (int r = share.group; r < row_tiles; r += 2 * share.groups)
        for (int c = share.strip; c < col_tiles; c += 2 * share.strips) {
            const int r2 = r + share.groups, c2 = c + share.strips;
            const bool rows = r2 < row_tiles, cols = wide && c2 < col_tiles;
            Sums<O> s11, s12, s21, s22;
            start(s11, r, c);
            if (cols) start(s12, r, c2);
            if (rows) start(s21, r2, c);
            if (rows && cols) start(s22, r2, c2);
#pragma unroll k_unroll
            for (int k = 0; k < length; k += O::k) {
                FragmentA<O, TA> fa;
                FragmentB<O, TB> b1, b2;
                load_shared(b1, b + (TB ? 16 * c * ldb + k : k * ldb + 16 * c), ldb);
                if (cols) load_shared(b2, b + (TB ? 16 * c2 * ldb + k : k * ldb + 16 * c2), ldb);
                load_shared(fa, a + (TA ? k * lda + 16 * r : 16 * r * lda + k), lda);
                wmma::mma_sync(s11, fa, b1, s11);
                if (cols) wmma::mma_sync(s12, fa, b2, s12);
                if (!rows) continue;
                load_shared(fa, a + (TA ? k * lda + 16 * r2 : 16 * r2 * lda + k), lda);
                wmma::mma_sync(s21, fa, b1, s21);
                if (cols) wmma::mma_sync(s22, fa, b2, s22);
            }
            end(s11, r, c);
            if (cols) end(s12, r, c2);
            if (rows) end(s21, r2, c);
            if (rows && cols) end(s22, r2, c2);
        }
}

// Numbers of memory become an operand, 0 where they end.
template <class O>
__device__ __forceinline__ void load_operand(const float* from, int ld_from, int lines, int width, typename O::type* to,
                                             int padded_lines, int tiles) {
    const bool aligned = in_quads(from, ld_from);
    const int quads = 4 * tiles, ld = 16 * tiles + O::pad;
    for (int e = int(threadIdx.x); e < padded_lines * quads; e += threads) {
        const int line = e / quads, at = e % quads * 4;
        O::store4(to + line * ld + at, four(from, ld_from, line, lines, at, width, aligned));
    }
}

template <class O, bool wide>
__global__ void __launch_bounds__(threads, wide ? 1 : 2) mlp_kernel(MlpProgram p, MlpBatch batch) {
    using E = typename O::type;
    FD_DYN_SHARED(char, shared);
    char* const memory = batch.memory + p.block_bytes * blockIdx.x;
    const int thread = int(threadIdx.x), warp = thread >> 5, lane = thread & 31;
    float* const stage = reinterpret_cast<float*>(shared + p.stages) + warp * mlp_stage;
    float* const outputs = reinterpret_cast<float*>(shared + p.outputs);
    double* const losses = reinterpret_cast<double*>(shared + p.losses);
    const MlpLayer& last = p.layers[p.count - 1];
    const int ld_outputs = 16 * last.out_tiles + 4, row_tiles = p.rows / 16;
    auto operand = [&](int at) { return reinterpret_cast<E*>(shared + at); };
    auto floats = [&](int at) { return reinterpret_cast<float*>(shared + at); };
    auto kernel_sums = [&](const MlpLayer& l) {
        return reinterpret_cast<float*>((l.sums_in_shared ? shared : memory) + l.kernel_sums);
    };

    for (int l = 0; l < p.count; ++l) {
        const MlpLayer& layer = p.layers[l];
        load_operand<O>(batch.parameters + layer.kernel, layer.out, layer.in, layer.out, operand(layer.weights),
                        16 * layer.in_tiles, layer.out_tiles);
        for (int e = thread; e < 256; e += threads) floats(layer.bias_sums)[e] = 0;
    }
    for (int r = thread; r < p.rows; r += threads) losses[r] = 0;

    const int64_t tiles = (batch.rows + p.rows - 1) / p.rows;
    for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const bool fresh = tile == blockIdx.x;
        const int64_t first = tile * p.rows;
        const int rows = int(batch.rows - first < p.rows ? batch.rows - first : p.rows);  // that are there
        load_operand<O>(batch.x + first * p.layers[0].in, p.layers[0].in, rows, p.layers[0].in,
                        operand(p.layers[0].input), p.rows, p.layers[0].in_tiles);
        __syncthreads();

        for (int l = 0; l < p.count; ++l) {
            const MlpLayer& layer = p.layers[l];
            const bool top = l + 1 == p.count;
            const float* bias = layer.bias < 0 ? nullptr : batch.parameters + layer.bias;
            const int ld_to = 16 * layer.out_tiles + O::pad;
            E* const to = top ? nullptr : operand(p.layers[l + 1].input);
            float* const kept = layer.kept < 0 ? nullptr : reinterpret_cast<float*>(memory + layer.kept);
            multiply<O, wide, false, false>(
                operand(layer.input), 16 * layer.in_tiles + O::pad, operand(layer.weights), ld_to, row_tiles,
                layer.out_tiles, 16 * layer.in_tiles, [](Sums<O>& s, int, int) { wmma::fill_fragment(s, 0.0f); },
                [&](Sums<O>& s, int r, int c) {
                    wmma::store_matrix_sync(stage, s, stage_ld, wmma::mem_row_major);
                    __syncwarp();
#pragma unroll 1
                    for (int half = 0; half < 16; half += 8) {  // a lane takes four numbers of a row
                        const int row = 16 * r + half + lane / 4, col = 16 * c + lane % 4 * 4;
                        auto [v] = read_quad(stage + (half + lane / 4) * stage_ld + lane % 4 * 4);
#pragma unroll
                        for (int i = 0; i < 4; ++i)
                            if (bias && col + i < layer.out) v[i] += bias[col + i];
                        float4* const keep =
                            kept ? reinterpret_cast<float4*>(kept + row * 16 * layer.out_tiles + col) : nullptr;
                        if (keep && layer.keeps_input) *keep = quad(v);
                        activate_all(layer.activation, v, layer.alpha);
                        if (keep && !layer.keeps_input) *keep = quad(v);
#pragma unroll
                        for (int i = 0; i < 4; ++i)
                            if (row >= rows || col + i >= layer.out) v[i] = 0;
                        if (!top) {
                            O::store4(to + row * ld_to + col, quad(v));
                            continue;
                        }
                        *reinterpret_cast<float4*>(outputs + row * ld_outputs + col) = quad(v);
#pragma unroll
                        for (int i = 0; i < 4; ++i)
                            if (batch.outputs && row < rows && col + i < layer.out)
                                batch.outputs[(first + row) * layer.out + col + i] = v[i];
                    }
                    __syncwarp();
                });
            __syncthreads();
        }

        {  // loss; outputs become gradients of the last layer's sums
            const LossKind kind{p.loss, p.loss_param, p.label_smoothing, p.from_logits};
            const RowLanes lanes{lane % p.row_lanes, p.row_lanes};
            const float* const kept = last.kept < 0 ? nullptr : reinterpret_cast<float*>(memory + last.kept);
            for (int base = 0; base < p.rows; base += threads / p.row_lanes) {
                const int r = base + thread / p.row_lanes;
                const bool there = r < rows;
                const int64_t row = first + (there ? r : 0);
                float* const out = outputs + r * ld_outputs;
                LossRow<float> l;
                l.p = out, l.cols = last.out;
                if (batch.y) l.y = batch.y + row * last.out;
                else l.label = batch.labels[row];
                if (batch.weights) l.weight = batch.weights[row];
                l.factor = 1 / double(batch.rows);
                const double loss = loss_row(kind, l, lanes, true, [&](int c, float g) {
                    const float stored = kept ? kept[r * 16 * last.out_tiles + c] : out[c];
                    if (there) out[c] = g * activation_derivative(last.activation, stored, last.alpha);
                });
                if (there && lanes.lane == 0) losses[r] += loss;
            }
            __syncthreads();
            const int quads = 4 * last.out_tiles, ld = 16 * last.out_tiles + O::pad,
                      groups = Share(last.out_tiles).groups;
            for (int e = thread; e < p.rows * quads; e += threads)
                O::store4(operand(p.top) + e / quads * ld + e % quads * 4,
                          *reinterpret_cast<const float4*>(outputs + e / quads * ld_outputs + e % quads * 4));
            for (int e = thread; e < groups * 16 * last.out_tiles; e += threads) {
                const int group = e / (16 * last.out_tiles), c = e % (16 * last.out_tiles), part = p.rows / groups;
                float sum = 0;
                for (int r = group * part; r < (group + 1) * part; ++r) sum += outputs[r * ld_outputs + c];
                floats(last.bias_sums)[e] += sum;
            }
            __syncthreads();
        }

        for (int l = p.count - 1; l >= 0; --l) {
            const MlpLayer& layer = p.layers[l];
            const int ld_in = 16 * layer.in_tiles + O::pad, ld_out = 16 * layer.out_tiles + O::pad,
                      ld_sums = 16 * layer.out_tiles + 4;
            const E* const d = operand(l + 1 == p.count ? p.top : p.layers[l + 1].input);
            E* const input = operand(layer.input);
            float* const sums = kernel_sums(layer);
            multiply<O, wide, true, false>(
                input, ld_in, d, ld_out, layer.in_tiles, layer.out_tiles, p.rows,
                [&](Sums<O>& s, int r, int c) {
                    if (fresh) wmma::fill_fragment(s, 0.0f);
                    else
                        wmma::load_matrix_sync(s, sums + 16 * (r * ld_sums + c), unsigned(ld_sums),
                                               wmma::mem_row_major);
                },
                [&](Sums<O>& s, int r, int c) {
                    wmma::store_matrix_sync(sums + 16 * (r * ld_sums + c), s, unsigned(ld_sums), wmma::mem_row_major);
                });
            __syncthreads();
            if (l == 0) break;
            const MlpLayer& below = p.layers[l - 1];
            const float* const kept = below.kept < 0 ? nullptr : reinterpret_cast<float*>(memory + below.kept);
            float* const bias_sums = floats(below.bias_sums) + Share(layer.in_tiles).group * 16 * layer.in_tiles;
            multiply<O, wide, false, true>(
                d, ld_out, operand(layer.weights), ld_out, row_tiles, layer.in_tiles, 16 * layer.out_tiles,
                [](Sums<O>& s, int, int) { wmma::fill_fragment(s, 0.0f); },
                [&](Sums<O>& s, int r, int c) {
                    wmma::store_matrix_sync(stage, s, stage_ld, wmma::mem_row_major);
                    __syncwarp();
#pragma unroll 1
                    for (int half = 0; half < 16; half += 8) {
                        const int row = 16 * r + half + lane / 4, col = 16 * c + lane % 4 * 4;
                        float* const own = stage + (half + lane / 4) * stage_ld + lane % 4 * 4;
                        E* const activation = input + row * ld_in + col;
                        auto [v] = read_quad(own);
                        const auto [stored] =
                            kept ? read_quad(kept + row * 16 * layer.in_tiles + col) : O::read(activation);
                        multiply_derivatives(below.activation, v, stored, below.alpha);
#pragma unroll
                        for (int i = 0; i < 4; ++i)
                            if (row >= rows || col + i >= layer.in) v[i] = 0;
                        O::store4(activation, quad(v));
                        *reinterpret_cast<float4*>(own) = quad(v);
                    }
                    __syncwarp();
                    float sum = 0;  // of every other row of a column, exact
#pragma unroll
                    for (int i = 0; i < 8; ++i) sum += stage[(2 * i + lane / 16) * stage_ld + lane % 16];
                    sum += __shfl_xor_sync(whole_warp, sum, 16);
                    if (lane < 16) bias_sums[16 * c + lane] += sum;
                    __syncwarp();
                });
            __syncthreads();
        }
    }

    float* const part = batch.parts + batch.stride * blockIdx.x;
    for (int l = 0; l < p.count; ++l) {
        const MlpLayer& layer = p.layers[l];
        const float *const sums = kernel_sums(layer), *const bias_sums = floats(layer.bias_sums);
        const int ld = 16 * layer.out_tiles, groups = Share(layer.out_tiles).groups;
        for (int e = thread; e < layer.in * layer.out; e += threads)
            part[layer.kernel + e] = sums[e / layer.out * (ld + 4) + e % layer.out];
        for (int c = thread; layer.bias >= 0 && c < layer.out; c += threads) {
            float sum = bias_sums[c];
            for (int g = 1; g < groups; ++g) sum += bias_sums[g * ld + c];
            part[layer.bias + c] = sum;
        }
    }
    if (thread != 0) return;
    double loss = 0;
    for (int r = 0; r < p.rows; ++r) loss += losses[r];
    batch.loss_parts[blockIdx.x] = loss;
}

// A warp of neighbours, and several warps to the parts of the same 32 numbers.
__global__ void sum_parts_kernel(const float* parts, int64_t count, int64_t stride, float* out, int64_t n) {
    __shared__ float sums[mlp_warps][32];
    const int warp = int(threadIdx.x) >> 5, lane = int(threadIdx.x) & 31;
    const int64_t i = int64_t(blockIdx.x) * 32 + lane;
    float sum = 0;
    for (int64_t s = warp; s < count && i < n; s += mlp_warps) sum += parts[s * stride + i];
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp != 0 || i >= n) return;
    for (int w = 1; w < mlp_warps; ++w) sum += sums[w][lane];
    out[i] = sum;
}

template <class O, bool wide>
int per_processor(const MlpProgram& p) {
    int blocks = 0;
    allow_shared_memory(reinterpret_cast<const void*>(mlp_kernel<O, wide>));
    FD_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, mlp_kernel<O, wide>, threads, p.shared_bytes));
    return blocks > 1 ? blocks : 1;
}

}  // namespace

int mlp_blocks_per_processor(const MlpProgram& p, Precision precision) {
    if (precision == Precision::bf16)
        return p.wide ? per_processor<Bf16Operand, true>(p) : per_processor<Bf16Operand, false>(p);
    return p.wide ? per_processor<Tf32Operand, true>(p) : per_processor<Tf32Operand, false>(p);
}
void mlp_step(const MlpProgram& p, const MlpBatch& batch, Precision precision, int64_t blocks, cudaStream_t stream) {
    const unsigned n = unsigned(blocks);
    const bool bf16 = precision == Precision::bf16;
    if (bf16 && p.wide) FD_LAUNCH((mlp_kernel<Bf16Operand, true>), n, threads, p.shared_bytes, stream, p, batch);
    else if (bf16) FD_LAUNCH((mlp_kernel<Bf16Operand, false>), n, threads, p.shared_bytes, stream, p, batch);
    else if (p.wide) FD_LAUNCH((mlp_kernel<Tf32Operand, true>), n, threads, p.shared_bytes, stream, p, batch);
    else FD_LAUNCH((mlp_kernel<Tf32Operand, false>), n, threads, p.shared_bytes, stream, p, batch);
}
void sum_parts(const float* parts, int64_t count, int64_t stride, float* out, int64_t n, cudaStream_t stream) {
    FD_LAUNCH(sum_parts_kernel, unsigned((n + 31) / 32), threads, 0, stream, parts, count, stride, out, n);
}

}  // namespace fd::cuda
