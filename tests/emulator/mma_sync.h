// Test-only: PTX's ldmatrix and mma.sync for the emulator, with the fragments that its manual shows: of lane l, g = l / 4 and
// t = l % 4.
#pragma once
#include "wmma.h"

namespace emulator {

// Four matrices of 8 lines of 16 bytes, line l % 8 of matrix l / 8 at the address that lane l gives. Register m gets from matrix m
// word t of line g, or `transposed` the numbers of 2 bytes of lines 2t and 2t + 1 in column g.
inline void load_matrices(unsigned (&to)[4], const void* line, bool transposed, int at = __builtin_LINE()) {
    if (reinterpret_cast<uintptr_t>(line) % 16)
        fail("ldmatrix: the address is not on 16 bytes, line " + std::to_string(at));
    offer(~0u, line, at, "ldmatrix");
    const int g = own_lane() / 4, t = own_lane() % 4;
    for (int m = 0; m < 4; ++m) {
        if (!transposed) {
            to[m] = lane_value<const unsigned*>(8 * m + g)[t];
            continue;
        }
        const unsigned low = lane_value<const uint16_t*>(8 * m + 2 * t)[g],
                       high = lane_value<const uint16_t*>(8 * m + 2 * t + 1)[g];
        to[m] = low | high << 16;
    }
}

// d = a (16, K) b (K, 8) + c (16, 8); K: 16 of bfloat16, two to a register, or 8 of TF32. The sum of the exact products is cut off.
template <int K>
void multiply_add(float* d, const unsigned* a, const unsigned* b, const float* c, int at = __builtin_LINE()) {
    constexpr int numbers = K / 8;  // of a register
    struct Operands {
        unsigned a[4], b[2];
    } const mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    offer(~0u, &mine, at, "mma.sync");
    const auto value = [](unsigned word, int k) {
        if (K == 8) return nvcuda::wmma::detail::value(__uint_as_float(word));
        return __uint_as_float(k % 2 ? word & 0xffff0000u : word << 16);
    };
    const int g = own_lane() / 4, t = own_lane() % 4;
    double rows[2][K], cols[2][K];
    for (int k = 0; k < K; ++k)
        for (int i = 0; i < 2; ++i) {
            const int lane = k / numbers % 4, half = k / (K / 2);
            rows[i][k] = double(value(lane_value<const Operands*>(4 * g + lane)->a[i + 2 * half], k));
            cols[i][k] = double(value(lane_value<const Operands*>(4 * (2 * t + i) + lane)->b[half], k));
        }
    for (int i = 0; i < 4; ++i) {
        double sum = double(c[i]);
        for (int k = 0; k < K; ++k) sum += rows[i / 2][k] * cols[i % 2][k];
        d[i] = nvcuda::wmma::detail::cut(sum);
    }
    warp_barrier(~0u, at, "mma.sync");  // the operands are no longer needed
}

}  // namespace emulator
