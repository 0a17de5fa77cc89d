// Updates of all tensors in one launch: sums of partial gradients, penalties, clipping, weight decay, the optimizer's rule; and the
// end of a step, in the same launch where nothing comes after it. And penalties and Muon, which need whole matrices.
#include "core/plan.h"
#include "cuda/kernels.h"
#include "cuda/runtime/device_math.h"

namespace fd::cuda {
namespace {

constexpr int threads = 256;

// The four elements of an update's block that a thread has: tensors, their parts and slots start on multiples of 16 bytes.
static_assert(update_block == 4 * threads && Plan::alignment % 4 == 0, "a thread takes four");
struct Four {
    int64_t at;  // of the first
    int left;    // elements of the block from there on; none if it is not positive
    __device__ explicit Four(const UpdateBlock& b)
        : at(b.first + 4 * int(threadIdx.x)), left(b.count - 4 * int(threadIdx.x)) {}
    template <class T>
    __device__ Quad<T> read(const T* from) const {
        return quad_of(from + at, left);
    }
    template <class T>
    __device__ void write(T* to, const Quad<T>& q) const {
        put_quad(to + at, q, left);
    }
};

template <class T>
__device__ Quad<T> whole_gradient(const Update<T>& u, const UpdateTensor& t, const Four& four) {
    Quad<T> g = four.read(u.gradients);
    for (int s = 1; s < t.splits; ++s) {
        const Quad<T> part = four.read(u.gradients + s * u.stride);
        for (int j = 0; j < 4; ++j) g.v[j] += part.v[j];
    }
    return g;
}
// Value of l1 and l2 penalties; their gradients are added to g.
template <class T>
__device__ double penalise(const UpdateTensor& t, const Quad<T>& w, Quad<T>& g) {
    double value = 0;
    if (t.l1 == 0 && t.l2 == 0) return value;
    for (int j = 0; j < 4; ++j) {
        const T a = w.v[j];
        value += t.l1 * double(ops::vabs(a)) + t.l2 * double(a) * double(a);
        g.v[j] += T(t.l1) * ops::vsign(a) + T(2 * t.l2) * a;
    }
    return value;
}

// Factor that clips a tensor's gradient to a norm; every thread has it.
__device__ double norm_scale(const UpdateRule& rule, const UpdateTensor& t, const double* norm_parts, int block_count,
                             double* scratch) {
    const bool global = rule.global_clipnorm > 0;
    if (!global && !(rule.clipnorm > 0)) return 1;
    const int first = global ? 0 : t.first_block, last = global ? block_count : t.first_block + t.blocks;
    double square = 0;
    for (int b = first + int(threadIdx.x); b < last; b += threads) square += norm_parts[b];
    const double norm = ops::vsqrt(block_sum(square, scratch)), limit = global ? rule.global_clipnorm : rule.clipnorm;
    return norm > limit ? limit / norm : norm == norm ? 1.0 : limit;  // as fmax does, which drops a NaN
}
template <class T>
__device__ T clipped(T g, double scale, double clipvalue) {
    g *= T(scale);
    const T limit = T(clipvalue);
    if (clipvalue > 0) g = g > limit ? limit : g < -limit ? -limit : g;  // keeps NaN
    return g;
}

template <class T>
__global__ void combine_kernel(Update<T> u, bool add_gradients) {
    __shared__ double scratch[33];
    const UpdateBlock b = u.blocks[blockIdx.x];
    const UpdateTensor t = u.tensors[b.tensor];
    const Four four(b);
    double value = 0;
    if (four.left > 0) {
        Quad<T> g = add_gradients ? whole_gradient(u, t, four) : Quad<T>{};
        value = penalise(t, four.read(u.parameters), g);
        if (add_gradients) four.write(u.gradients, g);
    }
    value = block_sum(value, scratch);
    if (threadIdx.x == 0) u.penalty_parts[blockIdx.x] = value;
}
template <class T>
__global__ void norms_kernel(Update<T> u) {
    __shared__ double scratch[33];
    const UpdateBlock b = u.blocks[blockIdx.x];
    const Four four(b);
    double square = 0;
    if (four.left > 0) {
        const Quad<T> g = four.read(u.gradients);
        for (int j = 0; j < 4; ++j) square += double(g.v[j]) * double(g.v[j]);
    }
    square = block_sum(square, scratch);
    if (threadIdx.x == 0) u.norm_parts[blockIdx.x] = square;
}

// By one block.
__device__ void finish_step(const Steps& steps, const StepEnd& e, double* scratch) {
    double loss = 0, penalty = 0;
    for (int64_t r = threadIdx.x; r < e.count; r += threads) loss += e.losses[r];
    for (int64_t i = threadIdx.x; i < e.penalty_count; i += threads) penalty += e.penalty_parts[i];
    loss = block_sum(loss, scratch) / double(e.rows);
    penalty = block_sum(penalty, scratch);
    if (threadIdx.x != 0) return;
    double* row = steps.row();
    row[0] = loss, row[1] = penalty;
    const double sum = loss + penalty;
    if (e.stop_on_nan && !(sum - sum == 0)) steps.control->halted = 1;
    steps.control->at += 1;
}
__global__ void end_kernel(Steps steps, StepEnd e) {
    __shared__ double scratch[33];
    finish_step(steps, e, scratch);
}
__global__ void position_kernel(Control* control, int at, bool fresh) {
    control->at = at, control->arrived = 0;
    if (fresh) control->halted = 0;
}

// Whether this block is the last of the grid to come here; then it sees what all of them have written before.
__device__ bool arrives_last(Control* control) {
    __shared__ bool last;
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        last = atomicAdd(&control->arrived, 1) == int(gridDim.x) - 1;
        if (last) control->arrived = 0;
        __threadfence();
    }
    __syncthreads();
    return last;
}

template <class T, class Rule>
__device__ void update_elements(const Steps& steps, const Update<T>& u, bool combined, double* scratch) {
    if (steps.control->halted) return;  // for the whole grid alike
    const UpdateBlock b = u.blocks[blockIdx.x];
    const UpdateTensor t = u.tensors[b.tensor];
    const StepRecord& now = steps.now();
    const ops::Step<double>& c = now.rule;
    const ops::Step<T> s{T(c.lr * t.rate), T(c.a), T(c.b), T(c.c), T(c.d), T(c.epsilon)};
    const T keep = T(1 - now.learning_rate * u.rule.weight_decay * t.rate * t.decay);
    const double scale = combined ? norm_scale(u.rule, t, u.norm_parts, u.block_count, scratch) : 1;
    const Four four(b);
    double value = 0;
    if (four.left > 0 && !t.muon) {
        Quad<T> w = four.read(u.parameters), g = combined ? four.read(u.gradients) : whole_gradient(u, t, four), m[3];
        for (int k = 0; k < Rule::slots; ++k) m[k] = four.read(u.slots[k]);
        if (!combined) value = penalise(t, w, g);
        for (int j = 0; j < 4; ++j) {
            T own[3];
            for (int k = 0; k < Rule::slots; ++k) own[k] = m[k].v[j];
            w.v[j] *= keep;
            Rule::update(s, w.v[j], clipped(g.v[j], scale, u.rule.clipvalue), own);
            for (int k = 0; k < Rule::slots; ++k) m[k].v[j] = own[k];
        }
        for (int k = 0; k < Rule::slots; ++k) four.write(u.slots[k], m[k]);
        four.write(u.parameters, w);
    }
    if (combined) return;
    value = block_sum(value, scratch);
    if (threadIdx.x == 0) u.penalty_parts[blockIdx.x] = value;
}
template <class T, class Rule>
__global__ void update_kernel(Steps steps, Update<T> u, bool combined, StepEnd end) {
    __shared__ double scratch[33];
    update_elements<T, Rule>(steps, u, combined, scratch);
    if (end.losses && arrives_last(steps.control)) finish_step(steps, end, scratch);
}

template <class T>
__global__ void average_kernel(Steps steps, Update<T> u, T* mean, double momentum, int64_t overwrite_frequency) {
    if (steps.control->halted) return;
    const UpdateBlock b = u.blocks[blockIdx.x];
    const int64_t step = steps.now().step;
    const T keep = step == 0 ? T(0) : T(momentum), take = step == 0 ? T(1) : T(1 - momentum);
    const bool overwrite = overwrite_frequency > 0 && (step + 1) % overwrite_frequency == 0;
    const Four four(b);
    if (four.left <= 0) return;
    const Quad<T> w = four.read(u.parameters);
    Quad<T> value = four.read(mean);
    for (int j = 0; j < 4; ++j) value.v[j] = take * w.v[j] + keep * value.v[j];
    four.write(mean, value);
    if (overwrite) four.write(u.parameters, value);
}

// A block for each column, each row, or all; or for so many elements.
template <class T>
__global__ void constrain_kernel(Steps steps, ops::Constraint c, const int8_t* signs, T* values, int64_t rows,
                                 int64_t cols) {
    __shared__ double scratch[33];
    if (steps.control->halted) return;
    if (c.kind != ops::Constraint::Kind::norm) {
        const int64_t n = rows * cols;
        for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < n; i += int64_t(gridDim.x) * threads)
            values[i] = c.kind == ops::Constraint::Kind::signs
                            ? ops::Constraint::of_sign(values[i], signs[i / cols] * signs[rows + i % cols])
                            : ops::Constraint::non_negative(values[i]);
        return;
    }
    using Over = ops::Constraint::Over;
    const int64_t length = c.over == Over::columns ? rows : c.over == Over::rows ? cols : rows * cols;
    const int64_t stride = c.over == Over::columns ? cols : 1;
    T* first = values + int64_t(blockIdx.x) * (c.over == Over::columns ? 1 : length);
    double square = 0;
    for (int64_t i = threadIdx.x; i < length; i += threads)
        square += double(first[i * stride]) * double(first[i * stride]);
    const T factor = T(c.scale(ops::vsqrt(block_sum(square, scratch))));
    for (int64_t i = threadIdx.x; i < length; i += threads) first[i * stride] *= factor;
}

