// An element of a caller's array, whatever its type.
#pragma once
#include "core/types.h"
#include "cuda/runtime/port.h"

namespace fd::cuda {

template <class S>
__device__ __forceinline__ S at(const char* p) {
    return *reinterpret_cast<const S*>(p);
}
template <class R>
__device__ R read(const char* p, DType dtype) {
    switch (dtype) {
        case DType::boolean:
        case DType::u8: return R(at<uint8_t>(p));
        case DType::i8: return R(at<int8_t>(p));
        case DType::i16: return R(at<int16_t>(p));
        case DType::u16: return R(at<uint16_t>(p));
        case DType::i32: return R(at<int32_t>(p));
        case DType::u32: return R(at<uint32_t>(p));
        case DType::i64: return R(at<int64_t>(p));
        case DType::u64: return R(at<uint64_t>(p));
        case DType::f32: return R(at<float>(p));
        case DType::f64: return R(at<double>(p));
    }
    return R(0);
}

}  // namespace fd::cuda
