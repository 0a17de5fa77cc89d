// The C++ core by itself, without Python or a test framework: made for the sanitizers, and for compilers that lack Python.
// Numbers are compared with the reference engine in tests/parity; here they are compared with themselves: threads, repeats,
// finite differences, counts.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <iterator>
#include <string>
#include <vector>

#include "functions.h"
#include "gathered.h"
#include "left_half_way.h"
#include "plans.h"
#include "ranks.h"
#include "subject.h"
#include "teams.h"

#ifdef __SANITIZE_THREAD__
constexpr bool races_alone = true;  // a hundred times as slow: what has several threads, in fewer sizes
#else
constexpr bool races_alone = false;
#endif

extern std::atomic<int64_t> allocations, allocations_of_teams, refused_allocation;

namespace {

// -- everything, with one thread and with four ----------------------------------------------------------------------

Net all_ops(int64_t width, int64_t outputs, Activation hidden, Activation last) {
    Op first = dense(width, hidden), penalised = dense(width, Activation::softsign), top = dense(outputs, last);
    first.kernel_l1 = first.kernel_l2 = first.bias_l1 = first.bias_l2 = first.activity_l1 = 1e-4;
    penalised.kernel_orthogonal = penalised.kernel_repulsion = penalised.activity_l2 = 1e-3;
    penalised.use_bias = false;
    top.kernel_orthogonal = top.activity_l1 = top.activity_l2 = 1e-3;
    top.kernel_orthogonal_columns = true;
    return {op(OpKind::normalization),
            first,
            op(OpKind::dropout),
            op(OpKind::residual_begin),
            penalised,
            op(OpKind::batch_norm),
            activation(Activation::prelu),
            op(OpKind::residual_end),
            op(OpKind::layer_norm),
            op(OpKind::rescaling),
            top};
}

Net forked(int64_t width, ops::Merge merge) {
    Op chosen = op(OpKind::select_columns), join = op(OpKind::branches_end), add = join;
    chosen.columns = {width - 1, 0};
    join.merge = ops::Merge::concatenate, add.merge = merge;
    const Op begin = op(OpKind::branches_begin), next = op(OpKind::branch_next);
    return {begin,
            next,
            dense(width, Activation::tanh),
            begin,
            dense(width),
            next,
            op(OpKind::batch_norm),
            add,
            chosen,
            next,
            op(OpKind::dropout),
            dense(3, Activation::gelu),
            join,
            dense(2)};
}

template <class T>
void compare_threads(int64_t inputs, const Net& ops, const Training& t, int64_t rows, int64_t batch,
                     const std::string& what) {
    const int64_t outputs = Plan(inputs, 0, ops).outputs;
    const Data<T> d(rows, inputs, outputs, t.sparse(), 1), v(rows / 2 + 1, inputs, outputs, t.sparse(), 2, false);
    for (bool bf16 : {false, true}) {
        if (bf16 && sizeof(T) == 8) break;
        std::vector<double> first;
        for (int threads : {1, 4, 3}) {
            Subject<T> s(inputs, ops, t, bf16);
            const auto all = s.everything(d, v, batch, threads);
            if (threads == 1) first = all;
            check(finite(all), what + ": finite");
            check(same(all, first), what + ": the same bits on " + std::to_string(threads) + " threads");
        }
    }
}

template <class T>
void everything() {
    const std::string type = sizeof(T) == 4 ? " float" : " double";
    const auto last_for = [](ops::Loss l) {
        return l == ops::Loss::poisson || l == ops::Loss::binary_crossentropy ||
               l >= ops::Loss::categorical_crossentropy;
    };
    for (int a = 0; a <= int(Activation::softmax); ++a) {  // small nets: every activation and loss
        const ops::Loss loss = ops::Loss(a % losses);
        const Activation hidden = a == int(Activation::softmax) ? Activation::tanh : Activation(a);
        Training t = training(loss == ops::Loss::binary_crossentropy_logits ? ops::Loss::binary_crossentropy : loss,
                              optimizers[a % int(std::size(optimizers))], true);
        t.from_logits = a % 3 == 0 && (t.categorical() || t.binary());
        t.label_smoothing = t.categorical() || t.binary() ? 0.1 : 0;
        const Activation last = t.from_logits                   ? Activation::linear
                                : t.categorical() && a % 2 == 0 ? Activation::softmax
                                : last_for(t.loss)              ? Activation::sigmoid
                                                                : Activation::linear;
        const std::string what = std::string(ops::activation_names[a]) + ", " + ops::loss_names[a % losses] + type;
        compare_threads<T>(5, all_ops(7, 3, hidden, last), t, 23, 8, what);
        compare_threads<T>(5, {dense(3, hidden), activation(last)}, t, 1, 8, what + ", one row");
    }
    for (ops::Merge merge : {ops::Merge::add, ops::Merge::multiply, ops::Merge::maximum})
        for (int64_t width : {5, 130})
            compare_threads<T>(7, forked(width, merge), training(), 33, 20, "branches of " + std::to_string(width));
    for (int64_t width : {5, 130}) compare_threads<T>(7, headed(width), heads(true), 33, 20, "heads");
    compare_threads<T>(5, with_functions(), training(), 33, 20, "functions");
    for (int64_t width : {1, 2, 16, 17, 33, 65, 130})  // the edges of vectors, panels, tiles and slices
        for (int64_t rows : {1, 2, 15, 33, 100}) {
            const Activation hidden = width % 2 ? Activation::gelu : Activation::softplus;
            const Training t = training(ops::Loss::sparse_categorical_crossentropy, width % 3 ? "adam" : "muon", true);
            const std::string what = "width " + std::to_string(width) + ", rows " + std::to_string(rows) + type;
            compare_threads<T>(width, {dense(width, hidden), dense(width, Activation::softmax)}, t, rows, 64, what);
        }
}

template <class T>
void updates() {  // nets that are worth a team, in every optimizer's hands
    for (const char* optimizer : optimizers)
        for (int variant = 0; variant < 3; ++variant) {
            Training t = training(ops::Loss::categorical_crossentropy, optimizer);
            t.hyper.momentum = variant ? 0.9 : 0.0;
            t.hyper.nesterov = t.hyper.centered = t.hyper.amsgrad = variant == 2;
            t.hyper.weight_decay = t.hyper.adam_weight_decay = variant == 2 ? 0.1 : 0.0;
            (variant == 0 ? t.hyper.clipvalue : variant == 1 ? t.hyper.clipnorm : t.hyper.global_clipnorm) = 0.01;
            const std::string what = std::string(optimizer) + " " + std::to_string(variant);
            compare_threads<T>(40, all_ops(96, 12, Activation::relu, Activation::softmax), t, 200, 128, what);
            t.hyper.clipvalue = t.hyper.clipnorm = t.hyper.global_clipnorm = 0;
            const Net plain = {dense(130, Activation::tanh), dense(96, Activation::prelu),
                               dense(12, Activation::softmax)};
            compare_threads<T>(40, plain, t, 150, 100, what + ", plain");
        }
}

// -- gradients ------------------------------------------------------------------------------------------------------

void finite_differences(const std::string& what, const Net& ops, const Training& t, bool train) {
    Subject<double> s(4, ops, t);
    const Data<double> d(9, 4, s.plan().outputs, t.sparse(), 5);
    std::vector<std::vector<double>> gradient, ignored;
    const double loss = s.gradients(d.set, train, 1, gradient), h = 6e-6;  // h: see tests/helpers/tolerances.py
    bool ok = std::isfinite(loss);
    for (size_t i = 0; i < gradient.size(); ++i) {
        const int k = s.plan().trainable[i];
        const auto start = s.read(k);
        for (size_t e = 0; e < start.size(); ++e) {
            double ends[2];
            for (int side : {0, 1}) {
                auto moved = start;
                moved[e] += side ? h : -h;
                s.write(k, moved);
                ends[side] = s.gradients(d.set, train, 1, ignored);
            }
            const double slope = (ends[1] - ends[0]) / (2 * h);
            ok &= std::fabs(gradient[i][e] - slope) <= 1e-6 * std::fabs(slope) + 1e-9 * std::fmax(1, std::fabs(loss));
        }
        s.write(k, start);
    }
    check(ok, "finite differences: " + what);
}

void all_finite_differences() {
    for (int a = 0; a < int(Activation::softmax); ++a) {
        const Net ops = {dense(5, Activation(a)), dense(3, Activation::softmax)};
        finite_differences(ops::activation_names[a], ops, training(ops::Loss::categorical_crossentropy), false);
    }
    for (bool train : {false, true}) {
        finite_differences("branches", forked(4, ops::Merge::multiply), training(), train);
        finite_differences("heads", headed(4), heads(), train);
        finite_differences("functions", with_functions(), training(), train);
        finite_differences("all ops", all_ops(5, 3, Activation::tanh, Activation::linear), training(), train);
    }
}

// -- dropout, order, data -------------------------------------------------------------------------------------------

void dropout() {  // one row, one linear output of 0: the kernel's gradient shows the mask
    const int64_t n = 4000;
    Subject<double> s(n, {op(OpKind::dropout), dense(1)}, training());
    s.write(0, std::vector<double>(size_t(n), 1.0));
    s.write(1, {0.0});
    std::vector<double> ones(size_t(n), 1.0), zero(1);
    Dataset d;
    d.x = view(ones, n), d.y = view(zero, 1);
    std::vector<std::vector<double>> g[4];
    for (int i = 0; i < 4; ++i) {
        s.net->set_step(i < 2 ? 7 : i == 2 ? 8 : int64_t(1) << 32 | 7);
        s.gradients(d, true, 1 + i, g[i]);
    }
    check(g[0] == g[1] && g[0] != g[2] && g[0] != g[3], "dropout: the mask follows the step");
    const double kept = double(std::count_if(g[0][0].begin(), g[0][0].end(), [](double e) { return e != 0; }));
    check(std::fabs(kept - 0.6 * double(n)) < 5 * std::sqrt(0.24 * double(n)), "dropout: fraction kept");
    const double p = kept / 0.6, slope = 2 * p / 0.6;  // d p²/dw of a kept input
    check(std::all_of(g[0][0].begin(), g[0][0].end(),
                      [&](double e) { return e == 0 || std::fabs(e - slope) < 1e-9 * slope; }),
          "dropout: the kept are scaled");
    s.gradients(d, false, 1, g[0]);
    check(g[0][0][5] == 2.0 * double(n), "dropout: none in inference");
}

void order() {
    bool ok = true;
    for (uint64_t n : {1, 2, 3, 16, 17, 63, 64, 65, 1000, 5000})
        for (uint32_t epoch : {0u, 1u, 77u}) {
            std::vector<uint64_t> seen(n);
            const ops::Shuffle shuffle(n, 42, epoch);
            for (uint64_t i = 0; i < n; ++i) ++seen[shuffle(i)];
            ok &= std::all_of(seen.begin(), seen.end(), [](uint64_t k) { return k == 1; });
        }
    check(ok, "shuffle: every row once");
    check(ops::Shuffle(1000, 42, 0)(0) != ops::Shuffle(1000, 42, 1)(0), "shuffle: another order every epoch");
    check(ops::philox(0, 0, 0, 0, 0).w[0] == 0x6627E8D5 && ops::philox(0, 0, 0, 0, 0).w[3] == 0x9B00DBD8, "philox");

    // Row r's loss is r²: their sum over an epoch tells that each was there once, whatever the order and the batches.
    Subject<double> s(1, {dense(1)}, training());
    std::vector<double> x(100), y(100), totals(2);
    std::iota(x.begin(), x.end(), 0.0);
    Dataset d;
    d.x = view(x, 1), d.y = view(y, 1);
    for (int64_t batch : {1, 7, 32, 100, 1000}) {
        s.write(0, {1.0}), s.write(1, {0.0});
        const std::vector<double> rates(200, 0.0);
        TrainRequest r;
        r.train = d, r.batch_size = batch, r.step_rates = rates.data();
        r.steps = 2 * ((100 + batch - 1) / batch);
        const TrainOutcome run = trained(*s.net, r);
        check(run.epochs == 2 && run.totals[0] == 328350 && run.totals[1] == 100 && run.totals[2] == 328350, "epoch");
    }
    x[55] = std::nan("");
    const TrainOutcome stopped = s.train(d, nullptr, 10, 20, 1, false, true);
    check(stopped.nonfinite_step == 5 && stopped.steps == 6, "stop_on_nan");
    x[55] = 55;
    s.write(0, {0.0}), s.write(1, {0.0});
    const std::vector<double> rates(1 << 22, 0.0);
    TrainRequest r;
    r.train = d, r.step_rates = rates.data(), r.steps = int64_t(rates.size());
    r.tick = [](int64_t, double, double) { return true; };
    const TrainOutcome ticked = trained(*s.net, r);
    check(ticked.interrupted && ticked.steps > 0 && ticked.steps < r.steps, "tick stops the run");
}

void poll() {  // whatever asks too long is left at once; the net is that of the last finished step
    Subject<float> s(40, all_ops(96, 12, Activation::relu, Activation::softmax), training());
    const Data<float> d(5000, 40, 12, false, 1);
    std::vector<double> totals(2), before, after;
    s.state(before);
    int asked = 0;
    const Poll no = [&] { return ++asked > 0; };
    std::vector<float> out(5000 * 12);
    s.net->evaluate(d.set, 4, no, totals.data());
    s.net->predict(d.set.x, 4, no, out.data());
    check(asked == 2, "poll: asked once each");
    s.state(after);
    check(same(before, after), "poll: nothing changed");

    const Net ops = {dense(300, Activation::relu), op(OpKind::batch_norm), dense(300), dense(12, Activation::softmax)};
    const Data<float> many(2000, 300, 12, false, 1), few(200, 300, 12, false, 2);
    const std::vector<double> rates(8, 0.01);
    TrainRequest r;
    r.step_rates = rates.data(), r.steps = 8, r.threads = 4;
    for (int patience : {0, 1, 2, 5, 7}) {  // steps of 2.2 Gflop are left between two ops: 8 questions a step
        Subject<float> left(300, ops, training(ops::Loss::mse, "adam")),
            fresh(300, ops, training(ops::Loss::mse, "adam"));
        before.clear(), after.clear(), asked = 0;
        left.state(before);
        r.train = many.set, r.batch_size = 2000;
        r.poll = [&] { return asked++ == patience; };
        const TrainOutcome run = trained(*left.net, r);
        left.state(after);
        check(run.interrupted && run.steps == 0 && asked == patience + 1, "poll: the step is left");
        check(same(before, after), "poll: a step that was left has changed nothing");
        for (auto* net : {&left, &fresh}) net->train(few.set, nullptr, 100, 2, 4);
        before.clear(), after.clear();
        left.state(before), fresh.state(after);
        check(same(before, after), "poll: what follows is as if nothing had been");
    }
    Subject<float> validated(300, ops, training());
    r.train = few.set, r.validation = &many.set, r.batch_size = 50, asked = 0;
    r.poll = [&] { return ++asked == 2; };
    const TrainOutcome run = trained(*validated.net, r);
    check(run.interrupted && run.steps == 4 && run.epochs == 0 && run.partial[1] == 200, "poll: validation is left");
    // What is thrown costs no epoch that was finished: 2 of them, 200 rows each; that of the third validation does.
    Subject<float> thrown(300, ops, training());
    const Data<float> some(60, 300, 12, false, 3);
    const std::vector<double> more(16, 0.01);
    TrainOutcome kept;
    r.validation = &some.set, r.steps = 16, r.step_rates = more.data(), r.threads = 1, asked = 0;
    r.poll = [&]() -> bool { return ++asked == 3 ? throw std::bad_alloc() : false; };
    throws<std::bad_alloc>("poll: it throws", [&] { thrown.net->train(r, kept); });
    check(kept.epochs == 2 && kept.totals[1] == 200 && kept.totals[kept.totals.size() / 4 + 1] == 200 &&
              kept.validation[1] == 60 && kept.validation[kept.totals.size() / 4 + 1] == 60,
          "poll: what was finished is kept");
}

void no_allocation_inside_a_step() {  // more steps, not one allocation more
    const Data<float> d(400, 40, 12, false, 1);
    for (const char* optimizer : {"adam", "muon", "rmsprop"}) {
        Subject<float> s(40, all_ops(96, 12, Activation::gelu, Activation::softmax),
                         training(ops::Loss::mse, optimizer), std::string(optimizer) == "rmsprop");
        for (int probes : {0, 1}) {
            auto counted = [&](int64_t steps) {
                const int64_t before = allocations;
                s.train(d.set, nullptr, 30, steps, 1, true, false, probes ? std::optional<int>(3) : std::nullopt);
                return allocations - before;
            };
            counted(3);  // the first run makes the buffers
            check(counted(3) == counted(13), std::string("no allocation inside a step: ") + optimizer);
        }
    }
}

// Every allocation of every call fails once: the net is as before, or at the end of a whole step, and the call can be made again.
template <class T>
void every_allocation_fails_once() {
    const Data<T> d(60, 7, 3, false, 1), v(20, 7, 3, false, 2);
    const Net small{dense(5, Activation::tanh), dense(3)};
    const Net every = all_ops(32, 3, Activation::gelu, Activation::softmax);
    struct Case {
        const char* optimizer;
        const Net& ops;
        int64_t batch;
    };
    for (const Case& c :
         {Case{"adam", every, 16}, Case{"muon", every, 16}, Case{"kfac", small, 16}, Case{"lbfgs", small, 60},
          Case{"levenberg_marquardt", small, 60}, Case{"newton_cg", small, 60}}) {
        Training t = training(ops::Loss::mse, c.optimizer);
        t.solver = {1e-12, 0, 1e-3, 1, 10, 25, 20};
        t.hyper.interval = 2;
        const int64_t steps = 4;
        using Answer = std::vector<double>;
        using Call = Answer (*)(Subject<T>&, const Data<T>&, const Data<T>&, int64_t batch, int64_t steps);
        const std::pair<const char*, Call> calls[] = {
            {"train",
             [](Subject<T>& s, const Data<T>& d, const Data<T>& v, int64_t batch, int64_t n) {
                 s.train(d.set, &v.set, batch, n, 1, true, false,
                         s.net->slot_dtype() == s.net->dtype() ? std::optional<int>(3) : std::nullopt);
                 return Answer();
             }},
            {"evaluate",
             [](Subject<T>& s, const Data<T>& d, const Data<T>&, int64_t, int64_t) {
                 Answer totals(size_t(s.net->training()->totals(s.plan().outputs)));
                 s.net->evaluate(d.set, 1, {}, totals.data());
                 return totals;
             }},
            {"predict",
             [](Subject<T>& s, const Data<T>& d, const Data<T>&, int64_t, int64_t) {
                 std::vector<T> out(size_t(d.set.rows() * s.plan().outputs));
                 s.net->predict(d.set.x, 1, {}, out.data());
                 return Answer(out.begin(), out.end());
             }},
            {"activations",
             [](Subject<T>& s, const Data<T>& d, const Data<T>&, int64_t, int64_t) {
                 std::vector<std::vector<T>> per_op;
                 std::vector<void*> places;
                 for (const Op& o : s.plan().ops) per_op.emplace_back(size_t(d.set.rows() * o.out));
                 for (auto& a : per_op) places.push_back(a.data());
                 s.net->activations(d.set.x, 1, {}, places.data());
                 return Answer(per_op.back().begin(), per_op.back().end());
             }},
            {"loss_and_grad", [](Subject<T>& s, const Data<T>& d, const Data<T>&, int64_t, int64_t) {
                 std::vector<std::vector<T>> gradient;
                 return Answer{s.gradients(d.set, true, 1, gradient)};
             }}};
        for (const auto& [name, call] : calls) {
            Subject<T> clean(7, c.ops, t);
            const Answer expected = call(clean, d, v, c.batch, steps);
            std::vector<double> end;
            clean.state(end);
            for (int64_t k = 0;; ++k) {
                Subject<T> s(7, c.ops, t);
                std::vector<double> before, after;
                s.state(before);
                refused_allocation = k;
                bool refused = false;
                Answer answer;
                try {
                    answer = call(s, d, v, c.batch, steps);
                } catch (const std::bad_alloc&) {
                    refused = true;
                }
                refused_allocation = -1;
                const std::string what =
                    std::string(c.optimizer) + " " + name + " without allocation " + std::to_string(k);
                if (!refused) {
                    check(k > 0, what);
                    break;
                }
                s.state(after);
                const int64_t made = s.net->step();
                check(made > 0 || same(before, after), what + ": nothing changed");
                if (made < steps) answer = call(s, d, v, c.batch, steps - made);
                after.clear();
                s.state(after);
                check(answer == expected, what + ": the same answer afterwards");
                if (made == 0 || made == steps) check(same(end, after), what + ": the same state afterwards");
            }
        }
    }
}

struct Part {
    const char* name;
    bool has_threads;
    void (*run)();
};
const Part parts[] = {
    {"plans", false, plans},
    {"allocations_fail", false, [] { every_allocation_fails_once<float>(), every_allocation_fails_once<double>(); }},
    {"finite_differences", false, all_finite_differences},
    {"order", false, order},
    {"gather", false,
     [] {
         gather<uint8_t>(DType::u8), gather<int8_t>(DType::i8), gather<int16_t>(DType::i16);
         gather<uint16_t>(DType::u16), gather<int32_t>(DType::i32), gather<uint32_t>(DType::u32);
         gather<int64_t>(DType::i64), gather<uint64_t>(DType::u64), gather<float>(DType::f32);
         gather<double>(DType::f64);
     }},
    {"positive_systems", false, positive_systems},
    {"teams", true, teams},
    {"ranks", true, ranks},
    {"everything", true, [] { everything<float>(), everything<double>(); }},
    {"updates", true, [] { updates<float>(), updates<double>(); }},
    {"dropout", true, dropout},
    {"poll", true, poll},
    {"updates_are_left", true, [] { updates_are_left<float>(), updates_are_left<double>(); }},
    {"functions_stop", true, [] { functions_stop<float>(), functions_stop<double>(); }},
    {"no_allocation_inside_a_step", true, no_allocation_inside_a_step},
};

}  // namespace

int main(int count, char** arguments) {  // the parts to run, none: all; after a minus those that are left out
    cpu::load_blas(FD_OPENBLAS_PATH, cpu::isa().blas_core);
    std::printf("instruction set %s\n", cpu::isa().name);
    const std::vector<std::string> names(arguments + 1, arguments + count);
    const auto named = [&](const std::string& name) { return std::count(names.begin(), names.end(), name) > 0; };
    bool some = false;
    for (const std::string& name : names) {
        const bool left_out = name[0] == '-';
        some |= !left_out;
        if (std::none_of(std::begin(parts), std::end(parts),
                         [&](const Part& p) { return p.name == name.substr(left_out); }))
            return std::printf("no such part: %s\n", name.c_str()), 2;
    }
    for (const Part& part : parts) {
        if (named(std::string("-") + part.name)) continue;
        if (some ? !named(part.name) : races_alone && !part.has_threads) continue;
        const auto start = std::chrono::steady_clock::now();
        part.run();
        const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
        std::printf("%s: %.1f s\n", part.name, taken.count());
        std::fflush(stdout);
    }
    check(allocations_of_teams == 0,
          "no allocation by a team, whose threads could not pass on that there is no memory");
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
