// tanh, log1p and the normal distribution of packs, by rational functions above/below of the least relative error that their
// degrees allow (Remez's exchange, in 60 digits), which is beside each. Part of simd.h; costs and errors of all activations
// are in docs/design/numerics.md.

template <class T> struct Rational;
template <> struct Rational<float> {
    // tanh(x)/x, in x^2 <= 8.67^2: 2^-25.5
    static constexpr float tanh_above[] = {1.0f, 0.13402367f, 0.0035210138f, 2.1031909e-05f, 1.39522545e-08f};
    static constexpr float tanh_below[] = {1.0f, 0.4673569f, 0.025973491f, 0.00033273888f, 8.018456e-07f};
    static constexpr float tanh_end = 8.67f;  // from here on tanh is 1 in float32
    // exp(t^2/2) times the normal distribution function at -t, in t <= 14.5: 2^-27.3
    static constexpr float tail_above[] = {0.5f, 0.438306547f, 0.183244452f, 0.040636579f, 0.00411686687f};
    static constexpr float tail_below[] = {1.0f, 1.67449808f, 1.20254026f, 0.469495403f, 0.101867244f, 0.0103193352f};
    static constexpr float tail_end = 14.5f;  // from here on the distribution function is 0
    // (x - log1p(x))/x^2, in x <= 1: 2^-29.9 of log1p(x)
    static constexpr float log1p_above[] = {0.5f, 0.450731484f, 0.0722519428f};
    static constexpr float log1p_below[] = {1.0f, 1.56812468f, 0.689966493f, 0.0757003811f};
};
template <> struct Rational<double> {
    // in t <= 39: 2^-59.9
    static constexpr double tail_above[] = {0.5,
                                            0.82796332527461261,
                                            0.67967051535342658,
                                            0.35739327637894862,
                                            0.13207035877651489,
                                            0.035676169214154384,
                                            0.0071249441485108489,
                                            0.0010400805804274448,
                                            0.00010661730249914621,
                                            6.9794250730115174e-6,
                                            2.2431519916907229e-7};
    static constexpr double tail_below[] = {1.0,
                                            2.4538112113520908,
                                            2.8171991113696552,
                                            2.0016421430189887,
                                            0.98023988425546928,
                                            0.34838199764456458,
                                            0.091999000517082803,
                                            0.018125711844169993,
                                            0.0026245902152267586,
                                            0.00026781221982675179,
                                            1.7494824228709007e-5,
                                            5.6227482066655272e-7};
    static constexpr double tail_end = 39;
    // 2^-57.1
    static constexpr double log1p_above[] = {
        0.5, 1.143351009529052, 0.92347865602878086, 0.31507788177463029, 0.042239461135205502, 0.0015563236925642014};
    static constexpr double log1p_below[] = {1.0,
                                             2.9533686857244033,
                                             3.3158697692193729,
                                             1.7640512666281929,
                                             0.45059235843228116,
                                             0.049087870799700237,
                                             0.0015793406089721454};
};

template <class T, int N>
FD_HD Pack<T> polynomial(const T (&c)[N], Pack<T> x) {
    Pack<T> p(c[N - 1]);
#pragma GCC unroll 16
    for (int k = N - 2; k >= 0; --k) p = p * x + Pack<T>(c[k]);
    return p;
}
template <class T, int N, int M>
FD_HD Pack<T> rational(const T (&above)[N], const T (&below)[M], Pack<T> x) {
    return polynomial(above, x) / polynomial(below, x);
}

FD_PACK Pack<T> vlog1p(Pack<T> x) {  // for x in [0, 1]: all that the losses and activations need
    return x - x * x * rational(Rational<T>::log1p_above, Rational<T>::log1p_below, x);
}
FD_HD Pack<float> vtanh(Pack<float> x) {
    using R = Rational<float>;
    const Pack<float> end(R::tanh_end), inside = vmin(vmax(x, -end), end);  // NaN stays
    const Pack<float> y = inside * rational(R::tanh_above, R::tanh_below, inside * inside);
    return vmin(vmax(y, Pack<float>(-1)), Pack<float>(1));  // rounding may have gone beyond
}
FD_HD Pack<double> vtanh(Pack<double> x) {                      // the exponential needs fewer operations
    const Pack<double> t = vexpm1(Pack<double>(-2) * vabs(x));  // of NaN it is NaN
    return copy_sign(-t / (t + Pack<double>(2)), x);
}
// Both from one exponential: the distribution function at -|z| is exp(-z^2/2) times a smooth function of |z|.
FD_PACK ops::Normal<Pack<T>> vnormal(Pack<T> z) {
    using R = Rational<T>;
    const Pack<T> t = vmin(vabs(z), Pack<T>(R::tail_end)), bell = vexp_moderate(Pack<T>(T(-0.5)) * t * t);
    const Pack<T> tail = bell * rational(R::tail_above, R::tail_below, t);
    return {select(z > Pack<T>(0), Pack<T>(1) - tail, tail), bell};
}
