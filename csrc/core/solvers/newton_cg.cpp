// Truncated Newton: conjugate gradients inside a trust region (Steihaug 1983; Nocedal & Wright 2006, algorithms 4.1 and 7.2).
#include <algorithm>
#include <cmath>

#include "core/solvers/solver.h"

namespace fd {
namespace {

constexpr int most_regions = 30;     // tried in one iteration
constexpr double least_gain = 1e-4;  // of a step that is taken
constexpr double largest_radius = 1e6;

class NewtonCg final : public Solver {
public:
    NewtonCg(const SolverOptions& o, int64_t n) : Solver(o, n, 0, 1) {}

private:
    double& radius() { return numbers[0]; }  // 0: not chosen yet

    Result step(Objective& f) override {
        const size_t n = size_t(size);
        for (auto* v : {&p_, &hp_, &r_, &d_, &hd_, &trial_, &trial_g_}) v->resize(n);
        double region = radius() > 0 ? radius() : options.radius;
        for (int k = 0; k < most_regions; ++k) {
            bool on_boundary = false;
            if (!subproblem(f, region, on_boundary)) return back(f, Result::interrupted);
            const double expected = -(dot(g_, p_) + 0.5 * dot(p_, hp_));
            add_scaled(1, p_, x_, trial_);
            f.write(trial_.data());
            double loss = 0;
            if (!f.evaluate(loss, trial_g_.data())) return back(f, Result::interrupted);
            const double noise = 2 * f.unit() * std::fabs(loss_), fall = loss_ - loss;
            // where rounding hides the fall, the gradient decides
            const bool hidden = expected <= noise && fall >= -noise && dot(trial_g_, trial_g_) < dot(g_, g_);
            const double gain = !(expected > 0) ? -1 : hidden ? 1 : fall / expected;
            const double length = std::sqrt(dot(p_, p_));
            const bool good = gain > least_gain && std::isfinite(largest(trial_g_));
            if (!(gain >= 0.1)) region = 0.25 * length;
            else if (gain > 0.5 && on_boundary) region = std::min(2 * region, largest_radius);
            if (good) {
                std::swap(x_, trial_), std::swap(g_, trial_g_);
                loss_ = loss;
                radius() = region;
                return Result::moved;
            }
            f.write(x_.data());
        }
        return back(f, Result::stuck);
    }

    // p about minimises g·p + ½ p·H p with |p| <= region; hp = H p. False: stopped.
    bool subproblem(Objective& f, double region, bool& on_boundary) {
        f.write(x_.data());
        std::fill(p_.begin(), p_.end(), 0.0), std::fill(hp_.begin(), hp_.end(), 0.0);
        r_ = g_;
        for (size_t i = 0; i < d_.size(); ++i) d_[i] = -g_[i];
        double squared = dot(r_, r_);
        const double norm = std::sqrt(squared), enough = std::min(0.5, std::sqrt(norm)) * norm;
        for (int64_t k = 0; k < options.cg_steps && std::sqrt(squared) > enough; ++k) {
            if (!f.product(d_.data(), hd_.data())) return false;
            const double curvature = dot(d_, hd_), step = squared / curvature;
            add_scaled(step, d_, p_, trial_);
            on_boundary = !(curvature > 0) || dot(trial_, trial_) >= region * region;
            if (on_boundary) {
                const double to = to_boundary(region);
                add_scaled(to, d_, p_, p_), add_scaled(to, hd_, hp_, hp_);
                return true;
            }
            std::swap(p_, trial_);
            add_scaled(step, hd_, hp_, hp_), add_scaled(step, hd_, r_, r_);
            const double next = dot(r_, r_);
            for (size_t i = 0; i < d_.size(); ++i) d_[i] = next / squared * d_[i] - r_[i];
            squared = next;
        }
        return true;
    }

    double to_boundary(double region) const {  // t > 0 with |p + t d| = region
        const double a = dot(d_, d_), b = dot(p_, d_), c = dot(p_, p_) - region * region;
        return (-b + std::sqrt(std::max(b * b - a * c, 0.0))) / a;
    }

    std::vector<double> p_, hp_, r_, d_, hd_, trial_, trial_g_;
};

}  // namespace

std::unique_ptr<Solver> make_newton_cg(const SolverOptions& options, int64_t size) {
    return std::make_unique<NewtonCg>(options, size);
}

}  // namespace fd