template <class T>
__global__ void muon_direction_kernel(Steps steps, MuonStep m, const UpdateTensor* tensors, const double* norm_parts,
                                      int block_count, T* gradient, T* momentum, double* parts) {
    __shared__ double scratch[33];
    if (steps.control->halted) return;
    UpdateRule rule;
    rule.clipnorm = m.clipnorm, rule.global_clipnorm = m.global_clipnorm;
    const double scale = norm_scale(rule, tensors[m.tensor], norm_parts, block_count, scratch);
    const int64_t n = m.rows * m.cols, first = int64_t(blockIdx.x) * update_block;
    const T keep = T(m.momentum);
    double square = 0;
    for (int e = int(threadIdx.x); e < update_block && first + e < n; e += threads) {
        const int64_t i = first + e;
        const T g = clipped(gradient[i], scale, m.clipvalue), v = g + keep * momentum[i];
        const T direction = m.nesterov ? keep * v + g : v;
        momentum[i] = v;
        gradient[i] = direction;
        square += double(direction) * double(direction);
    }
    square = block_sum(square, scratch);
    if (threadIdx.x == 0) parts[blockIdx.x] = square;
}
template <class T>
__global__ void muon_start_kernel(MuonStep m, const T* gradient, const double* parts, int blocks, T* x) {
    __shared__ double scratch[33];
    double square = 0;
    for (int b = int(threadIdx.x); b < blocks; b += threads) square += parts[b];
    const T inverse = T(1 / (ops::vsqrt(block_sum(square, scratch)) + 1e-7));
    const int64_t n = m.rows * m.cols, large = m.flip ? m.rows : m.cols;
    for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < n; i += int64_t(gridDim.x) * threads) {
        const int64_t r = i / large, c = i % large;
        x[i] = inverse * gradient[m.flip ? c * m.cols + r : i];
    }
}
template <class T>
__global__ void muon_apply_kernel(Steps steps, MuonStep m, const T* x, T* kernel) {
    if (steps.control->halted) return;
    const double lr = steps.now().learning_rate;
    const T rate = T(lr * m.adjust), keep = T(1 - lr * m.weight_decay);
    const int64_t n = m.rows * m.cols;
    for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < n; i += int64_t(gridDim.x) * threads)
        kernel[i] = keep * kernel[i] - rate * x[m.flip ? i % m.cols * m.rows + i / m.cols : i];
}

