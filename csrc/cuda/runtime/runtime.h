// The CUDA runtime with errors that say enough: the call, where it is, the device, and for memory what was asked for and what
// is free. Host code only.
#pragma once
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/types.h"
#include "cuda/runtime/runtime_api.h"

namespace fd::cuda {

struct CudaError : std::runtime_error {
    using std::runtime_error::runtime_error;
};
struct CudaUnavailable : std::runtime_error {  // no usable device
    using std::runtime_error::runtime_error;
};
struct OutOfMemory : std::runtime_error {
    using std::runtime_error::runtime_error;
};

void check(cudaError_t result, const char* call, const char* file, int line);
#define FD_CUDA(call) ::fd::cuda::check((call), #call, __FILE__, __LINE__)

struct Launch {  // of a kernel
    const char *kernel, *file;
    int line;
    dim3 grid, block;
    size_t bytes;  // of dynamic shared memory
    cudaStream_t stream;
    bool cooperative = false;
};
// CudaError with the kernel's name if it was refused. With FASTDENSE_CUDA_SYNC=1 it also waits until the kernel has run, so that
// an error inside of one is not found at a later call.
void check_launch(const Launch&, cudaError_t);
// Kernels of this process so far, and what graphs held that were launched: for benchmarks.
int64_t launches();
void count_launches(int64_t);
bool waits_for_kernels();  // whether that is set: then nothing is captured in graphs
// A kernel may ask for as much shared memory as there is. Always the same: the attribute is the kernel's, not a launch's, and
// other threads launch it for other nets.
void allow_shared_memory(const void* kernel);

int device_count();  // 0 without a driver
void require_no_fork();
void require_device();  // CudaUnavailable saying what is missing, CudaError in a process that was forked after the first use
struct DeviceInfo {
    std::string name;
    int major = 0, minor = 0, processors = 0, shared_bytes = 0, driver = 0, runtime = 0;
    bool cooperative = false;
    size_t free_bytes = 0, total_bytes = 0;
};
DeviceInfo device_info();    // of the calling thread's device
const DeviceInfo& device();  // the same, asked once for each device; memory is that of then

// The device that the calling thread has chosen.
int current_device();
// While it lives, the calling thread uses this device.
class OnDevice {
public:
    explicit OnDevice(int device);
    ~OnDevice();
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;

private:
    int before_;
};
// InvalidArgument unless a caller's array lies on the current device and its numbers on multiples of their size.
void check_array(const View&, const char* name);

int64_t free_memory();                   // of the device, in bytes; asking takes a while
void wait_for_stream(uintptr_t stream);  // of another library; 1 and 2 are the default streams

void* allocate(size_t bytes);         // on the device
void* allocate_pinned(size_t bytes);  // on the host
void release(void*) noexcept;
void release_pinned(void*) noexcept;

// Memory of n elements; grows, never shrinks. What it held is lost when it grows.
template <class T, void* (*Allocate)(size_t), void (*Release)(void*) noexcept>
class Memory {
public:
    Memory() = default;
    ~Memory() { Release(p_); }
    Memory(Memory&& o) noexcept : p_(std::exchange(o.p_, nullptr)), n_(std::exchange(o.n_, 0)) {}
    Memory& operator=(Memory&& o) noexcept {
        std::swap(p_, o.p_), std::swap(n_, o.n_);
        return *this;
    }
    bool reserve(int64_t n) {  // whether it moved
        if (n <= n_) return false;
        Release(std::exchange(p_, nullptr));
        n_ = 0;
        p_ = static_cast<T*>(Allocate(size_t(n) * sizeof(T)));
        n_ = n;
        return true;
    }
    void free() {
        Release(std::exchange(p_, nullptr));
        n_ = 0;
    }
    T* get() const { return p_; }
    int64_t size() const { return n_; }

private:
    T* p_ = nullptr;
    int64_t n_ = 0;
};
template <class T>
using DeviceBuffer = Memory<T, allocate, release>;
template <class T>
using PinnedBuffer = Memory<T, allocate_pinned, release_pinned>;

class Stream {
public:
    Stream() { FD_CUDA(cudaStreamCreateWithFlags(&s_, cudaStreamNonBlocking)); }
    ~Stream() { (void)cudaStreamDestroy(s_); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    operator cudaStream_t() const { return s_; }
    void synchronize() const { FD_CUDA(cudaStreamSynchronize(s_)); }
    template <class T>
    void upload(T* to, const T* from, int64_t n) const {
        FD_CUDA(cudaMemcpyAsync(to, from, size_t(n) * sizeof(T), cudaMemcpyHostToDevice, s_));
    }
    template <class T>
    void download(T* to, const T* from, int64_t n) const {
        FD_CUDA(cudaMemcpyAsync(to, from, size_t(n) * sizeof(T), cudaMemcpyDeviceToHost, s_));
    }
    template <class T>
    void copy(T* to, const T* from, int64_t n) const {
        FD_CUDA(cudaMemcpyAsync(to, from, size_t(n) * sizeof(T), cudaMemcpyDeviceToDevice, s_));
    }
    template <class T>
    void zero(T* to, int64_t n) const {
        FD_CUDA(cudaMemsetAsync(to, 0, size_t(n) * sizeof(T), s_));
    }
    template <class T>
    void clear(DeviceBuffer<T>& b, int64_t n) const {  // room for n elements, all of it zeros
        b.reserve(n > 1 ? n : 1);
        zero(b.get(), b.size());
    }

private:
    cudaStream_t s_ = nullptr;
};

// Around a call of an engine: on the device that it lies on; after an error nothing is at work on the stream any more.
class Call {
public:
    Call(int device, const Stream& stream) : here_(device), stream_(stream), errors_(std::uncaught_exceptions()) {}
    ~Call() {
        if (failed()) wait();
    }
    bool failed() const { return std::uncaught_exceptions() > errors_; }

private:
    void wait() noexcept {
        try {
            stream_.synchronize();
        } catch (const std::exception&) {}  // the first error is the one to report
    }
    const OnDevice here_;
    const Stream& stream_;
    const int errors_;
};

class Event {
public:
    Event() { FD_CUDA(cudaEventCreateWithFlags(&e_, cudaEventDisableTiming)); }
    ~Event() { (void)cudaEventDestroy(e_); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    void record(cudaStream_t s) { FD_CUDA(cudaEventRecord(e_, s)); }
    void synchronize() { FD_CUDA(cudaEventSynchronize(e_)); }
    operator cudaEvent_t() const { return e_; }

private:
    cudaEvent_t e_ = nullptr;
};

// A run of work captured once and launched many times.
class Graph {
public:
    template <class F>
    Graph(cudaStream_t stream, F&& enqueue) {
        FD_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
        cudaGraph_t graph = nullptr;
        try {
            enqueue();
        } catch (...) {
            (void)cudaStreamEndCapture(stream, &graph);
            if (graph) (void)cudaGraphDestroy(graph);
            throw;
        }
        FD_CUDA(cudaStreamEndCapture(stream, &graph));
        (void)cudaGraphGetNodes(graph, nullptr, &nodes_);
        const cudaError_t made = cudaGraphInstantiate(&exec_, graph, 0);
        (void)cudaGraphDestroy(graph);
        FD_CUDA(made);
    }
    ~Graph() {
        if (exec_) (void)cudaGraphExecDestroy(exec_);
    }
    Graph(Graph&& o) noexcept : exec_(std::exchange(o.exec_, nullptr)), nodes_(o.nodes_) {}
    Graph& operator=(Graph&& o) noexcept {
        std::swap(exec_, o.exec_);
        std::swap(nodes_, o.nodes_);
        return *this;
    }
    void launch(cudaStream_t stream) const {
        FD_CUDA(cudaGraphLaunch(exec_, stream));
        count_launches(int64_t(nodes_));
    }

private:
    cudaGraphExec_t exec_ = nullptr;
    size_t nodes_ = 0;
};

}  // namespace fd::cuda
