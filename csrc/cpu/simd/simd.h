// The SIMD value type of the CPU kernels: a GCC/clang vector with the functions ops/hd.h asks for.
// Included inside the namespace of one instruction set (see isa.h), so that no two sets share a symbol.
// Accuracy, measured against long double by the kernel tests: exp, expm1, log, log1p within 4 ulp, tanh within 7;
// all are in vectors, none calls a library.
// (No #pragma once: it is included once per instruction set, each in a translation unit of its own.)

#if defined(__AVX512F__)
inline constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
inline constexpr int vector_bytes = 32;
#else
inline constexpr int vector_bytes = 16;
#endif

#if defined(__AVX512F__) || defined(__aarch64__)
#define FD_VECTOR_REGISTERS 32
#else
#define FD_VECTOR_REGISTERS 16
#endif
// Rows of the tiles of products, of two vectors each. Beside the sums: both vectors of the other side, and the row's number in
// all lanes of a third; on ARM, multiply-adds take it from a lane, of registers that hold several. 12 there: whole transposes.
#if defined(__AVX512F__)
inline constexpr int tile_rows = 14;
#elif defined(__aarch64__)
inline constexpr int tile_rows = 12;
#else
inline constexpr int tile_rows = 6;
#endif

template <class T> struct Lanes;
template <> struct Lanes<float> {
    typedef float vec __attribute__((vector_size(vector_bytes)));
    typedef float vec_unaligned __attribute__((vector_size(vector_bytes), aligned(4), may_alias));
    using integer = int32_t;
    typedef int32_t ivec __attribute__((vector_size(vector_bytes)));
    static constexpr int mantissa = 23, bias = 127, exp_terms = 7, log_terms = 5;
    static constexpr float no_exp = -104, infinite_exp = 89, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    static constexpr int lift = 65;  // even with the bias: ties are rounded as without both
    static constexpr float drop = 0x1p-65f;
    static constexpr float denormal_scale = 33554432.0f;  // 2^25
    static constexpr int denormal_shift = 25;
};
template <> struct Lanes<double> {
    typedef double vec __attribute__((vector_size(vector_bytes)));
    typedef double vec_unaligned __attribute__((vector_size(vector_bytes), aligned(8), may_alias));
    using integer = int64_t;
    typedef int64_t ivec __attribute__((vector_size(vector_bytes)));
    static constexpr int mantissa = 52, bias = 1023, exp_terms = 13, log_terms = 12;
    static constexpr double no_exp = -746, infinite_exp = 710;
    static constexpr int lift = 513;
    static constexpr double drop = 0x1p-513;
    static constexpr double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
    static constexpr double denormal_scale = 18014398509481984.0;  // 2^54
    static constexpr int denormal_shift = 54;
};

#define FD_PACK template <class T> FD_HD

template <class T>
struct Pack {
    using value_type = T;
    using vec = typename Lanes<T>::vec;
    using ivec = typename Lanes<T>::ivec;
    static constexpr int width = vector_bytes / int(sizeof(T));
    vec v;
    FD_HD Pack() {}
    FD_HD Pack(vec x) : v(x) {}
    FD_HD explicit Pack(T x) : v(x - vec{}) {}
    template <class U, class = std::enable_if_t<std::is_arithmetic_v<U> && !std::is_same_v<U, T>>>
    FD_HD explicit Pack(U x) : Pack(T(x)) {}
};
template <class T>
struct Mask {
    typename Lanes<T>::ivec m;
};

FD_PACK Pack<T> operator+(Pack<T> a, Pack<T> b) { return a.v + b.v; }
FD_PACK Pack<T> operator-(Pack<T> a, Pack<T> b) { return a.v - b.v; }
FD_PACK Pack<T> operator*(Pack<T> a, Pack<T> b) { return a.v * b.v; }
FD_PACK Pack<T> operator/(Pack<T> a, Pack<T> b) { return a.v / b.v; }
FD_PACK Pack<T> operator-(Pack<T> a) { return -a.v; }
FD_PACK Mask<T> operator<(Pack<T> a, Pack<T> b) { return {a.v < b.v}; }
FD_PACK Mask<T> operator>(Pack<T> a, Pack<T> b) { return {a.v > b.v}; }
FD_PACK Mask<T> operator<=(Pack<T> a, Pack<T> b) { return {a.v <= b.v}; }
FD_PACK Mask<T> operator>=(Pack<T> a, Pack<T> b) { return {a.v >= b.v}; }
FD_PACK Pack<T> select(Mask<T> m, Pack<T> a, Pack<T> b) { return m.m ? a.v : b.v; }

