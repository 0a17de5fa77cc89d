// Test-only: the words of CUDA that our kernels and our host code use, over fibers (kernels) and plain memory (the runtime).
// Streams are lazy: what was enqueued happens when the host waits for it, so host code that reads results too early, or writes
// into a pinned buffer that is still to be copied, is found out.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "fibers.h"

// ---- the runtime ----------------------------------------------------------------------------------------------------

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInsufficientDriver = 35,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorNoDevice = 100,
    cudaErrorNotReady = 600,
    cudaErrorStreamCaptureUnsupported = 900
};
enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault
};
enum cudaStreamCaptureMode {
    cudaStreamCaptureModeGlobal,
    cudaStreamCaptureModeThreadLocal,
    cudaStreamCaptureModeRelaxed
};
enum cudaDeviceAttr {
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76,
    cudaDevAttrCooperativeLaunch = 95,
    cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };
enum cudaMemoryType { cudaMemoryTypeUnregistered, cudaMemoryTypeHost, cudaMemoryTypeDevice, cudaMemoryTypeManaged };
struct cudaPointerAttributes {
    cudaMemoryType type;
    int device;
};
enum cudaLaunchAttributeID { cudaLaunchAttributeCooperative = 2 };
struct cudaLaunchAttribute {
    cudaLaunchAttributeID id;
    struct {
        int cooperative;
    } val;
};
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaHostAllocDefault = 0;

struct cudaLaunchConfig_t;
namespace emulator {
struct Stream;
struct Graph;
struct Event;
using Work = std::function<void()>;
void enqueue(Stream*, Work);    // or records it, while a capture is under way
bool capturing();               // any stream
void set_memory(size_t bytes);  // of the device
void set_devices(int count);
void refuse_launch(long number);                  // of the launches to come, or 0 for none
void place_array(const void* array, int device);  // one that the engine has not made; -1: on none
void give_shared_bytes(const void* kernel, size_t bytes);
size_t shared_bytes_of(const void* kernel);  // what a block of it may ask for
cudaError_t refusal(const cudaLaunchConfig_t&,
                    const void* kernel);  // whether it may be launched; cudaGetErrorString has why
}  // namespace emulator
using cudaStream_t = emulator::Stream*;
using cudaGraph_t = emulator::Graph*;
using cudaGraphExec_t = emulator::Graph*;
using cudaEvent_t = emulator::Event*;
struct cudaLaunchConfig_t {
    dim3 grid, block;
    size_t shared_bytes;
    cudaStream_t stream;
    cudaLaunchAttribute* attrs;
    unsigned numAttrs;
};

struct cudaDeviceProp {
    char name[256];
};

const char* cudaGetErrorName(cudaError_t);
const char* cudaGetErrorString(cudaError_t);
cudaError_t cudaGetLastError();
cudaError_t cudaGetDeviceCount(int*);
cudaError_t cudaGetDevice(int*);
cudaError_t cudaSetDevice(int);
cudaError_t cudaDriverGetVersion(int*);
cudaError_t cudaRuntimeGetVersion(int*);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp*, int);
cudaError_t cudaDeviceGetAttribute(int*, cudaDeviceAttr, int);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaMalloc(void**, size_t);
cudaError_t cudaFree(void*);
cudaError_t cudaHostAlloc(void**, size_t, unsigned);
cudaError_t cudaFreeHost(void*);
cudaError_t cudaMemcpyAsync(void*, const void*, size_t, cudaMemcpyKind, cudaStream_t);
cudaError_t cudaMemcpy2DAsync(void*, size_t, const void*, size_t, size_t, size_t, cudaMemcpyKind, cudaStream_t);
cudaError_t cudaMemsetAsync(void*, int, size_t, cudaStream_t);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t*, unsigned);
cudaError_t cudaStreamDestroy(cudaStream_t);
cudaError_t cudaStreamSynchronize(cudaStream_t);
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus*);
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes*, const void*);
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned);
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode);
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t*);
cudaError_t cudaGraphGetNodes(cudaGraph_t, void* none, size_t* count);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t*, cudaGraph_t, unsigned long long);
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t);
cudaError_t cudaGraphDestroy(cudaGraph_t);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t*, unsigned);
cudaError_t cudaEventDestroy(cudaEvent_t);
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t);
cudaError_t cudaEventSynchronize(cudaEvent_t);
cudaError_t cudaEventQuery(cudaEvent_t);
template <class F>
cudaError_t cudaFuncSetAttribute(F kernel, cudaFuncAttribute, int bytes) {
    if (bytes < 0 || size_t(bytes) > emulator::most_shared_bytes) return cudaErrorInvalidValue;
    emulator::give_shared_bytes(reinterpret_cast<const void*>(kernel), size_t(bytes));
    return cudaSuccess;
}
template <class F>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, F, int, size_t shared) {
    *blocks = int(emulator::blocks_per_processor(shared));
    return cudaSuccess;
}

// ---- the language ---------------------------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __shared__ static  // one block at a time
#define __restrict__ __restrict
#define __align__(n) __attribute__((aligned(n)))

struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) double2 {
    double x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

#define threadIdx (emulator::machine.current->id)
#define blockIdx (emulator::machine.current->block->id)
#define blockDim (emulator::machine.block_size)
#define gridDim (emulator::machine.grid_size)
#define __syncthreads() ((void)emulator::block_barrier(__LINE__))
#define __syncthreads_or(p) (emulator::block_barrier(__LINE__, (p)) != 0)
#define __syncthreads_count(p) emulator::block_barrier(__LINE__, (p))
#define __syncwarp() emulator::sync_warp(__LINE__)
#define __shfl_sync(mask, v, from) emulator::shuffle(mask, v, from, 32, __LINE__)
#define __shfl_xor_sync(mask, v, bits) emulator::shuffle_xor(mask, v, bits, 32, __LINE__)
#define __shfl_down_sync(mask, v, delta) emulator::shuffle_down(mask, v, delta, 32, __LINE__)
#define __ballot_sync(mask, p) emulator::ballot(mask, p, __LINE__)
inline void __threadfence() { emulator::fence(); }
template <class T>
T __ldg(const T* p) {
    return *p;
}
template <class T>
__attribute__((noinline, no_sanitize("thread"))) T atomicAdd(T* p, T v) {  // additions by several threads are no race
    static_assert(!std::is_floating_point<T>::value, "sums of floating point must not depend on the order of threads");
    emulator::races::arrive();
    const T old = *p;
    *p = old + v;
    return old;
}
inline unsigned __float_as_uint(float f) {
    unsigned u;
    std::memcpy(&u, &f, 4);
    return u;
}
inline float __uint_as_float(unsigned u) {
    float f;
    std::memcpy(&f, &u, 4);
    return f;
}

#define FD_DYN_SHARED(T, name) T* name = reinterpret_cast<T*>(emulator::machine.current->block->shared.get())
template <class... P>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P...), P... arguments) {
    const cudaError_t refused = emulator::refusal(*config, reinterpret_cast<const void*>(kernel));
    if (refused != cudaSuccess) return refused;
    emulator::enqueue(config->stream, [c = *config, cooperative = config->numAttrs > 0, kernel, arguments...]() {
        auto body = [&]() { kernel(arguments...); };
        emulator::launch(c.grid, c.block, c.shared_bytes, cooperative, body);
    });
    return cudaSuccess;
}
#define FD_GRID_BARRIER() emulator::grid_barrier(__LINE__)
