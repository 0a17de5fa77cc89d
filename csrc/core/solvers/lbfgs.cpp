// Limited-memory BFGS: Nocedal & Wright, Numerical Optimization (2006), algorithms 7.4 and 7.5, with a line search for the
// strong Wolfe conditions after their algorithms 3.5 and 3.6, in one loop.
#include <algorithm>
#include <cmath>

#include "core/solvers/solver.h"

namespace fd {
namespace {

constexpr double decrease = 1e-4, curvature = 0.9;  // the two Wolfe constants
constexpr double edge = 0.1;                        // a trial stays so far, relative, from the ends of its interval
constexpr double growth = 4;                        // while no interval is known

struct Point {
    double step = 0, loss = 0, slope = 0;
    bool finite = true;
};

// Minimum of the cubic through two points with their derivatives, kept inside the interval between them.
double between(const Point& lo, const Point& hi) {
    const double width = hi.step - lo.step;
    double at = 0.5;
    if (!hi.finite) {
        at = edge;
    } else {
        const double d1 = lo.slope + hi.slope - 3 * (lo.loss - hi.loss) / (lo.step - hi.step);
        const double square = d1 * d1 - lo.slope * hi.slope;
        if (square >= 0) {
            const double d2 = std::copysign(std::sqrt(square), width);
            const double share = 1 - (hi.slope + d2 - d1) / (hi.slope - lo.slope + 2 * d2);
            if (std::isfinite(share)) at = std::clamp(share, edge, 1 - edge);
        }
    }
    return lo.step + at * width;
}

class Lbfgs final : public Solver {
public:
    Lbfgs(const SolverOptions& o, int64_t n) : Solver(o, n, int(2 * o.history_size), 2) {}

private:
    // Pairs lie in a ring: s in vectors[2 k], y in vectors[2 k + 1].
    double& pairs() { return numbers[0]; }
    double& next() { return numbers[1]; }
    size_t pair(int64_t age) {  // 0: the newest
        const int64_t m = options.history_size;
        return size_t(2 * ((int64_t(next()) - 1 - age + 2 * m) % m));
    }

    Result step(Objective& f) override {
        const size_t n = size_t(size);
        f_unit_ = f.unit();
        p_.resize(n), trial_.resize(n), trial_g_.resize(n);
        if (options.history_size > 0)  // the pair to be remembered: nothing is allocated once the parameters have moved
            for (size_t i : {0, 1}) vectors[size_t(2 * next()) + i].resize(n);
        for (;;) {
            direction();
            const double slope = dot(g_, p_);
            if (slope < 0) {
                const double first = pairs() > 0 ? 1 : std::min(1.0, 1 / std::sqrt(dot(g_, g_)));
                const Result r = search(f, slope, first);
                if (r == Result::moved) break;
                if (r == Result::interrupted) return back(f, r);
            }
            if (pairs() == 0) return back(f, Result::stuck);
            pairs() = 0;  // what was learned misleads: begin again with the gradient
        }
        add_scaled(-1, x_, trial_, p_);    // s
        add_scaled(-1, g_, trial_g_, g_);  // y
        remember(p_, g_);
        std::swap(x_, trial_), std::swap(g_, trial_g_);
        loss_ = trial_loss_;
        return Result::moved;
    }

    // p = -H g, H the inverse curvature that the pairs describe.
    void direction() {
        for (size_t i = 0; i < p_.size(); ++i) p_[i] = -g_[i];
        const int64_t count = int64_t(pairs());
        if (!count) return;
        std::vector<double> alpha(static_cast<size_t>(count)), rho(static_cast<size_t>(count));
        for (int64_t k = 0; k < count; ++k) {
            const auto &s = vectors[pair(k)], &y = vectors[pair(k) + 1];
            rho[size_t(k)] = 1 / dot(s, y);
            alpha[size_t(k)] = rho[size_t(k)] * dot(s, p_);
            add_scaled(-alpha[size_t(k)], y, p_, p_);
        }
        const auto &s = vectors[pair(0)], &y = vectors[pair(0) + 1];
        const double scale = dot(s, y) / dot(y, y);
        for (double& v : p_) v *= scale;
        for (int64_t k = count - 1; k >= 0; --k) {
            const auto &s_k = vectors[pair(k)], &y_k = vectors[pair(k) + 1];
            add_scaled(alpha[size_t(k)] - rho[size_t(k)] * dot(y_k, p_), s_k, p_, p_);
        }
    }

    // Moved: trial_, its loss and its gradient fulfil the conditions, or at least the first of them.
    Result search(Objective& f, double slope, double step) {
        Point lo{0, loss_, slope}, hi;
        bool bracketed = false;
        const double noise = 2 * f.unit() * std::fabs(loss_);  // differences below it are none
        auto look = [&](double at, Point& p) {
            add_scaled(at, p_, x_, trial_);
            f.write(trial_.data());
            if (!f.evaluate(trial_loss_, trial_g_.data())) return false;
            p = {at, trial_loss_, dot(trial_g_, p_)};
            p.finite = std::isfinite(p.loss) && std::isfinite(p.slope);
            return true;
        };
        for (int64_t k = 0; k < options.line_search_steps; ++k) {
            Point now;
            if (!look(step, now)) return Result::interrupted;
            const bool too_far = !now.finite || now.loss > loss_ + decrease * step * slope + noise ||
                                 (lo.step > 0 && now.loss >= lo.loss);
            if (!too_far && std::fabs(now.slope) <= -curvature * slope) return Result::moved;
            if (too_far) {
                hi = now;
                bracketed = true;
            } else {
                if (now.slope * (bracketed ? hi.step - lo.step : 1) >= 0) hi = lo, bracketed = true;
                lo = now;
            }
            step = bracketed ? between(lo, hi) : growth * step;
        }
        if (lo.step == 0) return Result::stuck;
        return look(lo.step, lo) ? Result::moved : Result::interrupted;
    }

    void remember(const std::vector<double>& s, const std::vector<double>& y) {
        if (options.history_size == 0) return;
        if (!(dot(s, y) > f_unit_ * std::sqrt(dot(s, s) * dot(y, y)))) return;  // no curvature beyond rounding
        vectors[size_t(2 * next())] = s, vectors[size_t(2 * next()) + 1] = y;
        next() = double((int64_t(next()) + 1) % options.history_size);
        pairs() = std::min(pairs() + 1, double(options.history_size));
    }

    std::vector<double> p_, trial_, trial_g_;
    double trial_loss_ = 0, f_unit_ = 0;
};

}  // namespace

std::unique_ptr<Solver> make_lbfgs(const SolverOptions& options, int64_t size) {
    return std::make_unique<Lbfgs>(options, size);
}

}  // namespace fd
