// Matrix products by cuBLASLt, for row-major matrices.
#pragma once
#include <array>
#include <map>
#include <memory>
#include <stdexcept>

#include "core/types.h"
#include "cuda/layerwise/lt_library.h"
#include "cuda/runtime/runtime_api.h"

namespace fd::cuda::lt {

// A call that failed: which one, how, and on what product.
struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

enum class Epilogue {
    none,
    bias,          // c += bias, in every row
    relu_bias,     // c = max(c + bias, 0), in which a NaN may get lost
    bias_gradient  // beside c, bias_gradient[j] = sum over k of op(b)[k][j], overwritten; alpha must be 1
};

// c (m, n) = alpha op(a) (m, k) op(b) (k, n) + beta added, then the epilogue. op(x) is x, or its transpose; all
// matrices are row-major, in device memory, of float32, or of float64 (whose precision is always
// its own). Operands may be rounded to TF32, or to bfloat16 (or to TF32, as the library likes); sums are in float32.
struct Product {
    bool f64 = false;
    bool bf16 = false;  // a and b are bfloat16 numbers, c float32
    Precision precision = Precision::full;
    int64_t m = 0, n = 0, k = 0;
    bool transpose_a = false, transpose_b = false;
    const void *a = nullptr, *b = nullptr;
    void* c = nullptr;
    int64_t lda = 0, ldb = 0, ldc = 0;  // elements from row to row, as stored
    double alpha = 1, beta = 0;
    const void* added = nullptr;  // (m, n), with c's ldc; null: c itself
    Epilogue epilogue = Epilogue::none;
    const void* bias = nullptr;     // (n,)
    void* bias_gradient = nullptr;  // (n,)
};

// What NVIDIA recommends: 32 MiB for Hopper and later, less before.
constexpr size_t workspace_bytes(int compute_capability_major) {
    return size_t(compute_capability_major >= 9 ? 32 : 8) << 20;
}

// A handle on the current device, and the algorithms chosen so far, by shape. For one thread and one stream at a time:
// all products share the workspace. Needs available().
class Products {
public:
    // The workspace: device memory, aligned to 256 bytes, that outlives this object.
    Products(void* workspace, size_t bytes);

    // Whether the library has an algorithm for it. Pointers count by their alignment to 16 bytes only. Call it before a
    // graph is captured: while a stream is capturing, cuBLASLt 13.3 refuses to choose.
    bool plan(const Product&);

    // Enqueues it. False where the library has no algorithm: nothing was enqueued, and the caller's own kernel must do
    // it. What is captured should have run once before: the library loads kernels at first use, which a strict capture
    // forbids.
    [[nodiscard]] bool run(const Product&, cudaStream_t);

private:
    using Key = std::array<int64_t, 17>;
    template <class T>
    using Owned = std::unique_ptr<T, Status (*)(T*)>;
    struct Plan {
        bool supported;
        Owned<OperationContent> operation;
        Owned<LayoutContent> a, b, c;
        Algorithm algorithm;
    };

    static Key key(const Product&);
    Plan* find(const Product&);  // made if need be; null where the library has no algorithm
    Plan make(const Product&) const;
    void check(const char* call, Status, const Product*) const;

    const Functions& lt_;
    Owned<HandleContent> handle_;
    void* workspace_;
    size_t bytes_;
    std::map<Key, Plan> plans_;
};

}  // namespace fd::cuda::lt
