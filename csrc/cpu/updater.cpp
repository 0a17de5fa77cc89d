#include "cpu/updater.h"

#include <algorithm>
#include <cmath>

#include "cpu/layerwise/matrix.h"

namespace fd::cpu {

template <class T>
Updater<T>::Updater(const Plan& plan, State<T>& state, Stop& stop)
    : plan_(plan), state_(state), stop_(stop), k_(kernels_of<T>(isa())), tiles_(plan) {
    penalty_parts_.reserve(int64_t(plan.tensors.size() + 1) * parts_per_tensor);
    norm_parts_.reserve(int64_t(plan.tensors.size() + 1) * parts_per_tensor);
}

template <class T>
void Updater<T>::configure(const Training* training) {
    training_ = training;
    rule_ = training->rule();
    constrains_ = plan_.has_constraints();
    needs_all_gradients_ =
        training->whole_gradients() || plan_.has_matrix_penalties() || constrains_ || training->hyper.use_ema;
    kfac_ = training->kfac() ? std::make_unique<Kfac<T>>(plan_, *training) : nullptr;
    std::fill_n(penalty_parts_.get(), penalty_parts_.size(), 0.0);
    find_runs();
}

template <class T>
void Updater<T>::reserve() {
    reserve_matrix_scratch(plan_, *training_, scratch_);
}

template <class T>
bool Updater<T>::makes_products() const {
    return training_->muon() || kfac_ || plan_.has_matrix_penalties();
}

template <class T>
double Updater<T>::flops() const {
    double sum = 0;
    for (const Op& o : plan_.ops) {
        if (o.kind != OpKind::dense) continue;
        const double in = double(o.in), out = double(o.out), small = std::min(in, out);
        if (training_->muon()) sum += training_->hyper.ns_steps * 2 * small * small * (2 * std::max(in, out) + small);
        if (kfac_) sum += 3 * (in * in * in + out * out * out) + 4 * in * out * (in + out);
        o.each_unit_penalty(
            [&](ops::UnitPenalty, double, bool columns) { sum += 4 * in * out * (columns ? out : in); });
    }
    return sum;
}

// Tensors that have equal penalties are updated in one go, padding included: it is 0 and stays so under every rule, unless 0/0
// appears: without an epsilon each tensor is a run.
template <class T>
void Updater<T>::find_runs() {
    runs_.clear();
    updated_.clear();
    tensors_.assign(plan_.tensors.size(), {});
    for (size_t k = 0; k < plan_.trainable.size(); ++k) {
        const int tensor = plan_.trainable[k];
        const Tensor& t = plan_.tensors[size_t(tensor)];
        if (frozen(tensor)) {
            std::fill_n(gradient(tensor), t.size(), T(0));  // no pass computes it
            continue;
        }
        updated_.push_back(tensor);
        Run run{t.offset, t.size(), t.l1, t.l2, training_->rate_factor(k), training_->decay_factor(k)};
        tensors_[size_t(tensor)] = run;
        const bool whole = training_->hyper.epsilon > 0 || !ops::rule_divides[int(training_->rule())];
        if (whole) run.n = Plan::padded(t.size());
        const bool follows = !runs_.empty() && runs_.back().first + runs_.back().n == t.offset;
        if (whole && follows && runs_.back().alike(run)) runs_.back().n = t.offset + run.n - runs_.back().first;
        else runs_.push_back(run);
    }
    run_parts_.reserve(int64_t(plan_.trainable.size()) * Slices::most);
    std::fill_n(run_parts_.get(), run_parts_.size(), 0.0);
}

template <class T>
void Updater<T>::begin_step(double learning_rate) {
    const ops::Hyper& h = training_->hyper;
    const bool muon = training_->muon();  // what is left to the rule then is Adam's
    learning_rate_ = learning_rate;
    step_ = ops::prepare_step(rule_, h, learning_rate * (muon ? h.adam_lr_ratio : 1), state_.step + 1);
    decay_ = learning_rate * (muon ? h.adam_weight_decay : h.weight_decay);
}

template <class T>
double Updater<T>::update_elements(const Run& run, const T* g, double scale) {
    Update<T> u;
    u.rule = rule_;
    u.step = step_;
    u.step.lr *= run.rate;  // all that depends on the learning rate
    u.w = state_.parameters.get() + run.first;
    u.g = g;
    for (size_t k = 0; k < state_.slots.size() && k < 3; ++k) u.slot[k] = state_.slots[k].get() + run.first;
    u.n = run.n;
    u.l1 = run.l1, u.l2 = run.l2;
    u.scale = scale;
    u.clipvalue = training_->hyper.clipvalue;
    u.decay = decay_ * run.rate * run.decay;
    return k_.update(u);
}

template <class T>
void Updater<T>::update_part(int tensor, int64_t first, int64_t n, const T* g, int64_t part) {
    Run run = tensors_[size_t(tensor)];
    run.first += first, run.n = n;
    parts(tensor)[part] += update_elements(run, g, 1);
}

template <class T>
void Updater<T>::update_vectors(const Worker& w) {
    w.each(int64_t(updated_.size()), [&](int64_t k) {
        const int tensor = updated_[size_t(k)];
        const Tensor& t = plan_.tensors[size_t(tensor)];
        if (t.is_kernel) return;
        begin_parts(tensor, 0, 1);
        update_part(tensor, 0, t.size(), gradient(tensor), 0);
    });
}

template <class T>
void Updater<T>::update_slice(int64_t begin, int64_t end, int64_t slice) {
    for (size_t r = 0; r < runs_.size(); ++r) {
        Run run = runs_[r];
        const int64_t first = std::max(begin, run.first), last = std::min(end, run.first + run.n);
        run.first = first, run.n = last - first;
        if (first < last)
            run_parts_[int64_t(r) * Slices::most + slice] = update_elements(run, state_.gradients.get() + first, 1);
    }
}

template <class T>
double Updater<T>::slice_penalty_sum() const {
    double sum = 0;
    for (int64_t i = 0; i < int64_t(runs_.size()) * Slices::most; ++i) sum += run_parts_[i];
    return sum;
}

// body(first, elements, part) for the parts of a tensor: the same rows of a kernel that backward passes cut, or a whole vector.
template <class T>
template <class F>
void Updater<T>::each_part(const Worker& w, int tensor, F&& body) {
    const Tensor& t = plan_.tensors[size_t(tensor)];
    if (t.vector) {
        if (w.first()) body(int64_t(0), t.size(), 0);
        return;
    }
    const Tiles cut = tiles_(t.rows);
    w.each(cut.runs, [&](int64_t s) {
        const int64_t r0 = cut.begin(cut.run(s)), r1 = cut.begin(cut.run(s + 1));
        body(r0 * t.cols, (r1 - r0) * t.cols, int(s));
    });
}

template <class T>
bool Updater<T>::precondition(const Worker& w) {
    for (const Op& o : plan_.ops)
        if (o.kind == OpKind::dense)
            kfac_->centre_gradient(stop_, w, o, gradient(o.kernel), o.bias < 0 ? nullptr : gradient(o.bias));
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
        if (o.kind == OpKind::dense)
            kfac_->precondition(stop_, w, o, gradient(o.kernel), o.bias < 0 ? nullptr : gradient(o.bias));
    for (int tensor : plan_.trainable) {
        const Tensor& t = plan_.tensors[size_t(tensor)];
        const Op& o = plan_.ops[size_t(t.op)];
        if (o.kind != OpKind::dense || tensor == o.slope) kfac_->scale(w, gradient(tensor), t.size());
    }
    return !stop_.watching() || !stop_.agreed(w, first_point());
}

template <class T>
bool Updater<T>::update_all(const Worker& w, bool add_penalties) {
    if (add_penalties) penalties(w, true);
    if (kfac_ && !precondition(w)) return false;
    const ops::Hyper& h = training_->hyper;
    if (h.clipnorm > 0 || h.global_clipnorm > 0) {
        for (int tensor : updated_)
            each_part(w, tensor, [&](int64_t first, int64_t n, int part) {
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
        for (int tensor : updated_) global += squared_norm(tensor);
    auto scale_of = [&](int tensor) {
        if (h.global_clipnorm > 0) return h.global_clipnorm / std::fmax(std::sqrt(global), h.global_clipnorm);
        if (h.clipnorm > 0) return h.clipnorm / std::fmax(std::sqrt(squared_norm(tensor)), h.clipnorm);
        return 1.0;
    };
    for (int tensor : updated_) {
        const Tensor& t = plan_.tensors[size_t(tensor)];
        const double scale = scale_of(tensor);
        if (training_->takes_matrix_step(t)) {
            if (!muon_update(stop_, first_point() + 2 * tensor, w, k_, h, learning_rate_, scale, t.rows, t.cols,
                             parameter(tensor), gradient(tensor), at(state_.slots[0], tensor), scratch_))
                return false;
        } else
            each_part(w, tensor, [&](int64_t first, int64_t n, int) {
                Run run = tensors_[size_t(tensor)];
                run.first += first, run.n = n;
                run.l1 = run.l2 = 0;  // penalties() came before
                update_elements(run, gradient(tensor) + first, scale);
            });
    }
    if (h.use_ema) average(w);
    if (constrains_) constrain(w);
    if (!makes_products() || !stop_.watching()) return true;
    return !stop_.agreed(w, first_point() + 2 * int(plan_.tensors.size()));
}

template <class T>
void Updater<T>::average(const Worker& w) {
    w.sync();  // Muon cuts its tensors in another way
    const ops::Hyper& h = training_->hyper;
    const T keep = state_.step == 0 ? T(0) : T(h.ema_momentum), take = state_.step == 0 ? T(1) : T(1 - h.ema_momentum);
    const bool overwrite = h.ema_overwrite_frequency > 0 && (state_.step + 1) % h.ema_overwrite_frequency == 0;
    for (int tensor : updated_)
        each_part(w, tensor, [&](int64_t first, int64_t n, int) {
            T *values = parameter(tensor) + first, *mean = at(state_.slots.back(), tensor) + first;
            k_.axpby(take, values, keep, mean, n);
            if (overwrite) std::copy_n(mean, n, values);
        });
}

// Tensors are cut by columns or rows here; a vector is one column.
template <class T>
void Updater<T>::constrain(const Worker& w) {
    using Constraint = ops::Constraint;
    w.sync();
    constexpr int64_t at_once = 64;  // columns
    for (int tensor : updated_) {
        const Tensor& t = plan_.tensors[size_t(tensor)];
        const Constraint& c = t.constraint;
        T* const values = parameter(tensor);
        const auto multiply = [](T* x, T factor, int64_t n) {
            for (int64_t i = 0; i < n; ++i) x[i] *= factor;
        };
        if (!c) continue;
        if (c.kind == Constraint::Kind::non_negative) {
            each_part(w, tensor, [&](int64_t first, int64_t n, int) {
                for (T* x = values + first; n > 0; --n, ++x) *x = Constraint::non_negative(*x);
            });
        } else if (c.kind == Constraint::Kind::signs) {
            each_part(w, tensor, [&](int64_t first, int64_t n, int) {
                T* x = values + first;
                for (int64_t r = first / t.cols, col = first % t.cols; n > 0; ++r, col = 0) {  // row by row
                    const int8_t *signs = t.signs.columns.data() + col, row = t.signs.rows[size_t(r)];
                    const int64_t count = std::min(n, t.cols - col);
                    for (int64_t i = 0; i < count; ++i) x[i] = Constraint::of_sign(x[i], row * signs[i]);
                    x += count, n -= count;
                }
            });
        } else if (c.over == Constraint::Over::all) {
            if (w.first()) multiply(values, T(c.scale(std::sqrt(k_.dot(values, values, t.size())))), t.size());
        } else if (c.over == Constraint::Over::rows) {
            const Slices cut(t.rows);
            w.each(cut.count, [&](int64_t s) {
                for (int64_t r = cut.begin(s); r < cut.end(s); ++r) {
                    T* row = values + r * t.cols;
                    multiply(row, T(c.scale(std::sqrt(k_.dot(row, row, t.cols)))), t.cols);
                }
            });
        } else {
            w.each((t.cols + at_once - 1) / at_once, [&](int64_t s) {
                double norms[at_once];
                T factors[at_once];
                const int64_t first = s * at_once, n = std::min(at_once, t.cols - first);
                k_.column_norms(values + first, nullptr, t.cols, t.rows, n, norms);
                for (int64_t k = 0; k < n; ++k) factors[k] = T(c.scale(norms[k]));
                for (int64_t r = 0; r < t.rows; ++r)
                    for (int64_t k = 0; k < n; ++k) values[r * t.cols + first + k] *= factors[k];
            });
        }
    }
}

template <class T>
void Updater<T>::penalties(const Worker& w, bool add_gradients) {
    for (int tensor : updated_) {
        const Tensor& t = plan_.tensors[size_t(tensor)];
        if (t.l1 == 0 && t.l2 == 0) continue;
        each_part(w, tensor, [&](int64_t first, int64_t n, int part) {
            T* g = add_gradients ? gradient(tensor) + first : nullptr;
            parts(tensor)[part] = k_.penalty(parameter(tensor) + first, g, t.l1, t.l2, n);
        });
    }
    w.sync();
    double matrix = 0;
    for (const Op& o : plan_.ops)
        if (o.kind == OpKind::dense && o.matrix_penalty() && !frozen(o.kernel))
            matrix += matrix_penalty(stop_, w, k_, o, parameter(o.kernel), add_gradients ? gradient(o.kernel) : nullptr,
                                     scratch_);
    if (w.first()) parts(int(plan_.tensors.size()))[0] = matrix;
    w.sync();
}

template <class T>
double Updater<T>::penalty_sum() const {
    double sum = 0;
    for (int64_t i = 0; i < penalty_parts_.size(); ++i) sum += penalty_parts_[i];
    return sum;
}

template class Updater<float>;
template class Updater<double>;

}  // namespace fd::cpu
