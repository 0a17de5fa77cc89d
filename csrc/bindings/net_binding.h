// What the bindings of one net and of a population share: calls one at a time and without the GIL, arrays in and out.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/gil.h"
#include "bindings/lowered.h"
#include "core/parallel.h"

namespace fd::bindings {

// A net's buffers serve one call at a time. A second caller cannot wait while holding the GIL, which the first one needs.
class InUse {
public:
    explicit InUse(std::atomic<bool>& flag) : flag_(flag) {
        if (flag_.exchange(true))
            throw std::runtime_error(
                "this model is busy in another call (a thread or a progress callback); wait for it, or give "
                "each thread its own copy with model.clone()");
    }
    ~InUse() { flag_ = false; }
    InUse(const InUse&) = delete;
    InUse& operator=(const InUse&) = delete;

private:
    std::atomic<bool>& flag_;
};

inline int thread_count(int n) { return n > 0 ? n : available_threads(); }

// train() without the GIL. It asks `signals`; whether it was interrupted: a Ctrl-C must not cost what was trained.
template <class F>
bool train_without_gil(F&& train, Signals& signals) {
    {
        const WithoutGil unlocked;
        train();
    }
    signals.look([] {});  // a Ctrl-C that came after the last look counts, too
    if (!signals.is_interrupt()) signals.rethrow();
    return signals.is_interrupt();
}

// The C++ object of one that `__init__` has made; pybind11 gives memory without an object for C.__new__(C).
template <class C>
C& made(const py::object& self) {
    if (!py::isinstance<C>(self) ||
        !reinterpret_cast<py::detail::instance*>(self.ptr())->get_value_and_holder().holder_constructed())
        throw py::type_error("the object was not made by __init__");
    return py::cast<C&>(self);
}
// A method as a function that Python calls.
template <class R, class C, class... A>
auto bound(R (C::*method)(A...)) {
    return [method](const py::object& self, A... a) -> R { return (made<C>(self).*method)(std::forward<A>(a)...); };
}
template <class R, class C, class... A>
auto bound(R (C::*method)(A...) const) {
    return [method](const py::object& self, A... a) -> R { return (made<C>(self).*method)(std::forward<A>(a)...); };
}

template <class Net>  // Backend or PopulationBackend
class NetBinding {
protected:
    explicit NetBinding(std::unique_ptr<Net> net) : net_(std::move(net)) {}
    const Plan& plan() const { return net_->plan(); }
    const Tensor& tensor(int number) const { return plan().tensors[size_t(number)]; }

    // The GPU's memory is of use to an engine on the GPU only; Python has said so to the user.
    View mine(const View& v) const {
        if (v.on_device && !net_->on_gpu())
            throw InvalidArgument("array: it is in a GPU's memory, but the engine is not on the GPU");
        return v;
    }
    Dataset data_of(const py::object& x, const py::object& y, const py::object& weights) const {
        const Dataset d = dataset_of(x, y, weights);
        mine(d.x), mine(d.y);
        return d;
    }
    // Class ids index memory, so they are checked even if Python has done so; they are where the shape says.
    void check_labels(const Dataset& d) const {
        check_shapes(plan(), net_->training(), d);
        check_class_ids(d, *net_->training(), plan().outputs);
    }

    // All tensors, as arrays of shape(tensor).
    template <class Shape>
    py::list read_tensors(Shape&& shape) const {
        py::list out;
        for (size_t i = 0; i < plan().tensors.size(); ++i) {
            py::array a = empty_array(dtype_of(plan().tensors[i], net_->dtype()), shape(plan().tensors[i]));
            net_->read_tensor(int(i), a.mutable_data());
            out.append(a);
        }
        return out;
    }
    // `checked(array, tensor, number)` is what is written; all of them are checked before the first is.
    template <class Check>
    void write_tensors(const py::list& given, Check&& checked) {
        if (given.size() != plan().tensors.size())
            throw InvalidArgument("set_tensors: " + std::to_string(given.size()) + " arrays given, " +
                                  std::to_string(plan().tensors.size()) + " needed");
        std::vector<py::array> arrays;
        for (size_t i = 0; i < given.size(); ++i) arrays.push_back(checked(given[i], plan().tensors[i], i));
        for (size_t i = 0; i < arrays.size(); ++i) net_->write_tensor(int(i), arrays[i].data());
    }

    // What the optimizer remembers of each trainable tensor: a list of arrays for each slot.
    template <class Shape>
    py::list read_slots(DType dtype, Shape&& shape) const {
        py::list slots;
        for (int s = 0; s < net_->slots(); ++s) {
            py::list slot;
            for (int number : plan().trainable) {
                py::array a = empty_array(dtype, shape(tensor(number)));
                net_->read_slot(s, number, a.mutable_data());
                slot.append(a);
            }
            slots.append(slot);
        }
        return slots;
    }
    template <class Check>
    std::vector<std::vector<py::array>> checked_slots(const py::list& slots, const std::string& where,
                                                      Check&& checked) const {
        if (int(slots.size()) != net_->slots())
            throw InvalidArgument(where + ": wrong number of slots for this optimizer");
        std::vector<std::vector<py::array>> out;
        for (const py::handle& item : slots) {
            const auto slot = py::cast<py::list>(item);
            if (slot.size() != plan().trainable.size())
                throw InvalidArgument(where + ": wrong number of arrays in a slot");
            out.emplace_back();
            for (size_t k = 0; k < slot.size(); ++k)
                out.back().push_back(checked(slot[k], tensor(plan().trainable[k])));
        }
        return out;
    }
    void write_slots(const std::vector<std::vector<py::array>>& slots) {
        for (size_t s = 0; s < slots.size(); ++s)
            for (size_t k = 0; k < slots[s].size(); ++k)
                net_->write_slot(int(s), plan().trainable[k], slots[s][k].data());
    }

    std::unique_ptr<Net> net_;
    mutable std::atomic<bool> busy_{false};
};

}  // namespace fd::bindings
