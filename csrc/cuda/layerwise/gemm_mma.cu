// Products on tensor cores: float32 in memory, operands rounded when copied to shared memory, sums in float32. Two buffers of
// tiles: while one is used, the next is loaded through registers into the other. Any shape: elements beyond
// the matrix are zero.
#include "cuda/layerwise/epilogue.h"
#include "cuda/layerwise/mma.h"
#include "cuda/runtime/port.h"

namespace fd::cuda {
namespace {

// How operands lie in memory: as float32, or as bfloat16 already, of which four numbers are loaded at once.
struct Bf16Stored : Bf16Operand {};
template <class O>
struct Source {
    using Four = float4;
    static __device__ const float* a(const Product<float>& p) { return p.a; }
    static __device__ const float* b(const Product<float>& p) { return p.b; }
    static __device__ __forceinline__ Four load(const float* matrix, int64_t ld, int64_t line, int64_t lines,
                                                int64_t at, int64_t width, bool aligned) {
        return four(matrix, ld, line, lines, at, width, aligned);
    }
    static __device__ __forceinline__ void store(typename O::type* to, Four v) { O::store4(to, v); }
    static __device__ __forceinline__ float4 numbers(Four v) { return v; }
};
template <>
struct Source<Bf16Stored> {  // every line starts on 16 bytes, and what is beyond `width` is there
    using Four = uint2;
    static __device__ const uint16_t* a(const Product<float>& p) { return p.bf16_a; }
    static __device__ const uint16_t* b(const Product<float>& p) { return p.bf16_b; }
    static __device__ __forceinline__ Four load(const uint16_t* matrix, int64_t ld, int64_t line, int64_t lines,
                                                int64_t at, int64_t width, bool) {
        return line < lines && at < width ? *reinterpret_cast<const uint2*>(matrix + line * ld + at) : uint2{0, 0};
    }
    static __device__ __forceinline__ void store(Bf16Operand::type* to, Four v) { *reinterpret_cast<uint2*>(to) = v; }
    static __device__ __forceinline__ float4 numbers(Four) {
        return {0, 0, 0, 0};
    }  // sums of columns are not asked for
};

// A block makes BM x BN outputs, a warp WM x WN of them, in steps of BK along k. Tiles lie in shared memory as the matrices do
// in memory.
template <class O, int BM, int BN, int WM, int WN, bool TA, bool TB>
struct MmaTile {
    using E = typename O::type;
    static constexpr int BK = 64 / int(sizeof(E)), warps_n = BN / WN, threads = 32 * (BM / WM) * warps_n;
    static constexpr int lines_a = TA ? BK : BM, width_a = TA ? BM : BK, lda = width_a + O::pad;
    static constexpr int lines_b = TB ? BN : BK, width_b = TB ? BK : BN, ldb = width_b + O::pad;
    static constexpr int units_a = BM * BK / 4 / threads, units_b = BN * BK / 4 / threads;  // of four numbers, a thread
    static_assert(units_a * threads * 4 == BM * BK && units_b * threads * 4 == BN * BK, "every thread loads the same");
    static constexpr int buffer_a = lines_a * lda, buffer = buffer_a + lines_b * ldb;
    static_assert(buffer_a * sizeof(E) % 32 == 0 && buffer * sizeof(E) % 32 == 0,
                  "fragments are loaded from 32 bytes on");
    static constexpr int strip = 16 * (WN + 4);  // floats a warp stages its outputs in
    static constexpr int column_units = BN / 4, column_parts = threads / column_units;  // of a sum over rows of b
    static constexpr size_t larger(size_t a, size_t b) { return a > b ? a : b; }
    static constexpr size_t shared_bytes =
        larger(2 * buffer * sizeof(E), larger(size_t(threads / 32) * strip, size_t(column_parts) * BN) * sizeof(float));
};

template <class O, int BM, int BN, int WM, int WN, bool TA, bool TB>
__global__ void __launch_bounds__((BM / WM) * (BN / WN) * 32, BM > 64 ? 1 : 3)
    mma_kernel(Product<float> p, bool aligned_a, bool aligned_b) {
    using S = MmaTile<O, BM, BN, WM, WN, TA, TB>;
    using E = typename S::E;
    FD_DYN_SHARED(E, tiles);
    const int thread = int(threadIdx.x), warp = thread >> 5, lane = thread & 31;
    const int warp_m = warp / S::warps_n * WM, warp_n = warp % S::warps_n * WN;
    const int64_t m0 = int64_t(blockIdx.y) * BM, n0 = int64_t(blockIdx.x) * BN;
    const int64_t part = ((p.k + p.splits - 1) / p.splits + 3) / 4 * 4, first = part * blockIdx.z;
    const int64_t last = first + part < p.k ? first + part : p.k;
    const bool sums_columns = TA && p.column_sums && blockIdx.y == 0;
    using Operands = Source<O>;
    typename Operands::Four next_a[S::units_a], next_b[S::units_b];
    float4 column{0, 0, 0, 0};
    const auto *a = Operands::a(p), *b = Operands::b(p);
    const int64_t lda = p.lda ? p.lda : TA ? p.m : p.k, ldb = p.ldb ? p.ldb : TB ? p.k : p.n;
    Sums<O> sums[WM / 16][WN / 16];
#pragma unroll
    for (int i = 0; i < WM / 16; ++i)
#pragma unroll
        for (int j = 0; j < WN / 16; ++j) wmma::fill_fragment(sums[i][j], 0.0f);

    auto fetch = [&](int64_t k0) {
#pragma unroll
        for (int u = 0; u < S::units_a; ++u) {
            const int unit = u * S::threads + thread, line = unit / (S::width_a / 4), at = unit % (S::width_a / 4) * 4;
            next_a[u] = TA ? Operands::load(a, lda, k0 + line, last, m0 + at, p.m, aligned_a)
                           : Operands::load(a, lda, m0 + line, p.m, k0 + at, last, aligned_a);
        }
#pragma unroll
        for (int u = 0; u < S::units_b; ++u) {
            const int unit = u * S::threads + thread, line = unit / (S::width_b / 4), at = unit % (S::width_b / 4) * 4;
            next_b[u] = TB ? Operands::load(b, ldb, n0 + line, p.n, k0 + at, last, aligned_b)
                           : Operands::load(b, ldb, k0 + line, last, n0 + at, p.n, aligned_b);
        }
    };
    auto put = [&](E* to) {
#pragma unroll
        for (int u = 0; u < S::units_a; ++u) {
            const int unit = u * S::threads + thread;
            Operands::store(to + unit / (S::width_a / 4) * S::lda + unit % (S::width_a / 4) * 4, next_a[u]);
        }
#pragma unroll
        for (int u = 0; u < S::units_b; ++u) {
            const int unit = u * S::threads + thread;
            Operands::store(to + S::buffer_a + unit / (S::width_b / 4) * S::ldb + unit % (S::width_b / 4) * 4,
                            next_b[u]);
            if (!sums_columns) continue;
            const float4 v = Operands::numbers(next_b[u]);
            column.x += v.x, column.y += v.y, column.z += v.z, column.w += v.w;
        }
    };
    E *now = tiles, *other = tiles + S::buffer;
    fetch(first);
    put(now);
    __syncthreads();
    for (int64_t k0 = first; k0 < last; k0 += S::BK) {
        const bool more = k0 + S::BK < last;
        if (more) fetch(k0 + S::BK);
        const E *as = now, *bs = now + S::buffer_a;
#pragma unroll
        for (int k = 0; k < S::BK; k += O::k) {
            FragmentA<O, TA> fa[WM / 16];
#pragma unroll
            for (int i = 0; i < WM / 16; ++i) {
                const int row = warp_m + 16 * i;
                load_shared(fa[i], as + (TA ? k * S::lda + row : row * S::lda + k), S::lda);
            }
#pragma unroll
            for (int j = 0; j < WN / 16; ++j) {
                const int col = warp_n + 16 * j;
                FragmentB<O, TB> fb;
                load_shared(fb, bs + (TB ? col * S::ldb + k : k * S::ldb + col), S::ldb);
#pragma unroll
                for (int i = 0; i < WM / 16; ++i) wmma::mma_sync(sums[i][j], fa[i], fb, sums[i][j]);
            }
        }
        if (more) put(other);
        __syncthreads();
        E* const swap = now;
        now = other, other = swap;
    }

    float* const stage = reinterpret_cast<float*>(tiles);
    if (sums_columns) {  // of the exact numbers
        *reinterpret_cast<float4*>(stage + thread / S::column_units * BN + thread % S::column_units * 4) = column;
        __syncthreads();
        for (int c = thread; c < BN; c += S::threads) {
            float sum = stage[c];
            for (int i = 1; i < S::column_parts; ++i) sum += stage[i * BN + c];
            if (n0 + c < p.n) p.column_sums[p.stride * blockIdx.z + n0 + c] = sum;
        }
        __syncthreads();
    }
    float *const strip = stage + warp * S::strip, *const out = p.out + p.stride * blockIdx.z;
#pragma unroll
    for (int i = 0; i < WM / 16; ++i) {
#pragma unroll
        for (int j = 0; j < WN / 16; ++j)
            wmma::store_matrix_sync(strip + 16 * j, sums[i][j], WN + 4, wmma::mem_row_major);
        __syncwarp();
        for (int e = lane; e < 16 * WN; e += 32) {
            const int64_t r = m0 + warp_m + 16 * i + e / WN, c = n0 + warp_n + e % WN;
            if (r < p.m && c < p.n)
                out[r * p.n + c] = finished(p.epilogue, strip[e / WN * (WN + 4) + e % WN], r * p.n + c, c);
        }
        __syncwarp();
    }
}

template <class O, int BM, int BN, int WM, int WN, bool TA, bool TB>
void start(const Product<float>& p, cudaStream_t stream) {
    using S = MmaTile<O, BM, BN, WM, WN, TA, TB>;
    static_assert(S::shared_bytes <= 48 * 1024, "more would have to be asked for");
    static_assert(S::threads % S::column_units == 0, "a thread keeps to its columns");
    const dim3 grid(unsigned((p.n + BN - 1) / BN), unsigned((p.m + BM - 1) / BM), unsigned(p.splits));
    const bool aligned_a = in_quads(p.a, p.lda ? p.lda
                                         : TA  ? p.m
                                               : p.k),
               aligned_b = in_quads(p.b, p.ldb ? p.ldb
                                         : TB  ? p.k
                                               : p.n);
    FD_LAUNCH((mma_kernel<O, BM, BN, WM, WN, TA, TB>), grid, S::threads, S::shared_bytes, stream, p, aligned_a,
              aligned_b);
}
template <class O, int BM, int BN, int WM, int WN>
void choose_layout(const Product<float>& p, cudaStream_t stream) {
    if (p.transpose_a) start<O, BM, BN, WM, WN, true, false>(p, stream);
    else if (p.transpose_b) start<O, BM, BN, WM, WN, false, true>(p, stream);
    else start<O, BM, BN, WM, WN, false, false>(p, stream);
}
template <class O>
void choose_tile(const Product<float>& p, int tile, cudaStream_t stream) {
    if (tile == 128) choose_layout<O, 128, 128, 32, 64>(p, stream);
    else if (tile == 64) choose_layout<O, 64, 64, 32, 32>(p, stream);
    else choose_layout<O, 32, 32, 16, 16>(p, stream);
}

}  // namespace

void mma_product(const Product<float>& p, int tile, cudaStream_t stream) {
    if (p.bf16_a && tile == 128) start<Bf16Stored, 128, 128, 32, 64, true, false>(p, stream);
    else if (p.bf16_a && tile == 64) start<Bf16Stored, 64, 64, 32, 32, true, false>(p, stream);
    else if (p.bf16_a) start<Bf16Stored, 32, 32, 16, 16, true, false>(p, stream);
    else if (p.precision == Precision::bf16) choose_tile<Bf16Operand>(p, tile, stream);
    else choose_tile<Tf32Operand>(p, tile, stream);
}

}  // namespace fd::cuda
