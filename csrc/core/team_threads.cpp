// A team of std::threads from one pool. A thread that waits, for a team or for the end of one, spins for a moment and then sleeps.
#include <condition_variable>
#include <functional>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#include "core/team.h"

namespace fd {
namespace {

// For one thread that waits until a condition holds, and others that make it hold and ring. Both access the condition and `asleep_`
// in one total order (seq_cst), so that either the one that rings sees the sleeper or the sleeper sees the condition.
class Bell {
public:
    template <class C>
    void wait(C&& holds) {
        // About 100 µs on a free core: a call that follows another comes sooner. Counted, not timed: a thread that has to wait for a core
        // has not been patient meanwhile. The core goes to others that need it, such as the thread that is waited for.
        constexpr int at_once = 100, with_others = 150, between = 20;
        for (int spins = 0; spins < at_once + with_others * between; ++spins) {
            if (holds()) return;
            platform::pause();
            if (spins >= at_once && spins % between == 0) std::this_thread::yield();
        }
        std::unique_lock<std::mutex> locked(mutex_);
        asleep_ = true;
        changed_.wait(locked, holds);
        asleep_ = false;
    }
    void ring() {
        if (!asleep_) return;
        { const std::lock_guard<std::mutex> waits(mutex_); }  // not between the sleeper's last look and its sleep
        changed_.notify_one();
    }

private:
    std::atomic<bool> asleep_{false};
    std::mutex mutex_;
    std::condition_variable changed_;
};

struct Member;

struct Job {
    void (*body)(void*, const Worker&);
    void* context;
    Barrier* barrier;
    int team;
    Bell* done;  // of the pool: it outlives the job
    std::atomic<int> unfinished;
};

// A thread of the pool, and what it waits for. It lasts as long as the process.
struct alignas(64) Member {
    std::atomic<Job*> job{nullptr};
    int id = 0;              // in this job
    Bell called, done;       // done: of the leader of a team whose first member this is
    Member* next = nullptr;  // in the pool, or in the team
};

thread_local bool inside = false;

void run(Job& job, int id) {
    inside = true;
    job.body(job.context, Worker{id, job.team, job.barrier});
    inside = false;
}

void serve(Member& me) {
    for (;;) {
        Job* job = nullptr;
        me.called.wait([&] { return (job = me.job) != nullptr; });
        me.job = nullptr;
        run(*job, me.id);
        Bell* done = job->done;
        if (--job->unfinished == 0) done->ring();  // without the job, which is gone
    }
}

// The members that no team uses. They are taken and put back in the same order: a slice's data are in its thread's cache.
struct Pool {
    std::mutex lock;
    Member* idle = nullptr;
};

// Never destroyed: its threads sleep on while the process ends.
union Kept {
    Pool pool;
    Kept() : pool() {}
    ~Kept() {}
} kept;

struct ForkHandler {  // a forked process has none of the threads: it makes its own
    ForkHandler() {
        platform::after_fork([] { new (&kept.pool) Pool; });
    }
} const fork_handler;

// A thread more, or null if the system refuses it.
Member* new_member() {
    Member* made = nullptr;
    try {
        made = new Member;
        std::thread(serve, std::ref(*made)).detach();
        return made;
    } catch (const std::system_error&) {
    } catch (const std::bad_alloc&) {}
    delete made;
    return nullptr;
}

// For its life, up to so many members in a list.
class Team {
public:
    explicit Team(int wanted) {
        Pool& pool = kept.pool;
        Member** end = &first_;
        {
            const std::lock_guard<std::mutex> locked(pool.lock);
            first_ = pool.idle;
            for (; count_ < wanted && *end; ++count_) last_ = *end, end = &last_->next;
            pool.idle = *end;
            *end = nullptr;
        }
        for (Member* more; count_ < wanted && (more = new_member()); ++count_) *end = last_ = more, end = &more->next;
    }
    ~Team() {
        if (!last_) return;
        Pool& pool = kept.pool;
        const std::lock_guard<std::mutex> locked(pool.lock);
        last_->next = pool.idle;
        pool.idle = first_;
    }
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;
    Member* first() const { return first_; }
    int count() const { return count_; }

private:
    Member *first_ = nullptr, *last_ = nullptr;
    int count_ = 0;
};

}  // namespace

bool in_team() { return inside; }

void start_team(int threads, void (*body)(void*, const Worker&), void* context, Barrier& barrier) {
    const Team others(threads - 1);
    Bell* done = others.first() ? &others.first()->done : nullptr;
    Job job{body, context, &barrier, others.count() + 1, done, {others.count()}};
    int id = 0;
    for (Member* member = others.first(); member; member = member->next) {
        member->id = ++id;
        member->job = &job;
        member->called.ring();
    }
    run(job, 0);
    if (done) done->wait([&] { return job.unfinished == 0; });
}

}  // namespace fd
