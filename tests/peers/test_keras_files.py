"""Files that `fastdense.keras` writes as Keras writes them, `.keras` and `.h5`: Keras computes the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.keras import Input, Model, Sequential, layers
from tests.peers.keras64 import keras

pytest.importorskip("h5py", reason="Keras's files are read and written by h5py")
# Keras warns of the optimizer's state and of HDF5.
pytestmark = [pytest.mark.usefixtures("float32"), pytest.mark.filterwarnings("ignore")]
X = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)


def in_a_row() -> tuple[Any, Any]:
    inner = Sequential([layers.Dense(5, "selu", name="x"), layers.BatchNormalization()], name="inner")
    model = Sequential([Input((4,)), layers.Normalization(), layers.Dense(6), layers.LeakyReLU(), inner, layers.PReLU(),
                        layers.LayerNormalization(), layers.Dropout(0.1), layers.Dense(3, "softmax")])  # fmt: skip
    model.layers[0].adapt(X)
    return model, X


def with_branches() -> tuple[Any, Any]:
    x = Input((4,), name="data")
    a, b = layers.Dense(6, "gelu")(x), layers.Dense(6, use_bias=False)(x)
    c = layers.Add()([a, layers.BatchNormalization()(b)])
    d = layers.Concatenate()([x, layers.Concatenate()([c, layers.Dense(2, "tanh", name="tail")(c)])])
    return Model(x, layers.Dense(1)(layers.UnitNormalization()(d))), X


def with_several_ends() -> tuple[Any, Any]:
    a, b = Input((3,), name="a"), Input((1,), name="b")
    c = layers.Concatenate()([layers.Dense(4)(a), b])
    return Model([a, b], [layers.Dense(1, name="o1")(c), layers.Dense(2, name="o2")(c)]), [X[:, :3], X[:, 3:]]


def with_frozen_layers() -> tuple[Any, Any]:
    model = Sequential([Input((2, 2)), layers.Flatten(), layers.Dense(3), layers.BatchNormalization(),
                        layers.Dense(2, kernel_regularizer="l2")])  # fmt: skip
    model.layers[1].trainable = model.layers[2].trainable = False
    return model, X.reshape(9, 2, 2)


def a_model_in_a_model() -> tuple[Any, Any]:
    x = Input((4,))
    inner = Sequential([layers.Dense(5), layers.PReLU()])
    return Model(x, layers.Dense(1)(layers.Add()([inner(x), layers.Dense(5)(x)]))), X


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("make", [in_a_row, with_branches, with_several_ends, with_frozen_layers, a_model_in_a_model])
def test_keras_reads_ours(make: Callable[[], tuple[Any, Any]], suffix: str, tmp_path: Path) -> None:
    model, x = make()
    random = np.random.default_rng(1)
    model.set_weights([random.uniform(0.2, 1.2, one.shape) for one in model.get_weights()])
    model.compile("adam", {"o1": "mse", "o2": "mae"} if make is with_several_ends else "mse", metrics=None)
    path = tmp_path / f"net.{suffix}"
    model.save(path)
    theirs = keras.saving.load_model(path)
    assert type(theirs.optimizer).__name__ == "Adam"
    for ours, there in zip(listed(model.predict(x, verbose=0)), listed(theirs(x)), strict=True):
        # eight float32 roundings of sums of at most ten terms of size 10
        np.testing.assert_allclose(ours, np.asarray(there), rtol=1e-5, atol=1e-5)
    again = fd.keras.models.load_model(path)
    assert [one.name for one in again.layers] == [one.name for one in model.layers]
    for ours, there in zip(listed(model.predict(x, verbose=0)), listed(again.predict(x, verbose=0)), strict=True):
        np.testing.assert_array_equal(ours, there)


def listed(one: Any) -> list[Any]:
    return list(one) if isinstance(one, (list, tuple)) else [one]


def test_selected_columns(tmp_path: Path) -> None:
    """Keras has no such layer: it gets a Dense of zeros and ones, which is not trained."""
    branch = [fd.SelectColumns([3, 1]), fd.Dense(3, "tanh")]
    model = fd.Model([fd.SelectColumns([2, 0, 1, 3]), fd.Branches([branch, [fd.Dense(2)]]), fd.Dense(1)], inputs=4)
    model.save(tmp_path / "net.keras")
    theirs = keras.saving.load_model(tmp_path / "net.keras")
    np.testing.assert_allclose(np.asarray(theirs(X)), model.predict(X), rtol=1e-5, atol=1e-6)
    assert sum(np.prod(one.shape) for one in theirs.trainable_weights) == model.count_params()
    model.save(tmp_path / "plain.keras", include_optimizer=False)
    np.testing.assert_array_equal(fd.load(tmp_path / "plain.keras").predict(X), model.predict(X))
