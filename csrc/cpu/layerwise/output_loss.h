// What a batch's outputs are judged by: row losses, the gradient of the outputs, and the sums of the metrics.
#pragma once
#include "core/plan.h"
#include "cpu/layerwise/head_losses.h"
#include "cpu/memory.h"
#include "cpu/simd/kernels.h"
#include "cpu/state.h"

namespace fd::cpu {

template <class T>
class OutputLoss {
public:
    explicit OutputLoss(const Plan& plan) : plan_(plan), k_(kernels_of<T>(isa())), heads_(plan) {}
    void configure(const Training* training);
    void reserve(int64_t rows);  // for batches of `rows`

    // Of rows r0 … r1 of the batch, from all its outputs (pre-activations if the loss is fused): the losses; the gradient of
    // the outputs into d, unless it is null; the metrics that are one value a row, if `measure`.
    void rows(const Batch<T>&, const T* outputs, T* d, bool measure, int64_t r0, int64_t r1);
    // By one worker, after rows() of the whole batch: the sum of the losses; the penalties on the activity that a fused loss
    // skips; the sums of all metrics.
    double row_sum(int64_t rows) const;
    void add_activity_to(double& sum, int64_t rows) const;
    void add_metrics_to(double* sums, const Batch<T>&, const T* outputs) const;
    // By one worker: shows the hook a batch. Before rows() if it computes the loss, which fills in the losses and d; else after
    // it. False: stop.
    bool call_hook(const Batch<T>&, const T* outputs, T* d);
    bool custom() const { return training_->hook_has_loss(); }
    bool hooked() const { return training_->hook != nullptr; }
    void probabilities(const T* pre_activations, T* out,
                       int64_t rows) const;  // of a cross-entropy from pre-activations

private:
    bool has_heads() const { return !training_->heads.empty(); }

    const Plan& plan_;
    const Kernels<T>& k_;
    const Training* training_ = nullptr;
    LossForm form_;
    HeadLosses<T> heads_;
    bool wants_probabilities_ = false;  // for the metrics and the hook
    int64_t capacity_ = 0;
    Buffer<double> row_loss_, row_metric_;
    Buffer<T> params_;  // of the loss, by output
    Buffer<T> probabilities_;
    Buffer<T> activity_;  // behind a fused loss, slice by slice: the activation and its gradient
};

}  // namespace fd::cpu
