// Python's lock (GIL): released while the core computes, taken for a moment to look for signals.
#pragma once
#include <pybind11/pybind11.h>

#include <chrono>
#include <map>
#include <optional>
#include <thread>

#include "core/backend.h"

namespace fd::bindings {

namespace py = pybind11;

inline bool python_is_ending() {
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

// take(), which waits for the GIL. A daemon thread that asks for it while Python shuts down never gets it: before 3.14 Python
// ends the thread by unwinding its stack, at any moment of the wait. Neither destructors nor the rest of C++ may meet that, so
// the thread stays here until the process is gone.
template <class F>
auto take_gil(F&& take) noexcept {
    const auto stay = [] {
        for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    };
    if (python_is_ending()) stay();
    try {
        return take();
    } catch (...) {  // the unwinding itself: no function called here throws
        for (;;) stay();
    }
}

// Releases the GIL for its lifetime.
class WithoutGil {
public:
    WithoutGil() : state_(PyEval_SaveThread()) {}
    ~WithoutGil() {
        take_gil([this] { PyEval_RestoreThread(state_); });
    }
    WithoutGil(const WithoutGil&) = delete;
    WithoutGil& operator=(const WithoutGil&) = delete;

private:
    PyThreadState* state_;
};

// Takes the GIL for its lifetime.
class WithGil {
public:
    WithGil() : state_(take_gil([] { return PyGILState_Ensure(); })) {}
    ~WithGil() { PyGILState_Release(state_); }
    WithGil(const WithGil&) = delete;
    WithGil& operator=(const WithGil&) = delete;

private:
    PyGILState_STATE state_;
};

// What the calls of this thread ask besides signals, which only Python's main thread gets: a callable that may raise, or nothing.
// Its owner is the code that sets it.
inline thread_local PyObject* asked_too = nullptr;

// Looks for signals from a thread without the GIL. What a handler raises is kept, and raised by `rethrow` with the GIL.
// For its life it is that of this thread's innermost call, which is where functions of Python's find it that the core calls.
class Signals {
public:
    Signals() : outer_(innermost_) { innermost_ = this; }
    ~Signals() { innermost_ = outer_; }
    Signals(const Signals&) = delete;
    Signals& operator=(const Signals&) = delete;

    // A call of Python's code by the core: false if it raised, and the core is to stop.
    template <class F>
    static bool call(F&& f) {
        return !innermost_->look([&] {
            try {
                f();
            } catch (const py::error_already_set&) {
                throw;
            } catch (const std::exception& e) {
                PyErr_SetString(PyExc_ValueError, e.what());
                throw py::error_already_set();
            }
        });
    }
    // What such a function keeps from one call to the next, as long as this one lasts; with the GIL.
    static py::object& kept(const void* function) { return innermost_->kept_[function]; }

    // True: stop. `also` runs with the GIL and may raise, too.
    template <class F>
    bool look(F&& also) {
        const WithGil locked;
        try {
            if (PyErr_CheckSignals() != 0) throw py::error_already_set();
            if (asked_too) py::reinterpret_borrow<py::function>(asked_too)();
            also();
        } catch (py::error_already_set& e) {
            raised_.emplace(std::move(e));
            return true;
        }
        return false;
    }
    // As a Poll: looks at most every 50 ms.
    bool operator()() {
        if (raised_) return true;
        const auto now = std::chrono::steady_clock::now();
        if (now < next_) return false;
        next_ = now + std::chrono::milliseconds(50);
        return look([] {});
    }
    bool is_interrupt() const { return raised_ && raised_->matches(PyExc_KeyboardInterrupt); }
    void rethrow() {
        if (raised_) throw py::error_already_set(std::move(*raised_));
    }

private:
    inline static thread_local Signals* innermost_ = nullptr;
    Signals* outer_;
    std::map<const void*, py::object> kept_;
    std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
    std::optional<py::error_already_set> raised_;
};

// f(poll) without the GIL. What a signal's handler, or a function of Python's, raised meanwhile is raised after it.
template <class F>
void without_gil(F&& f) {
    Signals signals;
    {
        const WithoutGil unlocked;
        f(Poll([&] { return signals(); }));
    }
    signals.rethrow();
}

}  // namespace fd::bindings
