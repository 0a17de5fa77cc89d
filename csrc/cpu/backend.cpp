// The CPU backend: one net, its buffers, and the loops over batches. A whole train() is one parallel region.
#include "core/backend.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "core/parallel.h"
#include "core/store.h"
#include "core/trainer.h"
#include "cpu/before.h"
#include "cpu/blas/gemm.h"
#include "cpu/derivatives.h"
#include "cpu/layerwise/layerwise.h"
#include "cpu/layerwise/probe.h"
#include "cpu/rowwise/rowwise.h"
#include "cpu/second_order/closed_form.h"
#include "cpu/second_order/full_batch.h"

namespace fd::cpu {
namespace {

template <class T>
class CpuBackend final : public Backend {
public:
    CpuBackend(int64_t inputs, uint64_t seed, std::vector<Op> ops, bool bf16 = false)
        : plan_(inputs, seed, std::move(ops), bf16), state_(plan_), updater_(plan_, state_, stop_),
          layerwise_(plan_, state_, updater_, stop_), rowwise_(plan_, state_, updater_),
          rowwise_inference_(plan_, state_, updater_), probe_(plan_, state_, layerwise_, updater_),
          derivatives_(plan_, state_, layerwise_, updater_, stop_) {}

    const Plan& plan() const override { return plan_; }
    DType dtype() const override { return dtype_of<T>; }
    const Training* training() const override { return configured_ ? &training_ : nullptr; }
    int slots() const override { return int(full_batch_ ? full_batch_->solver().vectors.size() : state_.slots.size()); }
    DType slot_dtype() const override { return full_batch_ ? DType::f64 : dtype(); }
    std::vector<double>& numbers() override {
        if (updater_.kfac()) return updater_.kfac()->numbers;
        return full_batch_ ? full_batch_->solver().numbers : no_numbers_;
    }
    int64_t step() const override { return state_.step; }
    void set_step(int64_t step) override {  // the last of a state that is being set
        state_.step = step;
        if (updater_.kfac()) updater_.kfac()->numbers_changed();
    }

    void read_tensor(int tensor, void* out) const override { read(tensor_place<T>(plan_, state_, tensor), out); }
    void write_tensor(int tensor, const void* in) override {
        write(tensor_place<T>(plan_, state_, tensor), in);
        state_.input_statistics.changed();
        layerwise_.weights_changed();
        if (full_batch_) full_batch_->solver().begin();
    }
    void read_slot(int slot, int tensor, void* out) const override {
        if (full_batch_) return full_batch_->read_slot(slot, tensor, static_cast<double*>(out));
        read(slot_place<T>(plan_, state_, slot, tensor), out);
    }
    void write_slot(int slot, int tensor, const void* in) override {
        if (full_batch_) return full_batch_->write_slot(slot, tensor, static_cast<const double*>(in));
        write(slot_place<T>(plan_, state_, slot, tensor), in);
    }

    void configure(const Training& training) override {
        check_training(plan_, training);
        training_ = training;
        configured_ = true;
        state_.step = 0;
        state_.slots = first_slots<T>(training, plan_.parameters);
        updater_.configure(&training_);
        layerwise_.configure(&training_);
        rowwise_.configure(&training_);
        rowwise_inference_.configure(&training_);
        running_.assign(size_t(width()), 0.0);
        full_batch_.reset();
        if (training_.full_batch())
            full_batch_ = std::make_unique<FullBatch<T>>(plan_, state_, layerwise_, updater_, training_);
    }

    void train(const TrainRequest& request, TrainOutcome& outcome) override {
        check_shapes(plan_, training(), request.train);
        if (request.validation) check_shapes(plan_, training(), *request.validation);
        if (full_batch_) train_full_batch(request, outcome);
        else TrainLoop(*this, request, outcome).run();
    }

    int64_t probe_period(int64_t rows, int64_t batch_size) const override {
        const int64_t batch = std::min(batch_size, rows);
        return probe_.period(rows, batch, trains_rowwise(batch));
    }

