// Every loss, once. Elementwise losses give `value(p, y, c)` and `slope(p, y, c)` = d value/d p; c is the loss's parameter
// (huber's delta, quantile's q). The factor w_i/(rows · outputs) is applied by the caller, in one place.
// The categorical cross-entropies couple the outputs of a row; their row kernels live in cpu/layerwise/kernels_loss.h.
#pragma once
#include "ops/hd.h"

namespace fd::ops {

constexpr double probability_floor = 1e-7;  // Keras's epsilon: probabilities are clipped to [floor, 1 - floor]

struct MeanSquaredError {
    template <class V> FD_HD static V value(V p, V y, V) { return (p - y) * (p - y); }
    template <class V> FD_HD static V slope(V p, V y, V) { return V(2) * (p - y); }
};
struct MeanAbsoluteError {
    template <class V> FD_HD static V value(V p, V y, V) { return vabs(p - y); }
    template <class V> FD_HD static V slope(V p, V y, V) { return vsign(p - y); }
};
struct Huber {
    template <class V> FD_HD static V value(V p, V y, V c) {
        V e = vabs(p - y);
        return select(e <= c, V(0.5) * e * e, c * (e - V(0.5) * c));
    }
    template <class V> FD_HD static V slope(V p, V y, V c) {
        V e = p - y;
        return select(vabs(e) <= c, e, c * vsign(e));
    }
};
struct LogCosh {
    template <class V> FD_HD static V value(V p, V y, V) {
        V e = vabs(p - y);  // log cosh is even
        return e + vlog1p(vexp(V(-2) * e)) - V(0.69314718055994530942);
    }
    template <class V> FD_HD static V slope(V p, V y, V) { return vtanh(p - y); }
};
struct MeanAbsolutePercentageError {
    template <class V> FD_HD static V weight(V y) { return V(100) / vmax(vabs(y), V(1e-7)); }
    template <class V> FD_HD static V value(V p, V y, V) { return vabs(p - y) * weight(y); }
    template <class V> FD_HD static V slope(V p, V y, V) { return vsign(p - y) * weight(y); }
};
struct Poisson {
    template <class V> FD_HD static V value(V p, V y, V) { return p - y * vlog(p + V(1e-7)); }
    template <class V> FD_HD static V slope(V p, V y, V) { return V(1) - y / (p + V(1e-7)); }
};
struct Quantile {
    template <class V> FD_HD static V value(V p, V y, V c) {
        V e = y - p;
        return vmax(c * e, (c - V(1)) * e);
    }
    template <class V> FD_HD static V slope(V p, V y, V c) { return select(y > p, -c, select(y < p, V(1) - c, V(0))); }
};
struct Hinge {  // y is -1 or 1
    template <class V> FD_HD static V value(V p, V y, V) { return vmax(V(1) - y * p, V(0)); }
    template <class V> FD_HD static V slope(V p, V y, V) { return select(V(1) - y * p > V(0), -y, V(0)); }
};
struct BinaryCrossentropyLogits {  // p is the logit
    template <class V> FD_HD static V value(V p, V y, V) { return vmax(p, V(0)) - p * y + vlog1p(vexp(-vabs(p))); }
    template <class V> FD_HD static V slope(V p, V y, V) { return vsigmoid(p) - y; }
};
struct BinaryCrossentropy {  // p is a probability, q = clip(p), r = clip(1 - p): in float 1 - q has lost its digits
    template <class V> FD_HD static V clip(V p) {
        return vmin(vmax(p, V(probability_floor)), V(1 - probability_floor));
    }
    template <class V> FD_HD static V value(V p, V y, V) {
        V q = clip(p), r = clip(V(1) - p);
        return -(y * vlog(q) + (V(1) - y) * vlog(r));
    }
    template <class V> FD_HD static V slope(V p, V y, V) {
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

}  // namespace fd::ops
