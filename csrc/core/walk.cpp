#include "core/walk.h"

namespace fd {
namespace {

bool computes(const Op& o, Pass pass) {
    switch (o.kind) {
        case OpKind::normalization:  // of the net's input: done while rows are gathered
        case OpKind::residual_begin:
        case OpKind::branches_begin:
        case OpKind::branch_next:
        case OpKind::activity: return false;
        case OpKind::dropout:
        case OpKind::gaussian_noise:
        case OpKind::gaussian_dropout:
        case OpKind::alpha_dropout: return pass == Pass::train;
        case OpKind::dense:
        case OpKind::activation:
        case OpKind::batch_norm:
        case OpKind::layer_norm:
        case OpKind::unit_norm:
        case OpKind::rescaling:
        case OpKind::scale:
        case OpKind::piecewise_linear:
        case OpKind::periodic:
        case OpKind::embedding:
        case OpKind::grouped_dense:
        case OpKind::select_columns:
        case OpKind::function:
        case OpKind::branches_end:
        case OpKind::residual_end: return true;
    }
    return true;
}

}  // namespace

Walk::Walk(const Plan& plan, const Training* training, Pass pass)
    : form_(training ? LossForm(plan, *training) : LossForm()), ops_(plan.ops.size()),
      first_gradient_(int(plan.ops.size())) {
    const bool pulls = pass == Pass::inputs || pass == Pass::pullback;
    bool trains = pulls;  // then gradients go down to the inputs
    for (int i = 0; i <= last(); ++i) {
        const Op& o = plan.ops[size_t(i)];
        OpWalk& w = ops_[size_t(i)];
        w.computes = computes(o, pass);
        w.input = output_of(o.kind == OpKind::branch_next ? o.block : i - 1);
        w.output = w.computes ? i : w.input;
        if (o.kind == OpKind::residual_end) w.skip = output_of(o.partner);
        w.skips_activation = i == last() && form_.fused && pass != Pass::predict && !pulls;
        if (!w.skips_activation) w.activation = o.activation;
        w.derivative_at_input = ops::activation_needs[int(w.activation)] == ops::Needs::input;
        const bool keeps = pass == Pass::probe ? w.activation != ops::Activation::linear : w.derivative_at_input;
        const bool finishes = o.kind == OpKind::dense || o.kind == OpKind::grouped_dense;
        w.keeps_pre_activation = finishes && pass >= Pass::inference && keeps;
        w.keeps_mask = o.kind == OpKind::dropout && pass == Pass::train;
        const bool frozen = training && training->is_frozen(i);
        w.batch_statistics = o.kind == OpKind::batch_norm && pass == Pass::train && !frozen;
        if (o.kind == OpKind::branch_next) trains = ops_[size_t(o.block)].wants_gradient;
        for (int last : o.kind == OpKind::branches_end ? o.last : std::vector<int>())
            trains |= ops_[size_t(last)].wants_gradient;
        w.passes_gradient = trains;
        w.penalises_activity = o.has_activity() && !pulls;
        w.trains =
            !frozen && pass != Pass::inputs && (o.kernel >= 0 || o.bias >= 0 || o.slope >= 0 || o.own_trained > 0);
        trains |= w.trains;
        w.wants_gradient = trains;
        if (trains && first_gradient_ > i) first_gradient_ = i;
    }
}

}  // namespace fd
