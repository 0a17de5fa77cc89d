// Leaving long work half-way: worker 0 of the team asks the poll, and everybody learns the answer.
#pragma once
#include <atomic>
#include <functional>

#include "core/parallel.h"

namespace fd {

// Called by one worker between parts of a long call: true if the caller wants to stop (Ctrl-C). The call then returns early and
// its results are meaningless; the net is that of the last finished step.
using Poll = std::function<bool()>;

enum class Solved { yes, not_positive_definite, stopped };  // a system of equations

class Stop {
public:
    bool watching() const { return poll_ != nullptr; }
    bool known() const { return poll_ && asked_.load(std::memory_order_relaxed); }  // without asking again
    // Whether what is being computed will not be used.
    bool asked(const Worker& w) {
        if (!poll_) return false;
        if (known()) return true;
        if (w.first() && (*poll_)()) asked_.store(true, std::memory_order_relaxed);
        return asked_.load(std::memory_order_relaxed);
    }
    // A barrier after which all workers leave, or none. Two that follow one another have different `point`s, so that a worker
    // that is late cannot take the next answer for this one's.
    bool agreed(const Worker& w, int point) {
        if (!poll_) {
            w.sync();
            return false;
        }
        if (asked(w) && w.first()) agreed_at_.store(point, std::memory_order_relaxed);
        wait(w);
        return agreed_at_.load(std::memory_order_relaxed) == point;
    }

    // A barrier at which worker 0 goes on asking while it waits for the others.
    void wait(const Worker& w) {
        if (poll_) w.sync([this, &w] { asked(w); });
        else w.sync();
    }

private:
    friend class Watch;
    void watch(const Poll* poll) {
        poll_ = poll;
        agreed_at_.store(-1, std::memory_order_relaxed);
        asked_.store(false, std::memory_order_relaxed);
    }

    const Poll* poll_ = nullptr;
    std::atomic<int> agreed_at_{-1};
    std::atomic<bool> asked_{false};
};

class Watch {  // for its life a Stop asks this poll; if it is empty, work goes on to its end
public:
    Watch(Stop& stop, const Poll& poll) : stop_(stop) { stop_.watch(poll ? &poll : nullptr); }
    ~Watch() { stop_.watch(nullptr); }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

private:
    Stop& stop_;
};

}  // namespace fd
