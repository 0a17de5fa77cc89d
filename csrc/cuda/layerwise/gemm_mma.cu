// Products on tensor cores: float32 in memory, operands rounded or split when copied to shared memory, sums in float32. Two buffers
// of tiles: while one is used, the next is loaded through registers into the other. Any shape: terms beyond the sum are
// zero, and outputs beyond the matrix are computed from whatever is near, and dropped.
#include <type_traits>

#include "cuda/layerwise/epilogue.h"
#include "cuda/layerwise/mma.h"
#include "cuda/runtime/port.h"

namespace fd::cuda {
namespace {

template <class O>
inline constexpr bool is_stored = std::is_same_v<O, Bf16Stored>;

// What operands are loaded from: float32 numbers, or bfloat16 ones in memory already.
template <class O>
struct Source {
    using Number = float;
    using Four = float4;
    static __device__ const Number* a(const Product<float>& p) { return p.a; }
    static __device__ const Number* b(const Product<float>& p) { return p.b; }
};
template <>
struct Source<Bf16Stored> {
    using Number = uint16_t;
    using Four = uint2;
    static __device__ const Number* a(const Product<float>& p) { return p.bf16_a; }
    static __device__ const Number* b(const Product<float>& p) { return p.bf16_b; }
};

// One operand's tile, `side` rows of a (or columns of b) by `depth` terms of the sum, as it lies in memory: in lines along the sum,
// or across. A thread copies `units` times four neighbours of a line.
template <class O, int side, int depth, bool across, int threads>
struct Tile {
    using E = typename O::type;
    using Number = typename Source<O>::Number;
    using Four = typename Source<O>::Four;
    static constexpr int lines = across ? depth : side, width = across ? side : depth,
                         ld = width + (across ? O::pad_across : O::pad), size = lines * ld,
                         units = side * depth / 4 / threads, step = threads * 4 / width;  // lines between its units
    static_assert(units * threads * 4 == side * depth && step * width == threads * 4, "every thread copies the same");
    static_assert(size * sizeof(E) % 32 == 0, "fragments are loaded from 32 bytes on");

    const Number* from[units];
    int64_t advance;   // to the next tile
    int term, inside;  // of the first unit: the term of its first number; how many of its numbers are in the matrix
    int to;            // where it goes
    Four next[units];

