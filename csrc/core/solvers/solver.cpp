#include "core/solvers/solver.h"

#include <algorithm>
#include <cmath>

namespace fd {

double dot(const std::vector<double>& a, const std::vector<double>& b) {
    double s[8] = {};
    const size_t n = a.size(), whole = n / 8 * 8;
    for (size_t i = 0; i < whole; i += 8)
        for (size_t k = 0; k < 8; ++k) s[k] += a[i + k] * b[i + k];
    for (size_t i = whole; i < n; ++i) s[i - whole] += a[i] * b[i];
    return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

double largest(const std::vector<double>& a) {
    double most = 0;
    for (double v : a) {
        if (!(v == v)) return v;
        most = std::max(most, std::fabs(v));
    }
    return most;
}

void add_scaled(double a, const std::vector<double>& x, const std::vector<double>& y, std::vector<double>& out) {
    for (size_t i = 0; i < x.size(); ++i) out[i] = a * x[i] + y[i];
}

bool Solver::measure(Objective& f) { return f.evaluate(loss_, g_.data()); }

bool Solver::iterate(Objective& f) {
    ended_.clear();
    if (!known_) {
        x_.resize(size_t(size)), g_.resize(size_t(size));
        f.read(x_.data());
        if (!measure(f)) return false;
        known_ = true;
    }
    if (!std::isfinite(loss_) || !std::isfinite(largest(g_))) {
        ended_ = "nonfinite";
        return true;
    }
    const double before = loss_;
    first_x_ = x_, first_numbers_ = numbers;
    Result result;
    try {
        result = step(f);
    } catch (...) {  // no memory: the iteration was not made
        x_ = first_x_, numbers = first_numbers_;
        f.write(x_.data());
        known_ = false;
        throw;
    }
    switch (result) {
        case Result::moved: finish(before); break;
        case Result::stuck: ended_ = largest(g_) <= options.gtol ? "gradient" : "stuck"; break;
        case Result::interrupted: known_ = false; return false;
    }
    return true;
}

Solver::Result Solver::back(Objective& f, Result result) {
    f.write(x_.data());
    if (result == Result::interrupted) return result;
    return measure(f) ? result : Result::interrupted;
}

void Solver::finish(double before) {
    if (largest(g_) <= options.gtol) ended_ = "gradient";
    else if (before - loss_ <= options.ftol * std::max(std::fabs(before), std::fabs(loss_))) ended_ = "loss";
}

std::unique_ptr<Solver> make_solver(const Training& t, int64_t size) {
    switch (t.optimizer) {
        case ops::Optimizer::lbfgs: return make_lbfgs(t.solver, size);
        case ops::Optimizer::levenberg_marquardt: return make_levenberg_marquardt(t.solver, size);
        case ops::Optimizer::newton_cg: return make_newton_cg(t.solver, size);
        default: throw InvalidArgument("optimizer: '" + std::string(t.optimizer_name()) + "' is no full-batch solver");
    }
}

}  // namespace fd
