#include "bindings/lowered.h"

#include <cmath>

#include "bindings/function.h"

namespace fd::bindings {
namespace {

ops::Constraint constraint_of(const py::dict& op, const char* key, Signs* signs = nullptr) {
    ops::Constraint c;
    if (!op.contains(key) || op[key].is_none()) return c;
    const auto d = py::cast<py::dict>(op[key]);
    const auto kind = field<std::string>(d, "kind");
    if (kind == "non_negative") {
        c.kind = ops::Constraint::Kind::non_negative;
        return c;
    }
    if (kind == "signs") {
        if (!signs) throw InvalidArgument("program: only kernels have a constraint of signs");
        c.kind = ops::Constraint::Kind::signs;
        signs->rows = field<std::vector<int8_t>>(d, "rows"), signs->columns = field<std::vector<int8_t>>(d, "columns");
        return c;
    }
    if (kind != "norm")
        throw InvalidArgument("program: the constraint '" + kind + "' is none of non_negative, norm and signs");
    c.kind = ops::Constraint::Kind::norm;
    const auto over = field<std::string>(d, "over");
    if (over == "rows") c.over = ops::Constraint::Over::rows;
    else if (over == "all") c.over = ops::Constraint::Over::all;
    else if (over != "columns") throw InvalidArgument("program: norms are of columns, rows or all");
    c.low = field<double>(d, "low"), c.high = field<double>(d, "high"), c.rate = field<double>(d, "rate");
    return c;
}

void read_function(const py::dict& d, Op& op) {
    std::vector<std::vector<int64_t>> shapes;
    for (const py::handle& item : field<py::list>(d, "weights")) {
        const auto given = py::cast<py::dict>(item);
        OwnWeight w;
        w.shape = field<std::vector<int64_t>>(given, "shape");
        read(given, "trainable", w.trainable), read(given, "l1", w.l1), read(given, "l2", w.l2);
        w.constraint = constraint_of(given, "constraint");
        shapes.push_back(w.shape);
        op.weights.push_back(w);
    }
    op.function = std::make_shared<const Function>(PythonFunction(field<py::object>(d, "function"), std::move(shapes)));
}

Op op_of(const py::dict& d) {
    Op op;
    op.kind = OpKind(find_name("op", op_names, field<std::string>(d, "kind")));
    if (d.contains("activation"))
        op.activation =
            ops::Activation(find_name("activation", ops::activation_names, field<std::string>(d, "activation")));
    if (d.contains("merge"))
        op.merge = ops::Merge(find_name("merge", ops::merge_names, field<std::string>(d, "merge")));
    read(d, "units", op.units), read(d, "use_bias", op.use_bias), read(d, "alpha", op.alpha), read(d, "rate", op.rate);
    read(d, "momentum", op.momentum), read(d, "epsilon", op.epsilon), read(d, "stddev", op.stddev);
    read(d, "scales", op.scales), read(d, "centers", op.centers);
    op.kernel_constraint = constraint_of(d, "kernel_constraint", &op.kernel_signs);
    op.bias_constraint = constraint_of(d, "bias_constraint");
    read(d, "columns", op.columns), read(d, "bins", op.bins), read(d, "keep", op.keep);
    read(d, "frequencies", op.frequencies), read(d, "codes", op.codes);
    read(d, "groups", op.groups), read(d, "group_inputs", op.group_inputs);
    read(d, "kernel_orthogonal_columns", op.kernel_orthogonal_columns);
    if (op.kind == OpKind::function) read_function(d, op);
#define FD_READ(name) read(d, #name, op.name);
    FD_PENALTIES(FD_READ)
#undef FD_READ
#define FD_READ(name, functor) read(d, "kernel_" #name, op.kernel_##name);
    FD_UNIT_PENALTIES(FD_READ)
#undef FD_READ
    return op;
}

LossTerm term_of(const py::dict& loss) {
    LossTerm t;
    const auto kind = field<std::string>(loss, "kind");
    t.custom = kind == "custom";
    if (!t.custom) t.loss = ops::Loss(find_name("loss", ops::loss_names, kind));
    read(loss, "from_logits", t.from_logits), read(loss, "label_smoothing", t.label_smoothing),
        read(loss, "param", t.loss_param), read(loss, "params", t.loss_params);
    return t;
}

Head head_of(const py::dict& d) {
    Head h;
    const auto loss = field<py::object>(d, "loss");
    h.has_loss = !loss.is_none();
    if (h.has_loss) static_cast<LossTerm&>(h) = term_of(py::cast<py::dict>(loss));
    h.weight = field<double>(d, "weight"), h.cols = field<int64_t>(d, "columns");
    h.targets = field<int64_t>(d, "targets");
    const int64_t needed = !h.has_loss ? 0 : h.custom ? h.targets : h.sparse() ? 1 : h.cols;
    if (h.cols < 1 || h.cols > INT32_MAX || h.targets != needed || h.targets > INT32_MAX || (h.custom && needed < 1))
        throw InvalidArgument("loss: wrong columns of a head");
    return h;
}

// The first row whose class id for a head is none, or -1.
int64_t out_of_range(const View& y, const Head& head) {
    return visit(y.dtype, [&](auto id) -> int64_t {
        for (int64_t r = 0; r < y.rows; ++r) {
            std::memcpy(&id, y.row(r) + head.first_target * y.col_stride, sizeof(id));
            if (!(double(id) >= 0 && double(id) < double(head.cols)) || double(id) != std::floor(double(id))) return r;
        }
        return -1;
    });
}

int64_t out_of_range(const View& y, int64_t classes) {  // the first row whose class id is none, or -1
    return visit(y.dtype, [&](auto id) -> int64_t {
        if constexpr (!std::is_integral_v<decltype(id)>) throw InvalidArgument("class ids must be integers");
        for (int64_t r = 0; r < y.rows; ++r) {
            std::memcpy(&id, y.row(r), sizeof(id));
            if (!(id >= decltype(id)(0)) || uint64_t(id) >= uint64_t(classes)) return r;
        }
        return -1;
    });
}

}  // namespace

std::vector<Op> ops_of(const py::dict& program) {
    std::vector<Op> ops;
    for (const py::handle& item : field<py::list>(program, "ops")) ops.push_back(op_of(py::cast<py::dict>(item)));
    return ops;
}

DType net_type(const py::dict& program) {
    const auto dtype = field<std::string>(program, "dtype");
    if (dtype != "float32" && dtype != "float64" && dtype != "bfloat16" && dtype != "tf32" && dtype != "3xtf32")
        throw InvalidArgument("dtype must be 'float32', 'float64', 'bfloat16', 'tf32' or '3xtf32'");
    return dtype == "float64" ? DType::f64 : DType::f32;
}
bool mixed_precision(const py::dict& program) { return field<std::string>(program, "dtype") == "bfloat16"; }

Training training_of(const py::dict& d) {
    Training t;
    const auto loss = field<py::dict>(d, "loss");
    if (loss.contains("heads")) {
        for (const py::handle& item : field<py::list>(loss, "heads"))
            t.heads.push_back(head_of(py::cast<py::dict>(item)));
        if (t.heads.empty()) throw InvalidArgument("loss: at least one head is needed");
        t.place_heads();
    } else {
        static_cast<LossTerm&>(t) = term_of(loss);
    }
    const auto o = field<py::dict>(d, "optimizer");
    t.optimizer = ops::Optimizer(find_name("optimizer", ops::optimizer_names, field<std::string>(o, "kind")));
#define FD_READ(type, name) read(o, #name, t.hyper.name);
    FD_HYPERPARAMETERS(FD_READ)
#undef FD_READ
#define FD_READ(type, name) read(o, #name, t.solver.name);
    FD_SOLVER_OPTIONS(FD_READ)
#undef FD_READ
    read(o, "rate_factors", t.rate_factors), read(o, "decay_factors", t.decay_factors);
    read(d, "frozen", t.frozen);
    for (const py::handle& item : field<py::list>(d, "metrics")) {
        const auto m = py::cast<py::dict>(item);
        Metric metric;
        const auto kind = field<std::string>(m, "kind");
        metric.is_loss = kind == "loss";
        if (!metric.is_loss) metric.kind = Metric::Kind(find_name("metric", ops::metric_names, kind));
        read(m, "head", metric.head);
        read(m, "k", metric.k), read(m, "threshold", metric.threshold), read(m, "multiclass", metric.multiclass),
            read(m, "weighted", metric.weighted);
        t.metrics.push_back(metric);
    }
    return t;
}

void check_class_ids(const Dataset& d, const Training& training, int64_t classes) {
    if (d.y.on_device) return;  // Python has looked there
    for (const Head& head : training.heads) {
        if (!head.has_loss || head.custom || !head.sparse()) continue;
        const auto bad = head.first_target < d.y.cols ? out_of_range(d.y, head) : -1;
        if (bad >= 0) throw InvalidArgument("class id out of range in row " + std::to_string(bad));
    }
    if (!training.sparse()) return;
    const auto bad = out_of_range(d.y, classes);
    if (bad >= 0) throw InvalidArgument("class id out of range in row " + std::to_string(bad));
}

}  // namespace fd::bindings
