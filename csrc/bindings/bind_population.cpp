// Population of fastdense._core and fastdense._cuda: many nets of one shape over core/population.h. Arrays have one entry per start in front.
#include <algorithm>
#include <limits>

#include "bindings/net_binding.h"
#include "core/population.h"

namespace fd::bindings {
namespace {

using Numbers = py::array_t<double, py::array::c_style>;
using Seeds = py::array_t<uint64_t, py::array::c_style>;
using Mask = py::array_t<bool, py::array::c_style>;

class Population : NetBinding<PopulationBackend> {
public:
    Population(MakePopulation make, const py::dict& program, const Seeds& seeds, const py::dict& numbers)
        : NetBinding(made(make, program, seeds, numbers)) {}

    void configure(const py::dict& training) {
        const InUse use(busy_);
        net_->configure(training_of(training));
    }

    py::list get_tensors() const {
        const InUse use(busy_);
        return read_tensors([&](const Tensor& t) { return shape(t); });
    }

    void set_tensors(const py::list& given) {
        const InUse use(busy_);
        write_tensors(given, [&](const py::handle& a, const Tensor& t, size_t) {
            return exact(a, dtype_of(t, net_->dtype()),
                         t.float64 ? shape_of(t) : shape(t));  // statistics of raw data: one for all
        });
    }

    py::list get_slots() const {
        const InUse use(busy_);
        return read_slots(net_->dtype(), [&](const Tensor& t) { return shape(t); });
    }

    // What optimizers remember besides slots: nothing, of those that lanes know.
    py::array_t<double> get_numbers() const {
        return py::array_t<double>(std::vector<py::ssize_t>{py::ssize_t(net_->starts()), 0});
    }

    void set_slots(const py::list& slots, int64_t step, const py::array_t<double>&) {
        const InUse use(busy_);
        counter(step, "step");
        write_slots(checked_slots(slots, "set_slots", [&](const py::handle& a, const Tensor& t) {
            return exact(a, net_->dtype(), shape(t));
        }));
        net_->set_step(step);
    }

    // `call`: a fastdense.calls.PopulationCall.
    py::dict train(const py::object& call) {
        const InUse use(busy_);
        PopulationRequest r;
        const py::object x = call.attr("x"), y = call.attr("y"), weights = call.attr("w");
        r.start_weights = own_weights(weights, py::ssize_t(view_of(x).rows));
        r.train = data_of(x, y, r.start_weights ? py::none() : weights);
        check_labels(r.train);
        const auto batch_size = py::cast<int64_t>(call.attr("batch_size"));
        auto losses = py::cast<py::array_t<double>>(call.attr("losses"));
        r.epoch = counter(py::cast<int64_t>(call.attr("epoch")), "epoch");
        r.epochs = losses.ndim() ? losses.shape(0) : 0;
        if (batch_size < 1) throw InvalidArgument("batch_size must be at least 1");
        r.batch_size = std::min(batch_size, std::max<int64_t>(r.train.rows(), 1));
        const int64_t starts = net_->starts();
        const int64_t steps = r.epochs * ((r.train.rows() + r.batch_size - 1) / r.batch_size);
        const auto step_rates = py::cast<Numbers>(call.attr("step_rates"));
        const auto member_scale = py::cast<std::optional<Numbers>>(call.attr("member_scale"));
        const auto active = py::cast<std::optional<Mask>>(call.attr("active"));
        if (step_rates.size() != steps) throw InvalidArgument("step_rates must have one number a step");
        if (member_scale && member_scale->size() != starts) throw InvalidArgument("member_scale must be (starts,)");
        if (active && active->size() != starts) throw InvalidArgument("active must be (starts,)");
        if (losses.ndim() != 2 || losses.shape(1) != starts || !(losses.flags() & py::array::c_style) ||
            !losses.writeable())
            throw InvalidArgument("losses must be writeable, C-ordered (epochs, starts)");
        const py::object order_seed = call.attr("order_seed");
        r.shuffle = py::cast<bool>(call.attr("shuffle"));
        std::optional<Seeds> order_seeds;
        if (py::isinstance<py::array>(order_seed)) {
            order_seeds = py::cast<Seeds>(order_seed);
            if (order_seeds->size() != starts) throw InvalidArgument("order_seed must be one number or (starts,)");
            r.order_seeds = order_seeds->data();
        } else if (!order_seed.is_none()) {
            r.one_order = true;
            r.order_seed = py::cast<uint64_t>(order_seed);
        }
        r.step_rates = step_rates.data();
        r.member_scale = member_scale ? member_scale->data() : nullptr;
        r.active = active ? reinterpret_cast<const uint8_t*>(active->data()) : nullptr;
        r.losses = losses.mutable_data();
        r.threads = thread_count(py::cast<int>(call.attr("n_threads")));
        const py::object progress = call.attr("progress");
        Signals signals;
        r.tick = [&](double share) {
            return signals.look([&] {
                if (!progress.is_none()) progress(share);
            });
        };
        PopulationOutcome out;
        const bool interrupted = train_without_gil([&] { out = net_->train(r); }, signals);
        py::dict result;
        result["epochs"] = py::array_t<int64_t>(py::ssize_t(out.epochs.size()), out.epochs.data());
        result["interrupted"] = out.interrupted || interrupted;
        result["ended"] = false;
        return result;
    }

