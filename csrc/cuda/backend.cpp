// The CUDA backend: one net, its buffers, and the loops over batches. The host runs ahead by up to two rounds of steps; what
// varies from step to step was written into their records, so that runs of steps are launched as graphs.
#include "core/backend.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <optional>

#include "core/trainer.h"
#include "cuda/layerwise/layers.h"
#include "cuda/layerwise/step_graphs.h"
#include "cuda/runtime/data.h"
#include "cuda/runtime/rounds.h"
#include "cuda/wholenet/net.h"

namespace fd::cuda {
namespace {

template <class T>
class CudaBackend final : public Backend {
public:
    CudaBackend(int64_t inputs, uint64_t seed, std::vector<Op> ops, Precision precision)
        : plan_((require_device(), inputs), seed, std::move(ops)), layers_(plan_, state_, precision, stream_),
          fused_(stream_), may_fuse_(precision == Precision::full), loader_(stream_), rounds_(stream_),
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

    void read_tensor(int tensor, void* out) const override { download(out, place(tensor), bytes(tensor)); }
    void write_tensor(int tensor, const void* in) override { upload(place(tensor), in, bytes(tensor)); }
    void read_slot(int slot, int tensor, void* out) const override {
        download(out, slot_place(slot, tensor), bytes(tensor));
    }
    void write_slot(int slot, int tensor, const void* in) override {
        upload(slot_place(slot, tensor), in, bytes(tensor));
    }

    void configure(const Training& training) override {
        if (training.full_batch() || training.kfac())
            throw InvalidArgument("optimizer: '" + training.optimizer + "' has no CUDA version");
        std::vector<DeviceBuffer<T>> slots(size_t(training.muon() ? 2 : ops::rule_slots[int(training.rule())]));
        for (DeviceBuffer<T>& slot : slots) stream_.clear(slot, plan_.parameters);
        if (training.rule() == ops::Rule::adagrad) {
            const std::vector<T> start(size_t(plan_.parameters), T(training.hyper.initial_accumulator_value));
            upload(slots[0].get(), start.data(), start.size() * sizeof(T));
        }
        training_ = training;
        state_.slots = std::move(slots);
        state_.step = 0;
        configured_ = true;
        layers_.configure(&training_);
        fused_.forget();
        running_.assign(size_t(width()), 0.0);
    }

