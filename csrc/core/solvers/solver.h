// Optimizers that take the whole data set at once and decide by its loss how far to go. On no device: they work on one flat
// vector of all trainable parameters, in double, and ask an Objective for everything that needs the net or the data.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/plan.h"
#include "core/stop.h"

namespace fd {

class Objective {
public:
    virtual ~Objective() = default;
    virtual int64_t size() const = 0;
    virtual double unit() const = 0;         // unit roundoff of the net's type
    virtual void read(double* w) const = 0;  // the parameters
    virtual void write(double* w) = 0;  // sets them; what was rounded away to fit the net's type is gone from w, too
    // Loss over the data, penalties included, and its gradient. False: the poll said stop, and the results mean nothing.
    virtual bool evaluate(double& loss, double* gradient) = 0;
    // The same, and the Gauss-Newton matrix of the mean squared error, curvature of l2 penalties included: (size, size),
    // row-major, of which the lower triangle counts.
    virtual bool normal_equations(double& loss, double* matrix, double* gradient) = 0;
    // Solves matrix · h = h in place, by Cholesky, which overwrites the matrix.
    virtual Solved solve(double* matrix, double* h) = 0;
    // out = the Gauss-Newton matrix of the loss, curvature of l2 penalties included, at the parameters, times v.
    virtual bool product(const double* v, double* out) = 0;
};

class Solver {
public:
    Solver(const SolverOptions& options, int64_t size, int vectors, int numbers)
        : options(options), size(size), vectors(size_t(vectors)), numbers(size_t(numbers)) {}
    virtual ~Solver() = default;
    void begin() { known_ = false; }  // data or parameters may be others than before
    // One iteration. Afterwards the objective's last evaluation was at its parameters. False, or an exception: stopped half-way,
    // and the parameters and the state are as before.
    bool iterate(Objective&);
    double loss() const { return loss_; }
    // Why more iterations are of no use: "gradient" (all of it is below gtol), "loss" (it fell by less than ftol of itself), "stuck"
    // (no step makes it smaller: what is left is rounding), "nonfinite" (it is no number where training began), or "".
    const std::string& ended() const { return ended_; }

    const SolverOptions options;
    const int64_t size;  // of the vector of parameters
    // What a file must hold to continue: vectors as long as the parameters (empty: zeros), and a few numbers.
    std::vector<std::vector<double>> vectors;
    std::vector<double> numbers;

protected:
    enum class Result { moved, stuck, interrupted };
    virtual Result step(Objective&) = 0;       // from x_, with loss_ and g_ known, to another x_, loss_ and g_
    virtual bool measure(Objective& f);        // loss_ and g_ at x_
    Result back(Objective& f, Result result);  // puts x_ back into the net and evaluates there
    void finish(double loss_before);           // sets ended_ after a step

    std::vector<double> x_, g_;
    double loss_ = 0;
    std::string ended_;

private:
    bool known_ = false;
    std::vector<double> first_x_, first_numbers_;  // as they were before the current iteration
};

std::unique_ptr<Solver> make_lbfgs(const SolverOptions&, int64_t size);
std::unique_ptr<Solver> make_levenberg_marquardt(const SolverOptions&, int64_t size);
std::unique_ptr<Solver> make_newton_cg(const SolverOptions&, int64_t size);
std::unique_ptr<Solver> make_solver(const Training&, int64_t size);

// Sums run in eight strands, so that they need no reordering by the compiler.
double dot(const std::vector<double>& a, const std::vector<double>& b);
double largest(const std::vector<double>& a);  // of the magnitudes; NaN if one is NaN
// out = a x + y
void add_scaled(double a, const std::vector<double>& x, const std::vector<double>& y, std::vector<double>& out);

}  // namespace fd
