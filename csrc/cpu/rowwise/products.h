// Products of the rowwise path: both operands lie as they are used. Part of rowwise/kernels.cpp.
//
// A tile keeps R rows × V vectors of the result in registers: acc(a, v) += Σ_k s(a, k) · vector(k), s read as scalars.

// Keeps the compiler from computing every address that follows from `p` ahead of the loop, which costs more than it saves.
#define FD_HERE(p) __asm__("" : "+r"(p))

#ifdef FD_SANITIZED
inline constexpr int most_rows = 3;  // every size is a function of its own, and sanitizers take minutes for all of them
#else
inline constexpr int most_rows = tile_rows;
#endif

template <int R, int V, class T>
FD_HD void multiply(int64_t k, const T* s, int64_t s_a, int64_t s_k, const T* v, int64_t ldv, Pack<T> (&acc)[R][V]) {
    for (int64_t i = 0; i < k; ++i, s += s_k, v += ldv) {
        Pack<T> b[V];
#pragma GCC unroll 2
        for (int j = 0; j < V; ++j) b[j] = load(v + j * Pack<T>::width);
#pragma GCC unroll 16
        for (int a = 0; a < R; ++a) {
            const Pack<T> x(s[a * s_a]);
#pragma GCC unroll 2
            for (int j = 0; j < V; ++j) acc[a][j] = acc[a][j] + x * b[j];
        }
    }
}
template <int R, int V, class T>
FD_HD void store_tile(const Pack<T> (&acc)[R][V], T* out, int64_t ld) {
#pragma GCC unroll 16
    for (int a = 0; a < R; ++a)
#pragma GCC unroll 2
        for (int j = 0; j < V; ++j) store(out + a * ld + j * Pack<T>::width, acc[a][j]);
}

// Units c … c + R - 1 of a layer: z = bias + kernelᵀ x.
template <int R, int V, class T>
struct ForwardTile {
    static void run(const RowwiseOp<T>& o, int64_t c, const T* x, T* z, int64_t panels) {
        constexpr int P = V * Pack<T>::width;
        for (int64_t p = 0; p < panels; ++p, x += o.in * P, z += o.out * P) {
            const T* bias = o.bias ? o.bias + c : nullptr;
            T* to = z + c * P;
            FD_HERE(bias);
            FD_HERE(to);
            Pack<T> acc[R][V];
#pragma GCC unroll 16
            for (int a = 0; a < R; ++a)
#pragma GCC unroll 2
                for (int j = 0; j < V; ++j) acc[a][j] = Pack<T>(bias ? bias[a] : T(0));
            multiply<R, V>(o.in, o.kernel + c, int64_t(1), o.out, x, P, acc);
            store_tile<R, V>(acc, to, P);
        }
    }
};
// Inputs i … i + R - 1 of a layer: the gradient of its input, kernel · d.
template <int R, int V, class T>
struct BackwardTile {
    static void run(const RowwiseOp<T>& o, int64_t i, const T* d, T* below, int64_t panels) {
        constexpr int P = V * Pack<T>::width;
        for (int64_t p = 0; p < panels; ++p, d += o.out * P, below += o.in * P) {
            T* to = below + i * P;
            FD_HERE(to);
            Pack<T> acc[R][V];
#pragma GCC unroll 16
            for (int a = 0; a < R; ++a)
#pragma GCC unroll 2
                for (int j = 0; j < V; ++j) acc[a][j] = Pack<T>(T(0));
            multiply<R, V>(o.out, o.kernel + i * o.out, o.out, int64_t(1), d, P, acc);
            store_tile<R, V>(acc, to, P);
        }
    }
};
// Runs f for 0 … n - 1 in tiles of about equal size, at most most_rows.
template <template <int, int, class> class Tile, int V, class T, class... Args, int... R>
FD_HD void in_tiles(int64_t n, std::integer_sequence<int, R...>, const RowwiseOp<T>& o, Args... args) {
    using Run = void (*)(const RowwiseOp<T>&, int64_t, Args...);
    static constexpr Run sizes[] = {Tile<R + 1, V, T>::run...};
    const int64_t tiles = (n + most_rows - 1) / most_rows, small = n / tiles, larger = n - small * tiles;
    int64_t at = 0;
    for (int64_t t = 0; t < tiles; ++t) {
        const int64_t rows = small + (t < larger);
        sizes[rows - 1](o, at, args...);
        at += rows;
    }
}

