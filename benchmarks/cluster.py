"""A study on one and on two Dask workers with one thread each, and in one process with as many threads.

    python -m benchmarks.cluster                      # 1000 starts of 10 -> 24 -> 24 -> 1, 2000 rows
    python -m benchmarks.cluster --starts 200 --epochs 20 --rounds 3

The four take turns. All weights must have the same bits, or nothing is reported. The table has medians of the wall
time, and of the ratio to one worker in the same round.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np
from dask.distributed import Client, LocalCluster

import fastdense as fd

INPUTS = 10


@contextmanager
def cluster(workers: int) -> Iterator[Client]:
    options = {"n_workers": workers, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with LocalCluster(**options) as made, Client(made) as client:
        yield client


def data(rows: int) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, INPUTS)).astype(np.float32)
    noise = 0.1 * random.normal(size=(rows, 1))
    return x, (np.sin(2 * x[:, :1]) * x[:, 1:2] + noise).astype(np.float32)


def measure(one: Client, two: Client, starts: int, rows: int, epochs: int, rounds: int) -> dict[str, list[float]]:
    """Wall seconds of each way, in each round."""
    x, y = data(rows)
    model = fd.Model([fd.Dense(24, "tanh"), fd.Dense(24, "tanh"), fd.Dense(1)], inputs=INPUTS)
    model.compile(fd.Adam(0.003), "mse")
    ways: dict[str, dict[str, Any]] = {
        "1 worker": {"executor": one},
        "2 workers": {"executor": two},
        "1 thread": {"n_threads": 1},
        "2 threads": {"n_threads": 2},
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    expected = None
    for turn in range(rounds + 1):  # the first one starts everything up
        for way, options in ways.items():
            began = time.perf_counter()
            population = fd.fit_many(model, x, y, starts=starts, epochs=epochs, verbose=0, **options)
            found[way] += [time.perf_counter() - began] * (turn > 0)
            weights = [tensor.tobytes() for tensor in population.weights]
            expected = expected or weights
            assert weights == expected, f"{way}: other weights than {next(iter(ways))}"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with cluster(1) as one, cluster(2) as two:
        found = measure(one, two, asked.starts, asked.rows, asked.epochs, asked.rounds)
    for way, seconds in found.items():
        ratio = median(alone / own for alone, own in zip(found["1 worker"], seconds, strict=True))
        print(f"{way:12}{median(seconds):8.2f} s   {ratio:5.2f} times as fast as one worker")


if __name__ == "__main__":
    main()