    void evaluate(const Dataset& data, int threads, const Poll& poll, double* totals, int64_t hook_rows) override {
        check_shapes(plan_, training(), data);
        const int team = std::min(threads, reserve_evaluation(data, hook_rows));
        const bool rowwise = evaluates_rowwise(data.rows()) && !plan_.has_matrix_penalties();
        const BlasUse blas(rowwise ? 0 : team);
        double penalty = 0;
        stopped_before_.store(-1, std::memory_order_relaxed);
        parallel(team, [&](const Worker& w) { evaluate_rows(w, data, totals, poll, penalty, hook_rows); });
    }

    void apply_gradients(const void* const* gradients, double rate, int threads) override {
        if (!configured_ || full_batch_ || training_.kfac())
            throw InvalidArgument("apply_gradients needs an optimizer that takes steps from gradients");
        derivatives_.apply(gradients, rate, training_, team(threads, 1));
    }

    bool predict_row(const void* x, DType dtype, void* out) override {
        return rowwise_inference_.covers() && rowwise_inference_.takes(1) &&
               rowwise_inference_.one_row(x, dtype, static_cast<T*>(out));
    }

    void predict(const View& x, int threads, const Poll& poll, void* out) override {
        T* to = static_cast<T*>(out);
        if (!rowwise_inference_.takes(x.rows))
            return forward_chunks(x, threads, poll, [&](const Worker& w, const Batch<T>& b, int64_t first) {
                copy_rows(w, layerwise_.output(int(plan_.ops.size()) - 1, b.x, Pass::predict), b.rows, plan_.outputs,
                          to + first * plan_.outputs);
            });
        rowwise_chunks(x, threads, poll, [&](const Worker& w, const Dataset& data, int64_t first, int64_t rows) {
            rowwise_inference_.infer(w, data, rows, {first}, Pass::predict, to + first * plan_.outputs);
        });
    }

    bool solve_output(const Dataset& data, double ridge, int threads, const Poll& poll, double* kernel,
                      double* bias) override {
        require_inputs(data.x);
        if (data.rows() < 1 || !data.y || data.y.rows != data.rows() || data.y.cols != plan_.outputs)
            throw InvalidArgument("y must be (rows >= 1, outputs)");
        threads = team(threads, std::min(layerwise_.chunk_rows(), data.rows()));
        const BlasUse blas(threads);
        ClosedForm<T> form(plan_, state_, layerwise_);
        return form.solve(data, ridge, threads, poll, kernel, bias);
    }

    void activations(const View& x, int threads, const Poll& poll, void* const* outputs) override {
        if (rowwise_inference_.takes(x.rows)) {  // the last is the prediction, to the last bit
            const std::vector<T*> places = rowwise_inference_.places(outputs);
            rowwise_chunks(x, threads, poll, [&](const Worker& w, const Dataset& data, int64_t first, int64_t rows) {
                rowwise_inference_.infer_all(w, data, rows, first, places.data());
            });
            return;
        }
        forward_chunks(x, threads, poll, [&](const Worker& w, const Batch<T>& b, int64_t first) {
            for (size_t i = 0; i < plan_.ops.size(); ++i)
                copy_rows(w, layerwise_.output(int(i), b.x, Pass::predict), b.rows, plan_.ops[i].out,
                          static_cast<T*>(outputs[i]) + first * plan_.ops[i].out);
        });
    }

    double loss_and_grad(const Dataset& data, bool training, int threads, const Poll& poll,
                         void* const* gradients) override {
        check_shapes(plan_, this->training(), data);
        threads = team(threads, data.rows());
        const BlasUse blas(threads);
        layerwise_.expect_targets(data.y.cols);
        layerwise_.reserve(data.rows(), true);
        const Pass pass = training ? Pass::train : Pass::inference;
        std::vector<double> totals(static_cast<size_t>(width()));
        double loss = 0;
        const Watch watch(stop_, poll);
        parallel(threads, [&](const Worker& w) {
            const Batch<T> b = layerwise_.gather(w, data, data.rows(), {});
            if (!layerwise_.forward(w, b, pass, false)) return;
            if (!layerwise_.loss(w, b, pass)) return;
            if (!layerwise_.backward(w, b, pass, false)) return;
            updater_.penalties(w, true);
            if (w.first()) loss = layerwise_.add_to_totals(b, pass, totals.data()) + updater_.penalty_sum();
        });
        derivatives_.read(training_, gradients);
        return loss;
    }

