// Functions of whole rows of outputs: softmax, losses and their gradients, metrics. The lanes of a warp, or a power of two of
// them, work on one row; all lanes of the warp must take part, those without a row with a lane number `beyond` all columns. A lane
// reads its own columns only, so results may overwrite their operands.
#pragma once
#include "core/plan.h"
#include "cuda/kernels.h"
#include "cuda/runtime/device_math.h"

namespace fd::cuda {

struct RowLanes {
    static constexpr int beyond = 1 << 30;
    int lane, width;
    template <class T>
    __device__ T sum(T v) const {
        for (int bits = width >> 1; bits; bits >>= 1) v += __shfl_xor_sync(whole_warp, v, bits);
        return v;
    }
    template <class T>
    __device__ T max(T v) const {  // a NaN may get lost
        for (int bits = width >> 1; bits; bits >>= 1) {
            const T other = __shfl_xor_sync(whole_warp, v, bits);
            v = other > v ? other : v;
        }
        return v;
    }
};

template <class T>
__device__ __forceinline__ T row_maximum(const T* z, int cols, const RowLanes& lanes) {
    T m = -T(INFINITY);
    for (int c = lanes.lane; c < cols; c += lanes.width) m = z[c] > m ? z[c] : m;
    return lanes.max(m);
}

template <class T>
__device__ __forceinline__ void softmax_row(const T* z, T* out, int cols, const RowLanes& lanes) {
    const T m = row_maximum(z, cols, lanes);
    T sum = T(0);
    for (int c = lanes.lane; c < cols; c += lanes.width) {
        const T e = ops::vexp(z[c] - m);
        out[c] = e;
        sum += e;
    }
    const T scale = T(1) / lanes.sum(sum);
    for (int c = lanes.lane; c < cols; c += lanes.width) out[c] *= scale;
}

template <class T>
__device__ __forceinline__ T activity_derivative(T a, double l1, double l2) {
    return T(l1) * ops::vsign(a) + T(2 * l2) * a;
}

// ---- losses ---------------------------------------------------------------------------------------------------------

struct LossKind {
    ops::Loss loss = ops::Loss::mse;
    double param = 0, label_smoothing = 0;
    bool from_logits = false;
    const double* params = nullptr;  // of each output, in place of `param`, or none
    __device__ bool categorical() const {
        return loss == ops::Loss::categorical_crossentropy || loss == ops::Loss::sparse_categorical_crossentropy;
    }
};
template <class T>
struct LossRow {
    const T *p = nullptr, *y = nullptr;  // y: null if there is a class id
    int32_t label = -1;
    int cols = 1;
    double weight = 1, factor = 1;  // factor: of gradients, beside the weight
};

template <class T>
__device__ __forceinline__ LossKind kind_of(const LossRows<T>& l) {
    return {l.loss, l.param, l.label_smoothing, l.from_logits, l.params};
}
template <class T>
__device__ __forceinline__ LossRow<T> row_of(const LossRows<T>& l, int64_t r) {
    LossRow<T> row;
    row.p = l.p + r * l.cols;
    if (l.labels) row.label = l.labels[r];
    else row.y = l.y + r * l.cols;
    row.cols = int(l.cols);
    row.weight = l.weights ? l.weights[r] : 1;
    row.factor = l.factor;
    return row;
}

// Each of these returns weight · loss, in the row's first lane at least, and calls put(column, gradient) if asked for. A row's gradient may
// overwrite p.
template <class T, class Put>
__device__ __forceinline__ double elementwise_row(const LossKind& l, const LossRow<T>& row, const RowLanes& lanes,
                                                  bool wants_gradient, Put put) {
    const T keep = T(1 - l.label_smoothing), shift = T(l.label_smoothing / 2), one = T(l.param);
    const double share = 1 / double(row.cols);
    const T scale = T(row.weight * row.factor * share);
    T sum = T(0);
    for (int c = lanes.lane; c < row.cols; c += lanes.width) {
        const T param = l.params ? T(l.params[c]) : one;
        const LossTerm<T> t = loss_term(l.loss, row.p[c], row.y[c] * keep + shift, param);
        sum += t.value;
        if (wants_gradient) put(c, t.derivative * scale);
    }
    return row.weight * double(lanes.sum(sum)) * share;
}

// The target of a class, smoothed.
template <class T>
struct ClassTargets {
    T keep, shift;
    const LossRow<T>& row;
    __device__ ClassTargets(const LossKind& l, const LossRow<T>& r)
        : keep(T(1 - l.label_smoothing)), shift(T(l.label_smoothing / double(r.cols))), row(r) {}
    __device__ T operator()(int c) const {
        if (row.y) return row.y[c] * keep + shift;
        return row.label == c ? keep + shift : shift;
    }
};

// -Σ t log softmax(z) = Σ t · logsumexp(z) - Σ t z, with z - max(z) for z; gradient softmax(z) Σt - t.
template <class T, class Put>
__device__ __forceinline__ double logits_row(const LossKind& l, const LossRow<T>& row, const RowLanes& lanes,
                                             bool wants_gradient, Put put) {
    const T* z = row.p;
    const ClassTargets<T> target(l, row);
    const T m = row_maximum(z, row.cols, lanes);
    T exponentials = T(0), targets = T(0), agreement = T(0);
    for (int c = lanes.lane; c < row.cols; c += lanes.width) {
        const T x = z[c] - m, t = target(c);
        exponentials += ops::vexp(x);
        targets += t;
        if (t > T(0)) agreement += t * x;  // 0 · -inf is 0
    }
    const T total = lanes.sum(exponentials), mass = lanes.sum(targets);
    agreement = lanes.sum(agreement);
    double loss = 0;
    if (lanes.lane == 0) loss = row.weight * (double(mass) * ops::vlog(double(total)) - double(agreement));
    if (!wants_gradient) return loss;
    const T scale = T(row.weight * row.factor), share = mass / total;
    for (int c = lanes.lane; c < row.cols; c += lanes.width) put(c, (ops::vexp(z[c] - m) * share - target(c)) * scale);
    return loss;
}

// Keras's form on probabilities: q = clip(p/Σp), loss -Σ t log q; nothing flows through a clipped element.
template <class T, class Put>
__device__ __forceinline__ double probabilities_row(const LossKind& l, const LossRow<T>& row, const RowLanes& lanes,
                                                    bool wants_gradient, Put put) {
    const T* p = row.p;
    const ClassTargets<T> target(l, row);
    const T low = T(ops::probability_floor), high = T(1 - ops::probability_floor);
    T sum = T(0);
    for (int c = lanes.lane; c < row.cols; c += lanes.width) sum += p[c];
    const T total = lanes.sum(sum);
    T value = T(0), through = T(0);  // through = Σ_j t_j over the unclipped j
    auto flows = [&](T q, T t) { return q < low || q > high ? T(0) : t; };
    for (int c = lanes.lane; c < row.cols; c += lanes.width) {
        const T q = p[c] / total, t = target(c);
        value -= t * ops::vlog(ops::vmin(ops::vmax(q, low), high));
        through += flows(q, t);
    }
    value = lanes.sum(value);
    through = lanes.sum(through);
    if (wants_gradient) {
        const T scale = T(row.weight * row.factor);
        for (int c = lanes.lane; c < row.cols; c += lanes.width) {
            const T q = p[c] / total, clipped = ops::vmin(ops::vmax(q, low), high);
            put(c, (through - flows(q, target(c)) / clipped) / total * scale);
        }
    }
    return row.weight * double(value);
}

template <class T, class Put>
__device__ __forceinline__ double loss_row(const LossKind& l, const LossRow<T>& row, const RowLanes& lanes,
                                           bool wants_gradient, Put put) {
    if (!l.categorical()) return elementwise_row(l, row, lanes, wants_gradient, put);
    if (l.from_logits) return logits_row(l, row, lanes, wants_gradient, put);
    return probabilities_row(l, row, lanes, wants_gradient, put);
}

// ---- metrics of one value a row -------------------------------------------------------------------------------------

template <class T>
__device__ double row_value(const MetricSpec& m, const ops::MetricRow<T>& row) {
    return ops::metric_row_value(m.kind, m.k, m.threshold, row);
}

}  // namespace fd::cuda
