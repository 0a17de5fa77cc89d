// Activations, sums and optimizer updates. Part of kernels.cpp (inside the namespace of one instruction set).

template <class Functor, class T>
FD_HD void bias_activation_with(T alpha, const T* slope, const T* bias, T* z, T* a, int64_t ld, int64_t rows,
                                int64_t cols) {
    const bool keep = z != a;
    for (int64_t r = 0; r < rows; ++r, z += ld, a += ld)
        for_vectors<T>(cols, [&](int64_t c, auto n) {
            Pack<T> x = load(z + c, n);
            if (bias) x = x + load(bias + c, n);
            if (keep && bias) store(z + c, x, n);
            const Pack<T> p = slope ? load(slope + c, n) : Pack<T>(alpha);
            store(a + c, Functor::value(x, p), n);
        });
}
template <class T>
void bias_activation(ops::Activation activation, T alpha, const T* slope, const T* bias, T* z, T* a, int64_t ld,
                     int64_t rows, int64_t cols) {
    switch (activation) {
#define FD_CASE(name, functor) \
    case ops::Activation::name: bias_activation_with<ops::functor>(alpha, slope, bias, z, a, ld, rows, cols); break;
        FD_ELEMENTWISE_ACTIVATIONS(FD_CASE)
#undef FD_CASE
        case ops::Activation::softmax: break;  // a row kernel: see softmax()
    }
}

template <class Functor, class T>
FD_HD void activation_backward_with(T alpha, const T* slope, const T* stored, T* d, int64_t ld, int64_t rows,
                                    int64_t cols) {
    if constexpr (Functor::needs != ops::Needs::nothing)
        for (int64_t r = 0; r < rows; ++r, stored += ld, d += ld)
            for_vectors<T>(cols, [&](int64_t c, auto n) {
                const Pack<T> p = slope ? load(slope + c, n) : Pack<T>(alpha);
                store(d + c, load(d + c, n) * Functor::derivative(load(stored + c, n), p), n);
            });
}
template <class T>
void activation_backward(ops::Activation activation, T alpha, const T* slope, const T* stored, T* d, int64_t ld,
                         int64_t rows, int64_t cols) {
    switch (activation) {
#define FD_CASE(name, functor) \
    case ops::Activation::name: activation_backward_with<ops::functor>(alpha, slope, stored, d, ld, rows, cols); break;
        FD_ELEMENTWISE_ACTIVATIONS(FD_CASE)
#undef FD_CASE
        case ops::Activation::softmax: break;  // a row kernel: see softmax_backward()
    }
}

// Sums of `term(row, column, lanes)` over the rows of each column, four rows at a time in a fixed order.
template <class T, class F>
FD_HD void reduce_columns(T* out, int64_t rows, int64_t cols, F&& term) {
    for_vectors<T>(cols, [&](int64_t c, auto n) {
        Pack<T> s[4] = {Pack<T>(0), Pack<T>(0), Pack<T>(0), Pack<T>(0)};
        int64_t r = 0;
        for (; r + 4 <= rows; r += 4)
            for (int k = 0; k < 4; ++k) s[k] = s[k] + term(r + k, c, n);
        for (; r < rows; ++r) s[0] = s[0] + term(r, c, n);
        store(out + c, (s[0] + s[1]) + (s[2] + s[3]), n);
    });
}
template <class T>
void column_sums(const T* d, T* out, int64_t ld, int64_t rows, int64_t cols) {
    reduce_columns(out, rows, cols, [&](int64_t r, int64_t c, auto n) { return load(d + r * ld + c, n); });
}
template <class T>
void column_dots(const T* a, const T* b, T* out, int64_t ld, int64_t rows, int64_t cols) {
    reduce_columns(out, rows, cols,
                   [&](int64_t r, int64_t c, auto n) { return load(a + r * ld + c, n) * load(b + r * ld + c, n); });
}
template <class T>
void prelu_slope_gradient(const T* z, const T* d, T* out, int64_t ld, int64_t rows, int64_t cols) {
    reduce_columns(out, rows, cols, [&](int64_t r, int64_t c, auto n) {
        const Pack<T> x = load(z + r * ld + c, n);
        return select(x > Pack<T>(0), Pack<T>(0), x * load(d + r * ld + c, n));
    });
}

