// The module's entry: loads the BLAS that lies beside it and lists what there is.
#include "bindings/gil.h"
#include "bindings/lowered.h"
#include "core/parallel.h"
#include "cpu/blas/gemm.h"
#include "cpu/simd/kernels.h"
#include "ops/rng.h"

namespace fd::bindings {
namespace {

std::string folder_of_this_file() {
    static const char here = 0;
    const std::string file = platform::file_of(&here);
    if (file.empty()) throw InternalError("the module's own file is unknown");
    return file.substr(0, file.rfind('/') + 1);
}

// to[i] = draw(i) for n numbers, unless a signal's handler raises. By one thread: initial values are few, and n_threads is not known.
template <class F>
void draw_numbers(int64_t n, double* to, F&& draw) {
    without_gil([&](const Poll& poll) {
        constexpr int64_t part = 1 << 18;  // a few milliseconds
        for (int64_t first = 0; first < n && !(first && poll()); first += part)
            for (int64_t i = first; i < std::min(n, first + part); ++i) to[i] = draw(i);
    });
}
py::array_t<double> random_uniform(uint64_t seed, uint32_t index, int64_t n) {
    py::array_t<double> out(n);
    draw_numbers(n, out.mutable_data(), [=](int64_t i) { return ops::uniform(seed, index, uint64_t(i)); });
    return out;
}
py::array_t<double> random_normal(uint64_t seed, uint32_t index, int64_t n, bool truncated) {
    py::array_t<double> out(n);
    draw_numbers(n, out.mutable_data(), [=](int64_t i) { return ops::normal(seed, index, uint64_t(i), truncated); });
    return out;
}
// The same for many seeds: (seeds, n).
py::array_t<double> random_many(const py::array_t<uint64_t, py::array::c_style>& seeds, uint32_t index, int64_t n,
                                const std::string& kind) {
    const int64_t count = seeds.size();
    py::array_t<double> out({py::ssize_t(count), py::ssize_t(n)});
    const uint64_t* seed = seeds.data();
    const bool uniform = kind == "uniform", truncated = kind == "truncated";
    draw_numbers(count * n, out.mutable_data(), [=](int64_t i) {
        const uint64_t of = seed[i / n], at = uint64_t(i % n);
        return uniform ? ops::uniform(of, index, at) : ops::normal(of, index, at, truncated);
    });
    return out;
}
py::array_t<int64_t> shuffle_indices(int64_t n, uint64_t seed, uint32_t epoch) {
    py::array_t<int64_t> out(n);
    const ops::Shuffle order(uint64_t(n), seed, epoch);
    for (int64_t i = 0; i < n; ++i) out.mutable_data()[i] = int64_t(order(uint64_t(i)));
    return out;
}

template <class S>
int64_t first_nonfinite_of(const View& v, const Poll& poll) {
    const int64_t rows_between = 1 + (1 << 20) / std::max<int64_t>(v.cols, 1);  // looks at signals: about a millisecond
    for (int64_t r = 0; r < v.rows; ++r) {
        if (r % rows_between == 0 && poll()) return -1;
        const char* row = v.row(r);
        if (v.col_stride == int64_t(sizeof(S))) {  // x·0 is 0 unless x is not finite: a sum the compiler can vectorise
            const S* p = reinterpret_cast<const S*>(row);
            S bad[8] = {};
            int64_t c = 0;
            for (; c + 8 <= v.cols; c += 8)
                for (int k = 0; k < 8; ++k) bad[k] += p[c + k] * S(0);
            for (; c < v.cols; ++c) bad[0] += p[c] * S(0);
            S total = 0;
            for (S b : bad) total += b;
            if (total == S(0)) continue;
        }
        for (int64_t c = 0; c < v.cols; ++c) {
            S x;
            std::memcpy(&x, row + c * v.col_stride, sizeof(S));
            if (!(x - x == S(0))) return r * v.cols + c;
        }
    }
    return -1;
}
// Flat index (row · cols + col) of the first NaN or infinity, or -1.
int64_t first_nonfinite(const py::array& x) {
    const View v = view_of(x);
    int64_t found = -1;
    without_gil([&](const Poll& poll) {
        if (v.dtype == DType::f32) found = first_nonfinite_of<float>(v, poll);
        if (v.dtype == DType::f64) found = first_nonfinite_of<double>(v, poll);
    });
    return found;
}

std::unique_ptr<Backend> make_net(const py::dict& program) {
    return make_cpu(field<int64_t>(program, "inputs"), field<uint64_t>(program, "seed"), ops_of(program),
                    net_type(program), mixed_precision(program));
}

py::dict build_info() {
    py::dict d;
    std::string available;
    for (int i = 0; i < cpu::isa_count(); ++i) available += (i ? ", " : "") + std::string(cpu::isa_name(i));
    d["isa"] = cpu::isa().name;
    d["isa_available"] = available;
    d["blas"] = cpu::blas_config();
    d["blas_core"] = cpu::blas_core();
    d["openmp"] = FD_OPENMP;
    d["compiler"] = FD_COMPILER;
    d["build_type"] = FD_BUILD_TYPE;
    d["flags"] = FD_FLAGS;
    d["commit"] = FD_COMMIT;
    d["cuda"] = FD_CUDA_BUILD;
    d["threads"] = std::to_string(available_threads());
    return d;
}

template <size_t N>
std::vector<std::string> list_of(const char* const (&names)[N]) {
    return {names, names + N};
}

// |z| beyond which an activation counts as saturated, for those that do.
py::dict saturation() {
    py::dict d;
    for (size_t i = 0; i < std::size(ops::activation_saturation); ++i)
        if (ops::activation_saturation[i] > 0) d[ops::activation_names[i]] = ops::activation_saturation[i];
    return d;
}
py::list curved_losses() {
    py::list names;
    for (size_t i = 0; i < std::size(ops::loss_curved); ++i)
        if (ops::loss_curved[i]) names.append(ops::loss_names[i]);
    return names;
}
py::list optimizers_on(std::initializer_list<ops::Works> wanted) {
    py::list names;
    for (size_t i = 0; i < std::size(ops::optimizer_works_on); ++i)
        for (ops::Works works : wanted)
            if (ops::optimizer_works_on[i] == works) names.append(ops::optimizer_names[i]);
    return names;
}
// Sums that a metric keeps for each output; 0 for a weighted mean of one value a row.
py::dict metric_sums() {
    py::dict d;
    for (size_t i = 0; i < std::size(ops::metric_names); ++i)
        d[ops::metric_names[i]] = ops::metric_sums(ops::MetricKind(i));
    return d;
}

}  // namespace
}  // namespace fd::bindings

