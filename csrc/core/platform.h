// What differs from one operating system or processor to another.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

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

// ---- memory ----

// Memory of zeros that begins on a huge page, which products like; null if it is not large, or where there are none.
// std::bad_alloc if the system refuses it.
struct Pages {
    void *base = nullptr, *begin = nullptr;
    size_t bytes = 0;
};
Pages zeroed_pages(size_t wanted);
void give_back(const Pages& pages);

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
