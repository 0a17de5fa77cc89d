// Test-only: the entry points of cuBLASLt that csrc/cuda/layerwise/lt.cpp uses, computed on the CPU, with the refusals of the
// real one: sizes, leading dimensions, alignment, missing pointers, types and epilogues that do not go together, a
// choice of algorithm during a capture (cuBLASLt 13.3 does that), an algorithm of another product. Linked into the
// emulated module, and built as a libcublasLt.so.13 by itself for the test of the loader.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "cuda/layerwise/lt_library.h"
#include "cuda_emulator.h"

namespace fd::cuda::lt {

struct HandleContent {};
struct OperationContent {
    ComputeType compute;
    DataType scale;
    int32_t transpose_a = 0, transpose_b = 0;
    EpilogueCode epilogue = EpilogueCode::none;
    void* bias = nullptr;
};
struct LayoutContent {
    DataType type;
    int64_t rows, columns, ld;
};
struct PreferenceContent {
    uint64_t workspace = 0;
    uint32_t reductions = 7, alignment[4] = {256, 256, 256, 256};
};

namespace {

// What an algorithm remembers, in the real one's eight words.
struct Choice {
    uint64_t magic = 0x66616b65;
    int64_t m, n, k;
    uint32_t alignment[4], epilogue, splits;
    uint64_t workspace;
    Algorithm packed() const {
        static_assert(sizeof(Choice) == sizeof(Algorithm));
        Algorithm a;
        std::memcpy(&a, this, sizeof a);
        return a;
    }
};

int64_t rows(const LayoutContent& l, bool transpose) { return transpose ? l.columns : l.rows; }
int64_t columns(const LayoutContent& l, bool transpose) { return transpose ? l.rows : l.columns; }
size_t bytes(DataType type) { return type == DataType::f64 ? 8 : type == DataType::bf16 ? 2 : 4; }
bool aligned(const void* p, uint64_t to) { return reinterpret_cast<uintptr_t>(p) % to == 0; }

Status consistent(const OperationContent& o, const LayoutContent& a, const LayoutContent& b, const LayoutContent& c,
                  const LayoutContent& d) {
    for (const LayoutContent* l : {&a, &b, &c, &d})
        if (l->rows < 1 || l->columns < 1 || l->ld < l->rows) return Status::invalid_value;
    if (rows(a, o.transpose_a) != d.rows || columns(b, o.transpose_b) != d.columns ||
        columns(a, o.transpose_a) != rows(b, o.transpose_b) || c.rows != d.rows || c.columns != d.columns)
        return Status::invalid_value;
    const DataType type = o.compute == ComputeType::f64 ? DataType::f64 : DataType::f32;
    for (DataType t : {o.scale, c.type, d.type})
        if (t != type) return Status::not_supported;
    const bool bf16 = a.type == DataType::bf16 && b.type == DataType::bf16 && o.compute == ComputeType::f32;
    if (!bf16 && (a.type != type || b.type != type)) return Status::not_supported;
    switch (o.epilogue) {
        case EpilogueCode::none: return Status::success;
        case EpilogueCode::bias:
        case EpilogueCode::relu_bias:
        case EpilogueCode::bias_gradient_a:
            if (type == DataType::f64) return Status::not_supported;
            return o.bias && aligned(o.bias, bytes(type)) ? Status::success : Status::invalid_value;
    }
    return Status::not_supported;
}

template <class T>
T rounded(T v, ComputeType compute) {
    const unsigned dropped = compute == ComputeType::f32_fast_tf32   ? 13
                             : compute == ComputeType::f32_fast_bf16 ? 16
                                                                     : 0;
    if (!dropped || !std::isfinite(v)) return v;
    const unsigned u = __float_as_uint(float(v)), half = (1u << (dropped - 1)) - 1 + (u >> dropped & 1);
    return T(__uint_as_float((u + half) >> dropped << dropped));
}

template <class T>
struct Work {
    OperationContent o;
    LayoutContent la, lb, lc, ld;
    T alpha, beta;
    const T *a, *b, *c;
    T *d, *workspace;
    int64_t splits;

    static T number(const T* from, DataType type, int64_t at) {
        if (type != DataType::bf16) return from[at];
        return T(__uint_as_float(unsigned(reinterpret_cast<const uint16_t*>(from)[at]) << 16));
    }
    T op_a(int64_t i, int64_t p) const { return number(a, la.type, o.transpose_a ? p + i * la.ld : i + p * la.ld); }
    T op_b(int64_t p, int64_t j) const { return number(b, lb.type, o.transpose_b ? j + p * lb.ld : p + j * lb.ld); }

