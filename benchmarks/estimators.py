"""scikit-learn's own examples of its multi-layer perceptron, with its class and with fastdense's in the same place.

    python -m benchmarks.estimators              # writes benchmarks/results/local-DATE-estimators.json

"alpha" varies the penalty on three toy sets by L-BFGS, "curves" the learning strategy of SGD and Adam on four small
sets, "mnist" trains one net on images. Settings are those of the examples, the same for both classes. Only the calls of
``fit`` are timed, in turns; the table gives medians, of seconds on the clock and of the processor's, and the mean
scores. On a machine that does other work, give both one thread: OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from statistics import mean, median
from typing import Any, NamedTuple

import numpy as np

from benchmarks.machine import describe
from benchmarks.run import save
from fastdense import datasets
from fastdense.sklearn import DenseClassifier


class Fit(NamedTuple):
    """One call of ``fit``: the parameters, the rows to train on, and others."""

    parameters: dict[str, Any]
    x: Any
    y: Any
    x_test: Any
    y_test: Any


def alpha() -> Iterator[Fit]:
    """Five penalties on moons, circles and two classes that a line separates, standardized."""
    from sklearn.datasets import make_circles, make_classification, make_moons
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    x, y = make_classification(n_features=2, n_redundant=0, n_informative=2, random_state=0, n_clusters_per_class=1)
    x = x + 2 * np.random.RandomState(2).uniform(size=x.shape)
    moons, circles = make_moons(noise=0.3, random_state=0), make_circles(noise=0.2, factor=0.5, random_state=1)
    linear = (x, y)
    for x, y in (moons, circles, linear):
        x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.4, random_state=42)
        scaler = StandardScaler().fit(x_train)
        for strength in np.logspace(-1, 1, 5):
            parameters = {"solver": "lbfgs", "alpha": strength, "random_state": 1, "max_iter": 2000,
                          "early_stopping": True, "hidden_layer_sizes": [10, 10]}  # fmt: skip
            yield Fit(parameters, scaler.transform(x_train), y_train, scaler.transform(x_test), y_test)


STRATEGIES: tuple[dict[str, Any], ...] = (
    {"solver": "sgd", "learning_rate": "constant", "momentum": 0, "learning_rate_init": 0.2},
    {"solver": "sgd", "learning_rate": "constant", "momentum": 0.9, "nesterovs_momentum": False,
     "learning_rate_init": 0.2},
    {"solver": "sgd", "learning_rate": "constant", "momentum": 0.9, "nesterovs_momentum": True,
     "learning_rate_init": 0.2},
    {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0, "learning_rate_init": 0.2},
    {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0.9, "nesterovs_momentum": False,
     "learning_rate_init": 0.2},
    {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0.9, "nesterovs_momentum": True,
     "learning_rate_init": 0.2},
    {"solver": "adam", "learning_rate_init": 0.01},
)  # fmt: skip


def curves() -> Iterator[Fit]:
    """Seven strategies on iris, digits, circles and moons, scaled to [0, 1]; scores are of the same rows."""
    from sklearn.datasets import load_digits, load_iris, make_circles, make_moons
    from sklearn.preprocessing import MinMaxScaler

    iris, digits = load_iris(return_X_y=True), load_digits(return_X_y=True)
    circles, moons = make_circles(noise=0.2, factor=0.5, random_state=1), make_moons(noise=0.3, random_state=0)
    for (x, y), epochs in ((iris, 400), (digits, 15), (circles, 400), (moons, 400)):
        x = MinMaxScaler().fit_transform(x)
        for strategy in STRATEGIES:
            yield Fit({"random_state": 0, "max_iter": epochs, **strategy}, x, y, x, y)


def mnist() -> Iterator[Fit]:
    """Eight epochs of SGD on 21,000 images."""
    from sklearn.model_selection import train_test_split

    (x, y), (x_more, y_more) = datasets.load_mnist()
    x = np.concatenate([x, x_more]).reshape(-1, 784) / 255.0
    x_train, x_test, y_train, y_test = train_test_split(x, np.concatenate([y, y_more]), random_state=0, test_size=0.7)
    parameters = {"hidden_layer_sizes": (40,), "max_iter": 8, "alpha": 1e-4, "solver": "sgd", "random_state": 1,
                  "learning_rate_init": 0.2}  # fmt: skip
    yield Fit(parameters, x_train, y_train, x_test, y_test)


EXAMPLES: dict[str, Callable[[], Iterator[Fit]]] = {"alpha": alpha, "curves": curves, "mnist": mnist}


class Run(NamedTuple):
    """All fits of an example by one class: seconds, those of the processor, scores, and the sum of the epochs."""

    seconds: float
    processor: float
    scores: list[float]
    epochs: int


def run(kind: Any, fits: Sequence[Fit]) -> Run:
    """Train and score by a class."""
    seconds, processor, scores, epochs = 0.0, 0.0, list[float](), 0
    for fit in fits:
        made = kind(**fit.parameters)
        begin, worked = time.perf_counter(), time.process_time()
        made.fit(fit.x, fit.y)
        seconds, processor = seconds + time.perf_counter() - begin, processor + time.process_time() - worked
        scores.append(float(made.score(fit.x_test, fit.y_test)))
        epochs += made.n_iter_
    return Run(seconds, processor, scores, epochs)


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimators")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=EXAMPLES, default=list(EXAMPLES))
    parser.add_argument("--name", help="write benchmarks/results/NAME-estimators.json, to be committed")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", ConvergenceWarning)
    classes = {"MLPClassifier": MLPClassifier, "DenseClassifier": DenseClassifier}
    result = {**describe(), "cases": list[dict[str, Any]]()}
    for example in options.only:
        if example == "mnist" and not datasets.has_local("mnist"):
            print("mnist: not on this machine, left out; set FASTDENSE_DATA", file=sys.stderr)
            continue
        fits = list(EXAMPLES[example]())
        found: dict[str, list[Run]] = {name: [] for name in classes}
        for number in range(options.rounds):
            for name in sorted(classes, reverse=bool(number % 2)):
                found[name].append(run(classes[name], fits))
        made = {name: [one._asdict() for one in runs] for name, runs in found.items()}
        result["cases"].append({"example": example, "fits": len(fits), "runs": made})
        times = {name: median(one.seconds for one in runs) for name, runs in found.items()}
        for name, runs in found.items():
            worked = median(one.processor for one in runs)
            print(f"{example:8} {name:16} {times[name] * 1e3:8.0f} ms, {worked * 1e3:8.0f} ms of the processor, for "
                  f"{len(fits)} fits, {runs[0].epochs:6} epochs, mean score {mean(runs[0].scores):.4f}",
                  flush=True)  # fmt: skip
        print(f"{example:8} {times['MLPClassifier'] / times['DenseClassifier']:.1f} times as fast", flush=True)
    save(result, options.name, "-estimators")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
