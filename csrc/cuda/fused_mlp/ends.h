// What follows a product in both kernels.
#pragma once
#include "cuda/fused_mlp/fragments.h"
#include "ops/activations.h"

namespace fd::cuda {

// f(functor) of the activation; `relu`: it is that or none.
template <bool relu, class F>
__device__ __forceinline__ void with_activation(ops::Activation activation, F&& f) {
    if constexpr (relu) {
        if (activation == ops::Activation::relu) f(ops::Relu());
    } else {
        switch (activation) {
#define FD_CASE(name, functor) \
    case ops::Activation::name: f(ops::functor()); break;
            FD_ELEMENTWISE_ACTIVATIONS(FD_CASE)
#undef FD_CASE
            case ops::Activation::softmax: break;  // part of the loss
        }
    }
}

// Adds the sums over a tile's rows to those of its columns. Column i % 2 of half i / 4 of lane t of four, as TileSums has them, is at
// `step` t + i % 2 + `right` (i / 4).
__device__ __forceinline__ void add_columns(const TileSums& s, float* to, int step, int right) {
    const int lane = int(threadIdx.x) & 31;
    const bool second = lane & 16, odd = lane & 8;  // which columns this lane goes on with
    const float left0 = s.v[0] + s.v[2], left1 = s.v[1] + s.v[3], right0 = s.v[4] + s.v[6], right1 = s.v[5] + s.v[7];
    const float a = (second ? right0 : left0) + __shfl_xor_sync(whole_warp, second ? left0 : right0, 16);
    const float b = (second ? right1 : left1) + __shfl_xor_sync(whole_warp, second ? left1 : right1, 16);
    float sum = (odd ? b : a) + __shfl_xor_sync(whole_warp, odd ? a : b, 8);
    sum += __shfl_xor_sync(whole_warp, sum, 4);
    if (!(lane & 4)) to[step * (lane % 4) + odd + right * second] += sum;
}

}  // namespace fd::cuda
