"""`python -m benchmarks gpu`: fastdense beside PyTorch's best on a GPU. `--device cpu` runs what can be run without."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.cases import load
from benchmarks.gpu import report
from benchmarks.gpu.cases import CASES, MEANINGS, GpuCase
from benchmarks.gpu.machine import nvidia_smi
from benchmarks.gpu.setting import first_line
from benchmarks.gpu.worker import GpuWorker
from benchmarks.machine import describe
from benchmarks.run import RESULTS, Plan, Result, about, epochs_per_turn, gate, summaries, timed_rounds
from fastdense.cli.baselines import Floats, write_task
from fastdense.cli.model import make_model

QUICK = Plan(rounds=3, most=3, seconds=5.0, spread=0.05, turn=0.1)
FULL = Plan(rounds=5, most=7, seconds=10.0, spread=0.02, turn=0.15)
COMPILING = 180.0  # seconds that making a trainer may take
WORKING = 120.0  # ... and anything else


class Crew:
    """The two processes, started when they are needed and again after one is lost.

    With the file of an emulated module fastdense's device is that, whatever PyTorch's is.
    """

    def __init__(self, device: str, folder: Path, emulated: str = "") -> None:
        self.device, self.folder, self.emulated = device, folder, emulated
        self.workers: dict[str, GpuWorker] = {}

    def ask(self, library: str, seconds: float = WORKING, **request: Any) -> Result:
        """Ask "fastdense" or "torch"; a process that fails to answer is ended, with all its trainers."""
        if library not in self.workers:
            own = ("cuda", self.folder, self.emulated) if self.emulated and library == "fastdense" else ()
            self.workers[library] = GpuWorker(library, *(own or (self.device, self.folder)))
        worker = self.workers[library]
        worker.seconds = seconds
        try:
            return worker.ask(**request)
        except RuntimeError:
            self.end(library)
            raise

    def end(self, library: str) -> None:
        """End a process."""
        if worker := self.workers.pop(library, None):
            worker.__exit__(None, None, None)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for library in list(self.workers):
            self.end(library)


class Competitor:
    """One implementation of a training in a process."""

    def __init__(self, crew: Crew, name: str) -> None:
        self.crew, self.name = crew, name
        self.library = "fastdense" if name == "fastdense" else "torch"

    def make(self, case: GpuCase) -> Result:
        """Get it ready; the answer holds "notes", or "unavailable" and the reason."""
        request = {"case": case.name, "baseline": self.name, "starts": case.starts, "precision": case.precision}
        return self.crew.ask(self.library, COMPILING, do="make", **request)

    def train(self, epochs: int) -> Result:
        return self.crew.ask(self.library, do="train", baseline=self.name, epochs=epochs)

    def launches(self) -> float | None:
        """Kernels, copies and fills of a step, if that can be known."""
        found: float | None = self.crew.ask(self.library, do="launches", baseline=self.name)["launches"]
        return found


def start_weights(case: GpuCase) -> list[Floats]:
    """Of the net; of many nets, stacked."""
    if case.starts == 1:
        return make_model(replace(case.task, dtype="float32")).get_weights()
    random, weights = np.random.RandomState(0), list[Floats]()
    for inputs, units in zip(case.task.widths, case.task.widths[1:], strict=False):
        kernel = random.standard_normal((case.starts, inputs, units)) * (2 / inputs) ** 0.5
        weights += [kernel.astype(np.float32), np.zeros((case.starts, units), np.float32)]
    return weights


def assemble(crew: Crew, case: GpuCase, baselines: Sequence[str], result: Result) -> dict[str, Competitor]:
    """All that can take part; the others are named with the reason. Who lost a process is not tried again in it."""
    made: dict[str, Competitor] = {}
    for name in ("fastdense", *baselines):
        one = Competitor(crew, name)
        try:
            answer = one.make(case)
        except RuntimeError as error:
            result["unavailable"][name] = str(error)
            for other in made.values():
                if other.library == one.library:
                    other.make(case)
            continue
        if "unavailable" in answer:
            result["unavailable"][name] = answer["unavailable"]
            continue
        made[name] = one
        if answer["notes"]:
            result["notes"][name] = "; ".join(answer["notes"])
    return made


def close_gate(case: GpuCase, losses: dict[str, Sequence[float]], result: Result) -> list[str]:
    """Who reached the loss of the plainest baseline; the others are left out, since they did other work."""
    standard = next((name for name in case.baselines if name in losses), None)
    if standard is None:
        result["gate"] = {"epochs": 0, "difference": None, "tolerance": case.tolerance, "passed": False}
        result["unavailable"] |= dict.fromkeys(losses, "no baseline is there to compare its loss with")
        return []
    found = {name: gate(case, {standard: losses[standard], name: losses[name]}) for name in losses}
    differences = {name: one["difference"] for name, one in found.items()}
    known = [value for value in differences.values() if value is not None]
    result["gate"] = {
        **found[standard],
        "standard": standard,
        "difference": max(known) if len(known) == len(differences) else None,
        "differences": differences,
        "passed": all(one["passed"] for one in found.values()),
    }
    for name in (name for name, one in found.items() if not one["passed"]):
        far = "not finite" if differences[name] is None else f"{100 * differences[name]:.3g} % from {standard}'s"
        result["unavailable"][name] = f"its losses are {far} (tolerance {100 * case.tolerance:g} %): not timed"
    return [name for name, one in found.items() if one["passed"]]


def run_case(crew: Crew, case: GpuCase, plan: Plan, baselines: Sequence[str] | None = None) -> Result:
    """Time one case beside these baselines (None: all of them); what goes wrong is in the result."""
    title, (x, y) = load(case.data, case.rows)
    result = about(case, title)
    result |= {"starts": case.starts, "steps_per_epoch": case.steps, "precision": case.precision, "notes": {}}
    result["products"] = case.products
    begin = time.perf_counter()
    try:
        write_task(crew.folder / f"{case.name}.npz", case.task, (x, y), (x[:1], y[:1]), start_weights(case))
        made = assemble(crew, case, case.baselines if baselines is None else baselines, result)
        begun, losses = dict[str, int](), dict[str, Sequence[float]]()
        for name, one in made.items():
            try:
                first, begun[name] = epochs_per_turn(one, case.gate, plan.turn)
                losses[name] = first["losses"]
            except RuntimeError as error:
                result["unavailable"][name] = str(error)
                for other in made.values():
                    if other.library == one.library and other is not one:
                        other.make(case)
        timed = close_gate(case, losses, result)
        if timed:
            ready = {name: made[name] for name in timed}
            times, rates = timed_rounds(case, ready, begun, plan, lambda: crew.ask("torch", do="rate")["gflops"])
            result["sgemm_gflops"], result["sgemm_by_round"] = median(rates), rates
            result["libraries"] = summaries(times, begun, losses)
            for name, one in ready.items():
                if (found := one.launches()) is not None:
                    result["libraries"][name]["launches_per_step"] = found
    except (RuntimeError, MemoryError) as error:
        result["error"] = first_line(error)
    finally:
        (crew.folder / f"{case.name}.npz").unlink(missing_ok=True)
    result["took"] = round(time.perf_counter() - begin, 1)
    return result


def run(
    cases: Sequence[GpuCase],
    device: str,
    plan: Plan,
    out: Path,
    seconds: float,
    before: Result,
    emulated: str = "",
    goals_only: bool = False,
) -> Result:
    """Time the cases, first come first served until the time is up; `out` always holds what there is so far.

    Cases that `before`, an earlier result or {}, holds whole are taken over from it. `goals_only`: the only baselines
    are those that a case has a goal for, as long as it has any.
    """
    end = time.monotonic() + seconds
    result = describe()
    result |= {"device": device, "nvidia_smi": nvidia_smi(), "baselines": MEANINGS, "cases": [], "not_run": []}

    taken = {case["name"]: case for case in before.get("cases", []) if report.sound(case)}

    def keep() -> None:
        result["goals"] = report.goals(result)
        fresh = out.with_name(out.name + ".part")
        fresh.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        os.replace(fresh, out)

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Crew(device, Path(folder), emulated) as crew:
        try:
            result["gpu"] = crew.ask("torch", do="hello")["gpu"]
            result["peaks"] = crew.ask("torch", do="reach")
        except RuntimeError as error:
            result["error"] = str(error)
        if device == "cuda" and not result.get("gpu"):
            raise ValueError("PyTorch sees no GPU here; --device cpu shows whether the suite works")
        if taken and before.get("gpu") != result.get("gpu"):
            raise ValueError(f"--after: that result is of {before.get('gpu')}, and this is {result.get('gpu')}")
        for case in cases:
            if case.name in taken:
                result["cases"].append(taken[case.name])
                continue
            if time.monotonic() > end:
                result["not_run"].append(case.name)
                continue
            result["cases"].append(run_case(crew, case, plan, (case.goal_baselines or None) if goals_only else None))
            keep()
            print(f"{case.name}: {result['cases'][-1]['took']:.0f} s", file=sys.stderr, flush=True)
    keep()
    return result


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__.split("\n")[0])
    found.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: only to see that all of it runs")
    found.add_argument("--emulated", metavar="FILE", default="", help="fastdense on this emulated module of the tests")
    found.add_argument("--quick", action="store_true", help="a few cases, few rounds: about two minutes on a GPU")
    found.add_argument(
        "--goals", action="store_true", help="cases with goals, the quick ones first, beside the goals' baselines alone"
    )
    found.add_argument("--only", metavar="TEXT", help="cases whose name holds the text")
    found.add_argument("--rows", type=int, help="at most so many training rows (whole batches of them)")
    found.add_argument("--seconds", type=float, default=3600, help="start no case after so many (default: %(default)s)")
    found.add_argument("--out", type=Path, metavar="FILE", help="default: benchmarks/results/local-DATE-gpu.json")
    found.add_argument("--after", type=Path, metavar="FILE", help="take over the cases that an earlier result holds")
    found.add_argument(
        "--list", action="store_true", help="name the cases and what they have to reach; measure nothing"
    )
    found.add_argument("--show", type=Path, metavar="FILE", help="print the tables of a result file; measure nothing")
    return found


def chosen(only: str | None, quick: bool, rows: int | None, goals: bool = False) -> list[GpuCase]:
    """The cases that were asked for."""
    cases = [case for case in CASES if (only is None or only in case.name) and (case.quick or only or not quick)]
    if goals:
        cases = sorted((case for case in cases if case.goals), key=lambda case: not case.quick)
    if rows is None:
        return cases
    least = [max(rows // case.task.batch_size, 1) * case.task.batch_size for case in cases]
    return [replace(case, rows=min(case.rows, most)) for case, most in zip(cases, least, strict=True)]


def main(arguments: Sequence[str]) -> int:
    """Measure, print the tables, write JSON; exit code 1 unless all losses agreed and fastdense ran everywhere."""
    options = parser().parse_args(arguments)
    cases = chosen(options.only, options.quick, options.rows, options.goals)
    if options.list:
        print(report.listing(cases))
        return 0
    if options.show:
        print(report.terminal(json.loads(options.show.read_text(encoding="utf-8"))))
        return 0
    if find_spec("torch") is None:
        print("python -m benchmarks gpu: PyTorch is not installed, and it is what is compared with", file=sys.stderr)
        return 2
    before = json.loads(options.after.read_text(encoding="utf-8")) if options.after else {}
    stamp = time.strftime("%Y-%m-%dT%H%M", time.gmtime())
    out = options.out or RESULTS / f"local-{stamp}-gpu.json"
    plan = QUICK if options.quick or options.goals else FULL
    try:
        result = run(cases, options.device, plan, out, options.seconds, before, options.emulated, options.goals)
    except ValueError as error:
        print(f"python -m benchmarks gpu: {error}", file=sys.stderr)
        return 2
    print(report.terminal(result))
    print(f"written to {os.path.relpath(out)}")
    return 0 if result["cases"] and all(report.sound(case) for case in result["cases"]) else 1
