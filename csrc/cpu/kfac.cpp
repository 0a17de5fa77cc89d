#include "cpu/kfac.h"

#include <algorithm>
#include <cmath>

#include "cpu/gemm.h"
#include "cpu/team.h"

namespace fd::cpu {

template <class T>
Kfac<T>::Kfac(const Plan& plan, const Training& training)
    : k_(kernels_of<T>(isa())), interval_(std::max<int64_t>(1, training.hyper.interval)), keep_(training.hyper.rho),
      input_damping_(training.hyper.input_damping), output_damping_(training.hyper.output_damping),
      at_(plan.tensors.size(), -1) {
    int64_t place = 0, kernel = 0, widest = 0, count = 0;
    for (const Op& o : plan.ops) count += o.kind == OpKind::dense;
    layers_ = std::vector<Layer>(size_t(count));
    count = 0;
    for (const Op& o : plan.ops) {
        if (o.kind != OpKind::dense) continue;
        at_[size_t(o.kernel)] = int(count);
        Layer& l = layers_[size_t(count++)];
        l.in = o.in, l.out = o.out, l.side = o.in + (o.bias >= 0), l.place = place;
        l.inverse_a.reserve(l.side * l.side), l.inverse_g.reserve(l.out * l.out);
        place += 1 + (l.in + 1) * (l.in + 1) + l.out * l.out;
        kernel = std::max(kernel, l.side * l.out);
        widest = std::max({widest, l.in + 1, l.out});
    }
    numbers.assign(size_t(place), 0.0);
    left_.reserve(kernel), right_.reserve(kernel), square_.reserve(widest * widest);
    for (Buffer<double>& work : work_) work.reserve(2 * widest * widest);
}

template <class T>
void Kfac<T>::observe(const Worker& w, const Op& op, const T* x, const T* d, int64_t rows, const T* kernel) {
    Layer& l = layer(op);
    T* sums = square_.get();
    double *a = this->a(l), *g = this->g(l);
    const int64_t n = l.in, side = n + 1, out = l.out;
    const bool first = a[side * side - 1] == 0;  // the constant's own second moment is 1 ever after
    w.sync();                                    // everybody has seen it
    // A sum of squares becomes part of a factor. `prior` stands in for the past of the first one.
    auto mix = [&](double* factor, int64_t m, double scale, auto&& prior) {
        each_row(w, m, [&](int64_t i) {
            for (int64_t j = 0; j < m; ++j) {
                const double old = first ? prior(i, j) : factor[i * m + j];
                factor[i * m + j] = keep_ * old + (1 - keep_) * scale * double(sums[i * m + j]);
            }
        });
    };
    const Slices columns(n);
    w.each(columns.count, [&](int64_t s) {
        const int64_t c0 = columns.begin(s), c1 = columns.end(s);
        gemm(Trans::yes, Trans::no, c1 - c0, n, rows, x + c0, n, x, n, T(0), sums + c0 * side, side);
        k_.column_sums(x + c0, sums + n * side + c0, n, rows, c1 - c0);
        for (int64_t c = c0; c < c1; ++c) sums[c * side + n] = sums[n * side + c];
    });
    if (w.first()) sums[side * side - 1] = T(rows);
    w.sync();
    // Before there are as many rows as columns some directions have not been seen at all: the first batch's past has its
    // means and, in all directions, its mean variance. It fades as batches come in.
    const double weight = 1 / double(rows);
    double variance = 0;
    auto mean = [&](int64_t i) { return weight * double(sums[n * side + i]); };
    for (int64_t i = 0; i < n; ++i) variance += (weight * double(sums[i * side + i]) - mean(i) * mean(i)) / double(n);
    mix(a, side, weight, [&](int64_t i, int64_t j) { return mean(i) * mean(j) + (i == j && i < n ? variance : 0.0); });
    team_gemm(w, Trans::yes, Trans::no, out, out, rows, d, out, d, out, T(0), sums, out);
    double size = 0;
    for (int64_t i = 0; i < out; ++i) size += double(sums[i * out + i]) / double(out);
    mix(g, out, size > 0 ? 1 / size : 0.0, [](int64_t i, int64_t j) { return i == j ? 1.0 : 0.0; });
    // The spread of the pre-activations: the mean of their variances, from the covariance of the inputs.
    each_row(w, n, [&](int64_t i) {
        const double* means = a + n * side;
        for (int64_t j = 0; j < n; ++j) sums[i * n + j] = T(a[i * side + j] - means[i] * means[j]);
    });
    team_gemm(w, Trans::no, Trans::no, n, out, n, sums, n, kernel, out, T(0), left_.get(), out);
    if (w.first()) {
        const double square = k_.dot(left_.get(), kernel, n * out) / double(out);
        *spread(l) = square > 0 ? std::sqrt(square) : 1.0;
    }
    w.sync();
}

template <class T>
void Kfac<T>::invert_factor(const double* factor, int64_t ld, int64_t n, double ridge, double* work, T* out) {
    double* unit = work + n * n;
    for (int64_t i = 0; i < n; ++i) std::copy_n(factor + i * ld, n, work + i * n);
    std::fill_n(unit, n * n, 0.0);
    for (int64_t i = 0; i < n; ++i) work[i * n + i] += ridge, unit[i * n + i] = 1;
    solve_positive(n, work, n, unit);  // if it fails, numbers are not finite and the net is lost
    for (int64_t i = 0; i < n * n; ++i) out[i] = T(unit[i]);
}

template <class T>
void Kfac<T>::invert(const Worker& w) {
    w.each(runs, [&](int64_t run) {
        for (size_t f = size_t(run); f < 2 * layers_.size(); f += runs) {
            Layer& l = layers_[f / 2];
            double* work = work_[run].get();
            if (f % 2) {
                invert_factor(g(l), l.out, l.out, output_damping_, work, l.inverse_g.get());
                continue;
            }
            const double* a = this->a(l);
            const int64_t side = l.in + 1;
            double variance = 0;  // the mean over the inputs: an offset is no reason for more damping
            for (int64_t i = 0; i < l.in; ++i) variance += a[i * side + i] - a[l.in * side + i] * a[l.in * side + i];
            variance = std::max(variance / double(l.in), 1e-12);
            invert_factor(a, side, l.side, input_damping_ * variance, work, l.inverse_a.get());
        }
    });
    w.sync();
    if (w.first()) ready_ = true;
    w.sync();
}

template <class T>
void Kfac<T>::precondition(const Worker& w, const Op& op, T* kernel_gradient, T* bias_gradient) {
    Layer& l = layer(op);
    T *left = left_.get(), *right = right_.get();
    auto row = [&](int64_t i) { return i < l.in ? kernel_gradient + i * l.out : bias_gradient; };
    each_row(w, l.side, [&](int64_t i) { std::copy_n(row(i), l.out, left + i * l.out); });
    team_gemm(w, Trans::no, Trans::no, l.side, l.out, l.out, left, l.out, l.inverse_g.get(), l.out, T(0), right, l.out);
    team_gemm(w, Trans::no, Trans::no, l.side, l.out, l.side, l.inverse_a.get(), l.side, right, l.out, T(0), left,
              l.out);
    // of the change of one pre-activation, in the mean: the step by the inverse's own measure
    const double square = k_.dot(left, right, l.side * l.out) / double(l.out);  // every worker, the same bits
    const T factor = T(square <= 0 ? 0.0 : *spread(l) / std::sqrt(square));
    each_row(w, l.side, [&](int64_t i) { k_.axpby(factor, left + i * l.out, T(0), row(i), l.out); });
}

template <class T>
void Kfac<T>::scale(const Worker& w, T* gradient, int64_t n) const {
    const double square = k_.dot(gradient, gradient, n) / double(n);
    w.sync();  // everybody has it
    if (w.first()) k_.axpby(T(0), gradient, T(square <= 0 ? 0.0 : 1 / std::sqrt(square)), gradient, n);
    w.sync();
}

template class Kfac<float>;
template class Kfac<double>;

}  // namespace fd::cpu
