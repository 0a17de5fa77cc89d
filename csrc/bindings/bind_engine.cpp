// fastdense._core.Engine: the engine interface of docs/architecture.md over core/backend.h.
#include <atomic>

#include "bindings/arrays.h"
#include "core/parallel.h"

namespace fd::bindings {
namespace {

template <class T>
T field(const py::dict& d, const char* key) {
    if (!d.contains(key)) throw InvalidArgument(std::string("missing key '") + key + "'");
    return py::cast<T>(d[key]);
}
template <class T>
void read(const py::dict& d, const char* key, T& out) {
    if (d.contains(key)) out = py::cast<T>(d[key]);
}

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

// A net's buffers serve one call at a time. A second caller cannot wait while holding the GIL, which the first one needs.
class InUse {
public:
    explicit InUse(std::atomic<bool>& flag) : flag_(flag) {
        if (flag_.exchange(true))
            throw std::runtime_error(
                "this model is busy in another call (a thread or a progress callback); wait for it, or give "
                "each thread its own copy with model.clone()");
    }
    ~InUse() { flag_ = false; }
    InUse(const InUse&) = delete;
    InUse& operator=(const InUse&) = delete;

private:
    std::atomic<bool>& flag_;
};

class Engine {
public:
    explicit Engine(const py::dict& program) {
        std::vector<Op> ops;
        for (const py::handle& item : field<py::list>(program, "ops")) ops.push_back(op_of(py::cast<py::dict>(item)));
        const auto dtype = field<std::string>(program, "dtype");
        if (dtype != "float32" && dtype != "float64" && dtype != "bfloat16")
            throw InvalidArgument("dtype must be 'float32', 'float64' or 'bfloat16'");
        net_ = make_cpu(field<int64_t>(program, "inputs"), field<uint64_t>(program, "seed"), std::move(ops),
                        dtype == "float64" ? DType::f64 : DType::f32, dtype == "bfloat16");
    }

    py::list get_tensors() const {
        const InUse use(busy_);
        py::list out;
        for (size_t i = 0; i < plan().tensors.size(); ++i) {
            py::array a = empty_array(dtype_of(plan().tensors[i], net_->dtype()), shape_of(plan().tensors[i]));
            net_->read_tensor(int(i), a.mutable_data());
            out.append(a);
        }
        return out;
    }

    void set_tensors(const py::list& given) {
        const InUse use(busy_);
        if (given.size() != plan().tensors.size())
            throw InvalidArgument("set_tensors: " + std::to_string(given.size()) + " arrays given, " +
                                  std::to_string(plan().tensors.size()) + " needed");
        std::vector<py::array> checked;  // all of them before the first is written
        for (size_t i = 0; i < given.size(); ++i)
            checked.push_back(as_tensor(given[i], plan().tensors[i], dtype_of(plan().tensors[i], net_->dtype()),
                                        "set_tensors: array " + std::to_string(i)));
        for (size_t i = 0; i < checked.size(); ++i) net_->write_tensor(int(i), checked[i].data());
    }

    void configure(const py::dict& training) {
        const InUse use(busy_);
        net_->configure(training_of(training));
    }

    py::dict get_state() const {
        const InUse use(busy_);
        py::list slots;
        for (int s = 0; s < net_->slots(); ++s) {
            py::list slot;
            for (int tensor : plan().trainable) {
                py::array a = empty_array(net_->slot_dtype(), shape_of(plan().tensors[size_t(tensor)]));
                net_->read_slot(s, tensor, a.mutable_data());
                slot.append(a);
            }
            slots.append(slot);
        }
        py::dict state;
        state["step"] = net_->step();
        state["slots"] = slots;
        const std::vector<double>& numbers = net_->numbers();
        state["numbers"] = py::array_t<double>(py::ssize_t(numbers.size()), numbers.data());
        return state;
    }

