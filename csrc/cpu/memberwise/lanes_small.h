// The smallest nets, in registers from the input to the gradient: one hidden layer of a few relu units, one output, mean
// squared error, every net on the same rows. Part of memberwise/kernels.cpp (inside the namespace of one instruction set).
//
// A unit that is on for a row has a = w·x + b, so all its gradients follow from three kinds of sums over those rows,
// S = Σ e, S_k = Σ e·x_k with the error e: dv = w·S_k + b·S for its output weight v, dw_k = v·S_k, db = v·S.

// A product that must not be contracted with the sums it goes to: those run on the adders, which are idle, and the multipliers
// are what a row waits for.
FD_PACK Pack<T> product_alone(Pack<T> x) {
#if defined(__AVX512F__)
    __asm__("" : "+v"(x.v));
#elif defined(__SSE2__)
    __asm__("" : "+x"(x.v));
#elif defined(__aarch64__)
    __asm__("" : "+w"(x.v));
#endif
    return x;
}

template <int I, int H, class T>
FD_HD void small_rows(const T* x, const T* y, int64_t rows, const T* w1, const T* b1, const T* w2, const T* b2,
                      Pack<T>* sums, Pack<T>& errors, Pack<T>& squares) {
    using P = Pack<T>;
    P w[I * H], b[H], v[H], s[(I + 1) * H], total(0), square(0);
    const P start = b2 ? load(b2) : P(0);
    unrolled<I * H>([&](auto i) __attribute__((always_inline)) { w[i] = load(w1 + i * W<T>); });
    unrolled<H>([&](auto h) __attribute__((always_inline)) {
        b[h] = b1 ? load(b1 + h * W<T>) : P(0);
        v[h] = load(w2 + h * W<T>);
    });
    unrolled<(I + 1) * H>([&](auto i) __attribute__((always_inline)) { s[i] = P(0); });
    for (int64_t r = 0; r < rows; ++r, x += I) {
        P z[H], t[I], p = start;
        unrolled<H>([&](auto h) __attribute__((always_inline)) { z[h] = b[h]; });
        unrolled<I>([&](auto k) __attribute__((always_inline)) {
            t[k] = P(x[k]);
            unrolled<H>([&](auto h) __attribute__((always_inline)) { z[h] = z[h] + t[k] * w[k * H + h]; });
        });
        unrolled<H>([&](auto h)
                        __attribute__((always_inline)) { p = select(z[h] <= P(0), p, p + v[h] * z[h]); });  // keeps NaN
        const P e = p - P(y[r]);
        total = total + e;
        square = square + e * e;
        unrolled<I>([&](auto k) __attribute__((always_inline)) { t[k] = product_alone(t[k] * e); });
        unrolled<H>([&](auto h) __attribute__((always_inline)) {
            const auto off = z[h] <= P(0);
            s[I * H + h] = select(off, s[I * H + h], s[I * H + h] + e);
            unrolled<I>([&](auto k) __attribute__((always_inline)) {
                s[k * H + h] = select(off, s[k * H + h], s[k * H + h] + t[k]);
            });
        });
    }
    unrolled<(I + 1) * H>([&](auto i) __attribute__((always_inline)) { sums[i] = sums[i] + s[i]; });
    errors = errors + total;
    squares = squares + square;
}

template <int I, int H, class T>
__attribute__((noinline)) void small_net(const LaneBlock<T>& b) {
    using P = Pack<T>;
    const LaneOp &hidden = b.ops[0], &top = b.ops[1];
    const T *w1 = b.parameters + hidden.kernel * W<T>, *w2 = b.parameters + top.kernel * W<T>;
    const T* b1 = hidden.bias < 0 ? nullptr : b.parameters + hidden.bias * W<T>;
    const T* b2 = top.bias < 0 ? nullptr : b.parameters + top.bias * W<T>;
    P sums[(I + 1) * H], errors(0), squares(0);
    for (P& s : sums) s = P(0);
    for (int64_t r = 0; r < b.rows; r += 128) {  // short sums: rounding errors stay small
        const int64_t n = b.rows - r < 128 ? b.rows - r : 128;
        small_rows<I, H>(b.x + r * I, b.y + r, n, w1, b1, w2, b2, sums, errors, squares);
    }
    const P scale(2 / double(b.batch_rows));
    auto add = [&](int64_t offset, P g) { store(b.gradients + offset * W<T>, load(b.gradients + offset * W<T>) + g); };
    for (int h = 0; h < H; ++h) {
        const P v = load(w2 + h * W<T>) * scale, on = sums[I * H + h];
        P dv = b1 ? load(b1 + h * W<T>) * on : P(0);
        for (int k = 0; k < I; ++k) {
            dv = dv + load(w1 + (k * H + h) * W<T>) * sums[k * H + h];
            add(hidden.kernel + k * H + h, v * sums[k * H + h]);
        }
        if (b1) add(hidden.bias + h, v * on);
        add(top.kernel + h, dv * scale);
    }
    if (b2) add(top.bias, errors * scale);
    add_to_lanes(b.losses, squares);
}

template <class T>
using SmallNet = void (*)(const LaneBlock<T>&);

inline constexpr int small_inputs = 4, small_units = 6;

template <class T, int... N>
constexpr SmallNet<T> small_net_number(int n, std::integer_sequence<int, N...>) {
    constexpr SmallNet<T> all[] = {small_net<1 + N / small_units, 1 + N % small_units, T>...};
    return all[n];
}

// Forward, loss and backward of a block; false if the net is not one of the smallest.
template <class T>
bool lane_small(const LaneBlock<T>& b) {
    if (b.count != 2 || !b.x_shared || !b.y_shared || b.w || b.loss != ops::Loss::mse) return false;
    const LaneOp &hidden = b.ops[0], &top = b.ops[1];
    if (hidden.kind != OpKind::dense || top.kind != OpKind::dense || hidden.activation != ops::Activation::relu ||
        top.activation != ops::Activation::linear || top.out != 1 || hidden.in > small_inputs ||
        hidden.out > small_units || hidden.activity_l1 != 0 || hidden.activity_l2 != 0 || top.activity_l1 != 0 ||
        top.activity_l2 != 0)
        return false;
    if (b.rows > 0)
        small_net_number<T>(int((hidden.in - 1) * small_units + hidden.out - 1),
                            std::make_integer_sequence<int, small_inputs * small_units>{})(b);
    return true;
}
