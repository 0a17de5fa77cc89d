// The population path: many nets of one shape, one in each lane of a vector. A group of nets is trained by one thread from
// the first step of a call to the last, so its numbers stay in that core's caches and no thread waits at a barrier.
#include "cpu/memberwise/population.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "core/population.h"
#include "cpu/memberwise/rows.h"
#include "cpu/simd/kernels.h"
#include "cpu/state.h"
#include "ops/rng.h"

namespace fd::cpu {
namespace {

template <class T>
class Population final : public PopulationBackend {
public:
    Population(int64_t inputs, std::vector<uint64_t> seeds, const double* penalties, std::vector<Op> ops)
        : plan_(inputs, 0, std::move(ops)), layout_(plan_), lanes_(lanes_of<T>(isa())), kernels_(kernels_of<T>(isa())),
          starts_(int64_t(seeds.size())), width_(lanes_.width), groups_((starts_ + width_ - 1) / width_),
          seeds_(std::move(seeds)), input_(plan_) {
        if (starts_ < 1) throw InvalidArgument("a population needs at least one start");
        penalties_.reserve(groups_ * width_);
        for (int64_t i = 0; i < groups_ * width_; ++i) {
            const int64_t start = std::min(i, starts_ - 1);  // lanes left over repeat the last net
            if (i >= starts_) seeds_.push_back(seeds_[size_t(start)]);
            penalties_[i] = penalties ? T(penalties[start]) : T(1);
        }
        parameters_.reserve(groups_ * layout_.parameters * width_);
        statistics_.reserve(groups_ * layout_.statistics * width_);
    }

    const Plan& plan() const override { return plan_; }
    DType dtype() const override { return dtype_of<T>; }
    int64_t starts() const override { return starts_; }
    const Training* training() const override { return configured_ ? &training_ : nullptr; }
    int slots() const override { return int(slots_.size()); }

    void configure(const Training& training) override {
        training_ = training;
        configured_ = true;
        form_ = LossForm(plan_, training);
        step_ = 0;
        slots_ = first_slots<T>(training, groups_ * layout_.parameters * width_);
    }

    void read_tensor(int tensor, void* out) const override {
        if (plan_.tensors[size_t(tensor)].float64) {  // the same for all nets
            const Tensor& t = plan_.tensors[size_t(tensor)];
            for (int64_t i = 0; i < starts_; ++i)
                std::copy_n(input_.get() + t.offset, t.size(), static_cast<double*>(out) + i * t.size());
            return;
        }
        each_number(tensor, trainable(tensor) ? parameters_ : statistics_, static_cast<T*>(out),
                    [](T& number, T& packed) { number = packed; });
    }
    void write_tensor(int tensor, const void* in) override {
        const Tensor& t = plan_.tensors[size_t(tensor)];
        if (t.float64) {
            std::copy_n(static_cast<const double*>(in), t.size(), input_.get() + t.offset);
            input_.changed();
            return;
        }
        each_number(tensor, trainable(tensor) ? parameters_ : statistics_, static_cast<T*>(const_cast<void*>(in)),
                    [](T& number, T& packed) { packed = number; });
    }
    void read_slot(int slot, int tensor, void* out) const override {
        each_number(tensor, slots_[size_t(slot)], static_cast<T*>(out), [](T& number, T& packed) { number = packed; });
    }
    void write_slot(int slot, int tensor, const void* in) override {
        each_number(tensor, slots_[size_t(slot)], static_cast<T*>(const_cast<void*>(in)),
                    [](T& number, T& packed) { packed = number; });
    }
    void set_step(int64_t step) override { step_ = step; }

    void keep(const uint8_t* which) override {
        kept_[0].reserve(parameters_.size());
        kept_[1].reserve(statistics_.size());
        copy_lanes(which, parameters_, kept_[0], layout_.parameters);
        copy_lanes(which, statistics_, kept_[1], layout_.statistics);
    }
    void restore(const uint8_t* which) override {
        if (kept_[0].size() < parameters_.size()) throw InternalError("restore: nothing was kept");
        copy_lanes(which, kept_[0], parameters_, layout_.parameters);
        copy_lanes(which, kept_[1], statistics_, layout_.statistics);
    }

