// Layerwise: the ops that encode or select columns, and grouped_dense, which works on what they make.
#include <algorithm>

#include "cpu/blas/gemm.h"
#include "cpu/layerwise/layerwise.h"

namespace fd::cpu {

template <class T>
void Layerwise<T>::columns_forward(const Worker& w, int i, const T* x, int64_t rows) {
    const Op& o = op(i);
    const int64_t count = int64_t(o.columns.size());
    const Slices cut(rows, 4, 1);
    w.each(cut.count, [&](int64_t s) {
        const int64_t r0 = cut.begin(s), n = cut.end(s) - r0;
        const T* from = x + r0 * o.in;
        T *to = out_[size_t(i)].get() + r0 * o.out, *made = to + o.encoded_at();
        if (o.kind == OpKind::embedding) {
            look_up(i, from, r0, n, made);
        } else {
            const int64_t width = o.kind == OpKind::periodic ? o.frequencies : o.bins;
            for (int64_t j = 0; j < count; ++j, made += width) {
                const T* column = from + o.columns[size_t(j)];
                if (o.kind == OpKind::periodic)
                    k_.periodic(column, o.in, parameter(o.kernel) + j * width, parameter(o.bias) + j * width, width,
                                made, o.out, n);
                else k_.piecewise_linear(column, o.in, statistic(o.table) + j * (width + 1), width, made, o.out, n);
            }
        }
        to += o.passing_at();
        for (int64_t r = 0; r < n; ++r, from += o.in, to += o.out)
            for (size_t p = 0; p < o.passing.size(); ++p) to[p] = from[o.passing[p]];
    });
}

// Rows of the table for rows r0 … of the batch; a code that is not known has the last one of its column.
template <class T>
void Layerwise<T>::look_up(int i, const T* x, int64_t r0, int64_t rows, T* to) {
    const Op& o = op(i);
    const int64_t count = int64_t(o.columns.size());
    const T *codes = statistic(o.table), *table = parameter(o.kernel);
    int64_t first = 0;  // row of the table
    for (int64_t j = 0; j < count; ++j) {
        const int64_t n = o.codes[size_t(j)];
        for (int64_t r = 0; r < rows; ++r) {
            const T value = x[r * o.in + o.columns[size_t(j)]];
            const int64_t at = std::lower_bound(codes, codes + n, value) - codes;
            const int64_t row = first + (at < n && codes[at] == value ? at : n);
            rows_looked_up_[size_t(i)][(r0 + r) * count + j] = row;
            std::copy_n(table + row * o.units, o.units, to + r * o.out + j * o.units);
        }
        codes += n, first += n + 1;
    }
}

template <class T>
void Layerwise<T>::columns_backward(const Worker& w, int i, const T* x, int64_t rows, Pass pass) {
    const Op& o = op(i);
    const bool passes = walk(pass)[i].passes_gradient;
    const int64_t count = int64_t(o.columns.size());
    const T* d_made = d(i) + o.encoded_at();
    T* below = passes ? d(i - 1) : nullptr;
    if (passes) {
        const Slices cut(rows, 4, 1);
        w.each(cut.count, [&](int64_t s) {
            const T* from = d(i) + o.passing_at();
            std::fill(below + cut.begin(s) * o.in, below + cut.end(s) * o.in, T(0));
            for (int64_t r = cut.begin(s); r < cut.end(s); ++r)
                for (size_t p = 0; p < o.passing.size(); ++p)
                    below[r * o.in + o.passing[p]] = from[r * o.out + int64_t(p)];
        });
        w.sync();
    }
    if (!passes && o.kind == OpKind::piecewise_linear) return;
    w.each(count, [&](int64_t j) {  // a column, with all rows in order
        const int64_t c = o.columns[size_t(j)];
        if (o.kind == OpKind::embedding) {
            int64_t first = 0;
            for (int64_t k = 0; k < j; ++k) first += o.codes[size_t(k)] + 1;
            T* g = gradient(o.kernel);
            std::fill_n(g + first * o.units, (o.codes[size_t(j)] + 1) * o.units, T(0));
            for (int64_t r = 0; r < rows; ++r) {
                const T* from = d_made + r * o.out + j * o.units;
                T* to = g + rows_looked_up_[size_t(i)][r * count + j] * o.units;
                for (int64_t e = 0; e < o.units; ++e) to[e] += from[e];
            }
        } else if (o.kind == OpKind::periodic) {
            const int64_t at = j * o.frequencies;
            k_.periodic_backward(x + c, o.in, parameter(o.kernel) + at, parameter(o.bias) + at, o.frequencies,
                                 d_made + at, o.out, gradient(o.kernel) + at, gradient(o.bias) + at,
                                 passes ? below + c : nullptr, o.in, rows);
        } else {
            k_.piecewise_linear_backward(x + c, o.in, statistic(o.table) + j * (o.bins + 1), o.bins,
                                         d_made + j * o.bins, o.out, below + c, o.in, rows);
        }
    });
}

template <class T>
void Layerwise<T>::grouped_forward(const Worker& w, int i, const T* x, int64_t rows, Pass pass) {
    const Op& o = op(i);
    const OpWalk& step = walk(pass)[i];
    const int64_t k = o.group_inputs, made = o.groups * o.units, taken = o.groups * k;
    const Slices cut(rows, 4, 1);
    w.each(cut.count, [&](int64_t s) {
        const int64_t r0 = cut.begin(s), n = cut.end(s) - r0;
        const T* from = x + r0 * o.in;
        T* to = out_[size_t(i)].get() + r0 * o.out;
        T* z = step.keeps_pre_activation ? z_[size_t(i)].get() + r0 * o.out : to;
        for (int64_t g = 0; g < o.groups; ++g)
            gemm(Trans::no, Trans::no, n, o.units, k, from + g * k, o.in, parameter(o.kernel) + g * k * o.units,
                 o.units, T(0), z + g * o.units, o.out);
        if (o.bias >= 0 || z != to || step.activation != ops::Activation::linear)
            k_.bias_activation(step.activation, T(o.alpha), nullptr, parameter(o.bias), z, to, o.out, n, made);
        for (int64_t r = 0; r < n; ++r) std::copy_n(from + r * o.in + taken, o.in - taken, to + r * o.out + made);
    });
}

template <class T>
void Layerwise<T>::grouped_backward(const Worker& w, int i, const T* x, int64_t rows, Pass pass) {
    const Op& o = op(i);
    const OpWalk& step = walk(pass)[i];
    const int64_t k = o.group_inputs, made = o.groups * o.units, taken = o.groups * k;
    const T* stored = (step.derivative_at_input ? z_ : out_)[size_t(i)].get();
    const Slices cut(rows, 4, 1);
    if (step.passes_gradient)
        w.each(cut.count, [&](int64_t s) {
            for (int64_t r = cut.begin(s); r < cut.end(s); ++r)
                std::copy_n(d(i) + r * o.out + made, o.in - taken, d(i - 1) + r * o.in + taken);
        });
    w.each(o.groups, [&](int64_t g) {
        const int64_t at = g * o.units;
        T* grad = d(i) + at;
        k_.activation_backward(step.activation, T(o.alpha), nullptr, stored + at, grad, o.out, rows, o.units);
        if (o.bias >= 0) k_.column_sums(grad, gradient(o.bias) + at, o.out, rows, o.units);
        gemm(Trans::yes, Trans::no, k, o.units, rows, x + g * k, o.in, grad, o.out, T(0),
             gradient(o.kernel) + g * k * o.units, o.units);
        if (step.passes_gradient)
            gemm(Trans::no, Trans::yes, rows, k, o.units, grad, o.out, parameter(o.kernel) + g * k * o.units, o.units,
                 T(0), d(i - 1) + g * k, o.in);
    });
}

#define FD_INSTANTIATE(T)                                                                      \
    template void Layerwise<T>::columns_forward(const Worker&, int, const T*, int64_t);        \
    template void Layerwise<T>::columns_backward(const Worker&, int, const T*, int64_t, Pass); \
    template void Layerwise<T>::grouped_forward(const Worker&, int, const T*, int64_t, Pass);  \
    template void Layerwise<T>::grouped_backward(const Worker&, int, const T*, int64_t, Pass);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cpu
