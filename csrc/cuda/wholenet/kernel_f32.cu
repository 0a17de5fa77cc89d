// One type of numbers to a file: these kernels take long to compile.
#include "cuda/wholenet/kernel.h"

template void fd::cuda::fused<float>(const fd::cuda::FusedPlan&, const fd::cuda::FusedNets<float>&, cudaStream_t);
