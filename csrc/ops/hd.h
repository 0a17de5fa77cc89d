// The qualifier of every function in ops/, and the elementary functions that a value type must offer.
// A value type V is double or float here, a SIMD pack in cpu/simd/simd.h (found by argument-dependent lookup).
// Everything is forced inline: a shared out-of-line copy compiled for AVX-512 could be picked for every CPU.
#pragma once
#include <cmath>

#ifdef __CUDACC__
#define FD_HD __host__ __device__ __forceinline__
#else
#define FD_HD inline __attribute__((always_inline))
#endif

namespace fd::ops {

template <class T>
struct scalar_of {
    using type = typename T::value_type;
};
template <>
struct scalar_of<float> {
    using type = float;
};
template <>
struct scalar_of<double> {
    using type = double;
};

#define FD_SCALAR_FUNCTION(name, call)            \
    FD_HD float name(float x) { return call(x); } \
    FD_HD double name(double x) { return call(x); }
FD_SCALAR_FUNCTION(vexp, std::exp)
FD_SCALAR_FUNCTION(vexpm1, std::expm1)
FD_SCALAR_FUNCTION(vlog, std::log)
FD_SCALAR_FUNCTION(vlog1p, std::log1p)
FD_SCALAR_FUNCTION(vtanh, std::tanh)
FD_SCALAR_FUNCTION(vsqrt, std::sqrt)
FD_SCALAR_FUNCTION(vabs, std::fabs)
#undef FD_SCALAR_FUNCTION

// For optimizers: where a pack has something faster than the exact instructions (see cpu/simd/simd.h), within 2 ulp.
template <class V>
FD_HD V quick_sqrt(V x) {
    return vsqrt(x);
}
template <class V>
FD_HD V quick_div(V a, V b) {
    return a / b;
}
template <class V>
FD_HD V quick_div_sqrt(V a, V x) {  // a / sqrt(x)
    return a / vsqrt(x);
}

template <class V>
FD_HD V vexp_moderate(V x) {  // of numbers up to 40, where a pack has something faster
    return vexp(x);
}

// The normal distribution function and exp(-z^2/2).
template <class V>
struct Normal {
    V cdf, bell;
};
#define FD_SCALAR_NORMAL(T)                                                                            \
    FD_HD Normal<T> vnormal(T z) {                                                                     \
        return {T(0.5) * (T(1) + std::erf(z * T(0.70710678118654752440))), std::exp(T(-0.5) * z * z)}; \
    }
FD_SCALAR_NORMAL(float)
FD_SCALAR_NORMAL(double)
#undef FD_SCALAR_NORMAL

FD_HD float select(bool c, float a, float b) { return c ? a : b; }
FD_HD double select(bool c, double a, double b) { return c ? a : b; }
template <class V>
FD_HD V vmax(V a, V b) {  // a NaN in `a` stays; put the constant second
    return select(a < b, b, a);
}
template <class V>
FD_HD V vmin(V a, V b) {  // likewise
    return select(a > b, b, a);
}
template <class V>
FD_HD V vsign(V x) {  // 0 at 0, NaN at NaN
    return select(x > V(0), V(1), select(x < V(0), V(-1), x));
}
template <class V>
FD_HD V vsigmoid(V x) {  // never overflows
    V e = vexp_moderate(-vabs(x));
    return select(x < V(0), e, V(1)) / (V(1) + e);
}
template <class V>
FD_HD V vsoftplus(V x) {
    return vmax(x, V(0)) + vlog1p(vexp_moderate(-vabs(x)));
}

}  // namespace fd::ops
