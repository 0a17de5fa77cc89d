// What a net is, on no device: the program that Python lowers to, and where each tensor lies in the flat buffers.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/function.h"
#include "core/hook.h"
#include "core/types.h"
#include "ops/activations.h"
#include "ops/constraints.h"
#include "ops/losses.h"
#include "ops/merges.h"
#include "ops/metrics.h"
#include "ops/optimizers.h"
#include "ops/penalties.h"

namespace fd {

// Factors of the elementwise penalties of an op, as X(name): of gamma and beta, too, as kernel and bias of a normalization, and
// of the outputs of a dense op or of the op that does nothing else. Those between units are in ops/penalties.h.
#define FD_PENALTIES(X) X(kernel_l1) X(kernel_l2) X(bias_l1) X(bias_l2) X(activity_l1) X(activity_l2)

inline constexpr const char* penalty_names[] = {
#define FD_PENALTY_NAME(name) #name,
    FD_PENALTIES(FD_PENALTY_NAME)
#undef FD_PENALTY_NAME
#define FD_PENALTY_NAME(name, functor) "kernel_" #name,
        FD_UNIT_PENALTIES(FD_PENALTY_NAME)
#undef FD_PENALTY_NAME
};

// Element (r, c) of a tensor with a constraint of signs is never of another sign than rows[r] · columns[c]; 0 is any.
struct Signs {
    std::vector<int8_t> rows, columns;
};

struct OwnWeight {  // a tensor of a function op; those that are trained come first
    std::vector<int64_t> shape;
    bool trainable = true;
    double l1 = 0, l2 = 0;
    ops::Constraint constraint;
};

struct Op {
    OpKind kind = OpKind::dense;
    int64_t units = 0;
    bool use_bias = true;
    ops::Activation activation = ops::Activation::linear;
    double alpha = 0, rate = 0, momentum = 0, epsilon = 0, stddev = 0;
    std::vector<int64_t> columns;       // of a column op: those that it encodes, ascending; Plan fills in all for none
    int64_t bins = 0, frequencies = 0;  // of piecewise_linear and periodic, for each of them
    std::vector<int64_t> codes;         // of embedding: how many each of them has
    bool keep = false;                  // of a column op: the encoded columns pass, too
    int64_t groups = 0, group_inputs = 0;  // of grouped_dense
    ops::Merge merge = ops::Merge::add;    // of branches_end
#define FD_PENALTY_FIELD(name) double name = 0;
    FD_PENALTIES(FD_PENALTY_FIELD)
#undef FD_PENALTY_FIELD
#define FD_PENALTY_FIELD(name, functor) double kernel_##name = 0;
    FD_UNIT_PENALTIES(FD_PENALTY_FIELD)
#undef FD_PENALTY_FIELD
    bool kernel_orthogonal_columns = false;
    ops::Constraint kernel_constraint, bias_constraint;
    Signs kernel_signs;                        // of a constraint of signs
    std::shared_ptr<const Function> function;  // of a function op: what computes its `units` outputs
    std::vector<OwnWeight> weights;
    bool scales = true, centers = true;  // normalizations of the batch or the units: whether there are gamma and beta
    // filled by Plan
    int64_t in = 0, out = 0;
    int kernel = -1, bias = -1, slope = -1;  // tensor numbers; normalisations: gamma, beta in kernel, bias
    int mean = -1, variance = -1;
    int scale = -1, offset = -1;   // of a rescaling
    std::vector<int> own;          // of a function op, by weight
    int own_trained = 0;           // how many of them are trained
    int table = -1;                // of piecewise_linear and embedding: edges of bins, sorted codes
    std::vector<int64_t> passing;  // of a column op: the inputs that are outputs as they are
    int partner = -1;              // of residual_begin: its residual_end, and the other way round
    // Of branches_begin and branches_end: the op before the first one of each branch, and the last one; both are the same
    // in an empty branch. Of branch_next: the block's begin is `block`.
    std::vector<int> before, last;
    int block = -1;

