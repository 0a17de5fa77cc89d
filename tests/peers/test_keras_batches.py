"""Iterables of batches and numbers of steps: the same calls in Keras and in `fastdense.keras`, the same numbers."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fastdense import keras as ours
from tests.peers.keras64 import keras
from tests.peers.problem import Agree, Array

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:`shuffle=True` was passed:UserWarning")

RANDOM = np.random.default_rng(0)
X, V = RANDOM.normal(size=(100, 4)), RANDOM.normal(size=(60, 4))
Y, VY = (X[:, :1] > 0).astype(float), (V[:, :1] > 0).astype(float)
WEIGHT = RANDOM.uniform(0, 2, 100)
FIRST = [RANDOM.normal(size=(4, 3)), np.zeros(3), RANDOM.normal(size=(3, 1)), np.zeros(1)]


def items(x: Array, y: Array, size: int = 16, passes: int = 100, w: Array | None = None) -> Iterator[Any]:
    for _ in range(passes):
        for i in range(0, len(x), size):
            part = slice(i, i + size)
            yield (x[part], y[part]) if w is None else (x[part], y[part], w[part])


def model(k: ModuleType, metric: str = "mae") -> Any:
    made = k.Sequential([k.Input((4,)), k.layers.Dense(3, "tanh"), k.layers.Dense(1, "sigmoid")])
    made.compile("adam", "binary_crossentropy", metrics=[metric])
    made.set_weights(FIRST)
    return made


def data_set(k: ModuleType, log: list[Any]) -> Any:
    class Rows(k.utils.PyDataset):  # type: ignore[misc,name-defined]
        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> Any:
            log.append(index)
            return X[index * 20 : index * 20 + 20], Y[index * 20 : index * 20 + 20]

        def on_epoch_end(self) -> None:
            log.append("end")

    return Rows()


def history(made: Any, *args: Any, **kwargs: Any) -> dict[str, list[float]]:
    found: dict[str, list[float]] = made.fit(*args, verbose=0, **kwargs).history
    return found


FITS: dict[str, Callable[[ModuleType], Any]] = {
    "a generator": lambda k: history(
        model(k), items(X, Y), steps_per_epoch=5, epochs=3, validation_data=items(V, VY), validation_steps=4
    ),
    "validation with arrays": lambda k: history(
        model(k), items(X, Y), steps_per_epoch=7, epochs=2, validation_data=(V, VY), validation_steps=2,
        validation_batch_size=7,
    ),
    "weights": lambda k: history(model(k), items(X, Y, w=WEIGHT), steps_per_epoch=5, epochs=2)["loss"],
    "a generator without steps": lambda k: history(model(k), items(X, Y, passes=1), epochs=3),
    "a generator that is too short": lambda k: history(model(k), items(X, Y, passes=1), steps_per_epoch=5, epochs=3),
    "steps of arrays": lambda k: history(
        model(k), X, Y, steps_per_epoch=3, batch_size=16, epochs=4, shuffle=False, validation_data=(V, VY),
        validation_steps=2, validation_freq=2,
    ),
    "steps instead of a batch size": lambda k: history(model(k), X, Y, steps_per_epoch=3, epochs=2, shuffle=False),
    "too many steps": lambda k: history(
        model(k), X, Y, steps_per_epoch=30, batch_size=16, epochs=2, shuffle=False
    ),
    "some epochs": lambda k: history(
        model(k), X, Y, epochs=4, shuffle=False, validation_data=[V, VY], validation_freq=[1, 3]
    ),
    "positions": lambda k: model(k).fit(X, Y, 16, 2, False, shuffle=False).history,
    "evaluate": lambda k: [
        model(k).evaluate(items(V, VY), steps=4, verbose=0),
        model(k).evaluate(V, VY, batch_size=16, steps=2, verbose=0),
        model(k).evaluate(V, VY, steps=2, verbose=0),
    ],
    "predict": lambda k: [
        model(k).predict(items(V, VY), steps=3, verbose=0),
        model(k).predict(V, steps=2, batch_size=16, verbose=0),
        model(k).predict(V, steps=2, verbose=0),
    ],
}  # fmt: skip


def in_float64(call: Callable[[ModuleType], Any]) -> tuple[Any, Any]:
    """What the call gives with `fastdense.keras`, and with Keras."""
    ours.backend.set_floatx("float64")
    try:
        mine = call(ours)
    finally:
        ours.backend.set_floatx("float32")
    return mine, call(keras)


def compare(agree: Agree, mine: Any, theirs: Any) -> None:
    if isinstance(theirs, dict):
        assert list(mine) == list(theirs)
        mine, theirs = list(mine.values()), list(theirs.values())
    for one, other in zip(mine, theirs, strict=True):
        agree([one], [other])


@pytest.mark.filterwarnings("ignore:.*ran out of data")
@pytest.mark.parametrize("name", FITS)
def test_same_numbers(name: str, agree: Agree) -> None:
    compare(agree, *in_float64(FITS[name]))


@pytest.mark.parametrize("name", ["a generator without steps", "a generator that is too short", "too many steps"])
def test_both_warn(name: str) -> None:
    for k in (ours, keras):
        with pytest.warns(UserWarning, match="our input ran out of data"):
            FITS[name](k)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*ran out of data")
        for k in (ours, keras):
            FITS["a generator"](k)


@pytest.mark.filterwarnings("ignore:.*ran out of data")
@pytest.mark.parametrize("options", [{}, {"shuffle": False, "steps_per_epoch": 3}], ids=["shuffled", "in order"])
def test_same_order_of_a_data_set(options: dict[str, Any], agree: Agree) -> None:
    """Keras draws an item before it begins, and shuffles the order of the batches by Python's generator."""
    logs: list[list[Any]] = []

    def call(k: ModuleType) -> Any:
        random.seed(3)
        logs.append([])
        made = model(k)
        first = history(made, data_set(k, logs[-1]), epochs=2, **options)
        history(made, data_set(k, logs[-1]), validation_data=data_set(k, logs[-1]), epochs=2, **options)
        return {**first, "weights": np.concatenate([one.ravel() for one in made.get_weights()])}

    compare(agree, *in_float64(call))
    assert logs[0] == logs[1]


