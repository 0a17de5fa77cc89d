// The three products of a dense layer over shared memory. Each thread makes a tile of 1 or 4 rows by 4 columns in registers and
// reads quads of 16 bytes: per 64 multiply-adds 8 reads, most of them broadcasts. See plan.h for the layout.
#pragma once
#include "cuda/runtime/device_math.h"
#include "cuda/wholenet/plan.h"

namespace fd::cuda {

// A group of threads that works on one net, and waits for itself only.
template <bool Warp>
struct Team {
    int thread, size;
    __device__ __forceinline__ void sync() const {
        if constexpr (Warp) __syncwarp();
        else __syncthreads();
    }
    __device__ __forceinline__ int lane() const { return thread & 31; }
    // Sums over the team, in an order of their own; every thread has them. scratch: 8 · N numbers; ends with a barrier.
    template <int N>
    __device__ void sums(double (&v)[N], double* scratch) const {
#pragma unroll
        for (int k = 0; k < N; ++k) v[k] = warp_sum(v[k]);
        if constexpr (Warp) return;
        if (lane() == 0)
#pragma unroll
            for (int k = 0; k < N; ++k) scratch[k * 8 + (thread >> 5)] = v[k];
        sync();
#pragma unroll
        for (int k = 0; k < N; ++k) {
            v[k] = 0;
            for (int w = 0; w < size >> 5; ++w) v[k] += scratch[k * 8 + w];
        }
        sync();
    }
};

// Derivatives that are cheaper to recompute than to keep; the others come from op.keep. `stored`: see ops::Needs.
template <class T>
__device__ __forceinline__ T cheap_derivative(ops::Activation a, T stored, T p) {
    switch (a) {
#define FD_CASE(name, functor)                                                                         \
    case ops::Activation::name:                                                                        \
        if constexpr (!ops::functor::expensive_derivative) return ops::functor::derivative(stored, p); \
        break;
        FD_ELEMENTWISE_ACTIVATIONS(FD_CASE)
#undef FD_CASE
        case ops::Activation::softmax: break;
    }
    return T(1);
}

// Completes dL/d(output) of an op and writes it over the value it belongs to.
template <class T>
struct Sink {
    int to = 0, ld = 0, keep = -1, adds[2] = {-1, -1};
    ops::Activation activation = ops::Activation::linear;
    bool active = false;
    T alpha{0}, l1{0}, l2{0};
    Sink() = default;
    // activity: factor of activity penalties, over rows
    __device__ __forceinline__ Sink(const WholeNetOp& o, double activity)
        : to(o.to), ld(o.ld_to), keep(o.keep), adds{o.adds[0], o.adds[1]}, activation(o.activation),
          active(o.activity_l1 != 0 || o.activity_l2 != 0), alpha(T(o.alpha)), l1(T(o.activity_l1 * activity)),
          l2(T(2 * o.activity_l2 * activity)) {}
    __device__ __forceinline__ void put(T* m, int r, int c, T g) const {
        const int e = r * ld + c;
        const T v = m[to + e];
        if (adds[0] >= 0) g += m[adds[0] + e];
        if (adds[1] >= 0) g += m[adds[1] + e];
        if (active) g += l1 * ops::vsign(v) + l2 * v;
        if (activation == ops::Activation::prelu) {  // left to the op, which sums up the gradient of its slope first
        } else if (keep >= 0) {
            g *= m[keep + e];
        } else {
            g *= cheap_derivative(activation, v, alpha);
        }
        m[to + e] = g;
    }
};

// to = from · kernel + bias, without the activation
template <int R, class T>
__device__ __forceinline__ void dense_forward(const WholeNetOp& o, T* m, int rows, int thread, int size) {
    const int groups = (o.out + 3) >> 2, lines = (rows + R - 1) / R;
    for (int t = thread; t < groups * lines; t += size) {
        const int y = t / groups, u = 4 * (t - y * groups);
        const T* x[R];
        T sum[R][4];
#pragma unroll
        for (int i = 0; i < R; ++i) {
            const int r = y + lines * i;
            x[i] = m + o.from + (r < rows ? r : rows - 1) * o.ld_from;
#pragma unroll
            for (int j = 0; j < 4; ++j) sum[i][j] = o.bias >= 0 ? m[o.bias + u + j] : T(0);
        }
        const T* w = m + o.kernel + u;
        int k = 0;
        for (; k + 4 <= o.in; k += 4) {
            Quad<T> a[R];
#pragma unroll
            for (int i = 0; i < R; ++i) a[i] = read_quad(x[i] + k);
#pragma unroll
            for (int q = 0; q < 4; ++q, w += o.ld_kernel) {
                const Quad<T> b = read_quad(w);
#pragma unroll
                for (int i = 0; i < R; ++i)
#pragma unroll
                    for (int j = 0; j < 4; ++j) sum[i][j] += a[i].v[q] * b.v[j];
            }
        }
        for (; k < o.in; ++k, w += o.ld_kernel) {
            const Quad<T> b = read_quad(w);
#pragma unroll
            for (int i = 0; i < R; ++i) {
                const T a = x[i][k];
#pragma unroll
                for (int j = 0; j < 4; ++j) sum[i][j] += a * b.v[j];
            }
        }
#pragma unroll
        for (int i = 0; i < R; ++i) {
            const int r = y + lines * i;  // a row has room for whole quads
            if (r < rows) write_quad(m + o.to + r * o.ld_to + u, sum[i]);
        }
    }
}

// Gradient of `from`, = d · kernelᵀ, passed to the op below.
template <int R, class T>
__device__ __forceinline__ void dense_backward(const WholeNetOp& o, const Sink<T>& below, T* m, int rows, int thread,
                                               int size) {
    const int groups = (o.in + 3) >> 2, lines = (rows + R - 1) / R;
    for (int t = thread; t < groups * lines; t += size) {
        const int y = t / groups, x = t - y * groups;
        const T *d[R], *w[4];
        T sum[R][4];
#pragma unroll
        for (int i = 0; i < R; ++i) {
            const int r = y + lines * i;
            d[i] = m + o.to + (r < rows ? r : rows - 1) * o.ld_to;
        }
#pragma unroll
        for (int j = 0; j < 4; ++j) {  // spread out, so that neighbouring threads read neighbouring rows
            const int k = x + groups * j;
            w[j] = m + o.kernel + (k < o.in ? k : o.in - 1) * o.ld_kernel;
#pragma unroll
            for (int i = 0; i < R; ++i) sum[i][j] = T(0);
        }
        int u = 0;
        for (; u + 4 <= o.out; u += 4) {
            Quad<T> b[4];
#pragma unroll
            for (int j = 0; j < 4; ++j) b[j] = read_quad(w[j] + u);
#pragma unroll
            for (int i = 0; i < R; ++i) {
                const Quad<T> a = read_quad(d[i] + u);
#pragma unroll
                for (int q = 0; q < 4; ++q)
#pragma unroll
                    for (int j = 0; j < 4; ++j) sum[i][j] += a.v[q] * b[j].v[q];
            }
        }
        for (; u < o.out; ++u) {
#pragma unroll
            for (int i = 0; i < R; ++i) {
                const T a = d[i][u];
#pragma unroll
                for (int j = 0; j < 4; ++j) sum[i][j] += a * w[j][u];
            }
        }
#pragma unroll
        for (int i = 0; i < R; ++i) {
            const int r = y + lines * i;
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const int k = x + groups * j;
                if (r < rows && k < o.in) below.put(m, r, k, sum[i][j]);
            }
        }
    }
}

