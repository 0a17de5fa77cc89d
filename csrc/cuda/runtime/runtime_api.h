// The CUDA runtime for host code: the real one, or the emulator of tests/emulator.
#pragma once
#ifdef FD_EMULATE
#include "cuda_emulator.h"
#else
#include <cuda_runtime_api.h>
#endif
