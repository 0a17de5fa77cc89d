"""Time the cases: one process per library, rounds in turn, a gate on the results, median and spread."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cases import Case, load
from benchmarks.workers import make_model
from fastdense.rivals import Epoch, Rival, untuned, write_task
from fastdense.versions import build_config, package_version, processor_name

LIBRARIES = ("fastdense", "torch", "numpy")
RESULTS = Path(__file__).parent / "results"
Result = dict[str, Any]

SGEMM = """
import time, numpy as np
a = np.random.rand(2048, 2048).astype("f"); b = a.copy(); times = []
for _ in range(8):
    start = time.perf_counter(); a @ b; times.append(time.perf_counter() - start)
print(2 * 2048**3 / sorted(times)[len(times) // 2] / 1e9)
"""


def mad(values: Sequence[float]) -> float:
    """Median absolute deviation."""
    centre = median(values)
    return median([abs(value - centre) for value in values])


def sgemm_gflops() -> float:
    """What NumPy's 2048³ float32 product reaches on all processors, in a process of its own: the machine's ceiling."""
    return float(
        subprocess.run([sys.executable, "-c", SGEMM], check=True, capture_output=True, text=True, env=untuned()).stdout
    )


def run_case(case: Case, libraries: Sequence[str], rounds: int, max_rounds: int, spread: float) -> Result:
    """Time one case. Every library trains one epoch per round, the order changing; the first epoch warms up and is
    the gate. Rounds go on until each library's relative MAD is at most `spread`, or `max_rounds` is reached."""
    data, train, test = load(case.rows)
    times: dict[str, list[float]] = {name: [] for name in libraries}
    losses: dict[str, list[float]] = {name: [] for name in libraries}
    rates = [sgemm_gflops()]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "task.npz"
        write_task(path, case.task, train, test, make_model(case.task).get_weights())
        workers = {name: stack.enter_context(Rival(name, path, "benchmarks.workers")) for name in libraries}
        for number in range(1 + max_rounds):
            turn = number % len(libraries)
            for name in (*libraries[turn:], *libraries[:turn]):
                epoch: Epoch = workers[name].epoch()
                losses[name].append(epoch.loss)
                if number:
                    times[name].append(epoch.seconds)
            if number >= rounds and all(mad(t) <= spread * median(t) for t in times.values()):
                break
    rates.append(sgemm_gflops())
    first = [losses[name][0] for name in libraries]
    difference = max(first) / min(first) - 1
    return {
        "name": case.name,
        "net": list(case.task.widths),
        "training": {key: getattr(case.task, key) for key in ("loss", "optimizer", "learning_rate", "batch_size")},
        "data": data,
        "rows": case.rows,
        "gflop_per_epoch": case.flops / 1e9,
        "sgemm_gflops": max(rates),
        "gate": {"difference": difference, "tolerance": case.tolerance, "passed": difference <= case.tolerance},
        "libraries": {
            name: {
                "median": median(times[name]),
                "mad": mad(times[name]),
                "seconds": times[name],
                "losses": losses[name],
            }
            for name in libraries
        },
    }


def describe() -> Result:
    """Where and when this was measured, without names of machines or folders."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes"),
        "commit": commit,
        "machine": {
            "processor": processor_name(),
            "processors": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "system": platform.system() + " " + platform.release(),
            "load_before": round(os.getloadavg()[0], 2),
        },
        "versions": {
            "python": platform.python_version(),
            "numpy": package_version("numpy"),
            "torch": package_version("torch"),
        },
        "fastdense": build_config(),
    }


def run(cases: Sequence[Case], libraries: Sequence[str], rounds: int, max_rounds: int, spread: float) -> Result:
    """Time the cases and return everything as plain data."""
    result = describe()
    result["cases"] = []
    for case in cases:
        start = time.perf_counter()
        result["cases"].append(run_case(case, libraries, rounds, max_rounds, spread))
        print(f"{case.name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return result


def save(result: Result, name: str | None) -> Path:
    """Write the result as benchmarks/results/NAME.json; without a name, local-DATE.json, which git ignores."""
    path = RESULTS / f"{name or 'local-' + result['date'][:16].replace(':', '')}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return path
