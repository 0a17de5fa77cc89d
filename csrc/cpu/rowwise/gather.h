// Rows of the caller's data into panels. Part of rowwise/kernels.cpp.

// n rows of cols numbers, row r at from(r), as one panel; lanes without a row are 0.
template <int V, class T, class From>
FD_HD void panel_of_rows(int n, int64_t cols, T* panel, From&& from) {
    constexpr int W = Pack<T>::width, width = V * W;
    if (cols < W / 2) {
        auto copy = [&](auto count) __attribute__((always_inline)) {
            for (int r = 0; r < n; ++r) {
                const T* row = from(r);
                for (int64_t c = 0; c < count; ++c) panel[c * width + r] = row[c];
            }
        };
        if (cols == 1) copy(std::integral_constant<int64_t, 1>{});
        else if (cols == 2) copy(std::integral_constant<int64_t, 2>{});
        else if (cols == 3) copy(std::integral_constant<int64_t, 3>{});
        else copy(cols);
        if (n < width)
            for (int64_t c = 0; c < cols; ++c)
                for (int r = n; r < width; ++r) panel[c * width + r] = T(0);
        return;
    }
    for (int half = 0; half < V; ++half) {
        const T* rows[W];
        const int present = n - half * W < 0 ? 0 : n - half * W < W ? n - half * W : W;
        for (int r = 0; r < present; ++r) rows[r] = from(half * W + r);
        Pack<T> block[W];
        int64_t c = 0;
        for (; c + W <= cols; c += W) {
            if (present == W) {
#pragma GCC unroll 16
                for (int r = 0; r < W; ++r) block[r] = load(rows[r] + c);
            } else {
                for (int r = 0; r < W; ++r) block[r] = r < present ? load(rows[r] + c) : Pack<T>(T(0));
            }
            transpose(block);
#pragma GCC unroll 16
            for (int r = 0; r < W; ++r) store(panel + (c + r) * width + half * W, block[r]);
        }
        if (c < cols) {
            const int rest = int(cols - c);
            for (int r = 0; r < W; ++r) block[r] = r < present ? load(rows[r] + c, rest) : Pack<T>(T(0));
            transpose(block);
            for (int r = 0; r < rest; ++r) store(panel + (c + r) * width + half * W, block[r]);
        }
    }
}

// Data rows order[0] … order[n - 1] as a panel; staging holds one panel of rows.
template <int V, class T>
void gather_panel(const View& v, const int64_t* order, int n, const double* mean, const double* inverse, T* staging,
                  T* panel) {
    if (!mean && v.has_rows_of<T>()) {
        const T* data = reinterpret_cast<const T*>(v.data);
        const int64_t ld = v.row_stride / int64_t(sizeof(T));
        return panel_of_rows<V>(n, v.cols, panel, [=](int r) { return data + order[r] * ld; });
    }
    for (int r = 0; r < n; ++r) gather_row<T>(v, order[r], mean, inverse, staging + r * v.cols);
    panel_of_rows<V>(n, v.cols, panel, [=](int r) { return staging + r * v.cols; });
}

static void gather_labels(const View& v, const int64_t* order, int64_t n, int32_t* out) {
    visit(v.dtype, [&](auto value) __attribute__((always_inline)) {
        for (int64_t r = 0; r < n; ++r) {
            __builtin_memcpy(&value, v.row(order[r]), sizeof(value));
            out[r] = int32_t(value);
        }
    });
}

// The keyed bijection of ops::Shuffle on as many positions at once as a vector has 32-bit lanes, twice.
struct Positions {
    static constexpr int lanes = vector_bytes / 4;
    typedef uint32_t words __attribute__((vector_size(vector_bytes)));
    typedef uint32_t words_unaligned __attribute__((vector_size(vector_bytes), aligned(4), may_alias));
    static FD_HD words load(const uint32_t* p) { return *reinterpret_cast<const words_unaligned*>(p); }
    static FD_HD void store(uint32_t* p, words v) { *reinterpret_cast<words_unaligned*>(p) = v; }
};
static FD_HD void scramble(const ops::Shuffle& s, Positions::words (&v)[2]) {
    using words = Positions::words;
    const uint32_t mask = (1u << s.half) - 1;
    words left[2] = {v[0] >> s.half, v[1] >> s.half}, right[2] = {v[0] & mask, v[1] & mask};
#pragma GCC unroll 6
    for (int k = 0; k < 6; ++k)
#pragma GCC unroll 2
        for (int i = 0; i < 2; ++i) {  // two chains, so that one runs while the other waits for its product
            words h = right[i] + s.key[k];
            h ^= h >> 16;
            h *= 0x85EBCA6Bu;
            h ^= h >> 13;
            h *= 0xC2B2AE35u;
            h ^= h >> 16;
            const words next = left[i] ^ (h & mask);
            left[i] = right[i];
            right[i] = next;
        }
    for (int i = 0; i < 2; ++i) v[i] = (left[i] << s.half) | right[i];
}
static void epoch_order(const ops::Shuffle& s, int64_t first, int64_t n, int64_t* rows) {
    constexpr int L = Positions::lanes, block = 2 * L;
    if (s.half > 16) {
        for (int64_t i = 0; i < n; ++i) rows[i] = int64_t(s(uint64_t(first + i)));
        return;
    }
    const uint32_t end = uint32_t(s.n);
    const bool exact = s.n == uint64_t(1) << (2 * s.half);
    alignas(64) uint32_t ramp[block], at[block];
    for (int l = 0; l < block; ++l) ramp[l] = uint32_t(l);
    for (int64_t i = 0; i < n; i += block) {
        const int m = n - i < block ? int(n - i) : block;
        Positions::words v[2];
        for (int k = 0; k < 2; ++k) {  // beyond the rows: position 0, which is as good as any
            const Positions::words l = Positions::load(ramp + k * L);
            v[k] = l < uint32_t(m) ? l + uint32_t(first + i) : l - l;
        }
        scramble(s, v);
        while (!exact) {  // walk on where a position lies outside
            const auto outside0 = v[0] >= end, outside1 = v[1] >= end;
            const auto outside = outside0 | outside1;
            bool any = false;
            for (int l = 0; l < L; ++l) any |= outside[l] != 0;
            if (!any) break;
            Positions::words next[2] = {v[0], v[1]};
            scramble(s, next);
            v[0] = outside0 ? next[0] : v[0];
            v[1] = outside1 ? next[1] : v[1];
        }
        Positions::store(at, v[0]);
        Positions::store(at + L, v[1]);
        if (m == block)
            for (int l = 0; l < block; ++l) rows[i + l] = int64_t(at[l]);
        else
            for (int l = 0; l < m; ++l) rows[i + l] = int64_t(at[l]);
    }
}