template <class T>
__global__ void unit_rows_kernel(const T* kernel, int64_t in, int64_t out, bool columns, T* u, T* inverse) {
    __shared__ double scratch[33];
    const int64_t i = blockIdx.x, length = columns ? in : out;
    auto at = [&](int64_t j) { return columns ? kernel[j * out + i] : kernel[i * length + j]; };
    double square = 0;
    for (int64_t j = threadIdx.x; j < length; j += threads) square += double(at(j)) * double(at(j));
    square = block_sum(square, scratch);
    const T scale = T(1 / ops::vsqrt(square > 1e-12 ? square : square == square ? 1e-12 : square));
    if (threadIdx.x == 0) inverse[i] = scale;
    for (int64_t j = threadIdx.x; j < length; j += threads) u[i * length + j] = scale * at(j);
}
template <class T>
__global__ void similarity_kernel(T* gram, int64_t units, double factor, ops::UnitPenalty penalty,
                                  double* value_parts) {
    __shared__ double scratch[33];
    const int64_t i = blockIdx.x;
    T* row = gram + i * units;
    double value = 0;
    for (int64_t j = threadIdx.x; j < units; j += threads) {
        const double cosine = double(row[j]);
        if (j < i) value += ops::unit_penalty_value(penalty, cosine);
        row[j] = i == j ? T(0) : T(factor * ops::unit_penalty_derivative(penalty, cosine));
    }
    value = block_sum(value, scratch);
    if (threadIdx.x == 0) value_parts[i] = factor * value;
}
template <class T>
__global__ void pull_kernel(const T* u, const T* inverse, const T* pull, int64_t in, int64_t out, bool columns,
                            T* gradient) {
    __shared__ double scratch[33];
    const int64_t i = blockIdx.x, length = columns ? in : out;
    const T *row = u + i * length, *p = pull + i * length, scale = inverse[i];
    const bool floored = double(scale) >= 1e6;  // its length was replaced by a constant
    double sum = 0;
    for (int64_t j = threadIdx.x; j < length; j += threads) sum += double(row[j]) * double(p[j]);
    sum = block_sum(sum, scratch);
    const T along = floored ? T(0) : T(sum);
    for (int64_t j = threadIdx.x; j < length; j += threads)
        gradient[columns ? j * out + i : i * length + j] += scale * (p[j] - along * row[j]);
}

