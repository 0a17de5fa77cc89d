// The ops that encode columns, grouped_dense, and the sums over rows that their gradients are.
#include <cmath>

#include "cuda/kernels.h"
#include "cuda/layerwise/elements.h"
#include "cuda/runtime/device_math.h"
#include "cuda/runtime/port.h"

namespace fd::cuda {
namespace {

// cos and sin of 2 pi times a number of turns.
template <class T>
__device__ T cos_turns(T u) {
    return cos(T(6.283185307179586476925) * (u - rint(u)));
}
template <class T>
__device__ T sin_turns(T u) {
    return sin(T(6.283185307179586476925) * (u - rint(u)));
}

// Row of the table for the value of an embedding's column j.
template <class T>
__device__ int64_t row_of(const Columns<T>& c, int64_t j, T value) {
    const int64_t first = c.first_code[j], n = c.first_code[j + 1] - first;
    const T* codes = c.table + first;
    int64_t low = 0, high = n;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (codes[middle] < value) low = middle + 1;
        else high = middle;
    }
    return first + j + (low < n && codes[low] == value ? low : n);
}

template <class T>
__global__ void columns_forward_kernel(Columns<T> c) {
    for (int64_t e = first_element(); e < c.rows * c.out_width; e += element_stride()) {
        const int64_t r = e / c.out_width, at = e % c.out_width;
        const T* x = c.x + r * c.in_width;
        const int64_t passing = at - c.passing_at;
        if (passing >= 0 && passing < c.passing_count) {
            c.out[e] = x[c.passing[passing]];
            continue;
        }
        const int64_t j = (at - c.encoded_at) / c.width, t = (at - c.encoded_at) % c.width;
        const T v = x[c.columns[j]];
        if (c.kind == OpKind::piecewise_linear) {
            const T *edges = c.table + j * (c.width + 1), low = edges[t], high = edges[t + 1];
            T y = high > low ? (v - low) / (high - low) : T(0);
            if (t > 0 && y < T(0)) y = T(0);
            if (t + 1 < c.width && y > T(1)) y = T(1);
            c.out[e] = y;
        } else if (c.kind == OpKind::periodic) {
            const int64_t k = j * c.width + t;
            c.out[e] = cos_turns(c.kernel[k] * v + c.bias[k]);
        } else {
            c.out[e] = c.kernel[row_of(c, j, v) * c.width + t];
        }
    }
}

// dL/d(input): `d` is dL/d(output).
template <class T>
__global__ void columns_backward_kernel(Columns<T> c, const T* d, T* dx) {
    for (int64_t e = first_element(); e < c.rows * c.in_width; e += element_stride()) {
        const int64_t r = e / c.in_width, at = e % c.in_width;
        const T *own = d + r * c.out_width, v = c.x[e];
        T sum = c.place_passing[at] < 0 ? T(0) : own[c.passing_at + c.place_passing[at]];
        const int64_t j = c.place_encoded[at];
        if (j >= 0 && c.kind != OpKind::embedding) {
            own += c.encoded_at + j * c.width;
            for (int64_t t = 0; t < c.width; ++t) {
                T slope = T(0);
                if (c.kind == OpKind::piecewise_linear) {
                    const T *edges = c.table + j * (c.width + 1), low = edges[t], high = edges[t + 1];
                    const bool inside = (t == 0 || v > low) && (t + 1 == c.width || v < high);
                    if (inside && high > low) slope = T(1) / (high - low);
                } else {
                    const int64_t k = j * c.width + t;
                    slope = T(-6.283185307179586476925) * sin_turns(c.kernel[k] * v + c.bias[k]) * c.kernel[k];
                }
                sum += own[t] * slope;
            }
        }
        dx[e] = sum;
    }
}

// A thread owns a number of the table, whose gradient it sums over the rows in order.
template <class T>
__global__ void table_gradient_kernel(Columns<T> c, const T* d, T* gradient) {
    const int64_t rows_of_table = c.first_code[c.count] + c.count;
    for (int64_t e = first_element(); e < rows_of_table * c.width; e += element_stride()) {
        const int64_t row = e / c.width, t = e % c.width;
        int64_t j = 0;
        while (c.first_code[j + 1] + j + 1 <= row) ++j;
        T sum = T(0);
        for (int64_t r = 0; r < c.rows; ++r)
            if (row_of(c, j, c.x[r * c.in_width + c.columns[j]]) == row)
                sum += d[r * c.out_width + c.encoded_at + j * c.width + t];
        gradient[e] = sum;
    }
}

// out[c] = Σ term(r, c) over the rows; part s of them lies s · stride further on. A block takes 32 columns, each warp every 8th row.
template <class T, class F>
__global__ void sum_rows_kernel(F term, T* out, int64_t rows, int64_t cols, int splits, int64_t stride) {
    __shared__ T sums[lanes_of_rows][33];
    const int x = int(threadIdx.x), y = int(threadIdx.y);
    const int64_t c = int64_t(blockIdx.x) * 32 + x;
    const int64_t part = (rows + splits - 1) / splits, first = part * blockIdx.y;
    const int64_t last = first + part < rows ? first + part : rows;
    T sum = T(0);
    if (c < cols)
        for (int64_t r = first + y; r < last; r += lanes_of_rows) sum += term(r, c);
    sums[y][x] = sum;
    __syncthreads();
    if (y != 0 || c >= cols) return;
    T total = T(0);
    for (int l = 0; l < lanes_of_rows; ++l) total += sums[l][x];
    out[stride * blockIdx.y + c] = total;
}
template <class T, class F>
void sum_rows(const F& term, T* out, int64_t rows, int64_t cols, const Parts& parts, cudaStream_t stream) {
    const dim3 grid(unsigned((cols + 31) / 32), unsigned(parts.splits)), block(32, lanes_of_rows);
    FD_LAUNCH((sum_rows_kernel<T, F>), grid, block, 0, stream, term, out, rows, cols, parts.splits, parts.stride);
}

template <class T>
struct ProductTerm {  // of two matrices of one shape
    const T *a, *b;
    int64_t cols;
    __device__ T operator()(int64_t r, int64_t c) const { return a[r * cols + c] * b[r * cols + c]; }
};
template <class T>
struct PeriodicTerm {  // of the gradients of frequencies, or of phases
    Columns<T> op;
    const T* d;
    bool phase;
    __device__ T operator()(int64_t r, int64_t k) const {
        const T v = op.x[r * op.in_width + op.columns[k / op.width]];
        const T turn = T(-6.283185307179586476925) * sin_turns(op.kernel[k] * v + op.bias[k]);
        const T g = d[r * op.out_width + op.encoded_at + k] * turn;
        return phase ? g : g * v;
    }
};
template <class T>
struct GroupedKernelTerm {
    Grouped<T> op;
    const T* d;
    __device__ T operator()(int64_t r, int64_t e) const {  // e: (group, input, unit)
        const int64_t unit = e % op.units, i = e / op.units, group = i / op.inputs;
        return op.x[r * op.in_width + i] * d[r * op.out_width + group * op.units + unit];
    }
};
template <class T>
struct GroupedBiasTerm {
    Grouped<T> op;
    const T* d;
    __device__ T operator()(int64_t r, int64_t c) const { return d[r * op.out_width + c]; }
};

template <class T>
__global__ void grouped_forward_kernel(Grouped<T> g) {
    const int64_t made = g.groups * g.units, taken = g.groups * g.inputs;
    for (int64_t e = first_element(); e < g.rows * g.out_width; e += element_stride()) {
        const int64_t r = e / g.out_width, at = e % g.out_width;
        const T* x = g.x + r * g.in_width;
        if (at >= made) {
            g.out[e] = x[taken + at - made];
            continue;
        }
        const int64_t group = at / g.units;
        T z = T(0);
        for (int64_t i = group * g.inputs; i < (group + 1) * g.inputs; ++i)
            z += x[i] * g.kernel[i * g.units + at % g.units];
        if (g.bias) z += g.bias[at];
        if (g.z) g.z[e] = z;
        g.out[e] = activate(g.activation, z, g.alpha);
    }
}
template <class T>
__global__ void grouped_finish_kernel(Grouped<T> g, const T* stored, T* d) {
    const int64_t made = g.groups * g.units;
    for (int64_t e = first_element(); e < g.rows * made; e += element_stride()) {
        const int64_t i = e / made * g.out_width + e % made;
        d[i] *= activation_derivative(g.activation, stored[i], g.alpha);
    }
}
template <class T>
__global__ void grouped_backward_kernel(Grouped<T> g, const T* d, T* dx) {
    const int64_t made = g.groups * g.units, taken = g.groups * g.inputs;
    for (int64_t e = first_element(); e < g.rows * g.in_width; e += element_stride()) {
        const int64_t r = e / g.in_width, i = e % g.in_width;
        const T* own = d + r * g.out_width;
        if (i >= taken) {
            dx[e] = own[made + i - taken];
            continue;
        }
        own += i / g.inputs * g.units;
        T sum = T(0);
        for (int64_t u = 0; u < g.units; ++u) sum += own[u] * g.kernel[i * g.units + u];
        dx[e] = sum;
    }
}

}  // namespace

