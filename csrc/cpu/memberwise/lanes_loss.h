// Losses of all nets of a group, row by row: value and gradient in one pass.
// Part of memberwise/kernels.cpp (inside the namespace of one instruction set).

// A row's targets, smoothed, and its weight: each net's own numbers, or numbers that all nets share.
template <class T>
struct LaneTarget {
    const LaneBlock<T>& b;
    Pack<T> keep, shift;  // of label smoothing
    FD_HD LaneTarget(const LaneBlock<T>& block, double spread) : b(block) {
        T kept[W<T>], added[W<T>];
        for (int k = 0; k < W<T>; ++k) {
            kept[k] = T(1 - block.smoothing[k]);
            added[k] = T(block.smoothing[k] / spread);
        }
        keep = load(kept), shift = load(added);
    }
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
    const Pack<T> one(b.param), share(1 / double(b.outputs)), scale(1 / (double(b.batch_rows) * double(b.outputs)));
    Pack<T> total(0);
    for (int64_t r = 0; r < b.rows; ++r) {
        Pack<T> s(0), weighted = scale;
        if (b.w) weighted = scale * target.weight(r);
        for (int64_t c = 0; c < b.outputs; ++c, p += W<T>) {
            const Pack<T> x = load(p), y = target(r, c), param = b.params ? Pack<T>(b.params[c]) : one;
            s = s + Functor::value(x, y, param);
            if (d) store(d + (r * b.outputs + c) * W<T>, Functor::derivative(x, y, param) * weighted);
        }
        s = s * share;
        total = total + (b.w ? s * target.weight(r) : s);
    }
    add_to_lanes(b.losses, total);
}

template <class T>
void lane_crossentropy(const LaneBlock<T>& b, const T* p, T* d) {
    const LaneTarget<T> targets(b, double(b.outputs));
    const int64_t n = b.outputs;
    const Pack<T> scale(1 / double(b.batch_rows));
    Pack<T> total(0);
    for (int64_t r = 0; r < b.rows; ++r) {
        auto target = [&](int64_t c) __attribute__((always_inline)) { return targets(r, c); };
        auto add = [&](Pack<T> loss)
                       __attribute__((always_inline)) { total = total + (b.w ? loss * targets.weight(r) : loss); };
        const Pack<T> weighted = b.w ? scale * targets.weight(r) : scale;
        auto put = [&](T* place, Pack<T> gradient)
                       __attribute__((always_inline)) { store(place, gradient * weighted); };
        const T* row = p + r * n * W<T>;
        T* to = d ? d + r * n * W<T> : nullptr;
        if (b.logits) logits_crossentropy_in_lanes<W<T>>(row, to, n, target, add, put);
        else probabilities_crossentropy_in_lanes<W<T>>(row, to, n, target, add, put);
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
        case ops::Loss::sparse_categorical_crossentropy: return lane_crossentropy(b, p, d);
    }
}
