// Kernels of the ops that encode columns: one column of a block of rows each, its values `x` with a stride and what is made of
// them, or its gradient, as a block of `width` numbers a row. Included by cpu/simd/kernels.cpp.

// The components of a piecewise-linear encoding from `t` on: their lower edges, 1/width, and between what they are clipped;
// a bin of no width gives 0.
template <class T>
struct Bins {
    Pack<T> low, high, inverse, least, most;
    Mask<T> wide;
};
template <class T, class N>
FD_HD Bins<T> bins_at(const T* edges, int64_t bins, int64_t t, N n) {
    const T infinity = std::numeric_limits<T>::infinity();
    Bins<T> b;
    b.low = load(edges + t, n), b.high = load(edges + t + 1, n);
    const Pack<T> inverse = Pack<T>(1) / (b.high - b.low);
    b.wide = (b.high > b.low);
    b.wide.m &= (inverse < Pack<T>(infinity)).m;
    b.inverse = select(b.wide, inverse, Pack<T>(0));
    T least[Pack<T>::width], most[Pack<T>::width];
    for (int i = 0; i < Pack<T>::width; ++i) {
        least[i] = t + i == 0 ? -infinity : T(0);
        most[i] = t + i == bins - 1 ? infinity : T(1);
    }
    b.least = load(least), b.most = load(most);
    return b;
}
template <class T>
void piecewise_linear(const T* x, int64_t x_ld, const T* edges, int64_t bins, T* out, int64_t ld, int64_t rows) {
    for_vectors<T>(bins, [&](int64_t t, auto n) {
        const Bins<T> b = bins_at(edges, bins, t, n);
        for (int64_t r = 0; r < rows; ++r) {
            const Pack<T> v(x[r * x_ld]);
            const Pack<T> line = vmin(vmax((v - b.low) * b.inverse, b.least), b.most);
            store(out + r * ld + t, select(b.wide, line, Pack<T>(0)), n);
        }
    });
}
// dx += Σ d · slope of the component at x; 0 on an edge where the component is clipped.
template <class T>
void piecewise_linear_backward(const T* x, int64_t x_ld, const T* edges, int64_t bins, const T* d, int64_t ld, T* dx,
                               int64_t dx_ld, int64_t rows) {
    for_vectors<T>(bins, [&](int64_t t, auto n) {
        const Bins<T> b = bins_at(edges, bins, t, n);
        const Pack<T> infinity(std::numeric_limits<T>::infinity());
        const Pack<T> from = select(b.least < Pack<T>(0), -infinity, b.low);
        const Pack<T> to = select(b.most > Pack<T>(1), infinity, b.high);
        for (int64_t r = 0; r < rows; ++r) {
            const Pack<T> v(x[r * x_ld]);
            const Pack<T> slope = select(v > from, select(v < to, b.inverse, Pack<T>(0)), Pack<T>(0));
            dx[r * dx_ld] += sum(head(load(d + r * ld + t, n) * slope, n));
        }
    });
}

// sin and cos of 2 pi times a number of turns: exact for whole and half turns, however many (up to 2^22 in float32).
template <class T>
FD_HD Pack<T> turn_fraction(Pack<T> u) {  // u minus the nearest integer
    const T half_range = T(int64_t(1) << (Lanes<T>::mantissa - 1));
    const Pack<T> magic(T(3) * half_range), nearest = (u + magic) - magic;
    return select(vabs(u) < Pack<T>(half_range), u - nearest, Pack<T>(0));
}
template <class T>
FD_HD Pack<T> sin_quarter(Pack<T> turns) {  // its Taylor series, for |turns| <= 1/4
    constexpr int terms = sizeof(T) == 4 ? 7 : 11;
    const Pack<T> x = turns * Pack<T>(T(6.283185307179586476925)), z = x * x;
    T factor[terms];  // (-1)^k / (2 k + 1)!
    factor[0] = 1;
    for (int k = 1; k < terms; ++k) factor[k] = -factor[k - 1] / T(2 * k * (2 * k + 1));
    Pack<T> p(factor[terms - 1]);
    for (int k = terms - 2; k >= 1; --k) p = p * z + Pack<T>(factor[k]);
    return x + x * z * p;
}
template <class T>
FD_HD Pack<T> cos_turns(Pack<T> u) {
    return sin_quarter(Pack<T>(T(0.25)) - vabs(turn_fraction(u)));
}
template <class T>
FD_HD Pack<T> sin_turns(Pack<T> u) {
    const Pack<T> f = turn_fraction(u), a = vabs(f);
    return sin_quarter(copy_sign(vmin(a, Pack<T>(T(0.5)) - a), f));
}
template <class T>
void periodic(const T* x, int64_t x_ld, const T* frequency, const T* phase, int64_t frequencies, T* out, int64_t ld,
              int64_t rows) {
    for_vectors<T>(frequencies, [&](int64_t t, auto n) {
        const Pack<T> f = load(frequency + t, n), b = load(phase + t, n);
        for (int64_t r = 0; r < rows; ++r) store(out + r * ld + t, cos_turns(f * Pack<T>(x[r * x_ld]) + b), n);
    });
}
template <class T>
void periodic_backward(const T* x, int64_t x_ld, const T* frequency, const T* phase, int64_t frequencies, const T* d,
                       int64_t ld, T* d_frequency, T* d_phase, T* dx, int64_t dx_ld, int64_t rows) {
    for_vectors<T>(frequencies, [&](int64_t t, auto n) {
        const Pack<T> f = load(frequency + t, n), b = load(phase + t, n), turn(T(-6.283185307179586476925));
        Pack<T> df[4] = {Pack<T>(0), Pack<T>(0), Pack<T>(0), Pack<T>(0)}, db[4] = {df[0], df[0], df[0], df[0]};
        auto row = [&](int64_t r, Pack<T>& frequency_sum, Pack<T>& phase_sum) __attribute__((always_inline)) {
            const Pack<T> v(x[r * x_ld]), g = load(d + r * ld + t, n) * (turn * sin_turns(f * v + b));
            frequency_sum = frequency_sum + g * v, phase_sum = phase_sum + g;
            if (dx) dx[r * dx_ld] += sum(head(g * f, n));
        };
        int64_t r = 0;
        for (; r + 4 <= rows; r += 4)
            for (int k = 0; k < 4; ++k) row(r + k, df[k], db[k]);
        for (; r < rows; ++r) row(r, df[0], db[0]);
        store(d_frequency + t, (df[0] + df[1]) + (df[2] + df[3]), n);
        store(d_phase + t, (db[0] + db[1]) + (db[2] + db[3]), n);
    });
}