// Sums over the rows of each column, in double or T: `splits` lanes share a column and then have the same sum. value(r, c),
// done(c, sum, whether this lane is the one to write).
template <class S, class Value, class Done>
__device__ __forceinline__ void over_columns(int cols, int splits, int rows, int thread, int size, Value value,
                                             Done done) {
    for (int base = thread & ~31; base < cols * splits; base += size) {
        const int t = base + (thread & 31), c = t / splits, s = t % splits;
        S sum = S(0);
        if (c < cols)
            for (int r = s; r < rows; r += splits) sum += value(r, c);
        for (int bits = splits >> 1; bits; bits >>= 1) sum += __shfl_xor_sync(whole_warp, sum, bits);
        done(c, sum, c < cols && s == 0);
    }
}
template <class T>
__device__ __forceinline__ void add_gradient(T& at, T g, bool first) {
    at = first ? g : at + g;
}

// Gradient of the kernel, = fromᵀ · d, and of the bias; `first`: of the step, else it is added. `splits` lanes share the rows of
// a tile and their sums are added up by shuffles: a small kernel would leave most threads idle.
template <class T>
__device__ __forceinline__ void kernel_gradient_tiles(const WholeNetOp& o, T* m, int to, int rows, int thread, int size,
                                                      bool first) {
    const int groups = (o.out + 3) >> 2, tiles = groups * ((o.in + 3) >> 2), splits = o.gradient_splits;
    for (int base = thread & ~31; base < tiles * splits; base += size) {
        const int t = base + (thread & 31), at = t / splits, s = t - at * splits;
        const int tile = at < tiles ? at : tiles - 1, y = tile / groups, k = 4 * y, u = 4 * (tile - y * groups);
        T sum[4][4];
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j) sum[i][j] = T(0);
        const T *x = m + o.from + s * o.ld_from + k, *d = m + o.to + s * o.ld_to + u;
        for (int r = s; r < rows; r += splits, x += splits * o.ld_from, d += splits * o.ld_to) {
            const Quad<T> a = read_quad(x), b = read_quad(d);
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) sum[i][j] += a.v[i] * b.v[j];
        }
        for (int bits = splits >> 1; bits; bits >>= 1)
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) sum[i][j] += __shfl_xor_sync(whole_warp, sum[i][j], bits);
        if (at >= tiles) continue;
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j)
                if (((4 * i + j) & (splits - 1)) == s && k + i < o.in && u + j < o.out)
                    add_gradient(m[to + o.kernel + (k + i) * o.ld_kernel + u + j], sum[i][j], first);
    }
    if (o.bias < 0) return;
    over_columns<T>(
        o.out, o.column_splits, rows, thread, size, [&](int r, int c) { return m[o.to + r * o.ld_to + c]; },
        [&](int c, T sum, bool writes) {
            if (writes) add_gradient(m[to + o.bias + c], sum, first);
        });
}
template <class T>
__device__ __forceinline__ void kernel_gradient_cells(const WholeNetOp& o, T* m, int to, int rows, int thread, int size,
                                                      bool first) {
    const int lines = o.in + (o.bias >= 0), cells = lines * o.out, splits = o.gradient_splits;
    for (int base = thread & ~31; base < cells * splits; base += size) {
        const int t = base + (thread & 31), at = t / splits, s = t - at * splits;
        const int k = at / o.out, u = at - k * o.out;
        T sum = T(0);
        const T *x = m + o.from + s * o.ld_from + k, *d = m + o.to + s * o.ld_to + u;
        if (at < cells)
            for (int r = s; r < rows; r += splits, x += splits * o.ld_from, d += splits * o.ld_to)
                sum += k < o.in ? *x * *d : *d;
        for (int bits = splits >> 1; bits; bits >>= 1) sum += __shfl_xor_sync(whole_warp, sum, bits);
        if (at < cells && s == 0)
            add_gradient(m[to + o.kernel + k * o.ld_kernel + u], sum, first);  // the bias: one more row
    }
}

}  // namespace fd::cuda
