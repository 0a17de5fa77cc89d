// The ops between the products of dense layers, over shared memory: activations, normalisations, dropout, and the passes through
// all ops forward and backward.
#pragma once
#include "cuda/device_rows.h"
#include "cuda/wholenet/products.h"
#include "ops/rng.h"

namespace fd::cuda {

// State of a team's net from step to step: in shared memory, since registers are scarce.
struct WholeNetState {
    ops::Shuffle order;
    const StepRecord* step;          // at work
    int64_t order_epoch, net, base;  // base: of the records
    uint64_t seed;
    const double* own_weights;
    double member_scale, penalty, epoch_sum;
    double row_fraction, activity_factor;  // of a step: 1 over rows, and that times `penalty`
};
static_assert(sizeof(WholeNetState) <= wholenet_state_bytes, "the plan leaves less room");

struct WholeNetBatch {  // where a tile of rows is in a step
    const WholeNetState* net = nullptr;
    int rows = 0;   // of the tile
    int first = 0;  // position of its first row in the batch
    bool first_tile = true;
};

// value(i, r, c) for each element of a matrix of rows
template <class F>
__device__ __forceinline__ void each_element(int rows, int cols, int thread, int size, F f) {
    for (int e = thread; e < rows * cols; e += size) {
        const int r = e / cols;
        f(r, e - r * cols);
    }
}

// to = activation(from), which may be the same array; what backward needs goes to o.keep. Whole rows are
// written, padding included.
template <class T>
__device__ __forceinline__ void activate_rows(const WholeNetOp& o, T* m, int from, int rows, int thread, int size,
                                              bool keeps) {
    const int n = rows * o.ld_to;
    const T alpha = T(o.alpha);
    if (o.activation == ops::Activation::prelu) {
        each_element(rows, o.out, thread, size, [&](int r, int c) {
            const int e = r * o.ld_to + c;
            const T z = m[from + e];
            if (keeps && o.keep != from) m[o.keep + e] = z;
            m[o.to + e] = ops::Prelu::value(z, m[o.slope + c]);
        });
        return;
    }
    switch (o.activation) {
#define FD_CASE(name, functor)                                                                              \
    case ops::Activation::name:                                                                             \
        for (int e = thread; e < n; e += size) {                                                            \
            const T z = m[from + e], a = ops::functor::value(z, alpha);                                     \
            m[o.to + e] = a;                                                                                \
            if constexpr (ops::functor::expensive_derivative)                                               \
                if (keeps)                                                                                  \
                    m[o.keep + e] =                                                                         \
                        ops::functor::derivative(ops::functor::needs == ops::Needs::output ? a : z, alpha); \
        }                                                                                                   \
        break;
        FD_ELEMENTWISE_ACTIVATIONS(FD_CASE)
#undef FD_CASE
        case ops::Activation::softmax: break;
    }
}

// Distributes rows over groups of lanes: f(row, lanes). Whole warps take part; lanes without a row are beyond all columns.
template <class F>
__device__ __forceinline__ void each_row(int rows, int width, int thread, int size, F f) {
    for (int base = (thread & ~31) / width; base < rows; base += size / width) {
        const int r = base + (thread & 31) / width;
        f(r < rows ? r : base, RowLanes{r < rows ? thread & (width - 1) : RowLanes::beyond, width});
    }
}

template <class T, class Team>
__device__ __forceinline__ void softmax_rows(const Team& team, T* m, int from, int to, int ld, int cols, int rows,
                                             int width) {
    each_row(rows, width, team.thread, team.size,
             [&](int r, const RowLanes& lanes) { softmax_row(m + from + r * ld, m + to + r * ld, cols, lanes); });
}

// f(row, column, whether dropout keeps it), in the batch's numbering of elements: the same numbers as the layer path's.
template <class F>
__device__ __forceinline__ void each_kept(const WholeNetOp& o, const WholeNetBatch& b, int thread, int size, F f) {
    const ops::DropoutMask mask(b.net->seed, uint64_t(b.net->step->step), uint32_t(o.number), o.rate);
    const int64_t first = int64_t(b.first) * o.out, last = first + int64_t(b.rows) * o.out;
    for (int64_t q = (first >> 2) + thread; 4 * q < last; q += size) {
        const ops::Words w = mask.words(uint64_t(q));
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            const int64_t i = 4 * q + k;
            if (i < first || i >= last) continue;
            const int e = int(i - first), r = e / o.out;
            f(r, e - r * o.out, mask.keeps(w.w[k]));
        }
    }
}

