#include "cpu/layerwise/products.h"

#include <algorithm>

namespace fd::cpu {
namespace {

// With the first panel the weights of the next tile are prefetched: they lie beside this tile's, or below them.
template <class T, class S>
Product<T, S> next_columns(Product<T, S> q, const S* next, int64_t ld, int64_t panel) {
    const int64_t step = ld * int64_t(sizeof(S));
    if (panel == 0) q.fetch[0] = {next, step}, q.fetch[1] = {next + q.rows - 1, step};
    return q;
}
template <class T, class S>
Product<T, S> next_rows(Product<T, S> q, int64_t panel) {
    if (panel == 0) q.fetch[0].from = q.s + q.rows * q.s_a;
    return q;
}

}  // namespace

template <class T>
DenseProducts<T>::DenseProducts(const Plan& plan, const State<T>& state)
    : plan_(plan), state_(state), k_(kernels_of<T>(isa())), walk_(plan, nullptr, Pass::train), tiles_(plan),
      plain_(plan, state) {
    if constexpr (sizeof(T) == 4)
        if (plan.bf16) bf16_ = std::make_unique<Bf16Operands>(plan, state);
}

template <class T>
void DenseProducts<T>::reserve(int64_t rows, bool backward, int team) {
    if (bf16_) bf16_->reserve(rows, backward, team);
    else plain_.reserve(rows, backward, team);
}

template <class T>
void DenseProducts<T>::pack_rows(int i, const T* a, int64_t rows, int64_t cols, int64_t p0, int64_t p1, int64_t c0,
                                 int64_t c1) const {
    with_operands([&](const auto& o) {
        for (int64_t p = p0; p < p1; ++p) {
            const int64_t r = p * k_.panel, n = std::min<int64_t>(k_.panel, rows - r);
            auto* to = o.row_panels(i) + r * o.words(cols) + o.words(c0) * k_.panel;
            o.pack_rows(a + r * cols + c0, cols, n, c1 - c0, to);
        }
    });
}

template <class T>
void DenseProducts<T>::pack_columns(int i, const T* a, int64_t rows, int64_t cols, int64_t c0, int64_t c1) const {
    with_operands([&](const auto& o) {
        for (int64_t c = c0, n; c < c1; c += n) {
            const int64_t lane = c % k_.panel;
            n = std::min(k_.panel - lane, c1 - c);
            o.pack_columns(a + c, cols, n, rows, o.column_panels(i) + (c - lane) * o.words(rows) + lane);
        }
    });
}

template <class T>
void DenseProducts<T>::pack_backward(int i, const OpWalk& step, const T* x, const T* d, int64_t rows, int64_t c0,
                                     int64_t c1, int64_t s, int64_t end, int64_t runs) const {
    const int64_t cols = op(i).out;
    if (packs_rows_backward(i, step, rows)) pack_rows(i, d, rows, cols, 0, panels(rows), c0, c1);
    if (packs_columns_backward(i, step, rows)) pack_columns(i, d, rows, cols, c0, c1);
    if (step.trains) with_operands([&](const auto& o) { o.pack_inputs(i, x, rows, s, end, runs); });
}

template <class T>
void DenseProducts<T>::refresh(int i, int64_t r0, int64_t r1) const {
    with_operands([&](const auto& o) { o.refresh(i, r0, r1); });
}

template <class T>
void DenseProducts<T>::refresh(const Worker& w) {
    for (int i = 0; i <= walk_.last(); ++i)
        if (op(i).kind == OpKind::dense) {
            const Tiles cut = tiles(op(i).in);
            w.each(cut.runs, [&](int64_t s) { refresh(i, cut.begin(cut.run(s)), cut.begin(cut.run(s + 1))); });
        }
    if (w.first()) stale_ = false;
}

template <class T>
void DenseProducts<T>::output_tile(int i, int64_t rows, int64_t c0, int64_t c1, int64_t p0, int64_t p1, int worker,
                                   T* z) const {
    const int64_t in = op(i).in, out = op(i).out;
    with_operands([&](const auto& o) {
        using Word = typename std::decay_t<decltype(o)>::Word;
        const int64_t words = o.words(in);
        const Strip<Word> strip = o.strip({o.by_column(i) + c0, out}, c1 - c0, words, p1 - p0, worker);
        for (int64_t p = p0; p < p1; ++p) {
            const int64_t r = p * k_.panel, n = std::min<int64_t>(k_.panel, rows - r);
            o.product(next_columns(Product<T, Word>{strip.s, 1, strip.step, c1 - c0, words, o.row_panels(i) + r * words,
                                                    n, z + r * out + c0, out, true},
                                   o.by_column(i) + c1, out, p));
        }
    });
}

template <class T>
void DenseProducts<T>::input_gradient_tile(int i, int64_t rows, int64_t r0, int64_t r1, int64_t p, T* below) const {
    const int64_t in = op(i).in, out = op(i).out, b = p * k_.panel, n = std::min<int64_t>(k_.panel, rows - b);
    with_operands([&](const auto& o) {
        using Word = typename std::decay_t<decltype(o)>::Word;
        const int64_t words = o.words(out);
        o.product(next_rows(Product<T, Word>{o.by_row(i, r0), words, 1, r1 - r0, words, o.row_panels(i) + b * words, n,
                                             below + b * in + r0, in, true},
                            p));
    });
}

template <class T>
void DenseProducts<T>::kernel_gradient(int i, const T* x, int64_t rows, int64_t r0, int64_t r1, int worker, T* to,
                                       bool fetch) const {
    const int64_t in = op(i).in, out = op(i).out, count = panels(out);
    with_operands([&](const auto& o) {
        using Word = typename std::decay_t<decltype(o)>::Word;
        const int64_t words = o.words(rows);
        const char* arrays[6];
        int length = 0;
        if (fetch) {
            auto add = [&](const void* from) { arrays[length++] = static_cast<const char*>(from); };
            const int64_t first = plan_.tensors[size_t(op(i).kernel)].offset + r0 * out;
            add(state_.parameters.get() + first);
            for (const Buffer<T>& slot : state_.slots) add(slot.get() + first);
            o.each_copy(i, r0, add);
        }
        const Strip<Word> strip = o.strip({o.inputs(i, x) + r0, in}, r1 - r0, words, count, worker);
        const int64_t turns = std::max(1, (length + 1) / 2), bytes = (r1 - r0) * out * int64_t(sizeof(T));
        for (int64_t turn = 0; turn < turns; ++turn) {
            const int64_t p0 = count * turn / turns, p1 = count * (turn + 1) / turns;
            const int64_t part = bytes / std::max<int64_t>(1, p1 - p0);
            for (int64_t p = p0; p < p1; ++p) {
                const int64_t c = p * k_.panel, n = std::min<int64_t>(k_.panel, out - c);
                Product<T, Word> q{strip.s, 1,      strip.step, r1 - r0, words, o.column_panels(i) + c * words,
                                   n,       to + c, out,        false};
                for (int64_t a = 2 * turn; a < length && a < 2 * turn + 2; ++a)
                    q.fetch[a % 2].from = arrays[a] + part * (p - p0);
                o.product(q);
            }
        }
    });
}

template class DenseProducts<float>;
template class DenseProducts<double>;

}  // namespace fd::cpu
