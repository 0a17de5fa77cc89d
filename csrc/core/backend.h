// The only device interface: one net on one device. A new device is a folder with a class behind this and a make_ function.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core/plan.h"
#include "core/ranks.h"
#include "core/stop.h"
#include "core/types.h"

namespace fd {

struct ProbeRecord {  // what a probe found after a step; its numbers of each unit are in ProbeRecords
    static constexpr int always = -64;
    int64_t step = 0, epoch = 0;  // optimizer steps done; of that step
    int rank = 0;                 // the lowest level at which it is due, see Cadence; always: whatever the level
    double loss = 0;              // of the probe's rows, penalties included
    int64_t nonfinite_op = -1;    // the first op whose output is not finite for some row
};

struct ProbeRecords {
    // One row of numbers for all units of an op each: fraction of rows with pre-activation <= 0, and of rows where sigmoid or tanh
    // is saturated, mean and variance of the output; norm of the unit's kernel column, in the gradient, in the weights, and in
    // the change that the last step made. NaN where an op has no such thing.
    static constexpr int numbers_per_unit = 7;
    int64_t width = 0;  // numbers of a record, op by op
    static int64_t width_of(const Plan&);
    static int64_t first_nonfinite(const Plan&, const double* values);  // the op, from the numbers of a record; or -1
    std::vector<ProbeRecord> records;
    std::vector<double> values;  // (records, width), or longer
};

struct TrainRequest {
    Dataset train;
    const Dataset* validation = nullptr;
    int64_t batch_size = 32;
    bool shuffle = true;
    std::optional<uint64_t> order_seed;  // of the order of the rows; none: the net's
    int64_t epoch = 0, first_batch = 0;  // where the first step starts
    const double* step_rates = nullptr;  // the learning rate of each step
    int64_t steps = 0;
    bool stop_on_nan = false;
    std::optional<int> probe_level;  // none: no probes; see Cadence
    bool probe_first = false;        // a probe after the first step of this call too
    const Ranks* ranks = nullptr;    // the others that train this net too; validation is this process's own
    bool goes_on = false;  // the last call had the same data, untouched since: a solver may keep what it knows of them
    // Called after steps, a few times a second: (steps done, Σ loss, Σ rows of this epoch). True: stop now.
    std::function<bool(int64_t, double, double)> tick;
    Poll poll;  // inside validation, and inside steps that take long
    int threads = 1;
};

// The caller's, filled while training goes on: what train() throws costs no epoch that was finished before.
struct TrainOutcome {
    int64_t steps = 0, epochs = 0;           // an epoch counts when its validation is finished too
    std::vector<double> totals, validation;  // (epochs, K) each, or longer
    std::vector<double> partial;             // (K,): the running totals of the unfinished epoch
    int64_t nonfinite_step = -1;
    bool interrupted = false;
    ProbeRecords probes;
    std::string ended;  // why a full-batch solver has nothing more to do, or empty; see Solver::ended
};

// Every void pointer holds elements of the net's own type (of a Tensor with `float64`: double; of a slot: slot_dtype()), densely
// packed.
class Backend {
public:
    virtual ~Backend() = default;
    virtual const Plan& plan() const = 0;
    virtual DType dtype() const = 0;
    virtual bool on_gpu() const { return false; }  // then views may lie in its memory, and results may go there
    virtual void read_tensor(int tensor, void* out) const = 0;
    virtual void write_tensor(int tensor, const void* in) = 0;
    virtual void configure(const Training&) = 0;  // resets the optimizer's state
    virtual int slots() const = 0;
    virtual DType slot_dtype() const = 0;        // a full-batch solver's are double
    virtual std::vector<double>& numbers() = 0;  // the rest of the optimizer's state; its length is fixed by configure
    virtual void read_slot(int slot, int tensor, void* out) const = 0;
    virtual void write_slot(int slot, int tensor, const void* in) = 0;
    virtual int64_t step() const = 0;
    virtual void set_step(int64_t) = 0;
    virtual void train(const TrainRequest&, TrainOutcome&) = 0;                // into a new one
    virtual int64_t probe_period(int64_t rows, int64_t batch_size) const = 0;  // steps that make a probe affordable
    // `hook_rows`: of the batches that a hook is shown; 0: as many as are quick. In train() validation takes those of a step.
    virtual void evaluate(const Dataset&, int threads, const Poll&, double* totals, int64_t hook_rows = 0) = 0;
    // One row of floats or doubles without gaps, on this thread; false if it must go through predict().
    virtual bool predict_row(const void* x, DType dtype, void* out) = 0;
    virtual void predict(const View& x, int threads, const Poll&, void* out) = 0;
    virtual double loss_and_grad(const Dataset&, bool training, int threads, const Poll&, void* const* gradients) = 0;
    // The gradients of Σ d_out · outputs in inference mode. d_out: (rows, k · outputs); d_x: (rows, k · inputs), those of the inputs
    // for each of the k in turn. `gradients`: of the trainable tensors, for k = 1; or null. `d_jacobian`, (rows, outputs · inputs) or
    // null: with gradients, Σ d_jacobian · (derivatives of the outputs by the inputs) is added to what is differentiated.
    virtual void vjp(const View& /* x */, const View& /* d_out */, const View* /* d_jacobian */, int /* threads */,
                     const Poll&, void* /* d_x */, void* const* /* gradients */) {
        throw InvalidArgument("vjp: this engine has no such pass");
    }
    // A step of the optimizer with these gradients, penalties included, at this learning rate.
    virtual void apply_gradients(const void* const* /* gradients */, double /* rate */, int /* threads */) {
        throw InvalidArgument("apply_gradients: this engine has no such step");
    }
    virtual void activations(const View& x, int threads, const Poll&, void* const* outputs) = 0;
    // The last dense op in closed form, (in, out) and (out,) in double; see cpu/second_order/closed_form.h. False: there is no solution.
    virtual bool solve_output(const Dataset&, double ridge, int threads, const Poll&, double* kernel, double* bias) = 0;
    virtual const Training* training() const = 0;  // null before configure
};

// bf16: see Plan; only with f32.
std::unique_ptr<Backend> make_cpu(int64_t inputs, uint64_t seed, std::vector<Op> ops, DType dtype, bool bf16 = false);

std::unique_ptr<Backend> make_cuda(int64_t inputs, uint64_t seed, std::vector<Op> ops, DType dtype, Precision);

}  // namespace fd
