// The epilogue of the hand-written product kernels.
#pragma once
#include "cuda/layerwise/products.h"
#include "cuda/runtime/device_math.h"

namespace fd::cuda {

template <class T>
__device__ T finished(const Epilogue<T>& e, T sum, int64_t at, int64_t col) {
    T v = T(e.scale) * sum;
    if (e.add) v += T(e.add_scale) * e.add[at];
    if (e.bias) v += e.bias[col];
    if (e.pre_activation) e.pre_activation[at] = v;
    const T p = e.slope ? e.slope[col] : e.alpha;
    v = activate(e.activation, v, p);
    if (e.stored) v *= activation_derivative(e.backward, e.stored[at], p);
    return v;
}

// The same of four columns from a multiple of four on, where every row starts on 16 bytes.
template <class T>
__device__ void finish_quad(const Epilogue<T>& e, Quad<T>& v, int64_t at, int64_t col) {
    const auto plus = [&](T factor, const T* from) {
        const Quad<T> q = read_quad(from);
        for (int j = 0; j < 4; ++j) v.v[j] += factor * q.v[j];
    };
    for (int j = 0; j < 4; ++j) v.v[j] *= T(e.scale);
    if (e.add) plus(T(e.add_scale), e.add + at);
    if (e.bias) plus(T(1), e.bias + col);
    if (e.pre_activation) write_quad(e.pre_activation + at, v.v);
    const Quad<T> p = e.slope ? read_quad(e.slope + col) : four_times(e.alpha);
    activate(e.activation, p, v);
    if (e.stored) multiply_by_derivative(e.backward, read_quad(e.stored + at), p, v);
}

}  // namespace fd::cuda
