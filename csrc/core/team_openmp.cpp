// A team of OpenMP's threads, which its library keeps.
#include <omp.h>

#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "core/team.h"

namespace fd {
namespace {

std::atomic<bool> forked{false};  // libgomp hangs in a child whose parent has run a parallel region

struct ForkHandler {
    ForkHandler() {
        platform::after_fork([] { forked = true; });
    }
} const fork_handler;

// How many threads the system lets this process have at a time, with the calling one, up to so many.
int obtainable_threads(int wanted) {
    std::vector<std::thread> others;
    std::mutex gate;
    {
        const std::lock_guard<std::mutex> closed(gate);
        try {
            while (int(others.size()) + 1 < wanted)
                others.emplace_back([&] { const std::lock_guard<std::mutex> passed(gate); });
        } catch (const std::system_error&) {  // no more of them
        } catch (const std::bad_alloc&) {}
    }
    for (std::thread& other : others) other.join();
    return int(others.size()) + 1;
}

// libgomp keeps the threads of a caller's last team, and ends the process if the system refuses it another one: so that a larger
// team is tried first.
int obtainable_team(int wanted) {
    thread_local int kept = 1;
    return kept = wanted > kept ? obtainable_threads(wanted) : wanted;
}

}  // namespace

bool in_team() { return omp_in_parallel(); }

void start_team(int threads, void (*body)(void*, const Worker&), void* context, Barrier& barrier) {
    threads = forked ? 1 : obtainable_team(threads);
#pragma omp parallel num_threads(threads)
    body(context, Worker{omp_get_thread_num(), omp_get_num_threads(), &barrier});
}

}  // namespace fd
