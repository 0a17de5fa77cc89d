// What the lanes run: one net of a group in each lane of a vector ("pack"), so that parameter p of all nets of a group
// lies in one vector. Offsets count packs. population.cpp fills these; the kernels are compiled once per
// instruction set (kernels.cpp).
#pragma once
#include <cstdint>

#include "core/types.h"
#include "ops/activations.h"
#include "ops/losses.h"
#include "ops/optimizers.h"
#include "ops/penalties.h"

namespace fd::cpu {

struct LaneOp {
    OpKind kind;
    ops::Activation activation;  // linear where the loss includes it
    double alpha, epsilon, momentum, activity_l1, activity_l2;
    int64_t dropout;  // its number among the dropouts
    int64_t in, out;
    int64_t kernel, bias, slope;    // in the parameters (normalisations: gamma, beta in kernel, bias); -1: none
    int64_t mean, variance;         // in the statistics
    int64_t scale, offset;          // of a rescaling, in the statistics too
    int64_t from, to;               // values, in the work space; from -1: the input
    int64_t kept;                   // what backward needs beside the output: pre-activations, or a dropout mask
    int64_t cache;                  // means and inverse standard deviations of a normalisation
    int64_t skip;                   // residual_end: values of the other input; -1: the input
    int64_t d_from, d_to, d_other;  // gradients; d_from -1: not needed; d_other: see residual_begin
    uint32_t number;                // in the program
    bool by_input;                  // the derivative of the activation is taken at its input
};

template <class T>
struct LaneBlock {  // rows that go through the whole net together
    const LaneOp* ops = nullptr;
    int count = 0;
    const T* parameters = nullptr;
    T *gradients = nullptr, *statistics = nullptr, *work = nullptr;
    bool training = false;
    int64_t rows = 0, first = 0, batch_rows = 0;  // `first`: position of the first row in its batch
    int64_t outputs = 0;
    const T *x = nullptr, *y = nullptr, *w = nullptr;  // packs, or numbers that all nets share
    bool x_shared = true, y_shared = true, w_shared = true;
    ops::Loss loss = ops::Loss::mse;
    double param = 0;
    const double* params = nullptr;     // (outputs,) in place of `param`, or none
    const double* smoothing = nullptr;  // (lanes,)
    const double* rates = nullptr;      // (dropouts, lanes)
    bool logits = false, sparse = false;
    int64_t output = 0, d_output = 0;  // of the last op; output -1: the input
    double* losses = nullptr;          // (lanes,): Σ w·v and activity penalties · rows are added
    const T* penalty = nullptr;        // (lanes,) factors
    const uint64_t* seeds = nullptr;   // (lanes,)
    uint64_t step = 0;
};

struct LaneOrder {  // each net's own order of the rows: the keys of ops::Shuffle, lane by lane
    static constexpr int most = 64;
    uint32_t key[6][most];
    int half = 4;
    uint32_t n = 0;
};

template <class T>
struct LaneGather {  // (rows, cols) numbers to (rows, cols) packs
    const T* from = nullptr;
    int64_t cols = 0, rows = 0, first = 0;
    const int32_t* index = nullptr;  // (rows, lanes) data rows; null: first, first + 1, … for every net
    bool from_packs = false;         // `from` holds packs (one column): each net has numbers of its own
    T* to = nullptr;
    bool small = false;  // all of `from` has less than 2^31 numbers
};

struct LaneTensor {
    int64_t offset, size, rows, cols;
    double l1, l2;
    double unit_factor[ops::unit_penalties];  // of each penalty between units
    bool unit_columns[ops::unit_penalties];
};

template <class T>
struct LaneUpdate {
    const LaneTensor* tensors = nullptr;
    int count = 0;
    T *parameters = nullptr, *gradients = nullptr;
    T* slot[3] = {};
    ops::Rule rule = ops::Rule::sgd;
    ops::Step<double> step;                // for a learning rate of 1
    const double* member_scale = nullptr;  // (lanes,): factor of the step's learning rate
    const T* penalty = nullptr;            // (lanes,) factors of the penalties
    const double* weight_decay = nullptr;  // (lanes,): times the step's learning rate
    double clipvalue = 0, clipnorm = 0, global_clipnorm = 0;
    double* losses = nullptr;  // (lanes,): penalties are added
    T* scratch = nullptr;
};

template <class T>
struct LaneKernels {
    int width;  // nets in a group
    void (*order)(const LaneOrder&, int64_t first, int64_t rows, int32_t* index);
    void (*gather)(const LaneGather<T>&);
    // All three below for one of the smallest nets, whatever the rows; false if it is none. With 0 rows nothing else is done.
    bool (*small)(const LaneBlock<T>&);
    void (*forward)(const LaneBlock<T>&);
    void (*loss)(const LaneBlock<T>&);  // and the gradient of the outputs, if training
    void (*backward)(const LaneBlock<T>&);
    void (*penalties)(const LaneUpdate<T>&);  // adds to losses, and to gradients unless null
    void (*update)(const LaneUpdate<T>&);     // penalties() must have come before
};

}  // namespace fd::cpu