PYBIND11_MODULE(_core, m) {
    using namespace fd;
    using namespace fd::bindings;
    using namespace py::literals;
    if (FD_OPENBLAS) cpu::load_blas(folder_of_this_file() + "_libs/libfastdense_openblas.so", cpu::isa().blas_core);
    py::register_exception<InternalError>(m, "InternalError", PyExc_RuntimeError);
    bind_engine(m, make_net);
    bind_kernels(m);
    bind_population(m, make_cpu_population, "why_not_lanes", why_not_lanes);
    m.attr("ACTIVATIONS") = list_of(ops::activation_names);
    m.attr("LOSSES") = list_of(ops::loss_names);
    m.attr("METRICS") = list_of(ops::metric_names);
    m.attr("MERGES") = list_of(ops::merge_names);
    m.attr("PENALTIES") = list_of(penalty_names);
    m.attr("OPS") = list_of(op_names);
    m.attr("SATURATION") = saturation();
    m.attr("CURVED_LOSSES") = curved_losses();
    m.attr("OPTIMIZERS") = list_of(ops::optimizer_names);
    m.attr("FULL_BATCH_OPTIMIZERS") = optimizers_on({ops::Works::all_rows});
    m.attr("CPU_OPTIMIZERS") = optimizers_on({ops::Works::all_rows, ops::Works::factors});
    m.attr("METRIC_SUMS") = metric_sums();
    m.def("random_uniform", &random_uniform, "seed"_a, "index"_a, "n"_a);
    m.def("random_normal", &random_normal, "seed"_a, "index"_a, "n"_a, "truncated"_a);
    m.def("random_many", &random_many, "seeds"_a, "index"_a, "n"_a, "kind"_a);
    m.def("shuffle_indices", &shuffle_indices, "n"_a, "seed"_a, "epoch"_a);
    m.def("first_nonfinite", &first_nonfinite, "x"_a);
    m.def("ask_too", [](const py::object& callable) { asked_too = callable.is_none() ? nullptr : callable.ptr(); });
    m.def("available_threads", &available_threads);
    m.def("build_info", &build_info);
}
