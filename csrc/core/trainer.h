// The bookkeeping of a training run, on no device: which rows the next batch holds, when an epoch ends, what it summed to.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/backend.h"
#include "ops/rng.h"

namespace fd {

// How often a long run calls tick().
inline constexpr std::chrono::milliseconds tick_interval{100};

// Walks the batches of consecutive epochs.
class Cursor {
public:
    Cursor(const TrainRequest& request, uint64_t seed);
    int64_t first() const { return batch_ * batch_size_; }  // position in the epoch's order
    int64_t rows() const { return first() + batch_size_ < n_ ? batch_size_ : n_ - first(); }
    bool starts_epoch() const { return batch_ == 0; }
    bool ends_epoch() const { return batch_ + 1 == batches_; }
    int64_t epoch() const { return epoch_; }
    int64_t batch() const { return batch_; }
    bool in_order() const { return !shuffle_; }
    const ops::Shuffle& order() const { return order_; }
    int64_t row(int64_t i) const {  // data row of row i of the batch
        return shuffle_ ? int64_t(order_(uint64_t(first() + i))) : first() + i;
    }
    void advance();

private:
    int64_t n_, batch_size_, batches_, epoch_, batch_;
    bool shuffle_;
    uint64_t seed_;
    ops::Shuffle order_;
};

// After which steps a probe is due: 2^level of them an epoch, evenly, the last one after its last step; below level 0 after the
// last step of every 2^-level-th epoch. Those of a level are among those of the next, so that records can be thinned out.
struct Cadence {
    int level = 0;
    int64_t batches = 1;  // an epoch
    // After how many steps, counting that of `batch` as the first.
    int64_t steps_to_next(int64_t epoch, int64_t batch) const;
    int rank(int64_t epoch, int64_t batch) const;  // the lowest level at which one is due after it; level + 1: none is
    int64_t most(int64_t steps) const;             // that are due in so many steps
};

// When the probes of one call of train() are taken. due() is called before every step, follows() after it.
class ProbeSchedule {
public:
    static constexpr int64_t most_rows = 256;  // of a probe, spread evenly over the data
    static constexpr double cost = 0.015;      // the fraction of a step's time that probes may add
    void begin(const TrainRequest&);
    int64_t most(int64_t steps) const { return cadence_.most(steps) + 2; }  // the first step's, and one of a broken one
    bool due() const { return until_ == 1; }                                // whether a probe follows the next step
    // After a step and before the cursor advances: the record to be filled, if a probe follows. `broken`: one must.
    std::optional<ProbeRecord> follows(const Cursor&, int64_t step, bool broken);

private:
    Cadence cadence_;
    bool first_ = false;
    int64_t until_ = 0;
};

// Sums of the running epoch and of the finished ones. Everything is allocated by the constructor.
class Ledger {
public:
    Ledger(const TrainRequest& request, int64_t width, std::vector<double>& running, TrainOutcome& outcome);
    double* running() { return running_.data(); }
    void start_epoch();
    void end_epoch();  // after its last step; it counts as finished, unless there is a validation
    bool awaits_validation() const { return awaits_validation_; }
    double* validation_row() { return outcome_.validation.data() + outcome_.epochs * width_; }
    void validated();                                  // now it does
    void interrupt() { outcome_.interrupted = true; }  // outside of step_done
    // After every step: counts it and calls tick() if it is time. True: stop.
    bool step_done(double batch_loss);
    void finish() { outcome_.partial = running_; }

private:
    using Clock = std::chrono::steady_clock;
    const TrainRequest& request_;
    int64_t width_;
    std::vector<double>& running_;
    TrainOutcome& outcome_;
    bool awaits_validation_ = false;
    Clock::time_point next_tick_, last_look_;
    int64_t stride_ = 1, left_ = 1;  // the clock is read every stride_ steps, about once a millisecond
};

}  // namespace fd
