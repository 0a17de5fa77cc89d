"""`python -m benchmarks.kernels`: rates of single kernels on one thread, against what was measured as this core's best.

The element-wise rows call through `fastdense._core.kernels`, which first copies its input: those bytes are counted.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from benchmarks.machine import describe, processors, use_processors
from benchmarks.run import RESULTS, Result, save
from fastdense import _core
from fastdense.cli.baselines import untuned
from fastdense.versions import build_config

SAMPLES = 5
ACTIVATIONS = ("linear", "relu", "sigmoid", "tanh", "gelu", "softmax")


@dataclass(frozen=True)
class Kernel:
    """A call, the FLOPs or bytes (in units of 1e9) that it stands for, and the peak that it is compared with."""

    name: str
    call: Callable[[], object]
    work: float
    unit: str  # "GFLOP/s" or "GB/s"
    peak: str


def seconds(call: Callable[[], object], least: float) -> float:
    """Seconds of a call: the best of a few samples, that is, what the core can do; they last `least` together."""
    call()
    count = 1
    samples: list[float] = []
    while len(samples) < SAMPLES:
        start = time.perf_counter()
        for _ in range(count):
            call()
        took = time.perf_counter() - start
        if took * SAMPLES >= least:
            samples.append(took / count)
        else:
            count *= 2
    return min(samples)


def _ones(*shape: int) -> np.ndarray:
    return np.random.RandomState(0).standard_normal(shape).astype(np.float32)


def peaks() -> list[Kernel]:
    """What the rest is compared with: NumPy's product, and copies in the second-level cache and in memory."""
    a, out = _ones(2048, 2048), _ones(2048, 2048)
    found = [Kernel("sgemm", partial(np.matmul, a, a, out), 2 * 2048**3 / 1e9, "GFLOP/s", "sgemm")]
    for name, size in (("cache copy", 1 << 16), ("memory copy", 1 << 26)):
        source, target = np.ones(size, np.float32), np.ones(size, np.float32)
        found.append(Kernel(name, partial(np.copyto, target, source), 8 * size / 1e9, "GB/s", name))
    return found


def kernels(isa: str) -> list[Kernel]:
    """Products and passes over a batch of 128 rows, as they come up in nets of 784 and 256 columns."""
    k = _core.kernels
    found = []
    for units, rows, inputs in ((784, 128, 784), (256, 128, 256), (128, 128, 784)):
        s, b, transposed = _ones(units, inputs), _ones(inputs, rows), _ones(rows, inputs)
        flops = 2 * units * rows * inputs / 1e9
        shape = f"{units} × {inputs} × {rows}"
        calls = {
            "product": partial(k.product, isa, s, b, False),
            "product, transposed": partial(k.product, isa, s, transposed, True),
        }
        found += [Kernel(f"{name} {shape}", call, flops, "GFLOP/s", "sgemm") for name, call in calls.items()]
    a, b, out = _ones(128, 784), _ones(784, 784), _ones(128, 784)
    found.append(
        Kernel("BLAS 128 × 784 × 784", partial(k.sgemm, a, b, out, 1), 2 * 128 * 784**2 / 1e9, "GFLOP/s", "sgemm")
    )
    z = _ones(128, 256)
    for name in ACTIVATIONS:  # reads z, writes a copy, reads it, writes the result
        call = partial(k.activation, isa, name, z)
        found.append(Kernel(f"{name} 128 × 256", call, 4 * z.nbytes / 1e9, "GB/s", "cache copy"))
    flat = z.reshape(1, -1)
    found.append(Kernel("column sums 128 × 256", partial(k.column_sums, isa, z), z.nbytes / 1e9, "GB/s", "cache copy"))
    found.append(Kernel("dot 32768", partial(k.dot, isa, flat, flat), z.nbytes / 1e9, "GB/s", "cache copy"))
    none, target = np.zeros((0, 0)), np.empty((128, 784), np.float32)
    for dtype in (np.float32, np.uint8):
        rows_of = np.ones((128, 784), dtype)
        call = partial(k.gather, isa, rows_of, none, none, target)
        work = (rows_of.nbytes + target.nbytes) / 1e9
        found.append(Kernel(f"gather {rows_of.dtype} 128 × 784", call, work, "GB/s", "cache copy"))
    return found


def run(least: float) -> Result:
    """Measure the peaks, then the kernels."""
    result, best = describe(), {}
    result["kernels"] = []
    for kernel in (*peaks(), *kernels(build_config()["isa"])):
        time_of_call = seconds(kernel.call, least)
        rate = kernel.work / time_of_call
        best.setdefault(kernel.name, rate)
        row = {key: value for key, value in asdict(kernel).items() if key != "call"}
        result["kernels"].append({**row, "seconds": time_of_call, "rate": rate, "share": rate / best[kernel.peak]})
    return result


def text(result: Result) -> str:
    """A table for a terminal."""
    lines = [f"one thread, {result['fastdense']['isa']} kernels, {result['machine']['processor']}"]
    for row in result["kernels"]:
        compared = "" if row["name"] == row["peak"] else f"{100 * row['share']:5.0f} % of {row['peak']}"
        lines.append(f"{row['name']:34} {1e6 * row['seconds']:10.2f} µs {row['rate']:8.1f} {row['unit']:8} {compared}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table and write results/NAME-kernels.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description="Rates of single kernels.")
    parser.add_argument("--seconds", type=float, default=0.5, help="per kernel, at least (default: %(default)s)")
    parser.add_argument("--name", help="write benchmarks/results/NAME-kernels.json, to be committed")
    options = parser.parse_args(arguments)
    result = run(options.seconds)
    print(text(result))
    print(f"written to {save(result, options.name, '-kernels').relative_to(RESULTS.parents[1])}")


if __name__ == "__main__":
    if processors() > 1:  # NumPy's BLAS has already made a thread per processor: start again with one
        use_processors(1)
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.kernels", *sys.argv[1:]], untuned())
    main()
