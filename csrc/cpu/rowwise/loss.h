// Losses of one panel: rows in lanes, so nothing crosses lanes but the final sum. Part of rowwise_kernels.cpp.

template <class T>
struct PanelLoss {
    const T *p = nullptr, *y = nullptr;  // (outputs, panel); the sparse loss reads labels
    const int32_t* labels = nullptr;     // (panel,)
    const T* weights = nullptr;          // (panel,): 0 where there is no row, whatever p holds there
    T* d = nullptr;                      // (outputs, panel), or none
    int64_t cols = 0;
};

template <int V, class Functor, class T>
T elementwise_panel_loss(const RowwiseLoss<T>& l, const PanelLoss<T>& b) {
    constexpr int W = Pack<T>::width, P = V * W;
    const Pack<T> param(l.param), keep(1 - l.label_smoothing), shift(l.label_smoothing / 2);
    const Pack<T> share(T(1 / double(b.cols))), factor(T(l.factor / double(b.cols)));
    const Pack<T> none(T(0));
    Pack<T> total(T(0));
    for (int j = 0; j < V; ++j) {
        const Pack<T> weight = load(b.weights + j * W), scale = weight * factor;
        Pack<T> s(T(0));
        for (int64_t c = 0; c < b.cols; ++c) {
            const int64_t at = c * P + j * W;
            const Pack<T> p = load(b.p + at), y = load(b.y + at) * keep + shift;
            s = s + Functor::value(p, y, param);
            if (b.d) store(b.d + at, select(weight <= none, none, Functor::derivative(p, y, param) * scale));
        }
        total = total + select(weight <= none, none, s * share * weight);
    }
    return sum(total);
}

template <class T>
struct LaneTargets {  // target of class c in these lanes, smoothed
    const T* y;
    Pack<T> label, keep, shift;
    template <int V>
    static FD_HD LaneTargets of(const RowwiseLoss<T>& l, const PanelLoss<T>& b, int j) {
        constexpr int W = Pack<T>::width;
        const bool sparse = l.kind == ops::Loss::sparse_categorical_crossentropy;
        LaneTargets t{sparse ? nullptr : b.y + j * W, Pack<T>(T(-1)), Pack<T>(1 - l.label_smoothing),
                      Pack<T>(l.label_smoothing / T(b.cols))};
        if (sparse) {
            T lane[W];
            for (int i = 0; i < W; ++i) lane[i] = T(b.labels[j * W + i]);
            t.label = load(lane);
        }
        return t;
    }
    template <int P>
    FD_HD Pack<T> at(int64_t c) const {
        if (y) return load(y + c * P) * keep + shift;
        const Pack<T> distance = vabs(label - Pack<T>(T(c)));
        return select(distance < Pack<T>(T(0.5)), keep + shift, shift);
    }
};

// -Σ t log softmax(z), with z - max(z) for z; gradient softmax(z) Σt - t.
template <int V, class T>
T crossentropy_panel_from_logits(const RowwiseLoss<T>& l, const PanelLoss<T>& b) {
    constexpr int W = Pack<T>::width, P = V * W;
    Pack<T> total(T(0));
    for (int j = 0; j < V; ++j) {
        const T* z = b.p + j * W;
        const auto target = LaneTargets<T>::template of<V>(l, b, j);
        const Pack<T> weight = load(b.weights + j * W), none(T(0));
        Pack<T> m = load(z);
        for (int64_t c = 1; c < b.cols; ++c) {
            const Pack<T> x = load(z + c * P);
            m = select(x > m, x, m);
        }
        Pack<T> exponentials(T(0)), targets(T(0)), agreement(T(0));
        T* d = b.d ? b.d + j * W : nullptr;
        for (int64_t c = 0; c < b.cols; ++c) {
            const Pack<T> x = load(z + c * P) - m, e = vexp(x), t = target.template at<P>(c);
            exponentials = exponentials + e;
            targets = targets + t;
            agreement = agreement + select(t > none, t * x, none);  // 0 · -inf is 0
            if (d) store(d + c * P, e);
        }
        total = total + select(weight <= none, none, weight * (targets * vlog(exponentials) - agreement));
        if (!d) continue;
        const Pack<T> scale = weight * Pack<T>(T(l.factor)), share = targets / exponentials;
        for (int64_t c = 0; c < b.cols; ++c) {
            const Pack<T> g = (load(d + c * P) * share - target.template at<P>(c)) * scale;
            store(d + c * P, select(weight <= none, none, g));
        }
    }
    return sum(total);
}

