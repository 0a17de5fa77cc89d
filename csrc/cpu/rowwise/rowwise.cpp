#include "cpu/rowwise/rowwise.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/layerwise/measure.h"

namespace fd::cpu {
namespace {

constexpr int64_t chunk_bytes = int64_t(384) << 10;   // of a chunk: with weights and gradients in a second-level cache
constexpr int64_t block_bytes = int64_t(16) << 10;    // half of a first-level cache
constexpr int64_t most_resident = int64_t(64) << 20;  // bytes of a data set that is kept in panels

// Whether n numbers are finite, and are so as T.
template <class T, class S>
bool all_finite(const void* given, int64_t n) {
    const S* x = static_cast<const S*>(given);
    bool good = true;
    for (int64_t i = 0; i < n; ++i) good &= std::abs(double(x[i])) <= double(std::numeric_limits<T>::max());
    return good;
}

// Rows of a few units are summed in the lanes, see kernel_gradient_in_lanes.
bool summed_in_lanes(int64_t units, int lanes) { return units * 4 <= lanes; }

}  // namespace

template <class T>
Rowwise<T>::Rowwise(const Plan& plan, State<T>& state, Updater<T>& updater)
    : plan_(plan), state_(state), updater_(updater), kernels_(kernels_of<T>(isa())), k_(rowwise_kernels_of<T>(isa())),
      predict_(plan, nullptr, Pass::predict), train_(plan, nullptr, Pass::train), last_(int(plan.ops.size()) - 1) {
    covers_ = true;
    bool any = false;
    for (const Op& o : plan.ops) {
        covers_ &= is_known_to(paths::rowwise, o.kind) && !o.has_activity();
        any |= o.kind == OpKind::dense;
    }
    covers_ &= any;
    is_random_ = plan.is_random();
    width_ = plan.inputs;
    for (const Op& o : plan.ops) width_ += 4 * o.out;
}

template <class T>
void Rowwise<T>::configure(const Training* training) {
    training_ = training;
    train_ = Walk(plan_, training, Pass::train);
    const LossForm& form = train_.form();
    loss_.kind = form.kind;
    loss_.param = T(training->loss_param);
    loss_.params = training->loss_params.empty() ? nullptr : training->loss_params.data();
    loss_.label_smoothing = T(training->label_smoothing);
    loss_.from_logits = form.logits;
    loss_.probabilities = form.logits && !training->metrics.empty();
    capacity_ = 0;
}

template <class T>
bool Rowwise<T>::takes(int64_t rows) const {
    if (!covers_ || plan_.bf16 || forced_path("layerwise")) return false;
    if (forced_path("rowwise")) return true;
    // Each group has a gradient of its own, which must stay in the second-level cache beside the weights.
    return plan_.parameters * int64_t(sizeof(T)) <= int64_t(640) << 10 && rows < (int64_t(1) << 40) / plan_.inputs;
}

template <class T>
int Rowwise<T>::groups(int64_t rows) const {
    const int64_t panels = (rows + panel(rows) - 1) / panel(rows);
    const double worth = 0.5e6;  // flops: what a group must have to do to be worth its barriers
    // More than a few groups are for large teams: worth the time to sum their gradients, which stay in a third-level cache.
    const double worth_more = 8e6, most_bytes = 8 << 20, flops = plan_.step_flops * double(rows);
    const double bytes = double(plan_.parameters) * sizeof(T);
    const double few = std::min(flops / worth, double(few_groups));
    const double many = std::min({flops / worth_more, most_bytes / bytes, double(most_groups)});
    return int(std::clamp<int64_t>(std::min(int64_t(std::max(few, many)), panels / 2), 1, most_groups));
}

template <class T>
void Rowwise<T>::reserve(int64_t rows, bool backward, bool resident) {
    resident = resident && rows * (plan_.inputs + plan_.outputs + 2) * int64_t(sizeof(T)) <= most_resident;
    for (Group& g : groups_) g.job.gathered = false;
    if (rows == capacity_ && (backward_ready_ || !backward) && resident == resident_) return;
    backward |= backward_ready_ && capacity_ > 0;
    const int64_t width = panel(rows), panels = (rows + width - 1) / width, count = groups(rows);
    const int64_t most = (panels + count - 1) / count, bytes = width_ * width * int64_t(sizeof(T));  // of a panel
    chunk_panels_ = std::clamp<int64_t>(chunk_bytes / bytes, 1, most);
    block_ = std::max<int64_t>(block_bytes / bytes, 1);
    if (int64_t(groups_.size()) != count) groups_ = std::vector<Group>(static_cast<size_t>(count));
    parts_.resize(groups_.size());
    for (size_t g = 0; g < groups_.size(); ++g) {
        Group& group = groups_[g];
        if (g && backward) group.gradients.reserve(plan_.parameters);
        T* gradients = g ? group.gradients.get() : state_.gradients.get();
        lay_out(group, chunk_panels_, resident ? most : chunk_panels_, width, gradients);
        parts_[g] = gradients;
        group.order.reserve(chunk_panels_ * width);
    }
    if (training_) {
        row_weights_.reserve(rows);
        if (!training_->metrics.empty()) {
            if (training_->sparse()) labels_.reserve(rows);
            else targets_.reserve(rows * plan_.outputs);
            predictions_.reserve(rows * plan_.outputs);
            row_metric_.reserve(rows * int64_t(training_->metrics.size()));
        }
    }
    capacity_ = rows;
    backward_ready_ = backward;
    resident_ = resident;
}

template <class T>
RowwiseOp<T> Rowwise<T>::op_of(int i) const {
    const Op& op = plan_.ops[size_t(i)];
    auto parameter = [&](int t) { return t < 0 ? nullptr : state_.parameters.get() + plan_.tensors[size_t(t)].offset; };
    RowwiseOp<T> o;
    o.kind = op.kind;
    o.in = op.in, o.out = op.out;
    o.activation = predict_[i].activation;
    o.derivative_at_input = predict_[i].derivative_at_input;
    o.alpha = T(op.alpha);
    o.kernel = parameter(op.kernel), o.bias = parameter(op.bias), o.slope = parameter(op.slope);
    if (op.kind == OpKind::rescaling) {
        const T* fixed = state_.statistics.get();
        o.scale = fixed + plan_.tensors[size_t(op.scale)].offset;
        o.offset = fixed + plan_.tensors[size_t(op.offset)].offset;
    }
    o.dropout = {plan_.seed, 0, uint32_t(i), op.rate};
    return o;
}

template <class T>
bool Rowwise<T>::one_row(const void* given, DType dtype, T* out) {
    const bool own = dtype == dtype_of<T>;
    if (own ? !k_.finite(static_cast<const T*>(given), plan_.inputs)
            : !(dtype == DType::f64 ? all_finite<T, double>(given, plan_.inputs)
                                    : all_finite<T, float>(given, plan_.inputs)))
        return false;
    if (row_ops_.empty()) {
        for (int i = 0; i <= last_; ++i) {
            const OpKind kind = plan_.ops[size_t(i)].kind;
            if (kind != OpKind::dropout && kind != OpKind::normalization) row_ops_.push_back(op_of(i));
        }
        row_.reserve(3 * (plan_.widest + 16));
    }
    T *z = row_.get(), *next = z + plan_.widest + 16, *other = next + plan_.widest + 16;
    const T* x = static_cast<const T*>(given);
    if (const double* mean = state_.input_statistics.mean(); mean || !own) {
        View row{static_cast<const char*>(given), dtype, 1, plan_.inputs, 0, dtype == DType::f64 ? 8 : 4};
        kernels_.gather_row(row, 0, mean, mean ? state_.input_statistics.inverse() : nullptr, other);
        x = other;
    }
    for (size_t i = 0; i < row_ops_.size(); ++i) {
        T* to = i + 1 == row_ops_.size() ? out : x == next ? other : next;
        k_.one_row(row_ops_[i], x, z, to);
        x = to;
    }
    return true;
}

template <class T>
void Rowwise<T>::lay_out(Group& g, int64_t panels, int64_t kept_panels, int64_t panel, T* gradients) {
    const int64_t rows = panels * panel, kept_rows = kept_panels * panel, lanes = k_.lanes_per_vector;
    RowwiseJob<T>& job = g.job;
    auto place = [&](T* base) {  // returns the size; places everything at base, if there is one
        int64_t end = 0;
        auto take = [&](int64_t n) {
            T* at = base ? base + end : nullptr;
            end += (n + 15) / 16 * 16;
            return at;
        };
        job.input = take(kept_rows * plan_.inputs);
        job.targets = take(kept_rows * plan_.outputs);
        job.weights = take(kept_rows);
        job.staging = take(panel * std::max(plan_.inputs, plan_.outputs));
        job.probabilities = take(panel * plan_.outputs);
        g.ops.clear();
        for (int i = 0; i <= last_; ++i) {
            const Op& op = plan_.ops[size_t(i)];
            if (op.kind == OpKind::normalization) continue;
            RowwiseOp<T> o = op_of(i);
            auto gradient = [&](int t) {
                return t < 0 || !gradients ? nullptr : gradients + plan_.tensors[size_t(t)].offset;
            };
            o.dkernel = gradient(op.kernel), o.dbias = gradient(op.bias), o.dslope = gradient(op.slope);
            o.passes_gradient = train_[i].passes_gradient;
            o.a = take(rows * op.out);
            o.z = train_[i].keeps_pre_activation ? take(rows * op.out) : o.a;
            o.d = take(rows * op.out);
            if (op.kind == OpKind::dense && !summed_in_lanes(op.out, int(lanes))) {
                o.ld = (op.out + lanes - 1) / lanes * lanes + lanes;  // a second vector may be read beyond the units
                o.by_row = take(rows * o.ld);
            }
            g.ops.push_back(o);
        }
        return end;
    };
    g.scratch.reserve(place(nullptr));
    place(g.scratch.get());
    g.labels.reserve(kept_rows);
    job.labels = g.labels.get();
    job.ops = g.ops.data();
    job.count = int(g.ops.size());
    job.first_gradient = train_.first_gradient() - int(plan_.normalizes_input());
    job.order = g.order.get();
    job.block = block_;
    job.mean = state_.input_statistics.mean(), job.inverse = state_.input_statistics.inverse();
}

template <class T>
void Rowwise<T>::run(const Worker& w, const Dataset& data, int64_t rows, const RowOrder& order, Pass pass, T* out,
                     T* const* outputs) {
    const int64_t width = panel(capacity_), panels = (rows + width - 1) / width;
    const int64_t count = std::min<int64_t>(int64_t(groups_.size()), panels);
    const bool train = pass == Pass::train, scored = pass != Pass::predict;
    const bool metrics = scored && !training_->metrics.empty();
    if (w.first()) weighted_ = scored && data.weights, active_groups_ = int(count);
    w.each(int64_t(groups_.size()), [&](int64_t number) {
        Group& g = groups_[size_t(number)];
        g.loss = 0;
        if (number >= count) return;
        const int64_t first = panels * number / count * width,
                      end = std::min(rows, panels * (number + 1) / count * width);
        RowwiseJob<T> job = g.job;
        job.x = &data.x;
        job.order = g.order.get();
        job.train = train;
        job.predictions = out;
        job.outputs = outputs;
        job.first_output = outputs ? order(0) : 0;
        if (scored) {
            job.y = &data.y;
            job.data_weights = data.weights;
            job.loss = loss_;
            job.loss.factor = 1 / double(rows);
            job.row_weights = row_weights_.get();
            if (metrics) {
                job.row_labels = labels_.get(), job.row_targets = targets_.get();
                job.predictions = predictions_.get();
            }
        }
        RowwiseOp<T>& top = g.ops.back();
        const OpWalk& top_walk = (scored ? train_ : predict_)[last_];
        top.activation = top_walk.activation;
        top.derivative_at_input = top_walk.derivative_at_input;
        if (is_random_)
            for (RowwiseOp<T>& o : g.ops) o.dropout.step = uint64_t(state_.step);
        const int64_t chunk = chunk_panels_ * width;
        for (int64_t r = first; r < end; r += chunk) {
            job.first = r;
            job.rows = std::min(chunk, end - r);
            job.accumulate = r > first;
            if (resident_) {
                job.input = g.job.input + (r - first) * plan_.inputs;
                job.targets = g.job.targets + (r - first) * plan_.outputs;
                job.weights = g.job.weights + (r - first);
                job.labels = g.job.labels + (r - first);
            }
            if (job.gathered) {
            } else if (resident_ || order.consecutive()) {
                const int64_t at = resident_ ? 0 : order(0);
                for (int64_t k = 0; k < job.rows; ++k) g.order[k] = at + r + k;
            } else {
                k_.order(order.cursor->order(), order.cursor->first() + r, job.rows, g.order.get());
            }
            g.loss += k_.run[vectors(capacity_) - 1](job);
        }
        g.job.gathered = resident_;
        if (metrics) measure(data, first, end);
    });
    w.sync();
}

template <class T>
void Rowwise<T>::measure(const Dataset& data, int64_t first, int64_t end) {
    LossRows<T> l;
    l.p = predictions_.get() + first * plan_.outputs;
    l.y = training_->sparse() ? nullptr : targets_.get() + first * plan_.outputs;
    l.labels = training_->sparse() ? labels_.get() + first : nullptr;
    l.weights = data.weights ? row_weights_.get() + first : nullptr;
    l.rows = end - first;
    l.cols = plan_.outputs;
    for (size_t m = 0; m < training_->metrics.size(); ++m)
        if (training_->metrics[m].per_row()) {
            l.row_loss = row_metric_.get() + int64_t(m) * capacity_ + first;
            measure_rows(kernels_, training_->metrics[m], l);
        }
}

template <class T>
void Rowwise<T>::gradients(const Worker& w, const Dataset& data, int64_t rows, const RowOrder& order) {
    run(w, data, rows, order, Pass::train, nullptr);
}
template <class T>
void Rowwise<T>::infer(const Worker& w, const Dataset& data, int64_t rows, const RowOrder& order, Pass pass, T* out) {
    run(w, data, rows, order, pass, out);
}

template <class T>
std::vector<T*> Rowwise<T>::places(void* const* outputs) const {
    // the kernels' first output is x as it enters the first op they know: that of a normalization
    std::vector<T*> all;
    if (!plan_.normalizes_input()) all.push_back(nullptr);
    for (size_t i = 0; i < plan_.ops.size(); ++i) all.push_back(static_cast<T*>(outputs[i]));
    return all;
}
template <class T>
void Rowwise<T>::infer_all(const Worker& w, const Dataset& data, int64_t rows, int64_t first, T* const* places) {
    run(w, data, rows, {first}, Pass::predict, nullptr, places);
}

template <class T>
bool Rowwise<T>::update(const Worker& w) {
    const int others = active_groups_ - 1;  // a short last batch may be too few rows for all
    const Slices cut(plan_.parameters, 4096, 16);
    w.each(cut.count, [&](int64_t s) {
        const int64_t begin = cut.begin(s), end = cut.end(s);
        if (others > 0) {
            const T* parts[most_groups];
            for (int k = 0; k < others; ++k) parts[k] = parts_[size_t(k) + 1] + begin;
            k_.add_gradients(state_.gradients.get() + begin, parts, others, end - begin);
        }
        if (!updater_.needs_all_gradients()) updater_.update_slice(begin, end, s);
    });
    if (!updater_.needs_all_gradients()) return true;
    w.sync();
    return updater_.update_all(w);
}

template <class T>
double Rowwise<T>::add_to_totals(int64_t rows, double* totals) {
    double loss = 0, weight = double(rows);
    for (const Group& g : groups_) loss += g.loss;
    const Training& t = *training_;
    if (!t.metrics.empty()) {
        if (weighted_) {
            weight = 0;
            for (int64_t r = 0; r < rows; ++r) weight += row_weights_[r];
        }
        add_metrics(t, predictions_.get(), t.sparse() ? nullptr : targets_.get(), labels_.get(),
                    weighted_ ? row_weights_.get() : nullptr, rows, plan_.outputs, row_metric_.get(), capacity_, weight,
                    totals + 2);
    }
    return loss / double(rows);
}

template class Rowwise<float>;
template class Rowwise<double>;

}  // namespace fd::cpu
