// A number and its derivative along some direction: a formula that is given one for each of its operands yields both of its
// result. So the second derivative of an activation follows from the first, which is written in activations.h.
#pragma once
#include "ops/hd.h"

namespace fd::ops {

struct Dual {
    double value, slope;
    FD_HD explicit Dual(double v, double d = 0) : value(v), slope(d) {}
};

FD_HD Dual operator-(Dual a) { return Dual(-a.value, -a.slope); }
FD_HD Dual operator+(Dual a, Dual b) { return Dual(a.value + b.value, a.slope + b.slope); }
FD_HD Dual operator-(Dual a, Dual b) { return Dual(a.value - b.value, a.slope - b.slope); }
FD_HD Dual operator*(Dual a, Dual b) { return Dual(a.value * b.value, a.slope * b.value + a.value * b.slope); }
FD_HD Dual operator/(Dual a, Dual b) {
    const double q = a.value / b.value;
    return Dual(q, (a.slope - q * b.slope) / b.value);
}
FD_HD bool operator<(Dual a, Dual b) { return a.value < b.value; }
FD_HD bool operator>(Dual a, Dual b) { return a.value > b.value; }
FD_HD bool operator<=(Dual a, Dual b) { return a.value <= b.value; }
FD_HD bool operator>=(Dual a, Dual b) { return a.value >= b.value; }
FD_HD Dual select(bool c, Dual a, Dual b) { return c ? a : b; }
FD_HD Dual vexp(Dual x) {
    const double e = vexp(x.value);
    return Dual(e, e * x.slope);
}
FD_HD Dual vexpm1(Dual x) { return Dual(vexpm1(x.value), vexp(x.value) * x.slope); }
FD_HD Dual vtanh(Dual x) {
    const double t = vtanh(x.value);
    return Dual(t, (1 - t * t) * x.slope);
}
FD_HD Dual vsqrt(Dual x) {
    const double s = vsqrt(x.value);
    return Dual(s, 0.5 * x.slope / s);
}
FD_HD Dual vabs(Dual x) { return Dual(vabs(x.value), vsign(x.value) * x.slope); }
FD_HD Normal<Dual> vnormal(Dual z) {
    const Normal<double> at = vnormal(z.value);
    return {Dual(at.cdf, 0.39894228040143267794 * at.bell * z.slope), Dual(at.bell, -z.value * at.bell * z.slope)};
}
FD_HD Dual vsigmoid(Dual x) {
    const double s = vsigmoid(x.value);
    return Dual(s, s * (1 - s) * x.slope);
}
FD_HD Dual vsoftplus(Dual x) { return Dual(vsoftplus(x.value), vsigmoid(x.value) * x.slope); }

}  // namespace fd::ops
