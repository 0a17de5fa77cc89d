#include "cuda/runtime/runtime.h"

#include <map>
#include <mutex>
#include <set>

#include "core/parallel.h"
#include "core/platform.h"

namespace fd::cuda {
namespace {

std::string version(int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); }

std::string gib(size_t bytes) {
    const auto hundredths = uint64_t(double(bytes) / double(1 << 30) * 100 + 0.5);
    return std::to_string(hundredths / 100) + "." + std::to_string(hundredths / 10 % 10) +
           std::to_string(hundredths % 10) + " GiB";
}

// "csrc/...": what comes before it is of the machine that made the build.
std::string place(const char* file, int line) {
    const std::string name = file;
    const size_t from = name.rfind("csrc/");
    return name.substr(from == std::string::npos ? 0 : from) + ":" + std::to_string(line);
}
[[noreturn]] void raise(cudaError_t result, const std::string& from, const char* file, int line) {
    const std::string name = cudaGetErrorName(result), text = cudaGetErrorString(result);
    (void)cudaGetLastError();
    int device = -1;
    if (cudaGetDevice(&device) != cudaSuccess) (void)cudaGetLastError();
    throw CudaError("CUDA: " + name + " (" + text + ") on device " + std::to_string(device) + ", from " + from +
                    " at " + place(file, line));
}
std::string text(dim3 d) { return std::to_string(d.x) + " x " + std::to_string(d.y) + " x " + std::to_string(d.z); }

struct {
    std::mutex lock;
    int64_t count = 0;
} launched;

bool forked = false;  // this process, after the GPU's first use: the driver does not work in it

}  // namespace

void check(cudaError_t result, const char* call, const char* file, int line) {
    if (result != cudaSuccess) raise(result, call, file, line);
}

int64_t launches() {
    const std::lock_guard<std::mutex> guard(launched.lock);
    return launched.count;
}
void count_launches(int64_t count) {
    const std::lock_guard<std::mutex> guard(launched.lock);
    launched.count += count;
}

bool waits_for_kernels() {
    static const bool wanted = positive_environment("FASTDENSE_CUDA_SYNC") == 1;
    return wanted;
}

void check_launch(const Launch& l, cudaError_t result) {
    std::string what = "the launch of ";
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    if (result == cudaSuccess) result = cudaStreamIsCapturing(l.stream, &status);
    if (result == cudaSuccess && status == cudaStreamCaptureStatusNone) {
        count_launches(1);
        if (waits_for_kernels()) {
            what = "the run of ";
            result = cudaStreamSynchronize(l.stream);
        }
    }
    if (result == cudaSuccess) return;
    what += std::string(l.kernel) + " (grid " + text(l.grid) + ", block " + text(l.block) + ", " +
            std::to_string(l.bytes) + " bytes of shared memory)";
    raise(result, what, l.file, l.line);
}

void allow_shared_memory(const void* kernel) {
    static std::mutex mutex;
    static std::set<std::pair<int, const void*>> done;
    const std::lock_guard<std::mutex> guard(mutex);
    const std::pair<int, const void*> key(current_device(), kernel);
    if (done.count(key)) return;
    FD_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, device().shared_bytes));
    done.insert(key);
}

int current_device() {
    int device = 0;
    FD_CUDA(cudaGetDevice(&device));
    return device;
}

OnDevice::OnDevice(int device) : before_(device) {
    require_no_fork();
    before_ = current_device();
    if (before_ != device) FD_CUDA(cudaSetDevice(device));
}
OnDevice::~OnDevice() {
    int now = before_;
    if (cudaGetDevice(&now) == cudaSuccess && now != before_) (void)cudaSetDevice(before_);
}

void check_array(const View& v, const char* name) {
    const std::string what = std::string(name) + ": ";
    const int64_t item = size_of(v.dtype);
    if (reinterpret_cast<uintptr_t>(v.data) % size_t(item) || v.row_stride % item || v.col_stride % item)
        throw InvalidArgument(what + "the array's numbers do not lie on multiples of their size, " +
                              std::to_string(item) + " bytes; make a copy of it");
    cudaPointerAttributes at{};
    if (cudaPointerGetAttributes(&at, v.data) != cudaSuccess) (void)cudaGetLastError();
    if (at.type != cudaMemoryTypeDevice && at.type != cudaMemoryTypeManaged)
        throw InvalidArgument(what + "the array says that it lies on a GPU, and the driver does not know its address");
    if (at.type == cudaMemoryTypeDevice && at.device != current_device())
        throw InvalidArgument(what + "the array lies on GPU " + std::to_string(at.device) + " and the model on GPU " +
                              std::to_string(current_device()) + "; copy it there, or make the model there");
}

int device_count() {
    int n = 0;
    if (cudaGetDeviceCount(&n) != cudaSuccess) {
        (void)cudaGetLastError();
        return 0;
    }
    return n;
}

void require_no_fork() {
    static const bool watching = (platform::after_fork([] { forked = true; }), true);
    if (watching && forked)
        throw CudaError(
            "CUDA: this process was forked from one that had used the GPU, where CUDA does not work; start "
            "processes by \"spawn\" or \"forkserver\" (multiprocessing.set_start_method), or use device='cpu'");
}

void require_device() {
    require_no_fork();
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
    static std::mutex mutex;
    static std::map<int, DeviceInfo> known;
    const std::lock_guard<std::mutex> guard(mutex);
    const int id = current_device();
    const auto found = known.find(id);
    return found != known.end() ? found->second : known.emplace(id, device_info()).first->second;
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
