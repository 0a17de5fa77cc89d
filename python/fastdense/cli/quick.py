"""`fastdense bench --quick`: in a minute, how far nets are from the limits of this machine; for a bug report."""

from __future__ import annotations

import os
import time
from statistics import median
from typing import Any

import numpy as np

from ..versions import build_config, processor_name
from .baselines import Task
from .demo import three_digits
from .limits import Rates, limit_of_epoch, measure_rates, row_flops
from .model import make_model

__all__ = ["TASKS", "as_report", "main", "measure_machine"]
ROWS = 12800
SECONDS = 3.0  # of a net
BUSY = 0.5  # load above which nothing can be concluded
BUSY_NOTE = "The machine was busy: these times mean little. Run it again when no other program runs."
TASKS = (
    Task((784, 784), "mse", "rmsprop", 1e-3, 128, 1.0, output="relu"),
    Task((784, 128, 10), "crossentropy", "adam", 1e-3, 128, 1.0),
    Task((784, 512, 256, 10), "crossentropy", "adam", 1e-3, 128, 1.0),
    Task((400, 25, 10), "crossentropy", "sgd", 0.5, 5000, 1.0, hidden="sigmoid"),
    Task((10, 32, 32, 10), "crossentropy", "adam", 1e-3, 128, 1.0),
    Task((10, 64, 64, 10), "crossentropy", "adam", 1e-3, 128, 1.0),
    Task((10, 256, 256, 10), "crossentropy", "adam", 1e-3, 128, 1.0),
    Task((2, 3, 1), "mse", "adam", 1e-3, 32, 1.0),
)


def _epochs(task: Task, rows: int, seconds: float) -> list[float]:
    """Seconds of each epoch on random data, as many as fit into `seconds`, three at least, after one to warm up."""
    random = np.random.RandomState(0)
    x = random.standard_normal((rows, task.widths[0])).astype(np.float32)
    y = random.randint(0, task.widths[-1], rows) if task.loss == "crossentropy" else x[:, : task.widths[-1]]
    model, found = make_model(task), list[float]()
    fit: dict[str, Any] = {"batch_size": task.batch_size, "shuffle": task.batch_size < rows, "verbose": 0}
    several = max(1, int(2e5 / (rows * max(1, row_flops(task) / 1e3))))  # a call of a tiny net has many epochs
    model.fit(x, y, epochs=several, **fit)
    end = time.perf_counter() + seconds
    while len(found) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        model.fit(x, y, epochs=several, **fit)
        found.append((time.perf_counter() - start) / several)
    return found


def measure_machine(tasks: tuple[Task, ...] = TASKS, rows: int = ROWS, seconds: float = SECONDS) -> dict[str, Any]:
    """Measure the machine's rates, then the nets.

    Returns
    -------
    dict
        "config", "processor", "load", "rates" (`Rates`), and "nets": a dict each with "task", "rows", "best" and
        "median" seconds of an epoch, "of_sgemm" and "of_limit", as fractions.
    """
    config, load = build_config(), os.getloadavg()[0]
    threads = int(config["threads"])
    rates = measure_rates(tasks, ["float32"], threads, min(0.1, seconds / 10))
    nets = []
    for task in tasks:
        count = task.batch_size if task.batch_size > 1000 else rows
        found = _epochs(task, count, seconds)
        floor, least = limit_of_epoch(task, count, "float32", rates, threads), min(found)
        share = count * row_flops(task) / least / max(rates.products.values()) / 1e9
        nets.append(
            {
                "task": task,
                "rows": count,
                "best": least,
                "median": median(found),
                "of_sgemm": share,
                "of_limit": floor / least,
            }
        )
    return {"config": config, "processor": processor_name(), "load": load, "rates": rates, "nets": nets}


def as_report(result: dict[str, Any]) -> str:
    """A table for a terminal or a bug report."""
    config, rates = result["config"], result["rates"]
    assert isinstance(rates, Rates)
    lines = [
        f"fastdense {config['version']}, {config['isa']} kernels, {config['threads']} threads, {result['processor']}, "
        f"load {result['load']:.1f}",
        "large products: "
        + ", ".join(f"{rate:.0f} GFLOP/s with {team}" for team, rate in sorted(rates.products.items())),
        "of an element, beyond reading and writing it: "
        + ", ".join(f"{name} {nanoseconds:.2f} ns" for name, nanoseconds in rates.value.items()),
        "",
        f"{'net':22} {'training':24} {'an epoch':>10} {'median':>8} {'of sgemm':>9} {'of the limit':>13}",
    ]
    for net in result["nets"]:
        task = net["task"]
        training = f"{task.optimizer}, batch {task.batch_size}"
        lines.append(
            f"{' → '.join(map(str, task.widths)):22} {training:24} {three_digits(1000 * net['best']):>7} ms "
            f"{100 * (net['median'] / net['best'] - 1):>+6.0f} % {100 * net['of_sgemm']:>7.0f} % "
            f"{100 * net['of_limit']:>11.0f} %"
        )
    if result["load"] > BUSY:
        lines += [
            "",
            BUSY_NOTE,
        ]
    lines += [
        "",
        "an epoch: the fastest; median: how much longer the median is, large where other programs ran.",
        "of sgemm: of the rate of a large product on all threads; of the limit: the time that products at that rate",
        "and each element-wise function and update as one kernel call would take, over the time of the epoch.",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure and print."""
    print(as_report(measure_machine()))
    return 0
