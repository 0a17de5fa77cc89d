// What only a GPU can tell about cuBLASLt: which epilogues it has for which types and transposes, whether they are
// right and give the same bits again, what becomes of a NaN in relu_bias, and what a capture allows. Prints a table;
// fails where a product is wrong or unsteady. Host code only, no nvcc (CUDA is the toolkit's folder, FOLDER that of
// libcublasLt.so.13):
//   g++ -std=c++17 -O2 -Icsrc -ICUDA/include tests/cpp/lt_device.cpp csrc/cuda/layerwise/lt.cpp csrc/cuda/layerwise/lt_library.cpp
//       csrc/core/platform.cpp -LCUDA/lib64 -lcudart_static -ldl -lrt -lpthread -o lt_device && ./lt_device FOLDER
// In the emulator it tries itself out on the fake.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cuda/layerwise/lt.h"

namespace {

using namespace fd;
using namespace fd::cuda::lt;

void require(cudaError_t e, const char* what) {
    if (e != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(e));
}

// The same numbers on the device, `offset` bytes after an aligned address.
struct Mirror {
    explicit Mirror(size_t bytes, size_t offset = 0) : bytes(bytes) {
        require(cudaMalloc(&block, bytes + offset), "cudaMalloc");
        data = static_cast<char*>(block) + offset;
    }
    ~Mirror() { (void)cudaFree(block); }
    Mirror(const Mirror&) = delete;
    Mirror& operator=(const Mirror&) = delete;
    size_t bytes;
    void* block = nullptr;
    char* data = nullptr;
};

cudaStream_t stream = nullptr;

template <class T>
void upload(const Mirror& to, const std::vector<double>& values) {
    std::vector<T> typed(values.begin(), values.end());
    require(cudaMemcpyAsync(to.data, typed.data(), typed.size() * sizeof(T), cudaMemcpyHostToDevice, stream), "upload");
    require(cudaStreamSynchronize(stream), "upload");
}
template <class T>
std::vector<T> download(const Mirror& from, size_t count) {
    std::vector<T> values(count);
    require(cudaMemcpyAsync(values.data(), from.data, count * sizeof(T), cudaMemcpyDeviceToHost, stream), "download");
    require(cudaStreamSynchronize(stream), "download");
    return values;
}

struct Case {  // operands as stored, and the product in float64
    int64_t m, n, k;
    bool transpose_a, transpose_b;
    std::vector<double> a, b, bias, product, magnitude, column_sums, column_magnitude;

