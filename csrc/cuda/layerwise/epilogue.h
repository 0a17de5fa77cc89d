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

}  // namespace fd::cuda