template <class T, class Team>
__device__ __forceinline__ void batch_norm_forward(const WholeNetOp& o, T* m, int rows, bool train, const Team& team) {
    T *mean = m + o.cache, *inverse = mean + o.ld_to;
    over_columns<double>(
        o.out, o.column_splits, rows, team.thread, team.size,
        [&](int r, int c) { return train ? double(m[o.from + r * o.ld_from + c]) : 0.0; },
        [&](int c, double sum, bool writes) {
            double average = sum / double(rows), square = 0;
            const int column = c < o.out ? c : o.out - 1;
            for (int r = team.lane() % o.column_splits; train && r < rows; r += o.column_splits) {
                const double e = double(m[o.from + r * o.ld_from + column]) - average;
                square += e * e;
            }
            for (int bits = o.column_splits >> 1; bits; bits >>= 1) square += __shfl_xor_sync(whole_warp, square, bits);
            double variance = square / double(rows);
            if (!writes) return;
            T &moving_mean = m[o.mean + c], &moving_variance = m[o.variance + c];
            if (train) {
                const T keep = T(o.momentum), update = T(1 - o.momentum);
                moving_mean = update * T(average) + keep * moving_mean;
                moving_variance = update * T(variance) + keep * moving_variance;
            } else {
                average = double(moving_mean), variance = double(moving_variance);
            }
            mean[c] = T(average), inverse[c] = T(1 / ops::vsqrt(double(T(variance)) + o.epsilon));
        });
    team.sync();
    each_element(rows, o.out, team.thread, team.size, [&](int r, int c) {
        m[o.to + r * o.ld_to + c] =
            (m[o.from + r * o.ld_from + c] - mean[c]) * inverse[c] * m[o.kernel + c] + m[o.bias + c];
    });
}

// Σ d and Σ d·x̂ of each column: the gradients of beta and gamma; done(c, both) as well.
template <class T, class Team, class Normal, class Done>
__device__ __forceinline__ void norm_gradients(const WholeNetOp& o, T* m, int to, const WholeNetBatch& b,
                                               const Team& team, Normal normal, Done done) {
    auto d = [&](int r, int c) { return m[o.to + r * o.ld_to + c]; };
    over_columns<double>(
        o.out, o.column_splits, b.rows, team.thread, team.size, [&](int r, int c) { return double(d(r, c)); },
        [&](int c, double sum, bool writes) {
            if (writes) add_gradient(m[to + o.bias + c], T(sum), b.first_tile), done(c, 0, sum);
        });
    over_columns<double>(
        o.out, o.column_splits, b.rows, team.thread, team.size,
        [&](int r, int c) { return double(d(r, c)) * double(normal(r, c)); },
        [&](int c, double sum, bool writes) {
            if (writes) add_gradient(m[to + o.kernel + c], T(sum), b.first_tile), done(c, 1, sum);
        });
    team.sync();
}
template <class T, class Team>
__device__ __forceinline__ void batch_norm_backward(const WholeNetOp& o, bool passes, const Sink<T>& below, T* m,
                                                    int to, const WholeNetBatch& b, const Team& team) {
    const T *mean = m + o.cache, *inverse = mean + o.ld_to;
    T* sums = m + o.cache + 2 * o.ld_to;
    auto normal = [&](int r, int c) { return (m[o.from + r * o.ld_from + c] - mean[c]) * inverse[c]; };
    norm_gradients(o, m, to, b, team, normal,
                   [&](int c, int which, double sum) { sums[which * o.ld_to + c] = T(sum / double(b.rows)); });
    if (!passes) return;
    each_element(b.rows, o.out, team.thread, team.size, [&](int r, int c) {
        const T g =
            m[o.kernel + c] * inverse[c] * (m[o.to + r * o.ld_to + c] - sums[c] - normal(r, c) * sums[o.ld_to + c]);
        below.put(m, r, c, g);
    });
}

