#include "core/ranks.h"

namespace fd {

GradientSum::GradientSum(const Ranks& ranks, void* gradients, DType dtype, int64_t size)
    : ranks_(ranks), gradients_(static_cast<char*>(gradients)), dtype_(dtype), size_(size) {
    if (!ranks.overlaps || size < 2 * least_slice) return;
    slices_.reserve(size_t(size / least_slice));
    thread_ = std::thread([this] { run(); });
}

GradientSum::~GradientSum() {
    if (!thread_.joinable()) return;
    {
        const std::lock_guard lock(mutex_);
        ends_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

void GradientSum::begin(double factor) {
    factor_ = factor;
    sent_ = size_;
    if (!thread_.joinable()) return;
    const std::lock_guard lock(mutex_);
    slices_.clear(), done_ = 0;
}

void GradientSum::ready(int64_t from) {
    if (!thread_.joinable() || sent_ - from < least_slice) return;
    {
        const std::lock_guard lock(mutex_);
        slices_.push_back({from, sent_});
    }
    sent_ = from;
    changed_.notify_all();
}

bool GradientSum::finish(double& loss) {
    if (thread_.joinable()) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return done_ == slices_.size(); });
        if (failed_) return false;
    }
    return sum({0, sent_}, loss);
}

bool GradientSum::sum(Slice s, double& loss) {
    return ranks_.sum(gradients_ + s.begin * size_of(dtype_), dtype_, s.end - s.begin, factor_, loss);
}

void GradientSum::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] { return ends_ || done_ < slices_.size(); });
        if (done_ == slices_.size()) return;
        const Slice next = slices_[done_];
        if (!failed_) {
            lock.unlock();
            double none = 0;
            const bool good = sum(next, none);
            lock.lock();
            failed_ |= !good;
        }
        ++done_;
        changed_.notify_all();
    }
}

}  // namespace fd
