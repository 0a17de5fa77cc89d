"""`python -m benchmarks.import_time`: what `import fastdense` costs on top of `import numpy`."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

ROUNDS = 15
SCRIPT = "import sys; import numpy; before = len(sys.modules); {extra}; print(len(sys.modules) - before)"


def measure(extra: str) -> tuple[float, int]:
    """Seconds of a fresh process that imports NumPy and then runs `extra`, and how many modules `extra` loaded."""
    start = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(extra=extra)], check=True, capture_output=True, text=True
    )
    return time.perf_counter() - start, int(process.stdout)


def main() -> None:
    """Interleave both imports and print the medians and their difference."""
    with_numpy, with_fastdense = [], []
    for _ in range(1 + ROUNDS):  # the first round warms the file cache
        with_numpy.append(measure("pass")[0])
        seconds, modules = measure("import fastdense")
        with_fastdense.append(seconds)
    base, ours = median(with_numpy[1:]), median(with_fastdense[1:])
    print(f"import numpy      {1000 * base:6.1f} ms  (with the interpreter's own start)")
    print(f"import fastdense  {1000 * ours:6.1f} ms")
    print(f"difference        {1000 * (ours - base):6.1f} ms, {modules} modules more; the limit is 150 ms")


if __name__ == "__main__":
    main()
