#include "cpu/layerwise/measure.h"

#include <algorithm>
#include <cmath>

namespace fd::cpu {
namespace {

using Kind = Metric::Kind;

template <class T>
int64_t argmax(const T* row, int64_t n) {
    return std::max_element(row, row + n) - row;
}

template <class T>
double row_value(const Metric& m, const T* p, const T* y, int32_t label, int64_t cols) {
    auto target = [&](int64_t c) { return y ? double(y[c]) : double(c == label); };
    switch (m.kind) {
        case Kind::binary_accuracy: {
            int64_t right = 0;
            for (int64_t c = 0; c < cols; ++c) right += (double(p[c]) > m.threshold ? 1.0 : 0.0) == target(c);
            return double(right) / double(cols);
        }
        case Kind::categorical_accuracy:
        case Kind::sparse_categorical_accuracy: return argmax(p, cols) == (y ? argmax(y, cols) : label);
        case Kind::top_k: {
            const int64_t truth = y ? argmax(y, cols) : label;
            if (!std::isfinite(double(p[truth]))) return 0;
            return std::count_if(p, p + cols, [&](T v) { return v > p[truth]; }) < m.k;
        }
        default: {  // mse, mae, mape of class ids: against the one-hot row
            double sum = 0;
            for (int64_t c = 0; c < cols; ++c) {
                const double e = double(p[c]) - target(c);
                sum += m.kind == Kind::mse   ? e * e
                       : m.kind == Kind::mae ? std::fabs(e)
                                             : 100 * std::fabs(e) / std::max(std::fabs(target(c)), 1e-7);
            }
            return sum / double(cols);
        }
    }
}

// Adds rows to the state of a metric that is not per row.
template <class T>
void accumulate(const Metric& m, const T* p, const T* y, const int32_t* labels, const double* weights, int64_t rows,
                int64_t cols, double* state) {
    for (int64_t r = 0; r < rows; ++r, p += cols) {
        const T* targets = y ? y + r * cols : nullptr;
        const double weight = weights ? weights[r] : 1;
        const int64_t chosen = m.multiclass ? argmax(p, cols) : -1;
        const int64_t truth = m.multiclass && targets ? argmax(targets, cols) : -1;
        for (int64_t c = 0; c < cols; ++c) {
            const double target = targets ? double(targets[c]) : double(labels[r] == c), value = double(p[c]);
            if (m.kind == Kind::r2) {
                const double terms[4] = {weight, weight * target, weight * target * target,
                                         weight * (target - value) * (target - value)};
                for (int k = 0; k < 4; ++k) state[k * cols + c] += terms[k];
            } else if (m.kind == Kind::auc) {
                if (!(value == value)) continue;
                const int64_t bucket = int64_t(
                    std::clamp(std::ceil(value * double(Metric::buckets - 1)), 1.0, double(Metric::buckets - 1)));
                state[((target > 0.5 ? 0 : cols) + c) * Metric::buckets + bucket] += weight;
            } else {
                const bool positive = m.multiclass ? chosen == c : value > m.threshold;
                const bool is = m.multiclass && targets ? truth == c : target > 0.5;
                if (positive && is) state[c] += weight;
                if (positive && !is) state[cols + c] += weight;
                if (!positive && is) state[2 * cols + c] += weight;
            }
        }
    }
}

}  // namespace

template <class T>
void measure_rows(const Kernels<T>& kernels, const Metric& metric, LossRows<T> l) {
    if (metric.kind >= Kind::mse && l.y) {
        l.loss = metric.kind == Kind::mse   ? ops::Loss::mse
                 : metric.kind == Kind::mae ? ops::Loss::mae
                                            : ops::Loss::mape;
        l.label_smoothing = 0;
        kernels.loss_rows(l);
        return;
    }
    for (int64_t r = 0; r < l.rows; ++r) {
        const double value = row_value(metric, l.p + r * l.cols, l.labels ? nullptr : l.y + r * l.cols,
                                       l.labels ? l.labels[r] : -1, l.cols);
        l.row_loss[r] = (l.weights ? l.weights[r] : 1) * value;
    }
}

template <class T>
void add_metrics(const Training& t, const T* p, const T* y, const int32_t* labels, const double* weights, int64_t rows,
                 int64_t cols, const double* row_values, int64_t stride, double total_weight, double* state) {
    for (size_t m = 0; m < t.metrics.size(); ++m) {
        const Metric& metric = t.metrics[m];
        if (metric.per_row()) {
            const double* value = row_values + int64_t(m) * stride;
            for (int64_t r = 0; r < rows; ++r) state[0] += value[r];
            state[1] += total_weight;
        } else {
            accumulate(metric, p, y, labels, weights, rows, cols, state);
        }
        state += metric.states(cols);
    }
}

#define FD_INSTANTIATE(T)                                                                                              \
    template void measure_rows<T>(const Kernels<T>&, const Metric&, LossRows<T>);                                      \
    template void add_metrics<T>(const Training&, const T*, const T*, const int32_t*, const double*, int64_t, int64_t, \
                                 const double*, int64_t, double, double*);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cpu
