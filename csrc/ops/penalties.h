// Every penalty between the units of a kernel, once: f/pairs · Σ_{i<j} value(cos_ij), cos_ij being the cosine of the angle
// between the units i and j. Unit: a column of the kernel, or a row (Op::penalises_columns).
#pragma once
#include "ops/hd.h"

namespace fd::ops {

struct AbsoluteCosine {
    template <class V> FD_HD static V value(V cosine) { return vabs(cosine); }
    template <class V> FD_HD static V derivative(V cosine) { return vsign(cosine); }
};
struct PositiveCosineSquared {
    template <class V> FD_HD static V positive(V cosine) { return select(cosine < V(0), V(0), cosine); }
    template <class V> FD_HD static V value(V cosine) { return positive(cosine) * positive(cosine); }
    template <class V> FD_HD static V derivative(V cosine) { return positive(cosine) + positive(cosine); }
};

#define FD_UNIT_PENALTIES(X) X(orthogonal, AbsoluteCosine) X(repulsion, PositiveCosineSquared)

#define FD_UNIT_PENALTY_ENUM(name, functor) name,
enum class UnitPenalty { FD_UNIT_PENALTIES(FD_UNIT_PENALTY_ENUM) };
#undef FD_UNIT_PENALTY_ENUM

#define FD_UNIT_PENALTY_ONE(name, functor) +1
inline constexpr int unit_penalties = 0 FD_UNIT_PENALTIES(FD_UNIT_PENALTY_ONE);
#undef FD_UNIT_PENALTY_ONE

#define FD_UNIT_PENALTY_FUNCTION(function)                           \
    template <class V>                                               \
    FD_HD V unit_penalty_##function(UnitPenalty penalty, V cosine) { \
        switch (penalty) { FD_UNIT_PENALTIES(FD_UNIT_PENALTY_CASE) } \
        return V(0);                                                 \
    }
#define FD_UNIT_PENALTY_CASE(name, functor) \
    case UnitPenalty::name: return functor::value(cosine);
FD_UNIT_PENALTY_FUNCTION(value)
#undef FD_UNIT_PENALTY_CASE
#define FD_UNIT_PENALTY_CASE(name, functor) \
    case UnitPenalty::name: return functor::derivative(cosine);
FD_UNIT_PENALTY_FUNCTION(derivative)
#undef FD_UNIT_PENALTY_CASE
#undef FD_UNIT_PENALTY_FUNCTION

}  // namespace fd::ops
