// A population on the GPU: all nets in one launch of the whole-net kernel. Launches are limited to some steps so that the caller
// can interrupt; results do not depend on where.
#include "core/population.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "cuda/runtime/data.h"
#include "cuda/wholenet/net.h"
#include "ops/rng.h"

namespace fd::cuda {
namespace {

// Adapts the work of a launch so that it runs for about `wanted` seconds.
class Pace {
public:
    Pace(int64_t first, int64_t most) : count_(std::clamp<int64_t>(first, 1, most)), most_(most) {}
    int64_t count() const { return count_; }
    template <class F>
    void timed(F&& launch) {
        const auto begin = Clock::now();
        launch();
        const double took = std::chrono::duration<double>(Clock::now() - begin).count();
        const double factor = std::clamp(wanted / std::max(took, 1e-6), 0.25, 4.0);
        count_ = std::clamp(int64_t(double(count_) * factor), int64_t(1), most_);
    }

private:
    using Clock = std::chrono::steady_clock;
    static constexpr double wanted = 0.03;
    int64_t count_;
    const int64_t most_;
};

template <class T>
class Population final : public PopulationBackend {
public:
    Population(int64_t inputs, std::vector<uint64_t> seeds, const double* penalties, std::vector<Op> ops)
        : plan_((require_device(), inputs), 0, std::move(ops)), starts_(int64_t(seeds.size())), loader_(stream_) {
        if (starts_ < 1) throw InvalidArgument("a population needs at least one start");
        stream_.clear(parameters_, starts_ * plan_.parameters);
        stream_.clear(statistics_, starts_ * plan_.statistics);
        stream_.clear(input_, plan_.input_statistics);
        upload(seeds_, seeds.data(), starts_);
        if (penalties) upload(penalties_, penalties, starts_);
    }
    ~Population() override { (void)cudaStreamSynchronize(stream_); }

    const Plan& plan() const override { return plan_; }
    DType dtype() const override { return dtype_of<T>; }
    int64_t starts() const override { return starts_; }
    bool on_gpu() const override { return true; }
    const Training* training() const override { return configured_ ? &training_ : nullptr; }
    int slots() const override { return int(slots_.size()); }
    void set_step(int64_t step) override { step_ = step; }

    void read_tensor(int tensor, void* out) const override {
        const Call call(device_, stream_);
        const Tensor& t = plan_.tensors[size_t(tensor)];
        if (!t.float64) return strided(out, tensor_data(tensor), tensor, true);
        for (int64_t i = 0; i < starts_; ++i)  // the same for all nets
            stream_.download(static_cast<double*>(out) + i * t.size(),
                             static_cast<const double*>(input_.get() + t.offset), t.size());
        stream_.synchronize();
    }
    void write_tensor(int tensor, const void* in) override {
        const Call call(device_, stream_);
        const Tensor& t = plan_.tensors[size_t(tensor)];
        if (!t.float64) return strided(const_cast<void*>(in), tensor_data(tensor), tensor, false);
        stream_.upload(input_.get() + t.offset, static_cast<const double*>(in), t.size());
        stream_.synchronize();
    }
    void read_slot(int slot, int tensor, void* out) const override {
        const Call call(device_, stream_);
        strided(out, slot_data(slot, tensor), tensor, true);
    }
    void write_slot(int slot, int tensor, const void* in) override {
        const Call call(device_, stream_);
        strided(const_cast<void*>(in), slot_data(slot, tensor), tensor, false);
    }

    void configure(const Training& training) override {
        const Call call(device_, stream_);
        const std::string why =
            plan_wholenet(plan_, &training, WholeNetMode::train, false, 1, int(sizeof(T)), wholenet_device()).why_not;
        if (!why.empty()) throw InvalidArgument("these nets cannot be trained together on the GPU: " + why);
        if (!training.metrics.empty()) throw InvalidArgument("a population on the GPU computes no metrics");
        slots_ = first_slots<T>(training, plan_.parameters, starts_, stream_);
        training_ = training;
        step_ = 0;
        configured_ = true;
        for (Tables& t : tables_) t.batch = -1;
    }

    void keep(const uint8_t* which) override {
        const Call call(device_, stream_);
        kept_[0].reserve(starts_ * plan_.parameters);
        kept_[1].reserve(std::max<int64_t>(starts_ * plan_.statistics, 1));
        copy_nets(which, parameters_, kept_[0], plan_.parameters);
        copy_nets(which, statistics_, kept_[1], plan_.statistics);
    }
    void restore(const uint8_t* which) override {
        const Call call(device_, stream_);
        if (!kept_[0].size()) throw InternalError("restore: nothing was kept");
        copy_nets(which, kept_[0], parameters_, plan_.parameters);
        copy_nets(which, kept_[1], statistics_, plan_.statistics);
    }