    Numbers evaluate(const py::object& x, const py::object& y, const py::object& weights, int n_threads,
                     const std::optional<Mask>& which) {
        const InUse use(busy_);
        const double* own = own_weights(weights, py::ssize_t(view_of(x).rows));
        const Dataset d = data_of(x, y, own ? py::none() : weights);
        check_labels(d);
        const uint8_t* wanted = which ? mask(*which) : nullptr;
        Numbers totals({py::ssize_t(net_->starts()), py::ssize_t(net_->training()->totals(plan().outputs))});
        double* to = totals.mutable_data();
        std::fill_n(to, totals.size(), std::numeric_limits<double>::quiet_NaN());
        without_gil([&](const Poll& poll) { net_->evaluate(d, own, wanted, thread_count(n_threads), poll, to); });
        return totals;
    }

    void predict(const py::object& x, py::array out, int n_threads) {
        const InUse use(busy_);
        const View v = mine(view_of(x));
        if (out.ndim() != 3 || out.shape(0) != net_->starts() || out.shape(1) != v.rows ||
            out.shape(2) != plan().outputs || dtype_of(out) != net_->dtype() || !(out.flags() & py::array::c_style) ||
            !out.writeable())
            throw InvalidArgument(
                "predict: out must be writeable, C-ordered (starts, rows, outputs) of the nets' dtype");
        void* to = out.mutable_data();
        without_gil([&](const Poll& poll) { net_->predict(v, thread_count(n_threads), poll, to); });
    }

