// Layerwise: where branches join, and where their gradients meet again.
#include <algorithm>

#include "cpu/layerwise/layerwise.h"
#include "ops/merges.h"

namespace fd::cpu {

template <class T>
void Layerwise<T>::branches_forward(const Worker& w, int i, const T* x, int64_t rows, Pass pass) {
    const Op& o = op(i);
    const int count = int(o.last.size());
    const T* from[ops::most_branches];
    for (int b = 0; b < count; ++b) from[b] = output(o.last[size_t(b)], x, pass);
    T* to = out_[size_t(i)].get();
    const Slices cut(rows, 4, 1);
    w.each(cut.count, [&](int64_t s) {
        const int64_t r0 = cut.begin(s), r1 = cut.end(s);
        if (o.merge != ops::Merge::concatenate) {
            for (int64_t e = r0 * o.out; e < r1 * o.out; ++e)
                to[e] = ops::merged<T>(o.merge, count, [&](int b) { return from[b][e]; });
            return;
        }
        for (int64_t r = r0; r < r1; ++r) {
            T* row = to + r * o.out;
            for (int b = 0; b < count; ++b) {
                const int64_t n = op(o.last[size_t(b)]).out;
                row = std::copy_n(from[b] + r * n, n, row);
            }
        }
    });
}

// From the gradient of the joined outputs to those of the branches that have parameters or depend on some.
template <class T>
void Layerwise<T>::branches_end_backward(const Worker& w, int i, const T* x, int64_t rows, Pass pass) {
    const Op& o = op(i);
    const int count = int(o.last.size());
    const T *from[ops::most_branches], *grad = d(i);
    for (int b = 0; b < count; ++b) from[b] = output(o.last[size_t(b)], x, pass);
    const Slices cut(rows, 4, 1);
    w.each(cut.count, [&](int64_t s) {
        int64_t first = 0;  // column of the branch
        for (int b = 0; b < count; ++b) {
            const int last = o.last[size_t(b)];
            const int64_t n = op(last).out, at = first;
            T* to = d(last);
            first += n;
            if (!walk(pass)[last].wants_gradient) continue;
            if (o.merge == ops::Merge::concatenate)
                for (int64_t r = cut.begin(s); r < cut.end(s); ++r) std::copy_n(grad + r * o.out + at, n, to + r * n);
            else
                for (int64_t e = cut.begin(s) * n; e < cut.end(s) * n; ++e)
                    to[e] = grad[e] * ops::merge_derivative<T>(o.merge, count, b, [&](int c) { return from[c][e]; });
        }
    });
}

template <class T>
void Layerwise<T>::branches_begin_backward(const Worker& w, int i, int64_t rows) {
    const Op& o = op(i);
    T* to = d(i - 1);
    const Slices cut(rows, 4, 1);
    w.each(cut.count, [&](int64_t s) {
        for (int64_t e = cut.begin(s) * o.in; e < cut.end(s) * o.in; ++e) {
            T sum = T(0);
            for (int before : o.before) sum += d(before)[e];
            to[e] = sum;
        }
    });
}

#define FD_INSTANTIATE(T)                                                                           \
    template void Layerwise<T>::branches_forward(const Worker&, int, const T*, int64_t, Pass);      \
    template void Layerwise<T>::branches_end_backward(const Worker&, int, const T*, int64_t, Pass); \
    template void Layerwise<T>::branches_begin_backward(const Worker&, int, int64_t);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cpu
