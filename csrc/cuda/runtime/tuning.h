// What plans take for granted about a GPU's speed. The numbers come from python/fastdense/engine/gpus.json, which says what each
// of them is, in which unit and where it comes from; `python -m benchmarks gpu-calibrate` measures them. Plans depend on them and
// on shapes alone, never on a time measured while a net is trained: the same seed gives the same bits.
#pragma once
#include <string>
#include <vector>

namespace fd::cuda {

// clang-format off
#define FD_TUNING(X)                                                                                                      \
    X(cycle_seconds) X(launch_seconds) X(launches_per_step) X(launches_per_op)                                            \
    X(grid_barrier_cycles) X(grid_barrier_cycles_per_block)                                                               \
    X(exchange_instructions) X(exchange_copies) X(l2_bytes_per_cycle) X(sharing_factor)                                   \
    X(step_cycles) X(block_barrier_cycles) X(warp_barrier_cycles) X(least_phase_factor) X(busy_warps)                     \
    X(gather_instructions) X(loss_instructions) X(loss_instructions_per_output) X(elementwise_instructions)               \
    X(product_instructions) X(product_overhead) X(product4_instructions) X(product4_overhead)                             \
    X(gradient_instructions) X(gradient_overhead) X(gradient_split_instructions)                                          \
    X(gradient4_instructions) X(gradient4_overhead) X(gradient4_split_instructions)                                       \
    X(column_instructions) X(column_overhead) X(update_instructions) X(update_instructions_per_slot)                      \
    X(far_slot_instructions)                                                                                              \
    X(library_multiplications) X(tile32_cycles) X(tile64_cycles) X(tile128_cycles)                                        \
    X(mma_tile32_cycles) X(mma_tile64_cycles) X(mma_tile128_cycles)                                                       \
    X(tf32x3_tile32_cycles) X(tf32x3_tile64_cycles) X(tf32x3_tile128_cycles) X(split_blocks_per_processor) X(split_depth) \
    X(mlp_rows) X(mlp_tile_overhead_rows) X(side_stream)                                                                  \
    X(probe_step_microseconds) X(probe_flops_per_microsecond) X(probe_microseconds) X(probe_share) X(round_flops)
// clang-format on

struct Tuning {
#define FD_FIELD(name) double name = 0;
    FD_TUNING(FD_FIELD)
#undef FD_FIELD
};
struct GpuTuning {
    std::string name;    // as the driver gives it
    int capability = 0;  // 90 of 9.0
    Tuning values;
};

void set_tuning(std::vector<GpuTuning>);  // for plans from now on
// Of the calling thread's device: of a GPU of its name, else of the nearest compute capability, the first of several.
Tuning tuning();

}  // namespace fd::cuda
