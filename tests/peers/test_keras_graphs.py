"""Nets with branches and several inputs: the same script in Keras and in `fastdense.keras`, the same numbers."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fastdense import keras as ours
from tests.peers.keras64 import in_both, keras
from tests.peers.problem import Agree, Array

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's __array__

RANDOM = np.random.default_rng(2)
WIDE, DEEP = RANDOM.normal(5, 3, (120, 5)), RANDOM.normal(-2, 0.5, (120, 6))
IMAGES = RANDOM.uniform(0, 1, (120, 3, 2))
Y = np.sin(WIDE[:, :1] / 3) + DEEP[:, :1] * DEEP[:, 1:2]


def wide_and_deep(k: ModuleType) -> tuple[Any, Any, Array]:
    inputs = k.Input(shape=(5,))
    hidden = k.layers.Dense(30, activation="tanh")(k.layers.Dense(30, activation="tanh")(inputs))
    model = k.Model(inputs=[inputs], outputs=[k.layers.Dense(1)(k.layers.Concatenate()([inputs, hidden]))])
    model.compile("adam", "mse", metrics=["mae"])
    return model, WIDE / 5, Y


def two_inputs(k: ModuleType) -> tuple[Any, Any, Array]:
    wide, deep = k.layers.Input(shape=(5,)), k.layers.Input(shape=(6,))
    scale_wide, scale_deep = k.layers.Normalization(), k.layers.Normalization()
    hidden = k.layers.Dense(30, activation="tanh")(scale_deep(deep))
    hidden = k.layers.Dense(30, activation="tanh")(hidden)
    output = k.layers.Dense(1)(k.layers.concatenate([scale_wide(wide), hidden]))
    model = k.Model(inputs=[wide, deep], outputs=[output])
    model.compile(loss="mse", optimizer=k.optimizers.Adam(learning_rate=1e-3), metrics=["mae"])
    scale_wide.adapt(WIDE)
    scale_deep.adapt(DEEP)
    return model, [WIDE, DEEP], Y


def by_name(k: ModuleType) -> tuple[Any, Any, Array]:
    image, table = k.Input((3, 2), name="image"), k.Input((6,), name="table")
    left = k.layers.Dense(4, activation="gelu")(k.layers.Flatten()(image))
    right = k.layers.BatchNormalization()(k.layers.Dense(4, use_bias=False)(table))
    model = k.Model([image, table], k.layers.Dense(1)(k.layers.Multiply()([left, right])))
    model.compile(k.optimizers.SGD(0.05, momentum=0.9), "mse")
    return model, {"table": DEEP, "image": IMAGES}, Y


def merges(k: ModuleType) -> tuple[Any, Any, Array]:
    inputs = k.Input((5,))
    x = k.layers.Dense(6, activation="tanh")(inputs)
    for merge in (k.layers.Maximum(), k.layers.Average(), k.layers.Minimum(), k.layers.Subtract(), k.layers.Add()):
        x = merge([k.layers.Dense(6)(x), k.layers.Dense(6, activation="tanh", kernel_regularizer="l2")(x)])
    x = k.layers.multiply([x, k.layers.Dense(6, activation="sigmoid")(x), x])
    model = k.Model(inputs, k.layers.Dense(1)(k.layers.LayerNormalization()(k.layers.average([x, x]))))
    model.compile("rmsprop", "mse")
    return model, WIDE / 5, Y


def dense_blocks(k: ModuleType) -> tuple[Any, Any, Array]:
    """Each layer gets the outputs of all before it, and a shorter branch comes before a longer one."""
    x = k.Input((5,))
    first = x
    for _ in range(3):
        x = k.layers.concatenate([x, k.layers.Dense(3, activation="tanh")(x)])
    short = k.layers.Dense(2, name="short")(x)
    middle = k.layers.Dense(4, activation="tanh")(x)
    parts = [k.layers.Dense(2)(middle), short, k.layers.Dense(3)(middle)]
    model = k.Model(first, k.layers.Dense(1)(k.layers.Concatenate()(parts)))
    model.compile("adam", "mse")
    return model, WIDE / 5, Y


SCRIPTS = [wide_and_deep, two_inputs, by_name, merges, dense_blocks]


@pytest.mark.parametrize("script", SCRIPTS)
def test_same_script_same_numbers(script: Any, agree: Agree) -> None:
    (theirs, x, y), mine = in_both(script)
    assert [type(one).__name__ for one in mine.layers] == [type(one).__name__ for one in theirs.layers]
    assert [one.shape for one in mine.inputs] == [one.shape for one in theirs.inputs]
    mine.set_weights(theirs.get_weights())
    for a, b in zip(mine.layers, theirs.layers, strict=True):
        agree(a.get_weights(), b.get_weights())
    agree([mine.predict(x, verbose=0)], [theirs.predict(x, verbose=0)])
    options: dict[str, Any] = {"epochs": 5, "batch_size": 25, "shuffle": False, "validation_split": 0.2, "verbose": 0}
    histories = [model.fit(x, y, **options).history for model in (mine, theirs)]
    for key, values in histories[1].items():
        agree([histories[0][key]], [values])
    agree([mine.evaluate(x, y, verbose=0)], [theirs.evaluate(x, y, verbose=0)])
    agree([mine.predict(x, verbose=0)], [theirs.predict(x, verbose=0)])
    agree(mine.get_weights(), theirs.get_weights())


def call_of_two(k: ModuleType, kind: str) -> Any:
    """A subclass with a call() of two inputs, in a list, a tuple or a dict."""

    class WideAndDeep(k.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.join = k.layers.Dense(4, "tanh", kernel_initializer="ones"), k.layers.Concatenate()
            self.drop, self.last = k.layers.Dropout(0.0), k.layers.Dense(1, kernel_initializer="ones")

        def call(self, x: Any, training: Any = None) -> Any:
            wide, deep = (x["wide"], x["deep"]) if kind == "dict" else x
            return self.last(self.drop(self.join([wide, self.hidden(deep)]), training=training))

    return WideAndDeep()


@pytest.mark.parametrize("kind", ["list", "tuple", "dict"])
def test_calls_with_two_inputs(kind: str) -> None:
    rng = np.random.default_rng(5)
    wide, deep = rng.uniform(-1, 1, (24, 3)), rng.uniform(-1, 1, (24, 2))
    x: Any = {"list": [wide, deep], "tuple": (wide, deep), "dict": {"wide": wide, "deep": deep}}[kind]
    found = []
    for k in (ours, keras):
        model = call_of_two(k, kind)
        model.compile(k.optimizers.SGD(0.05), "mse")
        history = model.fit(x, wide[:, :1], batch_size=8, epochs=3, shuffle=False, verbose=0).history
        found.append((history["loss"], model.predict(x, verbose=0), np.asarray(model(x)), *model.get_weights()))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
