// The emulator itself. It finds accesses that nothing puts in an order, wherever a barrier, an event or a join is left out, and says
// nothing where it is not; it counts what accesses would cost; it refuses launches that a GPU would.
#include <cstdio>
#include <functional>
#include <string>

#include "accesses.h"
#include "cuda/runtime/port.h"
#include "wmma.h"

namespace {

constexpr int threads = 64;
int passed = 0, failed = 0;

void check(bool ok, const std::string& what) {
    ++(ok ? passed : failed);
    if (!ok) std::printf("FAILED: %s\n", what.c_str());
}

__device__ int other_warp() { return (int(threadIdx.x) + 32) % threads; }
__device__ int other_lane() { return int(threadIdx.x) ^ 1; }

struct BlockBarrier {
    template <bool safe>
    static void run(float* out) {
        FD_DYN_SHARED(float, s);
        s[threadIdx.x] = 1;
        if (safe) __syncthreads();
        out[threadIdx.x] = s[other_warp()];
    }
};
struct StaticShared {
    template <bool safe>
    static void run(float* out) {
        __shared__ float s[threads];
        s[threadIdx.x] = 1;
        if (safe) __syncthreads();
        out[threadIdx.x] = s[other_warp()];
    }
};
struct OverwrittenTooEarly {
    template <bool safe>
    static void run(float* out) {
        FD_DYN_SHARED(float, s);
        s[threadIdx.x] = 1;
        __syncthreads();
        out[threadIdx.x] = s[other_warp()];
        if (safe) __syncthreads();
        s[threadIdx.x] = 2;
    }
};
struct WarpBarrier {
    template <bool safe>
    static void run(float* out) {
        FD_DYN_SHARED(float, s);
        s[threadIdx.x] = 1;
        out[threadIdx.x] = __shfl_xor_sync(fd::cuda::whole_warp, 1.0f, 1);  // brings lanes together, not their memory
        if (safe) __syncwarp();
        out[threadIdx.x] += s[other_lane()];
    }
};
struct WarpBarrierForBlock {
    template <bool safe>
    static void run(float* out) {
        FD_DYN_SHARED(float, s);
        s[threadIdx.x] = 1;
        __syncwarp();
        out[threadIdx.x] = s[safe ? other_lane() : other_warp()];
    }
};
struct ReadersOfTwoWarps {  // the last reader is not the only one
    template <bool safe>
    static void run(float* out) {
        FD_DYN_SHARED(float, s);
        if (threadIdx.x == 0) s[0] = 1;
        __syncthreads();
        out[threadIdx.x] = s[0];
        if (safe) __syncthreads();
        else __syncwarp();
        if (threadIdx.x == 0) s[0] = 2;
    }
};
struct Tile {
    template <bool safe>
    static void run(float* out) {
        using namespace nvcuda;
        FD_DYN_SHARED(float, s);
        float* const own = s + 256 * (threadIdx.x / 32);
        wmma::fragment<wmma::accumulator, 16, 16, 16, float> f;
        wmma::fill_fragment(f, 1.0f);
        wmma::store_matrix_sync(own, f, 16, wmma::mem_row_major);
        if (safe) __syncwarp();
        out[threadIdx.x] = own[threadIdx.x % 32];
    }
};
struct NeighboursOfTwoBytes {  // share no byte
    template <bool safe>
    static void run(float* out) {
        FD_DYN_SHARED(uint16_t, s);
        s[safe ? threadIdx.x : threadIdx.x / 2] = 1;
        out[threadIdx.x] = 0;
    }
};
struct Blocks {
    template <bool safe>
    static void run(float* out) {
        out[safe ? blockIdx.x * threads + threadIdx.x : threadIdx.x] = 1;
    }
};
struct GridBarrier {
    template <bool safe>
    static void run(float* out) {
        out[blockIdx.x * threads + threadIdx.x] = 1;
        __syncthreads();
        if (safe) FD_GRID_BARRIER();
        if (blockIdx.x == 0) out[3 * threads + threadIdx.x] = out[threads + threadIdx.x];
    }
};

// Blocks that add to a counter when they are done; the last one reads what the others have written.
struct Arrivals {
    static void run(float* out, bool barrier, bool fence, bool wait) {
        out[blockIdx.x * threads + threadIdx.x] = 1;
        if (barrier) __syncthreads();
        if (threadIdx.x == 0) {
            if (fence) __threadfence();
            atomicAdd(reinterpret_cast<int*>(out + 3 * threads), 1);
        }
        if (wait) __syncthreads();
        if (blockIdx.x == 2) out[2 * threads + threadIdx.x] = out[other_warp()];
    }
};
template <bool barrier, bool fence, bool wait>
struct LastBlock {
    template <bool safe>
    static void run(float* out) {
        Arrivals::run(out, safe || barrier, safe || fence, safe || wait);
    }
};

void write_kernel(float* a) { a[threadIdx.x] = 1; }
void read_kernel(const float* a, float* out) { out[threadIdx.x] = a[threadIdx.x]; }

template <class... P>
void launch(void (*kernel)(P...), cudaStream_t stream, P... parameters) {
    FD_LAUNCH(kernel, 1u, unsigned(threads), 4096, stream, parameters...);
}

struct Device {
    Device() {
        for (auto* s : {&one, &two}) (void)cudaStreamCreateWithFlags(s, cudaStreamNonBlocking);
        for (auto* p : {&a, &b}) (void)cudaMalloc(reinterpret_cast<void**>(p), 4 * threads * sizeof(float));
        (void)cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    }
    ~Device() {
        for (auto* p : {a, b}) (void)cudaFree(p);
        for (auto* s : {one, two}) (void)cudaStreamDestroy(s);
        (void)cudaEventDestroy(event);
    }
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    void write(cudaStream_t s) { launch(write_kernel, s, a); }
    void read(cudaStream_t s, int at = 0) { launch<const float*, float*>(read_kernel, s, a, b + at); }
    void follow(cudaStream_t later, cudaStream_t earlier) {
        (void)cudaEventRecord(event, earlier);
        (void)cudaStreamWaitEvent(later, event, 0);
    }
    void finish() {
        (void)cudaStreamSynchronize(one);
        (void)cudaStreamSynchronize(two);
    }
    cudaStream_t one = nullptr, two = nullptr;
    cudaEvent_t event = nullptr;
    float *a = nullptr, *b = nullptr;
};

std::string found(const std::function<void(Device&)>& body) {
    Device device;
    try {
        body(device);
        device.finish();
    } catch (const std::exception& e) {
        return e.what();
    }
    return "";
}
void expect(const std::string& what, const std::string& words, const std::function<void(Device&)>& body) {
    const std::string said = found(body);
    check(words.empty() ? said.empty() : said.find(words) != std::string::npos, what + ": " + said);
}

template <class Case>
void kernel(const std::string& what, const std::string& words, unsigned blocks = 1, bool cooperative = false) {
    for (unsigned seed : {0u, 1u, 2u, 5u}) {
        emulator::seed = seed;
        auto run = [&](auto* k) {
            return [=](Device& d) {
                float* const out = d.a;
                if (cooperative) FD_LAUNCH_COOPERATIVE(k, blocks, unsigned(threads), 4096, d.one, out);
                else FD_LAUNCH(k, blocks, unsigned(threads), 4096, d.one, out);
            };
        };
        expect(what, "", run(&Case::template run<true>));
        expect(what + ", left out", words, run(&Case::template run<false>));
    }
    emulator::seed = 0;
}

void kernels() {
    kernel<BlockBarrier>("block barrier", "race in shared memory: ");
    kernel<StaticShared>("static shared memory", "race in shared memory: ");
    kernel<OverwrittenTooEarly>("overwritten", "race in shared memory: ");
    kernel<WarpBarrier>("warp barrier", "race in shared memory: ");
    kernel<WarpBarrierForBlock>("warp barrier for a block", "race in shared memory: ");
    kernel<ReadersOfTwoWarps>("two warps of readers", "race in shared memory: read by thread");
    kernel<Tile>("tile", "race in shared memory: written by warp");
    kernel<NeighboursOfTwoBytes>("neighbours of two bytes", "race in shared memory: written by thread");
    kernel<Blocks>("blocks", "race in device memory: written by thread", 3);
    kernel<GridBarrier>("grid barrier", "race in device memory: ", 3, true);
    kernel<LastBlock<false, true, true>>("all threads before an arrival", "race in device memory: ", 3);
    kernel<LastBlock<true, false, true>>("fence before an arrival", "race in device memory: ", 3);
    kernel<LastBlock<true, true, false>>("wait for an arrival", "race in device memory: ", 3);
    expect("says where", "at emulator_test.cpp:", [](Device& d) { launch(&BlockBarrier::run<false>, d.one, d.a); });
}

void streams() {
    const std::string race = "race in device memory: ", apart = "in another launch";
    expect("one stream", "", [](Device& d) { d.write(d.one), d.read(d.one), d.write(d.one); });
    expect("an event", "", [](Device& d) { d.write(d.one), d.follow(d.two, d.one), d.read(d.two); });
    expect("no event", apart, [](Device& d) { d.write(d.one), d.read(d.two); });
    expect("an event too early", apart, [](Device& d) { d.follow(d.two, d.one), d.write(d.one), d.read(d.two); });
    expect("two readers", "", [](Device& d) {
        d.write(d.one), d.follow(d.two, d.one);
        d.read(d.one), d.read(d.two, threads);
        d.follow(d.one, d.two), d.write(d.one);
    });
    expect("two readers, one of them waited for", apart, [](Device& d) {
        d.write(d.one), d.follow(d.two, d.one);
        d.read(d.one), d.read(d.two, threads);
        d.write(d.one);
    });
    expect("a host that waits", "",
           [](Device& d) { d.write(d.one), (void)cudaStreamSynchronize(d.one), d.read(d.two); });
    expect("a fill", race + "written by a copy or fill, then read by thread", [](Device& d) {
        (void)cudaMemsetAsync(d.a, 0, 4 * threads, d.one);
        d.read(d.two);
    });
    expect("a copy", "then written by a copy or fill", [](Device& d) {
        const float from[threads] = {};
        d.read(d.one);
        (void)cudaMemcpyAsync(d.a, from, sizeof from, cudaMemcpyHostToDevice, d.two);
    });
}

void graph_of(Device& d, int launches, const std::function<void()>& body) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    (void)cudaStreamBeginCapture(d.one, cudaStreamCaptureModeThreadLocal);
    body();
    check(cudaStreamEndCapture(d.one, &graph) == cudaSuccess, "capture");
    (void)cudaGraphInstantiate(&exec, graph, 0);
    for (int i = 0; i < launches; ++i) (void)cudaGraphLaunch(exec, d.one);
    (void)cudaGraphDestroy(graph);
    (void)cudaGraphExecDestroy(exec);
}

