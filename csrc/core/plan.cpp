#include "core/plan.h"

#include <algorithm>
#include <cmath>

namespace fd {
namespace {

// Beyond any memory; that sizes in bytes, and those of a few copies, are far from what an int64 holds.
constexpr int64_t most_numbers = int64_t(1) << 42;

void check_width(int64_t width, const char* what) {
    if (width < 1 || width > INT32_MAX)  // BLAS counts in int
        throw InvalidArgument(std::string("program: ") + what + " must be from 1 to 2**31 - 1");
}

// What a column op encodes, `width` outputs for each of its columns, and what passes behind that.
void lay_out_columns(Op& op, int64_t width) {
    if (op.columns.empty())
        for (int64_t c = 0; c < op.in; ++c) op.columns.push_back(c);
    std::vector<bool> chosen(size_t(op.in), false);
    for (size_t i = 0; i < op.columns.size(); ++i) {
        const int64_t c = op.columns[i];
        if (c < 0 || c >= op.in || (i && c <= op.columns[i - 1]))
            throw InvalidArgument("program: columns must be ascending numbers of inputs");
        chosen[size_t(c)] = true;
    }
    op.passing.clear();
    for (int64_t c = 0; c < op.in; ++c)
        if (op.keep || !chosen[size_t(c)]) op.passing.push_back(c);
    if (width > INT32_MAX / int64_t(op.columns.size())) throw InvalidArgument("program: more than 2**31 - 1 outputs");
    op.out = int64_t(op.columns.size()) * width + int64_t(op.passing.size());
    check_width(op.out, "outputs");
}

// The columns that a select_columns chooses: all of its outputs pass, none is encoded.
void choose_columns(Op& op) {
    std::vector<bool> chosen(size_t(op.in), false);
    for (int64_t c : op.columns) {
        if (c < 0 || c >= op.in || chosen[size_t(c)])
            throw InvalidArgument("program: select_columns needs numbers of inputs, each once");
        chosen[size_t(c)] = true;
    }
    op.passing = std::move(op.columns);
    op.columns.clear();
    op.out = int64_t(op.passing.size());
    check_width(op.out, "outputs");
}

// The rows and columns of a tensor of any shape: its last dimension are the columns.
std::pair<int64_t, int64_t> extents(const std::vector<int64_t>& shape) {
    int64_t rows = 1;
    for (size_t i = 0; i < shape.size(); ++i) {
        check_width(shape[i], "dimensions of a weight");
        if (i + 1 == shape.size() && i > 0) return {rows, shape[i]};
        if (rows > most_numbers / shape[i]) throw InvalidArgument("program: more parameters than any memory holds");
        rows *= shape[i];
    }
    return {rows, 1};
}

// The width of what the branches of a branches_end are merged to.
int64_t merged_width(const std::vector<Op>& ops, const Op& end) {
    int64_t width = ops[size_t(end.last[0])].out;
    const int64_t count = int64_t(end.last.size());
    if (count > ops::most_branches) throw InvalidArgument("program: more than 64 branches");
    if (end.merge == ops::Merge::subtract && count != 2) throw InvalidArgument("program: subtract needs two branches");
    for (size_t b = 1; b < end.last.size(); ++b) {
        const int64_t other = ops[size_t(end.last[b])].out;
        if (end.merge == ops::Merge::concatenate) width += other;
        else if (other != width) throw InvalidArgument("program: branches that are merged must have the same width");
    }
    check_width(width, "outputs");
    return width;
}

}  // namespace

Plan::Plan(int64_t inputs, uint64_t seed, std::vector<Op> program, bool bf16)
    : bf16(bf16), inputs(inputs), seed(seed), ops(std::move(program)) {
    check_width(inputs, "inputs");
    int64_t width = inputs;
    widest = inputs;
    std::vector<int> open;
    auto opened = [&](OpKind kind, const char* what) {  // the innermost block, which must be of this kind
        if (open.empty() || ops[size_t(open.back())].kind != kind)
            throw InvalidArgument(std::string("program: ") + what);
        return open.back();
    };
    auto add = [&](int op, int64_t rows, int64_t cols, bool vector, bool trains, double l1, double l2) {
        const bool float64 = ops[size_t(op)].kind == OpKind::normalization;
        const bool is_kernel = ops[size_t(op)].kind == OpKind::dense && !vector;
        Tensor t{op, rows, cols, vector, trains, is_kernel, l1, l2, {}, 0, false, {}, float64, 0};
        int64_t& end = float64 ? input_statistics : trains ? parameters : statistics;
        if (t.size() > most_numbers - end) throw InvalidArgument("program: more parameters than any memory holds");
        t.offset = end;
        end += padded(t.size());
        if (trains) trainable.push_back(int(tensors.size()));
        tensors.push_back(t);
        return int(tensors.size()) - 1;
    };
    for (int i = 0; i < int(ops.size()); ++i) {
        Op& op = ops[i];
        op.in = op.out = width;
        if (!(op.rate >= 0 && op.rate < 1)) throw InvalidArgument("program: dropout's rate must be in [0, 1)");
        auto vector = [&](bool trains, double l1 = 0, double l2 = 0) {
            return add(i, op.out, 1, true, trains, l1, l2);
        };
        switch (op.kind) {
            case OpKind::dense:
                check_width(op.units, "units");
                op.out = op.units;
                op.kernel = add(i, op.in, op.out, false, true, op.kernel_l1, op.kernel_l2);
                if (op.use_bias) op.bias = vector(true, op.bias_l1, op.bias_l2);
                if (op.activation == ops::Activation::prelu) op.slope = vector(true);
                step_flops += 6.0 * double(op.in) * double(op.out);
                break;
            case OpKind::activation:
                if (op.activation == ops::Activation::prelu) op.slope = vector(true);
                break;
            case OpKind::batch_norm:
            case OpKind::layer_norm:
                if (op.scales) op.kernel = vector(true, op.kernel_l1, op.kernel_l2);
                if (op.centers) op.bias = vector(true, op.bias_l1, op.bias_l2);
                if (op.kind == OpKind::batch_norm) op.mean = vector(false), op.variance = vector(false);
                break;
            case OpKind::normalization:
                if (i) throw InvalidArgument("program: normalization must be the first op");
                op.mean = vector(false), op.variance = vector(false);
                break;
            case OpKind::scale: op.kernel = vector(true); break;
            case OpKind::rescaling: op.scale = vector(false), op.offset = vector(false); break;
            case OpKind::piecewise_linear:
                check_width(op.bins, "bins");
                lay_out_columns(op, op.bins);
                op.table = add(i, int64_t(op.columns.size()), op.bins + 1, false, false, 0, 0);
                break;
            case OpKind::periodic:
                check_width(op.frequencies, "frequencies");
                lay_out_columns(op, op.frequencies);
                op.kernel = add(i, int64_t(op.columns.size()), op.frequencies, false, true, 0, 0);
                op.bias = add(i, int64_t(op.columns.size()), op.frequencies, false, true, 0, 0);
                break;
            case OpKind::embedding: {
                check_width(op.units, "units");
                lay_out_columns(op, op.units);
                if (op.codes.size() != op.columns.size())
                    throw InvalidArgument("program: codes must be of each column");
                int64_t codes = 0;
                for (int64_t n : op.codes) check_width(n, "codes"), codes += n;
                if (codes > most_numbers / op.units)
                    throw InvalidArgument("program: more parameters than any memory holds");
                op.kernel = add(i, codes + int64_t(op.columns.size()), op.units, false, true, 0, 0);
                op.table = add(i, codes, 1, true, false, 0, 0);
                break;
            }
            case OpKind::grouped_dense: {
                check_width(op.groups, "groups"), check_width(op.group_inputs, "group_inputs");
                check_width(op.units, "units");
                const int64_t taken = op.groups * op.group_inputs;
                if (taken > op.in) throw InvalidArgument("program: the groups need more inputs than there are");
                if (op.activation == ops::Activation::softmax || op.activation == ops::Activation::prelu)
                    throw InvalidArgument("program: grouped_dense has no softmax and no prelu");
                if (op.groups > INT32_MAX / op.units) throw InvalidArgument("program: more than 2**31 - 1 outputs");
                op.out = op.groups * op.units + op.in - taken;
                check_width(op.out, "outputs");
                op.kernel = add(i, taken, op.units, false, true, 0, 0);
                tensors[size_t(op.kernel)].groups = op.groups;
                if (op.use_bias) op.bias = add(i, op.groups, op.units, false, true, 0, 0);
                step_flops += 6.0 * double(taken) * double(op.units);
                break;
            }
            case OpKind::gaussian_dropout: op.stddev = std::sqrt(op.rate / (1 - op.rate)); break;
            case OpKind::dropout:
            case OpKind::gaussian_noise:
            case OpKind::alpha_dropout:
            case OpKind::unit_norm:
            case OpKind::activity: break;
            case OpKind::select_columns: choose_columns(op); break;
            case OpKind::function:
                check_width(op.units, "units");
                if (!op.function) throw InvalidArgument("program: an op of kind function needs one");
                op.out = op.units;
                for (const OwnWeight& w : op.weights) {
                    const auto [rows, cols] = extents(w.shape);
                    op.own.push_back(add(i, rows, cols, w.shape.size() == 1, w.trainable, w.l1, w.l2));
                    Tensor& t = tensors.back();
                    t.shaped = true, t.shape = w.shape, t.constraint = w.constraint;
                    if (!w.trainable) continue;
                    if (++op.own_trained != int(op.own.size()))
                        throw InvalidArgument("program: weights of a function that are trained come first");
                }
                break;
            case OpKind::branches_begin: op.before = {i}, open.push_back(i); break;
            case OpKind::branch_next: {
                op.block = opened(OpKind::branches_begin, "branch_next without branches_begin");
                Op& begin = ops[size_t(op.block)];
                begin.last.push_back(i - 1), begin.before.push_back(i);
                op.in = op.out = begin.in;
                break;
            }
            case OpKind::branches_end: {
                op.block = opened(OpKind::branches_begin, "branches_end without branches_begin");
                Op& begin = ops[size_t(op.block)];
                begin.last.push_back(i - 1);
                op.before = begin.before, op.last = begin.last;
                op.out = merged_width(ops, op);
                open.pop_back();
                break;
            }
            case OpKind::residual_begin: open.push_back(i); break;
            case OpKind::residual_end:
                op.partner = opened(OpKind::residual_begin, "residual_end without residual_begin");
                ops[op.partner].partner = i;
                open.pop_back();
                if (ops[op.partner].in != width) throw InvalidArgument("program: a residual must keep its width");
                break;
        }
        if (op.kernel >= 0) {
            Tensor& kernel = tensors[size_t(op.kernel)];
            kernel.constraint = op.kernel_constraint, kernel.signs = op.kernel_signs;
            if (kernel.constraint.kind == ops::Constraint::Kind::signs &&
                (int64_t(kernel.signs.rows.size()) != kernel.rows ||
                 int64_t(kernel.signs.columns.size()) != kernel.cols))
                throw InvalidArgument("program: a constraint of signs needs one for each row and each column");
        }
        if (op.bias >= 0) tensors[size_t(op.bias)].constraint = op.bias_constraint;
        if (op.is_softmax() && i + 1 != int(ops.size()) && ops[size_t(i) + 1].kind != OpKind::branch_next &&
            ops[size_t(i) + 1].kind != OpKind::branches_end)
            throw InvalidArgument("program: softmax may only be last, of the net or of a branch");
        if (op.kind != OpKind::rescaling) output_op = i;
        width = op.out;
        widest = std::max(widest, width);
    }
    if (!open.empty())
        throw InvalidArgument(std::string("program: ") + op_names[int(ops[size_t(open.back())].kind)] +
                              " without its end");
    if (ops.empty()) throw InvalidArgument("program: a net needs at least one op");
    outputs = width;
}

bool Plan::is_random() const {
    return std::any_of(ops.begin(), ops.end(), [](const Op& o) { return o.is_random(); });
}

bool Plan::has_constraints() const {
    return std::any_of(tensors.begin(), tensors.end(), [](const Tensor& t) { return bool(t.constraint); });
}

bool Plan::has_functions() const {
    return std::any_of(ops.begin(), ops.end(), [](const Op& o) { return o.kind == OpKind::function; });
}

bool Plan::has_matrix_penalties() const {
    return std::any_of(ops.begin(), ops.end(),
                       [](const Op& o) { return o.kind == OpKind::dense && o.matrix_penalty(); });
}

int64_t Training::totals(int64_t outputs) const {
    int64_t n = 2;
    for (const Metric& m : metrics) n += m.states(m.head < 0 ? outputs : heads[size_t(m.head)].cols);
    return n;
}

void Training::place_heads() {
    int64_t first = 0, first_target = 0;
    for (Head& h : heads) {
        h.first = first, h.first_target = first_target;
        first += h.cols, first_target += h.targets;
    }
}

bool Training::hook_has_loss() const {
    return custom || std::any_of(heads.begin(), heads.end(), [](const Head& h) { return h.custom; });
}

int64_t Training::target_columns() const { return heads.back().first_target + heads.back().targets; }

LossForm::LossForm(const Plan& plan, const Training& t)
    : LossForm(t, plan.ops.back().has_activation() ? plan.ops.back().activation : ops::Activation::linear) {}

LossForm::LossForm(const LossTerm& t, ops::Activation act) {
    fused = !t.from_logits &&
            ((t.categorical() && act == ops::Activation::softmax) || (t.binary() && act == ops::Activation::sigmoid));
    logits = fused || (t.from_logits && (t.categorical() || t.binary()));
    kind = t.binary() && logits ? ops::Loss::binary_crossentropy_logits : t.loss;
}

void check_shapes(const Plan& plan, const Training* training, const Dataset& data) {
    if (!training) throw InternalError("configure() must come before training or evaluation");
    if (data.rows() < 1 || data.x.cols != plan.inputs) throw InvalidArgument("x must be (rows >= 1, inputs)");
    const bool any_targets = training->custom && training->metrics.empty();
    if (!training->heads.empty()) {
        const int64_t needed = training->target_columns(), weighted = needed + int64_t(training->heads.size());
        if (!data.y || data.y.rows != data.rows() || (data.y.cols != needed && data.y.cols != weighted))
            throw InvalidArgument("y must be (rows, target columns of all heads), or have a column more for each head");
        return;
    }
    if (!data.y || data.y.rows != data.rows() || data.y.cols < 1 ||
        (!any_targets && data.y.cols != (training->sparse() ? 1 : plan.outputs)))
        throw InvalidArgument("y must be (rows, outputs), or (rows,) class ids for the sparse loss");
}

void check_training(const Plan& plan, const Training& t) {
    if (!t.heads.empty() && t.heads.back().first + t.heads.back().cols != plan.outputs)
        throw InvalidArgument("loss: the heads must have all outputs");
    if (!(t.hyper.ns_steps >= 0 && t.hyper.ns_steps <= 1000))
        throw InvalidArgument("optimizer: ns_steps must be from 0 to 1000");
    if (!t.loss_params.empty() && int64_t(t.loss_params.size()) != plan.outputs)
        throw InvalidArgument("loss: params must have a number for each output");
    for (const Head& head : t.heads)
        if (!head.loss_params.empty()) throw InvalidArgument("loss: a head has no params");
    if (!t.heads.empty() && t.target_columns() < 1) throw InvalidArgument("loss: a head with a loss is needed");
    for (const Metric& m : t.metrics)
        if (t.heads.empty() ? m.head != -1 || m.is_loss : m.head < 0 || m.head >= int(t.heads.size()))
            throw InvalidArgument("metrics must be of a head if there are heads, and only then");
    for (const Metric& m : t.metrics) {
        if (m.head < 0 || m.is_loss) continue;
        const Head& h = t.heads[size_t(m.head)];
        if (!h.sparse() && h.targets != h.cols)
            throw InvalidArgument("metrics of a head need a target for each of its outputs");
    }
    if (!t.frozen.empty() && t.frozen.size() != plan.ops.size())
        throw InvalidArgument("frozen: whether it is must be said of each op");
    const std::string name = t.optimizer_name();
    if (t.has_frozen() && (t.full_batch() || t.kfac())) throw InvalidArgument(name + " freezes no layers");
    if (plan.has_constraints() && t.full_batch()) throw InvalidArgument(name + " keeps no constraints");
    if (!t.has_factors()) return;
    if (t.works_on() != ops::Works::elements)
        throw InvalidArgument(name + " takes no factors for tensors of their own");
    for (const auto* factors : {&t.rate_factors, &t.decay_factors})
        if (!factors->empty() && factors->size() != plan.trainable.size())
            throw InvalidArgument("optimizer: one factor for each trainable tensor is needed");
}

std::string unknown_op(const Plan& plan, unsigned path) {
    for (const Op& o : plan.ops)
        if (!is_known_to(path, o.kind)) return std::string("it has a layer of kind ") + op_names[int(o.kind)];
    return "";
}

std::string unusual(const Plan& plan, const Training* training) {
    for (const Op& o : plan.ops) {
        if (!o.normalizes()) continue;
        if (!o.scales || !o.centers) return "a normalization has no gamma or no beta";
        if (o.kernel_l1 != 0 || o.kernel_l2 != 0 || o.bias_l1 != 0 || o.bias_l2 != 0)
            return "there is a penalty on gamma or beta";
    }
    if (!training) return "";
    if (!training->heads.empty()) return "several heads have losses of their own";
    if (plan.has_constraints()) return "there are constraints";
    if (training->has_frozen()) return "layers are frozen";
    if (training->hyper.use_ema) return "an average of the weights is kept";
    return "";
}

int find_name(const char* family, const char* const* names, int count, const std::string& name) {
    for (int i = 0; i < count; ++i)
        if (name == names[i]) return i;
    std::string list;
    for (int i = 0; i < count; ++i) list += (i ? ", " : "") + std::string(names[i]);
    throw InvalidArgument(std::string(family) + ": unknown name '" + name + "'; known are " + list);
}

}  // namespace fd
