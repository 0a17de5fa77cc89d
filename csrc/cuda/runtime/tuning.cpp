#include "cuda/runtime/tuning.h"

#include <cstdlib>
#include <map>
#include <mutex>

#include "cuda/runtime/runtime.h"

namespace fd::cuda {
namespace {

struct {
    std::mutex lock;
    std::vector<GpuTuning> gpus;
    std::map<int, Tuning> chosen;  // by device
} tables;

}  // namespace

void set_tuning(std::vector<GpuTuning> gpus) {
    const std::lock_guard<std::mutex> guard(tables.lock);
    tables.gpus = std::move(gpus);
    tables.chosen.clear();
}

Tuning tuning() {
    const DeviceInfo& d = device();
    const int id = current_device(), capability = 10 * d.major + d.minor;
    const std::lock_guard<std::mutex> guard(tables.lock);
    const auto known = tables.chosen.find(id);
    if (known != tables.chosen.end()) return known->second;
    const GpuTuning* best = nullptr;
    auto distance = [&](const GpuTuning& g) { return g.name == d.name ? -1 : std::abs(g.capability - capability); };
    for (const GpuTuning& g : tables.gpus)
        if (!best || distance(g) < distance(*best)) best = &g;
    if (!best) throw InternalError("plans have no table of GPUs");
    return tables.chosen[id] = best->values;
}

}  // namespace fd::cuda
