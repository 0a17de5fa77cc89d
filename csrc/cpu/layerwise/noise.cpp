// Layerwise: the random ops but dropout, forward and back. What an element gets depends on its place in the batch alone.
#include <algorithm>

#include "cpu/layerwise/layerwise.h"

namespace fd::cpu {

template <class T>
void Layerwise<T>::noise(const Worker& w, int i, const T* from, T* to, const Batch<T>& b, bool backward) {
    const Op& o = op(i);
    const ops::NormalNoise normal{plan_.seed, uint64_t(state_.step), uint32_t(i)};
    const Slices cut(b.rows, 4, 1);
    w.each(cut.count, [&](int64_t s) {
        const int64_t first = cut.begin(s) * o.out, n = cut.end(s) * o.out - first;
        const T* x = from + first;
        T* out = to + first;
        const uint64_t place = uint64_t(b.first_row * o.out + first);  // in the batch of all ranks
        if (o.kind == OpKind::alpha_dropout) {
            const ops::DropoutMask mask(plan_.seed, uint64_t(state_.step), uint32_t(i), o.rate);
            const ops::AlphaDropout alpha(o.rate);
            const T factor = T(alpha.a), shift = T(backward ? 0 : alpha.b);
            const T dropped = T(backward ? 0 : alpha.a * ops::AlphaDropout::limit + alpha.b);
            mask.each(place, uint64_t(n),
                      [=](uint64_t k, bool kept) { out[k] = kept ? factor * x[k] + shift : dropped; });
        } else if (o.kind == OpKind::gaussian_dropout) {
            normal.each(place, uint64_t(n),
                        [&](uint64_t k, double number) { out[k] = x[k] * T(1 + o.stddev * number); });
        } else if (backward) {
            std::copy_n(x, n, out);
        } else {
            normal.each(place, uint64_t(n), [&](uint64_t k, double number) { out[k] = x[k] + T(o.stddev * number); });
        }
    });
}

template void Layerwise<float>::noise(const Worker&, int, const float*, float*, const Batch<float>&, bool);
template void Layerwise<double>::noise(const Worker&, int, const double*, double*, const Batch<double>&, bool);

}  // namespace fd::cpu