    PopulationOutcome train(const PopulationRequest& r) override {
        require_training(r.train);
        const int64_t n = r.train.rows(), batch = std::min(r.batch_size, n), batches = (n + batch - 1) / batch;
        const HeldRows<T> data = rows_of(r.train);
        const bool shuffled = r.shuffle && plan_.order_matters(batch, n), ordered = shuffled && !r.one_order;
        const int64_t block = block_rows(Pass::train, batch);
        const LaneProgram program(plan_, training(), Pass::train, block);
        const bool shared = !ordered && program.may_share_input;
        std::vector<ops::Step<double>> steps;
        for (int64_t s = 0; s < r.epochs * batches; ++s)
            steps.push_back(ops::prepare_step(training_.rule(), training_.hyper, r.step_rates[s], step_ + s + 1));
        const int threads = int(std::max<int64_t>(1, std::min<int64_t>({r.threads, 64, groups_})));
        std::vector<LaneScratch<T>> scratch(static_cast<size_t>(threads));
        for (LaneScratch<T>& s : scratch) {
            reserve(s, program, block, shared, ordered);
            if (r.start_weights) s.start_weights.reserve(n * width_);
            if (shuffled && r.one_order) {
                s.batch[0].reserve(batch * plan_.inputs);
                s.batch[1].reserve(batch * data.targets);
                s.batch[2].reserve(batch);
                if (r.start_weights) s.batch[3].reserve(batch * width_);
            }
            s.gradients.reserve(layout_.parameters * width_);
        }
        std::vector<int64_t> finished(static_cast<size_t>(groups_));
        LaneWatch watch(groups_ * r.epochs, r.tick);
        parallel(threads, [&](const Worker& w) {
            const FlushSubnormals flush;
            LaneScratch<T>& s = scratch[size_t(w.id)];
            for (int64_t g; (g = watch.next(groups_)) >= 0;) {
                if (!any_active(r, g)) {
                    watch.advance(r.epochs);
                    continue;
                }
                if (r.start_weights) spread_weights(r.start_weights, n, g, s.start_weights.get());
                for (int64_t e = 0; e < r.epochs; ++e) {
                    if (!train_epoch(r, g, e, data, program, block, shared, shuffled, steps.data() + e * batches, s,
                                     watch, w.first()))
                        break;
                    ++finished[size_t(g)];
                    watch.advance(1);
                }
            }
            watch.leave(w);
        });
        PopulationOutcome out;
        out.interrupted = watch.stopped();
        for (int64_t i = 0; i < starts_; ++i) out.epochs.push_back(finished[size_t(i / width_)]);
        step_ += r.epochs * batches;
        return out;
    }

    void evaluate(const Dataset& data, const double* weights, int threads, const Poll& poll, double* losses) override {
        require_training(data);
        const HeldRows<T> rows = rows_of(data);
        const int64_t n = data.rows();
        each_group(Pass::evaluate, n, threads, poll, weights ? n : 0,
                   [&](int64_t g, LaneBlock<T>& b, LaneScratch<T>& s, auto&& blocks) {
                       double sums[LaneOrder::most] = {}, penalties[LaneOrder::most] = {};
                       if (weights) spread_weights(weights, n, g, s.start_weights.get());
                       b.batch_rows = n;
                       b.losses = sums;
                       RowPointers<T> p = rows;
                       if (weights) p.own_w = s.start_weights.get();
                       const bool whole = blocks([&](int64_t first) {
                           set_input(b, s, p, first, nullptr);
                           set_targets(b, s, p, first, nullptr);
                           lanes_.forward(b);
                           lanes_.loss(b);
                       });
                       lanes_.penalties(update_of(g, s, nullptr, penalties));
                       for (int64_t k = 0; k < width_ && g * width_ + k < starts_; ++k)
                           losses[g * width_ + k] = sums[k] / double(n) + penalties[k];
                       return whole;
                   });
    }

