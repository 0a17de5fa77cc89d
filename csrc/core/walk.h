// What each op reads, keeps and passes on in one pass through the layers: a function of the plan, the training and the pass,
// on no device. Every path of every backend reads it instead of working it out.
#pragma once
#include <vector>

#include "core/plan.h"

namespace fd {

struct OpWalk {
    bool computes = true;  // false: its output is its input, as it is (a block's begin, dropout outside of training)
    int input = -1;        // the op whose output this one reads; -1: the net's input. The branches' end reads Op::last
    int output = -1;  // the op that holds the values of this one's output: itself if it computes; -1: the net's input
    int skip = -1;    // of a residual's end: the op whose output is added; -1: the net's input
    ops::Activation activation = ops::Activation::linear;  // linear where the loss takes the pre-activation
    bool skips_activation = false;                         // the loss takes the pre-activation
    bool derivative_at_input = false;  // the activation's derivative is taken at its input, else at its output
    bool keeps_pre_activation =
        false;                        // of a dense or grouped dense op: beside the output, for backward or for a probe
    bool keeps_mask = false;          // dropout
    bool batch_statistics = false;    // of a batch normalization: it normalizes by them, and its moving ones follow
    bool wants_gradient = false;      // of its output: it or an op that it depends on has parameters to train
    bool passes_gradient = false;     // to its input: an op that it depends on has parameters to train
    bool trains = false;              // backward makes the gradients of its own parameters
    bool penalises_activity = false;  // and adds that of the penalty on its output
};

class Walk {
public:
    Walk(const Plan& plan, const Training* training, Pass pass);  // without a training no loss is fused
    const OpWalk& operator[](int i) const { return ops_[size_t(i)]; }
    int last() const { return int(ops_.size()) - 1; }
    int output_of(int i) const { return i < 0 ? -1 : ops_[size_t(i)].output; }  // of the op i; -1: the net's input
    int output() const { return ops_.back().output; }                           // of the net
    int first_gradient() const { return first_gradient_; }  // the first op that wants one: backward ends there

    const LossForm& form() const { return form_; }

private:
    LossForm form_;
    std::vector<OpWalk> ops_;
    int first_gradient_;
};

// One for each pass, in the order of Pass.
inline std::vector<Walk> walks_of(const Plan& plan, const Training* training) {
    std::vector<Walk> walks;
    for (Pass pass :
         {Pass::predict, Pass::evaluate, Pass::inference, Pass::inputs, Pass::pullback, Pass::probe, Pass::train})
        walks.emplace_back(plan, training, pass);
    return walks;
}

}  // namespace fd
