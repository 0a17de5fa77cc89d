// Test-only: finds accesses to device and shared memory that nothing puts in an order, whatever order they happened in here, if
// kernels are compiled with -fsanitize=thread, by which GCC and Clang announce every access to a function of ours. On a GPU
// threads are put in order by __syncthreads and __syncwarp (not by shuffles) and by barriers of the grid; launches and copies by
// their stream, by events, by graphs and by a host that waits.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace emulator {

using Clock = std::map<int, uint64_t>;  // how many pieces of work of each stream came before

inline void merge(Clock& into, const Clock& other) {
    for (const auto& [stream, count] : other) {
        uint64_t& mine = into[stream];
        if (mine < count) mine = count;
    }
}

namespace races {

void begin_work(int stream, const Clock&);  // of the work itself: the last that counts is its own
void end_work();                            // throws if there was a race
// The current thread adds atomically: what its block did before that, and the thread before a fence, comes before what other blocks
// do after they added later. One counter a launch.
void arrive();
void forget_the_past();  // all that follows comes after what has been done
// Memory has its pages to itself.
void track(const void*, size_t bytes, bool shared = false);
void untrack(const void*);
void track_static_shared_memory();
std::string place_of(const void* place);  // in the program: file:line
void access(const void*, size_t bytes, bool write, const void* place = nullptr);
constexpr size_t page_bytes = 4096;

}  // namespace races
}  // namespace emulator
