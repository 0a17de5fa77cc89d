#include "core/platform.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <new>
#include <thread>
#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#define WIN32_LEAN_AND_MEAN
#include <malloc.h>
#include <windows.h>
#else
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace fd::platform {

int processors() {
#ifdef __linux__
    cpu_set_t mask;
    if (sched_getaffinity(0, sizeof(mask), &mask) == 0) return std::max(1, CPU_COUNT(&mask));
#elif defined(_WIN32)
    DWORD_PTR mine = 0, all = 0;
    if (GetProcessAffinityMask(GetCurrentProcess(), &mine, &all) && mine) return __builtin_popcountll(mine);
#endif
    return int(std::max(1u, std::thread::hardware_concurrency()));
}

#ifdef _WIN32

void after_fork(void (*)()) {}

Pages zeroed_pages(size_t) { return {}; }
void give_back(const Pages&) {}
void* allocate_aligned(size_t alignment, size_t bytes) { return _aligned_malloc(bytes, alignment); }
void free_aligned(void* memory) { _aligned_free(memory); }
bool can_map(size_t bytes) {
    void* at = VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    return at && VirtualFree(at, 0, MEM_RELEASE);
}
int64_t mapped_bytes() { return -1; }

void* open_library(const std::string& path, Loading how, std::string& error) {
    // what lies beside it is found before what the system or PATH has
    const DWORD flags = path.find_first_of("/\\") == std::string::npos ? 0 : LOAD_WITH_ALTERED_SEARCH_PATH;
    std::string native = path;
    std::replace(native.begin(), native.end(), '/', '\\');
    HMODULE found = nullptr;
    if (how == Loading::loaded) found = GetModuleHandleA(native.c_str());
    else found = LoadLibraryExA(native.c_str(), nullptr, flags);
    if (!found) error = path + ": error " + std::to_string(GetLastError()) + " of Windows";
    return reinterpret_cast<void*>(found);
}
void close_library(void* library) { FreeLibrary(static_cast<HMODULE>(library)); }
void* symbol(void* library, const char* name) {
    return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), name));
}
std::string file_of(const void* address) {
    constexpr DWORD flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
    HMODULE module = nullptr;
    char name[MAX_PATH];
    if (!GetModuleHandleExA(flags, static_cast<const char*>(address), &module)) return "";
    std::string path(name, GetModuleFileNameA(module, name, MAX_PATH));
    std::replace(path.begin(), path.end(), '\\', '/');
    return path;
}

void set_environment(const char* name, const char* value) { _putenv_s(name, value ? value : ""); }

#else

void after_fork(void (*in_child)()) { pthread_atfork(nullptr, nullptr, in_child); }

Pages zeroed_pages(size_t wanted) {
#ifdef MADV_HUGEPAGE
    constexpr size_t huge_page = size_t(2) << 20;
    if (wanted >= huge_page) {
        Pages p;
        p.bytes = wanted + huge_page;
        p.base = mmap(nullptr, p.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p.base == MAP_FAILED) throw std::bad_alloc();
        const uintptr_t first = reinterpret_cast<uintptr_t>(p.base);
        p.begin = reinterpret_cast<void*>((first + huge_page - 1) / huge_page * huge_page);
        madvise(p.begin, wanted, MADV_HUGEPAGE);
        return p;
    }
#endif
    (void)wanted;
    return {};
}
void give_back(const Pages& pages) { munmap(pages.base, pages.bytes); }
void* allocate_aligned(size_t alignment, size_t bytes) { return std::aligned_alloc(alignment, bytes); }
void free_aligned(void* memory) { std::free(memory); }
bool can_map(size_t bytes) {
    void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return false;
    munmap(at, bytes);
    return true;
}
int64_t mapped_bytes() {
    int64_t pages = -1;
    std::ifstream("/proc/self/statm") >> pages;
    return pages < 0 ? -1 : pages * int64_t(sysconf(_SC_PAGESIZE));
}

void* open_library(const std::string& path, Loading how, std::string& error) {
    int flags = RTLD_NOW | RTLD_LOCAL;
    if (how == Loading::loaded) flags |= RTLD_NOLOAD;
#ifdef RTLD_DEEPBIND
    const bool sanitized = dlsym(RTLD_DEFAULT, "__asan_init") || dlsym(RTLD_DEFAULT, "__tsan_init");
    if (how == Loading::apart && !sanitized) flags |= RTLD_DEEPBIND;  // a sanitizer ends the process at it
#endif
    void* library = dlopen(path.c_str(), flags);
    const char* why = library ? nullptr : dlerror();
    if (!library) error = why ? why : path + ": cannot be opened";
    return library;
}
void close_library(void* library) { dlclose(library); }
void* symbol(void* library, const char* name) { return dlsym(library, name); }
std::string file_of(const void* address) {
    Dl_info info;
    return dladdr(address, &info) && info.dli_fname ? info.dli_fname : "";
}

void set_environment(const char* name, const char* value) {
    if (value) ::setenv(name, value, 1);
    else ::unsetenv(name);
}

#endif

}  // namespace fd::platform
