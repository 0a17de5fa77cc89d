// Matrix products of the layerwise path. Part of kernels.cpp.
//
// One side is read as scalars straight from where it lies (weights, so they are never repacked), the other as packed panels
// of two vectors. out(a, v) = Σ_k s(a, k) · panel(k, v), each element one chain of multiply-adds in the order of k: how the
// work is cut cannot change a bit of it.

template <class S>
struct Operand {  // what is multiplied: plain numbers; kernels_bf16.cpp has pairs
    static constexpr int rows = tile_rows;
    using Vector = Pack<S>;
    FD_HD static Vector vector(const S* v) { return load(v); }
#ifdef __aarch64__
    static constexpr int lanes =
        Vector::width;  // multiply-adds take a number from a lane of several that are loaded at once
    FD_HD static S lane(Vector x, int i) { return x.v[i]; }
    FD_HD static S broadcast(S x) { return x; }
    FD_HD static Vector multiply_add(S x, Vector v, Vector sum) { return FD_ISA_NAMESPACE::multiply_add(x, v, sum); }
#else
    static constexpr int lanes = 0;  // they do not
    FD_HD static Vector broadcast(S x) { return Vector(x); }
    FD_HD static Vector multiply_add(Vector x, Vector v, Vector sum) { return sum + x * v; }
#endif
};
template <class T>
inline constexpr int panel_width = 2 * Pack<T>::width;

// Column h of the accumulators (Rows, cols) as out (cols, Rows).
template <int Rows, class T>
FD_HD void store_transposed(const Pack<T> (&acc)[Rows][2], int h, T* out, int64_t ld, int64_t cols) {
    constexpr int W = Pack<T>::width;
#pragma GCC unroll 8
    for (int first = 0; first < Rows; first += W) {
        Pack<T> block[W];
#pragma GCC unroll 16
        for (int a = 0; a < W; ++a)
            block[a] = first + a < Rows ? acc[first + a < Rows ? first + a : 0][h] : Pack<T>(T(0));
        transpose(block);
        constexpr int last = Rows % W;
        const bool whole = first + W <= Rows;
#pragma GCC unroll 16
        for (int c = 0; c < W; ++c) {
            if (c >= cols) break;
            if (whole) store(out + c * ld + first, block[c]);
            else store(out + c * ld + first, block[c], last);
        }
    }
}

// Two accumulators for each of Rows numbers of s. Adjacent ones are reached from one pointer; of others every third has a
// pointer of its own, so that all addresses stay in registers.
template <int Rows, bool Adjacent, class T, class S>
FD_HD void accumulate(const Product<T, S>& p, const S* s, Pack<T> (&acc)[Rows][2]) {
    using O = Operand<S>;
    constexpr int group = Adjacent ? Rows : 3, groups = (Rows + group - 1) / group;
    const int64_t stride = Adjacent ? 1 : p.s_a, step = p.s_k;
    const S *v = p.panel, *const end = v + p.k * panel_width<T>, *at[groups];
    for (int g = 0; g < groups; ++g) at[g] = s + g * group * stride;
    const char* fetch[2] = {reinterpret_cast<const char*>(v), reinterpret_cast<const char*>(v)};
    int64_t line[2] = {0, 0};
    for (int f = 0; f < 2; ++f)
        if (p.fetch[f].from) fetch[f] = static_cast<const char*>(p.fetch[f].from), line[f] = p.fetch[f].step;
    for (; v < end; v += panel_width<T>, fetch[0] += line[0], fetch[1] += line[1]) {
        __builtin_prefetch(fetch[0], 0, 2);
        __builtin_prefetch(fetch[1], 0, 2);
        const typename O::Vector v0 = O::vector(v), v1 = O::vector(v + Pack<T>::width);
        constexpr int from_lanes = Adjacent && O::lanes ? Rows / O::lanes * O::lanes : 0;
        if constexpr (from_lanes > 0)
#pragma GCC unroll 16
            for (int a = 0; a < from_lanes; a += O::lanes) {
                const auto several = O::vector(at[0] + a);
#pragma GCC unroll 4
                for (int i = 0; i < O::lanes; ++i) {
                    const auto x = O::lane(several, i);
                    acc[a + i][0] = O::multiply_add(x, v0, acc[a + i][0]);
                    acc[a + i][1] = O::multiply_add(x, v1, acc[a + i][1]);
                }
            }
#pragma GCC unroll 16
        for (int a = from_lanes; a < Rows; ++a) {
            const auto x = O::broadcast(at[a / group][a % group * stride]);
            acc[a][0] = O::multiply_add(x, v0, acc[a][0]);
            acc[a][1] = O::multiply_add(x, v1, acc[a][1]);
        }
#pragma GCC unroll 16
        for (int g = 0; g < groups; ++g) at[g] += step;
    }
}