    bool has_activity() const { return activity_l1 != 0 || activity_l2 != 0; }
    // Calls f(penalty, factor, whether units are columns) for each penalty between units that is on.
    template <class F>
    void each_unit_penalty(F&& f) const {
#define FD_UNIT_PENALTY(name, functor) \
    if (kernel_##name != 0) f(ops::UnitPenalty::name, kernel_##name, penalises_columns(ops::UnitPenalty::name));
        FD_UNIT_PENALTIES(FD_UNIT_PENALTY)
#undef FD_UNIT_PENALTY
    }
    bool penalises_columns(ops::UnitPenalty p) const {
        return p != ops::UnitPenalty::orthogonal || kernel_orthogonal_columns;
    }
    bool matrix_penalty() const {
        bool any = false;
        each_unit_penalty([&](ops::UnitPenalty, double, bool) { any = true; });
        return any;
    }
    bool encodes_columns() const {
        return kind == OpKind::piecewise_linear || kind == OpKind::periodic || kind == OpKind::embedding;
    }
    // Of a column op: the first of its outputs that are encoded, and of those that pass. Embeddings come last, so that
    // columns before those of codes keep their numbers.
    int64_t encoded_at() const { return kind == OpKind::embedding ? int64_t(passing.size()) : 0; }
    int64_t passing_at() const { return kind == OpKind::embedding ? 0 : out - int64_t(passing.size()); }
    bool has_activation() const { return kind == OpKind::dense || kind == OpKind::activation; }
    bool is_softmax() const { return has_activation() && activation == ops::Activation::softmax; }
    bool is_random() const {  // in training
        return kind == OpKind::dropout || kind == OpKind::gaussian_noise || kind == OpKind::gaussian_dropout ||
               kind == OpKind::alpha_dropout;
    }
    bool normalizes() const { return kind == OpKind::batch_norm || kind == OpKind::layer_norm; }
};

struct Tensor {
    int op = 0;
    int64_t rows = 0, cols = 1;  // vectors: (n, 1) with `vector` set
    bool vector = false, trainable = true;
    bool is_kernel = false;  // of a dense op: updated as its gradient is made, and by Muon as a matrix
    double l1 = 0, l2 = 0;
    ops::Constraint constraint;
    int64_t groups = 0;   // of a kernel of grouped_dense: its shape is (groups, rows / groups, cols)
    bool shaped = false;  // of a function op: its shape is `shape`
    std::vector<int64_t> shape;
    bool float64 = false;  // whatever the net's type: statistics of raw data, where an offset may dwarf the spread
    int64_t offset = 0;    // elements into the parameters, the statistics, or the input statistics (float64)
    Signs signs{};         // of a constraint of signs
    int64_t size() const { return rows * cols; }
};

struct Plan {
    Plan(int64_t inputs, uint64_t seed, std::vector<Op> program, bool bf16 = false);
    bool bf16;  // products of dense ops round their operands to bfloat16; all else is in the net's own type
    int64_t inputs, outputs = 0, widest = 0;
    uint64_t seed;
    std::vector<Op> ops;
    std::vector<Tensor> tensors;
    std::vector<int> trainable;                                    // tensor numbers
    int output_op = 0;                                             // the last op that is no rescaling
    int64_t parameters = 0, statistics = 0, input_statistics = 0;  // elements of the flat buffers, padded
    double step_flops = 0;                                         // multiply-adds ×2 per row of forward and backward
    static constexpr int64_t alignment = 16;  // elements: a tensor starts on a cache line in float32
    static int64_t padded(int64_t n) { return (n + alignment - 1) / alignment * alignment; }
    bool normalizes_input() const { return !ops.empty() && ops[0].kind == OpKind::normalization; }
    bool is_random() const;  // in training
    bool has_matrix_penalties() const;
    bool has_constraints() const;
    bool has_functions() const;
    // Whether the order of the rows of an epoch shows in more than the order of sums: random ops go by the position of a row.
    bool order_matters(int64_t batch, int64_t rows) const { return batch < rows || is_random(); }
};

enum class Pass {  // what a pass through the layers is for
    predict,       // the net's outputs
    evaluate,      // outputs for the loss: logits if it is fused
    inference,     // as evaluate, and keeps what backward needs
    inputs,        // as predict, and keeps what backward needs, which goes to the inputs and makes no other gradient
    pullback,      // the same, with the gradients of the parameters; none of both holds a penalty
    probe,         // as inference, and keeps every pre-activation; no metrics
    train          // batch statistics and dropout
};

struct Metric {
    using Kind = ops::MetricKind;
    Kind kind = Kind::mse;
    int64_t k = 0;
    double threshold = 0.5;
    bool multiclass = false, weighted = true;  // by sample weights
    int head = -1;                             // of which it is; -1: of all outputs, which have one loss
    bool is_loss = false;                      // the loss of its head: `kind` means nothing
    bool per_row() const { return is_loss || ops::metric_sums(kind) == 0; }  // a mean of one value a row
    int64_t states(int64_t outputs) const { return per_row() ? 2 : ops::metric_sums(kind) * outputs; }
};

// Options of the full-batch optimizers, as X(type, name); core/solvers/solver.h says what they mean.
#define FD_SOLVER_OPTIONS(X) \
    X(double, gtol)          \
    X(double, ftol)          \
    X(double, damping) X(double, radius) X(int64_t, history_size) X(int64_t, line_search_steps) X(int64_t, cg_steps)
struct SolverOptions {
#define FD_SOLVER_FIELD(type, name) type name = 0;
    FD_SOLVER_OPTIONS(FD_SOLVER_FIELD)
#undef FD_SOLVER_FIELD
};

struct LossTerm {  // a loss of all outputs, or of a head
    ops::Loss loss = ops::Loss::mse;
    bool from_logits = false;
    double label_smoothing = 0, loss_param = 0;
    std::vector<double> loss_params;  // of each output, in place of `loss_param`, or empty
    bool custom = false;              // the hook computes it: `loss` means nothing

