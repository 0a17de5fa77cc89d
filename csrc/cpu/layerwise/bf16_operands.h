// What a bfloat16 net keeps beside its float32 weights: both packed forms of every kernel, which updates refresh row by row
// while the weights are in cache, and the packed operands of the layer at work.
#pragma once
#include <vector>

#include "core/plan.h"
#include "cpu/memory.h"
#include "cpu/simd/kernels.h"

namespace fd::cpu {

class Bf16Operands {
public:
    explicit Bf16Operands(const Plan& plan) : k(*isa().bf16), plan_(plan) {
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

    void reserve(int64_t rows, bool backward) {
        auto full = [this](int64_t n) { return (n + k.panel - 1) / k.panel * k.panel; };
        const int64_t widest = plan_.widest, first = full(rows) * words(widest), second = words(rows) * full(widest);
        const int64_t side = first + (backward ? second + words(rows) * widest : 0);
        operands_.reserve(2 * side);
        for (int i = 0; i < 2; ++i) {
            row_panels[i] = operands_.get() + i * side;
            column_panels[i] = row_panels[i] + first;
            inputs[i] = column_panels[i] + second;
        }
    }
    // Rows r0 … r1 (r0 even) of op i's kernel, whose weights begin at w, have changed.
    void refresh(int i, const float* w, int64_t r0, int64_t r1) {
        const int64_t cols = plan_.ops[size_t(i)].out;
        k.pair_weights(w + r0 * cols, r1 - r0, cols, pairs(i) + r0 / 2 * cols, by_row(i, r0));
    }
    Pair* pairs(int i) const {
        return weights_.get() + places_[size_t(i)].pairs;
    }  // (j, c): weights (2j, c), (2j + 1, c)
    Pair* by_row(int i, int64_t r) const {  // (r, j): weights (r, 2j), (r, 2j + 1)
        return weights_.get() + places_[size_t(i)].by_row + r * words(plan_.ops[size_t(i)].out);
    }

    const Bf16Kernels& k;
    // Two of each: while a layer is at work, the next one's are made.
    Pair *row_panels[2] = {}, *column_panels[2] = {};  // of the operand whose rows, or columns, are the product's lanes
    Pair* inputs[2] = {};                              // (j, c): rows 2j and 2j + 1 of the layer's input

private:
    static constexpr int64_t line = 16;
    struct Place {
        int64_t pairs, by_row;
    };
    const Plan& plan_;
    std::vector<Place> places_;
    Buffer<Pair> weights_, operands_;
};

}  // namespace fd::cpu
