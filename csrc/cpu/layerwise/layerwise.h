// The layerwise path: a net whose layers are worth a matrix product each. Every method that takes a Worker is run by the whole
// team at once; work is cut by shapes alone (Slices) and the team meets at barriers, so the bits do not depend on its size.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "core/backend.h"
#include "core/parallel.h"
#include "core/trainer.h"
#include "core/walk.h"
#include "cpu/input_statistics.h"
#include "cpu/layerwise/bf16_operands.h"
#include "cpu/layerwise/matrix.h"
#include "cpu/memory.h"
#include "cpu/second_order/kfac.h"
#include "cpu/simd/kernels.h"

namespace fd::cpu {

template <class T>
struct State {  // what a net is made of and what training has made of it
    explicit State(const Plan& plan) : input_statistics(plan) {
        parameters.reserve(plan.parameters);
        gradients.reserve(plan.parameters);
        statistics.reserve(plan.statistics);
    }
    Buffer<T> parameters, statistics, gradients;
    InputStatistics input_statistics;
    std::vector<Buffer<T>> slots;
    int64_t step = 0;
};

template <class T>
struct Batch {
    const T* x = nullptr;             // (rows, inputs), ready for the first op
    const T* y = nullptr;             // (rows, outputs), or
    const int32_t* labels = nullptr;  // (rows,)
    const double* weights = nullptr;  // (rows,), or none
    int64_t rows = 0;
};

struct RowOrder {  // data rows of a batch: consecutive, as a cursor says, or spread evenly over the data
    int64_t first = 0;
    const Cursor* cursor = nullptr;
    int64_t over = 1, count = 1;  // spread: `count` of `over` rows
    static RowOrder spread(int64_t over, int64_t count) { return {0, nullptr, over, count}; }
    bool consecutive() const { return cursor ? cursor->in_order() : over == count; }
    int64_t operator()(int64_t i) const { return cursor ? cursor->row(i) : first + i * over / count; }
};

// The rows (or columns) of weights that product() takes at once: tiles of nearly equal height, in a number that teams of two
// and four share evenly. Runs of them are the tasks.
struct Tiles {
    static constexpr int most_runs = 8;
    int64_t n, unit, count;  // they begin at multiples of unit
    int runs;
    Tiles(int64_t length, int64_t tile, int64_t unit) : n(length), unit(unit), count((length + tile - 1) / tile) {
        if (count > 4) count = (count + 3) / 4 * 4;
        runs = int(count < most_runs ? count : most_runs);
    }
    int64_t begin(int64_t t) const { return t == count ? n : (n + unit - 1) / unit * t / count * unit; }
    int64_t run(int64_t s) const { return count * s / runs; }  // its first tile
};

template <class T>
class Layerwise {
public:
    Layerwise(const Plan& plan, State<T>& state);

    void configure(const Training* training);
    // Makes room for batches of `rows`, for backward and for Pass::probe if asked. The only method that allocates.
    void reserve(int64_t rows, bool backward, bool probe = false);
    void reserve_updates() { reserve_matrix_scratch(plan_, *training_, scratch_); }  // for update_all() alone
    int64_t chunk_rows() const { return chunk_rows_; }  // rows that a forward-only pass takes at once

