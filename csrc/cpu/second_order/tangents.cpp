#include "cpu/second_order/tangents.h"

#include <algorithm>

#include "cpu/blas/gemm.h"
#include "cpu/layerwise/team.h"
#include "ops/dual.h"

namespace fd::cpu {
namespace {

constexpr int64_t sum_rows = int64_t(1) << 16;  // of a kernel's gradient at a time: tens of milliseconds

// First and second derivative of an activation with output a for input z.
template <class F>
void derivatives(double z, double a, double p, double& first, double& second) {
    const ops::Dual g = F::derivative(ops::Dual(F::needs == ops::Needs::output ? a : z, 1), ops::Dual(p));
    first = g.value;
    second = F::needs == ops::Needs::output ? g.slope * g.value : g.slope;
}

void derivatives(ops::Activation activation, double z, double a, double p, double& first, double& second) {
    switch (activation) {
#define FD_CASE(name, functor) \
    case ops::Activation::name: return derivatives<ops::functor>(z, a, p, first, second);
        FD_ELEMENTWISE_ACTIVATIONS(FD_CASE)
#undef FD_CASE
        case ops::Activation::softmax: break;  // refused
    }
}

}  // namespace

template <class T>
Tangents<T>::Tangents(const Plan& plan, const State<T>& state, Stop& stop)
    : plan_(plan), state_(state), stop_(stop), k_(kernels_of<T>(isa())), last_(int(plan.ops.size()) - 1),
      groups_(std::min(plan.inputs, plan.outputs)), z_(plan.ops.size()), a_(plan.ops.size()), d_(plan.ops.size() + 1),
      first_(plan.ops.size()), second_(plan.ops.size()), values_(plan.ops.size()) {}

template <class T>
std::string Tangents<T>::refuses() const {
    for (const Op& o : plan_.ops)
        if (o.is_softmax()) return "it has a softmax";
    return unknown_op(plan_, paths::tangents);
}

template <class T>
void Tangents<T>::reserve(int64_t rows) {
    rows_ = rows;
    const int64_t all = rows * (1 + groups_);
    x_.reserve(all * plan_.inputs);
    d_[0].reserve(all * plan_.inputs);
    for (int i = 0; i <= last_; ++i) {
        const int64_t width = op(i).out;
        const bool dense = op(i).kind == OpKind::dense;
        if (dense) z_[size_t(i)].reserve(all * width);
        if (computes(i)) a_[size_t(i)].reserve(all * width);
        d_[size_t(i) + 1].reserve(all * width);
        if (bends(i)) first_[size_t(i)].reserve(rows * width), second_[size_t(i)].reserve(rows * width);
        values_[size_t(i)] = computes(i) ? a_[size_t(i)].get() : dense ? z_[size_t(i)].get() : values(i - 1);
    }
}

// Whether its output is not its input, or that of its matrix product, as it is.
template <class T>
bool Tangents<T>::computes(int i) const {
    const OpKind kind = op(i).kind;
    return bends(i) || kind == OpKind::rescaling || kind == OpKind::scale || kind == OpKind::residual_end;
}

// body(row) over rows of a buffer, then a barrier.
template <class T>
template <class F>
void Tangents<T>::each_row(const Worker& w, int64_t rows, F&& body) {
    const int64_t look = groups_ < 8 ? 16 : 1;  // a row with many tangents is long, and the first to touch their memory
    const Slices cut(rows, 4, 1);
    w.each(cut.count, [&](int64_t s) {
        for (int64_t r = cut.begin(s), next = r; r < cut.end(s); ++r) {
            if (r == next && stop_.asked(w)) return;
            if (r == next) next += look;
            body(r);
        }
    });
    stop_.wait(w);
}

// Directions and seeds: as few groups as there are outputs, along the rows of d_jacobian, or as there are inputs, along the axes.
template <class T>
void Tangents<T>::begin(const Worker& w, const View& x, const View& d_out, const View& d_jacobian) {
    const int64_t in = plan_.inputs, out = plan_.outputs;
    const bool by_output = groups_ == out;
    const double *mean = state_.input_statistics.mean(), *inverse = state_.input_statistics.inverse();
    each_row(w, rows_, [&](int64_t r) {
        k_.gather_row(x, r, mean, inverse, x_.get() + r * in);
        k_.gather_row(d_out, r, nullptr, nullptr, d(last_) + r * out);
        for (int64_t g = 0; g < groups_; ++g) {
            T* direction = x_.get() + ((1 + g) * rows_ + r) * in;
            T* seed = d(last_) + ((1 + g) * rows_ + r) * out;
            View part = d_jacobian;
            if (by_output) {
                part.data += g * in * part.col_stride, part.cols = in;
                k_.gather_row(part, r, nullptr, nullptr, direction);
                for (int64_t o = 0; o < out; ++o) seed[o] = T(o == g);
            } else {
                part.data += g * part.col_stride, part.cols = out, part.col_stride *= in;
                k_.gather_row(part, r, nullptr, nullptr, seed);
                for (int64_t c = 0; c < in; ++c) direction[c] = T(c == g);
            }
            if (inverse)
                for (int64_t c = 0; c < in; ++c) direction[c] = T(double(direction[c]) * inverse[c]);
        }
    });
}

// Outputs of an activation for a batch, then for its tangents, which are multiplied by the derivative.
template <class T>
void Tangents<T>::activate(const Worker& w, int i, const T* z) {
    const Op& o = op(i);
    const int64_t width = o.out;
    T* a = a_[size_t(i)].get();
    double *first = first_[size_t(i)].get(), *second = second_[size_t(i)].get();
    const T* slope = parameter(o.slope);
    each_row(w, rows_, [&](int64_t r) {
        const int64_t from = r * width;
        k_.bias_activation(o.activation, T(o.alpha), slope, nullptr, const_cast<T*>(z + from), a + from, width, 1,
                           width);
        for (int64_t c = 0; c < width; ++c)
            derivatives(o.activation, double(z[from + c]), double(a[from + c]), slope ? double(slope[c]) : o.alpha,
                        first[from + c], second[from + c]);
        for (int64_t g = 1; g <= groups_; ++g) {
            const int64_t at = g * rows_ * width + from;
            for (int64_t c = 0; c < width; ++c) a[at + c] = T(first[from + c] * double(z[at + c]));
        }
    });
}

template <class T>
void Tangents<T>::forward(const Worker& w, int i) {
    const Op& o = op(i);
    const int64_t all = rows_ * (1 + groups_), width = o.out;
    const T* x = values(i - 1);
    T* a = a_[size_t(i)].get();
    switch (o.kind) {
        case OpKind::dense: {
            T* z = z_[size_t(i)].get();
            const Slices cut(all, 16);
            w.each(cut.count, [&](int64_t s) {
                const int64_t r = cut.begin(s);
                stoppable_gemm(stop_, w, Trans::no, Trans::no, cut.end(s) - r, width, o.in, x + r * o.in, o.in,
                               parameter(o.kernel), width, T(0), z + r * width, width);
            });
            stop_.wait(w);
            if (const T* bias = parameter(o.bias))
                each_row(w, rows_, [&](int64_t r) {
                    for (int64_t c = 0; c < width; ++c) z[r * width + c] += bias[c];
                });
            if (bends(i)) activate(w, i, z);
            break;
        }
        case OpKind::activation:
            if (bends(i)) activate(w, i, x);
            break;
        case OpKind::rescaling:
        case OpKind::scale: {
            const T* factors = o.kind == OpKind::scale ? parameter(o.kernel) : statistic(o.scale);
            each_row(w, all, [&](int64_t r) {
                const T* offset = r < rows_ ? statistic(o.offset) : nullptr;
                k_.rescale(x + r * width, factors, offset, a + r * width, 1, width);
            });
            break;
        }
        case OpKind::residual_end: {
            const T* skip = values(o.partner);
            each_row(w, all, [&](int64_t r) { k_.add(x + r * width, skip + r * width, a + r * width, width); });
            break;
        }
        default: break;
    }
}

// From the gradient of an activation's output to that of its input, in place: that of the batch hears of its tangents, whose
// factor f'(z) depends on it.
template <class T>
void Tangents<T>::activate_backward(const Worker& w, int i, const T* z, T* grad) {
    const Op& o = op(i);
    const int64_t width = o.out;
    if (o.slope >= 0) {  // prelu: Σ d z where z <= 0, tangents by the sign of their row
        const Slices columns(width);
        w.each(columns.count, [&](int64_t s) {
            for (int64_t c = columns.begin(s); c < columns.end(s); ++c) {
                double sum = 0;
                for (int64_t g = 0; g <= groups_ && !stop_.asked(w); ++g)
                    for (int64_t r = 0; r < rows_; ++r)
                        if (!(z[r * width + c] > T(0))) {
                            const int64_t at = (g * rows_ + r) * width + c;
                            sum += double(grad[at]) * double(z[at]);
                        }
                gradient(o.slope)[c] = T(sum);
            }
        });
        stop_.wait(w);
    }
    const double *first = first_[size_t(i)].get(), *second = second_[size_t(i)].get();
    each_row(w, rows_, [&](int64_t r) {
        for (int64_t c = 0; c < width; ++c) {
            const int64_t own = r * width + c;
            double sum = 0;
            for (int64_t g = 1; g <= groups_; ++g) {
                T& one = grad[g * rows_ * width + own];
                sum += double(z[g * rows_ * width + own]) * double(one);
                one = T(first[own] * double(one));
            }
            grad[own] = T(first[own] * double(grad[own]) + second[own] * sum);
        }
    });
}

template <class T>
void Tangents<T>::backward(const Worker& w, int i) {
    const Op& o = op(i);
    const int64_t all = rows_ * (1 + groups_), width = o.out;
    const T* x = values(i - 1);
    T *from = d(i), *to = d(i - 1);
    const auto copy = [&] {
        each_row(w, all, [&](int64_t r) { std::copy_n(from + r * width, width, to + r * width); });
    };
    switch (o.kind) {
        case OpKind::dense: {
            if (bends(i)) activate_backward(w, i, z_[size_t(i)].get(), from);
            const Slices rows(all, 16), units(o.in), columns(width);
            w.each(rows.count, [&](int64_t s) {
                const int64_t r = rows.begin(s);
                stoppable_gemm(stop_, w, Trans::no, Trans::yes, rows.end(s) - r, o.in, width, from + r * width, width,
                               parameter(o.kernel), width, T(0), to + r * o.in, o.in);
            });
            w.each(units.count, [&](int64_t s) {
                const int64_t c = units.begin(s);
                for (int64_t r = 0; r < all && !stop_.asked(w); r += sum_rows)
                    stoppable_gemm(stop_, w, Trans::yes, Trans::no, units.end(s) - c, width,
                                   std::min(sum_rows, all - r), x + r * o.in + c, o.in, from + r * width, width,
                                   T(r > 0), gradient(o.kernel) + c * width, width);
            });
            if (o.bias >= 0)
                w.each(columns.count, [&](int64_t s) {
                    const int64_t c = columns.begin(s);
                    k_.column_sums(from + c, gradient(o.bias) + c, width, rows_, columns.end(s) - c);
                });
            stop_.wait(w);
            break;
        }
        case OpKind::activation:
            copy();
            if (bends(i)) activate_backward(w, i, x, to);
            break;
        case OpKind::normalization: {
            const double* inverse = state_.input_statistics.inverse();
            each_row(w, rows_, [&](int64_t r) {
                for (int64_t c = 0; c < width; ++c) to[r * width + c] = T(double(from[r * width + c]) * inverse[c]);
            });
            break;
        }
        case OpKind::scale: {
            const Slices columns(width);
            w.each(columns.count, [&](int64_t s) {
                const int64_t c = columns.begin(s);
                k_.column_dots(from + c, x + c, gradient(o.kernel) + c, width, all, columns.end(s) - c);
            });
            [[fallthrough]];
        }
        case OpKind::rescaling: {
            const T* factors = o.kind == OpKind::scale ? parameter(o.kernel) : statistic(o.scale);
            each_row(w, all,
                     [&](int64_t r) { k_.rescale(from + r * width, factors, nullptr, to + r * width, 1, width); });
            break;
        }
        case OpKind::residual_begin: {
            const T* skip = d(o.partner);
            each_row(w, all, [&](int64_t r) { k_.add(from + r * width, skip + r * width, to + r * width, width); });
            break;
        }
        default: copy();
    }
}

template <class T>
void Tangents<T>::run(const Worker& w, const View& x, const View& d_out, const View& d_jacobian, T* d_x) {
    begin(w, x, d_out, d_jacobian);
    for (int i = 0; i <= last_; ++i) {
        if (stop_.agreed(w, i)) return;
        forward(w, i);
    }
    for (int i = last_; i >= 0; --i) {
        if (stop_.agreed(w, last_ + 1 + i)) return;
        backward(w, i);
    }
    if (w.first()) std::copy_n(d_[0].get(), rows_ * plan_.inputs, d_x);
    w.sync();
}

template class Tangents<float>;
template class Tangents<double>;

}  // namespace fd::cpu
