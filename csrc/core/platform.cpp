#include "core/platform.h"

#include <algorithm>
#include <thread>
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#ifdef __linux__
#include <sched.h>
#endif

namespace fd::platform {

int processors() {
#ifdef __linux__
    cpu_set_t mask;
    if (sched_getaffinity(0, sizeof(mask), &mask) == 0) return std::max(1, CPU_COUNT(&mask));
#endif
    return int(std::max(1u, std::thread::hardware_concurrency()));
}

void after_fork(void (*in_child)()) {
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork(nullptr, nullptr, in_child);
#else
    (void)in_child;
#endif
}

}  // namespace fd::platform
