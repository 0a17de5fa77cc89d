// The population path: many nets of one shape, one in each lane of a vector. A group of nets is trained by one thread from
// the first step of a call to the last, so its numbers stay in that core's caches and no thread waits at a barrier.
#include "cpu/memberwise/population.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/parallel.h"
#include "core/population.h"
#include "cpu/memberwise/metrics.h"
#include "cpu/memberwise/numbers.h"
#include "cpu/memberwise/rows.h"
#include "cpu/simd/kernels.h"
#include "cpu/state.h"
#include "ops/rng.h"

namespace fd::cpu {
namespace {

template <class T>
class Population final : public PopulationBackend {
public:
    Population(int64_t inputs, std::vector<uint64_t> seeds, const MemberNumbers& own, std::vector<Op> ops)
        : plan_(inputs, 0, std::move(ops)), layout_(plan_), lanes_(lanes_of<T>(isa())), kernels_(kernels_of<T>(isa())),
          starts_(int64_t(seeds.size())), width_(lanes_.width), groups_((starts_ + width_ - 1) / width_),
          own_(plan_, std::move(seeds), own), input_(plan_) {
        if (starts_ < 1) throw InvalidArgument("a population needs at least one start");
        parameters_.reserve(groups_ * layout_.parameters * width_);
        statistics_.reserve(groups_ * layout_.statistics * width_);
        std::vector<int64_t> order(static_cast<size_t>(starts_));
        std::iota(order.begin(), order.end(), 0);
        place_nets(order);
    }

    const Plan& plan() const override { return plan_; }
    DType dtype() const override { return dtype_of<T>; }
    int64_t starts() const override { return starts_; }
    const Training* training() const override { return configured_ ? &training_ : nullptr; }
    int slots() const override { return int(slots_.size()); }

