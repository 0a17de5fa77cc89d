"""How four jobs scale to many workers, by the model of docs/scaling.md: `python -m benchmarks.scaling`.

The rates of this machine are read from what benchmarks.ranks and benchmarks.cluster have measured; those of networks
are given below. Prints the tables of docs/scaling.md.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from fastdense.training.ranks import exchange_seconds

RESULTS = Path(__file__).parent / "results"
WORKERS = (1, 8, 32, 128, 512, 1024)
FLOPS_OF_A_ROW = 6  # for each parameter: forward, backward and gradient, a multiplication and an addition each


@dataclass(frozen=True)
class Network:
    name: str
    latency: float  # seconds of a message
    bandwidth: float  # bytes a second, of a worker


NETWORKS = (Network("10 Gbit/s Ethernet", 5e-5, 1.1e9), Network("100 Gbit/s InfiniBand", 2e-6, 1.1e10))


def tasks(workers: int, seconds: float, pieces: int, size: float, network: Network, task: float) -> float:
    """Seconds of independent pieces of work: the data go to each worker once, and each group of pieces is a task.

    `task`: seconds of the one process that submits and collects, for each. Data go on from worker to worker, as in
    Dask's broadcast: their time grows with the doublings.
    """
    sent = size / network.bandwidth * math.ceil(math.log2(workers + 1))
    return sent + task * min(workers, pieces) + seconds / pieces * math.ceil(pieces / workers)


def table(network: Network, flops: float, task: float) -> list[list[str]]:
    """A row for each number of workers: times as fast as one, for each job."""
    wide, narrow = 784 * 784 * 4 + 784 * 4, 785 * 128 + 129 * 10

    def study(workers: int) -> float:  # 10 000 starts of a net of 10-64-64-10, 10 000 rows, 100 epochs
        seconds = 10_000 * FLOPS_OF_A_ROW * (11 * 64 + 65 * 64 + 65 * 10) * 10_000 * 100 / flops
        return tasks(workers, seconds, 10_000 // 16, 10_000 * 80, network, task)

    def settings(workers: int) -> float:  # 200 settings x 5 folds of 784-128-10, 60 000 rows, 20 epochs
        seconds = 1000 * FLOPS_OF_A_ROW * narrow * 48_000 * 20 / flops
        return tasks(workers, seconds, 1000, 60_000 * 785 * 4, network, task)

    def full_batch(workers: int) -> float:  # an evaluation of 10**8 rows
        return FLOPS_OF_A_ROW * narrow * 1e8 / workers / flops + exchange_seconds(
            workers, 8 * narrow, network.latency, network.bandwidth
        )

    def batches(workers: int) -> float:  # a row of 784 x 4, at 1024 rows of each worker
        step = FLOPS_OF_A_ROW * wide * 1024 / flops
        step += exchange_seconds(workers, 4 * wide, network.latency, network.bandwidth)
        return step / (1024 * workers)

    jobs = (study, settings, full_batch, batches)
    return [[str(n), *(f"{job(1) / job(n):.4g} ({job(1) / job(n) / n:.0%})" for job in jobs)] for n in WORKERS]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--name", default="local", help="of the files of results")
    given = parser.parse_args()
    ranks = json.loads((RESULTS / f"{given.name}-ranks.json").read_text())
    flops = min(case["flops"] for case in ranks["cases"].values())
    task = 0.02  # benchmarks.cluster: a study in one group on a Dask worker, beside one process
    print(f"{flops / 1e9:.0f} GFLOP/s of a worker, {task * 1e3:.0f} ms of a task\n")
    for network in NETWORKS:
        print(f"**{network.name}** ({network.latency * 1e6:.0f} us, {network.bandwidth / 1e9:.1f} GB/s)\n")
        print("| workers | 10 000 starts | 200 settings x 5 folds | LBFGS, 1e8 rows | 784x4, batches of 1024 |")
        print("|---:|---:|---:|---:|---:|")
        for row in table(network, flops, task):
            print(f"| {' | '.join(row)} |")
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
