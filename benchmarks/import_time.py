"""`python -m benchmarks.import_time`: what importing fastdense costs on top of `import numpy`."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from statistics import median

ROUNDS = 15
LIMITS = {
    "pass": 0.0,
    "import fastdense": 0.05,
    "import fastdense; fastdense.Model": 0.1,
    "import fastdense.keras": 0.1,
}
SCRIPT = "import sys; import numpy; before = len(sys.modules); {extra}; print(len(sys.modules) - before)"


def measure(extra: str) -> tuple[float, float, int]:
    """Wall and processor time of a fresh process that imports NumPy and runs `extra`, and how many modules it loads."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(extra=extra)], check=True, capture_output=True, text=True
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, int(process.stdout)


def main() -> None:
    """Run all in turns and print the medians, and what each takes more than NumPy alone."""
    rounds = [[measure(extra) for extra in LIMITS] for _ in range(1 + ROUNDS)][1:]  # the first warms the file cache
    walls, processors, modules = ([[one[i][k] for one in rounds] for i in range(len(LIMITS))] for k in range(3))
    print(f"import numpy, with the interpreter's own start: {1000 * median(walls[0]):.0f} ms")
    print(f"{'besides':36}{'wall':>8}{'limit':>10}{'processor':>12}{'modules':>9}")
    for i, (extra, limit) in enumerate(LIMITS.items()):
        if i:
            wall, processor = (1000 * (median(times[i]) - median(times[0])) for times in (walls, processors))
            print(f"{extra:36}{wall:5.0f} ms{1000 * limit:7.0f} ms{processor:9.0f} ms{modules[i][0]:9}")


if __name__ == "__main__":
    main()
