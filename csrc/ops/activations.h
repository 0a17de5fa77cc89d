// Every activation, once. `value(z, p)` and `slope(s, p)`, the derivative at the stored quantity s, which is the output
// where that is enough and the input otherwise (`Needs`). p is the activation's parameter: alpha, or prelu's slope.
// softmax mixes columns, so it has no functor here; see losses.h and the softmax kernels.
#pragma once
#include "ops/hd.h"

namespace fd::ops {

enum class Needs { nothing, output, input };

struct Linear {
    static constexpr Needs needs = Needs::nothing;
    template <class V> FD_HD static V value(V z, V) { return z; }
    template <class V> FD_HD static V slope(V, V) { return V(1); }
};
struct Relu {
    static constexpr Needs needs = Needs::output;
    template <class V> FD_HD static V value(V z, V) { return select(z <= V(0), V(0), z); }  // keeps NaN
    template <class V> FD_HD static V slope(V a, V) { return select(a > V(0), V(1), V(0)); }
};
struct LeakyRelu {
    static constexpr Needs needs = Needs::output;
    template <class V> FD_HD static V value(V z, V p) { return select(z > V(0), z, p * z); }
    template <class V> FD_HD static V slope(V a, V p) { return select(a > V(0), V(1), p); }
};
struct Prelu {  // its slope is learned and may be negative: only the input tells the branch
    static constexpr Needs needs = Needs::input;
    template <class V> FD_HD static V value(V z, V p) { return select(z > V(0), z, p * z); }
    template <class V> FD_HD static V slope(V z, V p) { return select(z > V(0), V(1), p); }
};
struct Relu6 {
    static constexpr Needs needs = Needs::output;
    template <class V> FD_HD static V value(V z, V) { return select(z <= V(0), V(0), select(z >= V(6), V(6), z)); }
    template <class V> FD_HD static V slope(V a, V) { return select(a > V(0), select(a < V(6), V(1), V(0)), V(0)); }
};
struct Elu {
    static constexpr Needs needs = Needs::output;
    template <class V> FD_HD static V value(V z, V p) { return select(z > V(0), z, p * vexpm1(vmin(z, V(0)))); }
    template <class V> FD_HD static V slope(V a, V p) { return select(a > V(0), V(1), a + p); }
};
struct Selu {
    static constexpr Needs needs = Needs::output;
    static constexpr double scale = 1.0507009873554805, alpha = 1.6732632423543772;
    template <class V> FD_HD static V value(V z, V) {
        return select(z > V(0), V(scale) * z, V(scale * alpha) * vexpm1(vmin(z, V(0))));
    }
    template <class V> FD_HD static V slope(V a, V) { return select(a > V(0), V(scale), a + V(scale * alpha)); }
};
struct Celu {
    static constexpr Needs needs = Needs::output;
    template <class V> FD_HD static V value(V z, V p) { return select(z > V(0), z, p * vexpm1(vmin(z, V(0)) / p)); }
    template <class V> FD_HD static V slope(V a, V p) { return select(a > V(0), V(1), a / p + V(1)); }
};
struct Gelu {  // exact, not the tanh approximation
    static constexpr Needs needs = Needs::input;
    template <class V> FD_HD static V cdf(V z) { return V(0.5) * (V(1) + verf(z * V(0.70710678118654752440))); }
    template <class V> FD_HD static V value(V z, V) { return z * cdf(z); }
    template <class V> FD_HD static V slope(V z, V) {
        return cdf(z) + z * V(0.39894228040143267794) * vexp(V(-0.5) * z * z);
    }
};
struct Silu {
    static constexpr Needs needs = Needs::input;
    template <class V> FD_HD static V value(V z, V) { return z * vsigmoid(z); }
    template <class V> FD_HD static V slope(V z, V) {
        V s = vsigmoid(z);
        return s * (V(1) + z * (V(1) - s));
    }
};
struct Mish {
    static constexpr Needs needs = Needs::input;
    template <class V> FD_HD static V value(V z, V) { return z * vtanh(vsoftplus(z)); }
    template <class V> FD_HD static V slope(V z, V) {
        V t = vtanh(vsoftplus(z));
        return t + z * (V(1) - t * t) * vsigmoid(z);
    }
};
struct Softplus {
    static constexpr Needs needs = Needs::output;
    template <class V> FD_HD static V value(V z, V) { return vsoftplus(z); }
    template <class V> FD_HD static V slope(V a, V) { return -vexpm1(-a); }
};
struct Softsign {
    static constexpr Needs needs = Needs::output;
    template <class V> FD_HD static V value(V z, V) { return z / (V(1) + vabs(z)); }
    template <class V> FD_HD static V slope(V a, V) {
        V r = V(1) - vabs(a);
        return r * r;
    }
};
struct Tanh {
    static constexpr Needs needs = Needs::output;
    template <class V> FD_HD static V value(V z, V) { return vtanh(z); }
    template <class V> FD_HD static V slope(V a, V) { return V(1) - a * a; }
};
struct Sigmoid {
    static constexpr Needs needs = Needs::output;
    template <class V> FD_HD static V value(V z, V) { return vsigmoid(z); }
    template <class V> FD_HD static V slope(V a, V) { return a * (V(1) - a); }
};
struct HardSigmoid {
    static constexpr Needs needs = Needs::output;
    template <class V> FD_HD static V value(V z, V) {
        return select(z <= V(-3), V(0), select(z >= V(3), V(1), z * V(1.0 / 6) + V(0.5)));
    }
    template <class V> FD_HD static V slope(V a, V) {
        return select(a > V(0), select(a < V(1), V(1.0 / 6), V(0)), V(0));
    }
};
struct Exponential {
    static constexpr Needs needs = Needs::output;
    template <class V> FD_HD static V value(V z, V) { return vexp(z); }
    template <class V> FD_HD static V slope(V a, V) { return a; }
};

// The one list: enum, parser, dispatch and test parametrisation come from it.
// clang-format off
#define FD_ELEMENTWISE_ACTIVATIONS(X)                                                                    \
    X(linear, Linear) X(relu, Relu) X(leaky_relu, LeakyRelu) X(prelu, Prelu) X(relu6, Relu6) X(elu, Elu) \
    X(selu, Selu) X(celu, Celu) X(gelu, Gelu) X(silu, Silu) X(mish, Mish) X(softplus, Softplus)          \
    X(softsign, Softsign) X(tanh, Tanh) X(sigmoid, Sigmoid) X(hard_sigmoid, HardSigmoid)                 \
    X(exponential, Exponential)
// clang-format on

#define FD_ACTIVATION_ENUM(name, functor) name,
enum class Activation { FD_ELEMENTWISE_ACTIVATIONS(FD_ACTIVATION_ENUM) softmax };
#undef FD_ACTIVATION_ENUM

inline constexpr const char* activation_names[] = {
#define FD_ACTIVATION_NAME(name, functor) #name,
    FD_ELEMENTWISE_ACTIVATIONS(FD_ACTIVATION_NAME) "softmax"
#undef FD_ACTIVATION_NAME
};

inline constexpr Needs activation_needs[] = {
#define FD_ACTIVATION_NEEDS(name, functor) functor::needs,
    FD_ELEMENTWISE_ACTIVATIONS(FD_ACTIVATION_NEEDS) Needs::output
#undef FD_ACTIVATION_NEEDS
};

}  // namespace fd::ops
