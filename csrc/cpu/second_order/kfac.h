// K-FAC: Kronecker factors of a layer's curvature, and the step that they make of its gradient. Run by the whole team.
#pragma once
#include <vector>

#include "core/parallel.h"
#include "core/plan.h"
#include "core/stop.h"
#include "cpu/memory.h"
#include "cpu/simd/kernels.h"

namespace fd::cpu {

// For every dense op z = x W + b, two factors: C, the covariance of its inputs, and G, the second moments of the gradient of
// z, scaled to a mean diagonal of 1. Inputs count from their mean over the current batch, z = (x - m) W + c, so that a mean
// that moves, or is large, makes no difference. A step changes z by the learning rate times its standard deviation over the rows,
// whatever the size of the gradient. Stopped by `stop`, what a method leaves means nothing: the caller puts `numbers` back, and calls
// numbers_changed().
template <class T>
class Kfac {
public:
    Kfac(const Plan& plan, const Training& training);

    void reserve(int64_t rows) { change_.reserve(rows * widest_); }  // of a batch
    bool due(int64_t step) const { return step < interval_ || step % interval_ == 0; }
    void centre(const Worker&, const Op&, const T* x, int64_t rows);  // every step: the means of an op's inputs
    // Then updates the factors by the batch: x (rows, in), the gradient d (rows, out) of z.
    void observe(Stop&, const Worker&, const Op&, const T* x, const T* d, int64_t rows, const T* kernel);
    void invert(Stop&, const Worker&);  // after the last observe() of a step, and before a step if !ready()
    void centre_gradient(const Stop&, const Worker&, const Op&, T* kernel_gradient,
                         const T* bias_gradient);  // to that of W at fixed c
    // Centred gradients become steps, for learning rate 1: of a dense op, and of any other tensor (scaled to a mean square
    // of 1).
    void precondition(Stop&, const Worker&, const Op&, T* kernel_gradient, T* bias_gradient);
    void scale(const Worker&, T* gradient, int64_t n) const;

    bool ready() const { return ready_; }
    void numbers_changed() { ready_ = false; }  // from outside
    // All that a file must hold: of each dense op the spread of z, what damping refers to, C and G.
    std::vector<double> numbers;

private:
    struct Layer {
        int64_t in = 0, out = 0;
        int64_t place = 0;                             // in numbers
        const T* x = nullptr;                          // of the current batch
        Buffer<T> inverse_c, inverse_g, means, shift;  // shift: of c by the mean, or what a mean without a bias needs
    };
    Layer& layer(const Op& op) { return layers_[size_t(at_[size_t(op.kernel)])]; }
    double* spread(const Layer& l) { return numbers.data() + l.place; }
    double* variance(const Layer& l) { return spread(l) + 1; }
    double* c(const Layer& l) { return spread(l) + 2; }
    double* g(const Layer& l) { return c(l) + l.in * l.in; }
    void invert_factor(Stop&, const Worker&, const double* factor, int64_t n, double ridge, double* work, T* out);

    static constexpr int runs = 4;  // of inversions: each has its own scratch
    const Kernels<T>& k_;
    int64_t interval_;
    double keep_, input_damping_, output_damping_;
    bool ready_ = false;
    std::vector<int> at_;  // per tensor: which layer has it as its kernel
    std::vector<Layer> layers_;
    int64_t widest_ = 0, rows_ = 0;  // rows of the current batch
    Buffer<T> left_, right_, square_, change_;
    Buffer<double> work_[runs];
};

}  // namespace fd::cpu
