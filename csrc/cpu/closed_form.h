// The last dense layer in closed form: ridge regression of the targets on what reaches it, in one pass over the data.
#pragma once
#include <atomic>
#include <vector>

#include "core/backend.h"
#include "cpu/wide.h"

namespace fd::cpu {

template <class T>
class ClosedForm {
public:
    ClosedForm(const Plan& plan, Wide<T>& wide);

    // kernel (in, out) and, if the last op has one, bias (out,) that minimise Σ w |h W + b - y|² + ridge · d · Σ W², h the input
    // of the last op and d the mean of Σ w (h - mean)² over its columns (without a bias of Σ w h²). Stopped by the poll, they
    // mean nothing. False: the system is not positive definite, even with the ridge.
    bool solve(const Dataset& data, double ridge, int threads, const Poll& poll, double* kernel, double* bias);

private:
    bool add_chunk(const Worker& w, const Dataset& data, int64_t first, int64_t rows);
    void shift_by_mean(const T* h, int64_t rows);

    const Plan& plan_;
    Wide<T>& wide_;
    const Kernels<T>& k_;
    const Op& top_;
    int64_t in_ = 0, out_ = 0, width_ = 0, limit_ = 0;
    std::vector<double> shift_, block_, sums_;  // block: rows of [h - shift, 1, y], each times √w
    std::vector<T> targets_;
};

}  // namespace fd::cpu
