// Compares the hand-written declarations of cuBLASLt (csrc/cuda/layerwise/lt_library.h) with NVIDIA's header, at compile time.
// Built where -DFASTDENSE_CUBLAS_INCLUDE=FOLDER names the folder of cublasLt.h; needs the CUDA toolkit's headers as
// well.
#include <cublasLt.h>

#include <cstddef>
#include <type_traits>

#include "cuda/layerwise/lt_library.h"

namespace {

namespace lt = fd::cuda::lt;

// The same in a register: a pointer is a pointer, an enum an integer of its size.
template <class Ours, class Theirs>
constexpr bool alike() {
    if constexpr (std::is_pointer_v<Theirs> || std::is_pointer_v<Ours>)
        return std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>;
    else return sizeof(Ours) == sizeof(Theirs) && std::is_floating_point_v<Ours> == std::is_floating_point_v<Theirs>;
}
template <class Ours, class Theirs>
struct Alike;
template <class R, class... A, class S, class... B>
struct Alike<R (*)(A...), S (*)(B...)> {
    static constexpr bool value() {
        if constexpr (sizeof...(A) != sizeof...(B)) return false;
        else return alike<R, S>() && (alike<A, B>() && ...);
    }
};
#define FD_COMPARE(field, symbol) \
    static_assert(Alike<decltype(lt::Functions::field), decltype(&::symbol)>::value(), #symbol);
FD_CUBLASLT(FD_COMPARE)
#undef FD_COMPARE

#define FD_SAME(ours, theirs) static_assert(int(ours) == int(theirs), #theirs)
FD_SAME(lt::Status::success, CUBLAS_STATUS_SUCCESS);
FD_SAME(lt::Status::not_initialized, CUBLAS_STATUS_NOT_INITIALIZED);
FD_SAME(lt::Status::invalid_value, CUBLAS_STATUS_INVALID_VALUE);
FD_SAME(lt::Status::execution_failed, CUBLAS_STATUS_EXECUTION_FAILED);
FD_SAME(lt::Status::internal_error, CUBLAS_STATUS_INTERNAL_ERROR);
FD_SAME(lt::Status::not_supported, CUBLAS_STATUS_NOT_SUPPORTED);
FD_SAME(lt::DataType::f32, CUDA_R_32F);
FD_SAME(lt::DataType::f64, CUDA_R_64F);
FD_SAME(lt::ComputeType::f32, CUBLAS_COMPUTE_32F);
FD_SAME(lt::ComputeType::f64, CUBLAS_COMPUTE_64F);
FD_SAME(lt::ComputeType::f32_fast_bf16, CUBLAS_COMPUTE_32F_FAST_16BF);
FD_SAME(lt::ComputeType::f32_fast_tf32, CUBLAS_COMPUTE_32F_FAST_TF32);
FD_SAME(lt::OperationAttribute::transpose_a, CUBLASLT_MATMUL_DESC_TRANSA);
FD_SAME(lt::OperationAttribute::transpose_b, CUBLASLT_MATMUL_DESC_TRANSB);
FD_SAME(lt::OperationAttribute::epilogue, CUBLASLT_MATMUL_DESC_EPILOGUE);
FD_SAME(lt::OperationAttribute::bias_pointer, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
FD_SAME(lt::EpilogueCode::none, CUBLASLT_EPILOGUE_DEFAULT);
FD_SAME(lt::EpilogueCode::bias, CUBLASLT_EPILOGUE_BIAS);
FD_SAME(lt::EpilogueCode::relu_bias, CUBLASLT_EPILOGUE_RELU_BIAS);
FD_SAME(lt::EpilogueCode::bias_gradient_a, CUBLASLT_EPILOGUE_BGRADA);
FD_SAME(lt::PreferenceAttribute::max_workspace_bytes, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
FD_SAME(lt::PreferenceAttribute::reduction_scheme_mask, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
FD_SAME(lt::PreferenceAttribute::min_alignment_a, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
FD_SAME(lt::PreferenceAttribute::min_alignment_b, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
FD_SAME(lt::PreferenceAttribute::min_alignment_c, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
FD_SAME(lt::PreferenceAttribute::min_alignment_d, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
FD_SAME(lt::reduction_in_place, CUBLASLT_REDUCTION_SCHEME_INPLACE);
FD_SAME(lt::reduction_compute_type, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
FD_SAME(lt::reduction_output_type, CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE);
static_assert(CUBLAS_OP_N == 0 && CUBLAS_OP_T == 1 && sizeof(cublasOperation_t) == 4, "transpose_a and _b hold a bool");
static_assert(CUBLASLT_POINTER_MODE_HOST == 0, "alpha and beta lie on the host by default");

static_assert(sizeof(lt::Algorithm) == sizeof(cublasLtMatmulAlgo_t) &&
              alignof(lt::Algorithm) == alignof(cublasLtMatmulAlgo_t));
static_assert(sizeof(lt::Heuristic) == sizeof(cublasLtMatmulHeuristicResult_t));
#define FD_PLACE(ours, theirs) \
    static_assert(offsetof(lt::Heuristic, ours) == offsetof(cublasLtMatmulHeuristicResult_t, theirs), #theirs)
FD_PLACE(algorithm, algo);
FD_PLACE(workspace, workspaceSize);
FD_PLACE(status, state);
FD_PLACE(waves, wavesCount);
FD_PLACE(reserved, reserved);

}  // namespace