template <class T>
FD_HD typename Lanes<T>::ivec bits(Pack<T> x) {
    return (typename Lanes<T>::ivec)x.v;
}
template <class T>
FD_HD Pack<T> from_bits(typename Lanes<T>::ivec b) {
    return (typename Lanes<T>::vec)b;
}

FD_PACK Pack<T> load(const T* p) { return *reinterpret_cast<const typename Lanes<T>::vec_unaligned*>(p); }
FD_PACK void store(T* p, Pack<T> x) { *reinterpret_cast<typename Lanes<T>::vec_unaligned*>(p) = x.v; }
FD_HD Pack<float> load(const float* p, int n) {  // the first n lanes, others 0
#if defined(__AVX512F__)
    return (Lanes<float>::vec)_mm512_maskz_loadu_ps(__mmask16((1u << n) - 1), p);
#elif defined(__aarch64__)
    const float32x2_t zero = vdup_n_f32(0);
    if (n >= 4) return (Lanes<float>::vec)vld1q_f32(p);
    const float32x2_t low = n >= 2 ? vld1_f32(p) : n ? vld1_lane_f32(p, zero, 0) : zero;
    return (Lanes<float>::vec)vcombine_f32(low, n == 3 ? vld1_lane_f32(p + 2, zero, 0) : zero);
#else
    Pack<float> x(0.0f);
    __builtin_memcpy(&x.v, p, size_t(n) * sizeof(float));
    return x;
#endif
}
FD_HD Pack<double> load(const double* p, int n) {
#if defined(__AVX512F__)
    return (Lanes<double>::vec)_mm512_maskz_loadu_pd(__mmask8((1u << n) - 1), p);
#elif defined(__aarch64__)
    const float64x1_t zero = vdup_n_f64(0);
    if (n >= 2) return (Lanes<double>::vec)vld1q_f64(p);
    return (Lanes<double>::vec)vcombine_f64(n ? vld1_f64(p) : zero, zero);
#else
    Pack<double> x(0.0);
    __builtin_memcpy(&x.v, p, size_t(n) * sizeof(double));
    return x;
#endif
}
FD_HD void store(float* p, Pack<float> x, int n) {
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), (__m512)x.v);
#elif defined(__aarch64__)
    const float32x4_t v = (float32x4_t)x.v;
    if (n >= 4) return vst1q_f32(p, v);
    if (n >= 2) vst1_f32(p, vget_low_f32(v));
    if (n == 3) vst1q_lane_f32(p + 2, v, 2);
    if (n == 1) vst1q_lane_f32(p, v, 0);
#else
    __builtin_memcpy(p, &x.v, size_t(n) * sizeof(float));
#endif
}
FD_HD void store(double* p, Pack<double> x, int n) {
#if defined(__AVX512F__)
    _mm512_mask_storeu_pd(p, __mmask8((1u << n) - 1), (__m512d)x.v);
#elif defined(__aarch64__)
    const float64x2_t v = (float64x2_t)x.v;
    if (n >= 2) return vst1q_f64(p, v);
    if (n == 1) vst1q_lane_f64(p, v, 0);
#else
    __builtin_memcpy(p, &x.v, size_t(n) * sizeof(double));
#endif
}
#if defined(__aarch64__)
FD_HD Pack<float> multiply_add(float x, Pack<float> v, Pack<float> sum) {
    return (Lanes<float>::vec)vfmaq_n_f32((float32x4_t)sum.v, (float32x4_t)v.v, x);
}
FD_HD Pack<double> multiply_add(double x, Pack<double> v, Pack<double> sum) {
    return (Lanes<double>::vec)vfmaq_n_f64((float64x2_t)sum.v, (float64x2_t)v.v, x);
}
#endif
FD_PACK T sum(Pack<T> x) {  // pairwise, the same order on every call
    T lane[Pack<T>::width];
    store(lane, x);
    for (int n = Pack<T>::width / 2; n; n /= 2)
        for (int i = 0; i < n; ++i) lane[i] += lane[i + n];
    return lane[0];
}
FD_PACK T largest(Pack<T> x) {
    T lane[Pack<T>::width];
    store(lane, x);
    T m = lane[0];
    for (int i = 1; i < Pack<T>::width; ++i) m = lane[i] > m ? lane[i] : m;
    return m;
}
FD_PACK Pack<T> head(Pack<T> x, int n) {  // zero beyond the first n lanes
    T lane[Pack<T>::width];
    store(lane, x);
    return load(lane, n);
}

