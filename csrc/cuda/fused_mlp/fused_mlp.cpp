#include "cuda/fused_mlp/fused_mlp.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <numeric>

#include "cuda/runtime/tuning.h"

namespace fd::cuda {
namespace {

constexpr int least_tile = 16, largest_tile = 128;
// Adding a tile's part to a sum in shared memory costs as much as multiplying some 32 rows; tiles of fewer rows would do little else.
constexpr int least_tile_with_sums = 64;
std::atomic<int64_t> least_rows{-1}, block_limit{0}, run_count{0};
std::atomic<int> only_tile{0};

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

int64_t bytes_of_sums(const MlpLayer& l) { return int64_t(1024) * l.in_tiles * l.out_tiles; }

// For tiles of so many rows and blocks of so many warps. Operands and sums of biases are in shared memory; `most` bytes, false if
// they do not fit. Sums of kernels are too; or, if `leaves`, as many as there is room for, the smallest first, and the rest are left
// to products. The inputs of these layers take turns in two buffers.
bool lay_out(MlpProgram& p, int rows, int warps, int64_t most, bool leaves, Precision precision) {
    const int item = precision == Precision::bf16 ? 2 : 4, pad = 16 / item, last = p.count - 1;
    Room shared, block;
    int64_t row_bytes = 0;
    p.rows = rows, p.warps = warps;
    p.places = int(shared.take(int64_t(rows) * 8));
    p.losses = int(shared.take(int64_t(rows) * 8));
    p.outputs = int(shared.take(int64_t(rows) * (16 * p.layers[last].out_tiles + 4) * 4));
    p.top = int(shared.take(int64_t(rows) * (16 * p.layers[last].out_tiles + pad) * item));
    for (int l = 0; l < p.count; ++l) {
        MlpLayer& layer = p.layers[l];
        layer.weights = int(shared.take(int64_t(16) * layer.in_tiles * (16 * layer.out_tiles + pad) * item));
        layer.biases = int(shared.take(int64_t(16) * layer.out_tiles * 4));
        layer.bias_sums = int(shared.take(int64_t(warps / mlp_strips(warps, layer.out_tiles)) * 16 * layer.out_tiles * 4));
        layer.product = leaves;
    }
    const auto input_bytes = [&](const MlpLayer& l) { return int64_t(rows) * (16 * l.in_tiles + pad) * item; };
    int64_t turn = 0;
    for (int l = 0; l < p.count; ++l) turn = std::max(turn, input_bytes(p.layers[l]));
    const int64_t turns[2] = {leaves ? shared.take(turn) : 0, leaves ? shared.take(turn) : 0};
    if (leaves) {
        std::vector<int> order(size_t(p.count));
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(),
                         [&](int a, int b) { return bytes_of_sums(p.layers[a]) < bytes_of_sums(p.layers[b]); });
        for (int l : order) {  // the last layer's input is still there when its gradient is due
            MlpLayer& layer = p.layers[l];
            Room with = shared;
            const int64_t input = l < last ? with.take(input_bytes(layer)) : turns[l % 2];
            const int64_t sums = with.take(bytes_of_sums(layer));
            if (with.used > most) continue;
            shared = with, layer.product = false;
            layer.input = int(input), layer.kernel_sums = int(sums);
        }
    }
    p.part = 0;
    for (int l = 0; l < p.count; ++l) {
        MlpLayer& layer = p.layers[l];
        layer.reads_input = layer.product && l + 1 < last;
        layer.part_kernel = layer.part_bias = -1;
        if (layer.product) {
            layer.input = int(turns[l % 2]);
            layer.inputs = row_bytes, row_bytes += int64_t(16) * layer.in_tiles * item;
            layer.sums = row_bytes, row_bytes += int64_t(16) * layer.out_tiles * item;
        } else {
            if (!leaves) {
                layer.input = int(shared.take(input_bytes(layer)));
                layer.kernel_sums = int(shared.take(bytes_of_sums(layer)));
            }
            layer.part_kernel = p.part, p.part += 256 * layer.in_tiles * layer.out_tiles;
        }
        if (layer.bias >= 0) layer.part_bias = p.part, p.part += 16 * layer.out_tiles;
        layer.keeps_input = ops::activation_needs[int(layer.activation)] == ops::Needs::input;
        const bool keeps = l < last ? !rounded_is_enough(layer.activation) : layer.keeps_input;
        layer.kept = keeps ? block.take(int64_t(rows) * 16 * layer.out_tiles * 4) : -1;
    }
    p.shared_bytes = size_t(shared.used), p.block_bytes = block.used, p.row_bytes = row_bytes;
    int lanes = 4;
    while (lanes < 32 && 2 * lanes <= p.layers[last].out) lanes *= 2;
    p.row_lanes = std::min(32, std::max(lanes, 32 * warps / rows));
    return shared.used <= most;
}

}  // namespace

// A multiprocessor has 16 warps in any case: two blocks of eight, which wait for each other less, if memory and sums of both fit
// into it; else one of 16 whose sums fit; else one that leaves sums to products. Tiles are then such that the blocks with most of
// them are done first; a tile costs as much as `mlp_tile_overhead_rows` more.
bool lay_out_mlp(MlpProgram& p, int64_t rows, Precision precision, int processors, int64_t shared_bytes) {
    struct Way {
        int warps;
        int64_t most;
        bool leaves;
    };
    const int64_t half = shared_bytes / 2 - 1024;
    const Way ways[] = {{8, half, false}, {16, shared_bytes, false}, {16, shared_bytes, true}};
    const int only = only_tile;
    const double overhead = tuning().mlp_tile_overhead_rows;
    for (const Way& way : ways) {
        if (!way.leaves && !lay_out(p, least_tile_with_sums, way.warps, way.most, false, precision)) continue;
        int best = 0;
        double least = std::numeric_limits<double>::infinity();
        for (int tile = largest_tile; tile >= least_tile; tile /= 2) {
            if (!lay_out(p, tile, way.warps, way.most, way.leaves, precision) || (only && tile > only)) continue;
            const int64_t blocks = int64_t(processors) * (16 / way.warps), tiles = (rows + tile - 1) / tile;
            const double time = double((tiles + blocks - 1) / blocks) * (tile + overhead);
            if (time < least || (only && !best)) best = tile, least = only ? 0 : time;
        }
        if (best) return lay_out(p, best, way.warps, way.most, way.leaves, precision);
    }
    return false;
}

void FusedMlp::set_limits(int64_t rows, int64_t blocks, int tile) {
    least_rows = rows, block_limit = blocks, only_tile = tile;
}
bool FusedMlp::worth_it(int64_t rows) {
    const int64_t least = least_rows;
    return least < 0 ? double(rows) >= tuning().mlp_rows : rows >= least;
}
int64_t FusedMlp::runs() { return run_count; }

std::unique_ptr<FusedMlp> FusedMlp::make(const Plan& plan, const Training& training, const Walk& walk,
                                         Precision precision) {
    if (precision == Precision::full || training.hook || training.has_frozen() || !training.loss_params.empty())
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
    memory_.reserve(std::max<int64_t>(blocks(rows) * program_.block_bytes, 1));
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

bool FusedMlp::leaves(int op) const {
    for (int l = 0; l < program_.count; ++l)
        if (ops_[size_t(l)] == op) return program_.layers[l].product;
    return false;
}

std::vector<FusedMlp::Left> FusedMlp::products(int64_t rows) const {
    std::vector<Left> left;
    for (int l = program_.count - 1; l >= 0; --l) {
        const MlpLayer& layer = program_.layers[l];
        if (!layer.product) continue;
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
