// Products of bfloat16 pairs. Compiled once per instruction set, and once more for CPUs that have AVX512-BF16 or, on ARM, BF16;
// elsewhere the same roundings are made in plain code, at about the speed of float32. What differs: the instructions take subnormal
// numbers for 0 and may round inside a pair.
#include <cstring>

#include "cpu/simd/isa.h"
#include "cpu/simd/kernels.h"

namespace fd::cpu {
namespace FD_ISA_NAMESPACE {

#include "cpu/simd/simd.h"

#include "cpu/layerwise/kernels_transpose.h"

#include "cpu/layerwise/kernels_product.h"

#if defined(__AVX512BF16__) || defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)

#if defined(__AVX512BF16__)
#include "cpu/layerwise/kernels_bf16_avx512.h"
#else
#include "cpu/layerwise/kernels_bf16_neon.h"
#endif

void pack_rows(const float* a, int64_t ld, int64_t rows, int64_t k, Pair* panel) {
    constexpr int W = Pack<float>::width;
    for (int h = 0; h < 2; ++h)
        for (int64_t j = 0; j < k; j += 2 * W) {
            const int n = int(k - j < 2 * W ? k - j : 2 * W), low = n < W ? n : W;
            Pack<float> block[W];
#pragma GCC unroll 16
            for (int r = 0; r < W; ++r) {
                const float* from = a + (h * W + r) * ld + j;
                block[r] = Pack<float>(0.0f);
                if (h * W + r < rows) block[r] = rounded(load(from, low), load(from + low, n - low));
            }
            transpose(block);
#pragma GCC unroll 16
            for (int i = 0; i < W; ++i)
                if (2 * i < n) store_words(panel + (j / 2 + i) * 2 * W + h * W, block[i]);
        }
}
void pair_rows(const float* a, int64_t ld, int64_t rows, int64_t cols, Pair* out, int64_t out_ld) {
    for (int64_t r = 0; r < rows; r += 2, a += 2 * ld, out += out_ld)
        for_vectors<float>(cols, [&](int64_t c, auto n) {
            const Pack<float> second = r + 1 < rows ? load(a + ld + c, n) : Pack<float>(0.0f);
            store_words(out + c, interleaved(rounded(load(a + c, n), second)), n);
        });
}
void pair_weights(const float* a, int64_t rows, int64_t cols, Pair* pairs, Pair* by_row) {
    const int64_t row_words = (cols + 1) / 2;
    for (int64_t r = 0; r < rows; r += 2, a += 2 * cols, pairs += cols, by_row += 2 * row_words) {
        const bool two = r + 1 < rows;
        uint16_t *first = reinterpret_cast<uint16_t*>(by_row), *second = first + 2 * row_words;
        for_vectors<float>(cols, [&](int64_t c, auto n) {
            const Pack<float> both = rounded(load(a + c, n), two ? load(a + cols + c, n) : Pack<float>(0.0f));
            store_words(pairs + c, interleaved(both), n);
            store_lower(first + c, both, n);
            if (two) store_upper(second + c, both, n);
        });
    }
}

#else

template <>
struct Operand<Pair> {
    static constexpr int rows = FD_VECTOR_REGISTERS == 32 ? 12 : 4;
    using Words = Lanes<float>::ivec;
    struct Vector {
        Pack<float> first, second;
    };
    FD_HD static Vector split(Words w) {
        return {from_bits<float>(w << 16), from_bits<float>(w & int32_t(0xffff0000))};
    }
    FD_HD static Vector vector(const Pair* v) { return split(bits(load(reinterpret_cast<const float*>(v)))); }
#ifdef __aarch64__
    static constexpr int lanes = Pack<float>::width;
    struct Lane {
        Vector of;
        int i;
    };
    FD_HD static Lane lane(Vector x, int i) { return {x, i}; }
    FD_HD static Lane broadcast(Pair x) { return {split(Words{} + int32_t(x)), 0}; }
    FD_HD static Pack<float> multiply_add(Lane x, Vector v, Pack<float> sum) {
        sum = FD_ISA_NAMESPACE::multiply_add(x.of.second.v[x.i], v.second, sum);
        return FD_ISA_NAMESPACE::multiply_add(x.of.first.v[x.i], v.first, sum);
    }
#else
    static constexpr int lanes = 0;
    FD_HD static Vector broadcast(Pair x) { return split(Words{} + int32_t(x)); }
    FD_HD static Pack<float> multiply_add(Vector x, Vector v, Pack<float> sum) {
        return (sum + x.second * v.second) + x.first * v.first;
    }
#endif
};

FD_HD Pair rounded(float x) {
    uint32_t b;
    __builtin_memcpy(&b, &x, sizeof(b));
    return (x == x ? b + 0x7fff + ((b >> 16) & 1) : b | 0x400000) >> 16;
}
FD_HD Pair pair(float first, float second) { return rounded(first) | rounded(second) << 16; }

void pack_rows(const float* a, int64_t ld, int64_t rows, int64_t k, Pair* panel) {
    constexpr int width = panel_width<float>;
    for (int64_t j = 0; j < k; j += 2, panel += width)
        for (int64_t r = 0; r < width; ++r) {
            const float* from = a + r * ld + j;
            panel[r] = r >= rows ? 0 : pair(from[0], j + 1 < k ? from[1] : 0.0f);
        }
}
void pair_rows(const float* a, int64_t ld, int64_t rows, int64_t cols, Pair* out, int64_t out_ld) {
    for (int64_t r = 0; r < rows; r += 2, a += 2 * ld, out += out_ld)
        for (int64_t c = 0; c < cols; ++c) out[c] = pair(a[c], r + 1 < rows ? a[ld + c] : 0.0f);
}
void pair_weights(const float* a, int64_t rows, int64_t cols, Pair* pairs, Pair* by_row) {
    pair_rows(a, cols, rows, cols, pairs, cols);
    const int64_t row_words = (cols + 1) / 2;
    for (int64_t r = 0; r < rows; ++r, a += cols, by_row += row_words)
        for (int64_t c = 0; c < cols; c += 2) by_row[c / 2] = pair(a[c], c + 1 < cols ? a[c + 1] : 0.0f);
}

#endif

constexpr Bf16Kernels bf16_table() {
    Bf16Kernels k{};
    k.panel = panel_width<float>;
    k.tile = Operand<Pair>::rows;
    k.product = product<float, Pair>;
    k.pack_rows = pack_rows;
    k.pair_rows = pair_rows;
    k.pair_weights = pair_weights;
    k.gather_strip = gather_strip<Pair>;
    return k;
}
extern const Bf16Kernels bf16;
constexpr Bf16Kernels bf16 = bf16_table();

// clang-format off
}  // namespace isa_...
// clang-format on
}  // namespace fd::cpu
