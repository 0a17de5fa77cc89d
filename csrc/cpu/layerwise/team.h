// Work on whole matrices by the whole team. Run by every worker, with a barrier at the end.
#pragma once
#include "core/parallel.h"
#include "cpu/blas/gemm.h"

namespace fd::cpu {

// Row slices of C (m, n) = op(A) op(B) + beta C.
template <class T>
void team_gemm(const Worker& w, Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda,
               const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
    const Slices cut(m);
    w.each(cut.count, [&](int64_t s) {
        const int64_t r = cut.begin(s);
        gemm(ta, tb, cut.end(s) - r, n, k, ta == Trans::no ? a + r * lda : a + r, lda, b, ldb, beta, c + r * ldc, ldc);
    });
    w.sync();
}

template <class F>
void each_row(const Worker& w, int64_t rows, F&& body) {
    const Slices cut(rows, 1, 1);
    w.each(cut.count, [&](int64_t s) {
        for (int64_t r = cut.begin(s); r < cut.end(s); ++r) body(r);
    });
    w.sync();
}

}  // namespace fd::cpu
