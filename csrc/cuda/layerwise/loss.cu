// Kernels over whole rows of outputs: softmax, losses and their gradients, activity penalties, metrics.
#include "cuda/device_rows.h"
#include "cuda/kernels.h"
#include "cuda/runtime/port.h"

namespace fd::cuda {
namespace {

constexpr int warps = 8;  // rows a block
unsigned row_grid(int64_t rows) { return unsigned((rows + warps - 1) / warps); }
__device__ __forceinline__ int64_t own_row() { return int64_t(blockIdx.x) * warps + (int(threadIdx.x) >> 5); }
__device__ __forceinline__ int own_lane() { return int(threadIdx.x) & 31; }
__device__ __forceinline__ RowLanes own_lanes() { return {own_lane(), 32}; }

template <class T>
__global__ void softmax_kernel(const T* z, T* out, int64_t rows, int64_t cols) {
    const int64_t r = own_row();
    if (r >= rows) return;
    softmax_row(z + r * cols, out + r * cols, int(cols), own_lanes());
}

template <class T>
__global__ void softmax_backward_kernel(const T* a, T* d, double l1, double l2, int64_t rows, int64_t cols) {
    const int64_t r = own_row();
    const int lane = own_lane();
    if (r >= rows) return;
    a += r * cols, d += r * cols;
    T sum = T(0);
    for (int64_t c = lane; c < cols; c += 32) sum += a[c] * (d[c] + activity_derivative(a[c], l1, l2));
    sum = warp_sum(sum);
    for (int64_t c = lane; c < cols; c += 32) d[c] = a[c] * (d[c] + activity_derivative(a[c], l1, l2) - sum);
}

template <class T>
__global__ void loss_kernel(LossRows<T> l) {
    const int64_t r = own_row(), n = l.cols;
    if (r >= l.rows) return;
    T* d = l.d ? l.d + r * n : nullptr;
    const double loss = loss_row(kind_of(l), row_of(l, r), own_lanes(), d != nullptr, [&](int c, T g) { d[c] = g; });
    if (own_lane() == 0) l.row_loss[r] = loss;
}

template <class T>
__device__ double activity_of_row(const T* a, double l1, double l2, int64_t cols, int lane) {
    double sum = 0;
    for (int64_t c = lane; c < cols; c += 32) sum += l1 * double(ops::vabs(a[c])) + l2 * double(a[c]) * double(a[c]);
    return warp_sum(sum);
}
template <class T>
__global__ void activity_kernel(const T* a, double l1, double l2, double* row_loss, int64_t rows, int64_t cols) {
    const int64_t r = own_row();
    if (r >= rows) return;
    const double sum = activity_of_row(a + r * cols, l1, l2, cols, own_lane());
    if (own_lane() == 0) row_loss[r] += sum;
}
template <class T>
__global__ void fused_activity_kernel(const T* a, bool categorical, double l1, double l2, double* row_loss, T* d,
                                      int64_t rows, int64_t cols) {
    const int64_t r = own_row();
    const int lane = own_lane();
    if (r >= rows) return;
    a += r * cols;
    const double value = activity_of_row(a, l1, l2, cols, lane);
    if (lane == 0) row_loss[r] += value;
    if (!d) return;
    d += r * cols;
    l1 /= double(rows), l2 /= double(rows);
    T sum = T(0);
    for (int64_t c = lane; c < cols; c += 32) sum += a[c] * activity_derivative(a[c], l1, l2);
    sum = warp_sum(sum);
    for (int64_t c = lane; c < cols; c += 32) {
        const T g = activity_derivative(a[c], l1, l2);
        d[c] += categorical ? a[c] * (g - sum) : g * a[c] * (T(1) - a[c]);
    }
}

// ---- metrics: one block each ----------------------------------------------------------------------------------------

constexpr int threads = 256;

template <class T>
__device__ ops::MetricRow<T> view(const Metrics<T>& m, int64_t r) {
    return {m.p + r * m.cols, m.y ? m.y + r * m.cols : nullptr, m.labels ? m.labels[r] : -1, m.cols};
}

template <class T>
__global__ void metrics_kernel(Steps steps, Metrics<T> all) {
    __shared__ double scratch[threads][4];
    __shared__ int64_t chosen[threads], truth[threads];
    const MetricSpec m = all.specs[blockIdx.x];
    double* state = steps.row() + m.offset;
    const int t = int(threadIdx.x);
    const int64_t rows = all.rows, cols = all.cols;
    if (ops::metric_sums(m.kind) == 0) {
        double value = 0, weight = 0;
        for (int64_t r = t; r < rows; r += threads) {
            const double w = all.weights && m.weighted ? all.weights[r] : 1;
            value += w * row_value(m, view(all, r));
            weight += w;
        }
        value = block_sum(value, &scratch[0][0]);
        weight = block_sum(weight, &scratch[0][0]);
        if (t == 0) state[0] = value, state[1] = weight;
        return;
    }
    // Threads are laid out as columns times lanes of rows.
    const int width = int(cols < threads ? cols : threads), lanes = threads / width;
    const int lane = t / width, column = t % width;
    for (int64_t c0 = 0; c0 < cols; c0 += width) {
        const int64_t c = c0 + column;
        const bool works = lane < lanes && c < cols;
        double sums[4] = {0, 0, 0, 0};
        for (int64_t r0 = 0; r0 < rows; r0 += threads) {
            if (m.multiclass) {
                __syncthreads();
                if (r0 + t < rows) {
                    const ops::MetricRow<T> v = view(all, r0 + t);
                    chosen[t] = ops::argmax(v.p, cols);
                    truth[t] = v.truth();
                }
                __syncthreads();
            }
            const int64_t end = rows - r0 < threads ? rows - r0 : threads;
            for (int64_t i = lane; works && i < end; i += lanes) {
                const int64_t r = r0 + i;
                const double w = all.weights && m.weighted ? all.weights[r] : 1, p = double(all.p[r * cols + c]);
                const double y = view(all, r).target(c);
                double terms[4];
                ops::metric_terms(m.kind, w, p, y, m.multiclass ? chosen[i] == c : p > m.threshold,
                                  m.multiclass ? truth[i] == c : y > 0.5, terms);
                for (int k = 0; k < 4; ++k) sums[k] += terms[k];
            }
        }
        for (int k = 0; k < 4; ++k) scratch[t][k] = sums[k];
        __syncthreads();
        if (lane == 0 && c < cols)
            for (int64_t k = 0; k < ops::metric_sums(m.kind); ++k) {
                double total = 0;
                for (int l = 0; l < lanes; ++l) total += scratch[l * width + column][k];
                state[k * cols + c] = total;
            }
        __syncthreads();
    }
}

}  // namespace

template <class T>
void softmax(const T* z, T* out, int64_t rows, int64_t cols, cudaStream_t stream) {
    FD_LAUNCH((softmax_kernel<T>), row_grid(rows), 32 * warps, 0, stream, z, out, rows, cols);
}
template <class T>
void softmax_backward(const T* a, T* d, double l1, double l2, int64_t rows, int64_t cols, cudaStream_t stream) {
    FD_LAUNCH((softmax_backward_kernel<T>), row_grid(rows), 32 * warps, 0, stream, a, d, l1, l2, rows, cols);
}
template <class T>
void loss_rows(const LossRows<T>& l, cudaStream_t stream) {
    FD_LAUNCH((loss_kernel<T>), row_grid(l.rows), 32 * warps, 0, stream, l);
}
template <class T>
void activity_value(const T* a, double l1, double l2, double* row_loss, int64_t rows, int64_t cols,
                    cudaStream_t stream) {
    FD_LAUNCH((activity_kernel<T>), row_grid(rows), 32 * warps, 0, stream, a, l1, l2, row_loss, rows, cols);
}
template <class T>
void fused_activity(const T* a, bool categorical, double l1, double l2, double* row_loss, T* d, int64_t rows,
                    int64_t cols, cudaStream_t stream) {
    FD_LAUNCH((fused_activity_kernel<T>), row_grid(rows), 32 * warps, 0, stream, a, categorical, l1, l2, row_loss, d,
              rows, cols);
}
template <class T>
void measure(const Steps& steps, const Metrics<T>& m, cudaStream_t stream) {
    if (m.count) FD_LAUNCH((metrics_kernel<T>), unsigned(m.count), threads, 0, stream, steps, m);
}

#define FD_INSTANTIATE(T)                                                                                         \
    template void softmax<T>(const T*, T*, int64_t, int64_t, cudaStream_t);                                       \
    template void softmax_backward<T>(const T*, T*, double, double, int64_t, int64_t, cudaStream_t);              \
    template void loss_rows<T>(const LossRows<T>&, cudaStream_t);                                                 \
    template void activity_value<T>(const T*, double, double, double*, int64_t, int64_t, cudaStream_t);           \
    template void fused_activity<T>(const T*, bool, double, double, double*, T*, int64_t, int64_t, cudaStream_t); \
    template void measure<T>(const Steps&, const Metrics<T>&, cudaStream_t);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cuda
