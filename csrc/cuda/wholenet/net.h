// Host state of the whole-net kernel: a plan, and its tables on the device.
#pragma once
#include <algorithm>

#include "cuda/runtime/runtime.h"
#include "cuda/state.h"
#include "cuda/wholenet/plan.h"

namespace fd::cuda {

template <class T>
class WholeNetTables {
public:
    WholeNetPlan plan;

    void set(WholeNetPlan p, cudaStream_t stream) {
        plan = std::move(p);
        if (!plan.why_not.empty()) return;
        segments_.reserve(std::max<int64_t>(int64_t(plan.segments.size()), 1));
        tensors_.reserve(std::max<int64_t>(int64_t(plan.tensors.size()), 1));
        // pageable memory: read before the call returns
        FD_CUDA(cudaMemcpyAsync(segments_.get(), plan.segments.data(), plan.segments.size() * sizeof(WholeNetSegment),
                                cudaMemcpyHostToDevice, stream));
        FD_CUDA(cudaMemcpyAsync(tensors_.get(), plan.tensors.data(), plan.tensors.size() * sizeof(WholeNetTensor),
                                cudaMemcpyHostToDevice, stream));
    }
    // Fills in what follows from the plan, for launches of up to so many nets.
    void fill(WholeNetLaunch<T>& n, int64_t nets) {
        const WholeNetProgram& p = plan.program;
        n.segments = segments_.get(), n.tensors = tensors_.get();
        if (p.mode == WholeNetMode::train && p.slots < 0) slot_work_.reserve(nets * p.slot_count * p.parameter_count);
        n.slot_work = slot_work_.get();
        if (p.blocks == 1) return;
        block_gradients_.reserve(int64_t(p.blocks + 1) * p.parameter_count);
        block_sums_.reserve(2 * 8 * p.blocks);
        n.block_gradients = block_gradients_.get(), n.block_sums = block_sums_.get();
        n.new_parameters = n.block_gradients + int64_t(p.blocks) * p.parameter_count;
    }

private:
    DeviceBuffer<WholeNetSegment> segments_;
    DeviceBuffer<WholeNetTensor> tensors_;
    DeviceBuffer<T> slot_work_, block_gradients_;
    DeviceBuffer<double> block_sums_;
};

// One net that is trained alone.
template <class T>
class WholeNet {
public:
    explicit WholeNet(cudaStream_t stream) : stream_(stream) {}
    void forget() { batch_ = -1; }

    // Whether to use the whole-net kernel for batches of so many rows.
    bool suits(const Plan& plan, const Training& training, int64_t batch) {
        if (path() == Path::layers) return false;
        if (path() != planned_ || !(forced() == choice_)) batch_ = -1;
        planned_ = path(), choice_ = forced();
        if (batch != batch_)
            tables_.set(
                plan_wholenet(plan, &training, WholeNetMode::train, true, batch, int(sizeof(T)), wholenet_device()),
                stream_);
        batch_ = batch;
        if (!tables_.plan.why_not.empty()) return false;
        return path() != Path::automatic || tables_.plan.worth_it(tuning(), int64_t(plan.ops.size()));
    }

    void train(const Plan& plan, const Training& training, State<T>& state, const BatchShape& shape, const Steps& steps,
               int64_t count, bool stop_on_nan) {
        WholeNetLaunch<T> n;
        tables_.fill(n, 1);
        n.parameters = state.parameters.get(), n.statistics = state.statistics.get();
        for (size_t k = 0; k < state.slots.size() && k < 3; ++k) n.slots[k] = state.slots[k].get();
        if (plan.normalizes_input()) {
            n.mean = state.input_statistics.get() + plan.tensors[size_t(plan.ops[0].mean)].offset;
            n.variance = state.input_statistics.get() + plan.tensors[size_t(plan.ops[0].variance)].offset;
        }
        n.rule = update_rule(training);
        n.x = shape.x, n.y = shape.y, n.weighted = shape.weighted;
        n.records = steps.records, n.count = count, n.seed = plan.seed;
        n.control = steps.control, n.totals = steps.totals, n.width = steps.width, n.stop_on_nan = stop_on_nan;
        run_wholenet(tables_.plan, n, stream_);
    }

private:
    const cudaStream_t stream_;
    int64_t batch_ = -1;
    Path planned_ = Path::automatic;
    WholeNetChoice choice_;
    WholeNetTables<T> tables_;
};

}  // namespace fd::cuda
