// The kernels of the rowwise path (rowwise.h): a chunk of rows through the whole net in one call.
//
// Rows lie in lanes. A panel is V vectors of rows (V = 1 or 2), feature by feature: element (feature, row) at
// feature · panel + row. Outputs of a layer are the next layer's input as they are; nothing is packed in between.
#pragma once
#include <cstdint>

#include "core/plan.h"
#include "core/types.h"
#include "cpu/simd/kernels.h"
#include "ops/rng.h"

namespace fd::cpu {

template <class T>
struct RowwiseOp {  // one op of the net, with a thread's scratch for it; panels follow each other
    OpKind kind = OpKind::dense;
    int64_t in = 0, out = 0;
    ops::Activation activation = ops::Activation::linear;
    bool derivative_at_input = false;  // of the activation; a dense op then keeps its pre-activation in z
    T alpha = 0;
    const T *kernel = nullptr, *bias = nullptr, *slope = nullptr;
    const T *scale = nullptr, *offset = nullptr;  // of a rescaling
    T *dkernel = nullptr, *dbias = nullptr, *dslope = nullptr;
    T *a = nullptr, *z = nullptr;  // (out, panel): output, pre-activation (z may be a)
    T* d = nullptr;                // (out, panel): the gradient of the output, then of the pre-activation
    T* by_row = nullptr;  // (rows, ld): d with units in lanes, for the kernel's gradient; null: summed in lanes
    int64_t ld = 0;
    bool passes_gradient = false;  // an op before it has parameters
    ops::DropoutMask dropout{};
};

template <class T>
struct RowwiseLoss {
    ops::Loss kind = ops::Loss::mse;
    T param = 0, label_smoothing = 0;
    const double* params = nullptr;  // (outputs,) in place of `param`, or none
    bool from_logits = false;        // categorical kinds: the output holds logits, else probabilities
    double factor = 1;               // 1/rows of the batch
    bool probabilities = false;      // metrics read the softmax or sigmoid of the output
};

template <class T>
struct RowwiseJob {  // one chunk: rows that go through the net together
    const View* x = nullptr;
    const View* y = nullptr;               // targets or class ids, or none
    const double* data_weights = nullptr;  // by data row, or none
    const int64_t* order = nullptr;        // the rows of the data
    int64_t rows = 0;                      // how many: at most the panels that the scratch holds
    int64_t first = 0;                     // the first one's position in the batch
    int64_t block = 1;                     // panels that go through an op in one call
    bool gathered = false;                 // input, targets, labels and weights are as an earlier call has left them
    const double *mean = nullptr, *inverse = nullptr;  // standardises x, or none
    RowwiseOp<T>* ops = nullptr;
    int count = 0, first_gradient = 0;  // the first op with parameters: backward ends there
    RowwiseLoss<T> loss;
    bool train = false;       // dropout and gradients
    bool accumulate = false;  // gradients are added to those of the chunk before
    // The chunk, in panels
    T *input = nullptr, *targets = nullptr, *weights = nullptr;  // weights: 0 where a panel has no row
    int32_t* labels = nullptr;
    T *staging = nullptr, *probabilities = nullptr;  // scratch: one panel of rows as they come; of outputs, for metrics
    // The whole batch, by position: filled where they are not null
    T *row_targets = nullptr,
      *predictions = nullptr;  // (rows, outputs); predictions: as metrics read them, or as predict() returns them
    int32_t* row_labels = nullptr;
    double* row_weights = nullptr;  // needed with data_weights
    T* const* outputs = nullptr;    // x as it enters (or null), then the output of every op
    int64_t first_output = 0;       // the row of them that row 0 of the batch is
};

template <class T>
struct RowwiseKernels {
    // The rows at first … first + n - 1 of an epoch's order.
    void (*order)(const ops::Shuffle&, int64_t first, int64_t n, int64_t* rows);
    // Returns Σ weight · loss of the rows; [0]: panels of one vector, [1]: of two
    double (*run[2])(const RowwiseJob<T>&);
    // One row through one op in inference; z is scratch for the pre-activation, a may be z
    void (*one_row)(const RowwiseOp<T>&, const T* x, T* z, T* a);
    bool (*finite)(const T* x, int64_t n);
    void (*add_gradients)(T* into, const T* const* parts, int count, int64_t n);  // into += parts[0] + …
    int lanes_per_vector;
};

}  // namespace fd::cpu
