// The population path: where each number of a group of nets lies, and the blocks of rows that go through it.
#pragma once
#ifdef __SSE2__
#include <immintrin.h>
#endif
#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "core/parallel.h"
#include "core/trainer.h"
#include "core/walk.h"
#include "cpu/memberwise/lanes.h"
#include "cpu/memory.h"

namespace fd::cpu {

// Weights and gradients of a group (and the activations, if a batch must be there as a whole) beyond which one net at a
// time is faster: see docs/design/population.md.
inline constexpr int64_t most_lane_bytes = int64_t(384) << 10;

// A program laid out for the lanes, for blocks of `rows` rows. Parameters lie densely: offsets count packs.
struct LaneProgram {
    LaneProgram(const Plan&, const Training*, Pass, int64_t rows);  // for train, evaluate or predict
    std::vector<LaneOp> ops;
    int64_t work = 0;                    // packs
    int64_t output = -1, d_output = -1;  // of the last op
    bool may_share_input = true;         // only one dense op reads x, so all nets can read the same numbers
};

struct LaneLayout {  // of parameters and statistics
    explicit LaneLayout(const Plan&);
    std::vector<int64_t> offset;      // per tensor, into the parameters or the statistics
    std::vector<LaneTensor> tensors;  // the trainable ones
    int64_t parameters = 0, statistics = 0, penalty_scratch = 0;
};

// What one thread needs to train a group, sized before the first step.
template <class T>
struct LaneScratch {
    Buffer<T> work, gradients, x, y, w, start_weights, penalty;
    Buffer<T> batch[4];  // x, y, w and start_weights of a batch in an order that all nets share
    Buffer<int32_t> index;
    LaneOrder order;
};

// While this lives, subnormal numbers count as 0 in this thread: a net that has converged has gradients that small, and they
// cost the processor many times as long.
class FlushSubnormals {
public:
#ifdef __SSE2__
    FlushSubnormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040u); }
    ~FlushSubnormals() { _mm_setcsr(before_); }
#elif defined(__aarch64__)
    FlushSubnormals() {
        __asm__ volatile("mrs %0, fpcr" : "=r"(before_));
        set(before_ | uint64_t(1) << 24);  // FZ
    }
    ~FlushSubnormals() { set(before_); }
#else
    FlushSubnormals() = default;
#endif
    FlushSubnormals(const FlushSubnormals&) = delete;
    FlushSubnormals& operator=(const FlushSubnormals&) = delete;

private:
#ifdef __aarch64__
    static void set(uint64_t control) { __asm__ volatile("msr fpcr, %0" : : "r"(control) : "memory"); }
    uint64_t before_ = 0;
#else
    unsigned before_ = 0;
#endif
};

// Workers take groups one by one; worker 0 calls tick(), also while it waits for the others.
class LaneWatch {
public:
    LaneWatch(int64_t total, const std::function<bool(double)>& tick)
        : total_(double(std::max<int64_t>(total, 1))), tick_(tick),
          next_(std::chrono::steady_clock::now() + tick_interval) {}
    int64_t next(int64_t groups) {
        const int64_t g = group_.fetch_add(1, std::memory_order_relaxed);
        return g < groups && !stopped() ? g : -1;
    }
    void advance(int64_t epochs) { done_.fetch_add(epochs, std::memory_order_relaxed); }
    bool stopped() const { return stop_.load(std::memory_order_relaxed); }
    bool stop(bool first) {
        if (first && tick_ && Clock::now() >= next_) {
            next_ = Clock::now() + tick_interval;
            if (tick_(double(done_.load(std::memory_order_relaxed)) / total_)) stop_ = true;
        }
        return stopped();
    }
    void leave(const Worker& w) {  // a team may be smaller than the one that was asked for
        left_.fetch_add(1, std::memory_order_relaxed);
        while (w.first() && left_.load(std::memory_order_relaxed) < w.team) {
            stop(true);
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
    }

private:
    using Clock = std::chrono::steady_clock;
    std::atomic<int64_t> group_{0}, done_{0};
    std::atomic<int> left_{0};
    std::atomic<bool> stop_{false};
    double total_;
    const std::function<bool(double)>& tick_;
    Clock::time_point next_;
};

// What these nets need that lanes do not have; empty if there is nothing.
std::string lanes_lack(const Plan&, const Training&);

}  // namespace fd::cpu
