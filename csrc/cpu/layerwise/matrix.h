// What works on a whole kernel at once: penalties between units, and Muon. Run by the whole team, like Layerwise's methods.
#pragma once
#include "core/parallel.h"
#include "core/plan.h"
#include "core/stop.h"
#include "cpu/memory.h"
#include "cpu/simd/kernels.h"

namespace fd::cpu {

// Three scratch matrices, large enough for every kernel that needs them.
template <class T>
void reserve_matrix_scratch(const Plan& plan, const Training& training, Buffer<T> (&scratch)[3]);

// Penalties between the units of a kernel (op.in, op.out): returns their sum (to every worker), adds their gradient
// to `gradient` unless it is null.
template <class T>
double matrix_penalty(Stop& stop, const Worker& w, const Kernels<T>& k, const Op& op, const T* kernel, T* gradient,
                      Buffer<T> (&scratch)[3]);

// One Muon step of a kernel (rows, cols): momentum, Newton–Schulz, decay, update. The gradient is multiplied by `scale`
// and clipped by value first, and is overwritten. False: stopped half-way; `point` and
// the next number are for Stop::agreed.
template <class T>
bool muon_update(Stop& stop, int point, const Worker& w, const Kernels<T>& k, const ops::Hyper& h, double learning_rate,
                 double scale, int64_t rows, int64_t cols, T* kernel, T* gradient, T* momentum,
                 Buffer<T> (&scratch)[3]);

}  // namespace fd::cpu
