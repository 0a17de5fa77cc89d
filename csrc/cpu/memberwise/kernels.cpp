// The kernels of the population path: one net in each lane of a vector. Compiled once per instruction set, each into its
// own namespace, like kernels.cpp.
#include "cpu/memberwise/lanes.h"

#include "cpu/simd/isa.h"
#include "cpu/simd/kernels.h"
#include "ops/rng.h"

namespace fd::cpu {
namespace FD_ISA_NAMESPACE {

#include "cpu/simd/simd.h"

#include "cpu/simd/softmax_in_lanes.h"

#include "cpu/memberwise/lanes_product.h"

#include "cpu/memberwise/lanes_layers.h"

#include "cpu/memberwise/lanes_loss.h"

#include "cpu/memberwise/lanes_small.h"

#include "cpu/memberwise/lanes_update.h"

// ---- rows ----------------------------------------------------------------------------------------------------------

template <class T>
struct Rows32;  // a data row for each net
template <>
struct Rows32<float> {
    typedef uint32_t vec __attribute__((vector_size(vector_bytes)));
};
template <>
struct Rows32<double> {
    typedef uint32_t vec __attribute__((vector_size(vector_bytes / 2)));
};

// ops::Shuffle for the keys of each net: walks until it lands below n.
template <class T>
void lane_order(const LaneOrder& o, int64_t first, int64_t rows, int32_t* index) {
    constexpr int width = Pack<T>::width;
    using Words = typename Rows32<T>::vec;
    Words key[6];
    for (int j = 0; j < 6; ++j) __builtin_memcpy(&key[j], o.key[j], sizeof(Words));
    const Words zero{}, mask = zero + ((1u << o.half) - 1), n = zero + o.n;
    const int half = o.half;
    for (int64_t r = 0; r < rows; ++r, index += width) {
        Words v = zero + uint32_t(first + r), open = zero - 1u;
        for (;;) {
            Words left = v >> half, right = v & mask;
            for (int j = 0; j < 6; ++j) {
                Words h = right + key[j];
                h ^= h >> 16;
                h *= 0x85EBCA6Bu;
                h ^= h >> 13;
                h *= 0xC2B2AE35u;
                h ^= h >> 16;
                const Words next = left ^ (h & mask);
                left = right;
                right = next;
            }
            v = (v & ~open) | (((left << half) | right) & open);
            open = (Words)(v >= n);
            uint32_t lane[width], any = 0;
            __builtin_memcpy(lane, &open, sizeof(Words));
            for (uint32_t l : lane) any |= l;
            if (!any) break;
        }
        __builtin_memcpy(index, &v, sizeof(Words));
    }
}

#if defined(__AVX512F__)
// Columns c … c + 7 of 16 rows as 8 packs: a 16 × 8 transposition in registers.
FD_HD void gather_eight(const float* from, const int32_t* row, int64_t cols, float* to) {
    __m512 z[8], u[8], v[8];
    unrolled<8>([&](auto i) __attribute__((always_inline)) {
        const __m256 low = _mm256_loadu_ps(from + int64_t(row[i]) * cols);
        const __m256 high = _mm256_loadu_ps(from + int64_t(row[i + 8]) * cols);
        z[i] = _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
    });
    unrolled<4>([&](auto i) __attribute__((always_inline)) {
        u[2 * i] = _mm512_unpacklo_ps(z[2 * i], z[2 * i + 1]);
        u[2 * i + 1] = _mm512_unpackhi_ps(z[2 * i], z[2 * i + 1]);
    });
    unrolled<2>([&](auto i) __attribute__((always_inline)) {
        const __m512d a = _mm512_castps_pd(u[4 * i]), b = _mm512_castps_pd(u[4 * i + 1]),
                      c = _mm512_castps_pd(u[4 * i + 2]), d = _mm512_castps_pd(u[4 * i + 3]);
        v[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        v[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        v[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        v[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    });
    const __m512i even = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
    const __m512i odd = _mm512_setr_epi32(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    unrolled<4>([&](auto i) __attribute__((always_inline)) {
        _mm512_storeu_ps(to + i * 16, _mm512_permutex2var_ps(v[i], even, v[i + 4]));
        _mm512_storeu_ps(to + (i + 4) * 16, _mm512_permutex2var_ps(v[i], odd, v[i + 4]));
    });
}
// Number index[k]·stride + k·step of `from` for each lane k. (Sixteen stores and one load of them all would wait for one
// another.)
FD_HD Pack<float> gather_pack(const float* from, const int32_t* index, int64_t stride, int step) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i at = _mm512_add_epi32(_mm512_mullo_epi32(_mm512_loadu_si512(index), _mm512_set1_epi32(int(stride))),
                                        _mm512_mullo_epi32(lane, _mm512_set1_epi32(step)));
    return (Lanes<float>::vec)_mm512_i32gather_ps(at, from, 4);
}
FD_HD Pack<double> gather_pack(const double* from, const int32_t* index, int64_t stride, int step) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                  row = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index));
    const __m256i at = _mm256_add_epi32(_mm256_mullo_epi32(row, _mm256_set1_epi32(int(stride))),
                                        _mm256_mullo_epi32(lane, _mm256_set1_epi32(step)));
    return (Lanes<double>::vec)_mm512_i32gather_pd(at, from, 8);
}
#endif

template <class T>
void lane_gather(const LaneGather<T>& g) {
    for (int64_t r = 0; r < g.rows; ++r) {
        T* to = g.to + r * g.cols * W<T>;
        int64_t done = 0;
#if defined(__AVX512F__)
        if (g.index && g.small) {
            const int32_t* index = g.index + r * W<T>;
            if constexpr (std::is_same_v<T, float>)
                if (!g.from_packs)
                    for (; done + 8 <= g.cols; done += 8) gather_eight(g.from + done, index, g.cols, to + done * W<T>);
            const int64_t stride = g.from_packs ? W<T> : g.cols;
            for (; done < g.cols; ++done)
                store(to + done * W<T>, gather_pack(g.from + done, index, stride, g.from_packs ? 1 : 0));
            continue;
        }
#endif
        for (int k = 0; k < W<T>; ++k) {
            const int64_t row = g.index ? int64_t(g.index[r * W<T> + k]) : g.first + r;
            if (g.from_packs) {
                to[k] = g.from[row * W<T> + k];
                continue;
            }
            const T* from = g.from + row * g.cols;
            for (int64_t c = done; c < g.cols; ++c) to[c * W<T> + k] = from[c];
        }
    }
}

// ---- a block of rows through the net -------------------------------------------------------------------------------

template <class T>
void lane_forward(const LaneBlock<T>& b) {
    for (int i = 0; i < b.count; ++i) {
        const LaneOp& op = b.ops[i];
        const T* x = op.from < 0 ? b.x : b.work + op.from * W<T>;
        T* to = b.work + op.to * W<T>;
        const T* slope = op.slope < 0 ? nullptr : b.parameters + op.slope * W<T>;
        switch (op.kind) {
            case OpKind::dense: {
                T* z = op.kept >= 0 ? b.work + op.kept * W<T> : to;
                const T* bias = op.bias < 0 ? nullptr : b.parameters + op.bias * W<T>;
                const LaneProduct<T> p{
                    x,      op.in,  1,    b.parameters + op.kernel * W<T>, op.out, 1, bias, false, z, op.out, 1,
                    b.rows, op.out, op.in};
                if (op.from < 0 && b.x_shared) lane_product<true>(p);
                else lane_product<false>(p);
                lane_activation(op, slope, z, to, b.rows);
                break;
            }
            case OpKind::activation: lane_activation(op, slope, x, to, b.rows); break;
            case OpKind::batch_norm: lane_batch_norm(b, op, x); break;
            case OpKind::layer_norm: lane_layer_norm(b, op, x); break;
            case OpKind::dropout: lane_dropout(b, op, x); break;
            case OpKind::rescaling:
                lane_rescaling(x, b.statistics + op.scale * W<T>, b.statistics + op.offset * W<T>, to, b.rows, op.out);
                break;
            case OpKind::residual_end: {
                const T* other = op.skip < 0 ? b.x : b.work + op.skip * W<T>;
                for (int64_t j = 0; j < b.rows * op.out * W<T>; j += W<T>) store(to + j, load(x + j) + load(other + j));
                break;
            }
            case OpKind::normalization:
            case OpKind::residual_begin:
            default: break;  // why_not_lanes() refuses what is not known here
        }
        if (op.kind == OpKind::dense && b.losses && !b.training && (op.activity_l1 != 0 || op.activity_l2 != 0))
            lane_activity(b, op);
    }
}

template <class T>
void lane_dense_backward(const LaneBlock<T>& b, const LaneOp& op, const T* x, T* d, T* below) {
    if (op.activity_l1 != 0 || op.activity_l2 != 0) lane_activity(b, op);
    const T* slope = op.slope < 0 ? nullptr : b.parameters + op.slope * W<T>;
    const T* stored = b.work + (op.kept >= 0 ? op.kept : op.to) * W<T>;
    if (slope) lane_prelu_gradient(stored, d, b.gradients + op.slope * W<T>, b.rows, op.out);
    lane_slope(op, slope, stored, d, d, b.rows);
    if (op.bias >= 0) lane_column_sums(d, b.rows, op.out, b.gradients + op.bias * W<T>);
    const LaneProduct<T> weights{x,      1, op.in, d,      op.out, 1, nullptr, true, b.gradients + op.kernel * W<T>,
                                 op.out, 1, op.in, op.out, b.rows};
    if (op.from < 0 && b.x_shared) lane_product<true>(weights);
    else lane_product<false>(weights);
    if (below)
        lane_product<false, T>({d, op.out, 1, b.parameters + op.kernel * W<T>, 1, op.out, nullptr, false, below, op.in,
                                1, b.rows, op.in, op.out});
}

template <class T>
void lane_backward(const LaneBlock<T>& b) {
    for (int i = b.count - 1; i >= 0; --i) {
        const LaneOp& op = b.ops[i];
        if (op.d_to < 0) return;  // nothing below it learns
        const T* x = op.from < 0 ? b.x : b.work + op.from * W<T>;
        T *d = b.work + op.d_to * W<T>, *below = op.d_from < 0 ? nullptr : b.work + op.d_from * W<T>;
        const T* slope = op.slope < 0 ? nullptr : b.parameters + op.slope * W<T>;
        const int64_t n = b.rows * op.out * W<T>;
        switch (op.kind) {
            case OpKind::dense: lane_dense_backward(b, op, x, d, below); break;
            case OpKind::activation: {
                const T* stored = op.by_input ? x : b.work + op.to * W<T>;
                if (slope) lane_prelu_gradient(stored, d, b.gradients + op.slope * W<T>, b.rows, op.out);
                if (below) lane_slope(op, slope, stored, d, below, b.rows);
                break;
            }
            case OpKind::batch_norm: lane_batch_norm_backward(b, op, x, d, below); break;
            case OpKind::layer_norm: lane_layer_norm_backward(b, op, x, d, below); break;
            case OpKind::dropout:
                if (below)
                    for (int64_t j = 0; j < n; j += W<T>)
                        store(below + j, load(d + j) * load(b.work + op.kept * W<T> + j));
                break;
            case OpKind::rescaling:
                if (below)
                    lane_rescaling(d, b.statistics + op.scale * W<T>, static_cast<const T*>(nullptr), below, b.rows,
                                   op.out);
                break;
            case OpKind::residual_end:
                if (below)
                    for (int64_t j = 0; j < n; j += W<T>) store(below + j, load(d + j));
                break;
            case OpKind::residual_begin: {
                const T* other = b.work + op.d_other * W<T>;
                if (below)
                    for (int64_t j = 0; j < n; j += W<T>) store(below + j, load(d + j) + load(other + j));
                break;
            }
            case OpKind::normalization:
            default: break;
        }
    }
}

template <class T>
constexpr LaneKernels<T> lane_table() {
    LaneKernels<T> k{};
    k.width = int(W<T>);
    k.order = lane_order<T>;
    k.gather = lane_gather<T>;
    k.small = lane_small<T>;
    k.forward = lane_forward<T>;
    k.loss = lane_loss<T>;
    k.backward = lane_backward<T>;
    k.penalties = lane_penalties<T>;
    k.update = lane_update<T>;
    return k;
}
extern const LaneKernels<float> lanes_f32;
extern const LaneKernels<double> lanes_f64;
constexpr LaneKernels<float> lanes_f32 = lane_table<float>();
constexpr LaneKernels<double> lanes_f64 = lane_table<double>();

// clang-format off
}  // namespace isa_...
// clang-format on
}  // namespace fd::cpu
