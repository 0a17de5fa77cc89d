// Rows of the caller's data into panels. Part of narrow_kernels.cpp.

template <class T>
inline constexpr DType dtype_of = sizeof(T) == 4 ? DType::f32 : DType::f64;

template <class T>
FD_HD bool rows_usable(const View& v) {
    return v.dtype == dtype_of<T> && (v.col_stride == int64_t(sizeof(T)) || v.cols == 1) &&
           v.row_stride % int64_t(sizeof(T)) == 0 && reinterpret_cast<uintptr_t>(v.data) % sizeof(T) == 0;
}

// n rows of cols numbers, row r at from(r), as one panel; lanes without a row are 0.
template <int V, class T, class From>
FD_HD void panel_of_rows(int n, int64_t cols, T* panel, From&& from) {
    constexpr int W = Pack<T>::width, width = V * W;
    if (cols < W / 2) {
        for (int r = 0; r < n; ++r) {
            const T* row = from(r);
            for (int64_t c = 0; c < cols; ++c) panel[c * width + r] = row[c];
        }
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
    if (!mean && rows_usable<T>(v)) {
        const T* data = reinterpret_cast<const T*>(v.data);
        const int64_t ld = v.row_stride / int64_t(sizeof(T));
        return panel_of_rows<V>(n, v.cols, panel, [=](int r) { return data + order[r] * ld; });
    }
    for (int r = 0; r < n; ++r) gather_row<T>(v, order[r], mean, inverse, staging + r * v.cols);
    panel_of_rows<V>(n, v.cols, panel, [=](int r) { return staging + r * v.cols; });
}

template <class S>
FD_HD void gather_labels_of(const View& v, const int64_t* order, int64_t n, int32_t* out) {
    for (int64_t r = 0; r < n; ++r) {
        S value;
        __builtin_memcpy(&value, v.row(order[r]), sizeof(S));
        out[r] = int32_t(value);
    }
}
static void gather_labels(const View& v, const int64_t* order, int64_t n, int32_t* out) {
    switch (v.dtype) {
        case DType::boolean:
        case DType::u8: return gather_labels_of<uint8_t>(v, order, n, out);
        case DType::i8: return gather_labels_of<int8_t>(v, order, n, out);
        case DType::i16: return gather_labels_of<int16_t>(v, order, n, out);
        case DType::u16: return gather_labels_of<uint16_t>(v, order, n, out);
        case DType::i32: return gather_labels_of<int32_t>(v, order, n, out);
        case DType::u32: return gather_labels_of<uint32_t>(v, order, n, out);
        case DType::i64: return gather_labels_of<int64_t>(v, order, n, out);
        case DType::u64: return gather_labels_of<uint64_t>(v, order, n, out);
        case DType::f32: return gather_labels_of<float>(v, order, n, out);
        case DType::f64: return gather_labels_of<double>(v, order, n, out);
    }
}

// The keyed bijection of ops::Shuffle, as many positions at once as a vector has 32-bit lanes.
static void epoch_order(const ops::Shuffle& s, int64_t first, int64_t n, int64_t* rows) {
    constexpr int W = vector_bytes / 4;
    typedef uint32_t words __attribute__((vector_size(vector_bytes)));
    if (s.half > 16) {
        for (int64_t i = 0; i < n; ++i) rows[i] = int64_t(s(uint64_t(first + i)));
        return;
    }
    const uint32_t mask = (1u << s.half) - 1, end = uint32_t(s.n);
    const bool exact = s.n == uint64_t(1) << (2 * s.half);
    for (int64_t i = 0; i < n; i += W) {
        words v, left, right;
        for (int l = 0; l < W; ++l) v[l] = uint32_t(first + (i + l < n ? i + l : n - 1));
        auto round = [&](words at) __attribute__((always_inline)) {
            left = at >> s.half, right = at & mask;
#pragma GCC unroll 6
            for (int k = 0; k < 6; ++k) {
                words h = right + s.key[k];
                h ^= h >> 16;
                h *= 0x85EBCA6Bu;
                h ^= h >> 13;
                h *= 0xC2B2AE35u;
                h ^= h >> 16;
                const words next = left ^ (h & mask);
                left = right;
                right = next;
            }
            return words((left << s.half) | right);
        };
        v = round(v);
        if (!exact)
            for (;;) {  // walk on where the position lies outside
                const auto outside = v >= end;
                bool any = false;
                for (int l = 0; l < W; ++l) any |= outside[l] != 0;
                if (!any) break;
                v = outside ? round(v) : v;
            }
        const int m = n - i < W ? int(n - i) : W;
        for (int l = 0; l < m; ++l) rows[i + l] = int64_t(v[l]);
    }
}
