// fastdense._core.Engine: the engine interface of docs/design/interface.md over core/backend.h.
#include <cstdlib>
#include <optional>

#include "bindings/hook.h"
#include "bindings/net_binding.h"

namespace fd::bindings {
namespace {

class Engine : NetBinding<Backend> {
public:
    explicit Engine(std::unique_ptr<Backend> net) : NetBinding(std::move(net)) {}

    py::list get_tensors() const {
        const InUse use(busy_);
        return read_tensors(shape_of);
    }

    void set_tensors(const py::list& given) {
        const InUse use(busy_);
        write_tensors(given, [&](const py::handle& a, const Tensor& t, size_t i) {
            return as_tensor(a, t, dtype_of(t, net_->dtype()), "set_tensors: array " + std::to_string(i));
        });
    }

    void configure(const py::dict& training) {
        const InUse use(busy_);
        Training t = training_of(training);
        const py::object function = training.contains("hook") ? py::object(training["hook"]) : py::object(py::none());
        if (!function.is_none()) t.hook = std::make_shared<const Hook>(PythonHook(function));
        else if (t.hook_has_loss()) throw InvalidArgument("a custom loss needs a hook");
        net_->configure(t);
    }

    int64_t step() const { return net_->step(); }
    py::dict get_state() const {
        const InUse use(busy_);
        py::dict state;
        state["step"] = net_->step();
        state["slots"] = read_slots(net_->slot_dtype(), shape_of);
        const std::vector<double>& numbers = net_->numbers();
        state["numbers"] = py::array_t<double>(py::ssize_t(numbers.size()), numbers.data());
        return state;
    }

    void set_state(const py::dict& state) {
        const InUse use(busy_);
        const auto slots = checked_slots(
            field<py::list>(state, "slots"), "set_state",
            [&](const py::handle& a, const Tensor& t) { return as_tensor(a, t, net_->slot_dtype(), "set_state"); });
        std::vector<double> numbers;
        read(state, "numbers", numbers);
        if (numbers.size() != net_->numbers().size())
            throw InvalidArgument("set_state: wrong count of numbers for this optimizer");
        const int64_t step = counter(field<int64_t>(state, "step"), "step");
        write_slots(slots);
        net_->numbers() = numbers;
        net_->set_step(step);
    }

    // `call`: a fastdense.calls.TrainCall.
    py::dict train(const py::object& call) {
        const InUse use(busy_);
        TrainRequest r;
        r.train = data_of(call.attr("x"), call.attr("y"), call.attr("w"));
        r.goes_on = py::cast<bool>(call.attr("goes_on"));
        r.probe_level = py::cast<std::optional<int>>(call.attr("probe_level"));
        r.probe_first = py::cast<bool>(call.attr("probe_first"));
        if (r.probe_level && std::abs(*r.probe_level) > 30) throw InvalidArgument("probe_level must be from -30 to 30");
        Dataset validation;
        const py::object val = call.attr("val");
        if (!val.is_none()) {
            const auto given = py::cast<py::tuple>(val);
            if (given.size() != 3) throw InvalidArgument("val must be (x, y, w)");
            validation = data_of(given[0], given[1], given[2]);
            check_labels(validation);
            r.validation = &validation;
        }
        check_labels(r.train);
        const auto batch_size = py::cast<int64_t>(call.attr("batch_size"));
        if (batch_size < 1) throw InvalidArgument("batch_size must be at least 1");
        r.batch_size = std::min(batch_size, std::max<int64_t>(r.train.rows(), 1));
        r.shuffle = py::cast<bool>(call.attr("shuffle"));
        r.order_seed = py::cast<std::optional<uint64_t>>(call.attr("order_seed"));
        r.epoch = counter(py::cast<int64_t>(call.attr("epoch")), "epoch");
        r.first_batch = py::cast<int64_t>(call.attr("first_batch"));
        const auto step_rates = py::cast<py::array_t<double, py::array::c_style>>(call.attr("step_rates"));
        r.step_rates = step_rates.data();
        r.steps = step_rates.size();
        r.stop_on_nan = py::cast<bool>(call.attr("stop_on_nan"));
        r.threads = thread_count(py::cast<int>(call.attr("n_threads")));
        const py::object progress = call.attr("progress");
        const int64_t batches = (r.train.rows() + r.batch_size - 1) / r.batch_size;
        if (r.first_batch < 0 || r.first_batch >= batches)
            throw InvalidArgument("first_batch must name an existing batch");
        std::optional<py::error_already_set> unsummed;  // why ranks could not exchange numbers; written with the GIL
        const Ranks ranks = ranks_of(call.attr("ranks"), unsummed);
        if (ranks.sum) r.ranks = &ranks;
        Signals signals;
        r.tick = [&](int64_t steps, double loss, double rows) {
            return signals.look([&] {
                if (!progress.is_none()) progress(steps, loss, rows);
            });
        };
        r.poll = [&] { return signals(); };
        TrainOutcome out;
        const auto result = py::cast<py::dict>(call.attr("result"));
        const py::ssize_t k = net_->training()->totals(plan().outputs);
        const auto keep_finished = [&] {
            result["totals"] = table(std::move(out.totals), py::ssize_t(out.epochs), k);
            result["val_totals"] = table(std::move(out.validation), r.validation ? py::ssize_t(out.epochs) : 0, k);
        };
        try {
            out.interrupted |= train_without_gil([&] { net_->train(r, out); }, signals);
        } catch (...) {
            keep_finished();
            throw;
        }
        keep_finished();
        if (unsummed) throw py::error_already_set(std::move(*unsummed));
        result["steps"] = out.steps;
        result["partial"] = py::array_t<double>(k, out.partial.data());
        result["nonfinite_step"] = out.nonfinite_step;
        result["interrupted"] = out.interrupted;
        result["ended"] = out.ended;
        result["probes"] = out.probes.width ? py::object(probes_of(out.probes)) : py::none();  // a solver takes none
        return result;
    }

