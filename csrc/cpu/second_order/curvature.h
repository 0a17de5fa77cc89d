// Gauss-Newton products of a net: (Jᵀ H J) v for the rows of a batch, J the derivative of the outputs (of the pre-activation,
// if the loss is fused with the last activation) and H the second derivative of the loss (Schraudolph 2002).
#pragma once
#include <vector>

#include "cpu/layerwise/layerwise.h"

namespace fd::cpu {

template <class T>
class Curvature {
public:
    Curvature(const Plan& plan, const State<T>& state, const Layerwise<T>& layerwise, const Training& training);

    void begin(int64_t rows, const double* v);  // for batches of at most so many rows; v: all trainable tensors, flat
    // out += the product of a batch that has been through Layerwise::forward with Pass::inference, `total` rows in the data.
    void add(const Worker& w, const Batch<T>& b, double total, double* out);

private:
    struct Task {  // some rows, from the input to the outputs and back
        std::vector<Buffer<T>> tangents;
        std::vector<const T*> open;   // tangents of open residuals
        std::vector<Buffer<T>> kept;  // gradients of open residuals
        Buffer<T> back, next, result, share;
    };
    void run(Task& task, const Batch<T>& b, double total, int64_t r0, int64_t r1);
    void curve_loss(const Batch<T>& b, double total, int64_t r0, int64_t r1, const T* tangent, T* share, T* out) const;
    void apply_derivative(int i, const Batch<T>& b, int64_t r0, int64_t rows, T* values) const;
    const Op& op(int i) const { return plan_.ops[size_t(i)]; }
    const T* statistic(int tensor) const { return state_.statistics.get() + plan_.tensors[size_t(tensor)].offset; }
    const T* parameter(int tensor) const { return state_.parameters.get() + plan_.tensors[size_t(tensor)].offset; }

    const Plan& plan_;
    const State<T>& state_;
    const Layerwise<T>& layerwise_;
    const Training& training_;
    const Kernels<T>& k_;
    int last_ = 0;
    int64_t size_ = 0, residuals_ = 0;
    std::vector<int64_t> places_;  // of each tensor in the flat vector
    std::vector<T> v_;
    std::vector<Task> tasks_;
};

}  // namespace fd::cpu