unsigned blocks_of(int64_t n) { return unsigned((n + update_block - 1) / update_block); }

}  // namespace

template <class T>
void combine(const Update<T>& u, bool add_gradients, cudaStream_t stream) {
    if (!u.block_count) return;
    FD_LAUNCH((combine_kernel<T>), unsigned(u.block_count), threads, 0, stream, u, add_gradients);
}
template <class T>
void gradient_norms(const Update<T>& u, cudaStream_t stream) {
    if (u.block_count) FD_LAUNCH((norms_kernel<T>), unsigned(u.block_count), threads, 0, stream, u);
}
template <class T>
bool update(const Steps& steps, const Update<T>& u, bool combined, const StepEnd& end, cudaStream_t stream) {
    if (!u.block_count) return false;
    switch (u.rule.rule) {
#define FD_CASE(name, functor)                                                                                       \
    case ops::Rule::name:                                                                                            \
        FD_LAUNCH((update_kernel<T, ops::functor>), unsigned(u.block_count), threads, 0, stream, steps, u, combined, \
                  end);                                                                                              \
        break;
        FD_UPDATE_RULES(FD_CASE)
#undef FD_CASE
    }
    return end.losses != nullptr;
}
void end_step(const Steps& steps, const StepEnd& e, cudaStream_t stream) {
    FD_LAUNCH(end_kernel, 1, threads, 0, stream, steps, e);
}
void set_position(Control* control, int at, bool fresh, cudaStream_t stream) {
    FD_LAUNCH(position_kernel, 1, 1, 0, stream, control, at, fresh);
}
template <class T>
void average(const Steps& steps, const Update<T>& u, T* mean, double momentum, int64_t overwrite_frequency,
             cudaStream_t stream) {
    if (!u.block_count) return;
    FD_LAUNCH((average_kernel<T>), unsigned(u.block_count), threads, 0, stream, steps, u, mean, momentum,
              overwrite_frequency);
}
template <class T>
void constrain(const Steps& steps, const ops::Constraint& c, const int8_t* signs, T* values, int64_t rows, int64_t cols,
               cudaStream_t stream) {
    using Over = ops::Constraint::Over;
    const bool each = c.kind == ops::Constraint::Kind::norm;
    const int64_t units = c.over == Over::columns ? cols : c.over == Over::rows ? rows : 1;
    FD_LAUNCH((constrain_kernel<T>), each ? unsigned(units) : blocks_of(rows * cols), threads, 0, stream, steps, c,
              signs, values, rows, cols);
}
template <class T>
void muon_direction(const Steps& steps, const MuonStep& m, const UpdateTensor* tensors, const double* norm_parts,
                    int block_count, T* gradient, T* momentum, double* parts, cudaStream_t stream) {
    FD_LAUNCH((muon_direction_kernel<T>), blocks_of(m.rows * m.cols), threads, 0, stream, steps, m, tensors, norm_parts,
              block_count, gradient, momentum, parts);
}
template <class T>
void muon_start(const MuonStep& m, const T* gradient, const double* parts, T* x, cudaStream_t stream) {
    const unsigned blocks = blocks_of(m.rows * m.cols);
    FD_LAUNCH((muon_start_kernel<T>), blocks, threads, 0, stream, m, gradient, parts, int(blocks), x);
}
template <class T>
void muon_apply(const Steps& steps, const MuonStep& m, const T* x, T* kernel, cudaStream_t stream) {
    FD_LAUNCH((muon_apply_kernel<T>), blocks_of(m.rows * m.cols), threads, 0, stream, steps, m, x, kernel);
}
template <class T>
void unit_rows(const T* kernel, int64_t in, int64_t out, bool columns, T* u, T* inverse, cudaStream_t stream) {
    FD_LAUNCH((unit_rows_kernel<T>), unsigned(columns ? out : in), threads, 0, stream, kernel, in, out, columns, u,
              inverse);
}
template <class T>
void similarity(T* gram, int64_t units, double factor, ops::UnitPenalty penalty, double* value_parts,
                cudaStream_t stream) {
    FD_LAUNCH((similarity_kernel<T>), unsigned(units), threads, 0, stream, gram, units, factor, penalty, value_parts);
}
template <class T>
void pull_gradient(const T* u, const T* inverse, const T* pull, int64_t in, int64_t out, bool columns, T* gradient,
                   cudaStream_t stream) {
    FD_LAUNCH((pull_kernel<T>), unsigned(columns ? out : in), threads, 0, stream, u, inverse, pull, in, out, columns,
              gradient);
}

