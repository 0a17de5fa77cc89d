// The population path: where each number of a group of nets lies, and the blocks of rows that go through it.
#pragma once
#include <vector>

#include "core/plan.h"
#include "cpu/lanes.h"
#include "cpu/memory.h"

namespace fd::cpu {

// Weights and gradients of a group (and the activations, if a batch must be there as a whole) beyond which one net at a
// time is faster: see docs/architecture.md, "Population".
inline constexpr int64_t most_lane_bytes = int64_t(1) << 20;

enum class LaneMode { train, evaluate, predict };

// A program laid out for the lanes, for blocks of `rows` rows. Parameters lie densely: offsets count packs.
struct LaneProgram {
    LaneProgram(const Plan&, LaneMode, bool fused, int64_t rows);
    std::vector<LaneOp> ops;
    int64_t work = 0;                    // packs
    int64_t output = -1, d_output = -1;  // of the last op
    bool may_share_input = true;         // only one dense op reads x, so all nets can read the same numbers
};

struct LaneLayout {  // of parameters and statistics
    explicit LaneLayout(const Plan&);
    std::vector<int64_t> offset;      // per tensor, into the parameters or the statistics
    std::vector<LaneTensor> tensors;  // the trainable ones
    int64_t parameters = 0, statistics = 0, penalty_scratch = 0;
};

bool loss_is_fused(const Plan&, const Training&);

// What one thread needs to train a group, sized before the first step.
template <class T>
struct LaneScratch {
    Buffer<T> work, gradients, x, y, w, start_weights, penalty;
    Buffer<int32_t> index;
    LaneOrder order;
};

}  // namespace fd::cpu
