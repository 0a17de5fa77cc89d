// cuBLASLt, opened at run time: a build needs no cuBLAS, and a process without it still has the hand-written kernels.
// The few entry points are declared by hand; tests/cpp/lt_header_check.cpp compares them with NVIDIA's header. No CUDA
// header is needed here: handles are opaque, and a stream is passed as the pointer it is.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace fd::cuda::lt {

using Handle = struct HandleContent*;
using Operation = struct OperationContent*;    // cublasLtMatmulDesc_t
using Layout = struct LayoutContent*;          // cublasLtMatrixLayout_t
using Preference = struct PreferenceContent*;  // cublasLtMatmulPreference_t

struct Algorithm {
    uint64_t data[8];
};
enum class Status : int {
    success = 0,
    not_initialized = 1,
    invalid_value = 7,
    execution_failed = 13,
    internal_error = 14,
    not_supported = 15
};
struct Heuristic {
    Algorithm algorithm;
    size_t workspace;
    Status status;  // the rest is meaningful where it is success
    float waves;
    int reserved[4];
};

enum class DataType : int { f32 = 0, f64 = 1, bf16 = 14 };
enum class ComputeType : int { f32 = 68, f64 = 70, f32_fast_bf16 = 75, f32_fast_tf32 = 77 };
enum class OperationAttribute : int { transpose_a = 3, transpose_b = 4, epilogue = 7, bias_pointer = 8 };
enum class EpilogueCode : int { none = 1, bias = 4, relu_bias = 6, bias_gradient_a = 256 };
enum class PreferenceAttribute : int {
    max_workspace_bytes = 1,
    reduction_scheme_mask = 3,
    min_alignment_a = 5,
    min_alignment_b = 6,
    min_alignment_c = 7,
    min_alignment_d = 8
};
enum ReductionScheme : uint32_t { reduction_in_place = 1, reduction_compute_type = 2, reduction_output_type = 4 };

struct Functions {
    Status (*create)(Handle*);
    Status (*destroy)(Handle);
    size_t (*version)();
    const char* (*status_name)(Status);
    Status (*operation_create)(Operation*, ComputeType, DataType scale);
    Status (*operation_destroy)(Operation);
    Status (*operation_set)(Operation, OperationAttribute, const void* value, size_t bytes);
    Status (*layout_create)(Layout*, DataType, uint64_t rows, uint64_t columns, int64_t leading_dimension);
    Status (*layout_destroy)(Layout);
    Status (*preference_create)(Preference*);
    Status (*preference_destroy)(Preference);
    Status (*preference_set)(Preference, PreferenceAttribute, const void* value, size_t bytes);
    Status (*heuristic)(Handle, Operation, Layout a, Layout b, Layout c, Layout d, Preference, int asked, Heuristic*,
                        int* found);
    Status (*matmul)(Handle, Operation, const void* alpha, const void* a, Layout, const void* b, Layout,
                     const void* beta, const void* c, Layout, void* d, Layout, const Algorithm*, void* workspace,
                     size_t workspace_bytes, void* stream);
};
// The symbol behind each field: X(field, symbol).
#define FD_CUBLASLT(X)                                      \
    X(create, cublasLtCreate)                               \
    X(destroy, cublasLtDestroy)                             \
    X(version, cublasLtGetVersion)                          \
    X(status_name, cublasLtGetStatusName)                   \
    X(operation_create, cublasLtMatmulDescCreate)           \
    X(operation_destroy, cublasLtMatmulDescDestroy)         \
    X(operation_set, cublasLtMatmulDescSetAttribute)        \
    X(layout_create, cublasLtMatrixLayoutCreate)            \
    X(layout_destroy, cublasLtMatrixLayoutDestroy)          \
    X(preference_create, cublasLtMatmulPreferenceCreate)    \
    X(preference_destroy, cublasLtMatmulPreferenceDestroy)  \
    X(preference_set, cublasLtMatmulPreferenceSetAttribute) \
    X(heuristic, cublasLtMatmulAlgoGetHeuristic)            \
    X(matmul, cublasLtMatmul)

// Where to look beside the process itself (a copy that PyTorch or CuPy has loaded is shared) and the system's own
// search. Counts until the library is found.
void set_library_folders(std::vector<std::string> folders);

// The library; null where it is not to be found. The first call searches, and so does the next after new folders.
const Functions* functions();

inline bool available() { return functions() != nullptr; }
std::string why_unavailable();  // each place that was tried, and what to install; empty where it is available
std::string path();             // of the file that was bound; empty where there is none
size_t version();               // 130100 is 13.1.0; 0 where there is none

}  // namespace fd::cuda::lt
