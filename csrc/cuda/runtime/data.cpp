#include "cuda/runtime/data.h"

#include <algorithm>
#include <cstring>

#include "core/parallel.h"

namespace fd::cuda {
namespace {

View column_of(const double* weights, int64_t rows) {
    View v;
    v.data = reinterpret_cast<const char*>(weights);
    v.dtype = DType::f64;
    v.rows = rows, v.cols = 1;
    v.row_stride = v.col_stride = int64_t(sizeof(double));
    return v;
}
Source source_of(const View& v, bool packed) {
    const int64_t item = size_of(v.dtype);
    if (packed && !v.on_device) return {v.dtype, v.cols, v.cols * item, item};
    return {v.dtype, v.cols, v.row_stride, v.col_stride};
}

}  // namespace

void check_arrays(const Dataset& d) {
    if (d.x.on_device) check_array(d.x, "x");
    if (d.y && d.y.on_device) check_array(d.y, "y");
    if (d.weights_on_device) check_array(column_of(d.weights, d.rows()), "sample_weight");
}

BatchShape shape_of(const Dataset& d, bool packed) {
    BatchShape b;
    b.x = source_of(d.x, packed);
    b.targets = bool(d.y);
    if (d.y) b.y = source_of(d.y, packed), b.y_is_x = d.y.same_as(d.x);
    b.weighted = d.weights != nullptr;
    return b;
}

void Loader::load(const View& v, int64_t n, const std::function<int64_t(int64_t)>& row, char* to, int threads) {
    const int64_t item = size_of(v.dtype), row_bytes = v.cols * item;
    const int64_t rows = std::max<int64_t>(1, piece / std::max<int64_t>(row_bytes, 1));
    for (int64_t first = 0; first < n; first += rows) {
        const int64_t count = std::min(rows, n - first);
        PinnedBuffer<char>& half = pinned_[next_];
        free_[next_].synchronize();
        half.reserve(std::max(count * row_bytes, std::min(piece, n * row_bytes)));
        char* buffer = half.get();
        const Slices cut(count, 64, 1);
        parallel(int(std::min<int64_t>(threads, 1 + count * row_bytes / 65536)), [&](const Worker& w) {
            w.each(cut.count, [&](int64_t s) {
                for (int64_t r = cut.begin(s); r < cut.end(s); ++r) {
                    const char* from = v.row(row(first + r));
                    char* out = buffer + r * row_bytes;
                    if (v.col_stride == item) std::memcpy(out, from, size_t(row_bytes));
                    else
                        for (int64_t c = 0; c < v.cols; ++c)
                            std::memcpy(out + c * item, from + c * v.col_stride, size_t(item));
                }
            });
        });
        FD_CUDA(cudaMemcpyAsync(to + first * row_bytes, buffer, size_t(count * row_bytes), cudaMemcpyHostToDevice,
                                stream_));
        free_[next_].record(stream_);
        next_ ^= 1;
    }
}

bool Resident::fits(const Dataset& d) {
    int64_t need = 0;
    if (!d.x.on_device) need += Loader::bytes(d.x, d.rows());
    if (d.y && !d.y.on_device) need += Loader::bytes(d.y, d.rows());
    if (d.weights && !d.weights_on_device) need += d.rows() * 8;
    return need <= (int64_t(1) << 20) || double(need) < 0.6 * double(free_memory());  // the rest is for the steps
}

bool Resident::holds(const Dataset& d) const {
    return data_.x && data_.x.same_as(d.x) && bool(data_.y) == bool(d.y) && (!d.y || data_.y.same_as(d.y)) &&
           data_.weights == d.weights;
}

DeviceRows Resident::load(const Dataset& d, Loader& loader, int threads) {
    const auto same = [](int64_t i) { return i; };
    const int64_t n = d.rows();
    data_ = {};
    auto put = [&](const View& v, DeviceBuffer<char>& room) -> const char* {
        if (!v) return nullptr;
        if (v.on_device) return v.data;
        room.reserve(Loader::bytes(v, n));
        loader.load(v, n, same, room.get(), threads);
        return room.get();
    };
    rows_ = {};
    rows_.x = put(d.x, x_);
    rows_.y = d.y && d.y.same_as(d.x) ? rows_.x : put(d.y, y_);  // an autoencoder's: once
    if (d.weights_on_device) rows_.weights = d.weights;
    else if (d.weights) {
        weights_.reserve(n);
        loader.load(column_of(d.weights, n), n, same, reinterpret_cast<char*>(weights_.get()), threads);
        rows_.weights = weights_.get();
    }
    data_ = d;
    return rows_;
}

void Blocks::reserve(const Dataset& d, int64_t rows) {
    for (int half = 0; half < 2; ++half) {
        if (!d.x.on_device) x_[half].reserve(Loader::bytes(d.x, rows));
        if (d.y && !d.y.on_device && !d.y.same_as(d.x)) y_[half].reserve(Loader::bytes(d.y, rows));
        if (d.weights && !d.weights_on_device) weights_[half].reserve(rows);
    }
}

DeviceRows Blocks::load(const Dataset& d, int64_t n, const std::function<int64_t(int64_t)>& row, int half,
                        Loader& loader, int threads) {
    DeviceRows p;
    loader.load(d.x, n, row, x_[half].get(), threads);
    p.x = x_[half].get();
    if (d.y && d.y.same_as(d.x)) {
        p.y = p.x;
    } else if (d.y) {
        loader.load(d.y, n, row, y_[half].get(), threads);
        p.y = y_[half].get();
    }
    if (d.weights) {
        loader.load(column_of(d.weights, d.rows()), n, row, reinterpret_cast<char*>(weights_[half].get()), threads);
        p.weights = weights_[half].get();
    }
    return p;
}

}  // namespace fd::cuda
