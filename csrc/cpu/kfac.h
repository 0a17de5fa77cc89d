// K-FAC: Kronecker factors of a layer's curvature, and the step that they make of its gradient. Run by the whole team.
#pragma once
#include <vector>

#include "core/parallel.h"
#include "core/plan.h"
#include "cpu/kernels.h"
#include "cpu/memory.h"

namespace fd::cpu {

// For every dense op two factors: A, the second moments of its inputs and a constant 1, and G, those of the gradient of its
// pre-activations, scaled to a mean diagonal of 1. A step changes the pre-activations by the learning rate's share of their
// spread over the rows, whatever the size of the gradient.
template <class T>
class Kfac {
public:
    Kfac(const Plan& plan, const Training& training);

    bool due(int64_t step) const { return step < interval_ || step % interval_ == 0; }
    // Takes a batch into the factors of an op: its inputs x (rows, in), the gradient d (rows, out) of its pre-activations.
    void observe(const Worker&, const Op&, const T* x, const T* d, int64_t rows, const T* kernel);
    void invert(const Worker&);  // after the last observe() of a step, and before a step if !ready()
    // Gradients become steps, for learning rate 1: of a dense op, and of any other tensor (scaled to a mean square of 1).
    void precondition(const Worker&, const Op&, T* kernel_gradient, T* bias_gradient);
    void scale(const Worker&, T* gradient, int64_t n) const;

    bool ready() const { return ready_; }
    void numbers_changed() { ready_ = false; }  // from outside
    // All that a file must hold: of each dense op the spread of its pre-activations, A and G.
    std::vector<double> numbers;

private:
    struct Layer {
        int64_t in = 0, out = 0, side = 0;  // side: of the inverse of A: in, and 1 if there is a bias
        int64_t place = 0;                  // in numbers
        Buffer<T> inverse_a, inverse_g;
    };
    Layer& layer(const Op& op) { return layers_[size_t(at_[size_t(op.kernel)])]; }
    double* spread(const Layer& l) { return numbers.data() + l.place; }
    double* a(const Layer& l) { return numbers.data() + l.place + 1; }
    double* g(const Layer& l) { return a(l) + (l.in + 1) * (l.in + 1); }
    void invert_factor(const double* factor, int64_t ld, int64_t n, double ridge, double* work, T* out);

    static constexpr int runs = 4;  // of inversions: each has its own scratch
    const Kernels<T>& k_;
    int64_t interval_;
    double keep_, input_damping_, output_damping_;
    bool ready_ = false;
    std::vector<int> at_;  // per tensor: which layer has it as its kernel
    std::vector<Layer> layers_;
    Buffer<T> left_, right_, square_;
    Buffer<double> work_[runs];
};

}  // namespace fd::cpu
