// What a probe counts (probe.h), unit by unit, in double. Part of kernels.cpp (inside the namespace of one instruction set).

inline constexpr int probe_columns = 32;  // at a time: their sums stay in registers or the first-level cache

// body(first column, columns) for few columns at a time.
template <class F>
FD_HD void few_columns(int64_t cols, F&& body) {
    for (int64_t c = 0; c < cols; c += probe_columns) body(c, cols - c < probe_columns ? int(cols - c) : probe_columns);
}

template <class T>
void unit_statistics(const T* z, const T* a, int64_t ld, int64_t rows, int64_t cols, const UnitStatistics& u) {
    const double count = double(rows);
    const T limit = T(u.limit);
    few_columns(cols, [&](int64_t c0, int n) {
        double first[probe_columns] = {}, second[probe_columns] = {};
        if (z) {
            for (int64_t r = 0; r < rows; ++r)
                for (int c = 0; c < n; ++c) {
                    const T x = z[r * ld + c0 + c];
                    first[c] += x <= T(0) ? 1.0 : 0.0;
                    second[c] += x > limit || x < -limit ? 1.0 : 0.0;
                }
            for (int c = 0; c < n; ++c) u.off[c0 + c] = first[c] / count, u.saturated[c0 + c] = second[c] / count;
            for (int c = 0; c < n; ++c) first[c] = second[c] = 0;
        }
        for (int64_t r = 0; r < rows; ++r)
            for (int c = 0; c < n; ++c) first[c] += double(a[r * ld + c0 + c]);
        for (int c = 0; c < n; ++c) first[c] /= count;
        for (int64_t r = 0; r < rows; ++r)  // two passes: no cancellation
            for (int c = 0; c < n; ++c) {
                const double e = double(a[r * ld + c0 + c]) - first[c];
                second[c] += e * e;
            }
        for (int c = 0; c < n; ++c) u.mean[c0 + c] = first[c], u.variance[c0 + c] = second[c] / count;
    });
}

template <class T>
void column_norms(const T* a, const T* minus, int64_t ld, int64_t rows, int64_t cols, double* out) {
    few_columns(cols, [&](int64_t c0, int n) {
        double sum[probe_columns] = {};
        for (int64_t r = 0; r < rows; ++r) {
            const T *x = a + r * ld + c0, *y = minus ? minus + r * ld + c0 : nullptr;
            for (int c = 0; c < n; ++c) {
                const double e = double(x[c]) - (y ? double(y[c]) : 0.0);
                sum[c] += e * e;
            }
        }
        for (int c = 0; c < n; ++c) out[c0 + c] = __builtin_sqrt(sum[c]);
    });
}