    void vjp(const View& x, const View& d_out, const View* d_jacobian, int threads, const Poll& poll, void* d_x,
             void* const* gradients) override {
        const auto useful = [&](int64_t rows) { return team(threads, rows); };
        derivatives_.vjp(x, d_out, d_jacobian, training_, useful, poll, d_x, gradients);
    }

private:
    // One train() of the layerwise or the rowwise path, run by the whole team. What steers it is written by worker 0 alone,
    // before a barrier.
    class TrainLoop {
    public:
        TrainLoop(CpuBackend& net, const TrainRequest& request, TrainOutcome& outcome)
            : net_(net), request_(request), batch_size_(std::min(request.batch_size, request.train.rows())),
              rowwise_(net.trains_rowwise(batch_size_) && !request.ranks), probing_(request.probe_level.has_value()),
              long_steps_(request.poll && net.step_flops(rowwise_ ? 0 : batch_size_) > 2e9),
              may_stop_half_way_(long_steps_ || net.training_.hook || net.plan_.has_functions() || request.ranks),
              next_(request.steps ? Next::step : Next::end), blas_(net.blas_threads(request, rowwise_)),
              watch_(net.stop_, long_steps_ ? request.poll : no_poll),
              ledger_(request, net.width(), net.running_, outcome), cursor_(request, net.plan_.seed),
              before_(net.plan_, net.state_, net.updater_, net.stop_) {
            const bool resident = batch_size_ == request.train.rows() && !(request.shuffle && net.plan_.is_random());
            const int threads = rowwise_ ? std::min(request.threads, net.rowwise_.groups(batch_size_))
                                         : net.team(request.threads, batch_size_);
            net.layerwise_.expect_team(threads);
            net.layerwise_.expect_targets(request.train.y.cols);
            if (rowwise_) net.rowwise_.reserve(batch_size_, true, resident), net.updater_.reserve();
            else net.layerwise_.reserve(batch_size_, true);
            if (request.validation) net.reserve_evaluation(*request.validation, batch_size_);
            if (probing_) net.probe_.begin(request, outcome.probes);
            net.stopped_before_.store(-1, std::memory_order_relaxed);
            if (may_stop_half_way_) before_.reserve();
            if (request.ranks) {
                sum_.emplace(*request.ranks, net.state_.gradients.get(), dtype_of<T>, net.plan_.parameters);
                net.layerwise_.sum_gradients(&*sum_);
            }
            net.thread_count_.resume(threads, double(batch_size_));
        }
        ~TrainLoop() { net_.layerwise_.sum_gradients(nullptr); }
        void run() {
            while (next_ != Next::end) {
                next_ = Next::step;
                parallel(net_.thread_count_.now(), [this](const Worker& w) {
                    while (next_ == Next::step && iterate(w)) {}
                });
            }
            ledger_.finish();
        }

    private:
        enum class Next { step, change_threads, end };

