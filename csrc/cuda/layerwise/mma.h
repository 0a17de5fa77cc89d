// Tensor cores by nvcuda::wmma, or by the emulator's stand-in: the layout of operands in shared memory, and how float32 numbers
// are rounded into it.
#pragma once
#include <cstdint>

#include "cuda/runtime/device_math.h"
#include "cuda/runtime/port.h"
#ifdef FD_EMULATE
#include "wmma.h"
#else
#include <cuda_bf16.h>
#include <mma.h>
#endif

namespace fd::cuda {

namespace wmma = nvcuda::wmma;

// `pad`: what a row of a matrix in shared memory is longer, so that its rows start in different banks.
struct Bf16Operand {
    using type = __nv_bfloat16;
    using fragment_type = __nv_bfloat16;
    static constexpr int k = 16, pad = 8;
    struct __align__(8) Four {
        __nv_bfloat162 low, high;
    };
    static __device__ __forceinline__ void store4(type* to, float4 v) {
        *reinterpret_cast<Four*>(to) = Four{__floats2bfloat162_rn(v.x, v.y), __floats2bfloat162_rn(v.z, v.w)};
    }
};
struct Tf32Operand {
    using type = float;
    using fragment_type = wmma::precision::tf32;
    static constexpr int k = 8, pad = 4;
    static __device__ __forceinline__ float rounded(
        float v) {  // the tensor core drops bits, and may drop a NaN with them
        return v == v ? round_mantissa(v, 13) : __uint_as_float(0x7fffe000u);
    }
    static __device__ __forceinline__ void store4(type* to, float4 v) {
        *reinterpret_cast<float4*>(to) = float4{rounded(v.x), rounded(v.y), rounded(v.z), rounded(v.w)};
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
template <class O, bool transposed>
using FragmentA =
    wmma::fragment<wmma::matrix_a, 16, 16, O::k, typename O::fragment_type, typename Layout<transposed>::type>;
template <class O, bool transposed>
using FragmentB =
    wmma::fragment<wmma::matrix_b, 16, 16, O::k, typename O::fragment_type, typename Layout<transposed>::type>;
template <class O>
using Sums = wmma::fragment<wmma::accumulator, 16, 16, O::k, float>;

// Operands from shared memory. <mma.h> does not say which memory it is, and then the GPU loads number by number instead of by tiles.
#ifdef FD_EMULATE
template <class Fragment, class E>
void load_shared(Fragment& f, const E* p, int ld) {
    wmma::load_matrix_sync(f, p, unsigned(ld));
}
#else
#define FD_LOAD_SHARED(O, Fragment, side, transposed, layout, shape)                                    \
    __device__ __forceinline__ void load_shared(Fragment<O, transposed>& f, const O::type* p, int ld) { \
        static_assert(sizeof(f.x) == 16, "four registers");                                             \
        unsigned* const x = reinterpret_cast<unsigned*>(f.x);                                           \
        asm volatile("wmma.load." side ".sync.aligned." layout "." shape " {%0, %1, %2, %3}, [%4], %5;" \
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])                                   \
                     : "r"(unsigned(__cvta_generic_to_shared(p))), "r"(ld)                              \
                     : "memory");                                                                       \
    }
#define FD_LOAD_OPERANDS(O, shape)                         \
    FD_LOAD_SHARED(O, FragmentA, "a", false, "row", shape) \
    FD_LOAD_SHARED(O, FragmentA, "a", true, "col", shape)  \
    FD_LOAD_SHARED(O, FragmentB, "b", false, "row", shape) \
    FD_LOAD_SHARED(O, FragmentB, "b", true, "col", shape)
FD_LOAD_OPERANDS(Bf16Operand, "m16n16k16.shared.bf16")
FD_LOAD_OPERANDS(Tf32Operand, "m16n16k8.shared.tf32")
#undef FD_LOAD_OPERANDS
#undef FD_LOAD_SHARED
#endif

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
