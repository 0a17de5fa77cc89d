// The rows of a batch, fetched in the order of the epoch, converted, standardised: one warp to a row.
#include "cuda/kernels.h"
#include "cuda/runtime/device_data.h"
#include "cuda/runtime/port.h"
#include "ops/standardization.h"

namespace fd::cuda {
namespace {

constexpr int warps = 8, chunk = 256;  // rows a block, columns a warp

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
        for (int64_t c = first + lane; c < last; c += 32) {
            const char* p = from + c * g.x.col_stride;
            if (g.mean) {  // in double: an offset may dwarf the spread
                const double inverse = ops::inverse_standard_deviation(g.variance[c]);
                g.x_out[r * g.x.cols + c] = T((read<double>(p, g.x.dtype) - g.mean[c]) * inverse);
            } else {
                g.x_out[r * g.x.cols + c] = read<T>(p, g.x.dtype);
            }
        }
        return;
    }
    const int64_t first = int64_t(int(blockIdx.y) - chunks_x) * chunk;
    const char* from = step.y + row * g.y.row_stride;
    if (g.y_out) {
        const int64_t last = first + chunk < g.y.cols ? first + chunk : g.y.cols;
        for (int64_t c = first + lane; c < last; c += 32)
            g.y_out[r * g.y.cols + c] = read<T>(from + c * g.y.col_stride, g.y.dtype);
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
    const int y = g.y_out ? int((g.y.cols + chunk - 1) / chunk) : g.labels_out ? 1 : 0;
    const dim3 grid(unsigned((g.rows + warps - 1) / warps), unsigned(x + y));
    FD_LAUNCH((gather_kernel<T>), grid, 32 * warps, 0, stream, steps, g, x);
}
template void gather<float>(const Steps&, const Gather<float>&, cudaStream_t);
template void gather<double>(const Steps&, const Gather<double>&, cudaStream_t);

}  // namespace fd::cuda
