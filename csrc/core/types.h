// The vocabulary shared by every layer of the core: array views and data sets, on no device.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>

#include "ops/hd.h"

namespace fd {

// The caller's mistake (ValueError in Python) against a bug of ours. Checks for users live in Python; these are the second line of defence.
struct InvalidArgument : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};
struct InternalError : std::logic_error {
    explicit InternalError(const std::string& what)
        : std::logic_error(what + " (this is a bug in fastdense: please report it with fastdense.show_versions())") {}
};

// The paths through a net besides layer by layer, which knows every kind of op; each refuses a net with an op it does not know.
namespace paths {
enum : unsigned { none = 0, rowwise = 1, memberwise = 2, wholenet = 4, jacobian = 8, tangents = 16, all = 31 };
}
// X(name, the paths that know it)
// clang-format off
#define FD_OP_KINDS(X)                                                                                       \
    X(dense, all) X(activation, all) X(batch_norm, memberwise | wholenet) X(layer_norm, memberwise | wholenet) \
    X(dropout, rowwise | memberwise | wholenet | tangents) X(normalization, all) X(rescaling, all)                       \
    X(residual_begin, memberwise | wholenet | jacobian | tangents)                                            \
    X(residual_end, memberwise | wholenet | jacobian | tangents)                                              \
    X(scale, tangents) X(piecewise_linear, jacobian) X(periodic, none) X(embedding, none) X(grouped_dense, none)  \
    X(gaussian_noise, tangents) X(gaussian_dropout, tangents) X(alpha_dropout, tangents) X(unit_norm, none) X(activity, tangents) \
    X(select_columns, none) X(branches_begin, none) X(branch_next, none) X(branches_end, none) \
    X(function, none)
// clang-format on
#define FD_OP_ENUM(name, known_to) name,
enum class OpKind { FD_OP_KINDS(FD_OP_ENUM) };
#undef FD_OP_ENUM

inline constexpr const char* op_names[] = {
#define FD_OP_NAME(name, known_to) #name,
    FD_OP_KINDS(FD_OP_NAME)
#undef FD_OP_NAME
};

// Whether a path knows a kind of op.
inline bool is_known_to(unsigned path, OpKind kind) {
    using namespace paths;
    constexpr unsigned known[] = {
#define FD_OP_PATHS(name, known_to) known_to,
        FD_OP_KINDS(FD_OP_PATHS)
#undef FD_OP_PATHS
    };
    return (known[int(kind)] & path) != 0;
}

// Of the operands of dense products; others than full only with f32. tf32x3: three products of TF32 for one, as exact as full.
enum class Precision { full, tf32, bf16, tf32x3 };
inline bool rounds_operands(Precision p) { return p == Precision::tf32 || p == Precision::bf16; }
// What products that are made number by number round to: parts of 3xTF32 are only for tensor cores.
inline Precision rounding_of(Precision p) { return rounds_operands(p) ? p : Precision::full; }
enum class DType { boolean, i8, u8, i16, u16, i32, u32, i64, u64, f32, f64 };
// f(zero) with a zero of the C++ type that elements of `t` have in memory.
template <class F>
FD_HD decltype(auto) visit(DType t, F&& f) {
    switch (t) {
        case DType::boolean:
        case DType::u8: return f(uint8_t(0));
        case DType::i8: return f(int8_t(0));
        case DType::i16: return f(int16_t(0));
        case DType::u16: return f(uint16_t(0));
        case DType::i32: return f(int32_t(0));
        case DType::u32: return f(uint32_t(0));
        case DType::i64: return f(int64_t(0));
        case DType::u64: return f(uint64_t(0));
        case DType::f32: return f(float(0));
        case DType::f64: break;
    }
    return f(double(0));
}
inline int64_t size_of(DType t) {
    return visit(t, [](auto zero) { return int64_t(sizeof(zero)); });
}
template <class T>
inline constexpr DType dtype_of = sizeof(T) == 4 ? DType::f32 : DType::f64;  // of the two types that nets have

// A two-dimensional array in the caller's memory; strides in bytes. It is read in place, whatever its type and order.
struct View {
    const char* data = nullptr;
    DType dtype = DType::f32;
    int64_t rows = 0, cols = 0, row_stride = 0, col_stride = 0;
    bool on_device = false;  // in the memory of the engine's own device, not the host's

    explicit operator bool() const { return data != nullptr; }
    bool same_as(const View& v) const {
        return data == v.data && dtype == v.dtype && rows == v.rows && cols == v.cols && row_stride == v.row_stride &&
               col_stride == v.col_stride;
    }
    const char* row(int64_t r) const { return data + r * row_stride; }
    // Rows that can be read as T where they lie, each without gaps.
    template <class T>
    FD_HD bool has_rows_of() const {
        return dtype == dtype_of<T> && (col_stride == int64_t(sizeof(T)) || cols == 1) &&
               row_stride % int64_t(sizeof(T)) == 0 && reinterpret_cast<uintptr_t>(data) % sizeof(T) == 0;
    }
    // The same, with no gap between rows: nothing to convert or to move.
    template <class T>
    FD_HD bool is_matrix_of() const {
        return has_rows_of<T>() && row_stride == cols * int64_t(sizeof(T));
    }
};

struct Dataset {
    View x, y;                        // y: targets (rows, outputs), or class ids (rows, 1) for the sparse loss
    const double* weights = nullptr;  // (rows,), or none
    bool weights_on_device = false;
    int64_t rows() const { return x.rows; }
};

}  // namespace fd
