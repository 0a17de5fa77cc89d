// Aligned storage that is allocated before a run and never inside a step.
#pragma once
#ifdef __linux__
#include <sys/mman.h>
#endif

#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

namespace fd::cpu {

// Memory of zeros that begins on a cache line, or, if it is large, on a huge page: products walk weights across many small pages.
// Large memory comes from the system as zeros and is not written here, which would take seconds for some gigabytes.
class ZeroedMemory {
public:
    ZeroedMemory() = default;
    explicit ZeroedMemory(size_t wanted) {
#ifdef MADV_HUGEPAGE
        if (wanted >= huge_page) {
            mapped_ = wanted + huge_page;
            base_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (base_ == MAP_FAILED) throw std::bad_alloc();
            const uintptr_t first = reinterpret_cast<uintptr_t>(base_);
            begin_ = reinterpret_cast<void*>((first + huge_page - 1) / huge_page * huge_page);
            madvise(begin_, wanted, MADV_HUGEPAGE);
            return;
        }
#endif
        const size_t bytes = (wanted + 63) / 64 * 64;  // whole vectors may be read and written
        begin_ = base_ = ::operator new(bytes, line);
        std::memset(base_, 0, bytes);
    }
    ~ZeroedMemory() {
#ifdef MADV_HUGEPAGE
        if (mapped_) {
            munmap(base_, mapped_);
            return;
        }
#endif
        ::operator delete(base_, line);
    }
    ZeroedMemory(const ZeroedMemory&) = delete;
    ZeroedMemory& operator=(const ZeroedMemory&) = delete;
    void swap(ZeroedMemory& other) noexcept {
        std::swap(base_, other.base_), std::swap(begin_, other.begin_), std::swap(mapped_, other.mapped_);
    }
    void* begin() const { return begin_; }

private:
    static constexpr std::align_val_t line{64};
    static constexpr size_t huge_page = size_t(2) << 20;
    void *base_ = nullptr, *begin_ = nullptr;
    size_t mapped_ = 0;  // 0: from the heap
};

template <class T>
class Buffer {
public:
    // At least n elements; old contents are lost when it grows. New memory is zero.
    void reserve(int64_t n) {
        if (n <= size_) return;
        ZeroedMemory fresh(size_t(n) * sizeof(T));
        memory_.swap(fresh);
        data_ = static_cast<T*>(memory_.begin());
        size_ = n;
    }
    T* get() const { return data_; }
    T& operator[](int64_t i) const { return data_[i]; }
    int64_t size() const { return size_; }

private:
    ZeroedMemory memory_;
    T* data_ = nullptr;
    int64_t size_ = 0;
};

}  // namespace fd::cpu
