// Nets that a plan refuses: what the core is given, it bounds itself. Part of core_test.cpp.
#pragma once
#include "functions.h"
#include "subject.h"

namespace {

void plans() {
    const Op begin = op(OpKind::residual_begin), end = op(OpKind::residual_end);
    const Op norm = op(OpKind::normalization);
    auto refuse = [](const std::string& what, int64_t inputs, const Net& ops) {
        throws<InvalidArgument>("plan: " + what, [&] { Plan(inputs, 0, ops); });
    };
    refuse("no inputs", 0, {dense(2)});
    refuse("no ops", 3, {});
    refuse("no units", 3, {dense(0)});
    constexpr int64_t widest = INT32_MAX, most = INT64_MAX;
    refuse("too many inputs", widest + 1, {norm});
    refuse("too many units", 3, {dense(most)});
    refuse("more numbers than fit", widest, {dense(widest)});
    refuse("more numbers than fit together", 1 << 20, Net(5, dense(1 << 20)));
    refuse("softmax inside", 3, {dense(2, Activation::softmax), dense(2)});
    refuse("normalization inside", 3, {dense(2), norm});
    refuse("end without begin", 3, {end});
    refuse("begin without end", 3, {begin, dense(3)});
    refuse("residual changes width", 3, {begin, dense(2), end});
    const Op fork = op(OpKind::branches_begin), next = op(OpKind::branch_next), join = op(OpKind::branches_end);
    refuse("another branch without a block", 3, {next});
    refuse("the end of a residual in a branch", 3, {begin, fork, end});
    refuse("the end of branches in a residual", 3, {fork, begin, join});
    refuse("branches without end", 3, {fork, next, dense(3)});
    refuse("branches of two widths", 3, {fork, next, dense(2), join});
    refuse("no columns", 3, {op(OpKind::select_columns)});
    Op own = function_op(3);
    std::swap(own.weights[0], own.weights[1]);
    refuse("weights that are not trained before others", 3, {own});
    own.function = nullptr;
    refuse("no function", 3, {own});
    for (int64_t column : {-1, 3, 0}) {
        Op chosen = op(OpKind::select_columns);
        chosen.columns = {0, column};
        refuse("columns", 3, {chosen});
    }
    for (int64_t size : {int64_t(0), int64_t(-1), widest + 1}) {
        const auto refuse_size = [&](const char* what, OpKind kind, int64_t Op::* member) {
            Op o = op(kind);
            o.units = o.bins = o.frequencies = o.groups = o.group_inputs = 1;
            o.codes = {2, 2, 2};
            o.*member = size;
            refuse(std::string(what) + " " + std::to_string(size), 3, {o});
        };
        refuse_size("bins", OpKind::piecewise_linear, &Op::bins);
        refuse_size("frequencies", OpKind::periodic, &Op::frequencies);
        refuse_size("units of an embedding", OpKind::embedding, &Op::units);
        refuse_size("groups", OpKind::grouped_dense, &Op::groups);
        refuse_size("inputs of groups", OpKind::grouped_dense, &Op::group_inputs);
        refuse_size("units of groups", OpKind::grouped_dense, &Op::units);
        Op embedding = op(OpKind::embedding);
        embedding.units = 1, embedding.codes = {2, size, 2};
        refuse("codes " + std::to_string(size), 3, {embedding});
        Op sized = function_op(3);
        sized.units = size, sized.weights.clear();
        refuse("outputs of a function", 3, {sized});
    }
    Op grouped = op(OpKind::grouped_dense);
    grouped.groups = 2, grouped.group_inputs = 1, grouped.units = 1;
    Plan(3, 0, {grouped});
    for (Activation a : {Activation::softmax, Activation::prelu}) {
        Op o = grouped;
        o.activation = a;
        refuse("an activation of groups", 3, {o});
    }
    refuse("more inputs of groups than there are", 1, {grouped});
    grouped.units = widest / 2 + 1;
    refuse("more outputs of groups than fit", 3, {grouped});
    Op embedding = op(OpKind::embedding);
    embedding.units = 1, embedding.codes = {2, 2};
    refuse("codes of two columns of three", 3, {embedding});
    embedding.codes = {widest, widest, widest}, embedding.units = widest / 3;
    refuse("more codes than fit", 3, {embedding});
    for (double rate : {-0.1, 1.0, std::nan("")}) {
        Op dropout = op(OpKind::dropout);
        dropout.rate = rate;
        refuse("dropout rate", 3, {dropout});
    }
    const Plan plan(3, 0,
                    {norm, begin, dense(4, Activation::prelu), begin, end, dense(3), end, op(OpKind::batch_norm)});
    check(plan.outputs == 3 && plan.widest == 4 && plan.tensors.size() == 11 && plan.trainable.size() == 7, "plan");
    throws<InvalidArgument>("unknown name", [] { find_name("activation", ops::activation_names, "rleu"); });
    throws<InvalidArgument>("unknown optimizer", [] { training(ops::Loss::mse, "adm").rule(); });

    const Data<float> d(4, 3, 2, false, 1), narrow(4, 2, 2, false, 1), wide(4, 3, 5, false, 1);
    auto net = make_cpu(3, 0, {dense(2)}, DType::f32);
    std::vector<double> totals(2);
    throws<InternalError>("not configured", [&] { net->evaluate(d.set, 1, {}, totals.data()); });
    net->configure(training());
    throws<InvalidArgument>("x too narrow", [&] { net->evaluate(narrow.set, 1, {}, totals.data()); });
    throws<InvalidArgument>("y too wide", [&] { net->evaluate(wide.set, 1, {}, totals.data()); });
    throws<InvalidArgument>("predict: x too narrow", [&] { net->predict(narrow.set.x, 1, {}, totals.data()); });
    Dataset none = d.set;
    none.x.rows = 0;
    throws<InvalidArgument>("no rows", [&] { net->evaluate(none, 1, {}, totals.data()); });
    net->predict(none.x, 1, {}, nullptr);  // nothing to do
}

}  // namespace
