#include "cpu/layerwise/head_losses.h"

#include <algorithm>

#include "cpu/layerwise/measure.h"

namespace fd::cpu {

template <class T>
void HeadLosses<T>::configure(const Training* training) {
    training_ = training;
    parts_ = std::vector<Part>(training ? training->heads.size() : 0);
    for (size_t h = 0; h < parts_.size();
         ++h)  // a cross-entropy sees probabilities, as the block has put them together
        parts_[h].form = LossForm(training->heads[h], ops::Activation::linear);
    capacity_ = 0;
}

template <class T>
void HeadLosses<T>::reserve(int64_t rows) {
    for (size_t h = 0; h < parts_.size(); ++h) {
        const Head& head = training_->heads[h];
        Part& part = parts_[h];
        for (Buffer<T>* one : {&part.p, &part.d}) one->reserve(rows * head.cols);
        part.y.reserve(rows * std::max<int64_t>(head.targets, 1));
        part.labels.reserve(rows);
        for (Buffer<double>* one : {&part.weights, &part.losses}) one->reserve(rows);
    }
    row_metric_.reserve(rows * int64_t(training_->metrics.size()));
    custom_.reserve(rows * int64_t(parts_.size()));
    capacity_ = rows;
}

// The columns of a head, for rows r0 … r1 of the batch.
template <class T>
LossRows<T> HeadLosses<T>::gather(const Batch<T>& b, const T* outputs, size_t h, int64_t r0, int64_t r1) {
    const Head& head = training_->heads[h];
    Part& part = parts_[h];
    const int64_t weight_column = training_->target_columns() + int64_t(h);
    const bool own_weights = weight_column < b.y_cols;
    LossRows<T> l;
    l.loss = part.form.kind;
    l.param = head.loss_param, l.label_smoothing = head.label_smoothing, l.from_logits = part.form.logits;
    l.factor = head.weight / double(b.rows);
    l.rows = r1 - r0, l.cols = head.cols;
    for (int64_t r = r0; r < r1; ++r) {
        std::copy_n(outputs + r * plan_.outputs + head.first, head.cols, part.p.get() + r * head.cols);
        const T* y = b.y + r * b.y_cols + head.first_target;
        std::copy_n(y, head.targets, part.y.get() + r * head.targets);
        if (head.sparse()) part.labels[r] = int32_t(y[0]);
        if (own_weights) part.weights[r] = (b.weights ? b.weights[r] : 1) * double(b.y[r * b.y_cols + weight_column]);
        else if (b.weights) part.weights[r] = b.weights[r];
    }
    const bool weighted = own_weights || b.weights;
    if (!r0) part.weighted = weighted;
    l.p = part.p.get() + r0 * head.cols;
    if (head.sparse()) l.labels = part.labels.get() + r0;
    else l.y = part.y.get() + r0 * head.targets;
    l.weights = weighted ? part.weights.get() + r0 : nullptr;
    l.row_loss = part.losses.get() + r0;
    return l;
}

template <class T>
void HeadLosses<T>::rows(const Batch<T>& b, const T* outputs, T* d, bool measure, int64_t r0, int64_t r1) {
    const int64_t count = int64_t(parts_.size());
    for (size_t h = 0; h < parts_.size(); ++h) {
        const Head& head = training_->heads[h];
        Part& part = parts_[h];
        LossRows<T> l = gather(b, outputs, h, r0, r1);
        if (head.custom) {
            for (int64_t r = r0; r < r1; ++r) part.losses[r] = custom_[r * count + int64_t(h)];
        } else if (head.has_loss) {
            if (d) l.d = part.d.get() + r0 * head.cols;
            k_.loss_rows(l);
        } else {
            std::fill_n(l.row_loss, l.rows, 0.0);
            std::fill_n(part.d.get() + r0 * head.cols, l.rows * head.cols, T(0));
        }
        if (d && !head.custom)
            for (int64_t r = r0; r < r1; ++r)
                std::copy_n(part.d.get() + r * head.cols, head.cols, d + r * plan_.outputs + head.first);
        if (!measure) continue;
        l.d = nullptr;
        T* p = part.p.get() + r0 * head.cols;
        if (part.form.logits && head.categorical()) k_.softmax(p, p, l.rows, l.cols);
        else if (part.form.logits)
            k_.bias_activation(ops::Activation::sigmoid, T(0), nullptr, nullptr, p, p, l.cols, l.rows, l.cols);
        for (size_t m = 0; m < training_->metrics.size(); ++m) {
            const Metric& metric = training_->metrics[m];
            if (metric.head != int(h) || metric.is_loss || !metric.per_row()) continue;
            l.row_loss = row_metric_.get() + int64_t(m) * capacity_ + r0;
            measure_rows(k_, metric, l);
        }
    }
}

template <class T>
double HeadLosses<T>::row_sum(int64_t rows) const {
    double total = 0;
    for (size_t h = 0; h < parts_.size(); ++h) {
        if (!training_->heads[h].has_loss) continue;
        double sum = 0;
        for (int64_t r = 0; r < rows; ++r) sum += parts_[h].losses[r];
        total += training_->heads[h].weight * sum;
    }
    return total;
}

template <class T>
void HeadLosses<T>::add_metrics_to(double* state, int64_t rows) const {
    for (size_t m = 0; m < training_->metrics.size(); ++m) {
        const Metric& metric = training_->metrics[m];
        const Head& head = training_->heads[size_t(metric.head)];
        const Part& part = parts_[size_t(metric.head)];
        const double* weights = part.weighted ? part.weights.get() : nullptr;
        // the loss is a mean over rows, whatever they weigh
        if (metric.is_loss)
            add_metric<T>(metric, nullptr, nullptr, nullptr, nullptr, rows, head.cols, part.losses.get(), double(rows),
                          state);
        else
            add_metric(metric, part.p.get(), head.sparse() ? nullptr : part.y.get(),
                       head.sparse() ? part.labels.get() : nullptr, weights, rows, head.cols,
                       row_metric_.get() + int64_t(m) * capacity_, sum_of_weights(weights, rows), state);
        state += metric.states(head.cols);
    }
}

template class HeadLosses<float>;
template class HeadLosses<double>;

}  // namespace fd::cpu
