#include "cpu/second_order/full_batch.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "cpu/blas/gemm.h"
#include "cpu/second_order/gram.h"

namespace fd::cpu {

constexpr int64_t jacobian_numbers = int64_t(1) << 19;  // of the Jacobian at a time: 4 MiB, which stay in a cache

template <class T>
FullBatch<T>::FullBatch(const Plan& plan, State<T>& state, Layerwise<T>& layerwise, Updater<T>& updater,
                        const Training& training)
    : plan_(plan), state_(state), layerwise_(layerwise), updater_(updater), training_(training),
      curvature_(plan, state, layerwise, training), totals_(size_t(training.totals(plan.outputs))) {
    for (int tensor : plan.trainable) {
        const Tensor& t = plan.tensors[size_t(tensor)];
        size_ += t.size();
        penalised_ |= t.l1 != 0 || t.l2 != 0;
    }
    for (const Op& o : plan.ops) penalised_ |= o.kind == OpKind::dense && o.matrix_penalty();
    const std::string unknown = unknown_op(plan, paths::jacobian);
    if (training.optimizer != ops::Optimizer::lbfgs && !unknown.empty())
        throw InvalidArgument(std::string(training.optimizer_name()) + ": no Jacobian of this net; " + unknown);
    const bool least_squares = training.optimizer == ops::Optimizer::levenberg_marquardt;
    if ((training.custom || !training.heads.empty()) && training.optimizer != ops::Optimizer::lbfgs)
        throw InvalidArgument(std::string(training.optimizer_name()) +
                              ": a loss of the caller's, or of several heads, has no curvature here");
    if (least_squares && training.loss != ops::Loss::mse)
        throw InvalidArgument(std::string("levenberg_marquardt: the loss ") + ops::loss_names[int(training.loss)] +
                              " is not that of least squares");
    for (const Op& o : plan.ops)
        if (training.optimizer != ops::Optimizer::lbfgs && o.has_activation() &&
            (o.activation == ops::Activation::prelu || (least_squares && o.activation == ops::Activation::softmax)))
            throw InvalidArgument(std::string(training.optimizer_name()) + ": no Jacobian of this net; it has " +
                                  ops::activation_names[int(o.activation)]);
    const LossForm form(plan, training);
    const bool curved = ops::loss_curved[int(form.kind)] && (form.logits || !training.categorical());
    if (training.optimizer == ops::Optimizer::newton_cg && !curved)
        throw InvalidArgument(std::string("newton_cg: the loss ") + ops::loss_names[int(form.kind)] +
                              " has no second derivative here");
    solver_ = make_solver(training, size_);
}

template <class T>
template <class F>
void FullBatch<T>::each_tensor(F&& body) const {
    int64_t at = 0;
    for (int tensor : plan_.trainable) {
        const Tensor& t = plan_.tensors[size_t(tensor)];
        body(at, t);
        at += t.size();
    }
}

template <class T>
void FullBatch<T>::read(double* w) const {
    each_tensor(
        [&](int64_t at, const Tensor& t) { std::copy_n(state_.parameters.get() + t.offset, t.size(), w + at); });
}

template <class T>
void FullBatch<T>::write(double* w) {
    layerwise_.weights_changed();
    each_tensor([&](int64_t at, const Tensor& t) {
        T* to = state_.parameters.get() + t.offset;
        for (int64_t i = 0; i < t.size(); ++i) w[at + i] = to[i] = T(w[at + i]);
    });
}

template <class T>
void FullBatch<T>::read_slot(int slot, int tensor, double* out) const {
    const std::vector<double>& v = solver_->vectors[size_t(slot)];
    each_tensor([&](int64_t at, const Tensor& t) {
        if (&t != &plan_.tensors[size_t(tensor)]) return;
        if (v.empty()) std::fill_n(out, t.size(), 0.0);
        else std::copy_n(v.data() + at, t.size(), out);
    });
}

template <class T>
void FullBatch<T>::write_slot(int slot, int tensor, const double* in) {
    std::vector<double>& v = solver_->vectors[size_t(slot)];
    v.resize(size_t(size_));
    each_tensor([&](int64_t at, const Tensor& t) {
        if (&t == &plan_.tensors[size_t(tensor)]) std::copy_n(in, t.size(), v.data() + at);
    });
}

// to += factor · the net's gradients
template <class T>
void FullBatch<T>::add_gradients(const Worker& w, double factor, double* to) const {
    each_tensor([&](int64_t at, const Tensor& t) {
        const T* g = state_.gradients.get() + t.offset;
        const Slices cut(t.size(), 4096);
        w.each(cut.count, [&](int64_t s) {
            for (int64_t i = cut.begin(s); i < cut.end(s); ++i) to[at + i] += factor * double(g[i]);
        });
    });
    w.sync();
}

template <class T>
template <class F>
bool FullBatch<T>::each_chunk(Pass pass, F&& body) {
    const int64_t n = data_->rows();
    std::atomic<bool> stopped{false};
    const Watch watch(layerwise_.stop(), *poll_);
    parallel(threads_, [&](const Worker& w) {
        for (int64_t first = 0; first < n; first += chunk_) {
            Batch<T> b = layerwise_.gather(w, *data_, std::min(chunk_, n - first), {first});
            // one evaluation after another: only the end of an iteration, in train(), is the last of an epoch
            b.hook_flags = HookBatch::training | HookBatch::measured | (first == 0 ? HookBatch::first : 0u);
            // false for all workers or none
            if (!layerwise_.forward(w, b, pass, false) || !layerwise_.loss(w, b, pass) || !body(w, b, first)) {
                stopped = true;
                return;
            }
        }
    });
    return !stopped;
}

template <class T>
bool FullBatch<T>::evaluate(double& loss, double* gradient) {
    const double n = all_rows();
    const Pass pass = gradient ? Pass::inference : Pass::evaluate;
    double sum = 0;
    std::fill(totals_.begin(), totals_.end(), 0.0);
    if (gradient) std::fill_n(gradient, size_, 0.0);
    const bool whole = each_chunk(pass, [&](const Worker& w, const Batch<T>& b, int64_t) {
        if (gradient) {
            if (!layerwise_.backward(w, b, pass, false)) return false;
            add_gradients(w, double(b.rows) / n, gradient);
        }
        if (w.first()) sum += layerwise_.add_to_totals(b, pass, totals_.data()) * double(b.rows);
        w.sync();
        return true;
    });
    if (!whole) return false;
    double all = sum;
    if (!sum_over_ranks(all, gradient, gradient ? size_ : 0)) return false;
    loss = finish(all, sum, gradient);
    return true;
}

template <class T>
bool FullBatch<T>::sum_over_ranks(double& row_losses, double* numbers, int64_t n) const {
    return !ranks_ || ranks_->sum(numbers, DType::f64, n, 1, row_losses);
}

template <class T>
double FullBatch<T>::finish(double all_row_losses, double row_losses, double* gradient) {
    const double own_rows = double(data_->rows()), added = penalties(gradient);
    totals_[0] = (row_losses / own_rows + added) * own_rows, totals_[1] = own_rows;
    return all_row_losses / all_rows() + added;
}

template <class T>
double FullBatch<T>::penalties(double* gradient) {
    double sum = 0;
    if (!penalised_) return sum;
    if (gradient) std::fill_n(state_.gradients.get(), plan_.parameters, T(0));
    parallel(threads_, [&](const Worker& w) {
        updater_.penalties(w, gradient != nullptr);
        if (gradient) add_gradients(w, 1, gradient);
        if (w.first()) sum = updater_.penalty_sum();
    });
    return sum;
}

// One pass over the data: of every chunk, for each output, the Jacobian's rows by one backward pass, and their products.
template <class T>
bool FullBatch<T>::normal_equations(double& loss, double* matrix, double* gradient) {
    const int64_t width = size_ + 1;
    const int64_t block = std::clamp<int64_t>(jacobian_numbers / width, 32, chunk_);
    const Pass pass = Pass::inference;
    jacobian_.reserve(block * width);
    products_.assign(size_t(width * width), 0.0);
    double sum = 0;
    std::fill(totals_.begin(), totals_.end(), 0.0);
    const int last = int(plan_.ops.size()) - 1;
    const bool whole = each_chunk(pass, [&](const Worker& w, const Batch<T>& b, int64_t) {
        if (w.first()) sum += layerwise_.add_to_totals(b, pass, totals_.data()) * double(b.rows);
        w.sync();
        for (int64_t k = 0; k < plan_.outputs; ++k) {
            const Slices rows(b.rows, 64, 1);
            w.each(rows.count, [&](int64_t s) {
                T* seed = layerwise_.gradient_at(last);
                for (int64_t r = rows.begin(s); r < rows.end(s); ++r)
                    for (int64_t c = 0; c < plan_.outputs; ++c) seed[r * plan_.outputs + c] = T(c == k);
            });
            w.sync();
            if (!layerwise_.backward(w, b, pass, false)) return false;
            for (int64_t r = 0; r < b.rows; r += block) {
                const int64_t end = std::min(b.rows, r + block);
                fill_jacobian(w, b, r, end, k);
                w.sync();
                add_gram(w, end - r, jacobian_.get(), width, width, products_.data());
                w.sync();
            }
        }
        return true;
    });
    double all = sum;
    if (!whole || !sum_over_ranks(all, products_.data(), width * width)) return false;
    for (int64_t i = 0; i < size_; ++i) std::copy_n(products_.data() + i * width, i + 1, matrix + i * size_);
    std::copy_n(products_.data() + size_ * width, size_, gradient);
    loss = finish(all, sum, gradient);
    each_tensor([&](int64_t at, const Tensor& t) {
        for (int64_t i = at; i < at + t.size(); ++i) matrix[i * (size_ + 1)] += 2 * t.l2;
    });
    return true;
}

// Rows r0 … r1 of the chunk for one output, each times the root of its part in the loss; the residual comes last.
template <class T>
void FullBatch<T>::fill_jacobian(const Worker& w, const Batch<T>& b, int64_t r0, int64_t r1, int64_t output) {
    const int64_t width = size_ + 1, outputs = plan_.outputs;
    const T* predicted = layerwise_.output(int(plan_.ops.size()) - 1, b.x, Pass::inference);
    const Slices cut(r1 - r0, 8, 1);
    w.each(cut.count, [&](int64_t s) {
        for (int64_t r = r0 + cut.begin(s); r < r0 + cut.end(s); ++r) {
            double* row = jacobian_.get() + (r - r0) * width;
            const double scale = std::sqrt(2 * (b.weights ? b.weights[r] : 1) / (all_rows() * double(outputs)));
            double* to = row;
            for (int i = 0; i < int(plan_.ops.size()); ++i) {
                const Op& o = plan_.ops[size_t(i)];
                if (o.kind != OpKind::dense) continue;
                const T *x = layerwise_.output(i - 1, b.x, Pass::inference) + r * o.in,
                        *d = layerwise_.gradient_at(i) + r * o.out;
                for (int64_t a = 0; a < o.in; ++a, to += o.out) {
                    const double factor = scale * double(x[a]);
                    for (int64_t u = 0; u < o.out; ++u) to[u] = factor * double(d[u]);
                }
                if (o.bias < 0) continue;
                for (int64_t u = 0; u < o.out; ++u) to[u] = scale * double(d[u]);
                to += o.out;
            }
            *to = scale * (double(predicted[r * outputs + output]) - double(b.y[r * outputs + output]));
        }
    });
}

template <class T>
Solved FullBatch<T>::solve(double* matrix, double* h) {
    const Watch watch(layerwise_.stop(), *poll_);
    return solve_positive(layerwise_.stop(), Worker{}, size_, matrix, 1, h);
}

template <class T>
bool FullBatch<T>::product(const double* v, double* out) {
    std::fill_n(out, size_, 0.0);
    curvature_.begin(chunk_, v);
    const bool whole = each_chunk(Pass::inference, [&](const Worker& w, const Batch<T>& b, int64_t) {
        curvature_.add(w, b, all_rows(), out);
        return true;
    });
    double none = 0;
    if (!whole || !sum_over_ranks(none, out, size_)) return false;
    each_tensor([&](int64_t at, const Tensor& t) {
        for (int64_t i = at; i < at + t.size(); ++i) out[i] += 2 * t.l2 * v[i];
    });
    return true;
}

template <class T>
void FullBatch<T>::train(const TrainRequest& given, std::vector<double>& running,
                         const std::function<int(int64_t)>& threads, const std::function<bool(double*)>& validate,
                         TrainOutcome& outcome) {
    TrainRequest request = given;
    const int64_t n = request.train.rows();
    request.batch_size = n;  // an iteration is an epoch
    const int64_t chunks = (n + layerwise_.chunk_rows() - 1) / layerwise_.chunk_rows();
    chunk_ = (n + chunks - 1) / chunks;
    layerwise_.expect_targets(request.train.y.cols);
    layerwise_.reserve(chunk_, true);
    threads_ = threads(chunk_);
    data_ = &request.train;
    poll_ = &request.poll;
    ranks_ = request.ranks;
    Ledger ledger(request, int64_t(totals_.size()), running, outcome);
    if (!request.goes_on) solver_->begin();
    HookBatch epoch_end;  // without rows
    epoch_end.flags = HookBatch::training | HookBatch::last;
    for (int64_t step = 0; step < request.steps && outcome.ended.empty(); ++step) {
        if (!solver_->iterate(*this)) {
            ledger.interrupt();
            break;
        }
        std::copy(totals_.begin(), totals_.end(), ledger.running());
        ++state_.step;
        outcome.ended = solver_->ended();
        ledger.end_epoch();
        if (training_.hook && !(*training_.hook)(epoch_end)) {
            ledger.interrupt();
            break;
        }
        const bool stop = ledger.step_done(solver_->loss());
        if (request.validation) {
            if (!validate(ledger.validation_row())) {
                ledger.interrupt();
                break;
            }
            ledger.validated();
        }
        if (stop) break;
    }
    data_ = nullptr, poll_ = nullptr, ranks_ = nullptr;
    ledger.finish();
}

template class FullBatch<float>;
template class FullBatch<double>;

}  // namespace fd::cpu
