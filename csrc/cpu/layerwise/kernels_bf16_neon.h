// bfloat16 pairs with ARM's BF16 instructions. Part of kernels_bf16.cpp.

template <>
struct Operand<Pair> {
    static constexpr int rows = tile_rows, lanes = 4;
    struct Vector {
        bfloat16x8_t pairs;
    };
    FD_HD static Vector vector(const Pair* v) { return {vreinterpretq_bf16_u32(vld1q_u32(v))}; }
    struct Lane {  // number i of several, or one that lies alone
        int i;
        bfloat16x8_t several;
        bfloat16x4_t alone;
    };
    FD_HD static Lane lane(Vector x, int i) {
        Lane n;
        n.i = i;
        n.several = x.pairs;
        return n;
    }
    FD_HD static Lane broadcast(const Pair& x) {
        Lane n;
        n.i = -1;
        n.alone = vreinterpret_bf16_u32(vld1_lane_u32(&x, vdup_n_u32(0), 0));
        return n;
    }
    FD_HD static Pack<float> multiply_add(Lane x, Vector v, Pack<float> sum) {
        const float32x4_t s = (float32x4_t)sum.v;
        switch (x.i) {  // known where this is unrolled
            case 0: return (Lanes<float>::vec)vbfdotq_laneq_f32(s, v.pairs, x.several, 0);
            case 1: return (Lanes<float>::vec)vbfdotq_laneq_f32(s, v.pairs, x.several, 1);
            case 2: return (Lanes<float>::vec)vbfdotq_laneq_f32(s, v.pairs, x.several, 2);
            case 3: return (Lanes<float>::vec)vbfdotq_laneq_f32(s, v.pairs, x.several, 3);
            default: return (Lanes<float>::vec)vbfdotq_lane_f32(s, v.pairs, x.alone, 0);
        }
    }
};

FD_HD bfloat16x8_t rounded(Pack<float> first, Pack<float> second) {  // first's 4 numbers, then second's
    return vcvtq_high_bf16_f32(vcvtq_low_bf16_f32((float32x4_t)first.v), (float32x4_t)second.v);
}
FD_HD Pack<float> interleaved(bfloat16x8_t halves) {  // lane i: numbers i and 4 + i
    const uint16x8_t h = vreinterpretq_u16_bf16(halves);
    return (Lanes<float>::vec)vreinterpretq_f32_u16(vzip1q_u16(h, vextq_u16(h, h, 4)));
}
FD_HD float* words(Pair* p) { return reinterpret_cast<float*>(p); }  // packs are moved as they are

void pack_rows(const float* a, int64_t ld, int64_t rows, int64_t k, Pair* panel) {
    constexpr int W = Pack<float>::width;
    for (int h = 0; h < 2; ++h)
        for (int64_t j = 0; j < k; j += 2 * W) {
            const int n = int(k - j < 2 * W ? k - j : 2 * W), low = n < W ? n : W;
            Pack<float> block[W];
#pragma GCC unroll 4
            for (int r = 0; r < W; ++r) {
                const float* from = a + (h * W + r) * ld + j;
                block[r] = Pack<float>(0.0f);
                if (h * W + r < rows)
                    block[r].v =
                        (Lanes<float>::vec)vreinterpretq_f32_bf16(rounded(load(from, low), load(from + low, n - low)));
            }
            transpose(block);
#pragma GCC unroll 4
            for (int i = 0; i < W; ++i)
                if (2 * i < n) store(words(panel) + (j / 2 + i) * 2 * W + h * W, block[i]);
        }
}
void pair_rows(const float* a, int64_t ld, int64_t rows, int64_t cols, Pair* out, int64_t out_ld) {
    for (int64_t r = 0; r < rows; r += 2, a += 2 * ld, out += out_ld)
        for_vectors<float>(cols, [&](int64_t c, auto n) {
            const Pack<float> second = r + 1 < rows ? load(a + ld + c, n) : Pack<float>(0.0f);
            store(words(out) + c, interleaved(rounded(load(a + c, n), second)), n);
        });
}
void pair_weights(const float* a, int64_t rows, int64_t cols, Pair* pairs, Pair* by_row) {
    pair_rows(a, cols, rows, cols, pairs, cols);
    const int64_t row_words = (cols + 1) / 2;
    for (int64_t r = 0; r < rows; ++r, a += cols, by_row += row_words)
        for_vectors<float>(cols, [&](int64_t c, auto n) {
            const Pack<float> two =
                (Lanes<float>::vec)vreinterpretq_f32_bf16(rounded(load(a + c, n), Pack<float>(0.0f)));
            store(words(by_row) + c / 2, two, (int(n) + 1) / 2);
        });
}
