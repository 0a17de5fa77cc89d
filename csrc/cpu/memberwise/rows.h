// The rows that a population is trained on, as its kernels read them.
#pragma once
#include <algorithm>

#include "core/backend.h"
#include "cpu/input_statistics.h"
#include "cpu/memory.h"
#include "cpu/simd/kernels.h"
#include "ops/rng.h"

namespace fd::cpu {

template <class T>
struct RowPointers {
    const T *x = nullptr, *y = nullptr, *w = nullptr, *own_w = nullptr;  // own_w: a pack a row
    int64_t targets = 0;                                                 // columns of y
    bool small = true;                                                   // see LaneGather
};

// The caller's rows in the nets' type; used where they lie if that is what they are already.
template <class T>
struct HeldRows : RowPointers<T> {
    Buffer<T> held[3];
    HeldRows(const Dataset& d, const InputStatistics& input, const Kernels<T>& kernels, int64_t width) {
        this->x = numbers(d.x, input.mean(), input.inverse(), kernels, held[0]);
        this->targets = d.y ? d.y.cols : 0;
        this->small = d.rows() * std::max({d.x.cols, this->targets, width}) < int64_t(1) << 31;
        if (d.y) this->y = numbers(d.y, nullptr, nullptr, kernels, held[1]);
        if (d.weights) {
            held[2].reserve(d.rows());
            for (int64_t r = 0; r < d.rows(); ++r) held[2][r] = T(d.weights[r]);
            this->w = held[2].get();
        }
    }

private:
    static const T* numbers(const View& v, const double* mean, const double* inverse, const Kernels<T>& kernels,
                            Buffer<T>& held) {
        if (!mean && v.is_matrix_of<T>()) return reinterpret_cast<const T*>(v.data);
        held.reserve(v.rows * v.cols);
        for (int64_t r = 0; r < v.rows; ++r) kernels.gather_row(v, r, mean, inverse, held.get() + r * v.cols);
        return held.get();
    }
};

// The rows of a batch one after another in `to` (x, y, w, own_w), in an order that is the same for all nets: they are then
// shared, like rows that are not shuffled.
template <class T>
RowPointers<T> rearrange(const RowPointers<T>& rows, const ops::Shuffle& order, int64_t begin, int64_t count,
                         int64_t inputs, int64_t width, Buffer<T> (&to)[4]) {
    RowPointers<T> out = rows;
    for (int64_t i = 0; i < count; ++i) {
        const int64_t r = int64_t(order(uint64_t(begin + i)));
        std::copy_n(rows.x + r * inputs, inputs, to[0].get() + i * inputs);
        std::copy_n(rows.y + r * rows.targets, rows.targets, to[1].get() + i * rows.targets);
        if (rows.w) to[2][i] = rows.w[r];
        if (rows.own_w) std::copy_n(rows.own_w + r * width, width, to[3].get() + i * width);
    }
    out.x = to[0].get();
    out.y = to[1].get();
    if (rows.w) out.w = to[2].get();
    if (rows.own_w) out.own_w = to[3].get();
    return out;
}

}  // namespace fd::cpu
