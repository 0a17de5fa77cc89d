"""Which optimizer gets how low in how much time: all of them on four problems, each with the better of two rates.

    python -m benchmarks.time_to_loss --seconds 10            # a table
    python -m benchmarks.time_to_loss --plot time_to_loss.png # and curves (needs matplotlib)

The time is that of the process's threads together, so that other programs on the machine disturb it little; losses are
those that `fit` reports, after the iteration for the full-batch solvers and averaged over the epoch for the others.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import fastdense as fd

Curve = tuple[list[float], list[float]]  # seconds, losses
FIRST_ORDER = {
    "SGD": fd.SGD,
    "RMSprop": fd.RMSprop,
    "Adam": fd.Adam,
    "Nadam": fd.Nadam,
    "Lion": fd.Lion,
    "Muon": fd.Muon,
}
RATES = (1e-3, 1e-2)


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


def digits() -> tuple[fd.Model, Any, Any, str, int]:
    (x, y), _ = fd.datasets.load_digits()
    penalty = fd.regularizers.l2(1e-5)
    layers = [
        fd.Dense(100, "relu", kernel_regularizer=penalty),
        fd.Dense(10, "softmax", kernel_regularizer=penalty),
    ]
    return fd.Model(layers, inputs=64), x.reshape(-1, 64) / np.float32(16), y, "sparse_categorical_crossentropy", 32


def exercise() -> tuple[fd.Model, Any, Any, str, int]:
    (images, labels), _ = fd.datasets.load_mnist()
    x = (images[:5000, 4:24, 4:24].reshape(5000, 400) / 255).astype(np.float32)
    layers = [fd.Dense(units, "sigmoid", kernel_regularizer=fd.regularizers.l2(1e-5)) for units in (25, 10)]
    return fd.Model(layers, inputs=400), x, np.eye(10)[labels[:5000]], "binary_crossentropy", 128


def identity() -> tuple[fd.Model, Any, Any, str, int]:
    (x, _), _ = fd.datasets.load_digits()
    x = (x.reshape(-1, 64) / 16).astype(np.float32)
    layers = [fd.Dense(64, "relu") for _ in range(3)] + [fd.Dense(64)]
    return fd.Model(layers, inputs=64), x, x, "mse", 32


CASES: dict[str, Callable[[], tuple[fd.Model, Any, Any, str, int]]] = {
    "sine, 1-10-10-1 tanh": sine,
    "digits, 64-100-10": digits,
    "exercise four, 400-25-10": exercise,
    "identity, four layers of 64": identity,
}


def run(case: str, optimizer: Any, seconds: float) -> Curve:
    """Train one case from its start; a case that the optimizer refuses gives an empty curve."""
    model, x, y, loss, batch = CASES[case]()
    clock = Clock(seconds)
    try:
        model.compile(optimizer, loss)
    except ValueError:
        return [], []
    size = None if model.optimizer.full_batch else batch
    model.fit(x, y, epochs=10**6, batch_size=size, verbose=0, callbacks=[clock])
    return clock.curve


def best(case: str, make: Any, seconds: float) -> Curve:
    """The curve of the rate that ends lowest."""
    curves = [run(case, make(rate), seconds) for rate in RATES]
    return min(curves, key=lambda curve: min((v for v in curve[1] if np.isfinite(v)), default=np.inf))


def main() -> None:
    """Measure, print a table, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--plot", help="file to draw the curves into")
    options = parser.parse_args()
    found: dict[str, dict[str, Curve]] = {}
    for case in CASES:
        found[case] = {name: best(case, make, options.seconds) for name, make in FIRST_ORDER.items()}
        for solver in (fd.LBFGS(gtol=0, ftol=0), fd.NewtonCG(gtol=0, ftol=0), fd.LevenbergMarquardt(ftol=0)):
            found[case][type(solver).__name__] = run(case, solver, options.seconds)
        print(case)
        for name, (seconds, losses) in found[case].items():
            if losses:
                print(f"  {name:18} loss {min(losses):.3g}, {len(losses)} epochs, {seconds[-1]:.1f} s")
    if options.plot:
        draw(found, options.plot)


def draw(found: dict[str, dict[str, Curve]], path: str) -> None:
    """One panel a case: the lowest loss so far over the time."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for axis, (case, curves) in zip(axes.flat, found.items(), strict=True):
        for name, (seconds, losses) in curves.items():
            if losses:
                axis.plot(seconds, np.minimum.accumulate(losses), label=name)
        axis.set(title=case, xscale="log", yscale="log", xlabel="processor seconds", ylabel="loss")
    axes.flat[0].legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
