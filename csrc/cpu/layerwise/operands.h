// Operands of the products of dense ops as the kernels take them: numbers of the net's own type, or of bfloat16, two to a
// word. Both classes have the same members, so that each product is written once.
#pragma once
#include <algorithm>
#include <vector>

#include "core/plan.h"
#include "cpu/memory.h"
#include "cpu/simd/kernels.h"
#include "cpu/state.h"

namespace fd::cpu {

// What a product reads as scalars: adjacent ones at s, and those of the next k a step away.
template <class S>
struct Strip {
    const S* s;
    int64_t step;  // in elements
};

// Strips, gathered where they need it. In a matrix every k has a line of its own, of which a tile of 6 numbers uses less than half:
// long strips, on more pages than the fastest table of pages holds, are read faster from one place by every panel after the
// first. Where rows are a power of two apart, the lines share a few sets of the caches. Tiles of more rows use most of a line,
// and gain only in the worst of these cases. docs/design/cpu.md has the measurements.
template <class S>
class StripBuffer {
public:
    using Gather = void (*)(const S* s, int64_t step, int64_t n, int64_t k, S* to);
    void reserve(Gather kernel, int64_t tile, int64_t vector, int64_t k, int team) {
        kernel_ = kernel, vector_ = vector, team_ = team, size_ = tile * k + vector;
        tall_ = tile > 8;
        buffer_.reserve(team * size_);
    }
    // n numbers for each k, to be read for so many panels by one worker.
    Strip<S> gather(Strip<S> in_place, int64_t n, int64_t k, int64_t panels, int worker) const {
        const int64_t apart = in_place.step * int64_t(sizeof(S));
        const bool pays = tall_ ? apart % 8192 == 0 : apart % 2048 == 0 || k * apart >= long_strip;
        // whole vectors are read: of rows shorter than that, beyond the last
        if (!pays || panels < least_panels || worker >= team_ || in_place.step < vector_) return in_place;
        S* const to = buffer_.get() + worker * size_;
        kernel_(in_place.s, in_place.step, n, k, to);
        return {to, n};
    }

private:
    static constexpr int64_t least_panels = 4, long_strip = 64 * 4096;
    Gather kernel_ = nullptr;
    int64_t vector_ = 0, size_ = 0;
    bool tall_ = false;
    int team_ = 0;
    Buffer<S> buffer_;
};

// Weights and inputs are read where they lie; only the operands whose rows, or columns, are the product's lanes are packed.
// Two of each: while a layer is at work, the next one's are made.
template <class T>
class PlainOperands {
public:
    using Word = T;
    PlainOperands(const Plan& plan, const State<T>& state) : k_(kernels_of<T>(isa())), plan_(plan), state_(state) {}
    static int64_t words(int64_t n) { return n; }  // that n numbers take

    void reserve(int64_t rows, bool backward, int team) {
        auto full = [this](int64_t n) { return (n + k_.panel - 1) / k_.panel * k_.panel; };
        for (Buffer<T>& side : row_panels_) side.reserve(full(rows) * plan_.widest);
        for (Buffer<T>& side : column_panels_)
            if (backward) side.reserve(rows * full(plan_.widest));
        strips_.reserve(k_.gather_strip, k_.tile, k_.panel / 2, std::max(plan_.widest, backward ? rows : 0), team);
    }
    T* row_panels(int i) const { return row_panels_[i % 2].get(); }
    T* column_panels(int i) const { return column_panels_[i % 2].get(); }
    const T* by_column(int i) const {  // op i's kernel for sums along its rows: (in, out)
        return state_.parameters.get() + plan_.tensors[size_t(plan_.ops[size_t(i)].kernel)].offset;
    }
    const T* by_row(int i, int64_t r) const {
        return by_column(i) + r * plan_.ops[size_t(i)].out;
    }  // along its columns
    const T* inputs(int, const T* x) const { return x; }  // of op i, for sums along the rows of the batch
    void pack_inputs(int, const T*, int64_t, int64_t, int64_t, int64_t) const {}
    void pack_rows(const T* a, int64_t ld, int64_t rows, int64_t k, T* panel) const {
        k_.pack_rows(a, ld, rows, k, panel);
    }
    void pack_columns(const T* a, int64_t ld, int64_t cols, int64_t k, T* panel) const {
        k_.pack_columns(a, ld, cols, k, panel);
    }
    Strip<T> strip(Strip<T> in_place, int64_t n, int64_t k, int64_t panels, int worker) const {
        return strips_.gather(in_place, n, k, panels, worker);
    }
    void product(const Product<T>& q) const { k_.product(q); }
    void refresh(int, int64_t, int64_t) const {}
    template <class F>
    void each_copy(int, int64_t, F&&) const {}

private:
    const Kernels<T>& k_;
    const Plan& plan_;
    const State<T>& state_;
    Buffer<T> row_panels_[2], column_panels_[2];
    StripBuffer<T> strips_;
};

// Beside its float32 weights a bfloat16 net keeps both packed forms of every kernel; updates refresh them row by row while the
// weights are in cache.
class Bf16Operands {
public:
    using Word = Pair;
    Bf16Operands(const Plan& plan, const State<float>& state) : k_(*isa().bf16), plan_(plan), state_(state) {
        int64_t size = 0;
        auto place = [&](int64_t n) {
            const int64_t at = size;
            size += (n + line - 1) / line * line;
            return at;
        };
        for (const Op& o : plan.ops) {
            const bool dense = o.kind == OpKind::dense;
            const int64_t pairs = place(dense ? words(o.in) * o.out : 0);
            places_.push_back({pairs, place(dense ? o.in * words(o.out) : 0)});
        }
        weights_.reserve(size);  // all in one: large buffers get large pages
    }
    static int64_t words(int64_t n) { return (n + 1) / 2; }  // that n numbers take