        // A step, and the probe and the validation that follow it. False, for every worker: left half-way.
        bool iterate(const Worker& w) {
            const int64_t rows = cursor_.rows();  // read now: worker 0 advances the cursor at the end of the step
            const bool epoch_ends = cursor_.ends_epoch();
            if (w.first()) begin_step(w);
            if (probing_ && net_.probe_.due()) net_.probe_.keep(w);
            double loss = 0;  // worker 0 knows it
            if (!(rowwise_ ? rowwise_step(w, rows, loss) : layerwise_step(w, rows, loss))) {
                if (w.first()) {
                    before_.put_back();
                    interrupt();
                }
                return false;
            }
            if (w.first()) end_step(rows, loss, w.barrier->waited());
            w.sync();
            if (probe_follows_ && !net_.probe_.take(w, request_.train)) {
                if (w.first()) interrupt();
                return false;
            }
            if (epoch_ends && request_.validation) {
                const bool whole = net_.evaluate_rows(w, *request_.validation, ledger_.validation_row(), request_.poll,
                                                      validation_penalty_, batch_size_);
                if (w.first()) {
                    if (whole) ledger_.validated();
                    else interrupt();
                }
                w.sync();
            }
            return true;
        }
        void begin_step(const Worker& w) {
            if (cursor_.starts_epoch()) ledger_.start_epoch();
            net_.updater_.begin_step(request_.step_rates[step_]);
            if (may_stop_half_way_) before_.take(w);
        }
        // Gradients and update. False: the poll or a hook said stop, and what has been changed is in before_.
        bool layerwise_step(const Worker& w, int64_t rows, double& loss) {
            Layerwise<T>& layers = net_.layerwise_;
            Batch<T> b = layers.gather(w, request_.train, rows, {0, &cursor_});
            b.hook_flags = HookBatch::training | HookBatch::measured |
                           HookBatch::edges(cursor_.starts_epoch(), cursor_.ends_epoch());
            if (const Ranks* r = request_.ranks) b.first_row = cursor_.ends_epoch() ? r->last_first_row : r->first_row;
            if (!layers.forward(w, b, Pass::train, true)) return false;
            if (!layers.loss(w, b, Pass::train)) return false;
            if (sum_ && w.first()) sum_->begin(share(rows));
            if (!layers.backward(w, b, Pass::train, true)) return false;
            if (sum_ && !sum_gradients(w, b)) return false;
            layers.observe(w, b);
            if (!layers.update(w)) return false;
            w.sync();
            if (w.first()) loss = layers.add_to_totals(b, Pass::train, ledger_.running()) + net_.updater_.penalty_sum();
            return true;
        }
        // Of the rows of a step of all ranks: what this one has of them.
        double share(int64_t rows) const {
            const Ranks& r = *request_.ranks;
            return double(rows) / double(cursor_.ends_epoch() ? r.last_batch_rows : r.batch_rows);
        }
        // False: stop.
        bool sum_gradients(const Worker& w, const Batch<T>& b) {
            if (w.first()) {
                common_loss_ = net_.layerwise_.batch_loss(b, Pass::train);
                summed_ = sum_->finish(common_loss_);
            }
            w.sync();
            return summed_;
        }
        bool rowwise_step(const Worker& w, int64_t rows, double& loss) {
            Rowwise<T>& net = net_.rowwise_;
            net.gradients(w, request_.train, rows, {0, &cursor_});
            if (!net.update(w)) return false;
            w.sync();
            if (w.first()) loss = net.add_to_totals(rows, ledger_.running()) + net.penalty_sum();
            return true;
        }
        void end_step(int64_t rows, double loss, double waited) {
            double* totals = ledger_.running();
            totals[0] += loss * double(rows);
            totals[1] += double(rows);
            ++net_.state_.step;
            if (cursor_.ends_epoch()) ledger_.end_epoch();
            const double judged = sum_ ? common_loss_ : loss;  // by all ranks alike
            const bool ends = ledger_.step_done(judged) || ++step_ == request_.steps;
            if (probing_) {
                const bool broken = request_.stop_on_nan && !std::isfinite(loss);
                probe_follows_ = net_.probe_.follows(cursor_, net_.state_.step, broken);
            }
            if (net_.thread_count_.reconsider(waited)) next_ = Next::change_threads;
            if (ends) {
                net_.thread_count_.leave(waited);
                next_ = Next::end;
            }
            cursor_.advance();
        }
        void interrupt() {
            ledger_.interrupt();
            next_ = Next::end;
        }

        CpuBackend& net_;
        const TrainRequest& request_;
        const int64_t batch_size_;
        const bool rowwise_, probing_;
        const bool long_steps_;  // then the poll is asked within a step too
        const bool may_stop_half_way_;
        inline static const Poll no_poll;
        Next next_;
        bool probe_follows_ = false;  // the step at hand
        int64_t step_ = 0;            // of this call
        const BlasUse blas_;
        const Watch watch_;
        Ledger ledger_;
        Cursor cursor_;
        double validation_penalty_ = 0;
        Before<T> before_;
        std::optional<GradientSum> sum_;  // over the ranks
        double common_loss_ = 0;          // of the step, over all of them, without penalties
        bool summed_ = true;
    };

