// Threads that run the same body. Where they come from is team.h's: OpenMP's, or a pool of std::thread.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <type_traits>

#include "core/platform.h"

namespace fd {

inline constexpr int most_threads = 64;  // of a team

// The first number of an environment variable such as "4" or "4,2"; 0 if it is unset or unusable.
int positive_environment(const char* name);

// Affinity mask, cgroup quota, FASTDENSE_NUM_THREADS, OMP_NUM_THREADS: the smallest counts. Read anew on every call.
int available_threads();

// All threads of a team run the same body and meet here; spins briefly, then yields.
class Barrier {
public:
    // `meanwhile`: what worker 0 does every 10 ms while it waits, or null.
    void wait(int team, bool first, const std::function<void()>* meanwhile = nullptr) {
        if (team == 1) return;
        const uint32_t turn = turn_.load(std::memory_order_relaxed);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == team) {
            arrived_.store(0, std::memory_order_relaxed);
            turn_.store(turn + 1, std::memory_order_release);
            return;
        }
        for (int spins = 0; spins < 200; ++spins) {
            if (turn_.load(std::memory_order_acquire) != turn) return;
            platform::pause();
        }
        wait_long(turn, first, meanwhile);
    }
    double waited() const { return waited_; }  // seconds that worker 0 has lost in long waits; for worker 0

private:
    void wait_long(uint32_t turn, bool first, const std::function<void()>* meanwhile);
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<uint32_t> turn_{0};
    alignas(64) double waited_ = 0;
};

struct Worker {
    int id = 0, team = 1;
    Barrier* barrier = nullptr;
    void sync() const { barrier->wait(team, id == 0); }
    void sync(const std::function<void()>& meanwhile) const { barrier->wait(team, id == 0, &meanwhile); }
    // Runs body(task) for this worker's part of `tasks`. What a task computes never depends on the team.
    template <class F>
    void each(int64_t tasks, F&& body) const {
        for (int64_t t = tasks * id / team; t < tasks * (id + 1) / team; ++t) body(t);
    }
    // Runs body(first, end) for this worker's part, all at once, if it has one.
    template <class F>
    void range(int64_t tasks, F&& body) const {
        const int64_t first = tasks * id / team, end = tasks * (id + 1) / team;
        if (first < end) body(first, end);
    }
    bool first() const { return id == 0; }
};

// How many threads the next stretch of a long run uses. When other programs keep the cores busy, a team waits at its barriers
// for members that are not running and may be slower than one thread alone. Waiting that goes on for several windows is
// reason to try; then the steps a second of both decide, and the team is tried again from time to time. One hiccup is no
// reason: a virtual machine has many. Results do not depend on the team, so this changes nothing but the time.
class ThreadCount {
public:
    // What was measured stays from one run to the next, which may be short; another team, or other steps, start anew.
    void resume(int wanted, double work);
    void leave(double waited);  // at the end of a run, with its last barrier's waited()
    int now() const { return alone_ ? 1 : wanted_; }
    // By worker 0 after every step, with its barrier's waited(): true if now() has changed.
    bool reconsider(double waited);

private:
    using Clock = std::chrono::steady_clock;
    static constexpr double window = 0.01, shortest_pause = 0.05, longest_pause = 1.6;  // seconds
    static constexpr int patience = 3;                                                  // windows in a row
    int wanted_ = 1, strikes_ = 0, steps_ = 0;
    bool alone_ = false;
    double pause_ = shortest_pause, waited_before_ = 0, alone_rate_ = 0;  // of the last try alone, steps a second
    double work_ = 0, spent_ = 0;  // of a step; seconds of the current window that passed in earlier runs
    Clock::time_point since_ = Clock::now();
};

// Whether the calling thread belongs to a team of several: what it runs meanwhile is on one thread.
bool in_team();

void run_team(int threads, void (*body)(void*, const Worker&), void* context);

// body(worker) on up to `threads` threads. It must not throw.
template <class F>
void parallel(int threads, F&& body) {
    run_team(threads, [](void* f, const Worker& w) { (*static_cast<std::remove_reference_t<F>*>(f))(w); }, &body);
}

// n things cut into runs of about equal length, ends on multiples of `align`. It depends on n alone, so that results are the
// same bits at any thread count: up to eight runs, and for many things more, so that large teams share them evenly.
struct Slices {
    static constexpr int few = 8, most = most_threads;
    int64_t n, align;
    int count;
    explicit Slices(int64_t length, int64_t smallest = 16, int64_t alignment = 16, int64_t limit = most)
        : n(length), align(alignment) {
        const int64_t fit = n / smallest, fit_large = n / (4 * smallest);
        count = int(fit < 1 ? 1 : fit <= few ? fit : fit_large <= few ? few : fit_large <= limit ? fit_large : limit);
    }
    int64_t begin(int64_t s) const {
        if (s >= count) return n;
        return (n * s / count + align / 2) / align * align;
    }
    int64_t end(int64_t s) const { return begin(s + 1); }
};

}  // namespace fd
