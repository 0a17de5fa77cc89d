// Layers: a batch shown to a hook, on the host.
#include "cuda/layerwise/layers.h"

namespace fd::cuda {

template <class T>
void Layers<T>::call_hook(const BatchShape& b, Pass pass, T* d) {
    const int64_t n = b.rows * plan_.outputs;
    const T* outputs = output(last_, pass);
    HookBatch h;
    h.flags = hook_flags_ | (d ? HookBatch::differentiated : 0u);
    h.dtype = dtype_of<T>;
    h.rows = b.rows, h.cols = plan_.outputs, h.target_cols = b.y.cols;
    const auto seen = [&](auto& host, const auto* device, int64_t count) {
        host.resize(size_t(count));
        FD_CUDA(cudaMemcpyAsync(host.data(), device, size_t(count) * sizeof(*device), cudaMemcpyDeviceToHost, stream_));
        return host.data();
    };
    h.outputs = h.predictions = seen(host_.outputs, outputs, n);
    if (wants_probabilities_) {
        probabilities_of(outputs, probabilities_.get(), b.rows);
        h.predictions = seen(host_.predictions, probabilities_.get(), n);
        if (form().fused) h.outputs = h.predictions;
    }
    if (training_->sparse()) h.labels = seen(host_.labels, labels_.get(), b.rows);
    else h.targets = seen(host_.targets, targets(b), b.rows * b.y.cols);
    if (b.weighted) h.weights = seen(host_.weights, weights_.get(), b.rows);
    if (training_->custom) {
        host_.losses.resize(size_t(b.rows)), host_.gradient.resize(size_t(n));
        h.losses = host_.losses.data(), h.gradient = d ? host_.gradient.data() : nullptr;
    }
    FD_CUDA(cudaStreamSynchronize(stream_));
    if (!(*training_->hook)(h)) throw HookStopped();
    if (!h.losses) return;
    const auto send = [&](auto* device, const auto& host) {
        FD_CUDA(cudaMemcpyAsync(device, host.data(), host.size() * sizeof(*device), cudaMemcpyHostToDevice, stream_));
    };
    send(row_loss_.get(), host_.losses);
    if (d) send(d, host_.gradient);
}

template <class T>
void Layers<T>::expect_targets(int64_t cols) {
    if (cols <= std::max(most_targets_, plan_.outputs)) return;
    most_targets_ = cols;
    capacity_ = 0;
}

#define FD_INSTANTIATE(T)                                            \
    template void Layers<T>::call_hook(const BatchShape&, Pass, T*); \
    template void Layers<T>::expect_targets(int64_t);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cuda