    void set_state(const py::dict& state) {
        const InUse use(busy_);
        const auto slots = field<py::list>(state, "slots");
        if (int(slots.size()) != net_->slots())
            throw InvalidArgument("set_state: wrong number of slots for this optimizer");
        std::vector<double> numbers;
        read(state, "numbers", numbers);
        if (numbers.size() != net_->numbers().size())
            throw InvalidArgument("set_state: wrong count of numbers for this optimizer");
        std::vector<std::vector<py::array>> checked;
        for (const py::handle& item : slots) {
            const auto slot = py::cast<py::list>(item);
            if (slot.size() != plan().trainable.size())
                throw InvalidArgument("set_state: wrong number of arrays in a slot");
            checked.emplace_back();
            for (size_t k = 0; k < slot.size(); ++k)
                checked.back().push_back(
                    as_tensor(slot[k], plan().tensors[size_t(plan().trainable[k])], net_->slot_dtype(), "set_state"));
        }
        for (size_t s = 0; s < checked.size(); ++s)
            for (size_t k = 0; k < checked[s].size(); ++k)
                net_->write_slot(int(s), plan().trainable[k], checked[s][k].data());
        net_->numbers() = numbers;
        net_->set_step(field<int64_t>(state, "step"));
    }

    py::dict train(const py::array& x, const py::object& y, const py::object& weights, const py::object& val,
                   int64_t batch_size, bool shuffle, int64_t epoch, int64_t first_batch,
                   const py::array_t<double, py::array::c_style>& learning_rates, bool stop_on_nan,
                   const py::object& progress, int n_threads, bool goes_on) {
        const InUse use(busy_);
        TrainRequest r;
        r.goes_on = goes_on;
        Dataset validation;
        r.train = dataset_of(x, y, weights);
        py::tuple held;  // keeps the validation arrays alive
        if (!val.is_none()) {
            held = py::cast<py::tuple>(val);
            if (held.size() != 3) throw InvalidArgument("val must be (x, y, weights)");
            validation = dataset_of(py::cast<py::array>(held[0]), held[1], held[2]);
            check_labels(validation);
            r.validation = &validation;
        }
        check_labels(r.train);
        if (batch_size < 1) throw InvalidArgument("batch_size must be at least 1");
        r.batch_size = batch_size;
        r.shuffle = shuffle;
        r.epoch = epoch;
        r.first_batch = first_batch;
        r.learning_rates = learning_rates.data();
        r.steps = learning_rates.size();
        r.stop_on_nan = stop_on_nan;
        r.threads = n_threads > 0 ? n_threads : available_threads();
        const int64_t batch = std::min(batch_size, std::max<int64_t>(r.train.rows(), 1));
        if (epoch < 0 || first_batch < 0 || first_batch * batch >= r.train.rows())
            throw InvalidArgument("epoch and first_batch must name an existing batch");
        Signals signals;
        r.tick = [&](int64_t steps, double loss, double rows) {
            return signals.look([&] {
                if (!progress.is_none()) progress(steps, loss, rows);
            });
        };
        r.poll = [&] { return signals(); };
        TrainOutcome out;
        {
            const WithoutGil unlocked;
            out = net_->train(r);
        }
        signals.look([] {});  // a Ctrl-C that came after the last look must not cost the result
        if (signals.is_interrupt()) out.interrupted = true;
        else signals.rethrow();
        const py::ssize_t k = net_->training()->totals(plan().outputs);
        auto table = [&](const std::vector<double>& v) {
            py::array_t<double> a({py::ssize_t(v.size()) / k, k});
            std::copy(v.begin(), v.end(), a.mutable_data());
            return a;
        };
        py::dict result;
        result["steps"] = out.steps;
        result["totals"] = table(out.totals);
        result["val_totals"] = table(out.validation);
        result["partial"] = py::array_t<double>(k, out.partial.data());
        result["nonfinite_step"] = out.nonfinite_step;
        result["interrupted"] = out.interrupted;
        result["ended"] = out.ended;
        return result;
    }

