// NumPy arrays to checked views and back. Python has said what is wrong with user data already; this is the net below.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "core/population.h"

namespace fd::bindings {

namespace py = pybind11;

inline DType dtype_of(const py::dtype& dtype) {
    const char kind = dtype.kind();
    const auto size = dtype.itemsize();
    if (dtype.byteorder() == '>') throw InvalidArgument("array: byte order must be native");
    if (kind == 'b') return DType::boolean;
    if (kind == 'f' && size == 4) return DType::f32;
    if (kind == 'f' && size == 8) return DType::f64;
    if (kind == 'i' || kind == 'u') {
        const bool is_signed = kind == 'i';
        switch (size) {
            case 1: return is_signed ? DType::i8 : DType::u8;
            case 2: return is_signed ? DType::i16 : DType::u16;
            case 4: return is_signed ? DType::i32 : DType::u32;
            case 8: return is_signed ? DType::i64 : DType::u64;
            default: break;
        }
    }
    throw InvalidArgument("array: dtype " + std::string(py::str(dtype)) +
                          " is not a real number type of at most 64 bits");
}
inline DType dtype_of(const py::array& a) { return dtype_of(a.dtype()); }

inline View view_of(const py::array& a) {
    if (a.ndim() != 1 && a.ndim() != 2) throw InvalidArgument("array: one or two dimensions are needed");
    View v;
    v.data = static_cast<const char*>(a.data());
    v.dtype = dtype_of(a);
    v.rows = a.shape(0);
    v.cols = a.ndim() == 2 ? a.shape(1) : 1;
    v.row_stride = a.strides(0);
    v.col_stride = a.ndim() == 2 ? a.strides(1) : a.itemsize();
    return v;
}

inline bool is_on_device(const py::handle& a) {
    return !py::isinstance<py::array>(a) && py::hasattr(a, "__cuda_array_interface__");
}
// An array in the GPU's memory, by the CUDA array interface. Its owner has waited until it was written.
inline View device_view_of(const py::handle& a, bool writeable = false) {
    const auto d = py::cast<py::dict>(a.attr("__cuda_array_interface__"));
    const auto shape = py::cast<py::tuple>(d["shape"]), data = py::cast<py::tuple>(d["data"]);
    if (shape.size() != 1 && shape.size() != 2) throw InvalidArgument("array: one or two dimensions are needed");
    if (writeable && py::cast<bool>(data[1])) throw InvalidArgument("array: it must be writeable");
    View v;
    v.on_device = true;
    v.data = reinterpret_cast<const char*>(py::cast<uintptr_t>(data[0]));
    v.dtype = dtype_of(py::dtype::from_args(d["typestr"]));
    v.rows = py::cast<int64_t>(shape[0]);
    v.cols = shape.size() == 2 ? py::cast<int64_t>(shape[1]) : 1;
    const int64_t item = size_of(v.dtype);
    v.row_stride = v.cols * item, v.col_stride = item;
    if (d.contains("strides") && !d["strides"].is_none()) {
        const auto strides = py::cast<py::tuple>(d["strides"]);
        v.row_stride = py::cast<int64_t>(strides[0]);
        if (strides.size() == 2) v.col_stride = py::cast<int64_t>(strides[1]);
    }
    return v;
}
inline View view_of(const py::object& a) {
    return is_on_device(a) ? device_view_of(a) : view_of(py::cast<py::array>(a));
}

inline Dataset dataset_of(const py::object& x, const py::object& y, const py::object& weights) {
    Dataset d;
    d.x = view_of(x);
    if (!y.is_none()) d.y = view_of(y);
    if (is_on_device(weights)) {
        const View w = device_view_of(weights);
        if (w.rows != d.x.rows || w.cols != 1 || w.dtype != DType::f64 || w.row_stride != 8)
            throw InvalidArgument("weights must be contiguous float64 (rows,)");
        d.weights = reinterpret_cast<const double*>(w.data);
        d.weights_on_device = true;
    } else if (!weights.is_none()) {
        const auto w = py::cast<py::array>(weights);
        if (w.ndim() != 1 || w.shape(0) != d.x.rows || w.dtype().kind() != 'f' || w.itemsize() != 8 ||
            (w.shape(0) > 1 && w.strides(0) != 8))
            throw InvalidArgument("weights must be contiguous float64 (rows,)");
        d.weights = static_cast<const double*>(w.data());
    }
    return d;
}

inline DType dtype_of(const Tensor& t, DType net) { return t.float64 ? DType::f64 : net; }

inline py::array empty_array(DType dtype, std::vector<py::ssize_t> shape) {
    return py::array(dtype == DType::f32 ? py::dtype::of<float>() : py::dtype::of<double>(), std::move(shape));
}

inline std::vector<py::ssize_t> shape_of(const Tensor& t) {
    if (t.shaped) return {t.shape.begin(), t.shape.end()};
    if (t.vector) return {t.rows};
    if (t.groups) return {t.groups, t.rows / t.groups, t.cols};
    return {t.rows, t.cols};
}

// A C-ordered array of the net's type and the tensor's shape; anything else is an error.
inline py::array as_tensor(const py::handle& given, const Tensor& t, DType dtype, const std::string& where) {
    using Any = py::array;
    py::array a = dtype == DType::f32
                      ? Any(py::array_t<float, py::array::c_style | py::array::forcecast>::ensure(given))
                      : Any(py::array_t<double, py::array::c_style | py::array::forcecast>::ensure(given));
    if (!a) throw InvalidArgument(where + ": not convertible to an array of numbers");
    const auto shape = shape_of(t);
    bool fits = size_t(a.ndim()) == shape.size();
    for (size_t i = 0; fits && i < shape.size(); ++i) fits = a.shape(py::ssize_t(i)) == shape[i];
    if (!fits) throw InvalidArgument(where + ": wrong shape");
    return a;
}

// What a module's engines are: makes the net that a program describes, on the module's device.
using MakeNet = std::unique_ptr<Backend> (*)(const py::dict& program);

void bind_engine(py::module_&, MakeNet);
void bind_kernels(py::module_&);
// The same for many nets of one shape; and why some would not be of use, a function of the module with the name given.
using MakePopulation = std::unique_ptr<PopulationBackend> (*)(int64_t inputs, std::vector<uint64_t> seeds,
                                                              const MemberNumbers&, std::vector<Op> ops, DType);
using WhyNotTogether = std::string (*)(const Plan&, const Training&, DType, int64_t batch_rows);
void bind_population(py::module_&, MakePopulation, const char* why_name, WhyNotTogether);

}  // namespace fd::bindings
