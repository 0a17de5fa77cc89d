#include "cpu/blas/gemm.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "core/platform.h"
#include "core/types.h"

namespace fd::cpu {
namespace {

template <class T>
using Gemm = void (*)(int order, int ta, int tb, int m, int n, int k, T alpha, const T* a, int lda, const T* b, int ldb,
                      T beta, T* c, int ldc);

constexpr int row_major = 101;  // the value of CBLAS

struct Blas {
    Gemm<float> sgemm = nullptr;
    Gemm<double> dgemm = nullptr;
    void (*dpotrf)(const char*, const int*, double*, const int*, int*) = nullptr;
    void (*dtrsm)(int order, int side, int triangle, int transposed, int unit, int m, int n, double alpha,
                  const double* a, int lda, double* b, int ldb) = nullptr;
    void (*dpotrs)(const char*, const int*, const int*, const double*, const int*, double*, const int*, int*) = nullptr;
    void (*set_threads)(int) = nullptr;
    char* (*config)() = nullptr;
    char* (*core)() = nullptr;
} blas;

// Sets an environment variable for the life of this object: OpenBLAS reads it only while it is being loaded.
class ScopedEnvironment {
public:
    ScopedEnvironment(const char* name, const char* value) : name_(name) {
        if (const char* old = std::getenv(name)) old_ = old;
        platform::set_environment(name, value);
    }
    ~ScopedEnvironment() { platform::set_environment(name_, old_ ? old_->c_str() : nullptr); }
    ScopedEnvironment(const ScopedEnvironment&) = delete;
    ScopedEnvironment& operator=(const ScopedEnvironment&) = delete;

private:
    const char* name_;
    std::optional<std::string> old_;
};

template <class F>
void bind(void* library, F& function, const char* symbol) {
    function = reinterpret_cast<F>(platform::symbol(library, symbol));
    if (!function) throw std::runtime_error(std::string("fastdense: its OpenBLAS lacks ") + symbol);
}

template <class T>
void call(Gemm<T> f, Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
          int64_t ldb, T beta, T* c, int64_t ldc) {
    f(row_major, int(ta), int(tb), int(m), int(n), int(k), T(1), a, int(lda), b, int(ldb), beta, c, int(ldc));
}

// OpenBLAS takes a buffer for every product that runs, keeps it for later ones, and ends the process if it cannot have the memory.
// So they are made before the products that need them, when that can still be refused.
constexpr size_t buffer_bytes = size_t(32) << 20;
struct Buffers {
    std::mutex lock;
    int users = 0, made = 0;  // threads that may make products now, and for how many there are buffers
} buffers;

struct ForkHandler {
    ForkHandler() {
        platform::after_fork([] { new (&buffers.lock) std::mutex; });  // its owner may be in the parent only
    }
} const fork_handler;

// One product of (n, n) matrices by each of `count` threads at the same time; the growth of the address space meanwhile.
int64_t multiply_at_once(int count, int64_t n) {
    const size_t size = size_t(n * n);
    std::vector<float> a(size), c(size * size_t(count));
    std::vector<std::thread> others;
    std::atomic<int> waiting{0}, finished{0};
    std::atomic<bool> go{false}, end{false};
    const auto wait_for = [](const auto& what) {
        while (!what()) std::this_thread::yield();
    };
    const auto multiply = [&](int id) {
        gemm(Trans::no, Trans::no, n, n, n, a.data(), n, a.data(), n, 0.0f, c.data() + size_t(id) * size, n);
    };
    try {
        while (int(others.size()) + 1 < count)
            others.emplace_back([&, id = int(others.size()) + 1] {
                ++waiting;
                wait_for([&] { return go.load(); });
                multiply(id);
                ++finished;
                wait_for([&] { return end.load(); });
            });
    } catch (const std::system_error&) {  // the system refuses threads: as many as there are
    }
    wait_for([&] { return waiting == int(others.size()); });
    const int64_t before = platform::mapped_bytes();
    go = true;
    multiply(0);
    wait_for([&] { return finished == int(others.size()); });
    const int64_t after = platform::mapped_bytes();
    end = true;
    for (std::thread& other : others) other.join();
    return before < 0 ? -1 : after - before;
}

struct NoBuffer : std::bad_alloc {
    const char* what() const noexcept override {
        return "the system refuses the memory for matrix products, 32 MiB for each thread: use fewer threads";
    }
};

// Buffers for so many products at a time.
void make_buffers(int count) {
    const int64_t needed = int64_t(count - buffers.made) * int64_t(buffer_bytes);
    if (!platform::can_map(size_t(needed) + buffer_bytes)) throw NoBuffer();
    int64_t grown = 0;
    for (int64_t n = 256; n <= 1024 && grown >= 0 && grown < needed; n *= 2)  // longer ones, until all of them overlap
        grown += multiply_at_once(count, n);
    buffers.made = count;
}

}  // namespace

void gemm(Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb,
          float beta, float* c, int64_t ldc) {
    call(blas.sgemm, ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc);
}
void gemm(Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const double* a, int64_t lda, const double* b,
          int64_t ldb, double beta, double* c, int64_t ldc) {
    call(blas.dgemm, ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc);
}

// Columns of LAPACK are rows here: its upper triangle is our lower one, A = L Lᵀ. Block columns of L from left to right; what the
// finished ones take from the next is a product of its rows by its diagonal block's, in parts.
Solved solve_positive(Stop& stop, const Worker& w, int64_t n, double* a, int64_t columns, double* b) {
    if (n == 0) return Solved::yes;  // a net without parameters
    constexpr int64_t block = 1024;
    constexpr double most_flops = 1e9;  // at once
    const auto at = [&](int64_t r, int64_t c) { return a + r * n + c; };
    const int size = int(n);
    int info = 0;
    for (int64_t k = 0; k < n; k += block) {
        const int64_t count = std::min(block, n - k), end = k + count;
        const auto step = std::max(int64_t(16), int64_t(most_flops / (2 * double(count) * double(end))));
        for (int64_t r = k; k > 0 && r < n; r += step) {
            if (stop.asked(w)) return Solved::stopped;
            blas.dgemm(row_major, int(Trans::no), int(Trans::yes), int(std::min(step, n - r)), int(count), int(k), -1,
                       at(r, 0), size, at(k, 0), size, 1, at(r, k), size);
        }
        if (stop.asked(w)) return Solved::stopped;
        const int diagonal = int(count);
        blas.dpotrf("U", &diagonal, at(k, k), &size, &info);
        if (info) return Solved::not_positive_definite;
        for (int64_t r = end; r < n; r += step) {
            if (stop.asked(w)) return Solved::stopped;
            constexpr int right = 142, lower = 122, non_unit = 131;  // the values of CBLAS
            blas.dtrsm(row_major, right, lower, int(Trans::yes), non_unit, int(std::min(step, n - r)), diagonal, 1,
                       at(k, k), size, at(r, k), size);
        }
    }
    const auto step = std::max(int64_t(8), int64_t(most_flops / (2 * double(n) * double(n))));
    for (int64_t c = 0; c < columns; c += step) {
        if (c > 0 && stop.asked(w)) return Solved::stopped;
        const int many = int(std::min(step, columns - c));
        blas.dpotrs("U", &size, &many, a, &size, b + c * n, &size, &info);
    }
    return Solved::yes;
}

void load_blas(const std::string& path, const std::string& core) {
    if (blas.sgemm) return;
    const ScopedEnvironment threads("OPENBLAS_NUM_THREADS", "1");
    // This copy is ours alone, so its kernels follow our instruction set (FASTDENSE_ISA), not OpenBLAS's table of CPU models
    // or a setting made for another copy.
    std::optional<ScopedEnvironment> kernels;
    if (!core.empty()) kernels.emplace("OPENBLAS_CORETYPE", core.c_str());
    // A private copy: neither does it touch another OpenBLAS of the process, nor is it visible to others.
    std::string error;
    void* library = platform::open_library(path, platform::Loading::apart, error);
    if (!library) throw std::runtime_error("fastdense: cannot load its OpenBLAS: " + error);
    Blas b;
    bind(library, b.sgemm, "scipy_cblas_sgemm");
    bind(library, b.dgemm, "scipy_cblas_dgemm");
    bind(library, b.dpotrf, "scipy_dpotrf_");
    bind(library, b.dtrsm, "scipy_cblas_dtrsm");
    bind(library, b.dpotrs, "scipy_dpotrs_");
    bind(library, b.set_threads, "scipy_openblas_set_num_threads");
    bind(library, b.config, "scipy_openblas_get_config");
    bind(library, b.core, "scipy_openblas_get_corename");
    blas = b;
    blas.set_threads(1);
}

BlasUse::BlasUse(int threads) : threads_(threads) {
    if (threads == 0) return;
    if (!blas.set_threads)
        throw std::runtime_error(
            "device: 'cpu' was asked for, and this build of fastdense has no OpenBLAS (FASTDENSE_OPENBLAS=OFF), which "
            "makes its products; use device='cuda', or build it with scipy-openblas32");
    blas.set_threads(1);
    const std::lock_guard<std::mutex> locked(buffers.lock);
    if (buffers.users + threads > buffers.made) make_buffers(buffers.users + threads);
    buffers.users += threads;
}
BlasUse::~BlasUse() {
    if (threads_ == 0) return;
    const std::lock_guard<std::mutex> locked(buffers.lock);
    buffers.users -= threads_;
}

std::string blas_config() { return blas.config ? blas.config() : ""; }
std::string blas_core() { return blas.core ? blas.core() : ""; }

}  // namespace fd::cpu
