"""The machine: its description, its peak rate and its load."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from typing import Any

from fastdense.cli.baselines import untuned
from fastdense.versions import build_config, package_version, processor_name

LIBRARIES = ("numpy", "torch", "jax", "keras", "scikit-learn", "onnxruntime")
BUSY = 0.5  # load before the run above which times are not reliable
DISTURBED = 0.85  # fraction of the best sgemm rate below which a round is called disturbed
CORES = {"baseline": "Nehalem", "avx2": "Haswell", "avx512": "SkylakeX"}  # OpenBLAS's kernels of instruction sets

SGEMM = """
import time, numpy as np
a = np.full((2048, 2048), 1.5, "f"); b = a.copy(); c = a.copy(); times = []
for _ in range({products} + 1):
    start = time.perf_counter(); np.matmul(a, b, out=c); times.append(time.perf_counter() - start)
print(2 * 2048**3 / sorted(times[1:])[{products} // 2] / 1e9)
"""


def sgemm_gflops(products: int = 3) -> float:
    """What NumPy's 2048³ float32 product reaches on all processors, in a fresh process; the median of a few.

    Where FASTDENSE_ISA holds fastdense back, its BLAS is held back too.
    """
    command = [sys.executable, "-c", SGEMM.format(products=products)]
    core = CORES.get(os.environ.get("FASTDENSE_ISA", ""))
    environment = untuned() | ({"OPENBLAS_CORETYPE": core} if core else {})
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def use_processors(count: int) -> None:
    """Confine this process, and those it will start, to so many processors: every library then uses as many threads."""
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:count]))


def describe() -> dict[str, Any]:
    """Where and when something is measured, without names of machines or folders."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes"),
        "commit": commit,
        "machine": {
            "processor": processor_name(),
            "processors": processors(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "system": platform.system() + " " + platform.release(),
            "load_before": round(os.getloadavg()[0], 2),
        },
        "versions": {
            "python": platform.python_version(),
            **{name.replace("scikit-learn", "sklearn"): package_version(name) for name in LIBRARIES},
        },
        "fastdense": build_config(),
    }