    void predict(const View& x, int threads, const Poll& poll, void* out) override {
        if (x.cols != plan_.inputs) throw InvalidArgument("x must be (rows, inputs)");
        Dataset data;
        data.x = x;
        if (x.rows == 0) return;
        const HeldRows<T> rows = rows_of(data);
        T* to = static_cast<T*>(out);
        each_group(Pass::predict, x.rows, threads, poll, 0,
                   [&](int64_t g, LaneBlock<T>& b, LaneScratch<T>& s, auto&& blocks) {
                       return blocks([&](int64_t first) {
                           set_input(b, s, rows, first, nullptr);
                           lanes_.forward(b);
                           const T* a = b.output < 0 ? b.x : b.work + b.output * width_;
                           for (int64_t k = 0; k < width_ && g * width_ + k < starts_; ++k)
                               for (int64_t i = 0; i < b.rows * plan_.outputs; ++i)
                                   to[((g * width_ + k) * x.rows + first) * plan_.outputs + i] = a[i * width_ + k];
                       });
                   });
    }

private:
    HeldRows<T> rows_of(const Dataset& data) const { return HeldRows<T>(data, input_, kernels_, width_); }
    bool trainable(int tensor) const { return plan_.tensors[size_t(tensor)].trainable; }
    int64_t place(int tensor, int64_t element, int64_t start) const {
        const int64_t size = trainable(tensor) ? layout_.parameters : layout_.statistics;
        return (start / width_ * size + layout_.offset[size_t(tensor)] + element) * width_ + start % width_;
    }
    template <class F>
    void each_number(int tensor, const Buffer<T>& flat, T* numbers, F&& body) const {
        const int64_t size = plan_.tensors[size_t(tensor)].size();
        for (int64_t i = 0; i < groups_ * width_; ++i)  // lanes left over hold the last net once more
            for (int64_t e = 0; e < size; ++e)
                body(numbers[std::min(i, starts_ - 1) * size + e], flat[place(tensor, e, i)]);
    }
    void copy_lanes(const uint8_t* which, const Buffer<T>& from, const Buffer<T>& to, int64_t packs) const {
        for (int64_t i = 0; i < starts_; ++i)
            if (which[i])
                for (int64_t p = 0; p < packs; ++p) {
                    const int64_t at = (i / width_ * packs + p) * width_ + i % width_;
                    to[at] = from[at];
                }
    }
    bool any_active(const PopulationRequest& r, int64_t g) const {
        if (!r.active) return true;
        for (int64_t i = g * width_; i < std::min(starts_, (g + 1) * width_); ++i)
            if (r.active[i]) return true;
        return false;
    }

    void require_training(const Dataset& data) const {
        check_shapes(plan_, training(), data);
        if (data.rows() >= int64_t(1) << 31) throw InvalidArgument("a population takes at most 2^31 - 1 rows");
    }

    // Rows that go through the net together: few enough for the first-level cache, enough to be worth the loops around
    // them; all of a batch where statistics of the batch are needed.
    int64_t block_rows(Pass pass, int64_t rows) const {
        for (const Op& o : plan_.ops)
            if (o.kind == OpKind::batch_norm && pass == Pass::train) return rows;
        const int64_t bytes = LaneProgram(plan_, training(), pass, 1).work * width_ * int64_t(sizeof(T));
        const int64_t fitting = std::clamp<int64_t>(24576 / std::max<int64_t>(bytes, 1), 16, 64) / 4 * 4;
        return std::min(rows, fitting);
    }

    void reserve(LaneScratch<T>& s, const LaneProgram& program, int64_t block, bool shared, bool ordered) const {
        s.work.reserve(program.work * width_);
        s.penalty.reserve(layout_.penalty_scratch * width_);
        if (!shared) s.x.reserve(block * plan_.inputs * width_);
        if (!ordered) return;
        s.y.reserve(block * plan_.outputs * width_);
        s.w.reserve(block * width_);
        s.index.reserve(block * width_);
    }

    // numbers (starts, rows) of this group as (rows) packs
    void spread_weights(const double* weights, int64_t rows, int64_t g, T* to) const {
        for (int64_t k = 0; k < width_; ++k) {
            const double* from = weights + std::min(g * width_ + k, starts_ - 1) * rows;
            for (int64_t r = 0; r < rows; ++r) to[r * width_ + k] = T(from[r]);
        }
    }

