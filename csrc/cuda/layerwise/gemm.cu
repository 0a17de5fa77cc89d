// The hand-written product: tiles of shared memory, a block of outputs in the registers of each thread, the next tile
// prefetched while this one is computed. Any shape, any layout; the epilogue sees the sums through shared memory, so it is compiled
// once per kernel and writes whole rows.
#include "cuda/layerwise/elements.h"
#include "cuda/layerwise/epilogue.h"
#include "cuda/runtime/port.h"

namespace fd::cuda {
namespace {

// BM x BN outputs a block, TM x TN a thread, sums over k in tiles of BK.
template <class T, int BM, int BN, int BK, int TM, int TN>
struct Tile {
    static constexpr int threads = (BM / TM) * (BN / TN);
    static constexpr int pad = TM < 4 ? TM : 4, lda = BM + pad, ldb = BN + pad;
    static constexpr int loads_a = BM * BK / threads, loads_b = BN * BK / threads;
    static constexpr int steps_at_once =
        sizeof(T) == 4 ? BK : 4;  // unrolled; doubles would need more registers than there are
    static_assert(loads_a * threads == BM * BK && loads_b * threads == BN * BK, "every thread loads the same");
    static constexpr size_t shared_bytes =
        size_t(BK * (lda + ldb) > (BM / TM) * BN ? BK * (lda + ldb) : (BM / TM) * BN) * sizeof(T);
};

// Element e of a tile: its row (of the outputs) and its offset along k, so that neighbours in memory go to neighbouring threads.
template <int rows, int BK, bool along_rows>
__device__ __forceinline__ void place(int e, int& row, int& k) {
    row = along_rows ? e % rows : e / BK;
    k = along_rows ? e / rows : e % BK;
}

template <class T, int BM, int BN, int BK, int TM, int TN, bool TA, bool TB>
__global__ void __launch_bounds__((BM / TM) * (BN / TN), 1) gemm_kernel(Product<T> p) {
    using S = Tile<T, BM, BN, BK, TM, TN>;
    FD_DYN_SHARED(T, tiles);
    T *as = tiles, *bs = tiles + BK * S::lda;
    const int thread = int(threadIdx.x), tx = thread % (BN / TN), ty = thread / (BN / TN);
    const int64_t m0 = int64_t(blockIdx.y) * BM, n0 = int64_t(blockIdx.x) * BN;
    const int64_t part = (p.k + p.splits - 1) / p.splits, first = part * blockIdx.z;
    const int64_t last = first + part < p.k ? first + part : p.k;
    T next_a[S::loads_a], next_b[S::loads_b], sum[TM][TN], column = T(0);
    const bool sums_columns = TA && p.column_sums && blockIdx.y == 0;
#pragma unroll
    for (int i = 0; i < TM; ++i)
#pragma unroll
        for (int j = 0; j < TN; ++j) sum[i][j] = T(0);

    auto fetch = [&](int64_t k0) {
#pragma unroll
        for (int l = 0; l < S::loads_a; ++l) {
            int row, k;
            place<BM, BK, TA>(l * S::threads + thread, row, k);
            const int64_t r = m0 + row, kk = k0 + k;
            next_a[l] = r < p.m && kk < last ? p.a[TA ? kk * p.m + r : r * p.k + kk] : T(0);
        }
#pragma unroll
        for (int l = 0; l < S::loads_b; ++l) {
            int col, k;
            place<BN, BK, !TB>(l * S::threads + thread, col, k);
            const int64_t c = n0 + col, kk = k0 + k;
            next_b[l] = c < p.n && kk < last ? p.b[TB ? c * p.k + kk : kk * p.n + c] : T(0);
        }
    };
    fetch(first);
    for (int64_t k0 = first; k0 < last; k0 += BK) {
#pragma unroll
        for (int l = 0; l < S::loads_a; ++l) {
            int row, k;
            place<BM, BK, TA>(l * S::threads + thread, row, k);
            as[k * S::lda + row] = rounded(next_a[l], p.precision);
        }
#pragma unroll
        for (int l = 0; l < S::loads_b; ++l) {
            int col, k;
            place<BN, BK, !TB>(l * S::threads + thread, col, k);
            bs[k * S::ldb + col] = sums_columns ? next_b[l] : rounded(next_b[l], p.precision);
        }
        __syncthreads();
        if (sums_columns) {  // before rounding: the bias sees exact numbers
            for (int c = thread; c < BN; c += S::threads)
                for (int k = 0; k < BK; ++k) {
                    column += bs[k * S::ldb + c];
                    bs[k * S::ldb + c] = rounded(bs[k * S::ldb + c], p.precision);
                }
            __syncthreads();
        }
        if (k0 + BK < last) fetch(k0 + BK);
#pragma unroll(S::steps_at_once)
        for (int k = 0; k < BK; ++k) {
            T a[TM], b[TN];
#pragma unroll
            for (int i = 0; i < TM; ++i) a[i] = as[k * S::lda + ty * TM + i];
#pragma unroll
            for (int j = 0; j < TN; ++j) b[j] = bs[k * S::ldb + tx * TN + j];
#pragma unroll
            for (int i = 0; i < TM; ++i)
#pragma unroll
                for (int j = 0; j < TN; ++j) sum[i][j] += a[i] * b[j];
        }
        __syncthreads();
    }
    if (sums_columns && thread < BN && n0 + thread < p.n) p.column_sums[p.stride * blockIdx.z + n0 + thread] = column;
    T* out = p.out + p.stride * blockIdx.z;
#pragma unroll
    for (int i = 0; i < TM; ++i) {  // row i of every thread's block
#pragma unroll
        for (int j = 0; j < TN; ++j) tiles[ty * BN + tx * TN + j] = sum[i][j];
        __syncthreads();
        for (int e = thread; e < (BM / TM) * BN; e += S::threads) {
            const int64_t r = m0 + int64_t(e / BN) * TM + i, c = n0 + e % BN;
            if (r < p.m && c < p.n) out[r * p.n + c] = finished(p.epilogue, tiles[e], r * p.n + c, c);
        }
        __syncthreads();
    }
}

template <class T, int BM, int BN, int BK, int TM, int TN, bool TA, bool TB>
void start(const Product<T>& p, cudaStream_t stream) {
    using S = Tile<T, BM, BN, BK, TM, TN>;
    static_assert(S::shared_bytes <= 48 * 1024, "more would have to be asked for");
    static_assert(S::threads >= BN, "one thread sums a column");
    const dim3 grid(unsigned((p.n + BN - 1) / BN), unsigned((p.m + BM - 1) / BM), unsigned(p.splits));
    FD_LAUNCH((gemm_kernel<T, BM, BN, BK, TM, TN, TA, TB>), grid, S::threads, S::shared_bytes, stream, p);
}

template <class T, int BM, int BN, int BK, int TM, int TN>
void choose_layout(const Product<T>& p, cudaStream_t stream) {
    if (p.transpose_a) start<T, BM, BN, BK, TM, TN, true, false>(p, stream);
    else if (p.transpose_b) start<T, BM, BN, BK, TM, TN, false, true>(p, stream);
    else start<T, BM, BN, BK, TM, TN, false, false>(p, stream);
}

}  // namespace

template <class T>
void hand_product(const Product<T>& p, int tile, cudaStream_t stream) {
    if constexpr (sizeof(T) == 4)
        if (tile == 128) return choose_layout<T, 128, 128, 8, 8, 8>(p, stream);
    if (tile >= 64) choose_layout<T, 64, 64, 16, 4, 4>(p, stream);
    else choose_layout<T, 32, 32, 32, 2, 2>(p, stream);
}

template <class T>
__global__ void finish_product_kernel(Product<T> p, bool quads) {
    const int64_t n = p.m * p.n, first = first_element(), stride = element_stride();
    if (!quads) {
        for (int64_t i = first; i < n; i += stride) p.out[i] = finished(p.epilogue, p.out[i], i, i % p.n);
        return;
    }
    for (int64_t i = 4 * first; i < n; i += 4 * stride) {
        Quad<T> v = read_quad(p.out + i);
        finish_quad(p.epilogue, v, i, i % p.n);
        write_quad(p.out + i, v.v);
    }
}
template <class T>
void finish_product(const Product<T>& p, cudaStream_t stream) {
    const Epilogue<T>& e = p.epilogue;
    bool quads = p.n % 4 == 0;
    for (const T* matrix :
         {static_cast<const T*>(p.out), static_cast<const T*>(e.pre_activation), e.add, e.bias, e.stored, e.slope})
        quads = quads && reinterpret_cast<uintptr_t>(matrix) % 16 == 0;
    FD_LAUNCH((finish_product_kernel<T>), blocks_for(quads ? p.m * p.n / 4 : p.m * p.n), threads, 0, stream, p, quads);
}
template void finish_product<float>(const Product<float>&, cudaStream_t);
template void finish_product<double>(const Product<double>&, cudaStream_t);
template void hand_product<float>(const Product<float>&, int, cudaStream_t);
template void hand_product<double>(const Product<double>&, int, cudaStream_t);

}  // namespace fd::cuda
