// A Python function as the core's hook.
#pragma once
#include "bindings/gil.h"
#include "bindings/numbers.h"
#include "core/hook.h"

namespace fd::bindings {

// Holds the function weakly: who configures the engine keeps it. A strong reference from here would be one that Python's search
// for cycles cannot see, and a function may well know its model.
class PythonHook {
public:
    explicit PythonHook(const py::object& function) : function_(function) {}

    bool operator()(const HookBatch& b) const {
        return Signals::call([&] { call(b); });
    }

private:
    void call(const HookBatch& b) const {
        const py::object function = function_();
        if (function.is_none()) throw InvalidArgument("the hook is gone: the caller of configure must keep it");
        if (!b.rows) {
            function(b.flags, py::none(), py::none(), py::none(), py::none());
            return;
        }
        const py::object outputs = copied(b.dtype, b.outputs, {b.rows, b.cols});
        const py::object predictions =
            b.predictions == b.outputs ? outputs : copied(b.dtype, b.predictions, {b.rows, b.cols});
        const py::object targets = b.labels ? py::object(py::array_t<int32_t>(py::ssize_t(b.rows), b.labels))
                                            : copied(b.dtype, b.targets, {b.rows, b.target_cols});
        const py::object weights =
            b.weights ? py::object(py::array_t<double>(py::ssize_t(b.rows), b.weights)) : py::object(py::none());
        const py::object answer = function(b.flags, outputs, predictions, targets, weights);
        if (!b.losses) return;
        const auto found = py::cast<py::tuple>(answer);
        if (found.size() != 2) throw InvalidArgument("the hook must return (losses, gradient)");
        fill(b.losses, found[0], b.rows * b.heads, "the hook's losses");
        if (b.gradient) fill(b.dtype, b.gradient, found[1], b.rows * b.cols, "the hook's gradient");
    }

    py::weakref function_;
};

}  // namespace fd::bindings
