#include "core/trainer.h"

#include <algorithm>
#include <cmath>

namespace fd {

Cursor::Cursor(const TrainRequest& r, uint64_t seed)
    : n_(r.train.rows()), batch_size_(std::min(r.batch_size, r.train.rows())),
      batches_((n_ + batch_size_ - 1) / batch_size_), epoch_(r.epoch), batch_(r.first_batch), shuffle_(r.shuffle),
      seed_(r.order_seed.value_or(seed)), order_(uint64_t(n_), seed_, uint32_t(epoch_)) {}

void Cursor::advance() {
    if (++batch_ < batches_) return;
    batch_ = 0;
    ++epoch_;
    if (shuffle_) order_ = ops::Shuffle(uint64_t(n_), seed_, uint32_t(epoch_));
}

int64_t Cadence::steps_to_next(int64_t epoch, int64_t batch) const {
    if (level < 0) {
        const int64_t every = int64_t(1) << -level, last = (epoch / every + 1) * every - 1;
        return (last - epoch) * batches + batches - batch;
    }
    const int64_t count = int64_t(1) << level, i = batch * count / batches + 1;  // of the epoch's: the i-th is next
    return (i * batches + count - 1) / count - batch;
}

int Cadence::rank(int64_t epoch, int64_t batch) const {
    for (Cadence lower = *this;; --lower.level)
        if (lower.level < -40 || lower.steps_to_next(epoch, batch) != 1) return lower.level + 1;
}

int64_t Cadence::most(int64_t steps) const {
    const int64_t epochs = steps / batches + 2;
    return std::min(steps, level < 0 ? (epochs >> -level) + 1 : epochs << level);
}

int64_t ProbeRecords::width_of(const Plan& plan) {
    int64_t width = 0;
    for (const Op& o : plan.ops) width += numbers_per_unit * o.out;
    return width;
}

int64_t ProbeRecords::first_nonfinite(const Plan& plan, const double* values) {
    for (size_t i = 0; i < plan.ops.size(); ++i) {
        const int64_t out = plan.ops[i].out;
        const double* mean = values + 2 * out;  // of finite numbers it is finite
        if (!std::all_of(mean, mean + out, [](double m) { return std::isfinite(m); })) return int64_t(i);
        values += numbers_per_unit * out;
    }
    return -1;
}

void ProbeSchedule::begin(const TrainRequest& r) {
    const int64_t batch = std::min(r.batch_size, r.train.rows());
    cadence_ = {*r.probe_level, (r.train.rows() + batch - 1) / batch};
    first_ = r.probe_first;
    until_ = first_ ? 1 : cadence_.steps_to_next(r.epoch, r.first_batch);
}

std::optional<ProbeRecord> ProbeSchedule::follows(const Cursor& cursor, int64_t step, bool broken) {
    if (until_-- != 1 && !broken) return std::nullopt;
    const int64_t epoch = cursor.epoch(), batch = cursor.batch();
    const int rank = cadence_.rank(epoch, batch);
    ProbeRecord record{step, epoch, first_ || rank > cadence_.level ? ProbeRecord::always : rank, 0, -1};
    first_ = false;
    const bool ends = cursor.ends_epoch();
    until_ = cadence_.steps_to_next(epoch + ends, ends ? 0 : batch + 1);
    return record;
}

Ledger::Ledger(const TrainRequest& r, int64_t width, std::vector<double>& running, TrainOutcome& outcome)
    : request_(r), width_(width), running_(running), outcome_(outcome), next_tick_(Clock::now() + tick_interval),
      last_look_(Clock::now()) {
    const int64_t batch = std::min(r.batch_size, r.train.rows());
    const int64_t batches = (r.train.rows() + batch - 1) / batch;
    const size_t epochs = size_t((r.first_batch + r.steps) / batches);
    outcome_.totals.resize(epochs * size_t(width));
    if (r.validation) outcome_.validation.resize(epochs * size_t(width));
    running_.resize(size_t(width));
}

void Ledger::start_epoch() { std::fill(running_.begin(), running_.end(), 0.0); }

void Ledger::end_epoch() {
    std::copy(running_.begin(), running_.end(), outcome_.totals.begin() + outcome_.epochs * width_);
    awaits_validation_ = request_.validation != nullptr;
    if (!awaits_validation_) ++outcome_.epochs;
}

void Ledger::validated() {
    awaits_validation_ = false;
    ++outcome_.epochs;
}

bool Ledger::step_done(double batch_loss) {
    ++outcome_.steps;
    if (request_.stop_on_nan && !std::isfinite(batch_loss)) {
        outcome_.nonfinite_step = outcome_.steps - 1;
        return true;
    }
    if (!request_.tick || --left_ > 0) return false;
    const auto now = Clock::now();
    const double pace = std::chrono::duration<double>(now - last_look_).count();
    if (pace < 0.0005) stride_ = std::min<int64_t>(2 * stride_, 4096);
    else if (pace > 0.002) stride_ = std::max<int64_t>(stride_ / 2, 1);
    last_look_ = now;
    left_ = stride_;
    if (now < next_tick_) return false;
    next_tick_ = now + tick_interval;
    return outcome_.interrupted = request_.tick(outcome_.steps, running_[0], running_[1]);
}

}  // namespace fd
