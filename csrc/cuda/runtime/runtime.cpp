#include "cuda/runtime/runtime.h"

namespace fd::cuda {
namespace {

std::string version(int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); }

std::string gib(size_t bytes) {
    const auto hundredths = uint64_t(double(bytes) / double(1 << 30) * 100 + 0.5);
    return std::to_string(hundredths / 100) + "." + std::to_string(hundredths / 10 % 10) +
           std::to_string(hundredths % 10) + " GiB";
}

}  // namespace

void check(cudaError_t result, const char* call, const char* file, int line) {
    if (result == cudaSuccess) return;
    (void)cudaGetLastError();
    int device = -1;
    if (cudaGetDevice(&device) != cudaSuccess) (void)cudaGetLastError();
    std::string name = file;
    name = name.substr(name.rfind("csrc/") == std::string::npos ? 0 : name.rfind("csrc/"));
    throw CudaError(std::string("CUDA: ") + cudaGetErrorName(result) + " (" + cudaGetErrorString(result) +
                    ") on device " + std::to_string(device) + ", from " + call + " at " + name + ":" +
                    std::to_string(line));
}

int device_count() {
    int n = 0;
    if (cudaGetDeviceCount(&n) != cudaSuccess) {
        (void)cudaGetLastError();
        return 0;
    }
    return n;
}

void require_device() {
    int n = 0, driver = 0, runtime = 0;
    const cudaError_t e = cudaGetDeviceCount(&n);
    if (e == cudaSuccess && n > 0) return;
    (void)cudaGetLastError();
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    const std::string why = driver == 0 ? "no NVIDIA driver is loaded (libcuda.so.1 is missing or unusable)"
                            : e == cudaErrorInsufficientDriver
                                ? "the driver is too old, it supports CUDA " + version(driver)
                                : "the driver reports no device (is CUDA_VISIBLE_DEVICES set?)";
    throw CudaUnavailable("no usable CUDA device: " + why + "; this build needs a driver for CUDA " + version(runtime) +
                          " [" + cudaGetErrorName(e) + "]");
}

DeviceInfo device_info() {
    require_device();
    DeviceInfo d;
    int id = 0, cooperative = 0;
    FD_CUDA(cudaGetDevice(&id));
    cudaDeviceProp properties;
    FD_CUDA(cudaGetDeviceProperties(&properties, id));
    d.name = properties.name;
    FD_CUDA(cudaDeviceGetAttribute(&d.major, cudaDevAttrComputeCapabilityMajor, id));
    FD_CUDA(cudaDeviceGetAttribute(&d.minor, cudaDevAttrComputeCapabilityMinor, id));
    FD_CUDA(cudaDeviceGetAttribute(&d.processors, cudaDevAttrMultiProcessorCount, id));
    FD_CUDA(cudaDeviceGetAttribute(&d.shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, id));
    FD_CUDA(cudaDeviceGetAttribute(&cooperative, cudaDevAttrCooperativeLaunch, id));
    d.cooperative = cooperative != 0;
    FD_CUDA(cudaDriverGetVersion(&d.driver));
    FD_CUDA(cudaRuntimeGetVersion(&d.runtime));
    FD_CUDA(cudaMemGetInfo(&d.free_bytes, &d.total_bytes));
    return d;
}

const DeviceInfo& device() {
    static const DeviceInfo info = device_info();
    return info;
}

int64_t free_memory() {
    size_t free = 0, total = 0;
    FD_CUDA(cudaMemGetInfo(&free, &total));
    return int64_t(free);
}

void wait_for_stream(uintptr_t stream) { FD_CUDA(cudaStreamSynchronize(reinterpret_cast<cudaStream_t>(stream))); }

void* allocate(size_t bytes) {
    void* p = nullptr;
    const cudaError_t e = cudaMalloc(&p, bytes);
    if (e == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        size_t free = 0, total = 0;
        (void)cudaMemGetInfo(&free, &total);
        throw OutOfMemory("the GPU has not enough memory: " + gib(bytes) + " were asked for, " + gib(free) + " of " +
                          gib(total) + " are free; use a smaller batch_size, or device='cpu'");
    }
    FD_CUDA(e);
    return p;
}
void* allocate_pinned(size_t bytes) {
    void* p = nullptr;
    FD_CUDA(cudaHostAlloc(&p, bytes, cudaHostAllocDefault));
    return p;
}
// At the end of the process the driver may be unloaded already, and no error can be reported.
void release(void* p) noexcept {
    if (p) (void)cudaFree(p);
}
void release_pinned(void* p) noexcept {
    if (p) (void)cudaFreeHost(p);
}

}  // namespace fd::cuda
