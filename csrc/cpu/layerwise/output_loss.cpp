#include "cpu/layerwise/output_loss.h"

#include <algorithm>

#include "core/parallel.h"
#include "cpu/layerwise/measure.h"

namespace fd::cpu {

template <class T>
void OutputLoss<T>::configure(const Training* training) {
    training_ = training;
    form_ = LossForm(plan_, *training);
    wants_probabilities_ = form_.logits && (training->hook || !training->metrics.empty());
    params_.reserve(int64_t(training->loss_params.size()));
    std::copy(training->loss_params.begin(), training->loss_params.end(), params_.get());
    capacity_ = 0;
    heads_.configure(training);
}

template <class T>
void OutputLoss<T>::reserve(int64_t rows) {
    if (has_heads()) return heads_.reserve(rows);
    row_loss_.reserve(rows);
    row_metric_.reserve(rows * int64_t(training_->metrics.size()));
    if (wants_probabilities_) probabilities_.reserve(rows * plan_.outputs);
    if (form_.fused && plan_.ops.back().has_activity()) activity_.reserve(2 * rows * plan_.outputs);
    capacity_ = rows;
}

template <class T>
void OutputLoss<T>::probabilities(const T* pre_activations, T* out, int64_t rows) const {
    const int64_t cols = plan_.outputs;
    if (training_->categorical()) return k_.softmax(pre_activations, out, rows, cols);
    k_.bias_activation(ops::Activation::sigmoid, T(0), nullptr, nullptr, const_cast<T*>(pre_activations), out, cols,
                       rows, cols);
}

template <class T>
void OutputLoss<T>::rows(const Batch<T>& b, const T* all_outputs, T* all_d, bool measure, int64_t r0, int64_t r1) {
    const Training& t = *training_;
    const Op& top = plan_.ops.back();
    const int64_t cols = plan_.outputs, first = r0 * cols, rows = r1 - r0;
    const T* outputs = all_outputs + first;
    LossRows<T> l;
    l.loss = form_.kind;
    l.param = t.loss_param;
    l.params = t.loss_params.empty() ? nullptr : params_.get();
    l.label_smoothing = t.label_smoothing;
    l.from_logits = form_.logits;
    l.p = outputs;
    l.y = b.y ? b.y + first : nullptr;
    l.labels = b.labels ? b.labels + r0 : nullptr;
    l.weights = b.weights ? b.weights + r0 : nullptr;
    l.factor = 1 / double(b.rows);
    l.row_loss = has_heads() ? nullptr : row_loss_.get() + r0;  // heads keep their own
    l.d = all_d ? all_d + first : nullptr;
    l.rows = rows;
    l.cols = cols;
    if (has_heads()) heads_.rows(b, all_outputs, all_d, measure, r0, r1);
    else if (!t.custom) k_.loss_rows(l);

    if (top.has_activity() && form_.fused) {  // the penalty is on the activation that the fused loss skipped
        T *a = activity_.get() + 2 * first, *grad = a + rows * cols;
        probabilities(outputs, a, rows);
        if (l.d) {
            std::fill_n(grad, rows * cols, T(0));
            k_.penalty(a, grad, top.activity_l1 * l.factor, top.activity_l2 * l.factor, rows * cols);
            if (t.categorical()) k_.softmax_backward(a, grad, rows, cols);
            else k_.activation_backward(ops::Activation::sigmoid, T(0), nullptr, a, grad, cols, rows, cols);
            k_.add(l.d, grad, l.d, rows * cols);
        }
    } else if (l.d && top.has_activation() && top.activation == ops::Activation::softmax && !form_.fused) {
        if (top.has_activity())
            k_.penalty(outputs, l.d, top.activity_l1 * l.factor, top.activity_l2 * l.factor, rows * cols);
        k_.softmax_backward(outputs, l.d, rows, cols);  // mixes columns, so it is done here, row by row
    }
    if (!measure || has_heads()) return;
    const T* metric_inputs = outputs;
    if (wants_probabilities_) {
        probabilities(outputs, probabilities_.get() + first, rows);
        metric_inputs = probabilities_.get() + first;
    }
    l.p = metric_inputs;
    l.d = nullptr;
    for (size_t m = 0; m < t.metrics.size(); ++m)
        if (t.metrics[m].per_row()) {
            l.row_loss = row_metric_.get() + int64_t(m) * capacity_ + r0;
            measure_rows(k_, t.metrics[m], l);
        }
}

template <class T>
bool OutputLoss<T>::call_hook(const Batch<T>& b, const T* outputs, T* d) {
    HookBatch h;
    h.flags = b.hook_flags | (d ? HookBatch::differentiated : 0u);
    h.dtype = dtype_of<T>;
    h.rows = b.rows, h.cols = plan_.outputs, h.target_cols = b.y_cols;
    h.predictions = wants_probabilities_ ? probabilities_.get() : outputs;
    h.outputs = form_.fused ? h.predictions : outputs;
    h.targets = b.y, h.labels = b.labels, h.weights = b.weights;
    if (custom()) {
        h.losses = has_heads() ? heads_.custom_losses() : row_loss_.get();
        h.heads = has_heads() ? int64_t(training_->heads.size()) : 1;
        h.gradient = d;
    }
    return (*training_->hook)(h);
}

template <class T>
double OutputLoss<T>::row_sum(int64_t rows) const {
    if (has_heads()) return heads_.row_sum(rows);
    double sum = 0;
    for (int64_t r = 0; r < rows; ++r) sum += row_loss_[r];
    return sum;
}

template <class T>
void OutputLoss<T>::add_activity_to(double& sum, int64_t rows) const {
    const Op& top = plan_.ops.back();
    const Slices cut(rows, 4, 1);  // as rows() was called
    for (int s = 0; s < cut.count; ++s)
        sum += k_.penalty(activity_.get() + 2 * cut.begin(s) * top.out, nullptr, top.activity_l1, top.activity_l2,
                          (cut.end(s) - cut.begin(s)) * top.out);
}

template <class T>
void OutputLoss<T>::add_metrics_to(double* sums, const Batch<T>& b, const T* outputs) const {
    if (has_heads()) return heads_.add_metrics_to(sums, b.rows);
    const T* metric_inputs = wants_probabilities_ ? probabilities_.get() : outputs;
    add_metrics(*training_, metric_inputs, b.y, b.labels, b.weights, b.rows, plan_.outputs, row_metric_.get(),
                capacity_, sum_of_weights(b.weights, b.rows), sums);
}

template class OutputLoss<float>;
template class OutputLoss<double>;

}  // namespace fd::cpu
