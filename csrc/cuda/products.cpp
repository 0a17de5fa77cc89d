#include "cuda/products.h"

#include <algorithm>

#include "cuda/runtime.h"

namespace fd::cuda {

template <class T>
void hand_product(const Product<T>&, int processors, cudaStream_t);  // gemm.cu

int splits_for(int64_t m, int64_t n, int64_t k) {
    const int64_t blocks = (m + 63) / 64 * ((n + 63) / 64), wanted = 2 * device().processors;
    return int(std::clamp<int64_t>(std::min(wanted / blocks, k / 64), 1, 16));
}

template <class T>
void product(const Product<T>& p, cudaStream_t stream) {
    hand_product(p, device().processors, stream);
}
template void product<float>(const Product<float>&, cudaStream_t);
template void product<double>(const Product<double>&, cudaStream_t);

}  // namespace fd::cuda
