// Constraints: what a tensor is replaced by after each of its updates, as Keras defines them; and signs.
#pragma once
#include "ops/hd.h"

namespace fd::ops {

struct Constraint {
    enum class Kind { none, non_negative, norm, signs };
    enum class Over { columns, rows, all };  // what has a norm: each column, each row, or the whole tensor
    Kind kind = Kind::none;
    Over over = Over::columns;
    double low = 0, high = 0, rate = 1;  // norms are drawn into [low, high], by this fraction of the way
    explicit operator bool() const { return kind != Kind::none; }
    // What elements whose norm this is are multiplied by.
    FD_HD double scale(double norm) const {
        const double inside = norm < low ? low : norm > high ? high : norm;
        return (rate * inside + (1 - rate) * norm) / (1e-7 + norm);
    }
    template <class T>
    FD_HD static T non_negative(T w) {
        return w < T(0) ? T(0) : w;  // keeps NaN
    }
    // Of `signs`: an element whose sign must not be another than `sign`, -1 or 1, or any if that is 0.
    template <class T>
    FD_HD static T of_sign(T w, int sign) {
        return T(sign) * w < T(0) ? T(0) : w;
    }
};

}  // namespace fd::ops
