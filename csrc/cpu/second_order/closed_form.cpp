#include "cpu/second_order/closed_form.h"

#include <algorithm>
#include <cmath>

#include "cpu/blas/gemm.h"
#include "cpu/second_order/gram.h"

namespace fd::cpu {

template <class T>
ClosedForm<T>::ClosedForm(const Plan& plan, const State<T>& state, Layerwise<T>& layerwise)
    : plan_(plan), layerwise_(layerwise), k_(kernels_of<T>(isa())), top_(plan.ops[size_t(plan.output_op)]),
      in_(top_.in), out_(top_.out), width_(in_ + 1 + out_), limit_(in_ + 1), scale_(size_t(out_), 1.0),
      offset_(size_t(out_)), shift_(size_t(in_)) {
    if (top_.kind != OpKind::dense) throw InvalidArgument("solve_output: the last op must be dense");
    for (size_t i = size_t(plan.output_op) + 1; i < plan.ops.size(); ++i) {
        auto numbers = [&](int tensor) { return state.statistics.get() + plan.tensors[size_t(tensor)].offset; };
        const T *scale = numbers(plan.ops[i].scale), *offset = numbers(plan.ops[i].offset);
        for (int64_t c = 0; c < out_; ++c) {
            scale_[size_t(c)] *= double(scale[c]);
            offset_[size_t(c)] = offset_[size_t(c)] * double(scale[c]) + double(offset[c]);
        }
    }
}

// Numbers near 0 lose no digits when the mean's part is subtracted from their products at the end.
template <class T>
void ClosedForm<T>::shift_by_mean(const T* h, int64_t rows) {
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < in_; ++c) shift_[size_t(c)] += double(h[r * in_ + c]) / double(rows);
}

template <class T>
bool ClosedForm<T>::add_chunk(const Worker& w, const Dataset& data, int64_t first, int64_t rows) {
    Dataset inputs;  // without targets: what they mean to the loss does not matter here
    inputs.x = data.x;
    const Batch<T> b = layerwise_.gather(w, inputs, rows, {first});
    if (!layerwise_.forward(w, b, Pass::predict, false)) return false;
    const T* h = layerwise_.output(plan_.output_op - 1, b.x, Pass::predict);
    if (first == 0 && top_.bias >= 0) {
        if (w.first()) shift_by_mean(h, rows);
        w.sync();
    }
    const Slices cut(rows, 4, 1);
    w.each(cut.count, [&](int64_t s) {
        for (int64_t r = cut.begin(s); r < cut.end(s); ++r) {
            double* to = block_.data() + r * width_;
            T* y = targets_.data() + r * out_;
            const double root = data.weights ? std::sqrt(data.weights[first + r]) : 1;
            for (int64_t c = 0; c < in_; ++c) to[c] = root * (double(h[r * in_ + c]) - shift_[size_t(c)]);
            to[in_] = root;
            k_.gather_row(data.y, first + r, nullptr, nullptr, y);
            for (int64_t c = 0; c < out_; ++c)
                to[limit_ + c] = root * ((double(y[c]) - offset_[size_t(c)]) / scale_[size_t(c)]);
        }
    });
    w.sync();
    add_gram(w, rows, block_.data(), width_, limit_, sums_.data());
    w.sync();
    return true;
}

template <class T>
bool ClosedForm<T>::solve(const Dataset& data, double ridge, int threads, const Poll& poll, double* kernel,
                          double* bias) {
    const int64_t n = data.rows(), chunk = std::min(layerwise_.chunk_rows(), n);
    layerwise_.reserve(chunk, false);
    block_.resize(size_t(chunk * width_));
    targets_.resize(size_t(chunk * out_));
    sums_.assign(size_t(width_ * limit_), 0.0);
    Stop& stop = layerwise_.stop();
    const Watch watch(stop, poll);
    std::atomic<bool> stopped{false};
    parallel(threads, [&](const Worker& w) {
        for (int64_t first = 0; first < n; first += chunk)
            if (!add_chunk(w, data, first, std::min(chunk, n - first))) {
                stopped = true;
                return;
            }
    });
    if (stopped) return true;

    const double* ones = sums_.data() + in_ * limit_;  // Σ w h, and Σ w at its end
    const bool centred = top_.bias >= 0 && ones[in_] > 0;
    const double total = centred ? ones[in_] : 1;
    std::vector<double> matrix(static_cast<size_t>(in_ * in_)), right(static_cast<size_t>(out_ * in_));
    double diagonal = 0;
    auto mean_part = [&](double a, int64_t c) { return centred ? a * ones[c] / total : 0.0; };
    for (int64_t i = 0; i < in_; ++i) {
        for (int64_t j = 0; j <= i; ++j)
            matrix[size_t(i * in_ + j)] = sums_[size_t(i * limit_ + j)] - mean_part(ones[i], j);
        diagonal += matrix[size_t(i * (in_ + 1))] / double(in_);
    }
    for (int64_t i = 0; i < in_; ++i) matrix[size_t(i * (in_ + 1))] += ridge * diagonal;
    for (int64_t k = 0; k < out_; ++k) {
        const double* y = sums_.data() + (limit_ + k) * limit_;  // Σ w y h, and Σ w y at its end
        for (int64_t i = 0; i < in_; ++i) right[size_t(k * in_ + i)] = y[i] - mean_part(y[in_], i);
    }
    Solved solved = Solved::yes;
    if (diagonal == 0) std::fill(right.begin(), right.end(), 0.0);  // nothing varies: the mean is all there is
    else solved = solve_positive(stop, Worker{}, in_, matrix.data(), out_, right.data());
    if (solved == Solved::not_positive_definite) return false;
    for (int64_t k = 0; k < out_; ++k) {
        double at_mean = 0;
        for (int64_t i = 0; i < in_; ++i) {
            const double weight = right[size_t(k * in_ + i)];
            kernel[i * out_ + k] = weight;
            at_mean += weight * (shift_[size_t(i)] + (centred ? ones[i] / total : 0));
        }
        if (bias) bias[k] = (centred ? sums_[size_t((limit_ + k) * limit_ + in_)] / total : 0) - at_mean;
    }
    return true;
}

template class ClosedForm<float>;
template class ClosedForm<double>;

}  // namespace fd::cpu