void graphs() {
    const std::string apart = "in another launch";
    expect("a graph of two branches", "", [](Device& d) {
        d.write(d.one);
        graph_of(d, 3, [&] {
            d.write(d.one), d.follow(d.two, d.one), d.read(d.two), d.follow(d.one, d.two), d.write(d.one);
        });
        d.write(d.one);
    });
    expect("branches that are not joined in time", apart, [](Device& d) {
        graph_of(d, 1, [&] {
            d.write(d.one), d.follow(d.two, d.one), d.read(d.two), d.write(d.one), d.follow(d.one, d.two);
        });
    });
    expect("a branch that starts too early", apart, [](Device& d) {
        graph_of(d, 1, [&] { d.follow(d.two, d.one), d.write(d.one), d.read(d.two), d.follow(d.one, d.two); });
    });
    expect("a graph beside a stream", apart, [](Device& d) {
        graph_of(d, 1, [&] { d.write(d.one); });
        d.read(d.two);
    });
    expect("a graph before a stream", "", [](Device& d) {
        graph_of(d, 2, [&] { d.write(d.one); });
        d.follow(d.two, d.one), d.read(d.two);
    });
}

// Lane l reads number stride · l of shared and of device memory; what the two requests of each of two warps cost.
void reads(float* a, int stride) {
    FD_DYN_SHARED(float, s);
    const int at = stride * (int(threadIdx.x) % 32);
    volatile float sum = 0;
    sum = sum + s[at];
    sum = sum + a[at];
}
void costs() {
    const auto check_cost = [](int stride, size_t banks, size_t sectors, size_t least) {
        Device d;
        emulator::accesses::record(true);
        launch(reads, d.one, d.a, stride);
        d.finish();
        emulator::accesses::record(false);
        size_t found[2] = {0, 0}, all = 0;
        for (const auto& p : emulator::accesses::report()) found[p.shared] += p.sum.cost, all += p.sum.least;
        check(found[1] == 2 * banks && found[0] == 2 * sectors && all == 2 * (least + 1),
              "stride " + std::to_string(stride) + ": " + std::to_string(found[1]) + " passes, " +
                  std::to_string(found[0]) + " sectors");
    };
    check_cost(0, 1, 1, 1);  // all lanes want the same
    check_cost(1, 1, 4, 4);
    check_cost(2, 2, 8, 4);
    check_cost(3, 1, 12, 4);
    check_cost(7, 1, 28, 4);
    check_cost(8, 8, 32, 4);
}