    PopulationOutcome train(const PopulationRequest& r) override {
        const Call call(device_, stream_);
        check_shapes(plan_, training(), r.train);
        const int64_t n = r.train.rows(), batch = std::min(r.batch_size, n), batches = (n + batch - 1) / batch,
                      steps = r.epochs * batches;
        const bool shuffled = r.shuffle && plan_.order_matters(batch, n);
        if (r.order_seeds) throw InvalidArgument("a population on the GPU has one order_seed for all members");
        std::vector<int32_t> which;
        for (int64_t i = 0; i < starts_; ++i)
            if (!r.active || r.active[i]) which.push_back(int32_t(i));
        WholeNetTables<T>& tables = tables_for(WholeNetMode::train, batch);
        const DeviceRows at = resident(train_data_, r.train, r.threads);
        WholeNetLaunch<T> nets = nets_for(r.train, r.start_weights);
        nets.nets = int64_t(which.size());
        tables.fill(nets, nets.nets);
        upload(which_, which.data(), nets.nets);
        nets.which = which_.get();
        if (r.member_scale) upload(member_scale_, r.member_scale, starts_), nets.member_scale = member_scale_.get();
        losses_.reserve(std::max<int64_t>(r.epochs * starts_, 1));
        stream_.clear(epoch_sums_, starts_);
        nets.losses = losses_.get(), nets.loss_stride = starts_, nets.epoch_sums = epoch_sums_.get();
        const int64_t most = std::min<int64_t>(most_records, std::max<int64_t>(steps, 1));
        records_.reserve(most), host_records_.reserve(most);
        nets.records = records_.get();
        Pace pace(int64_t(1e11 / (plan_.step_flops * double(batch) * double(nets.nets) + 1e5)), most);
        int64_t done = 0;
        bool stopped = false;
        ops::Shuffle order;
        auto next = Clock::now() + std::chrono::milliseconds(100);
        while (done < steps && nets.nets && !stopped) {
            const int64_t count = std::min(pace.count(), steps - done);
            for (int64_t i = 0; i < count; ++i) {
                const int64_t s = done + i, epoch = s / batches, b = s % batches;
                StepRecord& record = host_records_.get()[i] = StepRecord();
                record.x = at.x, record.y = at.y, record.weights = at.weights;
                record.first = b * batch, record.rows = std::min(batch, n - b * batch);
                record.step = step_ + s, record.epoch = r.epoch + epoch;
                if (b + 1 == batches) record.epoch_ends = epoch;
                record.learning_rate = r.step_rates[s];
                record.rule = ops::prepare_step(training_.rule(), training_.hyper, r.step_rates[s], record.step + 1);
                record.shuffled = shuffled;
                if (shuffled && r.one_order) {
                    if (!i || b == 0) order = ops::Shuffle(uint64_t(n), r.order_seed, uint32_t(record.epoch));
                    record.order = order;
                }
            }
            pace.timed([&] {
                stream_.upload(records_.get(), static_cast<const StepRecord*>(host_records_.get()), count);
                nets.count = count;
                run_wholenet(tables.plan, nets, stream_);
                stream_.synchronize();
            });
            done += count;
            if (!r.tick || done == steps || Clock::now() < next) continue;
            stopped = r.tick(double(done) / double(steps));
            next = Clock::now() + std::chrono::milliseconds(100);
        }
        const int64_t epochs = batches ? done / batches : 0;
        std::vector<double> epoch_losses(size_t(epochs * starts_));
        if (epochs) stream_.download(epoch_losses.data(), static_cast<const double*>(losses_.get()), epochs * starts_);
        stream_.synchronize();
        PopulationOutcome out;
        out.interrupted = stopped;
        out.epochs.assign(size_t(starts_), 0);
        for (const int32_t i : which) {
            out.epochs[size_t(i)] = epochs;
            for (int64_t e = 0; e < epochs; ++e) r.losses[e * starts_ + i] = epoch_losses[size_t(e * starts_ + i)];
        }
        step_ += steps;
        return out;
    }

