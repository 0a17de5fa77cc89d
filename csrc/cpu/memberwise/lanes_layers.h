// Layers other than products, on packs. Part of memberwise/kernels.cpp (inside the namespace of one instruction set).
// Values are (rows, width) packs; a block's row r, unit u lies at (r·width + u)·W.

template <class T>
inline constexpr int64_t W = Pack<T>::width;

template <class Functor, class T>
FD_HD void lane_activation_with(const LaneOp& op, const T* slope, const T* z, T* a, int64_t rows) {
    const Pack<T> alpha(op.alpha);
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t u = 0; u < op.out; ++u, z += W<T>, a += W<T>)
            store(a, Functor::value(load(z), slope ? load(slope + u * W<T>) : alpha));
}
template <class T>
void lane_softmax(const T* z, T* a, int64_t rows, int64_t n) {
    for (int64_t r = 0; r < rows; ++r) softmax_in_lanes<W<T>>(z + r * n * W<T>, a + r * n * W<T>, n);
}
template <class T>
void lane_activation(const LaneOp& op, const T* slope, const T* z, T* a, int64_t rows) {
    if (op.activation == ops::Activation::linear && z == a) return;
    switch (op.activation) {
#define FD_CASE(name, functor) \
    case ops::Activation::name: return lane_activation_with<ops::functor>(op, slope, z, a, rows);
        FD_ELEMENTWISE_ACTIVATIONS(FD_CASE)
#undef FD_CASE
        case ops::Activation::softmax: return lane_softmax(z, a, rows, op.out);
    }
}

// d_to = d · f'(stored); d_to may be d
template <class Functor, class T>
FD_HD void lane_slope_with(const LaneOp& op, const T* slope, const T* stored, const T* d, T* to, int64_t rows) {
    const Pack<T> alpha(op.alpha);
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t u = 0; u < op.out; ++u, stored += W<T>, d += W<T>, to += W<T>)
            store(to, load(d) * Functor::derivative(load(stored), slope ? load(slope + u * W<T>) : alpha));
}
template <class T>
void lane_softmax_backward(const T* a, const T* d, T* to, int64_t rows, int64_t n) {
    for (int64_t r = 0; r < rows; ++r)
        softmax_backward_in_lanes<W<T>>(a + r * n * W<T>, d + r * n * W<T>, to + r * n * W<T>, n);
}
template <class T>
void lane_slope(const LaneOp& op, const T* slope, const T* stored, const T* d, T* to, int64_t rows) {
    if (op.activation == ops::Activation::linear && to == d) return;
    switch (op.activation) {
#define FD_CASE(name, functor) \
    case ops::Activation::name: return lane_slope_with<ops::functor>(op, slope, stored, d, to, rows);
        FD_ELEMENTWISE_ACTIVATIONS(FD_CASE)
#undef FD_CASE
        case ops::Activation::softmax: return lane_softmax_backward(stored, d, to, rows, op.out);
    }
}
template <class T>
void lane_prelu_gradient(const T* z, const T* d, T* out, int64_t rows, int64_t n) {
    for (int64_t u = 0; u < n; ++u) {
        Pack<T> s(0);
        for (int64_t r = 0; r < rows; ++r) {
            const Pack<T> x = load(z + (r * n + u) * W<T>);
            s = s + select(x > Pack<T>(0), Pack<T>(0), x * load(d + (r * n + u) * W<T>));
        }
        store(out + u * W<T>, load(out + u * W<T>) + s);
    }
}

// to = x · scale + offset (or none), unit by unit
template <class T>
void lane_rescaling(const T* x, const T* scale, const T* offset, T* to, int64_t rows, int64_t n) {
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t u = 0; u < n; ++u, x += W<T>, to += W<T>) {
            const Pack<T> v = load(x) * load(scale + u * W<T>);
            store(to, offset ? v + load(offset + u * W<T>) : v);
        }
}

