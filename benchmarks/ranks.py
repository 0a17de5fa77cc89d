"""Several processes that train one net together (`fit(comm=...)`), against one process with all rows.

    python -m benchmarks.ranks                   # writes benchmarks/results/local-ranks.json
    python -m benchmarks.ranks --rate 1gbit      # over a network of that speed (Linux, as root, with iproute2)

Two processes with one thread each (mpiexec of the package mpich, which must be installed beside mpi4py) alternate with
one process with one thread; each round is a new start of both. A case counts if both end with the same loss, within
the rounding of float32. Beside the times it measures what an exchange of gradients costs, by size, and compares the
measured speedup with the model of docs/scaling.md from these measured constants.

With --rate the two processes are in network namespaces of their own, between which the kernel's token bucket (tbf)
limits the rate, and exchange numbers by TCP: through Gloo, which comes with PyTorch.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
MPIEXEC = Path(sys.prefix) / "bin" / "mpiexec"
NAMESPACES = ("fastdense-a", "fastdense-b")
ADDRESS = "10.254.0.{}"
SIZES = (1, 1000, 10_000, 100_000, 1_000_000, 2_500_000, 10_000_000)  # numbers of an exchange, float32
ROUNDING = 1e-4  # of the losses, relative: the sums of both are in another order, in float32


@dataclass(frozen=True)
class Case:
    """A net, the rows of all processes, and those of a step of each; 0: a full-batch solver."""

    name: str
    widths: tuple[int, ...]
    rows: int
    batch: int
    epochs: int
    goal: float


CASES = (
    Case("lbfgs-400000x784", (784, 128, 10), 400_000, 0, 4, 1.7),
    Case("784x4-batch-1024", (784, 784, 784, 784, 784), 16_384, 1024, 3, 1.6),
    Case("784x4-batch-256", (784, 784, 784, 784, 784), 8_192, 256, 3, 0.0),
    Case("784-128-10-batch-1024", (784, 128, 10), 65_536, 1024, 3, 0.0),
)


def model(case: Case) -> Any:
    import fastdense as fd

    layers = [fd.Dense(width, "relu") for width in case.widths[1:-1]]
    made = fd.Model([*layers, fd.Dense(case.widths[-1])], inputs=case.widths[0], seed=1)
    made.compile("adam" if case.batch else "lbfgs", "mse")
    return made


def data(case: Case, rank: int, size: int) -> tuple[Any, Any]:
    """The rows of a rank. Those of all ranks are the same however many there are, and in the order of their steps."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((case.rows, case.widths[0]), dtype=np.float32)
    y = np.tanh(x[:, : case.widths[-1]])
    if not case.batch:
        return x[rank::size], y[rank::size]
    step = 2 * case.batch  # of two ranks, or of one alone
    part = step // size
    rows = np.arange(case.rows).reshape(-1, step)[:, rank * part : (rank + 1) * part].ravel()
    return x[rows], y[rows]


class Gloo:
    """The adapter of docs/cluster.md: a communicator over torch.distributed."""

    def __init__(self, rank: int, address: str) -> None:
        import torch
        import torch.distributed as dist

        dist.init_process_group("gloo", init_method=f"tcp://{address}", rank=rank, world_size=2)
        self._torch, self._dist = torch, dist

    def Get_rank(self) -> int:
        return int(self._dist.get_rank())

    def Get_size(self) -> int:
        return int(self._dist.get_world_size())

    def Allreduce(self, send: Any, receive: Any) -> None:
        receive[...] = send
        self._dist.all_reduce(self._torch.from_numpy(receive))

    def close(self) -> None:
        self._dist.destroy_process_group()


