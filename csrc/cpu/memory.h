// Aligned storage that is allocated before a run and never inside a step.
#pragma once
#ifdef __linux__
#include <sys/mman.h>
#endif

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace fd::cpu {

template <class T>
class Buffer {
public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { std::free(data_); }

    // At least n elements; old contents are lost when it grows. New memory is zero.
    void reserve(int64_t n) {
        if (n <= size_) return;
        const size_t wanted = size_t(n) * sizeof(T), alignment = wanted >= huge_page ? huge_page : 64;
        const size_t bytes = (wanted + alignment - 1) / alignment * alignment;
        void* fresh = std::aligned_alloc(alignment, bytes);
        if (!fresh) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
        if (alignment == huge_page)
            madvise(fresh, bytes, MADV_HUGEPAGE);  // products walk weights across many small pages
#endif
        std::memset(fresh, 0, bytes);
        std::free(data_);
        data_ = static_cast<T*>(fresh);
        size_ = n;
    }
    T* get() const { return data_; }
    T& operator[](int64_t i) const { return data_[i]; }
    int64_t size() const { return size_; }

private:
    static constexpr size_t huge_page = size_t(2) << 20;
    T* data_ = nullptr;
    int64_t size_ = 0;
};

}  // namespace fd::cpu