// The kernel's gradient for inputs i … i + R - 1 and units c …: Σ_rows x d over the chunk; by_row has the units in lanes.
template <class T>
struct Chunk {
    const T* x;  // the op's input, panels of (in, panel)
    int64_t rows;
    bool accumulate;
};
template <int R, int V, class T>
FD_HD void gradient_tile(const RowwiseOp<T>& o, int64_t i, int64_t c, const Chunk<T>& chunk, int64_t panel) {
    constexpr int W = Pack<T>::width;
    T* out = o.dkernel + i * o.out + c;
    const int64_t cols = o.out - c;
    Pack<T> acc[R][V];
#pragma GCC unroll 16
    for (int a = 0; a < R; ++a)
#pragma GCC unroll 2
        for (int j = 0; j < V; ++j) {
            const int64_t n = cols - j * W;
            acc[a][j] = !chunk.accumulate || n <= 0 ? Pack<T>(T(0))
                        : n >= W                    ? load(out + a * o.out + j * W)
                                                    : load(out + a * o.out + j * W, int(n));
        }
    for (int64_t r = 0; r < chunk.rows; r += panel) {
        const int64_t k = chunk.rows - r < panel ? chunk.rows - r : panel;
        multiply<R, V>(k, chunk.x + r * o.in + i * panel, panel, int64_t(1), o.by_row + r * o.ld + c, o.ld, acc);
    }
#pragma GCC unroll 16
    for (int a = 0; a < R; ++a)
#pragma GCC unroll 2
        for (int j = 0; j < V; ++j) {
            const int64_t n = cols - j * W;
            if (n >= W) store(out + a * o.out + j * W, acc[a][j]);
            else if (n > 0) store(out + a * o.out + j * W, acc[a][j], int(n));
        }
}
template <int R, int V, class T>
struct GradientTile {
    static void run(const RowwiseOp<T>& o, int64_t i, int64_t c, const Chunk<T>* chunk, int64_t panel) {
        gradient_tile<R, V>(o, i, c, *chunk, panel);
    }
};

template <class T>
void kernel_gradient_by_rows(const RowwiseOp<T>& o, const Chunk<T>& chunk, int64_t panel) {
    constexpr int W = Pack<T>::width;
    constexpr std::make_integer_sequence<int, most_rows> sizes{};
    for (int64_t c = 0; c < o.out; c += 2 * W)
        if (o.out - c > W) in_tiles<GradientTile, 2>(o.in, sizes, o, c, &chunk, panel);
        else in_tiles<GradientTile, 1>(o.in, sizes, o, c, &chunk, panel);
    if (!o.dbias) return;
    for_vectors<T>(o.out, [&](int64_t c, auto n) {
        Pack<T> s = chunk.accumulate ? load(o.dbias + c, n) : Pack<T>(T(0)), t(T(0));
        int64_t r = 0;
        for (; r + 2 <= chunk.rows; r += 2) {
            s = s + load(o.by_row + r * o.ld + c);
            t = t + load(o.by_row + (r + 1) * o.ld + c);
        }
        if (r < chunk.rows) s = s + load(o.by_row + r * o.ld + c);
        store(o.dbias + c, s + t, n);
    });
}

// Few units: every sum runs along the lanes, one accumulator per element; then as many are summed at once as fit a vector.
template <int V, class T>
void kernel_gradient_in_lanes(const RowwiseOp<T>& o, const Chunk<T>& chunk) {
    constexpr int W = Pack<T>::width, P = V * W;
    const int64_t panels = (chunk.rows + P - 1) / P;
    auto write = [&](T* out, int64_t first, int count, const Pack<T>* sums) __attribute__((always_inline)) {
        Pack<T> s = sums_of(sums, count);
        if (chunk.accumulate) s = s + load(out + first, count);
        store(out + first, s, count);
    };
    Pack<T> sums[W] = {};
    const int64_t n = o.in * o.out;
    int64_t i = 0, u = 0;
    for (int64_t e = 0; e < n; e += W) {
        const int count = n - e < W ? int(n - e) : W;
        for (int k = 0; k < count; ++k) {
            const T *x = chunk.x + i * P, *d = o.d + u * P;
            Pack<T> s[V];
            for (int j = 0; j < V; ++j) s[j] = load(x + j * W) * load(d + j * W);
            for (int64_t p = 1; p < panels; ++p)
                for (int j = 0; j < V; ++j)
                    s[j] = s[j] + load(x + p * o.in * P + j * W) * load(d + p * o.out * P + j * W);
            sums[k] = s[0];
            if constexpr (V == 2) sums[k] = s[0] + s[1];
            if (++u == o.out) u = 0, ++i;
        }
        write(o.dkernel, e, count, sums);
    }
    if (!o.dbias) return;
    for (int64_t e = 0; e < o.out; e += W) {
        const int count = o.out - e < W ? int(o.out - e) : W;
        for (int k = 0; k < count; ++k) {
            Pack<T> s(T(0));
            for (int64_t p = 0; p < panels; ++p)
                for (int j = 0; j < V; ++j) s = s + load(o.d + (p * o.out + e + k) * P + j * W);
            sums[k] = s;
        }
        write(o.dbias, e, count, sums);
    }
}