    TrainOutcome train(const TrainRequest& request) override {
        require_training(request.train);
        const int64_t batch = std::min(request.batch_size, request.train.rows());
        const bool fuses = may_fuse_ && fused_.takes(plan_, training_, batch);
        if (!fuses) layers_.reserve(batch, true);
        if (request.validation) layers_.reserve(std::min(layers_.chunk_rows(), request.validation->rows()), false);
        const Feed feed = feed_of(request.train, batch, train_data_, request.goes_on, request.threads);
        Ledger ledger(request, width(), running_);
        ProbeRecords probes;
        ProbeSchedule schedule;
        const bool probing = request.probe_level.has_value();
        if (probing) {
            schedule.begin(request);
            probes.width = ProbeRecords::width_of(plan_);
        }
        Cursor cursor(request, plan_.seed), booked(request, plan_.seed);
        bool stop = request.steps == 0, drain = false;  // drain: nothing new is started, what is under way counts
        std::optional<ProbeRecord> broken;
        auto book = [&](Round& round) {
            const double* totals = rounds_.results(round);
            for (int64_t i = 0; i < round.steps && !stop; ++i, totals += layers_.totals_width()) {
                if (booked.starts_epoch()) ledger.start_epoch();
                const double loss = add_to(ledger.running(), totals, booked.rows());
                ++state_.step;
                if (booked.ends_epoch()) ledger.finish_epoch();
                const bool asked = ledger.step_done(loss);
                if (request.stop_on_nan && !std::isfinite(loss)) {
                    stop = true;  // later steps have changed nothing
                    if (probing) broken = ProbeRecord{state_.step, booked.epoch(), ProbeRecord::always, 0, -1};
                } else drain |= asked;
                booked.advance();
            }
            round.steps = 0;
        };
        const int64_t first_step = state_.step;
        int64_t issued = 0;
        bool fresh = true, validated = false;
        while (!stop && !drain && issued < request.steps) {
            Round& round = rounds_.next();
            book(round);
            if (stop || drain) break;
            bool validate = false;
            std::optional<ProbeRecord> probe;
            for (; round.steps < feed.steps && issued < request.steps && !validate && !probe; ++issued, ++round.steps) {
                StepRecord r;
                r.first = cursor.first(), r.rows = cursor.rows(), r.order = cursor.order(),
                r.shuffled = !cursor.in_order();
                r.step = first_step + issued;
                r.learning_rate = request.step_rates[issued];
                const double rate = r.learning_rate * (training_.muon() ? training_.hyper.adam_lr_ratio : 1);
                r.rule = ops::prepare_step(training_.rule(), training_.hyper, rate, r.step + 1);
                round.records.get()[round.steps] = r;
                round.rows[size_t(round.steps)] = cursor.rows();
                validate = request.validation && cursor.ends_epoch();
                if (probing) probe = schedule.follows(cursor, first_step + issued + 1, false);
                cursor.advance();
            }
            feed.fill(round);
            rounds_.begin(round, fresh);
            fresh = false;
            auto run = [&](int64_t from, int64_t to) {
                if (from == to) return;
                if (fuses)
                    fused_.train(plan_, training_, state_, feed.shape, rounds_.steps(), to - from, request.stop_on_nan);
                else graphs_.enqueue(round, from, to, feed.shape, batch, request.stop_on_nan);
            };
            run(0, round.steps - bool(probe));
            if (probe) {
                keep_weights();
                run(round.steps - 1, round.steps);
            }
            rounds_.end(round);
            if (!validate && !probe) continue;
            book(rounds_.other());
            book(round);
            if (probe && state_.step == probe->step) take_probe(*probe, request, true, probes), broken.reset();
            if (stop || drain) break;
            if (!validate) continue;
            if (!evaluate_rows(*request.validation, ledger.validation_row(), request.poll, validation_data_, validated,
                               request.threads)) {
                ledger.interrupt(true);
                drain = true;
            }
            validated = true;  // its data is on the device now
        }
        if (!stop) {
            Round& last = rounds_.next();
            book(last);  // the older of the two
            book(rounds_.other());
        }
        stream_.synchronize();
        rounds_.forget();
        if (broken) take_probe(*broken, request, false, probes);
        if (drain) ledger.interrupt(false);
        TrainOutcome outcome = ledger.finish();
        outcome.probes = std::move(probes);
        return outcome;
    }

    // So that probes take about 1.5 % of the time, from the work alone: a seed gives the same ones on every GPU. In microseconds,
    // guessed: a step of some launches and its arithmetic; a probe is a step out of line, which the host waits for.
    int64_t probe_period(int64_t rows, int64_t batch_size) const override {
        const double step = 20 + plan_.step_flops * double(std::min(batch_size, rows)) / 2e7, probe = 300;
        return std::max<int64_t>(1, int64_t(probe / (0.015 * step)));
    }

    void evaluate(const Dataset& data, int threads, const Poll& poll, double* totals) override {
        require_training(data);
        layers_.reserve(std::min(layers_.chunk_rows(), data.rows()), false);
        evaluate_rows(data, totals, poll, once_, false, threads);
        once_.free();
    }

    bool predict_row(const void*, void*) override { return false; }

    void predict(const View& x, int threads, const Poll& poll, void* out) override {
        each_chunk(x, threads, poll, [&](int64_t first, int64_t rows) {
            copy_rows(int(plan_.ops.size()) - 1, rows, static_cast<T*>(out) + first * plan_.outputs);
        });
    }

