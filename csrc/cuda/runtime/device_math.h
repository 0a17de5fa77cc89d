// Formulas of csrc/ops chosen at run time. Every thread of a launch takes the same branch, and the switch is compiled once per
// kernel instead of a kernel per activation.
#pragma once
#include "core/types.h"
#include "cuda/runtime/port.h"
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
__device__ inline T activation_derivative(ops::Activation activation, T stored, T p) {
    switch (activation) {
#define FD_CASE(name, functor) \
    case ops::Activation::name: return ops::functor::derivative(stored, p);
        FD_ELEMENTWISE_ACTIVATIONS(FD_CASE)
#undef FD_CASE
        case ops::Activation::softmax: break;
    }
    return T(1);
}
template <class T>
struct LossTerm {
    T value, derivative;
};
template <class T>
__device__ inline LossTerm<T> loss_term(ops::Loss loss, T p, T y, T c) {
    switch (loss) {
#define FD_CASE(name, functor) \
    case ops::Loss::name: return {ops::functor::value(p, y, c), ops::functor::derivative(p, y, c)};
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
// An operand of a product.
__device__ __forceinline__ float rounded(float v, Precision r) {
    return r == Precision::full ? v : round_mantissa(v, r == Precision::bf16 ? 16 : 13);
}
__device__ __forceinline__ double rounded(double v, Precision) { return v; }

// Four neighbours at once, from an address that is a multiple of 16 bytes: element-wise loads of the lanes would conflict.
template <class T>
struct Quad {
    T v[4];
};
__device__ __forceinline__ Quad<float> read_quad(const float* p) {
    const float4 q = *reinterpret_cast<const float4*>(p);
    return {{q.x, q.y, q.z, q.w}};
}
__device__ __forceinline__ Quad<double> read_quad(const double* p) {
    const double2 a = *reinterpret_cast<const double2*>(p), b = *reinterpret_cast<const double2*>(p + 2);
    return {{a.x, a.y, b.x, b.y}};
}

__device__ __forceinline__ void write_quad(float* p, const float (&v)[4]) {
    *reinterpret_cast<float4*>(p) = float4{v[0], v[1], v[2], v[3]};
}
__device__ __forceinline__ void write_quad(double* p, const double (&v)[4]) {
    *reinterpret_cast<double2*>(p) = double2{v[0], v[1]};
    *reinterpret_cast<double2*>(p + 2) = double2{v[2], v[3]};
}

// What there is of four numbers from p on, of which `left` are there; 0 for the others. `aligned`: p is a multiple of 16 bytes.
template <class T>
__device__ __forceinline__ Quad<T> quad_of(const T* p, int64_t left, bool aligned = true) {
    if (aligned && left >= 4) return read_quad(p);
    Quad<T> q;
#pragma unroll
    for (int j = 0; j < 4; ++j) q.v[j] = j < left ? p[j] : T(0);
    return q;
}
template <class T>
__device__ __forceinline__ void put_quad(T* p, const Quad<T>& q, int64_t left, bool aligned = true) {
    if (aligned && left >= 4) return write_quad(p, q.v);
#pragma unroll
    for (int j = 0; j < 4; ++j)
        if (j < left) p[j] = q.v[j];
}
template <class T>
__device__ __forceinline__ Quad<T> four_times(T v) {
    return {{v, v, v, v}};
}

// v = f(v), with one choice of f for the four.
template <class T>
__device__ inline void activate(ops::Activation activation, const Quad<T>& p, Quad<T>& v) {
    switch (activation) {
#define FD_CASE(name, functor)                                                    \
    case ops::Activation::name:                                                   \
        for (int j = 0; j < 4; ++j) v.v[j] = ops::functor::value(v.v[j], p.v[j]); \
        break;
        FD_ELEMENTWISE_ACTIVATIONS(FD_CASE)
#undef FD_CASE
        case ops::Activation::softmax: break;
    }
}
// v *= f'(stored).
template <class T>
__device__ inline void multiply_by_derivative(ops::Activation activation, const Quad<T>& stored, const Quad<T>& p,
                                              Quad<T>& v) {
    switch (activation) {
#define FD_CASE(name, functor)                                                               \
    case ops::Activation::name:                                                              \
        for (int j = 0; j < 4; ++j) v.v[j] *= ops::functor::derivative(stored.v[j], p.v[j]); \
        break;
        FD_ELEMENTWISE_ACTIVATIONS(FD_CASE)
#undef FD_CASE
        case ops::Activation::softmax: break;
    }
}

}  // namespace fd::cuda
