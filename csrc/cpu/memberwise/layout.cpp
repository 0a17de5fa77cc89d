// The population path: the program laid out for the lanes, and which nets they suit.
#include <algorithm>

#include "core/population.h"
#include "cpu/memberwise/population.h"
#include "cpu/simd/kernels.h"

namespace fd::cpu {

LaneLayout::LaneLayout(const Plan& plan) : offset(plan.tensors.size(), -1) {
    for (size_t i = 0; i < plan.tensors.size(); ++i) {
        const Tensor& t = plan.tensors[i];
        if (t.float64) continue;  // statistics of raw data are the same for all nets
        int64_t& end = t.trainable ? parameters : statistics;
        offset[i] = end;
        end += t.size();
        if (!t.trainable) continue;
        const Op& o = plan.ops[size_t(t.op)];
        LaneTensor lane{offset[i], t.size(), t.rows, t.cols, t.l1, t.l2, {}, {}};
        if (o.kind == OpKind::dense && o.kernel == int(i)) {
            o.each_unit_penalty([&](ops::UnitPenalty penalty, double factor, bool columns) {
                lane.unit_factor[int(penalty)] = factor, lane.unit_columns[int(penalty)] = columns;
            });
            if (o.matrix_penalty())
                penalty_scratch = std::max(penalty_scratch, t.size() + 2 * std::max(t.rows, t.cols));
        }
        tensors.push_back(lane);
    }
}

LaneProgram::LaneProgram(const Plan& plan, const Training* training, Pass pass, int64_t rows) {
    const LaneLayout layout(plan);
    const Walk walk(plan, training, pass);
    const bool train = pass == Pass::train;
    auto at = [&](int tensor) { return tensor < 0 ? -1 : layout.offset[size_t(tensor)]; };
    auto take = [&](int64_t packs) {
        const int64_t start = work;
        work += packs;
        return start;
    };
    std::vector<int64_t> value(plan.ops.size(), -1), gradient(plan.ops.size(), -1);
    auto values_of = [&](int i) { return i < 0 ? -1 : value[size_t(i)]; };
    int64_t readers = 0, dropouts = 0;
    for (int i = 0; i <= walk.last(); ++i) {
        const Op& o = plan.ops[size_t(i)];
        const OpWalk& step = walk[i];
        if (train && step.wants_gradient) gradient[size_t(i)] = take(rows * o.out);
        LaneOp lane{};
        lane.kind = o.kind;
        lane.activation = step.activation;
        lane.alpha = o.alpha, lane.epsilon = o.epsilon, lane.momentum = o.momentum;
        lane.dropout = o.kind == OpKind::dropout ? dropouts++ : -1;
        lane.activity_l1 = o.activity_l1, lane.activity_l2 = o.activity_l2;
        lane.in = o.in, lane.out = o.out;
        lane.kernel = at(o.kernel), lane.bias = at(o.bias), lane.slope = at(o.slope);
        lane.mean = o.kind == OpKind::normalization ? -1 : at(o.mean);
        lane.variance = o.kind == OpKind::normalization ? -1 : at(o.variance);
        lane.scale = at(o.scale), lane.offset = at(o.offset);
        lane.from = values_of(step.input);
        lane.kept = lane.cache = lane.skip = lane.to = -1;
        lane.d_to = gradient[size_t(i)];
        lane.d_from = i > 0 ? gradient[size_t(i - 1)] : -1;
        lane.d_other = -1;
        lane.number = uint32_t(i);
        if (step.computes) lane.to = value[size_t(i)] = take(rows * o.out);
        lane.by_input = step.derivative_at_input;
        if (train && (step.keeps_pre_activation || step.keeps_mask)) lane.kept = take(rows * o.out);
        if (o.kind == OpKind::batch_norm) lane.cache = take(2 * o.out);
        if (o.kind == OpKind::layer_norm) lane.cache = take(2 * rows);
        if (o.kind == OpKind::residual_end) lane.skip = values_of(step.skip);
        if (lane.from < 0 && step.computes) {
            ++readers;
            may_share_input &= o.kind == OpKind::dense;
        }
        if (o.kind == OpKind::residual_end && lane.skip < 0) may_share_input = false;
        if (step.computes || (train && o.kind == OpKind::residual_begin)) ops.push_back(lane);
    }
    for (LaneOp& lane : ops)
        if (lane.kind == OpKind::residual_begin) lane.d_other = gradient[size_t(plan.ops[lane.number].partner)];
    output = values_of(walk.output());
    d_output = gradient[size_t(walk.last())];
    may_share_input &= readers == 1 && output >= 0;
}

std::string lanes_lack(const Plan& plan, const Training& training) {
    const bool fused = LossForm(plan, training).fused;
    if (const std::string op = unknown_op(plan, paths::memberwise); !op.empty()) return op;
    if (const std::string reason = unusual(plan, &training); !reason.empty()) return reason;
    if (training.has_factors()) return "tensors have learning rates or weight decays of their own";
    if (training.muon()) return "Muon works on whole matrices";
    if (training.full_batch()) return "full-batch optimizers choose a different step for each member";
    if (training.hook || training.custom) return "a function of the caller's sees every batch";
    if (training.kfac()) return "KFAC works on whole matrices";
    if (fused && plan.ops.back().has_activity()) return "there is a penalty on the probabilities of a fused loss";
    return "";
}

}  // namespace fd::cpu

namespace fd {

std::string why_not_lanes(const Plan& plan, const Training& training, DType dtype, int64_t rows) {
    if (const std::string reason = cpu::lanes_lack(plan, training); !reason.empty()) return reason;
    const int64_t width = dtype == DType::f32 ? cpu::isa().lanes_f32->width : cpu::isa().lanes_f64->width;
    const int64_t item = dtype == DType::f32 ? 4 : 8;
    const cpu::LaneLayout layout(plan);
    int64_t work = 0;
    for (const Op& o : plan.ops)
        if (o.kind == OpKind::batch_norm)
            work = cpu::LaneProgram(plan, &training, Pass::train, rows).work;  // the whole batch at once
    const int64_t bytes = (layout.parameters * 2 + work) * width * item;
    if (bytes > cpu::most_lane_bytes) return "the weights of a group of nets would outgrow the caches";
    return "";
}

}  // namespace fd
