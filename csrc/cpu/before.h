// What a step that may be left half-way changes before it is finished, as it was.
#pragma once
#include <algorithm>
#include <vector>

#include "core/stop.h"
#include "cpu/state.h"
#include "cpu/updater.h"

namespace fd::cpu {

template <class T>
class Before {
public:
    Before(const Plan& plan, State<T>& state, Updater<T>& updater, Stop& stop)
        : plan_(plan), state_(state), updater_(updater), stop_(stop) {}

    void reserve() {
        statistics_.reserve(plan_.statistics);
        if (!(updates_ = updater_.makes_products())) return;
        parameters_.reserve(plan_.parameters);
        slots_ = std::vector<Buffer<T>>(state_.slots.size());
        for (Buffer<T>& slot : slots_) slot.reserve(plan_.parameters);
        if (Kfac<T>* kfac = updater_.kfac()) numbers_.reserve(int64_t(kfac->numbers.size()));
    }
    // By worker 0. Stopped meanwhile, it is not whole, but then the step changes nothing but statistics.
    void take(const Worker& w) {
        whole_ = true;
        each([&](const auto* from, auto* to, int64_t n) {
            constexpr int64_t part = 1 << 20;  // the first copy is into memory that the system has yet to clear
            for (int64_t i = 0; i < n && whole_; i += part) {
                std::copy_n(from + i, std::min(part, n - i), to + i);
                whole_ = !(n > part && stop_.asked(w));
            }
        });
    }
    void put_back() {
        each([&](auto* to, const auto* from, int64_t n) { std::copy_n(from, n, to); });
        if (updates_ && updater_.kfac()) updater_.kfac()->numbers_changed();
    }

private:
    template <class F>
    void each(F&& copy) {  // copy(in the net, here, numbers)
        copy(state_.statistics.get(), statistics_.get(), plan_.statistics);
        const auto unless_stopped = [&](auto* inside, auto* here, int64_t n) {
            if (updates_ && whole_) copy(inside, here, n);
        };
        unless_stopped(state_.parameters.get(), parameters_.get(), plan_.parameters);
        for (size_t k = 0; k < slots_.size(); ++k)
            unless_stopped(state_.slots[k].get(), slots_[k].get(), plan_.parameters);
        if (Kfac<T>* kfac = updater_.kfac())
            unless_stopped(kfac->numbers.data(), numbers_.get(), int64_t(kfac->numbers.size()));
    }

    const Plan& plan_;
    State<T>& state_;
    Updater<T>& updater_;
    Stop& stop_;
    bool updates_ = false;  // the update may be left half-way too
    bool whole_ = false;
    Buffer<T> statistics_, parameters_;
    std::vector<Buffer<T>> slots_;
    Buffer<double> numbers_;
};

}  // namespace fd::cpu
