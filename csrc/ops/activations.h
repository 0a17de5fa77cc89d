// Every activation, once: `value(z, p)`, `derivative(s, p)` at the stored quantity s (`Needs`), and its traits. p is the
// activation's parameter: alpha, or prelu's slope. softmax couples the columns of a row, so it has no functor here; see
// losses.h and the softmax kernels. python/fastdense/activations.py holds what only Python asks for; a test compares the two.
#pragma once
#include "ops/hd.h"

namespace fd::ops {

enum class Needs { nothing, output, input };  // of the derivative

// What is known of an activation besides its formulas.
template <Needs Needed, bool Expensive = false>
struct Elementwise {
    static constexpr Needs needs = Needed;
    static constexpr bool expensive_derivative =
        Expensive;  // made in the forward pass, where there is room: worth it, or, but for prelu, from the input
    static constexpr double saturation = 0;  // |z| beyond which the function is flat on both sides; 0: nowhere
};

struct Linear : Elementwise<Needs::nothing> {
    template <class V> FD_HD static V value(V z, V) { return z; }
    template <class V> FD_HD static V derivative(V, V) { return V(1); }
};
struct Relu : Elementwise<Needs::output> {
    template <class V> FD_HD static V value(V z, V) { return select(z <= V(0), V(0), z); }  // keeps NaN
    template <class V> FD_HD static V derivative(V a, V) { return select(a > V(0), V(1), V(0)); }
};
struct LeakyRelu : Elementwise<Needs::output> {
    template <class V> FD_HD static V value(V z, V p) { return select(z > V(0), z, p * z); }
    template <class V> FD_HD static V derivative(V a, V p) { return select(a > V(0), V(1), p); }
};
struct Prelu : Elementwise<Needs::input> {  // its slope is learned and may be negative: only the input tells the branch
    template <class V> FD_HD static V value(V z, V p) { return select(z > V(0), z, p * z); }
    template <class V> FD_HD static V derivative(V z, V p) { return select(z > V(0), V(1), p); }
};
struct Relu6 : Elementwise<Needs::output> {
    template <class V> FD_HD static V value(V z, V) { return select(z <= V(0), V(0), select(z >= V(6), V(6), z)); }
    template <class V> FD_HD static V derivative(V a, V) {
        return select(a > V(0), select(a < V(6), V(1), V(0)), V(0));
    }
};
struct Elu : Elementwise<Needs::output> {
    template <class V> FD_HD static V value(V z, V p) { return select(z > V(0), z, p * vexpm1(vmin(z, V(0)))); }
    template <class V> FD_HD static V derivative(V a, V p) { return select(a > V(0), V(1), a + p); }
};
struct Selu : Elementwise<Needs::output> {
    static constexpr double scale = 1.0507009873554805, alpha = 1.6732632423543772;
    template <class V> FD_HD static V value(V z, V) {
        return select(z > V(0), V(scale) * z, V(scale * alpha) * vexpm1(vmin(z, V(0))));
    }
    template <class V> FD_HD static V derivative(V a, V) { return select(a > V(0), V(scale), a + V(scale * alpha)); }
};
struct Celu : Elementwise<Needs::output> {
    template <class V> FD_HD static V value(V z, V p) { return select(z > V(0), z, p * vexpm1(vmin(z, V(0)) / p)); }
    template <class V> FD_HD static V derivative(V a, V p) { return select(a > V(0), V(1), a / p + V(1)); }
};
struct Gelu : Elementwise<Needs::input, true> {  // exact, not the tanh approximation
    template <class V> FD_HD static V value(V z, V) { return z * vnormal(z).cdf; }
    template <class V> FD_HD static V derivative(V z, V) {
        const auto normal = vnormal(z);
        return normal.cdf + z * V(0.39894228040143267794) * normal.bell;
    }
};
struct Silu : Elementwise<Needs::input, true> {
    template <class V> FD_HD static V value(V z, V) { return z * vsigmoid(z); }
    template <class V> FD_HD static V derivative(V z, V) {
        V s = vsigmoid(z);
        return s * (V(1) + z * (V(1) - s));
    }
};
struct Mish : Elementwise<Needs::input, true> {
    // With e = exp z and n = e (e + 2), tanh(softplus z) = n/(n + 2); beyond 20 that is 1.
    template <class V> FD_HD static V value(V z, V) {
        const V e = vexp_moderate(vmin(z, V(20))), n = e * (e + V(2));
        return z * (n / (n + V(2)));
    }
    template <class V> FD_HD static V derivative(V z, V) {
        const V c = vmin(z, V(20)), e = vexp_moderate(c), n = e * (e + V(2)), m = n + V(2);
        return (n * m + V(4) * c * e * (V(1) + e)) / (m * m);
    }
};
struct Softplus : Elementwise<Needs::output, true> {
    template <class V> FD_HD static V value(V z, V) { return vsoftplus(z); }
    template <class V> FD_HD static V derivative(V a, V) { return -vexpm1(-a); }
};
struct Softsign : Elementwise<Needs::output> {
    static constexpr double saturation = 10;
    template <class V> FD_HD static V value(V z, V) { return z / (V(1) + vabs(z)); }
    template <class V> FD_HD static V derivative(V a, V) {
        V r = V(1) - vabs(a);
        return r * r;
    }
};
struct Tanh : Elementwise<Needs::output> {
    static constexpr double saturation = 2.5;
    template <class V> FD_HD static V value(V z, V) { return vtanh(z); }
    template <class V> FD_HD static V derivative(V a, V) { return V(1) - a * a; }
};
struct Sigmoid : Elementwise<Needs::output> {
    static constexpr double saturation = 5;
    template <class V> FD_HD static V value(V z, V) { return vsigmoid(z); }
    template <class V> FD_HD static V derivative(V a, V) { return a * (V(1) - a); }
};
struct HardSigmoid : Elementwise<Needs::output> {
    static constexpr double saturation = 3;
    template <class V> FD_HD static V value(V z, V) {
        return select(z <= V(-3), V(0), select(z >= V(3), V(1), z * V(1.0 / 6) + V(0.5)));
    }
    template <class V> FD_HD static V derivative(V a, V) {
        return select(a > V(0), select(a < V(1), V(1.0 / 6), V(0)), V(0));
    }
};
struct LogSigmoid : Elementwise<Needs::output, true> {
    template <class V> FD_HD static V value(V z, V) { return -vsoftplus(-z); }
    template <class V> FD_HD static V derivative(V a, V) { return -vexpm1(a); }
};
struct HardSilu : Elementwise<Needs::input, true> {
    template <class V> FD_HD static V value(V z, V p) { return z * HardSigmoid::value(z, p); }
    template <class V> FD_HD static V derivative(V z, V) {
        return select(z <= V(-3), V(0), select(z >= V(3), V(1), z * V(1.0 / 3) + V(0.5)));
    }
};
struct HardTanh : Elementwise<Needs::output> {
    static constexpr double saturation = 1;
    template <class V> FD_HD static V value(V z, V) { return select(z < V(-1), V(-1), select(z > V(1), V(1), z)); }
    template <class V> FD_HD static V derivative(V a, V) {
        return select(a > V(-1), select(a < V(1), V(1), V(0)), V(0));
    }
};
struct TanhShrink : Elementwise<Needs::input, true> {
    template <class V> FD_HD static V value(V z, V) { return z - vtanh(z); }
    template <class V> FD_HD static V derivative(V z, V) {
        const V t = vtanh(z);
        return t * t;
    }
};
struct SoftShrink : Elementwise<Needs::output> {  // p: the threshold, as in HardShrink
    template <class V> FD_HD static V value(V z, V p) {
        return select(z > p, z - p, select(z < -p, z + p, select(vabs(z) <= p, V(0), z)));
    }
    template <class V> FD_HD static V derivative(V a, V) { return select(vabs(a) > V(0), V(1), V(0)); }
};
struct HardShrink : Elementwise<Needs::output> {
    template <class V> FD_HD static V value(V z, V p) { return select(vabs(z) <= p, V(0), z); }
    template <class V> FD_HD static V derivative(V a, V) { return select(vabs(a) > V(0), V(1), V(0)); }
};
struct Squareplus : Elementwise<Needs::input, true> {
    // sqrt(z^2 + p), where z^2 may overflow
    template <class V> FD_HD static V root(V z, V p) { return select(vabs(z) > V(1e18), vabs(z), vsqrt(z * z + p)); }
    template <class V> FD_HD static V value(V z, V p) {
        const V s = root(z, p);
        return select(z < V(0), V(0.5) * p / (s - z), V(0.5) * z + V(0.5) * s);  // z + s would cancel below 0
    }
    template <class V> FD_HD static V derivative(V z, V p) { return value(z, p) / root(z, p); }
};
struct SparsePlus : Elementwise<Needs::input, true> {
    template <class V> FD_HD static V value(V z, V) {
        const V r = z + V(1);
        return select(z <= V(-1), V(0), select(z >= V(1), z, V(0.25) * r * r));
    }
    template <class V> FD_HD static V derivative(V z, V) {
        return select(z <= V(-1), V(0), select(z >= V(1), V(1), V(0.5) * (z + V(1))));
    }
};
struct SparseSigmoid : Elementwise<Needs::output> {
    static constexpr double saturation = 1;
    template <class V> FD_HD static V value(V z, V) {
        return select(z <= V(-1), V(0), select(z >= V(1), V(1), V(0.5) * (z + V(1))));
    }
    template <class V> FD_HD static V derivative(V a, V) {
        return select(a > V(0), select(a < V(1), V(0.5), V(0)), V(0));
    }
};
struct Exponential : Elementwise<Needs::output> {
    template <class V> FD_HD static V value(V z, V) { return vexp(z); }
    template <class V> FD_HD static V derivative(V a, V) { return a; }
};

// The one list: enum, parser, dispatch and test parametrisation come from it.
// clang-format off
#define FD_ELEMENTWISE_ACTIVATIONS(X)                                                                    \
    X(linear, Linear) X(relu, Relu) X(leaky_relu, LeakyRelu) X(prelu, Prelu) X(relu6, Relu6) X(elu, Elu) \
    X(selu, Selu) X(celu, Celu) X(gelu, Gelu) X(silu, Silu) X(mish, Mish) X(softplus, Softplus)          \
    X(softsign, Softsign) X(tanh, Tanh) X(sigmoid, Sigmoid) X(hard_sigmoid, HardSigmoid)                 \
    X(exponential, Exponential) X(log_sigmoid, LogSigmoid) X(hard_silu, HardSilu) X(hard_tanh, HardTanh) \
    X(tanh_shrink, TanhShrink) X(soft_shrink, SoftShrink) X(hard_shrink, HardShrink)                     \
    X(squareplus, Squareplus) X(sparse_plus, SparsePlus) X(sparse_sigmoid, SparseSigmoid)
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

inline constexpr bool expensive_derivative[] = {
#define FD_ACTIVATION_EXPENSIVE(name, functor) functor::expensive_derivative,
    FD_ELEMENTWISE_ACTIVATIONS(FD_ACTIVATION_EXPENSIVE) false
#undef FD_ACTIVATION_EXPENSIVE
};

inline constexpr double activation_saturation[] = {
#define FD_ACTIVATION_SATURATION(name, functor) functor::saturation,
    FD_ELEMENTWISE_ACTIVATIONS(FD_ACTIVATION_SATURATION) 0
#undef FD_ACTIVATION_SATURATION
};

}  // namespace fd::ops
