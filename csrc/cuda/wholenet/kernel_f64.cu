// One type of numbers to a file: these kernels take long to compile.
#include "cuda/wholenet/kernel.h"

template void fd::cuda::fused<double>(const fd::cuda::FusedPlan&, const fd::cuda::FusedNets<double>&, cudaStream_t);
