// What Python lowers a model to, as the core's own types; shared by everything that is bound.
#pragma once
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

// Steps and epochs are counted on from such a number, and are parts of the keys of random numbers.
inline int64_t counter(int64_t n, const char* what) {
    if (n < 0 || n > int64_t(1) << 48) throw InvalidArgument(std::string(what) + " must be from 0 to 2**48");
    return n;
}

std::vector<Op> ops_of(const py::dict& program);
DType net_type(const py::dict& program);  // of parameters and sums
bool mixed_precision(const py::dict& program);
Training training_of(const py::dict&);  // all but its hook
// Class ids index memory, so they are checked even if Python has done so.
void check_class_ids(const Dataset&, const Training&, int64_t classes);

}  // namespace fd::bindings
