// Where branches join, and where their gradients meet again.
#include "cuda/kernels.h"
#include "cuda/layerwise/elements.h"
#include "cuda/runtime/port.h"

namespace fd::cuda {
namespace {

template <class T>
__device__ int branch_of(const Branches<T>& b, int64_t column) {
    int k = 0;
    while (b.first[k + 1] <= column) ++k;
    return k;
}

template <class T>
__global__ void branches_forward_kernel(Branches<T> b, T* out) {
    for (int64_t e = first_element(); e < b.rows * b.width; e += element_stride()) {
        if (b.merge != ops::Merge::concatenate) {
            out[e] = ops::merged<T>(b.merge, b.count, [&](int k) { return b.values[k][e]; });
            continue;
        }
        const int64_t r = e / b.width, c = e % b.width;
        const int k = branch_of(b, c);
        out[e] = b.values[k][r * (b.first[k + 1] - b.first[k]) + c - b.first[k]];
    }
}

template <class T>
__global__ void branches_backward_kernel(Branches<T> b, const T* d) {
    for (int64_t e = first_element(); e < b.rows * b.width; e += element_stride()) {
        if (b.merge == ops::Merge::concatenate) {
            const int64_t r = e / b.width, c = e % b.width;
            const int k = branch_of(b, c);
            if (b.gradients[k]) b.gradients[k][r * (b.first[k + 1] - b.first[k]) + c - b.first[k]] = d[e];
            continue;
        }
        for (int k = 0; k < b.count; ++k)
            if (b.gradients[k])
                b.gradients[k][e] =
                    d[e] * ops::merge_derivative<T>(b.merge, b.count, k, [&](int other) { return b.values[other][e]; });
    }
}

template <class T>
__global__ void branches_sum_kernel(Branches<T> b, int64_t n, T* out) {
    for (int64_t e = first_element(); e < n; e += element_stride()) {
        T sum = T(0);
        for (int k = 0; k < b.count; ++k) sum += b.gradients[k][e];
        out[e] = sum;
    }
}

}  // namespace

template <class T>
void branches_forward(const Branches<T>& b, T* out, cudaStream_t stream) {
    FD_LAUNCH((branches_forward_kernel<T>), blocks_for(b.rows * b.width), threads, 0, stream, b, out);
}
template <class T>
void branches_backward(const Branches<T>& b, const T* d, cudaStream_t stream) {
    FD_LAUNCH((branches_backward_kernel<T>), blocks_for(b.rows * b.width), threads, 0, stream, b, d);
}
template <class T>
void branches_sum(const Branches<T>& b, int64_t n, T* out, cudaStream_t stream) {
    FD_LAUNCH((branches_sum_kernel<T>), blocks_for(n), threads, 0, stream, b, n, out);
}

#define FD_INSTANTIATE(T)                                                           \
    template void branches_forward<T>(const Branches<T>&, T*, cudaStream_t);        \
    template void branches_backward<T>(const Branches<T>&, const T*, cudaStream_t); \
    template void branches_sum<T>(const Branches<T>&, int64_t, T*, cudaStream_t);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cuda