    LaneBlock<T> block_of(int64_t g, const LaneProgram& program, const LaneScratch<T>& s) const {
        LaneBlock<T> b;
        b.ops = program.ops.data();
        b.count = int(program.ops.size());
        b.parameters = parameters_.get() + g * layout_.parameters * width_;
        b.statistics = statistics_.get() + g * layout_.statistics * width_;
        b.gradients = s.gradients.get();
        b.work = s.work.get();
        b.outputs = plan_.outputs;
        b.x_shared = program.may_share_input;
        if (configured_) {
            b.loss = form_.kind;
            b.param = training_.loss_param;
            b.smoothing = training_.label_smoothing;
            b.logits = form_.logits;
            b.sparse = training_.sparse();
        }
        b.output = program.output;
        b.d_output = program.d_output;
        b.penalty = penalties_.get() + g * width_;
        b.seeds = seeds_.data() + g * width_;
        return b;
    }
    LaneUpdate<T> update_of(int64_t g, const LaneScratch<T>& s, T* gradients, double* losses) const {
        LaneUpdate<T> u;
        u.tensors = layout_.tensors.data();
        u.count = int(layout_.tensors.size());
        u.parameters = parameters_.get() + g * layout_.parameters * width_;
        u.gradients = gradients;
        for (size_t k = 0; k < slots_.size(); ++k) u.slot[k] = slots_[k].get() + g * layout_.parameters * width_;
        u.penalty = penalties_.get() + g * width_;
        u.losses = losses;
        u.scratch = s.penalty.get();
        return u;
    }

    // The block's rows: `index` holds each net's own, or null for rows first, first + 1, … for all.
    void set_input(LaneBlock<T>& b, LaneScratch<T>& s, const RowPointers<T>& rows, int64_t first,
                   const int32_t* index) const {
        if (b.x_shared) {
            b.x = rows.x + first * plan_.inputs;
            return;
        }
        lanes_.gather({rows.x, plan_.inputs, b.rows, first, index, false, s.x.get(), rows.small});
        b.x = s.x.get();
    }
    void set_targets(LaneBlock<T>& b, LaneScratch<T>& s, const RowPointers<T>& rows, int64_t first,
                     const int32_t* index) const {
        b.y_shared = !index;
        b.w_shared = !index && !rows.own_w;
        if (!index) {
            b.y = rows.y + first * rows.targets;
            b.w = rows.own_w ? rows.own_w + first * width_ : rows.w ? rows.w + first : nullptr;
            return;
        }
        lanes_.gather({rows.y, rows.targets, b.rows, first, index, false, s.y.get(), rows.small});
        b.y = s.y.get();
        b.w = nullptr;
        if (!rows.own_w && !rows.w) return;
        lanes_.gather(
            {rows.own_w ? rows.own_w : rows.w, 1, b.rows, first, index, rows.own_w != nullptr, s.w.get(), rows.small});
        b.w = s.w.get();
    }

    // One epoch of one group; false if it was left because the caller wants to stop.
    bool train_epoch(const PopulationRequest& r, int64_t g, int64_t e, const HeldRows<T>& data,
                     const LaneProgram& program, int64_t block, bool shared, bool shuffled,
                     const ops::Step<double>* steps, LaneScratch<T>& s, LaneWatch& watch, bool first_worker) {
        const int64_t n = r.train.rows(), batch = std::min(r.batch_size, n), batches = (n + batch - 1) / batch;
        const bool ordered = shuffled && !r.one_order, rearranged = shuffled && r.one_order;
        const ops::Shuffle one_order(uint64_t(n), r.order_seed, uint32_t(r.epoch + e));
        RowPointers<T> all = data;
        if (r.start_weights) all.own_w = s.start_weights.get();
        if (ordered)
            for (int64_t k = 0; k < width_; ++k) {
                const ops::Shuffle order(uint64_t(n), seeds_[size_t(g * width_ + k)], uint32_t(r.epoch + e));
                s.order.half = order.half;
                s.order.n = uint32_t(n);
                for (int j = 0; j < 6; ++j) s.order.key[j][k] = order.key[j];
            }
        double sums[LaneOrder::most] = {}, penalties[LaneOrder::most], member_scale[LaneOrder::most];
        for (int64_t k = 0; k < width_; ++k)
            member_scale[k] = r.member_scale ? r.member_scale[std::min(g * width_ + k, starts_ - 1)] : 1.0;
        LaneBlock<T> b = block_of(g, program, s);
        b.training = true;
        b.x_shared = shared;
        b.losses = sums;
        LaneUpdate<T> u = update_of(g, s, s.gradients.get(), penalties);
        const ops::Hyper& h = training_.hyper;
        u.rule = training_.rule();
        u.member_scale = member_scale;
        u.clipvalue = h.clipvalue, u.clipnorm = h.clipnorm, u.global_clipnorm = h.global_clipnorm;
        b.y_shared = !ordered;
        if (r.start_weights || data.w) b.w = s.work.get();  // not null: there are weights
        const bool small = lanes_.small(b);
        if (small) block = batch;
        for (int64_t step = 0; step < batches; ++step) {
            if (watch.stop(first_worker)) return false;
            const int64_t begin = step * batch, rows = std::min(batch, n - begin);
            std::fill_n(s.gradients.get(), layout_.parameters * width_, T(0));
            b.batch_rows = rows;
            b.step = uint64_t(step_ + e * batches + step);
            RowPointers<T> from = all;
            int64_t origin = begin;
            if (rearranged) {
                from = rearrange(all, one_order, begin, rows, plan_.inputs, width_, s.batch);
                origin = 0;
            }
            for (int64_t first = 0; first < rows; first += block) {
                b.first = first;
                b.rows = std::min(block, rows - first);
                if (ordered) lanes_.order(s.order, begin + first, b.rows, s.index.get());
                const int32_t* index = ordered ? s.index.get() : nullptr;
                set_input(b, s, from, origin + first, index);
                set_targets(b, s, from, origin + first, index);
                if (small && lanes_.small(b)) continue;
                lanes_.forward(b);
                lanes_.loss(b);
                lanes_.backward(b);
            }
            std::fill_n(penalties, width_, 0.0);
            lanes_.penalties(u);
            u.step = steps[step];
            u.weight_decay = h.weight_decay * r.step_rates[e * batches + step];
            lanes_.update(u);
            for (int64_t k = 0; k < width_; ++k) sums[k] += penalties[k] * double(rows);
        }
        for (int64_t k = 0; k < width_; ++k) {
            const int64_t start = g * width_ + k;
            if (start < starts_ && (!r.active || r.active[start])) r.losses[e * starts_ + start] = sums[k] / double(n);
        }
        return true;
    }

