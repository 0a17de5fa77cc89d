// An element of a caller's array, whatever its type.
#pragma once
#include "core/types.h"
#include "cuda/runtime/port.h"

namespace fd::cuda {

template <class R>
__device__ R read(const char* p, DType dtype) {
    return visit(dtype, [p](auto zero) { return R(*reinterpret_cast<const decltype(zero)*>(p)); });
}

}  // namespace fd::cuda
