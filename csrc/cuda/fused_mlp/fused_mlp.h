// Nets of dense layers, none wider than 128, at large batches: one kernel runs forward pass, loss and backward pass on its rows,
// and sums up the gradients of all layers. Only rows of the batch are read and sums of gradients written; weights and activations
// stay in shared memory, as operands of tensor cores. Blocks go on from one tile of rows to the next.
#pragma once
#include <memory>

#include "core/walk.h"
#include "cuda/layerwise/products.h"
#include "cuda/runtime/runtime.h"

namespace fd::cuda {

constexpr int most_mlp_layers = 8, mlp_warps = 8;

// Byte offsets into shared memory, or into the block's global memory for what does not fit there.
struct MlpLayer {
    int in = 0, out = 0, in_tiles = 0, out_tiles = 0;  // tiles of 16
    int64_t kernel = 0, bias = -1;                     // elements into parameters and gradients
    ops::Activation activation = ops::Activation::linear;
    float alpha = 0;
    int input = 0, weights = 0;  // operands; the input is overwritten by its gradient
    int bias_sums = 0;           // (groups of warps, out)
    bool sums_in_shared = true;
    int64_t kernel_sums = 0;
    int64_t kept =
        -1;  // in the block's memory: what the activation's derivative needs, where the rounded output is not enough
    bool keeps_input = false;
};
constexpr int mlp_stage = 16 * 16;  // numbers of shared memory that a warp has for a tile of sums
struct MlpProgram {
    MlpLayer layers[most_mlp_layers];
    int count = 0, rows = 0, row_lanes = 32;           // rows of a tile; lanes that share a row of the loss
    int stages = 0, outputs = 0, losses = 0, top = 0;  // top: operand, the gradient of the last layer's sums
    bool wide = false;                                 // some layer has more than 64 inputs or outputs
    size_t shared_bytes = 0;
    int64_t block_bytes = 0;
    ops::Loss loss = ops::Loss::mse;
    double loss_param = 0, label_smoothing = 0;
    bool from_logits = false;
};
struct MlpBatch {
    const float *x = nullptr, *y = nullptr, *parameters = nullptr;
    const int32_t* labels = nullptr;
    const double* weights = nullptr;
    int64_t rows = 0;
    float *outputs = nullptr, *gradients = nullptr;  // outputs: or none
    double* loss_parts = nullptr;                    // one per block
    // filled in by FusedMlp
    float* parts = nullptr;  // of gradients, block by block
    int64_t stride = 0;
    char* memory = nullptr;
};

class FusedMlp {
public:
    // Null if there is no such kernel for the net.
    static std::unique_ptr<FusedMlp> make(const Plan&, const Training&, const Walk&, Precision);
    // The smallest batch that uses this kernel (-1: that of the GPU's table), the most blocks of a launch (0: as many as the GPU
    // holds at once), and the rows of a tile (0: by the number of rows): for tests and benchmarks.
    static void set_limits(int64_t rows, int64_t blocks, int tile);
    static bool worth_it(int64_t rows);
    static int64_t runs();  // of all nets, captured or not

    void reserve(int64_t rows, cudaStream_t);      // for batches of so many; the only method that allocates
    int64_t blocks(int64_t rows) const;            // of a launch
    void run(MlpBatch batch, cudaStream_t) const;  // gradients of all parameters, and the loss in parts

private:
    MlpProgram program_;
    Precision precision_ = Precision::bf16;
    int64_t parameters_ = 0, most_blocks_ = 0;
    DeviceBuffer<float> parts_;
    DeviceBuffer<char> memory_;
};

// fused_mlp.cu
int mlp_blocks_per_processor(const MlpProgram&, Precision);
void mlp_step(const MlpProgram&, const MlpBatch&, Precision, int64_t blocks, cudaStream_t);
void sum_parts(const float* parts, int64_t count, int64_t stride, float* out, int64_t n, cudaStream_t);

}  // namespace fd::cuda
