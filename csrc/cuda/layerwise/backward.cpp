// Layers: backward pass, updates and probes.
#include <algorithm>
#include <cmath>

#include "core/backend.h"
#include "cuda/layerwise/layers.h"
#include "cuda/layerwise/probe.h"

namespace fd::cuda {

template <class T>
const T* Layers<T>::stored(int i, Pass pass) const {
    const auto act = activation_of(i, pass);
    if (ops::activation_needs[int(act)] == ops::Needs::nothing || act == ops::Activation::softmax) return nullptr;
    if (!walk(pass)[i].derivative_at_input) return out_[size_t(i)].get();
    const bool own = op(i).kind == OpKind::dense || op(i).kind == OpKind::grouped_dense;
    return own ? z_[size_t(i)].get() : output(i - 1, pass);
}

template <class T>
bool Layers<T>::finished_by_product(int i, Pass pass) const {
    const Op& o = op(i);
    return o.kind == OpKind::dense && o.slope < 0 && (!o.has_activity() || skips_activation(i, pass));
}

template <class T>
void Layers<T>::fork() {
    if (!uses_side_) return;
    fork_.record(stream_);
    FD_CUDA(cudaStreamWaitEvent(side_, fork_, 0));
}

template <class T>
void Layers<T>::join() {
    if (!uses_side_) return;
    join_.record(side_);
    FD_CUDA(cudaStreamWaitEvent(stream_, join_, 0));
}

template <class T>
void Layers<T>::backward(const Steps& steps, int64_t rows, Pass pass) {
    fork();  // also where no dense layer follows: a capture must see it join
    for (int i = last_; i >= walk(pass).first_gradient(); --i) {
        if (!walk(pass)[i].wants_gradient) continue;  // of a branch without parameters
        const Op& o = op(i);
        if (i < last_ && o.is_softmax())  // of a branch; that of the net is part of loss()
            softmax_backward(static_cast<const T*>(out_[size_t(i)].get()), d(i), o.activity_l1 / double(rows),
                             o.activity_l2 / double(rows), rows, o.out, stream_);
        if (o.kind != OpKind::dense) {
            other_backward(steps, i, rows, pass);
            continue;
        }
        const bool from_product =
            i == last_ ? fuses_last_layer(pass) : op(i + 1).kind == OpKind::dense && finished_by_product(i, pass);
        const bool as_it_is = finished_by_product(i, pass) && !stored(i, pass);  // the derivative is 1 everywhere
        if (!from_product && !as_it_is) finish(i, d(i), d(i), rows, pass);
        dense_backward(i, rows, pass);
    }
    join();
}

template <class T>
void Layers<T>::finish(int i, const T* from, T* to, int64_t rows, Pass pass) {
    const Op& o = op(i);
    Finish<T> f;
    f.from = from, f.to = to;
    f.stored = stored(i, pass);
    f.activation = activation_of(i, pass);
    f.alpha = T(o.alpha), f.slope = parameter(o.slope);
    // the loss has done all of it for a softmax, and for an activation that it skipped
    const bool whole_row = o.activation == ops::Activation::softmax;
    if (o.has_activity() && !whole_row && !skips_activation(i, pass)) {
        f.output = output(i, pass);
        f.activity_l1 = o.activity_l1 / double(rows), f.activity_l2 = o.activity_l2 / double(rows);
    }
    f.stride = plan_.parameters;
    f.rows = rows, f.cols = o.out;
    if (o.slope >= 0) f.slope_gradient = at(gradients_, o.slope), f.splits = splits(o.slope);
    else f.splits = column_splits(rows);
    cuda::finish(f, stream_);
}

template <class T>
void Layers<T>::dense_backward(int i, int64_t rows, Pass pass) {
    const Op& o = op(i);
    fork();  // dL/d(output) is complete
    if (passes_gradient(i) && !(i == last_ && fuses_last_layer(pass))) {
        const int below = i - 1;
        Product<T> p;
        p.m = rows, p.n = o.in, p.k = o.out;
        p.a = d(i), p.b = parameter(o.kernel), p.transpose_b = true, p.out = d(below);
        p.precision = precision_;
        if (finished_by_product(below, pass)) {
            p.epilogue.stored = stored(below, pass);
            p.epilogue.backward = activation_of(below, pass);
            p.epilogue.alpha = T(op(below).alpha);
        }
        products_.run(p);
    }
    if (frozen(o.kernel)) return;
    Product<T> p;
    p.a = output(i - 1, pass), p.b = d(i), p.column_sums = at(gradients_, o.bias);
    kernel_gradient(i, p, rows, uses_side_ ? side_products_ : products_);
}

template <class T>
void Layers<T>::kernel_gradient(int i, Product<T> p, int64_t rows, Products& products) {
    const Op& o = op(i);
    p.m = o.in, p.n = o.out, p.k = rows;
    p.transpose_a = true, p.out = at(gradients_, o.kernel);
    p.precision = precision_;
    p.splits = splits(o.kernel), p.stride = plan_.parameters;
    products.run(p);
}

template <class T>
void Layers<T>::other_backward(const Steps& steps, int i, int64_t rows, Pass pass) {
    const Op& o = op(i);
    const T* from = d(i);
    T* to = d(i - 1);
    const int64_t n = rows * o.out;
    auto copy = [&] { FD_CUDA(cudaMemcpyAsync(to, from, size_t(n) * sizeof(T), cudaMemcpyDeviceToDevice, stream_)); };
    switch (o.kind) {
        case OpKind::activation: finish(i, from, to, rows, pass); break;
        case OpKind::batch_norm:
            batch_norm_backward(batch_norm(i, rows, pass, false), from, to, at(gradients_, o.kernel),
                                at(gradients_, o.bias), stream_);
            break;
        case OpKind::layer_norm:
            layer_norm_backward(layer_norm(i, rows, pass), from, to, at(gradients_, o.kernel), at(gradients_, o.bias),
                                o.kernel >= 0 || o.bias >= 0 ? splits(std::max(o.kernel, o.bias)) : 1, plan_.parameters,
                                stream_);
            break;
        case OpKind::unit_norm: unit_norm_backward(unit_norm(i, rows, pass), from, to, stream_); break;
        case OpKind::gaussian_noise:
        case OpKind::gaussian_dropout:
        case OpKind::alpha_dropout:
            if (!passes_gradient(i)) break;
            if (pass == Pass::train) noise(steps, noise_key(i), from, to, n, true, stream_);
            else copy();
            break;
        case OpKind::activity:
            if (passes_gradient(i)) finish(i, from, to, rows, pass);
            break;
        case OpKind::dropout:
            if (!passes_gradient(i)) break;
            if (pass == Pass::train) dropout(steps, {plan_.seed, uint32_t(i), o.rate}, from, to, n, stream_);
            else copy();
            break;
        case OpKind::rescaling:
            rescale(from, statistic(o.scale), static_cast<const T*>(nullptr), to, rows, o.out, stream_);
            break;
        case OpKind::residual_end: copy(); break;
        case OpKind::residual_begin:
            if (passes_gradient(i)) add(from, static_cast<const T*>(d(o.partner)), to, n, stream_);
            break;
        case OpKind::scale:
            column_dots(from, output(i - 1, pass), at(gradients_, o.kernel), rows, o.out, parts(o.kernel), stream_);
            if (passes_gradient(i))
                rescale(from, static_cast<const T*>(parameter(o.kernel)), static_cast<const T*>(nullptr), to, rows,
                        o.out, stream_);
            break;
        case OpKind::piecewise_linear:
        case OpKind::periodic:
        case OpKind::embedding:
        case OpKind::select_columns: {
            const Columns<T> c = columns(i, rows, pass);
            if (o.kind == OpKind::periodic)
                periodic_gradients(c, from, at(gradients_, o.kernel), at(gradients_, o.bias), parts(o.kernel), stream_);
            if (o.kind == OpKind::embedding)
                table_gradient(c, plan_.tensors[size_t(o.kernel)].size(), from, at(gradients_, o.kernel), stream_);
            if (passes_gradient(i)) columns_backward(c, from, to, stream_);
            break;
        }
        case OpKind::grouped_dense:
            grouped_backward(grouped(i, rows, pass), stored(i, pass), d(i), passes_gradient(i) ? to : nullptr,
                             at(gradients_, o.kernel), at(gradients_, o.bias), parts(o.kernel), stream_);
            break;
        case OpKind::branches_end: branches_backward(branches(i, rows, pass), from, stream_); break;
        case OpKind::branches_begin:
            if (passes_gradient(i)) branches_sum(branches(i, rows, pass), n, to, stream_);
            break;
        case OpKind::dense:
        case OpKind::function:
        case OpKind::normalization:
        case OpKind::branch_next: break;  // branches_begin sums what its branches want
    }
}

template <class T>
Update<T> Layers<T>::updates() const {
    Update<T> u;
    u.blocks = device_blocks_.get(), u.tensors = device_tensors_.get(), u.block_count = block_count_;
    u.parameters = state_.parameters.get(), u.gradients = gradients_.get();
    u.stride = plan_.parameters;
    for (size_t k = 0; k < state_.slots.size() && k < 3; ++k) u.slots[k] = state_.slots[k].get();
    u.penalty_parts = penalty_parts_.get(), u.norm_parts = norm_parts_.get();
    u.rule = update_rule(*training_);
    return u;
}

template <class T>
void Layers<T>::matrix_penalties(bool add_gradients) {
    for (int i = 0; i <= last_; ++i) {
        const Op& o = op(i);
        if (o.kind != OpKind::dense || !o.matrix_penalty() || frozen(o.kernel)) continue;
        double* values = penalty_parts_.get() + matrix_parts_[size_t(i)];
        o.each_unit_penalty([&](ops::UnitPenalty penalty, double factor, bool columns) {
            const int64_t units = columns ? o.out : o.in, length = columns ? o.in : o.out;
            if (units < 2) return;
            factor /= 0.5 * double(units) * double(units - 1);
            T *u = scratch_[0].get(), *inverse = u + units * length, *pull = scratch_[1].get(),
              *gram = scratch_[2].get();
            unit_rows(static_cast<const T*>(parameter(o.kernel)), o.in, o.out, columns, u, inverse, stream_);
            Product<T> p;
            p.m = units, p.n = units, p.k = length;
            p.a = u, p.b = u, p.transpose_b = true, p.out = gram;
            products_.run(p);
            similarity(gram, units, factor, penalty, values, stream_);
            values += units;
            if (!add_gradients) return;
            Product<T> q;
            q.m = units, q.n = length, q.k = units;
            q.a = gram, q.b = u, q.out = pull;
            products_.run(q);
            pull_gradient(static_cast<const T*>(u), static_cast<const T*>(inverse), static_cast<const T*>(pull), o.in,
                          o.out, columns, at(gradients_, o.kernel), stream_);
        });
    }
}

// Newton-Schulz iterations bring the direction's singular values close to 1; see cpu/layerwise/matrix.cpp.
template <class T>
void Layers<T>::muon(const Steps& steps) {
    const ops::Hyper& h = training_->hyper;
    for (int tensor : plan_.trainable) {
        const Tensor& t = plan_.tensors[size_t(tensor)];
        if (!training_->takes_matrix_step(t) || frozen(tensor)) continue;
        MuonStep m;
        m.momentum = h.momentum, m.clipvalue = h.clipvalue, m.clipnorm = h.clipnorm,
        m.global_clipnorm = h.global_clipnorm;
        m.weight_decay = h.weight_decay, m.nesterov = h.nesterov;
        m.rows = t.rows, m.cols = t.cols, m.flip = t.rows > t.cols, m.tensor = tensor;
        const int64_t small = std::min(t.rows, t.cols), large = std::max(t.rows, t.cols);
        m.adjust = h.rms_rate > 0 ? h.rms_rate * std::sqrt(double(large)) : 1;
        T *g = at(gradients_, tensor), *x = scratch_[0].get(), *next = scratch_[1].get(), *a = scratch_[2].get(),
          *b = scratch_[3].get();
        muon_direction(steps, m, device_tensors_.get(), norm_parts_.get(), block_count_, g, at(state_.slots[0], tensor),
                       muon_parts_.get(), stream_);
        muon_start(m, static_cast<const T*>(g), muon_parts_.get(), x, stream_);
        for (int k = 0; k < int(h.ns_steps); ++k) {  // X ← a X + (b A + c A²) X, A = X Xᵀ
            auto step = [&](bool transpose_b, int64_t n, int64_t inner, const T* left, const T* right, T* out,
                            double scale, const T* plus, double plus_scale) {
                Product<T> p;
                p.m = small, p.n = n, p.k = inner;
                p.a = left, p.b = right, p.transpose_b = transpose_b, p.out = out;
                p.epilogue.scale = scale, p.epilogue.add = plus, p.epilogue.add_scale = plus_scale;
                products_.run(p);
            };
            step(true, small, large, x, x, a, 1, nullptr, 0);
            step(false, small, small, a, a, b, h.ns_c, a, h.ns_b);
            step(false, large, small, b, x, next, 1, x, h.ns_a);
            std::swap(x, next);
        }
        muon_apply(steps, m, static_cast<const T*>(x), parameter(tensor), stream_);
    }
}

template <class T>
void Layers<T>::make_gradients(const Steps& steps, const BatchShape& b, Pass pass, bool update_statistics) {
    if (!fuses_ || !fused_reads(b)) gather(steps, b, true);
    if (fuses_) return fused_gradients(steps, b, pass);
    forward(steps, b.rows, pass, update_statistics);
    loss(steps, b, pass);
    backward(steps, b.rows, pass);
}

// Metrics need the targets in the order of the batch.
template <class T>
bool Layers<T>::fused_reads(const BatchShape& b) const {
    const auto floats = [](const Source& s) {
        return s.dtype == DType::f32 && (s.cols == 1 || s.col_stride == int64_t(sizeof(float)));
    };
    return training_->metrics.empty() && !plan_.normalizes_input() && floats(b.x) &&
           (training_->sparse() || floats(b.y));
}

template <class T>
void Layers<T>::fused_gradients(const Steps& steps, const BatchShape& b, Pass pass) {
    if constexpr (sizeof(T) == 4) {
        MlpBatch m;
        m.weighted = b.weighted, m.labels = training_->sparse();
        m.by_record = fused_reads(b), m.steps = steps;
        if (m.by_record) {
            m.x_stride = b.x.row_stride, m.y_stride = b.y.row_stride, m.label_type = b.y.dtype;
        } else {
            m.x = reinterpret_cast<const char*>(x_.get()), m.x_stride = plan_.inputs * 4;
            m.y = reinterpret_cast<const char*>(m.labels ? static_cast<const void*>(labels_.get()) : targets(b));
            m.y_stride = m.labels ? 4 : plan_.outputs * 4, m.label_type = DType::i32;
            m.weights = weights_.get();
        }
        m.parameters = state_.parameters.get(), m.gradients = gradients_.get();
        m.outputs = training_->metrics.empty() ? nullptr : out_[size_t(last_)].get();
        m.loss_parts = row_loss_.get(), m.rows = b.rows;
        for (size_t l = 0; l < mlp_->ops().size(); ++l) m.splits[l] = splits(op(mlp_->ops()[l]).kernel);
        m.stride = plan_.parameters;
        mlp_->run(m, stream_);
        losses_ = mlp_->blocks(b.rows);
        const auto left = mlp_->products(b.rows);
        if (!left.empty()) fork();
        for (size_t k = 0; k < left.size(); ++k)
            kernel_gradient(left[k].op, left[k].product, b.rows, uses_side_ && k % 2 ? side_products_ : products_);
        if (!left.empty()) join();
        measure(steps, b, pass);
    }
}

template <class T>
void Layers<T>::train_step(const Steps& steps, const BatchShape& b, bool stop_on_nan) {
    make_gradients(steps, b, Pass::train, true);
    if (combines_) {
        combine(updates(), true, stream_);
        matrix_penalties(true);
        if (training_->hyper.clipnorm > 0 || training_->hyper.global_clipnorm > 0) gradient_norms(updates(), stream_);
        if (training_->muon()) muon(steps);
    }
    const ops::Hyper& h = training_->hyper;
    const StepEnd end = end_of_step(b.rows, stop_on_nan);
    const bool more = h.use_ema || plan_.has_constraints();  // which must not see this step's end
    const bool ended = update(steps, updates(), combines_, more ? StepEnd{} : end, stream_);
    if (h.use_ema)
        average(steps, updates(), state_.slots.back().get(), h.ema_momentum, h.ema_overwrite_frequency, stream_);
    for (int tensor : plan_.trainable) {
        const Tensor& t = plan_.tensors[size_t(tensor)];
        if (t.constraint && !frozen(tensor))
            constrain(steps, t.constraint, signs_[size_t(tensor)].get(), parameter(tensor), t.rows, t.cols, stream_);
    }
    if (!ended) end_step(steps, end, stream_);
}

template <class T>
void Layers<T>::gradient_step(const Steps& steps, const BatchShape& b, bool training) {
    const Pass pass = training ? Pass::train : Pass::inference;
    make_gradients(steps, b, pass, false);
    combine(updates(), true, stream_);
    matrix_penalties(true);
    clear_frozen_gradients();
    end_step(steps, end_of_step(b.rows, false), stream_);
}

template <class T>
void Layers<T>::clear_frozen_gradients() {
    if (!training_->has_frozen()) return;
    for (int tensor : plan_.trainable)
        if (frozen(tensor))
            FD_CUDA(cudaMemsetAsync(at(gradients_, tensor), 0, size_t(plan_.tensors[size_t(tensor)].size()) * sizeof(T),
                                    stream_));
}

template <class T>
void Layers<T>::probe_step(const Steps& steps, const BatchShape& b, const T* before, double* numbers) {
    const Pass pass = Pass::probe;
    gather(steps, b, true);
    forward(steps, b.rows, pass, false);
    loss(steps, b, pass);
    backward(steps, b.rows, pass);
    combine(updates(), true, stream_);
    matrix_penalties(true);
    clear_frozen_gradients();
    end_step(steps, end_of_step(b.rows, false), stream_);
    for (int i = 0; i <= last_; ++i) {
        const Op& o = op(i);
        UnitNumbers<T> u;
        u.a = output(i, pass);
        if (skips_activation(i, pass)) {
            probabilities_of(u.a, probabilities_.get(), b.rows);
            u.a = probabilities_.get();
        }
        if (o.kind == OpKind::activation) u.z = output(i - 1, pass);
        else if (o.kind == OpKind::dense)
            u.z = (activation_of(i, pass) == ops::Activation::linear ? out_ : z_)[size_t(i)].get();
        u.limit = o.has_activation() ? ops::activation_saturation[int(o.activation)] : 0;
        u.rows = b.rows, u.cols = o.out, u.out = numbers;
        FD_CUDA(cudaMemsetAsync(numbers, 0xff, size_t(ProbeRecords::numbers_per_unit * o.out) * sizeof(double),
                                stream_));  // NaN
        unit_numbers(u, stream_);
        if (o.kind == OpKind::dense) {
            const T *weights = parameter(o.kernel), *none = nullptr;
            column_norms(static_cast<const T*>(at(gradients_, o.kernel)), none, o.in, o.out, numbers + 4 * o.out,
                         stream_);
            column_norms(weights, none, o.in, o.out, numbers + 5 * o.out, stream_);
            if (before)
                column_norms(weights, before + plan_.tensors[size_t(o.kernel)].offset, o.in, o.out, numbers + 6 * o.out,
                             stream_);
        }
        numbers += ProbeRecords::numbers_per_unit * o.out;
    }
}

#define FD_INSTANTIATE(T)                                                                    \
    template Update<T> Layers<T>::updates() const;                                           \
    template void Layers<T>::matrix_penalties(bool);                                         \
    template void Layers<T>::probe_step(const Steps&, const BatchShape&, const T*, double*); \
    template void Layers<T>::train_step(const Steps&, const BatchShape&, bool);              \
    template void Layers<T>::gradient_step(const Steps&, const BatchShape&, bool);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cuda