    // `first`, of `rows`: of the tile's side; `ld_from`: of the matrix.
    __device__ __forceinline__ Tile(const Number* matrix, int64_t ld_from, int64_t first, int64_t rows, int64_t k0,
                                    int thread) {
        const int line = thread / (width / 4), at = thread % (width / 4) * 4;
        to = line * ld + at;
        term = across ? line : at;
        const int64_t left = rows - first - at;
        inside = !across || left >= 4 ? 4 : int(left > 0 ? left : 0);
        advance = across ? depth * ld_from : depth;
#pragma unroll
        for (int u = 0; u < units; ++u) {
            const int64_t l = line + u * step, row = first + l < rows ? first + l : rows - 1;
            from[u] = matrix + (across ? (k0 + l) * ld_from + first + at : row * ld_from + k0 + at);
        }
    }
    // Of a tile in which `left` terms of the sum are left; aligned: every line in memory starts on 16 bytes.
    __device__ __forceinline__ void fetch(int left, bool aligned) {
#pragma unroll
        for (int u = 0; u < units; ++u) {
            const int room = !across ? left - term : term + u * step < left ? inside : 0;
            const Number* p = from[u];
            if (is_stored<O> || aligned) {
                next[u] = room > 0 ? *reinterpret_cast<const Four*>(p) : Four{};
            } else if constexpr (!is_stored<O>) {
                next[u] = Four{room > 0 ? p[0] : 0, room > 1 ? p[1] : 0, room > 2 ? p[2] : 0, room > 3 ? p[3] : 0};
            }
            from[u] += advance;
        }
    }
    __device__ __forceinline__ void put(E* tile, int apart) const {
#pragma unroll
        for (int u = 0; u < units; ++u) O::store4(tile + to + u * step * ld, next[u], apart);
    }
};

// How far the lines of an operand lie apart in memory.
template <bool TA>
FD_HD int64_t line_a(const Product<float>& p) {
    return p.lda ? p.lda : TA ? p.m : p.k;
}
template <bool TB>
FD_HD int64_t line_b(const Product<float>& p) {
    return p.ldb ? p.ldb : TB ? p.k : p.n;
}

// A block makes BM x BN outputs, a warp WM x WN of them, in steps of BK along k.
template <class O, int BM, int BN, int BK, int WM, int WN, bool TA, bool TB>
struct MmaTile {
    using E = typename O::type;
    static constexpr int warps_n = BN / WN, threads = 32 * (BM / WM) * warps_n;
    using A = Tile<O, BM, BK, TA, threads>;
    using B = Tile<O, BN, BK, !TB, threads>;
    static constexpr int apart = A::size + B::size, buffer = O::parts * apart;
    static constexpr int strip_ld = WN + 8, strip = 16 * strip_ld;  // floats a warp stages its outputs in
    static constexpr int column_units = BN / 4, column_parts = threads / column_units;  // of a sum over rows of b
    static constexpr size_t larger(size_t a, size_t b) { return a > b ? a : b; }
    static constexpr size_t shared_bytes =
        larger(2 * buffer * sizeof(E), larger(size_t(threads / 32) * strip, size_t(column_parts) * BN) * sizeof(float));
};

template <class O, int BM, int BN, int BK, int WM, int WN, bool TA, bool TB>
__global__ void __launch_bounds__((BM / WM) * (BN / WN) * 32, BM > 64        ? 1
                                                              : O::parts > 1 ? 2
                                                                             : 3)
    mma_kernel(Product<float> p, bool aligned_a, bool aligned_b) {
    using S = MmaTile<O, BM, BN, BK, WM, WN, TA, TB>;
    using E = typename S::E;
    FD_DYN_SHARED(E, tiles);
    const int thread = int(threadIdx.x), warp = thread >> 5, lane = thread & 31;
    const int warp_m = warp / S::warps_n * WM, warp_n = warp % S::warps_n * WN;
    const int64_t m0 = int64_t(blockIdx.y) * BM, n0 = int64_t(blockIdx.x) * BN;
    const int64_t part = ((p.k + p.splits - 1) / p.splits + 3) / 4 * 4, first = part * blockIdx.z;
    const int64_t last = first + part < p.k ? first + part : p.k;
    const bool sums_columns = TA && p.column_sums && blockIdx.y == 0;
    float4 column{0, 0, 0, 0};
    using F = TileFragments<O, TA, TB>;
    typename F::C zero, sums[WM / 16][WN / 16];
#pragma unroll
    for (float& v : zero.x) v = 0;
#pragma unroll
    for (int i = 0; i < WM / 16; ++i)
#pragma unroll
        for (int j = 0; j < WN / 16; ++j) sums[i][j] = zero;

    typename S::A tile_a(Source<O>::a(p), line_a<TA>(p), m0, p.m, first, thread);
    typename S::B tile_b(Source<O>::b(p), line_b<TB>(p), n0, p.n, first, thread);
    auto fetch = [&](int64_t left) {
        const int terms = int(left < BK ? left : BK);
        tile_a.fetch(terms, aligned_a);
        tile_b.fetch(terms, aligned_b);
    };
    auto put = [&](E* to) {
        tile_a.put(to, S::apart);
        tile_b.put(to + S::A::size, S::apart);
        if constexpr (!is_stored<O>)  // of stored operands they are not asked for
            if (sums_columns) {
#pragma unroll
                for (const float4& v : tile_b.next) column.x += v.x, column.y += v.y, column.z += v.z, column.w += v.w;
            }
    };
    E *now = tiles, *other = tiles + S::buffer;
    fetch(last - first);
    put(now);
    __syncthreads();
    for (int64_t left = last - first; left > 0; left -= BK) {
        const bool more = left > BK;
        if (more) fetch(left - BK);
        const E *as = now + (TA ? warp_m : warp_m * S::A::ld),
                *bs = now + S::A::size + (TB ? warp_n * S::B::ld : warp_n);
#pragma unroll
        for (int k = 0; k < BK; k += O::k) {
            typename F::A a[O::parts][WM / 16];
#pragma unroll
            for (int part = 0; part < O::parts; ++part)
#pragma unroll
                for (int i = 0; i < WM / 16; ++i)
                    load_shared(a[part][i], as + part * S::apart + (TA ? k * S::A::ld + 16 * i : 16 * i * S::A::ld + k),
                                S::A::ld);
#pragma unroll
            for (int j = 0; j < WN / 16; ++j) {
                typename F::B b[O::parts];
#pragma unroll
                for (int part = 0; part < O::parts; ++part)
                    load_shared(b[part], bs + part * S::apart + (TB ? 16 * j * S::B::ld + k : k * S::B::ld + 16 * j),
                                S::B::ld);
#pragma unroll
                for (int i = 0; i < WM / 16; ++i) {
                    if constexpr (O::parts == 1) {
                        multiply_add(sums[i][j], a[0][i], b[0], sums[i][j]);
                    } else {  // tensor cores truncate sums: long ones are added here, which rounds
                        typename F::C step;
                        multiply_add(step, a[1][i], b[0], zero);
                        multiply_add(step, a[0][i], b[1], step);
                        multiply_add(step, a[0][i], b[0], step);
#pragma unroll
                        for (int e = 0; e < step.num_elements; ++e) sums[i][j].x[e] += step.x[e];
                    }
                }
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
        for (int j = 0; j < WN / 16; ++j) store_shared(strip + 16 * j, sums[i][j], S::strip_ld);
        __syncwarp();
        for (int e = lane; e < 16 * WN; e += 32) {
            const int64_t r = m0 + warp_m + 16 * i + e / WN, c = n0 + warp_n + e % WN;
            if (r < p.m && c < p.n)
                out[r * p.n + c] = finished(p.epilogue, strip[e / WN * S::strip_ld + e % WN], r * p.n + c, c);
        }
        __syncwarp();
    }
}

template <class O, int BM, int BN, int BK, int WM, int WN, bool TA, bool TB>
void start(const Product<float>& p, cudaStream_t stream) {
    using S = MmaTile<O, BM, BN, BK, WM, WN, TA, TB>;
    static_assert(S::shared_bytes <= 99 * 1024, "what every GPU has for a block");
    if (S::shared_bytes > 48 * 1024)
        allow_shared_memory(reinterpret_cast<const void*>(mma_kernel<O, BM, BN, BK, WM, WN, TA, TB>));
    static_assert(S::threads % S::column_units == 0, "a thread keeps to its columns");
    const dim3 grid(unsigned((p.n + BN - 1) / BN), unsigned((p.m + BM - 1) / BM), unsigned(p.splits));
    const bool aligned_a = in_quads(p.a, line_a<TA>(p)), aligned_b = in_quads(p.b, line_b<TB>(p));
    FD_LAUNCH((mma_kernel<O, BM, BN, BK, WM, WN, TA, TB>), grid, S::threads, S::shared_bytes, stream, p, aligned_a,
              aligned_b);
}
template <class O, int BM, int BN, int BK, int WM, int WN>
void choose_layout(const Product<float>& p, cudaStream_t stream) {
    if (p.transpose_a) start<O, BM, BN, BK, WM, WN, true, false>(p, stream);
    else if constexpr (!is_stored<O>) {  // which only gradients of kernels have
        if (p.transpose_b) start<O, BM, BN, BK, WM, WN, false, true>(p, stream);
        else start<O, BM, BN, BK, WM, WN, false, false>(p, stream);
    }
}
// Deep tiles, so that a step along k takes longer than the next tile needs to come, but two buffers of them must fit, and the next
// tile in the registers.
template <class O>
void choose_tile(const Product<float>& p, int tile, cudaStream_t stream) {
    if (tile == 128) choose_layout<O, 128, 128, O::k * 2, 32, 64>(p, stream);
    else if (tile == 64) choose_layout<O, 64, 64, 32, 32, 32>(p, stream);
    else choose_layout<O, 32, 32, 64, 16, 16>(p, stream);
}

}  // namespace

void mma_product(const Product<float>& p, int tile, cudaStream_t stream) {
    if (p.bf16_a) choose_tile<Bf16Stored>(p, tile, stream);
    else if (p.precision == Precision::bf16) choose_tile<Bf16Operand>(p, tile, stream);
    else if (p.precision == Precision::tf32) choose_tile<Tf32Operand>(p, tile, stream);
    else choose_tile<Tf32x3Operand>(p, tile, stream);
}

}  // namespace fd::cuda
