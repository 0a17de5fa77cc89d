// Layerwise: set-up, gather, forward. Backward is in backward.cpp.
#include "cpu/layerwise/layerwise.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/layerwise/team.h"

namespace fd::cpu {
namespace {

void fetch_row(const View& v, int64_t row) {
    const char *from = v.row(row), *end = from + v.cols * v.col_stride;
    if (end - from <= 16384)
        for (; from < end; from += 64) __builtin_prefetch(from);
}

int64_t label_at(const View& y, int64_t row) {
    return visit(y.dtype, [p = y.row(row)](auto label) {
        std::memcpy(&label, p, sizeof(label));
        return int64_t(label);
    });
}

}  // namespace

template <class T>
Layerwise<T>::Layerwise(const Plan& plan, State<T>& state, Updater<T>& updater, Stop& stop)
    : plan_(plan), state_(state), updater_(updater), stop_(stop), k_(kernels_of<T>(isa())), products_(plan, state),
      loss_(plan), last_(int(plan.ops.size()) - 1), calls_functions_(plan.has_functions()), calls_(plan.ops.size()) {
    const size_t n = plan.ops.size();
    for (auto* per_op : {&out_, &z_, &mean_, &inverse_}) *per_op = std::vector<Buffer<T>>(n);
    d_ = std::vector<Buffer<T>>(n + 1);
    rows_looked_up_ = std::vector<Buffer<int64_t>>(n);
    walks_ = walks_of(plan_, training_);
    // a chunk's activations should stay in the caches
    chunk_rows_ = std::clamp<int64_t>(131072 / plan.widest, 64, 4096);
}

template <class T>
void Layerwise<T>::configure(const Training* training) {
    training_ = training;
    walks_ = walks_of(plan_, training_);
    loss_.configure(training);
    capacity_ = 0;  // buffers for metrics may be missing
}

template <class T>
void Layerwise<T>::reserve(int64_t rows, bool backward, bool probe) {
    if (products_.stale()) parallel(1, [&](const Worker& w) { products_.refresh(w); });
    if (rows <= capacity_ && team_ <= team_ready_ && (backward_ready_ || !backward) && (probe_ready_ || !probe)) return;
    rows = std::max(rows, capacity_);
    backward |= backward_ready_, probe |= probe_ready_;
    x_.reserve(rows * plan_.inputs);
    products_.reserve(rows, backward, team_);
    if (backward && updater_.kfac()) updater_.kfac()->reserve(rows);
    if (backward) tile_gradients_.reserve(team_ * products_.tile() * plan_.widest);
    team_ready_ = team_;
    for (int i = 0; i <= last_; ++i) {
        const Op& o = op(i);
        const int64_t size = rows * o.out;
        if (walk(Pass::train)[i].computes) out_[i].reserve(size);
        if (o.kind == OpKind::embedding) rows_looked_up_[size_t(i)].reserve(rows * int64_t(o.columns.size()));
        if (o.kind == OpKind::batch_norm) mean_[i].reserve(o.out), inverse_[i].reserve(o.out);
        if (o.kind == OpKind::layer_norm) mean_[i].reserve(rows), inverse_[i].reserve(rows);
        if (o.kind == OpKind::unit_norm) inverse_[i].reserve(rows);
        if (o.normalizes() && !(o.scales && o.centers)) {
            for (Buffer<T>* one : {&ones_, &zeros_, &no_gradient_[0], &no_gradient_[1]}) one->reserve(plan_.widest);
            std::fill_n(ones_.get(), plan_.widest, T(1));
        }
        if (!backward) continue;
        if (walk(probe ? Pass::probe : Pass::train)[i].keeps_pre_activation ||
            walk(Pass::inputs)[i].keeps_pre_activation)
            z_[i].reserve(size);
        d_[size_t(i) + 1].reserve(size);
    }
    if (backward && op(0).kind != OpKind::dense) d_[0].reserve(rows * plan_.inputs);
    if (training_) {
        if (training_->sparse()) labels_.reserve(rows);
        else y_.reserve(rows * std::max(most_targets_, plan_.outputs));
        weights_.reserve(rows);
        loss_.reserve(rows);
        updater_.reserve();  // penalties are part of every loss
    }
    capacity_ = rows;
    backward_ready_ = backward, probe_ready_ = probe;
}

template <class T>
void Layerwise<T>::expect_targets(int64_t cols) {
    if (cols <= std::max(most_targets_, plan_.outputs)) return;
    most_targets_ = cols;
    capacity_ = 0;
}

template <class T>
Batch<T> Layerwise<T>::gather(const Worker& w, const Dataset& data, int64_t rows, const RowOrder& order) {
    Batch<T> b;
    b.rows = rows;
    const bool direct = order.consecutive(), standardise = plan_.normalizes_input();
    const int64_t first = order(0);
    const bool x_direct = direct && !standardise && data.x.is_matrix_of<T>();
    const bool with_labels = training_ && training_->sparse(), with_targets = bool(data.y) && !with_labels;
    const bool y_is_x = with_targets && !standardise && data.y.same_as(data.x);  // an autoencoder: gathered once
    const bool y_direct = with_targets && ((direct && data.y.is_matrix_of<T>()) || y_is_x);
    const double *mean = state_.input_statistics.mean(), *inverse = state_.input_statistics.inverse();
    const bool weights_copied = data.weights && !direct;
    if (!x_direct || (with_targets && !y_direct) || (data.y && with_labels) || weights_copied) {
        const Slices slices(rows, 4, 1);
        w.each(slices.count, [&](int64_t s) {
            if (stop_.asked(w)) return;
            int64_t next = order(slices.begin(s));
            for (int64_t r = slices.begin(s); r < slices.end(s); ++r) {
                if (r % 512 == 511 && stop_.asked(w)) return;
                const int64_t row = next;
                if (r + 1 < slices.end(s)) {  // rows lie anywhere in the data: prefetch the next one
                    next = order(r + 1);
                    fetch_row(data.x, next);
                    if (with_targets && !y_direct) fetch_row(data.y, next);
                }
                if (!x_direct) k_.gather_row(data.x, row, mean, inverse, x_.get() + r * plan_.inputs);
                if (with_targets && !y_direct) k_.gather_row(data.y, row, nullptr, nullptr, y_.get() + r * data.y.cols);
                if (data.y && with_labels) labels_[r] = int32_t(label_at(data.y, row));
                if (weights_copied) weights_[r] = data.weights[row];
            }
        });
        w.sync();
    }
    b.x = x_direct ? reinterpret_cast<const T*>(data.x.row(first)) : x_.get();
    b.y_cols = data.y.cols;
    if (with_targets) b.y = y_is_x ? b.x : y_direct ? reinterpret_cast<const T*>(data.y.row(first)) : y_.get();
    if (data.y && with_labels) b.labels = labels_.get();
    if (data.weights) b.weights = weights_copied ? weights_.get() : data.weights + first;
    return b;
}

template <class T>
const T* Layerwise<T>::output(int i, const T* x, Pass pass) const {
    return values(walk(pass).output_of(i), x);
}

template <class T>
const T* Layerwise<T>::pre_activation(int i, const T* x) const {
    const OpWalk& o = walk(Pass::probe)[i];
    if (op(i).kind == OpKind::activation) return values(o.input, x);
    return (o.keeps_pre_activation ? z_ : out_)[size_t(i)].get();
}

template <class T>
const T* Layerwise<T>::activation_operand(int i, const T* x, Pass pass) const {
    const OpWalk& o = walk(pass)[i];
    if (!o.derivative_at_input) return out_[size_t(i)].get();
    return op(i).kind == OpKind::dense ? z_[size_t(i)].get() : values(o.input, x);
}

template <class T>
const T* Layerwise<T>::probed_output(const Worker& w, int i, const Batch<T>& b, T* room) const {
    const T* a = output(i, b.x, Pass::probe);
    if (!walk(Pass::probe)[i].skips_activation) return a;
    const Slices cut(b.rows, 4, 1);
    w.each(cut.count, [&](int64_t s) {
        const int64_t first = cut.begin(s) * plan_.outputs;
        loss_.probabilities(a + first, room + first, cut.end(s) - cut.begin(s));
    });
    w.sync();
    return room;
}

template <class T>
bool Layerwise<T>::forward(const Worker& w, const Batch<T>& b, Pass pass, bool update_statistics) {
    for (int i = 0; i <= last_; ++i) {
        const OpWalk& step = walk(pass)[i];
        if (!step.computes) continue;
        const T* x = values(step.input, b.x);
        const Op& o = op(i);
        switch (o.kind) {
            case OpKind::dense: dense_forward(w, i, x, b.rows, pass); break;
            case OpKind::activation: activation_forward(w, i, x, b.rows, pass); break;
            case OpKind::batch_norm: batch_norm_forward(w, i, x, b.rows, pass, update_statistics); break;
            case OpKind::layer_norm: layer_norm_forward(w, i, x, b.rows); break;
            case OpKind::unit_norm: unit_norm_forward(w, i, x, b.rows); break;
            case OpKind::gaussian_noise:
            case OpKind::gaussian_dropout:
            case OpKind::alpha_dropout: noise(w, i, x, out_[i].get(), b, false); break;
            case OpKind::dropout: {
                const ops::DropoutMask mask(plan_.seed, uint64_t(state_.step), uint32_t(i), o.rate);
                const Slices rows(b.rows, 4, 1);
                w.each(rows.count, [&](int64_t s) {
                    const int64_t first = rows.begin(s) * o.out;
                    k_.dropout(mask, x + first, out_[i].get() + first, uint64_t(b.first_row * o.out + first),
                               rows.end(s) * o.out - first);
                });
                break;
            }
            case OpKind::scale:
            case OpKind::rescaling: {
                const T* factors = o.kind == OpKind::scale ? parameter(o.kernel) : statistic(o.scale);
                const Slices rows(b.rows, 4, 1);
                w.each(rows.count, [&](int64_t s) {
                    const int64_t first = rows.begin(s) * o.out;
                    k_.rescale(x + first, factors, statistic(o.offset), out_[i].get() + first,
                               rows.end(s) - rows.begin(s), o.out);
                });
                break;
            }
            case OpKind::residual_end: {
                const T* skip = values(step.skip, b.x);
                const Slices rows(b.rows, 4, 1);
                w.each(rows.count, [&](int64_t s) {
                    const int64_t first = rows.begin(s) * o.out;
                    k_.add(x + first, skip + first, out_[i].get() + first, rows.end(s) * o.out - first);
                });
                break;
            }
            case OpKind::piecewise_linear:
            case OpKind::periodic:
            case OpKind::embedding:
            case OpKind::select_columns: columns_forward(w, i, x, b.rows); break;
            case OpKind::grouped_dense: grouped_forward(w, i, x, b.rows, pass); break;
            case OpKind::branches_end: branches_forward(w, i, b.x, b.rows, pass); break;
            case OpKind::function:
                if (!function_forward(w, i, x, b.rows, pass)) return false;
                break;
            case OpKind::normalization:
            case OpKind::activity:
            case OpKind::residual_begin:
            case OpKind::branches_begin:
            case OpKind::branch_next: break;  // compute nothing
        }
        if (stop_.agreed(w, i)) return false;
    }
    return true;
}

template <class T>
void Layerwise<T>::dense_forward(const Worker& w, int i, const T* x, int64_t rows, Pass pass) {
    const Op& o = op(i);
    const OpWalk& step = walk(pass)[i];
    const auto act = step.activation;
    T *a = out_[i].get(), *z = step.keeps_pre_activation ? z_[i].get() : a;
    const T *kernel = parameter(o.kernel), *bias = parameter(o.bias), *slope = parameter(o.slope);
    const auto elementwise = act == ops::Activation::softmax ? ops::Activation::linear : act;
    auto finish = [&](int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
        const int64_t at = r0 * o.out + c0;
        const T* b = bias ? bias + c0 : nullptr;
        if (b || z != a || elementwise != ops::Activation::linear)
            k_.bias_activation(elementwise, T(o.alpha), slope ? slope + c0 : nullptr, b, z + at, a + at, o.out, r1 - r0,
                               c1 - c0);
    };
    if (!products_.packs_forward(i, rows)) {
        auto tile = [&](int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
            stoppable_gemm(stop_, w, Trans::no, Trans::no, r1 - r0, c1 - c0, o.in, x + r0 * o.in, o.in, kernel + c0,
                           o.out, T(0), z + r0 * o.out + c0, o.out);
            if (!stop_.known()) finish(r0, r1, c0, c1);
        };
        const bool by_columns = o.out >= 128;
        const Slices cut = by_columns ? Slices(o.out) : Slices(rows, 32);
        w.each(cut.count, [&](int64_t s) {
            if (by_columns) tile(0, rows, cut.begin(s), cut.end(s));
            else tile(cut.begin(s), cut.end(s), 0, o.out);
        });
    } else {
        if (!products_.packs_next(i - 1, rows)) {
            w.each(products_.panels(rows), [&](int64_t p) {
                if (p % 16 || !stop_.asked(w)) products_.pack_rows(i, x, rows, o.in, p, p + 1, 0, o.in);
            });
            w.sync();
        }
        const Tiles cut = products_.tiles(o.out);
        // Layers of few units are cut by rows too. Every element is computed by itself, so this may depend on the team.
        const int64_t panels = products_.panels(rows), groups = cut.runs >= std::max(4, w.team) ? 1 : panels;
        w.range(cut.runs * groups, [&](int64_t task, int64_t end) {
            for (int64_t next; task < end && !stop_.known(); task = next) {
                const int64_t s = task % cut.runs,
                              s1 = std::min({int64_t(cut.runs), s + end - task, s + cut.runs_at_once()});
                const int64_t t0 = cut.run(s), t1 = cut.run(s1), c0 = cut.begin(t0), c1 = cut.begin(t1);
                const int64_t p0 = task / cut.runs, p1 = groups == 1 ? panels : p0 + 1;
                next = task + s1 - s;
                for (int64_t p = p0, last; p < p1; p = last) {
                    last = std::min(p1, p + 64);
                    for (int64_t t = t0; t < t1 && !stop_.asked(w); ++t)
                        products_.output_tile(i, rows, cut.begin(t), cut.begin(t + 1), p, last, w.id, z);
                }
                if (stop_.known()) return;
                finish(p0 * k_.panel, std::min(rows, p1 * k_.panel), c0, c1);
                if (products_.packs_next(i, rows)) products_.pack_rows(i + 1, a, rows, o.out, p0, p1, c0, c1);
            }
        });
    }
    if (act == ops::Activation::softmax) {
        w.sync();
        const Slices cut(rows, 4, 1);
        w.each(cut.count, [&](int64_t s) {
            T* at = a + cut.begin(s) * o.out;
            k_.softmax(at, at, cut.end(s) - cut.begin(s), o.out);
        });
    }
}

template <class T>
void Layerwise<T>::activation_forward(const Worker& w, int i, const T* x, int64_t rows, Pass pass) {
    const Op& o = op(i);
    const auto act = walk(pass)[i].activation;
    const Slices cut(rows, 4, 1);
    w.each(cut.count, [&](int64_t s) {
        const int64_t first = cut.begin(s) * o.out, n = cut.end(s) - cut.begin(s);
        T* a = out_[i].get() + first;
        if (act == ops::Activation::softmax) k_.softmax(x + first, a, n, o.out);
        else
            k_.bias_activation(act, T(o.alpha), parameter(o.slope), nullptr, const_cast<T*>(x + first), a, o.out, n,
                               o.out);
    });
}

template <class T>
NormBlock<T> Layerwise<T>::norm_block(int i, const T* x, int64_t rows, Pass, int64_t c0, int64_t c1) const {
    const Op& o = op(i);
    const bool by_column = o.kind == OpKind::batch_norm;
    NormBlock<T> b;
    b.x = x + c0;
    b.out = out_[i].get() + c0;
    b.gamma = (o.scales ? parameter(o.kernel) : ones_.get()) + c0;
    b.beta = (o.centers ? parameter(o.bias) : zeros_.get()) + c0;
    b.mean = mean_[i].get() + (by_column ? c0 : 0);
    b.inverse = inverse_[i].get() + (by_column ? c0 : 0);
    b.epsilon = o.epsilon;
    b.ld = o.out;
    b.rows = rows;
    b.cols = c1 - c0;
    return b;
}

template <class T>
void Layerwise<T>::batch_norm_forward(const Worker& w, int i, const T* x, int64_t rows, Pass pass,
                                      bool update_statistics) {
    const Op& o = op(i);
    T *moving_mean = statistic(o.mean), *moving_variance = statistic(o.variance);
    const Slices columns(o.out);
    w.each(columns.count, [&](int64_t s) {
        const int64_t c0 = columns.begin(s);
        const NormBlock<T> b = norm_block(i, x, rows, pass, c0, columns.end(s));
        if (walk(pass)[i].batch_statistics) {
            k_.batch_norm_statistics(b);
            if (update_statistics) {
                k_.axpby(T(1 - o.momentum), b.mean, T(o.momentum), moving_mean + c0, b.cols);
                k_.axpby(T(1 - o.momentum), b.inverse, T(o.momentum), moving_variance + c0, b.cols);
            }
        } else {
            std::copy_n(moving_mean + c0, b.cols, b.mean);
            std::copy_n(moving_variance + c0, b.cols, b.inverse);
        }
        for (int64_t c = 0; c < b.cols; ++c) b.inverse[c] = T(1 / std::sqrt(double(b.inverse[c]) + o.epsilon));
        k_.batch_norm_apply(b);
    });
}

template <class T>
void Layerwise<T>::layer_norm_forward(const Worker& w, int i, const T* x, int64_t rows) {
    const Slices cut(rows, 4, 1);
    w.each(cut.count, [&](int64_t s) {
        NormBlock<T> b = norm_block(i, x, cut.end(s) - cut.begin(s), Pass::predict, 0, op(i).out);
        const int64_t r0 = cut.begin(s);
        b.x += r0 * b.ld, b.out += r0 * b.ld, b.mean += r0, b.inverse += r0;
        k_.layer_norm_apply(b);
    });
}

// x / max(|x|, 1e-12), row by row.
template <class T>
void Layerwise<T>::unit_norm_forward(const Worker& w, int i, const T* x, int64_t rows) {
    const int64_t width = op(i).out;
    const Slices cut(rows, 4, 1);
    w.each(cut.count, [&](int64_t s) {
        for (int64_t r = cut.begin(s); r < cut.end(s); ++r) {
            const T* from = x + r * width;
            T* to = out_[i].get() + r * width;
            const T inverse = T(std::fmin(1 / std::sqrt(k_.dot(from, from, width)), 1e12));
            inverse_[i][r] = inverse;
            for (int64_t c = 0; c < width; ++c) to[c] = from[c] * inverse;
        }
    });
}

template <class T>
bool Layerwise<T>::loss(const Worker& w, const Batch<T>& b, Pass pass) {
    const T* outputs = output(last_, b.x, pass);
    T* gradient = pass == Pass::evaluate ? nullptr : d(last_);
    const Slices cut(b.rows, 4, 1);
    const auto goes_on = [&] {
        if (w.first()) goes_on_ = loss_.call_hook(b, outputs, gradient);
        w.sync();
        return goes_on_;
    };
    if (loss_.custom() && !goes_on()) return false;
    w.each(cut.count,
           [&](int64_t s) { loss_.rows(b, outputs, gradient, pass != Pass::probe, cut.begin(s), cut.end(s)); });
    w.sync();
    const bool shown = loss_.hooked() && !loss_.custom() && (b.hook_flags & HookBatch::measured);
    return !shown || goes_on();
}

template <class T>
double Layerwise<T>::batch_loss(const Batch<T>& b, Pass pass) const {
    double loss = loss_.row_sum(b.rows);
    for (int i = 0; i <= last_; ++i) {
        const Op& o = op(i);
        if (!o.has_activity()) continue;
        if (walk(pass)[i].skips_activation) loss_.add_activity_to(loss, b.rows);
        else loss += k_.penalty(output(i, b.x, pass), nullptr, o.activity_l1, o.activity_l2, b.rows * o.out);
    }
    return loss / double(b.rows);
}

template <class T>
double Layerwise<T>::add_to_totals(const Batch<T>& b, Pass pass, double* totals) {
    loss_.add_metrics_to(totals + 2, b, output(last_, b.x, pass));
    return batch_loss(b, pass);
}

template class Layerwise<float>;
template class Layerwise<double>;

}  // namespace fd::cpu
