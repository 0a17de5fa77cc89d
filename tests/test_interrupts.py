"""Ctrl-C, exceptions and threads: the model is always that of a finished step."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastdense as fd
from fastdense.data import prepare

Array = NDArray[Any]

RNG = np.random.RandomState(0)
X = RNG.rand(50, 4).astype(np.float32)
Y = RNG.rand(50, 2).astype(np.float32)


def make(device: str, *layers: Any) -> fd.Model:
    model = fd.Model(list(layers) or [fd.Dense(6, "tanh"), fd.Dense(2)], inputs=4, device=device)
    model.compile("adam", "mse")
    return model


def same(a: list[Array], b: list[Array]) -> bool:
    return len(a) == len(b) and all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("verbose", [0, 2])
def test_ctrl_c(device: str, verbose: int, capsys: pytest.CaptureFixture[str]) -> None:
    model, other = make(device), make(device)
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.3, press)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=10**8, batch_size=8, verbose=verbose)
    assert time.monotonic() - pressed[0] < 1.0  # 0.2 s and some patience for a busy machine
    timer.join()
    assert model.history is not None
    step, finished = model.machine.step, len(model.history.epoch)
    assert step > 0 and finished == step // 7 == model.machine.epochs_trained == len(model.history.history["loss"])
    data = prepare("test", X, Y, None, model._shape, model.loss)
    other.machine.train(other.optimizer, data, None, batch_size=8, shuffle=True, steps=step)
    assert same(model.get_weights(), other.get_weights())
    assert same(*(sum(m.machine.slots(), []) for m in (model, other)))
    assert len(model.fit(X, Y, epochs=2, verbose=0).epoch) == 2


@pytest.mark.parametrize("hook", ["on_epoch_end", "on_train_batch_end", "on_epoch_begin"])
def test_an_exception_in_a_callback(device: str, hook: str) -> None:
    model = make(device)
    calls: list[int] = []

    def stop(number: int, logs: Any) -> None:
        calls.append(number)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=5, batch_size=25, verbose=0, callbacks=[fd.callbacks.LambdaCallback(**{hook: stop})])
    steps, epochs, recorded = {"on_epoch_end": (6, 3, 3), "on_train_batch_end": (3, 1, 1), "on_epoch_begin": (4, 2, 2)}[
        hook
    ]
    assert (model.machine.step, model.machine.epochs_trained) == (steps, epochs)
    assert model.history is not None and len(model.history.epoch) == recorded
    model.fit(X, Y, verbose=0)


def test_threads_share_a_model(device: str) -> None:
    model = make(device, fd.Dense(16, "tanh"), fd.Dense(2))
    expected = model.predict(X)
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(20):
            if not np.array_equal(model.predict(X[k:]), expected[k:]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(wrong, [])
