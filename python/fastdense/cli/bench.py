"""`fastdense bench`: the benchmark suite in a checkout of the repository, elsewhere a short comparison.

`fastdense bench --quick` compares with nothing but the machine itself, everywhere (`quick`).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np

from ..versions import build_config
from . import quick
from .baselines import BASELINES, Baseline, Task, as_rows, write_task
from .demo import three_digits
from .model import make_model

__all__ = ["main"]
ROWS = 12800
ROUNDS = 5
# One net dominated by matrix products, and one dominated by everything else; the suite has many more.
TASKS = (
    Task((784, 128, 10), "crossentropy", "adam", 1e-3, batch_size=128, scale=1.0),
    Task((10, 64, 64, 10), "crossentropy", "adam", 1e-3, batch_size=128, scale=1.0),
)


def compare(task: Task, rows: int, rounds: int) -> dict[str, float]:
    """Seconds per epoch of fastdense and of each installed baseline, on random data.

    Parameters
    ----------
    task : Task
    rows, rounds : int
        One epoch of `rows` rows warms up, then each library in turn trains one epoch, `rounds` times.

    Returns
    -------
    dict
        The median by library.
    """
    random = np.random.RandomState(0)
    x, y = random.standard_normal((rows, task.widths[0])).astype(np.float32), random.randint(0, 10, rows)
    model, data = make_model(task), as_rows(x, task.scale)
    times: dict[str, list[float]] = {"fastdense": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.npz"
        write_task(path, task, (x, y), (x[:1], y[:1]), model.get_weights())
        for name in (name for name in BASELINES if find_spec(name) is not None):
            with Baseline(name, path) as baseline:  # one at a time, so that its threads do not disturb another's
                times[name] = [baseline.epoch().seconds for _ in range(1 + rounds)][1:]
    for _ in range(1 + rounds):
        start = time.perf_counter()
        model.fit(data, y, batch_size=task.batch_size, epochs=1, verbose=0)
        times["fastdense"].append(time.perf_counter() - start)
    del times["fastdense"][0]
    return {name: median(seconds) for name, seconds in times.items()}


def suite(folder: Path) -> Path | None:
    """The checkout that contains `folder`, or None."""
    for parent in (folder, *folder.parents):
        if (parent / "benchmarks" / "cases.py").is_file() and (parent / "python" / "fastdense").is_dir():
            return parent
    return None


def main(arguments: Sequence[str]) -> int:
    """Run the suite with these arguments, or the short comparison, which takes none; with "--quick", neither.

    Returns
    -------
    int
        The exit code.
    """
    if list(arguments) == ["--quick"]:
        return quick.main()
    checkout = suite(Path.cwd())
    if checkout is not None:
        return subprocess.run([sys.executable, "-m", "benchmarks", *arguments], cwd=checkout).returncode
    if arguments:
        print(
            f"fastdense bench: {' '.join(arguments)}: only --quick and the suite's options are known. {HINT}",
            file=sys.stderr,
        )
        return 2
    config = build_config()
    print(f"fastdense {config['version']}, {config['isa']} kernels, {config['threads']} threads; epochs of {ROWS} rows")
    for task in TASKS:
        found = compare(task, ROWS, ROUNDS)
        print(f"\n{' -> '.join(map(str, task.widths))}, Adam, batches of {task.batch_size}")
        for name, seconds in found.items():
            ratio = (
                "" if name == "fastdense" else f"   fastdense is {three_digits(seconds / found['fastdense'])} x as fast"
            )
            print(f"  {name:12}{three_digits(1000 * seconds):>9} ms{ratio}")
    print(f"\n{HINT}")
    return 0


HINT = (
    "`fastdense bench --quick`: this machine against its own limits, for a bug report. The whole suite, with more "
    "libraries and nets: `fastdense bench` in a checkout of the repository."
)
