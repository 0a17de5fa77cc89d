// Tensor cores by nvcuda::wmma, or by the emulator's stand-in: the layout of operands in shared memory, and how float32 numbers
// are rounded into it.
#pragma once
#include <cstdint>

#include "cuda/runtime/device_math.h"
#include "cuda/runtime/port.h"
#ifdef FD_EMULATE
#include "mma_sync.h"
#else
#include <cuda_bf16.h>
#include <mma.h>
#endif

namespace fd::cuda {

namespace wmma = nvcuda::wmma;

// How float32 numbers are made operands in shared memory: each in `parts` numbers, every part in a matrix of its own, `apart`
// elements behind the one before. `pad`: what a row of a matrix in shared memory is longer, so that its rows start in different
// banks, if it runs along the sum and if it runs across.
struct Bf16Operand {
    using type = __nv_bfloat16;
    static constexpr int k = 16, parts = 1, pad = 8, pad_across = 8;
    struct __align__(8) Four {
        __nv_bfloat162 low, high;
    };
    static __device__ __forceinline__ void store4(type* to, float4 v, int = 0) {
        *reinterpret_cast<Four*>(to) = Four{__floats2bfloat162_rn(v.x, v.y), __floats2bfloat162_rn(v.z, v.w)};
    }
};
// Rounded in memory already: every line starts on 16 bytes, and four numbers may be loaded where one is needed.
struct Bf16Stored : Bf16Operand {
    static __device__ __forceinline__ void store4(type* to, uint2 v, int = 0) { *reinterpret_cast<uint2*>(to) = v; }
};
struct Tf32Operand {
    using type = float;
    static constexpr int k = 8, parts = 1, pad = 4, pad_across = 8;
    static constexpr unsigned kept = 0xffffe000u;  // the bits of a float32 number that TF32 has
    // To nearest, ties to even. The tensor core drops bits, and may drop a NaN with them.
    static __device__ __forceinline__ float rounded(float v) {
        const unsigned u = __float_as_uint(v);
        return __uint_as_float(v == v ? (u + 0xfffu + (u >> 13 & 1u)) & kept : 0x7fffe000u);
    }
    static __device__ __forceinline__ void store4(type* to, float4 v, int = 0) {
        *reinterpret_cast<float4*>(to) = float4{rounded(v.x), rounded(v.y), rounded(v.z), rounded(v.w)};
    }
};
// v = big + small, but for at most 2^-23 |v|; see docs/design/numerics.md, Precision. What big would be too large for (from
// 2^128 - 2^116 on, infinity, NaN) is ±1 + small, so that an infinity remains one in products.
struct Tf32x3Operand : Tf32Operand {
    static constexpr int parts = 2;
    static __device__ __forceinline__ void split(float v, float& big, float& small) {
        const unsigned u = __float_as_uint(v);
        big = __uint_as_float(fabsf(v) < 0x1.ffep127f ? (u + 0x1000u) & kept : (u & 0x80000000u) | 0x3f800000u);
        small = __uint_as_float(__float_as_uint(v - big) & kept);
    }
    static __device__ __forceinline__ void store4(type* to, float4 v, int apart) {
        float4 big, small;
        split(v.x, big.x, small.x), split(v.y, big.y, small.y), split(v.z, big.z, small.z), split(v.w, big.w, small.w);
        *reinterpret_cast<float4*>(to) = big;
        *reinterpret_cast<float4*>(to + apart) = small;
    }
};

template <bool transposed>  // as it lies in memory
struct Layout {
    using type = wmma::row_major;
};
template <>
struct Layout<true> {
    using type = wmma::col_major;
};
template <bool transposed>
using Bf16A = wmma::fragment<wmma::matrix_a, 16, 16, Bf16Operand::k, __nv_bfloat16, typename Layout<transposed>::type>;
template <bool transposed>
using Bf16B = wmma::fragment<wmma::matrix_b, 16, 16, Bf16Operand::k, __nv_bfloat16, typename Layout<transposed>::type>;
using Bf16Sums = wmma::fragment<wmma::accumulator, 16, 16, Bf16Operand::k, float>;

// Operands from shared memory. <mma.h> does not say which memory it is, and then the GPU loads number by number instead of by tiles.
#ifdef FD_EMULATE
template <class Fragment, class E>
void load_shared(Fragment& f, const E* p, int ld) {
    wmma::load_matrix_sync(f, p, unsigned(ld));
}
#else
#define FD_LOAD_SHARED(Fragment, side, transposed, layout)                                                          \
    __device__ __forceinline__ void load_shared(Fragment<transposed>& f, const Bf16Operand::type* p, int ld) {      \
        static_assert(sizeof(f.x) == 16, "four registers");                                                         \
        unsigned* const x = reinterpret_cast<unsigned*>(f.x);                                                       \
        asm volatile("wmma.load." side ".sync.aligned." layout ".m16n16k16.shared.bf16 {%0, %1, %2, %3}, [%4], %5;" \
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])                                               \
                     : "r"(unsigned(__cvta_generic_to_shared(p))), "r"(ld)                                          \
                     : "memory");                                                                                   \
    }
