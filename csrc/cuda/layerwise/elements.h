// Kernels that go over elements: how many blocks they take, and which elements a thread has.
#pragma once
#include <cstdint>

#include "cuda/runtime/port.h"

namespace fd::cuda {

constexpr int threads = 256;  // of a block

inline unsigned blocks_for(int64_t n) {
    const int64_t blocks = (n + threads - 1) / threads;
    return unsigned(blocks < 8192 ? blocks : 8192);  // the rest by going round
}
__device__ __forceinline__ int64_t first_element() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ __forceinline__ int64_t element_stride() { return int64_t(gridDim.x) * blockDim.x; }

}  // namespace fd::cuda