// Penalty on a layer's outputs: its gradient is added to d, its sum over rows to losses (both once they are divided by the
// rows of the batch).
template <class T>
void lane_activity(const LaneBlock<T>& b, const LaneOp& op) {
    const T* a = b.work + op.to * W<T>;
    T* d = b.training && op.d_to >= 0 ? b.work + op.d_to * W<T> : nullptr;
    const Pack<T> factor = load(b.penalty), l1 = factor * Pack<T>(op.activity_l1),
                  l2 = factor * Pack<T>(op.activity_l2), share(1 / double(b.batch_rows));
    Pack<T> s(0);
    for (int64_t i = 0; i < b.rows * op.out; ++i) {
        const Pack<T> x = load(a + i * W<T>);
        s = s + (l1 * vabs(x) + l2 * x * x);
        if (d) store(d + i * W<T>, load(d + i * W<T>) + share * (l1 * ops::vsign(x) + (l2 + l2) * x));
    }
    T lane[W<T>];
    store(lane, s);
    for (int k = 0; k < W<T>; ++k) b.losses[k] += double(lane[k]);
}

// cache: mean (width) and inverse standard deviation (width)
template <class T>
void lane_batch_norm(const LaneBlock<T>& b, const LaneOp& op, const T* x) {
    T *out = b.work + op.to * W<T>, *cache = b.work + op.cache * W<T>;
    const T *gamma = b.parameters + op.kernel * W<T>, *beta = b.parameters + op.bias * W<T>;
    const int64_t n = op.out;
    const Pack<T> share(1 / double(b.rows)), momentum{T(op.momentum)}, rest{T(1 - op.momentum)};
    for (int64_t u = 0; u < n; ++u) {
        T *moving_mean = b.statistics + (op.mean + u) * W<T>,
          *moving_variance = b.statistics + (op.variance + u) * W<T>;
        Pack<T> mean = load(moving_mean), variance = load(moving_variance);
        if (b.training) {
            Pack<T> s(0), v(0);
            for (int64_t r = 0; r < b.rows; ++r) s = s + load(x + (r * n + u) * W<T>);
            mean = s * share;
            for (int64_t r = 0; r < b.rows; ++r) {  // two passes: no cancellation
                const Pack<T> e = load(x + (r * n + u) * W<T>) - mean;
                v = v + e * e;
            }
            variance = v * share;
            store(moving_mean, momentum * load(moving_mean) + rest * mean);
            store(moving_variance, momentum * load(moving_variance) + rest * variance);
        }
        const Pack<T> inverse = Pack<T>(1) / vsqrt(variance + Pack<T>(op.epsilon));
        store(cache + u * W<T>, mean);
        store(cache + (n + u) * W<T>, inverse);
        const Pack<T> g = load(gamma + u * W<T>), shift = load(beta + u * W<T>);
        for (int64_t r = 0; r < b.rows; ++r)
            store(out + (r * n + u) * W<T>, (load(x + (r * n + u) * W<T>) - mean) * inverse * g + shift);
    }
}
template <class T>
void lane_batch_norm_backward(const LaneBlock<T>& b, const LaneOp& op, const T* x, const T* d, T* to) {
    const T *gamma = b.parameters + op.kernel * W<T>, *cache = b.work + op.cache * W<T>;
    T *dgamma = b.gradients + op.kernel * W<T>, *dbeta = b.gradients + op.bias * W<T>;
    const int64_t n = op.out;
    const Pack<T> share(1 / double(b.rows));
    for (int64_t u = 0; u < n; ++u) {
        const Pack<T> mean = load(cache + u * W<T>), inverse = load(cache + (n + u) * W<T>);
        Pack<T> s(0), t(0);
        for (int64_t r = 0; r < b.rows; ++r) {
            const Pack<T> e = load(d + (r * n + u) * W<T>);
            s = s + e;
            t = t + e * ((load(x + (r * n + u) * W<T>) - mean) * inverse);
        }
        store(dbeta + u * W<T>, load(dbeta + u * W<T>) + s);
        store(dgamma + u * W<T>, load(dgamma + u * W<T>) + t);
        if (!to) continue;
        const Pack<T> scale = load(gamma + u * W<T>) * inverse;
        for (int64_t r = 0; r < b.rows; ++r) {
            const Pack<T> normal = (load(x + (r * n + u) * W<T>) - mean) * inverse;
            store(to + (r * n + u) * W<T>, scale * (load(d + (r * n + u) * W<T>) - (s + normal * t) * share));
        }
    }
}

