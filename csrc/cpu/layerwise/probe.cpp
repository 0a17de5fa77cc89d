#include "cpu/layerwise/probe.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fd::cpu {
namespace {

constexpr double none = std::numeric_limits<double>::quiet_NaN();

}  // namespace

template <class T>
Probe<T>::Probe(const Plan& plan, State<T>& state, Layerwise<T>& layerwise, Updater<T>& updater)
    : plan_(plan), state_(state), layerwise_(layerwise), updater_(updater), k_(kernels_of<T>(isa())),
      width_(ProbeRecords::width_of(plan)) {}

template <class T>
int64_t Probe<T>::period(int64_t rows, int64_t batch, bool rowwise) const {
    // In nanoseconds, about: only the ratio counts. Fitted to one core (Zen 4, AVX-512).
    const double taken = double(std::min(ProbeSchedule::most_rows, rows)),
                 units = double(width_) / ProbeRecords::numbers_per_unit;
    const double parameters = double(plan_.parameters), flops = plan_.step_flops, work = flops * double(batch);
    const double step = rowwise ? 300 + work / 60 + parameters : 3000 + work / 90 + parameters;
    const double row = 60 + flops / 60 + 2.5 * units + 2 * double(plan_.inputs);
    const double fraction = rowwise && step < 1e5 ? 0.04 : ProbeSchedule::cost;
    return int64_t(std::ceil((taken * row + 4 * parameters) / (step * fraction)));
}

template <class T>
void Probe<T>::begin(const TrainRequest& r, ProbeRecords& records) {
    rows_ = std::min(ProbeSchedule::most_rows, r.train.rows());
    layerwise_.reserve(rows_, true, true);
    before_.reserve(plan_.parameters);
    top_.reserve(rows_ * plan_.outputs);
    schedule_.begin(r);
    records_ = &records;
    records.width = width_;
    const size_t most = size_t(schedule_.most(r.steps));
    records.records.reserve(most);
    records.values.resize(most * size_t(width_));
}

template <class T>
void Probe<T>::keep(const Worker& w) {
    const Slices cut(plan_.parameters, 4096);
    w.each(cut.count, [&](int64_t s) {
        const int64_t first = cut.begin(s);
        std::copy(state_.parameters.get() + first, state_.parameters.get() + cut.end(s), before_.get() + first);
    });
}

template <class T>
bool Probe<T>::follows(const Cursor& cursor, int64_t step, bool broken) {
    kept_ = due();
    const auto record = schedule_.follows(cursor, step, broken);
    if (!record) return false;
    next_ = *record;
    return true;
}

template <class T>
bool Probe<T>::take(const Worker& w, const Dataset& data) {
    double* values = records_->values.data() + int64_t(records_->records.size()) * width_;
    const Batch<T> b = layerwise_.gather(w, data, rows_, RowOrder::spread(data.rows(), rows_));
    if (!layerwise_.forward(w, b, Pass::probe, false)) return false;
    if (!layerwise_.loss(w, b, Pass::probe)) return false;
    if (!layerwise_.backward(w, b, Pass::probe, false)) return false;
    updater_.penalties(w, true);
    if (w.first()) next_.loss = layerwise_.batch_loss(b, Pass::probe) + updater_.penalty_sum();
    summarise(w, b, values);
    if (layerwise_.stop().agreed(w, 2 * int(plan_.ops.size()))) return false;
    if (w.first()) {
        next_.nonfinite_op = ProbeRecords::first_nonfinite(plan_, values);
        records_->records.push_back(next_);
    }
    return true;
}

// Each unit's numbers, in the order of ProbeRecords. A column is one worker's, from the first row to the last.
template <class T>
void Probe<T>::summarise(const Worker& w, const Batch<T>& b, double* to) {
    for (int i = 0; i < int(plan_.ops.size()); ++i) {
        const Op& o = plan_.ops[size_t(i)];
        const T* z = o.has_activation() ? layerwise_.pre_activation(i, b.x) : nullptr;
        const T* a = layerwise_.probed_output(w, i, b, top_.get());
        const double limit = o.has_activation() ? ops::activation_saturation[int(o.activation)] : 0;
        const T *weights = nullptr, *before = nullptr, *gradient = nullptr;
        if (o.kind == OpKind::dense) {
            const int64_t offset = plan_.tensors[size_t(o.kernel)].offset;
            weights = state_.parameters.get() + offset, gradient = state_.gradients.get() + offset;
            if (kept_) before = before_.get() + offset;
        }
        const Slices columns(o.out);
        w.each(columns.count, [&](int64_t s) {
            const int64_t c0 = columns.begin(s), n = columns.end(s) - c0;
            double* at = to + c0;
            UnitStatistics u;
            u.off = at, u.saturated = at + o.out, u.mean = at + 2 * o.out, u.variance = at + 3 * o.out;
            u.limit = limit;
            k_.unit_statistics(z ? z + c0 : nullptr, a + c0, o.out, b.rows, n, u);
            auto norms = [&](int row, const T* m, const T* minus) {
                double* out = at + row * o.out;
                if (m) k_.column_norms(m + c0, minus ? minus + c0 : nullptr, o.out, o.in, n, out);
                else std::fill_n(out, n, none);
            };
            if (!z) std::fill_n(u.off, n, none);
            if (limit == 0) std::fill_n(u.saturated, n, none);
            norms(4, gradient, nullptr);
            norms(5, weights, nullptr);
            norms(6, before ? weights : nullptr, before);
        });
        to += ProbeRecords::numbers_per_unit * o.out;
    }
}

template class Probe<float>;
template class Probe<double>;

}  // namespace fd::cpu