    void reserve(int64_t rows, bool backward, int team) {
        auto full = [this](int64_t n) { return (n + k_.panel - 1) / k_.panel * k_.panel; };
        const int64_t widest = plan_.widest, first = full(rows) * words(widest), second = words(rows) * full(widest);
        const int64_t side = first + (backward ? second + words(rows) * widest : 0);
        operands_.reserve(2 * side);
        strips_.reserve(k_.gather_strip, k_.tile, k_.panel / 2, std::max(words(widest), backward ? words(rows) : 0),
                        team);
        for (int i = 0; i < 2; ++i) {
            row_panels_[i] = operands_.get() + i * side;
            column_panels_[i] = row_panels_[i] + first;
            inputs_[i] = column_panels_[i] + second;
        }
    }
    Pair* row_panels(int i) const { return row_panels_[i % 2]; }
    Pair* column_panels(int i) const { return column_panels_[i % 2]; }
    Pair* by_column(int i) const {  // (j, c): weights (2j, c), (2j + 1, c)
        return weights_.get() + places_[size_t(i)].pairs;
    }
    Pair* by_row(int i, int64_t r) const {  // (r, j): weights (r, 2j), (r, 2j + 1)
        return weights_.get() + places_[size_t(i)].by_row + r * words(plan_.ops[size_t(i)].out);
    }
    const Pair* inputs(int i, const float*) const {
        return inputs_[i % 2];
    }  // (j, c): rows 2j and 2j + 1 of op i's input
    // The part of runs s … end of `runs`.
    void pack_inputs(int i, const float* x, int64_t rows, int64_t s, int64_t end, int64_t runs) const {
        const int64_t n = words(rows), cols = plan_.ops[size_t(i)].in, w0 = n * s / runs;
        const int64_t r0 = 2 * w0, r1 = std::min(rows, 2 * (n * end / runs));
        k_.pair_rows(x + r0 * cols, cols, r1 - r0, cols, inputs_[i % 2] + w0 * cols, cols);
    }
    void pack_rows(const float* a, int64_t ld, int64_t rows, int64_t k, Pair* panel) const {
        k_.pack_rows(a, ld, rows, k, panel);
    }
    void pack_columns(const float* a, int64_t ld, int64_t cols, int64_t k, Pair* panel) const {
        k_.pair_rows(a, ld, k, cols, panel, k_.panel);
    }
    Strip<Pair> strip(Strip<Pair> in_place, int64_t n, int64_t k, int64_t panels, int worker) const {
        return strips_.gather(in_place, n, k, panels, worker);
    }
    void product(const Product<float, Pair>& q) const { k_.product(q); }
    // Rows r0 … r1 (r0 even) of op i's kernel have changed.
    void refresh(int i, int64_t r0, int64_t r1) const {
        const Op& o = plan_.ops[size_t(i)];
        const float* w = state_.parameters.get() + plan_.tensors[size_t(o.kernel)].offset;
        k_.pair_weights(w + r0 * o.out, r1 - r0, o.out, by_column(i) + r0 / 2 * o.out, by_row(i, r0));
    }
    template <class F>
    void each_copy(int i, int64_t r, F&& body) const {  // body(address) of row r (even) of op i's kernel in both forms
        body(by_column(i) + r / 2 * plan_.ops[size_t(i)].out), body(by_row(i, r));
    }

private:
    static constexpr int64_t line = 16;
    struct Place {
        int64_t pairs, by_row;
    };
    const Bf16Kernels& k_;
    const Plan& plan_;
    const State<float>& state_;
    std::vector<Place> places_;
    Buffer<Pair> weights_, operands_;
    StripBuffer<Pair> strips_;
    Pair *row_panels_[2] = {}, *column_panels_[2] = {}, *inputs_[2] = {};
};

}  // namespace fd::cpu
