// Metrics on the CPU. Per-row ones are vectorised or cheap; the others accumulate sums in one thread, in row order.
#pragma once
#include "core/plan.h"
#include "cpu/simd/kernels.h"

namespace fd::cpu {

// weight · value of each row into l.row_loss; l.p holds predictions (probabilities for a cross-entropy).
template <class T>
void measure_rows(const Kernels<T>& kernels, const Metric& metric, LossRows<T> l);

// Adds a metric of a batch to `state`; `row_values` holds it if it is one value a row.
template <class T>
void add_metric(const Metric&, const T* p, const T* y, const int32_t* labels, const double* weights, int64_t rows,
                int64_t cols, const double* row_values, double total_weight, double* state);

double sum_of_weights(const double* weights, int64_t rows);  // none: each row weighs 1

// Adds a batch's metrics to `state`; `row_values` holds those that are one value a row, `stride` rows apart.
template <class T>
void add_metrics(const Training&, const T* p, const T* y, const int32_t* labels, const double* weights, int64_t rows,
                 int64_t cols, const double* row_values, int64_t stride, double total_weight, double* state);

}  // namespace fd::cpu