FD_HD Pack<float> vsqrt(Pack<float> x) {
#if defined(__AVX512F__)
    return (Lanes<float>::vec)_mm512_sqrt_ps((__m512)x.v);
#elif defined(__AVX2__)
    return (Lanes<float>::vec)_mm256_sqrt_ps((__m256)x.v);
#elif defined(__SSE2__)
    return (Lanes<float>::vec)_mm_sqrt_ps((__m128)x.v);
#elif defined(__aarch64__)
    return (Lanes<float>::vec)vsqrtq_f32((float32x4_t)x.v);
#else
    for (int i = 0; i < Pack<float>::width; ++i) x.v[i] = __builtin_sqrtf(x.v[i]);
    return x;
#endif
}
FD_HD Pack<double> vsqrt(Pack<double> x) {
#if defined(__AVX512F__)
    return (Lanes<double>::vec)_mm512_sqrt_pd((__m512d)x.v);
#elif defined(__AVX2__)
    return (Lanes<double>::vec)_mm256_sqrt_pd((__m256d)x.v);
#elif defined(__SSE2__)
    return (Lanes<double>::vec)_mm_sqrt_pd((__m128d)x.v);
#elif defined(__aarch64__)
    return (Lanes<double>::vec)vsqrtq_f64((float64x2_t)x.v);
#else
    for (int i = 0; i < Pack<double>::width; ++i) x.v[i] = __builtin_sqrt(x.v[i]);
    return x;
#endif
}
#if defined(__AVX512F__)
// Of float32, for optimizers: the exact instructions take ten cycles a vector and more. An estimate to 2^-14 and one Newton
// step, which is left out where it would make a NaN of the estimate's own answer for 0, infinity and NaN. Within 2 ulp;
// quick_div: of quotients and |b| that are normal numbers, |b| <= 2^126.
inline constexpr int fp_nan = 0x81, fp_zero = 0x06, fp_infinity = 0x08, fp_minus_infinity = 0x10;
FD_HD __mmask16 newton_lanes(__m512 x) {
    return _knot_mask16(_mm512_fpclass_ps_mask(x, fp_nan | fp_zero | fp_infinity | fp_minus_infinity));
}
FD_HD __m512 reciprocal_root(__m512 x) {
    const __m512 y = _mm512_rsqrt14_ps(x), half = _mm512_mul_ps(y, _mm512_set1_ps(0.5f));
    const __m512 error = _mm512_fnmadd_ps(_mm512_mul_ps(x, y), y, _mm512_set1_ps(1.0f));  // 1 - x y^2
    return _mm512_mask3_fmadd_ps(half, error, y, newton_lanes(x));
}
FD_HD Pack<float> quick_div_sqrt(Pack<float> a, Pack<float> x) {
    return (Lanes<float>::vec)_mm512_mul_ps((__m512)a.v, reciprocal_root((__m512)x.v));
}
FD_HD Pack<float> quick_sqrt(Pack<float> x) {
    const __m512 v = (__m512)x.v;
    const __mmask16 itself = _mm512_fpclass_ps_mask(v, fp_zero | fp_infinity);
    return (Lanes<float>::vec)_mm512_mask_mul_ps(v, _knot_mask16(itself), v, reciprocal_root(v));
}
FD_HD Pack<float> quick_div(Pack<float> a, Pack<float> b) {
    const __m512 d = (__m512)b.v, y = _mm512_rcp14_ps(d);
    const __m512 error = _mm512_fnmadd_ps(d, y, _mm512_set1_ps(1.0f));
    return (Lanes<float>::vec)_mm512_mul_ps((__m512)a.v, _mm512_mask3_fmadd_ps(y, error, y, newton_lanes(d)));
}
#endif
// ops/hd.h's, in one instruction each: compilers make a comparison and a choice of them.
#define FD_EXTREME(name, T, call) \
    FD_HD Pack<T> name(Pack<T> a, Pack<T> b) { return call(b.v, a.v); }
