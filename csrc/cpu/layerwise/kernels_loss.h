// Losses and softmax: value and gradient of a row in one pass. Part of kernels.cpp.

template <class T>
FD_HD T row_maximum(const T* z, int64_t cols) {
    T m = z[0];
    for_vectors<T>(cols, [&](int64_t c, auto n) {
        if constexpr (std::is_same_v<decltype(n), int>) {
            for (int i = 0; i < n; ++i) m = z[c + i] > m ? z[c + i] : m;
        } else {
            const T v = largest(load(z + c));
            m = v > m ? v : m;
        }
    });
    return m;
}
// out = exp(z - max), returns their sum; out may be z
template <class T>
FD_HD T shifted_exponentials(const T* z, T* out, T m, int64_t cols) {
    Pack<T> s(0);
    for_vectors<T>(cols, [&](int64_t c, auto n) {
        const Pack<T> e = vexp_moderate(load(z + c, n) - Pack<T>(m));
        s = s + head(e, n);
        store(out + c, e, n);
    });
    return sum(s);
}
template <class T>
void softmax(const T* z, T* a, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; ++r, z += cols, a += cols) {
        const Pack<T> scale(T(1) / shifted_exponentials(z, a, row_maximum(z, cols), cols));
        for_vectors<T>(cols, [&](int64_t c, auto n) { store(a + c, load(a + c, n) * scale, n); });
    }
}
template <class T>
void softmax_backward(const T* a, T* d, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; ++r, a += cols, d += cols) {
        Pack<T> s(0);
        for_vectors<T>(cols, [&](int64_t c, auto n) { s = s + load(a + c, n) * load(d + c, n); });
        const Pack<T> mean(sum(s));
        for_vectors<T>(cols, [&](int64_t c, auto n) { store(d + c, load(a + c, n) * (load(d + c, n) - mean), n); });
    }
}

template <class Functor, class T>
FD_HD void elementwise_loss(const LossRows<T>& l) {
    const Pack<T> one(l.param), keep(1 - l.label_smoothing), shift(l.label_smoothing / 2);
    for (int64_t r = 0; r < l.rows; ++r) {
        const T *p = l.p + r * l.cols, *y = l.y + r * l.cols;
        const double weight = l.weights ? l.weights[r] : 1;
        const Pack<T> scale(weight * l.factor / double(l.cols));
        Pack<T> s(0);
        for_vectors<T>(l.cols, [&](int64_t c, auto n) {
            const Pack<T> pred = load(p + c, n), target = load(y + c, n) * keep + shift;
            const Pack<T> param = l.params ? load(l.params + c, n) : one;
            s = s + head(Functor::value(pred, target, param), n);
            if (l.d) store(l.d + r * l.cols + c, Functor::derivative(pred, target, param) * scale, n);
        });
        l.row_loss[r] = weight * double(sum(s)) / double(l.cols);
    }
}

// The target of class c in row r, smoothed: dense targets are scaled, a label puts `keep` on its class.
template <class T>
struct RowTarget {
    const T* y;
    int64_t label;
    Pack<T> keep, shift;
    T ramp[Pack<T>::width];
    FD_HD RowTarget(const LossRows<T>& l, int64_t r)
        : y(l.labels ? nullptr : l.y + r * l.cols), label(l.labels ? l.labels[r] : -1), keep(1 - l.label_smoothing),
          shift(l.label_smoothing / double(l.cols)) {
        for (int i = 0; i < Pack<T>::width; ++i) ramp[i] = T(i);
    }
    template <class N>
    FD_HD Pack<T> operator()(int64_t c, N n) const {
        if (y) return head(load(y + c, n) * keep + shift, n);
        const Pack<T> distance = vabs(load(ramp) - Pack<T>(T(label - c)));
        return head(select(distance < Pack<T>(T(0.5)), keep + shift, shift), n);
    }
};

// -Σ t log softmax(z) = Σ t · logsumexp(z) - Σ t z, with z - max(z) for z; gradient softmax(z) Σt - t.
template <class T>
FD_HD void crossentropy_from_logits(const LossRows<T>& l) {
    for (int64_t r = 0; r < l.rows; ++r) {
        const T* z = l.p + r * l.cols;
        const RowTarget<T> target(l, r);
        const double weight = l.weights ? l.weights[r] : 1;
        const T m = row_maximum(z, l.cols);
        Pack<T> exponentials(0), targets(0), agreement(0);
        T* d = l.d ? l.d + r * l.cols : nullptr;
        for_vectors<T>(l.cols, [&](int64_t c, auto n) {
            const Pack<T> x = load(z + c, n) - Pack<T>(m), e = vexp_moderate(x), t = target(c, n);
            exponentials = exponentials + head(e, n);
            targets = targets + t;
            agreement = agreement + select(t > Pack<T>(0), t * head(x, n), Pack<T>(0));  // 0 · -inf is 0
            if (d) store(d + c, e, n);
        });
        const T total = sum(exponentials), mass = sum(targets);
        l.row_loss[r] = weight * (double(mass) * std::log(double(total)) - double(sum(agreement)));
        if (!d) continue;
        const Pack<T> scale(weight * l.factor), share(mass / total);
        for_vectors<T>(l.cols,
                       [&](int64_t c, auto n) { store(d + c, (load(d + c, n) * share - target(c, n)) * scale, n); });
    }
}

// Keras's form on probabilities: q = clip(p/Σp), loss -Σ t log q; nothing flows through a clipped element.
template <class T>
FD_HD void crossentropy_from_probabilities(const LossRows<T>& l) {
    const Pack<T> low(ops::probability_floor), high(1 - ops::probability_floor);
    for (int64_t r = 0; r < l.rows; ++r) {
        const T* p = l.p + r * l.cols;
        const RowTarget<T> target(l, r);
        const double weight = l.weights ? l.weights[r] : 1;
        Pack<T> s(0);
        for_vectors<T>(l.cols, [&](int64_t c, auto n) { s = s + head(load(p + c, n), n); });
        const Pack<T> total(sum(s)), scale(weight * l.factor);
        Pack<T> value(0), through(0);  // through = Σ_j t_j over the unclipped j: -Σ_j (t_j/q_j)(-q_j/Σp)
        T* d = l.d ? l.d + r * l.cols : nullptr;
        for_vectors<T>(l.cols, [&](int64_t c, auto n) {
            const Pack<T> q = load(p + c, n) / total, t = target(c, n);
            const Pack<T> clipped = vmin(vmax(q, low), high);
            value = value - t * vlog(clipped);
            const Pack<T> flows = select(q < low, Pack<T>(0), select(q > high, Pack<T>(0), t));
            through = through + head(flows, n);
            if (d) store(d + c, -flows / clipped, n);
        });
        l.row_loss[r] = weight * double(sum(value));
        if (!d) continue;
        const Pack<T> mean(sum(through));
        for_vectors<T>(l.cols, [&](int64_t c, auto n) { store(d + c, (load(d + c, n) + mean) / total * scale, n); });
    }
}

template <class T>
void loss_rows(const LossRows<T>& l) {
    switch (l.loss) {
#define FD_CASE(name, functor) \
    case ops::Loss::name: return elementwise_loss<ops::functor>(l);
        FD_ELEMENTWISE_LOSSES(FD_CASE)
#undef FD_CASE
        case ops::Loss::categorical_crossentropy:
        case ops::Loss::sparse_categorical_crossentropy:
            return l.from_logits ? crossentropy_from_logits(l) : crossentropy_from_probabilities(l);
    }
}
