// What the paths that train one net share: its numbers, and which rows of the data a batch holds.
#pragma once
#include <algorithm>
#include <vector>

#include "core/slots.h"
#include "core/trainer.h"
#include "cpu/input_statistics.h"
#include "cpu/memory.h"

namespace fd::cpu {

template <class T>
struct State {  // what a net is made of and what training has made of it
    explicit State(const Plan& plan) : input_statistics(plan) {
        parameters.reserve(plan.parameters);
        gradients.reserve(plan.parameters);
        statistics.reserve(plan.statistics);
    }
    Buffer<T> parameters, statistics, gradients;
    InputStatistics input_statistics;
    std::vector<Buffer<T>> slots;
    int64_t step = 0;
};

// An optimizer's slots before the first step, of so many elements each.
template <class T>
std::vector<Buffer<T>> first_slots(const Training& training, int64_t elements) {
    std::vector<Buffer<T>> slots(static_cast<size_t>(slot_count(training)));
    for (int k = 0; k < int(slots.size()); ++k) {
        Buffer<T>& slot = slots[size_t(k)];
        slot.reserve(elements);  // zeros
        if (const double value = first_slot_value(training, k)) std::fill_n(slot.get(), elements, T(value));
    }
    return slots;
}

template <class T>
struct Batch {
    const T* x = nullptr;             // (rows, inputs), ready for the first op
    const T* y = nullptr;             // (rows, y_cols), or
    const int32_t* labels = nullptr;  // (rows,)
    const double* weights = nullptr;  // (rows,), or none
    int64_t rows = 0, y_cols = 0;
    int64_t first_row = 0;    // of these in a step of several ranks: random ops draw by the place in it
    unsigned hook_flags = 0;  // see HookBatch; a loop over batches sets them
};

struct RowOrder {  // data rows of a batch: consecutive, in the order of a cursor, or spread evenly over the data
    int64_t first = 0;
    const Cursor* cursor = nullptr;
    int64_t over = 1, count = 1;  // spread: `count` of `over` rows
    static RowOrder spread(int64_t over, int64_t count) { return {0, nullptr, over, count}; }
    bool consecutive() const { return cursor ? cursor->in_order() : over == count; }
    int64_t operator()(int64_t i) const { return cursor ? cursor->row(i) : first + i * over / count; }
};

}  // namespace fd::cpu
