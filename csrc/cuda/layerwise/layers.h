// Trains one net layer by layer: a handful of kernel launches for each op. All methods only enqueue work, so that it can be
// captured in a graph; reserve() fixes the sizes and must be called first.
#pragma once
#include <vector>

#include "core/plan.h"
#include "core/walk.h"
#include "cuda/fused_mlp/fused_mlp.h"
#include "cuda/kernels.h"
#include "cuda/layerwise/products.h"
#include "cuda/runtime/runtime.h"
#include "cuda/state.h"

namespace fd::cuda {

struct HookStopped {};  // thrown by a step whose hook said stop

template <class T>
class Layers {
public:
    Layers(const Plan& plan, State<T>& state, Precision precision, cudaStream_t stream);

    void configure(const Training* training);
    void reserve(int64_t rows, bool backward, bool probe = false);  // the only method that allocates
    int64_t chunk_rows() const;                                     // rows of a forward pass
    void expect_targets(int64_t cols);                              // before reserve(), if not as many as outputs
    void set_hook_flags(unsigned flags) { hook_flags_ = flags; }    // of the next step; see HookBatch
    int totals_width() const { return totals_width_; }
    int64_t generation() const { return generation_; }  // changes when captured graphs are invalid

    // One step each. `stop_on_nan`: as in TrainRequest.
    void train_step(const Steps&, const BatchShape&, bool stop_on_nan);
    void evaluate_step(const Steps&, const BatchShape&);
    void gradient_step(const Steps&, const BatchShape&, bool training);  // whole gradients, see gradient()
    void predict_step(const Steps&, const BatchShape&);  // see output(); end_step() is left to the caller
    // Forward and backward pass of a probe, and its statistics (7 rows for each op), NaN where an op has none; `before`: the
    // weights before the step, or null.
    void probe_step(const Steps&, const BatchShape&, const T* before, double* numbers);
    const T* output(int op, Pass) const;  // of the op, in the pass just made
    const T* gradient(int tensor) const { return at(gradients_, tensor); }

private:
    const Op& op(int i) const { return plan_.ops[size_t(i)]; }
    T* at(const DeviceBuffer<T>& flat, int tensor) const {
        return tensor < 0 ? nullptr : flat.get() + plan_.tensors[size_t(tensor)].offset;
    }
    T* parameter(int tensor) const { return at(state_.parameters, tensor); }
    T* statistic(int tensor) const { return at(state_.statistics, tensor); }
    T* d(int i) const { return d_[size_t(i + 1)].get(); }  // gradient of op i's output
    const Walk& walk(Pass pass) const { return walks_[size_t(pass)]; }
    const LossForm& form() const { return walk(Pass::train).form(); }
    bool skips_activation(int i, Pass pass) const { return walk(pass)[i].skips_activation; }
    ops::Activation activation_of(int i, Pass pass) const { return walk(pass)[i].activation; }
    const T* stored(int i, Pass pass) const;  // the operand of the activation's derivative (see ops::Needs), or null
    bool passes_gradient(int i) const { return walk(Pass::train)[i].passes_gradient; }
    // Whether the product that computes dL/d(output of dense op i) can apply the activation's derivative in its epilogue.
    bool finished_by_product(int i, Pass pass) const;
    int splits(int tensor) const { return tensors_[size_t(tensor)].splits; }

    // Whether one kernel makes the last layer's product, the loss and the gradients of both; see last_layer.cu. Products that were
    // sent somewhere go there.
    bool fuses_last_layer(Pass) const;
    LastLayer<T> last_layer(const LossRows<T>&, Pass) const;

