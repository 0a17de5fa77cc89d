// The table of kernels that each instruction set fills; one table per value type. Nothing here allocates.
// Matrices are row-major. "block" means rows × cols out of a wider matrix with `ld` elements per row.
#pragma once
#include <cstdint>

#include "core/types.h"
#include "cpu/lanes.h"
#include "ops/activations.h"
#include "ops/losses.h"
#include "ops/optimizers.h"

namespace fd::cpu {

template <class T>
struct LossRows {
    ops::Loss loss;
    double param = 0, label_smoothing = 0;
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
template <class T>
struct Product {
    const T* s = nullptr;
    int64_t s_a = 0, s_k = 0;  // strides of s, in elements
    int64_t rows = 0, k = 0;
    const T* panel = nullptr;
    int64_t cols = 0;
    T* out = nullptr;  // overwritten: out[a · ld + v], or out[v · ld + a] if transposed
    int64_t ld = 0;
    bool transposed = false;
};

struct DropoutKey {
    uint64_t seed, step;
    uint32_t op;
    double rate;
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
    void (*axpby)(T a, const T* x, T b, T* y, int64_t n);  // y = a x + b y
    void (*batch_norm_statistics)(const NormBlock<T>&);    // overwrites mean and inverse with mean and *variance*
    void (*batch_norm_apply)(const NormBlock<T>&);
    // dx from d; overwrites the gradients of gamma and beta. training: statistics depend on x
    void (*batch_norm_backward)(const NormBlock<T>&, const T* d, T* dx, T* dgamma, T* dbeta, bool training);
    void (*layer_norm_apply)(const NormBlock<T>&);  // fills mean and inverse per row
    void (*layer_norm_backward)(const NormBlock<T>&, const T* d, T* dx);
    void (*layer_norm_parameters)(const NormBlock<T>&, const T* d, T* dgamma, T* dbeta);  // overwrites both
    // elements first .. first + n of the (rows, width) matrix, flat
    void (*dropout)(const DropoutKey&, const T* x, T* out, uint64_t first, int64_t n);
    // one row: out = x, or (x - mean)·inverse
    void (*gather_row)(const View&, int64_t row, const double* mean, const double* inverse, T* out);
    int panel;  // columns of a packed panel; element (k, v) lies at k · panel + v
    int tile;   // rows that product() works on at once: cut work at multiples of it
    void (*product)(const Product<T>&);
    void (*pack_rows)(const T* a, int64_t ld, int64_t rows, int64_t k, T* panel);     // panel(j, r) = a(r, j)
    void (*pack_columns)(const T* b, int64_t ld, int64_t cols, int64_t k, T* panel);  // panel(j, c) = b(j, c)
};

struct Isa {
    const char* name;
    const char* blas_core;  // the OpenBLAS kernels to match, "" for its own choice
    const Kernels<float>* f32;
    const Kernels<double>* f64;
    int vector_bytes;
    const LaneKernels<float>* lanes_f32;
    const LaneKernels<double>* lanes_f64;
};

const Isa& isa();                       // chosen once from the CPU and FASTDENSE_ISA
const Isa* find_isa(const char* name);  // null if this CPU or build lacks it
int isa_count();                        // available ones are find_isa(isa_name(0)) … , narrowest first
const char* isa_name(int i);

template <class T>
const Kernels<T>& kernels_of(const Isa& isa);
template <>
inline const Kernels<float>& kernels_of<float>(const Isa& isa) {
    return *isa.f32;
}
template <>
inline const Kernels<double>& kernels_of<double>(const Isa& isa) {
    return *isa.f64;
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
