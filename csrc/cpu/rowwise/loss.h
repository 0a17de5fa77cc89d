// Losses of one panel: rows in lanes, so nothing crosses lanes but the final sum. Part of rowwise/kernels.cpp.

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
    const Pack<T> one(l.param), keep(1 - l.label_smoothing), shift(l.label_smoothing / 2);
    const Pack<T> share(T(1 / double(b.cols))), factor(T(l.factor / double(b.cols)));
    const Pack<T> none(T(0));
    Pack<T> total(T(0));
    for (int j = 0; j < V; ++j) {
        const Pack<T> weight = load(b.weights + j * W), scale = weight * factor;
        Pack<T> s(T(0));
        for (int64_t c = 0; c < b.cols; ++c) {
            const int64_t at = c * P + j * W;
            const Pack<T> p = load(b.p + at), y = load(b.y + at) * keep + shift;
            const Pack<T> param = l.params ? Pack<T>(T(l.params[c])) : one;
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

template <int V, class T>
T crossentropy_panel_loss(const RowwiseLoss<T>& l, const PanelLoss<T>& b) {
    constexpr int W = Pack<T>::width, P = V * W;
    Pack<T> total(T(0));
    for (int j = 0; j < V; ++j) {
        const auto targets = LaneTargets<T>::template of<V>(l, b, j);
        const Pack<T> weight = load(b.weights + j * W), scale = weight * Pack<T>(T(l.factor)), none(T(0));
        auto target = [&](int64_t c) __attribute__((always_inline)) { return targets.template at<P>(c); };
        auto add = [&](Pack<T> loss)
                       __attribute__((always_inline)) { total = total + select(weight <= none, none, weight * loss); };
        auto put = [&](T* place, Pack<T> gradient)
                       __attribute__((always_inline)) { store(place, select(weight <= none, none, gradient * scale)); };
        T* d = b.d ? b.d + j * W : nullptr;
        if (l.from_logits) logits_crossentropy_in_lanes<P>(b.p + j * W, d, b.cols, target, add, put);
        else probabilities_crossentropy_in_lanes<P>(b.p + j * W, d, b.cols, target, add, put);
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
        case ops::Loss::sparse_categorical_crossentropy: return crossentropy_panel_loss<V>(l, b);
    }
    return T(0);
}

template <int V, class T>
void softmax_panel(const T* z, T* a, int64_t cols) {
    constexpr int W = Pack<T>::width;
    for (int j = 0; j < V; ++j) softmax_in_lanes<V * W>(z + j * W, a + j * W, cols);
}
template <int V, class T>
void softmax_panel_backward(const T* a, T* d, int64_t cols) {
    constexpr int W = Pack<T>::width;
    for (int j = 0; j < V; ++j) softmax_backward_in_lanes<V * W>(a + j * W, d + j * W, d + j * W, cols);
}
