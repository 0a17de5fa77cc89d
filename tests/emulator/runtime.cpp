// The emulated runtime: memory of a limited size, lazy streams, graphs as lists of work.
#include <deque>
#include <map>
#include <mutex>

#include "cuda_emulator.h"

namespace emulator {

int fresh_id() {
    static int last = 0;
    return ++last;
}

struct Entry {
    uint64_t number;
    Work work;
    int stream;  // the id
    Clock clock;
};
struct Graph {
    std::vector<Entry> work;
    Clock length;  // of each branch: streams have other ids while they are captured
    uint64_t launches = 0;
};
struct Stream {
    std::deque<Entry> queue;
    uint64_t next = 1;
    int id = fresh_id(), id_outside = 0;
    int device = 0;
    Clock clock, clock_outside;  // what comes before that which is enqueued next; outside of the capture under way
    Graph* capture = nullptr;

    void join(Graph* graph) {
        capture = graph;
        id_outside = id, clock_outside = std::move(clock);
        id = fresh_id(), clock.clear();
    }
    void leave() {
        capture->length[id] = clock[id];
        capture = nullptr;
        id = id_outside, clock = std::move(clock_outside);
    }
};
struct Event {
    Stream* stream = nullptr;
    uint64_t number = 0;
    Clock clock;
    Graph* capture = nullptr;  // under way when it was recorded
};

namespace {

std::recursive_mutex lock;  // one GPU, shared by all host threads
std::map<const char*, size_t> device_memory, pinned_memory;
size_t capacity = size_t(1) << 30, used = 0;
Stream default_stream;
cudaError_t last_error = cudaSuccess;
std::vector<Stream*> streams{&default_stream};
Clock host;                                  // what it has waited for
std::map<const void*, size_t> shared_bytes;  // that kernels were given beyond the usual

Stream& of(Stream* s) {
    return reinterpret_cast<uintptr_t>(s) > 2 ? *s : default_stream;
}  // 1 and 2 are other names of it
cudaError_t failed(cudaError_t e) { return last_error = e; }

thread_local int current_device = 0;
std::string refused;              // why the last launch was
long launches_until_refusal = 0;  // or none
cudaError_t refuse(const std::string& why) {
    refused = why;
    return failed(cudaErrorInvalidValue);
}
std::map<const void*, int> foreign;  // devices of arrays that are not the engine's own
int devices = 1;

bool holds(const std::map<const char*, size_t>& memory, const void* p) {
    auto it = memory.upper_bound(static_cast<const char*>(p));
    if (it == memory.begin()) return false;
    --it;
    return static_cast<const char*>(p) < it->first + std::max<size_t>(it->second, 1);
}

void run(Stream& s, uint64_t until) {
    while (!s.queue.empty() && s.queue.front().number <= until) {
        Entry e = std::move(s.queue.front());
        s.queue.pop_front();
        try {
            races::begin_work(e.stream, e.clock);
            e.work();
            races::end_work();
        } catch (...) {  // what came behind it is lost, as on a GPU
            s.queue.clear();
            throw;
        }
    }
}
void wait(Stream& s) {
    run(s, ~uint64_t(0));
    merge(host, s.clock);
}
void wait_for_all() {
    for (Stream* s : streams) wait(*s);
}
// All work has been waited for, so that all that follows comes after it, and nothing needs to be known of it: what is known goes
// with every piece of work, and tests make thousands of streams.
void forget_the_past() {
    wait(default_stream);
    host.clear(), default_stream.clock.clear();
    default_stream.id = fresh_id();
    races::forget_the_past();
}

}  // namespace

void enqueue(Stream* stream, Work work) {
    const std::lock_guard<std::recursive_mutex> guard(lock);
    Stream& s = of(stream);
    if (!s.capture) merge(s.clock, host);
    ++s.clock[s.id];
    if (s.capture) {
        s.capture->work.push_back({0, std::move(work), s.id, s.clock});
        return;
    }
    s.queue.push_back({s.next++, std::move(work), s.id, s.clock});
    if (s.queue.size() > 20000) run(s, s.queue[s.queue.size() / 2].number);
}

bool capturing() {
    const std::lock_guard<std::recursive_mutex> guard(lock);
    return std::any_of(streams.begin(), streams.end(), [](const Stream* s) { return s->capture; });
}

void set_memory(size_t bytes) { capacity = bytes; }
void refuse_launch(long number) { launches_until_refusal = number; }
void set_devices(int count) { devices = count; }
void place_array(const void* p, int device) { foreign[p] = device; }

void give_shared_bytes(const void* kernel, size_t bytes) {
    const std::lock_guard<std::recursive_mutex> guard(lock);
    shared_bytes[kernel] = bytes;
}
cudaError_t refusal(const cudaLaunchConfig_t& c, const void* kernel) {
    const std::lock_guard<std::recursive_mutex> guard(lock);
    if (launches_until_refusal > 0 && --launches_until_refusal == 0) return refuse("as a test wants it");
    if (of(c.stream).device != current_device && c.stream) {
        refuse("a stream of another device");
        return failed(cudaErrorInvalidResourceHandle);
    }
    const std::string why = why_not(c.grid, c.block, c.shared_bytes, shared_bytes_of(kernel), c.numAttrs > 0);
    return why.empty() ? cudaSuccess : refuse(why);
}
size_t shared_bytes_of(const void* kernel) {
    auto it = shared_bytes.find(kernel);
    return it == shared_bytes.end() ? shared_bytes_unasked : it->second;
}

}  // namespace emulator

