// Layerwise: gradients and updates.
#include <algorithm>

#include "cpu/layerwise/layerwise.h"
#include "cpu/layerwise/team.h"

namespace fd::cpu {

template <class T>
bool Layerwise<T>::backward(const Worker& w, const Batch<T>& b, Pass pass, bool update) {
    for (int i = last_; i >= walk(pass).first_gradient(); --i) {
        if (!walk(pass)[i].wants_gradient) continue;  // of a branch without parameters
        const bool by_loss = i == last_ && pass != Pass::inputs && pass != Pass::pullback;
        if (op(i).is_softmax() && !by_loss) softmax_backward(w, i, b.rows, pass);
        if (op(i).kind == OpKind::dense) {
            const bool finished_above = i < last_ && op(i + 1).kind == OpKind::dense;
            if (!finished_above) {
                const Slices columns(op(i).out);
                w.each(columns.count, [&](int64_t s) {
                    apply_activation_gradient(i, b.x, b.rows, pass, columns.begin(s), columns.end(s));
                });
                w.sync();
            }
            dense_backward(w, i, b.x, b.rows, pass, finished_above, update && updates_early());
        } else if (op(i).kind == OpKind::function) {
            if (!function_backward(w, i, b.rows, pass)) return false;
        } else {
            other_backward(w, i, b, pass);
        }
        if (stop_.agreed(w, int(plan_.ops.size()) + i)) return false;
        if (sum_ && w.first()) pass_on(i);
    }
    return true;
}

template <class T>
void Layerwise<T>::pass_on(int i) {
    for (int tensor : {op(i).kernel, op(i).bias, op(i).slope})  // in this order in the flat array
        if (tensor >= 0 && plan_.tensors[size_t(tensor)].trainable)
            return sum_->ready(plan_.tensors[size_t(tensor)].offset);
}

// From the gradient of the output of a branch that ends in a softmax to that of what the softmax gets, in place.
template <class T>
void Layerwise<T>::softmax_backward(const Worker& w, int i, int64_t rows, Pass pass) {
    const Op& o = op(i);
    const T* a = out_[size_t(i)].get();
    const Slices cut(rows, 4, 1);
    w.each(cut.count, [&](int64_t s) {
        const int64_t first = cut.begin(s) * o.out, n = cut.end(s) - cut.begin(s);
        if (walk(pass)[i].penalises_activity)
            k_.penalty(a + first, d(i) + first, o.activity_l1 / double(rows), o.activity_l2 / double(rows), n * o.out);
        k_.softmax_backward(a + first, d(i) + first, n, o.out);
    });
    w.sync();
}

// From the gradient of a dense op's output to that of its pre-activation, in place, and to the gradients of bias and
// slope, for columns c0 … c1 and all rows.
template <class T>
void Layerwise<T>::apply_activation_gradient(int i, const T* x, int64_t rows, Pass pass, int64_t c0, int64_t c1) {
    const Op& o = op(i);
    const int64_t cols = c1 - c0;
    T* grad = d(i) + c0;
    const bool whole_row = o.is_softmax();  // then all of it is done
    const OpWalk& step = walk(pass)[i];
    if (step.penalises_activity && !whole_row && !step.skips_activation)
        for (int64_t r = 0; r < rows; ++r)
            k_.penalty(out_[i].get() + r * o.out + c0, grad + r * o.out, o.activity_l1 / double(rows),
                       o.activity_l2 / double(rows), cols);
    const T* slope = o.slope >= 0 ? parameter(o.slope) + c0 : nullptr;
    const T* operand = activation_operand(i, x, pass) + c0;
    if (slope && step.trains) k_.prelu_slope_gradient(operand, grad, gradient(o.slope) + c0, o.out, rows, cols);
    k_.activation_backward(step.activation, T(o.alpha), slope, operand, grad, o.out, rows, cols);
    if (o.bias >= 0 && step.trains) k_.column_sums(grad, gradient(o.bias) + c0, o.out, rows, cols);
}

// A task owns rows i0 … i1 of the kernel: for them it makes the input's gradient, finishes and packs it for the dense op
// below, makes the kernel's gradient and updates the kernel. No other task reads those rows, so there is no barrier.
template <class T>
void Layerwise<T>::dense_backward(const Worker& w, int i, const T* x0, int64_t rows, Pass pass, bool packed,
                                  bool update) {
    const Op& o = op(i);
    const T* x = output(i - 1, x0, pass);
    const OpWalk& step = walk(pass)[i];
    const bool passes = step.passes_gradient, finishes = passes && i > 0 && op(i - 1).kind == OpKind::dense;
    const T *weights = parameter(o.kernel), *grad = d(i);
    const bool by_rows = products_.packs_rows_backward(i, step, rows);
    const bool by_columns = products_.packs_columns_backward(i, step, rows);
    if (!packed && (by_rows || by_columns)) {
        const Tiles columns = products_.tiles(o.out);
        w.range(columns.runs, [&](int64_t s, int64_t end) {
            products_.pack_backward(i, step, x, grad, rows, columns.begin(columns.run(s)),
                                    columns.begin(columns.run(end)), s, end, columns.runs);
        });
        w.sync();
    }
    const Tiles cut = products_.tiles(o.in);
    T* mine = update ? tile_gradients_.get() + w.id * products_.tile() * plan_.widest : nullptr;
    // Our own products are the same bits however they are cut, BLAS's are not.
    const bool ours = (by_rows || !passes) && (by_columns || !step.trains);
    const int64_t fixed = ours ? 1 : cut.runs_at_once(), at_once = cut.runs_at_once();
    auto some_runs = [&](int64_t s, int64_t end) {
        const int64_t t0 = cut.run(s), t1 = cut.run(end), i0 = cut.begin(t0), i1 = cut.begin(t1), n = i1 - i0;
        if (passes) {
            T* below = d(i - 1);
            if (!by_rows)
                stoppable_gemm(stop_, w, Trans::no, Trans::yes, rows, n, o.out, grad, o.out, weights + i0 * o.out,
                               o.out, T(0), below + i0, o.in);
            else
                for (int64_t t = t0; t < t1 && !stop_.asked(w); ++t)
                    for (int64_t p = 0; p < products_.panels(rows) && (p % 64 != 63 || !stop_.asked(w)); ++p)
                        products_.input_gradient_tile(i, rows, cut.begin(t), cut.begin(t + 1), p, below);
            if (finishes && !stop_.known()) {
                apply_activation_gradient(i - 1, x0, rows, pass, i0, i1);
                products_.pack_backward(i - 1, walk(pass)[i - 1], output(i - 2, x0, pass), below, rows, i0, i1, s, end,
                                        cut.runs);
            }
        }
        if (!step.trains) return;
        if (update) updater_.begin_parts(o.kernel, s, end);
        if (!by_columns) {
            T* g = gradient(o.kernel) + i0 * o.out;
            stoppable_gemm(stop_, w, Trans::yes, Trans::no, n, o.out, rows, x + i0, o.in, grad, o.out, T(0), g, o.out);
            if (update) updater_.update_part(o.kernel, i0 * o.out, n * o.out, g, s);
            return;
        }
        for (int64_t part = s; part < end; ++part)
            for (int64_t t = cut.run(part); t < cut.run(part + 1) && !stop_.asked(w); ++t) {
                const int64_t r0 = cut.begin(t), r1 = cut.begin(t + 1);
                T* g = update ? mine : gradient(o.kernel) + r0 * o.out;
                products_.kernel_gradient(i, x, rows, r0, r1, w.id, g, update);
                if (update) update_tile(i, r0, r1, g, part);
            }
    };
    w.range((cut.runs + fixed - 1) / fixed, [&](int64_t first, int64_t end) {
        const int64_t last = std::min<int64_t>(cut.runs, end * fixed);
        for (int64_t s = first * fixed; s < last; s += at_once) some_runs(s, std::min(last, s + at_once));
    });
}

template <class T>
void Layerwise<T>::update_tile(int i, int64_t r0, int64_t r1, const T* g, int64_t part) {
    const Op& o = op(i);
    const int64_t step = products_.has_copies() ? 2 : r1 - r0;
    for (int64_t r = r0; r < r1; r += step, g += step * o.out) {
        const int64_t n = std::min(step, r1 - r);
        updater_.update_part(o.kernel, r * o.out, n * o.out, g, part);
        products_.refresh(i, r, r + n);
    }
}

template <class T>
void Layerwise<T>::other_backward(const Worker& w, int i, const Batch<T>& b, Pass pass) {
    const Op& o = op(i);
    const T* x0 = b.x;
    const int64_t width = o.out, rows = b.rows;
    T *from = d(i), *to = d(i - 1);
    const auto gradient_of = [&](int tensor, int spare) {
        return tensor < 0 ? no_gradient_[spare].get() : gradient(tensor);
    };
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
                if (slope && step.trains)
                    k_.prelu_slope_gradient(operand, from + c0, gradient(o.slope) + c0, width, rows, n);
                for (int64_t r = 0; r < rows; ++r) std::copy_n(from + r * width + c0, n, to + r * width + c0);
                k_.activation_backward(step.activation, T(o.alpha), slope, operand, to + c0, width, rows, n);
            });
            break;
        }
        case OpKind::batch_norm:
            w.each(columns.count, [&](int64_t s) {
                const int64_t c0 = columns.begin(s);
                k_.batch_norm_backward(norm_block(i, x, rows, pass, c0, columns.end(s)), from + c0, to + c0,
                                       gradient_of(o.kernel, 0) + c0, gradient_of(o.bias, 1) + c0,
                                       step.batch_statistics);
            });
            break;
        case OpKind::layer_norm:
            w.each(by_rows.count, [&](int64_t s) {
                const int64_t r0 = by_rows.begin(s);
                NormBlock<T> block = norm_block(i, x + r0 * width, by_rows.end(s) - r0, pass, 0, width);
                block.mean += r0, block.inverse += r0;
                k_.layer_norm_backward(block, from + r0 * width, to + r0 * width);
            });
            w.each(columns.count, [&](int64_t s) {
                const int64_t c0 = columns.begin(s);
                k_.layer_norm_parameters(norm_block(i, x, rows, pass, c0, columns.end(s)), from + c0,
                                         gradient_of(o.kernel, 0) + c0, gradient_of(o.bias, 1) + c0);
            });
            break;
        case OpKind::unit_norm: unit_norm_backward(w, i, rows); break;
        case OpKind::gaussian_noise:
        case OpKind::gaussian_dropout:
        case OpKind::alpha_dropout:
            if (!step.passes_gradient) break;
            if (pass == Pass::train) noise(w, i, from, to, b, true);
            else row_slices([&](int64_t first, int64_t n) { std::copy_n(from + first, n, to + first); });
            break;
        case OpKind::activity:
            if (!step.passes_gradient) break;
            row_slices([&](int64_t first, int64_t n) {
                std::copy_n(from + first, n, to + first);
                if (step.penalises_activity)
                    k_.penalty(x + first, to + first, o.activity_l1 / double(rows), o.activity_l2 / double(rows), n);
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
                k_.dropout(mask, from + first, to + first, uint64_t(b.first_row * width + first), n);
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
        case OpKind::scale:
            w.each(columns.count, [&](int64_t s) {
                const int64_t c0 = columns.begin(s);
                k_.column_dots(from + c0, x + c0, gradient(o.kernel) + c0, width, rows, columns.end(s) - c0);
            });
            if (step.passes_gradient)
                row_slices([&](int64_t first, int64_t n) {
                    k_.rescale(from + first, parameter(o.kernel), nullptr, to + first, n / width, width);
                });
            break;
        case OpKind::piecewise_linear:
        case OpKind::periodic:
        case OpKind::embedding:
        case OpKind::select_columns: columns_backward(w, i, x, rows, pass); break;
        case OpKind::grouped_dense: grouped_backward(w, i, x, rows, pass); break;
        case OpKind::branches_end: branches_end_backward(w, i, x0, rows, pass); break;
        case OpKind::branches_begin:
            if (step.passes_gradient) branches_begin_backward(w, i, rows);
            break;
        case OpKind::normalization: {  // of the net's input
            if (!step.passes_gradient) break;
            const double* inverse = state_.input_statistics.inverse();
            w.each(by_rows.count, [&](int64_t s) {
                for (int64_t r = by_rows.begin(s); r < by_rows.end(s); ++r)
                    for (int64_t c = 0; c < width; ++c) to[r * width + c] = T(double(from[r * width + c]) * inverse[c]);
            });
            break;
        }
        case OpKind::dense:
        case OpKind::function:
        case OpKind::branch_next: break;  // branches_begin sums what its branches want
    }
}

