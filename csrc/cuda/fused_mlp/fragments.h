// Tensor cores by PTX's ldmatrix and mma.sync: unlike wmma, its manual says which lane has which numbers, so that what follows a
// product is done in registers. Of lane l, g = l / 4 and t = l % 4 below.
#pragma once
#include <cstring>

#include "cuda/layerwise/mma.h"

namespace fd::cuda {

// Sums of a tile of 16 x 16: number i is at row g + 8 (i / 2 % 2), column 2t + i % 2 + 8 (i / 4), so two by two are neighbours.
struct TileSums {
    float v[8];
    __device__ void clear() {
#pragma unroll
        for (float& x : v) x = 0;
    }
};
struct TilePlaces {
    int g, t;
    __device__ explicit TilePlaces(int lane) : g(lane / 4), t(lane % 4) {}
    __device__ int row(int i) const { return g + 8 * (i / 2 % 2); }
    __device__ int col(int i) const { return 2 * t + i % 2 + 8 * (i / 4); }
};

template <bool transposed>
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], const void* line) {
#ifdef FD_EMULATE
    emulator::load_matrices(to, line, transposed);
#else
    const unsigned at = unsigned(__cvta_generic_to_shared(line));
    if constexpr (transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(at)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(at)
                     : "memory");
#endif
}

// What a kernel needs to know of an operand: how a lane finds and loads its part of tiles of 16 x k and k x 16 that lie in shared
// memory as they are or transposed, and how sums are put back. A tile of b is two of the instruction's, side by side.
template <class O>
struct Fragments;

template <>
struct Fragments<Bf16Operand> {
    using E = Bf16Operand::type;
    using Stored = unsigned;  // two neighbours
    static constexpr int k = Bf16Operand::k;

    // Offsets of the lane from the tile's corner.
    template <bool transposed>
    static __device__ int at_a(int lane, int ld) {
        return transposed ? (lane % 8 + lane / 16 * 8) * ld + lane / 8 % 2 * 8 : lane % 16 * ld + lane / 16 * 8;
    }
    template <bool transposed>
    static __device__ int at_b(int lane, int ld) {
        return at_a<transposed>(lane, ld);
    }
    template <bool transposed>
    static __device__ __forceinline__ void load_a(unsigned (&f)[4], const E* at, int) {
        load_matrices<transposed>(f, at);
    }
    template <bool transposed>
    static __device__ __forceinline__ void load_b(unsigned (&f)[4], const E* at, int) {
        load_matrices<!transposed>(f, at);
    }
    static __device__ __forceinline__ void multiply(float* c, const unsigned* a, const unsigned* b) {
#ifdef FD_EMULATE
        emulator::multiply_add<k>(c, a, b, c);
#else
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
            "{%8, %9}, {%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
    }
    static __device__ __forceinline__ Stored rounded(float x, float y) {
        const __nv_bfloat162 pair = __floats2bfloat162_rn(x, y);
        unsigned bits;
        std::memcpy(&bits, &pair, sizeof bits);
        return bits;
    }
    static __device__ __forceinline__ float first(Stored s) { return __uint_as_float(s << 16); }
    static __device__ __forceinline__ float second(Stored s) { return __uint_as_float(s & 0xffff0000u); }
};

template <>
struct Fragments<Tf32Operand> {
    using E = float;
    using Stored = float2;
    static constexpr int k = Tf32Operand::k;

    template <bool transposed>
    static __device__ int at_a(int lane, int ld) {
        return transposed ? lane % 4 * ld + lane / 4 : lane % 16 * ld + lane / 16 * 4;
    }
    template <bool transposed>
    static __device__ int at_b(int lane, int ld) {
        return transposed ? (lane % 8 + lane / 16 * 8) * ld + lane / 8 % 2 * 4 : lane % 4 * ld + lane / 4;
    }
    template <bool transposed>
    static __device__ __forceinline__ void load_a(unsigned (&f)[4], const E* at, int ld) {
        if constexpr (!transposed) return load_matrices<false>(f, at);
        f[0] = __float_as_uint(at[0]), f[1] = __float_as_uint(at[8]);
        f[2] = __float_as_uint(at[4 * ld]), f[3] = __float_as_uint(at[4 * ld + 8]);
    }
    template <bool transposed>
    static __device__ __forceinline__ void load_b(unsigned (&f)[4], const E* at, int ld) {
        if constexpr (transposed) return load_matrices<false>(f, at);
        f[0] = __float_as_uint(at[0]), f[1] = __float_as_uint(at[4 * ld]);
        f[2] = __float_as_uint(at[8]), f[3] = __float_as_uint(at[4 * ld + 8]);
    }
    static __device__ __forceinline__ void multiply(float* c, const unsigned* a, const unsigned* b) {
        mma_m16n8k8(c, a, b, c);
    }
    static __device__ __forceinline__ Stored rounded(float x, float y) {
        return float2{Tf32Operand::rounded(x), Tf32Operand::rounded(y)};
    }
    static __device__ __forceinline__ float first(Stored s) { return s.x; }
    static __device__ __forceinline__ float second(Stored s) { return s.y; }
};

// The first four numbers of a tile's sums are the left instruction's, the others the right one's.
template <class O>
__device__ __forceinline__ void multiply_add(TileSums& s, const unsigned (&a)[4], const unsigned (&b)[4]) {
    Fragments<O>::multiply(s.v, a, b);
    Fragments<O>::multiply(s.v + 4, a, b + 2);
}

}  // namespace fd::cuda
