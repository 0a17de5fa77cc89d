// Test-only: what the accesses of kernels would cost on a GPU, counted on the emulator; see accesses.cpp. Like races.h it hears of
// them from kernels that are compiled with -fsanitize=thread.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace emulator::accesses {

struct Sum {
    size_t requests = 0, cost = 0,
           least = 0;  // cost: sectors of device memory, or passes over the banks of shared memory
};
struct Place {
    const void* place;
    bool shared;
    Sum sum;
};

void record(bool start);
void note(const void* place, uintptr_t address, size_t bytes, bool shared);
void end_launch();
std::vector<Place> report();

}  // namespace emulator::accesses
