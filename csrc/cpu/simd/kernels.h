// The table of kernels that each instruction set fills; one table per value type. Nothing here allocates.
// Matrices are row-major. "block" means rows × cols out of a wider matrix with `ld` elements per row.
#pragma once
#include <cstdint>

#include "core/types.h"
#include "cpu/memberwise/lanes.h"
#include "ops/activations.h"
#include "ops/losses.h"
#include "ops/optimizers.h"
#include "ops/rng.h"

namespace fd::cpu {

template <class T>
struct LossRows {
    ops::Loss loss;
    double param = 0, label_smoothing = 0;
    const T* params = nullptr;        // (cols,) in place of `param`, or none
    bool from_logits = false;         // categorical kinds: p holds logits, else probabilities
    const T* p = nullptr;             // (rows, cols)
    const T* y = nullptr;             // (rows, cols), unless the loss is sparse
    const int32_t* labels = nullptr;  // (rows,), sparse
    const double* weights = nullptr;  // (rows,) or none
    double factor = 1;                // d is multiplied by it: 1/rows of the batch
    double* row_loss = nullptr;       // (rows,) overwritten: weight · value
    T* d = nullptr;                   // (rows, cols) overwritten: gradient, unless null
    int64_t rows = 0, cols = 0;
};

template <class T>
struct Update {
    ops::Rule rule;
    ops::Step<double> step;
    T* w = nullptr;
    const T* g = nullptr;
    T* slot[3] = {};
    int64_t n = 0;
    double l1 = 0, l2 = 0;            // penalty factors; their gradient is added to g
    double scale = 1, clipvalue = 0;  // g is multiplied by scale, then clipped to ±clipvalue (0: off)
    double decay = 0;                 // w loses decay·w first
};

template <class T>
struct NormBlock {  // batch or layer normalisation of one block
    const T* x = nullptr;
    T* out = nullptr;
    const T *gamma = nullptr, *beta = nullptr;
    T *mean = nullptr, *inverse = nullptr;  // per column (batch) or per row (layer)
    double epsilon = 0;
    int64_t ld = 0, rows = 0, cols = 0;
};

// out(a, v) = Σ_k s(a, k) · panel(k, v) for a < rows, v < cols: s is read in place, panel was packed (see Kernels::panel).
struct Fetch {  // with every k one cache line is prefetched, each so many bytes after the last
    const void* from = nullptr;
    int64_t step = 64;
};
template <class T, class S = T>
struct Product {
    const S* s = nullptr;
    int64_t s_a = 0, s_k = 0;  // strides of s, in elements
    int64_t rows = 0, k = 0;
    const S* panel = nullptr;
    int64_t cols = 0;
    T* out = nullptr;  // overwritten: out[a · ld + v], or out[v · ld + a] if transposed
    int64_t ld = 0;
    bool transposed = false;
    Fetch fetch[2] = {};  // prefetch addresses for the next tile
};

struct UnitStatistics {  // of columns, over rows: fractions of rows, mean and (biased) variance
    double *off = nullptr, *saturated = nullptr, *mean = nullptr, *variance = nullptr;
    double limit = 0;  // saturated: |z| is above it
};

template <class T>
struct Kernels {
    // z += bias (or none), a = f(z); a may be z, and z is written only if it differs from a. prelu reads slope per column.
    void (*bias_activation)(ops::Activation, T alpha, const T* slope, const T* bias, T* z, T* a, int64_t ld,
                            int64_t rows, int64_t cols);
    // d *= f'(stored); stored is what the activation's Needs says
    void (*activation_backward)(ops::Activation, T alpha, const T* slope, const T* stored, T* d, int64_t ld,
                                int64_t rows, int64_t cols);
    void (*prelu_slope_gradient)(const T* z, const T* d, T* out, int64_t ld, int64_t rows,
                                 int64_t cols);                                       // overwrites out
    void (*column_sums)(const T* d, T* out, int64_t ld, int64_t rows, int64_t cols);  // overwrites out
    void (*softmax)(const T* z, T* a, int64_t rows, int64_t cols);                    // a may be z
    void (*softmax_backward)(const T* a, T* d, int64_t rows, int64_t cols);           // d = a (d - Σ a d)
    void (*loss_rows)(const LossRows<T>&);
    double (*update)(const Update<T>&);  // returns l1 Σ|w| + l2 Σw² of the weights before the update
    double (*penalty)(const T* w, T* g, double l1, double l2,
                      int64_t n);  // the same sum; adds its gradient to g unless null
    double (*dot)(const T* a, const T* b, int64_t n);
    void (*add)(const T* a, const T* b, T* out, int64_t n);
    // out = x · scale + offset (or none) by column; out may be x
    void (*rescale)(const T* x, const T* scale, const T* offset, T* out, int64_t rows, int64_t cols);
    void (*axpby)(T a, const T* x, T b, T* y, int64_t n);  // y = a x + b y
    void (*batch_norm_statistics)(const NormBlock<T>&);    // overwrites mean and inverse with mean and *variance*
    void (*batch_norm_apply)(const NormBlock<T>&);
    // dx from d; overwrites the gradients of gamma and beta. training: statistics depend on x
    void (*batch_norm_backward)(const NormBlock<T>&, const T* d, T* dx, T* dgamma, T* dbeta, bool training);
    void (*layer_norm_apply)(const NormBlock<T>&);  // fills mean and inverse per row
    void (*layer_norm_backward)(const NormBlock<T>&, const T* d, T* dx);
    void (*layer_norm_parameters)(const NormBlock<T>&, const T* d, T* dgamma, T* dbeta);  // overwrites both
    // elements first .. first + n of the (rows, width) matrix, flat
    void (*dropout)(const ops::DropoutMask&, const T* x, T* out, uint64_t first, int64_t n);
    // one row: out = x, or (x - mean)·inverse
    void (*gather_row)(const View&, int64_t row, const double* mean, const double* inverse, T* out);
    // of a block: off and saturated from z (left alone if null), mean and variance from a
    void (*unit_statistics)(const T* z, const T* a, int64_t ld, int64_t rows, int64_t cols, const UnitStatistics&);
    // out = the norm of each column of a block, or of its difference from another
    void (*column_norms)(const T* a, const T* minus, int64_t ld, int64_t rows, int64_t cols, double* out);
    // Of one column, its values with a stride, as `bins` or `frequencies` outputs a row, by edges (bins + 1,); backward adds to dx
    void (*piecewise_linear)(const T* x, int64_t x_ld, const T* edges, int64_t bins, T* out, int64_t ld, int64_t rows);
    void (*piecewise_linear_backward)(const T* x, int64_t x_ld, const T* edges, int64_t bins, const T* d, int64_t ld,
                                      T* dx, int64_t dx_ld, int64_t rows);
    void (*periodic)(const T* x, int64_t x_ld, const T* frequency, const T* phase, int64_t frequencies, T* out,
                     int64_t ld, int64_t rows);
    // overwrites the gradients of both; dx may be null
    void (*periodic_backward)(const T* x, int64_t x_ld, const T* frequency, const T* phase, int64_t frequencies,
                              const T* d, int64_t ld, T* d_frequency, T* d_phase, T* dx, int64_t dx_ld, int64_t rows);
    // out[c] = Σ a(r, c) b(r, c) over the rows of a block
    void (*column_dots)(const T* a, const T* b, T* out, int64_t ld, int64_t rows, int64_t cols);
    int panel;  // columns of a packed panel; element (k, v) lies at k · panel + v
    int tile;   // rows that product() works on at once: cut work at multiples of it
    void (*product)(const Product<T>&);
    void (*pack_rows)(const T* a, int64_t ld, int64_t rows, int64_t k, T* panel);     // panel(j, r) = a(r, j)
    void (*pack_columns)(const T* b, int64_t ld, int64_t cols, int64_t k, T* panel);  // panel(j, c) = b(j, c)
    // to(j, a) = s(j, a) for a < n, rows of s a step apart; both are touched in whole vectors, s in rows but the last
    void (*gather_strip)(const T* s, int64_t step, int64_t n, int64_t k, T* to);
};

// Products of bfloat16 numbers, summed in float32. A word holds two numbers that follow each other along the sum, the first
// in its low half; at the end of an odd length the second is 0. Rounding is to nearest, ties to even; NaN stays NaN.
using Pair = uint32_t;
struct Bf16Kernels {
    int panel, tile;  // as in Kernels; tile is even
    void (*product)(const Product<float, Pair>&);
    // panel(j, r) = a(r, 2j), a(r, 2j + 1); missing rows are 0
    void (*pack_rows)(const float* a, int64_t ld, int64_t rows, int64_t k, Pair* panel);
    // out(j, c) = a(2j, c), a(2j + 1, c)
    void (*pair_rows)(const float* a, int64_t ld, int64_t rows, int64_t cols, Pair* out, int64_t out_ld);
    // both forms of a kernel: the same, and by_row(r, j) = a(r, 2j), a(r, 2j + 1), whose padding stays as it is
    void (*pair_weights)(const float* a, int64_t rows, int64_t cols, Pair* pairs, Pair* by_row);
    void (*gather_strip)(const Pair* s, int64_t step, int64_t n, int64_t k, Pair* to);  // as in Kernels
};

template <class T>
struct RowwiseKernels;  // cpu/rowwise/kernels.h

struct Isa {
    const char* name;
    const char* blas_core;  // the OpenBLAS kernels to match, "" for its own choice
    const Kernels<float>* f32;
    const Kernels<double>* f64;
    const RowwiseKernels<float>* rowwise_f32;
    const RowwiseKernels<double>* rowwise_f64;
    const Bf16Kernels* bf16;
    int vector_bytes;
    const LaneKernels<float>* lanes_f32;
    const LaneKernels<double>* lanes_f64;
};

const Isa& isa();                       // chosen once from the CPU and FASTDENSE_ISA
const Isa* find_isa(const char* name);  // null if this CPU or build lacks it
int isa_count();                        // available ones are find_isa(isa_name(0)) … , narrowest first
const char* isa_name(int i);

// Whether FASTDENSE_CPU_PATH, for tests and benchmarks, asks for the "layerwise" or the "rowwise" path.
bool forced_path(const char* path);

template <class T>
const Kernels<T>& kernels_of(const Isa& isa) {
    if constexpr (sizeof(T) == 4) return *isa.f32;
    else return *isa.f64;
}
template <class T>
const RowwiseKernels<T>& rowwise_kernels_of(const Isa& isa) {
    if constexpr (sizeof(T) == 4) return *isa.rowwise_f32;
    else return *isa.rowwise_f64;
}

template <class T>
const LaneKernels<T>& lanes_of(const Isa& isa);
template <>
inline const LaneKernels<float>& lanes_of<float>(const Isa& isa) {
    return *isa.lanes_f32;
}
template <>
inline const LaneKernels<double>& lanes_of<double>(const Isa& isa) {
    return *isa.lanes_f64;
}

}  // namespace fd::cpu