    void configure(const Training& training) override {
        const std::string why = lanes_lack(plan_, training);
        if (!why.empty()) throw InvalidArgument("these nets cannot be trained together: " + why);
        training_ = training;
        configured_ = true;
        form_ = LossForm(plan_, training);
        step_ = 0;
        slots_ = first_slots<T>(training, groups_ * layout_.parameters * width_);
        lane_numbers_ = own_.by_lane<T>(start_at_, width_, training_);
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
        if (r.active) gather_active(r.active);
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
                if (!any_active(r.active, g)) {
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
        for (int64_t i = 0; i < starts_; ++i) out.epochs.push_back(finished[size_t(lane_of_[size_t(i)] / width_)]);
        step_ += r.epochs * batches;
        return out;
    }

    void evaluate(const Dataset& data, const double* weights, const uint8_t* which, int threads, const Poll& poll,
                  double* totals) override {
        require_training(data);
        const HeldRows<T> rows = rows_of(data);
        const int64_t n = data.rows(), sums_each = training_.totals(plan_.outputs);
        std::vector<int32_t> labels(training_.sparse() ? size_t(n) : 0);
        for (size_t r = 0; r < labels.size(); ++r) labels[r] = int32_t(rows.y[r]);
        each_group(
            Pass::evaluate, n, threads, poll, weights ? n : 0, which,
            [&](int64_t g, LaneBlock<T>& b, LaneScratch<T>& s, auto&& blocks) {
                double sums[LaneOrder::most] = {}, penalties[LaneOrder::most] = {};
                if (weights) spread_weights(weights, n, g, s.start_weights.get());
                b.batch_rows = n;
                b.losses = sums;
                RowPointers<T> p = rows;
                if (weights) p.own_w = s.start_weights.get();
                const LaneMetrics<T> metrics(plan_, training_, form_.logits, kernels_, block_rows(Pass::evaluate, n));
                each_start(g, [&](int64_t, int64_t start) { std::fill_n(totals + start * sums_each, sums_each, 0.0); });
                const bool whole = blocks([&](int64_t first) {
                    set_input(b, s, p, first, nullptr);
                    set_targets(b, s, p, first, nullptr);
                    lanes_.forward(b);
                    lanes_.loss(b);
                    if (training_.metrics.empty()) return;
                    each_start(g, [&](int64_t k, int64_t start) {
                        const double* w = weights ? weights + start * n : data.weights;
                        metrics.add(b.output < 0 ? b.x : b.work + b.output * width_, b.output < 0 ? 1 : width_,
                                    b.output < 0 ? 0 : k, rows.y + first * rows.targets,
                                    labels.empty() ? nullptr : labels.data() + first, w ? w + first : nullptr, b.rows,
                                    totals + start * sums_each + 2);
                    });
                });
                lanes_.penalties(update_of(g, s, nullptr, penalties));
                each_start(g, [&](int64_t k, int64_t start) {
                    totals[start * sums_each] = sums[k] + penalties[k] * double(n);
                    totals[start * sums_each + 1] = double(n);
                });
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
        each_group(Pass::predict, x.rows, threads, poll, 0, nullptr,
                   [&](int64_t g, LaneBlock<T>& b, LaneScratch<T>& s, auto&& blocks) {
                       return blocks([&](int64_t first) {
                           set_input(b, s, rows, first, nullptr);
                           lanes_.forward(b);
                           const T* a = b.output < 0 ? b.x : b.work + b.output * width_;
                           each_start(g, [&](int64_t k, int64_t start) {
                               for (int64_t i = 0; i < b.rows * plan_.outputs; ++i)
                                   to[(start * x.rows + first) * plan_.outputs + i] = a[i * width_ + k];
                           });
                       });
                   });
    }

private:
    HeldRows<T> rows_of(const Dataset& data) const { return HeldRows<T>(data, input_, kernels_, width_); }
    bool trainable(int tensor) const { return plan_.tensors[size_t(tensor)].trainable; }
    int64_t place(int tensor, int64_t element, int64_t lane) const {
        const int64_t size = trainable(tensor) ? layout_.parameters : layout_.statistics;
        return (lane / width_ * size + layout_.offset[size_t(tensor)] + element) * width_ + lane % width_;
    }
    // body(lane, start) for each net of a group
    template <class F>
    void each_start(int64_t g, F&& body) const {
        for (int64_t k = 0; k < width_ && g * width_ + k < starts_; ++k) body(k, start_at_[size_t(g * width_ + k)]);
    }

    // Puts the nets into the lanes in this order. Lanes left over repeat the last one.
    void place_nets(const std::vector<int64_t>& order) {
        start_at_ = order;
        start_at_.resize(size_t(groups_ * width_), order.back());
        lane_of_.resize(order.size());
        for (size_t lane = 0; lane < order.size(); ++lane) lane_of_[size_t(order[lane])] = int64_t(lane);
        lane_numbers_ = own_.by_lane<T>(start_at_, width_, training_);
    }

    // Nets that no longer train leave their lanes to others, if that spares a group.
    void gather_active(const uint8_t* active) {
        int64_t count = 0, groups = 0;
        for (int64_t i = 0; i < starts_; ++i) count += active[i] != 0;
        for (int64_t g = 0; g < groups_; ++g) groups += any_active(active, g);
        if (groups <= (count + width_ - 1) / width_) return;
        std::vector<int64_t> order(start_at_.begin(), start_at_.begin() + starts_);
        std::stable_partition(order.begin(), order.end(), [&](int64_t start) { return active[start] != 0; });
        const std::vector<int64_t> before = lane_of_;
        place_nets(order);
        move_lanes(before, parameters_, layout_.parameters);
        move_lanes(before, statistics_, layout_.statistics);
        for (Buffer<T>& slot : slots_) move_lanes(before, slot, layout_.parameters);
        if (kept_[0].size()) move_lanes(before, kept_[0], layout_.parameters);
        if (kept_[1].size()) move_lanes(before, kept_[1], layout_.statistics);
    }
    void move_lanes(const std::vector<int64_t>& before, const Buffer<T>& numbers, int64_t packs) const {
        Buffer<T> moved;
        moved.reserve(groups_ * packs * width_);
        for (int64_t lane = 0; lane < groups_ * width_; ++lane) {
            const int64_t from = before[size_t(start_at_[size_t(lane)])];
            for (int64_t p = 0; p < packs; ++p)
                moved[(lane / width_ * packs + p) * width_ + lane % width_] =
                    numbers[(from / width_ * packs + p) * width_ + from % width_];
        }
        std::copy_n(moved.get(), groups_ * packs * width_, numbers.get());
    }
    template <class F>
    void each_number(int tensor, const Buffer<T>& flat, T* numbers, F&& body) const {
        const int64_t size = plan_.tensors[size_t(tensor)].size();
        for (int64_t i = 0; i < groups_ * width_; ++i)
            for (int64_t e = 0; e < size; ++e)
                body(numbers[start_at_[size_t(i)] * size + e], flat[place(tensor, e, i)]);
    }
    void copy_lanes(const uint8_t* which, const Buffer<T>& from, const Buffer<T>& to, int64_t packs) const {
        for (int64_t lane = 0; lane < groups_ * width_; ++lane)  // also of those left over, which are read last
            for (int64_t p = 0; which[start_at_[size_t(lane)]] && p < packs; ++p) {
                const int64_t at = (lane / width_ * packs + p) * width_ + lane % width_;
                to[at] = from[at];
            }
    }
    bool any_active(const uint8_t* active, int64_t g) const {
        bool any = !active;
        if (active) each_start(g, [&](int64_t, int64_t start) { any |= active[start] != 0; });
        return any;
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
            const double* from = weights + start_at_[size_t(g * width_ + k)] * rows;
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
            b.params = training_.loss_params.empty() ? nullptr : training_.loss_params.data();
            b.smoothing = lane_numbers_.smoothings.data() + g * width_;
            b.logits = form_.logits;
            b.sparse = training_.sparse();
        }
        b.output = program.output;
        b.d_output = program.d_output;
        b.rates = lane_numbers_.rates.data() + g * width_ * own_.dropouts();
        b.penalty = lane_numbers_.penalties.data() + g * width_;
        b.seeds = lane_numbers_.seeds.data() + g * width_;
        return b;
    }
    LaneUpdate<T> update_of(int64_t g, const LaneScratch<T>& s, T* gradients, double* losses) const {
        LaneUpdate<T> u;
        u.tensors = layout_.tensors.data();
        u.count = int(layout_.tensors.size());
        u.parameters = parameters_.get() + g * layout_.parameters * width_;
        u.gradients = gradients;
        for (size_t k = 0; k < slots_.size(); ++k) u.slot[k] = slots_[k].get() + g * layout_.parameters * width_;
        u.penalty = lane_numbers_.penalties.data() + g * width_;
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
                const size_t lane = size_t(g * width_ + k);
                const uint64_t seed = r.order_seeds ? r.order_seeds[start_at_[lane]] : lane_numbers_.seeds[lane];
                const ops::Shuffle order(uint64_t(n), seed, uint32_t(r.epoch + e));
                s.order.half = order.half;
                s.order.n = uint32_t(n);
                for (int j = 0; j < 6; ++j) s.order.key[j][k] = order.key[j];
            }
        double sums[LaneOrder::most] = {}, penalties[LaneOrder::most], member_scale[LaneOrder::most],
               weight_decay[LaneOrder::most];
        for (int64_t k = 0; k < width_; ++k)
            member_scale[k] = r.member_scale ? r.member_scale[start_at_[size_t(g * width_ + k)]] : 1.0;
        LaneBlock<T> b = block_of(g, program, s);
        b.training = true;
        b.x_shared = shared;
        b.losses = sums;
        LaneUpdate<T> u = update_of(g, s, s.gradients.get(), penalties);
        const ops::Hyper& h = training_.hyper;
        u.rule = training_.rule();
        u.member_scale = member_scale;
        u.weight_decay = weight_decay;
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
            for (int64_t k = 0; k < width_; ++k)
                weight_decay[k] = lane_numbers_.decays[size_t(g * width_ + k)] * r.step_rates[e * batches + step];
            lanes_.update(u);
            for (int64_t k = 0; k < width_; ++k) sums[k] += penalties[k] * double(rows);
        }
        each_start(g, [&](int64_t k, int64_t start) {
            if (!r.active || r.active[start]) r.losses[e * starts_ + start] = sums[k] / double(n);
        });
        return true;
    }

    // A forward-only pass: body(group, block, scratch, blocks) for each group with nets of `which`, where blocks(use) calls use(first row) for
    // each block of rows and is false if the poll said stop.
    template <class F>
    void each_group(Pass pass, int64_t n, int threads, const Poll& poll, int64_t own_weights, const uint8_t* which,
                    F&& body) {
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
                if (!any_active(which, g)) continue;
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
    OwnNumbers own_;
    LaneNumbers<T> lane_numbers_;
    std::vector<int64_t> start_at_, lane_of_;  // which net is in a lane, and the lane of each net
    Buffer<T> parameters_, statistics_, kept_[2];
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
                                                       const MemberNumbers& own, std::vector<Op> ops, DType dtype) {
    if (dtype == DType::f32)
        return std::make_unique<cpu::Population<float>>(inputs, std::move(seeds), own, std::move(ops));
    return std::make_unique<cpu::Population<double>>(inputs, std::move(seeds), own, std::move(ops));
}

}  // namespace fd
