// Layerwise: the products of our own, tile by tile, and the packing of their operands; in the net's type or in bfloat16.
#include <algorithm>

#include "cpu/layerwise/layerwise.h"

namespace fd::cpu {
namespace {

// While the first panel is at work, the weights of the next tile come closer: beside this tile's, or below them.
template <class T, class S>
Product<T, S> next_columns(Product<T, S> q, int64_t panel) {
    const int64_t step = q.s_k * int64_t(sizeof(S));
    if (panel == 0) q.fetch[0] = {q.s + q.rows, step}, q.fetch[1] = {q.s + 2 * q.rows - 1, step};
    return q;
}
template <class T, class S>
Product<T, S> next_rows(Product<T, S> q, int64_t panel) {
    if (panel == 0) q.fetch[0].from = q.s + q.rows * q.s_a;
    return q;
}

}  // namespace

// Columns c0 … c1 of a (rows, cols) as panels whose lanes are rows, for the product of op i; and whose lanes are columns.
template <class T>
void Layerwise<T>::pack_rows(int i, const T* a, int64_t rows, int64_t cols, int64_t p0, int64_t p1, int64_t c0,
                             int64_t c1) {
    for (int64_t p = p0; p < p1; ++p) {
        const int64_t r = p * k_.panel, n = std::min<int64_t>(k_.panel, rows - r);
        const T* from = a + r * cols + c0;
        if constexpr (sizeof(T) == 4)
            if (bf16_) {
                Pair* to = bf16_->row_panels[i % 2] + r * Bf16Operands::words(cols) + c0 / 2 * k_.panel;
                bf16_->k.pack_rows(from, cols, n, c1 - c0, to);
                continue;
            }
        k_.pack_rows(from, cols, n, c1 - c0, row_panels_[i % 2].get() + r * cols + c0 * k_.panel);
    }
}
template <class T>
void Layerwise<T>::pack_columns(int i, const T* a, int64_t rows, int64_t cols, int64_t c0, int64_t c1) {
    for (int64_t c = c0, n; c < c1; c += n) {
        const int64_t lane = c % k_.panel;
        n = std::min(k_.panel - lane, c1 - c);
        if constexpr (sizeof(T) == 4)
            if (bf16_) {
                Pair* to = bf16_->column_panels[i % 2] + (c - lane) * Bf16Operands::words(rows) + lane;
                bf16_->k.pair_rows(a + c, cols, rows, n, to, k_.panel);
                continue;
            }
        k_.pack_columns(a + c, cols, n, rows, column_panels_[i % 2].get() + (c - lane) * rows + lane);
    }
}
// Rows of the input of op i, two to a word, for its kernel's gradient: the share of run s.
template <class T>
void Layerwise<T>::pair_inputs(int i, const T* x, int64_t rows, int64_t s, int64_t runs) {
    if constexpr (sizeof(T) == 4) {
        const int64_t words = Bf16Operands::words(rows), cols = op(i).in, w0 = words * s / runs;
        const int64_t r0 = 2 * w0, r1 = std::min(rows, 2 * (words * (s + 1) / runs));
        bf16_->k.pair_rows(x + r0 * cols, cols, r1 - r0, cols, bf16_->inputs[i % 2] + w0 * cols, cols);
    }
}
template <class T>
void Layerwise<T>::refresh_bf16(const Worker& w) {
    if constexpr (sizeof(T) == 4)
        for (int i = 0; i <= last_; ++i)
            if (op(i).kind == OpKind::dense) {
                const Tiles cut = tiles_(op(i).in);
                w.each(cut.runs, [&](int64_t s) {
                    bf16_->refresh(i, parameter(op(i).kernel), cut.begin(cut.run(s)), cut.begin(cut.run(s + 1)));
                });
            }
    if (w.first()) stale_ = false;
}

// z = x W, its columns c0 … c1 for the rows of panel p.
template <class T>
void Layerwise<T>::output_tile(int i, int64_t rows, int64_t c0, int64_t c1, int64_t p, T* z) {
    const Op& o = op(i);
    const int64_t r = p * k_.panel, n = std::min<int64_t>(k_.panel, rows - r), words = Bf16Operands::words(o.in);
    T* out = z + r * o.out + c0;
    if constexpr (sizeof(T) == 4)
        if (bf16_)
            return bf16_->k.product(
                next_columns(Product<float, Pair>{bf16_->pairs(i) + c0, 1, o.out, c1 - c0, words,
                                                  bf16_->row_panels[i % 2] + r * words, n, out, o.out, true},
                             p));
    k_.product(next_columns(Product<T>{parameter(o.kernel) + c0, 1, o.out, c1 - c0, o.in,
                                       row_panels_[i % 2].get() + r * o.in, n, out, o.out, true},
                            p));
}

// below = d Wᵀ, its columns r0 … r1 for the rows of panel p.
template <class T>
void Layerwise<T>::input_gradient_tile(int i, int64_t rows, int64_t r0, int64_t r1, int64_t p, T* below) {
    const Op& o = op(i);
    const int64_t b = p * k_.panel, n = std::min<int64_t>(k_.panel, rows - b), words = Bf16Operands::words(o.out);
    T* out = below + b * o.in + r0;
    if constexpr (sizeof(T) == 4)
        if (bf16_)
            return bf16_->k.product(
                next_rows(Product<float, Pair>{bf16_->by_row(i, r0), words, 1, r1 - r0, words,
                                               bf16_->row_panels[i % 2] + b * words, n, out, o.in, true},
                          p));
    k_.product(next_rows(Product<T>{parameter(o.kernel) + r0 * o.out, o.out, 1, r1 - r0, o.out,
                                    row_panels_[i % 2].get() + b * o.out, n, out, o.in, true},
                         p));
}

// Rows r0 … r1 of the kernel's gradient. `fetch`: brings along what their update will need, two arrays at a time.
template <class T>
void Layerwise<T>::kernel_gradient(int i, const T* x, int64_t rows, int64_t r0, int64_t r1, T* out, bool fetch) {
    const Op& o = op(i);
    const int64_t count = panels(o.out), first = r0 * o.out, words = Bf16Operands::words(rows);
    const char* arrays[6];
    int length = 0;
    if (fetch) {
        auto add = [&](const void* from) { arrays[length++] = static_cast<const char*>(from); };
        add(parameter(o.kernel) + first);
        for (const Buffer<T>& slot : state_.slots) add(at(slot, o.kernel) + first);
        if (bf16_) add(bf16_->pairs(i) + first / 2), add(bf16_->by_row(i, r0));
    }
    auto product = [&](int64_t p, const Fetch* coming) {
        const int64_t c = p * k_.panel, n = std::min<int64_t>(k_.panel, o.out - c);
        if constexpr (sizeof(T) == 4)
            if (bf16_)
                return bf16_->k.product({bf16_->inputs[i % 2] + r0,
                                         1,
                                         o.in,
                                         r1 - r0,
                                         words,
                                         bf16_->column_panels[i % 2] + c * words,
                                         n,
                                         out + c,
                                         o.out,
                                         false,
                                         {coming[0], coming[1]}});
        k_.product({x + r0,
                    1,
                    o.in,
                    r1 - r0,
                    rows,
                    column_panels_[i % 2].get() + c * rows,
                    n,
                    out + c,
                    o.out,
                    false,
                    {coming[0], coming[1]}});
    };
    const int64_t turns = std::max(1, (length + 1) / 2), bytes = (r1 - r0) * o.out * int64_t(sizeof(T));
    for (int64_t turn = 0; turn < turns; ++turn) {
        const int64_t p0 = count * turn / turns, p1 = count * (turn + 1) / turns;
        const int64_t part = bytes / std::max<int64_t>(1, p1 - p0);
        for (int64_t p = p0; p < p1; ++p) {
            Fetch coming[2];
            for (int64_t a = 2 * turn; a < length && a < 2 * turn + 2; ++a)
                coming[a % 2].from = arrays[a] + part * (p - p0);
            product(p, coming);
        }
    }
}

#define FD_INSTANTIATE(T)                                                                                       \
    template void Layerwise<T>::pack_rows(int, const T*, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t); \
    template void Layerwise<T>::pack_columns(int, const T*, int64_t, int64_t, int64_t, int64_t);                \
    template void Layerwise<T>::pair_inputs(int, const T*, int64_t, int64_t, int64_t);                          \
    template void Layerwise<T>::refresh_bf16(const Worker&);                                                    \
    template void Layerwise<T>::output_tile(int, int64_t, int64_t, int64_t, int64_t, T*);                       \
    template void Layerwise<T>::input_gradient_tile(int, int64_t, int64_t, int64_t, int64_t, T*);               \
    template void Layerwise<T>::kernel_gradient(int, const T*, int64_t, int64_t, int64_t, T*, bool);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cpu
