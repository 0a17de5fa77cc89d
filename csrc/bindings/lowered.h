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

std::vector<Op> ops_of(const py::dict& program);
DType net_type(const py::dict& program);  // of parameters and sums
bool mixed_precision(const py::dict& program);
Training training_of(const py::dict&);
// Class ids index memory, so they are checked even if Python has done so.
void check_class_ids(const Dataset&, const Training*, int64_t classes);

}  // namespace fd::bindings
