// The CPU kernels: loops over the ops/ functors. Compiled once per instruction set, each into its own namespace; the only
// symbol that leaves is `table_<isa>`. Headers with shared inline functions are kept out on purpose (see ops/hd.h).
#include "cpu/kernels.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "ops/rng.h"

#ifndef FD_ISA
#define FD_ISA baseline
#endif
#define FD_CAT_(a, b) a##b
#define FD_CAT(a, b) FD_CAT_(a, b)

namespace fd::cpu {
namespace FD_CAT(isa_, FD_ISA) {

#include "cpu/simd.h"

// Calls body(column, lanes) for whole vectors, then once for the rest.
template <class T, class F>
FD_HD void for_vectors(int64_t n, F&& body) {
    constexpr int width = Pack<T>::width;
    int64_t i = 0;
    for (; i + width <= n; i += width) body(i, std::integral_constant<int, width>{});
    if (i < n) body(i, int(n - i));
}
template <class T, int N>
FD_HD Pack<T> load(const T* p, std::integral_constant<int, N>) {
    return load(p);
}
template <class T, int N>
FD_HD void store(T* p, Pack<T> x, std::integral_constant<int, N>) {
    store(p, x);
}
template <class T, int N>
FD_HD Pack<T> head(Pack<T> x, std::integral_constant<int, N>) {
    return x;
}

#include "cpu/kernels_elementwise.h"
#include "cpu/kernels_gather.h"
#include "cpu/kernels_loss.h"
#include "cpu/kernels_norm.h"
#include "cpu/kernels_product.h"

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
            axpby<T>,
            batch_norm_statistics<T>,
            batch_norm_apply<T>,
            batch_norm_backward<T>,
            layer_norm_apply<T>,
            layer_norm_backward<T>,
            layer_norm_parameters<T>,
            dropout<T>,
            gather_row<T>,
            panel_width<T>,
            product_rows,
            product<T>,
            pack_rows<T>,
            pack_columns<T>};
}
constexpr Kernels<float> f32 = table<float>();
constexpr Kernels<double> f64 = table<double>();

// clang-format off
}  // namespace isa_...
// clang-format on

extern const Isa FD_CAT(table_, FD_ISA);
const Isa FD_CAT(table_, FD_ISA) = {
#if defined(__AVX512F__)
    "avx512", "SkylakeX",
#elif defined(__AVX2__)
    "avx2", "Haswell",
#elif defined(__x86_64__)
    "baseline", "Nehalem",
#else
    "baseline", "",
#endif
    &FD_CAT(isa_, FD_ISA)::f32, &FD_CAT(isa_, FD_ISA)::f64, FD_CAT(isa_, FD_ISA)::vector_bytes};

}  // namespace fd::cpu
