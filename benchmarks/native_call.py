"""One row at a time: the C code of `Model.to_c` beside `predict` and onnxruntime.

    python -m benchmarks.native_call             # writes benchmarks/results/local-DATE-native-call.json

Two nets, 784-128-10 and 10-32-1, each with float32 and with int8 weights, compiled by `cc -O3 -march=native`. The loop
around the C function is in C; those around `predict` and onnxruntime (one thread) are in Python, as they are called.
Before any timing the outputs must be those of `predict`. Rounds alternate; the table gives medians.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import fastdense as fd
from benchmarks.machine import describe
from benchmarks.run import save

NETS: dict[str, tuple[int, int, int, str]] = {"784-128-10": (784, 128, 10, "softmax"), "10-32-1": (10, 32, 1, "linear")}
TOLERANCE = 1e-5  # of outputs of about 1, in float32
SECONDS = 0.05  # least duration of a turn
FLAGS = ["-std=c99", "-O3", "-march=native", "-Wall", "-Werror", "-shared", "-fPIC"]
LOOP = """
#include "{name}.h"
void {name}_row(const float *x, float *y) {{ {name}_predict(x, y); }}
float {name}_many(float *x, float *y, int times) {{
    int i;
    float sum = 0.0f;
    for (i = 0; i < times; i++) {{
        x[0] = (float)(i & 7) * 0.125f;
        {name}_predict(x, y);
        sum += y[0];
    }}
    return sum;
}}
"""
Turn = Callable[[int], object]  # makes so many calls


def model_of(name: str) -> tuple[fd.Model, Any]:
    """A net with initial weights, and rows."""
    inputs, hidden, outputs, last = NETS[name]
    x = np.random.default_rng(0).uniform(size=(500, inputs)).astype(np.float32)
    return fd.Model([fd.Dense(hidden, "relu"), fd.Dense(outputs, last)], inputs=inputs), x


def in_c(model: fd.Model, x: Any, dtype: str, folder: Path) -> tuple[Turn, dict[str, Any]]:
    """Calls of the C code, and what is known of it."""
    options: dict[str, Any] = {"calibration": x} if dtype == "int8" else {}
    made = model.to_c(folder / f"n_{dtype}.h", dtype=dtype, **options)
    name = f"n_{dtype}"
    (folder / f"{name}.c").write_text(LOOP.format(name=name))
    library = folder / f"{name}.so"
    subprocess.run(["cc", *FLAGS, str(folder / f"{name}.c"), "-o", str(library), "-lm"], check=True)
    loaded = ctypes.CDLL(str(library))
    array = np.ctypeslib.ndpointer(np.float32, flags="C_CONTIGUOUS")
    row, many = getattr(loaded, f"{name}_row"), getattr(loaded, f"{name}_many")
    row.argtypes, many.argtypes, many.restype = [array, array], [array, array, ctypes.c_int], ctypes.c_float
    one, y = x[0].copy(), np.zeros(model.outputs, np.float32)
    row(one, y)
    apart = float(np.abs(y - model.predict(x[:1])[0]).max())
    if apart > (TOLERANCE if made.error is None else 1.1 * made.error + TOLERANCE):
        raise SystemExit(f"{dtype}: outputs differ by {apart:.2g}")
    known = {"weight_bytes": made.weight_bytes, "scratch_bytes": made.scratch_bytes, "difference": apart,
             "error": made.error, "same_class": made.same_class}  # fmt: skip
    return lambda times: many(one, y, times), known


def turns(name: str, folder: Path) -> tuple[dict[str, Turn], dict[str, dict[str, Any]]]:
    """What is measured of a net."""
    model, x = model_of(name)
    found: dict[str, Turn] = {}
    known: dict[str, dict[str, Any]] = {}
    for dtype in ("float32", "int8"):
        found[f"C, {dtype}"], known[f"C, {dtype}"] = in_c(model, x, dtype, folder)
    one = x[:1]
    found["predict"] = lambda times: [model.predict(one) for _ in range(times)]
    if find_spec("onnxruntime") is not None and find_spec("onnx_ir") is not None:
        import onnxruntime

        model.to_onnx(folder / "net.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(folder / "net.onnx"), options, ["CPUExecutionProvider"])
        if np.abs(session.run(None, {"x": one})[0] - model.predict(one)).max() > TOLERANCE:
            raise SystemExit("onnxruntime: outputs differ")
        found["onnxruntime"] = lambda times: [session.run(None, {"x": one}) for _ in range(times)]
    return found, known


def seconds_per_call(turn: Turn, times: int) -> float:
    """The time of a turn, divided by its calls."""
    start = time.perf_counter()
    turn(times)
    return (time.perf_counter() - start) / times


def measure(name: str, rounds: int) -> list[dict[str, Any]]:
    """Seconds for one row, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        found, known = turns(name, Path(folder))
        counts: dict[str, int] = {}
        for title, turn in found.items():
            seconds_per_call(turn, 10)
            counts[title] = max(10, int(SECONDS / max(seconds_per_call(turn, 100), 1e-9)))
        times: dict[str, list[float]] = {title: [] for title in found}
        for _ in range(rounds):
            for title, turn in found.items():
                times[title].append(seconds_per_call(turn, counts[title]))
    return [{"net": name, "by": title, "seconds": median(one), "all": one, **known.get(title, {})}
            for title, one in times.items()]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and write a result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args(arguments).rounds
    cases = [case for name in NETS for case in measure(name, rounds)]
    print(f"{'net':<12}{'by':<14}{'µs a row':>10}{'constants, kB':>16}")
    for case in cases:
        size = f"{case['weight_bytes'] / 1000:.1f}" if "weight_bytes" in case else ""
        print(f"{case['net']:<12}{case['by']:<14}{1e6 * case['seconds']:>10.3f}{size:>16}")
    save({**describe(), "cases": cases}, None, "-native-call")
    return 0


if __name__ == "__main__":
    sys.exit(main())
