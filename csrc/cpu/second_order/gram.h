// Sums of products of rows, in double, by the whole team.
#pragma once
#include <cstdint>

#include "core/parallel.h"

namespace fd::cpu {

// matrix (width, limit) += blockᵀ · (the first `limit` columns of block), block (rows, width) row-major. Of the square on top
// only the lower triangle is kept up. Work is cut by shapes alone, into pieces of about equal size.
void add_gram(const Worker& w, int64_t rows, const double* block, int64_t width, int64_t limit, double* matrix);

}  // namespace fd::cpu
