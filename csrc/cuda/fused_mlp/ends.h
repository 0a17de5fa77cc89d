// What follows a product in both kernels.
#pragma once
#include "cuda/device_rows.h"
#include "cuda/fused_mlp/fragments.h"
#include "cuda/fused_mlp/fused_mlp.h"
#include "cuda/runtime/device_data.h"
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

// The rows of a step: the caller's, in the order of its record, or those that were gathered.
struct MlpRows {
    const StepRecord* record;
    const char *x, *y;
    const double* weights;
    __device__ explicit MlpRows(const MlpBatch& b)
        : record(b.by_record ? &b.steps.now() : nullptr), x(record ? record->x : b.x), y(record ? record->y : b.y),
          weights(record ? record->weights : b.weights) {}
    __device__ int64_t place(int64_t row) const { return record ? record->row(row) : row; }
};
// The loss of a row, whose outputs become the gradients of the last layer's sums, or 0 if it is not `there`. kept: what the
// derivative of the activation needs, or null if it is the outputs.
__device__ __forceinline__ double loss_to_gradients(const MlpProgram& p, const MlpBatch& batch, const MlpRows& from,
                                                    int64_t row, bool there, float* out, const float* kept,
                                                    const RowLanes& lanes) {
    const MlpLayer& last = p.layers[p.count - 1];
    LossRow<float> of;
    of.p = out, of.cols = last.out;
    const char* const y = from.y + row * batch.y_stride;
    if (batch.labels) of.label = read<int32_t>(y, batch.label_type);
    else of.y = reinterpret_cast<const float*>(y);
    if (batch.weighted) of.weight = from.weights[row];
    of.factor = 1 / double(batch.rows);
    const LossKind kind{p.loss, p.loss_param, p.label_smoothing, p.from_logits};
    return loss_row(kind, of, lanes, true, [&](int c, float d) {
        const float stored = kept ? kept[c] : out[c];
        out[c] = there ? d * activation_derivative(last.activation, stored, last.alpha) : 0;
    });
}

// A block's part of a layer's bias gradient: the sum of so many copies, which lie behind each other.
__device__ __forceinline__ void put_bias_part(const MlpLayer& layer, const float* copies, int count, float* part) {
    const int cols = 16 * layer.out_tiles;
    for (int c = int(threadIdx.x); layer.bias >= 0 && c < cols; c += int(blockDim.x)) {
        float sum = copies[c];
        for (int i = 1; i < count; ++i) sum += copies[i * cols + c];
        part[layer.part_bias + c] = sum;
    }
}

}  // namespace fd::cuda
