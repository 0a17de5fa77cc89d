// Several processes (the ranks of MPI) that train one net together, each on rows of its own: sums over all of them.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "core/types.h"

namespace fd {

struct Ranks {
    int64_t rows = 0;  // of the training data of all ranks
    // Of a step of all ranks, and of the last step of an epoch: the rows, and the first one of this rank among them.
    int64_t batch_rows = 0, last_batch_rows = 0, first_row = 0, last_first_row = 0;
    bool overlaps = false;  // whether a thread of its own may sum while a step computes
    // Puts the sums over all ranks of factor · numbers, and of factor · loss, in their place. False: stop; it failed.
    std::function<bool(void* numbers, DType, int64_t n, double factor, double& loss)> sum;
};

// The gradients of a step, summed over the ranks. They lie in one flat array, and are computed from its end to its beginning:
// where communication may overlap, a slice is sent as soon as it is whole. Slices depend on shapes alone, for all ranks must
// sum the same ones.
class GradientSum {
public:
    GradientSum(const Ranks& ranks, void* gradients, DType dtype, int64_t size);
    ~GradientSum();
    GradientSum(const GradientSum&) = delete;
    GradientSum& operator=(const GradientSum&) = delete;

    // All by one worker. `factor`: this rank's share of the step's rows.
    void begin(double factor);
    void ready(int64_t from);   // all gradients from this element on are final
    bool finish(double& loss);  // all of them are; afterwards they and the loss are the sums. False: stop.

private:
    struct Slice {
        int64_t begin, end;
    };
    static constexpr int64_t least_slice = int64_t(1) << 18;  // numbers: below it a message costs more than it brings
    bool sum(Slice, double& loss);
    void run();

    const Ranks& ranks_;
    char* const gradients_;
    const DType dtype_;
    const int64_t size_;
    double factor_ = 1;
    int64_t sent_ = 0;  // all from here on has been passed on
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Slice> slices_;  // of this step; guarded, as the rest; a step allocates nothing
    size_t done_ = 0;            // of these
    bool failed_ = false, ends_ = false;
    std::thread thread_;
};

}  // namespace fd
