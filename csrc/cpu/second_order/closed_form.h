// The last dense layer in closed form: ridge regression of the targets on what reaches it, in one pass over the data.
#pragma once
#include <atomic>
#include <vector>

#include "core/backend.h"
#include "cpu/layerwise/layerwise.h"

namespace fd::cpu {

template <class T>
class ClosedForm {
public:
    ClosedForm(const Plan& plan, const State<T>& state, Layerwise<T>& layerwise);

    // kernel (in, out) and, if it has one, bias (out,) of the output op that minimise Σ w |h W + b - t|² + ridge · d · Σ W²: h its
    // input, d the mean of Σ w (h - mean)² over the columns (without a bias of Σ w h²), t the targets mapped back through the
    // rescalings that follow. Stopped by the poll, they mean nothing. False: the system is not positive definite, even with the
    // ridge.
    bool solve(const Dataset& data, double ridge, int threads, const Poll& poll, double* kernel, double* bias);

private:
    bool add_chunk(const Worker& w, const Dataset& data, int64_t first, int64_t rows);
    void shift_by_mean(const T* h, int64_t rows);

    const Plan& plan_;
    Layerwise<T>& layerwise_;
    const Kernels<T>& k_;
    const Op& top_;
    int64_t in_ = 0, out_ = 0, width_ = 0, limit_ = 0;
    std::vector<double> scale_, offset_;        // of the rescalings that follow, together
    std::vector<double> shift_, block_, sums_;  // block: rows of [h - shift, 1, t], each times √w
    std::vector<T> targets_;
};

}  // namespace fd::cpu