void empty_kernel(int) {}
void refusals() {
    const auto refuses = [](const std::string& words, dim3 grid, dim3 block, size_t bytes, bool cooperative = false) {
        expect(words, words, [=](Device& d) {
            if (cooperative) FD_LAUNCH_COOPERATIVE(empty_kernel, grid, block, bytes, d.one, 0);
            else FD_LAUNCH(empty_kernel, grid, block, bytes, d.one, 0);
        });
    };
    refuses("impossible size, grid 1 x 65536 x 1", dim3(1, 65536), 32, 0);
    refuses("impossible size, grid 1 x 1 x 1, block 1025 x 1 x 1", 1, 1025, 0);
    refuses("was not given more than 49152", 1, 32, 49153);
    refuses("more blocks than run at once: 9", 9, 32, 0, true);
    refuses("", dim3(65536), 32, 0);
    refuses("", 8, 32, 0, true);
    (void)cudaFuncSetAttribute(empty_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 60000);
    refuses("", 1, 32, 60000);
    check(cudaFuncSetAttribute(empty_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 240000) != cudaSuccess,
          "more shared memory than there is");
}

}  // namespace

int main() {
    kernels();
    streams();
    graphs();
    costs();
    refusals();
    std::printf("%d checks passed, %d failed\n", passed, failed);
    return failed != 0;
}
