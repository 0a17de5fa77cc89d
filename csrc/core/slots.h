// An optimizer's slots: arrays as long as the parameters that it keeps beside them.
#pragma once
#include "core/plan.h"

namespace fd {

// How many. Those of a full-batch optimizer belong to its Solver and are not counted here. The last one holds the average
// of the weights, if one is kept.
inline int slot_count(const Training& t) {
    return (t.kfac() ? int(t.hyper.momentum != 0) : ops::rule_slots[int(t.rule())]) + int(t.hyper.use_ema);
}

// What every element of a slot holds before the first step.
inline double first_slot_value(const Training& t, int slot) {
    const bool sums = t.optimizer == ops::Optimizer::adagrad || t.optimizer == ops::Optimizer::ftrl;
    return sums && slot == 0 ? t.hyper.initial_accumulator_value : 0.0;
}

}  // namespace fd