    void train_full_batch(const TrainRequest& request, TrainOutcome& outcome) {
        auto threads = [&](int64_t rows) { return team(request.threads, rows); };
        auto validate = [&](double* totals) {
            bool stopped = false;
            const Poll poll = [&] { return stopped = stopped || (request.poll && request.poll()); };
            evaluate(*request.validation, request.threads, poll, totals, 0);
            return !stopped;
        };
        const BlasUse blas(team(request.threads, request.train.rows()));
        full_batch_->train(request, running_, threads, validate, outcome);
    }
    // Threads that may make products in one train().
    int blas_threads(const TrainRequest& request, bool rowwise) const {
        if (!rowwise) return team(request.threads, std::min(request.batch_size, request.train.rows()));
        const Dataset* later = request.validation;
        const bool layerwise_later = request.probe_level || (later && !evaluates_rowwise(later->rows()));
        const bool update = training_.muon() || plan_.has_matrix_penalties();  // products of whole kernels
        return layerwise_later || update ? std::min(request.threads, Rowwise<T>::most_groups) : 0;
    }

    static void read(const Place& from, void* out) { std::memcpy(out, from.data, from.bytes); }
    static void write(const Place& to, const void* in) { std::memcpy(to.data, in, to.bytes); }
    // K-FAC looks into the layers, a hook at all outputs and heads at theirs, which only the layerwise path does.
    bool only_layerwise() const { return training_.hook || !training_.heads.empty(); }
    bool trains_rowwise(int64_t rows) const { return rowwise_.takes(rows) && !training_.kfac() && !only_layerwise(); }
    bool evaluates_rowwise(int64_t rows) const { return rowwise_inference_.takes(rows) && !only_layerwise(); }
    // Of a pass over rows that evaluates them: a hook is shown batches of a size of its own.
    int64_t evaluation_chunk(int64_t rows, int64_t hook_rows) const {
        return std::min(training_.hook && hook_rows ? hook_rows : layerwise_.chunk_rows(), rows);
    }
    double step_flops(int64_t rows) const { return plan_.step_flops * double(rows) + updater_.flops(); }
    int64_t width() const { return training_.totals(plan_.outputs); }

    // Makes room for evaluate_rows; returns how many threads are worth it.
    int reserve_evaluation(const Dataset& data, int64_t hook_rows) {
        if (evaluates_rowwise(data.rows())) return reserve_rowwise(data.rows());
        const int64_t chunk = evaluation_chunk(data.rows(), hook_rows);
        layerwise_.expect_targets(data.y.cols);
        layerwise_.reserve(chunk, false);
        return team(Rowwise<T>::most_groups, chunk);
    }
    int reserve_rowwise(int64_t rows) {
        const int64_t chunk = std::min(layerwise_.chunk_rows(), rows);
        rowwise_inference_.reserve(chunk, false);
        if (configured_) updater_.reserve();
        return rowwise_inference_.groups(chunk);
    }

    // A thread must have enough to do to be worth the barriers of a step (five a layer, about 1 µs each).
    int team(int threads, int64_t rows) const {
        const double flops = plan_.step_flops * double(rows), worth = plan_.bf16 ? 8e6 : 4e6;
        return std::max(1, std::min({threads, most_threads, int(std::min(flops / worth, double(most_threads)))}));
    }

    // Totals of a whole data set in inference mode, chunk by chunk; false if the poll said stop. `penalty` is shared by the team.
    bool evaluate_rows(const Worker& w, const Dataset& data, double* totals, const Poll& poll, double& penalty,
                       int64_t hook_rows) {
        const bool rowwise = evaluates_rowwise(data.rows());
        updater_.penalties(w, false);
        if (w.first()) penalty = updater_.penalty_sum();
        auto add = [&](double loss, int64_t rows) {
            totals[0] += (loss + penalty) * double(rows);
            totals[1] += double(rows);
        };
        const int64_t chunk = evaluation_chunk(data.rows(), hook_rows);
        return each_chunk(w, data.rows(), chunk, poll, [&](int64_t first, int64_t rows) {
            if (rowwise) {
                rowwise_inference_.infer(w, data, rows, {first}, Pass::evaluate, nullptr);
                if (w.first()) add(rowwise_inference_.add_to_totals(rows, totals), rows);
                return true;
            }
            Batch<T> b = layerwise_.gather(w, data, rows, {first});
            b.hook_flags = HookBatch::measured | HookBatch::edges(first == 0, first + rows == data.rows());
            if (!layerwise_.forward(w, b, Pass::evaluate, false)) return false;
            if (!layerwise_.loss(w, b, Pass::evaluate)) return false;
            if (w.first()) add(layerwise_.add_to_totals(b, Pass::evaluate, totals), rows);
            return true;
        });
    }

