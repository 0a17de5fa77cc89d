// What differs from one operating system or processor to another.
#pragma once

namespace fd::platform {

// In a loop that waits for another thread: leaves the core's resources to the thread that shares them.
inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");  // `yield` does nothing on most cores
#endif
}

int processors();  // those that this thread may use

// Calls it in every process forked from now on, before anything else runs there. Nothing where processes are not forked.
void after_fork(void (*in_child)());

}  // namespace fd::platform