    void keep(const Mask& which) { net_->keep(mask(which)); }
    void restore(const Mask& which) { net_->restore(mask(which)); }

private:
    // `numbers`: by name what members have for themselves, see core/population.h; names may be missing.
    static std::unique_ptr<PopulationBackend> made(MakePopulation make, const py::dict& program, const Seeds& seeds,
                                                   const py::dict& numbers) {
        if (seeds.ndim() != 1) throw InvalidArgument("seeds must be (starts,)");
        const std::vector<Op> ops = ops_of(program);
        const auto dropouts =
            std::count_if(ops.begin(), ops.end(), [](const Op& o) { return o.kind == OpKind::dropout; });
        std::vector<Numbers> held;
        auto own = [&](const char* name, py::ssize_t each) -> const double* {
            if (!numbers.contains(name)) return nullptr;
            held.push_back(py::cast<Numbers>(numbers[name]));
            if (held.back().ndim() < 1 || held.back().shape(0) != seeds.size() ||
                held.back().size() != seeds.size() * each)
                throw InvalidArgument(std::string(name) +
                                      (each == 1 ? " must be (starts,)" : " must be (starts, dropout ops)"));
            return held.back().data();
        };
        MemberNumbers given;
        given.penalties = own("penalty", 1);
        given.dropouts = own("dropout", py::ssize_t(dropouts));
        given.weight_decays = own("weight_decay", 1);
        given.label_smoothings = own("label_smoothing", 1);
        return make(field<int64_t>(program, "inputs"), {seeds.data(), seeds.data() + seeds.size()}, given, ops,
                    net_type(program));
    }
    std::vector<py::ssize_t> shape(const Tensor& t) const {
        auto s = shape_of(t);
        s.insert(s.begin(), net_->starts());
        return s;
    }
    const uint8_t* mask(const Mask& which) const {
        if (which.size() != net_->starts()) throw InvalidArgument("which must be (starts,)");
        return reinterpret_cast<const uint8_t*>(which.data());
    }
    static py::array exact(const py::handle& given, DType dtype, const std::vector<py::ssize_t>& shape) {
        const auto a = py::cast<py::array>(given);
        bool fits = dtype_of(a) == dtype && (a.flags() & py::array::c_style) && size_t(a.ndim()) == shape.size();
        for (size_t i = 0; fits && i < shape.size(); ++i) fits = a.shape(py::ssize_t(i)) == shape[i];
        if (!fits) throw InvalidArgument("set_tensors or set_slots: an array has the wrong dtype, order or shape");
        return a;
    }
    // (starts, rows) weights, or null if they are the same for all nets
    const double* own_weights(const py::object& weights, py::ssize_t rows) const {
        if (weights.is_none()) return nullptr;
        if (is_on_device(weights)) {
            const View v = mine(device_view_of(weights));
            if (v.rows != net_->starts() || v.cols != rows || (v.rows == rows && v.cols == 1)) return nullptr;
            if (v.dtype != DType::f64 || (v.cols > 1 && v.col_stride != 8) ||
                (v.rows > 1 && v.row_stride != 8 * v.cols))
                throw InvalidArgument("weights must be C-ordered float64 (starts, rows)");
            return reinterpret_cast<const double*>(v.data);
        }
        const auto w = py::cast<py::array>(weights);
        if (w.ndim() != 2) return nullptr;
        if (w.shape(0) != net_->starts() || w.shape(1) != rows || dtype_of(w) != DType::f64 ||
            !(w.flags() & py::array::c_style))
            throw InvalidArgument("weights must be C-ordered float64 (starts, rows)");
        return static_cast<const double*>(w.data());
    }
};

}  // namespace

void bind_population(py::module_& m, MakePopulation make, const char* why_name, WhyNotTogether why) {
    using namespace py::literals;
    py::class_<Population>(m, "Population", py::module_local())  // each device's module has its own
        .def(py::init([make](const py::dict& program, const Seeds& seeds, const py::dict& numbers) {
                 return std::make_unique<Population>(make, program, seeds, numbers);
             }),
             "program"_a, "seeds"_a, "numbers"_a)
        .def("configure", bound(&Population::configure), "training"_a)
        .def("get_tensors", bound(&Population::get_tensors))
        .def("set_tensors", bound(&Population::set_tensors), "tensors"_a)
        .def("get_slots", bound(&Population::get_slots))
        .def("get_numbers", bound(&Population::get_numbers))
        .def("set_slots", bound(&Population::set_slots), "slots"_a, "step"_a, "numbers"_a)
        .def("train", bound(&Population::train), "call"_a)
        .def("evaluate", bound(&Population::evaluate), "x"_a, "y"_a, "w"_a, py::kw_only(), "n_threads"_a, "which"_a)
        .def("predict", bound(&Population::predict), "x"_a, "out"_a, py::kw_only(), "n_threads"_a)
        .def("keep", bound(&Population::keep), "which"_a)
        .def("restore", bound(&Population::restore), "which"_a);
    m.def(
        why_name,
        [why](const py::dict& program, const py::dict& training, int64_t batch_rows) -> std::string {
            if (mixed_precision(program)) return "products of bfloat16 are made for wide layers";
            const Plan plan(field<int64_t>(program, "inputs"), 0, ops_of(program));
            return why(plan, training_of(training), net_type(program), batch_rows);
        },
        "program"_a, "training"_a, "batch_rows"_a);
}

}  // namespace fd::bindings
