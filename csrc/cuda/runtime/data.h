// Copies of the caller's arrays on the device: whole, if they are reused and fit, or block by block.
#pragma once
#include <functional>

#include "core/backend.h"
#include "cuda/kernels.h"
#include "cuda/runtime/runtime.h"

namespace fd::cuda {

struct DeviceRows {  // addresses of rows on the device
    const char *x = nullptr, *y = nullptr;
    const double* weights = nullptr;
};

void check_arrays(const Dataset&);                 // of those on a GPU: check_array()
BatchShape shape_of(const Dataset&, bool packed);  // packed: rows were copied here densely; rows are left at 0

// Copies rows, packed, through two pinned buffers: while one is being transferred, all threads fill the next.
class Loader {
public:
    explicit Loader(cudaStream_t stream) : stream_(stream) {}
    // Rows row(0) … row(n - 1) of a view in host memory.
    void load(const View&, int64_t n, const std::function<int64_t(int64_t)>& row, char* to, int threads);
    static int64_t bytes(const View& v, int64_t n) { return n * v.cols * size_of(v.dtype); }

private:
    static constexpr int64_t piece = int64_t(8) << 20;
    const cudaStream_t stream_;
    PinnedBuffer<char> pinned_[2];
    Event free_[2];
    int next_ = 0;
};

// A data set on the device. Arrays that are in its memory already are not copied.
class Resident {
public:
    static bool fits(const Dataset&);
    DeviceRows load(const Dataset&, Loader&, int threads);
    bool holds(const Dataset& d) const;
    const DeviceRows& rows() const { return rows_; }
    void free() {
        data_ = {};
        x_.free(), y_.free(), weights_.free();
    }

private:
    Dataset data_;
    DeviceBuffer<char> x_, y_;
    DeviceBuffer<double> weights_;
    DeviceRows rows_;
};

// Consecutive blocks of rows; two buffers, so that one can be filled while the other is in use.
class Blocks {
public:
    void reserve(const Dataset&, int64_t rows);
    DeviceRows load(const Dataset&, int64_t n, const std::function<int64_t(int64_t)>& row, int half, Loader&,
                    int threads);

private:
    DeviceBuffer<char> x_[2], y_[2];
    DeviceBuffer<double> weights_[2];
};

}  // namespace fd::cuda
