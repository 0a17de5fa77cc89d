// The device interface for a population, nets of one shape that are trained side by side: the second of two, beside backend.h.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"

namespace fd {

struct PopulationRequest {
    Dataset train;                          // seen by every net
    const double* start_weights = nullptr;  // (starts, rows): used instead of train.weights
    int64_t batch_size = 32;
    bool shuffle = true;     // by each net's own seed,
    bool one_order = false;  // or by one seed for all of them,
    uint64_t order_seed = 0;
    const uint64_t* order_seeds = nullptr;  // (starts,): or by these
    int64_t epoch = 0, epochs = 0;          // whole epochs, counted over the nets' life
    const double* step_rates = nullptr;     // the learning rate of each step
    const double* member_scale = nullptr;   // (starts,): each net's learning rate is this times the step's; null: 1
    const uint8_t* active = nullptr;        // (starts,): nets that train; null: all
    double* losses = nullptr;               // (epochs, starts): mean loss of each epoch; entries of other nets stay
    std::function<bool(double)> tick;       // a few times a second, with the fraction that is done. True: stop
    int threads = 1;
};

struct PopulationOutcome {
    std::vector<int64_t> epochs;  // (starts,) that each net has finished in this call
    bool interrupted = false;
};

// What nets have for themselves, (starts,) each; null: the program's or the training's own.
struct MemberNumbers {
    const double* penalties = nullptr;  // factors of every penalty
    const double* dropouts = nullptr;   // (starts, dropout ops): rates
    const double *weight_decays = nullptr, *label_smoothings = nullptr;
};

// Arrays hold one entry per start, each densely packed in the order of the single net's tensors.
class PopulationBackend {
public:
    virtual ~PopulationBackend() = default;
    virtual const Plan& plan() const = 0;
    virtual DType dtype() const = 0;
    virtual int64_t starts() const = 0;
    virtual bool on_gpu() const { return false; }               // then data may lie in its memory
    virtual void read_tensor(int tensor, void* out) const = 0;  // (starts, size)
    virtual void write_tensor(int tensor, const void* in) = 0;
    virtual void configure(const Training&) = 0;  // resets the optimizers' state
    virtual const Training* training() const = 0;
    virtual int slots() const = 0;
    virtual void read_slot(int slot, int tensor, void* out) const = 0;
    virtual void write_slot(int slot, int tensor, const void* in) = 0;
    virtual void set_step(int64_t) = 0;  // optimizer steps that the nets have done
    virtual PopulationOutcome train(const PopulationRequest&) = 0;
    // The totals of each net (starts, K) over all rows, in inference mode, penalties included. `weights`: (starts, rows) or
    // null. `which`: (starts,), the nets that are wanted, or null for all; the totals of others are left as they are.
    virtual void evaluate(const Dataset&, const double* weights, const uint8_t* which, int threads, const Poll&,
                          double* totals) = 0;
    virtual void predict(const View& x, int threads, const Poll&, void* out) = 0;  // (starts, rows, outputs)
    virtual void keep(const uint8_t* which) = 0;     // remembers the tensors of these nets
    virtual void restore(const uint8_t* which) = 0;  // puts back what was remembered
};

// Why these nets cannot share the lanes of vectors and should be trained one by one; empty if they can.
std::string why_not_lanes(const Plan&, const Training&, DType, int64_t batch_rows);

// Seeds decide shuffling and dropout.
std::unique_ptr<PopulationBackend> make_cpu_population(int64_t inputs, std::vector<uint64_t> seeds,
                                                       const MemberNumbers&, std::vector<Op> ops, DType dtype);

// Why the GPU's whole-net kernel cannot train these nets, and its population, which knows no numbers but penalties.
std::string why_not_fused(const Plan&, const Training&, DType, int64_t batch_rows);
std::unique_ptr<PopulationBackend> make_cuda_population(int64_t inputs, std::vector<uint64_t> seeds,
                                                        const MemberNumbers&, std::vector<Op> ops, DType dtype);

}  // namespace fd