def test_same_numbers_batch_by_batch(agree: Agree) -> None:
    """Metrics are computed anew in every call."""

    def call(k: ModuleType) -> Any:
        made, part = model(k), slice(0, 10)
        found = [made.train_on_batch(X[i : i + 10], Y[i : i + 10]) for i in range(0, 50, 10)]
        by_name = made.train_on_batch(X[part], Y[part], return_dict=True)
        made.reset_metrics()
        weighted = [
            made.train_on_batch(X[part], Y[part], sample_weight=WEIGHT[part])[0],
            made.train_on_batch(X[part], Y[part], class_weight={0: 1.0, 1: 2.0})[0],
            made.test_on_batch(X[part], Y[part], sample_weight=WEIGHT[part])[0],
        ]
        tested = made.test_on_batch(X[part], Y[part], return_dict=True)
        names = sorted(by_name)
        numbers = [by_name[name] for name in names] + [tested[name] for name in names]
        return [found, weighted, numbers, made.predict_on_batch(X[part])]

    compare(agree, *in_float64(call))


def test_same_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """But for the times, and for lines that Keras prints meanwhile."""
    shown = []
    for k in (ours, keras):
        made = model(k)
        made.fit(X, Y, epochs=2, verbose=2, shuffle=False, validation_data=(V, VY))
        made.fit(X, Y, verbose=2, shuffle=False)
        made.fit(items(X, Y), steps_per_epoch=3, epochs=2, verbose=2)
        made.evaluate(V, VY, verbose=2)
        text = capsys.readouterr().out
        shown.append(
            [[word for word in line.split() if not word.endswith(("s", "s/step"))] for line in text.splitlines()]
        )
    assert shown[0] == shown[1]
