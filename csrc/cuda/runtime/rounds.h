// Steps are prepared and enqueued in rounds. There are two buffers, so that the host prepares one while the device runs the other.
#pragma once
#include <vector>

#include "cuda/kernels.h"
#include "cuda/runtime/runtime.h"

namespace fd::cuda {

struct Round {
    int64_t steps = 0;                     // enqueued, not yet booked
    bool begun = false, launched = false;  // its position was set; all steps are under way
    void clear() { steps = 0, begun = launched = false; }
    std::vector<int64_t> rows;  // of each step
    PinnedBuffer<StepRecord> records;
    PinnedBuffer<double> totals;  // (steps, width), once results() was called
    Event done;
};

class Rounds {
public:
    explicit Rounds(cudaStream_t stream) : stream_(stream) { control_.reserve(1); }

    // Room for so many steps a round. No steps may be enqueued.
    void reserve(int64_t steps, int64_t width) {
        if (steps <= capacity_ && width == width_) return;
        ++generation_;
        capacity_ = std::max(steps, capacity_), width_ = width;
        records_.reserve(2 * capacity_);
        totals_.reserve(2 * capacity_ * width_);
        for (Round& r : rounds_) {
            r.records.reserve(capacity_);
            r.totals.reserve(capacity_ * width_);
            r.rows.resize(size_t(capacity_));
        }
    }
    int64_t generation() const { return generation_; }
    Round& next() { return rounds_[turn_ ^= 1]; }
    Round& other() { return rounds_[turn_ ^ 1]; }
    int turn() const { return turn_; }
    Steps steps() const { return {records_.get(), control_.get(), totals_.get(), int(width_)}; }

    // Uploads the records and sets the device's position to the first. `fresh`: the start of a run.
    void begin(Round& r, bool fresh) {
        FD_CUDA(cudaMemcpyAsync(records_.get() + base(r), r.records.get(), size_t(r.steps) * sizeof(StepRecord),
                                cudaMemcpyHostToDevice, stream_));
        go_to(r, 0, fresh);
        r.begun = true;
    }
    void go_to(Round& r, int64_t step, bool fresh = false) {
        set_position(control_.get(), int(base(r) + step), fresh, stream_);
    }
    void end(Round& r) {
        FD_CUDA(cudaMemcpyAsync(r.totals.get(), totals_.get() + base(r) * width_,
                                size_t(r.steps * width_) * sizeof(double), cudaMemcpyDeviceToHost, stream_));
        r.done.record(stream_);
        r.launched = true;
    }
    const double* results(Round& r) {
        r.done.synchronize();
        return r.totals.get();
    }
    void forget() { rounds_[0].clear(), rounds_[1].clear(); }
    // Whether steps are those of training, which are booked: an error in the middle of them must not lose any.
    void count_steps(bool whether) { counts_ = whether; }
    // Steps of training that the device has made of those not yet booked, after an error.
    int64_t made() const {
        if (!counts_) return 0;
        Control now;
        FD_CUDA(cudaStreamSynchronize(stream_));
        FD_CUDA(cudaMemcpyAsync(&now, control_.get(), sizeof now, cudaMemcpyDeviceToHost, stream_));
        FD_CUDA(cudaStreamSynchronize(stream_));
        int64_t sum = 0;
        for (const Round& r : rounds_) {
            const int64_t in_round = now.at - base(r);
            sum += r.launched ? r.steps : r.begun && in_round >= 0 && in_round <= r.steps ? in_round : 0;
        }
        return sum;
    }

private:
    int64_t base(const Round& r) const { return (&r - rounds_) * capacity_; }

    const cudaStream_t stream_;
    int64_t capacity_ = 0, width_ = 0, generation_ = 0;
    int turn_ = 0;
    bool counts_ = false;
    Round rounds_[2];
    DeviceBuffer<StepRecord> records_;
    DeviceBuffer<double> totals_;
    DeviceBuffer<Control> control_;
};

// Call, after whose errors no step waits to be booked, and `step` is that of the weights.
class RunCall {
public:
    RunCall(int device, const Stream& stream, Rounds& rounds, int64_t& step)
        : call_(device, stream), rounds_(rounds), step_(step) {}
    ~RunCall() {
        if (!call_.failed()) return;
        try {
            step_ += rounds_.made();
        } catch (const std::exception&) {}  // the first error is the one to report
        rounds_.count_steps(false);
        rounds_.forget();
    }

private:
    const Call call_;
    Rounds& rounds_;
    int64_t& step_;
};

}  // namespace fd::cuda