    void operator()() const {
        const int64_t m = ld.rows, n = ld.columns, k = columns(la, o.transpose_a);
        std::vector<T> packed(size_t(m * k));
        for (int64_t p = 0; p < k; ++p)
            for (int64_t i = 0; i < m; ++i) packed[size_t(i + p * m)] = rounded(op_a(i, p), o.compute);
        std::vector<double> sums(static_cast<size_t>(m));
        for (int64_t j = 0; j < n; ++j) {
            for (int64_t s = 0; s < splits; ++s) {
                std::fill(sums.begin(), sums.end(), 0.0);
                for (int64_t p = s * k / splits; p < (s + 1) * k / splits; ++p) {
                    const double factor = rounded(op_b(p, j), o.compute);
                    for (int64_t i = 0; i < m; ++i) sums[size_t(i)] += packed[size_t(i + p * m)] * factor;
                }
                if (splits > 1)
                    for (int64_t i = 0; i < m; ++i) workspace[i + (j + s * n) * m] = T(sums[size_t(i)]);
            }
            for (int64_t i = 0; i < m; ++i) {
                T sum = splits > 1 ? T(0) : T(sums[size_t(i)]);
                if (splits > 1)
                    for (int64_t s = 0; s < splits; ++s) sum += workspace[i + (j + s * n) * m];
                T v = alpha * sum + (beta != 0 ? beta * c[i + j * lc.ld] : T(0));
                if (o.epilogue == EpilogueCode::bias || o.epilogue == EpilogueCode::relu_bias)
                    v += static_cast<const T*>(o.bias)[i];
                if (o.epilogue == EpilogueCode::relu_bias)
                    v = v > 0 ? v : T(0);  // NaN is lost: cuBLAS promises no better
                d[i + j * ld.ld] = v;
            }
        }
        if (o.epilogue == EpilogueCode::bias_gradient_a)
            for (int64_t i = 0; i < m; ++i) {
                double sum = 0;
                for (int64_t p = 0; p < k; ++p) sum += op_a(i, p);
                static_cast<T*>(o.bias)[i] = T(sum);
            }
    }
};

template <class T>
Status start(Operation o, const void* alpha, const void* a, Layout la, const void* b, Layout lb, const void* beta,
             const void* c, Layout lc, void* d, Layout ld, const Choice& choice, void* workspace, void* stream) {
    Work<T> work{*o,
                 *la,
                 *lb,
                 *lc,
                 *ld,
                 *static_cast<const T*>(alpha),
                 *static_cast<const T*>(beta),
                 static_cast<const T*>(a),
                 static_cast<const T*>(b),
                 static_cast<const T*>(c),
                 static_cast<T*>(d),
                 static_cast<T*>(workspace),
                 choice.splits};
    if (work.beta != 0 && !c) return Status::invalid_value;
    emulator::enqueue(static_cast<cudaStream_t>(stream), work);
    return Status::success;
}

template <class Content>
Status destroy(Content* content) {
    delete content;
    return Status::success;
}

template <class Value>
Status assign(Value& to, const void* value, size_t size) {
    if (!value || size != sizeof to) return Status::invalid_value;
    std::memcpy(&to, value, size);
    return Status::success;
}

}  // namespace
}  // namespace fd::cuda::lt

using namespace fd::cuda::lt;

