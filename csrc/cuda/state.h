// What a net is made of and what training has made of it, on the device.
#pragma once
#include <vector>

#include "core/slots.h"
#include "cuda/kernels.h"
#include "cuda/runtime/runtime.h"

namespace fd::cuda {

template <class T>
struct State {
    DeviceBuffer<T> parameters, statistics;
    DeviceBuffer<double> input_statistics;
    std::vector<DeviceBuffer<T>> slots;
    int64_t step = 0;
};

// What a buffer held before a step.
template <class T>
class Kept {
public:
    void keep(const Stream& stream, const DeviceBuffer<T>& from, int64_t n) {
        copy_.reserve(n_ = n);
        stream.copy(copy_.get(), static_cast<const T*>(from.get()), n);
    }
    void put_back(const Stream& stream, const DeviceBuffer<T>& to) const {
        stream.copy(to.get(), static_cast<const T*>(copy_.get()), n_);
        stream.synchronize();
    }
    const T* get() const { return copy_.get(); }

private:
    DeviceBuffer<T> copy_;
    int64_t n_ = 0;
};

// The optimizer's slots of `nets` nets before the first step.
template <class T>
std::vector<DeviceBuffer<T>> first_slots(const Training& training, int64_t parameters, int64_t nets,
                                         const Stream& stream) {
    std::vector<DeviceBuffer<T>> slots(static_cast<size_t>(slot_count(training)));
    for (int k = 0; k < int(slots.size()); ++k) {
        DeviceBuffer<T>& slot = slots[size_t(k)];
        stream.clear(slot, nets * parameters);
        const double value = first_slot_value(training, k);
        if (value == 0) continue;
        const std::vector<T> first(static_cast<size_t>(parameters), T(value));
        for (int64_t i = 0; i < nets; ++i) stream.upload(slot.get() + i * parameters, first.data(), parameters);
        stream.synchronize();
    }
    return slots;
}

inline UpdateRule update_rule(const Training& t) {
    const ops::Hyper& h = t.hyper;
    return {t.rule(), h.clipvalue, h.clipnorm, h.global_clipnorm, t.rule_weight_decay()};
}

}  // namespace fd::cuda
