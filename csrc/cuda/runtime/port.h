// CUDA for kernel files: nvcc's, or the emulator of tests/emulator. Kernels are launched by FD_LAUNCH only, which checks that they
// were, have full warp masks, take dynamic shared memory by FD_DYN_SHARED, and add no floating-point numbers with atomics: the same
// seed must give the same bits.
#pragma once
#ifdef FD_EMULATE
#include "cuda_emulator.h"
#else
#include <cooperative_groups.h>
#include <cuda_runtime.h>
#define FD_DYN_SHARED(T, name)                                   \
    extern __shared__ __align__(128) unsigned char fd_shared_[]; \
    T* name = reinterpret_cast<T*>(fd_shared_)
#define FD_GRID_BARRIER() cooperative_groups::this_grid().sync()
#endif

#include "cuda/runtime/runtime.h"
#include "ops/hd.h"

#define FD_LAUNCH(kernel, grid, block, bytes, stream, ...) \
    ::fd::cuda::launch({#kernel, __FILE__, __LINE__, grid, block, size_t(bytes), stream}, kernel, __VA_ARGS__)
// All blocks run at once and may wait for each other.
#define FD_LAUNCH_COOPERATIVE(kernel, grid, block, bytes, stream, ...) \
    ::fd::cuda::launch({#kernel, __FILE__, __LINE__, grid, block, size_t(bytes), stream, true}, kernel, __VA_ARGS__)

namespace fd::cuda {
template <class... P, class... A>
void launch(const Launch& l, void (*kernel)(P...), A&&... arguments) {
    cudaLaunchAttribute cooperative{};
    cooperative.id = cudaLaunchAttributeCooperative, cooperative.val.cooperative = 1;
    // in the order of its members, some of whose names the emulator has for macros
    const cudaLaunchConfig_t config = {l.grid, l.block, l.bytes, l.stream, &cooperative, l.cooperative ? 1u : 0u};
    check_launch(l, cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...));
}
}  // namespace fd::cuda

namespace fd::cuda {

constexpr unsigned whole_warp = 0xffffffffu;

template <class T>
__device__ __forceinline__ T warp_sum(T v) {  // every lane has it, and all the same bits
#pragma unroll
    for (int bits = 16; bits; bits >>= 1) v += __shfl_xor_sync(whole_warp, v, bits);
    return v;
}
template <class T>
__device__ __forceinline__ T warp_max(T v) {  // a NaN may get lost
#pragma unroll
    for (int bits = 16; bits; bits >>= 1) {
        const T other = __shfl_xor_sync(whole_warp, v, bits);
        v = other > v ? other : v;
    }
    return v;
}
// Sum over the block, whose size is a multiple of 32; every thread has it. `scratch`: 33 numbers of shared memory.
template <class T>
__device__ __forceinline__ T block_sum(T v, T* scratch) {
    const int lane = int(threadIdx.x) & 31, warp = int(threadIdx.x) >> 5, warps = int(blockDim.x) >> 5;
    v = warp_sum(v);
    if (lane == 0) scratch[warp] = v;
    __syncthreads();
    if (warp == 0) {
        v = warp_sum(lane < warps ? scratch[lane] : T(0));
        if (lane == 0) scratch[32] = v;
    }
    __syncthreads();
    v = scratch[32];
    __syncthreads();  // scratch may be used again
    return v;
}

// Blocks that sum columns: 32 of them, and so many threads for the rows of each.
constexpr int lanes_of_rows = 8;
// Sum of `v` over the threads of a column; all of them have it.
__device__ inline double over_rows(double v, double (*scratch)[33]) {
    const int x = int(threadIdx.x), y = int(threadIdx.y);
    scratch[y][x] = v;
    __syncthreads();
    double total = 0;
    for (int l = 0; l < lanes_of_rows; ++l) total += scratch[l][x];
    __syncthreads();
    return total;
}

}  // namespace fd::cuda
