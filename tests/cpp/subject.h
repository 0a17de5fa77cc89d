// Nets, data and checks for core_test.cpp.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>
#include "core/backend.h"
#include "cpu/blas/gemm.h"
#include "cpu/simd/kernels.h"
#include "ops/rng.h"

namespace {

using namespace fd;
using Activation = ops::Activation;
using Net = std::vector<Op>;

int passed = 0, failed = 0;

void check(bool ok, const std::string& what) {
    ++(ok ? passed : failed);
    if (!ok) std::printf("FAILED: %s\n", what.c_str());
}
TrainOutcome trained(Backend& net, const TrainRequest& request) {
    TrainOutcome outcome;
    net.train(request, outcome);
    return outcome;
}
template <class Error, class F>
void throws(const std::string& what, F&& body) {
    try {
        body();
    } catch (const Error&) {
        return check(true, what);
    } catch (...) {}
    check(false, what);
}

Op op(OpKind kind) {
    Op o;
    o.kind = kind;
    o.alpha = 0.3, o.rate = 0.4, o.momentum = 0.9, o.epsilon = 1e-3;
    return o;
}
Op dense(int64_t units, Activation a = Activation::linear) {
    Op o = op(OpKind::dense);
    o.units = units;
    o.activation = a;
    return o;
}
Op activation(Activation a) {
    Op o = op(OpKind::activation);
    o.activation = a;
    return o;
}

constexpr int losses = int(std::size(ops::loss_names));
const char* const optimizers[] = {"sgd", "rmsprop", "adagrad", "adadelta", "adam", "nadam", "lion", "muon"};

Training training(ops::Loss loss = ops::Loss::mse, const std::string& optimizer = "sgd", bool all_metrics = false) {
    Training t;
    t.loss = loss;
    t.loss_param = 0.3;
    t.optimizer = ops::Optimizer(find_name("optimizer", ops::optimizer_names, optimizer));
    ops::Hyper& h = t.hyper;
    h.rho = 0.9, h.beta_1 = 0.9, h.beta_2 = 0.99, h.epsilon = 1e-4, h.initial_accumulator_value = 0.1;
    h.ns_steps = 5, h.ns_a = 3.4445, h.ns_b = -4.775, h.ns_c = 2.0315, h.rms_rate = 0.2, h.adam_lr_ratio = 0.5;
    for (int k = 0; all_metrics && k < int(std::size(ops::metric_names)); ++k)
        for (bool multiclass : {false, true}) t.metrics.push_back({Metric::Kind(k), 2, 0.5, multiclass});
    return t;
}

// A head of three classes and one of a number, whose targets and weights are as many columns as the net has outputs.
Net headed(int64_t width) {
    Op join = op(OpKind::branches_end), soft = dense(3, Activation::softmax);
    join.merge = ops::Merge::concatenate, soft.activity_l2 = 0.1;
    return {dense(width, Activation::tanh), op(OpKind::branches_begin), soft, op(OpKind::branch_next), dense(1), join};
}

Training heads(bool all_metrics = false) {
    Training t = training(ops::Loss::mse, "adam");
    Head classes, number;
    classes.loss = ops::Loss::sparse_categorical_crossentropy;
    classes.cols = 3, classes.targets = 1, classes.weight = 0.5;
    number.cols = number.targets = 1;
    t.heads = {classes, number};
    t.place_heads();
    for (int h = 0; all_metrics && h < 2; ++h)
        for (Metric::Kind kind : {Metric::Kind::sparse_categorical_accuracy, Metric::Kind::precision}) {
            Metric m;
            m.kind = kind, m.head = h, m.is_loss = h && kind == Metric::Kind::precision;
            t.metrics.push_back(m);
        }
    return t;
}

// Numbers of a fixed stream that does not depend on the standard library.
struct Random {
    uint64_t seed, count = 0;
    double uniform() { return ops::uniform(seed, 0, count++); }
    double normal() { return ops::normal(seed, 1, count++, false); }
};

template <class T>
constexpr DType dtype_of = sizeof(T) == 4 ? DType::f32 : DType::f64;

template <class T>
View view(const std::vector<T>& v, int64_t cols, DType dtype = dtype_of<T>) {
    return {reinterpret_cast<const char*>(v.data()),
            dtype,
            int64_t(v.size()) / cols,
            cols,
            cols * int64_t(sizeof(T)),
            int64_t(sizeof(T))};
}

template <class T>
struct Data {
    std::vector<T> x, y;
    std::vector<int32_t> labels;
    std::vector<double> weights;
    Dataset set;
    Data(int64_t rows, int64_t inputs, int64_t outputs, bool sparse, uint64_t seed, bool weighted = true) {
        Random r{seed};
        for (int64_t i = 0; i < rows * inputs; ++i) x.push_back(T(r.normal()));
        for (int64_t i = 0; i < rows * outputs; ++i) y.push_back(T(0.1 + 0.8 * r.uniform()));
        for (int64_t i = 0; i < rows; ++i) labels.push_back(int32_t(r.uniform() * double(outputs)));
        for (int64_t i = 0; i < rows; ++i) weights.push_back(0.5 + r.uniform());
        set.x = view(x, inputs);
        set.y = sparse ? view(labels, 1, DType::i32) : view(y, outputs);
        set.weights = weighted ? weights.data() : nullptr;
    }
};

// A configured net with random tensors, and everything it can be asked.
template <class T>
struct Subject {
    std::unique_ptr<Backend> net;
    Subject(int64_t inputs, const Net& ops, const Training& t, bool bf16 = false, uint64_t seed = 3)
        : net(make_cpu(inputs, seed, ops, dtype_of<T>, bf16)) {
        Random r{seed};
        for (size_t k = 0; k < plan().tensors.size(); ++k) {
            const Tensor& tensor = plan().tensors[k];
            std::vector<double> v(size_t(tensor.size()));
            for (double& e : v) e = tensor.vector ? 0.2 + r.uniform() : r.normal() / std::sqrt(double(tensor.rows));
            write(int(k), v);
        }
        net->configure(t);
    }
    const Plan& plan() const { return net->plan(); }
    void write(int k, const std::vector<double>& v) {
        if (plan().tensors[size_t(k)].float64) return net->write_tensor(k, v.data());
        const std::vector<T> own(v.begin(), v.end());
        net->write_tensor(k, own.data());
    }
    std::vector<double> read(int k) const {
        std::vector<double> v(size_t(plan().tensors[size_t(k)].size()));
        if (plan().tensors[size_t(k)].float64) {
            net->read_tensor(k, v.data());
            return v;
        }
        std::vector<T> own(v.size());
        net->read_tensor(k, own.data());
        return {own.begin(), own.end()};
    }
    // Appends all tensors, slots and the step.
    void state(std::vector<double>& to) const {
        for (size_t k = 0; k < plan().tensors.size(); ++k) {
            const auto v = read(int(k));
            to.insert(to.end(), v.begin(), v.end());
        }
        for (int s = 0; s < net->slots(); ++s)
            for (int k : plan().trainable) {
                const size_t n = size_t(plan().tensors[size_t(k)].size());
                const auto append = [&](auto v) {
                    net->read_slot(s, k, v.data());
                    net->write_slot(s, k, v.data());
                    to.insert(to.end(), v.begin(), v.end());
                };
                net->slot_dtype() == DType::f64 ? append(std::vector<double>(n)) : append(std::vector<float>(n));
            }
        to.insert(to.end(), net->numbers().begin(), net->numbers().end());
        to.push_back(double(net->step()));
    }
    double gradients(const Dataset& d, bool train, int threads, std::vector<std::vector<T>>& to) {
        std::vector<void*> places;
        to.clear();
        for (int k : plan().trainable) to.emplace_back(size_t(plan().tensors[size_t(k)].size()));
        for (auto& v : to) places.push_back(v.data());
        return net->loss_and_grad(d, train, threads, {}, places.data());
    }
    TrainOutcome train(const Dataset& d, const Dataset* validation, int64_t batch, int64_t steps, int threads,
                       bool shuffle = true, bool stop_on_nan = false, std::optional<int> probe_level = {}) {
        const std::vector<double> rates(size_t(steps), 0.01);
        TrainRequest r;
        r.train = d;
        r.validation = validation;
        r.batch_size = batch;
        r.shuffle = shuffle;
        r.step_rates = rates.data();
        r.steps = steps;
        r.stop_on_nan = stop_on_nan;
        r.probe_level = probe_level;
        r.threads = threads;
        return trained(*net, r);
    }
    // Every method once; all that came out.
    std::vector<double> everything(const Data<T>& d, const Data<T>& v, int64_t batch, int threads) {
        std::vector<double> all;
        auto add = [&](const auto& more) { all.insert(all.end(), more.begin(), more.end()); };
        std::vector<double> totals(size_t(net->training()->totals(plan().outputs)));
        net->evaluate(v.set, threads, {}, totals.data());  // first, so that it finds nothing prepared
        add(totals);
        const TrainOutcome run = train(d.set, &v.set, batch, 5, threads);
        add(run.totals), add(run.validation), add(run.partial);
        check(run.steps == 5 && !run.interrupted && run.nonfinite_step == -1, "train: outcome");
        std::vector<T> out(size_t(d.set.rows() * plan().outputs));
        net->predict(d.set.x, threads, {}, out.data());
        add(out);
        std::vector<std::vector<T>> per_op, gradient;
        std::vector<void*> places;
        for (const Op& o : plan().ops) per_op.emplace_back(size_t(d.set.rows() * o.out));
        for (auto& a : per_op) places.push_back(a.data());
        net->activations(d.set.x, threads, {}, places.data());
        for (auto& a : per_op) add(a);
        check(per_op.back() == out, "activations: the last is the prediction");
        for (bool mode : {false, true}) {
            all.push_back(gradients(d.set, mode, threads, gradient));
            for (auto& g : gradient) add(g);
        }
        state(all);
        return all;
    }
};

bool finite(const std::vector<double>& v) {
    return std::all_of(v.begin(), v.end(), [](double e) { return std::isfinite(e); });
}
bool same(const std::vector<double>& a, const std::vector<double>& b) {
    return a.size() == b.size() && !std::memcmp(a.data(), b.data(), a.size() * sizeof(double));
}

// -- what a net may be ----------------------------------------------------------------------------------------------

}  // namespace
