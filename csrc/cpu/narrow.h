// The narrow path: a net whose parameters stay in a core's cache. A thread takes rows of the batch through the whole net,
// forward and back, with no barrier in between; then the team adds up the gradients and updates. Work is cut by shapes alone,
// so the bits do not depend on the number of threads.
#pragma once
#include <vector>

#include "core/backend.h"
#include "core/parallel.h"
#include "core/trainer.h"
#include "cpu/memory.h"
#include "cpu/narrow_kernels.h"
#include "cpu/wide.h"

namespace fd::cpu {

template <class T>
class Narrow {
public:
    // Updates that need whole gradients, and penalties, are `wide`'s.
    Narrow(const Plan& plan, State<T>& state, Wide<T>& wide);

    void configure(const Training* training);
    bool takes(int64_t rows) const;  // whether this path is the faster one for batches of so many rows
    void reserve(int64_t rows, bool backward);
    int groups(int64_t rows) const;                     // how many threads may share a batch
    int64_t chunk_rows() const { return chunk_rows_; }  // rows that a forward-only pass takes at once

    void gradients(const Worker&, const Dataset&, int64_t rows, const RowOrder&);  // of train_step, in each group
    void update(const Worker&);
    // Forward; the loss too for Pass::evaluate. For Pass::predict the outputs go to `out`, (rows, outputs).
    void infer(const Worker&, const Dataset&, int64_t rows, const RowOrder&, Pass, T* out);
    // By one worker: as Wide::add_to_totals.
    double add_to_totals(int64_t rows, double* totals);
    double penalty_sum() const;  // by one worker, after update()

private:
    struct Group {  // what one thread works on
        std::vector<NarrowOp<T>> ops;
        Buffer<T> scratch, gradients;
        Buffer<int64_t> order;
        T *input = nullptr, *staging = nullptr, *target_panel = nullptr;
        double loss = 0;
    };
    struct Run {  // parameters that are updated alike
        int64_t first, n;
        double l1, l2;
    };
    int vectors(int64_t rows) const { return rows <= k_.lanes_per_vector ? 1 : 2; }
    int64_t panel(int64_t rows) const { return vectors(rows) * int64_t(k_.lanes_per_vector); }
    void lay_out(Group&, int64_t panels, int64_t panel, T* gradients);
    void run(const Worker&, const Dataset&, int64_t rows, const RowOrder&, Pass, T* out);
    void find_runs();

    const Plan& plan_;
    State<T>& state_;
    Wide<T>& wide_;
    const Kernels<T>& kernels_;
    const NarrowKernels<T>& k_;
    const Training* training_ = nullptr;
    bool covers_ = false, fused_loss_ = false, simple_update_ = false;
    int last_ = 0, lowest_ = 0;
    NarrowLoss<T> loss_;
    int64_t chunk_rows_ = 0, capacity_ = 0, chunk_panels_ = 0, width_ = 0;  // width_: of a row in the scratch
    bool backward_ready_ = false;
    std::vector<Group> groups_;
    std::vector<Run> runs_;
    std::vector<const T*> parts_;
    Buffer<double> input_inverse_, row_weights_, row_metric_, penalty_parts_;
    Buffer<T> targets_, seen_;
    Buffer<int32_t> labels_;
    bool weighted_ = false;
};

}  // namespace fd::cpu
