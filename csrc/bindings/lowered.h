// What Python lowers a model to, as the core's own types; shared by everything that is bound.
#pragma once
#include <atomic>

#include "bindings/arrays.h"

namespace fd::bindings {

template <class T>
T field(const py::dict& d, const char* key) {
    if (!d.contains(key)) throw InvalidArgument(std::string("missing key '") + key + "'");
    return py::cast<T>(d[key]);
}
template <class T>
void read(const py::dict& d, const char* key, T& out) {
    if (d.contains(key)) out = py::cast<T>(d[key]);
}

std::vector<Op> ops_of(const py::dict& program);
DType net_type(const py::dict& program);  // of parameters and sums
bool mixed_precision(const py::dict& program);
Training training_of(const py::dict&);
// Class ids index memory, so they are checked even if Python has done so.
void check_class_ids(const Dataset&, const Training*, int64_t classes);

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

}  // namespace fd::bindings
