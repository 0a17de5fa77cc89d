// Losses of all nets of a group, row by row: value and gradient in one pass.
// Part of population_kernels.cpp (inside the namespace of one instruction set).

// What a row is to be: targets, smoothed, and its weight; numbers of each net, or numbers that all share.
template <class T>
struct LaneTarget {
    const LaneBlock<T>& b;
    Pack<T> keep, shift;  // of label smoothing
    FD_HD LaneTarget(const LaneBlock<T>& block, double spread)
        : b(block), keep(1 - block.smoothing), shift(block.smoothing / spread) {}
    FD_HD Pack<T> operator()(int64_t r, int64_t c) const {
        const int64_t i = b.sparse ? r : r * b.outputs + c;
        const Pack<T> y = b.y_shared ? Pack<T>(b.y[i]) : load(b.y + i * W<T>);
        if (!b.sparse) return y * keep + shift;
        const Pack<T> id{T(c)};
        return select(y >= id, select(y <= id, keep + shift, shift), shift);
    }
    FD_HD Pack<T> weight(int64_t r) const { return b.w_shared ? Pack<T>(b.w[r]) : load(b.w + r * W<T>); }
};

template <class T>
FD_HD void add_to_lanes(double* lanes, Pack<T> x) {
    T lane[W<T>];
    store(lane, x);
    for (int k = 0; k < W<T>; ++k) lanes[k] += double(lane[k]);
}

template <class Functor, class T>
FD_HD void lane_elementwise_loss(const LaneBlock<T>& b, const T* p, T* d) {
    const LaneTarget<T> target(b, 2);
    const Pack<T> param(b.param), share(1 / double(b.outputs)), scale(1 / (double(b.batch_rows) * double(b.outputs)));
    Pack<T> total(0);
    for (int64_t r = 0; r < b.rows; ++r) {
        Pack<T> s(0), weighted = scale;
        if (b.w) weighted = scale * target.weight(r);
        for (int64_t c = 0; c < b.outputs; ++c, p += W<T>) {
            const Pack<T> x = load(p), y = target(r, c);
            s = s + Functor::value(x, y, param);
            if (d) store(d + (r * b.outputs + c) * W<T>, Functor::derivative(x, y, param) * weighted);
        }
        s = s * share;
        total = total + (b.w ? s * target.weight(r) : s);
    }
    add_to_lanes(b.losses, total);
}

// (Σ t)·logsumexp(z) − Σ t z
template <class T>
void lane_crossentropy_logits(const LaneBlock<T>& b, const T* z, T* d) {
    const LaneTarget<T> target(b, double(b.outputs));
    const int64_t n = b.outputs;
    const Pack<T> scale(1 / double(b.batch_rows));
    Pack<T> total(0);
    for (int64_t r = 0; r < b.rows; ++r, z += n * W<T>) {
        Pack<T> m = load(z), sum(0), mass(0), agreement(0);
        for (int64_t c = 1; c < n; ++c) {
            const Pack<T> x = load(z + c * W<T>);
            m = select(x > m, x, m);
        }
        for (int64_t c = 0; c < n; ++c) {
            const Pack<T> x = load(z + c * W<T>) - m, e = vexp(x), t = target(r, c);
            sum = sum + e;
            mass = mass + t;
            agreement = agreement + select(t > Pack<T>(0), t * x, Pack<T>(0));  // 0 · -inf is 0
            if (d) store(d + (r * n + c) * W<T>, e);
        }
        const Pack<T> value = mass * vlog(sum) - agreement;
        total = total + (b.w ? value * target.weight(r) : value);
        if (!d) continue;
        const Pack<T> weighted = b.w ? scale * target.weight(r) : scale, share = mass / sum;
        for (int64_t c = 0; c < n; ++c) {
            T* at = d + (r * n + c) * W<T>;
            store(at, (load(at) * share - target(r, c)) * weighted);
        }
    }
    add_to_lanes(b.losses, total);
}

// q = clip(p/Σp), −Σ t log q; nothing flows through a clipped element
template <class T>
void lane_crossentropy_probabilities(const LaneBlock<T>& b, const T* p, T* d) {
    const LaneTarget<T> target(b, double(b.outputs));
    const int64_t n = b.outputs;
    const Pack<T> scale(1 / double(b.batch_rows)), low(ops::probability_floor), high(1 - ops::probability_floor);
    Pack<T> total(0);
    for (int64_t r = 0; r < b.rows; ++r, p += n * W<T>) {
        Pack<T> sum(0), value(0), through(0);
        for (int64_t c = 0; c < n; ++c) sum = sum + load(p + c * W<T>);
        for (int64_t c = 0; c < n; ++c) {
            const Pack<T> q = load(p + c * W<T>) / sum, t = target(r, c), clipped = vmin(vmax(q, low), high);
            value = value - t * vlog(clipped);
            const Pack<T> flows = select(q < low, Pack<T>(0), select(q > high, Pack<T>(0), t));
            through = through + flows;
            if (d) store(d + (r * n + c) * W<T>, -flows / clipped);
        }
        total = total + (b.w ? value * target.weight(r) : value);
        if (!d) continue;
        const Pack<T> weighted = b.w ? scale * target.weight(r) : scale;
        for (int64_t c = 0; c < n; ++c) {
            T* at = d + (r * n + c) * W<T>;
            store(at, (load(at) + through) / sum * weighted);
        }
    }
    add_to_lanes(b.losses, total);
}

template <class T>
void lane_loss(const LaneBlock<T>& b) {
    const T* p = b.output < 0 ? b.x : b.work + b.output * W<T>;
    T* d = b.training && b.d_output >= 0 ? b.work + b.d_output * W<T> : nullptr;
    switch (b.loss) {
#define FD_CASE(name, functor) \
    case ops::Loss::name: return lane_elementwise_loss<ops::functor>(b, p, d);
        FD_ELEMENTWISE_LOSSES(FD_CASE)
#undef FD_CASE
        case ops::Loss::categorical_crossentropy:
        case ops::Loss::sparse_categorical_crossentropy:
            return b.logits ? lane_crossentropy_logits(b, p, d) : lane_crossentropy_probabilities(b, p, d);
    }
}