    int64_t probe_period(int64_t rows, int64_t batch_size) const {
        if (rows < 1 || batch_size < 1) throw InvalidArgument("rows and batch_size must be at least 1");
        return net_->probe_period(rows, batch_size);
    }

    py::array_t<double> evaluate(const py::object& x, const py::object& y, const py::object& weights, int n_threads,
                                 int64_t hook_rows) {
        const InUse use(busy_);
        const Dataset d = data_of(x, y, weights);
        check_labels(d);
        std::vector<double> totals(size_t(net_->training()->totals(plan().outputs)));
        if (hook_rows < 0) throw InvalidArgument("hook_rows must be at least 0");
        without_gil(
            [&](const Poll& poll) { net_->evaluate(d, thread_count(n_threads), poll, totals.data(), hook_rows); });
        return py::array_t<double>(py::ssize_t(totals.size()), totals.data());
    }

    // A single row costs less than the checks and the bookkeeping of predict(); None sends the caller there.
    py::object predict_row(const py::object& given) {
        const bool single = py::isinstance<py::array_t<float, py::array::c_style>>(given);
        if (!single && !py::isinstance<py::array_t<double, py::array::c_style>>(given)) return py::none();
        const auto x = py::reinterpret_borrow<py::array>(given);
        if (x.ndim() != 2 || x.shape(0) != 1 || x.shape(1) != plan().inputs ||
            reinterpret_cast<uintptr_t>(x.data()) % size_t(x.itemsize()))
            return py::none();
        if (busy_) return py::none();  // no call can begin while this thread holds the GIL
        py::array out = empty_array(net_->dtype(), {1, plan().outputs});
        if (!net_->predict_row(x.data(), single ? DType::f32 : DType::f64, out.mutable_data())) return py::none();
        return out;
    }

    void predict(const py::object& x, const py::object& out, int n_threads) {
        const InUse use(busy_);
        const View v = input_of(x);
        void* to = room(out, v.rows, plan().outputs, "predict: out");
        without_gil([&](const Poll& poll) { net_->predict(v, thread_count(n_threads), poll, to); });
    }

    // `empty`: makes an array for a result of the given shape; None: NumPy's.
    py::tuple loss_and_grad(const py::object& x, const py::object& y, const py::object& weights, bool training,
                            int n_threads, const py::object& empty) {
        const InUse use(busy_);
        const Dataset d = data_of(x, y, weights);
        check_labels(d);
        py::list gradients;
        std::vector<void*> to = gradient_room(empty, gradients);
        double loss = 0;
        without_gil([&](const Poll& poll) {
            loss = net_->loss_and_grad(d, training, thread_count(n_threads), poll, to.data());
        });
        return py::make_tuple(loss, gradients);
    }

    // (gradient of the inputs (rows, k * inputs), those of the trainable tensors or None)
    py::tuple vjp(const py::object& x, const py::object& d_out, const py::object& d_jacobian, bool parameters,
                  int n_threads) {
        const InUse use(busy_);
        const View v = input_of(x), d = input_of(d_out), j = d_jacobian.is_none() ? View() : input_of(d_jacobian);
        py::array d_x = empty_array(net_->dtype(), {v.rows, d.cols / plan().outputs * plan().inputs});
        void* const inputs = d_x.mutable_data();
        py::list gradients;
        std::vector<void*> to;
        if (parameters) to = gradient_room(py::none(), gradients);
        without_gil([&](const Poll& poll) {
            net_->vjp(v, d, j ? &j : nullptr, thread_count(n_threads), poll, inputs, parameters ? to.data() : nullptr);
        });
        return py::make_tuple(d_x, parameters ? py::object(gradients) : py::object(py::none()));
    }

