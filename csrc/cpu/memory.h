// Aligned storage that is allocated before a run and never inside a step.
#pragma once
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#include "core/platform.h"

namespace fd::cpu {

// Memory of zeros that begins on a cache line, or, if it is large, on a huge page: products walk weights across many small pages.
// Large memory comes from the system as zeros and is not written here, which would take seconds for some gigabytes.
class ZeroedMemory {
public:
    ZeroedMemory() = default;
    explicit ZeroedMemory(size_t wanted) : memory_(platform::zeroed_pages(wanted)) {
        if (memory_.begin) return;
        const size_t bytes = (wanted + 63) / 64 * 64;  // whole vectors may be read and written
        memory_.begin = ::operator new(bytes, line);
        std::memset(memory_.begin, 0, bytes);
    }
    ~ZeroedMemory() {
        if (memory_.base) platform::give_back(memory_);
        else ::operator delete(memory_.begin, line);
    }
    ZeroedMemory(const ZeroedMemory&) = delete;
    ZeroedMemory& operator=(const ZeroedMemory&) = delete;
    void swap(ZeroedMemory& other) noexcept { std::swap(memory_, other.memory_); }
    void* begin() const { return memory_.begin; }

private:
    static constexpr std::align_val_t line{64};
    platform::Pages memory_;  // without a base: from the heap
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
