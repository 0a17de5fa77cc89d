// What `calibrate.py` measures below Python: nodes of graphs, barriers, single products and the bandwidth of kernels. A library of
// C functions for ctypes, over the engine's own objects; it is built for a calibration only and is in no wheel. In the emulator
// everything runs, and times mean nothing. Functions return seconds unless they say otherwise; a negative number is an error,
// fd_error() says which, or -2: that this device or build has no such thing.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cuda/kernels.h"
#include "cuda/layerwise/products.h"
#include "cuda/runtime/port.h"
#include "cuda/runtime/runtime.h"
#include "cuda/runtime/tuning.h"

namespace fd::cuda {
namespace {

thread_local std::string last_error;
constexpr double unavailable = -2;

template <class F>
double guarded(F&& f) {
    try {
        return f();
    } catch (const std::exception& e) {
        last_error = e.what();
        return -1;
    }
}

// Seconds of one of `repeats` calls: the median of five rounds, after one to warm up.
template <class F>
double seconds_of(const Stream& stream, int repeats, F&& f) {
    std::vector<double> found;
    for (int round = 0; round < 6; ++round) {
        stream.synchronize();
        const auto begin = std::chrono::steady_clock::now();
        for (int i = 0; i < repeats; ++i) f();
        stream.synchronize();
        if (round) found.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    std::sort(found.begin(), found.end());
    return found[found.size() / 2] / repeats;
}

__global__ void empty_kernel(int* counter) {
    if (threadIdx.x == 0) *counter += 1;
}

#ifndef FD_EMULATE
// Starts before the kernel in front of it is done, and waits for it.
__global__ void dependent_kernel(int* counter) {
    cudaTriggerProgrammaticLaunchCompletion();
    cudaGridDependencySynchronize();
    if (threadIdx.x == 0) *counter += 1;
}

__global__ void cluster_barrier_kernel(int count) {
#if __CUDA_ARCH__ >= 900
    for (int i = 0; i < count; ++i) cooperative_groups::this_cluster().sync();
#endif
}

void launch_with(void (*kernel)(int*), cudaLaunchAttribute attribute, int* counter, cudaStream_t stream) {
    cudaLaunchConfig_t config{};
    config.gridDim = 1, config.blockDim = 32, config.stream = stream;
    config.attrs = &attribute, config.numAttrs = 1;
    FD_CUDA(cudaLaunchKernelEx(&config, kernel, counter));
}
#endif

__global__ void grid_barrier_kernel(int count) {
    for (int i = 0; i < count; ++i) FD_GRID_BARRIER();
}

enum class Chain { plain, programmatic, forked };

double chain(int nodes, Chain kind, int repeats) {
    const Stream stream, side;
    Event fork, join;
    DeviceBuffer<int> counters;
    stream.clear(counters, 2);
    int *main = counters.get(), *other = main + 1;
#ifdef FD_EMULATE
    if (kind == Chain::programmatic) return unavailable;
#else
    if (kind == Chain::programmatic && device().major < 9) return unavailable;
    cudaLaunchAttribute early{};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
#endif
    const Graph graph(stream, [&] {
        for (int i = 0; i < nodes; ++i) {
            if (kind == Chain::forked) {  // beside each node another one, as gradients of kernels are
                fork.record(stream);
                FD_CUDA(cudaStreamWaitEvent(side, fork, 0));
                FD_LAUNCH(empty_kernel, 1, 32, 0, side, other);
            }
#ifndef FD_EMULATE
            if (kind == Chain::programmatic) {
                launch_with(dependent_kernel, early, main, stream);
                continue;
            }
#endif
            FD_LAUNCH(empty_kernel, 1, 32, 0, stream, main);
        }
        if (kind == Chain::forked) {
            join.record(side);
            FD_CUDA(cudaStreamWaitEvent(stream, join, 0));
        }
    });
    return seconds_of(stream, repeats, [&] { graph.launch(stream); });
}

double grid_barrier(int blocks, int count) {
    if (!device().cooperative || blocks > device().processors) return unavailable;
    const Stream stream;
    auto run = [&](int n) {
        return seconds_of(stream, 1,
                          [&] { FD_LAUNCH_COOPERATIVE(grid_barrier_kernel, unsigned(blocks), 256, 0, stream, n); });
    };
    return (run(2 * count) - run(count)) / count;
}

double cluster_barrier([[maybe_unused]] int blocks, [[maybe_unused]] int count) {
#ifdef FD_EMULATE
    return unavailable;
#else
    if (device().major < 9) return unavailable;
    const Stream stream;
    cudaLaunchAttribute cluster{};
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim.x = unsigned(blocks), cluster.val.clusterDim.y = 1, cluster.val.clusterDim.z = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = unsigned(blocks), config.blockDim = 256, config.stream = stream;
    config.attrs = &cluster, config.numAttrs = 1;
    auto run = [&](int n) {
        return seconds_of(stream, 1, [&] { FD_CUDA(cudaLaunchKernelEx(&config, cluster_barrier_kernel, n)); });
    };
    return (run(2 * count) - run(count)) / count;
#endif
}

// ---- products --------------------------------------------------------------------------------------------------------

std::vector<float> random_numbers(int64_t n, unsigned seed) {
    std::mt19937 engine(seed);
    std::uniform_real_distribution<float> distribution(-1, 1);
    std::vector<float> found(static_cast<size_t>(n));
    for (float& v : found) v = distribution(engine);
    return found;
}

DeviceBuffer<float> on_device(const Stream& stream, const std::vector<float>& numbers) {
    DeviceBuffer<float> found;
    found.reserve(std::max<int64_t>(int64_t(numbers.size()), 1));
    stream.upload(found.get(), numbers.data(), int64_t(numbers.size()));
    stream.synchronize();
    return found;
}

// As a net makes them: a layer's outputs, its inputs' gradient, its kernel's gradient; or the product alone.
enum class Use { alone, forward, backward, gradient };

struct Measured {
    double seconds, error;  // error: the largest, over its bound
    int tile, splits, library;
};

double measure_product(int64_t m, int64_t n, int64_t k, Use use, Precision precision, ProductPath path, int tile,
                       int repeats, Measured* out) {
    if (path == ProductPath::cublaslt && !lt::available()) return unavailable;
    if (path == ProductPath::mma && precision == Precision::full) return unavailable;
    set_product_path(path);
    set_product_tile(tile);
    const Stream stream;
    Product<float> p;
    p.m = m, p.n = n, p.k = k, p.precision = precision;
    p.transpose_a = use == Use::gradient, p.transpose_b = use == Use::backward;
    if (use == Use::gradient) p.splits = Products::splits(m, n, k, precision);
    p.stride = m * n + n;  // of parts: the kernel's gradient and its bias's behind it
    const std::vector<float> a = random_numbers(m * k, 1), b = random_numbers(k * n, 2), bias = random_numbers(n, 3),
                             stored = random_numbers(use == Use::backward ? m * n : 1, 4);
    const DeviceBuffer<float> a_there = on_device(stream, a), b_there = on_device(stream, b),
                              bias_there = on_device(stream, bias), stored_there = on_device(stream, stored);
    DeviceBuffer<float> outputs;
    outputs.reserve(p.splits * p.stride);
    p.a = a_there.get(), p.b = b_there.get(), p.out = outputs.get();
    if (use == Use::forward) p.epilogue.bias = bias_there.get(), p.epilogue.activation = ops::Activation::relu;
    if (use == Use::backward) p.epilogue.stored = stored_there.get(), p.epilogue.backward = ops::Activation::relu;
    if (use == Use::gradient) p.column_sums = outputs.get() + m * n;
    Products products(stream);
    products.run(p);  // the library chooses its algorithm
    const int in_graph = 8;
    const Graph graph(stream, [&] {
        for (int i = 0; i < in_graph; ++i) products.run(p);
    });
    out->seconds = seconds_of(stream, repeats, [&] { graph.launch(stream); }) / in_graph;
    out->tile = Products::tile(m, n, p.splits, product_path() == ProductPath::simt ? Precision::full : precision);
    out->splits = p.splits, out->library = Products::large(m, n, k, precision);
    std::vector<float> found(size_t(p.splits * p.stride));
    stream.download(found.data(), outputs.get(), int64_t(found.size()));
    stream.synchronize();
    const double unit = precision == Precision::full     ? std::ldexp(1, -24)
                        : precision == Precision::tf32   ? std::ldexp(1, -11)
                        : precision == Precision::tf32x3 ? std::ldexp(1, -21)  // and what tensor cores cut off
                                                         : std::ldexp(1, -8);
    out->error = 0;
    std::mt19937 engine(5);
    for (int sample = 0; sample < 64; ++sample) {
        const int64_t row = int64_t(engine() % uint64_t(m)), column = int64_t(engine() % uint64_t(n));
        double sum = 0, size = 0, made = 0;
        for (int64_t i = 0; i < k; ++i) {
            const double term = double(a[size_t(p.transpose_a ? i * m + row : row * k + i)]) *
                                double(b[size_t(p.transpose_b ? column * k + i : i * n + column)]);
            sum += term, size += std::abs(term);
        }
        if (use == Use::forward) sum = std::max(sum + double(bias[size_t(column)]), 0.0), size += 1;
        if (use == Use::backward && !(stored[size_t(row * n + column)] > 0)) sum = 0;
        for (int s = 0; s < p.splits; ++s) made += double(found[size_t(s * p.stride + row * n + column)]);
        // rounded operands, and sums in float32
        const double bound = size * (2 * unit + double(k + p.splits + 2) * std::ldexp(1, -24));
        out->error = std::max(out->error, std::isfinite(made) ? std::abs(made - sum) / bound : 1e30);
    }
    return 0;
}

// ---- memory ----------------------------------------------------------------------------------------------------------

enum class Moves { copy, finish, gather, update };

// Bytes a second, read and written, of a kernel over n numbers in rows of `cols`.
double bandwidth(Moves what, int64_t n, int64_t cols, int repeats) {
    const Stream stream;
    const int64_t rows = n / cols;
    n = rows * cols;
    DeviceBuffer<float> numbers[4];
    for (DeviceBuffer<float>& b : numbers) stream.clear(b, n);
    DeviceBuffer<StepRecord> records;
    DeviceBuffer<Control> control;
    DeviceBuffer<double> totals;
    stream.clear(control, 1), stream.clear(totals, 2);
    StepRecord record;
    record.x = reinterpret_cast<const char*>(numbers[0].get());
    record.rows = rows, record.shuffled = true, record.order = ops::Shuffle(uint64_t(rows), 1, 0);
    record.rule.lr = 1e-3, record.rule.a = 0.1, record.rule.b = 0.001, record.rule.epsilon = 1e-7;
    records.reserve(1);
    stream.upload(records.get(), &record, 1);
    const Steps steps{records.get(), control.get(), totals.get(), 2};
    if (what == Moves::copy)
        return 8.0 * double(n) /
               seconds_of(stream, repeats, [&] { stream.copy(numbers[1].get(), numbers[0].get(), n); });
    if (what == Moves::finish) {
        Product<float> p;
        p.m = rows, p.n = cols, p.out = numbers[0].get();
        p.epilogue.bias = numbers[1].get(), p.epilogue.activation = ops::Activation::relu;
        return 8.0 * double(n) / seconds_of(stream, repeats, [&] { finish_product(p, stream); });
    }
    if (what == Moves::gather) {
        Gather<float> g;
        g.x = {DType::f32, cols, cols * int64_t(sizeof(float)), int64_t(sizeof(float))};
        g.x_out = numbers[1].get(), g.rows = rows;
        return 8.0 * double(n) / seconds_of(stream, repeats, [&] { gather(steps, g, stream); });
    }
    std::vector<UpdateBlock> blocks;
    for (int64_t first = 0; first < n; first += update_block)
        blocks.push_back({first, int32_t(std::min<int64_t>(update_block, n - first)), 0});
    const UpdateTensor tensor;
    DeviceBuffer<UpdateBlock> blocks_there;
    DeviceBuffer<UpdateTensor> tensor_there;
    DeviceBuffer<double> parts;
    blocks_there.reserve(int64_t(blocks.size())), tensor_there.reserve(1);
    stream.clear(parts, int64_t(blocks.size()));
    stream.upload(blocks_there.get(), blocks.data(), int64_t(blocks.size()));
    stream.upload(tensor_there.get(), &tensor, 1);
    Update<float> u;
    u.blocks = blocks_there.get(), u.tensors = tensor_there.get(), u.block_count = int(blocks.size());
    u.parameters = numbers[0].get(), u.gradients = numbers[1].get(), u.stride = n;
    u.slots[0] = numbers[2].get(), u.slots[1] = numbers[3].get();
    u.penalty_parts = u.norm_parts = parts.get();
    u.rule.rule = ops::Rule::adam;
    return 28.0 * double(n) / seconds_of(stream, repeats, [&] { update(steps, u, false, {}, stream); });
}

}  // namespace

#define FD_EXPORT extern "C" __attribute__((visibility("default")))

FD_EXPORT const char* fd_error() { return last_error.c_str(); }
// All numbers of tuning.h, in its order, for every device.
FD_EXPORT double fd_tuning(const double* values) {
    return guarded([&] {
        GpuTuning t;
#define FD_TAKE(name) t.values.name = *values++;
        FD_TUNING(FD_TAKE)
#undef FD_TAKE
        set_tuning({t});
        return 0.0;
    });
}
FD_EXPORT double fd_libraries(const char* folders, int count) {  // names one behind the other, each with its end
    return guarded([&] {
        std::vector<std::string> found;
        for (int i = 0; i < count; ++i) found.emplace_back(folders), folders += found.back().size() + 1;
        lt::set_library_folders(found);
        return 0.0;
    });
}
FD_EXPORT double fd_chain(int nodes, int kind, int repeats) {
    return guarded([&] { return chain(nodes, Chain(kind), repeats); });
}
FD_EXPORT double fd_grid_barrier(int blocks, int count) {
    return guarded([&] { return grid_barrier(blocks, count); });
}
FD_EXPORT double fd_cluster_barrier(int blocks, int count) {
    return guarded([&] { return cluster_barrier(blocks, count); });
}
FD_EXPORT double fd_product(int64_t m, int64_t n, int64_t k, int use, int precision, int path, int tile, int repeats,
                            Measured* out) {
    return guarded([&] {
        return measure_product(m, n, k, Use(use), Precision(precision), ProductPath(path), tile, repeats, out);
    });
}
FD_EXPORT double fd_bandwidth(int what, int64_t n, int64_t cols, int repeats) {  // bytes a second
    return guarded([&] { return bandwidth(Moves(what), n, cols, repeats); });
}

}  // namespace fd::cuda