    void apply_gradients(const py::list& given, double rate, int n_threads) {
        const InUse use(busy_);
        if (given.size() != plan().trainable.size()) throw InvalidArgument("apply_gradients: wrong count of arrays");
        std::vector<py::array> arrays;
        std::vector<const void*> from;
        for (size_t k = 0; k < given.size(); ++k) {
            const Tensor& t = plan().tensors[size_t(plan().trainable[k])];
            arrays.push_back(as_tensor(given[k], t, net_->dtype(), "apply_gradients: array " + std::to_string(k)));
            from.push_back(arrays.back().data());
        }
        without_gil([&](const Poll&) { net_->apply_gradients(from.data(), rate, thread_count(n_threads)); });
    }

    // Kernel and bias of the last dense op, float64; None if there is no solution.
    py::object solve_output(const py::object& x, const py::object& y, const py::object& weights, double ridge,
                            int n_threads) {
        const InUse use(busy_);
        const Dataset d = data_of(x, y, weights);
        const Op& top = plan().ops[size_t(plan().output_op)];
        py::array kernel = empty_array(DType::f64, {top.in, top.out}), bias = empty_array(DType::f64, {top.out});
        auto *to = static_cast<double*>(kernel.mutable_data()), *shift = static_cast<double*>(bias.mutable_data());
        bool solved = false;
        without_gil([&](const Poll& poll) {
            solved = net_->solve_output(d, ridge, thread_count(n_threads), poll, to, top.bias < 0 ? nullptr : shift);
        });
        if (!solved) return py::none();
        return py::make_tuple(kernel, top.bias < 0 ? py::object(py::none()) : py::object(bias));
    }

    py::list activations(const py::object& x, int n_threads, const py::object& empty) {
        const InUse use(busy_);
        const View v = input_of(x);
        py::list out;
        std::vector<void*> to;
        for (const Op& op : plan().ops) to.push_back(new_room(empty, {v.rows, op.out}, v.rows, op.out, out));
        without_gil([&](const Poll& poll) { net_->activations(v, thread_count(n_threads), poll, to.data()); });
        return out;
    }

private:
    // `given`: a fastdense.calls.RanksCall, or None. What its function raises is put into `raised`.
    static Ranks ranks_of(const py::object& given, std::optional<py::error_already_set>& raised) {
        Ranks ranks;
        if (given.is_none()) return ranks;
        ranks.rows = py::cast<int64_t>(given.attr("rows"));
        ranks.batch_rows = py::cast<int64_t>(given.attr("batch_rows"));
        ranks.last_batch_rows = py::cast<int64_t>(given.attr("last_batch_rows"));
        ranks.first_row = py::cast<int64_t>(given.attr("first_row"));
        ranks.last_first_row = py::cast<int64_t>(given.attr("last_first_row"));
        ranks.overlaps = py::cast<bool>(given.attr("overlaps"));
        ranks.sum = [function = py::object(given.attr("sum")), &raised](void* numbers, DType dtype, int64_t n,
                                                                        double factor, double& loss) {
            const WithGil locked;  // of whichever thread
            try {
                const py::dtype type = dtype == DType::f32 ? py::dtype::of<float>() : py::dtype::of<double>();
                const py::str owner;  // with one, the array is a view
                loss = py::cast<double>(function(py::array(type, {py::ssize_t(n)}, numbers, owner), factor, loss));
                return true;
            } catch (py::error_already_set& e) {
                raised.emplace(std::move(e));
                return false;
            }
        };
        return ranks;
    }
    // The first rows of a table, which the array takes over: there may be no memory for a second one.
    static py::array_t<double> table(std::vector<double>&& numbers, py::ssize_t rows, py::ssize_t columns) {
        auto kept = std::make_unique<std::vector<double>>(std::move(numbers));
        double* const first = kept->data();
        const py::capsule owner(kept.get(), [](void* p) { delete static_cast<std::vector<double>*>(p); });
        static_cast<void>(kept.release());
        return py::array_t<double>({rows, columns}, first, owner);
    }
    // One entry per record; "values" is (records, numbers of all ops).
    static py::dict probes_of(const ProbeRecords& found) {
        const auto count = py::ssize_t(found.records.size());
        py::array_t<int64_t> step(count), epoch(count), rank(count), nonfinite(count);
        py::array_t<double> loss(count), values({count, py::ssize_t(found.width)});
        for (py::ssize_t i = 0; i < count; ++i) {
            const ProbeRecord& r = found.records[size_t(i)];
            step.mutable_at(i) = r.step, epoch.mutable_at(i) = r.epoch, rank.mutable_at(i) = r.rank;
            nonfinite.mutable_at(i) = r.nonfinite_op, loss.mutable_at(i) = r.loss;
        }
        std::copy_n(found.values.begin(), count * found.width, values.mutable_data());
        py::dict out;
        out["step"] = step, out["epoch"] = epoch, out["rank"] = rank;
        out["loss"] = loss, out["nonfinite_op"] = nonfinite, out["values"] = values;
        return out;
    }