template <class T>
void columns_forward(const Columns<T>& c, cudaStream_t stream) {
    FD_LAUNCH((columns_forward_kernel<T>), blocks_for(c.rows * c.out_width), threads, 0, stream, c);
}
template <class T>
void columns_backward(const Columns<T>& c, const T* d, T* dx, cudaStream_t stream) {
    FD_LAUNCH((columns_backward_kernel<T>), blocks_for(c.rows * c.in_width), threads, 0, stream, c, d, dx);
}
template <class T>
void table_gradient(const Columns<T>& c, int64_t numbers, const T* d, T* gradient, cudaStream_t stream) {
    FD_LAUNCH((table_gradient_kernel<T>), blocks_for(numbers), threads, 0, stream, c, d, gradient);
}
template <class T>
void periodic_gradients(const Columns<T>& c, const T* d, T* frequencies, T* phases, const Parts& parts,
                        cudaStream_t stream) {
    sum_rows(PeriodicTerm<T>{c, d, false}, frequencies, c.rows, c.count * c.width, parts, stream);
    sum_rows(PeriodicTerm<T>{c, d, true}, phases, c.rows, c.count * c.width, parts, stream);
}
template <class T>
void grouped_forward(const Grouped<T>& g, cudaStream_t stream) {
    FD_LAUNCH((grouped_forward_kernel<T>), blocks_for(g.rows * g.out_width), threads, 0, stream, g);
}
template <class T>
void grouped_backward(const Grouped<T>& g, const T* stored, T* d, T* dx, T* dkernel, T* dbias, const Parts& parts,
                      cudaStream_t stream) {
    const int64_t made = g.groups * g.units, taken = g.groups * g.inputs;
    if (stored) FD_LAUNCH((grouped_finish_kernel<T>), blocks_for(g.rows * made), threads, 0, stream, g, stored, d);
    sum_rows(GroupedKernelTerm<T>{g, d}, dkernel, g.rows, taken * g.units, parts, stream);
    if (dbias) sum_rows(GroupedBiasTerm<T>{g, d}, dbias, g.rows, made, parts, stream);
    if (dx) FD_LAUNCH((grouped_backward_kernel<T>), blocks_for(g.rows * g.in_width), threads, 0, stream, g, d, dx);
}
template <class T>
void column_dots(const T* a, const T* b, T* out, int64_t rows, int64_t cols, const Parts& parts, cudaStream_t stream) {
    sum_rows(ProductTerm<T>{a, b, cols}, out, rows, cols, parts, stream);
}

#define FD_INSTANTIATE(T)                                                                                       \
    template void columns_forward<T>(const Columns<T>&, cudaStream_t);                                          \
    template void columns_backward<T>(const Columns<T>&, const T*, T*, cudaStream_t);                           \
    template void table_gradient<T>(const Columns<T>&, int64_t, const T*, T*, cudaStream_t);                    \
    template void periodic_gradients<T>(const Columns<T>&, const T*, T*, T*, const Parts&, cudaStream_t);       \
    template void grouped_forward<T>(const Grouped<T>&, cudaStream_t);                                          \
    template void grouped_backward<T>(const Grouped<T>&, const T*, T*, T*, T*, T*, const Parts&, cudaStream_t); \
    template void column_dots<T>(const T*, const T*, T*, int64_t, int64_t, const Parts&, cudaStream_t);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cuda