    void evaluate(const Dataset& data, const double* weights, const uint8_t*, int threads, const Poll& poll,
                  double* totals) override {
        const Call call(device_, stream_);
        check_shapes(plan_, training(), data);
        WholeNetTables<T>& tables = tables_for(WholeNetMode::evaluate, data.rows());
        const DeviceRows at = resident(once_, data, threads);
        WholeNetLaunch<T> nets = nets_for(data, weights);
        losses_.reserve(starts_);
        nets.losses = losses_.get(), nets.loss_stride = starts_;
        StepRecord record = record_of(at, data.rows());
        record.epoch_ends = 0;
        upload(records_, &record, 1);
        nets.records = records_.get(), nets.count = 1;
        each_group(data.rows(), starts_, poll, [&](int64_t first, int64_t count) {
            nets.first_net = first, nets.nets = count;
            tables.fill(nets, count);
            run_wholenet(tables.plan, nets, stream_);
            stream_.synchronize();
        });
        std::vector<double> losses(static_cast<size_t>(starts_));
        stream_.download(losses.data(), static_cast<const double*>(losses_.get()), starts_);
        stream_.synchronize();
        for (size_t i = 0; i < losses.size(); ++i)
            totals[2 * i] = losses[i] * double(data.rows()), totals[2 * i + 1] = double(data.rows());
        once_.free();
    }

    void predict(const View& x, int threads, const Poll& poll, void* out) override {
        const Call call(device_, stream_);
        if (x.cols != plan_.inputs) throw InvalidArgument("x must be (rows, inputs)");
        if (x.rows == 0) return;
        Dataset data;
        data.x = x;
        WholeNetTables<T>& tables = tables_for(WholeNetMode::predict, x.rows);
        const DeviceRows at = resident(once_, data, threads);
        WholeNetLaunch<T> nets = nets_for(data, nullptr);
        const int64_t row_bytes = plan_.outputs * int64_t(sizeof(T)),
                      rows = std::clamp<int64_t>(most_output / row_bytes, 1, x.rows);
        const int64_t most = std::clamp<int64_t>(most_output / (row_bytes * rows), 1, starts_);
        outputs_.reserve(most * rows * plan_.outputs);
        nets.out = outputs_.get(), nets.count = 1;
        each_group(x.rows, most, poll, [&](int64_t first, int64_t count) {
            nets.first_net = first, nets.nets = count;
            tables.fill(nets, count);
            for (int64_t r = 0; r < x.rows; r += rows) {
                StepRecord record = record_of(at, std::min(rows, x.rows - r));
                record.first = r;
                upload(records_, &record, 1);
                nets.records = records_.get();
                nets.rows = record.rows;
                run_wholenet(tables.plan, nets, stream_);
                const size_t width = size_t(record.rows * row_bytes);
                FD_CUDA(cudaMemcpy2DAsync(static_cast<char*>(out) + (first * x.rows + r) * row_bytes,
                                          size_t(x.rows * row_bytes), outputs_.get(), width, width, size_t(count),
                                          cudaMemcpyDeviceToHost, stream_));
                stream_.synchronize();
            }
        });
        once_.free();
    }

private:
    using Clock = std::chrono::steady_clock;
    static constexpr int64_t most_records = 4096, most_output = int64_t(64) << 20;

    struct Tables : WholeNetTables<T> {
        int64_t batch = -1;
    };
    WholeNetTables<T>& tables_for(WholeNetMode mode, int64_t batch) {
        Tables& t = tables_[int(mode)];
        if (t.batch != batch) {
            const Training* training = mode == WholeNetMode::predict ? nullptr : &training_;
            t.batch = -1;
            t.set(plan_wholenet(plan_, training, mode, false, batch, int(sizeof(T)), wholenet_device()), stream_);
            if (!t.plan.why_not.empty())
                throw InvalidArgument("these nets cannot run together on the GPU: " + t.plan.why_not);
            t.batch = batch;
        }
        return t;
    }

    DeviceRows resident(Resident& data_on_device, const Dataset& data, int threads) {
        check_arrays(data);
        if (!Resident::fits(data))
            throw OutOfMemory("the data of a population must fit in the GPU's memory; use fewer rows, or device='cpu'");
        return data_on_device.load(data, loader_, threads);
    }
    static StepRecord record_of(const DeviceRows& at, int64_t rows) {
        StepRecord record;
        record.x = at.x, record.y = at.y, record.weights = at.weights;
        record.rows = rows;
        return record;
    }
    WholeNetLaunch<T> nets_for(const Dataset& data, const double* own_weights) {
        WholeNetLaunch<T> n;
        n.parameters = parameters_.get(), n.statistics = statistics_.get();
        n.parameter_stride = plan_.parameters, n.statistic_stride = plan_.statistics;
        for (size_t k = 0; k < slots_.size(); ++k) n.slots[k] = slots_[k].get();
        if (plan_.normalizes_input()) {
            n.mean = input_.get() + plan_.tensors[size_t(plan_.ops[0].mean)].offset;
            n.variance = input_.get() + plan_.tensors[size_t(plan_.ops[0].variance)].offset;
        }
        if (configured_) n.rule = update_rule(training_);
        const BatchShape shape = shape_of(data, true);
        n.x = shape.x, n.y = shape.y, n.weighted = shape.weighted && !own_weights;
        n.seeds = seeds_.get(), n.penalties = penalties_.get();
        n.rows = data.rows();
        if (own_weights) upload(own_weights_, own_weights, starts_ * data.rows()), n.own_weights = own_weights_.get();
        return n;
    }

