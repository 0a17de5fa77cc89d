#include "core/plan.h"

#include <algorithm>

namespace fd {
namespace {

// Beyond any memory; that sizes in bytes, and those of a few copies, are far from what an int64 holds.
constexpr int64_t most_numbers = int64_t(1) << 42;

void check_width(int64_t width, const char* what) {
    if (width < 1 || width > INT32_MAX)  // BLAS counts in int
        throw InvalidArgument(std::string("program: ") + what + " must be from 1 to 2**31 - 1");
}

}  // namespace

Plan::Plan(int64_t inputs, uint64_t seed, std::vector<Op> program, bool bf16)
    : bf16(bf16), inputs(inputs), seed(seed), ops(std::move(program)) {
    check_width(inputs, "inputs");
    int64_t width = inputs;
    widest = inputs;
    std::vector<int> open;
    auto add = [&](int op, int64_t rows, int64_t cols, bool vector, bool trains, double l1, double l2) {
        const bool float64 = ops[size_t(op)].kind == OpKind::normalization;
        Tensor t{op, rows, cols, vector, trains, l1, l2, float64, 0};
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
                op.kernel = vector(true);
                op.bias = vector(true);
                if (op.kind == OpKind::batch_norm) op.mean = vector(false), op.variance = vector(false);
                break;
            case OpKind::normalization:
                if (i) throw InvalidArgument("program: normalization must be the first op");
                op.mean = vector(false), op.variance = vector(false);
                break;
            case OpKind::rescaling: op.scale = vector(false), op.offset = vector(false); break;
            case OpKind::dropout: break;
            case OpKind::residual_begin: open.push_back(i); break;
            case OpKind::residual_end:
                if (open.empty()) throw InvalidArgument("program: residual_end without residual_begin");
                op.partner = open.back();
                ops[op.partner].partner = i;
                open.pop_back();
                if (ops[op.partner].in != width) throw InvalidArgument("program: a residual must keep its width");
                break;
        }
        if (op.has_activation() && op.activation == ops::Activation::softmax && i + 1 != int(ops.size()))
            throw InvalidArgument("program: softmax may only be last");
        if (op.kind != OpKind::rescaling) output_op = i;
        width = op.out;
        widest = std::max(widest, width);
    }
    if (!open.empty()) throw InvalidArgument("program: residual_begin without residual_end");
    if (ops.empty()) throw InvalidArgument("program: a net needs at least one op");
    outputs = width;
}

bool Plan::has_dropout() const {
    return std::any_of(ops.begin(), ops.end(), [](const Op& o) { return o.kind == OpKind::dropout; });
}

bool Plan::has_matrix_penalties() const {
    return std::any_of(ops.begin(), ops.end(),
                       [](const Op& o) { return o.kind == OpKind::dense && o.matrix_penalty(); });
}

int64_t Training::totals(int64_t outputs) const {
    int64_t n = 2;
    for (const Metric& m : metrics) n += m.states(outputs);
    return n;
}

LossForm::LossForm(const Plan& plan, const Training& t) {
    const Op& top = plan.ops.back();
    const auto act = top.has_activation() ? top.activation : ops::Activation::linear;
    fused = !t.from_logits &&
            ((t.categorical() && act == ops::Activation::softmax) || (t.binary() && act == ops::Activation::sigmoid));
    logits = fused || (t.from_logits && (t.categorical() || t.binary()));
    kind = t.binary() && logits ? ops::Loss::binary_crossentropy_logits : t.loss;
}

void check_shapes(const Plan& plan, const Training* training, const Dataset& data) {
    if (!training) throw InternalError("configure() must come before training or evaluation");
    if (data.rows() < 1 || data.x.cols != plan.inputs) throw InvalidArgument("x must be (rows >= 1, inputs)");
    if (!data.y || data.y.rows != data.rows() || data.y.cols != (training->sparse() ? 1 : plan.outputs))
        throw InvalidArgument("y must be (rows, outputs), or (rows,) class ids for the sparse loss");
}

std::string unknown_op(const Plan& plan, unsigned path) {
    for (const Op& o : plan.ops)
        if (!is_known_to(path, o.kind)) return std::string("it has a layer of kind ") + op_names[int(o.kind)];
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
