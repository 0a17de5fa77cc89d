// Every metric, once. A metric is a weighted mean of one value a row, or a table of sums for each output, of which Python
// makes the number.
#pragma once
#include <cstdint>

#include "ops/hd.h"

namespace fd::ops {

// X(name, sums for each output); 0 sums: one value a row.
// clang-format off
#define FD_METRICS(X)                                                                              \
    X(binary_accuracy, 0) X(categorical_accuracy, 0) X(sparse_categorical_accuracy, 0) X(top_k, 0) \
    X(mse, 0) X(mae, 0) X(mape, 0) X(precision, 3) X(recall, 3) X(f1, 3) X(r2, 4)
// clang-format on

#define FD_METRIC_ENUM(name, sums) name,
enum class MetricKind { FD_METRICS(FD_METRIC_ENUM) };
#undef FD_METRIC_ENUM

inline constexpr const char* metric_names[] = {
#define FD_METRIC_NAME(name, sums) #name,
    FD_METRICS(FD_METRIC_NAME)
#undef FD_METRIC_NAME
};

FD_HD constexpr int64_t metric_sums(MetricKind kind) {
    switch (kind) {
#define FD_METRIC_SUMS(name, sums) \
    case MetricKind::name: return sums;
        FD_METRICS(FD_METRIC_SUMS)
#undef FD_METRIC_SUMS
    }
    return 0;
}

template <class T>
FD_HD int64_t argmax(const T* row, int64_t n) {
    int64_t best = 0;
    for (int64_t c = 1; c < n; ++c)
        if (row[best] < row[c]) best = c;
    return best;
}

template <class T>
struct MetricRow {  // outputs p, and targets y or a class
    const T *p, *y;
    int32_t label;
    int64_t cols;
    FD_HD double target(int64_t c) const { return y ? double(y[c]) : double(c == label); }
    FD_HD int64_t truth() const { return y ? argmax(y, cols) : label; }
};

// The value of a row for a metric that has one; k and threshold as configured.
template <class T>
FD_HD double metric_row_value(MetricKind kind, int64_t k, double threshold, const MetricRow<T>& row) {
    const int64_t cols = row.cols;
    switch (kind) {
        case MetricKind::binary_accuracy: {
            int64_t right = 0;
            for (int64_t c = 0; c < cols; ++c) right += (double(row.p[c]) > threshold ? 1.0 : 0.0) == row.target(c);
            return double(right) / double(cols);
        }
        case MetricKind::categorical_accuracy:
        case MetricKind::sparse_categorical_accuracy: return argmax(row.p, cols) == row.truth();
        case MetricKind::top_k: {
            const int64_t truth = row.truth();
            if (truth < 0 || truth >= cols) return 0;  // checked before, but the caller may change labels meanwhile
            if (!(row.p[truth] - row.p[truth] == T(0))) return 0;
            int64_t above = 0, equal = 0;  // of equal scores each may be the next: the mean over their orders
            for (int64_t c = 0; c < cols; ++c) above += row.p[c] > row.p[truth], equal += row.p[c] == row.p[truth];
            const int64_t places = k - above;
            return places <= 0 ? 0 : places >= equal ? 1 : double(places) / double(equal);
        }
        case MetricKind::mse:
        case MetricKind::mae:
        case MetricKind::mape: {
            double sum = 0;
            for (int64_t c = 0; c < cols; ++c) {
                const double y = row.target(c), e = double(row.p[c]) - y, size = e < 0 ? -e : e, whole = y < 0 ? -y : y;
                sum += kind == MetricKind::mse   ? e * e
                       : kind == MetricKind::mae ? size
                                                 : 100 * size / (whole > 1e-7 ? whole : 1e-7);
            }
            return sum / double(cols);
        }
        case MetricKind::precision:
        case MetricKind::recall:
        case MetricKind::f1:
        case MetricKind::r2: break;  // sums
    }
    return 0;
}

// What a row adds to the sums of one output, weight w, output p, target y: terms[0 .. metric_sums).
// `positive`, `is`: what the net says and what is true.
FD_HD void metric_terms(MetricKind kind, double w, double p, double y, bool positive, bool is, double (&terms)[4]) {
    terms[0] = terms[1] = terms[2] = terms[3] = 0;
    switch (kind) {
        case MetricKind::precision:
        case MetricKind::recall:
        case MetricKind::f1:
            terms[0] = positive && is ? w : 0, terms[1] = positive && !is ? w : 0, terms[2] = !positive && is ? w : 0;
            break;
        case MetricKind::r2:
            terms[0] = w, terms[1] = w * y, terms[2] = w * y * y, terms[3] = w * (y - p) * (y - p);
            break;
        case MetricKind::binary_accuracy:
        case MetricKind::categorical_accuracy:
        case MetricKind::sparse_categorical_accuracy:
        case MetricKind::top_k:
        case MetricKind::mse:
        case MetricKind::mae:
        case MetricKind::mape: break;
    }
}

}  // namespace fd::ops
