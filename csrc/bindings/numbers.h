// Arrays for functions of Python's that the core calls: copies in and out, as its memory is only there during a call.
#pragma once
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arrays.h"

namespace fd::bindings {

inline py::array copied(DType dtype, const void* from, std::vector<py::ssize_t> shape) {
    if (dtype == DType::f32) return py::array_t<float>(std::move(shape), static_cast<const float*>(from));
    return py::array_t<double>(std::move(shape), static_cast<const double*>(from));
}

// `what`: the array, for messages.
template <class T>
void fill(T* to, const py::handle& from, int64_t size, const std::string& what) {
    const auto a = py::array_t<T, py::array::c_style | py::array::forcecast>::ensure(from);
    if (!a) throw py::error_already_set();
    if (a.size() != size) throw InvalidArgument(what + " have a wrong size");
    std::copy_n(a.data(), size, to);
}
inline void fill(DType dtype, void* to, const py::handle& from, int64_t size, const std::string& what) {
    if (dtype == DType::f32) fill(static_cast<float*>(to), from, size, what);
    else fill(static_cast<double*>(to), from, size, what);
}

}  // namespace fd::bindings
