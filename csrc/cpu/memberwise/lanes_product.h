// Products of matrices of packs: the three products of a dense layer, for all nets of a group at once.
// Part of memberwise/kernels.cpp (inside the namespace of one instruction set).

// C(i, j) = Σ_l A(i, l)·B(l, j), + bias(j) if given, + C(i, j) if `add`. Strides count elements of A, B and C, which are
// packs; A may be plain numbers that all nets share.
template <class T>
struct LaneProduct {
    const T* a;
    int64_t a_i, a_l;
    const T* b;
    int64_t b_l, b_j;
    const T* bias;
    bool add;
    T* c;
    int64_t c_i, c_j, rows, cols, length;
};

#if FD_VECTOR_REGISTERS == 32
inline constexpr int tile_i = 4, tile_j = 4;
#else
inline constexpr int tile_i = 2, tile_j = 4;  // half as many registers
#endif

// body(0), body(1), … with constants, so that arrays indexed by them are registers
template <class F, int... I>
FD_HD void unrolled(std::integer_sequence<int, I...>, F&& body) {
    (body(std::integral_constant<int, I>{}), ...);
}
template <int N, class F>
FD_HD void unrolled(F&& body) {
    unrolled(std::make_integer_sequence<int, N>{}, body);
}

template <bool Shared, int I, int J, class T>
__attribute__((noinline)) void product_tile(const LaneProduct<T>& p, int64_t i, int64_t j) {
    constexpr int64_t W = Pack<T>::width, A = Shared ? 1 : W;
    const T *a = p.a + i * p.a_i * A, *b = p.b + j * p.b_j * W;
    const int64_t a_i = p.a_i * A, a_l = p.a_l * A, b_l = p.b_l * W, b_j = p.b_j * W;
    Pack<T> sum[I * J];
    unrolled<J>([&](auto y) __attribute__((always_inline)) {
        const Pack<T> start = p.bias ? load(p.bias + (j + y) * W) : Pack<T>(0);
        unrolled<I>([&](auto x) __attribute__((always_inline)) { sum[x * J + y] = start; });
    });
    for (int64_t l = 0; l < p.length; ++l, a += a_l, b += b_l) {
        Pack<T> right[J];
        unrolled<J>([&](auto y) __attribute__((always_inline)) { right[y] = load(b + y * b_j); });
        unrolled<I>([&](auto x) __attribute__((always_inline)) {
            Pack<T> left;
            if constexpr (Shared) left = Pack<T>(a[x * a_i]);
            else left = load(a + x * a_i);
            unrolled<J>([&](auto y)
                            __attribute__((always_inline)) { sum[x * J + y] = sum[x * J + y] + left * right[y]; });
        });
    }
    unrolled<I>([&](auto x) __attribute__((always_inline)) {
        unrolled<J>([&](auto y) __attribute__((always_inline)) {
            T* c = p.c + ((i + x) * p.c_i + (j + y) * p.c_j) * W;
            store(c, p.add ? load(c) + sum[x * J + y] : sum[x * J + y]);
        });
    });
}

template <bool Shared, int I, class T>
FD_HD void product_columns(const LaneProduct<T>& p, int64_t i, int64_t j, int64_t n) {
    switch (n) {
        case 1: return product_tile<Shared, I, 1>(p, i, j);
        case 2: return product_tile<Shared, I, 2>(p, i, j);
        case 3: return product_tile<Shared, I, 3>(p, i, j);
        default: return product_tile<Shared, I, tile_j>(p, i, j);
    }
}
template <bool Shared, class T>
FD_HD void product_piece(const LaneProduct<T>& p, int64_t i, int64_t m, int64_t j, int64_t n) {
    switch (m) {
        case 1: return product_columns<Shared, 1>(p, i, j, n);
#if FD_VECTOR_REGISTERS == 32
        case 2: return product_columns<Shared, 2>(p, i, j, n);
        case 3: return product_columns<Shared, 3>(p, i, j, n);
#endif
        default: return product_columns<Shared, tile_i>(p, i, j, n);
    }
}

// The operand that is larger is read once, in strips that stay in the first-level cache.
template <bool Shared, class T>
void lane_product(const LaneProduct<T>& p) {
    auto least = [](int64_t a, int64_t b) { return a < b ? a : b; };
    if (Shared || p.rows < p.cols) {
        for (int64_t j = 0; j < p.cols; j += tile_j)
            for (int64_t i = 0; i < p.rows; i += tile_i)
                product_piece<Shared>(p, i, least(tile_i, p.rows - i), j, least(tile_j, p.cols - j));
    } else {
        for (int64_t i = 0; i < p.rows; i += tile_i)
            for (int64_t j = 0; j < p.cols; j += tile_j)
                product_piece<Shared>(p, i, least(tile_i, p.rows - i), j, least(tile_j, p.cols - j));
    }
}

// out(j) += Σ_rows a(row, j)
template <class T>
void lane_column_sums(const T* a, int64_t rows, int64_t cols, T* out) {
    constexpr int64_t W = Pack<T>::width;
    for (int64_t j = 0; j < cols; ++j) {
        Pack<T> s[2] = {Pack<T>(0), Pack<T>(0)};
        int64_t r = 0;
        for (; r + 2 <= rows; r += 2)
            for (int k = 0; k < 2; ++k) s[k] = s[k] + load(a + ((r + k) * cols + j) * W);
        if (r < rows) s[0] = s[0] + load(a + (r * cols + j) * W);
        store(out + j * W, load(out + j * W) + (s[0] + s[1]));
    }
}
