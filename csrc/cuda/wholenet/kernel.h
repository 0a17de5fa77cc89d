// The whole-net kernel: for each of many steps, fetch, forward, loss, backward tile by tile, then the update; see plan.h.
#pragma once
#include "cuda/runtime/device_data.h"
#include "cuda/runtime/runtime.h"
#include "cuda/wholenet/layers.h"
#include "ops/standardization.h"

namespace fd::cuda {
namespace {

template <class T>
struct Memory {  // of one team; few pointers, since registers are scarce
    const WholeNetProgram& p;
    char* base;
    T* numbers;
    __device__ __forceinline__ Memory(const WholeNetProgram& program, char* at)
        : p(program), base(at), numbers(reinterpret_cast<T*>(at + program.numbers)) {}
    template <class S>
    __device__ __forceinline__ S* at(int bytes) const {
        return reinterpret_cast<S*>(base + bytes);
    }
    __device__ __forceinline__ double* scratch() const { return at<double>(p.scratch); }
    __device__ __forceinline__ double* mean() const { return at<double>(p.input_numbers); }
    __device__ __forceinline__ double* inverse() const { return mean() + p.inputs; }
    __device__ __forceinline__ double* weights() const { return at<double>(p.weights); }
    __device__ __forceinline__ int64_t* row_ids() const { return at<int64_t>(p.row_ids); }
    __device__ __forceinline__ int32_t* labels() const { return at<int32_t>(p.labels); }
    __device__ __forceinline__ WholeNetState& state() const { return *at<WholeNetState>(p.state); }
};

// Tensors between global memory in the plan's layout and ours.
template <class T, bool Load, class Team>
__device__ __forceinline__ void copy_tensors(const WholeNetTensor* tensors, int count, T* ours, T* theirs,
                                             const Team& team) {
    for (int i = 0; i < count; ++i) {
        const WholeNetTensor f = tensors[i];
        each_element(f.rows, f.cols, team.thread, team.size, [&](int r, int c) {
            T &a = ours[f.shared + r * f.ld + c], &b = theirs[f.plan + r * f.cols + c];
            if (Load) a = b;
            else b = a;
        });
    }
}

template <class T, class Team>
__device__ __forceinline__ void fetch(const WholeNetProgram& p, const WholeNetLaunch<T>& n, const Memory<T>& m,
                                      const WholeNetBatch& b, const Team& team) {
    const StepRecord& step = *b.net->step;
    const double* own_weights = b.net->own_weights;
    const bool targets = p.mode != WholeNetMode::predict;
    for (int r = team.thread; r < b.rows; r += team.size) {
        const int64_t at = step.first + b.first + r, row = step.shuffled ? int64_t(b.net->order(uint64_t(at))) : at;
        m.row_ids()[r] = row;
        if (!targets) continue;
        if (own_weights) m.weights()[r] = own_weights[row];
        else if (n.weighted) m.weights()[r] = step.weights[row];
        if (!p.targets) m.labels()[r] = read<int32_t>(step.y + row * n.y.row_stride, n.y.dtype);
    }
    team.sync();
    each_element(b.rows, p.inputs, team.thread, team.size, [&](int r, int c) {
        const char* from = step.x + m.row_ids()[r] * n.x.row_stride + c * n.x.col_stride;
        T v;
        if (p.normalizes)
            v = T((read<double>(from, n.x.dtype) - m.mean()[c]) *
                  m.inverse()[c]);  // in double: an offset may dwarf the spread
        else v = read<T>(from, n.x.dtype);
        m.numbers[p.x + r * p.ld_x + c] = v;
    });
    if (targets && p.targets)
        each_element(b.rows, p.targets, team.thread, team.size, [&](int r, int c) {
            m.numbers[p.y + r * p.targets + c] =
                read<T>(step.y + m.row_ids()[r] * n.y.row_stride + c * n.y.col_stride, n.y.dtype);
        });
    team.sync();
}

// Sums of losses and metrics of a thread's rows: loss, weights, then metrics. A warp has no registers for the latter.
constexpr int sum_count = 2 + most_wholenet_metrics;

template <class T, class Team>
__device__ __forceinline__ void measure(const WholeNetProgram& p, const Memory<T>& m, bool weighted, int rows,
                                        double (&sums)[sum_count], const Team& team) {
    T* s = m.numbers;
    int from = p.output;
    if (p.probabilities >= 0) {
        from = p.probabilities;
        if (p.loss == ops::Loss::binary_crossentropy_logits)
            each_element(rows, p.outputs, team.thread, team.size, [&](int r, int c) {
                s[from + r * p.ld_output + c] = ops::vsigmoid(s[p.output + r * p.ld_output + c]);
            });
        else softmax_rows(team, s, p.output, from, p.ld_output, p.outputs, rows, p.row_lanes);
        team.sync();
    }
    for (int r = team.thread; r < rows; r += team.size) {
        const ops::MetricRow<T> row{s + from + r * p.ld_output, p.targets ? s + p.y + r * p.targets : nullptr,
                                    p.targets ? -1 : m.labels()[r], p.outputs};
        const double w = weighted ? m.weights()[r] : 1;
        sums[1] += w;
#pragma unroll
        for (int k = 0; k < most_wholenet_metrics; ++k)
            if (k < p.metric_count) sums[2 + k] += (p.metrics[k].weighted ? w : 1) * row_value(p.metrics[k], row);
    }
    team.sync();
}

template <class T, class Team>
__device__ __forceinline__ double losses(const WholeNetProgram& p, const Memory<T>& m, bool weighted,
                                         const WholeNetBatch& b, const Team& team) {
    T* s = m.numbers;
    const LossKind kind{p.loss, p.loss_param, p.label_smoothing, p.from_logits};
    const bool train = p.mode == WholeNetMode::train;
    Sink<T> top;
    if (train) top = Sink<T>(p.ops[p.top], b.net->activity_factor);
    double sum = 0;
    each_row(b.rows, p.row_lanes, team.thread, team.size, [&](int r, const RowLanes& lanes) {
        LossRow<T> row;
        row.p = s + p.output + r * p.ld_output;
        if (p.targets) row.y = s + p.y + r * p.targets;
        else row.label = m.labels()[r];
        row.cols = p.outputs;
        if (weighted) row.weight = m.weights()[r];
        row.factor = b.net->row_fraction;
        const double loss = loss_row(kind, row, lanes, train, [&](int c, T g) {
            if (p.top_gradient >= 0) s[p.top_gradient + r * p.ld_output + c] = g;
            else top.put(s, r, c, g);
        });
        if (lanes.lane == 0) sum += loss;
        if (p.top_gradient < 0) return;
        // through a softmax that is not fused with the loss
        T *a = s + p.output + r * p.ld_output, *d = s + p.top_gradient + r * p.ld_output, total = T(0);
        auto gradient = [&](int c) { return top.active ? d[c] + top.l1 * ops::vsign(a[c]) + top.l2 * a[c] : d[c]; };
        for (int c = lanes.lane; c < p.outputs; c += lanes.width) total += a[c] * gradient(c);
        total = lanes.sum(total);
        for (int c = lanes.lane; c < p.outputs; c += lanes.width) a[c] *= gradient(c) - total;
    });
    team.sync();
    return sum;
}

// Factor that clips a segment's gradient to a norm.
__device__ __forceinline__ double norm_scale(double square, double limit) {
    const double norm = ops::vsqrt(square);
    return norm > limit ? limit / norm : norm == norm ? 1.0 : limit;  // as fmax does, which drops a NaN
}

template <class T>
struct Change {  // of a step
    ops::Step<T> step;
    T keep, clipvalue;
    double penalty;
};
template <class T>
__device__ __forceinline__ T penalised(T g, T w, const WholeNetSegment& s, double factor) {
    return g + T(s.l1 * factor) * ops::vsign(w) + T(2 * s.l2 * factor) * w;
}
template <class Rule, class T>
__device__ __forceinline__ void update_segment(const WholeNetSegment& s, T* w, const T* g, T* slots, int stride,
                                               bool add_penalty, T scale, const Change<T>& change, int thread,
                                               int size) {
    for (int e = s.first + thread; e < s.last; e += size) {
        T value = w[e], gradient = g[e], m[3];
        if (add_penalty) gradient = penalised(gradient, value, s, change.penalty);
        gradient *= scale;
        const T limit = change.clipvalue;
        if (limit > T(0)) gradient = gradient > limit ? limit : gradient < -limit ? -limit : gradient;  // keeps NaN
        value *= change.keep;
        for (int k = 0; k < Rule::slots; ++k) m[k] = slots[k * stride + e];
        Rule::update(change.step, value, gradient, m);
        for (int k = 0; k < Rule::slots; ++k) slots[k * stride + e] = m[k];
        w[e] = value;
    }
}

// Penalties' values, clipping, the rule, for parameters begin … end - 1.
template <class T, class Team>
__device__ __forceinline__ double update(const WholeNetProgram& p, const WholeNetLaunch<T>& n, const Memory<T>& m,
                                         T* slots, int begin, int end, const Change<T>& change, const Team& team) {
    T *w = m.numbers, *g = m.numbers + p.gradients - p.parameters;
    const UpdateRule& rule = n.rule;
    const bool clips = rule.global_clipnorm > 0 || rule.clipnorm > 0;
    double value = 0, square[1] = {0};
    auto segment = [&](int i) {
        WholeNetSegment s = n.segments[i];
        if (s.first < begin) s.first = begin;
        if (s.last > end) s.last = end;
        return s;
    };
    if (p.penalties || clips)
        for (int i = 0; i < p.segment_count; ++i) {
            const WholeNetSegment s = segment(i);
            if (!clips && s.l1 == 0 && s.l2 == 0) continue;
            for (int e = s.first + team.thread; e < s.last; e += team.size) {
                value += s.l1 * double(ops::vabs(w[e])) + s.l2 * double(w[e]) * double(w[e]);
                if (!clips) continue;
                if (s.l1 != 0 || s.l2 != 0) g[e] = penalised(g[e], w[e], s, change.penalty);
                square[0] += double(g[e]) * double(g[e]);
            }
        }
    T scale = T(1);
    if (rule.global_clipnorm > 0) {
        team.sums(square, m.scratch());
        scale = T(norm_scale(square[0], rule.global_clipnorm));
    }
    for (int i = 0; i < p.segment_count; ++i) {
        const WholeNetSegment s = segment(i);
        if (clips && p.segment_norms) {
            square[0] = 0;
            for (int e = s.first + team.thread; e < s.last; e += team.size) square[0] += double(g[e]) * double(g[e]);
            team.sums(square, m.scratch());
            scale = T(norm_scale(square[0], rule.clipnorm));
        }
        const bool add_penalty = !clips && (s.l1 != 0 || s.l2 != 0);
        switch (rule.rule) {
#define FD_CASE(name, functor)                                                                                   \
    case ops::Rule::name:                                                                                        \
        update_segment<ops::functor>(s, w, g, slots, p.parameter_count, add_penalty, scale, change, team.thread, \
                                     team.size);                                                                 \
        break;
            FD_UPDATE_RULES(FD_CASE)
#undef FD_CASE
        }
    }
    return value;
}

enum class Shape { warp, block, grid };  // threads that work on a net

template <class T, class Team>
__device__ __forceinline__ void copy_numbers(T* to, const T* from, int begin, int end, const Team& team) {
    for (int e = begin + team.thread; e < end; e += team.size) to[e] = from[e];
}

// Blocks share a net: each has the gradient of its own rows, adds up all blocks' for its part of the parameters, and
// updates these. change(begin, end) does that and returns the penalties' value.
template <class T, class Team, class F>
__device__ __forceinline__ void shared_step(const WholeNetProgram& p, const WholeNetLaunch<T>& n, const Memory<T>& m,
                                            int64_t turn, double (&sums)[sum_count], double (&penalty)[1],
                                            const Team& team, F change) {
    static_assert(sum_count < 8, "a block has eight numbers");
    const int block = int(blockIdx.x), blocks = p.blocks, P = p.parameter_count;
    T *w = m.numbers + p.parameters, *g = m.numbers + p.gradients;
    double* all = n.block_sums + (turn & 1) * 8 * blocks;  // those of the last step are still being read
    team.sums(sums, m.scratch());
    if (team.thread == 0)
#pragma unroll
        for (int k = 0; k < sum_count; ++k) all[block * 8 + k] = sums[k];
    copy_numbers(n.block_gradients + int64_t(block) * P, g, 0, P, team);
    FD_GRID_BARRIER();
    const int quads = P / 4, begin = 4 * int(int64_t(quads) * block / blocks),
              end = 4 * int(int64_t(quads) * (block + 1) / blocks);
    for (int e = begin + team.thread; e < end; e += team.size) {
        T sum = T(0);
        for (int k = 0; k < blocks; ++k) sum += n.block_gradients[int64_t(k) * P + e];
        g[e] = sum;
    }
    team.sync();
    penalty[0] = change(begin, end);
    team.sums(penalty, m.scratch());
    if (team.thread == 0) all[block * 8 + sum_count] = penalty[0];
    copy_numbers(n.new_parameters, w, begin, end, team);
    FD_GRID_BARRIER();
    copy_numbers(w, static_cast<const T*>(n.new_parameters), 0, P, team);
    penalty[0] = 0;
#pragma unroll
    for (int k = 0; k < sum_count; ++k) sums[k] = 0;
    for (int b = 0; b < blocks; ++b) {
        penalty[0] += all[b * 8 + sum_count];
#pragma unroll
        for (int k = 0; k < sum_count; ++k) sums[k] += all[b * 8 + k];
    }
}

// The net's state from global to shared memory. Padding is 0 and stays so.
template <class T, class Team>
__device__ __forceinline__ void bring_in(const WholeNetProgram& p, const WholeNetLaunch<T>& n, const Memory<T>& m,
                                         T* slots, int64_t net, bool leader, const Team& team) {
    const int P = p.parameter_count;
    T* s = m.numbers;
    for (int e = team.thread; e < P; e += team.size) s[p.parameters + e] = T(0);
    if (p.mode == WholeNetMode::train)
        for (int e = team.thread; e < P; e += team.size) s[p.gradients + e] = T(0);
    for (int e = team.thread; leader && e < p.slot_count * P; e += team.size) slots[e] = T(0);
    if (p.normalizes)
        for (int c = team.thread; c < p.inputs; c += team.size) {
            m.mean()[c] = n.mean[c];
            m.inverse()[c] = ops::inverse_standard_deviation(n.variance[c]);
        }
    if (team.thread == 0) {
        WholeNetState& state = m.state();
        state.net = net, state.order_epoch = -1;
        state.base = n.control ? n.control->at : 0;
        state.seed = n.seeds ? n.seeds[net] : n.seed;
        state.own_weights = n.own_weights ? n.own_weights + net * n.rows : nullptr;
        state.member_scale = n.member_scale ? n.member_scale[net] : 1,
        state.penalty = n.penalties ? n.penalties[net] : 1;
        state.epoch_sum = n.epoch_sums ? n.epoch_sums[net] : 0;
    }
    team.sync();
    copy_tensors<T, true>(n.tensors, p.tensor_count, s, n.parameters + net * n.parameter_stride, team);
    copy_tensors<T, true>(n.tensors + p.tensor_count, p.statistic_tensors, s, n.statistics + net * n.statistic_stride,
                          team);
    for (int k = 0; leader && k < p.slot_count; ++k)
        copy_tensors<T, true>(n.tensors, p.tensor_count, slots + k * P - p.parameters,
                              n.slots[k] + net * n.parameter_stride, team);
    team.sync();
}
template <class T, class Team>
__device__ __forceinline__ void take_out(const WholeNetProgram& p, const WholeNetLaunch<T>& n, const Memory<T>& m,
                                         T* slots, const Team& team) {
    const int64_t net = m.state().net;
    T* s = m.numbers;
    if (n.epoch_sums && team.thread == 0) n.epoch_sums[net] = m.state().epoch_sum;
    if (n.control && team.thread == 0) n.control->at = int(m.state().base + n.count);
    copy_tensors<T, false>(n.tensors, p.tensor_count, s, n.parameters + net * n.parameter_stride, team);
    copy_tensors<T, false>(n.tensors + p.tensor_count, p.statistic_tensors, s, n.statistics + net * n.statistic_stride,
                           team);
    for (int k = 0; k < p.slot_count; ++k)
        copy_tensors<T, false>(n.tensors, p.tensor_count, slots + k * p.parameter_count - p.parameters,
                               n.slots[k] + net * n.parameter_stride, team);
}

template <class T>
__device__ __forceinline__ void begin_step(const WholeNetLaunch<T>& n, WholeNetState& state, const StepRecord& step) {
    state.step = &step;
    state.row_fraction = 1 / double(step.rows);
    state.activity_factor = state.penalty * state.row_fraction;
    if (!step.shuffled) return;
    if (!n.seeds || step.order.n) state.order = step.order;
    else if (state.order_epoch != step.epoch)
        state.order = ops::Shuffle(uint64_t(n.rows), state.seed, uint32_t(step.epoch));
    state.order_epoch = step.epoch;
}

// By one thread. Whether to go on is for all to know: the loss is theirs, too.
template <class T, int N>
__device__ __forceinline__ void write_losses(const WholeNetProgram& p, const WholeNetLaunch<T>& n, WholeNetState& state,
                                             int64_t i, const StepRecord& step, const double (&sums)[N],
                                             double penalty) {
    const double loss = sums[0] * state.row_fraction;
    if (n.totals) {
        double* row = n.totals + (state.base + i) * n.width;
        row[0] = loss, row[1] = penalty;
#pragma unroll
        for (int k = 2; k < N; ++k)
            if (k - 2 < p.metric_count)
                row[2 * k - 2] = sums[k], row[2 * k - 1] = p.metrics[k - 2].weighted ? sums[1] : double(step.rows);
    }
    state.epoch_sum += (loss + penalty) * double(step.rows);
    if (step.epoch_ends < 0) return;
    if (n.losses) n.losses[step.epoch_ends * n.loss_stride + state.net] = state.epoch_sum / double(n.rows);
    state.epoch_sum = 0;
}

template <class T, Shape S>
__global__ void __launch_bounds__(S == Shape::warp ? 128 : most_team, S == Shape::warp ? warps_at_once<T> / 4 : 1)
    wholenet_kernel(const __grid_constant__ WholeNetProgram p, const __grid_constant__ WholeNetLaunch<T> n) {
    FD_DYN_SHARED(char, shared);
    constexpr bool grid = S == Shape::grid, warp = S == Shape::warp;
    const Team<warp> team{int(threadIdx.x), int(blockDim.x)};
    const bool leader = !grid || blockIdx.x == 0;  // writes what is one net's
    const int at = grid ? 0 : int(blockIdx.x) * p.nets_per_block + int(threadIdx.y);
    if (at >= n.nets || (n.control && n.control->halted)) return;
    const Memory<T> m(p, shared + threadIdx.y * p.bytes);
    T* s = m.numbers;
    const bool train = p.mode == WholeNetMode::train;
    auto slots = [&] {  // made anew each time: registers are scarce
        return p.slots >= 0 ? s + p.slots : n.slot_work + int64_t(at) * p.slot_count * p.parameter_count;
    };
    bring_in(p, n, m, slots(), n.which ? n.which[at] : n.first_net + at, leader, team);
    WholeNetState& state = m.state();
    for (int i = 0; i < int(n.count); ++i) {
        if (team.thread == 0) begin_step(n, state, n.records[state.base + i]);
        team.sync();
        const bool weighted = state.own_weights || n.weighted;
        double sums[warp ? 1 : sum_count] = {}, penalty[1] = {0};
        WholeNetBatch b;
        b.net = &state;
        const int rows = int(state.step->rows), stride = p.tile_rows * (grid ? p.blocks : 1);
        for (b.first = grid ? int(blockIdx.x) * p.tile_rows : 0; b.first < rows;
             b.first += stride, b.first_tile = false) {
            b.rows = rows - b.first < p.tile_rows ? rows - b.first : p.tile_rows;
            fetch(p, n, m, b, team);
            forward(p, s, b, sums[0], team);
            if (p.mode == WholeNetMode::predict) {
                T* out = n.out + (int64_t(at) * n.rows + b.first) * p.outputs;
                each_element(b.rows, p.outputs, team.thread, team.size,
                             [&](int r, int c) { out[r * p.outputs + c] = s[p.output + r * p.ld_output + c]; });
                team.sync();
                continue;
            }
            if constexpr (!warp)
                if (p.metric_count) measure(p, m, weighted, b.rows, sums, team);
            sums[0] += losses(p, m, weighted, b, team);
            if (train) backward(p, s, b, team);
        }
        if (p.mode == WholeNetMode::predict) continue;
        if (train) {
            const ops::Step<double>& c = state.step->rule;
            const Change<T> change{{T(c.lr * state.member_scale), T(c.a), T(c.b), T(c.c), T(c.d), T(c.epsilon)},
                                   T(1 - state.step->learning_rate * state.member_scale * n.rule.weight_decay),
                                   T(n.rule.clipvalue),
                                   state.penalty};
            auto changed = [&](int begin, int end) {
                return change.penalty * update(p, n, m, slots(), begin, end, change, team);
            };
            if constexpr (grid) {
                if (b.first_tile)  // no rows for this block
                    for (int e = team.thread; e < p.parameter_count; e += team.size) s[p.gradients + e] = T(0);
                team.sync();
                shared_step(p, n, m, i, sums, penalty, team, changed);
            } else {
                penalty[0] = changed(0, p.parameter_count);
            }
        } else if (p.penalties) {
            for (int k = 0; k < p.segment_count; ++k) {
                const WholeNetSegment f = n.segments[k];
                for (int e = f.first + team.thread; e < f.last; e += team.size)
                    penalty[0] += state.penalty * (f.l1 * double(ops::vabs(s[e])) + f.l2 * double(s[e]) * double(s[e]));
            }
        }
        if constexpr (!grid) {  // else shared_step() has added them up
            if (warp || p.metric_count) {
                team.sums(sums, m.scratch());
            } else {
                double loss[1] = {sums[0]};
                team.sums(loss, m.scratch());
                sums[0] = loss[0];
            }
            if (p.penalties) team.sums(penalty, m.scratch());
        }
        const double whole = sums[0] * state.row_fraction + penalty[0];
        const bool halts = n.stop_on_nan && !(whole - whole == 0);
        team.sync();  // all have read the state
        if (leader && team.thread == 0) {
            write_losses(p, n, state, i, *state.step, sums, penalty[0]);
            if (halts) n.control->halted = 1;
        }
        if (halts) break;
    }
    team.sync();
    if (train && leader) take_out(p, n, m, slots(), team);
}

template <class T, Shape S>
void launch(const WholeNetProgram& p, const WholeNetLaunch<T>& n, cudaStream_t stream) {
    const int bytes = p.bytes * p.nets_per_block;
    const dim3 team(unsigned(p.team), unsigned(p.nets_per_block));
    allow_shared_memory(reinterpret_cast<const void*>(wholenet_kernel<T, S>));
    if constexpr (S == Shape::grid) {
        FD_LAUNCH_COOPERATIVE((wholenet_kernel<T, S>), unsigned(p.blocks), team, size_t(bytes), stream, p, n);
    } else {
        const unsigned blocks = unsigned((n.nets + p.nets_per_block - 1) / p.nets_per_block);
        FD_LAUNCH((wholenet_kernel<T, S>), blocks, team, size_t(bytes), stream, p, n);
    }
}

}  // namespace

template <class T>
void run_wholenet(const WholeNetPlan& plan, const WholeNetLaunch<T>& n, cudaStream_t stream) {
    const WholeNetProgram& p = plan.program;
    if (p.blocks > 1) launch<T, Shape::grid>(p, n, stream);
    else if (p.team == 32) launch<T, Shape::warp>(p, n, stream);
    else launch<T, Shape::block>(p, n, stream);
}

}  // namespace fd::cuda