FD_LOAD_SHARED(Bf16A, "a", false, "row")
FD_LOAD_SHARED(Bf16A, "a", true, "col")
FD_LOAD_SHARED(Bf16B, "b", false, "row")
FD_LOAD_SHARED(Bf16B, "b", true, "col")
#undef FD_LOAD_SHARED
#endif

// m16n16k8 of TF32 as two mma.sync of m16n8k8, whose layout PTX documents: <mma.h> would make it of four m16n8k4.
template <bool transposed>
struct Tf32A {
    unsigned x[4];
};
template <bool transposed>
struct Tf32B {
    unsigned x[4];  // of each half of its columns two
};
struct Tf32Sums {
    static constexpr int num_elements = 8;
    float x[8];  // of each half of its columns four
};
// From line-by-line storage, or column by column if transposed.
template <bool transposed>
__device__ __forceinline__ void load_shared(Tf32A<transposed>& f, const float* p, int ld) {
    const int lane = int(threadIdx.x) & 31, row = lane >> 2, k = lane & 3;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
        const int r = row + (e & 1) * 8, c = k + (e >> 1) * 4;
        f.x[e] = __float_as_uint(p[transposed ? c * ld + r : r * ld + c]);
    }
}
template <bool transposed>
__device__ __forceinline__ void load_shared(Tf32B<transposed>& f, const float* p, int ld) {
    const int lane = int(threadIdx.x) & 31, col = lane >> 2, k = lane & 3;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
        const int r = k + (e & 1) * 4, c = col + (e >> 1) * 8;
        f.x[e] = __float_as_uint(p[transposed ? c * ld + r : r * ld + c]);
    }
}
// d = a b + c of one half. Each lane has a(g, t), a(g + 8, t), a(g, t + 4), a(g + 8, t + 4), b(t, g), b(t + 4, g) and c(g, 2t),
// c(g, 2t + 1), c(g + 8, 2t), c(g + 8, 2t + 1), where g = lane / 4, t = lane % 4.
__device__ __forceinline__ void mma_m16n8k8(float* d, const unsigned* a, const unsigned* b, const float* c) {
#ifdef FD_EMULATE
    emulator::multiply_add<8>(d, a, b, c);
#else
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%10, %11, %12, %13};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
#endif
}
template <bool ta, bool tb>
__device__ __forceinline__ void multiply_add(Tf32Sums& d, const Tf32A<ta>& a, const Tf32B<tb>& b, const Tf32Sums& c) {
    mma_m16n8k8(d.x, a.x, b.x, c.x);
    mma_m16n8k8(d.x + 4, a.x, b.x + 2, c.x + 4);
}
// To line-by-line storage.
__device__ __forceinline__ void store_shared(float* to, const Tf32Sums& f, int ld) {
    const int lane = int(threadIdx.x) & 31, row = lane >> 2, col = 2 * (lane & 3);
#pragma unroll
    for (int e = 0; e < 8; e += 2)
        *reinterpret_cast<float2*>(to + (row + (e & 2) * 4) * ld + col + (e >> 2) * 8) = float2{f.x[e], f.x[e + 1]};
}

// The same by <mma.h>.
template <class F, class A, class B>
__device__ __forceinline__ void multiply_add(F& d, const A& a, const B& b, const F& c) {
    wmma::mma_sync(d, a, b, c);
}
template <class F>
__device__ __forceinline__ void store_shared(float* to, const F& f, int ld) {
    wmma::store_matrix_sync(to, f, unsigned(ld), wmma::mem_row_major);
}

template <class O, bool ta, bool tb>  // what a warp multiplies
struct TileFragments {
    using A = Tf32A<ta>;
    using B = Tf32B<tb>;
    using C = Tf32Sums;
};
template <bool ta, bool tb>
struct TileFragments<Bf16Operand, ta, tb> {
    using A = Bf16A<ta>;
    using B = Bf16B<tb>;
    using C = Bf16Sums;
};
template <bool ta, bool tb>
struct TileFragments<Bf16Stored, ta, tb> : TileFragments<Bf16Operand, ta, tb> {};

// Whether every line starts on 16 bytes.
FD_HD bool in_quads(const float* p, int64_t ld) { return ld % 4 == 0 && reinterpret_cast<uintptr_t>(p) % 16 == 0; }
// Four numbers of a line of a matrix, 0 where it ends.
__device__ __forceinline__ float4 four(const float* matrix, int64_t ld, int64_t line, int64_t lines, int64_t at,
                                       int64_t width, bool aligned) {
    float4 v{0, 0, 0, 0};
    if (line >= lines) return v;
    const float* p = matrix + line * ld + at;
    if (aligned && at + 4 <= width) return *reinterpret_cast<const float4*>(p);
    if (at < width) v.x = p[0];
    if (at + 1 < width) v.y = p[1];
    if (at + 2 < width) v.z = p[2];
    if (at + 3 < width) v.w = p[3];
    return v;
}

}  // namespace fd::cuda
