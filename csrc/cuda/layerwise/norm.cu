// Batch and layer normalisation. A batch's statistics are taken in parts, each in two passes over its rows, then merged.
#include "cuda/kernels.h"
#include "cuda/runtime/port.h"

namespace fd::cuda {
namespace {

struct Rows {
    int64_t first, last;
};
template <class T>
__device__ __forceinline__ T or_else(const T* values, int64_t c, T without) {
    return values ? values[c] : without;
}
__device__ __forceinline__ Rows part_of(int64_t rows, int splits, int s) {
    const int64_t part = (rows + splits - 1) / splits, first = part * s;
    return {first < rows ? first : rows, first + part < rows ? first + part : rows};
}
template <class T>
__global__ void statistics_kernel(BatchNorm<T> b, int splits) {
    __shared__ double scratch[lanes_of_rows][33];
    const int64_t c = int64_t(blockIdx.x) * 32 + threadIdx.x;
    const Rows rows = part_of(b.rows, splits, int(blockIdx.y));
    const bool inside = c < b.cols;
    const int64_t first = rows.first + int(threadIdx.y);
    double sum = 0, square = 0;
    if (inside)
        for (int64_t r = first; r < rows.last; r += lanes_of_rows) sum += double(b.x[r * b.cols + c]);
    const double count = double(rows.last - rows.first);
    sum = over_rows(sum, scratch);
    const double mean = count > 0 ? sum / count : sum;
    if (inside)
        for (int64_t r = first; r < rows.last; r += lanes_of_rows) {
            const double e = double(b.x[r * b.cols + c]) - mean;
            square += e * e;
        }
    square = over_rows(square, scratch);
    if (!inside || threadIdx.y != 0) return;
    b.parts[int64_t(blockIdx.y) * b.cols + c] = mean;
    b.parts[(int64_t(most_splits) + blockIdx.y) * b.cols + c] = square;
}

template <class T>
__global__ void batch_norm_kernel(Steps steps, BatchNorm<T> b, int splits) {
    const int64_t c = int64_t(blockIdx.x) * 32 + threadIdx.x;
    if (c >= b.cols) return;
    const bool writer = blockIdx.y == 0 && threadIdx.y == 0;
    double mean, variance;
    if (b.batch_statistics) {
        double sum = 0, square = 0;
        for (int s = 0; s < splits; ++s) {
            const Rows rows = part_of(b.rows, splits, s);
            sum += b.parts[int64_t(s) * b.cols + c] * double(rows.last - rows.first);
        }
        mean = sum / double(b.rows);
        for (int s = 0; s < splits; ++s) {
            const Rows rows = part_of(b.rows, splits, s);
            const double e = b.parts[int64_t(s) * b.cols + c] - mean;
            square += b.parts[(int64_t(most_splits) + s) * b.cols + c] + double(rows.last - rows.first) * e * e;
        }
        variance = square / double(b.rows);
        if (writer && b.update_statistics && !steps.control->halted) {
            const T keep = T(b.momentum), update = T(1 - b.momentum);
            b.moving_mean[c] = update * T(mean) + keep * b.moving_mean[c];
            b.moving_variance[c] = update * T(variance) + keep * b.moving_variance[c];
        }
    } else {
        mean = double(b.moving_mean[c]);
        variance = double(b.moving_variance[c]);
    }
    const T m = T(mean), inverse = T(1 / ops::vsqrt(double(T(variance)) + b.epsilon));
    const T gamma = or_else(b.gamma, c, T(1)), beta = or_else(b.beta, c, T(0));
    if (writer) b.mean[c] = m, b.inverse[c] = inverse;
    const Rows rows = part_of(b.rows, splits, int(blockIdx.y));
    for (int64_t r = rows.first + int(threadIdx.y); r < rows.last; r += lanes_of_rows)
        b.out[r * b.cols + c] = (b.x[r * b.cols + c] - m) * inverse * gamma + beta;
}

// Σ d and Σ d·x̂ of a part of the rows
template <class T>
__global__ void batch_norm_sums_kernel(BatchNorm<T> b, const T* d, int splits) {
    __shared__ double scratch[lanes_of_rows][33];
    const int64_t c = int64_t(blockIdx.x) * 32 + threadIdx.x;
    const Rows rows = part_of(b.rows, splits, int(blockIdx.y));
    double sum = 0, product = 0;
    if (c < b.cols)
        for (int64_t r = rows.first + int(threadIdx.y); r < rows.last; r += lanes_of_rows) {
            const int64_t i = r * b.cols + c;
            sum += double(d[i]);
            product += double(d[i]) * double((b.x[i] - b.mean[c]) * b.inverse[c]);
        }
    sum = over_rows(sum, scratch);
    product = over_rows(product, scratch);
    if (c >= b.cols || threadIdx.y != 0) return;
    b.parts[int64_t(blockIdx.y) * b.cols + c] = sum;
    b.parts[(int64_t(most_splits) + blockIdx.y) * b.cols + c] = product;
}
template <class T>
__global__ void batch_norm_backward_kernel(BatchNorm<T> b, const T* d, T* dx, T* dgamma, T* dbeta, int splits) {
    const int64_t c = int64_t(blockIdx.x) * 32 + threadIdx.x;
    if (c >= b.cols) return;
    double sum = 0, product = 0;
    for (int s = 0; s < splits; ++s) {
        sum += b.parts[int64_t(s) * b.cols + c];
        product += b.parts[(int64_t(most_splits) + s) * b.cols + c];
    }
    const bool writer = blockIdx.y == 0 && threadIdx.y == 0;
    if (writer && dbeta) dbeta[c] = T(sum);
    if (writer && dgamma) dgamma[c] = T(product);
    const double fraction = b.batch_statistics ? 1 / double(b.rows) : 0;
    const T mean_d = T(sum * fraction), mean_product = T(product * fraction),
            scale = or_else(b.gamma, c, T(1)) * b.inverse[c];
    const Rows rows = part_of(b.rows, splits, int(blockIdx.y));
    for (int64_t r = rows.first + int(threadIdx.y); r < rows.last; r += lanes_of_rows) {
        const int64_t i = r * b.cols + c;
        dx[i] = scale * (d[i] - mean_d - (b.x[i] - b.mean[c]) * b.inverse[c] * mean_product);
    }
}

constexpr int warps = 8;  // rows a block
template <class T>
__global__ void layer_norm_kernel(LayerNorm<T> l) {
    const int lane = int(threadIdx.x) & 31;
    const int64_t r = int64_t(blockIdx.x) * warps + (int(threadIdx.x) >> 5);
    if (r >= l.rows) return;
    const T* x = l.x + r * l.cols;
    T* out = l.out + r * l.cols;
    T sum = T(0), square = T(0);
    for (int64_t c = lane; c < l.cols; c += 32) sum += x[c];
    const T mean = warp_sum(sum) / T(l.cols);
    for (int64_t c = lane; c < l.cols; c += 32) square += (x[c] - mean) * (x[c] - mean);
    const T variance = warp_sum(square) / T(l.cols);
    const T inverse = T(1 / ops::vsqrt(double(variance) + l.epsilon));
    if (lane == 0) l.mean[r] = mean, l.inverse[r] = inverse;
    for (int64_t c = lane; c < l.cols; c += 32)
        out[c] = (x[c] - mean) * inverse * or_else(l.gamma, c, T(1)) + or_else(l.beta, c, T(0));
}
template <class T>
__global__ void layer_norm_backward_kernel(LayerNorm<T> l, const T* d, T* dx) {
    const int lane = int(threadIdx.x) & 31;
    const int64_t r = int64_t(blockIdx.x) * warps + (int(threadIdx.x) >> 5);
    if (r >= l.rows) return;
    const T *x = l.x + r * l.cols, *from = d + r * l.cols;
    const T mean = l.mean[r], inverse = l.inverse[r];
    T sum = T(0), product = T(0);
    for (int64_t c = lane; c < l.cols; c += 32) {
        const T e = from[c] * or_else(l.gamma, c, T(1));
        sum += e;
        product += e * (x[c] - mean) * inverse;
    }
    const T mean_d = warp_sum(sum) / T(l.cols), mean_product = warp_sum(product) / T(l.cols);
    for (int64_t c = lane; c < l.cols; c += 32)
        dx[r * l.cols + c] =
            inverse * (from[c] * or_else(l.gamma, c, T(1)) - mean_d - (x[c] - mean) * inverse * mean_product);
}
template <class T>
__global__ void layer_norm_parameters_kernel(LayerNorm<T> l, const T* d, T* dgamma, T* dbeta, int splits,
                                             int64_t stride) {
    __shared__ double scratch[lanes_of_rows][33];
    const int64_t c = int64_t(blockIdx.x) * 32 + threadIdx.x;
    const Rows rows = part_of(l.rows, splits, int(blockIdx.y));
    double sum = 0, product = 0;
    if (c < l.cols)
        for (int64_t r = rows.first + int(threadIdx.y); r < rows.last; r += lanes_of_rows) {
            const T g = d[r * l.cols + c];
            sum += double(g);
            product += double(g * (l.x[r * l.cols + c] - l.mean[r]) * l.inverse[r]);
        }
    sum = over_rows(sum, scratch);
    product = over_rows(product, scratch);
    if (c >= l.cols || threadIdx.y != 0) return;
    if (dbeta) dbeta[stride * blockIdx.y + c] = T(sum);
    if (dgamma) dgamma[stride * blockIdx.y + c] = T(product);
}
template <class T>
__global__ void unit_norm_kernel(UnitNorm<T> u, const T* d, T* dx) {  // forward; back if there is a gradient d
    const int lane = int(threadIdx.x) & 31;
    const int64_t r = int64_t(blockIdx.x) * warps + (int(threadIdx.x) >> 5);
    if (r >= u.rows) return;
    const T *x = u.x + r * u.cols, *from = d ? d + r * u.cols : nullptr;
    T* out = u.out + r * u.cols;
    double sum = 0;
    for (int64_t c = lane; c < u.cols; c += 32)
        sum += d ? double(from[c]) * double(out[c]) : double(x[c]) * double(x[c]);
    sum = warp_sum(sum);
    if (!d) {
        const double inverse = 1 / ops::vsqrt(sum);
        const T factor = T(inverse < 1e12 ? inverse : inverse == inverse ? 1e12 : inverse);
        if (lane == 0) u.inverse[r] = factor;
        for (int64_t c = lane; c < u.cols; c += 32) out[c] = x[c] * factor;
        return;
    }
    const T inverse = u.inverse[r], along = inverse < T(1e12) ? T(sum) : T(0);
    for (int64_t c = lane; c < u.cols; c += 32) dx[r * u.cols + c] = inverse * (from[c] - along * out[c]);
}

dim3 column_grid(int64_t cols, int splits) { return dim3(unsigned((cols + 31) / 32), unsigned(splits)); }
dim3 column_block() { return dim3(32, lanes_of_rows); }
unsigned row_grid(int64_t rows) { return unsigned((rows + warps - 1) / warps); }

}  // namespace

template <class T>
void batch_norm_forward(const Steps& steps, const BatchNorm<T>& b, cudaStream_t stream) {
    const int splits = column_splits(b.rows);
    if (b.batch_statistics)
        FD_LAUNCH((statistics_kernel<T>), column_grid(b.cols, splits), column_block(), 0, stream, b, splits);
    FD_LAUNCH((batch_norm_kernel<T>), column_grid(b.cols, splits), column_block(), 0, stream, steps, b, splits);
}
template <class T>
void batch_norm_backward(const BatchNorm<T>& b, const T* d, T* dx, T* dgamma, T* dbeta, cudaStream_t stream) {
    const int splits = column_splits(b.rows);
    FD_LAUNCH((batch_norm_sums_kernel<T>), column_grid(b.cols, splits), column_block(), 0, stream, b, d, splits);
    FD_LAUNCH((batch_norm_backward_kernel<T>), column_grid(b.cols, splits), column_block(), 0, stream, b, d, dx, dgamma,
              dbeta, splits);
}
template <class T>
void layer_norm_forward(const LayerNorm<T>& l, cudaStream_t stream) {
    FD_LAUNCH((layer_norm_kernel<T>), row_grid(l.rows), 32 * warps, 0, stream, l);
}
template <class T>
void layer_norm_backward(const LayerNorm<T>& l, const T* d, T* dx, T* dgamma, T* dbeta, int splits, int64_t stride,
                         cudaStream_t stream) {
    FD_LAUNCH((layer_norm_backward_kernel<T>), row_grid(l.rows), 32 * warps, 0, stream, l, d, dx);
    if (!dgamma && !dbeta) return;
    FD_LAUNCH((layer_norm_parameters_kernel<T>), column_grid(l.cols, splits), column_block(), 0, stream, l, d, dgamma,
              dbeta, splits, stride);
}
template <class T>
void unit_norm_forward(const UnitNorm<T>& u, cudaStream_t stream) {
    FD_LAUNCH((unit_norm_kernel<T>), row_grid(u.rows), 32 * warps, 0, stream, u, static_cast<const T*>(nullptr),
              static_cast<T*>(nullptr));
}
template <class T>
void unit_norm_backward(const UnitNorm<T>& u, const T* d, T* dx, cudaStream_t stream) {
    FD_LAUNCH((unit_norm_kernel<T>), row_grid(u.rows), 32 * warps, 0, stream, u, d, dx);
}

#define FD_INSTANTIATE(T)                                                                          \
    template void batch_norm_forward<T>(const Steps&, const BatchNorm<T>&, cudaStream_t);          \
    template void batch_norm_backward<T>(const BatchNorm<T>&, const T*, T*, T*, T*, cudaStream_t); \
    template void unit_norm_forward<T>(const UnitNorm<T>&, cudaStream_t);                          \
    template void unit_norm_backward<T>(const UnitNorm<T>&, const T*, T*, cudaStream_t);           \
    template void layer_norm_forward<T>(const LayerNorm<T>&, cudaStream_t);                        \
    template void layer_norm_backward<T>(const LayerNorm<T>&, const T*, T*, T*, T*, int, int64_t, cudaStream_t);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cuda
