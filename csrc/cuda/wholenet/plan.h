// Small nets trained by one kernel, many steps in one launch: a team of threads keeps a net's weights and gradients in shared
// memory and processes each batch in tiles of rows. A team is a warp (then a block holds several nets) or a block. Nets share no
// state and every sum has a fixed order, so results depend neither on the other nets of a launch nor on where a launch ends.
#pragma once
#include <string>
#include <vector>

#include "core/plan.h"
#include "cuda/kernels.h"
#include "cuda/runtime/tuning.h"

namespace fd::cuda {

// Nets of a warp each that a processor's registers hold, in blocks of four.
template <class T>
constexpr int warps_at_once = sizeof(T) == 4 ? 16 : 12;

enum class WholeNetMode { train, evaluate, predict };

// Offsets, in elements of the net's type from the start of a team's shared memory. Matrices of rows have rows of
// row_length() elements: whole quads, an odd number of them, so that lanes that read quads one below the other meet different
// banks. The bias of a dense op is one more row of its kernel. Gradients overwrite the values they belong to.
struct WholeNetOp {
    OpKind kind = OpKind::dense;
    ops::Activation activation = ops::Activation::linear;  // linear too where a fused loss skips it
    int in = 0, out = 0, number = 0;
    int from = 0, ld_from = 0, to = 0, ld_to = 0;
    int keep = -1;   // like `to`: derivatives of the activation, from the forward pass; prelu's input
    int below = -1;  // the op whose values `from` holds, if it needs a gradient
    int kernel = -1, ld_kernel = 0, bias = -1, slope = -1;  // parameters; normalisations: gamma, beta in kernel, bias
    int scale = -1, offset = -1, mean = -1, variance = -1;  // statistics
    int cache = -1;                                         // of a normalisation
    int skip = -1;                                          // residual_end: what it adds
    int adds[2] = {-1, -1};                                 // gradients of residual_ends that read `to` as well
    int forward_rows = 1, backward_rows = 1;                // that a thread works on at once: 1 or 4
    int gradient_tile = 1, gradient_splits = 1, column_splits = 1;  // see products.h
    double alpha = 0, rate = 0, momentum = 0, epsilon = 0, activity_l1 = 0, activity_l2 = 0;
};
struct WholeNetSegment {  // of the parameters
    int first = 0, last = 0;
    double l1 = 0, l2 = 0;
};
struct WholeNetTensor {  // from the plan's layout to that of shared memory
    int64_t plan = 0;
    int shared = 0, rows = 0, cols = 0, ld = 0;
};

constexpr int wholenet_state_bytes = 144, most_wholenet_ops = 20, most_wholenet_metrics = 4, most_team = 256;

struct WholeNetProgram {
    WholeNetOp ops[most_wholenet_ops];
    int count = 0;
    int inputs = 0, outputs = 0, targets = 0;  // targets: columns of y held as numbers; 0: class ids
    int x = 0, ld_x = 0, y = 0, output = 0, ld_output = 0, top = -1;  // top: the op whose values `output` holds
    int probabilities = -1, top_gradient = -1;      // of metrics; of a softmax that no loss is fused with
    int parameters = 0, gradients = 0, slots = -1;  // slots: -1 if they stay in global memory
    int parameter_count = 0, statistics = 0, statistic_count = 0, slot_count = 0;
    int segment_count = 0, tensor_count = 0, statistic_tensors = 0;
    bool segment_norms = false, penalties = false, normalizes = false, weighted = true;
    int state = 0, scratch = 0, input_numbers = 0, weights = 0, row_ids = 0, numbers = 0,
        labels = 0;  // bytes from the team's start
    int tile_rows = 1, row_lanes = 1, team = 32, nets_per_block = 1, bytes = 0,
        blocks = 1;  // bytes: of a team; blocks: that share one net
    ops::Loss loss = ops::Loss::mse;
    double loss_param = 0, label_smoothing = 0;
    bool from_logits = false;
    WholeNetMode mode = WholeNetMode::train;
    int metric_count = 0;
    MetricSpec metrics[most_wholenet_metrics];
};
struct WholeNetPlan {
    std::string why_not;  // and then nothing else is set
    WholeNetProgram program;
    std::vector<WholeNetSegment> segments;
    std::vector<WholeNetTensor> tensors;                 // parameters, then statistics
    double cycles = 0;                                   // of a step, as guessed
    bool worth_it(const Tuning& t, int64_t ops) const {  // one net: whether it is faster than layer by layer
        return cycles * t.cycle_seconds < t.launch_seconds * (t.launches_per_step + t.launches_per_op * double(ops));
    }
};
struct WholeNetChoice {  // of the plans that are considered, only those with these numbers; 0: any
    int team = 0, blocks = 0, tile = 0;
    bool operator==(const WholeNetChoice& o) const { return team == o.team && blocks == o.blocks && tile == o.tile; }
};
WholeNetChoice& forced();  // for benchmarks
struct WholeNetDevice {
    int bytes = 0;        // of shared memory that a block may have
    int blocks = 1;       // that may share a net
    bool spread = false;  // over all of them
    Tuning tuning;
    WholeNetChoice only;
};
WholeNetDevice wholenet_device();
// `alone`: one net, as fast as it goes; else many, as many at once as go. `training` may be null for WholeNetMode::predict.
WholeNetPlan plan_wholenet(const Plan&, const Training* training, WholeNetMode, bool alone, int64_t batch, int item,
                           WholeNetDevice);

template <class T>
struct WholeNetLaunch {  // all of a launch; net i's numbers lie i · stride further on
    T *parameters = nullptr, *statistics = nullptr;
    int64_t parameter_stride = 0, statistic_stride = 0;
    T* slots[3] = {};
    // of one net that blocks share: each block's gradients, (blocks, parameter_count), and sums, twice (blocks, 8)
    T *block_gradients = nullptr, *new_parameters = nullptr;
    double* block_sums = nullptr;
    T* slot_work = nullptr;  // (nets, slot_count · parameter_count), if slots stay in global memory
    const double *mean = nullptr, *variance = nullptr;  // of a normalization
    const WholeNetSegment* segments = nullptr;
    const WholeNetTensor* tensors = nullptr;
    UpdateRule rule;
    Source x, y;
    bool weighted = false;

    const StepRecord* records = nullptr;
    int64_t count = 0;
    uint64_t seed = 0;
    // of one net alone
    Control* control = nullptr;  // records begin there
    double* totals = nullptr;    // (records, width)
    int width = 2;
    bool stop_on_nan = false;
    // of many nets
    const int32_t* which = nullptr;  // (nets,): the numbers of those that take part, or null: from `first_net` on
    int64_t first_net = 0, nets = 1;
    const uint64_t* seeds = nullptr;                             // per net, as all these; null: `seed`
    const double *member_scale = nullptr, *penalties = nullptr;  // null: 1
    const double* own_weights = nullptr;                         // (all nets, rows), in place of the records'
    int64_t rows = 0;
    double *epoch_sums = nullptr, *losses = nullptr;  // (nets,); (epochs, loss_stride)
    int64_t loss_stride = 0;
    T* out = nullptr;  // predict: (nets, rows, outputs), from first_net on
};
template <class T>
void run_wholenet(const WholeNetPlan&, const WholeNetLaunch<T>&, cudaStream_t);

// Which kernels train nets that more than one kind suits; for tests and benchmarks.
enum class Path { automatic, layers, fused, blocks };  // fused: a net to a block; blocks: to as many as there are
inline constexpr const char* path_names[] = {"auto", "layers", "fused", "blocks"};
Path& path();

}  // namespace fd::cuda
