// Which nets suit the whole-net kernel, their layout in shared memory, and how the work is divided among threads.
#include <algorithm>
#include <cmath>

#include "core/slots.h"
#include "core/walk.h"
#include "cuda/runtime/runtime.h"
#include "cuda/wholenet/plan.h"

namespace fd::cuda {
namespace {

constexpr int widest = 128;

int quads(int n) { return (n + 3) / 4; }
int row_length(int cols) { return 4 * (quads(cols) | 1); }
int whole(int64_t n, int64_t parts) { return int((n + parts - 1) / parts); }

class Builder {
public:
    Builder(const Plan& plan, const Training* training, const Tuning& tuning, WholeNetMode mode, int item, int team,
            int tile_rows, bool slots_here)
        : plan_(plan), training_(training), walk_(plan, training, pass_of(mode)), tuning_(tuning), mode_(mode),
          item_(item), team_(team), rows_(tile_rows) {
        WholeNetProgram& p = out.program;
        p.mode = mode, p.team = team, p.tile_rows = tile_rows;
        p.inputs = int(plan.inputs), p.outputs = int(plan.outputs), p.count = int(plan.ops.size());
        p.normalizes = plan.normalizes_input();
        if (training) loss();
        parameters(slots_here);
        statistics();
        regions();
        if (mode == WholeNetMode::train) gradients();
        bytes();
    }
    WholeNetPlan out;

private:
    bool train() const { return mode_ == WholeNetMode::train; }
    static Pass pass_of(WholeNetMode mode) {
        switch (mode) {
            case WholeNetMode::train: return Pass::train;
            case WholeNetMode::evaluate: return Pass::evaluate;
            case WholeNetMode::predict: return Pass::predict;
        }
        return Pass::predict;
    }
    int take(int n) {
        const int at = used_;
        used_ += quads(n) * 4;
        return at;
    }

    void loss() {
        WholeNetProgram& p = out.program;
        const Training& t = *training_;
        p.loss = walk_.form().kind, p.loss_param = t.loss_param, p.label_smoothing = t.label_smoothing,
        p.from_logits = walk_.form().logits;
        p.targets = t.sparse() ? 0 : p.outputs;
        int offset = 2;
        for (const Metric& m : t.metrics) {
            if (!train()) break;
            p.metrics[p.metric_count++] = {m.kind, m.k, m.threshold, m.multiclass, m.weighted, offset};
            offset += 2;
        }
        p.row_lanes = 1;
        while (p.row_lanes < 32 && p.row_lanes * 4 < p.outputs) p.row_lanes *= 2;
        while (p.row_lanes < 32 && p.row_lanes < p.outputs && p.row_lanes * 2 * rows_ <= team_) p.row_lanes *= 2;
        p.slot_count = train() ? slot_count(t) : 0;
        p.segment_norms = t.hyper.clipnorm > 0 && !(t.hyper.global_clipnorm > 0);
    }

    void parameters(bool slots_here) {
        WholeNetProgram& p = out.program;
        p.parameters = used_;
        auto piece = [&](int tensor, int rows, int cols, int ld) {
            const Tensor& t = plan_.tensors[size_t(tensor)];
            const int at = take(rows * ld);
            out.tensors.push_back({t.offset, at, rows, cols, ld});
            std::vector<WholeNetSegment>& s = out.segments;
            if (!s.empty() && s.back().l1 == t.l1 && s.back().l2 == t.l2 && !p.segment_norms) s.back().last = used_;
            else s.push_back({at, used_, t.l1, t.l2});
            p.penalties |= t.l1 != 0 || t.l2 != 0;
            return at;
        };
        for (int i = 0; i < p.count; ++i) {
            const Op& o = plan_.ops[size_t(i)];
            WholeNetOp& f = p.ops[i];
            if (o.kind == OpKind::dense) {
                f.ld_kernel = row_length(int(o.out));
                f.kernel = piece(o.kernel, int(o.in), int(o.out), f.ld_kernel);
                if (o.bias >= 0) f.bias = piece(o.bias, 1, int(o.out), f.ld_kernel);  // right behind it
            } else if (o.kernel >= 0) {
                f.kernel = piece(o.kernel, 1, int(o.out), quads(int(o.out)) * 4);
                f.bias = piece(o.bias, 1, int(o.out), quads(int(o.out)) * 4);
            }
            if (o.slope >= 0) f.slope = piece(o.slope, 1, int(o.out), quads(int(o.out)) * 4);
        }
        p.parameter_count = used_ - p.parameters;
        p.segment_count = int(out.segments.size()), p.tensor_count = int(out.tensors.size());
        if (!train()) return;
        p.gradients = take(p.parameter_count);
        if (slots_here) p.slots = take(p.parameter_count * p.slot_count);
    }

