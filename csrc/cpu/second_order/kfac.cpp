#include "cpu/second_order/kfac.h"

#include <algorithm>
#include <cmath>

#include "cpu/blas/gemm.h"
#include "cpu/layerwise/team.h"

namespace fd::cpu {

constexpr double least_variance = 1e-3;  // of the mean square: what damping refers to where inputs hardly vary

template <class T>
Kfac<T>::Kfac(const Plan& plan, const Training& training)
    : k_(kernels_of<T>(isa())), interval_(std::max<int64_t>(1, training.hyper.interval)), keep_(training.hyper.rho),
      input_damping_(training.hyper.input_damping), output_damping_(training.hyper.output_damping),
      at_(plan.tensors.size(), -1) {
    int64_t place = 0, kernel = 0, count = 0;
    for (const Op& o : plan.ops) count += o.kind == OpKind::dense;
    layers_ = std::vector<Layer>(size_t(count));
    count = 0;
    for (const Op& o : plan.ops) {
        if (o.kind != OpKind::dense) continue;
        at_[size_t(o.kernel)] = int(count);
        Layer& l = layers_[size_t(count++)];
        l.in = o.in, l.out = o.out, l.place = place;
        l.inverse_c.reserve(l.in * l.in), l.inverse_g.reserve(l.out * l.out);
        l.means.reserve(l.in), l.shift.reserve(std::max(l.in, l.out));
        place += 2 + l.in * l.in + l.out * l.out;
        kernel = std::max(kernel, (l.in + 1) * l.out);
        widest_ = std::max({widest_, l.in, l.out});
    }
    numbers.assign(size_t(place), 0.0);
    left_.reserve(kernel), right_.reserve(kernel), square_.reserve(widest_ * widest_);
    for (Buffer<double>& work : work_) work.reserve(2 * widest_ * widest_);
}

template <class T>
void Kfac<T>::centre(const Worker& w, const Op& op, const T* x, int64_t rows) {
    Layer& l = layer(op);
    if (w.first()) l.x = x, rows_ = rows;
    const Slices columns(l.in);
    w.each(columns.count, [&](int64_t s) {
        const int64_t c0 = columns.begin(s), c1 = columns.end(s);
        k_.column_sums(x + c0, l.means.get() + c0, l.in, rows, c1 - c0);
        for (int64_t c = c0; c < c1; ++c) l.means[c] /= T(rows);
    });
    w.sync();
}

template <class T>
void Kfac<T>::observe(Stop& stop, const Worker& w, const Op& op, const T* x, const T* d, int64_t rows,
                      const T* kernel) {
    Layer& l = layer(op);
    T *sums = square_.get(), *means = l.means.get();
    double *covariance = c(l), *g = this->g(l);
    const int64_t n = l.in, out = l.out;
    const bool first = *spread(l) == 0;  // never again
    w.sync();                            // all workers have read it
    team_gemm(stop, w, Trans::yes, Trans::no, n, n, rows, x, n, x, n, T(0), sums, n);
    auto moment = [&](int64_t i, int64_t j) {
        return double(sums[i * n + j]) / double(rows) - double(means[i]) * double(means[j]);
    };
    // Before there are as many rows as columns some directions have not been seen at all: the first batch is mixed with a
    // past that varies as much in all directions. It fades as batches come in.
    double varies = 0, size = 0;
    for (int64_t i = 0; i < n; ++i) varies += moment(i, i) / double(n);
    each_row(stop, w, n, [&](int64_t i) {
        for (int64_t j = 0; j < n; ++j) {
            const double old = !first ? covariance[i * n + j] : i == j ? varies : 0.0;
            covariance[i * n + j] = keep_ * old + (1 - keep_) * moment(i, j);
        }
    });
    team_gemm(stop, w, Trans::yes, Trans::no, out, out, rows, d, out, d, out, T(0), sums, out);
    for (int64_t i = 0; i < out; ++i) size += double(sums[i * out + i]) / double(out);
    each_row(stop, w, out, [&](int64_t i) {
        for (int64_t j = 0; j < out; ++j) {
            const double old = !first ? g[i * out + j] : i == j ? 1.0 : 0.0;
            g[i * out + j] = keep_ * old + (1 - keep_) * (size > 0 ? double(sums[i * out + j]) / size : 0.0);
        }
    });
    each_row(stop, w, n, [&](int64_t i) {
        for (int64_t j = 0; j < n; ++j) sums[i * n + j] = T(covariance[i * n + j]);
    });
    team_gemm(stop, w, Trans::no, Trans::no, n, out, n, sums, n, kernel, out, T(0), left_.get(), out);
    if (w.first()) {
        double own = 0, raw = 0;
        for (int64_t i = 0; i < n; ++i) {
            own += covariance[i * n + i] / double(n);
            raw += double(means[i]) * double(means[i]) / double(n);
        }
        *variance(l) = std::max({own, least_variance * (own + raw), 1e-30});
        const double square = k_.dot(left_.get(), kernel, n * out) / double(out);  // mean variance of z
        *spread(l) = square > 0 ? std::sqrt(square) : 1.0;
    }
    w.sync();
}

template <class T>
void Kfac<T>::invert_factor(Stop& stop, const Worker& w, const double* factor, int64_t n, double ridge, double* work,
                            T* out) {
    double* unit = work + n * n;
    for (int64_t i = 0; i < n; ++i) {
        if (i % 256 == 255 && stop.asked(w)) return;  // the system may have to clear the memory first, which takes time
        std::copy_n(factor + i * n, n, work + i * n);
        std::fill_n(unit + i * n, n, 0.0);
        work[i * n + i] += ridge, unit[i * n + i] = 1;
    }
    solve_positive(stop, w, n, work, n, unit);  // if it fails, numbers are not finite and the net is lost
    for (int64_t i = 0; i < n; ++i) {
        if (i % 256 == 255 && stop.asked(w)) return;
        std::transform(unit + i * n, unit + (i + 1) * n, out + i * n, [](double v) { return T(v); });
    }
}

template <class T>
void Kfac<T>::invert(Stop& stop, const Worker& w) {
    w.each(runs, [&](int64_t run) {
        for (size_t f = size_t(run); f < 2 * layers_.size(); f += runs) {
            Layer& l = layers_[f / 2];
            double* work = work_[run].get();
            if (f % 2) invert_factor(stop, w, g(l), l.out, output_damping_, work, l.inverse_g.get());
            else invert_factor(stop, w, c(l), l.in, input_damping_ * *variance(l), work, l.inverse_c.get());
        }
    });
    stop.wait(w);
    if (w.first()) ready_ = true;
    w.sync();
}

template <class T>
void Kfac<T>::centre_gradient(const Stop& stop, const Worker& w, const Op& op, T* kernel_gradient,
                              const T* bias_gradient) {
    if (!bias_gradient) return;
    const Layer& l = layer(op);
    each_row(stop, w, l.in,
             [&](int64_t i) { k_.axpby(-l.means[i], bias_gradient, T(1), kernel_gradient + i * l.out, l.out); });
}

template <class T>
void Kfac<T>::precondition(Stop& stop, const Worker& w, const Op& op, T* kernel_gradient, T* bias_gradient) {
    Layer& l = layer(op);
    const int64_t n = l.in, out = l.out, rows = n + (bias_gradient != nullptr);
    T *left = left_.get(), *right = right_.get(), *shift = l.shift.get(), *means = l.means.get();
    auto row = [&](int64_t i) { return i < n ? kernel_gradient + i * out : bias_gradient; };
    each_row(stop, w, rows, [&](int64_t i) { std::copy_n(row(i), out, left + i * out); });
    team_gemm(stop, w, Trans::no, Trans::no, rows, out, out, left, out, l.inverse_g.get(), out, T(0), right, out);
    team_gemm(stop, w, Trans::no, Trans::no, n, out, n, l.inverse_c.get(), n, right, out, T(0), left, out);
    if (bias_gradient) {
        if (w.first()) std::copy_n(right + n * out, out, left + n * out);
    } else {  // the mean stays in z: (C + m mᵀ)⁻¹ by Sherman and Morrison
        if (w.first()) {
            gemm(Trans::no, Trans::no, 1, n, n, means, n, l.inverse_c.get(), n, T(0), shift, n);
            const double whole = 1 + k_.dot(means, shift, n);
            gemm(Trans::no, Trans::no, 1, out, n, means, n, left, out, T(0), left + n * out, out);
            for (int64_t i = 0; i < n; ++i)
                k_.axpby(T(-double(shift[i]) / whole), left + n * out, T(1), left + i * out, out);
        }
    }
    w.sync();
    // The change of z that this makes, in the rows of the batch: (x - m) W + c.
    T* change = change_.get();
    team_gemm(stop, w, Trans::no, Trans::no, rows_, out, n, l.x, n, left, out, T(0), change, out);
    if (bias_gradient) {
        if (w.first()) gemm(Trans::no, Trans::no, 1, out, n, means, n, left, out, T(0), shift, out);  // m W
        w.sync();
        each_row(stop, w, rows_, [&](int64_t r) {
            k_.axpby(T(-1), shift, T(1), change + r * out, out);
            k_.axpby(T(1), left + n * out, T(1), change + r * out, out);
        });
    }
    const double square = k_.dot(change, change, rows_ * out) / double(rows_ * out);  // every worker, the same bits
    const double factor = square <= 0 ? 0.0 : *spread(l) / std::sqrt(square);
    each_row(stop, w, rows, [&](int64_t i) { k_.axpby(T(factor), left + i * out, T(0), row(i), out); });
    if (bias_gradient && w.first()) k_.axpby(T(-factor), shift, T(1), bias_gradient, out);  // from c to b = c - m W
    w.sync();
}

template <class T>
void Kfac<T>::scale(const Worker& w, T* gradient, int64_t n) const {
    const double square = k_.dot(gradient, gradient, n) / double(n);
    w.sync();  // all workers have it
    if (w.first()) k_.axpby(T(0), gradient, T(square <= 0 ? 0.0 : 1 / std::sqrt(square)), gradient, n);
    w.sync();
}

template class Kfac<float>;
template class Kfac<double>;

}  // namespace fd::cpu
