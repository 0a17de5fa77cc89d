// The kernels of the rowwise path, compiled once per instruction set like kernels.cpp.
#include "cpu/rowwise/kernels.h"

#include "cpu/simd/isa.h"

namespace fd::cpu {
namespace FD_ISA_NAMESPACE {

#include "cpu/simd/simd.h"

#include "cpu/layerwise/kernels_gather.h"
#include "cpu/layerwise/kernels_transpose.h"
#include "cpu/simd/softmax_in_lanes.h"

#include "cpu/rowwise/gather.h"
#include "cpu/rowwise/loss.h"
#include "cpu/rowwise/products.h"

// Calls body(unit, offset, parameter) for every vector of a panel; the parameter is alpha, or prelu's slope of the unit.
template <int V, class T, class F>
FD_HD void each_vector(const RowwiseOp<T>& o, int64_t panels, F&& body) {
    constexpr int W = Pack<T>::width;
    if (!o.slope) {
        const Pack<T> alpha(o.alpha);
        for (int64_t at = 0; at < panels * o.out * V * W; at += W) body(at, alpha);
        return;
    }
    for (int64_t p = 0; p < panels; ++p)
        for (int64_t u = 0; u < o.out; ++u)
            for (int j = 0; j < V; ++j) body(((p * o.out + u) * V + j) * W, Pack<T>(o.slope[u]));
}
template <int V, class T>
void activate(const RowwiseOp<T>& o, const T* z, T* a, int64_t panels) {
    switch (o.activation) {
#define FD_CASE(name, functor)                                                  \
    case ops::Activation::name:                                                 \
        if (ops::Activation::name == ops::Activation::linear && z == a) return; \
        return each_vector<V>(o, panels,                                        \
                              [&](int64_t at, Pack<T> p) { store(a + at, ops::functor::value(load(z + at), p)); });
        FD_ELEMENTWISE_ACTIVATIONS(FD_CASE)
#undef FD_CASE
        case ops::Activation::softmax:
            for (int64_t p = 0; p < panels; ++p)
                softmax_panel<V>(z + p * o.out * V * Pack<T>::width, a + p * o.out * V * Pack<T>::width, o.out);
    }
}
// d becomes the gradient of the pre-activation; also prelu's slope gradient.
template <int V, class T>
void activate_backward(const RowwiseOp<T>& o, const T* stored, T* d, int64_t panels, bool accumulate) {
    constexpr int W = Pack<T>::width;
    if (o.dslope)
        for (int64_t u = 0; u < o.out; ++u) {
            Pack<T> s(T(0));
            for (int64_t p = 0; p < panels; ++p)
                for (int j = 0; j < V; ++j) {
                    const int64_t at = ((p * o.out + u) * V + j) * W;
                    const Pack<T> x = load(stored + at);
                    s = s + select(x > Pack<T>(T(0)), Pack<T>(T(0)), x * load(d + at));
                }
            o.dslope[u] = sum(s) + (accumulate ? o.dslope[u] : T(0));
        }
    switch (o.activation) {
#define FD_CASE(name, functor)                                                                \
    case ops::Activation::name:                                                               \
        if constexpr (ops::functor::needs != ops::Needs::nothing)                             \
            each_vector<V>(o, panels, [&](int64_t at, Pack<T> p) {                            \
                store(d + at, load(d + at) * ops::functor::derivative(load(stored + at), p)); \
            });                                                                               \
        return;
        FD_ELEMENTWISE_ACTIVATIONS(FD_CASE)
#undef FD_CASE
        case ops::Activation::softmax:
            for (int64_t p = 0; p < panels; ++p)
                softmax_panel_backward<V>(stored + p * o.out * V * W, d + p * o.out * V * W, o.out);
    }
}

// out = x · scale + offset (or none), unit by unit.
template <int V, class T>
void rescale(const RowwiseOp<T>& o, const T* x, const T* offset, T* out, int64_t panels) {
    for (int64_t p = 0; p < panels; ++p)
        for (int64_t u = 0; u < o.out; ++u) {
            const Pack<T> s(o.scale[u]);
            for (int j = 0; j < V; ++j, x += Pack<T>::width, out += Pack<T>::width)
                store(out, offset ? load(x) * s + Pack<T>(offset[u]) : load(x) * s);
        }
}

// out = x where the row keeps the unit, scaled; the element of row r (in the batch) and unit c is number r · out + c.
template <int V, class T>
void dropout_panel(const RowwiseOp<T>& o, const T* x, T* out, int64_t row, int rows) {
    constexpr int P = V * Pack<T>::width;
    const T scale = T(o.dropout.scale);
    const uint64_t n = uint64_t(o.out);
    for (int r = 0; r < P; ++r) {
        if (r < rows)
            o.dropout.each(uint64_t(row + r) * n, n, [=](uint64_t c, bool kept) {
                out[c * P + uint64_t(r)] = kept ? x[c * P + uint64_t(r)] * scale : T(0);
            });
        else
            for (uint64_t c = 0; c < n; ++c) out[c * P + uint64_t(r)] = T(0);
    }
}

// The gradient's panel with units in lanes, row by row.
template <int V, class T>
void rows_of_panel(const T* panel, int64_t units, T* by_row, int64_t ld) {
    constexpr int W = Pack<T>::width, P = V * W;
    Pack<T> block[W];
    for (int j = 0; j < V; ++j)
        for (int64_t c = 0; c < units; c += W) {
            const int n = units - c < W ? int(units - c) : W;
            for (int i = 0; i < W; ++i) block[i] = i < n ? load(panel + (c + i) * P + j * W) : Pack<T>(T(0));
            transpose(block);
#pragma GCC unroll 16
            for (int i = 0; i < W; ++i) store(by_row + (j * W + i) * ld + c, block[i]);
        }
}

// Works on blocks of panels: op by op, so that a call serves several panels, few enough to stay in the first-level cache.
template <int V, class T>
struct Run {
    static constexpr int W = Pack<T>::width, P = V * W;
    static constexpr std::make_integer_sequence<int, most_rows> sizes{};
    const RowwiseJob<T>& job;

