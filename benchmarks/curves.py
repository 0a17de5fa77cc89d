"""How cost grows with width, batch, depth and rows: no cliff may hide between two sizes.

A net 144 times as slow as its narrower neighbour was seen elsewhere (PyTorch's issue 144633, widths 45 and 46).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.cases import Case, load
from benchmarks.machine import describe, processors, use_processors
from benchmarks.run import epochs_per_turn
from benchmarks.workers import Worker
from fastdense.cli.baselines import Task, write_task
from fastdense.cli.model import make_model

Result = dict[str, Any]
CLIFF = 1.3  # time per FLOP may rise so much between neighbouring widths up to CLIFF_WIDTH
CLIFF_WIDTH = 1024
ROUNDS = 3


def _task(batch_size: int, *widths: int) -> Task:
    return Task(widths, "crossentropy", "adam", 1e-3, batch_size, scale=1.0)


def _case(rows: int, batch_size: int, *widths: int) -> Case:
    return Case("", _task(batch_size, *widths), {}, f"normal{widths[0]}", rows)


def _steps(width: int) -> int:
    """Enough of them for a steady time, few where each is long."""
    return max(4, min(100, 10**8 // width**2 // 8))


# What varies, over which values, and the net for each.
CURVES: dict[str, tuple[str, Sequence[int], Callable[[int], Case]]] = {
    "width": (
        "10 → w → w → 10, batch 128",
        [round(8 * 2 ** (i / 2)) for i in range(19)],
        lambda w: _case(128 * _steps(w), 128, 10, w, w, 10),
    ),
    "batch": (
        "256 → 256 → 256 → 10, 16384 rows",
        [2**i for i in range(14)],
        lambda b: _case(min(16384, 2048 * b), b, 256, 256, 256, 10),
    ),
    "depth": (
        "128 → 128 → ... → 10, batch 128",
        [1, 2, 3, 4, 6, 8, 12, 16],
        lambda d: _case(6400, 128, *[128] * d, 10),
    ),
    "rows": (
        "10 → 64 → 10, batch 128",
        [1000, 3000, 10000, 30000, 100000, 300000, 1000000],
        lambda n: _case(n, 128, 10, 64, 10),
    ),
}


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Processes that start here may use so many processors."""
    before = os.sched_getaffinity(0)
    use_processors(count)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(case: Case, library: str, count: int, turn: float) -> float:
    """Seconds of an epoch in a process of its own: the best of a few turns, so that a disturbed one has no effect."""
    _, data = load(case.data, case.rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.npz"
        write_task(path, case.task, data, (data[0][:1], data[1][:1]), make_model(case.task).get_weights())
        with threads(count):
            process = Worker(library, path)
        with process as worker:
            if (reason := worker.start()) is not None:
                raise RuntimeError(f"{library}: {reason}")
            _, epochs = epochs_per_turn(worker, 1, turn)
            return min(worker.train(epochs)["seconds"] / epochs for _ in range(ROUNDS))


def rise(line: Result) -> tuple[float, int]:
    """The largest rise of the time per FLOP from one value to the next, and the value that it leads to."""
    points = line["points"]
    rises = [(b["seconds_per_flop"] / a["seconds_per_flop"], b["value"]) for a, b in zip(points, points[1:])]  # noqa: B905
    return max(rises, default=(1.0, points[0]["value"]))


def run(names: Sequence[str], libraries: Sequence[str], turn: float, most: int | None = None) -> Result:
    """Measure the curves on one thread and on all (values up to `most`) and return everything as plain data."""
    result = describe()
    result["curves"] = []
    for name in names:
        net, values, make = CURVES[name]
        values = [value for value in values if most is None or value <= most]
        lines = []
        for library in libraries:
            for count in sorted({1, processors()}):
                points = []
                for value in values:
                    case = make(value)
                    seconds = measure(case, library, count, turn)
                    points.append({"value": value, "seconds": seconds, "seconds_per_flop": seconds / case.flops})
                lines.append({"library": library, "threads": count, "points": points})
                print(f"{name}, {library}, {count} thread(s): done", file=sys.stderr, flush=True)
        result["curves"].append({"name": name, "net": net, "lines": lines})
    return result


def text(result: Result) -> str:
    """Tables for a terminal, with the largest rise of each line."""
    out: list[str] = []
    for curve in result["curves"]:
        heads = [f"{line['library']}/{line['threads']}" for line in curve["lines"]]
        out += ["", f"{curve['name']}: {curve['net']}; GFLOP/s (library/threads)"]
        out.append(f"{curve['name']:>8} " + " ".join(f"{head:>14}" for head in heads))
        for points in zip(*(line["points"] for line in curve["lines"]), strict=True):
            cells = " ".join(f"{1e-9 / point['seconds_per_flop']:14.2f}" for point in points)
            out.append(f"{points[0]['value']:8} {cells}")
        if curve["name"] == "width":
            for head, line in zip(heads, curve["lines"], strict=True):
                factor, value = rise({"points": [p for p in line["points"] if p["value"] <= CLIFF_WIDTH]})
                verdict = f"no cliff: <= {CLIFF}" if factor <= CLIFF else f"CLIFF: more than {CLIFF}"
                out.append(f"{head}: time per FLOP rises by at most {factor:.2f} x, at {value} ({verdict})")
    return "\n".join(out[1:])
