// Records of what changes from step to step, in device memory, written by the host for many steps ahead: so whole runs of steps
// can be captured in a graph, and the order of rows, learning rates and optimizer constants are the host's, to the bit.
#pragma once
#include <cstdint>

#include "ops/optimizers.h"
#include "ops/rng.h"

namespace fd::cuda {

struct StepRecord {
    const char *x = nullptr, *y = nullptr;  // the row that position 0 of the order stands for
    const double* weights = nullptr;        // likewise, or none
    int64_t first = 0, rows = 0;            // position of the batch's first row; how many there are
    ops::Shuffle order;
    bool shuffled = false;
    int64_t over = 0, count = 0;  // count > 0: rows spread evenly, `count` of `over`
    int64_t step = 0;             // optimizer steps done before
    ops::Step<double> rule;       // this step's constants
    double learning_rate = 0;
    int64_t epoch = 0,
            epoch_ends = -1;  // of populations: its number, for orders; which row of losses is complete after the step

    FD_HD int64_t row(int64_t i) const {
        if (count) return i * over / count;
        return shuffled ? int64_t(order(uint64_t(first + i))) : first + i;
    }
};

struct Control {      // state of a run of steps, on the device
    int at = 0;       // the record of this step
    int halted = 0;   // a loss was not finite and the caller wants to stop there: nothing is updated any more
    int arrived = 0;  // blocks of an update that are done
};

struct Steps {  // an argument of kernels
    const StepRecord* records = nullptr;
    Control* control = nullptr;
    double* totals = nullptr;  // (records, width): loss without penalties, penalties, states of metrics
    int width = 0;

    FD_HD const StepRecord& now() const { return records[control->at]; }
    FD_HD double* row() const { return totals + int64_t(control->at) * width; }
};

}  // namespace fd::cuda
