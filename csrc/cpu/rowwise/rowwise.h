// The rowwise path: a net whose parameters stay in a core's cache. A thread takes rows of the batch through the whole net,
// forward and back, with no barrier in between; then the team adds up the gradients and updates. Work is cut by shapes alone,
// so the bits do not depend on the number of threads.
#pragma once
#include <vector>

#include "core/parallel.h"
#include "core/walk.h"
#include "cpu/rowwise/kernels.h"
#include "cpu/state.h"
#include "cpu/updater.h"

namespace fd::cpu {

template <class T>
class Rowwise {
public:
    static constexpr int few_groups = 8, most_groups = most_threads;
    Rowwise(const Plan& plan, State<T>& state, Updater<T>& updater);

    void configure(const Training* training);
    bool takes(int64_t rows) const;  // whether this path is the faster one for batches of so many rows
    // Room for batches of `rows`. `resident`: until the next call every batch is the same whole data set.
    void reserve(int64_t rows, bool backward, bool resident = false);
    int groups(int64_t rows) const;  // the most threads that can work on a batch

    void gradients(const Worker&, const Dataset&, int64_t rows, const RowOrder&);  // of train_step, in each group
    bool update(const Worker&);                                                    // false: as Updater::update_all
    // Forward; the loss too for Pass::evaluate. For Pass::predict the outputs go to `out`, (rows, outputs).
    void infer(const Worker&, const Dataset&, int64_t rows, const RowOrder&, Pass, T* out);
    // Forward; the outputs of every op of the plan, (rows of the data, width of the op) each, for rows `first` … of the data.
    // `places`: places(outputs), which allocates and is called before.
    void infer_all(const Worker&, const Dataset&, int64_t rows, int64_t first, T* const* places);
    std::vector<T*> places(void* const* outputs) const;
    bool covers() const { return covers_; }
    // The outputs for one row of finite numbers; false, and nothing else, if some are not. Needs no reserve().
    bool one_row(const void* given, DType dtype, T* out);
    // By one worker: as Layerwise::add_to_totals.
    double add_to_totals(int64_t rows, double* totals);
    double penalty_sum() const {  // by one worker, after update()
        return updater_.needs_all_gradients() ? updater_.penalty_sum() : updater_.slice_penalty_sum();
    }

private:
    struct Group {  // what one thread works on
        std::vector<RowwiseOp<T>> ops;
        Buffer<T> scratch, gradients;
        Buffer<int64_t> order;
        Buffer<int32_t> labels;
        RowwiseJob<T> job;  // where everything lies
        double loss = 0;
    };
    int vectors(int64_t rows) const { return rows <= k_.lanes_per_vector ? 1 : 2; }
    int64_t panel(int64_t rows) const { return vectors(rows) * int64_t(k_.lanes_per_vector); }
    RowwiseOp<T> op_of(int i) const;  // without scratch and gradients
    void lay_out(Group&, int64_t panels, int64_t resident_panels, int64_t panel, T* gradients);
    void run(const Worker&, const Dataset&, int64_t rows, const RowOrder&, Pass, T* out, T* const* outputs = nullptr);
    void measure(const Dataset&, int64_t first, int64_t end);  // per-row metrics of some rows of the batch

    const Plan& plan_;
    State<T>& state_;
    Updater<T>& updater_;
    const Kernels<T>& kernels_;
    const RowwiseKernels<T>& k_;
    const Training* training_ = nullptr;
    bool covers_ = false, is_random_ = false;
    Walk predict_, train_;  // train_ serves evaluation too: the same activations
    int last_ = 0;
    RowwiseLoss<T> loss_;
    int64_t capacity_ = 0, chunk_panels_ = 0, block_ = 1, width_ = 0;  // width_: of a row in the scratch
    bool backward_ready_ = false;
    std::vector<Group> groups_;
    std::vector<const T*> parts_;
    Buffer<double> row_weights_, row_metric_;
    Buffer<T> targets_, predictions_, row_;
    std::vector<RowwiseOp<T>> row_ops_;
    Buffer<int32_t> labels_;
    int active_groups_ = 0;  // that had rows in the current batch
    bool weighted_ = false;
    bool resident_ = false;  // the batch is the data set: its panels are made once and kept
};

}  // namespace fd::cpu
