#include "cpu/derivatives.h"

#include <algorithm>
#include <cstring>

#include "cpu/blas/gemm.h"

namespace fd::cpu {

template <class T>
void Derivatives<T>::vjp(const View& x, const View& d_out, const View* d_jacobian, const Training& training,
                         const Team& team, const Poll& poll, void* d_x, void* const* gradients) {
    const int64_t n = x.rows, in = plan_.inputs, out = plan_.outputs, count = d_out.cols / out;
    if (x.cols != in || d_out.rows != n || n < 1 || count < 1 || d_out.cols % out || (gradients && count != 1))
        throw InvalidArgument("x must be (rows >= 1, inputs), d_out (rows, k * outputs), k = 1 with other gradients");
    T* const to = static_cast<T*>(d_x);
    const Watch watch(stop_, poll);
    if (d_jacobian) {
        if (!gradients || d_jacobian->rows != n || d_jacobian->cols != out * in)
            throw InvalidArgument("d_jacobian must be (rows, outputs * inputs), with gradients of the parameters");
        if (!tangents_) tangents_ = std::make_unique<Tangents<T>>(plan_, state_, stop_);
        if (const std::string why = tangents_->refuses(); !why.empty())
            throw InvalidArgument("no derivative of the Jacobian is known: " + why);
        const int threads = team(n * (1 + std::min(in, out)));
        const BlasUse blas(threads);
        tangents_->reserve(n);
        parallel(threads, [&](const Worker& w) { tangents_->run(w, x, d_out, *d_jacobian, to); });
    } else {
        const Pass pass = gradients ? Pass::pullback : Pass::inputs;
        // gradients of the parameters are sums over one batch
        const int64_t chunk = gradients ? n : std::min(layerwise_.chunk_rows(), n);
        const int threads = team(chunk);
        const BlasUse blas(threads);
        layerwise_.reserve(chunk, true);
        layerwise_.reserve_input_gradient();
        parallel(threads, [&](const Worker& w) { pull(w, x, d_out, chunk, pass, to); });
    }
    if (gradients) read(training, gradients);
}

template <class T>
void Derivatives<T>::pull(const Worker& w, const View& x, const View& d_out, int64_t chunk, Pass pass, T* d_x) {
    const int64_t in = plan_.inputs, out = plan_.outputs, count = d_out.cols / out;
    Dataset data;
    data.x = x;
    for (int64_t first = 0; first < x.rows; first += chunk) {
        const Batch<T> b = layerwise_.gather(w, data, std::min(chunk, x.rows - first), {first});
        if (!layerwise_.forward(w, b, pass, false)) return;
        for (int64_t k = 0; k < count; ++k) {
            View seeds = d_out;
            seeds.data += k * out * d_out.col_stride, seeds.cols = out;
            layerwise_.seed(w, seeds, first, b.rows);
            if (!layerwise_.backward(w, b, pass, false)) return;
            w.sync();
            const T* from = layerwise_.gradient_at(-1);
            const Slices cut(b.rows, 4, 1);
            w.each(cut.count, [&](int64_t s) {
                for (int64_t r = cut.begin(s); r < cut.end(s); ++r)
                    std::copy_n(from + r * in, in, d_x + ((first + r) * count + k) * in);
            });
        }
    }
}

template <class T>
void Derivatives<T>::apply(const void* const* gradients, double rate, const Training& training, int threads) {
    for (size_t k = 0; k < plan_.trainable.size(); ++k) {
        const Tensor& t = plan_.tensors[size_t(plan_.trainable[k])];
        if (!training.is_frozen(t.op))
            std::memcpy(state_.gradients.get() + t.offset, gradients[k], size_t(t.size()) * sizeof(T));
    }
    updater_.reserve();
    updater_.begin_step(rate);
    const BlasUse blas(threads);
    parallel(threads, [&](const Worker& w) {
        updater_.update_all(w, false);
        layerwise_.refresh(w);
    });
    ++state_.step;
}

template <class T>
void Derivatives<T>::read(const Training& training, void* const* gradients) const {
    for (size_t k = 0; k < plan_.trainable.size(); ++k) {
        const Tensor& t = plan_.tensors[size_t(plan_.trainable[k])];
        const size_t bytes = size_t(t.size()) * sizeof(T);
        if (training.is_frozen(t.op)) std::memset(gradients[k], 0, bytes);
        else std::memcpy(gradients[k], state_.gradients.get() + t.offset, bytes);
    }
}

template class Derivatives<float>;
template class Derivatives<double>;

}  // namespace fd::cpu