def worker(case: Case | None, comm: Any) -> dict[str, Any]:
    """On each process: the time of a training, or of exchanges where there is no case."""
    import fastdense as fd
    from fastdense.training.ranks import Ranks

    rank, size = comm.Get_rank(), comm.Get_size()
    if case is None:
        ranks, found = Ranks("benchmark", comm), {}
        for n in SIZES:
            numbers, times = np.ones(n, np.float32), []
            for _ in range(max(5, min(200, 10_000_000 // n))):
                began = time.perf_counter()
                ranks.sum(numbers, 0.5)
                times.append(time.perf_counter() - began)
            found[n] = median(times)
        return {"exchange": found}
    x, y = data(case, rank, size)
    net = model(case)
    batch = case.batch * 2 // size if case.batch else None
    arguments: dict[str, Any] = {"batch_size": batch, "shuffle": False, "verbose": 0, "n_threads": 1}
    if size > 1:
        arguments["comm"] = fd.DataParallel(comm, force=True)
    net.fit(x, y, epochs=1, **arguments)
    began = time.perf_counter()
    history = net.fit(x, y, epochs=case.epochs, **arguments)
    return {"seconds": time.perf_counter() - began, "steps": net.step, "loss": history.history["loss"][-1]}


def launched(name: str, size: int, shaped: bool) -> dict[str, Any]:
    """What rank 0 of a new start prints."""
    own = [sys.executable, "-m", "benchmarks.ranks", "--worker", name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "ranks"}
    if shaped and size > 1:
        commands = [["ip", "netns", "exec", space, *own, "--gloo", str(k)] for k, space in enumerate(NAMESPACES)]
    else:
        commands = [[str(MPIEXEC), "-n", str(size), *own]]
    started = [subprocess.Popen(one, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
               for one in commands]  # fmt: skip
    printed = [one.communicate(timeout=600)[0] for one in started]
    if any(one.returncode for one in started):
        raise RuntimeError("".join(printed))
    found: dict[str, Any] = json.loads(next(line for line in printed[0].splitlines() if line.startswith("{")))
    return found


@contextmanager
def network(rate: str | None) -> Iterator[None]:
    """Two network namespaces, joined by a link of this rate."""
    if rate is None:
        yield
        return

    def ip(*words: str, inside: str | None = None, tool: str = "ip") -> None:
        subprocess.run([*(["ip", "netns", "exec", inside] if inside else []), tool, *words], check=True)

    try:
        for space in NAMESPACES:
            ip("netns", "add", space)
        ip(
            "link",
            "add",
            "ranks",
            "netns",
            NAMESPACES[0],
            "type",
            "veth",
            "peer",
            "name",
            "ranks",
            "netns",
            NAMESPACES[1],
        )
        for number, space in enumerate(NAMESPACES, 1):
            ip("addr", "add", f"{ADDRESS.format(number)}/24", "dev", "ranks", inside=space)
            ip("link", "set", "ranks", "up", inside=space)
            ip("link", "set", "lo", "up", inside=space)
            ip("qdisc", "add", "dev", "ranks", "root", "tbf", "rate", rate, "burst", "256kb", "latency", "100ms",
               inside=space, tool="tc")  # fmt: skip
        yield
    finally:
        for space in NAMESPACES:
            subprocess.run(["ip", "netns", "delete", space], check=False)


def fitted(exchange: dict[str, float]) -> tuple[float, float]:
    """Seconds of an exchange without numbers, and bytes a second of a large one, from the measured times."""
    times = {int(n): seconds for n, seconds in exchange.items()}
    latency, most = times[SIZES[0]], SIZES[-1]
    return latency, 4 * most / (times[most] - latency)


def measure(rounds: int, names: list[str], rate: str | None) -> dict[str, Any]:
    shaped = rate is not None
    with network(rate):
        exchange = launched("exchange", 2, shaped)["exchange"]
        latency, bandwidth = fitted(exchange)
        print(f"exchange: {latency * 1e6:.0f} us and {bandwidth / 1e9:.2f} GB/s of summed gradients")
        cases: dict[str, Any] = {}
        for case in CASES:
            if names and case.name not in names:
                continue
            times: dict[int, list[float]] = {1: [], 2: []}
            losses: dict[int, float] = {}
            steps = 0
            for _ in range(rounds):
                for size in (1, 2):
                    found = launched(case.name, size, shaped)
                    times[size].append(found["seconds"])
                    losses[size], steps = found["loss"], found["steps"]
            if abs(losses[1] - losses[2]) > ROUNDING * abs(losses[1]):
                raise RuntimeError(f"{case.name}: the losses are {losses[1]} and {losses[2]}")
            parameters = sum((n + 1) * m for n, m in zip(case.widths, case.widths[1:], strict=False))
            sums = case.epochs * (case.rows // (2 * case.batch) if case.batch else 1)
            alone, two = median(times[1]), median(times[2])
            each = latency + (4 if case.batch else 8) * parameters / bandwidth
            predicted = alone / (alone / 2 + sums * each)
            cases[case.name] = {
                "one": times[1], "two": times[2], "speedup": alone / two, "predicted": predicted, "goal": case.goal,
                "losses": [losses[1], losses[2]], "steps": steps,
                "flops": 6 * parameters * case.rows * case.epochs / alone,
            }  # fmt: skip
            spread = max((max(t) - min(t)) / median(t) for t in times.values())
            goal = f", goal {case.goal}" if case.goal else ""
            print(f"{case.name:24} one {alone:6.2f} s, two {two:6.2f} s: {alone / two:.2f} times as fast{goal}; "
                  f"the model says {predicted:.2f} (spread {spread:.0%})")  # fmt: skip
    return {"rate": rate, "exchange": exchange, "latency": latency, "bandwidth": bandwidth, "cases": cases}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("case", nargs="*", help="; ".join(case.name for case in CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", help="of a network between the two, as tc writes it: 1gbit, 10gbit")
    parser.add_argument("--name", default="local", help="of the file of results")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--gloo", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        if given.gloo is None:
            from mpi4py import MPI

            comm: Any = MPI.COMM_WORLD
        else:
            comm = Gloo(given.gloo, f"{ADDRESS.format(1)}:29500")
        found = worker(next((case for case in CASES if case.name == given.worker), None), comm)
        if comm.Get_rank() == 0:
            print(json.dumps(found))
        if isinstance(comm, Gloo):
            comm.close()
        return 0
    from benchmarks.machine import describe

    result = measure(given.rounds, given.case, given.rate)
    path = RESULTS / f"{given.name}-ranks{'-' + given.rate if given.rate else ''}.json"
    path.write_text(json.dumps({"machine": describe(), **result}, indent=1) + "\n")
    print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
