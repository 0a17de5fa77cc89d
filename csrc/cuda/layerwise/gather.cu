// The rows of a batch, fetched in the order of the epoch, converted, standardised: one warp to a row.
#include "cuda/kernels.h"
#include "cuda/runtime/device_data.h"
#include "cuda/runtime/device_math.h"
#include "ops/standardization.h"

namespace fd::cuda {
namespace {

constexpr int warps = 8, chunk = 256;  // rows a block, columns a warp

// Columns first … last - 1 of a row, converted; four at once if there is nothing to convert and rows start on 16 bytes.
template <class T>
__device__ void copy_row(const char* from, const Source& s, T* to, int64_t first, int64_t last, int lane) {
    if (s.dtype == dtype_of<T> && s.col_stride == int64_t(sizeof(T)) && s.cols % 4 == 0 &&
        reinterpret_cast<uintptr_t>(from) % 16 == 0) {
        const T* const row = reinterpret_cast<const T*>(from);
        for (int64_t c = first + 4 * lane; c < last; c += 128) write_quad(to + c, read_quad(row + c).v);
        return;
    }
    for (int64_t c = first + lane; c < last; c += 32) to[c] = read<T>(from + c * s.col_stride, s.dtype);
}

template <class T>
__global__ void gather_kernel(Steps steps, Gather<T> g, int chunks_x) {
    const int lane = int(threadIdx.x) & 31;
    const int64_t r = int64_t(blockIdx.x) * warps + (int(threadIdx.x) >> 5);
    if (r >= g.rows) return;
    const StepRecord& step = steps.now();
    const int64_t row = step.row(r);
    if (int(blockIdx.y) < chunks_x) {
        const char* from = step.x + row * g.x.row_stride;
        const int64_t first = int64_t(blockIdx.y) * chunk, last = first + chunk < g.x.cols ? first + chunk : g.x.cols;
        T* const to = g.x_out + r * g.x.cols;
        if (!g.mean) return copy_row(from, g.x, to, first, last, lane);
        for (int64_t c = first + lane; c < last; c += 32) {  // in double: an offset may dwarf the spread
            const double inverse = ops::inverse_standard_deviation(g.variance[c]);
            to[c] = T((read<double>(from + c * g.x.col_stride, g.x.dtype) - g.mean[c]) * inverse);
        }
        return;
    }
    const int64_t first = int64_t(int(blockIdx.y) - chunks_x) * chunk;
    const char* from = step.y + row * g.y.row_stride;
    if (g.y_out) {
        const int64_t last = first + chunk < g.y.cols ? first + chunk : g.y.cols;
        copy_row(from, g.y, g.y_out + r * g.y.cols, first, last, lane);
    }
    if (first == 0 && lane == 0) {
        if (g.labels_out) g.labels_out[r] = read<int32_t>(from, g.y.dtype);
        if (g.weights_out) g.weights_out[r] = step.weights[row];
    }
}

}  // namespace

template <class T>
void gather(const Steps& steps, const Gather<T>& g, cudaStream_t stream) {
    const int x = int((g.x.cols + chunk - 1) / chunk);
    const int y = g.y_out ? int((g.y.cols + chunk - 1) / chunk) : g.labels_out || g.weights_out ? 1 : 0;
    const dim3 grid(unsigned((g.rows + warps - 1) / warps), unsigned(x + y));
    FD_LAUNCH((gather_kernel<T>), grid, 32 * warps, 0, stream, steps, g, x);
}
template void gather<float>(const Steps&, const Gather<float>&, cudaStream_t);
template void gather<double>(const Steps&, const Gather<double>&, cudaStream_t);

}  // namespace fd::cuda