    Batch<T> gather(const Worker&, const Dataset&, int64_t rows, const RowOrder&);
    bool forward(const Worker&, const Batch<T>&, Pass, bool update_statistics);  // false: the poll said stop
    void loss(const Worker&, const Batch<T>&, Pass);  // row losses and metrics; the output's gradient unless evaluating
    // All gradients. `update`: each slice of a kernel is updated as soon as its gradient is there. False: the poll said stop.
    bool backward(const Worker&, const Batch<T>&, Pass, bool update);
    void observe(const Worker&, const Batch<T>&);  // after backward(): what the optimizer wants to know of the batch
    void begin_step(double learning_rate);         // by one worker: this step's constants
    void update(const Worker&);                    // whatever backward has not updated
    void update_all(const Worker&);                // everything, from whole gradients
    // A run of the flat buffers that shares its penalties; returns their sum before the update.
    double update_elements(int64_t first, int64_t n, double l1, double l2);
    void penalties(const Worker&, bool add_gradients);  // fills what penalty_sum() adds up
    double penalty_sum() const;                         // by one worker
    // By one worker, after loss(): metrics are added to `totals`; returns the batch's loss without parameter penalties.
    double add_to_totals(const Batch<T>&, Pass, double* totals);
    double batch_loss(const Batch<T>&, Pass) const;  // the same without metrics
    const Walk& walk(Pass pass) const { return walks_[size_t(pass)]; }
    const T* output(int op, const T* x, Pass) const;  // of the op, in the pass just made; op -1: the input
    // What the derivative of the op's activation is computed from: its output or its input.
    const T* activation_operand(int op, const T* x, Pass) const;
    // After Pass::probe: what the activation of the op got, and what it gave; `room` is for the outputs if the loss is fused.
    const T* pre_activation(int op, const T* x) const;
    const T* probed_output(const Worker&, int op, const Batch<T>&, T* room) const;
    // Asks `poll` (or nobody, if null) between ops. Steps that may be left half-way update nothing before all gradients are there.
    void watch(const Poll* poll) {
        poll_ = poll;
        stopped_at_.store(-1, std::memory_order_relaxed);
    }
    // Of the op's output; of the pre-activation of a dense op once backward() has been through it.
    T* gradient_at(int op) const { return d(op); }
    void weights_changed() { stale_ = true; }
    Kfac<T>* kfac() const { return kfac_.get(); }  // or none

private:
    const Op& op(int i) const { return plan_.ops[size_t(i)]; }
    T* parameter(int tensor) const { return at(state_.parameters, tensor); }
    T* gradient(int tensor) const { return at(state_.gradients, tensor); }
    T* statistic(int tensor) const { return at(state_.statistics, tensor); }
    T* at(const Buffer<T>& flat, int tensor) const {
        return tensor < 0 ? nullptr : flat.get() + plan_.tensors[size_t(tensor)].offset;
    }
    T* d(int i) const { return d_[size_t(i + 1)].get(); }  // gradient of op i's output
    double* parts(int tensor) const { return penalty_parts_.get() + tensor * parts_per_tensor; }

