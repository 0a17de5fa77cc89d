#include "cpu/second_order/curvature.h"

#include <algorithm>
#include <cmath>

#include "cpu/blas/gemm.h"
#include "cpu/layerwise/measure.h"

namespace fd::cpu {

template <class T>
Curvature<T>::Curvature(const Plan& plan, const State<T>& state, const Layerwise<T>& layerwise,
                        const Training& training)
    : plan_(plan), state_(state), layerwise_(layerwise), training_(training), k_(kernels_of<T>(isa())),
      last_(int(plan.ops.size()) - 1), places_(plan.tensors.size(), -1) {
    for (int tensor : plan.trainable) {
        places_[size_t(tensor)] = size_;
        size_ += plan.tensors[size_t(tensor)].size();
    }
    for (const Op& o : plan.ops) residuals_ += o.kind == OpKind::residual_begin;
    v_.resize(size_t(size_));
}

template <class T>
void Curvature<T>::begin(int64_t rows, const double* v) {
    std::copy_n(v, size_, v_.begin());
    const Slices cut(rows, 32, 1, Slices::few);  // each has results as large as the weights
    if (tasks_.empty()) tasks_ = std::vector<Task>(size_t(Slices::few));
    // of a slice: the last chunk may be smaller, and then it is cut into fewer slices, of less than 64 rows
    const int64_t most = std::min(rows, std::max<int64_t>((rows + cut.count - 1) / cut.count, 63));
    for (int s = 0; s < cut.count; ++s) {
        Task& task = tasks_[size_t(s)];
        if (task.tangents.empty()) task.tangents = std::vector<Buffer<T>>(plan_.ops.size());
        for (size_t i = 0; i < plan_.ops.size(); ++i) task.tangents[i].reserve(most * plan_.ops[i].out);
        task.back.reserve(most * plan_.widest), task.next.reserve(most * plan_.widest);
        task.result.reserve(size_);
        task.share.reserve(plan_.outputs);
        if (int64_t(task.kept.size()) < residuals_) task.kept = std::vector<Buffer<T>>(size_t(residuals_));
        task.open.reserve(size_t(residuals_));
        for (Buffer<T>& kept : task.kept) kept.reserve(most * plan_.widest);
    }
}

template <class T>
void Curvature<T>::add(const Worker& w, const Batch<T>& b, double total, double* out) {
    const Slices cut(b.rows, 32, 1, Slices::few);
    w.each(cut.count, [&](int64_t s) { run(tasks_[size_t(s)], b, total, cut.begin(s), cut.end(s)); });
    w.sync();
    const Slices parts(size_, 1024);
    w.each(parts.count, [&](int64_t s) {
        for (int t = 0; t < cut.count; ++t) {
            const T* from = tasks_[size_t(t)].result.get();
            for (int64_t i = parts.begin(s); i < parts.end(s); ++i) out[i] += double(from[i]);
        }
    });
    w.sync();
}

// values *= the derivative of op i's activation in rows r0 … of the batch
template <class T>
void Curvature<T>::apply_derivative(int i, const Batch<T>& b, int64_t r0, int64_t rows, T* values) const {
    const auto act = layerwise_.walk(Pass::inference)[i].activation;
    const int64_t out = op(i).out;
    const T* operand = layerwise_.activation_operand(i, b.x, Pass::inference) + r0 * out;
    if (act == ops::Activation::softmax)
        k_.softmax_backward(operand, values, rows, out);  // symmetric: its own transpose
    else k_.activation_backward(act, T(op(i).alpha), nullptr, operand, values, out, rows, out);
}

template <class T>
void Curvature<T>::run(Task& task, const Batch<T>& b, double total, int64_t r0, int64_t r1) {
    const int64_t rows = r1 - r0;
    const T* tangent = nullptr;  // of what goes into op i; none before the first parameters
    task.open.clear();
    for (int i = 0; i <= last_; ++i) {
        const Op& o = op(i);
        T* to = task.tangents[size_t(i)].get();
        const int64_t count = rows * o.out;
        switch (o.kind) {
            case OpKind::dense: {
                const T *x = layerwise_.output(i - 1, b.x, Pass::inference) + r0 * o.in,
                        *v = v_.data() + places_[size_t(o.kernel)];
                gemm(Trans::no, Trans::no, rows, o.out, o.in, x, o.in, v, o.out, T(0), to, o.out);
                if (tangent)
                    gemm(Trans::no, Trans::no, rows, o.out, o.in, tangent, o.in, parameter(o.kernel), o.out, T(1), to,
                         o.out);
                if (o.bias >= 0) {
                    const T* shift = v_.data() + places_[size_t(o.bias)];
                    for (int64_t r = 0; r < rows; ++r)
                        for (int64_t c = 0; c < o.out; ++c) to[r * o.out + c] += shift[c];
                }
                apply_derivative(i, b, r0, rows, to);
                tangent = to;
                break;
            }
            case OpKind::activation:
                if (!tangent) break;
                std::copy_n(tangent, count, to);
                apply_derivative(i, b, r0, rows, to);
                tangent = to;
                break;
            case OpKind::rescaling:
                if (!tangent) break;
                k_.rescale(tangent, statistic(o.scale), nullptr, to, rows, o.out);
                tangent = to;
                break;
            case OpKind::residual_begin: task.open.push_back(tangent); break;
            case OpKind::residual_end: {
                const T* skip = task.open.back();
                task.open.pop_back();
                if (!tangent || !skip) {
                    if (!tangent) tangent = skip;
                    break;
                }
                for (int64_t k = 0; k < count; ++k) to[k] = tangent[k] + skip[k];
                tangent = to;
                break;
            }
            default: break;
        }
    }
    std::fill_n(task.result.get(), size_, T(0));
    if (!tangent) return;
    T *back = task.back.get(), *next = task.next.get();
    curve_loss(b, total, r0, r1, tangent, task.share.get(), back);
    size_t kept = 0;
    for (int i = last_; i >= layerwise_.walk(Pass::inference).first_gradient(); --i) {
        const Op& o = op(i);
        const int64_t count = rows * o.out;
        switch (o.kind) {
            case OpKind::dense: {
                apply_derivative(i, b, r0, rows, back);
                const T* x = layerwise_.output(i - 1, b.x, Pass::inference) + r0 * o.in;
                gemm(Trans::yes, Trans::no, o.in, o.out, rows, x, o.in, back, o.out, T(0),
                     task.result.get() + places_[size_t(o.kernel)], o.out);
                if (o.bias >= 0) k_.column_sums(back, task.result.get() + places_[size_t(o.bias)], o.out, rows, o.out);
                if (layerwise_.walk(Pass::inference)[i].passes_gradient) {
                    gemm(Trans::no, Trans::yes, rows, o.in, o.out, back, o.out, parameter(o.kernel), o.out, T(0), next,
                         o.in);
                    std::swap(back, next);
                }
                break;
            }
            case OpKind::activation: apply_derivative(i, b, r0, rows, back); break;
            case OpKind::rescaling: k_.rescale(back, statistic(o.scale), nullptr, back, rows, o.out); break;
            case OpKind::residual_end: std::copy_n(back, count, task.kept[kept++].get()); break;
            case OpKind::residual_begin: {
                const Buffer<T>& skip = task.kept[--kept];
                for (int64_t k = 0; k < count; ++k) back[k] += skip[k];
                break;
            }
            default: break;
        }
    }
}

// out = the second derivative of the loss at the outputs, times a change of them.
template <class T>
void Curvature<T>::curve_loss(const Batch<T>& b, double total, int64_t r0, int64_t r1, const T* tangent, T* share,
                              T* out) const {
    const int64_t cols = plan_.outputs;
    const LossForm& form = layerwise_.walk(Pass::inference).form();
    const T* outputs = layerwise_.output(last_, b.x, Pass::inference);
    for (int64_t r = r0; r < r1; ++r, tangent += cols, out += cols) {
        const T *z = outputs + r * cols, *y = b.y ? b.y + r * cols : nullptr;
        const double weight = (b.weights ? b.weights[r] : 1) / total;
        if (training_.categorical()) {  // from logits: mass (diag(p) - p pᵀ)
            double mass = y ? 0 : 1, mean = 0;
            if (y)
                for (int64_t c = 0; c < cols; ++c) mass += double(y[c]);
            mass = mass * (1 - training_.label_smoothing) + training_.label_smoothing;
            k_.softmax(z, share, 1, cols);
            for (int64_t c = 0; c < cols; ++c) mean += double(share[c]) * double(tangent[c]);
            for (int64_t c = 0; c < cols; ++c)
                out[c] = T(weight * mass * double(share[c]) * (double(tangent[c]) - mean));
            continue;
        }
        for (int64_t c = 0; c < cols; ++c) {
            const double second = ops::second_derivative(form.kind, double(z[c]), double(y[c]), training_.loss_param);
            out[c] = T(weight / double(cols) * second * double(tangent[c]));
        }
    }
}

template class Curvature<float>;
template class Curvature<double>;

}  // namespace fd::cpu
