// Where a tensor lies in a net's flat buffers, on any device. A State has `parameters`, `statistics`, `input_statistics` and
// `slots`, each with the `get()` of its device's buffers.
#pragma once
#include "core/plan.h"

namespace fd {

struct Place {
    void* data;
    size_t bytes;
};

template <class T, class State>
Place tensor_place(const Plan& plan, const State& state, int tensor) {
    const Tensor& t = plan.tensors[size_t(tensor)];
    if (t.float64) return {state.input_statistics.get() + t.offset, size_t(t.size()) * sizeof(double)};
    return {(t.trainable ? state.parameters : state.statistics).get() + t.offset, size_t(t.size()) * sizeof(T)};
}
// A slot is laid out as the parameters are.
template <class T, class State>
Place slot_place(const Plan& plan, const State& state, int slot, int tensor) {
    const Tensor& t = plan.tensors[size_t(tensor)];
    return {state.slots[size_t(slot)].get() + t.offset, size_t(t.size()) * sizeof(T)};
}

}  // namespace fd
