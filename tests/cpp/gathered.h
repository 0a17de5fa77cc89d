// What a net reads of data in all layouts.
#pragma once
#include "subject.h"

namespace {

// A linear net with the identity for its kernel shows what was gathered.
template <class S>
void gather(DType dtype) {
    const int64_t cols = 19, rows = 11;
    Net ops = {dense(cols)};
    Subject<double> s(cols, ops, training());
    std::vector<double> identity(size_t(cols * cols)), zero(static_cast<size_t>(cols));
    for (int64_t i = 0; i < cols; ++i) identity[size_t(i * cols + i)] = 1;
    s.write(0, identity), s.write(1, zero);
    std::vector<char> raw(size_t(4 * rows * cols) * sizeof(S) + 1);  // rows and columns with gaps, off the alignment
    auto place = [&](int64_t i) { return raw.data() + 1 + i * int64_t(sizeof(S)); };
    for (int64_t i = 0; i < 4 * rows * cols; ++i) {
        const S v = S(i % 100);
        std::memcpy(place(i), &v, sizeof(S));
    }
    const int64_t w = int64_t(sizeof(S)),
                  strides[][3] = {
                      {0, cols, 1}, {0, 1, rows}, {3, 2 * cols, 2},           {4 * rows * cols - 1, -cols, -1},
                      {5, 0, 1},    {5, 1, 0},    {rows * cols, 2 * cols, -1}};
    for (const auto& [first, row, col] : strides) {
        const View x{place(first), dtype, rows, cols, row * w, col * w};
        std::vector<double> out(size_t(rows * cols));
        s.net->predict(x, 2, {}, out.data());
        bool ok = true;
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < cols; ++c)
                ok &= out[size_t(r * cols + c)] == double((first + r * row + c * col) % 100);
        check(ok, "gather: dtype " + std::to_string(int(dtype)) + ", strides " + std::to_string(row) + ", " +
                      std::to_string(col));
    }
}

}  // namespace
