// The CUDA backend: one net, its buffers, and the loops over batches. The host runs ahead by up to two rounds of steps; what
// varies from step to step was written into their records, so that runs of steps are launched as graphs.
#include "core/backend.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <optional>

#include "core/store.h"
#include "core/trainer.h"
#include "cuda/layerwise/layers.h"
#include "cuda/layerwise/step_graphs.h"
#include "cuda/runtime/data.h"
#include "cuda/runtime/rounds.h"
#include "cuda/runtime/tuning.h"
#include "cuda/wholenet/net.h"

namespace fd::cuda {
namespace {

template <class T>
class CudaBackend final : public Backend {
public:
    CudaBackend(int64_t inputs, uint64_t seed, std::vector<Op> ops, Precision precision)
        : plan_((require_device(), inputs), seed, std::move(ops)), layers_(plan_, state_, precision, stream_),
          wholenet_(stream_), may_use_wholenet_(!rounds_operands(precision)), loader_(stream_), rounds_(stream_),
          probe_rounds_(stream_), graphs_(layers_, rounds_, stream_) {
        stream_.clear(state_.parameters, plan_.parameters);
        stream_.clear(state_.statistics, plan_.statistics);
        stream_.clear(state_.input_statistics, plan_.input_statistics);
    }
    ~CudaBackend() override { (void)cudaStreamSynchronize(stream_); }

    const Plan& plan() const override { return plan_; }
    DType dtype() const override { return dtype_of<T>; }
    bool on_gpu() const override { return true; }
    const Training* training() const override { return configured_ ? &training_ : nullptr; }
    int slots() const override { return int(state_.slots.size()); }
    DType slot_dtype() const override { return dtype(); }
    std::vector<double>& numbers() override { return no_numbers_; }
    int64_t step() const override { return state_.step; }
    void set_step(int64_t step) override { state_.step = step; }

    void read_tensor(int tensor, void* out) const override { download(out, tensor_place<T>(plan_, state_, tensor)); }
    void write_tensor(int tensor, const void* in) override { upload(tensor_place<T>(plan_, state_, tensor), in); }
    void read_slot(int slot, int tensor, void* out) const override {
        download(out, slot_place<T>(plan_, state_, slot, tensor));
    }
    void write_slot(int slot, int tensor, const void* in) override {
        upload(slot_place<T>(plan_, state_, slot, tensor), in);
    }

    void configure(const Training& training) override {
        const RunCall call(device_, stream_, rounds_, state_.step);
        if (training.full_batch() || training.kfac())
            throw InvalidArgument("optimizer: '" + std::string(training.optimizer_name()) + "' has no CUDA version");
        if (!training.heads.empty()) throw InvalidArgument("loss: several heads have no CUDA version");
        check_training(plan_, training);
        state_.slots = first_slots<T>(training, plan_.parameters, 1, stream_);
        training_ = training;
        state_.step = 0;
        configured_ = true;
        layers_.configure(&training_);
        wholenet_.forget();
        running_.assign(size_t(width()), 0.0);
    }

    void train(const TrainRequest& request, TrainOutcome& outcome) override {
        const RunCall call(device_, stream_, rounds_, state_.step);
        TrainingRun run(*this, request, outcome);
        rounds_.count_steps(true);
        while (run.goes_on()) run.next_round();
        run.finish();
        rounds_.count_steps(false);
    }

    // So that probes take a small part of the time, from the work and the GPU's table alone. A step is some launches and its
    // arithmetic; a probe is a step out of line, which the host waits for.
    int64_t probe_period(int64_t rows, int64_t batch_size) const override {
        const OnDevice here(device_);
        const Tuning t = tuning();
        const double flops = plan_.step_flops * double(std::min(batch_size, rows)),
                     step = t.probe_step_microseconds + flops / t.probe_flops_per_microsecond;
        return std::max<int64_t>(1, int64_t(t.probe_microseconds / (t.probe_share * step)));
    }

    void evaluate(const Dataset& data, int threads, const Poll& poll, double* totals, int64_t hook_rows) override {
        const RunCall call(device_, stream_, rounds_, state_.step);
        check_shapes(plan_, this->training(), data);
        reserve_evaluation(data, hook_rows);
        evaluate_rows(data, totals, poll, once_, false, threads, hook_rows);
        once_.free();
    }

