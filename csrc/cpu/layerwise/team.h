// Work on whole matrices by the whole team. Run by every worker, with a barrier at the end.
#pragma once
#include <algorithm>

#include "core/parallel.h"
#include "core/stop.h"
#include "cpu/blas/gemm.h"

namespace fd::cpu {

// C (m, n) = op(A) op(B) + beta C, by one worker; by rows in parts that take about 20 ms each, where it may be stopped.
template <class T>
void stoppable_gemm(Stop& stop, const Worker& w, Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const T* a,
                    int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
    constexpr int64_t unit = 64;  // rows: whole tiles of every kernel
    const double flops = 2 * double(m) * double(n) * double(k);
    const int64_t most = (m + unit - 1) / unit;
    const int64_t parts = stop.watching() ? std::clamp(int64_t(flops / 1e9), int64_t(1), most) : 1;
    for (int64_t p = 0; p < parts && !(p ? stop.asked(w) : stop.known()); ++p) {
        const int64_t r = most * p / parts * unit, end = std::min(m, most * (p + 1) / parts * unit);
        gemm(ta, tb, end - r, n, k, ta == Trans::no ? a + r * lda : a + r, lda, b, ldb, beta, c + r * ldc, ldc);
    }
}

// Row slices of C (m, n) = op(A) op(B) + beta C.
template <class T>
void team_gemm(Stop& stop, const Worker& w, Trans ta, Trans tb, int64_t m, int64_t n, int64_t k, const T* a,
               int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
    const Slices cut(m);
    w.each(cut.count, [&](int64_t s) {
        const int64_t r = cut.begin(s);
        stoppable_gemm(stop, w, ta, tb, cut.end(s) - r, n, k, ta == Trans::no ? a + r * lda : a + r, lda, b, ldb, beta,
                       c + r * ldc, ldc);
    });
    w.sync();
}

// Nothing once it is known that the results will not be used.
template <class F>
void each_row(const Stop& stop, const Worker& w, int64_t rows, F&& body) {
    const Slices cut(rows, 1, 1);
    w.each(cut.count, [&](int64_t s) {
        if (stop.known()) return;
        for (int64_t r = cut.begin(s); r < cut.end(s); ++r) body(r);
    });
    w.sync();
}

}  // namespace fd::cpu