template <class T, class Team>
__device__ __forceinline__ void layer_norm_forward(const WholeNetOp& o, T* m, int rows, int tile_rows,
                                                   const Team& team) {
    each_row(rows, 4, team.thread, team.size, [&](int r, const RowLanes& lanes) {
        const T* x = m + o.from + r * o.ld_from;
        T sum = T(0), square = T(0);
        for (int c = lanes.lane; c < o.out; c += lanes.width) sum += x[c];
        const T mean = lanes.sum(sum) / T(o.out);
        for (int c = lanes.lane; c < o.out; c += lanes.width) square += (x[c] - mean) * (x[c] - mean);
        const T variance = lanes.sum(square) / T(o.out), inverse = T(1 / ops::vsqrt(double(variance) + o.epsilon));
        if (lanes.lane == 0) m[o.cache + r] = mean, m[o.cache + tile_rows + r] = inverse;
        for (int c = lanes.lane; c < o.out; c += lanes.width)
            m[o.to + r * o.ld_to + c] = (x[c] - mean) * inverse * m[o.kernel + c] + m[o.bias + c];
    });
}
template <class T, class Team>
__device__ __forceinline__ void layer_norm_backward(const WholeNetOp& o, bool passes, const Sink<T>& below, T* m,
                                                    int to, const WholeNetBatch& b, int tile_rows, const Team& team) {
    const T *mean = m + o.cache, *inverse = mean + tile_rows;
    auto normal = [&](int r, int c) { return (m[o.from + r * o.ld_from + c] - mean[r]) * inverse[r]; };
    norm_gradients(o, m, to, b, team, normal, [](int, int, double) {});
    if (!passes) return;
    each_row(b.rows, 4, team.thread, team.size, [&](int r, const RowLanes& lanes) {
        T sum = T(0), product = T(0);
        auto scaled = [&](int c) { return m[o.to + r * o.ld_to + c] * m[o.kernel + c]; };
        for (int c = lanes.lane; c < o.out; c += lanes.width) sum += scaled(c), product += scaled(c) * normal(r, c);
        const T mean_d = lanes.sum(sum) / T(o.out), mean_product = lanes.sum(product) / T(o.out);
        for (int c = lanes.lane; c < o.out; c += lanes.width)
            below.put(m, r, c, inverse[r] * (scaled(c) - mean_d - normal(r, c) * mean_product));
    });
}

template <class T, class Team>
__device__ __forceinline__ void forward(const WholeNetProgram& p, T* m, const WholeNetBatch& b, double& penalty,
                                        const Team& team) {
    const int t = team.thread, n = team.size;
    const bool train = p.mode == WholeNetMode::train;
    for (int i = 0; i < p.count; ++i) {
        const WholeNetOp& o = p.ops[i];
        switch (o.kind) {
            case OpKind::normalization:  // done while fetching
            case OpKind::residual_begin:
            default: continue;  // why_not() refuses what is not known here
            case OpKind::dense:
                if (o.forward_rows == 4) dense_forward<4>(o, m, b.rows, t, n);
                else dense_forward<1>(o, m, b.rows, t, n);
                if (o.activation == ops::Activation::linear) break;
                team.sync();
                if (o.activation == ops::Activation::softmax)
                    softmax_rows(team, m, o.to, o.to, o.ld_to, o.out, b.rows, p.row_lanes);
                else activate_rows(o, m, o.to, b.rows, t, n, train);
                break;
            case OpKind::activation:
                if (o.activation == ops::Activation::softmax)
                    softmax_rows(team, m, o.from, o.to, o.ld_to, o.out, b.rows, p.row_lanes);
                else activate_rows(o, m, o.from, b.rows, t, n, train);
                break;
            case OpKind::batch_norm: batch_norm_forward(o, m, b.rows, train, team); break;
            case OpKind::layer_norm: layer_norm_forward(o, m, b.rows, p.tile_rows, team); break;
            case OpKind::dropout: {
                if (!train) continue;
                const T scale = T(1 / (1 - o.rate));
                each_kept(o, b, t, n, [&](int r, int c, bool keep) {
                    m[o.to + r * o.ld_to + c] = keep ? m[o.from + r * o.ld_from + c] * scale : T(0);
                });
                break;
            }
            case OpKind::rescaling:
                each_element(b.rows, o.out, t, n, [&](int r, int c) {
                    m[o.to + r * o.ld_to + c] = m[o.from + r * o.ld_from + c] * m[o.scale + c] + m[o.offset + c];
                });
                break;
            case OpKind::residual_end:
                each_element(b.rows, o.out, t, n, [&](int r, int c) {
                    const int e = r * o.ld_to + c;
                    m[o.to + e] = m[o.from + e] + m[o.skip + e];
                });
                break;
        }
        team.sync();
        if ((o.activity_l1 != 0 || o.activity_l2 != 0) && p.mode != WholeNetMode::predict)
            each_element(b.rows, o.out, t, n, [&](int r, int c) {
                const T a = m[o.to + r * o.ld_to + c];
                penalty +=
                    b.net->penalty * (o.activity_l1 * double(ops::vabs(a)) + o.activity_l2 * double(a) * double(a));
            });
    }
}