    bool predict_row(const void*, DType, void*) override { return false; }

    void predict(const View& x, int threads, const Poll& poll, void* out) override {
        const RunCall call(device_, stream_, rounds_, state_.step);
        each_chunk(x, threads, poll, [&](int64_t first, int64_t rows) {
            copy_rows(int(plan_.ops.size()) - 1, rows, static_cast<T*>(out) + first * plan_.outputs);
        });
    }

    void activations(const View& x, int threads, const Poll& poll, void* const* outputs) override {
        const RunCall call(device_, stream_, rounds_, state_.step);
        each_chunk(x, threads, poll, [&](int64_t first, int64_t rows) {
            for (size_t i = 0; i < plan_.ops.size(); ++i)
                copy_rows(int(i), rows, static_cast<T*>(outputs[i]) + first * plan_.ops[i].out);
        });
    }

    double loss_and_grad(const Dataset& data, bool training, int threads, const Poll&,
                         void* const* gradients) override {
        const RunCall call(device_, stream_, rounds_, state_.step);
        check_shapes(plan_, this->training(), data);
        layers_.expect_targets(data.y.cols);
        layers_.reserve(data.rows(), true);
        layers_.set_hook_flags(0);
        const Feed feed = feed_of(data, data.rows(), once_, false, threads);
        Round& round = rounds_.next();
        prepare(round, data.rows(), 1, data.rows());
        feed.fill(round);
        rounds_.begin(round, true);
        BatchShape shape = feed.shape;
        shape.rows = data.rows();
        round.clear();
        if (!unless_stopped([&] { layers_.gradient_step(rounds_.steps(), shape, training); })) return 0;
        round.steps = 1;
        rounds_.end(round);
        const double* totals = rounds_.results(round);
        round.clear();
        for (size_t k = 0; k < plan_.trainable.size(); ++k)
            FD_CUDA(cudaMemcpyAsync(gradients[k], layers_.gradient(plan_.trainable[k]),
                                    tensor_place<T>(plan_, state_, plan_.trainable[k]).bytes, cudaMemcpyDefault,
                                    stream_));
        stream_.synchronize();
        once_.free();
        return totals[0] + totals[1];
    }

    bool solve_output(const Dataset&, double, int, const Poll&, double*, double*) override {
        throw InvalidArgument("solve_output has no CUDA version");
    }

private:
    struct Feed {  // how the rows of steps reach the device
        BatchShape shape;
        int64_t steps = 1;                 // of a round, at most
        std::function<void(Round&)> fill;  // writes into the round's records where its rows lie
    };
    // One call of train(). A round's steps are booked (their totals added up, in order) when its turn comes again, while the
    // other round is at work; a validation or a probe waits for all steps before it, so it ends its round.
    class TrainingRun {
    public:
        TrainingRun(CudaBackend& backend, const TrainRequest& request, TrainOutcome& outcome)
            : b_((check_shapes(backend.plan_, backend.training(), request.train), backend)), request_(request),
              batch_(std::min(request.batch_size, request.train.rows())),
              uses_wholenet_(b_.may_use_wholenet_ && b_.wholenet_.suits(b_.plan_, b_.training_, batch_)),
              feed_(reserve()), ledger_(request, b_.width(), b_.running_, outcome), probes_(outcome.probes),
              issued_(request, b_.plan_.seed), booked_(request, b_.plan_.seed), first_step_(b_.state_.step),
              stopped_(request.steps == 0) {
            if (!request.probe_level) return;
            schedule_.begin(request);
            probes_.width = ProbeRecords::width_of(b_.plan_);
        }

        bool goes_on() const { return !stopped_ && !draining_ && issued_steps_ < request_.steps; }

