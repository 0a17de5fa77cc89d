// Metrics on the CPU. Per-row ones are vectorised or cheap; the others accumulate sums in one thread, in row order.
#pragma once
#include "core/plan.h"
#include "cpu/kernels.h"

namespace fd::cpu {

// weight · value of each row into l.row_loss; l.p holds predictions (probabilities for a cross-entropy).
template <class T>
void measure_rows(const Kernels<T>& kernels, const Metric& metric, LossRows<T> l);

// Adds rows to the state of a metric that is not per row.
template <class T>
void accumulate(const Metric& metric, const T* p, const T* y, const int32_t* labels, const double* weights,
                int64_t rows, int64_t cols, double* state);

}  // namespace fd::cpu