// Σ term(i), accumulated in T over short stretches and in double across them.
template <class T, class F>
FD_HD double long_sum(int64_t n, F&& term) {
    constexpr int64_t stretch = 256 * Pack<T>::width;
    double total = 0;
    for (int64_t start = 0; start < n; start += stretch) {
        Pack<T> s(0);
        const int64_t m = n - start < stretch ? n - start : stretch;
        for_vectors<T>(m, [&](int64_t i, auto lanes) { s = s + head(term(start + i, lanes), lanes); });
        total += double(sum(s));
    }
    return total;
}
template <class T>
double dot(const T* a, const T* b, int64_t n) {
    return long_sum<T>(n, [&](int64_t i, auto lanes) { return load(a + i, lanes) * load(b + i, lanes); });
}
template <class T>
void add(const T* a, const T* b, T* out, int64_t n) {
    for_vectors<T>(n, [&](int64_t i, auto lanes) { store(out + i, load(a + i, lanes) + load(b + i, lanes), lanes); });
}
template <class T>
void rescale(const T* x, const T* scale, const T* offset, T* out, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; ++r, x += cols, out += cols)
        for_vectors<T>(cols, [&](int64_t c, auto n) {
            const Pack<T> a = load(x + c, n), s = load(scale + c, n);
            store(out + c, offset ? a * s + load(offset + c, n) : a * s, n);
        });
}
template <class T>
void axpby(T a, const T* x, T b, T* y, int64_t n) {
    for_vectors<T>(n, [&](int64_t i, auto lanes) {
        store(y + i, Pack<T>(a) * load(x + i, lanes) + Pack<T>(b) * load(y + i, lanes), lanes);
    });
}
template <class T>
double penalty(const T* w, T* g, double l1, double l2, int64_t n) {
    const Pack<T> a{T(l1)}, b{T(l2)}, b2{T(2 * l2)};
    return long_sum<T>(n, [&](int64_t i, auto lanes) {
        const Pack<T> x = load(w + i, lanes);
        if (g) store(g + i, load(g + i, lanes) + (a * ops::vsign(x) + b2 * x), lanes);
        return a * vabs(x) + b * x * x;
    });
}

enum class Extra { nothing, scaling, penalties };  // of an update beside its rule; penalties: scaling too
template <class Rule, Extra extra, class T>
FD_HD double update_with(const Update<T>& u) {
    using P = Pack<T>;
    ops::Step<P> s;
    s.lr = P(u.step.lr), s.a = P(u.step.a), s.b = P(u.step.b), s.c = P(u.step.c), s.d = P(u.step.d);
    s.epsilon = P(u.step.epsilon);
    const P l1(u.l1), l2(u.l2), scale(u.scale), keep(1 - u.decay);
    const P clip(u.clipvalue > 0 ? u.clipvalue : double(std::numeric_limits<T>::infinity()));
    auto element = [&](int64_t i, auto n) __attribute__((always_inline)) {
        P w = load(u.w + i, n), g = load(u.g + i, n), m[3] = {P(0), P(0), P(0)};
        P value(0);
        if constexpr (extra == Extra::penalties) {
            value = l1 * vabs(w) + l2 * w * w;
            g = g + l1 * ops::vsign(w) + (l2 + l2) * w;
        }
        if constexpr (extra != Extra::nothing) {
            g = g * scale;
            g = select(g > clip, clip, select(g < -clip, -clip, g));  // keeps NaN
            w = w * keep;
        }
        for (int k = 0; k < Rule::slots; ++k) m[k] = load(u.slot[k] + i, n);
        Rule::update(s, w, g, m);
        for (int k = 0; k < Rule::slots; ++k) store(u.slot[k] + i, m[k], n);
        store(u.w + i, w, n);
        return value;
    };
    if constexpr (extra == Extra::penalties) return long_sum<T>(u.n, element);
    for_vectors<T>(u.n, element);
    return 0;
}
template <class Rule, class T>
FD_HD double update_by(const Update<T>& u) {
    if (u.l1 != 0 || u.l2 != 0) return update_with<Rule, Extra::penalties>(u);
    if (u.scale != 1 || u.clipvalue > 0 || u.decay != 0) return update_with<Rule, Extra::scaling>(u);
    return update_with<Rule, Extra::nothing>(u);
}
template <class T>
double update(const Update<T>& u) {
    switch (u.rule) {
#define FD_CASE(name, functor) \
    case ops::Rule::name: return update_by<ops::functor>(u);
        FD_UPDATE_RULES(FD_CASE)
#undef FD_CASE
    }
    return 0;
}

template <class T>
void dropout(const ops::DropoutMask& mask, const T* x, T* out, uint64_t first, int64_t n) {
    const T scale = T(mask.scale);
    mask.each(first, uint64_t(n), [=](uint64_t i, bool kept) { out[i] = kept ? x[i] * scale : T(0); });
}