        void next_round() {
            Round& round = b_.rounds_.next();
            book(round);
            if (stopped_ || draining_) return;
            const Pause pause = issue(round);
            if (!b_.unless_stopped([&] { launch(round, pause); })) {
                b_.statistics_before_.put_back(b_.stream_, b_.state_.statistics);
                round.clear();
                draining_ = true;
                return;
            }
            if (!pause.validate && !pause.probe && !b_.training_.hook) return;
            book(b_.rounds_.other());
            book(round);
            if (pause.probe && b_.state_.step == pause.probe->step) {
                b_.take_probe(*pause.probe, request_, true, probes_);
                broken_.reset();
            }
            if (ledger_.awaits_validation()) validate();
        }

        void finish() {
            if (!stopped_) {
                Round& older = b_.rounds_.next();
                book(older);
                book(b_.rounds_.other());
            }
            b_.stream_.synchronize();
            b_.rounds_.forget();
            if (broken_) b_.take_probe(*broken_, request_, false, probes_);
            if (draining_) ledger_.interrupt();
            ledger_.finish();
        }

    private:
        struct Pause {  // what follows a round's last step
            bool validate = false;
            unsigned hook_flags = 0;  // of the step, if there is a hook: then it is alone
            std::optional<ProbeRecord> probe;
        };

        Feed reserve() {
            Layers<T>& layers = b_.layers_;
            layers.expect_targets(request_.train.y.cols);
            if (!uses_wholenet_) layers.reserve(batch_, true);
            if (request_.validation) b_.reserve_evaluation(*request_.validation, batch_);
            return b_.feed_of(request_.train, batch_, b_.train_data_, request_.goes_on, request_.threads);
        }

        // Writes the records of the round's steps.
        Pause issue(Round& round) {
            Pause pause;
            const Training& training = b_.training_;
            while (round.steps < feed_.steps && issued_steps_ < request_.steps && !pause.validate && !pause.probe) {
                StepRecord r;
                r.first = issued_.first(), r.rows = issued_.rows(), r.order = issued_.order(),
                r.shuffled = !issued_.in_order();
                r.step = first_step_ + issued_steps_;
                r.learning_rate = request_.step_rates[issued_steps_];
                const double rate = training.rule_learning_rate(r.learning_rate);
                r.rule = ops::prepare_step(training.rule(), training.hyper, rate, r.step + 1);
                round.records.get()[round.steps] = r;
                round.rows[size_t(round.steps)] = issued_.rows();
                pause.hook_flags = HookBatch::training | HookBatch::measured |
                                   HookBatch::edges(issued_.starts_epoch(), issued_.ends_epoch());
                pause.validate = request_.validation && issued_.ends_epoch();
                if (request_.probe_level) pause.probe = schedule_.follows(issued_, r.step + 1, false);
                issued_.advance();
                ++issued_steps_, ++round.steps;
            }
            feed_.fill(round);
            return pause;
        }

        void launch(Round& round, const Pause& pause) {
            b_.rounds_.begin(round, fresh_);
            fresh_ = false;
            auto steps = [&](int64_t from, int64_t to) {
                if (from == to) return;
                if (uses_wholenet_)
                    b_.wholenet_.train(b_.plan_, b_.training_, b_.state_, feed_.shape, b_.rounds_.steps(), to - from,
                                       request_.stop_on_nan);
                else if (b_.training_.hook) hooked_step(round, pause);
                else b_.graphs_.enqueue(round, from, to, feed_.shape, batch_, request_.stop_on_nan);
            };
            steps(0, round.steps - bool(pause.probe));
            if (pause.probe) {
                b_.before_.keep(b_.stream_, b_.state_.parameters, b_.plan_.parameters);
                steps(round.steps - 1, round.steps);
            }
            b_.rounds_.end(round);
        }

        void hooked_step(const Round& round, const Pause& pause) {
            b_.statistics_before_.keep(b_.stream_, b_.state_.statistics, b_.plan_.statistics);
            b_.layers_.set_hook_flags(pause.hook_flags);
            BatchShape shape = feed_.shape;
            shape.rows = round.rows[0];
            b_.layers_.train_step(b_.rounds_.steps(), shape, request_.stop_on_nan);
        }

