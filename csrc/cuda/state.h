// What a net is made of and what training has made of it, on the device.
#pragma once
#include <vector>

#include "core/plan.h"
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

inline UpdateRule update_rule(const Training& t) {
    const ops::Hyper& h = t.hyper;
    return {t.rule(), h.clipvalue, h.clipnorm, h.global_clipnorm, t.muon() ? h.adam_weight_decay : h.weight_decay};
}

}  // namespace fd::cuda
