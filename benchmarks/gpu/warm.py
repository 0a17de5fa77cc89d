"""Fill the caches of PyTorch's compiler while the package is built: `python -m benchmarks.gpu.warm PART PARTS`.

Makes the compiled baseline of every case with a goal once, on zeros; what is compiled depends on shapes alone. PART of
PARTS: its share of the cases, so that several processes can divide them. Needs nothing compiled of fastdense.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from benchmarks.gpu.cases import CASES, GpuCase
from benchmarks.gpu.setting import Setting, first_line

COMPILED = ("torch-graph", "torch-compile", "vmap-compile-graph")


def cases() -> list[GpuCase]:
    """Those with a goal that a compiled baseline sets, in the order in which they are measured.

    Those in 3xtf32 are left out: PyTorch's nets are those of the same cases in float32.
    """
    chosen = [
        case for case in CASES if case.precision != "3xtf32" and any(name in COMPILED for name in case.goal_baselines)
    ]
    return sorted(chosen, key=lambda case: not case.quick)


def setting(case: GpuCase, device: str) -> Setting:
    """The case on zeros."""
    widths, several = case.task.widths, () if case.starts == 1 else (case.starts,)
    x = np.zeros((case.rows, widths[0]), np.float32)
    y = np.zeros((case.rows, widths[-1]), np.float32) if case.task.loss == "mse" else np.zeros(case.rows, np.uint8)
    weights = []
    for n, u in zip(widths, widths[1:], strict=False):
        weights += [np.zeros((*several, n, u), np.float32), np.zeros((*several, u), np.float32)]
    return Setting(case.task, x, y, weights, device, case.starts, case.precision)


def main(part: int, parts: int, device: str = "cuda") -> None:
    """One case after the other; one that fails says so when it is measured."""
    from benchmarks.gpu import torch_side

    for case in cases()[part::parts]:
        begin = time.monotonic()
        for name in case.goal_baselines:
            if name in COMPILED:
                try:
                    torch_side.make(name, setting(case, device))
                    said = f"{time.monotonic() - begin:.1f} s"
                except Exception as error:
                    said = first_line(error)
                print(f"{case.name}, {name}: {said}", flush=True)
        torch_side.forget()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
