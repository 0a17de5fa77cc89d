// A function of the caller's that looks at every batch: it may compute the loss, or measure what the net gives.
#pragma once
#include <cstdint>
#include <functional>

#include "core/types.h"

namespace fd {

struct HookBatch {  // arrays are dense, in the host's memory, and only there during the call
    // What the batch is: of training (else of an evaluation); the first or the last of an epoch or an evaluation; one that
    // metrics count (a probe's is not); one whose loss has a gradient to be filled in.
    enum : unsigned { training = 1, first = 2, last = 4, measured = 8, differentiated = 16 };
    static unsigned edges(bool is_first, bool is_last) { return (is_first ? first : 0u) | (is_last ? last : 0u); }
    unsigned flags = 0;
    DType dtype = DType::f32;  // of outputs, predictions, targets and gradient
    int64_t rows = 0, cols = 0, target_cols = 0;
    const void* outputs = nullptr;      // of the net; (rows, cols)
    const void* predictions = nullptr;  // as metrics see them: the outputs, made probabilities if they are logits
    const void* targets = nullptr;      // (rows, target_cols), or
    const int32_t* labels = nullptr;    // (rows,)
    const double* weights = nullptr;    // (rows,), or none
    // To be filled if the loss is the caller's: weight · loss of each row, whose sum over the rows, divided by their number, is
    // the loss of the batch; and the gradient of that loss by the outputs, unless it is null.
    double* losses = nullptr;
    int64_t heads =
        1;  // losses of a row: (rows, heads), of each head before its weight; 0 of those that the core computes
    void* gradient = nullptr;
};

// False: stop; the step at hand is not made.
using Hook = std::function<bool(const HookBatch&)>;

}  // namespace fd
