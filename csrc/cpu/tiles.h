// How the rows (or columns) of a kernel are cut for products and updates.
#pragma once
#include "core/plan.h"
#include "cpu/simd/kernels.h"

namespace fd::cpu {

// What product() takes at once: tiles of nearly equal height, in a number that teams of two and four share evenly. Runs of
// them, which are one tile each up to most_runs of them, are the tasks.
struct Tiles {
    static constexpr int few_runs = 8, most_runs = most_threads;
    int64_t n, unit, count;  // they begin at multiples of unit
    int runs;
    Tiles(int64_t length, int64_t tile, int64_t unit) : n(length), unit(unit), count((length + tile - 1) / tile) {
        if (count > 4) count = (count + 3) / 4 * 4;
        runs = int(count < most_runs ? count : most_runs);
    }
    int64_t begin(int64_t t) const { return t == count ? n : (n + unit - 1) / unit * t / count * unit; }
    int64_t run(int64_t s) const { return count * s / runs; }  // its first tile
    // Runs that are worked on together where a worker has several, so that what is done with a tile's result covers many columns.
    int64_t runs_at_once() const { return (runs + few_runs - 1) / few_runs; }
};

// The tiles of the net's own products.
template <class T>
class Tiling {
public:
    explicit Tiling(const Plan& plan)
        : tile_(plan.bf16 ? isa().bf16->tile : kernels_of<T>(isa()).tile), unit_(plan.bf16 ? 2 : 1) {}
    int64_t tile() const { return tile_; }
    Tiles operator()(int64_t n) const { return Tiles(n, tile_, unit_); }

private:
    int64_t tile_, unit_;
};

}  // namespace fd::cpu
