"""`fastdense demo`: train on handwritten digits, then the same net in NumPy and PyTorch, and compare."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import datasets
from .._model import Model
from ..versions import build_config, package_version
from .baselines import Baseline, Task, as_rows, write_task
from .model import make_model

Data = Literal["auto", "digits", "mnist"]
Arrays = tuple[NDArray[Any], NDArray[Any]]
BASELINE_SECONDS = 8.0  # of training, so that the demo stays short on a slow or busy machine


@dataclass(frozen=True)
class Run:
    """One library's training: seconds and mean training loss per epoch, accuracy on the test rows at its end."""

    name: str
    seconds: list[float]
    losses: list[float]
    accuracy: float

    @property
    def epoch_seconds(self) -> float:
        return median(self.seconds)


def choose_data(data: Data) -> tuple[str, Arrays, Arrays, Task, int]:
    """Title of the data set, training and test data, a suitable net and the number of epochs."""
    if data == "mnist" or (data == "auto" and datasets.has_local("mnist")):
        train, test = datasets.load_mnist()
        task = Task((784, 128, 10), "crossentropy", "adam", 1e-3, batch_size=128, scale=1 / 255)
        return "MNIST (handwritten digits)", train, test, task, 10
    real = find_spec("sklearn") is not None
    train, test = datasets.load_digits("sklearn" if real else "synthetic")
    title = "scikit-learn's handwritten digits" if real else "synthetic digits (generated, easier than real ones)"
    return title, train, test, Task((64, 128, 64, 10), "crossentropy", "adam", 1e-3, batch_size=32, scale=1 / 16), 40


def train_fastdense(model: Model, task: Task, train: Arrays, test: Arrays, epochs: int) -> Run:
    """Train once with a progress bar, and once without to measure the time: the results are identical."""
    model.fit(*train, batch_size=task.batch_size, epochs=epochs, verbose="auto")
    timed = make_model(task, metrics=["accuracy"])
    seconds: list[float] = []
    losses: list[float] = []
    while len(losses) < epochs:  # about ten calls, each of which continues the one before
        count = min(max(1, epochs // 10), epochs - len(losses))
        start = time.perf_counter()
        history = timed.fit(*train, batch_size=task.batch_size, epochs=count, verbose=0)
        seconds += [(time.perf_counter() - start) / count] * count
        losses += history.history["loss"]
    accuracy = model.evaluate(*test, verbose=0, return_dict=True)["accuracy"]
    return Run("fastdense", seconds, losses, float(accuracy))


def train_baseline(name: str, title: str, path: Path, epochs: int) -> Run:
    """Train the same net with another library, in its own process; stops after BASELINE_SECONDS."""
    with Baseline(name, path) as baseline:
        seconds: list[float] = []
        losses: list[float] = []
        while len(seconds) < epochs and sum(seconds) < BASELINE_SECONDS:
            epoch = baseline.epoch()
            seconds.append(epoch.seconds)
            losses.append(epoch.loss)
        return Run(title, seconds, losses, epoch.accuracy)


def three_digits(value: float) -> str:
    """Three significant digits, never in scientific notation."""
    return f"{value:.{max(0, 2 - int(math.floor(math.log10(value))))}f}"


def table(runs: Sequence[Run], epochs: int) -> str:
    """The comparison, one line per library."""
    lines = [f"{'':16}{'epochs/s':>10}{'one epoch':>14}{'test accuracy':>16}{'last loss':>12}   fastdense is"]
    lines.append("-" * len(lines[0]))
    for run in runs:
        done, seconds = len(run.seconds), run.epoch_seconds
        verdict = "" if run is runs[0] else f"{three_digits(seconds / runs[0].epoch_seconds)} x as fast"
        short = "" if done == epochs else f" (after {done} of {epochs} epochs, to save time)"
        lines.append(
            f"{run.name:16}{three_digits(1 / seconds):>10}{three_digits(1000 * seconds):>11} ms"
            f"{100 * run.accuracy:14.2f} %{run.losses[-1]:12.4f}   {verdict}{short}".rstrip()
        )
    return "\n".join(lines)


def difference(runs: Sequence[Run]) -> float:
    """The largest relative difference between the libraries' losses in any epoch."""
    mine = np.array(runs[0].losses)
    return max(float(np.max(np.abs(run.losses / mine[: len(run.losses)] - 1))) for run in runs[1:])


def plot(runs: Sequence[Run], title: str, path: Path) -> None:
    """Write a plot of the loss over epochs (the curves coincide) and over time (they do not)."""
    from matplotlib.figure import Figure  # no pyplot: no window, no global state

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    by_epoch, by_time = figure.subplots(1, 2, sharey=True)
    for run, style in zip(runs, ("-", "--", ":"), strict=False):
        by_epoch.plot(np.arange(1, len(run.losses) + 1), run.losses, style, label=run.name)
        by_time.plot(np.cumsum(run.seconds), run.losses, style, label=run.name)
    by_epoch.set(xlabel="epoch", ylabel="training loss", yscale="log", title="the same training ...")
    by_time.set(xlabel="seconds", xscale="log", title="... at different speeds")
    by_epoch.legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def main(data: Data = "auto", epochs: int | None = None, plot_path: Path | None = None) -> None:
    """Run the demo and print the results. The plot goes to `plot_path`, if matplotlib is installed."""
    title, train, test, task, usual = choose_data(data)
    epochs = usual if epochs is None else epochs
    x, x_test = as_rows(train[0], task.scale), as_rows(test[0], task.scale)
    config = build_config()
    model = make_model(task, metrics=["accuracy"])
    net = " -> ".join(map(str, task.widths))
    print(f"fastdense {config['version']}, {config['isa']} kernels, {config['threads']} threads")
    print(f"{title}: {len(x)} for training, {len(x_test)} for testing")
    print(f"Net {net}, ReLU and softmax, Adam, batches of {task.batch_size}, {epochs} epochs\n")
    runs = [train_fastdense(model, task, (x, train[1]), (x_test, test[1]), epochs)]
    print(f"\n{100 * runs[0].accuracy:.2f} % of the test digits are classified correctly.\n")

    baselines = [("numpy", f"NumPy {np.__version__}")]
    torch_version = package_version("torch")
    if torch_version:
        baselines.append(("torch", f"PyTorch {torch_version.split('+')[0]}"))
    print("Now the same net, batches and formulas in other libraries ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.npz"
        write_task(path, task, train, test, make_model(task).get_weights())
        runs += [train_baseline(name, baseline_title, path, epochs) for name, baseline_title in baselines]

    print(f"\n{table(runs, epochs)}\n")
    print(f"The losses differ by at most {100 * difference(runs):.2g} % in any epoch.")
    if not torch_version:
        print("PyTorch is not installed; if it were, it would be compared too.")
    if plot_path is not None:
        if find_spec("matplotlib") is None:
            print("No plot of the loss: matplotlib is not installed.")
        else:
            plot(runs, f"{title}, {net}", plot_path)
            print(f"Plot of the loss: {plot_path}")