        void book(Round& round) {
            const double* totals = b_.rounds_.results(round);
            for (int64_t i = 0; i < round.steps && !stopped_; ++i, totals += b_.layers_.totals_width()) {
                if (booked_.starts_epoch()) ledger_.start_epoch();
                const double loss = b_.add_to(ledger_.running(), totals, booked_.rows());
                ++b_.state_.step;
                if (booked_.ends_epoch()) ledger_.end_epoch();
                const bool asked_to_stop = ledger_.step_done(loss);
                if (request_.stop_on_nan && !std::isfinite(loss)) {
                    stopped_ = true;
                    if (request_.probe_level)
                        broken_ = ProbeRecord{b_.state_.step, booked_.epoch(), ProbeRecord::always, 0, -1};
                } else {
                    draining_ |= asked_to_stop;
                }
                booked_.advance();
            }
            round.clear();
        }

        void validate() {
            b_.rounds_.count_steps(false);  // all are booked
            if (b_.evaluate_rows(*request_.validation, ledger_.validation_row(), request_.poll, b_.validation_data_,
                                 validated_, request_.threads, batch_))
                ledger_.validated();
            else draining_ = true;
            validated_ = true;
            b_.rounds_.count_steps(true);
        }

        CudaBackend& b_;
        const TrainRequest& request_;
        const int64_t batch_;
        const bool uses_wholenet_;  // one launch for many steps, else layer by layer
        const Feed feed_;
        Ledger ledger_;
        ProbeRecords& probes_;
        ProbeSchedule schedule_;
        Cursor issued_, booked_;
        const int64_t first_step_;
        int64_t issued_steps_ = 0;
        std::optional<ProbeRecord> broken_;  // of the step whose loss was not finite
        bool stopped_;                       // at that step: later ones have changed nothing
        bool draining_ = false;              // no new steps are issued; those already issued count
        bool fresh_ = true;                  // nothing was launched yet
        bool validated_ = false;             // so the validation data is on the device
    };
    int64_t width() const { return training_.totals(plan_.outputs); }

    // A hook is shown batches of a size of its own.
    int64_t evaluation_chunk(int64_t rows, int64_t hook_rows) const {
        return std::min(training_.hook && hook_rows ? hook_rows : layers_.chunk_rows(), rows);
    }
    void reserve_evaluation(const Dataset& data, int64_t hook_rows) {
        layers_.expect_targets(data.y.cols);
        layers_.reserve(evaluation_chunk(data.rows(), hook_rows), false);
    }
    // Whether work was enqueued whole; else a hook said stop, and nothing is at work any more.
    template <class F>
    bool unless_stopped(F&& work) {
        try {
            work();
            return true;
        } catch (const HookStopped&) {
            stream_.synchronize();
            once_.free();
            return false;
        }
    }

    // As many steps as take a few tens of milliseconds: an interrupt must not wait longer.
    int64_t round_steps(int64_t rows) const {
        const double flops = std::max(plan_.step_flops * double(rows), 1.0);
        const int64_t by_totals = (int64_t(1) << 19) / layers_.totals_width() + 1;
        return std::clamp<int64_t>(int64_t(tuning().round_flops / flops), 1, std::min<int64_t>(by_totals, 1024));
    }

    Feed feed_of(const Dataset& data, int64_t rows, Resident& resident, bool unchanged, int threads) {
        check_arrays(data);
        Feed feed;
        feed.shape = shape_of(data, true);
        feed.steps = training_.hook ? 1 : round_steps(rows);
        const bool reuse = unchanged && resident.holds(data);
        if (reuse || data.x.on_device || Resident::fits(data)) {
            const DeviceRows at_device = reuse ? resident.rows() : resident.load(data, loader_, threads);
            feed.fill = [at_device](Round& round) { set(round, at_device); };
        } else {
            resident.free();
            const int64_t row_bytes =
                Loader::bytes(data.x, 1) + (data.y ? Loader::bytes(data.y, 1) : 0) + (data.weights ? 8 : 0);
            const int64_t room = std::min(int64_t(32) << 20, free_memory() / 8);
            feed.steps = std::clamp<int64_t>(room / (rows * row_bytes), 1, feed.steps);
            blocks_.reserve(data, feed.steps * rows);
            feed.fill = [this, &data, threads](Round& round) {
                std::vector<int64_t> order;
                for (int64_t i = 0; i < round.steps; ++i) {
                    StepRecord& r = round.records.get()[i];
                    const int64_t first = int64_t(order.size());
                    for (int64_t k = 0; k < round.rows[size_t(i)]; ++k) order.push_back(r.row(k));
                    r.first = first, r.shuffled = false;
                }
                const DeviceRows at_device = blocks_.load(
                    data, int64_t(order.size()), [&](int64_t i) { return order[size_t(i)]; }, rounds_.turn(), loader_,
                    threads);
                set(round, at_device);
            };
        }
        rounds_.reserve(feed.steps, layers_.totals_width());
        return feed;
    }
    static void set(StepRecord& r, const DeviceRows& at) { r.x = at.x, r.y = at.y, r.weights = at.weights; }
    static void set(Round& round, const DeviceRows& at) {
        for (int64_t i = 0; i < round.steps; ++i) set(round.records.get()[i], at);
    }