    py::array_t<double> evaluate(const py::array& x, const py::object& y, const py::object& weights, int n_threads) {
        const InUse use(busy_);
        const Dataset d = dataset_of(x, y, weights);
        check_labels(d);
        std::vector<double> totals(size_t(net_->training()->totals(plan().outputs)));
        Signals signals;
        {
            const WithoutGil unlocked;
            net_->evaluate(d, threads(n_threads), [&] { return signals(); }, totals.data());
        }
        signals.rethrow();
        return py::array_t<double>(py::ssize_t(totals.size()), totals.data());
    }

    // A single row costs less than the checks and the bookkeeping of predict(); None sends the caller there.
    py::object predict_row(const py::object& given) {
        const bool single = net_->dtype() == DType::f32;
        if (single ? !py::isinstance<py::array_t<float, py::array::c_style>>(given)
                   : !py::isinstance<py::array_t<double, py::array::c_style>>(given))
            return py::none();
        const auto x = py::reinterpret_borrow<py::array>(given);
        if (x.ndim() != 2 || x.shape(0) != 1 || x.shape(1) != plan().inputs ||
            reinterpret_cast<uintptr_t>(x.data()) % size_t(x.itemsize()))
            return py::none();
        if (busy_) return py::none();  // nobody can begin while this thread holds the GIL
        py::array out = empty_array(net_->dtype(), {1, plan().outputs});
        if (!net_->predict_row(x.data(), out.mutable_data())) return py::none();
        return out;
    }

    void predict(const py::array& x, py::array out, int n_threads) {
        const InUse use(busy_);
        const View v = view_of(x);
        if (out.ndim() != 2 || out.shape(0) != v.rows || out.shape(1) != plan().outputs ||
            dtype_of(out) != net_->dtype() || !(out.flags() & py::array::c_style) || !out.writeable())
            throw InvalidArgument(
                "predict: out must be a writeable C-ordered (rows, outputs) array of the net's dtype");
        void* to = out.mutable_data();
        Signals signals;
        {
            const WithoutGil unlocked;
            net_->predict(v, threads(n_threads), [&] { return signals(); }, to);
        }
        signals.rethrow();
    }

    py::tuple loss_and_grad(const py::array& x, const py::object& y, const py::object& weights, bool training,
                            int n_threads) {
        const InUse use(busy_);
        const Dataset d = dataset_of(x, y, weights);
        check_labels(d);
        py::list gradients;
        std::vector<void*> to;
        for (int tensor : plan().trainable) {
            py::array a = empty_array(net_->dtype(), shape_of(plan().tensors[size_t(tensor)]));
            to.push_back(a.mutable_data());
            gradients.append(a);
        }
        double loss;
        Signals signals;
        {
            const WithoutGil unlocked;
            loss = net_->loss_and_grad(d, training, threads(n_threads), [&] { return signals(); }, to.data());
        }
        signals.rethrow();
        return py::make_tuple(loss, gradients);
    }

    // Kernel and bias of the last dense op, float64; None if there is no solution.
    py::object solve_output(const py::array& x, const py::array& y, const py::object& weights, double ridge,
                            int n_threads) {
        const InUse use(busy_);
        const Dataset d = dataset_of(x, y, weights);
        const Op& top = plan().ops.back();
        py::array kernel = empty_array(DType::f64, {top.in, top.out}), bias = empty_array(DType::f64, {top.out});
        auto *to = static_cast<double*>(kernel.mutable_data()), *shift = static_cast<double*>(bias.mutable_data());
        bool solved;
        Signals signals;
        {
            const WithoutGil unlocked;
            solved = net_->solve_output(
                d, ridge, threads(n_threads), [&] { return signals(); }, to, top.bias < 0 ? nullptr : shift);
        }
        signals.rethrow();
        if (!solved) return py::none();
        return py::make_tuple(kernel, top.bias < 0 ? py::object(py::none()) : py::object(bias));
    }

