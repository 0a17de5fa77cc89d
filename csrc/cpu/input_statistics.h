// The float64 statistics of a Normalization at the front of a net, and what gathering a row needs of them.
#pragma once
#include "core/plan.h"
#include "cpu/memory.h"
#include "ops/standardization.h"

namespace fd::cpu {

class InputStatistics {
public:
    explicit InputStatistics(const Plan& plan) : normalizes_(plan.normalizes_input()) {
        values_.reserve(plan.input_statistics);
        if (!normalizes_) return;
        mean_ = plan.tensors[size_t(plan.ops[0].mean)].offset;
        variance_ = plan.tensors[size_t(plan.ops[0].variance)].offset;
        inverse_.reserve(plan.inputs);
        changed();
    }
    double* get() const { return values_.get(); }  // laid out as the plan says
    void changed() {                               // the numbers were set
        for (int64_t c = 0; c < inverse_.size(); ++c)
            inverse_[c] = ops::inverse_standard_deviation(values_[variance_ + c]);
    }
    // Both null if the net does not normalise its input.
    const double* mean() const { return normalizes_ ? values_.get() + mean_ : nullptr; }
    const double* inverse() const { return normalizes_ ? inverse_.get() : nullptr; }

private:
    bool normalizes_;
    Buffer<double> values_, inverse_;
    int64_t mean_ = 0, variance_ = 0;
};

}  // namespace fd::cpu
