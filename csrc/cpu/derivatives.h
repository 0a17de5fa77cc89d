// Derivatives of a net's outputs by its inputs and parameters, and steps from gradients that the caller gives.
#pragma once
#include <functional>
#include <memory>

#include "cpu/layerwise/layerwise.h"
#include "cpu/second_order/tangents.h"

namespace fd::cpu {

template <class T>
class Derivatives {
public:
    using Team = std::function<int(int64_t)>;  // threads for a batch of so many rows

    Derivatives(const Plan& plan, State<T>& state, Layerwise<T>& layerwise, Updater<T>& updater, Stop& stop)
        : plan_(plan), state_(state), layerwise_(layerwise), updater_(updater), stop_(stop) {}

    // As Backend::vjp and Backend::apply_gradients.
    void vjp(const View& x, const View& d_out, const View* d_jacobian, const Training& training, const Team& team,
             const Poll& poll, void* d_x, void* const* gradients);
    void apply(const void* const* gradients, double rate, const Training& training, int threads);
    // Of the trainable tensors, as a backward pass has left them.
    void read(const Training& training, void* const* gradients) const;

private:
    void pull(const Worker& w, const View& x, const View& d_out, int64_t chunk, Pass pass, T* d_x);

    const Plan& plan_;
    State<T>& state_;
    Layerwise<T>& layerwise_;
    Updater<T>& updater_;
    Stop& stop_;
    std::unique_ptr<Tangents<T>> tangents_;  // made when it is needed first
};

}  // namespace fd::cpu
