// Metrics of the nets of a group, one lane after the other: its outputs are laid out as those of a single net.
#pragma once
#include <numeric>

#include "core/plan.h"
#include "cpu/layerwise/measure.h"
#include "cpu/memory.h"
#include "cpu/simd/kernels.h"

namespace fd::cpu {

template <class T>
class LaneMetrics {
public:
    // For blocks of at most `rows` rows. `logits`: outputs are pre-activations of a cross-entropy.
    LaneMetrics(const Plan& plan, const Training& training, bool logits, const Kernels<T>& kernels, int64_t rows)
        : training_(training), kernels_(kernels), logits_(logits), cols_(plan.outputs), rows_(rows) {
        if (training.metrics.empty()) return;
        outputs_.reserve(rows * cols_);
        values_.reserve(rows * int64_t(training.metrics.size()));
    }

    // Adds rows to the state of the metrics of lane k of `packs`, (rows, outputs). Targets are y, or labels.
    void add(const T* packs, int64_t width, int64_t k, const T* y, const int32_t* labels, const double* weights,
             int64_t rows, double* state) const {
        if (training_.metrics.empty()) return;
        T* p = outputs_.get();
        for (int64_t i = 0; i < rows * cols_; ++i) p[i] = packs[i * width + k];
        if (logits_ && training_.categorical()) kernels_.softmax(p, p, rows, cols_);
        else if (logits_)
            kernels_.bias_activation(ops::Activation::sigmoid, T(0), nullptr, nullptr, p, p, cols_, rows, cols_);
        LossRows<T> l;
        l.p = p, l.y = labels ? nullptr : y, l.labels = labels, l.weights = weights;
        l.rows = rows, l.cols = cols_;
        for (size_t m = 0; m < training_.metrics.size(); ++m) {
            if (!training_.metrics[m].per_row()) continue;
            l.row_loss = values_.get() + int64_t(m) * rows_;
            measure_rows(kernels_, training_.metrics[m], l);
        }
        double total = double(rows);
        if (weights) total = std::accumulate(weights, weights + rows, 0.0);
        add_metrics(training_, p, l.y, labels, weights, rows, cols_, values_.get(), rows_, total, state);
    }

private:
    const Training& training_;
    const Kernels<T>& kernels_;
    bool logits_;
    int64_t cols_, rows_;
    Buffer<T> outputs_;
    Buffer<double> values_;
};

}  // namespace fd::cpu
