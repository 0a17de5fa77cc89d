// The gradient of Σ d_out · f(x) + Σ d_jacobian · J(x), J the derivative of the outputs f by the inputs: a batch goes forward with
// its derivatives along some directions, its tangents, and both go back (Pearlmutter 1994; inference mode).
#pragma once
#include <string>
#include <vector>

#include "core/parallel.h"
#include "core/plan.h"
#include "core/stop.h"
#include "cpu/simd/kernels.h"
#include "cpu/state.h"

namespace fd::cpu {

template <class T>
class Tangents {
public:
    Tangents(const Plan& plan, const State<T>& state, Stop& stop);

    // Why this net has none: its first op that is not known here; "" if all are.
    std::string refuses() const;
    void reserve(int64_t rows);
    // By the whole team. Gradients of the inputs go to d_x, (rows, inputs), those of all trainable tensors to the state. While
    // the Stop watches a poll, that is asked between ops and within them; stopped, the results mean nothing.
    void run(const Worker&, const View& x, const View& d_out, const View& d_jacobian, T* d_x);

private:
    const Op& op(int i) const { return plan_.ops[size_t(i)]; }
    const T* parameter(int tensor) const { return at(state_.parameters, tensor); }
    const T* statistic(int tensor) const { return at(state_.statistics, tensor); }
    T* gradient(int tensor) const { return at(state_.gradients, tensor); }
    T* at(const Buffer<T>& flat, int tensor) const {
        return tensor < 0 ? nullptr : flat.get() + plan_.tensors[size_t(tensor)].offset;
    }
    T* d(int i) const { return d_[size_t(i + 1)].get(); }  // of op i's output; -1: of the input
    const T* values(int i) const { return i < 0 ? x_.get() : values_[size_t(i)]; }
    bool computes(int i) const;
    bool bends(int i) const { return op(i).has_activation() && op(i).activation != ops::Activation::linear; }

    void begin(const Worker&, const View& x, const View& d_out, const View& d_jacobian);
    void forward(const Worker&, int i);
    void activate(const Worker&, int i, const T* z);
    void backward(const Worker&, int i);
    void activate_backward(const Worker&, int i, const T* z, T* grad);
    template <class F>
    void each_row(const Worker& w, int64_t rows, F&& body);

    const Plan& plan_;
    const State<T>& state_;
    Stop& stop_;
    const Kernels<T>& k_;
    const int last_;
    const int64_t groups_;  // of tangents
    int64_t rows_ = 0;      // of the batch; buffers hold those of its tangents behind them
    Buffer<T> x_;
    std::vector<Buffer<T>> z_, a_, d_;            // per op; d_ is shifted by one
    std::vector<Buffer<double>> first_, second_;  // derivatives of the activation at each row of the batch
    std::vector<const T*> values_;                // outputs
};

}  // namespace fd::cpu
