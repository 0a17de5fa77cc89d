// Counts what operator new hands out, from any thread, and refuses one of them if asked. A file of its own: a compiler that sees
// it beside a use complains.
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "core/parallel.h"
#include "core/platform.h"

std::atomic<int64_t> allocations{0}, allocations_of_teams{0};  // of teams: of more than one thread at work
std::atomic<int64_t> refused_allocation{-1};  // the number from now on of the one that finds no memory; -1: none

namespace {
void* take(size_t n, size_t alignment) {
    ++allocations;
    if (fd::in_team()) ++allocations_of_teams;
    if (refused_allocation >= 0 && refused_allocation-- == 0) throw std::bad_alloc();
    const size_t whole = alignment ? (n + alignment - 1) / alignment * alignment : n;
    void* p = alignment ? fd::platform::allocate_aligned(alignment, whole) : std::malloc(n);
    if (!p) throw std::bad_alloc();
    return p;
}
}  // namespace

void* operator new(size_t n) { return take(n, 0); }
void* operator new(size_t n, std::align_val_t alignment) { return take(n, size_t(alignment)); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { fd::platform::free_aligned(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { fd::platform::free_aligned(p); }