    Case(int64_t m, int64_t n, int64_t k, int flags)
        : m(m), n(n), k(k), transpose_a(flags & 1), transpose_b(flags & 2), a(size_t(m * k)), b(size_t(k * n)),
          bias(size_t(n)), product(size_t(m * n)), magnitude(size_t(m * n)), column_sums(size_t(n)),
          column_magnitude(size_t(n)) {
        std::mt19937 random(7);
        std::normal_distribution<float> normal;  // floats: the same for both types
        for (auto* v : {&a, &b, &bias})
            for (double& x : *v) x = normal(random);
        for (int64_t q = 0; q < k; ++q)
            for (int64_t j = 0; j < n; ++j) {
                const double y = b[size_t(transpose_b ? j * k + q : q * n + j)];
                column_sums[size_t(j)] += y, column_magnitude[size_t(j)] += std::abs(y);
                for (int64_t i = 0; i < m; ++i) {
                    const double term = a[size_t(transpose_a ? q * m + i : i * k + q)] * y;
                    product[size_t(i * n + j)] += term, magnitude[size_t(i * n + j)] += std::abs(term);
                }
            }
    }
    Product of(const Mirror& da, const Mirror& db, const Mirror& dc, const Mirror& vector) const {
        Product p;
        p.m = m, p.n = n, p.k = k, p.transpose_a = transpose_a, p.transpose_b = transpose_b;
        p.a = da.data, p.b = db.data, p.c = dc.data, p.bias = vector.data, p.bias_gradient = vector.data;
        p.lda = transpose_a ? m : k, p.ldb = transpose_b ? k : n, p.ldc = n;
        return p;
    }
};

struct Row {
    int asked = 0, supported = 0, wrong = 0, unsteady = 0;
    double error = 0;  // the largest, over its bound
};

// Operands may be truncated to TF32 (2^-10) or bfloat16 (2^-7) and are summed in any order.
double bound(bool f64, Precision precision, int64_t k) {
    const double unit = f64 ? 0x1p-53 : 0x1p-24;
    const double operands = f64 || precision == Precision::full ? 0 : precision == Precision::tf32 ? 0x1p-9 : 0x1p-6;
    return operands + double(k + 4) * unit;
}

template <class T>
void try_out(Products& products, const Case& c, Precision precision, Epilogue epilogue, size_t offset, Row& row) {
    const auto bytes = [](const std::vector<double>& v) { return v.size() * sizeof(T); };
    const Mirror a(bytes(c.a), offset), b(bytes(c.b), offset), out(bytes(c.product), offset), v(bytes(c.bias), offset);
    upload<T>(a, c.a), upload<T>(b, c.b);
    Product p = c.of(a, b, out, v);
    p.f64 = sizeof(T) == 8, p.precision = precision, p.epilogue = epilogue;
    ++row.asked;
    if (!products.plan(p)) return;
    ++row.supported;
    const bool gradient = epilogue == Epilogue::bias_gradient,
               biased = epilogue == Epilogue::bias || epilogue == Epilogue::relu_bias;
    std::vector<T> first, sums;
    for (int repeat = 0; repeat < 3; ++repeat) {
        upload<T>(v, c.bias);
        upload<T>(out, std::vector<double>(c.product.size(), std::numeric_limits<double>::quiet_NaN()));
        if (!products.run(p, stream)) return void(--row.supported);
        const auto now = download<T>(out, c.product.size()), now_sums = download<T>(v, c.bias.size());
        if (repeat)
            row.unsteady += std::memcmp(first.data(), now.data(), now.size() * sizeof(T)) ||
                            (gradient && std::memcmp(sums.data(), now_sums.data(), sums.size() * sizeof(T)));
        first = now, sums = now_sums;
    }
    double worst = 0;
    const auto compare = [&](double found, double expected, double magnitude, double limit) {
        const double over = std::abs(found - expected) / (magnitude * limit);
        if (!(over <= worst) && !std::isnan(worst)) worst = over;  // a NaN stays
    };
    for (size_t i = 0; i < first.size(); ++i) {
        double expected = c.product[i], magnitude = c.magnitude[i];
        if (biased) expected += c.bias[i % size_t(c.n)], magnitude += std::abs(c.bias[i % size_t(c.n)]);
        if (epilogue == Epilogue::relu_bias) expected = std::max(expected, 0.0);
        compare(first[i], expected, magnitude, bound(p.f64, precision, c.k));
    }
    for (size_t j = 0; gradient && j < sums.size(); ++j)  // of operands as they are, or as rounded
        compare(sums[j], c.column_sums[j], c.column_magnitude[j], bound(p.f64, precision, c.k));
    if (!(worst <= 1)) ++row.wrong;
    if (!(worst <= row.error) && !std::isnan(row.error)) row.error = worst;
}

const char* const precision_names[] = {"exact", "tf32", "bf16"};
const char* const epilogue_names[] = {"none", "bias", "relu_bias", "bias_gradient"};

bool table(Products& products) {
    std::vector<Case> cases;
#ifdef FD_EMULATE
    const int64_t sizes[][3] = {{33, 17, 5}, {1, 64, 64}};
#else
    const int64_t sizes[][3] = {{128, 512, 784}, {784, 512, 128}, {1024, 10, 512},
                                {16, 16, 8192},  {33, 17, 5},     {1, 64, 64}};
#endif
    for (const auto& s : sizes)
        for (int flags = 0; flags < 4; ++flags) cases.emplace_back(s[0], s[1], s[2], flags);
    std::printf("%-8s %-6s %-14s %-10s %10s %6s %9s %12s\n", "type", "", "epilogue", "aligned to", "supported", "wrong",
                "unsteady", "error/bound");
    bool good = true;
    for (bool f64 : {false, true})
        for (int precision = 0; precision < (f64 ? 1 : 3); ++precision)
            for (int epilogue = 0; epilogue < 4; ++epilogue)
                for (size_t offset : {size_t(0), f64 ? size_t(8) : size_t(4)}) {
                    Row row;
                    for (const Case& c : cases)
                        (f64 ? try_out<double> : try_out<float>)(products, c, Precision(precision), Epilogue(epilogue),
                                                                 offset, row);
                    std::printf("%-8s %-6s %-14s %-10d %6d /%2d %6d %9d %12.3g\n", f64 ? "float64" : "float32",
                                f64 ? "" : precision_names[precision], epilogue_names[epilogue],
                                offset ? int(offset) : 16, row.supported, row.asked, row.wrong, row.unsteady,
                                row.error);
                    good = good && !row.wrong && !row.unsteady;
                }
    return good;
}

// Does relu_bias keep a NaN? Ours does.
void nan(Products& products) {
    Case c(64, 64, 64, 0);
    c.a[0] = std::numeric_limits<double>::quiet_NaN();
    const Mirror a(c.a.size() * 4), b(c.b.size() * 4), out(c.product.size() * 4), v(c.bias.size() * 4);
    upload<float>(a, c.a), upload<float>(b, c.b), upload<float>(v, c.bias);
    for (Epilogue epilogue : {Epilogue::none, Epilogue::bias, Epilogue::relu_bias}) {
        Product p = c.of(a, b, out, v);
        p.epilogue = epilogue;
        if (!products.run(p, stream)) continue;
        const auto now = download<float>(out, c.product.size());
        std::printf("a NaN in a, %s: %s\n", epilogue_names[int(epilogue)],
                    std::all_of(now.begin(), now.begin() + 64, [](float x) { return std::isnan(x); }) ? "its row is NaN"
                                                                                                      : "LOST");
    }
}

// What a capture allows: a choice of algorithm, and a product that never ran before.
void capture(Products& products) {
    const Case c(96, 160, 224, 0);
    const Mirror a(c.a.size() * 4), b(c.b.size() * 4), out(c.product.size() * 4), v(c.bias.size() * 4);
    upload<float>(a, c.a), upload<float>(b, c.b);
    const struct {
        const char* name;
        cudaStreamCaptureMode mode;
    } modes[] = {{"thread-local", cudaStreamCaptureModeThreadLocal}, {"relaxed", cudaStreamCaptureModeRelaxed}};
    for (const bool plan_first : {true, false})
        for (const auto& mode : modes) {
            Product p = c.of(a, b, out, v);  // each time one that is new to the library
            p.transpose_a = p.transpose_b = false;
            p.epilogue = plan_first ? Epilogue::bias : Epilogue::none;
            p.precision = mode.mode == cudaStreamCaptureModeRelaxed ? Precision::tf32 : Precision::full;
            std::string result = "works";
            try {
                if (plan_first) (void)products.plan(p);
                require(cudaStreamBeginCapture(stream, mode.mode), "begin");
                if (!products.run(p, stream)) result = "not supported";
            } catch (const std::exception& e) {
                result = e.what();
            }
            cudaGraph_t graph = nullptr;
            const cudaError_t ended = cudaStreamEndCapture(stream, &graph);
            if (ended != cudaSuccess) result += std::string("; the capture: ") + cudaGetErrorString(ended);
            if (graph) (void)cudaGraphDestroy(graph);
            (void)cudaGetLastError();
            std::printf("%s capture of a product that %s: %s\n", mode.name,
                        plan_first ? "is planned but never ran" : "is not planned", result.c_str());
        }
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc > 1) set_library_folders({argv + 1, argv + argc});
    if (!available()) return std::printf("%s\n", why_unavailable().c_str()), 2;
    int major = 0;
    require(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "cudaDeviceGetAttribute");
    require(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    std::printf("cuBLASLt %zu, %s; compute capability %d\n", version(), path().c_str(), major);
    const Mirror workspace(workspace_bytes(major));
    Products products(workspace.data, workspace.bytes);
    capture(products);
    nan(products);
    return table(products) ? 0 : 1;
} catch (const std::exception& e) {
    std::printf("%s\n", e.what());
    return 2;
}