template <int Rows, class T, class S>
FD_HD void product_tile(const Product<T, S>& p, const S* s, T* out) {
    using P = Pack<T>;
    constexpr int W = P::width;
    P acc[Rows][2];
#pragma GCC unroll 16
    for (int a = 0; a < Rows; ++a) acc[a][0] = acc[a][1] = P(T(0));
    constexpr bool large = 2 * Rows >= Operand<S>::rows;  // few rows are rare: one form does for them
    if (large && p.s_a == 1) accumulate<Rows, large>(p, s, acc);
    else accumulate<Rows, false>(p, s, acc);
    if (!p.transposed) {
#pragma GCC unroll 16
        for (int a = 0; a < Rows; ++a) {
            if (p.cols >= W) store(out + a * p.ld, acc[a][0]);
            else store(out + a * p.ld, acc[a][0], int(p.cols));
            if (p.cols >= 2 * W) store(out + a * p.ld + W, acc[a][1]);
            else if (p.cols > W) store(out + a * p.ld + W, acc[a][1], int(p.cols) - W);
        }
        return;
    }
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) store_transposed<Rows>(acc, h, out + h * W * p.ld, p.ld, p.cols - h * W);
}

template <class T, class S, int... Rows>
FD_HD void product_rest(const Product<T, S>& p, const S* s, T* out, int64_t rest, std::integer_sequence<int, Rows...>) {
    ((rest == Rows + 1 ? product_tile<Rows + 1>(p, s, out) : void()), ...);
}
template <class T, class S>
void product(const Product<T, S>& p) {
    constexpr int tile = Operand<S>::rows;
    const int64_t step = p.transposed ? 1 : p.ld;
    int64_t a = 0;
    for (; a + tile <= p.rows; a += tile) product_tile<tile>(p, p.s + a * p.s_a, p.out + a * step);
    if (a < p.rows)
        product_rest(p, p.s + a * p.s_a, p.out + a * step, p.rows - a, std::make_integer_sequence<int, tile - 1>());
}

// Every row is written over what the one before has written too much.
template <class S>
void gather_strip(const S* s, int64_t step, int64_t n, int64_t k, S* to) {
    constexpr int64_t vector = vector_bytes / int64_t(sizeof(S));
    for (int64_t j = 0; j < k - 1; ++j, s += step, to += n)
        for (int64_t a = 0; a < n; a += vector) std::memcpy(to + a, s + a, vector_bytes);
    std::memcpy(to, s, size_t(n) * sizeof(S));
}

// Up to panel_width rows of `a`, k long, as a panel: panel(j, r) = a(r, j); missing rows are 0.
template <class T>
void pack_rows(const T* a, int64_t ld, int64_t rows, int64_t k, T* panel) {
    constexpr int W = Pack<T>::width;
    for (int h = 0; h < 2; ++h)
        for_vectors<T>(k, [&](int64_t j, auto n) {
            Pack<T> block[W];
#pragma GCC unroll 16
            for (int r = 0; r < W; ++r) block[r] = h * W + r < rows ? load(a + (h * W + r) * ld + j, n) : Pack<T>(T(0));
            transpose(block);
#pragma GCC unroll 16
            for (int i = 0; i < W; ++i)
                if (i < n) store(panel + (j + i) * 2 * W + h * W, block[i]);
        });
}
// Up to panel_width columns of `b`, k long: panel(j, c) = b(j, c); other lanes stay as they are.
template <class T>
void pack_columns(const T* b, int64_t ld, int64_t cols, int64_t k, T* panel) {
    for (int64_t j = 0; j < k; ++j, b += ld, panel += panel_width<T>)
        for_vectors<T>(cols, [&](int64_t c, auto n) { store(panel + c, load(b + c, n), n); });
}