using namespace emulator;
using Guard = std::lock_guard<std::recursive_mutex>;

const char* cudaGetErrorName(cudaError_t e) {
    switch (e) {
        case cudaSuccess: return "cudaSuccess";
        case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
        case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
        case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
        case cudaErrorInvalidResourceHandle: return "cudaErrorInvalidResourceHandle";
        case cudaErrorNoDevice: return "cudaErrorNoDevice";
        case cudaErrorNotReady: return "cudaErrorNotReady";
        case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    }
    return "unknown";
}
const char* cudaGetErrorString(cudaError_t e) {
    if (e == last_error && !refused.empty()) return refused.c_str();
    return e == cudaErrorMemoryAllocation ? "out of memory" : cudaGetErrorName(e);
}
cudaError_t cudaGetLastError() {
    const cudaError_t e = last_error;
    last_error = cudaSuccess;
    refused.clear();
    return e;
}
cudaError_t cudaGetDeviceCount(int* n) { return *n = devices, cudaSuccess; }
cudaError_t cudaGetDevice(int* d) { return *d = current_device, cudaSuccess; }
cudaError_t cudaSetDevice(int d) {
    if (d < 0 || d >= devices) return failed(cudaErrorInvalidValue);
    return current_device = d, cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* v) { return *v = 13000, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* v) { return *v = 13000, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
    std::strcpy(p->name, "emulated GPU (CPU fibers)");
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    switch (attribute) {
        case cudaDevAttrMultiProcessorCount: *value = processors; break;
        case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
        case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
        case cudaDevAttrCooperativeLaunch: *value = 1; break;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = int(most_shared_bytes); break;
    }
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
    const Guard guard(lock);
    *total = capacity, *free = capacity > used ? capacity - used : 0;
    return cudaSuccess;
}
cudaError_t cudaMalloc(void** p, size_t bytes) {
    const Guard guard(lock);
    if (used + bytes > capacity) return failed(cudaErrorMemoryAllocation);
    if (posix_memalign(p, races::page_bytes, std::max<size_t>(bytes, 1))) return failed(cudaErrorMemoryAllocation);
    std::memset(*p, 0xff, bytes);  // fresh memory holds anything
    races::track(*p, bytes);
    device_memory[static_cast<char*>(*p)] = bytes;
    used += bytes;
    return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
    const Guard guard(lock);
    if (!p) return cudaSuccess;
    wait_for_all();
    auto it = device_memory.find(static_cast<char*>(p));
    if (it == device_memory.end()) return failed(cudaErrorInvalidValue);
    used -= it->second;
    device_memory.erase(it);
    races::untrack(p);
    std::free(p);
    return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) {
    const Guard guard(lock);
    if (posix_memalign(p, 256, std::max<size_t>(bytes, 1))) return failed(cudaErrorMemoryAllocation);
    pinned_memory[static_cast<char*>(*p)] = bytes;
    return cudaSuccess;
}
cudaError_t cudaFreeHost(void* p) {
    const Guard guard(lock);
    if (!p) return cudaSuccess;
    wait_for_all();
    pinned_memory.erase(static_cast<char*>(p));
    std::free(p);
    return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
    const Guard guard(lock);
    Stream& s = of(stream);
    const bool to_device = holds(device_memory, to), from_device = holds(device_memory, from);
    if (kind == cudaMemcpyHostToDevice && (!to_device || from_device)) return failed(cudaErrorInvalidValue);
    if (kind == cudaMemcpyDeviceToHost && (to_device || !from_device)) return failed(cudaErrorInvalidValue);
    if (kind == cudaMemcpyDeviceToDevice && !(to_device && from_device)) return failed(cudaErrorInvalidValue);
    if (s.capture && ((!from_device && !holds(pinned_memory, from)) || (!to_device && !holds(pinned_memory, to))))
        return failed(cudaErrorStreamCaptureUnsupported);
    auto copy = [=](const void* source, size_t pitch) {
        for (size_t r = 0; r < height; ++r) {
            const char* row = static_cast<const char*>(source) + r * pitch;
            races::access(row, width, false);
            races::access(static_cast<char*>(to) + r * to_pitch, width, true);
            std::memcpy(static_cast<char*>(to) + r * to_pitch, row, width);
        }
    };
    if (!from_device && !holds(pinned_memory, from)) {  // pageable memory is read before the call returns
        auto kept = std::make_shared<std::vector<char>>(width * height);
        for (size_t r = 0; r < height; ++r)
            std::memcpy(kept->data() + r * width, static_cast<const char*>(from) + r * from_pitch, width);
        enqueue(stream, [=] { copy(kept->data(), width); });
        return cudaSuccess;
    }
    enqueue(stream, [=] { copy(from, from_pitch); });
    if (!s.capture && !to_device && !holds(pinned_memory, to)) wait(s);  // likewise written
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    if (!bytes) return cudaSuccess;
    return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
    if (!bytes) return cudaSuccess;
    enqueue(stream, [=] {
        races::access(to, bytes, true);
        std::memset(to, value, bytes);
    });
    return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
    const Guard guard(lock);
    streams.push_back(*s = new Stream);
    (*s)->device = current_device;
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s) {
    const Guard guard(lock);
    wait(*s);
    streams.erase(std::find(streams.begin(), streams.end(), s));
    delete s;
    if (streams.size() == 1 && !default_stream.capture) forget_the_past();
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    const Guard guard(lock);
    if (of(stream).capture) return failed(cudaErrorStreamCaptureUnsupported);
    wait(of(stream));
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    const Guard guard(lock);
    const Event e = *event;
    Stream& s = of(stream);
    if (e.capture) {  // the stream joins the capture; a graph here is a list, in order
        if (s.capture && s.capture != e.capture) return failed(cudaErrorStreamCaptureUnsupported);
        if (e.stream->capture != e.capture) return failed(cudaErrorStreamCaptureUnsupported);
        if (!s.capture) s.join(e.capture);
        merge(s.clock, e.clock);
        return cudaSuccess;
    }
    if (s.capture) return failed(cudaErrorStreamCaptureUnsupported);  // what it would wait for is outside
    enqueue(stream, [e] {
        if (e.stream) run(*e.stream, e.number);
    });
    merge(s.clock, e.clock);
    return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
    const Guard guard(lock);
    *status = of(stream).capture ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* a, const void* p) {
    const Guard guard(lock);
    const auto it = foreign.find(p);
    if (it == foreign.end()) *a = {cudaMemoryTypeManaged, current_device};  // also NumPy's: tests pass it for the GPU's
    else *a = {it->second < 0 ? cudaMemoryTypeUnregistered : cudaMemoryTypeDevice, it->second};
    return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    const Guard guard(lock);
    if (!stream || stream->capture) return failed(cudaErrorStreamCaptureUnsupported);
    stream->join(new Graph);
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    const Guard guard(lock);
    *graph = stream->capture;
    for (Stream* s : streams)
        if (*graph && s->capture == *graph) s->leave();
    return *graph ? cudaSuccess : failed(cudaErrorStreamCaptureUnsupported);
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, void*, size_t* count) {
    return *count = graph->work.size(), cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
    *exec = new Graph(*graph);
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    const Guard guard(lock);
    Stream& s = of(stream);
    if (s.capture) return failed(cudaErrorStreamCaptureUnsupported);
    merge(s.clock, host);
    const Clock before = s.clock;
    Clock earlier;  // launches of this graph
    for (const auto& [branch, length] : exec->length) earlier[branch] = exec->launches * length;
    for (const Entry& e : exec->work) {
        Clock clock = earlier;
        merge(clock, before);
        for (const auto& [branch, count] : e.clock) clock[branch] = earlier[branch] + count;
        s.queue.push_back({s.next++, e.work, e.stream, std::move(clock)});
    }
    ++exec->launches;
    for (const auto& [branch, length] : exec->length) s.clock[branch] = exec->launches * length;
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete graph, cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return delete exec, cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) { return *e = new Event, cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t e) { return delete e, cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t stream) {
    const Guard guard(lock);
    Stream& s = of(stream);
    e->stream = &s, e->number = s.next - 1, e->clock = s.clock, e->capture = s.capture;
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
    const Guard guard(lock);
    if (e->stream) run(*e->stream, e->number);
    merge(host, e->clock);
    return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t e) { return cudaEventSynchronize(e); }