    // Steps of `rows` rows in a row, in order.
    void prepare(Round& round, int64_t total, int64_t steps, int64_t rows, int64_t first = 0) {
        for (round.steps = 0; round.steps < steps && first < total; ++round.steps, first += rows) {
            StepRecord r;
            r.first = first, r.step = state_.step;
            round.records.get()[round.steps] = r;
            round.rows[size_t(round.steps)] = std::min(rows, total - first);
        }
    }

    // Adds a step's totals to the running ones; returns its loss.
    double add_to(double* running, const double* totals, int64_t rows) const {
        const double loss = totals[0] + totals[1];
        running[0] += loss * double(rows);
        running[1] += double(rows);
        for (int64_t k = 2; k < layers_.totals_width(); ++k) running[k] += totals[k];
        return loss;
    }

    void take_probe(ProbeRecord record, const TrainRequest& request, bool kept, ProbeRecords& records) {
        const int64_t n = request.train.rows(), rows = std::min<int64_t>(256, n);
        layers_.expect_targets(request.train.y.cols);
        layers_.reserve(rows, true, true);
        layers_.set_hook_flags(0);
        probe_rounds_.reserve(1, layers_.totals_width());
        probe_numbers_.reserve(records.width);
        Round& round = probe_rounds_.next();
        round.steps = 1;
        StepRecord r;
        r.step = state_.step;
        if (train_data_.holds(request.train)) {
            set(r, train_data_.rows());
            r.over = n, r.count = rows;
        } else {
            probe_blocks_.reserve(request.train, rows);
            set(r, probe_blocks_.load(request.train, rows, [&](int64_t i) { return i * n / rows; }, 0, loader_, 1));
        }
        round.records.get()[0] = r;
        probe_rounds_.begin(round, true);
        BatchShape shape = shape_of(request.train, true);
        shape.rows = rows;
        if (!unless_stopped([&] {
                layers_.probe_step(probe_rounds_.steps(), shape, kept ? before_.get() : nullptr, probe_numbers_.get());
            }))
            return;
        probe_rounds_.end(round);
        const double* totals = probe_rounds_.results(round);
        record.loss = totals[0] + totals[1];
        const size_t at = records.values.size();
        records.values.resize(at + size_t(records.width));
        download(records.values.data() + at, probe_numbers_.get(), size_t(records.width) * sizeof(double));
        record.nonfinite_op = ProbeRecords::first_nonfinite(plan_, records.values.data() + at);
        records.records.push_back(record);
    }

    // Totals of a whole data set in inference mode; false if the poll said stop.
    bool evaluate_rows(const Dataset& data, double* totals, const Poll& poll, Resident& resident, bool unchanged,
                       int threads, int64_t hook_rows) {
        const int64_t n = data.rows(), chunk = evaluation_chunk(n, hook_rows);
        const Feed feed = feed_of(data, chunk, resident, unchanged, threads);
        for (int64_t first = 0; first < n; first += feed.steps * chunk) {
            Round& round = rounds_.next();
            prepare(round, n, feed.steps, chunk, first);
            feed.fill(round);
            rounds_.begin(round, true);
            for (int64_t i = 0; i < round.steps; ++i) {
                BatchShape shape = feed.shape;
                shape.rows = round.rows[size_t(i)];
                const int64_t begin = first + i * chunk;
                layers_.set_hook_flags(HookBatch::measured | HookBatch::edges(begin == 0, begin + shape.rows == n));
                if (!unless_stopped([&] { layers_.evaluate_step(rounds_.steps(), shape); })) {
                    round.clear();
                    return false;
                }
            }
            rounds_.end(round);
            const double* results = rounds_.results(round);
            for (int64_t i = 0; i < round.steps; ++i, results += layers_.totals_width())
                add_to(totals, results, round.rows[size_t(i)]);
            round.clear();
            if (poll && poll()) return false;
        }
        return true;
    }