#define FD_INSTANTIATE(T)                                                                                           \
    template void combine<T>(const Update<T>&, bool, cudaStream_t);                                                 \
    template void gradient_norms<T>(const Update<T>&, cudaStream_t);                                                \
    template bool update<T>(const Steps&, const Update<T>&, bool, const StepEnd&, cudaStream_t);                    \
    template void average<T>(const Steps&, const Update<T>&, T*, double, int64_t, cudaStream_t);                    \
    template void constrain<T>(const Steps&, const ops::Constraint&, const int8_t*, T*, int64_t, int64_t,           \
                               cudaStream_t);                                                                       \
    template void muon_direction<T>(const Steps&, const MuonStep&, const UpdateTensor*, const double*, int, T*, T*, \
                                    double*, cudaStream_t);                                                         \
    template void muon_start<T>(const MuonStep&, const T*, const double*, T*, cudaStream_t);                        \
    template void muon_apply<T>(const Steps&, const MuonStep&, const T*, T*, cudaStream_t);                         \
    template void unit_rows<T>(const T*, int64_t, int64_t, bool, T*, T*, cudaStream_t);                             \
    template void similarity<T>(T*, int64_t, double, ops::UnitPenalty, double*, cudaStream_t);                      \
    template void pull_gradient<T>(const T*, const T*, const T*, int64_t, int64_t, bool, T*, cudaStream_t);
FD_INSTANTIATE(float)
FD_INSTANTIATE(double)
#undef FD_INSTANTIATE

}  // namespace fd::cuda
