// The CPU backend: one net, its buffers, and the loops over batches. A whole train() is one parallel region.
#include "core/backend.h"

#include <algorithm>
#include <cstring>

#include "core/parallel.h"
#include "core/trainer.h"
#include "cpu/gemm.h"
#include "cpu/wide.h"

namespace fd::cpu {
namespace {

template <class T>
class CpuBackend final : public Backend {
public:
    CpuBackend(int64_t inputs, uint64_t seed, std::vector<Op> ops)
        : plan_(inputs, seed, std::move(ops)), wide_(plan_, state_) {
        state_.parameters.reserve(plan_.parameters);
        state_.gradients.reserve(plan_.parameters);
        state_.statistics.reserve(plan_.statistics);
    }

    const Plan& plan() const override { return plan_; }
    DType dtype() const override { return sizeof(T) == 4 ? DType::f32 : DType::f64; }
    const Training* training() const override { return configured_ ? &training_ : nullptr; }
    int slots() const override { return int(state_.slots.size()); }
    int64_t step() const override { return state_.step; }
    void set_step(int64_t step) override { state_.step = step; }

    void read_tensor(int tensor, void* out) const override { std::memcpy(out, place(tensor), bytes(tensor)); }
    void write_tensor(int tensor, const void* in) override { std::memcpy(place(tensor), in, bytes(tensor)); }
    void read_slot(int slot, int tensor, void* out) const override {
        std::memcpy(out, slot_place(slot, tensor), bytes(tensor));
    }
    void write_slot(int slot, int tensor, const void* in) override {
        std::memcpy(slot_place(slot, tensor), in, bytes(tensor));
    }

    void configure(const Training& training) override {
        const int count = training.muon() ? 2 : ops::rule_slots[int(training.rule())];
        training_ = training;
        configured_ = true;
        state_.step = 0;
        state_.slots = std::vector<Buffer<T>>(size_t(count));
        for (Buffer<T>& slot : state_.slots) slot.reserve(plan_.parameters);
        if (training.rule() == ops::Rule::adagrad)
            std::fill_n(state_.slots[0].get(), plan_.parameters, T(training.hyper.initial_accumulator_value));
        wide_.configure(&training_);
        running_.assign(size_t(width()), 0.0);
    }

    TrainOutcome train(const TrainRequest& request) override {
        require_training(request.train);
        pin_blas_to_one_thread();
        const int64_t batch_size = std::min(request.batch_size, request.train.rows());
        wide_.reserve(request.validation ? std::max(batch_size, validation_chunk(request)) : batch_size, true);
        Ledger ledger(request, width(), running_);
        Cursor cursor(request, plan_.seed);
        double validation_penalty = 0;
        TeamSize size(team(request.threads, batch_size));
        int64_t step = 0;
        bool stop = request.steps == 0, resize = false;  // written by worker 0 only, before a barrier
        auto steps = [&](const Worker& w) {
            while (!stop && !resize) {
                if (w.first()) {
                    if (cursor.starts_epoch()) ledger.start_epoch();
                    wide_.begin_step(request.learning_rates[step]);
                }
                const int64_t rows = cursor.rows();  // read now: worker 0 advances the cursor at the end of the step
                const bool epoch_ends = cursor.ends_epoch();
                const Batch<T> b = wide_.gather(w, request.train, rows, {0, &cursor});
                wide_.forward(w, b, Pass::train, true);
                wide_.loss(w, b, Pass::train);
                wide_.backward(w, b, Pass::train, true);
                wide_.update(w);
                w.sync();
                if (w.first()) {
                    double* totals = ledger.running();
                    const double loss = wide_.add_to_totals(b, Pass::train, totals) + wide_.penalty_sum();
                    totals[0] += loss * double(rows);
                    totals[1] += double(rows);
                    ++state_.step;
                    if (epoch_ends) ledger.finish_epoch();
                    stop = ledger.step_done(loss) || ++step == request.steps;
                    resize = size.reconsider(w.barrier->waited());
                    cursor.advance();
                }
                w.sync();
                if (epoch_ends && request.validation) {
                    evaluate_rows(w, *request.validation, ledger.validation_row(), validation_penalty);
                    w.sync();
                }
            }
        };
        while (!stop) {
            resize = false;
            parallel(size.now(), steps);
        }
        return ledger.finish();
    }

    void evaluate(const Dataset& data, int threads, double* totals) override {
        require_training(data);
        pin_blas_to_one_thread();
        const int64_t chunk = std::min(wide_.chunk_rows(), data.rows());
        wide_.reserve(chunk, false);
        double penalty = 0;
        parallel(team(threads, chunk), [&](const Worker& w) { evaluate_rows(w, data, totals, penalty); });
    }

    void predict(const View& x, int threads, void* out) override {
        T* to = static_cast<T*>(out);
        forward_chunks(x, threads, Pass::predict, [&](const Worker& w, const Batch<T>& b, int64_t first) {
            copy_rows(w, wide_.output(int(plan_.ops.size()) - 1, b.x, Pass::predict), b.rows, plan_.outputs,
                      to + first * plan_.outputs);
        });
    }

