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

FD_HD Pack<float> rounded(Pack<float> first, Pack<float> second) {  // first's 4 numbers, then second's
    const bfloat16x8_t low = vcvtq_low_bf16_f32((float32x4_t)first.v);
    return (Lanes<float>::vec)vreinterpretq_f32_bf16(vcvtq_high_bf16_f32(low, (float32x4_t)second.v));
}
FD_HD Pack<float> interleaved(Pack<float> halves) {  // word i: numbers i and 4 + i
    const uint16x8_t h = (uint16x8_t)halves.v;
    return (Lanes<float>::vec)vreinterpretq_f32_u16(vzip1q_u16(h, vextq_u16(h, h, 4)));
}
FD_HD void store_words(Pair* p, Pack<float> x) { store(reinterpret_cast<float*>(p), x); }
FD_HD void store_words(Pair* p, Pack<float> x, int n) { store(reinterpret_cast<float*>(p), x, n); }
FD_HD void store_lower(uint16_t* p, Pack<float> halves, int n) {  // n numbers, and a 0 after an odd one
    store(reinterpret_cast<float*>(p), halves, (n + 1) / 2);
}
FD_HD void store_upper(uint16_t* p, Pack<float> halves, int n) {
    const float32x4_t h = (float32x4_t)halves.v;
    store_lower(p, (Lanes<float>::vec)vextq_f32(h, h, 2), n);
}
