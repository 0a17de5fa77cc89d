// csrc/cuda/layerwise/lt.cpp on the emulator and its fake cuBLASLt: products of all shapes and kinds against plain loops,
// captured graphs, and what must be refused.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "core/types.h"
#include "cuda/layerwise/lt.h"

namespace {

using namespace fd;
using namespace fd::cuda::lt;

int passed = 0, failed = 0;

void check(bool ok, const std::string& what) {
    ++(ok ? passed : failed);
    if (!ok) std::printf("FAILED: %s\n", what.c_str());
}
template <class E>
void throws(const std::string& what, const std::string& words, const std::function<void()>& body) {
    try {
        body();
    } catch (const E& e) {
        return check(std::string(e.what()).find(words) != std::string::npos, what + ": says " + e.what());
    } catch (...) {}
    check(false, what);
}

// Device memory for numbers, with room before them so that they can be aligned as badly as wanted.
template <class T>
struct Numbers {
    Numbers(size_t count, size_t offset = 0) : count(count) {
        check(cudaMalloc(&block, (count + offset) * sizeof(T)) == cudaSuccess, "memory");
        data = static_cast<T*>(block) + offset;
    }
    Numbers(const Numbers&) = delete;
    Numbers& operator=(const Numbers&) = delete;
    ~Numbers() { cudaFree(block); }
    void fill(std::mt19937& random) {
        std::normal_distribution<double> normal;
        for (size_t i = 0; i < count; ++i) data[i] = T(normal(random));
    }
    size_t count;
    void* block = nullptr;
    T* data = nullptr;
};

struct Device {
    Device() : workspace(size), products(workspace.data, size) {
        cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    }
    ~Device() { cudaStreamDestroy(stream); }
    static constexpr size_t size = 1 << 20;
    Numbers<char> workspace;
    Products products;
    cudaStream_t stream = nullptr;
};

template <class T>
T operand(T v, const Product& p) {  // as tensor cores see it, rounded by arithmetic instead of bits
    if (p.f64 || p.precision == Precision::full || v == 0) return v;
    const int bits = p.precision == Precision::tf32 ? 11 : 8;
    int exponent;
    std::frexp(double(v), &exponent);
    return T(std::ldexp(std::nearbyint(std::ldexp(double(v), bits - exponent)), exponent - bits));
}

template <class T>
bool same(const std::vector<T>& before, const Numbers<T>& now) {
    return before.empty() || !std::memcmp(before.data(), now.data, before.size() * sizeof(T));
}

// Rows may be longer than they need be (`slack`: bits for a, b and c), and what lies between them must stay.
template <class T>
void multiply(Device& device, Product p, int slack, size_t offset, bool in_place = true) {
    p.f64 = sizeof(T) == 8;
    const int64_t rows_a = p.transpose_a ? p.k : p.m, columns_a = p.transpose_a ? p.m : p.k;
    const int64_t rows_b = p.transpose_b ? p.n : p.k, columns_b = p.transpose_b ? p.k : p.n;
    p.lda = columns_a + (slack & 1) * 3, p.ldb = columns_b + (slack & 2), p.ldc = p.n + (slack & 4);
    Numbers<T> a(size_t(rows_a * p.lda), offset), b(size_t(rows_b * p.ldb), offset), c(size_t(p.m * p.ldc), offset),
        vector(size_t(p.n), offset);
    std::mt19937 random(unsigned(p.m * 31 + p.n * 7 + p.k));
    for (Numbers<T>* x : {&a, &b, &c, &vector}) x->fill(random);
    p.a = a.data, p.b = b.data, p.c = c.data;
    if (p.epilogue == Epilogue::bias_gradient) p.bias_gradient = vector.data;
    if (p.epilogue == Epilogue::bias || p.epilogue == Epilogue::relu_bias) p.bias = vector.data;
    Numbers<T> other(c.count, offset);
    other.fill(random);
    if (!in_place) p.added = other.data;
    const std::vector<T> before(c.data, c.data + c.count), bias(vector.data, vector.data + p.n);
    const std::string what = std::to_string(p.m) + " x " + std::to_string(p.n) + " x " + std::to_string(p.k) +
                             (p.transpose_a ? " ta" : "") + (p.transpose_b ? " tb" : "") + " precision " +
                             std::to_string(int(p.precision)) + " epilogue " + std::to_string(int(p.epilogue)) +
                             (p.f64 ? " double" : " float") + " slack " + std::to_string(slack) + " offset " +
                             std::to_string(offset);

    const bool possible = p.m && p.n && p.k && !(p.f64 && p.epilogue != Epilogue::none);
    check(device.products.plan(p) == possible, what + ": plan");
    check(device.products.run(p, device.stream) == possible, what + ": run");
    check(same(before, c), what + ": only enqueued");
    cudaStreamSynchronize(device.stream);
    if (!possible) return check(same(before, c), what + ": nothing was done");

    const double unit = sizeof(T) == 8 ? 0x1p-53 : 0x1p-24;
    bool right = true;
    for (int64_t i = 0; i < p.m; ++i)
        for (int64_t j = 0; j < p.ldc; ++j) {
            const T before_it = before[size_t(i * p.ldc + j)], now = c.data[i * p.ldc + j];
            if (j >= p.n) {
                right = right && !std::memcmp(&before_it, &now, sizeof(T));
                continue;
            }
            const double old = in_place ? before_it : other.data[i * p.ldc + j];
            double sum = 0, magnitude = 0;
            for (int64_t q = 0; q < p.k; ++q) {
                const double x = operand(a.data[p.transpose_a ? q * p.lda + i : i * p.lda + q], p);
                const double y = operand(b.data[p.transpose_b ? j * p.ldb + q : q * p.ldb + j], p);
                sum += x * y, magnitude += std::abs(x * y);
            }
            double expected = p.alpha * sum + p.beta * old;
            magnitude = std::abs(p.alpha) * magnitude + std::abs(p.beta * old);
            if (p.bias) expected += bias[size_t(j)], magnitude += std::abs(bias[size_t(j)]);
            if (p.epilogue == Epilogue::relu_bias) expected = std::max(expected, 0.0);
            // alpha, beta and 8 roundings (of up to four partial sums, their sum, scaling, beta c, bias) in T; the sums
            // themselves, here and there, in double
            right = right && std::abs(now - expected) <= (10 * unit + double(p.k) * 0x1p-52) * magnitude;
        }
    check(right, what + ": c");
    for (int64_t j = 0; p.bias_gradient && j < p.n; ++j) {
        double sum = 0, magnitude = 0;
        for (int64_t q = 0; q < p.k; ++q) {
            const double y = b.data[p.transpose_b ? j * p.ldb + q : q * p.ldb + j];
            sum += y, magnitude += std::abs(y);
        }
        check(std::abs(vector.data[j] - sum) <= (unit + double(p.k) * 0x1p-52) * magnitude, what + ": bias gradient");
    }
}

template <class T>
void shapes() {
    Device device;
    const int64_t sizes[][3] = {{1, 1, 1},   {1, 7, 3},    {5, 1, 9},  {2, 3, 1},    {16, 16, 16},
                                {17, 33, 5}, {64, 10, 32}, {9, 8, 65}, {31, 5, 300}, {12, 4, 1024},
                                {0, 4, 4},   {4, 0, 4},    {4, 4, 0}};
    for (const auto& s : sizes)
        for (int flags = 0; flags < 4; ++flags)
            for (Epilogue epilogue : {Epilogue::none, Epilogue::bias, Epilogue::relu_bias, Epilogue::bias_gradient})
                for (Precision precision : {Precision::full, Precision::tf32, Precision::bf16})
                    for (int variant = 0; variant < 6; ++variant) {
                        Product p;
                        p.m = s[0], p.n = s[1], p.k = s[2];
                        p.transpose_a = flags & 1, p.transpose_b = flags & 2;
                        p.epilogue = epilogue, p.precision = precision;
                        if (variant == 1 && epilogue != Epilogue::bias_gradient) p.alpha = 0.3;
                        if (variant) p.beta = variant == 1 ? 1 : -0.7;
                        const int slack[] = {0, 0, 7, 1, 2, 4};
                        multiply<T>(device, p, slack[variant], variant == 1, variant < 4);
                    }
}

// A planned product is captured, and its graph uses what is in memory when it is launched.
void capture() {
    Device device;
    Numbers<float> a(6), b(6), c(4), bias(2), other_c(4), other_bias(2);
    std::mt19937 random(1);
    for (Numbers<float>* x : {&a, &b, &c, &bias, &other_bias}) x->fill(random);
    const auto right = [&](const Numbers<float>& result, const Numbers<float>& added) {
        double expected = added.data[0], magnitude = std::abs(expected);
        for (int q = 0; q < 3; ++q) {
            const double term = double(a.data[q]) * b.data[2 * q];
            expected += term, magnitude += std::abs(term);
        }
        return std::abs(result.data[0] - expected) <= 3 * 0x1p-24 * magnitude;
    };
    Product p;
    p.m = p.n = 2, p.k = 3, p.lda = 3, p.ldb = p.ldc = 2;
    p.a = a.data, p.b = b.data, p.c = c.data, p.bias = bias.data, p.epilogue = Epilogue::bias;
    check(device.products.plan(p), "capture: plan");
    Product unplanned = p, other = p;
    unplanned.epilogue = Epilogue::none;
    other.c = other_c.data, other.bias = other_bias.data;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaStreamBeginCapture(device.stream, cudaStreamCaptureModeRelaxed);
    check(device.products.run(p, device.stream), "capture: run");
    throws<Error>("capture: not planned", "cublasLtMatmulAlgoGetHeuristic: CUBLAS_STATUS_INTERNAL_ERROR for c (2, 2;",
                  [&] { (void)device.products.run(unplanned, device.stream); });
    throws<Error>("capture: no handle", "cublasLtCreate: CUBLAS_STATUS_NOT_INITIALIZED", [] { Products(nullptr, 0); });
    cudaStreamEndCapture(device.stream, &graph);
    cudaGraphInstantiate(&exec, graph, 0);
    check(device.products.run(other, device.stream), "capture: the same plan, another bias");
    cudaStreamSynchronize(device.stream);
    check(right(other_c, other_bias), "capture: another bias");
    for (int i = 0; i < 2; ++i) {
        a.fill(random), bias.fill(random);
        cudaGraphLaunch(exec, device.stream);
        cudaStreamSynchronize(device.stream);
        check(right(c, bias), "capture: launched");
    }
    check(device.products.plan(unplanned), "capture: planned afterwards");
    cudaGraphDestroy(graph);
    cudaGraphExecDestroy(exec);
}

// One workspace is too small for a split of k, or is not there: another algorithm does it, to the same bits each time.
void workspaces() {
    Numbers<float> a(4 * 2048), b(2048 * 3), one(12), two(12);
    std::mt19937 random(2);
    a.fill(random), b.fill(random);
    Device large;
    Products none(nullptr, 0);
    Product p;
    p.m = 4, p.n = 3, p.k = 2048, p.lda = 2048, p.ldb = p.ldc = 3, p.a = a.data, p.b = b.data;
    for (int i = 0; i < 3; ++i) {
        p.c = one.data;
        check((i < 2 ? large.products : none).run(p, large.stream), "workspace: run");
        cudaStreamSynchronize(large.stream);
        if (i == 1) check(!std::memcmp(one.data, two.data, 12 * sizeof(float)), "workspace: the same bits");
        std::memcpy(two.data, one.data, 12 * sizeof(float));
    }
    throws<InternalError>("workspace: alignment", "not aligned", [&] { Products(large.workspace.data + 8, 64); });
}

void refusals() {
    Device device;
    Numbers<float> x(64);
    Product good;
    good.m = good.n = good.k = 4, good.lda = good.ldb = good.ldc = 4, good.a = good.b = good.c = x.data;
    const auto refuse = [&](const std::string& words, const std::function<void(Product&)>& spoil) {
        Product p = good;
        spoil(p);
        throws<InternalError>(words, words, [&] { device.products.plan(p); });
        throws<InternalError>(words, words, [&] { (void)device.products.run(p, device.stream); });
    };
    refuse("rows overlap", [](Product& p) { p.lda = 3; });
    refuse("rows overlap", [](Product& p) { p.ldb = 3; });
    refuse("rows overlap: c (4, 4; 3 apart) = a (4, 4; 4 apart) b (4, 4; 4 apart), float32, exact, epilogue none",
           [](Product& p) { p.ldc = 3; });
    refuse("rows overlap: c (4, 4; 4 apart) = a^T (4, 4; 3 apart) b^T (4, 4; 4 apart), float64, epilogue none",
           [](Product& p) { p.transpose_a = p.transpose_b = p.f64 = true, p.lda = 3; });
    refuse("negative size", [](Product& p) { p.k = -1; });
    refuse("a matrix is missing", [](Product& p) { p.a = nullptr; });
    refuse("a matrix is missing", [](Product& p) { p.c = nullptr; });
    refuse("vector is missing", [](Product& p) { p.epilogue = Epilogue::bias, p.bias_gradient = p.c; });
    refuse("vector is missing", [](Product& p) { p.epilogue = Epilogue::bias_gradient, p.bias = p.c; });
    refuse("needs alpha 1",
           [](Product& p) { p.epilogue = Epilogue::bias_gradient, p.bias_gradient = p.c, p.alpha = 2; });
    const auto cannot = [&](const std::string& what, const std::function<void(Product&)>& spoil) {
        Product p = good;
        spoil(p);
        check(!device.products.plan(p) && !device.products.run(p, device.stream), what);
    };
    cannot("2^31 rows", [](Product& p) { p.m = int64_t(1) << 31; });
    cannot("2^31 elements", [](Product& p) { p.m = int64_t(1) << 16, p.lda = int64_t(1) << 15; });
    cannot("a bias that is not even aligned to floats",
           [](Product& p) { p.epilogue = Epilogue::bias, p.bias = static_cast<const char*>(p.a) + 2; });
    check(device.products.plan(good), "the good one");

    set_library_folders({"absent"});
    check(!available() && path().empty() && version() == 0, "absent");
    throws<Error>("absent", "pip install fastdense[cuda]", [] { Products(nullptr, 0); });
    set_library_folders({});
    check(available() && why_unavailable().empty() && version() > 130000, "present");
}

}  // namespace

int main() {
    shapes<float>();
    shapes<double>();
    capture();
    workspaces();
    refusals();
    std::printf("%d checks passed, %d failed\n", passed, failed);
    return failed != 0;
}