    // body(first row, rows) over all rows, chunk by chunk; false if it or the poll, asked by worker 0, said stop.
    template <class F>
    bool each_chunk(const Worker& w, int64_t rows, int64_t chunk, const Poll& poll, F&& body) {
        for (int64_t first = 0; first < rows; first += chunk) {
            if (!body(first, std::min(chunk, rows - first))) return false;
            if (poll && w.first() && poll()) stopped_before_.store(first + chunk, std::memory_order_relaxed);
            w.sync();
            if (stopped_before_.load(std::memory_order_relaxed) == first + chunk) return false;
        }
        return true;
    }

    void require_inputs(const View& x) const {
        if (x.cols != plan_.inputs) throw InvalidArgument("x must be (rows, inputs)");
    }

    template <class F>
    void rowwise_chunks(const View& x, int threads, const Poll& poll, F&& use) {
        require_inputs(x);
        if (x.rows == 0) return;
        const int most = reserve_rowwise(x.rows);
        const int64_t chunk = std::min(layerwise_.chunk_rows(), x.rows);
        Dataset data;
        data.x = x;
        stopped_before_.store(-1, std::memory_order_relaxed);
        parallel(std::min(threads, most), [&](const Worker& w) {
            each_chunk(w, x.rows, chunk, poll, [&](int64_t first, int64_t rows) {
                use(w, data, first, rows);
                return true;
            });
        });
    }

    template <class F>
    void forward_chunks(const View& x, int threads, const Poll& poll, F&& use) {
        require_inputs(x);
        if (x.rows == 0) return;
        Dataset data;
        data.x = x;
        const int64_t chunk = std::min(layerwise_.chunk_rows(), x.rows);
        threads = team(threads, chunk);
        layerwise_.expect_team(threads);
        const BlasUse blas(threads);
        layerwise_.reserve(chunk, false);
        stopped_before_.store(-1, std::memory_order_relaxed);
        parallel(threads, [&](const Worker& w) {
            each_chunk(w, x.rows, chunk, poll, [&](int64_t first, int64_t rows) {
                const Batch<T> b = layerwise_.gather(w, data, rows, {first});
                if (!layerwise_.forward(w, b, Pass::predict, false)) return false;
                use(w, b, first);
                return true;
            });
        });
    }

    static void copy_rows(const Worker& w, const T* from, int64_t rows, int64_t cols, T* to) {
        const Slices cut(rows, 4, 1);
        w.each(cut.count, [&](int64_t s) {
            std::copy_n(from + cut.begin(s) * cols, (cut.end(s) - cut.begin(s)) * cols, to + cut.begin(s) * cols);
        });
    }

    Plan plan_;
    State<T> state_;
    Training training_;
    bool configured_ = false;
    Stop stop_;
    Updater<T> updater_;
    Layerwise<T> layerwise_;
    Rowwise<T> rowwise_, rowwise_inference_;  // each keeps its own scratch: a validation comes between two epochs
    Probe<T> probe_;
    Derivatives<T> derivatives_;
    ThreadCount thread_count_;
    std::unique_ptr<FullBatch<T>> full_batch_;  // if the optimizer is a solver
    std::vector<double> running_, no_numbers_;
    // the row before which a poll stopped a pass over chunks; see Stop::agreed
    std::atomic<int64_t> stopped_before_{-1};
};

}  // namespace
}  // namespace fd::cpu

namespace fd {

std::unique_ptr<Backend> make_cpu(int64_t inputs, uint64_t seed, std::vector<Op> ops, DType dtype, bool bf16) {
    if (dtype == DType::f32) return std::make_unique<cpu::CpuBackend<float>>(inputs, seed, std::move(ops), bf16);
    return std::make_unique<cpu::CpuBackend<double>>(inputs, seed, std::move(ops));
}

}  // namespace fd
