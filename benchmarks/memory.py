"""`python -m benchmarks.memory`: how much memory training takes beyond the data, each run in a process of its own."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import fastdense as fd
from benchmarks.cases import load
from benchmarks.machine import describe
from benchmarks.run import RESULTS, Result, save

MB = 1e6
GOAL_ABOVE_DATA = 200.0  # MB, everything counted: interpreter, NumPy, code, net
GOAL_GROWTH = 16.0  # MB: what a hundred times the rows may add, a fraction of any array with one number per row
COLUMNS = 8


def status(process: int | str, field: str) -> float:
    """A field of /proc/PID/status in MB, 0 if the process is gone."""
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return int(found[1]) * 1024 / MB if found else 0.0


def train_images(path: str) -> float:
    """Be the process that trains four layers to give back what they get, from uint8; the peak of its memory."""
    x = np.load(path)
    model = fd.Model([fd.Dense(784, activation="relu") for _ in range(4)], inputs=784, seed=0)
    model.compile("rmsprop", "mse")
    model.fit(x, x, batch_size=128, epochs=1, verbose=0)
    return status("self", "VmHWM")


def train_map(path: str, rows: int) -> float:
    """Be the process that trains over a memory-mapped file of so many rows."""
    x = np.memmap(path, np.float32, "r", shape=(rows, COLUMNS))
    model = fd.Model([fd.Dense(16, activation="relu"), fd.Dense(1)], inputs=COLUMNS, seed=0)
    model.compile("adam", "mse")
    model.fit(x, x[:, :1], batch_size=1024, epochs=1, verbose=0)
    return status("self", "VmHWM")


def child(*arguments: str) -> tuple[float, float]:
    """Run one of the above; gives its peak, and the peak of what is not a page of a mapped file, both in MB.

    Pages of the file count as the process's as long as no process needs the memory; they can go at any time.
    """
    command = [sys.executable, "-m", "benchmarks.memory", "--child", *arguments]
    anonymous = 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            anonymous = max(anonymous, status(process.pid, "RssAnon"))
            time.sleep(0.01)
        assert process.stdout is not None
        peak = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"the process ended with exit code {process.returncode}; see its error above")
    return float(json.loads(peak)), anonymous


def images(rows: int) -> dict[str, Any]:
    """MNIST as uint8 through the four-layer net."""
    title, (x, _) = load("mnist", rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        np.save(path, x.reshape(len(x), -1))
        peak, _ = child("images", str(path))
    data = x.nbytes / MB
    return {"data": title, "rows": len(x), "data_mb": data, "peak_mb": peak, "above_data_mb": peak - data}


def mapped(rows: int) -> dict[str, Any]:
    """The same net over a file and over one of a hundredth of its rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        with path.open("wb") as file:
            file.truncate(rows * COLUMNS * 4)  # a hole: it takes no room on the disk
        few, many = (child("map", str(path), str(n))[1] for n in (rows // 100, rows))
    return {"rows": rows, "file_mb": rows * COLUMNS * 4 / MB, "few_mb": few, "many_mb": many, "growth_mb": many - few}


def text(result: Result) -> str:
    """What was found, and whether it is good enough."""
    images, mapped = result["images"], result["mapped"]

    def verdict(value: float, goal: float) -> str:
        return f"goal <= {goal:.0f} MB: {'reached' if value <= goal else 'MISSED'}"

    return (
        f"784, 4 layers, {images['rows']} rows of uint8 ({images['data_mb']:.0f} MB): peak {images['peak_mb']:.0f} MB, "
        f"{images['above_data_mb']:.0f} MB above the data ({verdict(images['above_data_mb'], GOAL_ABOVE_DATA)})\n"
        f"memory map of {mapped['rows']} rows ({mapped['file_mb']:.0f} MB): {mapped['many_mb']:.0f} MB of its own, "
        f"{mapped['growth_mb']:.1f} MB more than with a hundredth of the rows "
        f"({verdict(mapped['growth_mb'], GOAL_GROWTH)})"
    )


def main() -> None:
    """Measure both, print and write results/NAME-memory.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description="Memory beyond the data.")
    parser.add_argument("--images", type=int, default=60000, help="rows of MNIST (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the memory map (default: %(default)s)")
    parser.add_argument("--name", help="write benchmarks/results/NAME-memory.json, to be committed")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, path, *rows = options.child
        print(json.dumps(train_images(path) if what == "images" else train_map(path, int(rows[0]))))
        return
    result = describe()
    result.update(images=images(options.images), mapped=mapped(options.rows))
    print(text(result))
    print(f"written to {save(result, options.name, '-memory').relative_to(RESULTS.parents[1])}")


if __name__ == "__main__":
    main()
