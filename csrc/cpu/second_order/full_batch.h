// What a full-batch solver asks of a net on the CPU: sums over the whole data set, chunk by chunk, so that memory does not
// grow with the rows. Chunks and their order depend on shapes alone, so the bits do not depend on the number of threads.
#pragma once
#include <functional>
#include <vector>

#include "core/backend.h"
#include "core/solvers/solver.h"
#include "cpu/layerwise/layerwise.h"
#include "cpu/second_order/curvature.h"

namespace fd::cpu {

template <class T>
class FullBatch final : public Objective {
public:
    FullBatch(const Plan& plan, State<T>& state, Layerwise<T>& layerwise, Updater<T>& updater,
              const Training& training);

    // Iterations of the solver until it ends or request.steps are made. `validate(totals)` evaluates the validation data, on
    // the parameters as they are; false: stopped. `threads`: worth using on so many rows.
    void train(const TrainRequest& request, std::vector<double>& running, const std::function<int(int64_t)>& threads,
               const std::function<bool(double*)>& validate, TrainOutcome& outcome);

    Solver& solver() { return *solver_; }
    void read_slot(int slot, int tensor, double* out) const;
    void write_slot(int slot, int tensor, const double* in);

    int64_t size() const override { return size_; }
    double unit() const override { return sizeof(T) == 4 ? 0x1p-24 : 0x1p-53; }
    void read(double* w) const override;
    void write(double* w) override;
    bool evaluate(double& loss, double* gradient) override;
    bool normal_equations(double& loss, double* matrix, double* gradient) override;
    Solved solve(double* matrix, double* h) override;
    bool product(const double* v, double* out) override;

private:
    template <class F>
    void each_tensor(F&& body) const;  // body(its offset in the flat vector, tensor)
    // body(worker, batch, its first row) for every chunk, after forward and loss; false: the poll said stop
    template <class F>
    bool each_chunk(Pass pass, F&& body);
    void add_gradients(const Worker& w, double factor, double* to) const;
    void fill_jacobian(const Worker& w, const Batch<T>& b, int64_t r0, int64_t r1, int64_t output);
    // Of the data's row losses: their sum over the ranks, if there are several, and of `numbers`. False: stop.
    bool sum_over_ranks(double& row_losses, double* numbers, int64_t n) const;
    // The loss from that sum, penalties included, whose gradient is added; and the totals, which are this rank's own.
    double finish(double all_row_losses, double row_losses, double* gradient);
    double penalties(double* gradient);
    double all_rows() const { return double(ranks_ ? ranks_->rows : data_->rows()); }

    const Plan& plan_;
    State<T>& state_;
    Layerwise<T>& layerwise_;
    Updater<T>& updater_;
    const Training& training_;
    std::unique_ptr<Solver> solver_;
    Curvature<T> curvature_;
    int64_t size_ = 0, chunk_ = 1;
    int threads_ = 1;
    bool penalised_ = false;
    const Dataset* data_ = nullptr;
    const Ranks* ranks_ = nullptr;
    const Poll* poll_ = nullptr;
    std::vector<double> totals_;  // of the last evaluation, which is the last that a hook was shown
    Buffer<double> jacobian_;     // some rows of it, with the residual as one more column
    std::vector<double> products_;
};

}  // namespace fd::cpu