    // Whether a product of ours beats BLAS: its panels (columns of them) are well filled, packing is paid back by many
    // `outputs` to a panel, and a panel (k long) stays in the second-level cache.
    bool worth_packing(int64_t columns, int64_t outputs, int64_t k) const {
        return bf16_ || (columns * 4 >= k_.panel && outputs >= 64 && k <= 2048);
    }
    int64_t tile() const { return bf16_ ? bf16_->k.tile : k_.tile; }
    int64_t panels(int64_t n) const { return (n + k_.panel - 1) / k_.panel; }
    Tiles tiles(int64_t n) const { return Tiles(n, tile(), bf16_ ? 2 : 1); }
    bool packs_forward(int i, int64_t rows) const { return worth_packing(rows, op(i).out, op(i).in); }
    // Whether op i leaves its output packed for op i + 1, each worker the columns it has made.
    bool packs_next(int i, int64_t rows) const {
        return i >= 0 && i < last_ && op(i).kind == OpKind::dense && op(i + 1).kind == OpKind::dense &&
               packs_forward(i, rows) && packs_forward(i + 1, rows);
    }
    bool passes_gradient(int i) const { return walk(Pass::train)[i].passes_gradient; }  // as in any pass
    bool packs_rows_backward(int i, int64_t rows) const {
        return passes_gradient(i) && worth_packing(rows, op(i).in, op(i).out);
    }
    const T* values(int op, const T* x) const { return op < 0 ? x : out_[size_t(op)].get(); }  // of an op that computes
    bool packs_columns_backward(int i, int64_t rows) const { return worth_packing(op(i).out, op(i).in, rows); }
    void make_walks();
    void pack_rows(int i, const T* a, int64_t rows, int64_t cols, int64_t p0, int64_t p1, int64_t c0, int64_t c1);
    void pack_columns(int i, const T* a, int64_t rows, int64_t cols, int64_t c0, int64_t c1);
    void pair_inputs(int i, const T* x, int64_t rows, int64_t s, int64_t runs);
    // What the backward products of op i read: of its output's gradient columns c0 … c1, of its input the share of a run.
    void pack_backward(int i, const T* x, int64_t rows, int64_t c0, int64_t c1, int64_t s, int64_t runs);
    void update_tile(int i, int64_t r0, int64_t r1, const T* g, int part);
    void refresh_bf16(const Worker&);  // after the weights have changed outside of backward
    // Parts of the three products: for columns (or rows) of the kernel from the first to the last given, and panel p.
    void output_tile(int i, int64_t rows, int64_t c0, int64_t c1, int64_t p, T* z);
    void input_gradient_tile(int i, int64_t rows, int64_t r0, int64_t r1, int64_t p, T* below);
    void dense_forward(const Worker&, int i, const T* x, int64_t rows, Pass);
    void activation_forward(const Worker&, int i, const T* x, int64_t rows, Pass);
    void batch_norm_forward(const Worker&, int i, const T* x, int64_t rows, Pass, bool update_statistics);
    void layer_norm_forward(const Worker&, int i, const T* x, int64_t rows);
    void probabilities_of(const T* logits, T* out, int64_t rows) const;
    void loss_of_rows(const Batch<T>&, Pass, int64_t r0, int64_t r1);
    void dense_finish(int i, const T* x, int64_t rows, Pass, int64_t c0, int64_t c1);
    void dense_backward(const Worker&, int i, const T* x, int64_t rows, Pass, bool packed, bool update);
    void other_backward(const Worker&, int i, const T* x, int64_t rows, Pass);
    NormBlock<T> norm_block(int i, const T* x, int64_t rows, Pass, int64_t c0, int64_t c1) const;
    template <class F>
    void each_run(const Worker&, int tensor, F&& body);
    // with gradients g; the value of penalties is added to its part of penalty_sum()
    void update_run(int tensor, int64_t first, int64_t n, const T* g, int part, double scale, bool penalised);
    void kernel_gradient(int i, const T* x, int64_t rows, int64_t r0, int64_t r1, T* out, bool fetch);

    // A barrier at which worker 0 asks the poll; `place` tells the barriers of a step apart, so that a worker that is late
    // cannot take the next answer for this one's.
    bool stops(const Worker& w, int place) {
        if (poll_ && w.first() && (*poll_)()) stopped_at_.store(place, std::memory_order_relaxed);
        w.sync();
        return stopped_at_.load(std::memory_order_relaxed) == place;
    }
    bool updates_early() const { return fused_update_ && !poll_; }

    static constexpr int parts_per_tensor = Tiles::most_runs;
    const Poll* poll_ = nullptr;
    std::atomic<int> stopped_at_{-1};  // a late worker may still read the last answer while worker 0 gives the next
    const Plan& plan_;
    State<T>& state_;
    const Kernels<T>& k_;
    const Training* training_ = nullptr;
    int last_ = 0;
    std::vector<Walk> walks_;  // one a Pass
    bool wants_probabilities_ = false, fused_update_ = false;
    ops::Rule rule_ = ops::Rule::sgd;
    ops::Step<double> step_;
    double learning_rate_ = 0;
    int64_t capacity_ = 0, chunk_rows_ = 0;
    bool backward_ready_ = false, probe_ready_ = false;
    std::vector<Buffer<T>> out_, z_, d_, mean_, inverse_;  // per op; d_ is shifted by one
    Buffer<T> x_, y_, probabilities_, activity_;
    Buffer<int32_t> labels_;
    Buffer<double> weights_, row_loss_, row_metric_, penalty_parts_, norm_parts_;
    std::unique_ptr<Bf16Operands> bf16_;          // or none: products are in T
    bool stale_ = true;                           // bf16_ lags behind the weights
    Buffer<T> row_panels_[2], column_panels_[2];  // packed operands of the layer at work, and of the next
    Buffer<T> tile_gradients_;                    // of the tile at work, for each run of tiles
    std::unique_ptr<Kfac<T>> kfac_;               // if it is the optimizer
    Buffer<T> scratch_[3];                        // matrix penalties and muon
};

}  // namespace fd::cpu
