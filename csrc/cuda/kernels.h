// Launch functions of the kernels between the products, in plain C++, so that host code needs no nvcc. Matrices are row-major and
// dense, (rows, cols). Sums over rows are cut into `splits` parts, which the reader adds up in order.
#pragma once
#include <cstdint>

#include "core/types.h"
#include "cuda/runtime/runtime_api.h"
#include "cuda/runtime/steps.h"
#include "ops/activations.h"
#include "ops/constraints.h"
#include "ops/losses.h"
#include "ops/merges.h"
#include "ops/metrics.h"
#include "ops/penalties.h"

namespace fd::cuda {

// ---- data (gather.cu) -----------------------------------------------------------------------------------------------

struct Source {  // an array on the device, whatever its type and strides (in bytes)
    DType dtype = DType::f32;
    int64_t cols = 0, row_stride = 0, col_stride = 0;
    bool operator==(const Source& o) const {
        return dtype == o.dtype && cols == o.cols && row_stride == o.row_stride && col_stride == o.col_stride;
    }
};
struct BatchShape {  // layout of a step's rows; their addresses are in the step's record
    Source x, y;
    bool targets = false, weighted = false;
    bool y_is_x = false;  // the same array
    int64_t rows = 0;
    bool operator==(const BatchShape& o) const {
        return x == o.x && y == o.y && targets == o.targets && weighted == o.weighted && y_is_x == o.y_is_x &&
               rows == o.rows;
    }
};
template <class T>
struct Gather {  // the rows of this step's batch
    Source x, y;
    const double *mean = nullptr, *variance = nullptr;  // of a normalization, or none
    T* x_out = nullptr;
    T* y_out = nullptr;             // targets, or
    int32_t* labels_out = nullptr;  // class ids, or neither
    double* weights_out = nullptr;
    int64_t rows = 0;
};
template <class T>
void gather(const Steps&, const Gather<T>&, cudaStream_t);

// ---- elementwise (elementwise.cu) -----------------------------------------------------------------------------------

template <class T>
void activation_forward(ops::Activation, T alpha, const T* slope, const T* x, T* out, int64_t rows, int64_t cols,
                        cudaStream_t);
struct DropoutKey {
    uint64_t seed;
    uint32_t op;
    double rate;
};
template <class T>
void dropout(const Steps&, const DropoutKey&, const T* x, T* out, int64_t n, cudaStream_t);
// A random op but dropout, forward, or back: `to` gets what the gradient of its output makes of its input's.
struct NoiseKey {
    uint64_t seed;
    uint32_t op;
    OpKind kind;
    double rate, stddev;
};
template <class T>
void noise(const Steps&, const NoiseKey&, const T* from, T* to, int64_t n, bool backward, cudaStream_t);
template <class T>
void rescale(const T* x, const T* scale, const T* offset, T* out, int64_t rows, int64_t cols,
             cudaStream_t);  // offset may be null
template <class T>
void add(const T* a, const T* b, T* out, int64_t n, cudaStream_t);

// Activation gradient: from dL/d(output) to dL/d(input). `to` may be `from`, or null if only the sums are wanted.
template <class T>
struct Finish {
    const T* from = nullptr;
    T* to = nullptr;
    const T* stored = nullptr;  // see ops::Needs
    const T* output = nullptr;  // of the op, for the activity penalty
    ops::Activation activation = ops::Activation::linear;
    T alpha = T(0);
    const T* slope = nullptr;                               // prelu's
    double activity_l1 = 0, activity_l2 = 0;                // already over rows
    T *bias_gradient = nullptr, *slope_gradient = nullptr;  // or none; part s lies s · stride further on
    int splits = 1;
    int64_t stride = 0, rows = 0, cols = 0;
};
template <class T>
void finish(const Finish<T>&, cudaStream_t);
int column_splits(int64_t rows);  // how many parts sums over so many rows should be cut into; at most most_splits
constexpr int most_splits = 16;

// ---- columns (columns.cu) -------------------------------------------------------------------------------------------

struct Parts {  // of sums over rows: part s lies s · stride further on
    int splits = 1;
    int64_t stride = 0;
};
template <class T>
struct Columns {  // an op that encodes columns; see core/plan.h. All arrays are on the device.
    OpKind kind = OpKind::piecewise_linear;
    const T* x = nullptr;
    T* out = nullptr;
    int64_t rows = 0, in_width = 0, out_width = 0;
    int64_t count = 0, width = 0, encoded_at = 0, passing_at = 0, passing_count = 0;
    const int64_t *columns = nullptr, *passing = nullptr;              // inputs that are encoded, that pass
    const int64_t *place_encoded = nullptr, *place_passing = nullptr;  // of each input among them, or -1
    const int64_t* first_code = nullptr;                               // (count + 1,), of an embedding
    const T *table = nullptr, *kernel = nullptr, *bias = nullptr;
};
template <class T>
struct Branches {  // of one block, where they join
    ops::Merge merge = ops::Merge::add;
    int count = 0;
    int64_t rows = 0, width = 0;            // of what they are merged to
    const T* values[ops::most_branches];    // their outputs
    T* gradients[ops::most_branches];       // of these, or null where none is wanted
    int32_t first[ops::most_branches + 1];  // of a concatenation, the column at which each begins
};
template <class T>
void branches_forward(const Branches<T>&, T* out, cudaStream_t);
template <class T>
void branches_backward(const Branches<T>&, const T* d, cudaStream_t);
template <class T>  // the sum of all gradients, for n elements
void branches_sum(const Branches<T>&, int64_t n, T* out, cudaStream_t);
template <class T>
void columns_forward(const Columns<T>&, cudaStream_t);
template <class T>
void columns_backward(const Columns<T>&, const T* d, T* dx, cudaStream_t);
template <class T>  // of an embedding's table of so many numbers
void table_gradient(const Columns<T>&, int64_t numbers, const T* d, T* gradient, cudaStream_t);
template <class T>
void periodic_gradients(const Columns<T>&, const T* d, T* frequencies, T* phases, const Parts&, cudaStream_t);
template <class T>
struct Grouped {
    const T* x = nullptr;
    T *out = nullptr, *z = nullptr;  // z: pre-activations, or not kept
    const T *kernel = nullptr, *bias = nullptr;
    ops::Activation activation = ops::Activation::linear;
    T alpha = T(0);
    int64_t rows = 0, in_width = 0, out_width = 0, groups = 0, inputs = 0, units = 0;
};
template <class T>
void grouped_forward(const Grouped<T>&, cudaStream_t);
// d becomes the gradient of the pre-activation, unless the derivative is 1 and `stored` null; dx may be null
template <class T>
void grouped_backward(const Grouped<T>&, const T* stored, T* d, T* dx, T* dkernel, T* dbias, const Parts&,
                      cudaStream_t);
// out[c] = Σ a(r, c) b(r, c)
template <class T>
void column_dots(const T* a, const T* b, T* out, int64_t rows, int64_t cols, const Parts&, cudaStream_t);

// ---- normalisation (norm.cu) ----------------------------------------------------------------------------------------

// There may be no gamma or no beta; their gradients are null then.
template <class T>
struct BatchNorm {
    const T *x = nullptr, *gamma = nullptr, *beta = nullptr;
    T *out = nullptr, *mean = nullptr, *inverse = nullptr, *moving_mean = nullptr, *moving_variance = nullptr;
    double momentum = 0, epsilon = 0;
    bool batch_statistics = false, update_statistics = false;
    double* parts = nullptr;  // (2, most_splits, cols) of scratch
    int64_t rows = 0, cols = 0;
};
template <class T>
void batch_norm_forward(const Steps&, const BatchNorm<T>&, cudaStream_t);
template <class T>
void batch_norm_backward(const BatchNorm<T>&, const T* d, T* dx, T* dgamma, T* dbeta, cudaStream_t);
template <class T>
struct LayerNorm {
    const T *x = nullptr, *gamma = nullptr, *beta = nullptr;
    T *out = nullptr, *mean = nullptr, *inverse = nullptr;  // of each row
    double epsilon = 0;
    int64_t rows = 0, cols = 0;
};
template <class T>
void layer_norm_forward(const LayerNorm<T>&, cudaStream_t);
template <class T>
void layer_norm_backward(const LayerNorm<T>&, const T* d, T* dx, T* dgamma, T* dbeta, int splits, int64_t stride,
                         cudaStream_t);

template <class T>
struct UnitNorm {  // x / max(|x|, 1e-12), row by row
    const T* x = nullptr;
    T *out = nullptr, *inverse = nullptr;  // of each row
    int64_t rows = 0, cols = 0;
};
template <class T>
void unit_norm_forward(const UnitNorm<T>&, cudaStream_t);
template <class T>
void unit_norm_backward(const UnitNorm<T>&, const T* d, T* dx, cudaStream_t);

// ---- rows (loss.cu) -------------------------------------------------------------------------------------------------

template <class T>
void softmax(const T* z, T* out, int64_t rows, int64_t cols, cudaStream_t);  // out may be z
// d of the output becomes d of its input; activity penalties, already over rows, are added to d first
template <class T>
void softmax_backward(const T* a, T* d, double activity_l1, double activity_l2, int64_t rows, int64_t cols,
                      cudaStream_t);

template <class T>
struct LossRows {
    ops::Loss loss = ops::Loss::mse;
    double param = 0, label_smoothing = 0;
    const double* params = nullptr;  // (cols,) in place of `param`, or none
    bool from_logits = false;
    const T *p = nullptr, *y = nullptr;
    const int32_t* labels = nullptr;
    const double* weights = nullptr;
    double factor = 1;
    double* row_loss = nullptr;  // weight · value
    T* d = nullptr;              // or none
    int64_t rows = 0, cols = 0;
};
template <class T>
void loss_rows(const LossRows<T>&, cudaStream_t);
// row_loss += Σ l1 |a| + l2 a²
template <class T>
void activity_value(const T* a, double l1, double l2, double* row_loss, int64_t rows, int64_t cols, cudaStream_t);
// Of the probabilities `a` behind a fused loss: the same, and its gradient (factors over rows) through softmax or sigmoid is added to d unless null.
template <class T>
void fused_activity(const T* a, bool categorical, double l1, double l2, double* row_loss, T* d, int64_t rows,
                    int64_t cols, cudaStream_t);

// The last dense layer with its loss, for few units, in one kernel (last_layer.cu).
constexpr int most_last_units = 32;
template <class T>
struct LastLayer {
    LossRows<T> loss;  // of the layer's outputs; d becomes the gradient of its pre-activations
    const T *x = nullptr, *kernel = nullptr, *bias = nullptr;  // no bias, perhaps
    int64_t inputs = 0;
    T *out = nullptr, *pre_activation = nullptr;  // or not kept
    ops::Activation activation = ops::Activation::linear;
    ops::Needs needs = ops::Needs::nothing;  // of its derivative
    T alpha = T(0);
    Precision precision = Precision::full;
    // If there is a d: the gradient of x, or none; multiplied by the derivative below if `stored` is given, as in an Epilogue.
    T* dx = nullptr;
    ops::Activation below = ops::Activation::linear;
    const T* stored = nullptr;
    T alpha_below = T(0);
};
template <class T>
void last_layer(const LastLayer<T>&, cudaStream_t);

struct MetricSpec {
    ops::MetricKind kind = ops::MetricKind::mse;
    int64_t k = 0;
    double threshold = 0;
    int multiclass = 0, weighted = 1;
    int offset = 0;  // of its states in a row of totals
};
template <class T>
struct Metrics {
    const MetricSpec* specs = nullptr;  // on the device
    int count = 0;
    const T *p = nullptr, *y = nullptr;
    const int32_t* labels = nullptr;
    const double* weights = nullptr;
    int64_t rows = 0, cols = 0;
};
template <class T>
void measure(const Steps&, const Metrics<T>&, cudaStream_t);

// ---- updates (update.cu) --------------------------------------------------------------------------------------------

struct UpdateBlock {  // elements that one block of threads works on
    int64_t first = 0;
    int32_t count = 0, tensor = 0;
};
constexpr int update_block = 1024;
struct UpdateTensor {
    double l1 = 0, l2 = 0;
    int32_t splits = 1, first_block = 0, blocks = 0, muon = 0;  // muon: updated by muon_apply()
    double rate = 1, decay = 1;                                 // factors of learning rate and weight decay
};
struct UpdateRule {
    ops::Rule rule = ops::Rule::sgd;
    double clipvalue = 0, clipnorm = 0, global_clipnorm = 0, weight_decay = 0;
};
template <class T>
struct Update {
    const UpdateBlock* blocks = nullptr;
    const UpdateTensor* tensors = nullptr;
    int block_count = 0;
    T *parameters = nullptr, *gradients = nullptr;
    int64_t stride = 0;  // of the parts of gradients
    T* slots[3] = {};
    double *penalty_parts = nullptr, *norm_parts = nullptr;  // one per block
    UpdateRule rule;
};
// gradients of all parts and of l1 and l2 penalties into part 0; the penalties' values block by block
template <class T>
void combine(const Update<T>&, bool add_gradients, cudaStream_t);
template <class T>
void gradient_norms(const Update<T>&, cudaStream_t);  // squared, block by block, of combined gradients; for clipping
// The end of a step: its loss and penalties into its row of totals, and on to the next record.
struct StepEnd {
    const double* losses = nullptr;  // of rows, or sums of some
    int64_t count = 0, rows = 0;     // of losses, of the batch
    const double* penalty_parts = nullptr;
    int64_t penalty_count = 0;
    bool stop_on_nan = false;
};
// `combined`: combine() was called; else this kernel adds up the parts and penalties itself. Its last block ends the step, if
// there are losses; returns whether one does.
template <class T>
bool update(const Steps&, const Update<T>&, bool combined, const StepEnd&, cudaStream_t);
void end_step(const Steps&, const StepEnd&, cudaStream_t);
void set_position(Control*, int at, bool fresh, cudaStream_t);  // fresh: not halted either

// The running average of the weights, and every so many steps the weights from it; of the blocks that are updated.
template <class T>
void average(const Steps&, const Update<T>&, T* mean, double momentum, int64_t overwrite_frequency, cudaStream_t);
template <class T>
void constrain(const Steps&, const ops::Constraint&, const int8_t* signs, T* values, int64_t rows, int64_t cols,
               cudaStream_t);  // `signs`: of rows, then of columns, for a constraint of signs

// ---- whole matrices (update.cu) -------------------------------------------------------------------------------------

// Penalties between units; see cpu/layerwise/matrix.cpp for the formulas. u: (units, length) scaled, inverse: (units,)
template <class T>
void unit_rows(const T* kernel, int64_t in, int64_t out, bool columns, T* u, T* inverse, cudaStream_t);
// gram(i, j) becomes the factor of u_j in unit i's gradient; value_parts[i] the unit's part of the penalty
template <class T>
void similarity(T* gram, int64_t units, double factor, ops::UnitPenalty, double* value_parts, cudaStream_t);
template <class T>
void pull_gradient(const T* u, const T* inverse, const T* pull, int64_t in, int64_t out, bool columns, T* gradient,
                   cudaStream_t);

struct MuonStep {
    double momentum = 0, clipvalue = 0, clipnorm = 0, global_clipnorm = 0, adjust = 1, weight_decay = 0;
    bool nesterov = false, flip = false;
    int64_t rows = 0, cols = 0;
    int tensor = 0;
};
// gradient ← direction (scaled, clipped, momentum); parts: its squared norm block by block
template <class T>
void muon_direction(const Steps&, const MuonStep&, const UpdateTensor*, const double* norm_parts, int block_count,
                    T* gradient, T* momentum, double* parts, cudaStream_t);
template <class T>
void muon_start(const MuonStep&, const T* gradient, const double* parts, T* x,
                cudaStream_t);  // x: scaled, smaller side first
template <class T>
void muon_apply(const Steps&, const MuonStep&, const T* x, T* kernel, cudaStream_t);

}  // namespace fd::cuda
