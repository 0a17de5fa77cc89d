#include "cpu/blas/gemm.h"

#include <dlfcn.h>

#include <cstdlib>
#include <optional>
#include <stdexcept>

#include "core/types.h"

namespace fd::cpu {
namespace {

template <class T>
using Gemm = void (*)(int order, int ta, int tb, int m, int n, int k, T alpha, const T* a, int lda, const T* b, int ldb,
                      T beta, T* c, int ldc);

struct Blas {
    Gemm<float> sgemm = nullptr;
    Gemm<double> dgemm = nullptr;
    void (*dpotrf)(const char*, const int*, double*, const int*, int*) = nullptr;
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
        ::setenv(name, value, 1);
    }
    ~ScopedEnvironment() { old_ ? ::setenv(name_, old_->c_str(), 1) : ::unsetenv(name_); }
    ScopedEnvironment(const ScopedEnvironment&) = delete;
    ScopedEnvironment& operator=(const ScopedEnvironment&) = delete;

private:
    const char* name_;
    std::optional<std::string> old_;
};

template <class F>
void bind(void* library, F& function, const char* symbol) {
    function = reinterpret_cast<F>(dlsym(library, symbol));
    if (!function) throw std::runtime_error(std::string("fastdense: its OpenBLAS lacks ") + symbol);
}

template <class T>
void call(Gemm<T> f, Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
          int64_t ldb, T beta, T* c, int64_t ldc) {
    constexpr int row_major = 101;
    f(row_major, int(ta), int(tb), int(m), int(n), int(k), T(1), a, int(lda), b, int(ldb), beta, c, int(ldc));
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

bool solve_positive(int64_t n, double* a, int64_t columns, double* b) {
    const int size = int(n), many = int(columns);
    int info = 0;
    blas.dpotrf("U", &size, a, &size, &info);  // columns there are rows here: its upper triangle is our lower one
    if (info) return false;
    blas.dpotrs("U", &size, &many, a, &size, b, &size, &info);
    return info == 0;
}

void load_blas(const std::string& path, const std::string& core) {
    if (blas.sgemm) return;
    int flags =
        RTLD_NOW |
        RTLD_LOCAL;  // a private copy: neither does it touch another OpenBLAS of the process, nor is it visible to others
#ifdef RTLD_DEEPBIND
    if (!dlsym(RTLD_DEFAULT, "__asan_init")) flags |= RTLD_DEEPBIND;  // a sanitizer in the process refuses it
#endif
    const ScopedEnvironment threads("OPENBLAS_NUM_THREADS", "1");
    // This copy is ours alone, so its kernels follow our instruction set (FASTDENSE_ISA), not OpenBLAS's table of CPU models
    // or a setting made for another copy.
    std::optional<ScopedEnvironment> kernels;
    if (!core.empty()) kernels.emplace("OPENBLAS_CORETYPE", core.c_str());
    void* library = dlopen(path.c_str(), flags);
    if (!library) throw std::runtime_error(std::string("fastdense: cannot load its OpenBLAS: ") + dlerror());
    Blas b;
    bind(library, b.sgemm, "scipy_cblas_sgemm");
    bind(library, b.dgemm, "scipy_cblas_dgemm");
    bind(library, b.dpotrf, "scipy_dpotrf_");
    bind(library, b.dpotrs, "scipy_dpotrs_");
    bind(library, b.set_threads, "scipy_openblas_set_num_threads");
    bind(library, b.config, "scipy_openblas_get_config");
    bind(library, b.core, "scipy_openblas_get_corename");
    blas = b;
    pin_blas_to_one_thread();
}

void pin_blas_to_one_thread() {
    if (!blas.set_threads) throw InternalError("OpenBLAS has not been loaded");
    blas.set_threads(1);
}
std::string blas_config() { return blas.config ? blas.config() : ""; }
std::string blas_core() { return blas.core ? blas.core() : ""; }

}  // namespace fd::cpu