    FD_HD const RowwiseOp<T>& top() const { return job.ops[job.count - 1]; }
    FD_HD int rows_in(int64_t panel) const {
        const int64_t left = job.rows - panel * P;
        return int(left < P ? left : P);
    }
    FD_HD const T* input_of(int i, int64_t panel) const {
        return i ? job.ops[i - 1].a + panel * job.ops[i - 1].out * P : job.input + panel * job.ops[0].in * P;
    }

    void gather() const {
        const int64_t panels = (job.rows + P - 1) / P, in = job.ops[0].in, out = top().out;
        for (int64_t p = 0; p < panels; ++p) {
            const int64_t r0 = p * P;
            const int n = rows_in(p);
            gather_panel<V>(*job.x, job.order + r0, n, job.mean, job.inverse, job.staging, job.input + p * in * P);
            if (!job.y) continue;
            T* weights = job.weights + r0;
            for (int r = 0; r < P; ++r) weights[r] = r < n ? T(1) : T(0);
            if (job.data_weights)
                for (int r = 0; r < n; ++r) {
                    const double w = job.data_weights[job.order[r0 + r]];
                    weights[r] = T(w);
                    job.row_weights[job.first + r0 + r] = w;
                }
            if (job.loss.kind == ops::Loss::sparse_categorical_crossentropy) {
                for (int r = n; r < P; ++r) job.labels[r0 + r] = 0;
                gather_labels(*job.y, job.order + r0, n, job.labels + r0);
                if (job.row_labels)
                    for (int r = 0; r < n; ++r) job.row_labels[job.first + r0 + r] = job.labels[r0 + r];
            } else {
                T* targets = job.targets + p * out * P;
                gather_panel<V>(*job.y, job.order + r0, n, nullptr, nullptr, job.staging, targets);
                if (job.row_targets) rows_out(targets, out, n, job.row_targets + (job.first + r0) * out);
            }
        }
    }
    FD_HD void forward(int i, int64_t p0, int64_t n) const {
        const RowwiseOp<T>& o = job.ops[i];
        const T* x = input_of(i, p0);
        T *a = o.a + p0 * o.out * P, *z = o.z + p0 * o.out * P;
        if (o.kind == OpKind::dense) {
            in_tiles<ForwardTile, V>(o.out, sizes, o, x, z, n);
            activate<V>(o, z, a, n);
        } else if (o.kind == OpKind::activation) {
            activate<V>(o, x, a, n);
        } else if (o.kind == OpKind::rescaling) {
            rescale<V>(o, x, o.offset, a, n);
        } else if (job.train) {
            for (int64_t p = 0; p < n; ++p)
                dropout_panel<V>(o, x + p * o.out * P, a + p * o.out * P, job.first + (p0 + p) * P, rows_in(p0 + p));
        } else {
            for (int64_t at = 0; at < n * o.out * P; at += W) store(a + at, load(x + at));
        }
    }
    // From the gradient of op i's output to that of its input, which is the output of op i - 1.
    FD_HD void backward(int i, int64_t p0, int64_t n) const {
        const RowwiseOp<T>& o = job.ops[i];
        T* d = o.d + p0 * o.out * P;
        T* below = o.passes_gradient ? job.ops[i - 1].d + p0 * o.in * P : nullptr;
        const bool accumulate = job.accumulate || p0;
        if (o.kind == OpKind::dense) {
            activate_backward<V>(o, (o.derivative_at_input ? o.z : o.a) + p0 * o.out * P, d, n, accumulate);
            if (o.by_row)
                for (int64_t p = 0; p < n; ++p)
                    rows_of_panel<V>(d + p * o.out * P, o.out, o.by_row + (p0 + p) * P * o.ld, o.ld);
            if (below) in_tiles<BackwardTile, V>(o.in, sizes, o, static_cast<const T*>(d), below, n);
        } else if (o.kind == OpKind::activation) {
            activate_backward<V>(o, o.derivative_at_input ? input_of(i, p0) : o.a + p0 * o.out * P, d, n, accumulate);
            if (below)
                for (int64_t at = 0; at < n * o.out * P; at += W) store(below + at, load(d + at));
        } else if (o.kind == OpKind::rescaling) {
            if (below) rescale<V>(o, static_cast<const T*>(d), static_cast<const T*>(nullptr), below, n);
        } else if (below) {
            for (int64_t p = 0; p < n; ++p)
                dropout_panel<V>(o, d + p * o.out * P, below + p * o.out * P, job.first + (p0 + p) * P,
                                 rows_in(p0 + p));
        }
    }
    FD_HD void gradient(int i) const {
        const RowwiseOp<T>& o = job.ops[i];
        if (o.kind != OpKind::dense) return;
        const Chunk<T> chunk{input_of(i, 0), job.rows, job.accumulate};
        if (o.by_row) kernel_gradient_by_rows(o, chunk, P);
        else kernel_gradient_in_lanes<V>(o, chunk);
    }
    FD_HD double loss(int64_t p0, int64_t n) const {
        const RowwiseOp<T>& o = top();
        double total = 0;
        for (int64_t p = p0; p < p0 + n; ++p)
            total += double(
                panel_loss<V>(job.loss, {o.a + p * o.out * P, job.targets + p * o.out * P, job.labels + p * P,
                                         job.weights + p * P, job.train ? o.d + p * o.out * P : nullptr, o.out}));
        return total;
    }
    FD_HD void rows_out(const T* panel, int64_t cols, int n, T* out) const {
        for (int r = 0; r < n; ++r)
            for (int64_t c = 0; c < cols; ++c) out[r * cols + c] = panel[c * P + r];
    }
    // What metrics see, or the prediction.
    void show(int64_t panel) const {
        const RowwiseOp<T>& o = top();
        const T* a = o.a + panel * o.out * P;
        if (job.loss.probabilities) {
            if (job.loss.kind == ops::Loss::binary_crossentropy_logits)
                for (int64_t at = 0; at < o.out * P; at += W)
                    store(job.probabilities + at, ops::vsigmoid(load(a + at)));
            else softmax_panel<V>(a, job.probabilities, o.out);
            a = job.probabilities;
        }
        rows_out(a, o.out, rows_in(panel), job.predictions + (job.first + panel * P) * o.out);
    }