    void activations(const View& x, int threads, const Poll& poll, void* const* outputs) override {
        each_chunk(x, threads, poll, [&](int64_t first, int64_t rows) {
            for (size_t i = 0; i < plan_.ops.size(); ++i)
                copy_rows(int(i), rows, static_cast<T*>(outputs[i]) + first * plan_.ops[i].out);
        });
    }

    double loss_and_grad(const Dataset& data, bool training, int threads, const Poll&,
                         void* const* gradients) override {
        require_training(data);
        layers_.reserve(data.rows(), true);
        const Feed feed = feed_of(data, data.rows(), once_, false, threads);
        Round& round = rounds_.next();
        prepare(round, data.rows(), 1, data.rows());
        feed.fill(round);
        rounds_.begin(round, true);
        BatchShape shape = feed.shape;
        shape.rows = data.rows();
        layers_.gradient_step(rounds_.steps(), shape, training);
        rounds_.end(round);
        const double* totals = rounds_.results(round);
        round.steps = 0;
        for (size_t k = 0; k < plan_.trainable.size(); ++k)
            FD_CUDA(cudaMemcpyAsync(gradients[k], layers_.gradient(plan_.trainable[k]), bytes(plan_.trainable[k]),
                                    cudaMemcpyDefault, stream_));
        stream_.synchronize();
        once_.free();
        return totals[0] + totals[1];
    }

    bool solve_output(const Dataset&, double, int, const Poll&, double*, double*) override {
        throw InvalidArgument("solve_output has no CUDA version");
    }

private:
    struct Feed {  // how the rows of steps get to the device
        BatchShape shape;
        int64_t steps = 1;                 // of a round, at most
        std::function<void(Round&)> fill;  // writes into the round's records where its rows lie
    };
    int64_t width() const { return training_.totals(plan_.outputs); }

    // As many steps as take a few tens of milliseconds: an interrupt must not wait longer.
    int64_t round_steps(int64_t rows) const {
        const double flops = std::max(plan_.step_flops * double(rows), 1.0);
        const int64_t by_totals = (int64_t(1) << 19) / layers_.totals_width() + 1;
        return std::clamp<int64_t>(int64_t(4e10 / flops), 1, std::min<int64_t>(by_totals, 1024));
    }

    Feed feed_of(const Dataset& data, int64_t rows, Resident& home, bool may_be_there, int threads) {
        Feed feed;
        feed.shape = shape_of(data, true);
        feed.steps = round_steps(rows);
        const bool there = may_be_there && home.holds(data);
        if (there || data.x.on_device || Resident::fits(data)) {
            const Placed at = there ? home.where() : home.place(data, loader_, threads);
            feed.fill = [at](Round& round) {
                for (int64_t i = 0; i < round.steps; ++i) set(round.records.get()[i], at);
            };
        } else {
            home.free();
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
                const Placed at = blocks_.place(
                    data, int64_t(order.size()), [&](int64_t i) { return order[size_t(i)]; }, rounds_.turn(), loader_,
                    threads);
                for (int64_t i = 0; i < round.steps; ++i) set(round.records.get()[i], at);
            };
        }
        rounds_.reserve(feed.steps, layers_.totals_width());
        return feed;
    }
    static void set(StepRecord& r, const Placed& at) { r.x = at.x, r.y = at.y, r.weights = at.weights; }

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

