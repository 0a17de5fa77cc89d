"""Predictions as a service asks for them: one row, and 10,000 rows, by an ensemble from the raw columns of a table.

    python -m benchmarks.serving                 # writes benchmarks/results/local-DATE-serving.json

The ensemble is eight nets of three layers of 256 units on eight columns, beside LightGBM (300 trees of 31 leaves, its
`Booster`, with one thread for one row) and beside what the members' own `predict` take together. Before any timing the
ensemble's answers must be those of a forward pass in NumPy and float64. Rounds alternate; the table gives medians. All
is in one process, since both wait while the other works.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy as np

import fastdense as fd
from benchmarks.machine import describe
from benchmarks.run import save

COLUMNS, WIDTH, DEPTH, MEMBERS, TREES = 8, 256, 3, 8, 300
CODES = [0.0, 1.0, 2.0, 3.0]
TOLERANCE = 1e-4  # of outputs of about 1: float32 rounds at 6e-8, a net of three layers of 256 makes that 1e-6 to 1e-5
SECONDS = 0.05  # least duration of a turn

# Layers in front of each net, from the raw columns. "encoded" works on the rows in Python, "scaled" in the engine.
FRONTS: dict[str, Callable[[], list[Any]]] = {
    "scaled": lambda: [fd.Normalization()],
    "encoded": lambda: [fd.OneHot(0, CODES), fd.Log1p(columns=4), fd.Periodic([0.5, 1.0], columns=[5, 6])],
}


def table(rows: int, seed: int = 0) -> tuple[Any, Any]:
    """Raw columns, the first of four codes, and a target."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, COLUMNS))
    x[:, 0] = rng.integers(0, 4, rows)
    return x.astype(np.float32), (np.sin(x[:, 1]) * x[:, 2] + (x[:, 0] == 2)).astype(np.float32)


def ensemble(front: str, width: int = WIDTH, members: int = MEMBERS) -> fd.Ensemble[fd.Model]:
    """Nets with initial weights: how fast they are does not depend on them."""
    x, _ = table(1000)
    models = []
    for seed in range(members):
        layers = FRONTS[front]()
        for layer in layers:
            if isinstance(layer, fd.Normalization):
                layer.adapt(x)
        layers += [fd.Dense(width, "relu") for _ in range(DEPTH)]
        model = fd.Model([*layers, fd.Dense(1)], inputs=COLUMNS, seed=seed)
        model.compile("adam", "mse")
        models.append(model)
    return fd.Ensemble(models)


def expected(model: fd.Model, x: Any) -> Any:
    """The forward pass in NumPy and float64; what is in front of the net, by the layers' own formulas."""
    h, weights = model.net.encoded(x.astype(np.float64)), [w.astype(np.float64) for w in model.get_weights()]
    if model.net.input_statistics:  # those of a Normalization
        mean, variance = weights[:2]
        h, weights = (h - mean) / np.sqrt(variance), weights[2:]
    for i in range(0, len(weights), 2):
        h = h @ weights[i] + weights[i + 1]
        h = np.maximum(h, 0) if i + 2 < len(weights) else h
    return h


def gate(made: fd.Ensemble[fd.Model], x: Any) -> float:
    """Largest difference of the ensemble's answers, to single rows and to all, from NumPy's."""
    right = np.mean([expected(model, x) for model in made], axis=0)
    single = np.concatenate([made.predict(x[i : i + 1]) for i in range(16)])
    return float(max(abs(made.predict(x) - right).max(), abs(single - right[:16]).max()))


def booster() -> Any:
    """LightGBM's model of the same table; None if it is not installed."""
    if find_spec("lightgbm") is None:
        print("lightgbm is not installed, left out", file=sys.stderr)
        return None
    import lightgbm

    x, y = table(10_000)
    options = {"objective": "regression", "num_leaves": 31, "learning_rate": 0.1, "verbose": -1, "seed": 0}
    return lightgbm.train(options, lightgbm.Dataset(x, y), TREES)


def seconds_of(call: Callable[[], object], times: int) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - begin) / times


def alternating(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in every round, in changing order; in each turn it is made often enough to be timed."""
    times = {}
    for name, call in calls.items():
        call()
        times[name] = max(1, int(SECONDS / max(seconds_of(call, 1), 1e-7)))
    found: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for number in range(rounds):
        turn = number % len(names)
        for name in (*names[turn:], *names[:turn]):
            found[name].append(seconds_of(calls[name], times[name]))
    return found


def calls_of(made: fd.Ensemble[fd.Model], trees: Any, x: Any) -> dict[str, Callable[[], object]]:
    """What is timed, for these rows."""
    models = made.members
    calls: dict[str, Callable[[], object]] = {
        "ensemble": lambda: made.predict(x),
        "members": lambda: [model.predict(x) for model in models],
    }
    if trees is not None:
        threads = {"num_threads": 1} if len(x) == 1 else {}
        calls["lightgbm"] = lambda: trees.predict(x, **threads)
    return calls


def main(arguments: Sequence[str]) -> int:
    """Measure and print; exit code 1 if the answers are wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 10_000])
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--members", type=int, default=MEMBERS)
    parser.add_argument("--name", help="write benchmarks/results/NAME-serving.json, to be committed")
    options = parser.parse_args(arguments)
    trees, result = booster(), {**describe(), "cases": list[dict[str, Any]]()}
    for front in FRONTS:
        made = ensemble(front, options.width, options.members)
        difference = gate(made, table(500, seed=1)[0])
        if not difference <= TOLERANCE:
            print(f"{front}: the ensemble's answers differ from NumPy's by {difference:.3g}", file=sys.stderr)
            return 1
        for rows in options.rows:
            found = alternating(calls_of(made, trees, table(rows, seed=2)[0]), options.rounds)
            micro = {name: median(seconds) / rows * 1e6 for name, seconds in found.items()}
            case = {"front": front, "rows": rows, "difference": difference, "seconds": found}
            result["cases"].append({**case, "microseconds_per_row": micro})
            text = ", ".join(f"{name} {value:.4g}" for name, value in micro.items())
            print(f"{front:8} {rows:6} rows: µs per row: {text}", flush=True)
    save(result, options.name, "-serving")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