    // body(first row, rows) after each chunk's outputs were enqueued
    template <class F>
    void each_chunk(const View& x, int threads, const Poll& poll, F&& body) {
        if (x.cols != plan_.inputs) throw InvalidArgument("x must be (rows, inputs)");
        if (x.rows == 0) return;
        Dataset data;
        data.x = x;
        const int64_t chunk = std::min(layers_.chunk_rows(), x.rows);
        layers_.reserve(chunk, false);
        const Feed feed = feed_of(data, chunk, once_, false, threads);
        for (int64_t first = 0; first < x.rows; first += feed.steps * chunk) {
            Round& round = rounds_.next();
            prepare(round, x.rows, feed.steps, chunk, first);
            feed.fill(round);
            rounds_.begin(round, true);
            for (int64_t i = 0; i < round.steps; ++i) {
                rounds_.go_to(round, i);
                BatchShape shape = feed.shape;
                shape.rows = round.rows[size_t(i)];
                layers_.predict_step(rounds_.steps(), shape);
                body(first + i * chunk, shape.rows);
            }
            stream_.synchronize();
            round.clear();
            if (poll && poll()) break;
        }
        once_.free();
    }
    void copy_rows(int op, int64_t rows, T* to) {
        const int64_t n = rows * plan_.ops[size_t(op)].out;
        FD_CUDA(
            cudaMemcpyAsync(to, layers_.output(op, Pass::predict), size_t(n) * sizeof(T), cudaMemcpyDefault, stream_));
    }

    void download(void* out, const void* from, size_t n) const {
        FD_CUDA(cudaMemcpyAsync(out, from, n, cudaMemcpyDeviceToHost, stream_));
        stream_.synchronize();
    }
    void download(void* out, const Place& from) const {
        const OnDevice here(device_);
        download(out, from.data, from.bytes);
    }
    void upload(const Place& to, const void* from) const {
        const OnDevice here(device_);
        FD_CUDA(cudaMemcpyAsync(to.data, from, to.bytes, cudaMemcpyHostToDevice, stream_));
        stream_.synchronize();
    }

    Plan plan_;
    const int device_ = current_device();
    Stream stream_;
    State<T> state_;
    Training training_;
    bool configured_ = false;
    Layers<T> layers_;
    WholeNet<T> wholenet_;
    const bool may_use_wholenet_;  // its products do not round their operands
    Loader loader_;
    Rounds rounds_, probe_rounds_;
    Kept<T> before_;             // weights before the step that is probed
    Kept<T> statistics_before_;  // which a step that a hook stops has changed
    DeviceBuffer<double> probe_numbers_;
    Blocks probe_blocks_;
    Resident train_data_, validation_data_, once_;
    Blocks blocks_;
    StepGraphs<T> graphs_;
    std::vector<double> running_, no_numbers_;
};

}  // namespace
}  // namespace fd::cuda

namespace fd {

std::unique_ptr<Backend> make_cuda(int64_t inputs, uint64_t seed, std::vector<Op> ops, DType dtype,
                                   Precision precision) {
    for (const Op& o : ops)
        if (o.kind == OpKind::function) throw InvalidArgument("a function is computed on the CPU only");
    if (dtype == DType::f32) return std::make_unique<cuda::CudaBackend<float>>(inputs, seed, std::move(ops), precision);
    return std::make_unique<cuda::CudaBackend<double>>(inputs, seed, std::move(ops), precision);
}

}  // namespace fd
