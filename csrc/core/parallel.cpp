#include "core/parallel.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "core/team.h"

namespace fd {

int positive_environment(const char* name) {
    const char* text = std::getenv(name);
    const long n = text ? std::strtol(text, nullptr, 10) : 0;
    return n > 0 && n < 1 << 20 ? int(n) : 0;
}

namespace {

int quota_from(const std::string& directory) {  // CPUs that a cgroup v2 or v1 folder grants, rounded up; 0 if unlimited
    std::ifstream v2(directory + "/cpu.max");
    std::string quota, period;
    if (v2 >> quota >> period && quota != "max") {
        const double cpus = std::atof(quota.c_str()) / std::max(1.0, std::atof(period.c_str()));
        return std::max(1, int(std::ceil(cpus)));
    }
    std::ifstream q(directory + "/cpu.cfs_quota_us"), p(directory + "/cpu.cfs_period_us");
    double us = -1, per = 0;
    if (q >> us && p >> per && us > 0 && per > 0) return std::max(1, int(std::ceil(us / per)));
    return 0;
}

int cgroup_quota() {  // the tightest limit from this process's group up to the root
    int best = 0;
    auto consider = [&](const std::string& folder) {
        const int cpus = quota_from(folder);
        if (cpus && (!best || cpus < best)) best = cpus;
    };
    std::ifstream groups("/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
        std::istringstream fields(line);
        std::string id, controllers, path;
        std::getline(fields, id, ':'), std::getline(fields, controllers, ':'), std::getline(fields, path);
        const bool cpu = ("," + controllers + ",").find(",cpu,") != std::string::npos;
        if (!controllers.empty() && !cpu) continue;
        const std::string root = cpu ? "/sys/fs/cgroup/cpu" : "/sys/fs/cgroup";
        for (; path.size() > 1; path = path.substr(0, path.rfind('/'))) consider(root + path);
        consider(root);
    }
    return best;
}

}  // namespace

int available_threads() {
    int n = platform::processors();
    static const int quota = cgroup_quota();
    for (int limit : {quota, positive_environment("FASTDENSE_NUM_THREADS"), positive_environment("OMP_NUM_THREADS")})
        if (limit) n = std::min(n, limit);
    return n;
}

void Barrier::wait_long(uint32_t turn, bool first, const std::function<void()>* meanwhile) {
    using Clock = std::chrono::steady_clock;
    const auto began = first ? Clock::now() : Clock::time_point();
    auto last = began;
    for (int spins = 0; turn_.load(std::memory_order_acquire) == turn; ++spins) {
        if (spins < 2000) {
            platform::pause();
            continue;
        }
        std::this_thread::yield();
        if (!first || !meanwhile || Clock::now() - last < std::chrono::milliseconds(10)) continue;
        (*meanwhile)();
        last = Clock::now();
    }
    if (first) waited_ += std::chrono::duration<double>(Clock::now() - began).count();
}

void ThreadCount::resume(int wanted, double work) {
    if (wanted != wanted_ || work != work_) *this = ThreadCount();
    wanted_ = wanted;
    work_ = work;
    since_ = Clock::now();
}

void ThreadCount::leave(double waited) {
    spent_ += std::chrono::duration<double>(Clock::now() - since_).count();
    waited_before_ -= waited;  // the next run's barrier counts from 0
}

bool ThreadCount::reconsider(double waited) {
    if (wanted_ == 1) return false;
    ++steps_;
    const auto time = Clock::now();
    const double elapsed = spent_ + std::chrono::duration<double>(time - since_).count();
    if (elapsed < (alone_ ? pause_ : window)) return false;
    const double rate = steps_ / elapsed;
    since_ = time;
    spent_ = 0;
    steps_ = 0;
    if (alone_) {
        alone_ = false;
        alone_rate_ = rate;
        strikes_ = patience - 1;  // the next window compares
        waited_before_ = 0;       // a new region has a new barrier
        return true;
    }
    // alone, worker 0 would do the work of all: wanted · (its own) against the time that passed
    const double working = elapsed - (waited - waited_before_);
    waited_before_ = waited;
    const bool slow = alone_rate_ > 0 ? rate < alone_rate_ : wanted_ * working < elapsed;
    if (!slow) {
        alone_rate_ = 0;
        strikes_ = 0;
        pause_ = std::max(shortest_pause, 0.9 * pause_);
    } else if (++strikes_ >= patience) {
        alone_ = true;
        pause_ = std::min(2 * pause_, longest_pause);
    }
    return alone_;
}

void run_team(int threads, void (*body)(void*, const Worker&), void* context) {
    Barrier barrier;
    if (threads > 1 && !in_team()) return start_team(threads, body, context, barrier);
    body(context, Worker{0, 1, &barrier});
}

}  // namespace fd
