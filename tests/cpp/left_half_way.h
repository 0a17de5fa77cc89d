// Long calculations that are left half-way, and what they compute if they are not.
#pragma once
#include "subject.h"

namespace {

// Updates that make products of whole matrices are left anywhere, the inversions of K-FAC and the iterations of Muon included.
template <class T>
void updates_are_left() {
    const Net plain = {dense(420, Activation::tanh), op(OpKind::batch_norm), dense(420),
                       dense(12, Activation::softmax)};
    Net apart = plain;
    apart[0].kernel_orthogonal = 0.1;
    const Data<T> many(60, 420, 12, false, 1), few(40, 420, 12, false, 2);
    const std::vector<double> rates(2, 0.01);
    for (const auto& [optimizer, ops] :
         {std::pair<std::string, Net>{"muon", plain}, {"kfac", plain}, {"muon", apart}}) {
        Training t = training(ops::Loss::mse, optimizer);
        t.hyper.momentum = 0.9, t.hyper.ns_steps = 12;
        if (optimizer == "kfac") t.hyper.interval = 2, t.hyper.rho = 0.9;
        t.hyper.input_damping = t.hyper.output_damping = 0.1;
        Subject<T> left(420, ops, t), fresh(420, ops, t);
        TrainRequest r;
        r.train = many.set, r.step_rates = rates.data(), r.steps = 2, r.batch_size = 30, r.threads = 2;
        std::vector<double> before, after;
        int tries = 0, asked = 0, patience = 0;
        for (bool interrupted = true; interrupted; patience += 1 + patience / 12) {
            before.clear(), after.clear(), asked = 0;
            fresh.state(before);
            r.poll = [&] { return asked++ == patience; };
            const TrainOutcome run = trained(*left.net, r);
            interrupted = run.interrupted;
            for (int64_t step = 0; step < run.steps; ++step) {  // what was finished stays
                TrainRequest one = r;
                one.poll = nullptr, one.steps = 1, one.first_batch = step;
                trained(*fresh.net, one);
            }
            left.state(after), before.clear();
            fresh.state(before);
            check(same(before, after), "an update is left: " + optimizer + ", asked " + std::to_string(patience));
            if (interrupted && run.steps == 0) ++tries;
            else if (interrupted) break;
        }
        check(tries > 10, "an update is left: " + optimizer + " often enough, " + std::to_string(tries));
    }
}

void positive_systems() {
    std::vector<double> given, a, x;
    for (int64_t n : {1, 7, 1023, 1024, 1025, 1100, 2049}) {
        Random random{uint64_t(n)};
        const int64_t columns = n > 2000 ? 130 : 3;  // several parts of them
        given.assign(size_t(n * n), 0.0);
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j <= i; ++j)
                given[size_t(i * n + j)] = given[size_t(j * n + i)] = i == j ? 1.0 + double(n) : random.uniform();
        std::vector<double> b;
        for (int64_t i = 0; i < n * columns; ++i) b.push_back(random.normal());
        Stop stop;
        a = given, x = b;
        for (int64_t i = 0; i < n; ++i)  // above the diagonal nothing is read
            for (int64_t j = i + 1; j < n; ++j) a[size_t(i * n + j)] = std::numeric_limits<double>::quiet_NaN();
        bool ok = cpu::solve_positive(stop, Worker{}, n, a.data(), columns, x.data()) == Solved::yes;
        double worst = 0;
        for (int64_t c = 0; c < columns; c += columns - 1)
            for (int64_t i = 0; i < n; ++i) {
                double sum = -b[size_t(c * n + i)];
                for (int64_t j = 0; j < n; ++j) sum += given[size_t(i * n + j)] * x[size_t(c * n + j)];
                worst = std::max(worst, std::abs(sum));
            }
        // rows are dominated by the diagonal, so the residual is a few roundings of sums of n terms around 1
        check(ok && worst < 1e-15 * double(n + 10) * 10, "positive system: " + std::to_string(n));
        given[size_t(n * n - 1)] = -1;
        a = given, x = b;
        check(cpu::solve_positive(stop, Worker{}, n, a.data(), columns, x.data()) == Solved::not_positive_definite,
              "positive system: it is not, " + std::to_string(n));
    }
    Stop none;
    check(cpu::solve_positive(none, Worker{}, 0, nullptr, 1, nullptr) == Solved::yes, "positive system: empty");
    const int64_t n = 2049;
    int parts = 0, stopped = 0;
    const Poll count = [&] { return ++parts < 0; };
    given[size_t(n * n - 1)] = double(n);
    const auto solve = [&](const Poll& poll) {
        Stop stop;
        const Watch watch(stop, poll);
        a = given, x.assign(size_t(2 * n), 1.0);
        return cpu::solve_positive(stop, Worker{}, n, a.data(), 2, x.data());
    };
    check(solve(count) == Solved::yes && parts >= 6, "positive system: asked between its parts");
    for (int k = 1; k <= parts; ++k) {
        int asked = 0;
        stopped += solve([&] { return ++asked == k; }) == Solved::stopped && asked == k;
    }
    check(stopped == parts, "positive system: stopped anywhere");
}

}  // namespace