    // body(first net, how many), some at a time; the poll may end it.
    template <class F>
    void each_group(int64_t rows, int64_t most, const Poll& poll, F&& body) const {
        Pace pace(int64_t(1e11 / (plan_.step_flops * double(rows) + 1e4)), most);
        for (int64_t first = 0; first < starts_;) {
            const int64_t count = std::min(pace.count(), starts_ - first);
            pace.timed([&] { body(first, count); });
            first += count;
            if (poll && poll()) return;
        }
    }

    template <class S>
    void upload(DeviceBuffer<S>& b, const S* from, int64_t n) {  // from the host, or from the device
        b.reserve(std::max<int64_t>(n, 1));
        FD_CUDA(cudaMemcpyAsync(b.get(), from, size_t(n) * sizeof(S), cudaMemcpyDefault, stream_));
    }
    T* tensor_data(int tensor) const {
        const Tensor& t = plan_.tensors[size_t(tensor)];
        return (t.trainable ? parameters_ : statistics_).get() + t.offset;
    }
    T* slot_data(int slot, int tensor) const {
        return slots_[size_t(slot)].get() + plan_.tensors[size_t(tensor)].offset;
    }
    // A tensor of all nets between the device and a dense (starts, size) array.
    void strided(void* dense, T* on_device, int tensor, bool download) const {
        const Tensor& t = plan_.tensors[size_t(tensor)];
        const size_t width = size_t(t.size()) * sizeof(T),
                     pitch = size_t(t.trainable ? plan_.parameters : plan_.statistics) * sizeof(T);
        if (download)
            FD_CUDA(cudaMemcpy2DAsync(dense, width, on_device, pitch, width, size_t(starts_), cudaMemcpyDeviceToHost,
                                      stream_));
        else
            FD_CUDA(cudaMemcpy2DAsync(on_device, pitch, dense, width, width, size_t(starts_), cudaMemcpyHostToDevice,
                                      stream_));
        stream_.synchronize();
    }
    void copy_nets(const uint8_t* which, const DeviceBuffer<T>& from, const DeviceBuffer<T>& to, int64_t size) const {
        for (int64_t i = 0, end; size && i < starts_; i = end) {  // runs of chosen nets
            for (end = i; end < starts_ && bool(which[end]) == bool(which[i]); ++end) {}
            if (which[i])
                stream_.copy(to.get() + i * size, static_cast<const T*>(from.get() + i * size), (end - i) * size);
        }
        stream_.synchronize();
    }

    Plan plan_;
    const int64_t starts_;
    const int device_ = current_device();
    Stream stream_;
    Loader loader_;
    Training training_;
    bool configured_ = false;
    int64_t step_ = 0;
    DeviceBuffer<T> parameters_, statistics_, kept_[2], outputs_;
    std::vector<DeviceBuffer<T>> slots_;
    DeviceBuffer<double> input_, penalties_, member_scale_, own_weights_, epoch_sums_, losses_;
    DeviceBuffer<uint64_t> seeds_;
    DeviceBuffer<int32_t> which_;
    DeviceBuffer<StepRecord> records_;
    PinnedBuffer<StepRecord> host_records_;
    Resident train_data_, once_;
    Tables tables_[3];  // by mode
};

}  // namespace
}  // namespace fd::cuda

namespace fd {

std::string why_not_fused(const Plan& plan, const Training& training, DType dtype, int64_t batch_rows) {
    return cuda::plan_wholenet(plan, &training, cuda::WholeNetMode::train, false, std::max<int64_t>(batch_rows, 1),
                               int(size_of(dtype)), cuda::wholenet_device())
        .why_not;
}

std::unique_ptr<PopulationBackend> make_cuda_population(int64_t inputs, std::vector<uint64_t> seeds,
                                                        const MemberNumbers& own, std::vector<Op> ops, DType dtype) {
    if (own.dropouts || own.weight_decays || own.label_smoothings)
        throw InvalidArgument("a population on the GPU has no numbers of its members but penalties");
    const double* penalties = own.penalties;
    if (dtype == DType::f32)
        return std::make_unique<cuda::Population<float>>(inputs, std::move(seeds), penalties, std::move(ops));
    return std::make_unique<cuda::Population<double>>(inputs, std::move(seeds), penalties, std::move(ops));
}

}  // namespace fd