#define FD_EXTREMES(prefix)                   \
    FD_EXTREME(vmax, float, prefix##_max_ps)  \
    FD_EXTREME(vmax, double, prefix##_max_pd) \
    FD_EXTREME(vmin, float, prefix##_min_ps)  \
    FD_EXTREME(vmin, double, prefix##_min_pd)
#if defined(__AVX512F__)
FD_EXTREMES(_mm512)
#elif defined(__AVX2__)
FD_EXTREMES(_mm256)
#elif defined(__SSE2__)
FD_EXTREMES(_mm)
#else
using ops::vmax;
using ops::vmin;
#endif
#undef FD_EXTREME
#undef FD_EXTREMES
FD_PACK Pack<T> vabs(Pack<T> x) {
    using I = typename Lanes<T>::integer;
    return from_bits<T>(bits(x) & ~(I(1) << (sizeof(T) * 8 - 1)));
}
FD_PACK Pack<T> copy_sign(Pack<T> magnitude, Pack<T> sign) {
    using I = typename Lanes<T>::integer;
    const I top = I(1) << (sizeof(T) * 8 - 1);
    return from_bits<T>((bits(magnitude) & ~top) | (bits(sign) & top));
}

// x = n ln 2 + r, |r| <= ln 2 / 2. Adding 1.5·2^mantissa rounds to the nearest integer and leaves it in the low bits.
template <class T>
struct Reduced {
    Pack<T> r;
    typename Lanes<T>::ivec n;
};
FD_PACK Reduced<T> reduce(Pack<T> x) {
    using L = Lanes<T>;
    using I = typename L::integer;
    const Pack<T> magic(T(I(3) << (L::mantissa - 1)));
    const Pack<T> shifted = x * Pack<T>(T(1.44269504088896340736)) + magic;
    const Pack<T> n = shifted - magic;
    return {(x - n * Pack<T>(L::ln2_high)) - n * Pack<T>(L::ln2_low), bits(shifted) - bits(magic)};
}
FD_PACK Pack<T> power_of_two(typename Lanes<T>::ivec n) {
    return from_bits<T>((n + Lanes<T>::bias) << Lanes<T>::mantissa);
}
FD_PACK Pack<T> exp_minus_one_reduced(Pack<T> r) {  // exp(r) - 1 for |r| <= ln 2 / 2, its Taylor series
    constexpr int terms = Lanes<T>::exp_terms;
    T inverse_factorial[terms + 1];
    inverse_factorial[0] = 1;
    for (int k = 1; k <= terms; ++k) inverse_factorial[k] = inverse_factorial[k - 1] / T(k);
    Pack<T> p(inverse_factorial[terms]);
    for (int k = terms - 1; k >= 2; --k) p = p * r + Pack<T>(inverse_factorial[k]);
    return r + r * r * p;
}
FD_PACK Pack<T> vexp(Pack<T> x) {
    using L = Lanes<T>;
    const Reduced<T> e = reduce(vmin(vmax(x, Pack<T>(L::no_exp)), Pack<T>(L::infinite_exp)));  // NaN stays
    const Pack<T> p = Pack<T>(1) + exp_minus_one_reduced(e.r);
    // two factors, so that results down to the subnormals and up to the largest number come out
    const typename L::ivec half = e.n >> 1;
    return p * power_of_two<T>(half) * power_of_two<T>(e.n - half);
}
// exp of numbers up to 40: the same bits as vexp in fewer operations. What is added before rounding makes the low bits those
// of a power of two, too large by 2^lift, so that subnormal results come out of the last product.
FD_PACK Pack<T> vexp_moderate(Pack<T> x) {
    using L = Lanes<T>;
    using I = typename L::integer;
    const Pack<T> magic(T((I(3) << (L::mantissa - 1)) + L::bias + L::lift));
    const Pack<T> inside = vmax(x, Pack<T>(L::no_exp)), shifted = inside * Pack<T>(T(1.44269504088896340736)) + magic;
    const Pack<T> n = shifted - magic, r = (inside - n * Pack<T>(L::ln2_high)) - n * Pack<T>(L::ln2_low);
    const Pack<T> scale = from_bits<T>(bits(shifted) << L::mantissa);
    return (Pack<T>(1) + exp_minus_one_reduced(r)) * scale * Pack<T>(L::drop);
}
FD_PACK Pack<T> vexpm1(Pack<T> x) {  // for x below the largest exponent - 1: all that the activations need
    const Reduced<T> e = reduce(vmax(x, Pack<T>(T(-50))));
    const Pack<T> scale = power_of_two<T>(e.n);
    return scale * exp_minus_one_reduced(e.r) + (scale - Pack<T>(1));
}
FD_PACK Pack<T> vlog(Pack<T> x) {
    using L = Lanes<T>;
    using I = typename L::integer;
    const T tiniest = std::numeric_limits<T>::min();
    const Mask<T> subnormal = x < Pack<T>(tiniest);
    const Pack<T> scaled = select(subnormal, x * Pack<T>(L::denormal_scale), x);
    // m in [sqrt(1/2), sqrt 2): subtract the bits of sqrt(1/2), split, add them back
    const T root_half = T(0.70710678118654752440);
    I root_bits;
    __builtin_memcpy(&root_bits, &root_half, sizeof(T));
    const typename L::ivec offset = bits(scaled) - root_bits;
    const typename L::ivec exponent = offset >> L::mantissa;
    const Pack<T> m = from_bits<T>(bits(scaled) - (exponent << L::mantissa));
    const Pack<T> shift = select(subnormal, Pack<T>(T(-L::denormal_shift)), Pack<T>(0));
    const Pack<T> e = Pack<T>(__builtin_convertvector(exponent, typename L::vec)) + shift;
    const Pack<T> f = m - Pack<T>(1), s = f / (Pack<T>(2) + f), z = s * s;
    Pack<T> p(T(1) / T(2 * L::log_terms + 1));
    for (int k = L::log_terms - 1; k >= 1; --k) p = p * z + Pack<T>(T(1) / T(2 * k + 1));
    // log m = 2 s + 2 s z p = f - s (f - 2 z p): keeps the leading term exact
    Pack<T> y = (f - s * (f - Pack<T>(2) * z * p)) + e * Pack<T>(L::ln2_low) + e * Pack<T>(L::ln2_high);
    y = select(x > Pack<T>(std::numeric_limits<T>::max()), x, y);
    y = select(x <= Pack<T>(0), Pack<T>(-T(__builtin_inf())), y);
    y = select(x < Pack<T>(0), Pack<T>(T(__builtin_nan(""))), y);
    return from_bits<T>((x.v == x.v) ? bits(y) : bits(x));
}
#include "cpu/simd/elementary.h"

// Calls body(column, lanes) for whole vectors, then once for the rest.
template <class T, class F>
FD_HD void for_vectors(int64_t n, F&& body) {
    constexpr int width = Pack<T>::width;
    int64_t i = 0;
    for (; i + width <= n; i += width) body(i, std::integral_constant<int, width>{});
    if (i < n) body(i, int(n - i));
}
template <class T, int N>
FD_HD Pack<T> load(const T* p, std::integral_constant<int, N>) {
    return load(p);
}
template <class T, int N>
FD_HD void store(T* p, Pack<T> x, std::integral_constant<int, N>) {
    store(p, x);
}
template <class T, int N>
FD_HD Pack<T> head(Pack<T> x, std::integral_constant<int, N>) {
    return x;
}
