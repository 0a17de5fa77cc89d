// Statistics of a probe: of each column (unit) over all rows.
#include "cuda/layerwise/probe.h"
#include "cuda/runtime/port.h"

namespace fd::cuda {
namespace {

template <class T>
__global__ void units_kernel(UnitNumbers<T> u) {
    __shared__ double scratch[lanes_of_rows][33];
    const int64_t c = int64_t(blockIdx.x) * 32 + threadIdx.x;
    const bool inside = c < u.cols;
    double off = 0, saturated = 0, sum = 0, square = 0;
    for (int64_t r = threadIdx.y; inside && r < u.rows; r += lanes_of_rows) {
        const int64_t i = r * u.cols + c;
        sum += double(u.a[i]);
        if (!u.z) continue;
        const double z = double(u.z[i]);
        off += z <= 0;
        saturated += z > u.limit || z < -u.limit;
    }
    const double n = double(u.rows), mean = over_rows(sum, scratch) / n;
    off = over_rows(off, scratch) / n;
    saturated = over_rows(saturated, scratch) / n;
    for (int64_t r = threadIdx.y; inside && r < u.rows; r += lanes_of_rows) {
        const double e = double(u.a[r * u.cols + c]) - mean;
        square += e * e;
    }
    square = over_rows(square, scratch) / n;
    if (!inside || threadIdx.y != 0) return;
    if (u.z) u.out[c] = off;
    if (u.z && u.limit > 0) u.out[u.cols + c] = saturated;
    u.out[2 * u.cols + c] = mean;
    u.out[3 * u.cols + c] = square;
}
template <class T>
__global__ void norms_kernel(const T* a, const T* minus, int64_t rows, int64_t cols, double* out) {
    __shared__ double scratch[lanes_of_rows][33];
    const int64_t c = int64_t(blockIdx.x) * 32 + threadIdx.x;
    double square = 0;
    for (int64_t r = threadIdx.y; c < cols && r < rows; r += lanes_of_rows) {
        const int64_t i = r * cols + c;
        const double v = double(a[i]) - (minus ? double(minus[i]) : 0.0);
        square += v * v;
    }
    square = over_rows(square, scratch);
    if (c < cols && threadIdx.y == 0) out[c] = ops::vsqrt(square);
}

dim3 grid_of(int64_t cols) { return dim3(unsigned((cols + 31) / 32)); }

}  // namespace

template <class T>
void unit_numbers(const UnitNumbers<T>& u, cudaStream_t stream) {
    FD_LAUNCH((units_kernel<T>), grid_of(u.cols), dim3(32, lanes_of_rows), 0, stream, u);
}
template <class T>
void column_norms(const T* a, const T* minus, int64_t rows, int64_t cols, double* out, cudaStream_t stream) {
    FD_LAUNCH((norms_kernel<T>), grid_of(cols), dim3(32, lanes_of_rows), 0, stream, a, minus, rows, cols, out);
}

#define FD_INSTANTIATE(T)                                               \
    template void unit_numbers<T>(const UnitNumbers<T>&, cudaStream_t); \
    template void column_norms<T>(const T*, const T*, int64_t, int64_t, double*, cudaStream_t);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cuda
