// Opens every translation unit that is compiled once per instruction set: what simd.h and the kernels need, and the name of
// the namespace they live in. Headers with shared inline functions are kept out on purpose (see ops/hd.h).
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>
#ifdef __x86_64__
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#ifndef FD_ISA
#define FD_ISA baseline
#endif
#define FD_CAT_(a, b) a##b
#define FD_CAT(a, b) FD_CAT_(a, b)
#define FD_ISA_NAMESPACE FD_CAT(isa_, FD_ISA)
