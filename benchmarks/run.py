"""Time the cases: one process per library, alternating rounds, a gate on the results, median and spread."""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from benchmarks.cases import EVERYWHERE, Case, load
from benchmarks.machine import describe, processors, sgemm_gflops
from benchmarks.workers import Worker
from fastdense.cli import limits
from fastdense.cli.baselines import write_task
from fastdense.cli.model import make_model

LIBRARIES = (*EVERYWHERE, "keras", "sklearn", "onnxruntime")
RESULTS = Path(__file__).parent / "results"
Result = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    `rounds` is the least number of rounds; then they go on until every library's relative MAD is at most `spread`, or
    there were `most`, or the case took `seconds`. A turn lasts at least `turn` seconds, as many epochs as that needs.
    """

    rounds: int = 5
    most: int = 9
    seconds: float = 40.0
    spread: float = 0.02
    turn: float = 0.2
    rounds_without_goal: int = 3  # rounds of those libraries that a case has no goal for


class Trains(Protocol):
    """What is timed: a process, or one of several libraries in it."""

    def train(self, epochs: int, /) -> Result: ...


def mad(values: Sequence[float]) -> float:
    """Median absolute deviation."""
    centre = median(values)
    return median([abs(value - centre) for value in values])


def epochs_per_turn(worker: Trains, epochs: int, least: float) -> tuple[Result, int]:
    """Train `epochs` epochs, then more and more until they last `least` seconds.

    The second of two equal calls counts, since the first may compile; where it took long anyway, there is no need.
    Gives the answer to the very first call, too.
    """
    first = worker.train(epochs)
    if first["seconds"] > 20 * least:
        return first, epochs
    while (seconds := worker.train(epochs)["seconds"]) < 0.9 * least:
        epochs = min(math.ceil(1.1 * epochs * least / seconds), 30 * epochs)
        worker.train(epochs)
    return first, epochs


def gate(case: Case, losses: Mapping[str, Sequence[float]]) -> Result:
    """Largest relative difference of the libraries' losses in the first epochs."""
    epochs = list(zip(*losses.values(), strict=True))
    difference = max(max(epoch) / min(epoch) - 1 for epoch in epochs)
    learned = all(math.isfinite(value) for epoch in epochs for value in epoch)
    return {
        "epochs": len(epochs),
        "difference": difference if learned else None,
        "tolerance": case.tolerance,
        "passed": learned and difference <= case.tolerance,
    }


def about(case: Case, title: str) -> Result:
    """What a case is, on data of this title."""
    return {
        "name": case.name,
        "kind": case.kind,
        "net": list(case.task.widths),
        "training": {
            key: getattr(case.task, key)
            for key in ("loss", "optimizer", "learning_rate", "batch_size", "dtype", "hidden")
        },
        "data": title,
        "rows": case.rows,
        "goals": dict(case.goals),
        "gflop_per_epoch": case.flops / 1e9,
        "unavailable": {},
    }


def summaries(
    times: Mapping[str, Sequence[float]], epochs: Mapping[str, int], losses: Mapping[str, Sequence[float]]
) -> dict[str, Result]:
    """What was measured of each library, seconds being those of an epoch."""
    return {
        name: {
            "median": median(seconds),
            "mad": mad(seconds),
            "epochs_per_turn": epochs[name],
            "seconds": seconds,
            "losses": losses[name],
        }
        for name, seconds in times.items()
    }


def run_case(case: Case, libraries: Sequence[str], plan: Plan, rates: limits.Rates | None = None) -> Result:
    """Time one case, and compute its limit from these rates.

    In every round each library trains for one turn from the initial weights, in changing order.
    """
    title, (x, y) = load(case.data, case.rows)
    result = about(case, title)
    if rates is not None and has_limit(case):
        seconds = limits.limit_of_epoch(case.task, case.rows, str(x.dtype), rates, processors())
        result["limit"] = {"seconds": seconds, "goal": case.of_limit.get(rates.isa)}
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "task.npz"
        weights = make_model(replace(case.task, dtype="float32")).get_weights()
        write_task(path, case.task, (x, y), (x[:1], y[:1]), weights)
        workers: dict[str, Worker] = {}
        for name in libraries:  # one after another: some try out, as they start, what is fastest
            worker = stack.enter_context(Worker(name, path, case.kind))
            if (reason := worker.start()) is None:
                workers[name] = worker
                continue
            result["unavailable"][name] = reason
            if name == "fastdense":
                return result
        begun = {name: epochs_per_turn(worker, case.gate, plan.turn) for name, worker in workers.items()}
        losses = {name: first["losses"] for name, (first, _) in begun.items()}
        epochs = {name: count for name, (_, count) in begun.items()}
        result["gate"] = gate(case, losses)
        times, products = timed_rounds(case, workers, epochs, plan)
    result["sgemm_gflops"] = median(products)
    result["sgemm_by_round"] = products
    result["libraries"] = summaries(times, epochs, losses)
    result["took"] = round(time.perf_counter() - begin, 1)
    return result


def has_limit(case: Case) -> bool:
    """Whether the rates of single kernels say how fast a case could be."""
    return case.kind == "train" and case.task.dtype == "float32"


def timed_rounds(
    case: Case,
    workers: Mapping[str, Trains],
    epochs: Mapping[str, int],
    plan: Plan,
    rate: Callable[[], float] | None = None,
) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds per epoch of every library, and before every round a rate of the machine, by default sgemm's."""
    times: dict[str, list[float]] = {name: [] for name in workers}
    rates: list[float] = []
    with_goals = [name for name in workers if name == "fastdense" or name in case.goals]
    begin = time.perf_counter()
    for number in range(plan.most):
        rates.append((rate or sgemm_gflops)())
        names = list(workers) if number < plan.rounds_without_goal else with_goals
        turn = number % len(names)
        for name in (*names[turn:], *names[:turn]):
            times[name].append(workers[name].train(epochs[name])["seconds"] / epochs[name])
        steady = all(mad(times[name]) <= plan.spread * median(times[name]) for name in with_goals)
        if number + 1 >= plan.rounds and (steady or time.perf_counter() - begin > plan.seconds):
            break
    return times, rates


def run(cases: Sequence[Case], libraries: Sequence[str], plan: Plan) -> Result:
    """Time the cases and return everything as plain data."""
    result = describe()
    result["cases"] = []
    tasks = [case.task for case in cases if has_limit(case)]
    rates = limits.measure_rates(tasks, ("float32", "uint8"), processors())
    for case in cases:
        start = time.perf_counter()
        names = [name for name in libraries if name in (*EVERYWHERE, *case.also)]
        result["cases"].append(run_case(case, names, plan, rates))
        print(f"{case.name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return result


def save(result: Result, name: str | None, what: str = "") -> Path:
    """Write the result as benchmarks/results/NAME.json; without a name, local-DATE.json, which git ignores."""
    path = RESULTS / f"{name or 'local-' + result['date'][:16].replace(':', '')}{what}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return path
