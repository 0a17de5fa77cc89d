// Softmax and the categorical cross-entropies of as many rows as a vector has lanes: a row to a lane, so nothing crosses lanes.
// Column c of all of them lies at c · stride. Part of the kernels of the rowwise path (rows of a panel) and of the memberwise
// path (one row for each net); the layerwise path has the columns of a row in lanes, and sums across them (kernels_loss.h).

template <int stride, class T>
FD_HD Pack<T> maximum_in_lanes(const T* z, int64_t cols) {
    Pack<T> m = load(z);
    for (int64_t c = 1; c < cols; ++c) {
        const Pack<T> x = load(z + c * stride);
        m = select(x > m, x, m);
    }
    return m;
}

template <int stride, class T>
FD_HD void softmax_in_lanes(const T* z, T* a, int64_t cols) {
    const Pack<T> m = maximum_in_lanes<stride>(z, cols);
    Pack<T> s(T(0));
    for (int64_t c = 0; c < cols; ++c) {
        const Pack<T> e = vexp_moderate(load(z + c * stride) - m);
        s = s + e;
        store(a + c * stride, e);
    }
    const Pack<T> scale = Pack<T>(T(1)) / s;
    for (int64_t c = 0; c < cols; ++c) store(a + c * stride, load(a + c * stride) * scale);
}
template <int stride, class T>
FD_HD void softmax_backward_in_lanes(const T* a, const T* d, T* to, int64_t cols) {  // to = a (d - Σ a d); to may be d
    Pack<T> s(T(0));
    for (int64_t c = 0; c < cols; ++c) s = s + load(a + c * stride) * load(d + c * stride);
    for (int64_t c = 0; c < cols; ++c) store(to + c * stride, load(a + c * stride) * (load(d + c * stride) - s));
}

// Both losses take the targets as target(c), hand the value to add(loss), and then the gradient of each column, before the
// row's weight, to put(place, gradient). Null d: no gradient is wanted.

// -Σ t log softmax(z) = (Σ t)·logsumexp(z) - Σ t z, with z - max(z) for z; gradient softmax(z) Σt - t.
template <int stride, class T, class Target, class Add, class Put>
FD_HD void logits_crossentropy_in_lanes(const T* z, T* d, int64_t cols, Target&& target, Add&& add, Put&& put) {
    const Pack<T> m = maximum_in_lanes<stride>(z, cols), none(T(0));
    Pack<T> exponentials(T(0)), targets(T(0)), agreement(T(0));
    for (int64_t c = 0; c < cols; ++c) {
        const Pack<T> x = load(z + c * stride) - m, e = vexp_moderate(x), t = target(c);
        exponentials = exponentials + e;
        targets = targets + t;
        agreement = agreement + select(t > none, t * x, none);  // 0 · -inf is 0
        if (d) store(d + c * stride, e);
    }
    add(targets * vlog(exponentials) - agreement);
    if (!d) return;
    const Pack<T> share = targets / exponentials;
    for (int64_t c = 0; c < cols; ++c) put(d + c * stride, load(d + c * stride) * share - target(c));
}

// Keras's form on probabilities: q = clip(p/Σp), loss -Σ t log q; nothing flows through a clipped element.
template <int stride, class T, class Target, class Add, class Put>
FD_HD void probabilities_crossentropy_in_lanes(const T* p, T* d, int64_t cols, Target&& target, Add&& add, Put&& put) {
    const Pack<T> low(ops::probability_floor), high(1 - ops::probability_floor), none(T(0));
    Pack<T> mass(T(0)), value(T(0)), through(T(0));  // through = Σ_j t_j over the unclipped j
    for (int64_t c = 0; c < cols; ++c) mass = mass + load(p + c * stride);
    for (int64_t c = 0; c < cols; ++c) {
        const Pack<T> q = load(p + c * stride) / mass, t = target(c);
        const Pack<T> clipped = vmin(vmax(q, low), high);
        value = value - t * vlog(clipped);
        const Pack<T> flows = select(q < low, none, select(q > high, none, t));
        through = through + flows;
        if (d) store(d + c * stride, -flows / clipped);
    }
    add(value);
    if (!d) return;
    for (int64_t c = 0; c < cols; ++c) put(d + c * stride, (load(d + c * stride) + through) / mass);
}