    void statistics() {
        WholeNetProgram& p = out.program;
        p.statistics = used_;
        auto piece = [&](int tensor) {
            const Tensor& t = plan_.tensors[size_t(tensor)];
            const int at = take(int(t.rows));
            out.tensors.push_back({t.offset, at, 1, int(t.rows), int(t.rows)});
            ++p.statistic_tensors;
            return at;
        };
        for (int i = 0; i < p.count; ++i) {
            const Op& o = plan_.ops[size_t(i)];
            if (o.kind == OpKind::rescaling) p.ops[i].scale = piece(o.scale), p.ops[i].offset = piece(o.offset);
            if (o.kind == OpKind::batch_norm) p.ops[i].mean = piece(o.mean), p.ops[i].variance = piece(o.variance);
        }
        p.statistic_count = used_ - p.statistics;
    }

    void regions() {
        WholeNetProgram& p = out.program;
        p.ld_x = row_length(p.inputs);
        p.x = take(rows_ * p.ld_x);
        for (int i = 0; i < p.count; ++i) {
            const Op& o = plan_.ops[size_t(i)];
            WholeNetOp& f = p.ops[i];
            f.kind = o.kind, f.in = int(o.in), f.out = int(o.out), f.number = i;
            f.alpha = o.alpha, f.rate = o.rate, f.momentum = o.momentum, f.epsilon = o.epsilon;
            const OpWalk& w = walk_[i];
            if (o.has_activation()) f.activation = w.activation;
            if (o.kind == OpKind::dense) f.activity_l1 = o.activity_l1, f.activity_l2 = o.activity_l2;
            f.from = w.input < 0 ? p.x : p.ops[w.input].to;
            f.ld_from = row_length(f.in);
            if (train() && w.passes_gradient) f.below = w.input;
            f.ld_to = row_length(f.out);
            if (!w.computes) continue;
            f.to = take(rows_ * f.ld_to);
            const bool prelu = f.activation == ops::Activation::prelu && f.slope >= 0;
            if (train() && prelu && o.kind == OpKind::activation) f.keep = f.from;
            else if (train() && (prelu || ops::expensive_derivative[int(f.activation)])) f.keep = take(rows_ * f.ld_to);
            if (o.kind == OpKind::batch_norm) f.cache = take(4 * f.ld_to);
            if (o.kind == OpKind::layer_norm) f.cache = take(2 * rows_);
            if (o.kind == OpKind::residual_end) {
                f.skip = w.skip < 0 ? p.x : p.ops[w.skip].to;
                if (w.skip >= 0 && train()) {
                    int* adds = p.ops[w.skip].adds;
                    if (adds[0] >= 0 && adds[1] >= 0) out.why_not = "more than two residuals start at one layer";
                    adds[adds[0] >= 0] = f.to;
                }
            }
        }
        p.top = walk_.output();
        p.output = p.top < 0 ? p.x : p.ops[p.top].to;
        p.ld_output = row_length(p.outputs);
        p.y = p.targets ? take(rows_ * p.targets) : -1;
        if (!train() || !training_) return;
        if (walk_.form().logits && p.metric_count) p.probabilities = take(rows_ * p.ld_output);
        if (p.top >= 0 && p.ops[p.top].activation == ops::Activation::softmax)
            p.top_gradient = take(rows_ * p.ld_output);
    }

    // Cycles of one phase, roughly: `items` of so many instructions each, over the threads of the team. A processor issues four
    // warps' instructions a cycle; with fewer warps they wait for each other's results.
    double phase(double items, double instructions) const {
        return std::ceil(items / team_) * instructions * std::max(tuning_.least_phase_factor, team_ / 128.0);
    }

