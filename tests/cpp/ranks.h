// Ranks: two threads of this process that train one net together, each on rows of its own.
#pragma once
#include <condition_variable>
#include <mutex>
#include <thread>

#include "core/ranks.h"
#include "subject.h"

namespace {

// Sums over two callers, in the order of the ranks; what both give counts.
class Meeting {
public:
    explicit Meeting(int64_t numbers) {  // at most; a team may not allocate
        for (auto& part : parts_) part.reserve(size_t(numbers + 1));
    }
    template <class T>
    void sum(int rank, T* numbers, int64_t n, double factor, double& loss) {
        std::unique_lock lock(mutex_);
        std::vector<double>& mine = parts_[rank];
        mine.clear();
        for (int64_t i = 0; i < n; ++i) mine.push_back(factor * double(numbers[i]));
        mine.push_back(factor * loss);
        wait(lock);
        for (int64_t i = 0; i < n; ++i) numbers[i] = T(parts_[0][size_t(i)] + parts_[1][size_t(i)]);
        loss = parts_[0][size_t(n)] + parts_[1][size_t(n)];
        wait(lock);
    }

private:
    void wait(std::unique_lock<std::mutex>& lock) {
        const int64_t turn = turn_;
        if (++here_ == 2) {
            here_ = 0, ++turn_;
            changed_.notify_all();
        } else {
            changed_.wait(lock, [&] { return turn_ != turn; });
        }
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<double> parts_[2];
    int here_ = 0;
    int64_t turn_ = 0;
};

// Both ranks, half of the rows each in two steps, against one net with all of them; in double they differ by rounding.
void ranks_train(int64_t width, bool overlaps, const std::string& optimizer, int64_t most_steps) {
    Op penalised = dense(width, Activation::tanh);
    penalised.kernel_l2 = 1e-3;
    const Net ops = {penalised, op(OpKind::dropout), dense(width, Activation::softsign), dense(3)};
    const Net solved = {penalised, dense(width, Activation::softsign), dense(3)};
    Training t = training(ops::Loss::mse, "adam");
    if (optimizer == "lbfgs")
        t.optimizer = ops::Optimizer::lbfgs, t.solver.history_size = 5, t.solver.line_search_steps = 9;
    const Net& net = optimizer == "lbfgs" ? solved : ops;
    const int64_t inputs = 5, rows = 24;
    const Data<double> all(rows, inputs, 3, false, 1);
    const std::vector<double> rates(size_t(most_steps), 0.01);
    const auto request = [&](int64_t first, int64_t count) {
        TrainRequest r;
        r.train = all.set;
        r.train.x.data += first * inputs * int64_t(sizeof(double)), r.train.x.rows = count;
        r.train.y.data += first * 3 * int64_t(sizeof(double)), r.train.y.rows = count;
        r.train.weights = nullptr;
        r.step_rates = rates.data(), r.steps = most_steps, r.batch_size = count, r.shuffle = false, r.threads = 2;
        return r;
    };
    Subject<double> alone(inputs, net, t);
    trained(*alone.net, request(0, rows));
    Meeting meeting(alone.plan().parameters);
    std::vector<double> states[2];
    const auto run = [&](int rank) {
        Subject<double> mine(inputs, net, t);
        Ranks ranks;
        const int64_t first = rank * rows / 3, count = rank ? rows - first : rows / 3;
        ranks.rows = ranks.batch_rows = ranks.last_batch_rows = rows;
        ranks.first_row = ranks.last_first_row = first;
        ranks.overlaps = overlaps;
        ranks.sum = [&](void* numbers, DType dtype, int64_t n, double factor, double& loss) {
            if (dtype == DType::f32) meeting.sum(rank, static_cast<float*>(numbers), n, factor, loss);
            else meeting.sum(rank, static_cast<double*>(numbers), n, factor, loss);
            return true;
        };
        TrainRequest r = request(first, count);
        r.ranks = &ranks;
        trained(*mine.net, r);
        mine.state(states[rank]);
    };
    std::thread other([&] { run(1); });
    run(0);
    other.join();
    std::vector<double> expected;
    alone.state(expected);
    const std::string what = optimizer + (overlaps ? ", overlapping" : "");
    check(same(states[0], states[1]), "ranks end with the same bits: " + what);
    double worst = 0;
    for (size_t i = 0; i < expected.size(); ++i)
        worst = std::max(worst, std::fabs(states[0][i] - expected[i]) / std::max(1.0, std::fabs(expected[i])));
    check(worst < 1e-9, "ranks end where one process ends: " + what);
}

void ranks() {
    ranks_train(20, false, "adam", 4);
    ranks_train(20, false, "lbfgs", 4);
    ranks_train(600, true, "adam", 3);  // 360,000 weights in a layer: a slice of its own, and the rest

    // a sum that fails ends the call, and the net is that of the step before
    Subject<double> left(5, {dense(8, Activation::tanh), dense(3)}, training()),
        fresh(5, {dense(8, Activation::tanh), dense(3)}, training());
    const Data<double> data(12, 5, 3, false, 1);
    const std::vector<double> rates(4, 0.1);
    int64_t sums = 0;
    Ranks one;
    one.rows = one.batch_rows = one.last_batch_rows = 12;
    one.sum = [&](void*, DType, int64_t, double, double&) { return ++sums < 3; };
    TrainRequest r;
    r.train = data.set, r.step_rates = rates.data(), r.steps = 4, r.batch_size = 12, r.ranks = &one;
    const TrainOutcome outcome = trained(*left.net, r);
    check(outcome.interrupted && outcome.steps == 2, "a sum that fails ends the call");
    r.steps = 2, sums = -10;
    trained(*fresh.net, r);
    std::vector<double> after, expected;
    left.state(after), fresh.state(expected);
    check(same(after, expected), "a step whose gradients were not summed is not made");
}

}  // namespace