template <class T>
void Layerwise<T>::seed(const Worker& w, const View& d_out, int64_t first, int64_t rows) {
    const Slices cut(rows, 4, 1);
    w.each(cut.count, [&](int64_t s) {
        for (int64_t r = cut.begin(s); r < cut.end(s); ++r)
            k_.gather_row(d_out, first + r, nullptr, nullptr, d(last_) + r * d_out.cols);
    });
    w.sync();
}

template <class T>
void Layerwise<T>::unit_norm_backward(const Worker& w, int i, int64_t rows) {
    const int64_t width = op(i).out;
    const Slices cut(rows, 4, 1);
    w.each(cut.count, [&](int64_t s) {
        for (int64_t r = cut.begin(s); r < cut.end(s); ++r) {
            const T *grad = d(i) + r * width, *y = out_[i].get() + r * width, inverse = inverse_[i][r];
            T* to = d(i - 1) + r * width;
            const T along = inverse < T(1e12) ? T(k_.dot(grad, y, width)) : T(0);
            for (int64_t c = 0; c < width; ++c) to[c] = inverse * (grad[c] - along * y[c]);
        }
    });
}

template <class T>
void Layerwise<T>::observe(const Worker& w, const Batch<T>& b) {
    Kfac<T>* kfac = updater_.kfac();
    if (!kfac) return;
    const bool due = kfac->due(state_.step), ready = kfac->ready();
    for (int i = 0; i <= last_; ++i) {
        if (op(i).kind != OpKind::dense) continue;
        const T* x = output(i - 1, b.x, Pass::train);
        kfac->centre(w, op(i), x, b.rows);
        if (due) kfac->observe(stop_, w, op(i), x, d(i), b.rows, parameter(op(i).kernel));
    }
    if (due || !ready) kfac->invert(stop_, w);
}

template <class T>
bool Layerwise<T>::update(const Worker& w) {
    if (updates_early()) {  // kernels are done
        updater_.update_vectors(w);
        return true;
    }
    if (!updater_.update_all(w)) return false;
    refresh(w);
    return true;
}

template <class T>
void Layerwise<T>::refresh(const Worker& w) {
    if (!products_.has_copies()) return;
    w.sync();
    products_.refresh(w);
}

#define FD_INSTANTIATE(T)                                                             \
    template bool Layerwise<T>::backward(const Worker&, const Batch<T>&, Pass, bool); \
    template void Layerwise<T>::seed(const Worker&, const View&, int64_t, int64_t);   \
    template void Layerwise<T>::observe(const Worker&, const Batch<T>&);              \
    template bool Layerwise<T>::update(const Worker&);                                \
    template void Layerwise<T>::refresh(const Worker&);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cpu
