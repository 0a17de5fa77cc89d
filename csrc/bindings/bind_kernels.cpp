// fastdense._core.kernels: single kernels of each instruction set, for tests and benchmarks; not public.
#include <array>

#include "bindings/arrays.h"
#include "bindings/gil.h"
#include "core/parallel.h"
#include "cpu/blas/gemm.h"
#include "cpu/simd/kernels.h"

namespace fd::bindings {
namespace {

using cpu::Isa;

const Isa& isa_named(const std::string& name) {
    const Isa* found = cpu::find_isa(name.c_str());
    if (!found) throw InvalidArgument("no instruction set '" + name + "' on this machine");
    return *found;
}

template <class T>
using Matrix = py::array_t<T, py::array::c_style>;

template <class T>
void bind_for(py::module_& m) {
    using namespace py::literals;
    m.def(
        "activation",
        [](const std::string& isa, const std::string& name, const Matrix<T>& z, double alpha) {
            const auto act = ops::Activation(find_name("activation", ops::activation_names, name));
            Matrix<T> in(std::vector<py::ssize_t>{z.shape(0), z.shape(1)}),
                out(std::vector<py::ssize_t>{z.shape(0), z.shape(1)});
            std::copy_n(z.data(), z.size(), in.mutable_data());
            const auto& k = cpu::kernels_of<T>(isa_named(isa));
            if (act == ops::Activation::softmax) k.softmax(in.data(), out.mutable_data(), z.shape(0), z.shape(1));
            else
                k.bias_activation(act, T(alpha), nullptr, nullptr, in.mutable_data(), out.mutable_data(), z.shape(1),
                                  z.shape(0), z.shape(1));
            return out;
        },
        "isa"_a, "name"_a, "z"_a, "alpha"_a = 1.0);
    m.def(
        "activation_slope",
        [](const std::string& isa, const std::string& name, const Matrix<T>& z, double alpha) {
            const auto act = ops::Activation(find_name("activation", ops::activation_names, name));
            std::vector<py::ssize_t> shape{z.shape(0), z.shape(1)};
            Matrix<T> in(shape), a(shape), d(shape);
            std::copy_n(z.data(), z.size(), in.mutable_data());
            std::fill_n(d.mutable_data(), d.size(), T(1));
            const auto& k = cpu::kernels_of<T>(isa_named(isa));
            const int64_t rows = z.shape(0), cols = z.shape(1);
            k.bias_activation(act, T(alpha), nullptr, nullptr, in.mutable_data(), a.mutable_data(), cols, rows, cols);
            const bool from_input = ops::activation_needs[int(act)] == ops::Needs::input;
            k.activation_backward(act, T(alpha), nullptr, from_input ? in.data() : a.data(), d.mutable_data(), cols,
                                  rows, cols);
            return d;
        },
        "isa"_a, "name"_a, "z"_a, "alpha"_a = 1.0);
    m.def(
        "column_sums",
        [](const std::string& isa, const Matrix<T>& d) {
            Matrix<T> out(d.shape(1));
            cpu::kernels_of<T>(isa_named(isa))
                .column_sums(d.data(), out.mutable_data(), d.shape(1), d.shape(0), d.shape(1));
            return out;
        },
        "isa"_a, "d"_a);
    m.def(
        "dot",
        [](const std::string& isa, const Matrix<T>& a, const Matrix<T>& b) {
            if (a.size() != b.size()) throw InvalidArgument("dot: sizes differ");
            return cpu::kernels_of<T>(isa_named(isa)).dot(a.data(), b.data(), a.size());
        },
        "isa"_a, "a"_a, "b"_a);
    // One step of a rule with its constants (lr, a, b, c, d, epsilon) as they are; w and the slots are changed in place.
    m.def(
        "update",
        [](const std::string& isa, const std::string& optimizer, const std::array<double, 6>& c, Matrix<T> w,
           const Matrix<T>& g, const std::vector<Matrix<T>>& slots) {
            Training training;
            training.optimizer = ops::Optimizer(find_name("optimizer", ops::optimizer_names, optimizer));
            cpu::Update<T> u;
            u.rule = training.rule();
            u.step = {c[0], c[1], c[2], c[3], c[4], c[5]};
            u.w = w.mutable_data(), u.g = g.data(), u.n = w.size();
            if (g.size() != w.size() || slots.size() != size_t(ops::rule_slots[int(u.rule)]))
                throw InvalidArgument("update: sizes differ");
            for (size_t i = 0; i < slots.size(); ++i) u.slot[i] = const_cast<T*>(slots[i].data());
            cpu::kernels_of<T>(isa_named(isa)).update(u);
        },
        "isa"_a, "optimizer"_a, "step"_a, py::arg("w").noconvert(), "g"_a, "slots"_a);
    m.def(
        "gather",
        [](const std::string& isa, const py::array& x, const Matrix<double>& mean, const Matrix<double>& inverse,
           Matrix<T> out) {
            const View v = view_of(x);
            const bool standardise = mean.size() > 0;
            if (mean.size() != inverse.size() || (standardise && mean.size() != v.cols) ||
                out.size() != v.rows * v.cols)
                throw InvalidArgument("gather: sizes differ");
            for (int64_t r = 0; r < v.rows; ++r)
                cpu::kernels_of<T>(isa_named(isa))
                    .gather_row(v, r, standardise ? mean.data() : nullptr, standardise ? inverse.data() : nullptr,
                                out.mutable_data() + r * v.cols);
        },
        "isa"_a, "x"_a, "mean"_a, "inverse"_a, py::arg("out").noconvert());
    // s · b by product(): out (m, n), or its transpose made by the transposed store from rows packed of bᵀ.
    m.def(
        "product",
        [](const std::string& isa, const Matrix<T>& s, const Matrix<T>& b, bool transposed) {
            const auto& k = cpu::kernels_of<T>(isa_named(isa));
            const int64_t rows = s.shape(0), length = s.shape(1), cols = transposed ? b.shape(0) : b.shape(1);
            if ((transposed ? b.shape(1) : b.shape(0)) != length) throw InvalidArgument("product: shapes do not fit");
            Matrix<T> out(std::vector<py::ssize_t>{transposed ? cols : rows, transposed ? rows : cols});
            std::vector<T> panel(size_t(k.panel * length));
            for (int64_t c = 0; c < cols; c += k.panel) {
                const int64_t n = std::min<int64_t>(k.panel, cols - c);
                if (transposed) k.pack_rows(b.data() + c * length, length, n, length, panel.data());
                else k.pack_columns(b.data() + c, cols, n, length, panel.data());
                T* to = out.mutable_data() + (transposed ? c * rows : c);
                k.product(
                    {s.data(), length, 1, rows, length, panel.data(), n, to, transposed ? rows : cols, transposed});
            }
            return out;
        },
        "isa"_a, "s"_a, "b"_a, "transposed"_a);
}

// s · b with operands rounded to bfloat16: out (m, n); `transposed`, b is (n, length) and out (n, m), as in product.
Matrix<float> product_bf16(const std::string& isa, const Matrix<float>& s, const Matrix<float>& b, bool transposed) {
    const cpu::Bf16Kernels& k = *isa_named(isa).bf16;
    const int64_t rows = s.shape(0), length = s.shape(1), cols = transposed ? b.shape(0) : b.shape(1);
    const int64_t words = (length + 1) / 2;
    if ((transposed ? b.shape(1) : b.shape(0)) != length) throw InvalidArgument("product_bf16: shapes do not fit");
    Matrix<float> out(std::vector<py::ssize_t>{transposed ? cols : rows, transposed ? rows : cols});
    std::vector<cpu::Pair> panel(size_t(k.panel * words)), pairs(size_t((rows + 1) / 2 * length)),
        by_row(size_t(rows * words));
    k.pair_weights(s.data(), rows, length, pairs.data(), by_row.data());
    for (int64_t c = 0; c < cols; c += k.panel) {
        const int64_t n = std::min<int64_t>(k.panel, cols - c);
        if (transposed) k.pack_rows(b.data() + c * length, length, n, length, panel.data());
        else k.pair_rows(b.data() + c, cols, length, n, panel.data(), k.panel);
        float* to = out.mutable_data() + (transposed ? c * rows : c);
        for (int64_t r = 0; r < rows; r += k.tile)
            k.product({by_row.data() + r * words, words, 1, std::min<int64_t>(k.tile, rows - r), words, panel.data(), n,
                       to + (transposed ? r : r * cols), transposed ? rows : cols, transposed});
    }
    return out;
}
// a (rows, cols) as words: by rows, pairs of rows, and as one panel; halves are the numbers' upper 16 bits.
py::tuple pairs_bf16(const std::string& isa, const Matrix<float>& a) {
    const cpu::Bf16Kernels& k = *isa_named(isa).bf16;
    const int64_t rows = a.shape(0), cols = a.shape(1), words = (cols + 1) / 2;
    if (rows > k.panel) throw InvalidArgument("pairs_bf16: more rows than a panel has");
    Matrix<cpu::Pair> by_row(std::vector<py::ssize_t>{rows, words}),
        pairs(std::vector<py::ssize_t>{(rows + 1) / 2, cols}), panel(std::vector<py::ssize_t>{words, k.panel});
    std::fill_n(by_row.mutable_data(), by_row.size(), 0);
    k.pair_weights(a.data(), rows, cols, pairs.mutable_data(), by_row.mutable_data());
    k.pack_rows(a.data(), cols, rows, cols, panel.mutable_data());
    return py::make_tuple(by_row, pairs, panel);
}

// C = A · B by the team, column slices: what the layerwise path does; for the roofline.
void sgemm(const Matrix<float>& a, const Matrix<float>& b, Matrix<float> c, int threads, int repeats) {
    const int64_t m = a.shape(0), k = a.shape(1), n = b.shape(1);
    if (b.shape(0) != k || c.shape(0) != m || c.shape(1) != n) throw InvalidArgument("sgemm: shapes do not fit");
    const float *pa = a.data(), *pb = b.data();
    float* pc = c.mutable_data();
    const WithoutGil unlocked;
    const cpu::BlasUse blas(threads);
    for (int i = 0; i < repeats; ++i)
        parallel(threads, [&](const Worker& w) {
            const int64_t first = n * w.id / w.team, last = n * (w.id + 1) / w.team;
            cpu::gemm(cpu::Trans::no, cpu::Trans::no, m, last - first, k, pa, k, pb + first, n, 0.0f, pc + first, n);
        });
}

// The seconds that each of some teams takes for nothing, when a call of the same thread comes so many seconds after the one before.
py::array_t<double> team_seconds(int threads, int calls, double apart) {
    using Clock = std::chrono::steady_clock;
    py::array_t<double> taken(calls);
    double* to = taken.mutable_data();
    const WithoutGil unlocked;
    for (int i = 0; i < calls; ++i) {
        const auto before = Clock::now();
        while (std::chrono::duration<double>(Clock::now() - before).count() < apart) platform::pause();
        const auto start = Clock::now();
        parallel(threads, [](const Worker&) {});
        to[i] = std::chrono::duration<double>(Clock::now() - start).count();
    }
    return taken;
}

}  // namespace

void bind_kernels(py::module_& parent) {
    using namespace py::literals;
    auto m = parent.def_submodule("kernels", "Single kernels, for tests and benchmarks.");
    bind_for<float>(m);
    bind_for<double>(m);
    m.def("product_bf16", &product_bf16, "isa"_a, "s"_a, "b"_a, "transposed"_a);
    m.def("pairs_bf16", &pairs_bf16, "isa"_a, "a"_a);
    m.def("team_seconds", &team_seconds, "threads"_a, "calls"_a, "apart"_a);
    m.def("sgemm", &sgemm, "a"_a, "b"_a, "out"_a, "threads"_a, "repeats"_a = 1);
}

}  // namespace fd::bindings
