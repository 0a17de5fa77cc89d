// Nets of dense layers, none wider than 128, at large batches: one kernel runs forward pass, loss and backward pass on its rows.
// Weights stay in shared memory, as operands of tensor cores. Where the sums of the gradients fit there too, blocks go on from one
// tile of rows to the next and add to them (fused_mlp.cu). Else the gradients of kernels are left to products, for which every
// layer's input, and the gradient of its sums, is written once (rows.cu).
#pragma once
#include <memory>
#include <vector>

#include "core/walk.h"
#include "cuda/kernels.h"
#include "cuda/layerwise/products.h"
#include "cuda/runtime/runtime.h"
#include "ops/hd.h"

namespace fd::cuda {

constexpr int most_mlp_layers = 8;
// How many columns of tiles of a product the warps of a block make side by side.
FD_HD int mlp_strips(int warps, int col_tiles) { return col_tiles < warps / 2 ? col_tiles : warps / 2; }

constexpr int most_row_warps = 8;

// Byte offsets into shared memory.
struct MlpLayer {
    int in = 0, out = 0, in_tiles = 0, out_tiles = 0;  // tiles of 16
    int64_t kernel = 0, bias = -1;                     // elements into parameters and gradients
    ops::Activation activation = ops::Activation::linear;
    float alpha = 0;
    int weights = 0;                // operand
    int biases = 0, bias_sums = 0;  // (out), (groups of warps, out)
    int input = 0;                  // of tiles: operand, overwritten by its gradient
    int kernel_sums = 0;            // of tiles: tile by tile, each as its warp has it
    int64_t inputs = 0, sums = 0;   // by rows: operands in device memory, (rows, 16 · in_tiles) and, of gradients,
                                    // (rows, 16 · out_tiles); so many bytes a row lie before
    int part_kernel = -1, part_bias = -1;  // elements into a block's part of the gradients
    int64_t kept =
        -1;  // in the block's or warp's memory: what the activation's derivative needs, where the rounded output is not enough
    bool keeps_input = false;
};
struct MlpProgram {
    MlpLayer layers[most_mlp_layers];
    int count = 0;
    bool by_rows = false;                      // each warp has its own, and products are left; else tiles are a block's
    int warps = 16, rows = 0, row_lanes = 32;  // of a block; of a tile, or a warp; lanes that share a row of the loss
    int places = 0, outputs = 0, losses = 0, top = 0;  // top: operand, the gradient of the last layer's sums
    int warp_bytes = 0;                                // by rows: what each has from `outputs` on
    int part = 0;                                      // numbers of a block's gradients
    bool relu = false;                                 // no activation but this one and none at all
    size_t shared_bytes = 0;
    int64_t block_bytes = 0,
            row_bytes = 0;  // of device memory: of a block or, by rows, warp; and for each row of the batch
    ops::Loss loss = ops::Loss::mse;
    double loss_param = 0, label_smoothing = 0;
    bool from_logits = false;
};
struct MlpBatch {
    const char *x = nullptr, *y = nullptr;  // float32 rows without gaps inside; y may be class ids
    int64_t x_stride = 0, y_stride = 0;     // bytes
    const double* weights = nullptr;
    bool weighted = false;
    bool labels = false;
    DType label_type = DType::i32;
    // Rows in the order of the step's record, which also has the addresses of x, y and weights; else the batch lies as it is.
    bool by_record = false;
    Steps steps;
    const float* parameters = nullptr;
    int64_t rows = 0;
    float *outputs = nullptr, *gradients = nullptr;  // outputs: or none
    double* loss_parts = nullptr;                    // one per block
    // Parts that the gradients of a layer's kernel are cut into, so many elements apart: those of the bias are 0 but for the first.
    int splits[most_mlp_layers] = {};
    int64_t stride = 0;
    // filled in by FusedMlp
    float* parts = nullptr;  // of gradients, block by block
    char *memory = nullptr, *operands = nullptr;
};

class FusedMlp {
public:
    // Null if there is no such kernel for the net.
    static std::unique_ptr<FusedMlp> make(const Plan&, const Training&, const Walk&, Precision);
    // The smallest batch that uses this kernel (-1: that of the GPU's table), the most blocks of a launch (0: as many as the GPU
    // holds at once), the rows of a tile or a warp (0: by the number of rows), and whether gradients of kernels are products in every
    // net: for tests and benchmarks.
    static void set_limits(int64_t rows, int64_t blocks, int tile, bool by_rows);
    static bool worth_it(int64_t rows);
    static int64_t runs();  // of all nets, captured or not

    void reserve(int64_t rows);                    // for batches of so many; the only method that allocates
    int64_t blocks(int64_t rows) const;            // of a launch
    void run(MlpBatch batch, cudaStream_t) const;  // the loss in parts, and all gradients but those of products()

    // Gradients that are left: the op, and the operands of its kernel's gradient.
    struct Left {
        int op;
        Product<float> product;
    };
    std::vector<Left> products(int64_t rows) const;
    bool leaves_kernels() const { return program_.by_rows; }
    const std::vector<int>& ops() const { return ops_; }  // of the layers
    const MlpProgram& program() const { return program_; }

private:
    MlpProgram program_;
    std::vector<int> ops_;
    Precision precision_ = Precision::bf16;
    int64_t most_blocks_ = 0;
    DeviceBuffer<float> parts_;
    DeviceBuffer<char> memory_, operands_;
};

// For a batch of so many rows on a device; false if the net's operands do not fit.
bool lay_out_mlp(MlpProgram&, int64_t rows, Precision, int processors, int64_t shared_bytes);

// fused_mlp.cu
int mlp_blocks_per_processor(const MlpProgram&, Precision);
void mlp_step(const MlpProgram&, const MlpBatch&, Precision, int64_t blocks, cudaStream_t);
void mlp_rows_step(const MlpProgram&, const MlpBatch&, Precision, int64_t blocks, cudaStream_t);  // rows.cu
void mlp_sum_parts(const MlpProgram&, const MlpBatch&, int64_t blocks, cudaStream_t);

}  // namespace fd::cuda
