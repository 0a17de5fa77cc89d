// fastdense._cuda: the engines on the GPU, imported at the first use of a CUDA device.
#include "bindings/lowered.h"
#include "cuda/fused_mlp/fused_mlp.h"
#include "cuda/layerwise/lt_library.h"
#include "cuda/layerwise/products.h"
#include "cuda/runtime/tuning.h"
#include "cuda/wholenet/plan.h"
#ifdef FD_EMULATE
#include "accesses.h"
#endif

namespace fd::bindings {
namespace {

Precision precision_of(const std::string& dtype) {
    return dtype == "tf32"       ? Precision::tf32
           : dtype == "3xtf32"   ? Precision::tf32x3
           : dtype == "bfloat16" ? Precision::bf16
                                 : Precision::full;
}

std::unique_ptr<Backend> make_net(const py::dict& program) {
    return make_cuda(field<int64_t>(program, "inputs"), field<uint64_t>(program, "seed"), ops_of(program),
                     net_type(program), precision_of(field<std::string>(program, "dtype")));
}

int device_count(bool raise_if_none) {
    if (raise_if_none) cuda::require_device();
    return cuda::device_count();
}

py::dict device_info() {
    const cuda::DeviceInfo d = cuda::device_info();
    auto version = [](int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); };
    py::dict out;
    out["name"] = d.name;
    out["compute_capability"] = std::to_string(d.major) + "." + std::to_string(d.minor);
    out["processors"] = d.processors;
    out["memory_free"] = d.free_bytes, out["memory_total"] = d.total_bytes;
    out["driver_version"] = version(d.driver), out["runtime_version"] = version(d.runtime);
    return out;
}

std::vector<std::string> tuning_names() {
#define FD_NAME(name) #name,
    return {FD_TUNING(FD_NAME)};
#undef FD_NAME
}

// Every GPU: its name, its compute capability (90 of 9.0) and all numbers by name; see cuda/runtime/tuning.h.
void set_tuning(const std::vector<std::tuple<std::string, int, std::map<std::string, double>>>& gpus) {
    std::vector<cuda::GpuTuning> tables;
    for (const auto& [name, capability, values] : gpus) {
        cuda::GpuTuning t;
        t.name = name, t.capability = capability;
#define FD_TAKE(name) t.values.name = values.at(#name);
        FD_TUNING(FD_TAKE)
#undef FD_TAKE
        tables.push_back(t);
    }
    cuda::set_tuning(std::move(tables));
}

std::map<std::string, double> tuning_of_device() {
    const cuda::Tuning t = cuda::tuning();
#define FD_GIVE(name) {#name, t.name},
    return {FD_TUNING(FD_GIVE)};
#undef FD_GIVE
}

// How a product is made on this device, for tests and benchmarks; `splits`: of a gradient's, cut along k; `dtype`: as a program's.
py::dict product_plan(int64_t m, int64_t n, int64_t k, bool splits, const std::string& dtype) {
    py::dict out;
    const Precision precision = precision_of(dtype);
    const int parts = splits ? cuda::Products::splits(m, n, k, precision) : 1;
    out["library"] = cuda::Products::large(m, n, k, precision), out["splits"] = parts;
    out["tile"] = cuda::Products::tile(m, n, parts, precision);
    return out;
}

// The whole-net kernel's plan for a net, for tests and benchmarks; on this device, or one of so many processors and bytes of
// shared memory.
py::dict fused_plan(const py::dict& program, const py::dict& training, int64_t batch_rows, bool alone, int processors,
                    int shared_bytes) {
    const Plan plan(field<int64_t>(program, "inputs"), 0, ops_of(program));
    const Training t = training_of(training);
    cuda::WholeNetDevice device = cuda::wholenet_device();
    if (processors) device.blocks = processors, device.bytes = shared_bytes;
    const cuda::WholeNetPlan f = cuda::plan_wholenet(plan, &t, cuda::WholeNetMode::train, alone, batch_rows,
                                                     int(size_of(net_type(program))), device);
    py::dict out;
    out["why_not"] = f.why_not;
    out["blocks"] = f.program.blocks, out["threads"] = f.program.team, out["nets_per_block"] = f.program.nets_per_block;
    out["tile_rows"] = f.program.tile_rows, out["bytes"] = f.program.bytes, out["cycles"] = f.cycles;
    out["slots_in_shared_memory"] = f.program.slots >= 0;
    out["worth_it"] = f.worth_it(device.tuning, int64_t(plan.ops.size()));
    py::list ops;
    for (int i = 0; i < f.program.count; ++i) {
        const cuda::WholeNetOp& o = f.program.ops[i];
        ops.append(
            py::make_tuple(o.forward_rows, o.backward_rows, o.gradient_tile, o.gradient_splits, o.column_splits));
    }
    out["ops"] = ops;
    return out;
}

// How the kernel of tiles of rows is laid out for a net and a batch, on a device of so many processors and bytes of shared memory;
// None where there is no such kernel. `by_rows`: gradients of kernels are products afterwards.
py::object mlp_plan(const py::dict& program, const py::dict& training, int64_t batch_rows, int processors,
                    int shared_bytes) {
    const Plan plan(field<int64_t>(program, "inputs"), 0, ops_of(program));
    const Training t = training_of(training);
    const Precision precision = precision_of(field<std::string>(program, "dtype"));
    const auto mlp = cuda::FusedMlp::make(plan, t, Walk(plan, &t, Pass::train), precision);
    if (!mlp) return py::none();
    cuda::MlpProgram p = mlp->program();
    if (!cuda::lay_out_mlp(p, batch_rows, precision, processors, shared_bytes)) return py::none();
    py::dict out;
    out["warps"] = p.warps, out["tile_rows"] = p.rows, out["bytes"] = p.shared_bytes, out["relu"] = p.relu;
    out["bytes_per_row"] = p.row_bytes, out["part"] = p.part;
    out["by_rows"] = p.by_rows;
    return out;
}

}  // namespace
}  // namespace fd::bindings

