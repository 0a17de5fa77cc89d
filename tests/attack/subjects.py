"""Small nets and data that the attacks share, and what must hold of a model after each of them."""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastdense as fd
from fastdense.data.prepare import prepare

Array = NDArray[Any]

ROWS, INPUTS, OUTPUTS = 48, 4, 3
_RNG = np.random.RandomState(0)
X = _RNG.uniform(-1, 1, (ROWS, INPUTS)).astype(np.float32)
Y = np.tanh(X[:, :OUTPUTS] - X[:, 1:]).astype(np.float32)
IDS = Y.argmax(1)
PROBABLE = ((Y + 1) / 2).astype(np.float32)


def import_all() -> None:
    """Import every module of the package but the compiled ones, which another user may not be able to read later.

    Those for libraries that are not installed are left out.
    """
    for module in pkgutil.walk_packages(fd.__path__, "fastdense."):
        if not module.name.rpartition(".")[2].startswith("_") and "examples" not in module.name:
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                if str(error.name).startswith("fastdense"):
                    raise


def layers(kind: str = "plain") -> list[Any]:
    """Layers of a small net with OUTPUTS columns."""
    return {
        "plain": [fd.Dense(6, "tanh"), fd.Dense(OUTPUTS)],
        "relu": [fd.Dense(8, "relu"), fd.Dropout(0.2), fd.Dense(OUTPUTS)],
        "norm": [fd.Normalization(), fd.Dense(6), fd.BatchNorm(), fd.Activation("silu"), fd.Dense(OUTPUTS)],
        "residual": [fd.Dense(6), fd.Residual([fd.LayerNorm(), fd.Dense(6, "gelu")]), fd.Dense(OUTPUTS)],
        "penalty": [fd.Dense(6, "elu", kernel_regularizer="l2"), fd.Dense(OUTPUTS), fd.Rescaling([1, 2, 3])],
        "classes": [fd.Dense(6, "tanh"), fd.Dense(OUTPUTS, "softmax")],
    }[kind]


def make(
    kind: str = "plain", optimizer: Any = "adam", loss: Any = "mse", metrics: Any = None, **options: Any
) -> fd.Model:
    """A compiled small net."""
    if kind == "classes" and loss == "mse":
        loss = "sparse_categorical_crossentropy"
    model = fd.Model(layers(kind), inputs=INPUTS, **options)
    model.compile(optimizer, loss, metrics=metrics)
    return model


def targets(model: fd.Model) -> Array:
    """Targets for a model of `make`."""
    return IDS if model.loss.sparse else Y


def state(model: fd.Model) -> tuple[int, str]:
    """Steps and a checksum of weights and optimizer state."""
    with model.runner.lock:
        arrays = [*model.get_weights(), *(array for slot in model.runner.slots() for array in slot)]
        sums = hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:16]
        return model.runner.step, sums


def after_steps(
    twin: fd.Model, steps: int, x: Array, y: Array, batch_size: int, shuffle: bool = True
) -> tuple[int, str]:
    """State of a model after so many steps from where it is."""
    if steps:
        data = prepare("attack", x, y, None, twin._shape, twin.loss)
        twin.runner.adapt(data.x)
        twin.runner.train(twin.optimizer, data, None, batch_size=batch_size, shuffle=shuffle, steps=steps)
    return state(twin)


def goes_on(model: fd.Model) -> str:
    """What is wrong if a model cannot be trained and used; an empty string if it can."""
    model.fit(
        X, targets(model), epochs=model.runner.epochs_trained + 1, initial_epoch=model.runner.epochs_trained, verbose=0
    )
    out = model.predict(X)
    return (
        "" if out.shape == (ROWS, OUTPUTS) and np.isfinite(out).all() else "predict returns numbers that are not finite"
    )


@contextmanager
def beside(*functions: Callable[[], object]) -> Iterator[list[BaseException]]:
    """Run functions again and again in daemon threads; gives a list of what they raised, each of which ended one."""
    raised: list[BaseException] = []
    done = threading.Event()

    def work(function: Callable[[], object]) -> None:
        try:
            while not done.is_set():
                function()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=work, args=(function,), daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    try:
        yield raised
    finally:
        done.set()
        for thread in threads:
            thread.join(10)
            if thread.is_alive():
                raised.append(TimeoutError("a thread is still inside a call after 10 s"))


def timed(function: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began
