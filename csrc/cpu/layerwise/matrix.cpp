#include "cpu/layerwise/matrix.h"

#include <algorithm>
#include <cmath>

#include "cpu/layerwise/team.h"

namespace fd::cpu {

template <class T>
void reserve_matrix_scratch(const Plan& plan, const Training& training, Buffer<T> (&scratch)[3]) {
    int64_t kernel = 0, square = 0;
    for (const Op& o : plan.ops) {
        if (o.kind != OpKind::dense || !(o.matrix_penalty() || training.muon())) continue;
        int64_t k = training.muon() ? std::min(o.in, o.out) : 0;
        o.each_unit_penalty([&](ops::UnitPenalty, double, bool columns) { k = std::max(k, columns ? o.out : o.in); });
        kernel = std::max(kernel, o.in * o.out + k);  // + k: one norm a unit
        square = std::max(square, k * k);
    }
    scratch[0].reserve(kernel);
    scratch[1].reserve(std::max(kernel, square));
    scratch[2].reserve(square);
}

// Units are the rows or columns of the kernel, scaled to length 1: u_i. The penalty is f/pairs · Σ_{i<j} q(u_i·u_j), q being one of
// ops/penalties.h. With C_ij = q'(u_i·u_j), dp/du_i = f/pairs · Σ_j C_ij u_j = P_i, and through the
// scaling dp/dw_i = (P_i - (P_i·u_i) u_i)/|w_i|.
template <class T>
double matrix_penalty(Stop& stop, const Worker& w, const Kernels<T>& k, const Op& op, const T* kernel, T* gradient,
                      Buffer<T> (&scratch)[3]) {
    double total = 0;
    op.each_unit_penalty([&](ops::UnitPenalty penalty, double factor, bool columns) {
        const int64_t units = columns ? op.out : op.in, length = columns ? op.in : op.out;
        if (units < 2) return;
        factor /= 0.5 * double(units) * double(units - 1);
        T *u = scratch[0].get(), *inverse = u + units * length, *gram = scratch[2].get(), *p = scratch[1].get();
        each_row(stop, w, units, [&](int64_t i) {
            T* row = u + i * length;
            for (int64_t j = 0; j < length; ++j) row[j] = columns ? kernel[j * op.out + i] : kernel[i * length + j];
            const double square = k.dot(row, row, length);
            inverse[i] = T(1 / std::sqrt(std::max(square, 1e-12)));
            k.axpby(T(0), row, inverse[i], row, length);
        });
        team_gemm(stop, w, Trans::no, Trans::yes, units, units, length, u, length, u, length, T(0), gram, units);
        if (w.first()) {
            for (int64_t i = 0; i < units; ++i)
                for (int64_t j = 0; j < i; ++j)
                    total += factor * ops::unit_penalty_value(penalty, double(gram[i * units + j]));
        }
        w.sync();
        if (!gradient) return;
        each_row(stop, w, units, [&](int64_t i) {
            T* row = gram + i * units;
            for (int64_t j = 0; j < units; ++j) {
                row[j] = i == j ? T(0) : T(factor * ops::unit_penalty_derivative(penalty, double(row[j])));
            }
        });
        team_gemm(stop, w, Trans::no, Trans::no, units, length, units, gram, units, u, length, T(0), p, length);
        // a unit's gradient goes to its own row or column, so units can be shared out
        each_row(stop, w, units, [&](int64_t i) {
            const T *row = u + i * length, *pull = p + i * length;
            const bool floored = double(inverse[i]) >= 1e6;  // its length was replaced by a constant
            const T along = floored ? T(0) : T(k.dot(row, pull, length));
            for (int64_t j = 0; j < length; ++j)
                gradient[columns ? j * op.out + i : i * length + j] += inverse[i] * (pull[j] - along * row[j]);
        });
    });
    return total;  // worker 0 has it; the others return 0
}

template <class T>
bool muon_update(Stop& stop, int point, const Worker& w, const Kernels<T>& k, const ops::Hyper& h, double learning_rate,
                 double scale, int64_t rows, int64_t cols, T* kernel, T* gradient, T* momentum,
                 Buffer<T> (&scratch)[3]) {
    const int64_t n = rows * cols, small = std::min(rows, cols), large = std::max(rows, cols);
    const T m = T(h.momentum);
    const Slices flat(n, 4096);
    w.each(flat.count, [&](int64_t s) {
        const int64_t first = flat.begin(s), count = flat.end(s) - first;
        T *g = gradient + first, *v = momentum + first;
        if (scale != 1) k.axpby(T(0), g, T(scale), g, count);
        if (h.clipvalue > 0)
            for (int64_t i = 0; i < count; ++i) g[i] = std::clamp(g[i], T(-h.clipvalue), T(h.clipvalue));
        k.axpby(T(1), g, m, v, count);
        if (h.nesterov) k.axpby(m, v, T(1), g, count);
        else std::copy_n(v, count, g);
    });
    w.sync();
    // X (small, large) in the smaller orientation, so that A = X Xᵀ is small
    T *x = scratch[0].get(), *a = scratch[2].get(), *b = scratch[1].get();
    const bool flip = rows > cols;
    const T inverse = T(1 / (std::sqrt(k.dot(gradient, gradient, n)) + 1e-7));  // every worker, the same bits
    each_row(stop, w, small, [&](int64_t i) {
        for (int64_t j = 0; j < large; ++j)
            x[i * large + j] = inverse * (flip ? gradient[j * cols + i] : gradient[i * cols + j]);
    });
    T* next = gradient;
    for (int step = 0; step < int(h.ns_steps); ++step) {  // X ← a X + (b A + c A²) X
        team_gemm(stop, w, Trans::no, Trans::yes, small, small, large, x, large, x, large, T(0), a, small);
        each_row(stop, w, small, [&](int64_t i) {
            for (int64_t j = 0; j < small; ++j) b[i * small + j] = T(h.ns_b / h.ns_c) * a[i * small + j];
        });
        team_gemm(stop, w, Trans::no, Trans::no, small, small, small, a, small, a, small, T(1), b, small);
        each_row(stop, w, small, [&](int64_t i) {
            for (int64_t j = 0; j < large; ++j) next[i * large + j] = T(h.ns_a / h.ns_c) * x[i * large + j];
        });
        team_gemm(stop, w, Trans::no, Trans::no, small, large, small, b, small, x, large, T(1), next, large);
        each_row(stop, w, small, [&](int64_t i) {
            for (int64_t j = 0; j < large; ++j) x[i * large + j] = T(h.ns_c) * next[i * large + j];
        });
        if (stop.watching() && stop.agreed(w, point + step % 2)) return false;
    }
    const double adjust = h.rms_rate > 0 ? h.rms_rate * std::sqrt(double(large)) : 1;
    const T rate = T(learning_rate * adjust), keep = T(1 - learning_rate * h.weight_decay);
    each_row(stop, w, rows, [&](int64_t r) {
        for (int64_t c = 0; c < cols; ++c)
            kernel[r * cols + c] = keep * kernel[r * cols + c] - rate * (flip ? x[c * large + r] : x[r * large + c]);
    });
    return true;
}

#define FD_INSTANTIATE(T)                                                                                         \
    template void reserve_matrix_scratch<T>(const Plan&, const Training&, Buffer<T>(&)[3]);                       \
    template double matrix_penalty<T>(Stop&, const Worker&, const Kernels<T>&, const Op&, const T*, T*,           \
                                      Buffer<T>(&)[3]);                                                           \
    template bool muon_update<T>(Stop&, int, const Worker&, const Kernels<T>&, const ops::Hyper&, double, double, \
                                 int64_t, int64_t, T*, T*, T*, Buffer<T>(&)[3]);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cpu