PYBIND11_MODULE(_cuda, m) {
    using namespace fd;
    using namespace fd::bindings;
    using namespace py::literals;
    py::register_local_exception<InternalError>(m, "InternalError", PyExc_RuntimeError);
    py::register_exception<cuda::CudaError>(m, "CudaError", PyExc_RuntimeError);
    py::register_exception<cuda::CudaUnavailable>(m, "CudaUnavailable", PyExc_RuntimeError);
    py::register_exception<cuda::OutOfMemory>(m, "OutOfMemory", PyExc_MemoryError);
    bind_engine(m, make_net);
    bind_population(m, make_cuda_population, "why_not_fused", why_not_fused);
    m.def("device_count", &device_count, "raise_if_none"_a = true);
    m.def("device_info", &device_info);
    m.def("set_library_folders", &cuda::lt::set_library_folders, "folders"_a);
    m.def("lt_path", &cuda::lt::path);
    m.def("why_no_lt", &cuda::lt::why_unavailable);
    m.def(
        "set_products",
        [](const std::string& path) {
            cuda::set_product_path(cuda::ProductPath(find_name("products", cuda::product_paths, path)));
        },
        "path"_a);
    m.def("set_fused_mlp", &cuda::FusedMlp::set_limits, "rows"_a = -1, "blocks"_a = 0, "tile"_a = 0,
          "by_rows"_a = false);
    m.def("set_product_tile", &cuda::set_product_tile, "side"_a = 0);
    m.def(
        "set_wholenet", [](int team, int blocks, int tile) { cuda::forced() = {team, blocks, tile}; }, "team"_a = 0,
        "blocks"_a = 0, "tile"_a = 0);
    m.def("tuning_names", &tuning_names);
    m.def("set_tuning", &set_tuning, "gpus"_a);
    m.def("tuning", &tuning_of_device);
    m.def("product_plan", &product_plan, "m"_a, "n"_a, "k"_a, "splits"_a = false, "dtype"_a = "float32");
    m.def("mlp_plan", &mlp_plan, "program"_a, "training"_a, "batch_rows"_a, "processors"_a, "shared_bytes"_a);
    m.def("fused_mlp_runs", &cuda::FusedMlp::runs);
    m.def("launches", &cuda::launches);
    m.def(
        "set_path",
        [](const std::string& name) { cuda::path() = cuda::Path(find_name("path", cuda::path_names, name)); },
        "path"_a);
    m.def("fused_plan", &fused_plan, "program"_a, "training"_a, "batch_rows"_a, "alone"_a, "processors"_a = 0,
          "shared_bytes"_a = 0);
    m.def("wait_for_stream", &cuda::wait_for_stream, "stream"_a);
#ifdef FD_EMULATE
    m.attr("EMULATED") = true;
    m.def(
        "set_emulator",
        [](unsigned seed, size_t memory) {
            emulator::seed = seed;
            emulator::set_memory(memory);
        },
        "seed"_a, "memory"_a = size_t(1) << 30);
    m.def("refuse_launch", &emulator::refuse_launch, "number"_a);
    m.def("set_devices", &emulator::set_devices, "count"_a);
    m.def("set_device", [](int device) { FD_CUDA(cudaSetDevice(device)); }, "device"_a);
    m.def("current_device", &cuda::current_device);
    m.def("place_array", [](uintptr_t p, int device) { emulator::place_array(reinterpret_cast<void*>(p), device); });
    m.def("record_accesses", &emulator::accesses::record, "start"_a);
    m.def("accesses", [] {
        py::list out;
        for (const auto& p : emulator::accesses::report())
            out.append(
                py::make_tuple(emulator::races::place_of(p.place), p.shared, p.sum.requests, p.sum.cost, p.sum.least));
        return out;
    });
#else
    m.attr("EMULATED") = false;
#endif
}