    void activations(const View& x, int threads, void* const* outputs) override {
        forward_chunks(x, threads, Pass::predict, [&](const Worker& w, const Batch<T>& b, int64_t first) {
            for (size_t i = 0; i < plan_.ops.size(); ++i)
                copy_rows(w, wide_.output(int(i), b.x, Pass::predict), b.rows, plan_.ops[i].out,
                          static_cast<T*>(outputs[i]) + first * plan_.ops[i].out);
        });
    }

    double loss_and_grad(const Dataset& data, bool training, int threads, void* const* gradients) override {
        require_training(data);
        pin_blas_to_one_thread();
        wide_.reserve(data.rows(), true);
        const Pass pass = training ? Pass::train : Pass::inference;
        std::vector<double> totals(static_cast<size_t>(width()));
        double loss = 0;
        parallel(team(threads, data.rows()), [&](const Worker& w) {
            const Batch<T> b = wide_.gather(w, data, data.rows(), {});
            wide_.forward(w, b, pass, false);
            wide_.loss(w, b, pass);
            wide_.backward(w, b, pass, false);
            wide_.penalties(w, true);
            if (w.first()) loss = wide_.add_to_totals(b, pass, totals.data()) + wide_.penalty_sum();
        });
        for (size_t k = 0; k < plan_.trainable.size(); ++k) {
            const Tensor& t = plan_.tensors[size_t(plan_.trainable[k])];
            std::memcpy(gradients[k], state_.gradients.get() + t.offset, size_t(t.size()) * sizeof(T));
        }
        return loss;
    }

private:
    T* place(int tensor) const {
        const Tensor& t = plan_.tensors[size_t(tensor)];
        return (t.trainable ? state_.parameters : state_.statistics).get() + t.offset;
    }
    T* slot_place(int slot, int tensor) const {
        return state_.slots[size_t(slot)].get() + plan_.tensors[size_t(tensor)].offset;
    }
    size_t bytes(int tensor) const { return size_t(plan_.tensors[size_t(tensor)].size()) * sizeof(T); }
    int64_t width() const { return training_.totals(plan_.outputs); }
    int64_t validation_chunk(const TrainRequest& r) const { return std::min(wide_.chunk_rows(), r.validation->rows()); }

    void require_training(const Dataset& data) const {
        if (!configured_) throw InternalError("the engine was not configured before training or evaluation");
        if (data.rows() < 1 || data.x.cols != plan_.inputs) throw InvalidArgument("x must be (rows >= 1, inputs)");
        if (!data.y || data.y.rows != data.rows() || data.y.cols != (training_.sparse() ? 1 : plan_.outputs))
            throw InvalidArgument("y must be (rows, outputs), or (rows,) class ids for the sparse loss");
    }

    // A thread must have enough to do to be worth the barriers of a step (five a layer, about 1 µs each).
    int team(int threads, int64_t rows) const {
        const double flops = plan_.step_flops * double(rows), worth = 4e6;
        return std::max(1, std::min({threads, 64, int(std::min(flops / worth, 64.0))}));
    }

    // Totals of a whole data set in inference mode, chunk by chunk. `penalty` is shared by the team.
    void evaluate_rows(const Worker& w, const Dataset& data, double* totals, double& penalty) {
        wide_.penalties(w, false);
        if (w.first()) penalty = wide_.penalty_sum();
        const int64_t chunk = wide_.chunk_rows();
        for (int64_t first = 0; first < data.rows(); first += chunk) {
            const int64_t rows = std::min(chunk, data.rows() - first);
            const Batch<T> b = wide_.gather(w, data, rows, {first});
            wide_.forward(w, b, Pass::evaluate, false);
            wide_.loss(w, b, Pass::evaluate);
            if (w.first()) {
                totals[0] += (wide_.add_to_totals(b, Pass::evaluate, totals) + penalty) * double(rows);
                totals[1] += double(rows);
            }
            w.sync();
        }
    }

    template <class F>
    void forward_chunks(const View& x, int threads, Pass pass, F&& use) {
        if (x.cols != plan_.inputs) throw InvalidArgument("x must be (rows, inputs)");
        if (x.rows == 0) return;
        pin_blas_to_one_thread();
        Dataset data;
        data.x = x;
        const int64_t chunk = std::min(wide_.chunk_rows(), x.rows);
        wide_.reserve(chunk, false);
        parallel(team(threads, chunk), [&](const Worker& w) {
            for (int64_t first = 0; first < x.rows; first += chunk) {
                const Batch<T> b = wide_.gather(w, data, std::min(chunk, x.rows - first), {first});
                wide_.forward(w, b, pass, false);
                use(w, b, first);
                w.sync();
            }
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
    Wide<T> wide_;
    std::vector<double> running_;
};

}  // namespace
}  // namespace fd::cpu

namespace fd {

std::unique_ptr<Backend> make_cpu(int64_t inputs, uint64_t seed, std::vector<Op> ops, DType dtype) {
    if (dtype == DType::f32) return std::make_unique<cpu::CpuBackend<float>>(inputs, seed, std::move(ops));
    return std::make_unique<cpu::CpuBackend<double>>(inputs, seed, std::move(ops));
}

}  // namespace fd
