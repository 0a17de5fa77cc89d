// Every first-order optimizer, once, as Keras defines them. A rule updates one element w with gradient g and up to three
// state slots; what is the same for all elements (bias corrections, learning rate) is in `Step`, made once a step in double.
// A rule that `divides` by its slots keeps an element whose gradient is always 0 at 0 only if epsilon is not 0.
#pragma once
#include <cmath>
#include <cstdint>

#include "ops/hd.h"

namespace fd::ops {

// clang-format off
// Every number that an optimizer may be given, as X(type, name); 0 or false means off.
#define FD_HYPERPARAMETERS(X)                                                                                    \
    X(double, momentum) X(double, rho) X(double, beta_1) X(double, beta_2) X(double, epsilon)                    \
    X(double, initial_accumulator_value) X(bool, nesterov) X(bool, centered) X(bool, amsgrad)                    \
    X(double, weight_decay) X(double, clipvalue) X(double, clipnorm) X(double, global_clipnorm)                  \
    /* muon */ X(double, ns_steps) X(double, ns_a) X(double, ns_b) X(double, ns_c) X(double, rms_rate)           \
    X(double, adam_lr_ratio) X(double, adam_weight_decay)                                                        \
    /* ftrl */ X(double, learning_rate_power) X(double, l1_regularization_strength)                              \
    X(double, l2_regularization_strength) X(double, l2_shrinkage_regularization_strength) X(double, beta)        \
    /* kfac */ X(double, input_damping) X(double, output_damping) X(int64_t, interval)                           \
    /* an average of the weights */ X(bool, use_ema) X(double, ema_momentum) X(int64_t, ema_overwrite_frequency)
// clang-format on

struct Hyper {  // the optimizer as configured
#define FD_HYPER_FIELD(type, name) type name{};
    FD_HYPERPARAMETERS(FD_HYPER_FIELD)
#undef FD_HYPER_FIELD
};

template <class T>
struct Step {  // one step's constants; a, b, c, d mean what the rule's `prepare` says
    T lr{0}, a{0}, b{0}, c{0}, d{0}, epsilon{0};
};

struct Sgd {
    static constexpr int slots = 0;
    static constexpr bool divides = false;
    static Step<double> prepare(const Hyper&, double lr, int64_t) { return {lr}; }
    template <class V> FD_HD static void update(const Step<V>& s, V& w, V g, V*) { w = w - s.lr * g; }
};
struct SgdMomentum {
    static constexpr int slots = 1;
    static constexpr bool divides = false;
    static Step<double> prepare(const Hyper& h, double lr, int64_t) { return {lr, h.momentum}; }
    template <class V> FD_HD static void update(const Step<V>& s, V& w, V g, V* m) {
        m[0] = s.a * m[0] - s.lr * g;
        w = w + m[0];
    }
};
struct SgdNesterov {
    static constexpr int slots = 1;
    static constexpr bool divides = false;
    static Step<double> prepare(const Hyper& h, double lr, int64_t) { return {lr, h.momentum}; }
    template <class V> FD_HD static void update(const Step<V>& s, V& w, V g, V* m) {
        m[0] = s.a * m[0] - s.lr * g;
        w = w + (s.a * m[0] - s.lr * g);
    }
};
template <bool Momentum, bool Centered>
struct RmsPropRule {
    static constexpr int slots = 1 + Momentum + Centered;
    static constexpr bool divides = true;
    static Step<double> prepare(const Hyper& h, double lr, int64_t) {
        return {lr, h.rho, 1 - h.rho, h.momentum, 0, h.epsilon};
    }
    template <class V> FD_HD static void update(const Step<V>& s, V& w, V g, V* m) {
        m[0] = s.a * m[0] + s.b * g * g;
        V d = m[0] + s.epsilon;
        if constexpr (Centered) {
            V& mean = m[slots - 1];
            mean = s.a * mean + s.b * g;
            d = d - mean * mean;
        }
        V step = quick_div_sqrt(s.lr * g, d);
        if constexpr (Momentum) {
            m[1] = s.c * m[1] + step;
            step = m[1];
        }
        w = w - step;
    }
};
using RmsProp = RmsPropRule<false, false>;
using RmsPropMomentum = RmsPropRule<true, false>;
using RmsPropCentered = RmsPropRule<false, true>;
using RmsPropCenteredMomentum = RmsPropRule<true, true>;
struct Adagrad {
    static constexpr int slots = 1;
    static constexpr bool divides = true;
    static Step<double> prepare(const Hyper& h, double lr, int64_t) { return {lr, 0, 0, 0, 0, h.epsilon}; }
    template <class V> FD_HD static void update(const Step<V>& s, V& w, V g, V* m) {
        m[0] = m[0] + g * g;
        w = w - quick_div_sqrt(s.lr * g, m[0] + s.epsilon);
    }
};
struct Adadelta {
    static constexpr int slots = 2;
    static constexpr bool divides = true;
    static Step<double> prepare(const Hyper& h, double lr, int64_t) { return {lr, h.rho, 1 - h.rho, 0, 0, h.epsilon}; }
    template <class V> FD_HD static void update(const Step<V>& s, V& w, V g, V* m) {
        m[0] = s.a * m[0] + s.b * g * g;
        V u = quick_div_sqrt(g * quick_sqrt(m[1] + s.epsilon), m[0] + s.epsilon);
        m[1] = s.a * m[1] + s.b * u * u;
        w = w - s.lr * u;
    }
};
// 1 - beta^t. From exp(-38) on it is 1 to the last bit, and std::pow, a notable part of a tiny net's step, is spared.
inline double bias_correction(double beta, int64_t t) {
    return (1 - beta) * double(t) > 38 ? 1.0 : 1 - std::pow(beta, double(t));
}

template <bool Amsgrad>
struct AdamRule {  // Kingma & Ba 2015, section 2's efficient form; amsgrad: Reddi et al. 2018
    static constexpr int slots = 2 + Amsgrad;
    static constexpr bool divides = true;
    static Step<double> prepare(const Hyper& h, double lr, int64_t t) {
        const double correction = std::sqrt(bias_correction(h.beta_2, t)) / bias_correction(h.beta_1, t);
        return {lr * correction, 1 - h.beta_1, 1 - h.beta_2, 0, 0, h.epsilon};
    }
    template <class V> FD_HD static void update(const Step<V>& s, V& w, V g, V* m) {
        m[0] = m[0] + s.a * (g - m[0]);
        m[1] = m[1] + s.b * (g * g - m[1]);
        V v = m[1];
        if constexpr (Amsgrad) v = m[2] = vmax(m[2], m[1]);
        w = w - quick_div(s.lr * m[0], quick_sqrt(v) + s.epsilon);
    }
};
using Adam = AdamRule<false>;
using AdamAmsgrad = AdamRule<true>;
struct Nadam {  // Dozat 2015
    static constexpr int slots = 2;
    static constexpr bool divides = true;
    static double schedule(const Hyper& h, int64_t t) { return h.beta_1 * (1 - 0.5 * std::pow(0.96, double(t))); }
    static Step<double> prepare(const Hyper& h, double lr, int64_t t) {
        double product = 1, decay = 1;  // Π u_i up to t, until it no longer shows beside 1
        for (int64_t i = 1; i <= t && product > 1e-18; ++i) product *= h.beta_1 * (1 - 0.5 * (decay *= 0.96));
        const double u = schedule(h, t), next = schedule(h, t + 1);
        // m_hat = c·m + d·g; sqrt(v_hat) = sqrt(v)·x, so lr/(sqrt(v)·x + eps) = (lr/x)/(sqrt(v) + eps/x)
        const double x = 1 / std::sqrt(bias_correction(h.beta_2, t));
        return {lr / x,       1 - h.beta_1, 1 - h.beta_2, next / (1 - product * next), (1 - u) / (1 - product),
                h.epsilon / x};
    }
    template <class V> FD_HD static void update(const Step<V>& s, V& w, V g, V* m) {
        m[0] = m[0] + s.a * (g - m[0]);
        m[1] = m[1] + s.b * (g * g - m[1]);
        w = w - quick_div(s.lr * (s.c * m[0] + s.d * g), quick_sqrt(m[1]) + s.epsilon);
    }
};
struct Adamax {  // Kingma & Ba 2015, section 7.1
    static constexpr int slots = 2;
    static constexpr bool divides = true;
    static Step<double> prepare(const Hyper& h, double lr, int64_t t) {
        return {lr / bias_correction(h.beta_1, t), 1 - h.beta_1, h.beta_2, 0, 0, h.epsilon};
    }
    template <class V> FD_HD static void update(const Step<V>& s, V& w, V g, V* m) {
        m[0] = m[0] + s.a * (g - m[0]);
        m[1] = vmax(vabs(g), s.b * m[1]);
        w = w - quick_div(s.lr * m[0], m[1] + s.epsilon);
    }
};
// McMahan et al. 2013; slots: the sum of squares, and z. An element that no gradient has reached stays at 0, whatever the
// start of its sum, and nothing moves at a learning rate of 0. Root: the usual learning_rate_power of -1/2.
template <bool Root>
struct FtrlRule {
    static constexpr int slots = 2;
    static constexpr bool divides = false;
    static Step<double> prepare(const Hyper& h, double lr, int64_t) {
        return {lr,
                -h.learning_rate_power,
                h.l1_regularization_strength,
                2 * h.l2_regularization_strength,
                2 * h.l2_shrinkage_regularization_strength,
                h.beta};
    }
    template <class V> FD_HD static V power(const Step<V>& s, V x) {
        if constexpr (Root) return vsqrt(x);
        else return vexp(s.a * vlog(x));
    }
    template <class V> FD_HD static void update(const Step<V>& s, V& w, V g, V* m) {
        const V sum = m[0] + g * g, after = power(s, sum);
        const V z = m[1] + (g + s.d * w - (after - power(s, m[0])) / s.lr * w);
        const V curvature = (after + s.epsilon) / s.lr + s.c;
        const V cut = select(z > s.b, s.b, select(z < -s.b, -s.b, z));
        w = select(s.lr <= V(0), w, select(curvature <= V(0), V(0), (cut - z) / curvature));
        m[1] = select(s.lr <= V(0), m[1], z);
        m[0] = select(s.lr <= V(0), m[0], sum);
    }
};
using Ftrl = FtrlRule<true>;
using FtrlPower = FtrlRule<false>;
struct Lion {  // Chen et al. 2023
    static constexpr int slots = 1;
    static constexpr bool divides = false;
    static Step<double> prepare(const Hyper& h, double lr, int64_t) {
        return {lr, h.beta_1, 1 - h.beta_1, h.beta_2, 1 - h.beta_2};
    }
    template <class V> FD_HD static void update(const Step<V>& s, V& w, V g, V* m) {
        w = w - s.lr * vsign(s.a * m[0] + s.b * g);
        m[0] = s.c * m[0] + s.d * g;
    }
};

// Variants that differ in their slots are rules of their own, so that the loop over elements has no branch.
// clang-format off
#define FD_UPDATE_RULES(X)                                                                          \
    X(sgd, Sgd) X(sgd_momentum, SgdMomentum) X(sgd_nesterov, SgdNesterov) X(rmsprop, RmsProp)       \
    X(rmsprop_momentum, RmsPropMomentum) X(rmsprop_centered, RmsPropCentered)                       \
    X(rmsprop_centered_momentum, RmsPropCenteredMomentum) X(adagrad, Adagrad) X(adadelta, Adadelta) \
    X(adam, Adam) X(adam_amsgrad, AdamAmsgrad) X(nadam, Nadam) X(adamax, Adamax) X(ftrl, Ftrl)      \
    X(ftrl_power, FtrlPower) X(lion, Lion)
// clang-format on

#define FD_RULE_ENUM(name, functor) name,
enum class Rule { FD_UPDATE_RULES(FD_RULE_ENUM) };
#undef FD_RULE_ENUM

inline constexpr int rule_slots[] = {
#define FD_RULE_SLOTS(name, functor) functor::slots,
    FD_UPDATE_RULES(FD_RULE_SLOTS)
#undef FD_RULE_SLOTS
};

inline constexpr bool rule_divides[] = {
#define FD_RULE_DIVIDES(name, functor) functor::divides,
    FD_UPDATE_RULES(FD_RULE_DIVIDES)
#undef FD_RULE_DIVIDES
};

inline Step<double> prepare_step(Rule rule, const Hyper& h, double lr, int64_t t) {
    switch (rule) {
#define FD_RULE_PREPARE(name, functor) \
    case Rule::name: return functor::prepare(h, lr, t);
        FD_UPDATE_RULES(FD_RULE_PREPARE)
#undef FD_RULE_PREPARE
    }
    return {};
}

// What one update of an optimizer works on: single elements, whole kernels, the Kronecker factors of layers (its rule then
// gets the preconditioned gradients), or all rows at once (a solver of core/solvers writes the parameters; no rule is used).
enum class Works { elements, kernels, factors, all_rows };

inline Rule sgd_rule(const Hyper& h) {
    return h.momentum == 0 ? Rule::sgd : h.nesterov ? Rule::sgd_nesterov : Rule::sgd_momentum;
}
inline Rule rmsprop_rule(const Hyper& h) {
    if (h.centered) return h.momentum != 0 ? Rule::rmsprop_centered_momentum : Rule::rmsprop_centered;
    return h.momentum != 0 ? Rule::rmsprop_momentum : Rule::rmsprop;
}
inline Rule adam_rule(const Hyper& h) { return h.amsgrad ? Rule::adam_amsgrad : Rule::adam; }
inline Rule ftrl_rule(const Hyper& h) { return h.learning_rate_power == -0.5 ? Rule::ftrl : Rule::ftrl_power; }

// X(name, what it works on, its rule for a Hyper h). muon: the rule of every tensor that is not a kernel.
// clang-format off
#define FD_OPTIMIZERS(X)                                                                                      \
    X(sgd, elements, sgd_rule(h)) X(rmsprop, elements, rmsprop_rule(h)) X(adagrad, elements, Rule::adagrad)   \
    X(adadelta, elements, Rule::adadelta) X(adam, elements, adam_rule(h)) X(nadam, elements, Rule::nadam)     \
    X(adamax, elements, Rule::adamax) X(ftrl, elements, ftrl_rule(h)) X(lion, elements, Rule::lion)           \
    X(muon, kernels, Rule::adam) X(kfac, factors, Rule::sgd)                                                  \
    X(lbfgs, all_rows, Rule::sgd) X(newton_cg, all_rows, Rule::sgd) X(levenberg_marquardt, all_rows, Rule::sgd)
// clang-format on

#define FD_OPTIMIZER_ENUM(name, works, rule) name,
enum class Optimizer { FD_OPTIMIZERS(FD_OPTIMIZER_ENUM) };
#undef FD_OPTIMIZER_ENUM

inline constexpr const char* optimizer_names[] = {
#define FD_OPTIMIZER_NAME(name, works, rule) #name,
    FD_OPTIMIZERS(FD_OPTIMIZER_NAME)
#undef FD_OPTIMIZER_NAME
};

inline constexpr Works optimizer_works_on[] = {
#define FD_OPTIMIZER_WORKS(name, works, rule) Works::works,
    FD_OPTIMIZERS(FD_OPTIMIZER_WORKS)
#undef FD_OPTIMIZER_WORKS
};

inline Rule rule_of(Optimizer optimizer, [[maybe_unused]] const Hyper& h) {
    switch (optimizer) {
#define FD_OPTIMIZER_RULE(name, works, rule) \
    case Optimizer::name: return rule;
        FD_OPTIMIZERS(FD_OPTIMIZER_RULE)
#undef FD_OPTIMIZER_RULE
    }
    return Rule::sgd;
}

}  // namespace fd::ops
