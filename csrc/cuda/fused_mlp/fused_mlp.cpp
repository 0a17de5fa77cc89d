#include "cuda/fused_mlp/fused_mlp.h"

#include <algorithm>
#include <atomic>

#include "cuda/runtime/tuning.h"

namespace fd::cuda {
namespace {

constexpr int least_tile = 16;
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

// For tiles of so many rows. Operands, sums of biases and stages must be in shared memory; false if they do not fit. Sums of
// kernels are, if there is room.
bool lay_out(MlpProgram& p, int rows, Precision precision) {
    const int item = precision == Precision::bf16 ? 2 : 4, pad = 16 / item;
    const int64_t shared_bytes = device().shared_bytes;
    Room shared, block;
    p.rows = rows;
    p.stages = int(shared.take(int64_t(mlp_warps) * mlp_stage * 4));
    p.losses = int(shared.take(int64_t(rows) * 8));
    const MlpLayer& last = p.layers[p.count - 1];
    p.outputs = int(shared.take(int64_t(rows) * (16 * last.out_tiles + 4) * 4));
    p.top = int(shared.take(int64_t(rows) * (16 * last.out_tiles + pad) * item));
    for (int l = 0; l < p.count; ++l) {
        MlpLayer& layer = p.layers[l];
        layer.input = int(shared.take(int64_t(rows) * (16 * layer.in_tiles + pad) * item));
        layer.weights = int(shared.take(int64_t(16) * layer.in_tiles * (16 * layer.out_tiles + pad) * item));
        layer.bias_sums = int(shared.take(256 * 4));
    }
    if (shared.used > shared_bytes) return false;
    for (int l = 0; l < p.count; ++l) {
        MlpLayer& layer = p.layers[l];
        const int64_t bytes = int64_t(16) * layer.in_tiles * (16 * layer.out_tiles + 4) * 4;
        layer.sums_in_shared = shared.used + bytes <= shared_bytes - 128;
        layer.kernel_sums = (layer.sums_in_shared ? shared : block).take(bytes);
        layer.keeps_input = ops::activation_needs[int(layer.activation)] == ops::Needs::input;
        const bool keeps = l + 1 < p.count ? !rounded_is_enough(layer.activation) : layer.keeps_input;
        layer.kept = keeps ? block.take(int64_t(rows) * 16 * layer.out_tiles * 4) : -1;
    }
    p.shared_bytes = size_t(shared.used), p.block_bytes = block.used;
    int lanes = 4;
    while (lanes < 32 && 2 * lanes <= last.out) lanes *= 2;
    p.row_lanes = std::max(lanes, 32 * mlp_warps / rows);
    return true;
}

}  // namespace

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
    if (!rounds_operands(precision) || training.hook || training.has_frozen() || !training.loss_params.empty())
        return nullptr;
    MlpProgram p;
    int64_t widest = 0;
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
        widest = std::max({widest, o.in, o.out});
    }
    if (!p.count) return nullptr;
    p.loss = walk.form().kind, p.from_logits = walk.form().logits;
    p.loss_param = training.loss_param, p.label_smoothing = training.label_smoothing;
    p.wide = widest > 64;
    auto made = std::make_unique<FusedMlp>();
    made->program_ = p, made->precision_ = precision, made->parameters_ = plan.parameters;
    return lay_out(made->program_, least_tile, precision) ? std::move(made) : nullptr;
}

// Tiles of many rows use operands more often; of few, they give every processor something to do, and leave room for two blocks.
void FusedMlp::reserve(int64_t rows, cudaStream_t stream) {
    const double wanted = tuning().mlp_tiles_per_processor * device().processors;
    const int64_t half = device().shared_bytes / 2 - 1024;
    const int only = only_tile;
    for (int tile = program_.wide ? 64 : 128; tile >= least_tile; tile /= 2) {
        const bool fits = lay_out(program_, tile, precision_) && (tile <= 64 || int64_t(program_.shared_bytes) <= half);
        if (only ? fits && tile <= only : fits && double(rows) >= tile * wanted) break;
    }
    most_blocks_ = int64_t(device().processors) * mlp_blocks_per_processor(program_, precision_);
    if (parts_.reserve(blocks(rows) * parameters_))  // what lies between tensors is added up as well
        FD_CUDA(cudaMemsetAsync(parts_.get(), 0, size_t(parts_.size()) * sizeof(float), stream));
    memory_.reserve(std::max<int64_t>(blocks(rows) * program_.block_bytes, 1));
}

int64_t FusedMlp::blocks(int64_t rows) const {
    const int64_t tiles = (rows + program_.rows - 1) / program_.rows, limit = block_limit;
    return std::min(tiles, limit ? std::min(limit, most_blocks_) : most_blocks_);
}

void FusedMlp::run(MlpBatch batch, cudaStream_t stream) const {
    ++run_count;
    const int64_t n = blocks(batch.rows);
    batch.parts = parts_.get(), batch.stride = parameters_, batch.memory = memory_.get();
    mlp_step(program_, batch, precision_, n, stream);
    sum_parts(batch.parts, n, parameters_, batch.gradients, parameters_, stream);
}

}  // namespace fd::cuda
