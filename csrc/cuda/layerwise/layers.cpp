// Layers: set-up and forward pass. The backward pass and the updates are in backward.cpp.
#include "cuda/layerwise/layers.h"

#include <algorithm>

#include "cuda/runtime/tuning.h"

namespace fd::cuda {

template <class T>
Layers<T>::Layers(const Plan& plan, State<T>& state, Precision precision, cudaStream_t stream)
    : plan_(plan), state_(state), precision_(precision), stream_(stream), products_(stream),
      uses_side_(tuning().side_stream != 0), side_products_(side_), last_(int(plan.ops.size()) - 1) {
    const size_t n = plan.ops.size();
    for (auto* per_op : {&out_, &z_, &mean_, &inverse_}) *per_op = std::vector<DeviceBuffer<T>>(n);
    d_ = std::vector<DeviceBuffer<T>>(n + 1);
    numbers_ = std::vector<DeviceBuffer<int64_t>>(n);
    for (size_t i = 0; i < n; ++i) {
        const Op& o = plan.ops[i];
        if (!o.encodes_columns() && o.kind != OpKind::select_columns) continue;
        std::vector<int64_t> numbers(o.columns.begin(), o.columns.end());
        numbers.insert(numbers.end(), o.passing.begin(), o.passing.end());
        for (const auto* chosen : {&o.columns, &o.passing}) {
            std::vector<int64_t> place(size_t(o.in), -1);
            for (size_t k = 0; k < chosen->size(); ++k) place[size_t((*chosen)[k])] = int64_t(k);
            numbers.insert(numbers.end(), place.begin(), place.end());
        }
        int64_t first = 0;
        for (int64_t codes : o.codes) numbers.push_back(first), first += codes;
        numbers.push_back(first);
        copy_to(numbers_[i], numbers);
    }
    signs_ = std::vector<DeviceBuffer<int8_t>>(plan.tensors.size());
    for (size_t i = 0; i < signs_.size(); ++i) {
        std::vector<int8_t> signs(plan.tensors[i].signs.rows);
        signs.insert(signs.end(), plan.tensors[i].signs.columns.begin(), plan.tensors[i].signs.columns.end());
        copy_to(signs_[i], signs);
    }
    walks_ = walks_of(plan_, training_);
}

template <class T>
template <class U>
void Layers<T>::copy_to(DeviceBuffer<U>& to, const std::vector<U>& from) {
    to.reserve(int64_t(from.size()));
    if (from.empty()) return;
    FD_CUDA(cudaMemcpyAsync(to.get(), from.data(), from.size() * sizeof(U), cudaMemcpyHostToDevice, stream_));
    FD_CUDA(cudaStreamSynchronize(stream_));  // `from` may end
}

template <class T>
void Layers<T>::configure(const Training* training) {
    training_ = training;
    walks_ = walks_of(plan_, training_);
    wants_probabilities_ = form().logits && (training->hook || !training->metrics.empty());
    if constexpr (sizeof(T) == 4) mlp_ = FusedMlp::make(plan_, *training, walk(Pass::train), precision_);
    combines_ = training->whole_gradients() || plan_.has_matrix_penalties();
    has_penalties_ = plan_.has_matrix_penalties();
    for (const Tensor& t : plan_.tensors) has_penalties_ |= t.trainable && (t.l1 != 0 || t.l2 != 0);
    std::vector<MetricSpec> specs;
    totals_width_ = 2;
    for (const Metric& m : training->metrics) {
        specs.push_back({m.kind, m.k, m.threshold, m.multiclass, m.weighted, totals_width_});
        totals_width_ += int(m.states(plan_.outputs));
    }
    metrics_.reserve(int64_t(specs.size()));
    if (!specs.empty())
        FD_CUDA(cudaMemcpyAsync(metrics_.get(), specs.data(), specs.size() * sizeof(MetricSpec), cudaMemcpyHostToDevice,
                                stream_));
    copy_to(params_, training->loss_params);
    lay_out_updates();
    ++generation_;
    capacity_ = 0;  // buffers for metrics may be missing
}

template <class T>
void Layers<T>::lay_out_updates() {
    std::vector<UpdateBlock> blocks;
    tensors_.assign(plan_.tensors.size(), {});
    for (size_t k = 0; k < plan_.trainable.size(); ++k) {
        const int tensor = plan_.trainable[k];
        const Tensor& t = plan_.tensors[size_t(tensor)];
        if (frozen(tensor)) continue;
        UpdateTensor& u = tensors_[size_t(tensor)];
        u.l1 = t.l1, u.l2 = t.l2, u.first_block = int32_t(blocks.size());
        u.muon = training_->takes_matrix_step(t);
        u.rate = training_->rate_factor(k), u.decay = training_->decay_factor(k);
        for (int64_t first = 0; first < t.size(); first += update_block)
            blocks.push_back({t.offset + first, int32_t(std::min<int64_t>(update_block, t.size() - first)), tensor});
        u.blocks = int32_t(blocks.size()) - u.first_block;
    }
    block_count_ = int(blocks.size());
    penalty_count_ = block_count_;
    matrix_parts_.assign(plan_.ops.size(), 0);
    for (size_t i = 0; i < plan_.ops.size(); ++i) {
        const Op& o = plan_.ops[i];
        if (o.kind != OpKind::dense || !o.matrix_penalty() || frozen(o.kernel)) continue;
        matrix_parts_[i] = penalty_count_;
        penalty_count_ += o.in + ops::unit_penalties * o.out;  // one number a unit; one penalty may take rows
    }
    if (penalty_parts_.reserve(penalty_count_ + 1))
        FD_CUDA(cudaMemsetAsync(penalty_parts_.get(), 0, size_t(penalty_parts_.size()) * sizeof(double), stream_));
    norm_parts_.reserve(block_count_ + 1);
    device_tensors_.reserve(int64_t(tensors_.size()));
    device_blocks_.reserve(block_count_);
    if (block_count_)
        FD_CUDA(cudaMemcpyAsync(device_blocks_.get(), blocks.data(), blocks.size() * sizeof(UpdateBlock),
                                cudaMemcpyHostToDevice, stream_));
    set_splits(1);
}

template <class T>
void Layers<T>::set_splits(int64_t rows) {
    split_rows_ = rows;
    // parts of all gradients take at most 64 MiB more
    const int most = int(std::clamp<int64_t>(
        (int64_t(64) << 20) / std::max<int64_t>(plan_.parameters * int64_t(sizeof(T)), 1), 1, most_splits));
    for (const Op& o : plan_.ops) {
        const int by_rows = std::min(most, column_splits(rows));
        if (o.kind == OpKind::dense) {
            tensors_[size_t(o.kernel)].splits = std::min(most, Products::splits(o.in, o.out, rows, precision_));
            if (o.bias >= 0) tensors_[size_t(o.bias)].splits = tensors_[size_t(o.kernel)].splits;
        } else if (o.kind == OpKind::layer_norm || o.kind == OpKind::scale || o.kind == OpKind::periodic ||
                   o.kind == OpKind::grouped_dense) {
            if (o.kernel >= 0) tensors_[size_t(o.kernel)].splits = by_rows;
            if (o.bias >= 0) tensors_[size_t(o.bias)].splits = by_rows;
        }
        if (o.slope >= 0) tensors_[size_t(o.slope)].splits = by_rows;
    }
    if (fuses_ && !mlp_->leaves_kernels())  // that kernel has added them up
        for (UpdateTensor& t : tensors_) t.splits = 1;
    most_parts_ = 1;
    for (const UpdateTensor& t : tensors_) most_parts_ = std::max(most_parts_, int(t.splits));
    if (!tensors_.empty())
        FD_CUDA(cudaMemcpyAsync(device_tensors_.get(), tensors_.data(), tensors_.size() * sizeof(UpdateTensor),
                                cudaMemcpyHostToDevice, stream_));
}

template <class T>
int64_t Layers<T>::chunk_rows() const {  // enough to fill the GPU, and not too much memory
    const int64_t room = std::min(int64_t(256) << 20, int64_t(device().total_bytes / 32));
    return std::clamp<int64_t>(room / (plan_.widest * int64_t(sizeof(T)) * int64_t(plan_.ops.size() + 1)), 64, 16384);
}

template <class T>
void Layers<T>::reserve(int64_t rows, bool backward, bool probe) {
    const bool fuses =
        probe ? fuses_ : backward && mlp_ && FusedMlp::worth_it(rows);  // probes need every layer's outputs
    if (training_ && backward && !probe && (rows != split_rows_ || fuses != fuses_)) {
        fuses_ = fuses;
        if (fuses) mlp_->reserve(rows);
        set_splits(rows);
        ++generation_;
    }
    if (backward) gradients_.reserve(plan_.parameters * most_parts_);
    bool layered = backward && (probe || !fuses);  // else there are no gradients of layers' outputs
    if (rows <= capacity_ && (backward_ready_ || !layered) && (probe_ready_ || !probe)) return;
    rows = std::max(rows, capacity_);
    layered |= backward_ready_ && capacity_ > 0;
    probe |= probe_ready_;
    capacity_ = 0;  // should memory run out half-way
    ++generation_;
    x_.reserve(rows * plan_.inputs);
    int64_t widest_norm = 0;
    for (int i = 0; i <= last_; ++i) {
        const Op& o = op(i);
        const int64_t size = rows * o.out;
        if (walk(Pass::train)[i].computes) out_[size_t(i)].reserve(size);
        if (o.kind == OpKind::batch_norm) mean_[size_t(i)].reserve(o.out), inverse_[size_t(i)].reserve(o.out);
        if (o.kind == OpKind::batch_norm) widest_norm = std::max(widest_norm, o.out);
        if (o.kind == OpKind::layer_norm) mean_[size_t(i)].reserve(rows), inverse_[size_t(i)].reserve(rows);
        if (o.kind == OpKind::unit_norm) inverse_[size_t(i)].reserve(rows);
        if (!layered) continue;
        if (walk(probe ? Pass::probe : Pass::train)[i].keeps_pre_activation) z_[size_t(i)].reserve(size);
        d_[size_t(i) + 1].reserve(size);
    }
    if (layered && op(0).kind != OpKind::dense) d_[0].reserve(rows * plan_.inputs);
    norm_scratch_.reserve(2 * most_splits * widest_norm);
    if (training_) {
        if (training_->sparse()) labels_.reserve(rows);
        else y_.reserve(rows * std::max(most_targets_, plan_.outputs));
        weights_.reserve(rows);
        row_loss_.reserve(rows);
        if (wants_probabilities_ || probe || (form().fused && op(last_).has_activity()))
            probabilities_.reserve(rows * plan_.outputs);
        int64_t kernel = 0, square = 0;
        for (const Op& o : plan_.ops) {
            if (o.kind != OpKind::dense || !(o.matrix_penalty() || training_->muon())) continue;
            const int64_t side =
                std::max(training_->muon() ? std::min(o.in, o.out) : 0, o.matrix_penalty() ? std::max(o.in, o.out) : 0);
            kernel = std::max(kernel, o.in * o.out + std::max(o.in, o.out));
            square = std::max(square, side * side);
        }
        scratch_[0].reserve(kernel), scratch_[1].reserve(kernel);
        scratch_[2].reserve(square), scratch_[3].reserve(square);
        muon_parts_.reserve(kernel / update_block + 1);
    }
    capacity_ = rows;
    backward_ready_ = layered, probe_ready_ = probe;
}

template <class T>
const T* Layers<T>::output(int i, Pass pass) const {
    const int holder = walk(pass).output_of(i);
    return holder < 0 ? x_.get() : out_[size_t(holder)].get();
}

template <class T>
Columns<T> Layers<T>::columns(int i, int64_t rows, Pass pass) {
    const Op& o = op(i);
    Columns<T> c;
    c.kind = o.kind, c.x = output(i - 1, pass), c.out = out_[size_t(i)].get();
    c.rows = rows, c.in_width = o.in, c.out_width = o.out;
    c.count = int64_t(o.columns.size()), c.passing_count = int64_t(o.passing.size());
    c.width = c.count ? (o.out - c.passing_count) / c.count : 0;
    c.encoded_at = o.encoded_at(), c.passing_at = o.passing_at();
    c.columns = numbers_[size_t(i)].get(), c.passing = c.columns + c.count;
    c.place_encoded = c.passing + c.passing_count, c.place_passing = c.place_encoded + o.in;
    c.first_code = c.place_passing + o.in;
    c.table = statistic(o.table), c.kernel = parameter(o.kernel), c.bias = parameter(o.bias);
    return c;
}

template <class T>
Grouped<T> Layers<T>::grouped(int i, int64_t rows, Pass pass) {
    const Op& o = op(i);
    Grouped<T> g;
    g.x = output(i - 1, pass), g.out = out_[size_t(i)].get();
    if (walk(pass)[i].keeps_pre_activation) g.z = z_[size_t(i)].get();
    g.kernel = parameter(o.kernel), g.bias = parameter(o.bias);
    g.activation = activation_of(i, pass), g.alpha = T(o.alpha);
    g.rows = rows, g.in_width = o.in, g.out_width = o.out;
    g.groups = o.groups, g.inputs = o.group_inputs, g.units = o.units;
    return g;
}

template <class T>
Branches<T> Layers<T>::branches(int i, int64_t rows, Pass pass) {
    const Op& o = op(i);
    Branches<T> b;
    b.merge = o.merge, b.count = int(o.before.size()), b.rows = rows, b.width = o.out;
    b.first[0] = 0;
    for (int k = 0; k < b.count; ++k) {
        const int last = o.kind == OpKind::branches_end ? o.last[size_t(k)] : o.before[size_t(k)];
        b.values[k] = output(last, pass);
        b.gradients[k] = walk(pass)[last].wants_gradient ? d(last) : nullptr;
        b.first[k + 1] = b.first[k] + int32_t(op(last).out);
    }
    return b;
}

template <class T>
void Layers<T>::gather(const Steps& steps, const BatchShape& b, bool with_targets) {
    Gather<T> g;
    g.x = b.x, g.y = b.y, g.rows = b.rows;
    if (plan_.normalizes_input()) {
        g.mean = state_.input_statistics.get() + plan_.tensors[size_t(op(0).mean)].offset;
        g.variance = state_.input_statistics.get() + plan_.tensors[size_t(op(0).variance)].offset;
    }
    g.x_out = x_.get();
    if (with_targets && training_->sparse()) g.labels_out = labels_.get();
    else if (with_targets && !inputs_are_targets(b)) g.y_out = y_.get();
    if (with_targets && b.weighted) g.weights_out = weights_.get();
    cuda::gather(steps, g, stream_);
}

template <class T>
void Layers<T>::forward(const Steps& steps, int64_t rows, Pass pass, bool update_statistics) {
    const int end = fuses_last_layer(pass) ? last_ : last_ + 1;  // loss() makes the last one
    for (int i = 0; i < end; ++i) {
        const T* x = output(i - 1, pass);
        const Op& o = op(i);
        T* out = out_[size_t(i)].get();
        switch (o.kind) {
            case OpKind::dense: dense_forward(i, x, rows, pass); break;
            case OpKind::activation:
                if (activation_of(i, pass) == ops::Activation::softmax) softmax(x, out, rows, o.out, stream_);
                else
                    activation_forward(activation_of(i, pass), T(o.alpha), parameter(o.slope), x, out, rows, o.out,
                                       stream_);
                break;
            case OpKind::batch_norm:
                batch_norm_forward(steps, batch_norm(i, rows, pass, update_statistics), stream_);
                break;
            case OpKind::layer_norm: layer_norm_forward(layer_norm(i, rows, pass), stream_); break;
            case OpKind::unit_norm: unit_norm_forward(unit_norm(i, rows, pass), stream_); break;
            case OpKind::gaussian_noise:
            case OpKind::gaussian_dropout:
            case OpKind::alpha_dropout:
                if (pass == Pass::train) noise(steps, noise_key(i), x, out, rows * o.out, false, stream_);
                break;
            case OpKind::dropout:
                if (pass == Pass::train)
                    dropout(steps, {plan_.seed, uint32_t(i), o.rate}, x, out, rows * o.out, stream_);
                break;
            case OpKind::rescaling:
                rescale(x, statistic(o.scale), statistic(o.offset), out, rows, o.out, stream_);
                break;
            case OpKind::residual_end: add(x, output(o.partner, pass), out, rows * o.out, stream_); break;
            case OpKind::scale:
                rescale(x, static_cast<const T*>(parameter(o.kernel)), static_cast<const T*>(nullptr), out, rows, o.out,
                        stream_);
                break;
            case OpKind::piecewise_linear:
            case OpKind::periodic:
            case OpKind::embedding:
            case OpKind::select_columns: columns_forward(columns(i, rows, pass), stream_); break;
            case OpKind::branches_end: branches_forward(branches(i, rows, pass), out, stream_); break;
            case OpKind::grouped_dense: grouped_forward(grouped(i, rows, pass), stream_); break;
            case OpKind::normalization:  // done while gathering
            case OpKind::function:       // make_cuda refuses it
            case OpKind::activity:
            case OpKind::residual_begin:
            case OpKind::branches_begin:
            case OpKind::branch_next: break;
        }
    }
}

template <class T>
void Layers<T>::dense_forward(int i, const T* x, int64_t rows, Pass pass) {
    const Op& o = op(i);
    const auto act = activation_of(i, pass);
    T* out = out_[size_t(i)].get();
    Product<T> p;
    p.m = rows, p.n = o.out, p.k = o.in;
    p.a = x, p.b = parameter(o.kernel), p.out = out;
    p.precision = precision_;
    p.epilogue.bias = parameter(o.bias);
    if (walk(pass)[i].keeps_pre_activation) p.epilogue.pre_activation = z_[size_t(i)].get();
    p.epilogue.activation = act == ops::Activation::softmax ? ops::Activation::linear : act;
    p.epilogue.alpha = T(o.alpha);
    p.epilogue.slope = parameter(o.slope);
    products_.run(p);
    if (act == ops::Activation::softmax) softmax(out, out, rows, o.out, stream_);
}

template <class T>
BatchNorm<T> Layers<T>::batch_norm(int i, int64_t rows, Pass pass, bool update_statistics) {
    const Op& o = op(i);
    BatchNorm<T> b;
    b.x = output(i - 1, pass), b.gamma = parameter(o.kernel), b.beta = parameter(o.bias);
    b.out = out_[size_t(i)].get(), b.mean = mean_[size_t(i)].get(), b.inverse = inverse_[size_t(i)].get();
    b.moving_mean = statistic(o.mean), b.moving_variance = statistic(o.variance);
    b.momentum = o.momentum, b.epsilon = o.epsilon;
    b.batch_statistics = walk(pass)[i].batch_statistics, b.update_statistics = update_statistics;
    b.parts = norm_scratch_.get();
    b.rows = rows, b.cols = o.out;
    return b;
}

template <class T>
LayerNorm<T> Layers<T>::layer_norm(int i, int64_t rows, Pass pass) {
    const Op& o = op(i);
    LayerNorm<T> l;
    l.x = output(i - 1, pass), l.gamma = parameter(o.kernel), l.beta = parameter(o.bias);
    l.out = out_[size_t(i)].get(), l.mean = mean_[size_t(i)].get(), l.inverse = inverse_[size_t(i)].get();
    l.epsilon = o.epsilon;
    l.rows = rows, l.cols = o.out;
    return l;
}

template <class T>
UnitNorm<T> Layers<T>::unit_norm(int i, int64_t rows, Pass pass) {
    return {output(i - 1, pass), out_[size_t(i)].get(), inverse_[size_t(i)].get(), rows, op(i).out};
}

template <class T>
void Layers<T>::probabilities_of(const T* logits, T* out, int64_t rows) {
    if (training_->categorical()) return softmax(logits, out, rows, plan_.outputs, stream_);
    activation_forward(ops::Activation::sigmoid, T(0), static_cast<const T*>(nullptr), logits, out, rows, plan_.outputs,
                       stream_);
}

template <class T>
bool Layers<T>::fuses_last_layer(Pass pass) const {
    const Op& o = op(last_);
    return pass != Pass::predict && o.kind == OpKind::dense && o.out <= most_last_units && o.slope < 0 &&
           !o.has_activity() && !training_->custom && product_path() == ProductPath::automatic;
}

template <class T>
LastLayer<T> Layers<T>::last_layer(const LossRows<T>& loss, Pass pass) const {
    const Op& o = op(last_);
    LastLayer<T> l;
    l.loss = loss;
    l.x = output(last_ - 1, pass), l.kernel = parameter(o.kernel), l.bias = parameter(o.bias), l.inputs = o.in;
    l.out = out_[size_t(last_)].get();
    if (walk(pass)[last_].keeps_pre_activation) l.pre_activation = z_[size_t(last_)].get();
    l.activation = activation_of(last_, pass), l.alpha = T(o.alpha);
    l.needs = ops::activation_needs[int(l.activation)];
    l.precision = rounding_of(precision_);
    if (!loss.d || !passes_gradient(last_)) return l;
    l.dx = d(last_ - 1);
    if (finished_by_product(last_ - 1, pass)) {
        l.stored = stored(last_ - 1, pass);
        l.below = activation_of(last_ - 1, pass), l.alpha_below = T(op(last_ - 1).alpha);
    }
    return l;
}

template <class T>
void Layers<T>::loss(const Steps& steps, const BatchShape& b, Pass pass) {
    const Training& t = *training_;
    const Op& top = op(last_);
    const int64_t cols = plan_.outputs;
    const T* outputs = output(last_, pass);
    LossRows<T> l;
    l.loss = form().kind;
    l.param = t.loss_param, l.label_smoothing = t.label_smoothing;
    l.params = t.loss_params.empty() ? nullptr : params_.get();
    l.from_logits = form().logits;
    l.p = outputs;
    l.y = targets(b);
    l.labels = t.sparse() ? labels_.get() : nullptr;
    l.weights = b.weighted ? weights_.get() : nullptr;
    l.factor = 1 / double(b.rows);
    l.row_loss = row_loss_.get();
    l.d = pass == Pass::evaluate ? nullptr : d(last_);
    losses_ = b.rows;
    l.rows = b.rows, l.cols = cols;
    if (t.custom) call_hook(b, pass, l.d);
    else if (fuses_last_layer(pass)) cuda::last_layer(last_layer(l, pass), stream_);
    else loss_rows(l, stream_);
    for (int i = 0; i <= last_; ++i) {
        const Op& o = op(i);
        if (o.has_activity() && !skips_activation(i, pass))
            activity_value(output(i, pass), o.activity_l1, o.activity_l2, row_loss_.get(), b.rows, o.out, stream_);
    }
    if (top.has_activity() && form().fused) {  // the penalty is on the activation that the fused loss skipped
        probabilities_of(outputs, probabilities_.get(), b.rows);
        fused_activity(probabilities_.get(), t.categorical(), top.activity_l1, top.activity_l2, row_loss_.get(), l.d,
                       b.rows, cols, stream_);
    } else if (l.d && top.has_activation() && top.activation == ops::Activation::softmax && !form().fused &&
               !fuses_last_layer(pass)) {
        softmax_backward(outputs, l.d, top.activity_l1 * l.factor, top.activity_l2 * l.factor, b.rows, cols, stream_);
    }
    measure(steps, b, pass);
    if (t.hook && !t.custom && (hook_flags_ & HookBatch::measured)) call_hook(b, pass, l.d);
}

template <class T>
void Layers<T>::measure(const Steps& steps, const BatchShape& b, Pass pass) {
    if (training_->metrics.empty() || pass == Pass::probe) return;
    Metrics<T> m;
    m.specs = metrics_.get(), m.count = int(training_->metrics.size());
    m.p = output(last_, pass);
    if (wants_probabilities_) {
        probabilities_of(m.p, probabilities_.get(), b.rows);
        m.p = probabilities_.get();
    }
    m.y = targets(b);
    m.labels = training_->sparse() ? labels_.get() : nullptr;
    m.weights = b.weighted ? weights_.get() : nullptr;
    m.rows = b.rows, m.cols = plan_.outputs;
    cuda::measure(steps, m, stream_);
}

template <class T>
StepEnd Layers<T>::end_of_step(int64_t rows, bool stop_on_nan) const {
    StepEnd e;
    e.losses = row_loss_.get(), e.count = losses_, e.rows = rows;
    e.penalty_parts = penalty_parts_.get(), e.penalty_count = has_penalties_ ? penalty_count_ : 0;
    e.stop_on_nan = stop_on_nan;
    return e;
}

template <class T>
void Layers<T>::evaluate_step(const Steps& steps, const BatchShape& b) {
    gather(steps, b, true);
    forward(steps, b.rows, Pass::evaluate, false);
    loss(steps, b, Pass::evaluate);
    if (has_penalties_) {
        combine(updates(), false, stream_);
        matrix_penalties(false);
    }
    end_step(steps, end_of_step(b.rows, false), stream_);
}

template <class T>
void Layers<T>::predict_step(const Steps& steps, const BatchShape& b) {
    gather(steps, b, false);
    forward(steps, b.rows, Pass::predict, false);
}

#define FD_INSTANTIATE(T)                                                        \
    template Layers<T>::Layers(const Plan&, State<T>&, Precision, cudaStream_t); \
    template void Layers<T>::configure(const Training*);                         \
    template void Layers<T>::reserve(int64_t, bool, bool);                       \
    template int64_t Layers<T>::chunk_rows() const;                              \
    template const T* Layers<T>::output(int, Pass) const;                        \
    template void Layers<T>::evaluate_step(const Steps&, const BatchShape&);     \
    template void Layers<T>::predict_step(const Steps&, const BatchShape&);      \
    template void Layers<T>::probabilities_of(const T*, T*, int64_t);            \
    template StepEnd Layers<T>::end_of_step(int64_t, bool) const;                \
    template void Layers<T>::gather(const Steps&, const BatchShape&, bool);      \
    template void Layers<T>::forward(const Steps&, int64_t, Pass, bool);         \
    template void Layers<T>::loss(const Steps&, const BatchShape&, Pass);        \
    template bool Layers<T>::fuses_last_layer(Pass) const;                       \
    template void Layers<T>::measure(const Steps&, const BatchShape&, Pass);     \
    template BatchNorm<T> Layers<T>::batch_norm(int, int64_t, Pass, bool);       \
    template LayerNorm<T> Layers<T>::layer_norm(int, int64_t, Pass);             \
    template UnitNorm<T> Layers<T>::unit_norm(int, int64_t, Pass);               \
    template Columns<T> Layers<T>::columns(int, int64_t, Pass);                  \
    template Grouped<T> Layers<T>::grouped(int, int64_t, Pass);                  \
    template Branches<T> Layers<T>::branches(int, int64_t, Pass);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cuda
