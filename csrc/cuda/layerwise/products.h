// Row-major matrix products with a fused epilogue (bias, activation, activation derivative).
#pragma once
#include <cstdint>
#include <memory>

#include "cuda/layerwise/lt.h"
#include "cuda/runtime/runtime.h"
#include "ops/activations.h"

namespace fd::cuda {

// v = scale · product, then in this order, each if it is given:
template <class T>
struct Epilogue {
    double scale = 1;
    const T* add = nullptr;  // v += add_scale · add(row, col)
    double add_scale = 0;
    const T* bias = nullptr;                               // v += bias(col)
    T* pre_activation = nullptr;                           // = v
    ops::Activation activation = ops::Activation::linear;  // v = f(v)
    ops::Activation backward = ops::Activation::linear;    // v *= f'(stored(row, col)), of the layer below
    const T* stored = nullptr;
    T alpha = T(0);
    const T* slope = nullptr;  // prelu's, per column, instead of alpha
};

// out(m, n) = op(a) op(b); op(a) is (m, k), or stored as (k, m) if transposed, and so on. All matrices lie densely.
template <class T>
struct Product {
    int64_t m = 0, n = 0, k = 0;
    bool transpose_a = false, transpose_b = false;
    const T *a = nullptr, *b = nullptr;
    // With transpose_a: operands for tensor cores, whose lines lie so many elements apart; of bfloat16 in place of a and b, or of
    // a and b, rounded to TF32.
    const uint16_t *bf16_a = nullptr, *bf16_b = nullptr;
    int64_t lda = 0, ldb = 0;
    T* out = nullptr;
    Precision precision = Precision::full;
    Epilogue<T> epilogue;
    // With transpose_a: sums over k cut into `splits` parts, part s in out + s · stride; likewise the column sums of b.
    int splits = 1;
    int64_t stride = 0;
    T* column_sums = nullptr;  // (n,): Σ over k of b(k, n)
};

// The kernels that products can go to; `automatic` chooses by size, the others are for tests and benchmarks.
enum class ProductPath { automatic, simt, mma, cublaslt };
inline constexpr const char* product_paths[] = {"auto", "simt", "mma", "cublaslt"};
void set_product_path(ProductPath);  // of all products from now on
ProductPath product_path();
void set_product_tile(int side);  // of all hand-written products from now on, for tests and benchmarks; 0: by size

// Makes products on a stream. What is captured must have run once before: cuBLASLt chooses its algorithm then.
class Products {
public:
    explicit Products(cudaStream_t stream) : stream_(stream) {}
    template <class T>
    void run(const Product<T>&);
    // How many parts to cut the sum of a kernel's gradient into, so that the GPU is full.
    static int splits(int64_t m, int64_t n, int64_t k, Precision);
    static bool large(int64_t m, int64_t n, int64_t k, Precision);  // whether cuBLASLt makes it, if it can
    // The side of a hand-written kernel's tiles, 128, 64 or 32: large ones reuse more, small ones fill the GPU. `precision`: of
    // the kernel, full of the one that does without tensor cores.
    static int tile(int64_t m, int64_t n, int splits, Precision, int largest = 128);

private:
    template <class T>
    bool by_library(const Product<T>&);
    template <class T>
    void by_hand(const Product<T>&);

    const cudaStream_t stream_;
    DeviceBuffer<char> workspace_;
    std::unique_ptr<lt::Products> library_;
};

template <class T>
void hand_product(const Product<T>&, int tile, cudaStream_t);     // gemm.cu; doubles have no tile of 128, and take 64
void mma_product(const Product<float>&, int tile, cudaStream_t);  // gemm_mma.cu: of rounded or split operands
// Applies the epilogue to the sums in out.
template <class T>
void finish_product(const Product<T>&, cudaStream_t);  // gemm.cu

}  // namespace fd::cuda
