// Moving numbers between lanes: square transposes, and sums of many packs at once. Part of a kernel translation unit.

template <class Lane, class T, int... I>
FD_HD Pack<T> pick(Pack<T> a, Pack<T> b, std::integer_sequence<int, I...>) {
#ifdef __clang__
    return __builtin_shufflevector(a.v, b.v, Lane::of(I)...);
#else
    return __builtin_shuffle(a.v, b.v, typename Lanes<T>::ivec{Lane::of(I)...});
#endif
}
// Lane i of the result is lane Lane::of(i) of a followed by b.
template <class Lane, class T>
FD_HD Pack<T> pick(Pack<T> a, Pack<T> b) {
    return pick<Lane>(a, b, std::make_integer_sequence<int, Pack<T>::width>());
}

template <int W, int H, bool High>
struct Exchanged {  // the quarters that two rows of a matrix of H × H blocks swap when it is transposed
    static constexpr int of(int i) { return ((i & H) ? W + i - H : i) + (High ? H : 0); }
};
template <int H, class T>
FD_HD void transpose_blocks(Pack<T>* rows) {
    constexpr int W = Pack<T>::width;
#pragma GCC unroll 16
    for (int i = 0; i < W; ++i)
        if (!(i & H)) {
            const Pack<T> a = rows[i], b = rows[i + H];
            rows[i] = pick<Exchanged<W, H, false>>(a, b);
            rows[i + H] = pick<Exchanged<W, H, true>>(a, b);
        }
    if constexpr (H > 1) transpose_blocks<H / 2>(rows);
}
template <class T>
FD_HD void transpose(Pack<T> (&rows)[Pack<T>::width]) {
    transpose_blocks<Pack<T>::width / 2>(rows);
}

template <int W, int G, bool High>
struct Folded {  // lower or upper halves of all groups of G lanes, those of a before those of b
    static constexpr int of(int i) { return i / (G / 2) * G + i % (G / 2) + (High ? G / 2 : 0); }
};
template <int N, int G, class T>
FD_HD void fold(Pack<T>* sums) {
#pragma GCC unroll 8
    for (int i = 0; i < (N + 1) / 2; ++i) {
        const Pack<T> a = sums[2 * i], b = 2 * i + 1 < N ? sums[2 * i + 1] : a;
        sums[i] = pick<Folded<Pack<T>::width, G, false>>(a, b) + pick<Folded<Pack<T>::width, G, true>>(a, b);
    }
    if constexpr (G > 2) fold<(N + 1) / 2, G / 2>(sums);
}
template <int N, class T>
FD_HD Pack<T> sums_of(const Pack<T>* sums) {
    Pack<T> s[N];
#pragma GCC unroll 16
    for (int i = 0; i < N; ++i) s[i] = sums[i];
    fold<N, Pack<T>::width>(s);
    return s[0];
}
// Lane i of the result is the sum of the lanes of sums[i], for i < count ≤ width; what other lanes hold means nothing.
// Reads up to the next power of two of packs.
template <class T>
FD_HD Pack<T> sums_of(const Pack<T>* sums, int count) {
    constexpr int W = Pack<T>::width;
    if (count == 1) return sums_of<1>(sums);
    if (count == 2) return sums_of<2>(sums);
    if constexpr (W >= 4)
        if (count <= 4) return sums_of<4>(sums);
    if constexpr (W >= 8)
        if (count <= 8) return sums_of<8>(sums);
    return sums_of<W>(sums);
}
