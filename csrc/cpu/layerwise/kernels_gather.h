// Reading one row of the caller's data: any number type, any strides, optional standardisation. Part of kernels.cpp.

template <class T, class S>
FD_HD void gather_typed(const View& x, int64_t row, const double* mean, const double* inverse, T* out) {
    const char* from = x.row(row);
    // wide integers and doubles are centred before they are rounded to T, or a large offset would cost their digits
    using C = std::conditional_t<(sizeof(S) > 4 || (sizeof(S) == 4 && std::is_integral_v<S>)), double, T>;
    if (x.col_stride == int64_t(sizeof(S))) {
        auto element = [from](int64_t c) __attribute__((always_inline)) {
            S value;
            __builtin_memcpy(&value, from + c * int64_t(sizeof(S)), sizeof(S));  // the caller's array may be unaligned
            return value;
        };
        if (mean)
            for (int64_t c = 0; c < x.cols; ++c) out[c] = T((C(element(c)) - C(mean[c])) * C(inverse[c]));
        else
            for (int64_t c = 0; c < x.cols; ++c) out[c] = T(element(c));
        return;
    }
    for (int64_t c = 0; c < x.cols; ++c, from += x.col_stride) {
        S value;
        __builtin_memcpy(&value, from, sizeof(S));
        out[c] = mean ? T((C(value) - C(mean[c])) * C(inverse[c])) : T(value);
    }
}
template <class T>
void gather_row(const View& x, int64_t row, const double* mean, const double* inverse, T* out) {
    visit(x.dtype, [&](auto zero)
                       __attribute__((always_inline)) { gather_typed<T, decltype(zero)>(x, row, mean, inverse, out); });
}
