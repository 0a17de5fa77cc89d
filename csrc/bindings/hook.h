// A Python function as the core's hook.
#pragma once
#include <algorithm>
#include <memory>
#include <string>

#include "bindings/arrays.h"
#include "bindings/gil.h"
#include "core/hook.h"

namespace fd::bindings {

// Holds the function weakly: who configures the engine keeps it. A strong reference from here would be one that Python's search
// for cycles cannot see, and a function may well know its model.
class PythonHook {
public:
    explicit PythonHook(const py::object& function) : function_(function) {}

    // What the function raises is kept in the signals of the call at hand, which is stopped, as by Ctrl-C.
    bool operator()(const HookBatch& b) const {
        return !signals_->look([&] {
            try {
                call(b);
            } catch (const py::error_already_set&) {
                throw;
            } catch (const std::exception& e) {
                PyErr_SetString(PyExc_ValueError, e.what());
                throw py::error_already_set();
            }
        });
    }

    class Use {  // for its life the hook may be called
    public:
        Use(const std::shared_ptr<PythonHook>& hook, Signals& signals) : hook_(hook.get()) {
            if (hook_) hook_->signals_ = &signals;
        }
        ~Use() {
            if (hook_) hook_->signals_ = nullptr;
        }
        Use(const Use&) = delete;
        Use& operator=(const Use&) = delete;

    private:
        PythonHook* hook_;
    };

private:
    template <class T>
    static py::object copied(const T* from, int64_t rows, int64_t cols) {
        return py::array_t<T>({py::ssize_t(rows), py::ssize_t(cols)}, from);
    }
    static py::object copied(DType dtype, const void* from, int64_t rows, int64_t cols) {
        if (dtype == DType::f32) return copied(static_cast<const float*>(from), rows, cols);
        return copied(static_cast<const double*>(from), rows, cols);
    }
    template <class T>
    static void fill(T* to, const py::handle& from, int64_t size, const char* what) {
        const auto a = py::array_t<T, py::array::c_style | py::array::forcecast>::ensure(from);
        if (!a) throw py::error_already_set();
        if (a.size() != size) throw InvalidArgument(std::string("the hook's ") + what + " have a wrong size");
        std::copy_n(a.data(), size, to);
    }

    void call(const HookBatch& b) const {
        const py::object function = function_();
        if (function.is_none()) throw InvalidArgument("the hook is gone: the caller of configure must keep it");
        if (!b.rows) {
            function(b.flags, py::none(), py::none(), py::none(), py::none());
            return;
        }
        const py::object outputs = copied(b.dtype, b.outputs, b.rows, b.cols);
        const py::object predictions =
            b.predictions == b.outputs ? outputs : copied(b.dtype, b.predictions, b.rows, b.cols);
        const py::object targets = b.labels ? py::object(py::array_t<int32_t>(py::ssize_t(b.rows), b.labels))
                                            : copied(b.dtype, b.targets, b.rows, b.target_cols);
        const py::object weights =
            b.weights ? py::object(py::array_t<double>(py::ssize_t(b.rows), b.weights)) : py::object(py::none());
        const py::object answer = function(b.flags, outputs, predictions, targets, weights);
        if (!b.losses) return;
        const auto found = py::cast<py::tuple>(answer);
        if (found.size() != 2) throw InvalidArgument("the hook must return (losses, gradient)");
        fill(b.losses, found[0], b.rows * b.heads, "losses");
        if (!b.gradient) return;
        if (b.dtype == DType::f32) fill(static_cast<float*>(b.gradient), found[1], b.rows * b.cols, "gradient");
        else fill(static_cast<double*>(b.gradient), found[1], b.rows * b.cols, "gradient");
    }

    py::weakref function_;
    Signals* signals_ = nullptr;
};

}  // namespace fd::bindings