    void show_all(int64_t panel) const {
        for (int i = 0; i <= job.count; ++i) {
            const int64_t cols = i ? job.ops[i - 1].out : job.ops[0].in;
            if (job.outputs[i])
                rows_out(input_of(i, panel), cols, rows_in(panel),
                         job.outputs[i] + (job.first_output + job.first + panel * P) * cols);
        }
    }

    FD_HD double operator()() const {
        const int64_t panels = (job.rows + P - 1) / P;
        if (!job.gathered) gather();
        double total = 0;
        for (int64_t p = 0; p < panels; p += job.block) {
            const int64_t n = panels - p < job.block ? panels - p : job.block;
            for (int i = 0; i < job.count; ++i) forward(i, p, n);
            if (job.y) total += loss(p, n);
            if (job.predictions)
                for (int64_t k = p; k < p + n; ++k) show(k);
            if (job.outputs)
                for (int64_t k = p; k < p + n; ++k) show_all(k);
            if (job.train)
                for (int i = job.count - 1; i >= job.first_gradient; --i) backward(i, p, n);
        }
        if (job.train)
            for (int i = job.count - 1; i >= job.first_gradient; --i) gradient(i);
        return total;
    }
};
template <int V, class T>
double run(const RowwiseJob<T>& job) {
    return Run<V, T>{job}();
}

// Units in lanes, as the kernel lies; each sum runs in the order of ForwardTile, so that a row alone has the bits of a batch.
template <int N, class T>
void one_row_units(const T* x, const T* kernel, int64_t in, int64_t units, int last, T* out) {
    constexpr int W = Pack<T>::width;
    Pack<T> s[N];
    for (int j = 0; j < N - 1; ++j) s[j] = load(out + j * W);
    s[N - 1] = load(out + (N - 1) * W, last);
    if (last == W) {
        for (int64_t k = 0; k < in; ++k, kernel += units) {
            const Pack<T> v(x[k]);
#pragma GCC unroll 8
            for (int j = 0; j < N; ++j) s[j] = s[j] + v * load(kernel + j * W);
        }
    } else {
        for (int64_t k = 0; k < in; ++k, kernel += units) {
            const Pack<T> v(x[k]);
#pragma GCC unroll 8
            for (int j = 0; j < N - 1; ++j) s[j] = s[j] + v * load(kernel + j * W);
            s[N - 1] = s[N - 1] + v * load(kernel + (N - 1) * W, last);
        }
    }
    for (int j = 0; j < N - 1; ++j) store(out + j * W, s[j]);
    store(out + (N - 1) * W, s[N - 1], last);
}
template <class T, int... N>
FD_HD void one_row_in_tiles(const T* x, const T* kernel, int64_t in, int64_t units, T* out,
                            std::integer_sequence<int, N...>) {
    constexpr int W = Pack<T>::width;
    using Tile = void (*)(const T*, const T*, int64_t, int64_t, int, T*);
    static constexpr Tile sizes[] = {one_row_units<N + 1, T>...};
    for (int64_t c = 0; c < units; c += int64_t(sizeof...(N)) * W) {
        const int64_t rest = units - c, vectors = (rest + W - 1) / W;
        const int64_t n = vectors < int64_t(sizeof...(N)) ? vectors : int64_t(sizeof...(N));
        const int last = rest >= n * W ? W : int(rest - (n - 1) * W);
        sizes[n - 1](x, kernel + c, in, units, last, out + c);
    }
}
template <class T>
void one_row(const RowwiseOp<T>& o, const T* x, T* z, T* a) {
    if (o.kind == OpKind::rescaling)
        return for_vectors<T>(o.out, [&](int64_t c, auto n) {
            store(a + c, load(x + c, n) * load(o.scale + c, n) + load(o.offset + c, n), n);
        });
    if (o.kind == OpKind::dense) {
        for (int64_t u = 0; u < o.out; ++u) z[u] = o.bias ? o.bias[u] : T(0);
        one_row_in_tiles(x, o.kernel, o.in, o.out, z, std::make_integer_sequence<int, 8>{});
        x = z;
    }
    const Pack<T> alpha(o.alpha);
    auto apply = [&](auto f) __attribute__((always_inline)) {
        for_vectors<T>(o.out, [&](int64_t c, auto n) {
            store(a + c, f(load(x + c, n), o.slope ? load(o.slope + c, n) : alpha), n);
        });
    };
    switch (o.activation) {
#define FD_CASE(name, functor) \
    case ops::Activation::name: return apply([](Pack<T> v, Pack<T> p) { return ops::functor::value(v, p); });
        FD_ELEMENTWISE_ACTIVATIONS(FD_CASE)
#undef FD_CASE
        case ops::Activation::softmax: {
            T m = x[0], s = 0;
            for (int64_t c = 1; c < o.out; ++c) m = x[c] > m ? x[c] : m;
            for_vectors<T>(o.out,
                           [&](int64_t c, auto n) { store(a + c, vexp_moderate(load(x + c, n) - Pack<T>(m)), n); });
            for (int64_t c = 0; c < o.out; ++c) s += a[c];
            const T scale = T(1) / s;
            for (int64_t c = 0; c < o.out; ++c) a[c] *= scale;
        }
    }
}
template <class T>
bool finite(const T* x, int64_t n) {
    Pack<T> s(T(0));
    for_vectors<T>(n, [&](int64_t i, auto lanes) {  // x - x is 0, or NaN for NaN and the infinities
        const Pack<T> v = load(x + i, lanes);
        s = s + (v - v);
    });
    return sum(s) == T(0);
}

template <class T>
void add_gradients(T* into, const T* const* parts, int count, int64_t n) {
    for_vectors<T>(n, [&](int64_t i, auto lanes) {
        Pack<T> s = load(into + i, lanes);
        for (int k = 0; k < count; ++k) s = s + load(parts[k] + i, lanes);
        store(into + i, s, lanes);
    });
}

template <class T>
constexpr RowwiseKernels<T> rowwise_table() {
    RowwiseKernels<T> k{};
    k.order = epoch_order;
    k.run[0] = run<1, T>, k.run[1] = run<2, T>;
    k.one_row = one_row<T>;
    k.finite = finite<T>;
    k.add_gradients = add_gradients<T>;
    k.lanes_per_vector = Pack<T>::width;
    return k;
}
extern const RowwiseKernels<float> rowwise_f32;
extern const RowwiseKernels<double> rowwise_f64;
constexpr RowwiseKernels<float> rowwise_f32 = rowwise_table<float>();
constexpr RowwiseKernels<double> rowwise_f64 = rowwise_table<double>();

// clang-format off
}  // namespace isa_...
// clang-format on
}  // namespace fd::cpu
