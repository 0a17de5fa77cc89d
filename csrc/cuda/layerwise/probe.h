// Kernels of a probe; see cpu/layerwise/probe.h for what it is.
#pragma once
#include <cstdint>

#include "cuda/runtime/runtime_api.h"

namespace fd::cuda {

template <class T>
struct UnitNumbers {
    const T *z = nullptr, *a = nullptr;  // (rows, cols): pre-activations, or null, and outputs
    double limit = 0;                    // of saturation, or 0
    int64_t rows = 0, cols = 0;
    double* out = nullptr;  // rows of cols numbers, in ProbeRecords' order: the first four, where they exist
};
template <class T>
void unit_numbers(const UnitNumbers<T>&, cudaStream_t);
template <class T>
void column_norms(const T* a, const T* minus, int64_t rows, int64_t cols, double* out,
                  cudaStream_t);  // minus may be null

}  // namespace fd::cuda
