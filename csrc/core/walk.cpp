#include "core/walk.h"

namespace fd {
namespace {

bool computes(const Op& o, Pass pass) {
    switch (o.kind) {
        case OpKind::normalization:  // of the net's input: done while rows are gathered
        case OpKind::residual_begin: return false;
        case OpKind::dropout: return pass == Pass::train;
        case OpKind::dense:
        case OpKind::activation:
        case OpKind::batch_norm:
        case OpKind::layer_norm:
        case OpKind::rescaling:
        case OpKind::scale:
        case OpKind::piecewise_linear:
        case OpKind::periodic:
        case OpKind::embedding:
        case OpKind::grouped_dense:
        case OpKind::residual_end: return true;
    }
    return true;
}

}  // namespace

Walk::Walk(const Plan& plan, const Training* training, Pass pass)
    : form_(training ? LossForm(plan, *training) : LossForm()), ops_(plan.ops.size()),
      first_gradient_(int(plan.ops.size())) {
    bool trains = false;
    for (int i = 0; i <= last(); ++i) {
        const Op& o = plan.ops[size_t(i)];
        OpWalk& w = ops_[size_t(i)];
        w.computes = computes(o, pass);
        w.input = output_of(i - 1);
        w.output = w.computes ? i : w.input;
        if (o.kind == OpKind::residual_end) w.skip = output_of(o.partner);
        w.skips_activation = i == last() && form_.fused && pass != Pass::predict;
        if (!w.skips_activation) w.activation = o.activation;
        w.derivative_at_input = ops::activation_needs[int(w.activation)] == ops::Needs::input;
        const bool keeps = pass == Pass::probe ? w.activation != ops::Activation::linear : w.derivative_at_input;
        const bool finishes = o.kind == OpKind::dense || o.kind == OpKind::grouped_dense;
        w.keeps_pre_activation = finishes && pass >= Pass::inference && keeps;
        w.keeps_mask = o.kind == OpKind::dropout && pass == Pass::train;
        w.passes_gradient = trains;
        trains |= o.kernel >= 0 || o.slope >= 0;
        w.wants_gradient = trains;
        if (trains && first_gradient_ > i) first_gradient_ = i;
    }
}

}  // namespace fd
