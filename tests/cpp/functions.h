// Ops whose formula is the caller's, here in C++.
#pragma once
#include "core/function.h"
#include "subject.h"

namespace {

template <class T>
void compute(const FunctionCall& c) {  // w tanh(x) + shift, of the same width; w is trained
    const auto numbers = [](const void* p) { return static_cast<const T*>(p); };
    const auto room = [](void* p) { return static_cast<T*>(p); };
    const T *w = numbers(c.weights[0]), *shift = numbers(c.weights[1]), *x = numbers(c.x);
    for (int64_t i = 0; i < c.rows * c.in; ++i) {
        const int64_t k = i % c.in;
        const T a = std::tanh(x[i]);
        if (!c.backward) {
            room(c.y)[i] = w[k] * a + shift[k];
            continue;
        }
        const T dy = numbers(c.dy)[i];
        if (c.dx) room(c.dx)[i] = dy * w[k] * (1 - a * a);
        if (!c.gradients[0]) continue;
        if (i < c.in) room(c.gradients[0])[k] = 0;
        room(c.gradients[0])[k] += dy * a;
    }
}

// `calls` counts down; at 0 the function says stop.
Op function_op(int64_t units, const std::shared_ptr<int64_t>& calls = std::make_shared<int64_t>(-1)) {
    Op o = op(OpKind::function);
    o.units = units;
    o.weights = {{{units}, true, 0.01, 0.02, {}}, {{1, units}, false, 0, 0, {}}};
    o.function = std::make_shared<const Function>([calls](const FunctionCall& c) {
        if (*calls > 0 && --*calls == 0) return false;
        c.dtype == DType::f32 ? compute<float>(c) : compute<double>(c);
        return true;
    });
    return o;
}

Net with_functions(const std::shared_ptr<int64_t>& calls = std::make_shared<int64_t>(-1)) {
    return {function_op(5, calls), dense(6, Activation::tanh), op(OpKind::batch_norm), function_op(6, calls), dense(3)};
}

// Wherever a function says stop, the net is that of the last finished step.
template <class T>
void functions_stop() {
    const auto calls = std::make_shared<int64_t>(-1);
    Subject<T> left(5, with_functions(calls), training(ops::Loss::mse, "adam"));
    Subject<T> fresh(5, with_functions(), training(ops::Loss::mse, "adam"));
    const Data<T> d(40, 5, 3, false, 1);
    const std::vector<double> rates(6, 0.01);
    TrainRequest r;
    r.train = d.set, r.step_rates = rates.data(), r.steps = 6, r.batch_size = 20, r.threads = 2, r.shuffle = false;
    int64_t finished = 0;
    for (int64_t patience = 1; patience <= 12; ++patience) {
        std::vector<double> before, after;
        *calls = patience;
        r.steps = 6, r.first_batch = finished % 2;
        const TrainOutcome run = trained(*left.net, r);
        *calls = -1;
        check(run.interrupted, "functions stop: interrupted");
        for (int64_t step = 0; step < run.steps; ++step) {
            r.steps = 1, r.first_batch = (finished + step) % 2;
            trained(*fresh.net, r);
        }
        finished += run.steps;
        left.state(after), fresh.state(before);
        check(same(before, after), "functions stop: after " + std::to_string(patience));
    }
    check(finished > 6, "functions stop: steps between");
}

}  // namespace
