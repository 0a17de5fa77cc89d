// The last dense layer, if it is narrow, in one kernel: product, bias, activation, loss, and in training the gradients of its sums
// and of its inputs, with the derivative of the activation below. A warp makes one row, or a few; the kernel lies in shared memory,
// in slices along its inputs if it does not fit.
#include "cuda/device_rows.h"
#include "cuda/kernels.h"
#include "cuda/runtime/port.h"

namespace fd::cuda {
namespace {

constexpr int warps = 8, threads = 32 * warps;
constexpr int quad_step = 4 * 32;  // inputs that a warp takes at once, four a lane

// The layer has at most U units; a warp makes R rows.
template <class T, int U, int R>
struct LastLayerShape {
    static constexpr int row = 32;  // numbers of shared memory for a row's outputs, then for their gradients
    static constexpr int own = R * (row + quad_step);  // of a warp
    static constexpr int64_t most_bytes = 48 * 1024;
    static constexpr int pad = 4;  // between units, so that neighbours in the kernel lie in different banks
    static int slice(int64_t inputs, int64_t units) {
        const int64_t most = (most_bytes / int64_t(sizeof(T)) - warps * own) / units - pad;
        return int(most / quad_step * quad_step < inputs ? most / quad_step * quad_step
                                                         : (inputs + quad_step - 1) / quad_step * quad_step);
    }
    static size_t bytes(int slice, int64_t units) {
        return (size_t(units) * size_t(slice + pad) + size_t(warps * own)) * sizeof(T);
    }
    static_assert((most_bytes / int64_t(sizeof(T)) - warps * own) / U - pad >= quad_step, "a slice fits");
};

// Of two lanes whose numbers differ by this bit, each goes on with half of what they have to sum.
template <int half, class T, int U>
__device__ __forceinline__ void halve(T (&v)[U], int lane) {
    constexpr int bit = 32 / U * half;
    const bool upper = lane & bit;
#pragma unroll
    for (int j = 0; j < half; ++j) {
        const T keep = upper ? v[j + half] : v[j], give = upper ? v[j] : v[j + half];
        v[j] = keep + __shfl_xor_sync(whole_warp, give, bit);
    }
    if constexpr (half > 1) halve<half / 2>(v, lane);
}
// Lane u gets the sum over all lanes of v[u].
template <class T, int U>
__device__ __forceinline__ T sum_of_unit(T (&v)[U], int lane) {
    halve<U / 2>(v, lane);
    if constexpr (U == 32) return v[0];
    return __shfl_sync(whole_warp, v[0] + __shfl_xor_sync(whole_warp, v[0], 1), 2 * lane & 31);
}

template <class T, int U, int R>
__global__ void __launch_bounds__(threads, sizeof(T) == 4 && U == 16 ? 2 : 1)
    last_layer_kernel(LastLayer<T> l, int slice, bool aligned) {
    using S = LastLayerShape<T, U, R>;
    FD_DYN_SHARED(T, shared);
    const int thread = int(threadIdx.x), warp = thread >> 5, lane = thread & 31;
    const int units = int(l.loss.cols), ld = slice + S::pad;
    T* const weights = shared;  // (units, ld)
    T* const own = shared + units * ld + warp * S::own;
    T* const stage = own + R * S::row + 4 * lane;  // of this lane: a quad a row
    const int64_t r0 = (int64_t(blockIdx.x) * warps + warp) * R, rows = l.loss.rows, inputs = l.inputs;

    const auto load = [&](int64_t first, int count) {
        const T* const from = l.kernel + first * units;
        int u = thread % units, k = thread / units;
        for (int e = thread; e < count * units; e += threads) {
            weights[u * ld + k] = rounded(from[e], l.precision);
            u += threads % units, k += threads / units;
            if (u >= units) u -= units, ++k;
        }
        for (int e = thread; e < 4 * units; e += threads)  // what a quad has beyond the last input
            if (e % 4 < (4 - count % 4) % 4) weights[e / 4 * ld + count + e % 4] = T(0);
        __syncthreads();
    };
    const auto length = [&](int64_t first) { return int(inputs - first < slice ? inputs - first : slice); };

    T sum[R][U];
#pragma unroll
    for (int i = 0; i < R; ++i)
#pragma unroll
        for (int u = 0; u < U; ++u) sum[i][u] = T(0);
    int64_t first = 0;
    for (;;) {
        const int count = length(first);
        load(first, count);
        for (int k = 4 * lane; k < count; k += quad_step) {
            Quad<T> x[R];
#pragma unroll
            for (int i = 0; i < R; ++i) {
                x[i] = r0 + i < rows ? quad_of(l.x + (r0 + i) * inputs + first + k, inputs - first - k, aligned)
                                     : Quad<T>{};
            }
            if (l.precision != Precision::full) {
#pragma unroll
                for (int i = 0; i < R; ++i)
#pragma unroll
                    for (int j = 0; j < 4; ++j) x[i].v[j] = rounded(x[i].v[j], l.precision);
            }
#pragma unroll
            for (int u = 0; u < U; ++u) {
                if (u >= units) continue;
                const Quad<T> w = read_quad(weights + u * ld + k);
#pragma unroll
                for (int i = 0; i < R; ++i)
#pragma unroll
                    for (int j = 0; j < 4; ++j) sum[i][u] += x[i].v[j] * w.v[j];
            }
        }
        if (first + slice >= inputs) break;
        first += slice;
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < R; ++i) own[i * S::row + lane] = sum_of_unit<T, U>(sum[i], lane);

    // lane u has unit u
    const bool has_unit = lane < units, mixes = l.activation == ops::Activation::softmax, back = l.loss.d != nullptr;
    const RowLanes lanes{lane, 32};
#pragma unroll 1
    for (int i = 0; i < R && r0 + i < rows; ++i) {
        T* const p = own + i * S::row;
        const int64_t r = r0 + i, at = r * units + lane;
        T z = T(0), a = T(0), d = T(0);
        if (has_unit) {
            z = p[lane];
            if (l.bias) z += l.bias[lane];
            if (l.pre_activation) l.pre_activation[at] = z;
            p[lane] = a = mixes ? z : activate(l.activation, z, l.alpha);
        }
        if (mixes) {
            softmax_row(p, p, units, lanes);
            if (has_unit) a = p[lane];
        }
        if (has_unit) l.out[at] = a;
        LossRow<T> row = row_of(l.loss, r);
        row.p = p;
        const double loss = loss_row(kind_of(l.loss), row, lanes, back, [&](int, T g) { d = g; });
        if (lane == 0) l.loss.row_loss[r] = loss;
        if (!back) continue;
        if (mixes) d = a * (d - warp_sum(a * d));
        else if (l.needs != ops::Needs::nothing)
            d *= activation_derivative(l.activation, l.needs == ops::Needs::input ? z : a, l.alpha);
        if (has_unit) l.loss.d[at] = d;
        p[lane] = rounded(d, l.precision);
    }
    if (!l.dx) return;
    __syncwarp();

    for (int64_t begin = first;; begin -= slice) {
        const int count = length(begin);
        if (begin < first) {
            __syncthreads();
            load(begin, count);
        }
        for (int k = 4 * lane; k < count; k += quad_step) {
            T dx[R][4];
#pragma unroll
            for (int i = 0; i < R; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) dx[i][j] = T(0);
#pragma unroll 4
            for (int u = 0; u < units; ++u) {
                const Quad<T> w = read_quad(weights + u * ld + k);
#pragma unroll
                for (int i = 0; i < R; ++i)
#pragma unroll
                    for (int j = 0; j < 4; ++j) dx[i][j] += own[i * S::row + u] * w.v[j];
            }
#pragma unroll
            for (int i = 0; i < R; ++i) write_quad(stage + i * quad_step, dx[i]);
#pragma unroll 1
            for (int i = 0; i < R && r0 + i < rows; ++i) {  // one row at a time: the choice of the activation is long
                Quad<T> v = read_quad(stage + i * quad_step);
                const int64_t at = (r0 + i) * inputs + begin + k, left = inputs - begin - k;
                if (l.stored)
                    multiply_by_derivative(l.below, quad_of(l.stored + at, left, aligned), four_times(l.alpha_below),
                                           v);
                put_quad(l.dx + at, v, left, aligned);
            }
        }
        if (begin == 0) return;
    }
}

template <class T, int U, int R>
void start(const LastLayer<T>& l, cudaStream_t stream) {
    using S = LastLayerShape<T, U, R>;
    const int slice = S::slice(l.inputs, l.loss.cols);
    const auto fits = [](const T* p) { return reinterpret_cast<uintptr_t>(p) % (4 * sizeof(T)) == 0; };
    const bool aligned = l.inputs % 4 == 0 && fits(l.x) && fits(l.dx) && fits(l.stored);
    FD_LAUNCH((last_layer_kernel<T, U, R>), unsigned((l.loss.rows + warps * R - 1) / (warps * R)), threads,
              S::bytes(slice, l.loss.cols), stream, l, slice, aligned);
}

// Rows of a warp share what it reads of the kernel, where there are rows enough for all processors.
template <class T, int U>
void choose_rows(const LastLayer<T>& l, cudaStream_t stream) {
    constexpr int many = 64 / U * 4 / int(sizeof(T));
    if (many > 1 && l.loss.rows >= int64_t(many) * warps * device().processors) start<T, U, many>(l, stream);
    else start<T, U, 1>(l, stream);
}

}  // namespace

template <class T>
void last_layer(const LastLayer<T>& l, cudaStream_t stream) {
    if (l.loss.cols <= 16) choose_rows<T, 16>(l, stream);
    else choose_rows<T, most_last_units>(l, stream);
}
template void last_layer<float>(const LastLayer<float>&, cudaStream_t);
template void last_layer<double>(const LastLayer<double>&, cudaStream_t);

}  // namespace fd::cuda
