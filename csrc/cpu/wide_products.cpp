// Wide: the products of our own, tile by tile, and the packing of their operands; in the net's type or in bfloat16.
#include <algorithm>

#include "cpu/wide.h"

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

// Rows of a (rows, cols) as panels, for products whose lanes are these rows.
template <class T>
void Wide<T>::pack_row_panels(const Worker& w, const T* a, int64_t rows, int64_t cols) {
    w.each(panels(rows), [&](int64_t p) {
        const int64_t r = p * k_.panel, n = std::min<int64_t>(k_.panel, rows - r);
        if constexpr (sizeof(T) == 4)
            if (bf16_)
                return bf16_->k.pack_rows(a + r * cols, cols, n, cols,
                                          bf16_->row_panels + r * Bf16Operands::words(cols));
        k_.pack_rows(a + r * cols, cols, n, cols, row_panels_.get() + r * cols);
    });
}
template <class T>
void Wide<T>::pack_column_panels(const Worker& w, const T* a, int64_t rows, int64_t cols) {
    w.each(panels(cols), [&](int64_t p) {
        const int64_t c = p * k_.panel, n = std::min<int64_t>(k_.panel, cols - c);
        if constexpr (sizeof(T) == 4)
            if (bf16_)
                return bf16_->k.pair_rows(a + c, cols, rows, n, bf16_->column_panels + c * Bf16Operands::words(rows),
                                          k_.panel);
        k_.pack_columns(a + c, cols, n, rows, column_panels_.get() + c * rows);
    });
}
template <class T>
void Wide<T>::pair_inputs(const Worker& w, const T* x, int64_t rows, int64_t cols) {
    if constexpr (sizeof(T) == 4) {
        const Slices cut(rows, 4, 2);
        w.each(cut.count, [&](int64_t s) {
            const int64_t r0 = cut.begin(s);
            bf16_->k.pair_rows(x + r0 * cols, cols, cut.end(s) - r0, cols, bf16_->inputs + r0 / 2 * cols, cols);
        });
    }
}
template <class T>
void Wide<T>::refresh_bf16(const Worker& w) {
    if constexpr (sizeof(T) == 4)
        for (int i = 0; i <= last_; ++i)
            if (op(i).kind == OpKind::dense) {
                const Tiles cut = tiles(op(i).in);
                w.each(cut.runs, [&](int64_t s) {
                    bf16_->refresh(i, parameter(op(i).kernel), cut.begin(cut.run(s)), cut.begin(cut.run(s + 1)));
                });
            }
    if (w.first()) stale_ = false;
}

// z = x W, its columns c0 … c1 for the rows of panel p.
template <class T>
void Wide<T>::output_tile(int i, int64_t rows, int64_t c0, int64_t c1, int64_t p, T* z) {
    const Op& o = op(i);
    const int64_t r = p * k_.panel, n = std::min<int64_t>(k_.panel, rows - r), words = Bf16Operands::words(o.in);
    T* out = z + r * o.out + c0;
    if constexpr (sizeof(T) == 4)
        if (bf16_)
            return bf16_->k.product(
                next_columns(Product<float, Pair>{bf16_->pairs(i) + c0, 1, o.out, c1 - c0, words,
                                                  bf16_->row_panels + r * words, n, out, o.out, true},
                             p));
    k_.product(next_columns(Product<T>{parameter(o.kernel) + c0, 1, o.out, c1 - c0, o.in, row_panels_.get() + r * o.in,
                                       n, out, o.out, true},
                            p));
}

// below = d Wᵀ, its columns r0 … r1 for the rows of panel p.
template <class T>
void Wide<T>::input_gradient_tile(int i, int64_t rows, int64_t r0, int64_t r1, int64_t p, T* below) {
    const Op& o = op(i);
    const int64_t b = p * k_.panel, n = std::min<int64_t>(k_.panel, rows - b), words = Bf16Operands::words(o.out);
    T* out = below + b * o.in + r0;
    if constexpr (sizeof(T) == 4)
        if (bf16_)
            return bf16_->k.product(next_rows(Product<float, Pair>{bf16_->by_row(i, r0), words, 1, r1 - r0, words,
                                                                   bf16_->row_panels + b * words, n, out, o.in, true},
                                              p));
    k_.product(next_rows(Product<T>{parameter(o.kernel) + r0 * o.out, o.out, 1, r1 - r0, o.out,
                                    row_panels_.get() + b * o.out, n, out, o.in, true},
                         p));
}

// Rows r0 … r1 of the kernel's gradient. `fetch`: brings along what their update will need, two arrays at a time.
template <class T>
void Wide<T>::kernel_gradient(int i, const T* x, int64_t rows, int64_t r0, int64_t r1, T* out, bool fetch) {
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
    const int64_t turns = (length + 1) / 2, bytes = (r1 - r0) * o.out * int64_t(sizeof(T));
    for (int64_t p = 0; p < count; ++p) {
        const int64_t c = p * k_.panel, n = std::min<int64_t>(k_.panel, o.out - c), turn = p * turns / count;
        Fetch coming[2];
        for (int64_t a = 2 * turn; a < length && a < 2 * turn + 2; ++a)
            coming[a % 2].from = arrays[a] + bytes * (p * turns - turn * count) / count;
        if constexpr (sizeof(T) == 4)
            if (bf16_) {
                bf16_->k.product({bf16_->inputs + r0,
                                  1,
                                  o.in,
                                  r1 - r0,
                                  words,
                                  bf16_->column_panels + c * words,
                                  n,
                                  out + c,
                                  o.out,
                                  false,
                                  {coming[0], coming[1]}});
                continue;
            }
        k_.product({x + r0,
                    1,
                    o.in,
                    r1 - r0,
                    rows,
                    column_panels_.get() + c * rows,
                    n,
                    out + c,
                    o.out,
                    false,
                    {coming[0], coming[1]}});
    }
}

#define FD_INSTANTIATE(T)                                                                    \
    template void Wide<T>::pack_row_panels(const Worker&, const T*, int64_t, int64_t);       \
    template void Wide<T>::pack_column_panels(const Worker&, const T*, int64_t, int64_t);    \
    template void Wide<T>::pair_inputs(const Worker&, const T*, int64_t, int64_t);           \
    template void Wide<T>::refresh_bf16(const Worker&);                                      \
    template void Wide<T>::output_tile(int, int64_t, int64_t, int64_t, int64_t, T*);         \
    template void Wide<T>::input_gradient_tile(int, int64_t, int64_t, int64_t, int64_t, T*); \
    template void Wide<T>::kernel_gradient(int, const T*, int64_t, int64_t, int64_t, T*, bool);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cpu
