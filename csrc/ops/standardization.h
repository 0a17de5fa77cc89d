// Input standardisation, (x - mean) · inverse standard deviation: what a column without spread is multiplied by, once.
#pragma once
#include "ops/hd.h"

namespace fd::ops {

FD_HD double inverse_standard_deviation(double variance) { return variance > 0 ? 1 / vsqrt(variance) : 1.0; }

}  // namespace fd::ops