    void keep_weights() {
        before_.reserve(plan_.parameters);
        stream_.copy(before_.get(), static_cast<const T*>(state_.parameters.get()), plan_.parameters);
    }
    void take_probe(ProbeRecord record, const TrainRequest& request, bool kept, ProbeRecords& records) {
        const int64_t n = request.train.rows(), rows = std::min<int64_t>(256, n);
        layers_.reserve(rows, true, true);
        probe_rounds_.reserve(1, layers_.totals_width());
        probe_numbers_.reserve(records.width);
        Round& round = probe_rounds_.next();
        round.steps = 1;
        StepRecord r;
        r.step = state_.step;
        if (train_data_.holds(request.train)) {
            set(r, train_data_.where());
            r.over = n, r.count = rows;
        } else {
            probe_blocks_.reserve(request.train, rows);
            set(r, probe_blocks_.place(request.train, rows, [&](int64_t i) { return i * n / rows; }, 0, loader_, 1));
        }
        round.records.get()[0] = r;
        probe_rounds_.begin(round, true);
        BatchShape shape = shape_of(request.train, true);
        shape.rows = rows;
        layers_.probe_step(probe_rounds_.steps(), shape, kept ? before_.get() : nullptr, probe_numbers_.get());
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
    bool evaluate_rows(const Dataset& data, double* totals, const Poll& poll, Resident& home, bool may_be_there,
                       int threads) {
        const int64_t n = data.rows(), chunk = std::min(layers_.chunk_rows(), n);
        const Feed feed = feed_of(data, chunk, home, may_be_there, threads);
        for (int64_t first = 0; first < n; first += feed.steps * chunk) {
            Round& round = rounds_.next();
            prepare(round, n, feed.steps, chunk, first);
            feed.fill(round);
            rounds_.begin(round, true);
            for (int64_t i = 0; i < round.steps; ++i) {
                BatchShape shape = feed.shape;
                shape.rows = round.rows[size_t(i)];
                layers_.evaluate_step(rounds_.steps(), shape);
            }
            rounds_.end(round);
            const double* found = rounds_.results(round);
            for (int64_t i = 0; i < round.steps; ++i, found += layers_.totals_width())
                add_to(totals, found, round.rows[size_t(i)]);
            round.steps = 0;
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
            round.steps = 0;
            if (poll && poll()) break;
        }
        once_.free();
    }
    void copy_rows(int op, int64_t rows, T* to) {
        const int64_t n = rows * plan_.ops[size_t(op)].out;
        FD_CUDA(
            cudaMemcpyAsync(to, layers_.output(op, Pass::predict), size_t(n) * sizeof(T), cudaMemcpyDefault, stream_));
    }

    void require_training(const Dataset& data) const {
        if (!configured_) throw InternalError("the engine was not configured before training or evaluation");
        check_shapes(plan_, training_, data);
    }

    void download(void* out, const void* from, size_t n) const {
        FD_CUDA(cudaMemcpyAsync(out, from, n, cudaMemcpyDeviceToHost, stream_));
        stream_.synchronize();
    }
    void upload(void* to, const void* from, size_t n) const {
        FD_CUDA(cudaMemcpyAsync(to, from, n, cudaMemcpyHostToDevice, stream_));
        stream_.synchronize();
    }
    void* place(int tensor) const {
        const Tensor& t = plan_.tensors[size_t(tensor)];
        if (t.float64) return state_.input_statistics.get() + t.offset;
        return (t.trainable ? state_.parameters : state_.statistics).get() + t.offset;
    }
    T* slot_place(int slot, int tensor) const {
        return state_.slots[size_t(slot)].get() + plan_.tensors[size_t(tensor)].offset;
    }
    size_t bytes(int tensor) const {
        const Tensor& t = plan_.tensors[size_t(tensor)];
        return size_t(t.size()) * (t.float64 ? sizeof(double) : sizeof(T));
    }

    Plan plan_;
    Stream stream_;
    State<T> state_;
    Training training_;
    bool configured_ = false;
    Layers<T> layers_;
    FusedNet<T> fused_;
    const bool may_fuse_;  // its products do not round their operands
    Loader loader_;
    Rounds rounds_, probe_rounds_;
    DeviceBuffer<T> before_;  // weights before the step that is probed
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
    if (dtype == DType::f32) return std::make_unique<cuda::CudaBackend<float>>(inputs, seed, std::move(ops), precision);
    return std::make_unique<cuda::CudaBackend<double>>(inputs, seed, std::move(ops), precision);
}

}  // namespace fd
