"""The same script with Keras's import lines and with `fastdense.keras`'s: the same numbers."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.peers.keras64 import in_both
from tests.peers.problem import Agree, Array

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's __array__

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(-1, 1, (150, 2))
IMAGES = RANDOM.uniform(0, 1, (150, 5, 4))
LABELS = np.arange(150) % 3


def identity(k: ModuleType) -> tuple[Any, Array, Array]:
    x = IMAGES.reshape(150, 20)
    model = k.models.Sequential()
    model.add(k.layers.Dense(20, activation="relu", input_shape=(20,)))
    model.add(k.layers.Dense(20, activation="relu"))
    model.compile(
        loss="mean_squared_error", optimizer=k.optimizers.RMSprop(), metrics=["mean_absolute_percentage_error"]
    )
    return model, x, x


def pyramid(k: ModuleType) -> tuple[Any, Array, Array]:
    model = k.Sequential([k.layers.Dense(3, input_shape=(2,)), k.layers.LeakyReLU(), k.layers.Dense(1)])
    model.compile("adam", "mse")
    return model, X, np.hypot(X[:, 0], X[:, 1])


def exercise(k: ModuleType) -> tuple[Any, Array, Array]:
    l2 = k.regularizers.l2(1)
    model = k.models.Sequential()
    model.add(k.layers.Dense(5, input_shape=(20,), kernel_regularizer=l2, activation="sigmoid"))
    model.add(k.layers.Dense(3, kernel_regularizer=l2, activation="sigmoid"))
    model.compile(loss="categorical_crossentropy", optimizer="sgd", metrics=["accuracy"])
    return model, IMAGES.reshape(150, 20), k.utils.to_categorical(LABELS)


def images(k: ModuleType) -> tuple[Any, Array, Array]:
    model = k.Sequential([k.Input(shape=(5, 4)), k.layers.Flatten(), k.layers.Dense(6, k.activations.tanh),
                          k.layers.BatchNormalization(), k.layers.Dense(3, activation="softmax")])  # fmt: skip
    rate = k.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)
    model.compile(k.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, IMAGES, LABELS


def several_sigmoids(k: ModuleType) -> tuple[Any, Array, Array]:
    """Accuracy goes by the shapes, whatever the loss."""
    model = k.Sequential([k.Input((20,)), k.layers.Dense(4, "elu"), k.layers.Dense(3, "sigmoid")])
    sgd = k.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
    model.compile(sgd, "binary_crossentropy", metrics=["accuracy", "mae"])
    return model, IMAGES.reshape(150, 20), k.utils.to_categorical(LABELS)


def functional(k: ModuleType) -> tuple[Any, Array, Array]:
    x = k.Input(shape=(20,))
    y = k.layers.Dense(8, kernel_regularizer="l2")(k.layers.LayerNormalization()(x))
    model = k.Model(x, k.layers.Dense(1)(k.layers.Activation("gelu")(y)))
    model.compile(k.optimizers.Nadam(0.01, clipnorm=0.1), "huber", metrics=["mse"])
    return model, IMAGES.reshape(150, 20), IMAGES.sum(axis=(1, 2))


@pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`:UserWarning")
@pytest.mark.parametrize("script", [identity, pyramid, exercise, images, several_sigmoids, functional])
def test_same_script_same_numbers(script: Any, agree: Agree, capsys: pytest.CaptureFixture[str]) -> None:
    (theirs, x, y), mine = in_both(script)
    mine.set_weights(theirs.get_weights())
    options: dict[str, Any] = {"epochs": 3, "shuffle": False, "validation_split": 0.2, "verbose": 0}
    histories = [model.fit(x, y, **options).history for model in (mine, theirs)]
    assert list(histories[0]) == sorted(histories[1], key=list(histories[0]).index)
    for key, values in histories[1].items():
        agree([histories[0][key]], [values])
    agree([mine.evaluate(x, y, verbose=0)], [theirs.evaluate(x, y, verbose=0)])
    agree([mine.predict(x, verbose=0)], [theirs.predict(x, verbose=0)])
    capsys.readouterr()
    for model in (mine, theirs):
        model.fit(x, y, epochs=2, verbose=1)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Epoch")]
    assert lines == ["Epoch 1/2", "Epoch 2/2"] * 2
