// A layer whose formula is the caller's: its forward and backward pass, called with a whole batch.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "core/types.h"

namespace fd {

struct FunctionCall {          // arrays are dense, in the host's memory, and only there during the call
    DType dtype = DType::f32;  // of all of them
    int64_t rows = 0, in = 0, out = 0;
    bool training = false;  // a batch of a step, else of an evaluation or a prediction
    bool backward = false;
    std::vector<const void*> weights;  // in the order and with the sizes of Op::own
    // Of a forward pass: rows in, to rows out. `keep`: the backward pass of the same batch may follow.
    const void* x = nullptr;
    void* y = nullptr;
    bool keep = false;
    // Of a backward pass: from the gradient of the outputs to those of the inputs and the trained weights, which come first;
    // null where none is wanted.
    const void* dy = nullptr;
    void* dx = nullptr;
    std::vector<void*> gradients;
};

// False: stop; the step at hand is not made.
using Function = std::function<bool(const FunctionCall&)>;

}  // namespace fd