extern "C" {

Status cublasLtCreate(Handle* handle) {
    if (!handle) return Status::invalid_value;
    if (emulator::capturing()) return Status::not_initialized;
    *handle = new HandleContent;
    return Status::success;
}
Status cublasLtDestroy(Handle handle) { return destroy(handle); }
size_t cublasLtGetVersion() { return 130300; }
const char* cublasLtGetStatusName(Status status) {
    switch (status) {
        case Status::success: return "CUBLAS_STATUS_SUCCESS";
        case Status::not_initialized: return "CUBLAS_STATUS_NOT_INITIALIZED";
        case Status::invalid_value: return "CUBLAS_STATUS_INVALID_VALUE";
        case Status::execution_failed: return "CUBLAS_STATUS_EXECUTION_FAILED";
        case Status::internal_error: return "CUBLAS_STATUS_INTERNAL_ERROR";
        case Status::not_supported: return "CUBLAS_STATUS_NOT_SUPPORTED";
    }
    return nullptr;
}

Status cublasLtMatmulDescCreate(Operation* o, ComputeType compute, DataType scale) {
    *o = new OperationContent{compute, scale};
    return Status::success;
}
Status cublasLtMatmulDescDestroy(Operation o) { return destroy(o); }
Status cublasLtMatmulDescSetAttribute(Operation o, OperationAttribute attribute, const void* value, size_t size) {
    switch (attribute) {
        case OperationAttribute::transpose_a: return assign(o->transpose_a, value, size);
        case OperationAttribute::transpose_b: return assign(o->transpose_b, value, size);
        case OperationAttribute::epilogue: return assign(o->epilogue, value, size);
        case OperationAttribute::bias_pointer: return assign(o->bias, value, size);
    }
    return Status::invalid_value;
}

Status cublasLtMatrixLayoutCreate(Layout* l, DataType type, uint64_t rows, uint64_t columns, int64_t ld) {
    *l = new LayoutContent{type, int64_t(rows), int64_t(columns), ld};
    return Status::success;
}
Status cublasLtMatrixLayoutDestroy(Layout l) { return destroy(l); }

Status cublasLtMatmulPreferenceCreate(Preference* p) {
    *p = new PreferenceContent;
    return Status::success;
}
Status cublasLtMatmulPreferenceDestroy(Preference p) { return destroy(p); }
Status cublasLtMatmulPreferenceSetAttribute(Preference p, PreferenceAttribute attribute, const void* value,
                                            size_t size) {
    switch (attribute) {
        case PreferenceAttribute::max_workspace_bytes: return assign(p->workspace, value, size);
        case PreferenceAttribute::reduction_scheme_mask: return assign(p->reductions, value, size);
        default: break;
    }
    const int matrix = int(attribute) - int(PreferenceAttribute::min_alignment_a);
    return matrix < 0 || matrix > 3 ? Status::invalid_value : assign(p->alignment[matrix], value, size);
}

Status cublasLtMatmulAlgoGetHeuristic(Handle handle, Operation o, Layout a, Layout b, Layout c, Layout d, Preference p,
                                      int asked, Heuristic* results, int* found) {
    if (!handle || !o || !a || !b || !c || !d || !p || !results || !found || asked < 1) return Status::invalid_value;
    *found = 0;
    if (emulator::capturing()) return Status::internal_error;
    const Status status = consistent(*o, *a, *b, *c, *d);
    if (status != Status::success) return status;
    Choice choice{};
    choice.m = d->rows, choice.n = d->columns, choice.k = columns(*a, o->transpose_a);
    choice.epilogue = uint32_t(o->epilogue), choice.splits = 1;
    for (int i = 0; i < 4; ++i) {  // scalar loads will do, or wide ones where they are promised to work
        if (p->alignment[i] < bytes(d->type)) return Status::not_supported;
        choice.alignment[i] = std::min(16u, p->alignment[i]);
    }
    if (choice.k >= 256 && choice.k > 4 * std::max(choice.m, choice.n) && (p->reductions & reduction_compute_type)) {
        const uint64_t need = uint64_t(choice.m * choice.n * 4) * bytes(d->type);
        if (need <= p->workspace) choice.splits = 4, choice.workspace = need;
    }
    results[0] = Heuristic{choice.packed(), choice.workspace, Status::success, 1.0f, {}};
    *found = 1;
    return Status::success;
}

Status cublasLtMatmul(Handle handle, Operation o, const void* alpha, const void* a, Layout la, const void* b, Layout lb,
                      const void* beta, const void* c, Layout lc, void* d, Layout ld, const Algorithm* algorithm,
                      void* workspace, size_t workspace_size, void* stream) {
    if (!handle || !o || !alpha || !a || !la || !b || !lb || !beta || !lc || !d || !ld || !algorithm)
        return Status::invalid_value;
    const Status status = consistent(*o, *la, *lb, *lc, *ld);
    if (status != Status::success) return status;
    Choice choice;
    std::memcpy(static_cast<void*>(&choice), algorithm, sizeof choice);
    if (choice.magic != Choice{}.magic || choice.m != ld->rows || choice.n != ld->columns ||
        choice.k != columns(*la, o->transpose_a) || choice.epilogue != uint32_t(o->epilogue))
        return Status::invalid_value;
    const void* const matrices[] = {a, b, c, d};
    for (int i = 0; i < 4; ++i)
        if (!aligned(matrices[i], choice.alignment[i])) return Status::invalid_value;
    if (choice.workspace > workspace_size || (choice.workspace && (!workspace || !aligned(workspace, 256))))
        return Status::invalid_value;
    return (ld->type == DataType::f64 ? start<double> : start<float>)(o, alpha, a, la, b, lb, beta, c, lc, d, ld,
                                                                      choice, workspace, stream);
}
}
