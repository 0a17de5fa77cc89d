// Levenberg-Marquardt: Madsen, Nielsen & Tingleff, Methods for Non-Linear Least Squares Problems (2004), algorithm 3.16.
#include <algorithm>
#include <cmath>

#include "core/solvers/solver.h"

namespace fd {
namespace {

constexpr int most_dampings = 40;  // tried in one iteration
constexpr double floor = 1e-16;    // of the damping, relative to the largest diagonal element: below it does nothing

class LevenbergMarquardt final : public Solver {
public:
    LevenbergMarquardt(const SolverOptions& o, int64_t n) : Solver(o, n, 0, 2) { nu() = 2; }

private:
    double& mu() { return numbers[0]; }  // 0: not chosen yet
    double& nu() { return numbers[1]; }

    bool measure(Objective& f) override {
        matrix_.resize(size_t(size * size));
        return f.normal_equations(loss_, matrix_.data(), g_.data());
    }

    Result step(Objective& f) override {
        const size_t n = size_t(size);
        double most = 0;
        for (size_t i = 0; i < n; ++i) most = std::max(most, matrix_[i * n + i]);
        double damping = mu(), rise = nu();
        if (damping == 0) damping = options.damping * most, rise = 2;
        factor_.resize(n * n), h_.resize(n), trial_.resize(n);
        for (int k = 0; k < most_dampings && damping <= 1e12 * most; ++k, damping *= rise, rise *= 2) {
            std::copy(matrix_.begin(), matrix_.end(), factor_.begin());
            for (size_t i = 0; i < n; ++i) factor_[i * n + i] += damping, h_[i] = -g_[i];
            const Solved solved = f.solve(factor_.data(), h_.data());
            if (solved == Solved::stopped) return back(f, Result::interrupted);
            if (solved == Solved::not_positive_definite) continue;
            add_scaled(1, h_, x_, trial_);
            f.write(trial_.data());
            double loss = 0;
            if (!f.evaluate(loss, nullptr)) return back(f, Result::interrupted);
            const double expected = 0.5 * (damping * dot(h_, h_) - dot(h_, g_));
            const double gain = expected > 0 ? (loss_ - loss) / expected : -1;
            if (!(gain > 0)) continue;  // also if it is no number
            const double before = loss_;
            std::swap(x_, trial_);
            if (!measure(f)) {
                std::swap(x_, trial_);
                loss_ = before;
                return back(f, Result::interrupted);
            }
            const double excess = 2 * gain - 1;
            mu() = std::max(damping * std::max(1.0 / 3, 1 - excess * excess * excess), floor * most);
            nu() = 2;
            return Result::moved;
        }
        return back(f, Result::stuck);
    }

    std::vector<double> matrix_, factor_, h_, trial_;
};

}  // namespace

std::unique_ptr<Solver> make_levenberg_marquardt(const SolverOptions& options, int64_t size) {
    return std::make_unique<LevenbergMarquardt>(options, size);
}

}  // namespace fd