    // A forward-only pass: body(group, block, scratch, blocks) for each group, where blocks(use) calls use(first row) for
    // each block of rows and is false if the poll said stop.
    template <class F>
    void each_group(Pass pass, int64_t n, int threads, const Poll& poll, int64_t own_weights, F&& body) {
        const int64_t block = block_rows(pass, n);
        const LaneProgram program(plan_, training(), pass, block);
        threads = int(std::max<int64_t>(1, std::min<int64_t>({threads, 64, groups_})));
        std::vector<LaneScratch<T>> scratch(static_cast<size_t>(threads));
        for (LaneScratch<T>& s : scratch) {
            reserve(s, program, block, program.may_share_input, false);
            if (own_weights) s.start_weights.reserve(own_weights * width_);
        }
        const std::function<bool(double)> tick = [&](double) { return poll && poll(); };
        LaneWatch watch(groups_, tick);
        parallel(threads, [&](const Worker& w) {
            const FlushSubnormals flush;
            LaneScratch<T>& s = scratch[size_t(w.id)];
            for (int64_t g; (g = watch.next(groups_)) >= 0;) {
                LaneBlock<T> b = block_of(g, program, s);
                const bool whole = body(g, b, s, [&](auto&& use) {
                    for (int64_t first = 0; first < n; first += block) {
                        if (watch.stop(w.first())) return false;
                        b.rows = std::min(block, n - first);
                        use(first);
                    }
                    return true;
                });
                if (!whole) break;
            }
            watch.leave(w);
        });
    }

    Plan plan_;
    LaneLayout layout_;
    const LaneKernels<T>& lanes_;
    const Kernels<T>& kernels_;
    int64_t starts_, width_, groups_, step_ = 0;
    std::vector<uint64_t> seeds_;  // one a lane
    Buffer<T> parameters_, statistics_, penalties_, kept_[2];
    InputStatistics input_;
    std::vector<Buffer<T>> slots_;
    Training training_;
    LossForm form_;
    bool configured_ = false;
};

}  // namespace
}  // namespace fd::cpu

namespace fd {

std::unique_ptr<PopulationBackend> make_cpu_population(int64_t inputs, std::vector<uint64_t> seeds,
                                                       const double* penalties, std::vector<Op> ops, DType dtype) {
    if (dtype == DType::f32)
        return std::make_unique<cpu::Population<float>>(inputs, std::move(seeds), penalties, std::move(ops));
    return std::make_unique<cpu::Population<double>>(inputs, std::move(seeds), penalties, std::move(ops));
}

}  // namespace fd
