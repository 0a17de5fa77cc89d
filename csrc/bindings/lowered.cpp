#include "bindings/lowered.h"

namespace fd::bindings {
namespace {

Op op_of(const py::dict& d) {
    Op op;
    op.kind = OpKind(find_name("op", op_names, field<std::string>(d, "kind")));
    if (d.contains("activation"))
        op.activation =
            ops::Activation(find_name("activation", ops::activation_names, field<std::string>(d, "activation")));
    read(d, "units", op.units), read(d, "use_bias", op.use_bias), read(d, "alpha", op.alpha), read(d, "rate", op.rate);
    read(d, "momentum", op.momentum), read(d, "epsilon", op.epsilon);
    read(d, "kernel_l1", op.kernel_l1), read(d, "kernel_l2", op.kernel_l2);
    read(d, "kernel_orthogonal", op.kernel_orthogonal),
        read(d, "kernel_orthogonal_columns", op.kernel_orthogonal_columns);
    read(d, "kernel_repulsion", op.kernel_repulsion), read(d, "bias_l1", op.bias_l1), read(d, "bias_l2", op.bias_l2);
    read(d, "activity_l1", op.activity_l1), read(d, "activity_l2", op.activity_l2);
    return op;
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
    if (dtype != "float32" && dtype != "float64" && dtype != "bfloat16" && dtype != "tf32")
        throw InvalidArgument("dtype must be 'float32', 'float64', 'bfloat16' or 'tf32'");
    return dtype == "float64" ? DType::f64 : DType::f32;
}
bool mixed_precision(const py::dict& program) { return field<std::string>(program, "dtype") == "bfloat16"; }

Training training_of(const py::dict& d) {
    Training t;
    const auto loss = field<py::dict>(d, "loss");
    t.loss = ops::Loss(find_name("loss", ops::loss_names, field<std::string>(loss, "kind")));
    read(loss, "from_logits", t.from_logits), read(loss, "label_smoothing", t.label_smoothing),
        read(loss, "param", t.loss_param);
    const auto o = field<py::dict>(d, "optimizer");
    t.optimizer = field<std::string>(o, "kind");
    ops::Hyper& h = t.hyper;
    read(o, "momentum", h.momentum), read(o, "nesterov", h.nesterov), read(o, "rho", h.rho),
        read(o, "centered", h.centered);
    read(o, "beta_1", h.beta_1), read(o, "beta_2", h.beta_2), read(o, "epsilon", h.epsilon),
        read(o, "amsgrad", h.amsgrad);
    read(o, "initial_accumulator_value", h.initial_accumulator_value), read(o, "weight_decay", h.weight_decay);
    read(o, "clipvalue", h.clipvalue), read(o, "clipnorm", h.clipnorm), read(o, "global_clipnorm", h.global_clipnorm);
    read(o, "ns_steps", h.ns_steps), read(o, "ns_a", h.ns_a), read(o, "ns_b", h.ns_b), read(o, "ns_c", h.ns_c);
    read(o, "rms_rate", h.rms_rate), read(o, "adam_lr_ratio", h.adam_lr_ratio);
    read(o, "adam_weight_decay", h.adam_weight_decay);
    read(o, "input_damping", h.input_damping), read(o, "output_damping", h.output_damping);
    read(o, "interval", h.interval);
    SolverOptions& s = t.solver;
    read(o, "gtol", s.gtol), read(o, "ftol", s.ftol), read(o, "damping", s.damping), read(o, "radius", s.radius);
    read(o, "history_size", s.history_size), read(o, "line_search_steps", s.line_search_steps);
    read(o, "cg_steps", s.cg_steps);
    t.rule();  // an unknown kind is an error here
    for (const py::handle& item : field<py::list>(d, "metrics")) {
        const auto m = py::cast<py::dict>(item);
        Metric metric;
        metric.kind = Metric::Kind(find_name("metric", metric_names, field<std::string>(m, "kind")));
        read(m, "k", metric.k), read(m, "threshold", metric.threshold), read(m, "multiclass", metric.multiclass);
        t.metrics.push_back(metric);
    }
    return t;
}

void check_class_ids(const Dataset& d, const Training* training, int64_t classes) {
    if (!training) throw InternalError("the engine was not configured");
    if (!training->sparse() || !d.y || d.y.on_device) return;  // Python has looked there
    const auto bad = out_of_range(d.y, classes);
    if (bad >= 0) throw InvalidArgument("class id out of range in row " + std::to_string(bad));
}

}  // namespace fd::bindings
