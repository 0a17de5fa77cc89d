// One type of numbers to a file: these kernels take long to compile.
#include "cuda/wholenet/kernel.h"

template void fd::cuda::run_wholenet<double>(const fd::cuda::WholeNetPlan&, const fd::cuda::WholeNetLaunch<double>&,
                                             cudaStream_t);
