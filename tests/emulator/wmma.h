// Test-only: nvcuda::wmma and bfloat16 for the emulator. As on a GPU, the numbers of a tile are distributed over the 32 lanes in an
// order no caller may rely on; all lanes of a warp must call together; pointers and strides must be aligned as the GPU wants them.
#pragma once
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "cuda_emulator.h"

struct __nv_bfloat16 {
    uint16_t bits;
};
struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};
inline float __bfloat162float(__nv_bfloat16 v) { return __uint_as_float(unsigned(v.bits) << 16); }
inline __nv_bfloat16 __float2bfloat16_rn(float v) {  // ties to even; every NaN becomes the same one
    if (v != v) return {0x7fff};
    const unsigned u = __float_as_uint(v);
    return {uint16_t((u + 0x7fffu + (u >> 16 & 1u)) >> 16)};
}
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
    return {__float2bfloat16_rn(x), __float2bfloat16_rn(y)};
}

namespace nvcuda {
namespace wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };

template <class Use, int M, int N, int K, class T, class Layout = void>
struct fragment {
    static constexpr int rows = std::is_same<Use, matrix_b>::value ? K : M,
                         cols = std::is_same<Use, matrix_a>::value ? K : N;
    static constexpr int num_elements = rows * cols / 32;
    T x[num_elements];  // of lane l: numbers l, l + 32, ... of the tile, row by row
};

template <class Use, int M, int N, int K, class T, class Layout>
void fill_fragment(fragment<Use, M, N, K, T, Layout>& f, T v) {
    for (auto& e : f.x) e = v;
}

namespace detail {
// Lanes must come together, but that orders no memory: with odd seeds they do so after they have read or written.
template <class Access>
void access(const void* p, unsigned ld, size_t size, const char* operation, int line, Access body) {
    const std::string at = ", line " + std::to_string(line);
    if (ld * size % 16) emulator::fail(std::string(operation) + ": the stride is no multiple of 16 bytes" + at);
    if (reinterpret_cast<uintptr_t>(p) % 32)
        emulator::fail(std::string(operation) + ": the pointer is not on 32 bytes" + at);
    auto run = [&] {
        emulator::machine.whole_warp = true;
        body();
        emulator::machine.whole_warp = false;
    };
    if (emulator::seed % 2) run();
    emulator::warp_barrier(~0u, line, operation);
    if (emulator::seed % 2 == 0) run();
}
template <class F, class T>
void load(F& f, const T* p, unsigned ld, bool by_rows) {
    for (int i = 0; i < F::num_elements; ++i) {
        const unsigned e = unsigned(i * 32 + emulator::own_lane()), r = e / F::cols, c = e % F::cols;
        f.x[i] = by_rows ? p[r * ld + c] : p[c * ld + r];
    }
}
inline float value(float v) {
    if (__float_as_uint(v) & 0x1fffu) emulator::fail("mma_sync: an operand has more bits than TF32");
    return v;
}
inline float value(__nv_bfloat16 v) { return __bfloat162float(v); }
template <class F>
float element(const void* const* lanes, int r, int c) {
    const int e = r * F::cols + c;
    return value(static_cast<const F*>(lanes[e % 32])->x[e / 32]);
}
}  // namespace detail

template <class Use, int M, int N, int K, class T, class Layout, class P>
void load_matrix_sync(fragment<Use, M, N, K, T, Layout>& f, const P* p, unsigned ld, int line = __builtin_LINE()) {
    detail::access(p, ld, sizeof(P), "load_matrix_sync", line,
                   [&] { detail::load(f, p, ld, std::is_same<Layout, row_major>::value); });
}
template <int M, int N, int K, class T>
void load_matrix_sync(fragment<accumulator, M, N, K, T>& f, const T* p, unsigned ld, layout_t layout,
                      int line = __builtin_LINE()) {
    detail::access(p, ld, sizeof(T), "load_matrix_sync", line,
                   [&] { detail::load(f, p, ld, layout == mem_row_major); });
}
template <int M, int N, int K, class T>
void store_matrix_sync(T* p, const fragment<accumulator, M, N, K, T>& f, unsigned ld, layout_t layout,
                       int line = __builtin_LINE()) {
    detail::access(p, ld, sizeof(T), "store_matrix_sync", line, [&] {
        for (int i = 0; i < f.num_elements; ++i) {
            const unsigned e = unsigned(i * 32 + emulator::own_lane()), r = e / N, c = e % N;
            (layout == mem_row_major ? p[r * ld + c] : p[c * ld + r]) = f.x[i];
        }
    });
}

namespace detail {
// As tensor cores add up: products are exact, and their sum with c is cut off, not rounded (Fasi, Higham, Mikaitis and Pranesh,
// "Numerical behavior of NVIDIA tensor cores", 2021). What they lose by aligning the terms is not shown.
inline float cut(double sum) {
    const float v = float(sum);
    return std::isfinite(v) && std::fabs(double(v)) > std::fabs(sum) ? std::nextafterf(v, 0.0f) : v;
}
}  // namespace detail

template <int M, int N, int K, class T, class LA, class LB>
void mma_sync(fragment<accumulator, M, N, K, float>& d, const fragment<matrix_a, M, N, K, T, LA>& a,
              const fragment<matrix_b, M, N, K, T, LB>& b, const fragment<accumulator, M, N, K, float>& c,
              int line = __builtin_LINE()) {
    using A = fragment<matrix_a, M, N, K, T, LA>;
    using B = fragment<matrix_b, M, N, K, T, LB>;
    struct Operands {
        const void *a, *b;
    } mine{&a, &b};
    emulator::offer(~0u, static_cast<const Operands*>(&mine), line, "mma_sync");
    const void *as[32], *bs[32];
    for (int l = 0; l < 32; ++l) {
        const auto* theirs = emulator::lane_value<const Operands*>(l);
        as[l] = theirs->a, bs[l] = theirs->b;
    }
    for (int i = 0; i < d.num_elements; ++i) {
        const int e = i * 32 + emulator::own_lane();
        double sum = double(c.x[i]);
        for (int k = 0; k < K; ++k)
            sum += double(detail::element<A>(as, e / N, k)) * double(detail::element<B>(bs, k, e % N));
        d.x[i] = detail::cut(sum);
    }
    emulator::warp_barrier(~0u, line, "mma_sync");  // the operands are no longer needed
}

}  // namespace wmma

}  // namespace nvcuda
