// What differs from one operating system or processor to another.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace fd::platform {

// In a loop that waits for another thread: for some tens of cycles the core leaves its resources to the thread that shares them, and
// the memory to the one that is waited for. On ARM by `isb`, which empties the pipeline: `yield` is for cores that run several
// threads, and does nothing on others, which are nearly all.
inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

int processors();  // those that this thread may use

// Calls it in every process forked from now on, before anything else runs there. Nothing where processes are not forked.
void after_fork(void (*in_child)());

// ---- memory ----

// Memory of zeros that begins on a huge page, which products like; null if it is not large, or where there are none.
// std::bad_alloc if the system refuses it.
struct Pages {
    void *base = nullptr, *begin = nullptr;
    size_t bytes = 0;
};
Pages zeroed_pages(size_t wanted);
void give_back(const Pages& pages);

// C's aligned_alloc, of a multiple of the alignment; null if the system refuses it. free_aligned gives it back.
void* allocate_aligned(size_t alignment, size_t bytes);
void free_aligned(void* memory);

bool can_map(size_t bytes);  // whether the system would give this process so much more
int64_t mapped_bytes();      // of this process's address space; -1 if unknown

// ---- libraries ----

enum class Loading {
    shared,  // the process's copy
    loaded,  // only if the process has it already
    apart,   // beside other copies: its symbols find one another first, and others do not see them
};
void* open_library(const std::string& path, Loading how, std::string& error);  // null, and why
void close_library(void* library);
void* symbol(void* library, const char* name);  // null if it has none
std::string file_of(const void* address);       // the library or program that holds it; "" if unknown

void set_environment(const char* name, const char* value);  // as C sees it; null removes the variable

}  // namespace fd::platform
