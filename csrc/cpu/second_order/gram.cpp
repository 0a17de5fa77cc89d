#include "cpu/second_order/gram.h"

#include <algorithm>
#include <cmath>

#include "cpu/blas/gemm.h"

namespace fd::cpu {

void add_gram(const Worker& w, int64_t rows, const double* block, int64_t width, int64_t limit, double* matrix) {
    const int64_t tasks = std::clamp<int64_t>(width / 32, 1, 16);
    const double side = double(limit), triangle = side * side / 2, area = triangle + side * double(width - limit);
    auto begin = [&](int64_t t) -> int64_t {  // the row above which the fraction t/tasks of the area lies
        if (t >= tasks) return width;
        const double above = area * double(t) / double(tasks);
        return int64_t(above < triangle ? std::sqrt(2 * above) : side + (above - triangle) / side);
    };
    w.each(tasks, [&](int64_t t) {
        const int64_t i0 = begin(t), i1 = begin(t + 1);
        if (i0 < i1)
            gemm(Trans::yes, Trans::no, i1 - i0, std::min(i1, limit), rows, block + i0, width, block, width, 1.0,
                 matrix + i0 * limit, limit);
    });
}

}  // namespace fd::cpu
