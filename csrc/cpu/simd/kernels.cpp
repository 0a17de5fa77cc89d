// The CPU kernels: loops over the ops/ functors. Compiled once per instruction set, each into its own namespace; the only
// symbol that leaves is `table_<isa>`.
#include <cstring>

#include "cpu/simd/kernels.h"

#include "cpu/simd/isa.h"
#include "ops/rng.h"

namespace fd::cpu {
namespace FD_ISA_NAMESPACE {

#include "cpu/simd/simd.h"

#include "cpu/layerwise/kernels_columns.h"
#include "cpu/layerwise/kernels_elementwise.h"
#include "cpu/layerwise/kernels_gather.h"
#include "cpu/layerwise/kernels_loss.h"
#include "cpu/layerwise/kernels_norm.h"
#include "cpu/layerwise/kernels_probe.h"
#include "cpu/layerwise/kernels_transpose.h"

#include "cpu/layerwise/kernels_product.h"

template <class T>
constexpr Kernels<T> table() {
    Kernels<T> k{};
    k.bias_activation = bias_activation<T>;
    k.activation_backward = activation_backward<T>;
    k.prelu_slope_gradient = prelu_slope_gradient<T>;
    k.column_sums = column_sums<T>;
    k.softmax = softmax<T>;
    k.softmax_backward = softmax_backward<T>;
    k.loss_rows = loss_rows<T>;
    k.update = update<T>;
    k.penalty = penalty<T>;
    k.dot = dot<T>;
    k.add = add<T>;
    k.rescale = rescale<T>;
    k.axpby = axpby<T>;
    k.batch_norm_statistics = batch_norm_statistics<T>;
    k.batch_norm_apply = batch_norm_apply<T>;
    k.batch_norm_backward = batch_norm_backward<T>;
    k.layer_norm_apply = layer_norm_apply<T>;
    k.layer_norm_backward = layer_norm_backward<T>;
    k.layer_norm_parameters = layer_norm_parameters<T>;
    k.dropout = dropout<T>;
    k.gather_row = gather_row<T>;
    k.unit_statistics = unit_statistics<T>;
    k.column_norms = column_norms<T>;
    k.piecewise_linear = piecewise_linear<T>;
    k.piecewise_linear_backward = piecewise_linear_backward<T>;
    k.periodic = periodic<T>;
    k.periodic_backward = periodic_backward<T>;
    k.column_dots = column_dots<T>;
    k.panel = panel_width<T>;
    k.tile = Operand<T>::rows;
    k.product = product<T, T>;
    k.pack_rows = pack_rows<T>;
    k.pack_columns = pack_columns<T>;
    k.gather_strip = gather_strip<T>;
    return k;
}
extern const Bf16Kernels bf16;                   // layerwise/kernels_bf16.cpp
extern const RowwiseKernels<float> rowwise_f32;  // rowwise/kernels.cpp
extern const RowwiseKernels<double> rowwise_f64;
constexpr Kernels<float> f32 = table<float>();
constexpr Kernels<double> f64 = table<double>();

extern const LaneKernels<float> lanes_f32;  // memberwise/kernels.cpp
extern const LaneKernels<double> lanes_f64;

constexpr Isa isa_table() {
    Isa t{};
#if defined(__AVX512F__)
    t.name = "avx512", t.blas_core = "SkylakeX";
#elif defined(__AVX2__)
    t.name = "avx2", t.blas_core = "Haswell";
#elif defined(__x86_64__)
    t.name = "baseline", t.blas_core = "Nehalem";
#elif defined(__aarch64__)
    t.name = "baseline", t.blas_core = "ARMV8";
#else
    t.name = "baseline", t.blas_core = "";
#endif
    t.vector_bytes = vector_bytes;
    t.f32 = &f32, t.f64 = &f64;
    t.bf16 = &bf16;
    t.rowwise_f32 = &rowwise_f32, t.rowwise_f64 = &rowwise_f64;
    t.lanes_f32 = &lanes_f32, t.lanes_f64 = &lanes_f64;
    return t;
}

// clang-format off
}  // namespace isa_...
// clang-format on

extern const Isa FD_CAT(table_, FD_ISA);
constexpr Isa FD_CAT(table_, FD_ISA) = FD_ISA_NAMESPACE::isa_table();

}  // namespace fd::cpu
