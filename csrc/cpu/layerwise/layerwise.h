// The layerwise path: a net whose layers are worth a matrix product each. Every method that takes a Worker is run by the whole
// team at once; work is cut by shapes alone (Slices) and the team meets at barriers, so the bits do not depend on its size.
#pragma once
#include <memory>
#include <vector>

#include "core/parallel.h"
#include "core/ranks.h"
#include "core/walk.h"
#include "cpu/blas/gemm.h"
#include "cpu/layerwise/output_loss.h"
#include "cpu/layerwise/products.h"
#include "cpu/simd/kernels.h"
#include "cpu/state.h"
#include "cpu/updater.h"

namespace fd::cpu {

template <class T>
class Layerwise {
public:
    Layerwise(const Plan& plan, State<T>& state, Updater<T>& updater, Stop& stop);

    void configure(const Training* training);
    // Makes room for batches of `rows`, for backward and for Pass::probe if asked. No other method of a step allocates.
    void reserve(int64_t rows, bool backward, bool probe = false);
    void reserve_input_gradient() { d_[0].reserve(capacity_ * plan_.inputs); }  // after reserve(): for Pass::inputs
    void expect_targets(int64_t cols);  // before reserve(): of the data to come, if not as many as outputs
    void expect_team(int threads) { team_ = std::max(team_, threads); }  // before reserve(), where steps update weights
    int64_t chunk_rows() const { return chunk_rows_; }                   // rows that a forward-only pass takes at once

    Batch<T> gather(const Worker&, const Dataset&, int64_t rows, const RowOrder&);
    bool forward(const Worker&, const Batch<T>&, Pass, bool update_statistics);  // false: the poll said stop
    // Row losses and metrics; the output's gradient unless evaluating. False: a hook said stop.
    bool loss(const Worker&, const Batch<T>&, Pass);
    // All gradients. `update`: each slice of a kernel is updated as soon as its gradient is there. False: the poll said stop.
    bool backward(const Worker&, const Batch<T>&, Pass, bool update);
    // The gradient of the outputs, before backward(): rows `first` … of d_out, as they are.
    void seed(const Worker&, const View& d_out, int64_t first, int64_t rows);
    void observe(const Worker&, const Batch<T>&);  // after backward(): shows the batch to K-FAC, if it is the optimizer
    // Whatever backward has not updated. False: the poll said stop, and the update is half made (Updater::update_all).
    bool update(const Worker&);
    void refresh(const Worker&);  // after an update: what is kept packed of the weights
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
    // While it watches a poll, that is asked between ops and between the parts of long products, and steps update nothing before
    // all gradients are there.
    Stop& stop() { return stop_; }
    // dL/d(output) of the op; after backward(), dL/d(pre-activation) for dense ops.
    T* gradient_at(int op) const { return d(op); }
    void weights_changed() { products_.weights_changed(); }
    // Until called again: backward() passes each op's gradients on as soon as they are whole, and steps update nothing before they
    // are summed. Null: no sums.
    void sum_gradients(GradientSum* sum) { sum_ = sum; }

private:
    const Op& op(int i) const { return plan_.ops[size_t(i)]; }
    T* parameter(int tensor) const { return at(state_.parameters, tensor); }
    T* gradient(int tensor) const { return at(state_.gradients, tensor); }
    T* statistic(int tensor) const { return at(state_.statistics, tensor); }
    T* at(const Buffer<T>& flat, int tensor) const {
        return tensor < 0 ? nullptr : flat.get() + plan_.tensors[size_t(tensor)].offset;
    }
    T* d(int i) const { return d_[size_t(i + 1)].get(); }  // gradient of op i's output

    const T* values(int op, const T* x) const { return op < 0 ? x : out_[size_t(op)].get(); }  // of an op that computes
    void update_tile(int i, int64_t r0, int64_t r1, const T* g, int64_t part);
    void dense_forward(const Worker&, int i, const T* x, int64_t rows, Pass);
    void activation_forward(const Worker&, int i, const T* x, int64_t rows, Pass);
    void batch_norm_forward(const Worker&, int i, const T* x, int64_t rows, Pass, bool update_statistics);
    void layer_norm_forward(const Worker&, int i, const T* x, int64_t rows);
    void unit_norm_forward(const Worker&, int i, const T* x, int64_t rows);
    void unit_norm_backward(const Worker&, int i, int64_t rows);
    void softmax_backward(const Worker&, int i, int64_t rows, Pass);
    void noise(const Worker&, int i, const T* from, T* to, const Batch<T>&, bool backward);  // noise.cpp
    void columns_forward(const Worker&, int i, const T* x, int64_t rows);                    // columns.cpp
    void look_up(int i, const T* x, int64_t r0, int64_t rows, T* to);
    void columns_backward(const Worker&, int i, const T* x, int64_t rows, Pass);
    bool function_forward(const Worker&, int i, const T* x, int64_t rows, Pass);  // function.cpp; false: stop
    bool function_backward(const Worker&, int i, int64_t rows, Pass);
    bool call_function(const Worker&, int i, int64_t rows, Pass);
    void grouped_forward(const Worker&, int i, const T* x, int64_t rows, Pass);
    void grouped_backward(const Worker&, int i, const T* x, int64_t rows, Pass);
    void branches_forward(const Worker&, int i, const T* x, int64_t rows, Pass);  // branches.cpp
    void branches_end_backward(const Worker&, int i, const T* x, int64_t rows, Pass);
    void branches_begin_backward(const Worker&, int i, int64_t rows);
    void apply_activation_gradient(int i, const T* x, int64_t rows, Pass, int64_t c0, int64_t c1);
    void dense_backward(const Worker&, int i, const T* x, int64_t rows, Pass, bool packed, bool update);
    void other_backward(const Worker&, int i, const Batch<T>&, Pass);
    NormBlock<T> norm_block(int i, const T* x, int64_t rows, Pass, int64_t c0, int64_t c1) const;

    // Not where the step may be left before all gradients are there, by a poll or a function, or where they are summed first.
    bool updates_early() const {
        return !updater_.needs_all_gradients() && !stop_.watching() && !calls_functions_ && !sum_;
    }
    void pass_on(int i);  // the gradients of ops i and above

    const Plan& plan_;
    State<T>& state_;
    Updater<T>& updater_;
    Stop& stop_;
    const Kernels<T>& k_;
    DenseProducts<T> products_;
    OutputLoss<T> loss_;
    const Training* training_ = nullptr;
    int last_ = 0;
    std::vector<Walk> walks_;  // one a Pass
    int64_t capacity_ = 0, chunk_rows_ = 0, most_targets_ = 0;
    int team_ = 1, team_ready_ = 0;  // workers that buffers of their own are expected for, and have them
    bool backward_ready_ = false, probe_ready_ = false;
    GradientSum* sum_ = nullptr;
    bool goes_on_ = true;  // whether a hook or a function said so; worker 0 writes it, before a barrier
    const bool calls_functions_;
    std::vector<FunctionCall> calls_;                      // per op
    std::vector<Buffer<T>> out_, z_, d_, mean_, inverse_;  // per op; d_ is shifted by one
    Buffer<T> ones_, zeros_, no_gradient_[2];              // of normalizations without gamma or beta, for the widest
    std::vector<Buffer<int64_t>> rows_looked_up_;          // per embedding: (rows, columns), in its table
    Buffer<T> x_, y_;
    Buffer<int32_t> labels_;
    Buffer<double> weights_;
    Buffer<T> tile_gradients_;  // of the tile at work, for each run of tiles
};

}  // namespace fd::cpu