    py::list activations(const py::array& x, int n_threads) {
        const InUse use(busy_);
        const View v = view_of(x);
        py::list out;
        std::vector<void*> to;
        for (const Op& op : plan().ops) {
            py::array a = empty_array(net_->dtype(), {v.rows, op.out});
            to.push_back(a.mutable_data());
            out.append(a);
        }
        Signals signals;
        {
            const WithoutGil unlocked;
            net_->activations(v, threads(n_threads), [&] { return signals(); }, to.data());
        }
        signals.rethrow();
        return out;
    }

private:
    const Plan& plan() const { return net_->plan(); }
    static int threads(int n) { return n > 0 ? n : available_threads(); }

    // Class ids index memory, so they are checked even if Python has done so.
    void check_labels(const Dataset& d) const {
        const Training* t = net_->training();
        if (!t) throw InternalError("the engine was not configured");
        if (!t->sparse() || !d.y) return;
        const auto bad = out_of_range(d.y, plan().outputs);
        if (bad >= 0) throw InvalidArgument("class id out of range in row " + std::to_string(bad));
    }
    static int64_t out_of_range(const View& y, int64_t classes);

    std::unique_ptr<Backend> net_;
    mutable std::atomic<bool> busy_{false};
};

template <class S>
int64_t first_outside(const View& y, int64_t classes) {
    for (int64_t r = 0; r < y.rows; ++r) {
        S v;
        std::memcpy(&v, y.row(r), sizeof(S));
        if (!(v >= S(0)) || uint64_t(v) >= uint64_t(classes)) return r;
    }
    return -1;
}
int64_t Engine::out_of_range(const View& y, int64_t classes) {
    switch (y.dtype) {
        case DType::boolean:
        case DType::u8: return first_outside<uint8_t>(y, classes);
        case DType::i8: return first_outside<int8_t>(y, classes);
        case DType::i16: return first_outside<int16_t>(y, classes);
        case DType::u16: return first_outside<uint16_t>(y, classes);
        case DType::i32: return first_outside<int32_t>(y, classes);
        case DType::u32: return first_outside<uint32_t>(y, classes);
        case DType::i64: return first_outside<int64_t>(y, classes);
        case DType::u64: return first_outside<uint64_t>(y, classes);
        case DType::f32:
        case DType::f64: break;
    }
    throw InvalidArgument("class ids must be integers");
}

}  // namespace

void bind_engine(py::module_& m) {
    using namespace py::literals;
    py::class_<Engine>(m, "Engine")
        .def(py::init<const py::dict&>(), "program"_a)
        .def("get_tensors", &Engine::get_tensors)
        .def("set_tensors", &Engine::set_tensors, "tensors"_a)
        .def("configure", &Engine::configure, "training"_a)
        .def("get_state", &Engine::get_state)
        .def("set_state", &Engine::set_state, "state"_a)
        .def("train", &Engine::train, "x"_a, "y"_a, "w"_a, "val"_a, py::kw_only(), "batch_size"_a, "shuffle"_a,
             "epoch"_a, "first_batch"_a, "learning_rates"_a, "stop_on_nan"_a, "progress"_a, "n_threads"_a,
             "goes_on"_a = false)
        .def("evaluate", &Engine::evaluate, "x"_a, "y"_a, "w"_a, py::kw_only(), "n_threads"_a)
        .def("predict_row", &Engine::predict_row, "x"_a)
        .def("predict", &Engine::predict, "x"_a, "out"_a, py::kw_only(), "n_threads"_a)
        .def("loss_and_grad", &Engine::loss_and_grad, "x"_a, "y"_a, "w"_a, py::kw_only(), "training"_a, "n_threads"_a)
        .def("solve_output", &Engine::solve_output, "x"_a, "y"_a, "w"_a, py::kw_only(), "ridge"_a, "n_threads"_a)
        .def("activations", &Engine::activations, "x"_a, py::kw_only(), "n_threads"_a);
}

}  // namespace fd::bindings
