// The optimizer's part of a step: penalties, clipping, weight decay and the update rule, for both paths that train one net.
// Methods that take a Worker are run by the whole team; work is cut by shapes alone, so the bits do not depend on its size.
#pragma once
#include <algorithm>
#include <memory>
#include <vector>

#include "core/parallel.h"
#include "core/stop.h"
#include "cpu/second_order/kfac.h"
#include "cpu/simd/kernels.h"
#include "cpu/state.h"
#include "cpu/tiles.h"

namespace fd::cpu {

template <class T>
class Updater {
public:
    Updater(const Plan& plan, State<T>& state, Stop& stop);

    void configure(const Training* training);
    void reserve();  // scratch for penalties and updates of whole matrices
    // Whether an update needs all gradients first. If not, any part of the parameters may be updated as soon as its gradient
    // is there, by update_part() or update_slice().
    bool needs_all_gradients() const { return needs_all_gradients_; }
    bool makes_products() const;            // of whole matrices
    double flops() const;                   // of these, in an update
    void begin_step(double learning_rate);  // by one worker: this step's constants

    // Part of a tensor, from element `first` on, with gradients g; the value of its penalties is added to `part` of
    // penalty_sum(), which begin_parts() has set to 0.
    void begin_parts(int tensor, int64_t first, int64_t end) {
        std::fill(parts(tensor) + first, parts(tensor) + end, 0.0);
    }
    void update_part(int tensor, int64_t first, int64_t n, const T* g, int64_t part);
    void update_vectors(const Worker&);  // all tensors that are no kernels of dense ops and not frozen
    // Elements begin … end of the flat buffers, which are one of at most Slices::most slices. Penalties: slice_penalty_sum().
    void update_slice(int64_t begin, int64_t end, int64_t slice);
    double slice_penalty_sum() const;  // by one worker

    // Everything, from whole gradients. False, for all workers: the poll said stop; parameters, slots and K-FAC's numbers may be
    // half updated, if makes_products(), and the caller puts back what they were.
    bool update_all(const Worker&, bool add_penalties = true);
    void penalties(const Worker&, bool add_gradients);  // fills what penalty_sum() adds up
    double penalty_sum() const;                         // by one worker
    Kfac<T>* kfac() const { return kfac_.get(); }       // or none

private:
    struct Run {  // neighbours in the flat buffers that are updated alike
        int64_t first, n;
        double l1, l2;
        double rate, decay;  // factors of learning rate and weight decay
        bool alike(const Run& r) const { return l1 == r.l1 && l2 == r.l2 && rate == r.rate && decay == r.decay; }
    };
    T* parameter(int tensor) const { return at(state_.parameters, tensor); }
    T* gradient(int tensor) const { return at(state_.gradients, tensor); }
    T* at(const Buffer<T>& flat, int tensor) const { return flat.get() + plan_.tensors[size_t(tensor)].offset; }
    double* parts(int tensor) const { return penalty_parts_.get() + tensor * parts_per_tensor; }
    int first_point() const { return 2 * int(plan_.ops.size()); }  // for Stop::agreed, after those of the passes
    void find_runs();
    bool frozen(int tensor) const { return training_->is_frozen(plan_.tensors[size_t(tensor)].op); }
    // Returns the value of the penalties before the update.
    double update_elements(const Run&, const T* g, double scale);
    bool precondition(const Worker&);  // K-FAC: gradients become steps; false: stopped
    void average(const Worker&);       // the weights, and with them what they were before
    void constrain(const Worker&);
    template <class F>
    void each_part(const Worker&, int tensor, F&& body);

    static constexpr int parts_per_tensor = Tiles::most_runs;
    const Plan& plan_;
    State<T>& state_;
    Stop& stop_;
    const Kernels<T>& k_;
    const Tiling<T> tiles_;
    const Training* training_ = nullptr;
    bool needs_all_gradients_ = false, constrains_ = false;
    ops::Rule rule_ = ops::Rule::sgd;
    ops::Step<double> step_;
    double learning_rate_ = 0, decay_ = 0;
    std::vector<int> updated_;  // the trainable tensors that are not frozen
    std::vector<Run> runs_;
    std::vector<Run> tensors_;  // each of them by itself; by tensor number
    Buffer<double> penalty_parts_, norm_parts_, run_parts_;
    std::unique_ptr<Kfac<T>> kfac_;  // if it is the optimizer
    Buffer<T> scratch_[3];           // matrix penalties and muon
};

}  // namespace fd::cpu
