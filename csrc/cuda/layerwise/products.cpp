#include "cuda/layerwise/products.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <utility>

#include "cuda/kernels.h"
#include "cuda/runtime/tuning.h"

namespace fd::cuda {
namespace {

std::atomic<ProductPath> chosen_path{ProductPath::automatic};
std::atomic<int> chosen_tile{0};

// A grid has at most 65535 blocks in its second dimension, and the smallest tile has 32 rows.
constexpr int64_t most_rows = int64_t(65535) * 32;

template <class T>
Product<T> some_rows(Product<T> p, int64_t first) {
    const auto move = [&](auto*& at, int64_t length) {
        if (at) at += first * length;
    };
    p.m = std::min(most_rows, p.m - first);
    move(p.a, p.k), move(p.out, p.n);
    move(p.epilogue.add, p.n), move(p.epilogue.pre_activation, p.n), move(p.epilogue.stored, p.n);
    return p;
}

}  // namespace

void set_product_path(ProductPath path) { chosen_path = path; }
ProductPath product_path() { return chosen_path; }
void set_product_tile(int side) { chosen_tile = side; }

// Where the library's better use of the arithmetic units is worth a launch more, since it knows few of our epilogues.
bool Products::large(int64_t m, int64_t n, int64_t k, Precision precision) {
    const ProductPath path = chosen_path;
    if (precision == Precision::tf32x3) return false;  // which the library does not have
    if (path == ProductPath::automatic) return double(m) * double(n) * double(k) >= tuning().library_multiplications;
    return path == ProductPath::cublaslt;
}

int Products::splits(int64_t m, int64_t n, int64_t k, Precision precision) {
    if (large(m, n, k, precision) && lt::available()) return 1;
    const Tuning t = tuning();
    const int64_t blocks = (m + 63) / 64 * ((n + 63) / 64),
                  wanted = int64_t(t.split_blocks_per_processor * device().processors);
    return int(std::clamp<int64_t>(std::min(wanted / blocks, int64_t(double(k) / t.split_depth)), 1, 16));
}

// The time is that of the processors with most tiles, each of which takes so many cycles for a term of the sum.
int Products::tile(int64_t m, int64_t n, int splits, Precision precision, int largest) {
    if (const int side = chosen_tile) return side;
    const Tuning t = tuning();
    const bool full = precision == Precision::full, split = precision == Precision::tf32x3;
    const std::pair<int, double> sides[] = {{128, full    ? t.tile128_cycles
                                                  : split ? t.tf32x3_tile128_cycles
                                                          : t.mma_tile128_cycles},
                                            {64, full    ? t.tile64_cycles
                                                 : split ? t.tf32x3_tile64_cycles
                                                         : t.mma_tile64_cycles},
                                            {32, full    ? t.tile32_cycles
                                                 : split ? t.tf32x3_tile32_cycles
                                                         : t.mma_tile32_cycles}};
    int best = 32;
    double least = std::numeric_limits<double>::infinity();
    for (const auto& [side, cycles] : sides) {
        if (side > largest) continue;
        const int64_t tiles = (m + side - 1) / side * ((n + side - 1) / side) * splits;
        const double time = double((tiles + device().processors - 1) / device().processors) * cycles;
        if (time < least) best = side, least = time;
    }
    return best;
}

template <class T>
void Products::run(const Product<T>& p) {
    if (large(p.m, p.n, p.k, p.precision) && p.splits == 1 && by_library(p)) return;
    if (p.m > most_rows && !p.transpose_a) {
        for (int64_t first = 0; first < p.m; first += most_rows) by_hand(some_rows(p, first));
        return;
    }
    by_hand(p);
}

template <class T>
void Products::by_hand(const Product<T>& p) {
    if constexpr (sizeof(T) == 4)
        if (p.lda || (p.precision != Precision::full && chosen_path != ProductPath::simt))
            return mma_product(p, tile(p.m, p.n, p.splits, p.precision), stream_);
    Product<T> q = p;
    q.precision = rounding_of(p.precision);
    hand_product(q, tile(p.m, p.n, p.splits, Precision::full, sizeof(T) == 4 ? 128 : 64), stream_);
}

template <class T>
bool Products::by_library(const Product<T>& p) {
    if (!lt::available()) return false;
    if (!library_) {
        const size_t bytes = lt::workspace_bytes(device().major);
        workspace_.reserve(int64_t(bytes));
        library_ = std::make_unique<lt::Products>(workspace_.get(), bytes);
    }
    const Epilogue<T>& e = p.epilogue;
    lt::Product q;
    q.f64 = sizeof(T) == 8;
    q.precision = p.precision;
    q.m = p.m, q.n = p.n, q.k = p.k;
    q.transpose_a = p.transpose_a, q.transpose_b = p.transpose_b;
    q.a = p.a, q.b = p.b, q.c = p.out;
    q.lda = p.transpose_a ? p.m : p.k, q.ldb = p.transpose_b ? p.k : p.n, q.ldc = p.n;
    if (p.lda) q.lda = p.lda, q.ldb = p.ldb;
    if (p.bf16_a) q.bf16 = true, q.a = p.bf16_a, q.b = p.bf16_b;
    if (p.column_sums) {
        q.epilogue = lt::Epilogue::bias_gradient, q.bias_gradient = p.column_sums;
        if (library_->run(q, stream_)) return true;
        q.epilogue = lt::Epilogue::none, q.bias_gradient = nullptr;
    }
    // cuBLASLt's relu may drop a NaN, so anything more than a bias is left to our own kernel.
    const bool more = e.pre_activation || e.stored || e.add || e.scale != 1 || e.activation != ops::Activation::linear;
    if (e.bias && !more) {
        q.epilogue = lt::Epilogue::bias, q.bias = e.bias;
        if (library_->run(q, stream_)) return true;
        q.epilogue = lt::Epilogue::none, q.bias = nullptr;
    }
    if (!library_->run(q, stream_)) return false;
    if (more || e.bias) finish_product(p, stream_);
    if (p.column_sums) {
        Finish<T> f;
        f.from = p.b, f.bias_gradient = p.column_sums;
        f.rows = p.k, f.cols = p.n;
        finish(f, stream_);
    }
    return true;
}

template void Products::run<float>(const Product<float>&);
template void Products::run<double>(const Product<double>&);

}  // namespace fd::cuda
