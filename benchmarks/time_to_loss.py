"""Which optimizer gets how low in how much time: all of them on four problems, each with the better of two rates.

    python -m benchmarks.time_to_loss               # a table; NAME.json and NAME.png in results/ (needs matplotlib)
    python -m benchmarks.time_to_loss --seconds 10  # a longer look

The time is that of the process's threads together, so that other programs on the machine disturb it little; losses are
those that `fit` reports, after the iteration for the full-batch solvers and averaged over the epoch for the others.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import fastdense as fd
from benchmarks.machine import describe

Curve = tuple[list[float], list[float]]  # seconds, losses
USUAL, LARGE = (1e-3, 1e-2), (1e-2, 1e-1)
FIRST_ORDER: dict[str, tuple[Any, tuple[float, float]]] = {
    "SGD": (lambda rate: fd.SGD(rate, momentum=0.9), LARGE),
    "RMSprop": (fd.RMSprop, USUAL),
    "Adagrad": (fd.Adagrad, LARGE),
    "Adadelta": (fd.Adadelta, (0.3, 3.0)),
    "Adam": (fd.Adam, USUAL),
    "Nadam": (fd.Nadam, USUAL),
    "Lion": (fd.Lion, (1e-4, 1e-3)),
    "Muon": (fd.Muon, USUAL),
    "KFAC": (fd.KFAC, LARGE),
}
LARGER_BATCHES = {"Muon": 4, "KFAC": 4}  # their steps are expensive: so many times the rows
RESULTS = Path(__file__).parent / "results"


class Clock(fd.callbacks.Callback):
    """Losses over processor time; ends training after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.curve = seconds, ([], [])

    def on_train_begin(self, logs: Any = None) -> None:
        self.start = time.process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.curve[0].append(time.process_time() - self.start)
        self.curve[1].append(float(logs["loss"]))
        if self.curve[0][-1] > self.seconds or not np.isfinite(self.curve[1][-1]):
            self.model.stop_training = True


def sine() -> tuple[fd.Model, Any, Any, str, int]:
    x = np.linspace(-3, 3, 400)[:, None]
    layers = [fd.Dense(10, "tanh"), fd.Dense(10, "tanh"), fd.Dense(1)]
    return fd.Model(layers, inputs=1, dtype="float64"), x, np.sin(x), "mse", 32


def classes() -> tuple[fd.Model, Any, Any, str, int]:
    (x, y), _ = fd.datasets.load_mnist()
    layers = [fd.Dense(128, "relu"), fd.Dense(10, "softmax")]
    x = x.reshape(-1, 784) / np.float32(255)
    return fd.Model(layers, inputs=784), x, y, "sparse_categorical_crossentropy", 128


def exercise() -> tuple[fd.Model, Any, Any, str, int]:
    (images, labels), _ = fd.datasets.load_mnist()
    x = (images[:5000, 4:24, 4:24].reshape(5000, 400) / 255).astype(np.float32)
    layers = [fd.Dense(units, "sigmoid", kernel_regularizer=fd.regularizers.l2(1e-5)) for units in (25, 10)]
    return fd.Model(layers, inputs=400), x, np.eye(10)[labels[:5000]], "binary_crossentropy", 128


def identity() -> tuple[fd.Model, Any, Any, str, int]:
    (x, _), _ = fd.datasets.load_mnist()
    x = x[:5000].reshape(-1, 784)
    model = fd.Model([fd.Dense(784, "relu") for _ in range(3)] + [fd.Dense(784)], inputs=784)
    return model.place(x), x, x, "mse", 128


CASES: dict[str, Callable[[], tuple[fd.Model, Any, Any, str, int]]] = {
    "sine, 1-10-10-1 tanh": sine,
    "MNIST digits, 784-128-10": classes,
    "exercise four, 400-25-10": exercise,
    "identity, 784 four times, 5000 rows, placed": identity,
}


@cache
def problem(case: str) -> tuple[fd.Model, Any, Any, str, int]:
    """A case; made once."""
    return CASES[case]()


def run(case: str, optimizer: Any, seconds: float, factor: int = 1) -> Curve:
    """Train one case from its start; a case that the optimizer refuses gives an empty curve."""
    start, x, y, loss, batch = problem(case)
    model = start.clone()
    model.set_weights(start.get_weights())
    clock = Clock(seconds)
    try:
        model.compile(optimizer, loss)
    except ValueError:
        return [], []
    size = None if model.optimizer.full_batch else batch * factor
    model.fit(x, y, epochs=10**6, batch_size=size, verbose=0, callbacks=[clock])
    return clock.curve


def best(case: str, name: str, seconds: float) -> Curve:
    """The curve of the rate that ends lowest."""
    make, rates = FIRST_ORDER[name]
    curves = [run(case, make(rate), seconds, LARGER_BATCHES.get(name, 1)) for rate in rates]
    return min(curves, key=lambda curve: min((v for v in curve[1] if np.isfinite(v)), default=np.inf))


def main() -> None:
    """Measure, print a table, write the curves and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=3, help="of processor time, for each run")
    parser.add_argument("--name", default="time-to-loss-curves", help="of the files in benchmarks/results")
    options = parser.parse_args()
    found: dict[str, dict[str, Curve]] = {}
    for case in CASES:
        found[case] = {name: best(case, name, options.seconds) for name in FIRST_ORDER}
        for solver in (fd.LBFGS(gtol=0, ftol=0), fd.NewtonCG(gtol=0, ftol=0), fd.LevenbergMarquardt(ftol=0)):
            found[case][type(solver).__name__] = run(case, solver, options.seconds)
        print(case, flush=True)
        for name, (seconds, losses) in found[case].items():
            if losses:
                print(f"  {name:18} loss {min(losses):.3g}, {len(losses)} epochs, {seconds[-1]:.1f} s", flush=True)
    shortened = {case: {name: thinned(curve) for name, curve in curves.items()} for case, curves in found.items()}
    kept = {"machine": describe(), "seconds": options.seconds, "cases": shortened}
    (RESULTS / f"{options.name}.json").write_text(json.dumps(kept) + "\n", encoding="utf-8")
    draw(found, RESULTS / f"{options.name}.png")


def thinned(curve: Curve, most: int = 60) -> Curve:
    """The lowest loss so far at some points of a curve, evenly spread over the logarithm of the epochs."""
    lowest = np.minimum.accumulate(np.nan_to_num(curve[1], nan=np.inf)) if curve[1] else np.zeros(0)
    at = np.unique(np.geomspace(1, max(1, len(lowest)), most).astype(int) - 1)[: len(lowest)]
    return [round(curve[0][i], 4) for i in at], [float(f"{lowest[i]:.4g}") for i in at]


def draw(found: dict[str, dict[str, Curve]], path: Path) -> None:
    """One panel a case: the lowest loss so far over the time."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    names = list(dict.fromkeys(name for curves in found.values() for name in curves))
    look = {name: {"color": f"C{i % 10}", "linestyle": "-" if i < 10 else "--"} for i, name in enumerate(names)}
    for axis, (case, curves) in zip(axes.flat, found.items(), strict=True):
        for name, (seconds, losses) in curves.items():
            if losses:
                axis.plot(seconds, np.minimum.accumulate(losses), label=name, **look[name])
        axis.set(title=case, xscale="log", yscale="log", xlabel="processor seconds", ylabel="loss")
    axes.flat[0].legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
