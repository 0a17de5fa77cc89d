// Formulas of csrc/ops chosen at run time. Every thread of a launch takes the same branch, and the switch is compiled once per
// kernel instead of a kernel per activation.
#pragma once
#include "cuda/port.h"
#include "ops/activations.h"
#include "ops/losses.h"

namespace fd::cuda {

template <class T>
__device__ inline T activate(ops::Activation activation, T z, T p) {
    switch (activation) {
#define FD_CASE(name, functor) \
    case ops::Activation::name: return ops::functor::value(z, p);
        FD_ELEMENTWISE_ACTIVATIONS(FD_CASE)
#undef FD_CASE
        case ops::Activation::softmax: break;  // a kernel of its own: it mixes columns
    }
    return z;
}
template <class T>
__device__ inline T activation_slope(ops::Activation activation, T stored, T p) {
    switch (activation) {
#define FD_CASE(name, functor) \
    case ops::Activation::name: return ops::functor::slope(stored, p);
        FD_ELEMENTWISE_ACTIVATIONS(FD_CASE)
#undef FD_CASE
        case ops::Activation::softmax: break;
    }
    return T(1);
}
template <class T>
struct LossTerm {
    T value, slope;
};
template <class T>
__device__ inline LossTerm<T> loss_term(ops::Loss loss, T p, T y, T c) {
    switch (loss) {
#define FD_CASE(name, functor) \
    case ops::Loss::name: return {ops::functor::value(p, y, c), ops::functor::slope(p, y, c)};
        FD_ELEMENTWISE_LOSSES(FD_CASE)
#undef FD_CASE
        case ops::Loss::categorical_crossentropy:
        case ops::Loss::sparse_categorical_crossentropy: break;  // couple the outputs of a row
    }
    return {T(0), T(0)};
}

// To bfloat16 (8 bits of mantissa) or TF32 (11), to nearest, ties to even; NaN stays NaN.
__device__ __forceinline__ float round_mantissa(float v, int dropped) {
    const unsigned u = __float_as_uint(v);
    if ((u & 0x7f800000u) == 0x7f800000u) return v;
    const unsigned half = (1u << (dropped - 1)) - 1 + (u >> dropped & 1u);
    return __uint_as_float((u + half) >> dropped << dropped);
}

}  // namespace fd::cuda