// Keras's form on probabilities: q = clip(p/Σp), loss -Σ t log q; nothing flows through a clipped element.
template <int V, class T>
T crossentropy_panel_from_probabilities(const RowwiseLoss<T>& l, const PanelLoss<T>& b) {
    constexpr int W = Pack<T>::width, P = V * W;
    const Pack<T> low(ops::probability_floor), high(1 - ops::probability_floor), none(T(0));
    Pack<T> total(T(0));
    for (int j = 0; j < V; ++j) {
        const T* p = b.p + j * W;
        const auto target = LaneTargets<T>::template of<V>(l, b, j);
        const Pack<T> weight = load(b.weights + j * W);
        Pack<T> mass(T(0)), value(T(0)), through(T(0));
        for (int64_t c = 0; c < b.cols; ++c) mass = mass + load(p + c * P);
        T* d = b.d ? b.d + j * W : nullptr;
        for (int64_t c = 0; c < b.cols; ++c) {
            const Pack<T> q = load(p + c * P) / mass, t = target.template at<P>(c);
            const Pack<T> clipped = ops::vmin(ops::vmax(q, low), high);
            value = value - t * vlog(clipped);
            const Pack<T> flows = select(q < low, none, select(q > high, none, t));
            through = through + flows;
            if (d) store(d + c * P, -flows / clipped);
        }
        total = total + select(weight <= none, none, weight * value);
        if (!d) continue;
        const Pack<T> scale = weight * Pack<T>(T(l.factor));
        for (int64_t c = 0; c < b.cols; ++c)
            store(d + c * P, select(weight <= none, none, (load(d + c * P) + through) / mass * scale));
    }
    return sum(total);
}

// Σ weight · loss of the panel's rows; fills d unless null.
template <int V, class T>
T panel_loss(const RowwiseLoss<T>& l, const PanelLoss<T>& b) {
    switch (l.kind) {
#define FD_CASE(name, functor) \
    case ops::Loss::name: return elementwise_panel_loss<V, ops::functor>(l, b);
        FD_ELEMENTWISE_LOSSES(FD_CASE)
#undef FD_CASE
        case ops::Loss::categorical_crossentropy:
        case ops::Loss::sparse_categorical_crossentropy:
            return l.from_logits ? crossentropy_panel_from_logits<V>(l, b)
                                 : crossentropy_panel_from_probabilities<V>(l, b);
    }
    return T(0);
}

template <int V, class T>
void softmax_panel(const T* z, T* a, int64_t cols) {
    constexpr int W = Pack<T>::width, P = V * W;
    for (int j = 0; j < V; ++j) {
        const T* from = z + j * W;
        T* to = a + j * W;
        Pack<T> m = load(from), s(T(0));
        for (int64_t c = 1; c < cols; ++c) {
            const Pack<T> x = load(from + c * P);
            m = select(x > m, x, m);
        }
        for (int64_t c = 0; c < cols; ++c) {
            const Pack<T> e = vexp(load(from + c * P) - m);
            s = s + e;
            store(to + c * P, e);
        }
        const Pack<T> scale = Pack<T>(T(1)) / s;
        for (int64_t c = 0; c < cols; ++c) store(to + c * P, load(to + c * P) * scale);
    }
}
template <int V, class T>
void softmax_panel_backward(const T* a, T* d, int64_t cols) {  // d = a (d - Σ a d)
    constexpr int W = Pack<T>::width, P = V * W;
    for (int j = 0; j < V; ++j) {
        Pack<T> s(T(0));
        for (int64_t c = 0; c < cols; ++c) s = s + load(a + c * P + j * W) * load(d + c * P + j * W);
        for (int64_t c = 0; c < cols; ++c) {
            T* at = d + c * P + j * W;
            store(at, load(a + c * P + j * W) * (load(at) - s));
        }
    }
}
