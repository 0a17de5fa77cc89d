// Activations, dropout and other elementwise kernels, and sums over the rows of each column.
#include "cuda/kernels.h"
#include "cuda/layerwise/elements.h"
#include "cuda/runtime/device_math.h"
#include "cuda/runtime/port.h"

namespace fd::cuda {
namespace {

template <class T>
__global__ void activation_kernel(ops::Activation activation, T alpha, const T* slope, const T* x, T* out, int64_t n,
                                  int64_t cols) {
    for (int64_t i = first_element(); i < n; i += element_stride())
        out[i] = activate(activation, x[i], slope ? slope[i % cols] : alpha);
}

template <class T>
__global__ void dropout_kernel(Steps steps, DropoutKey key, const T* x, T* out, int64_t n) {
    const ops::DropoutMask mask(key.seed, uint64_t(steps.now().step), key.op, key.rate);
    const T scale = T(mask.scale);
    for (int64_t q = first_element(); q * 4 < n; q += element_stride()) {
        const ops::Words r = mask.words(uint64_t(q));
        const int64_t i = q * 4;
        if (i + 4 <= n) {
            Quad<T> v = read_quad(x + i);
            for (int lane = 0; lane < 4; ++lane) v.v[lane] = mask.keeps(r.w[lane]) ? v.v[lane] * scale : T(0);
            write_quad(out + i, v.v);
        } else {
            for (int lane = 0; i + lane < n; ++lane) out[i + lane] = mask.keeps(r.w[lane]) ? x[i + lane] * scale : T(0);
        }
    }
}

template <class T>
__device__ T with_noise(const NoiseKey& key, T x, double normal, bool backward) {
    if (key.kind == OpKind::gaussian_dropout) return x * T(1 + key.stddev * normal);
    return backward ? x : x + T(key.stddev * normal);
}
template <class T>
__global__ void noise_kernel(Steps steps, NoiseKey key, const T* from, T* to, int64_t n, bool backward) {
    const uint64_t step = uint64_t(steps.now().step);
    const ops::DropoutMask mask(key.seed, step, key.op, key.rate);
    const ops::AlphaDropout alpha(key.rate);
    const T a = T(alpha.a), b = T(backward ? 0 : alpha.b),
            dropped = T(backward ? 0 : alpha.a * ops::AlphaDropout::limit + alpha.b);
    const ops::NormalNoise normal{key.seed, step, key.op};
    for (int64_t q = first_element(); q * 4 < n; q += element_stride()) {
        const int64_t i = q * 4, count = n - i < 4 ? n - i : 4;
        if (key.kind == OpKind::alpha_dropout) {
            const ops::Words r = mask.words(uint64_t(q));
            for (int64_t k = 0; k < count; ++k) to[i + k] = mask.keeps(r.w[k]) ? a * from[i + k] + b : dropped;
        } else {
            const ops::NormalNoise::Quad r = normal.numbers(uint64_t(q));
            for (int64_t k = 0; k < count; ++k) to[i + k] = with_noise(key, from[i + k], r.v[k], backward);
        }
    }
}

template <class T>
__global__ void rescale_kernel(const T* x, const T* scale, const T* offset, T* out, int64_t n, int64_t cols) {
    for (int64_t i = first_element(); i < n; i += element_stride()) {
        const T v = x[i] * scale[i % cols];
        out[i] = offset ? v + offset[i % cols] : v;
    }
}
template <class T>
__global__ void add_kernel(const T* a, const T* b, T* out, int64_t n) {
    for (int64_t i = first_element(); i < n; i += element_stride()) out[i] = a[i] + b[i];
}

// A block takes 32 columns, each warp every 8th row of its part.
template <class T>
__global__ void finish_kernel(Finish<T> f) {
    __shared__ T sums[2][lanes_of_rows][33];
    const int x = int(threadIdx.x), y = int(threadIdx.y);
    const int64_t c = int64_t(blockIdx.x) * 32 + x;
    const int64_t part = (f.rows + f.splits - 1) / f.splits, first = part * blockIdx.y;
    const int64_t last = first + part < f.rows ? first + part : f.rows;
    T bias = T(0), slope_sum = T(0);
    if (c < f.cols) {
        const T p = f.slope ? f.slope[c] : f.alpha;
        for (int64_t r = first + y; r < last; r += lanes_of_rows) {
            const int64_t i = r * f.cols + c;
            T g = f.from[i];
            if (f.output) {
                const T a = f.output[i];
                g += T(f.activity_l1) * ops::vsign(a) + T(2 * f.activity_l2) * a;
            }
            const T s = f.stored ? f.stored[i] : T(0);
            if (f.slope && !(s > T(0))) slope_sum += s * g;
            if (f.stored) g *= activation_derivative(f.activation, s, p);
            if (f.to) f.to[i] = g;
            bias += g;
        }
    }
    if (!f.bias_gradient && !f.slope_gradient) return;
    sums[0][y][x] = bias;
    sums[1][y][x] = slope_sum;
    __syncthreads();
    if (y != 0 || c >= f.cols) return;
    T total[2] = {T(0), T(0)};
    for (int k = 0; k < 2; ++k)
        for (int l = 0; l < lanes_of_rows; ++l) total[k] += sums[k][l][x];
    if (f.bias_gradient) f.bias_gradient[f.stride * blockIdx.y + c] = total[0];
    if (f.slope_gradient) f.slope_gradient[f.stride * blockIdx.y + c] = total[1];
}

}  // namespace

int column_splits(int64_t rows) {
    const int64_t parts = rows / 256;
    return parts < 1 ? 1 : parts > most_splits ? most_splits : int(parts);
}

template <class T>
void activation_forward(ops::Activation activation, T alpha, const T* slope, const T* x, T* out, int64_t rows,
                        int64_t cols, cudaStream_t stream) {
    FD_LAUNCH((activation_kernel<T>), blocks_for(rows * cols), threads, 0, stream, activation, alpha, slope, x, out,
              rows * cols, cols);
}
template <class T>
void dropout(const Steps& steps, const DropoutKey& key, const T* x, T* out, int64_t n, cudaStream_t stream) {
    FD_LAUNCH((dropout_kernel<T>), blocks_for((n + 3) / 4), threads, 0, stream, steps, key, x, out, n);
}
template <class T>
void noise(const Steps& steps, const NoiseKey& key, const T* from, T* to, int64_t n, bool backward,
           cudaStream_t stream) {
    FD_LAUNCH((noise_kernel<T>), blocks_for((n + 3) / 4), threads, 0, stream, steps, key, from, to, n, backward);
}
template <class T>
void rescale(const T* x, const T* scale, const T* offset, T* out, int64_t rows, int64_t cols, cudaStream_t stream) {
    FD_LAUNCH((rescale_kernel<T>), blocks_for(rows * cols), threads, 0, stream, x, scale, offset, out, rows * cols,
              cols);
}
template <class T>
void add(const T* a, const T* b, T* out, int64_t n, cudaStream_t stream) {
    FD_LAUNCH((add_kernel<T>), blocks_for(n), threads, 0, stream, a, b, out, n);
}
template <class T>
void finish(const Finish<T>& f, cudaStream_t stream) {
    const dim3 grid(unsigned((f.cols + 31) / 32), unsigned(f.splits)), block(32, lanes_of_rows);
    FD_LAUNCH((finish_kernel<T>), grid, block, 0, stream, f);
}

#define FD_INSTANTIATE(T)                                                                                            \
    template void activation_forward<T>(ops::Activation, T, const T*, const T*, T*, int64_t, int64_t, cudaStream_t); \
    template void dropout<T>(const Steps&, const DropoutKey&, const T*, T*, int64_t, cudaStream_t);                  \
    template void noise<T>(const Steps&, const NoiseKey&, const T*, T*, int64_t, bool, cudaStream_t);                \
    template void rescale<T>(const T*, const T*, const T*, T*, int64_t, int64_t, cudaStream_t);                      \
    template void add<T>(const T*, const T*, T*, int64_t, cudaStream_t);                                             \
    template void finish<T>(const Finish<T>&, cudaStream_t);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cuda
