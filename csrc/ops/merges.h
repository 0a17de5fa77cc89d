// How the outputs of branches become one, element by element; concatenation is a matter of where they lie. Both functions
// are given the values of one element by the number of the branch.
#pragma once
#include "ops/hd.h"

namespace fd::ops {

#define FD_MERGES(X) X(concatenate) X(add) X(subtract) X(multiply) X(average) X(maximum) X(minimum)

#define FD_MERGE_ENUM(name) name,
enum class Merge { FD_MERGES(FD_MERGE_ENUM) };
#undef FD_MERGE_ENUM

inline constexpr const char* merge_names[] = {
#define FD_MERGE_NAME(name) #name,
    FD_MERGES(FD_MERGE_NAME)
#undef FD_MERGE_NAME
};

inline constexpr int most_branches = 64;  // of one block: kernels take that many addresses as an argument

template <class T, class F>
FD_HD T merged(Merge merge, int count, F&& value) {
    T all = value(0);
    for (int b = 1; b < count; ++b) {
        const T v = value(b);
        switch (merge) {
            case Merge::concatenate: break;
            case Merge::add:
            case Merge::average: all += v; break;
            case Merge::subtract: all -= v; break;
            case Merge::multiply: all *= v; break;
            case Merge::maximum: all = v > all ? v : all; break;
            case Merge::minimum: all = v < all ? v : all; break;
        }
    }
    return merge == Merge::average ? all / T(count) : all;
}

// d merged / d value(b). Of two equal ones, the larger so far and the next, each has half of a maximum's derivative.
template <class T, class F>
FD_HD T merge_derivative(Merge merge, int count, int b, F&& value) {
    switch (merge) {
        case Merge::concatenate:
        case Merge::add: return T(1);
        case Merge::subtract: return b == 0 ? T(1) : T(-1);
        case Merge::average: return T(1) / T(count);
        case Merge::multiply: {
            T others = T(1);
            for (int c = 0; c < count; ++c)
                if (c != b) others *= value(c);
            return others;
        }
        case Merge::maximum:
        case Merge::minimum: break;
    }
    const T sign = merge == Merge::maximum ? T(1) : T(-1);
    T best = sign * value(0), part = b == 0 ? T(1) : T(0);
    for (int c = 1; c < count; ++c) {
        const T v = sign * value(c), taken = v > best ? T(1) : v == best ? T(0.5) : T(0);
        if (c == b) part = taken;
        else if (c > b) part *= T(1) - taken;
        best = v > best ? v : best;
    }
    return part;
}

}  // namespace fd::ops
