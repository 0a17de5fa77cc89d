#include "cpu/layerwise/measure.h"

namespace fd::cpu {
namespace {

using Kind = Metric::Kind;

// Adds rows to the state of a metric that is not per row.
template <class T>
void accumulate(const Metric& m, const T* p, const T* y, const int32_t* labels, const double* weights, int64_t rows,
                int64_t cols, double* state) {
    for (int64_t r = 0; r < rows; ++r, p += cols) {
        const ops::MetricRow<T> row{p, y ? y + r * cols : nullptr, labels ? labels[r] : -1, cols};
        const double weight = weights && m.weighted ? weights[r] : 1;
        const int64_t chosen = m.multiclass ? ops::argmax(p, cols) : -1, truth = m.multiclass ? row.truth() : -1;
        for (int64_t c = 0; c < cols; ++c) {
            const double target = row.target(c), value = double(p[c]);
            double terms[4];
            ops::metric_terms(m.kind, weight, value, target, m.multiclass ? chosen == c : value > m.threshold,
                              m.multiclass ? truth == c : target > 0.5, terms);
            for (int64_t k = 0; k < ops::metric_sums(m.kind); ++k) state[k * cols + c] += terms[k];
        }
    }
}

// Computes a metric that is a loss too by its vectorised kernel.
template <class T>
bool measured_as_loss(const Kernels<T>& kernels, Kind kind, LossRows<T> l) {
    if (kind == Kind::mse) l.loss = ops::Loss::mse;
    else if (kind == Kind::mae) l.loss = ops::Loss::mae;
    else if (kind == Kind::mape) l.loss = ops::Loss::mape;
    else return false;
    l.label_smoothing = 0;
    kernels.loss_rows(l);
    return true;
}

}  // namespace

template <class T>
void measure_rows(const Kernels<T>& kernels, const Metric& metric, LossRows<T> l) {
    if (!metric.weighted) l.weights = nullptr;
    if (l.y && measured_as_loss(kernels, metric.kind, l)) return;
    for (int64_t r = 0; r < l.rows; ++r) {
        const ops::MetricRow<T> row{l.p + r * l.cols, l.labels ? nullptr : l.y + r * l.cols,
                                    l.labels ? l.labels[r] : -1, l.cols};
        const double value = ops::metric_row_value(metric.kind, metric.k, metric.threshold, row);
        l.row_loss[r] = (l.weights ? l.weights[r] : 1) * value;
    }
}

template <class T>
void add_metric(const Metric& metric, const T* p, const T* y, const int32_t* labels, const double* weights,
                int64_t rows, int64_t cols, const double* row_values, double total_weight, double* state) {
    if (!metric.per_row()) return accumulate(metric, p, y, labels, weights, rows, cols, state);
    for (int64_t r = 0; r < rows; ++r) state[0] += row_values[r];
    state[1] += metric.weighted ? total_weight : double(rows);
}

template <class T>
void add_metrics(const Training& t, const T* p, const T* y, const int32_t* labels, const double* weights, int64_t rows,
                 int64_t cols, const double* row_values, int64_t stride, double total_weight, double* state) {
    for (size_t m = 0; m < t.metrics.size(); ++m) {
        add_metric(t.metrics[m], p, y, labels, weights, rows, cols, row_values + int64_t(m) * stride, total_weight,
                   state);
        state += t.metrics[m].states(cols);
    }
}

double sum_of_weights(const double* weights, int64_t rows) {
    if (!weights) return double(rows);
    double sum = 0;
    for (int64_t r = 0; r < rows; ++r) sum += weights[r];
    return sum;
}

#define FD_INSTANTIATE(T)                                                                                              \
    template void measure_rows<T>(const Kernels<T>&, const Metric&, LossRows<T>);                                      \
    template void add_metric<T>(const Metric&, const T*, const T*, const int32_t*, const double*, int64_t, int64_t,    \
                                const double*, double, double*);                                                       \
    template void add_metrics<T>(const Training&, const T*, const T*, const int32_t*, const double*, int64_t, int64_t, \
                                 const double*, int64_t, double, double*);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cpu
