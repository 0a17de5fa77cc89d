// The losses and the metrics of heads: each of a range of the outputs' columns, gathered so that the kernels for whole rows see
// it as they see the outputs of a net with one loss.
#pragma once
#include <vector>

#include "core/plan.h"
#include "cpu/memory.h"
#include "cpu/simd/kernels.h"
#include "cpu/state.h"

namespace fd::cpu {

template <class T>
class HeadLosses {
public:
    explicit HeadLosses(const Plan& plan) : plan_(plan), k_(kernels_of<T>(isa())) {}
    void configure(const Training* training);
    void reserve(int64_t rows);  // for batches of `rows`

    // As those of OutputLoss.
    void rows(const Batch<T>&, const T* outputs, T* d, bool measure, int64_t r0, int64_t r1);
    double row_sum(int64_t rows) const;
    void add_metrics_to(double* sums, int64_t rows) const;
    // (rows, heads), which the hook fills in before rows(), with the gradient of the columns of its heads.
    double* custom_losses() { return custom_.get(); }

private:
    struct Part {
        LossForm form;
        Buffer<T> p, y, d;  // of its columns; p becomes probabilities where metrics see logits
        Buffer<int32_t> labels;
        Buffer<double> weights, losses;  // weight · loss of each row, before the weight of its head
        bool weighted = false;           // by the batch at hand; written with its first row
    };
    LossRows<T> gather(const Batch<T>&, const T* outputs, size_t head, int64_t r0, int64_t r1);

    const Plan& plan_;
    const Kernels<T>& k_;
    const Training* training_ = nullptr;
    std::vector<Part> parts_;
    int64_t capacity_ = 0;
    Buffer<double> row_metric_, custom_;
};

}  // namespace fd::cpu