    // Gradients of all parameters in parts, losses, metrics.
    void make_gradients(const Steps&, const BatchShape&, Pass, bool update_statistics);
    void fused_gradients(const Steps&, const BatchShape&, Pass);
    // Whether its kernel reads the caller's rows where they lie.
    bool fused_reads(const BatchShape&) const;
    StepEnd end_of_step(int64_t rows, bool stop_on_nan) const;
    void gather(const Steps&, const BatchShape&, bool with_targets);
    // Of an autoencoder they are its inputs, gathered once.
    bool inputs_are_targets(const BatchShape& b) const {
        return b.y_is_x && !training_->sparse() && !plan_.normalizes_input();
    }
    const T* targets(const BatchShape& b) const {  // null if they are class ids
        return training_->sparse() ? nullptr : inputs_are_targets(b) ? x_.get() : y_.get();
    }
    void forward(const Steps&, int64_t rows, Pass, bool update_statistics);
    void dense_forward(int i, const T* x, int64_t rows, Pass);
    void loss(const Steps&, const BatchShape&, Pass);
    void measure(const Steps&, const BatchShape&, Pass);
    void call_hook(const BatchShape&, Pass, T* d);
    void probabilities_of(const T* logits, T* out, int64_t rows);
    void backward(const Steps&, int64_t rows, Pass);
    void fork();  // the side stream goes on from here
    void join();  // and this one from there
    void finish(int i, const T* from, T* to, int64_t rows, Pass);
    void dense_backward(int i, int64_t rows, Pass);
    // The gradient of a dense op's kernel; of the product, the operands are given.
    void kernel_gradient(int i, Product<T>, int64_t rows, Products&);
    void other_backward(const Steps&, int i, int64_t rows, Pass);
    Columns<T> columns(int i, int64_t rows, Pass);
    Grouped<T> grouped(int i, int64_t rows, Pass);
    Branches<T> branches(int i, int64_t rows, Pass);
    Parts parts(int tensor) const { return {splits(tensor), plan_.parameters}; }
    BatchNorm<T> batch_norm(int i, int64_t rows, Pass, bool update_statistics);
    LayerNorm<T> layer_norm(int i, int64_t rows, Pass);
    UnitNorm<T> unit_norm(int i, int64_t rows, Pass);
    NoiseKey noise_key(int i) const { return {plan_.seed, uint32_t(i), op(i).kind, op(i).rate, op(i).stddev}; }
    bool frozen(int tensor) const { return training_->is_frozen(plan_.tensors[size_t(tensor)].op); }
    void clear_frozen_gradients();  // no pass computes them
    Update<T> updates() const;
    void matrix_penalties(bool add_gradients);
    void muon(const Steps&);
    void lay_out_updates();
    template <class U>
    void copy_to(DeviceBuffer<U>&, const std::vector<U>&);  // and wait for it
    void set_splits(int64_t rows);

    const Plan& plan_;
    State<T>& state_;
    const Precision precision_;
    const cudaStream_t stream_;
    Products products_;
    // Weight gradients are off the critical path: they are computed on a side stream, concurrently with backpropagation, unless the
    // GPU's table says that this does not pay.
    const bool uses_side_;
    Stream side_;
    Products side_products_;
    Event fork_, join_;
    const Training* training_ = nullptr;
    std::vector<Walk> walks_;  // by pass
    int last_ = 0, totals_width_ = 2, most_parts_ = 1;
    bool combines_ = false, has_penalties_ = false, wants_probabilities_ = false;
    int64_t capacity_ = 0, split_rows_ = 0, generation_ = 0, most_targets_ = 0;
    unsigned hook_flags_ = 0;
    struct {  // what a hook is shown, and what it answers
        std::vector<T> outputs, predictions, targets, gradient;
        std::vector<int32_t> labels;
        std::vector<double> weights, losses;
    } host_;
    bool backward_ready_ = false, probe_ready_ = false, fuses_ = false;  // fuses_: mlp_ computes the gradients
    std::unique_ptr<FusedMlp> mlp_;                                      // or none
    int64_t losses_ = 0;  // of this step in row_loss_: one a row, or fewer
    std::vector<DeviceBuffer<T>> out_, z_, d_, mean_, inverse_;
    std::vector<DeviceBuffer<int64_t>> numbers_;  // of each op that encodes columns: see columns()
    DeviceBuffer<T> gradients_, x_, y_, probabilities_, scratch_[4];
    DeviceBuffer<int32_t> labels_;
    std::vector<DeviceBuffer<int8_t>> signs_;  // of each tensor's constraint of signs: rows, then columns
    DeviceBuffer<double> params_;              // of the loss, by output
    DeviceBuffer<double> weights_, row_loss_, norm_scratch_;
    DeviceBuffer<MetricSpec> metrics_;
    std::vector<UpdateTensor> tensors_;  // of all tensors, as on the device
    DeviceBuffer<UpdateTensor> device_tensors_;
    DeviceBuffer<UpdateBlock> device_blocks_;
    int block_count_ = 0;
    std::vector<int64_t> matrix_parts_;  // per op: where the values of its matrix penalties lie
    int64_t penalty_count_ = 0;
    DeviceBuffer<double> penalty_parts_, norm_parts_, muon_parts_;
};

}  // namespace fd::cuda
