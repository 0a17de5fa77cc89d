"""Soak: many calls; memory, threads and descriptors stay as they are."""

from __future__ import annotations

import os
import pickle
import resource
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastdense as fd

from .core import Tries, attack
from .subjects import X, Y, make

MOST_BYTES = 1024.0  # per call
# Of an allocator that keeps what it once had: the slope of few calls says nothing below this in all.
ROOM = 2 << 20


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def loop(tries: Tries, uses: list[Callable[[], object]]) -> None:
    """Make calls by turns, and compare what the process holds in the second half with the end of the first."""
    seen: list[tuple[int, int]] = []
    start: tuple[int, int] | None = None
    made = 0
    for i in tries:
        uses[i % len(uses)]()
        made += 1
        if i % max(1, tries.size // 200) == 0:
            seen.append((i, resident()))
        if made == max(len(uses), 50):
            start = threads_and_descriptors()
    half = seen[len(seen) // 2 :]
    if len(half) < 3 or start is None:
        return
    slope = float(np.polyfit(*np.array(half, dtype=np.float64).T, 1)[0])
    grown = slope * (half[-1][0] - half[0][0])
    tries.note(f"{slope:.0f} bytes per call, {resident() / 1e6:.0f} MB")
    tries.given(f"{made} calls")
    if slope > MOST_BYTES and grown > ROOM:
        tries.fail(f"memory grows by {slope:.0f} bytes per call")
    if (end := threads_and_descriptors()) != start:
        tries.fail(f"(threads, descriptors) were {start} and are {end}")


def threads_and_descriptors() -> tuple[int, int]:
    """Number of threads and of open descriptors of this process."""
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


@attack("fits", short=8000, long=100_000, seconds=(10, 900))
def fits(tries: Tries) -> None:
    """Fits of new and of old models: less than 1 kB of memory per fit, no thread and no descriptor left"""
    old = [make(kind, metrics=["mae"]) for kind in ("plain", "relu", "norm")]
    loop(tries, [
        *(lambda model=model: model.fit(X, Y, verbose=0, n_threads=2) for model in old),
        lambda: make("plain").fit(X, Y, verbose=0, validation_split=0.2),
        lambda: make("residual", "kfac").fit(X, Y, verbose=0),
        lambda: make("plain", "lbfgs").fit(X, Y, verbose=0),
        lambda: make("plain", "levenberg_marquardt").fit(X, Y, verbose=0),
    ])  # fmt: skip


@attack("saves", short=300, long=5000, seconds=(8, 100))
def saves(tries: Tries) -> None:
    """Saves and loads: memory and descriptors stay"""
    model = make("relu")
    loop(tries, [lambda: model.save("net.safetensors"), lambda: fd.load("net.safetensors")] if tries.size else [])


@attack("calls", short=2000, long=200_000, seconds=(10, 400))
def mixed(tries: Tries) -> None:
    """Calls of every kind by turns, refused ones and exceptions included"""
    model = make("relu", metrics=["mae"])
    model.fit(X, Y, verbose=0)

    def refused() -> None:
        try:
            model.fit(X * np.nan, Y, verbose=0)
        except ValueError:
            return
        raise AssertionError("NaN is not refused")

    def stopped() -> None:
        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        try:
            model.fit(X, Y, verbose=0, callbacks=[fd.callbacks.LambdaCallback(on_epoch_end=stop)])
        except KeyboardInterrupt:
            return
        raise AssertionError("the exception is lost")

    def in_thread() -> None:
        thread = threading.Thread(target=lambda: model.fit(X, Y, verbose=0, n_threads=2))
        thread.start()
        thread.join()

    loop(tries, [
        lambda: model.fit(X, Y, verbose=0, probes=True), lambda: model.predict(X), lambda: model.predict(X[:1]),
        lambda: model.evaluate(X, Y, verbose=0), lambda: model.loss_and_grad(X, Y), lambda: model.activations(X),
        lambda: fd.fit_many(model, X, Y, starts=8, verbose=0).best, lambda: fd.cross_validate(make(), X, Y, folds=2),
        lambda: pickle.loads(pickle.dumps(model)), model.clone, lambda: model.compile("adam", "mse", metrics=["mae"]),
        lambda: model.solve_output(X, Y), lambda: model.set_weights(model.get_weights()), refused, stopped, in_thread,
        lambda: model.to("reference").to("cpu"), lambda: model.save("net.safetensors"),
        lambda: fd.load("net.safetensors").fit(X, Y, verbose=0),
        lambda: make("plain").diagnose(X, Y, verify=False, verbose=0),
    ])  # fmt: skip
