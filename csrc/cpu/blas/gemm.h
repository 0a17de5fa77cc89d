// Matrix products by a private copy of OpenBLAS, one thread each: the team of threads is ours (core/parallel.h).
#pragma once
#include <cstdint>
#include <string>

#include "core/stop.h"

namespace fd::cpu {

enum class Trans { no = 111, yes = 112 };  // the values of CBLAS

// C (m, n) = op(A) (m, k) · op(B) (k, n) + beta C; row-major, ld = elements per row. Called from any thread.
void gemm(Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb,
          float beta, float* c, int64_t ldc);
void gemm(Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const double* a, int64_t lda, const double* b,
          int64_t ldb, double beta, double* c, int64_t ldc);

// Solves A X = B by Cholesky for a symmetric positive definite A (n, n), of which the lower triangle is read and overwritten;
// X overwrites B, (columns, n): each row one right-hand side. By one worker of a team, in parts of about 20 ms, where it may be
// stopped.
Solved solve_positive(Stop& stop, const Worker& w, int64_t n, double* a, int64_t columns, double* b);

// Opens the library once. `path`: of the file shipped in the wheel; `core`: OpenBLAS's name of the kernels to use, or "".
void load_blas(const std::string& path, const std::string& core);

// For the time in which `threads` threads of one caller may make products. The constructor throws std::bad_alloc if there is no
// memory for what OpenBLAS needs then, and sets it to one thread each, which threadpoolctl can raise by name.
class BlasUse {
public:
    explicit BlasUse(int threads);
    ~BlasUse();
    BlasUse(const BlasUse&) = delete;
    BlasUse& operator=(const BlasUse&) = delete;

private:
    const int threads_;
};

std::string blas_config();
std::string blas_core();

}  // namespace fd::cpu
