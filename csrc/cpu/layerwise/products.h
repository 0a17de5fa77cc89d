// The three products of a dense op by our own kernels, tile by tile: which are worth it, and the packing of their operands.
#pragma once
#include <memory>

#include "core/parallel.h"
#include "core/walk.h"
#include "cpu/layerwise/operands.h"
#include "cpu/simd/kernels.h"
#include "cpu/state.h"
#include "cpu/tiles.h"

namespace fd::cpu {

template <class T>
class DenseProducts {
public:
    DenseProducts(const Plan& plan, const State<T>& state);
    void reserve(int64_t rows, bool backward, int team);  // for batches of `rows`

    // Which products are ours; BLAS makes the others.
    bool packs_forward(int i, int64_t rows) const { return worth_packing(rows, op(i).out, op(i).in); }
    // Whether op i leaves its output packed for op i + 1, each worker the columns it has made.
    bool packs_next(int i, int64_t rows) const {
        return i >= 0 && i < walk_.last() && op(i).kind == OpKind::dense && op(i + 1).kind == OpKind::dense &&
               packs_forward(i, rows) && packs_forward(i + 1, rows);
    }
    bool packs_rows_backward(int i, const OpWalk& step, int64_t rows) const {
        return step.passes_gradient && worth_packing(rows, op(i).in, op(i).out);
    }
    bool packs_columns_backward(int i, const OpWalk& step, int64_t rows) const {
        return step.trains && worth_packing(op(i).out, op(i).in, rows);
    }
    int64_t panels(int64_t n) const { return (n + k_.panel - 1) / k_.panel; }
    Tiles tiles(int64_t n) const { return tiles_(n); }
    int64_t tile() const { return tiles_.tile(); }

    // Panels p0 … p1 of op i's input a, columns c0 … c1.
    void pack_rows(int i, const T* a, int64_t rows, int64_t cols, int64_t p0, int64_t p1, int64_t c0, int64_t c1) const;
    // What the backward products of op i read: of d, the gradient of its output, columns c0 … c1; of its input x the part that
    // runs s … end of `runs` have.
    void pack_backward(int i, const OpWalk& step, const T* x, const T* d, int64_t rows, int64_t c0, int64_t c1,
                       int64_t s, int64_t end, int64_t runs) const;
    // z = x W, its columns c0 … c1 for the rows of panels p0 … p1. By `worker`.
    void output_tile(int i, int64_t rows, int64_t c0, int64_t c1, int64_t p0, int64_t p1, int worker, T* z) const;
    // below = d Wᵀ, its columns r0 … r1 for the rows of panel p.
    void input_gradient_tile(int i, int64_t rows, int64_t r0, int64_t r1, int64_t p, T* below) const;
    // Rows r0 … r1 of the kernel's gradient xᵀ d. `fetch`: prefetches what their update will read, two arrays at a time.
    void kernel_gradient(int i, const T* x, int64_t rows, int64_t r0, int64_t r1, int worker, T* out, bool fetch) const;

    // A bfloat16 net holds copies of the kernels, which must follow every change of the weights.
    bool has_copies() const { return bf16_ != nullptr; }
    bool stale() const { return bf16_ && stale_; }
    void weights_changed() { stale_ = true; }
    void refresh(int i, int64_t r0, int64_t r1) const;  // rows of op i's kernel, r0 even
    void refresh(const Worker&);                        // everything

private:
    const Op& op(int i) const { return plan_.ops[size_t(i)]; }
    // Whether a product of ours beats BLAS: its panels (columns of them) are well filled, packing is paid back by many
    // `outputs` to a panel, and a panel (k long) stays in the second-level cache.
    bool worth_packing(int64_t columns, int64_t outputs, int64_t k) const {
        return bf16_ || (columns * 4 >= k_.panel && outputs >= 64 && k <= 2048);
    }
    void pack_columns(int i, const T* a, int64_t rows, int64_t cols, int64_t c0, int64_t c1) const;
    template <class F>
    void with_operands(F&& body) const {
        if constexpr (sizeof(T) == 4)
            if (bf16_) return body(*bf16_);
        body(plain_);
    }

    const Plan& plan_;
    const State<T>& state_;
    const Kernels<T>& k_;
    const Walk walk_;
    const Tiling<T> tiles_;
    PlainOperands<T> plain_;
    std::unique_ptr<Bf16Operands> bf16_;  // or none: products are in T
    bool stale_ = true;                   // the copies lag behind the weights
};

}  // namespace fd::cpu
