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
        LaneTensor lane{offset[i], t.size(), t.rows, t.cols, t.l1, t.l2, 0, 0, o.kernel_orthogonal_columns};
        if (o.kind == OpKind::dense && o.kernel == int(i)) {
            lane.orthogonal = o.kernel_orthogonal, lane.repulsion = o.kernel_repulsion;
            if (o.matrix_penalty())
                penalty_scratch = std::max(penalty_scratch, t.size() + 2 * std::max(t.rows, t.cols));
        }
        tensors.push_back(lane);
    }
}

LaneProgram::LaneProgram(const Plan& plan, LaneMode mode, bool fused, int64_t rows) {
    const LaneLayout layout(plan);
    const int last = int(plan.ops.size()) - 1;
    const bool train = mode == LaneMode::train;
    auto at = [&](int tensor) { return tensor < 0 ? -1 : layout.offset[size_t(tensor)]; };
    auto take = [&](int64_t packs) {
        const int64_t start = work;
        work += packs;
        return start;
    };
    std::vector<int64_t> value(plan.ops.size(), -1), gradient(plan.ops.size(), -1);
    auto passes = [&](const Op& o) {
        return o.kind == OpKind::normalization || o.kind == OpKind::residual_begin ||
               (o.kind == OpKind::dropout && !train);
    };
    auto source = [&](int i) -> int64_t {  // the values that op i + 1 reads
        for (; i >= 0; --i)
            if (!passes(plan.ops[size_t(i)])) return value[size_t(i)];
        return -1;
    };
    bool trains = false;
    int readers = 0;
    for (int i = 0; i <= last; ++i) {
        const Op& o = plan.ops[size_t(i)];
        trains |= o.kernel >= 0 || o.slope >= 0;
        if (train && trains) gradient[size_t(i)] = take(rows * o.out);
        LaneOp lane{};
        lane.kind = o.kind;
        lane.activation = o.activation;
        if (fused && i == last && mode != LaneMode::predict) lane.activation = ops::Activation::linear;
        lane.alpha = o.alpha, lane.rate = o.rate, lane.epsilon = o.epsilon, lane.momentum = o.momentum;
        lane.activity_l1 = o.activity_l1, lane.activity_l2 = o.activity_l2;
        lane.in = o.in, lane.out = o.out;
        lane.kernel = at(o.kernel), lane.bias = at(o.bias), lane.slope = at(o.slope);
        lane.mean = o.kind == OpKind::normalization ? -1 : at(o.mean);
        lane.variance = o.kind == OpKind::normalization ? -1 : at(o.variance);
        lane.scale = at(o.scale), lane.offset = at(o.offset);
        lane.from = source(i - 1);
        lane.kept = lane.cache = lane.skip = lane.to = -1;
        lane.d_to = gradient[size_t(i)];
        lane.d_from = i > 0 ? gradient[size_t(i - 1)] : -1;
        lane.d_other = -1;
        lane.number = uint32_t(i);
        if (!passes(o)) lane.to = value[size_t(i)] = take(rows * o.out);
        lane.by_input = ops::activation_needs[int(lane.activation)] == ops::Needs::input;
        if (train && ((o.kind == OpKind::dense && lane.by_input) || o.kind == OpKind::dropout))
            lane.kept = take(rows * o.out);
        if (o.kind == OpKind::batch_norm) lane.cache = take(2 * o.out);
        if (o.kind == OpKind::layer_norm) lane.cache = take(2 * rows);
        if (o.kind == OpKind::residual_end) lane.skip = source(o.partner);
        if (lane.from < 0 && !passes(o)) {
            ++readers;
            may_share_input &= o.kind == OpKind::dense;
        }
        if (o.kind == OpKind::residual_end && lane.skip < 0) may_share_input = false;
        if (!passes(o) || (train && o.kind == OpKind::residual_begin)) ops.push_back(lane);
    }
    for (LaneOp& lane : ops)
        if (lane.kind == OpKind::residual_begin) lane.d_other = gradient[size_t(plan.ops[lane.number].partner)];
    output = source(last);
    d_output = gradient[size_t(last)];
    may_share_input &= readers == 1 && output >= 0;
}

}  // namespace fd::cpu

namespace fd {

std::string why_not_lanes(const Plan& plan, const Training& training, DType dtype, int64_t rows) {
    const bool fused = LossForm(plan, training).fused;
    if (training.muon()) return "Muon works on whole matrices";
    if (training.full_batch()) return "a full-batch solver goes its own way with each net";
    if (training.kfac()) return "KFAC works on whole matrices";
    if (fused && plan.ops.back().has_activity()) return "there is a penalty on the probabilities of a fused loss";
    const int64_t width = dtype == DType::f32 ? cpu::isa().lanes_f32->width : cpu::isa().lanes_f64->width;
    const int64_t item = dtype == DType::f32 ? 4 : 8;
    const cpu::LaneLayout layout(plan);
    int64_t work = 0;
    for (const Op& o : plan.ops)
        if (o.kind == OpKind::batch_norm)
            work = cpu::LaneProgram(plan, cpu::LaneMode::train, fused, rows).work;  // the whole batch at once
    const int64_t bytes = (layout.parameters * 2 + work) * width * item;
    if (bytes > cpu::most_lane_bytes) return "the weights of a group of nets would outgrow the caches";
    return "";
}

}  // namespace fd