// cache: mean (rows) and inverse standard deviation (rows)
template <class T>
void lane_layer_norm(const LaneBlock<T>& b, const LaneOp& op, const T* x) {
    T *out = b.work + op.to * W<T>, *cache = b.work + op.cache * W<T>;
    const T *gamma = b.parameters + op.kernel * W<T>, *beta = b.parameters + op.bias * W<T>;
    const int64_t n = op.out;
    const Pack<T> share(1 / double(n));
    for (int64_t r = 0; r < b.rows; ++r, x += n * W<T>, out += n * W<T>) {
        Pack<T> s(0), v(0);
        for (int64_t u = 0; u < n; ++u) s = s + load(x + u * W<T>);
        const Pack<T> mean = s * share;
        for (int64_t u = 0; u < n; ++u) {
            const Pack<T> e = load(x + u * W<T>) - mean;
            v = v + e * e;
        }
        const Pack<T> inverse = Pack<T>(1) / vsqrt(v * share + Pack<T>(op.epsilon));
        store(cache + r * W<T>, mean);
        store(cache + (b.rows + r) * W<T>, inverse);
        for (int64_t u = 0; u < n; ++u)
            store(out + u * W<T>,
                  (load(x + u * W<T>) - mean) * inverse * load(gamma + u * W<T>) + load(beta + u * W<T>));
    }
}
template <class T>
void lane_layer_norm_backward(const LaneBlock<T>& b, const LaneOp& op, const T* x, const T* d, T* to) {
    const T *gamma = b.parameters + op.kernel * W<T>, *cache = b.work + op.cache * W<T>;
    T *dgamma = b.gradients + op.kernel * W<T>, *dbeta = b.gradients + op.bias * W<T>;
    const int64_t n = op.out;
    const Pack<T> share(1 / double(n));
    for (int64_t r = 0; r < b.rows; ++r, x += n * W<T>, d += n * W<T>) {
        const Pack<T> mean = load(cache + r * W<T>), inverse = load(cache + (b.rows + r) * W<T>);
        Pack<T> s(0), t(0);
        for (int64_t u = 0; u < n; ++u) {
            const Pack<T> given = load(d + u * W<T>), normal = (load(x + u * W<T>) - mean) * inverse,
                          e = given * load(gamma + u * W<T>);
            s = s + e;
            t = t + e * normal;
            store(dbeta + u * W<T>, load(dbeta + u * W<T>) + given);
            store(dgamma + u * W<T>, load(dgamma + u * W<T>) + given * normal);
        }
        if (!to) continue;
        s = s * share, t = t * share;
        for (int64_t u = 0; u < n; ++u) {
            const Pack<T> normal = (load(x + u * W<T>) - mean) * inverse;
            store(to + (r * n + u) * W<T>, inverse * (load(d + u * W<T>) * load(gamma + u * W<T>) - s - normal * t));
        }
    }
}

// Each net's own mask, kept for backward: 0, or 1/(1 - rate).
template <class T>
void lane_dropout(const LaneBlock<T>& b, const LaneOp& op, const T* x) {
    T *out = b.work + op.to * W<T>, *mask = b.work + op.kept * W<T>;
    const uint64_t n = uint64_t(b.rows * op.out);
    for (int k = 0; k < W<T>; ++k) {
        const ops::DropoutMask own(b.seeds[k], b.step, op.number, b.rates[op.dropout * W<T> + k]);
        const T scale = T(own.scale);
        own.each(uint64_t(b.first * op.out), n,
                 [=](uint64_t i, bool kept) { mask[i * W<T> + uint64_t(k)] = kept ? scale : T(0); });
    }
    for (uint64_t i = 0; i < n; ++i) store(out + i * W<T>, load(x + i * W<T>) * load(mask + i * W<T>));
}
