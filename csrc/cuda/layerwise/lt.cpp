#include "cuda/layerwise/lt.h"

#include <algorithm>
#include <utility>

#include "core/types.h"

namespace fd::cuda::lt {
namespace {

constexpr int64_t index_limit = int64_t(1) << 31;

const Functions& required() {
    if (const Functions* f = functions()) return *f;
    throw Error(why_unavailable());
}

// No algorithm for float32 or float64 asks for more than 16 bytes; with more classes than needed, a batch that begins
// elsewhere in a matrix would need a plan of its own.
uint32_t alignment(const void* p) {
    const auto address = reinterpret_cast<uintptr_t>(p) | 16;
    return uint32_t(address & (~address + 1));
}

const void* vector_of(const Product& p) { return p.epilogue == Epilogue::bias_gradient ? p.bias_gradient : p.bias; }

const void* added_to(const Product& p) { return p.added ? p.added : p.c; }

struct Shape {
    int64_t rows, columns, ld;
};
Shape stored_a(const Product& p) { return {p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k, p.lda}; }
Shape stored_b(const Product& p) { return {p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n, p.ldb}; }
Shape stored_c(const Product& p) { return {p.m, p.n, p.ldc}; }

std::string text(const Shape& s) {
    return "(" + std::to_string(s.rows) + ", " + std::to_string(s.columns) + "; " + std::to_string(s.ld) + " apart)";
}
std::string text(const Product& p) {
    static const char* const precisions[] = {"exact", "tf32", "bf16"};
    static const char* const epilogues[] = {"none", "bias", "relu_bias", "bias_gradient"};
    return "c " + text(stored_c(p)) + " = a" + (p.transpose_a ? "^T " : " ") + text(stored_a(p)) + " b" +
           (p.transpose_b ? "^T " : " ") + text(stored_b(p)) + ", " +
           (p.f64    ? std::string("float64")
            : p.bf16 ? std::string("float32 from bfloat16")
                     : std::string("float32, ") + precisions[int(p.precision)]) +
           ", epilogue " + epilogues[int(p.epilogue)];
}

void validate(const Product& p) {
    const auto refuse = [&](const std::string& why) { throw InternalError("matrix product: " + why + ": " + text(p)); };
    for (const Shape& s : {stored_a(p), stored_b(p), stored_c(p)}) {
        if (s.rows < 0 || s.columns < 0) refuse("negative size");
        if (s.ld < s.columns) refuse("rows overlap");
    }
    if (!p.a || !p.b || !p.c) refuse("a matrix is missing");
    if (p.epilogue != Epilogue::none && !vector_of(p)) refuse("the epilogue's vector is missing");
    if (p.epilogue == Epilogue::bias_gradient && p.alpha != 1) refuse("a bias gradient needs alpha 1");
}

// cuBLASLt takes dimensions as 32 bits in effect; version 13.6 fails at float32 operands of 2^31 elements.
bool too_large(const Shape& s) {
    return std::max(s.rows, s.columns) >= index_limit || s.rows > (index_limit - 1) / s.ld;
}

EpilogueCode code(Epilogue e) {
    switch (e) {
        case Epilogue::bias: return EpilogueCode::bias;
        case Epilogue::relu_bias: return EpilogueCode::relu_bias;
        case Epilogue::bias_gradient: return EpilogueCode::bias_gradient_a;  // our b is the library's a
        default: return EpilogueCode::none;
    }
}
ComputeType compute_type(const Product& p) {
    if (p.f64) return ComputeType::f64;
    if (p.bf16) return ComputeType::f32;
    return p.precision == Precision::tf32   ? ComputeType::f32_fast_tf32
           : p.precision == Precision::bf16 ? ComputeType::f32_fast_bf16
                                            : ComputeType::f32;
}

}  // namespace

Products::Products(void* workspace, size_t bytes)
    : lt_(required()), handle_(nullptr, lt_.destroy), workspace_(workspace), bytes_(bytes) {
    if (reinterpret_cast<uintptr_t>(workspace) % 256) throw InternalError("cuBLASLt's workspace is not aligned");
    Handle handle = nullptr;
    check("cublasLtCreate", lt_.create(&handle), nullptr);
    handle_.reset(handle);
}

void Products::check(const char* call, Status status, const Product* p) const {
    if (status == Status::success) return;
    const char* name = lt_.status_name(status);
    throw Error(std::string(call) + ": " + (name ? name : std::to_string(int(status))) + (p ? " for " + text(*p) : "") +
                "; cuBLASLt " + std::to_string(version()) + ", " + path() +
                " (CUBLASLT_LOG_LEVEL=5 in the environment makes it tell more)");
}

Products::Key Products::key(const Product& p) {
    return {p.f64,
            p.bf16,
            p.f64 ? 0 : int64_t(p.precision),
            int64_t(p.epilogue),
            p.m,
            p.n,
            p.k,
            p.transpose_a,
            p.transpose_b,
            p.lda,
            p.ldb,
            p.ldc,
            alignment(p.a),
            alignment(p.b),
            alignment(p.c),
            alignment(added_to(p)),
            alignment(vector_of(p))};
}

// The library is column-major, in which a row-major matrix reads as its transpose: it is asked for c^T = op(b)^T
// op(a)^T. So operands change places, and flags, leading dimensions and a bias along the rows stay as they are.
Products::Plan Products::make(const Product& p) const {
    Plan plan{false,
              {nullptr, lt_.operation_destroy},
              {nullptr, lt_.layout_destroy},
              {nullptr, lt_.layout_destroy},
              {nullptr, lt_.layout_destroy},
              {}};
    if (too_large(stored_a(p)) || too_large(stored_b(p)) || too_large(stored_c(p))) return plan;

    const DataType type = p.f64 ? DataType::f64 : DataType::f32;
    Operation operation = nullptr;
    check("cublasLtMatmulDescCreate", lt_.operation_create(&operation, compute_type(p), type), &p);
    plan.operation.reset(operation);
    const auto describe = [&](OperationAttribute attribute, const auto& value) {
        check("cublasLtMatmulDescSetAttribute", lt_.operation_set(operation, attribute, &value, sizeof value), &p);
    };
    describe(OperationAttribute::transpose_a, int32_t(p.transpose_b));
    describe(OperationAttribute::transpose_b, int32_t(p.transpose_a));
    describe(OperationAttribute::epilogue, code(p.epilogue));
    if (p.epilogue != Epilogue::none) describe(OperationAttribute::bias_pointer, vector_of(p));

    const auto layout = [&](Owned<LayoutContent>& owned, const Shape& s, DataType numbers) {
        Layout created = nullptr;
        check("cublasLtMatrixLayoutCreate",
              lt_.layout_create(&created, numbers, uint64_t(s.columns), uint64_t(s.rows), s.ld), &p);
        owned.reset(created);
    };
    const DataType operand = p.bf16 ? DataType::bf16 : type;
    layout(plan.a, stored_b(p), operand);
    layout(plan.b, stored_a(p), operand);
    layout(plan.c, stored_c(p), type);

    Preference preference = nullptr;
    check("cublasLtMatmulPreferenceCreate", lt_.preference_create(&preference), &p);
    const Owned<PreferenceContent> owner(preference, lt_.preference_destroy);
    const auto prefer = [&](PreferenceAttribute attribute, const auto& value) {
        check("cublasLtMatmulPreferenceSetAttribute", lt_.preference_set(preference, attribute, &value, sizeof value),
              &p);
    };
    prefer(PreferenceAttribute::max_workspace_bytes, uint64_t(bytes_));
    // Same seed, same bits: the parts of a split k are stored apart and added in a step of their own. "In place" adds
    // them to c as they get ready; NVIDIA promises that they take turns, not in which order.
    prefer(PreferenceAttribute::reduction_scheme_mask, uint32_t(reduction_compute_type | reduction_output_type));
    prefer(PreferenceAttribute::min_alignment_a, alignment(p.b));
    prefer(PreferenceAttribute::min_alignment_b, alignment(p.a));
    prefer(PreferenceAttribute::min_alignment_c, alignment(added_to(p)));
    prefer(PreferenceAttribute::min_alignment_d, alignment(p.c));

    Heuristic best{};
    int found = 0;
    const Status status = lt_.heuristic(handle_.get(), operation, plan.a.get(), plan.b.get(), plan.c.get(),
                                        plan.c.get(), preference, 1, &best, &found);
    // Which epilogues exist for which types is nowhere promised; a refusal of one is an answer, not an error.
    if (status != Status::not_supported && !(status == Status::invalid_value && p.epilogue != Epilogue::none))
        check("cublasLtMatmulAlgoGetHeuristic", status, &p);
    plan.supported =
        status == Status::success && found > 0 && best.status == Status::success && best.workspace <= bytes_;
    plan.algorithm = best.algorithm;
    return plan;
}

Products::Plan* Products::find(const Product& p) {
    validate(p);
    if (!p.m || !p.n || !p.k) return nullptr;
    const Key k = key(p);
    auto it = plans_.find(k);
    if (it == plans_.end()) it = plans_.emplace(k, make(p)).first;
    return it->second.supported ? &it->second : nullptr;
}

bool Products::plan(const Product& p) { return find(p) != nullptr; }

bool Products::run(const Product& p, cudaStream_t stream) {
    Plan* const plan = find(p);
    if (!plan) return false;
    if (p.epilogue != Epilogue::none) {
        const void* vector = vector_of(p);
        check("cublasLtMatmulDescSetAttribute",
              lt_.operation_set(plan->operation.get(), OperationAttribute::bias_pointer, &vector, sizeof vector), &p);
    }
    const float alpha = float(p.alpha), beta = float(p.beta);
    const Status status =
        lt_.matmul(handle_.get(), plan->operation.get(), p.f64 ? static_cast<const void*>(&p.alpha) : &alpha, p.b,
                   plan->a.get(), p.a, plan->b.get(), p.f64 ? static_cast<const void*>(&p.beta) : &beta, added_to(p),
                   plan->c.get(), p.c, plan->c.get(), &plan->algorithm, workspace_, bytes_, stream);
    if (status == Status::not_supported) return plan->supported = false;  // the choice was wrong; nothing was enqueued
    check("cublasLtMatmul", status, &p);
    return true;
}

}  // namespace fd::cuda::lt
