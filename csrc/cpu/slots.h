// An optimizer's slots in the host's memory.
#pragma once
#include <algorithm>
#include <vector>

#include "core/slots.h"
#include "cpu/memory.h"

namespace fd::cpu {

// As they are before the first step, of so many elements each.
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

}  // namespace fd::cpu