    // Tiles and splits by the same guess that chooses the team.
    void gradients() {
        WholeNetProgram& p = out.program;
        const Tuning& t = tuning_;
        const double sync = team_ > 32 ? t.block_barrier_cycles : t.warp_barrier_cycles;
        double cycles =
            t.step_cycles + 4 * sync + phase(rows_ * p.ld_x, t.gather_instructions) +
            phase(rows_ * p.row_lanes, t.loss_instructions + t.loss_instructions_per_output * p.outputs / p.row_lanes);
        for (int i = 0; i < p.count; ++i) {
            WholeNetOp& f = p.ops[i];
            const double cells = double(rows_) * f.out;
            f.column_splits = 1;
            while (f.column_splits < 32 && f.column_splits * 2 * f.out <= team_ && f.column_splits < rows_)
                f.column_splits *= 2;
            if (f.kind != OpKind::dense) {
                cycles += 2 * phase(cells, t.elementwise_instructions) + 2 * sync;
                continue;
            }
            cycles += rows_of_threads(f.forward_rows, quads(f.out), f.in) + sync;
            if (f.below >= 0) cycles += rows_of_threads(f.backward_rows, quads(f.in), f.out) + sync;
            double best = 1e300;
            for (int tile : {1, 4})
                for (int s = 1; s <= 32 && s <= std::max(rows_, 1); s *= 2) {
                    const double tiles =
                        tile == 4 ? double(quads(f.in) * quads(f.out)) : double((f.in + (f.bias >= 0)) * f.out);
                    const double each = tile == 4 ? t.gradient4_instructions : t.gradient_instructions,
                                 reduce = tile == 4
                                              ? t.gradient4_split_instructions * std::log2(s) + t.gradient4_overhead
                                              : t.gradient_split_instructions * std::log2(s) + t.gradient_overhead;
                    double cost = phase(tiles * s, whole(rows_, s) * each + reduce);
                    if (tile == 4 && f.bias >= 0)
                        cost += phase(double(f.out) * f.column_splits,
                                      whole(rows_, f.column_splits) * t.column_instructions + t.column_overhead);
                    if (cost < best) best = cost, f.gradient_tile = tile, f.gradient_splits = s;
                }
            cycles += best + sync;
        }
        cycles +=
            phase(p.parameter_count, t.update_instructions + t.update_instructions_per_slot * p.slot_count) + 4 * sync;
        out.cycles = cycles;
    }
    double rows_of_threads(int& rows, int columns, int depth) const {
        const Tuning& t = tuning_;
        const double one = phase(double(rows_) * columns, t.product_instructions * depth + t.product_overhead),
                     four = phase(double(whole(rows_, 4)) * columns,
                                  t.product4_instructions * depth + t.product4_overhead);
        rows = four < one ? 4 : 1;
        return std::min(one, four);
    }

    void bytes() {
        WholeNetProgram& p = out.program;
        int at = 0;
        auto room = [&](int n) {
            const int start = at;
            at += (n + 15) / 16 * 16;
            return start;
        };
        p.state = room(wholenet_state_bytes);
        p.scratch = room(team_ > 32 ? 8 * 8 * 8 : 0);
        p.input_numbers = room(p.normalizes ? 16 * p.inputs : 0);
        p.weights = room(8 * rows_);
        p.row_ids = room(8 * rows_);
        p.labels = room(p.targets ? 0 : 4 * rows_);
        p.numbers = room(used_ * item_);
        p.bytes = at;
    }

