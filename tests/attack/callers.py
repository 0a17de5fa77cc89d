"""Callers: threads that use one model at the same time, and threads that change the arrays of a call."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count, takewhile
from typing import Any

import numpy as np

import fastdense as fd

from .core import Ended, Tries, attack, in_child
from .subjects import IDS, PROBABLE, ROWS, Array, X, Y, beside, goes_on, make, state

FULL: dict[str, Any] = {"batch_size": ROWS, "shuffle": False, "verbose": 0}


def snapshots_of(way: str, seconds: float, threads: int) -> tuple[int, list[str]]:
    """In a child: copy a model again and again while it is trained; number of copies, and those of no whole step."""
    sys.setswitchinterval(1e-4)
    model, count = make("plain", "adam"), 0
    copies: list[tuple[int, str]] = []
    take: Callable[[], fd.Model] = {
        "save": lambda: (model.save("beside.safetensors"), fd.load("beside.safetensors"))[1],
        "pickle": lambda: pickle.loads(pickle.dumps(model)),
        "deepcopy": lambda: copy.deepcopy(model),
    }[way]
    end = time.monotonic() + seconds
    with beside(lambda: model.fit(X, Y, epochs=50, n_threads=threads, **FULL)) as raised:
        while time.monotonic() < end:
            copies.append(state(take()))
    count = len(copies)
    twin, wrong = make("plain", "adam"), [f"{type(error).__name__}: {error}" for error in raised]
    for step, sums in sorted(set(copies)):
        if step > twin.runner.step:
            twin.fit(X, Y, epochs=step - twin.runner.step, **FULL)
        if state(twin) != (step, sums):
            wrong.append(f"the copy of step {step} is not the model of any step")
    return count, wrong


def turns(tries: Tries) -> Iterator[int]:
    """0, 1, 2 ... until the time of the attack is over."""
    return takewhile(lambda _: not tries.out_of_time(), count())


def counted_by(tries: Tries, ended: Ended) -> int:
    """What a child counted; each problem that it returns, or an end of another kind, is a failure."""
    if ended.how != "returned":
        tries.fail(str(ended))
        return 0
    found, problems = ended.value
    for problem in problems:
        tries.fail(problem)
    return int(found)


@attack("copies", short=10**6, long=10**6, seconds=(10, 200))
def snapshots(tries: Tries) -> None:
    """Copies (save, pickle, deepcopy) of a model while another thread fits: each is that of one step"""
    total = 0
    for turn in turns(tries):
        way, threads = ("save", "pickle", "deepcopy")[turn % 3], 1 + turn // 3 % 2
        tries.begin(turn, f"{way}, fit with n_threads={threads}")
        total += counted_by(tries, in_child(snapshots_of, way, 1.0, threads, seconds=60))
    tries.count(total)


def uses(model: fd.Model) -> dict[str, Callable[[], object]]:
    """Calls that threads make at the same time; none of them may fail because of the others."""

    def to() -> None:
        model.to("reference")
        model.to("cpu")

    def compile() -> None:
        model.compile("sgd", "mae", metrics=["mae"])
        model.compile("adam", "mse", metrics=["mse", "mae"])

    return {
        "fit": lambda: model.fit(X, Y, epochs=3, verbose=0),
        "train_on_batch": lambda: model.train_on_batch(X, Y),
        "evaluate": lambda: model.evaluate(X, Y, verbose=0),
        "predict": lambda: model.predict(X),
        "predict one row": lambda: model.predict(X[:1]),
        "loss_and_grad": lambda: model.loss_and_grad(X, Y),
        "activations": lambda: model.activations(X),
        "save": lambda: (model.save("mixed.safetensors"), fd.load("mixed.safetensors")),
        "pickle": lambda: pickle.loads(pickle.dumps(model)),
        "clone": model.clone,
        "set_weights": lambda: model.set_weights(model.get_weights()),
        "solve_output": lambda: model.solve_output(X, Y),
        "fit_many": lambda: fd.fit_many(model, X, Y, starts=3, verbose=0),
        "to": to,
        "compile": compile,
        "summary": lambda: model.summary(print_fn=lambda text: None),
    }


USES = ["fit", "train_on_batch", "evaluate", "predict", "predict one row", "loss_and_grad", "activations", "save",
        "pickle", "clone", "set_weights", "solve_output", "fit_many", "to", "compile", "summary"]  # fmt: skip


def together(names: list[str], seconds: float) -> tuple[int, list[str]]:
    """In a child: make these calls on one model at the same time."""
    sys.setswitchinterval(1e-5)
    model = make("plain", metrics=["mse", "mae"])
    count = [0]

    def counted(function: Callable[[], object]) -> Callable[[], object]:
        def call() -> None:
            function()
            count[0] += 1

        return call

    with beside(*(counted(uses(model)[name]) for name in names)) as raised:
        time.sleep(seconds)
    return count[0], [f"{type(error).__name__}: {error}" for error in raised] + list(filter(None, [goes_on(model)]))


@attack("calls", short=10**6, long=10**7, seconds=(20, 400))
def mixed(tries: Tries) -> None:
    """Two to five threads that call one model: each call does what it does alone"""
    total = 0
    for turn in turns(tries):
        rng = tries.rng(turn)
        some = [str(name) for name in rng.choice(USES, int(rng.integers(2, 6)), replace=False)]
        tries.begin(turn, " beside ".join(some))
        total += counted_by(tries, in_child(together, some, 0.3, seconds=60))
    tries.count(total)


def scribble(arrays: list[Array], stop: threading.Event) -> None:
    """Write whatever bits into arrays until the event."""
    rng = np.random.default_rng(0)
    while not stop.is_set():
        for array in arrays:
            size = max(1, array.size // 4)
            where = rng.integers(0, array.size, size)
            array.reshape(-1)[where] = rng.bytes(size * array.itemsize) and np.frombuffer(
                rng.bytes(size * array.itemsize), array.dtype
            )


CHANGED: dict[str, Callable[[], tuple[fd.Model, list[Array]]]] = {
    "labels, top_k": lambda: (make("classes", metrics=[fd.metrics.SparseTopKCategoricalAccuracy(2)]), [IDS.copy()]),
    "labels, accuracy": lambda: (make("classes", metrics=["accuracy"]), [IDS.copy()]),
    "labels, label_smoothing": lambda: (make("classes", loss=fd.losses.SparseCategoricalCrossentropy(
        label_smoothing=0.1)), [IDS.copy()]),
    "one-hot labels, top_k": lambda: (make("classes", loss="categorical_crossentropy", metrics=[
        fd.metrics.TopKCategoricalAccuracy(2)]), [np.eye(3, dtype=np.float32)[IDS]]),
    "targets": lambda: (make("plain", metrics=["mae"]), [Y.copy()]),
    "targets, auc": lambda: (make("plain", loss="binary_crossentropy", metrics=["auc"]), [PROBABLE.round()]),
    "targets of poisson": lambda: (make("plain", loss="poisson"), [PROBABLE.copy()]),
}  # fmt: skip
HOW = ("fit", "evaluate", "fit_many", "train_on_batch", "loss_and_grad", "fit, lbfgs")


def with_changed_arrays(name: str, how: str, also_x: bool, seconds: float) -> int:
    """In a child: call while another thread writes into the arrays; refusals are right, so are odd numbers."""
    model, (y,) = CHANGED[name]()
    if how == "fit, lbfgs":
        model.compile("lbfgs", model.loss, metrics=model.metrics)
    x, y, w = np.tile(X, (40, 1)), np.repeat(y, 40, axis=0), np.ones(40 * ROWS)
    arrays, stop, count = [y, x, w] if also_x else [y], threading.Event(), 0
    good = [array.copy() for array in arrays]
    calls: dict[str, Callable[[], object]] = {
        "evaluate": lambda: model.evaluate(x, y, sample_weight=w, verbose=0),
        "fit_many": lambda: fd.fit_many(model, x, y, starts=4, sample_weight=w, verbose=0),
        "train_on_batch": lambda: model.train_on_batch(x, y, w),
        "loss_and_grad": lambda: model.loss_and_grad(x, y, sample_weight=w),
        "fit, lbfgs": lambda: model.fit(x, y, sample_weight=w, epochs=9, verbose=0),
    }
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stop.clear()
        for array, values in zip(arrays, good, strict=True):
            array[...] = values  # so that the checks at the begin of a call pass
        thread = threading.Timer(0.0005, scribble, (arrays, stop))
        thread.start()
        try:
            calls.get(how, lambda: model.fit(x, y, sample_weight=w, epochs=9, verbose=0))()
        except (ValueError, FloatingPointError):
            pass
        finally:
            stop.set()
            thread.join()
        count += 1
    return count


@attack("calls", short=len(CHANGED) * len(HOW), long=len(CHANGED) * len(HOW) * 2, seconds=(16, 300))
def changed_arrays(tries: Tries) -> None:
    """Labels, rows and weights that another thread overwrites during a call: no crash"""
    total = 0
    for i in tries:
        name, how = list(CHANGED)[i % len(CHANGED)], HOW[i % len(HOW)]
        also_x = i // 2 % 2 == 1
        tries.given(f"{name}{', x and weights' if also_x else ''}; {how}")
        ended = in_child(with_changed_arrays, name, how, also_x, 0.3 if tries.size < 60 else 3.0, seconds=30)
        if ended.how != "returned":
            tries.fail(str(ended))
        else:
            total += ended.value
    tries.note(f"{total} calls")
