// The CPU kernels: loops over the ops/ functors. Compiled once per instruction set, each into its own namespace; the only
// symbol that leaves is `table_<isa>`.
#include "cpu/simd/kernels.h"

#include "cpu/simd/isa.h"
#include "ops/rng.h"

namespace fd::cpu {
namespace FD_ISA_NAMESPACE {

#include "cpu/simd/simd.h"

#include "cpu/layerwise/kernels_elementwise.h"
#include "cpu/layerwise/kernels_gather.h"
#include "cpu/layerwise/kernels_loss.h"
#include "cpu/layerwise/kernels_norm.h"
#include "cpu/layerwise/kernels_probe.h"
#include "cpu/layerwise/kernels_transpose.h"

#include "cpu/layerwise/kernels_product.h"

template <class T>
constexpr Kernels<T> table() {
    return {bias_activation<T>,
            activation_backward<T>,
            prelu_slope_gradient<T>,
            column_sums<T>,
            softmax<T>,
            softmax_backward<T>,
            loss_rows<T>,
            update<T>,
            penalty<T>,
            dot<T>,
            add<T>,
            rescale<T>,
            axpby<T>,
            batch_norm_statistics<T>,
            batch_norm_apply<T>,
            batch_norm_backward<T>,
            layer_norm_apply<T>,
            layer_norm_backward<T>,
            layer_norm_parameters<T>,
            dropout<T>,
            gather_row<T>,
            unit_statistics<T>,
            column_norms<T>,
            panel_width<T>,
            Operand<T>::rows,
            product<T, T>,
            pack_rows<T>,
            pack_columns<T>};
}
extern const Bf16Kernels bf16;                   // kernels_bf16.cpp
extern const RowwiseKernels<float> rowwise_f32;  // rowwise_kernels.cpp
extern const RowwiseKernels<double> rowwise_f64;
constexpr Kernels<float> f32 = table<float>();
constexpr Kernels<double> f64 = table<double>();

extern const LaneKernels<float> lanes_f32;  // population_kernels.cpp
extern const LaneKernels<double> lanes_f64;

// clang-format off
}  // namespace isa_...
// clang-format on

extern const Isa FD_CAT(table_, FD_ISA);
const Isa FD_CAT(table_, FD_ISA) = {
#if defined(__AVX512F__)
    "avx512",
    "SkylakeX",
#elif defined(__AVX2__)
    "avx2",
    "Haswell",
#elif defined(__x86_64__)
    "baseline",
    "Nehalem",
#else
    "baseline",
    "",
#endif
    &FD_ISA_NAMESPACE::f32,
    &FD_ISA_NAMESPACE::f64,
    &FD_ISA_NAMESPACE::rowwise_f32,
    &FD_ISA_NAMESPACE::rowwise_f64,
    &FD_ISA_NAMESPACE::bf16,
    FD_ISA_NAMESPACE::vector_bytes,
    &FD_ISA_NAMESPACE::lanes_f32,
    &FD_ISA_NAMESPACE::lanes_f64};

}  // namespace fd::cpu