    const Plan& plan_;
    const Training* training_;
    const Walk walk_;
    const Tuning& tuning_;
    const WholeNetMode mode_;
    const int item_, team_, rows_;
    int used_ = 0;
};

std::string why_not(const Plan& plan, const Training* training) {
    if (int(plan.ops.size()) > most_wholenet_ops)
        return "it has more than " + std::to_string(most_wholenet_ops) + " layers";
    if (plan.widest > widest) return "a layer is wider than " + std::to_string(widest);
    if (const std::string op = unknown_op(plan, paths::wholenet); !op.empty()) return op;
    if (const std::string reason = unusual(plan, training); !reason.empty()) return reason;
    if (plan.bf16) return "bfloat16 products need wide layers";
    if (plan.has_matrix_penalties()) return "there is a penalty on whole matrices (orthogonal or repulsion)";
    if (!training) return "";
    if (plan.trainable.empty()) return "there is nothing to train";
    if (training->has_factors()) return "tensors have learning rates or weight decays of their own";
    if (training->muon()) return "Muon needs whole matrices";
    if (!training->loss_params.empty()) return "the loss has a number of its own for each output";
    if (training->hook || training->custom) return "a function of the caller's sees every batch";
    if (training->kfac()) return "KFAC needs whole matrices";
    if (training->full_batch()) return "full-batch optimizers choose a different step for each member";
    const LossForm form(plan, *training);
    if (form.fused && plan.ops.back().has_activity()) return "there is a penalty on the probabilities of a fused loss";
    if (int(training->metrics.size()) > most_wholenet_metrics) return "there are more than four metrics";
    for (const Metric& m : training->metrics)
        if (!m.per_row()) return "a metric is not a mean over rows";
    return "";
}

}  // namespace

WholeNetDevice wholenet_device() {
    const DeviceInfo& d = device();
    const bool spread = path() == Path::blocks;
    return {d.shared_bytes, path() == Path::fused || !d.cooperative ? 1 : d.processors, spread, tuning(), forced()};
}

WholeNetPlan plan_wholenet(const Plan& plan, const Training* training, WholeNetMode mode, bool alone, int64_t batch,
                           int item, WholeNetDevice device) {
    WholeNetPlan best;
    best.why_not = why_not(plan, training);
    if (batch > INT32_MAX - 65536) best.why_not = "a batch has more than 2^31 rows";
    if (!best.why_not.empty()) return best;
    bool whole_batch = false;
    for (const Op& o : plan.ops) whole_batch |= o.kind == OpKind::batch_norm && mode == WholeNetMode::train;
    best.why_not = whole_batch ? "BatchNormalization needs the whole batch in a processor's shared memory"
                               : "its weights do not fit in a processor's shared memory";
    double score = 1e300;
    const Tuning& t = device.tuning;
    const WholeNetChoice& only = device.only;
    auto consider = [&](int blocks, int team, bool slots_here) {
        if ((only.team && only.team != team) || (only.blocks && only.blocks != blocks)) return;
        if (team == 32 && training && mode == WholeNetMode::train && !training->metrics.empty())
            return;  // see kernel.h
        // the most rows that fit, in tiles of about equal size
        const int most = team == 32 ? 32 : team == 64 ? 64 : 128;
        const int64_t rows = (batch + blocks - 1) / blocks;  // of a block
        WholeNetPlan found;
        int64_t tiles = whole_batch ? 1 : (rows + most - 1) / most;
        if (only.tile && !whole_batch) tiles = std::max(tiles, (rows + only.tile - 1) / only.tile);
        for (; tiles <= rows; tiles = std::max(tiles + 1, 2 * tiles)) {
            const int64_t tile = (rows + tiles - 1) / tiles;
            if (double(tile) * (double(plan.widest) + 8) * item > device.bytes) {  // hopeless, and may not fit an int
                if (whole_batch) return;
                continue;
            }
            found = Builder(plan, training, t, mode, item, team, int(tile), slots_here).out;
            if (!found.why_not.empty() || found.program.bytes <= device.bytes || whole_batch) break;
        }
        WholeNetProgram& p = found.program;
        if (!found.why_not.empty()) best = found, score = -1;  // whatever the sizes
        if (score < 0 || !p.bytes || p.bytes > device.bytes) return;
        found.cycles = (mode == WholeNetMode::train ? found.cycles : double(p.tile_rows) / team) * double(tiles);
        if (!slots_here && p.slot_count)
            found.cycles += double(p.parameter_count) / team * t.far_slot_instructions * p.slot_count / blocks;
        if (blocks > 1) {  // two barriers, and all blocks' gradients and weights through the L2 cache
            const double numbers = double(p.parameter_count);
            found.cycles += 2 * (t.grid_barrier_cycles + t.grid_barrier_cycles_per_block * blocks) +
                            t.exchange_instructions * numbers / team +
                            t.exchange_copies * numbers * item * blocks / t.l2_bytes_per_cycle;
        }
        double cost = found.cycles * (blocks > 1 ? t.sharing_factor : 1);  // only for a clear gain
        if (!alone) {  // a processor holds as many nets as its memory takes, and is busy with some warps
            const int by_registers = team > 32   ? std::max(1, 65536 / ((item == 4 ? 168 : 200) * team))
                                     : item == 4 ? warps_at_once<float>
                                                 : warps_at_once<double>;
            const double nets = std::min(double(device.bytes) / p.bytes, double(by_registers));
            const double warps = std::floor(nets) * team / 32;
            cost *= std::max(1.0, warps / t.busy_warps) / std::floor(nets);
        }
        p.nets_per_block = alone || team > 32 ? 1 : std::clamp(device.bytes / p.bytes, 1, 4);
        p.blocks = blocks;
        if (cost < score) score = cost, best = found;
    };
    bool shares = alone && mode == WholeNetMode::train && !whole_batch;
    if (training) shares &= training->hyper.clipnorm == 0 && training->hyper.global_clipnorm == 0;
    const int most = shares ? int(std::min<int64_t>(device.blocks, batch)) : 1;
    for (int blocks = most > 1 && device.spread && !only.blocks ? most : 1; blocks <= most; blocks *= 2)
        for (int team : {32, 64, 128, most_team})
            for (bool slots_here : {true, false})
                if (blocks == 1 || (team == most_team && !slots_here)) consider(blocks, team, slots_here);
    return best;
}

Path& path() {
    static Path chosen = Path::automatic;
    return chosen;
}
WholeNetChoice& forced() {
    static WholeNetChoice choice;
    return choice;
}

}  // namespace fd::cuda
