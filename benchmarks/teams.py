"""``python -m benchmarks.teams A B``: the thread teams of two builds, side by side.

A and B are folders with a package ``fastdense`` each (``python -m tests.sanitized BUILD --install`` makes one of a
build folder), usually one with OpenMP and one without. Each trains the same nets in a process of its own; these take
turns, begin in turn, and are stopped meanwhile. Printed for each case are the medians and minima over the rounds, the
median of the rounds' quotients B/A, and at which numbers of threads both ended with the bits of one thread.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import CASES, Case, load

NAMES = ("identity-1", "mnist-128", "mnist-512-256", "exercise4", "width-256")
APART = (0.0, 2e-5, 2e-3)  # seconds between two teams: at once, while members still spin, when they sleep
BITS = (1, 2, 3, 8)  # numbers of threads


class Side:
    """A process that has one of the builds, stopped while it is not asked."""

    def __init__(self, folder: Path) -> None:
        path = os.pathsep.join([str(folder.resolve()), str(Path(__file__).parents[1])])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.teams", "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    def ask(self, **request: Any) -> Any:
        """Let it go on until it has answered."""
        assert self.process.stdin and self.process.stdout
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return answer


def serve() -> None:
    """Be such a process: answer requests, one a line."""
    from fastdense import _core
    from fastdense.cli.model import compile_model, make_model

    def build() -> dict[str, str]:
        return {key: _core.build_info()[key] for key in ("openmp", "isa", "threads")}

    def wake(threads: int, apart: float, calls: int) -> list[float]:
        taken = _core.kernels.team_seconds(threads, calls, apart)
        return [float(np.median(taken)), float(taken.min())]

    kept: dict[str, Any] = {}

    def train(name: str, rows: int, epochs: int, threads: int) -> list[Any]:
        case = next(case for case in CASES if case.name == name)
        if name not in kept:
            x, y = load(case.data, case.rows)[1]
            x = np.ascontiguousarray(x.reshape(len(x), -1), np.float32) * np.float32(case.task.scale)
            kept[name] = x, x if case.task.target == "x" else y
        x, y = kept[name]
        model = make_model(case.task)  # anew: it counts the epochs, whose orders differ
        compile_model(model, case.task)
        size = case.task.batch_size
        some, rows = slice(0, rows or len(x)), rows or len(x)
        start = time.perf_counter()
        model.fit(
            x[some], y[some], batch_size=size, epochs=epochs, shuffle=size < rows, verbose=0, n_threads=threads
        )  # fmt: skip
        taken = time.perf_counter() - start
        return [taken, hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()]

    calls: dict[str, Callable[..., Any]] = {"build": build, "wake": wake, "train": train}
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(calls[request.pop("call")](**request)), flush=True)


def in_turn(sides: Sequence[Side], rounds: int, **request: Any) -> list[list[Any]]:
    """The answers of each side, round by round."""
    answers: list[list[Any]] = [[] for _ in sides]
    for i in range(rounds):
        for k in range(len(sides)) if i % 2 == 0 else reversed(range(len(sides))):
            answers[k].append(sides[k].ask(**request))
    return answers


def shown(title: str, unit: float, medians: Sequence[Sequence[float]], minima: Sequence[Sequence[float]]) -> str:
    """A row of the table: for each side the median of the medians and the least of the minima, and the quotients."""
    a, b = medians
    cells = [
        f"{statistics.median(m) / unit:.2f} ({min(least) / unit:.2f})" for m, least in zip(medians, minima, strict=True)
    ]
    quotients = sorted(second / first for first, second in zip(a, b, strict=True))
    cells += [f"{statistics.median(quotients):.3f}", f"{min(minima[1]) / min(minima[0]):.3f}"]
    return f"| {title} | {' | '.join(cells)} |"


def same_bits(sides: Sequence[Side], name: str, rows: int) -> str:
    """The numbers of threads with which all sides end with the bits of one thread."""
    wanted = None
    good = []
    for threads in BITS:
        found = {side.ask(call="train", name=name, rows=rows, epochs=1, threads=threads)[1] for side in sides}
        wanted = wanted or found
        if len(found) == 1 and found == wanted:
            good.append(str(threads))
    return ", ".join(good)


def compare(case: Case, sides: Sequence[Side], rounds: int, threads: int) -> str:
    """The row of a case: epochs of about a fifth of a second, as many rounds as asked for."""
    first = sides[0].ask(call="train", name=case.name, rows=0, epochs=1, threads=threads)[0]
    epochs = max(1, round(0.2 / first))
    rows = 0 if first < 0.5 else int(case.rows * 0.3 / first)
    request = {"call": "train", "name": case.name, "rows": rows, "epochs": epochs, "threads": threads}
    times = [[seconds for seconds, _ in answers] for answers in in_turn(sides, rounds, **request)]
    bits = same_bits(sides, case.name, min(case.rows, 5000))
    return shown(case.name, 1e-3, times, times) + f" {bits} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.teams", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER", help="two folders with a package each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], help="instead of the five")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve()
        return 0
    if len(options.folders) != 2:
        parser.error("two folders are compared")
    sides = [Side(folder) for folder in options.folders]
    try:
        for name, side in zip("AB", sides, strict=True):
            print(f"{name}: {side.ask(call='build')}")
        print("\n| a team for nothing, µs | A: median (least) | B | B/A | of the least |\n|---|---|---|---|---|")
        for threads in (2, 8):
            for apart in APART:
                request = {"call": "wake", "threads": threads, "apart": apart, "calls": 2000 if apart < 1e-3 else 50}
                found = in_turn(sides, options.rounds, **request)
                medians, minima = [[[answer[i] for answer in answers] for answers in found] for i in (0, 1)]
                print(shown(f"{threads} threads, {1e6 * apart:.0f} µs apart", 1e-6, medians, minima), flush=True)
        print("\n| training, ms | A: median (least) | B | B/A | of the least | same bits at threads |")
        print("|---|---|---|---|---|---|")
        for case in CASES:
            if case.name in (options.case or NAMES):
                print(compare(case, sides, options.rounds, options.threads), flush=True)
    finally:
        for side in sides:
            side.process.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