    View input_of(const py::object& x) const { return mine(view_of(x)); }
    // Where to write a (rows, cols) result; the caller keeps the array.
    void* room(const py::object& out, int64_t rows, int64_t cols, const std::string& where) const {
        View v;
        if (is_on_device(out)) {
            v = mine(device_view_of(out, true));
        } else {
            const auto a = py::cast<py::array>(out);
            if (!a.writeable()) throw InvalidArgument(where + " must be writeable");
            v = view_of(a);
        }
        const int64_t item = size_of(net_->dtype());
        if (v.rows != rows || v.cols != cols || v.dtype != net_->dtype() || (cols > 1 && v.col_stride != item) ||
            (rows > 1 && v.row_stride != cols * item))
            throw InvalidArgument(where + " must be a writeable C-ordered (rows, outputs) array of the net's dtype");
        return const_cast<char*>(v.data);
    }
    std::vector<void*> gradient_room(const py::object& empty, py::list& keep) const {
        std::vector<void*> to;
        for (int tensor : plan().trainable) {
            const Tensor& t = plan().tensors[size_t(tensor)];
            to.push_back(new_room(empty, shape_of(t), t.rows, t.cols, keep));
        }
        return to;
    }
    void* new_room(const py::object& empty, const std::vector<py::ssize_t>& shape, int64_t rows, int64_t cols,
                   py::list& keep) const {
        if (empty.is_none()) {
            py::array a = empty_array(net_->dtype(), shape);
            keep.append(a);
            return a.mutable_data();
        }
        const py::object a = empty(py::cast(shape).cast<py::tuple>());
        keep.append(a);
        return room(a, rows, cols, "empty: its result");
    }
};

}  // namespace

void bind_engine(py::module_& m, MakeNet make) {
    using namespace py::literals;
    py::class_<Engine>(m, "Engine", py::module_local())  // each device's module has its own
        .def(py::init([make](const py::dict& program) { return std::make_unique<Engine>(make(program)); }), "program"_a)
        .def("get_tensors", bound(&Engine::get_tensors))
        .def("set_tensors", bound(&Engine::set_tensors), "tensors"_a)
        .def("configure", bound(&Engine::configure), "training"_a)
        .def_property_readonly("step", &Engine::step)
        .def("get_state", bound(&Engine::get_state))
        .def("set_state", bound(&Engine::set_state), "state"_a)
        .def("train", bound(&Engine::train), "call"_a)
        .def("probe_period", bound(&Engine::probe_period), "rows"_a, "batch_size"_a)
        .def("evaluate", bound(&Engine::evaluate), "x"_a, "y"_a, "w"_a, py::kw_only(), "n_threads"_a, "hook_rows"_a = 0)
        .def("predict_row", bound(&Engine::predict_row), "x"_a)
        .def("predict", bound(&Engine::predict), "x"_a, "out"_a, py::kw_only(), "n_threads"_a)
        .def("loss_and_grad", bound(&Engine::loss_and_grad), "x"_a, "y"_a, "w"_a, py::kw_only(), "training"_a,
             "n_threads"_a, "empty"_a = py::none())
        .def("vjp", bound(&Engine::vjp), "x"_a, "d_out"_a, "d_jacobian"_a = py::none(), py::kw_only(), "parameters"_a,
             "n_threads"_a)
        .def("apply_gradients", bound(&Engine::apply_gradients), "gradients"_a, py::kw_only(), "rate"_a, "n_threads"_a)
        .def("solve_output", bound(&Engine::solve_output), "x"_a, "y"_a, "w"_a, py::kw_only(), "ridge"_a, "n_threads"_a)
        .def("activations", bound(&Engine::activations), "x"_a, py::kw_only(), "n_threads"_a, "empty"_a = py::none());
}

}  // namespace fd::bindings
