// bfloat16 pairs with AVX512-BF16's instructions. Part of kernels_bf16.cpp.

template <>
struct Operand<Pair> {
    static constexpr int rows = 14, lanes = 0;
    using Vector = __m512bh;
    FD_HD static Vector broadcast(Pair x) { return (Vector)_mm512_set1_epi32(int(x)); }
    FD_HD static Vector vector(const Pair* v) { return (Vector)_mm512_loadu_si512(v); }
    FD_HD static Pack<float> multiply_add(Vector x, Vector v, Pack<float> sum) {
        return (Lanes<float>::vec)_mm512_dpbf16_ps((__m512)sum.v, x, v);
    }
};

FD_HD __mmask16 lanes(int n) { return __mmask16((1u << n) - 1); }
FD_HD __m512i words(Pack<float> x) { return (__m512i)x.v; }
FD_HD Pack<float> rounded(Pack<float> first, Pack<float> second) {  // first's 16 numbers, then second's
    return (Lanes<float>::vec)_mm512_cvtne2ps_pbh((__m512)second.v, (__m512)first.v);
}
FD_HD Pack<float> interleaved(Pack<float> halves) {  // word i: numbers i and 16 + i
    alignas(64) static constexpr int16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return (Lanes<float>::vec)_mm512_permutexvar_epi16(_mm512_load_si512(order), words(halves));
}
FD_HD void store_words(Pair* p, Pack<float> x) { _mm512_storeu_si512(p, words(x)); }
FD_HD void store_words(Pair* p, Pack<float> x, int n) { _mm512_mask_storeu_epi32(p, lanes(n), words(x)); }
FD_HD void store_lower(uint16_t* p, Pack<float> halves, int n) {  // n numbers
    _mm256_mask_storeu_epi16(p, lanes(n), _mm512_castsi512_si256(words(halves)));
}
FD_HD void store_upper(uint16_t* p, Pack<float> halves, int n) {
    _mm256_mask_storeu_epi16(p, lanes(n), _mm512_extracti64x4_epi64(words(halves), 1));
}
