// Penalties, clipping and updates of all nets of a group. Part of memberwise/kernels.cpp (inside the namespace of one
// instruction set).

// Σ of term(i) over packs, in short stretches so that rounding errors stay small.
template <class T, class F>
FD_HD Pack<T> lane_sum(int64_t n, F&& term) {
    Pack<T> total(0);
    for (int64_t start = 0; start < n; start += 64) {
        Pack<T> s(0);
        const int64_t end = start + 64 < n ? start + 64 : n;
        for (int64_t i = start; i < end; ++i) s = s + term(i);
        total = total + s;
    }
    return total;
}

// Penalties between units, as in cpu/layerwise/matrix.cpp: f/pairs · Σ_{i<j} q(u_i·u_j) over unit vectors u_i. scratch: the units,
// scaled, then one inverse length each.
template <class T>
void lane_matrix_penalty(const LaneUpdate<T>& u, const LaneTensor& t, ops::UnitPenalty penalty) {
    const double f = t.unit_factor[int(penalty)];
    const bool columns = t.unit_columns[int(penalty)];
    const int64_t units = columns ? t.cols : t.rows, length = columns ? t.rows : t.cols;
    if (f == 0 || units < 2) return;
    const Pack<T> factor = load(u.penalty) * Pack<T>(f / (0.5 * double(units) * double(units - 1)));
    const T* w = u.parameters + t.offset * W<T>;
    T *g = u.gradients ? u.gradients + t.offset * W<T> : nullptr, *unit = u.scratch, *inverse = unit + t.size * W<T>,
      *pull = inverse + units * W<T>;
    auto at = [&](int64_t i, int64_t k) { return (columns ? k * t.cols + i : i * t.cols + k) * W<T>; };
    for (int64_t i = 0; i < units; ++i) {
        const Pack<T> square = lane_sum<T>(length, [&](int64_t k) { return load(w + at(i, k)) * load(w + at(i, k)); });
        const Pack<T> scale = Pack<T>(1) / vsqrt(vmax(square, Pack<T>(1e-12)));
        store(inverse + i * W<T>, scale);
        for (int64_t k = 0; k < length; ++k) store(unit + (i * length + k) * W<T>, load(w + at(i, k)) * scale);
    }
    Pack<T> total(0);
    for (int64_t i = 0; i < units; ++i) {
        const T* mine = unit + i * length * W<T>;
        for (int64_t k = 0; k < length; ++k) store(pull + k * W<T>, Pack<T>(0));
        for (int64_t j = 0; j < units; ++j) {
            if (i == j) continue;
            const T* other = unit + j * length * W<T>;
            const Pack<T> cosine =
                lane_sum<T>(length, [&](int64_t k) { return load(mine + k * W<T>) * load(other + k * W<T>); });
            if (j < i) total = total + ops::unit_penalty_value(penalty, cosine);
            if (!g) continue;
            const Pack<T> pull_factor = factor * ops::unit_penalty_derivative(penalty, cosine);
            for (int64_t k = 0; k < length; ++k)
                store(pull + k * W<T>, load(pull + k * W<T>) + pull_factor * load(other + k * W<T>));
        }
        if (!g) continue;
        const Pack<T> scale = load(inverse + i * W<T>);
        Pack<T> along = lane_sum<T>(length, [&](int64_t k) { return load(mine + k * W<T>) * load(pull + k * W<T>); });
        along = select(scale >= Pack<T>(1e6), Pack<T>(0), along);  // its length was replaced by a constant
        for (int64_t k = 0; k < length; ++k) {
            T* to = g + at(i, k);
            store(to, load(to) + scale * (load(pull + k * W<T>) - along * load(mine + k * W<T>)));
        }
    }
    add_to_lanes(u.losses, total * factor);
}

template <class T>
void lane_penalties(const LaneUpdate<T>& u) {
    for (int i = 0; i < u.count; ++i) {
        const LaneTensor& t = u.tensors[i];
        if (t.l1 != 0 || t.l2 != 0) {
            const Pack<T> l1 = load(u.penalty) * Pack<T>(t.l1), l2 = load(u.penalty) * Pack<T>(t.l2);
            const T* w = u.parameters + t.offset * W<T>;
            T* g = u.gradients ? u.gradients + t.offset * W<T> : nullptr;
            add_to_lanes(u.losses, lane_sum<T>(t.size, [&](int64_t k) {
                             const Pack<T> x = load(w + k * W<T>);
                             if (g) store(g + k * W<T>, load(g + k * W<T>) + l1 * ops::vsign(x) + (l2 + l2) * x);
                             return l1 * vabs(x) + l2 * x * x;
                         }));
        }
        for (int k = 0; k < ops::unit_penalties; ++k) lane_matrix_penalty(u, t, ops::UnitPenalty(k));
    }
}

template <class Rule, class T>
FD_HD void lane_update_with(const LaneUpdate<T>& u) {
    using P = Pack<T>;
    T rate[W<T>], keep[W<T>];
    for (int k = 0; k < W<T>; ++k) {
        rate[k] = T(u.step.lr * u.member_scale[k]);
        keep[k] = T(1 - u.member_scale[k] * u.weight_decay[k]);
    }
    ops::Step<P> s;
    s.lr = load(rate), s.a = P(u.step.a), s.b = P(u.step.b), s.c = P(u.step.c), s.d = P(u.step.d);
    s.epsilon = P(u.step.epsilon);
    const P decayed = load(keep), clip(u.clipvalue > 0 ? u.clipvalue : double(std::numeric_limits<T>::infinity()));
    auto norm = [&](const LaneTensor& t) {
        const T* g = u.gradients + t.offset * W<T>;
        return lane_sum<T>(t.size, [&](int64_t k) { return load(g + k * W<T>) * load(g + k * W<T>); });
    };
    P global(0);
    if (u.global_clipnorm > 0) {
        for (int i = 0; i < u.count; ++i) global = global + norm(u.tensors[i]);
        global = P(u.global_clipnorm) / vmax(vsqrt(global), P(u.global_clipnorm));
    }
    for (int i = 0; i < u.count; ++i) {
        const LaneTensor& t = u.tensors[i];
        P scale = u.global_clipnorm > 0 ? global : P(1);
        if (u.clipnorm > 0) scale = P(u.clipnorm) / vmax(vsqrt(norm(t)), P(u.clipnorm));
        for (int64_t k = t.offset * W<T>; k < (t.offset + t.size) * W<T>; k += W<T>) {
            P w = load(u.parameters + k), g = load(u.gradients + k) * scale, m[3] = {P(0), P(0), P(0)};
            g = select(g > clip, clip, select(g < -clip, -clip, g));  // keeps NaN
            w = w * decayed;
            for (int j = 0; j < Rule::slots; ++j) m[j] = load(u.slot[j] + k);
            Rule::update(s, w, g, m);
            for (int j = 0; j < Rule::slots; ++j) store(u.slot[j] + k, m[j]);
            store(u.parameters + k, w);
        }
    }
}
template <class T>
void lane_update(const LaneUpdate<T>& u) {
    switch (u.rule) {
#define FD_CASE(name, functor) \
    case ops::Rule::name: return lane_update_with<ops::functor>(u);
        FD_UPDATE_RULES(FD_CASE)
#undef FD_CASE
    }
}