    bool sparse() const { return loss == ops::Loss::sparse_categorical_crossentropy; }
    bool categorical() const { return sparse() || loss == ops::Loss::categorical_crossentropy; }
    bool binary() const { return loss == ops::Loss::binary_crossentropy; }
};

// Some of the outputs, with a loss of their own: heads come side by side, and so do their targets in y; a class id is a column
// of it. Behind the targets y may have a column for each head, the weights of its rows.
struct Head : LossTerm {
    bool has_loss = true;                 // else it only predicts
    double weight = 1;                    // of its loss in the sum
    int64_t cols = 0, targets = 0;        // of the outputs and of y
    int64_t first = 0, first_target = 0;  // filled by Training::place_heads
};

struct Training : LossTerm {  // what is optimised
    ops::Optimizer optimizer = ops::Optimizer::sgd;
    ops::Hyper hyper;
    SolverOptions solver;
    std::vector<double> rate_factors, decay_factors;  // of each trainable tensor; empty: 1 for all
    std::vector<bool> frozen;                         // by op: its tensors stay as they are; empty: none is
    std::vector<Metric> metrics;
    std::shared_ptr<const Hook> hook;  // called with every batch, or null
    std::vector<Head> heads;           // empty: there is one loss, of all outputs

    void place_heads();
    bool hook_has_loss() const;      // the hook computes the loss, or that of a head
    int64_t target_columns() const;  // of all heads
    ops::Works works_on() const { return ops::optimizer_works_on[int(optimizer)]; }
    bool muon() const { return works_on() == ops::Works::kernels; }
    bool kfac() const { return works_on() == ops::Works::factors; }
    bool full_batch() const { return works_on() == ops::Works::all_rows; }
    const char* optimizer_name() const { return ops::optimizer_names[int(optimizer)]; }
    // Muon takes steps of its own with kernels; its element-wise rule, Adam, has a learning rate and a decay of its own.
    bool takes_matrix_step(const Tensor& t) const { return muon() && t.is_kernel; }
    double rule_learning_rate(double rate) const { return rate * (muon() ? hyper.adam_lr_ratio : 1); }
    double rule_weight_decay() const { return muon() ? hyper.adam_weight_decay : hyper.weight_decay; }
    bool whole_gradients() const { return muon() || kfac() || hyper.clipnorm != 0 || hyper.global_clipnorm != 0; }
    double rate_factor(size_t k) const { return rate_factors.empty() ? 1 : rate_factors[k]; }  // of Plan::trainable[k]
    double decay_factor(size_t k) const { return decay_factors.empty() ? 1 : decay_factors[k]; }
    bool has_factors() const { return !rate_factors.empty() || !decay_factors.empty(); }
    bool is_frozen(int op) const { return !frozen.empty() && frozen[size_t(op)]; }
    bool has_frozen() const {
        for (bool one : frozen)
            if (one) return true;
        return false;
    }
    ops::Rule rule() const { return ops::rule_of(optimizer, hyper); }
    int64_t totals(int64_t outputs) const;  // Σ loss, Σ rows, metric states
};

// How the loss is computed: softmax or sigmoid fused with their cross-entropy, from the pre-activation.
struct LossForm {
    bool fused = false, logits = false;
    ops::Loss kind = ops::Loss::mse;
    LossForm() = default;
    LossForm(const LossTerm& term, ops::Activation last);  // after this activation
    LossForm(const Plan& plan, const Training& training);
};

// InvalidArgument unless the net can be trained on, or judged by, these rows.
void check_shapes(const Plan&, const Training*, const Dataset&);

// InvalidArgument unless what a training says of single tensors and ops is for this net, and its optimizer can honour it.
void check_training(const Plan&, const Training&);

// Why a path cannot run a net: the first op that it does not know; "" if there is none.
std::string unknown_op(const Plan&, unsigned path);

// Why a path of many nets cannot take part: what only the layer-by-layer path does beside its ops; "" if there is no reason.
std::string unusual(const Plan&, const Training*);

// The number of `name` in a list of names; InvalidArgument naming `family` if it is not there.
int find_name(const char* family, const char* const* names, int count, const std::string& name);
template <size_t N>
int find_name(const char* family, const char* const (&names)[N], const std::string& name) {
    return find_name(family, names, int(N), name);
}

}  // namespace fd