template <class T, class Team>
__device__ __forceinline__ void backward(const WholeNetProgram& p, T* m, const WholeNetBatch& b, const Team& team) {
    const int t = team.thread, n = team.size, to = p.gradients - p.parameters;
    for (int i = p.top; i >= 0; --i) {
        const WholeNetOp& o = p.ops[i];
        const bool passes = o.below >= 0;
        const Sink<T> below(p.ops[passes ? o.below : i], b.net->activity_factor);
        auto pass = [&](auto&& f) {  // f(r, c, gradient of the output)
            if (passes)
                each_element(b.rows, o.out, t, n, [&](int r, int c) { below.put(m, r, c, f(r * o.ld_to + c, c)); });
        };
        const bool prelu = o.activation == ops::Activation::prelu && o.slope >= 0 &&
                           (o.kind == OpKind::dense || o.kind == OpKind::activation);
        if (prelu) {
            over_columns<T>(
                o.out, o.column_splits, b.rows, t, n,
                [&](int r, int c) {
                    const int e = r * o.ld_to + c;
                    const T z = m[o.keep + e];
                    return z > T(0) ? T(0) : z * m[o.to + e];
                },
                [&](int c, T sum, bool writes) {
                    if (writes) add_gradient(m[to + o.slope + c], sum, b.first_tile);
                });
            team.sync();
        }
        auto through = [&](int e, int c) {
            return m[o.to + e] * (prelu ? ops::Prelu::derivative(m[o.keep + e], m[o.slope + c]) : T(1));
        };
        switch (o.kind) {
            case OpKind::normalization:
            case OpKind::residual_begin:
            default: continue;
            case OpKind::dense:
                if (prelu) {
                    each_element(b.rows, o.out, t, n,
                                 [&](int r, int c) { m[o.to + r * o.ld_to + c] = through(r * o.ld_to + c, c); });
                    team.sync();
                }
                if (o.gradient_tile == 4) kernel_gradient_tiles(o, m, to, b.rows, t, n, b.first_tile);
                else kernel_gradient_cells(o, m, to, b.rows, t, n, b.first_tile);
                team.sync();
                if (!passes) break;
                if (o.backward_rows == 4) dense_backward<4>(o, below, m, b.rows, t, n);
                else dense_backward<1>(o, below, m, b.rows, t, n);
                break;
            case OpKind::activation: pass(through); break;
            case OpKind::batch_norm: batch_norm_backward(o, passes, below, m, to, b, team); break;
            case OpKind::layer_norm: layer_norm_backward(o, passes, below, m, to, b, p.tile_rows, team); break;
            case OpKind::dropout: {
                if (!passes) break;
                const T scale = T(1 / (1 - o.rate));
                each_kept(o, b, t, n, [&](int r, int c, bool keep) {
                    below.put(m, r, c, keep ? m[o.to + r * o.ld_to + c] * scale : T(0));
                });
                break;
            }
            case OpKind::rescaling: pass([&](int e, int c) { return m[o.to + e] * m[o.scale + c]; }); break;
            case OpKind::residual_end: pass([&](int e, int) { return m[o.to + e]; }); break;
        }
        team.sync();
    }
}

}  // namespace fd::cuda
