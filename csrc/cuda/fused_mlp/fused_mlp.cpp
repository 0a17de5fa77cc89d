#include "cuda/fused_mlp/fused_mlp.h"

#include <algorithm>
#include <atomic>
#include <limits>

#include "cuda/runtime/tuning.h"

namespace fd::cuda {
namespace {

constexpr int least_tile = 16, largest_tile = 128;
// Adding a tile's part to a sum in shared memory costs as much as multiplying some 32 rows; tiles of fewer rows would do little else.
constexpr int least_tile_with_sums = 64;
std::atomic<int64_t> least_rows{-1}, block_limit{0}, run_count{0};
std::atomic<int> only_tile{0};
std::atomic<bool> only_rows{false};

struct Room {
    int64_t used = 0;
    int64_t take(int64_t bytes) {
        const int64_t at = used;
        used += (bytes + 127) / 128 * 128;
        return at;
    }
};

// Whether the derivative can be computed from the rounded output.
bool rounded_is_enough(ops::Activation a) {
    return a == ops::Activation::linear || a == ops::Activation::relu || a == ops::Activation::leaky_relu;
}

// What both ways have: weights, biases and sums of biases, the latter for so many groups of warps.
template <class Groups>
void place_layers(MlpProgram& p, Room& shared, Groups&& groups, int item) {
    p.part = 0;
    for (int l = 0; l < p.count; ++l) {
        MlpLayer& layer = p.layers[l];
        layer.weights = int(shared.take(int64_t(16) * layer.in_tiles * (16 * layer.out_tiles + 16 / item) * item));
        layer.biases = int(shared.take(int64_t(16) * layer.out_tiles * 4));
        layer.bias_sums = int(shared.take(int64_t(groups(layer)) * 16 * layer.out_tiles * 4));
        layer.part_kernel = layer.part_bias = -1;
        if (!p.by_rows) layer.part_kernel = p.part, p.part += 256 * layer.in_tiles * layer.out_tiles;
        if (layer.bias >= 0) layer.part_bias = p.part, p.part += 16 * layer.out_tiles;
    }
}

// What the derivatives of activations need beside the rounded outputs, in device memory.
int64_t keep(MlpProgram& p) {
    Room block;
    for (int l = 0; l < p.count; ++l) {
        MlpLayer& layer = p.layers[l];
        layer.keeps_input = ops::activation_needs[int(layer.activation)] == ops::Needs::input;
        const bool keeps = l + 1 < p.count ? !rounded_is_enough(layer.activation) : layer.keeps_input;
        layer.kept = keeps ? block.take(int64_t(p.rows) * 16 * layer.out_tiles * 4) : -1;
    }
    return block.used;
}

int row_lanes(int least, int outputs) {
    int lanes = 4;
    while (lanes < 32 && 2 * lanes <= outputs) lanes *= 2;
    return std::min(32, std::max(lanes, least));
}

// Blocks of so many warps that make tiles of so many rows: operands and sums in `most` bytes, false if they do not fit.
bool lay_out_tiles(MlpProgram& p, int rows, int warps, int64_t most, Precision precision) {
    const int item = precision == Precision::bf16 ? 2 : 4, pad = 16 / item;
    const MlpLayer& last = p.layers[p.count - 1];
    Room shared;
    p.by_rows = false, p.rows = rows, p.warps = warps;
    p.places = int(shared.take(int64_t(rows) * 8));
    p.losses = int(shared.take(int64_t(rows) * 8));
    p.outputs = int(shared.take(int64_t(rows) * (16 * last.out_tiles + 4) * 4));
    p.top = int(shared.take(int64_t(rows) * (16 * last.out_tiles + pad) * item));
    place_layers(p, shared, [&](const MlpLayer& l) { return warps / mlp_strips(warps, l.out_tiles); }, item);
    for (int l = 0; l < p.count; ++l) {
        MlpLayer& layer = p.layers[l];
        layer.input = int(shared.take(int64_t(rows) * (16 * layer.in_tiles + pad) * item));
        layer.kernel_sums = int(shared.take(int64_t(1024) * layer.in_tiles * layer.out_tiles));
    }
    p.shared_bytes = size_t(shared.used), p.block_bytes = keep(p), p.row_bytes = 0;
    p.row_lanes = row_lanes(32 * warps / rows, last.out);
    return shared.used <= most;
}

// Blocks of so many warps, each of which makes so many rows by itself.
bool lay_out_rows(MlpProgram& p, int rows, int warps, int64_t most, Precision precision) {
    const int item = precision == Precision::bf16 ? 2 : 4;
    const MlpLayer& last = p.layers[p.count - 1];
    Room shared;
    p.by_rows = true, p.rows = rows, p.warps = warps;
    p.losses = int(shared.take(int64_t(warps) * 8));
    place_layers(p, shared, [&](const MlpLayer&) { return warps; }, item);
    int64_t warp_bytes = int64_t(rows) * (16 * last.out_tiles + 4) * 4;
    p.row_bytes = 0;
    for (int l = 0; l < p.count; ++l) {
        MlpLayer& layer = p.layers[l];
        warp_bytes = std::max(warp_bytes, int64_t(rows) * 16 * layer.in_tiles * item);
        layer.inputs = p.row_bytes, p.row_bytes += int64_t(16) * layer.in_tiles * item;
        layer.sums = p.row_bytes, p.row_bytes += int64_t(16) * layer.out_tiles * item;
    }
    p.warp_bytes = int((warp_bytes + 127) / 128 * 128);
    p.outputs = int(shared.take(int64_t(warps) * p.warp_bytes));
    p.shared_bytes = size_t(shared.used), p.block_bytes = keep(p);
    p.row_lanes = row_lanes(32 / rows, last.out);
    return shared.used <= most;
}

}  // namespace

// A multiprocessor has 16 warps where all sums fit into shared memory beside tiles that are worth it: two blocks of eight, which wait
// for each other less, if there is room for both; else one of 16. Where they do not, warps have their own rows and gradients of
// kernels are products. Of several sizes that is taken whose last rows are done first; a tile costs as much as
// `mlp_tile_overhead_rows` more.
bool lay_out_mlp(MlpProgram& p, int64_t rows, Precision precision, int processors, int64_t shared_bytes) {
    const int only = only_tile;
    const double overhead = tuning().mlp_tile_overhead_rows;
    const auto choose = [&](int most, int least, int64_t at_once, auto&& lay_out) {
        int best = 0;
        double time = std::numeric_limits<double>::infinity();
        for (int tile = most; tile >= least; tile /= 2) {
            if (!lay_out(tile) || (only && (best || tile > only))) continue;
            const int64_t tiles = (rows + tile - 1) / tile;
            const double takes = double((tiles + at_once - 1) / at_once) * (tile + overhead);
            if (takes < time) best = tile, time = takes;
        }
        return best && lay_out(best);
    };
    for (const int warps : {8, 16}) {
        const int64_t most = warps == 8 ? shared_bytes / 2 - 1024 : shared_bytes;
        if (only_rows || !lay_out_tiles(p, least_tile_with_sums, warps, most, precision)) continue;
        return choose(largest_tile, least_tile, int64_t(processors) * (16 / warps),
                      [&](int tile) { return lay_out_tiles(p, tile, warps, most, precision); });
    }
    for (int warps = most_row_warps; warps >= 2; warps /= 2)
        if (choose(precision == Precision::bf16 ? 32 : 16, 16, int64_t(processors) * warps,
                   [&](int tile) { return lay_out_rows(p, tile, warps, shared_bytes, precision); }))
            return true;
    return false;
}

void FusedMlp::set_limits(int64_t rows, int64_t blocks, int tile, bool by_rows) {
    least_rows = rows, block_limit = blocks, only_tile = tile, only_rows = by_rows;
}
bool FusedMlp::worth_it(int64_t rows) {
    const int64_t least = least_rows;
    return least < 0 ? double(rows) >= tuning().mlp_rows : rows >= least;
}
int64_t FusedMlp::runs() { return run_count; }

std::unique_ptr<FusedMlp> FusedMlp::make(const Plan& plan, const Training& training, const Walk& walk,
                                         Precision precision) {
    if (!rounds_operands(precision) || training.hook || training.has_frozen() || !training.loss_params.empty())
        return nullptr;
    auto made = std::make_unique<FusedMlp>();
    MlpProgram& p = made->program_;
    p.relu = true;
    for (int i = plan.normalizes_input() ? 1 : 0; i <= walk.last(); ++i) {
        const Op& o = plan.ops[size_t(i)];
        const bool mixes = walk[i].activation == ops::Activation::softmax;
        if (o.kind != OpKind::dense || o.in > 128 || o.out > 128 || o.slope >= 0 || o.has_activity() || mixes)
            return nullptr;
        if (p.count == most_mlp_layers) return nullptr;
        MlpLayer& layer = p.layers[p.count++];
        layer.in = int(o.in), layer.out = int(o.out);
        layer.in_tiles = int(o.in + 15) / 16, layer.out_tiles = int(o.out + 15) / 16;
        layer.kernel = plan.tensors[size_t(o.kernel)].offset;
        if (o.bias >= 0) layer.bias = plan.tensors[size_t(o.bias)].offset;
        layer.activation = walk[i].activation;
        layer.alpha = float(o.alpha);
        p.relu &= layer.activation == ops::Activation::linear || layer.activation == ops::Activation::relu;
        made->ops_.push_back(i);
    }
    if (!p.count) return nullptr;
    p.loss = walk.form().kind, p.from_logits = walk.form().logits;
    p.loss_param = training.loss_param, p.label_smoothing = training.label_smoothing;
    made->precision_ = precision;
    return lay_out_mlp(p, 1, precision, device().processors, device().shared_bytes) ? std::move(made) : nullptr;
}

void FusedMlp::reserve(int64_t rows) {
    lay_out_mlp(program_, rows, precision_, device().processors, device().shared_bytes);
    most_blocks_ = int64_t(device().processors) * mlp_blocks_per_processor(program_, precision_);
    parts_.reserve(blocks(rows) * program_.part);
    memory_.reserve(
        std::max<int64_t>(blocks(rows) * (program_.by_rows ? program_.warps : 1) * program_.block_bytes, 1));
    operands_.reserve(std::max<int64_t>(rows * program_.row_bytes, 1));
}

int64_t FusedMlp::blocks(int64_t rows) const {
    const int64_t tiles = (rows + program_.rows - 1) / program_.rows, limit = block_limit;
    return std::min(tiles, limit ? std::min(limit, most_blocks_) : most_blocks_);
}

void FusedMlp::run(MlpBatch batch, cudaStream_t stream) const {
    ++run_count;
    const int64_t n = blocks(batch.rows);
    batch.parts = parts_.get(), batch.memory = memory_.get(), batch.operands = operands_.get();
    mlp_step(program_, batch, precision_, n, stream);
    mlp_sum_parts(program_, batch, n, stream);
}

std::vector<FusedMlp::Left> FusedMlp::products(int64_t rows) const {
    std::vector<Left> left;
    for (int l = program_.count - 1; l >= 0 && program_.by_rows; --l) {
        const MlpLayer& layer = program_.layers[l];
        Product<float> p;
        const char *a = operands_.get() + rows * layer.inputs, *b = operands_.get() + rows * layer.sums;
        if (precision_ == Precision::bf16)
            p.bf16_a = reinterpret_cast<const uint16_t*>(a), p.bf16_b = reinterpret_cast<const uint16_t*>(b);
        else p.a = reinterpret_cast<const float*>(a), p.b = reinterpret_cast<const float*>(b);
        p.lda = 16 * layer.in_tiles, p.ldb = 16 * layer.out_tiles;
        left.push_back({ops_[size_t(l)], p});
    }
    return left;
}

}  // namespace fd::cuda
