// Every loss, once. Elementwise losses give `value(p, y, c)` and `derivative(p, y, c)` = d value/d p; c is the loss's
// parameter (huber's delta, quantile's q). Each says whether it is `curved`, and if so gives `second_derivative(p, y, c)`,
// without which NewtonCG refuses it. The factor w_i/(rows · outputs) is applied by the caller, in one place.
// The categorical cross-entropies couple the outputs of a row: they are in the loss kernels of each path.
#pragma once
#include <cmath>
#include <limits>

#include "ops/hd.h"

namespace fd::ops {

constexpr double probability_floor = 1e-7;  // Keras's epsilon: probabilities are clipped to [floor, 1 - floor]

struct MeanSquaredError {
    static constexpr bool curved = true;
    template <class V> FD_HD static V value(V p, V y, V) { return (p - y) * (p - y); }
    template <class V> FD_HD static V derivative(V p, V y, V) { return V(2) * (p - y); }
    FD_HD static double second_derivative(double, double, double) { return 2; }
};
struct MeanAbsoluteError {
    static constexpr bool curved = false;
    template <class V> FD_HD static V value(V p, V y, V) { return vabs(p - y); }
    template <class V> FD_HD static V derivative(V p, V y, V) { return vsign(p - y); }
};
struct Huber {
    static constexpr bool curved = true;
    template <class V> FD_HD static V value(V p, V y, V c) {
        V e = vabs(p - y);
        return select(e <= c, V(0.5) * e * e, c * (e - V(0.5) * c));
    }
    template <class V> FD_HD static V derivative(V p, V y, V c) {
        V e = p - y;
        return select(vabs(e) <= c, e, c * vsign(e));
    }
    FD_HD static double second_derivative(double p, double y, double c) { return std::fabs(p - y) <= c ? 1 : 0; }
};
struct LogCosh {
    static constexpr bool curved = true;
    template <class V> FD_HD static V value(V p, V y, V) {
        V e = vabs(p - y);  // log cosh is even
        return e + vlog1p(vexp_moderate(V(-2) * e)) - V(0.69314718055994530942);
    }
    template <class V> FD_HD static V derivative(V p, V y, V) { return vtanh(p - y); }
    FD_HD static double second_derivative(double p, double y, double) {
        return 1 - std::tanh(p - y) * std::tanh(p - y);
    }
};
struct MeanAbsolutePercentageError {
    static constexpr bool curved = false;
    template <class V> FD_HD static V weight(V y) { return V(100) / vmax(vabs(y), V(1e-7)); }
    template <class V> FD_HD static V value(V p, V y, V) { return vabs(p - y) * weight(y); }
    template <class V> FD_HD static V derivative(V p, V y, V) { return vsign(p - y) * weight(y); }
};
struct Poisson {
    static constexpr bool curved = true;
    template <class V> FD_HD static V value(V p, V y, V) { return p - y * vlog(p + V(1e-7)); }
    template <class V> FD_HD static V derivative(V p, V y, V) { return V(1) - y / (p + V(1e-7)); }
    FD_HD static double second_derivative(double p, double y, double) { return y / ((p + 1e-7) * (p + 1e-7)); }
};
struct Quantile {
    static constexpr bool curved = false;
    template <class V> FD_HD static V value(V p, V y, V c) {
        V e = y - p;
        return vmax(c * e, (c - V(1)) * e);
    }
    template <class V> FD_HD static V derivative(V p, V y, V c) {
        return select(y > p, -c, select(y < p, V(1) - c, V(0)));
    }
};
struct Hinge {  // y is -1 or 1
    static constexpr bool curved = false;
    template <class V> FD_HD static V value(V p, V y, V) { return vmax(V(1) - y * p, V(0)); }
    template <class V> FD_HD static V derivative(V p, V y, V) { return select(V(1) - y * p > V(0), -y, V(0)); }
};
struct BinaryCrossentropyLogits {  // p is the logit
    static constexpr bool curved = true;
    template <class V> FD_HD static V value(V p, V y, V) {
        return vmax(p, V(0)) - p * y + vlog1p(vexp_moderate(-vabs(p)));
    }
    template <class V> FD_HD static V derivative(V p, V y, V) { return vsigmoid(p) - y; }
    FD_HD static double second_derivative(double p, double, double) {
        const double s = 1 / (1 + std::exp(-std::fabs(p)));
        return s * (1 - s);
    }
};
struct BinaryCrossentropy {  // p is a probability, q = clip(p), r = clip(1 - p): in float 1 - q has lost its digits
    static constexpr bool curved = false;  // only the form from logits is
    template <class V> FD_HD static V clip(V p) {
        return vmin(vmax(p, V(probability_floor)), V(1 - probability_floor));
    }
    template <class V> FD_HD static V value(V p, V y, V) {
        V q = clip(p), r = clip(V(1) - p);
        return -(y * vlog(q) + (V(1) - y) * vlog(r));
    }
    template <class V> FD_HD static V derivative(V p, V y, V) {
        V q = clip(p), r = clip(V(1) - p);
        V inside = (q - y) / (q * r);
        return select(p < V(probability_floor), V(0), select(V(1) - p < V(probability_floor), V(0), inside));
    }
};

// clang-format off
#define FD_ELEMENTWISE_LOSSES(X)                                                                       \
    X(mse, MeanSquaredError) X(mae, MeanAbsoluteError) X(huber, Huber) X(log_cosh, LogCosh)            \
    X(mape, MeanAbsolutePercentageError) X(poisson, Poisson) X(quantile, Quantile) X(hinge, Hinge)     \
    X(binary_crossentropy, BinaryCrossentropy) X(binary_crossentropy_logits, BinaryCrossentropyLogits)
// clang-format on

#define FD_LOSS_ENUM(name, functor) name,
enum class Loss { FD_ELEMENTWISE_LOSSES(FD_LOSS_ENUM) categorical_crossentropy, sparse_categorical_crossentropy };
#undef FD_LOSS_ENUM

inline constexpr const char* loss_names[] = {
#define FD_LOSS_NAME(name, functor) #name,
    FD_ELEMENTWISE_LOSSES(FD_LOSS_NAME) "categorical_crossentropy", "sparse_categorical_crossentropy"
#undef FD_LOSS_NAME
};

// Whether the loss has a second derivative here. The categorical ones are curved from logits; their rows are not elementwise.
inline constexpr bool loss_curved[] = {
#define FD_LOSS_CURVED(name, functor) functor::curved,
    FD_ELEMENTWISE_LOSSES(FD_LOSS_CURVED) true, true
#undef FD_LOSS_CURVED
};

template <class Functor>
inline double second_derivative_of([[maybe_unused]] double p, [[maybe_unused]] double y, [[maybe_unused]] double c) {
    if constexpr (Functor::curved) return Functor::second_derivative(p, y, c);
    return std::numeric_limits<double>::quiet_NaN();
}
// d² value/d p² of an elementwise loss; NaN where it has none.
inline double second_derivative(Loss loss, double p, double y, double c) {
    switch (loss) {
#define FD_LOSS_SECOND(name, functor) \
    case Loss::name: return second_derivative_of<functor>(p, y, c);
        FD_ELEMENTWISE_LOSSES(FD_LOSS_SECOND)
#undef FD_LOSS_SECOND
        case Loss::categorical_crossentropy:
        case Loss::sparse_categorical_crossentropy: break;
    }
    return std::numeric_limits<double>::quiet_NaN();
}

}  // namespace fd::ops
