// Batch and layer normalisation. Part of kernels.cpp.

template <class T>
void batch_norm_statistics(const NormBlock<T>& b) {
    const Pack<T> share(1 / double(b.rows));
    reduce_columns(b.mean, b.rows, b.cols, [&](int64_t r, int64_t c, auto n) { return load(b.x + r * b.ld + c, n); });
    for_vectors<T>(b.cols, [&](int64_t c, auto n) { store(b.mean + c, load(b.mean + c, n) * share, n); });
    reduce_columns(b.inverse, b.rows, b.cols, [&](int64_t r, int64_t c, auto n) {  // two passes: no cancellation
        const Pack<T> e = load(b.x + r * b.ld + c, n) - load(b.mean + c, n);
        return e * e;
    });
    for_vectors<T>(b.cols, [&](int64_t c, auto n) { store(b.inverse + c, load(b.inverse + c, n) * share, n); });
}
template <class T>
void batch_norm_apply(const NormBlock<T>& b) {
    for (int64_t r = 0; r < b.rows; ++r)
        for_vectors<T>(b.cols, [&](int64_t c, auto n) {
            const Pack<T> normal = (load(b.x + r * b.ld + c, n) - load(b.mean + c, n)) * load(b.inverse + c, n);
            store(b.out + r * b.ld + c, normal * load(b.gamma + c, n) + load(b.beta + c, n), n);
        });
}
template <class T>
void batch_norm_backward(const NormBlock<T>& b, const T* d, T* dx, T* dgamma, T* dbeta, bool training) {
    auto normal = [&](int64_t r, int64_t c, auto n) __attribute__((always_inline)) {
        return (load(b.x + r * b.ld + c, n) - load(b.mean + c, n)) * load(b.inverse + c, n);
    };
    reduce_columns(dbeta, b.rows, b.cols, [&](int64_t r, int64_t c, auto n) { return load(d + r * b.ld + c, n); });
    reduce_columns(dgamma, b.rows, b.cols,
                   [&](int64_t r, int64_t c, auto n) { return load(d + r * b.ld + c, n) * normal(r, c, n); });
    const Pack<T> share(training ? 1 / double(b.rows) : 0.0);
    for (int64_t r = 0; r < b.rows; ++r)
        for_vectors<T>(b.cols, [&](int64_t c, auto n) {
            const Pack<T> through = (load(dbeta + c, n) + normal(r, c, n) * load(dgamma + c, n)) * share;
            store(dx + r * b.ld + c,
                  load(b.gamma + c, n) * load(b.inverse + c, n) * (load(d + r * b.ld + c, n) - through), n);
        });
}

template <class T>
void layer_norm_apply(const NormBlock<T>& b) {
    const T share = T(1 / double(b.cols));
    for (int64_t r = 0; r < b.rows; ++r) {
        const T* x = b.x + r * b.ld;
        Pack<T> s(0);
        for_vectors<T>(b.cols, [&](int64_t c, auto n) { s = s + load(x + c, n); });
        const Pack<T> mean(sum(s) * share);
        Pack<T> v(0);
        for_vectors<T>(b.cols, [&](int64_t c, auto n) {
            const Pack<T> e = head(load(x + c, n) - mean, n);
            v = v + e * e;
        });
        const Pack<T> inverse(T(1) / T(__builtin_sqrt(double(sum(v) * share + T(b.epsilon)))));
        b.mean[r] = sum(s) * share;
        b.inverse[r] = T(1) / T(__builtin_sqrt(double(sum(v) * share + T(b.epsilon))));
        for_vectors<T>(b.cols, [&](int64_t c, auto n) {
            store(b.out + r * b.ld + c, (load(x + c, n) - mean) * inverse * load(b.gamma + c, n) + load(b.beta + c, n),
                  n);
        });
    }
}
template <class T>
void layer_norm_backward(const NormBlock<T>& b, const T* d, T* dx) {
    const T share = T(1 / double(b.cols));
    for (int64_t r = 0; r < b.rows; ++r) {
        const Pack<T> mean(b.mean[r]), inverse(b.inverse[r]);
        Pack<T> s(0), t(0);
        for_vectors<T>(b.cols, [&](int64_t c, auto n) {
            const Pack<T> e = load(d + r * b.ld + c, n) * load(b.gamma + c, n);
            s = s + e;
            t = t + e * (load(b.x + r * b.ld + c, n) - mean) * inverse;
        });
        const Pack<T> mean_d(sum(s) * share), mean_dx(sum(t) * share);
        for_vectors<T>(b.cols, [&](int64_t c, auto n) {
            const Pack<T> e = load(d + r * b.ld + c, n) * load(b.gamma + c, n);
            const Pack<T> normal = (load(b.x + r * b.ld + c, n) - mean) * inverse;
            store(dx + r * b.ld + c, inverse * (e - mean_d - normal * mean_dx), n);
        });
    }
}
template <class T>
void layer_norm_parameters(const NormBlock<T>& b, const T* d, T* dgamma, T* dbeta) {
    reduce_columns(dbeta, b.rows, b.cols, [&](int64_t r, int64_t c, auto n) { return load(d + r * b.ld + c, n); });
    reduce_columns(dgamma, b.rows, b.cols, [&](int64_t r, int64_t c, auto n) {
        return load(d + r * b.ld + c, n) * (load(b.x + r * b.ld + c, n) - Pack<T>(b.mean[r])) * Pack<T>(b.inverse[r]);
    });
}
