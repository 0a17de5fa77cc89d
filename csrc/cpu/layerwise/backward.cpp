// Layerwise: gradients and updates.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/blas/gemm.h"
#include "cpu/layerwise/layerwise.h"
#include "cpu/layerwise/matrix.h"

namespace fd::cpu {

template <class T>
bool Layerwise<T>::backward(const Worker& w, const Batch<T>& b, Pass pass, bool update) {
    for (int i = last_; i >= walk(pass).first_gradient(); --i) {
        if (op(i).kind == OpKind::dense) {
            const bool finished_above = i < last_ && op(i + 1).kind == OpKind::dense;
            if (!finished_above) {
                const Slices columns(op(i).out);
                w.each(columns.count,
                       [&](int64_t s) { dense_finish(i, b.x, b.rows, pass, columns.begin(s), columns.end(s)); });
                w.sync();
            }
            dense_backward(w, i, b.x, b.rows, pass, finished_above, update && updates_early());
        } else {
            other_backward(w, i, b.x, b.rows, pass);
        }
        if (stops(w, int(plan_.ops.size()) + i)) return false;
    }
    return true;
}

// From the gradient of a dense op's output to that of its pre-activation, in place, and to the gradients of bias and
// slope, for columns c0 … c1 and all rows.
template <class T>
void Layerwise<T>::dense_finish(int i, const T* x, int64_t rows, Pass pass, int64_t c0, int64_t c1) {
    const Op& o = op(i);
    const int64_t cols = c1 - c0;
    T* grad = d(i) + c0;
    const bool whole_row = o.activation == ops::Activation::softmax;  // then loss() has done all of it
    if (o.has_activity() && !whole_row && !walk(pass)[i].skips_activation)
        for (int64_t r = 0; r < rows; ++r)
            k_.penalty(out_[i].get() + r * o.out + c0, grad + r * o.out, o.activity_l1 / double(rows),
                       o.activity_l2 / double(rows), cols);
    const T* slope = o.slope >= 0 ? parameter(o.slope) + c0 : nullptr;
    const T* operand = activation_operand(i, x, pass) + c0;
    if (slope) k_.prelu_slope_gradient(operand, grad, gradient(o.slope) + c0, o.out, rows, cols);
    k_.activation_backward(walk(pass)[i].activation, T(o.alpha), slope, operand, grad, o.out, rows, cols);
    if (o.bias >= 0) k_.column_sums(grad, gradient(o.bias) + c0, o.out, rows, cols);
}

template <class T>
void Layerwise<T>::pack_backward(int i, const T* x, int64_t rows, int64_t c0, int64_t c1, int64_t s, int64_t runs) {
    const int64_t cols = op(i).out;
    if (packs_rows_backward(i, rows)) pack_rows(i, d(i), rows, cols, 0, panels(rows), c0, c1);
    if (packs_columns_backward(i, rows)) pack_columns(i, d(i), rows, cols, c0, c1);
    if (bf16_) pair_inputs(i, x, rows, s, runs);
}

// A task owns rows i0 … i1 of the kernel: for them it makes the input's gradient, finishes and packs it for the dense op
// below, makes the kernel's gradient and updates the kernel. Nobody else reads those rows, so there is no barrier in between.
template <class T>
void Layerwise<T>::dense_backward(const Worker& w, int i, const T* x0, int64_t rows, Pass pass, bool packed,
                                  bool update) {
    const Op& o = op(i);
    const T* x = output(i - 1, x0, pass);
    const bool passes = passes_gradient(i), finishes = passes && op(i - 1).kind == OpKind::dense;
    const T *weights = parameter(o.kernel), *grad = d(i);
    const bool by_rows = packs_rows_backward(i, rows), by_columns = packs_columns_backward(i, rows);
    if (!packed && (by_rows || by_columns)) {
        const Tiles columns = tiles(o.out);
        w.each(columns.runs, [&](int64_t s) {
            pack_backward(i, x, rows, columns.begin(columns.run(s)), columns.begin(columns.run(s + 1)), s,
                          columns.runs);
        });
        w.sync();
    }
    const Tiles cut = tiles(o.in);
    T* mine = tile_gradients_.get() + cut.runs * w.id / w.team * tile() * plan_.widest;  // of the worker's first run
    w.each(cut.runs, [&](int64_t s) {
        const int64_t t0 = cut.run(s), t1 = cut.run(s + 1), i0 = cut.begin(t0), i1 = cut.begin(t1), n = i1 - i0;
        if (passes) {
            T* below = d(i - 1);
            if (!by_rows)
                gemm(Trans::no, Trans::yes, rows, n, o.out, grad, o.out, weights + i0 * o.out, o.out, T(0), below + i0,
                     o.in);
            else
                for (int64_t t = t0; t < t1; ++t)
                    for (int64_t p = 0; p < panels(rows); ++p)
                        input_gradient_tile(i, rows, cut.begin(t), cut.begin(t + 1), p, below);
            if (finishes) {
                dense_finish(i - 1, x0, rows, pass, i0, i1);
                pack_backward(i - 1, output(i - 2, x0, pass), rows, i0, i1, s, cut.runs);
            }
        }
        if (update) parts(o.kernel)[s] = 0;
        if (!by_columns) {
            T* g = gradient(o.kernel) + i0 * o.out;
            gemm(Trans::yes, Trans::no, n, o.out, rows, x + i0, o.in, grad, o.out, T(0), g, o.out);
            if (update) update_run(o.kernel, i0 * o.out, n * o.out, g, int(s), 1, true);
            return;
        }
        for (int64_t t = t0; t < t1; ++t) {
            const int64_t r0 = cut.begin(t), r1 = cut.begin(t + 1);
            T* g = update ? mine : gradient(o.kernel) + r0 * o.out;
            kernel_gradient(i, x, rows, r0, r1, g, update);
            if (update) update_tile(i, r0, r1, g, int(s));
        }
    });
}

template <class T>
void Layerwise<T>::update_tile(int i, int64_t r0, int64_t r1, const T* g, int part) {
    const Op& o = op(i);
    const int64_t step = bf16_ ? 2 : r1 - r0;
    for (int64_t r = r0; r < r1; r += step, g += step * o.out) {
        const int64_t n = std::min(step, r1 - r);
        update_run(o.kernel, r * o.out, n * o.out, g, part, 1, true);
        if constexpr (sizeof(T) == 4)
            if (bf16_) bf16_->refresh(i, parameter(o.kernel), r, r + n);
    }
}

template <class T>
void Layerwise<T>::other_backward(const Worker& w, int i, const T* x0, int64_t rows, Pass pass) {
    const Op& o = op(i);
    const int64_t width = o.out;
    T *from = d(i), *to = d(i - 1);
    const OpWalk& step = walk(pass)[i];
    const T* x = values(step.input, x0);
    const Slices columns(width), by_rows(rows, 4, 1);
    auto row_slices = [&](auto&& body) {  // body(first element, elements)
        w.each(by_rows.count, [&](int64_t s) {
            const int64_t first = by_rows.begin(s) * width;
            body(first, by_rows.end(s) * width - first);
        });
    };
    switch (o.kind) {
        case OpKind::activation: {
            w.each(columns.count, [&](int64_t s) {
                const int64_t c0 = columns.begin(s), n = columns.end(s) - c0;
                const T* slope = o.slope >= 0 ? parameter(o.slope) + c0 : nullptr;
                const T* operand = activation_operand(i, x0, pass) + c0;
                if (slope) k_.prelu_slope_gradient(operand, from + c0, gradient(o.slope) + c0, width, rows, n);
                for (int64_t r = 0; r < rows; ++r) std::copy_n(from + r * width + c0, n, to + r * width + c0);
                k_.activation_backward(step.activation, T(o.alpha), slope, operand, to + c0, width, rows, n);
            });
            break;
        }
        case OpKind::batch_norm:
            w.each(columns.count, [&](int64_t s) {
                const int64_t c0 = columns.begin(s);
                k_.batch_norm_backward(norm_block(i, x, rows, pass, c0, columns.end(s)), from + c0, to + c0,
                                       gradient(o.kernel) + c0, gradient(o.bias) + c0, pass == Pass::train);
            });
            break;
        case OpKind::layer_norm:
            w.each(by_rows.count, [&](int64_t s) {
                const int64_t r0 = by_rows.begin(s);
                NormBlock<T> b = norm_block(i, x + r0 * width, by_rows.end(s) - r0, pass, 0, width);
                b.mean += r0, b.inverse += r0;
                k_.layer_norm_backward(b, from + r0 * width, to + r0 * width);
            });
            w.each(columns.count, [&](int64_t s) {
                const int64_t c0 = columns.begin(s);
                k_.layer_norm_parameters(norm_block(i, x, rows, pass, c0, columns.end(s)), from + c0,
                                         gradient(o.kernel) + c0, gradient(o.bias) + c0);
            });
            break;
        case OpKind::dropout:
            if (!step.passes_gradient) break;
            row_slices([&](int64_t first, int64_t n) {
                if (pass != Pass::train) {
                    std::copy_n(from + first, n, to + first);
                    return;
                }
                const ops::DropoutMask mask(plan_.seed, uint64_t(state_.step), uint32_t(i), o.rate);
                k_.dropout(mask, from + first, to + first, uint64_t(first), n);
            });
            break;
        case OpKind::rescaling:
            row_slices([&](int64_t first, int64_t n) {
                k_.rescale(from + first, statistic(o.scale), nullptr, to + first, n / width, width);
            });
            break;
        case OpKind::residual_end:
            row_slices([&](int64_t first, int64_t n) { std::copy_n(from + first, n, to + first); });
            break;
        case OpKind::residual_begin:
            if (step.passes_gradient)
                row_slices(
                    [&](int64_t first, int64_t n) { k_.add(from + first, d(o.partner) + first, to + first, n); });
            break;
        case OpKind::dense:
        case OpKind::normalization: break;
    }
}

template <class T>
void Layerwise<T>::observe(const Worker& w, const Batch<T>& b) {
    if (!kfac_) return;
    const bool due = kfac_->due(state_.step), ready = kfac_->ready();
    for (int i = 0; i <= last_; ++i) {
        if (op(i).kind != OpKind::dense) continue;
        const T* x = output(i - 1, b.x, Pass::train);
        kfac_->centre(w, op(i), x, b.rows);
        if (due) kfac_->observe(w, op(i), x, d(i), b.rows, parameter(op(i).kernel));
    }
    if (due || !ready) kfac_->invert(w);
}

template <class T>
void Layerwise<T>::begin_step(double learning_rate) {
    learning_rate_ = learning_rate;
    const ops::Hyper& h = training_->hyper;
    step_ = ops::prepare_step(rule_, h, learning_rate * (training_->muon() ? h.adam_lr_ratio : 1), state_.step + 1);
}

template <class T>
void Layerwise<T>::update_run(int tensor, int64_t first, int64_t n, const T* g, int part, double scale,
                              bool penalised) {
    const Tensor& t = plan_.tensors[size_t(tensor)];
    const ops::Hyper& h = training_->hyper;
    Update<T> u;
    u.rule = rule_;
    u.step = step_;
    u.w = parameter(tensor) + first;
    u.g = g;
    for (size_t k = 0; k < state_.slots.size() && k < 3; ++k) u.slot[k] = at(state_.slots[k], tensor) + first;
    u.n = n;
    if (penalised) u.l1 = t.l1, u.l2 = t.l2;
    u.scale = scale;
    u.clipvalue = h.clipvalue;
    u.decay = learning_rate_ * (training_->muon() ? h.adam_weight_decay : h.weight_decay);
    const double value = k_.update(u);
    if (penalised) parts(tensor)[part] += value;
}

// body(first, elements, part) for the runs of a tensor: the same rows of a kernel that dense_backward cuts, or a whole vector.
template <class T>
template <class F>
void Layerwise<T>::each_run(const Worker& w, int tensor, F&& body) {
    const Tensor& t = plan_.tensors[size_t(tensor)];
    if (t.vector) {
        if (w.first()) body(int64_t(0), t.size(), 0);
        return;
    }
    const Tiles cut = tiles(t.rows);
    w.each(cut.runs, [&](int64_t s) {
        const int64_t r0 = cut.begin(cut.run(s)), r1 = cut.begin(cut.run(s + 1));
        body(r0 * t.cols, (r1 - r0) * t.cols, int(s));
    });
}

template <class T>
void Layerwise<T>::update(const Worker& w) {
    const auto& trainable = plan_.trainable;
    if (updates_early()) {  // kernels are done
        w.each(int64_t(trainable.size()), [&](int64_t k) {
            const int tensor = trainable[size_t(k)];
            const Tensor& t = plan_.tensors[size_t(tensor)];
            if (!t.vector) return;
            parts(tensor)[0] = 0;
            update_run(tensor, 0, t.size(), gradient(tensor), 0, 1, true);
        });
        return;
    }
    update_all(w);
}

template <class T>
double Layerwise<T>::update_elements(int64_t first, int64_t n, double l1, double l2) {
    Update<T> u;
    u.rule = rule_;
    u.step = step_;
    u.w = state_.parameters.get() + first;
    u.g = state_.gradients.get() + first;
    for (size_t k = 0; k < state_.slots.size() && k < 3; ++k) u.slot[k] = state_.slots[k].get() + first;
    u.n = n;
    u.l1 = l1, u.l2 = l2;
    u.clipvalue = training_->hyper.clipvalue;
    u.decay = learning_rate_ * training_->hyper.weight_decay;
    return k_.update(u);
}

template <class T>
void Layerwise<T>::update_all(const Worker& w) {
    const auto& trainable = plan_.trainable;
    penalties(w, true);
    if (kfac_) {
        for (const Op& o : plan_.ops)
            if (o.kind == OpKind::dense) kfac_->centre_gradient(w, o, gradient(o.kernel), gradient(o.bias));
        const T momentum = T(training_->hyper.momentum);
        const Slices cut(plan_.parameters, 4096, 16);
        w.each(momentum != 0 ? cut.count : 0, [&](int64_t s) {
            const int64_t first = cut.begin(s), n = cut.end(s) - first;
            T *g = state_.gradients.get() + first, *m = state_.slots[0].get() + first;
            k_.axpby(T(1), g, momentum, m, n);
            if (training_->hyper.nesterov) k_.axpby(momentum, m, T(1), g, n);
            else std::copy_n(m, n, g);
        });
        w.sync();
        for (const Op& o : plan_.ops)
            if (o.kind == OpKind::dense) kfac_->precondition(w, o, gradient(o.kernel), gradient(o.bias));
        for (int tensor : trainable) {
            const Tensor& t = plan_.tensors[size_t(tensor)];
            const Op& o = op(t.op);
            if (o.kind != OpKind::dense || tensor == o.slope) kfac_->scale(w, gradient(tensor), t.size());
        }
    }
    const ops::Hyper& h = training_->hyper;
    if (h.clipnorm > 0 || h.global_clipnorm > 0) {
        for (int tensor : trainable)
            each_run(w, tensor, [&](int64_t first, int64_t n, int part) {
                const T* g = gradient(tensor) + first;
                norm_parts_[tensor * parts_per_tensor + part] = k_.dot(g, g, n);
            });
        w.sync();
    }
    auto squared_norm = [&](int tensor) {
        double sum = 0;
        for (int p = 0; p < parts_per_tensor; ++p) sum += norm_parts_[tensor * parts_per_tensor + p];
        return sum;
    };
    double global = 0;
    if (h.global_clipnorm > 0)
        for (int tensor : trainable) global += squared_norm(tensor);
    auto scale_of = [&](int tensor) {
        if (h.global_clipnorm > 0) return h.global_clipnorm / std::fmax(std::sqrt(global), h.global_clipnorm);
        if (h.clipnorm > 0) return h.clipnorm / std::fmax(std::sqrt(squared_norm(tensor)), h.clipnorm);
        return 1.0;
    };
    for (int tensor : trainable) {
        const Tensor& t = plan_.tensors[size_t(tensor)];
        if (training_->muon() && !t.vector) {
            muon_update(w, k_, h, learning_rate_, scale_of(tensor), t.rows, t.cols, parameter(tensor), gradient(tensor),
                        at(state_.slots[0], tensor), scratch_);
            continue;
        }
        const double scale = scale_of(tensor);
        each_run(w, tensor, [&](int64_t first, int64_t n, int part) {
            update_run(tensor, first, n, gradient(tensor) + first, part, scale, false);
        });
    }
    if (!bf16_) return;
    w.sync();
    refresh_bf16(w);
}

template <class T>
void Layerwise<T>::penalties(const Worker& w, bool add_gradients) {
    for (int tensor : plan_.trainable) {
        const Tensor& t = plan_.tensors[size_t(tensor)];
        if (t.l1 == 0 && t.l2 == 0) continue;
        each_run(w, tensor, [&](int64_t first, int64_t n, int part) {
            T* g = add_gradients ? gradient(tensor) + first : nullptr;
            parts(tensor)[part] = k_.penalty(parameter(tensor) + first, g, t.l1, t.l2, n);
        });
    }
    w.sync();
    double matrix = 0;
    for (const Op& o : plan_.ops)
        if (o.kind == OpKind::dense && o.matrix_penalty())
            matrix +=
                matrix_penalty(w, k_, o, parameter(o.kernel), add_gradients ? gradient(o.kernel) : nullptr, scratch_);
    if (w.first()) parts(int(plan_.tensors.size()))[0] = matrix;
    w.sync();
}

template <class T>
double Layerwise<T>::penalty_sum() const {
    double sum = 0;
    for (int64_t i = 0; i < penalty_parts_.size(); ++i) sum += penalty_parts_[i];
    return sum;
}

#define FD_INSTANTIATE(T)                                                             \
    template bool Layerwise<T>::backward(const Worker&, const Batch<T>&, Pass, bool); \
    template void Layerwise<T>::observe(const Worker&, const Batch<T>&);              \
    template void Layerwise<T>::begin_step(double);                                   \
    template void Layerwise<T>::update(const Worker&);                                \
    template void Layerwise<T>::update_all(const Worker&);                            \
    template double Layerwise<T>::update_elements(int64_t, int64_t, double, double);  \
    template void Layerwise<T>::penalties(const Worker&, bool);                       \
    template double Layerwise<T>::penalty_sum() const;
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cpu
