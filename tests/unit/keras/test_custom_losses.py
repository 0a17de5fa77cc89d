"""Losses of a user's own in `fastdense.keras`: what is honoured, and what is refused; tests/peers compares numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdense import keras
from fastdense import losses as core
from fastdense.keras import losses, ops

X, Y = np.random.default_rng(0).normal(size=(40, 3)), np.random.default_rng(1).normal(size=(40, 1))


def squared(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


class Thousandfold(losses.MeanSquaredError):  # type: ignore[name-defined, misc]
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return 1000 * super().call(y_true, y_pred)


def model(loss: Any, units: int = 1, last: str | None = None) -> Any:
    made = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units, last)])
    made.compile("sgd", loss)
    made.set_weights([np.linspace(-1, 1, 3 * units).reshape(3, units), np.zeros(units)])
    return made


@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 2, 40)], ids=["equal", "weighted"])
def test_a_function_is_the_loss(weights: Any) -> None:
    expected, found, thousand = (model(loss) for loss in ("mse", squared, Thousandfold()))
    for one in (expected, found):
        one.fit(X, Y, sample_weight=weights, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(found.get_weights()[0], expected.get_weights()[0], rtol=1e-5)
    thousand.set_weights(found.get_weights())
    value = expected.evaluate(X, Y, sample_weight=weights, verbose=0)
    assert found.evaluate(X, Y, sample_weight=weights, verbose=0) == pytest.approx(value, rel=1e-5)
    assert thousand.evaluate(X, Y, sample_weight=weights, verbose=0) == pytest.approx(1000 * value, rel=1e-5)


def test_forms() -> None:
    class Called(losses.Loss):
        def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return ops.mean(ops.abs(y_true - y_pred)) * 3

    class Own(losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return abs(y_true - y_pred)

    for loss in (Called(), Own(), Own, lambda y, p: abs(y - p), losses.LossFunctionWrapper(squared)):
        assert isinstance(losses.lowered(loss), losses.Differentiated)
        model(loss).fit(X, Y, verbose=0)
    for loss, expected in (
        (losses.Huber(0.5), core.Huber(0.5)),
        (losses.mean_squared_error, core.MeanSquaredError()),
        (losses.SparseCategoricalCrossentropy(from_logits=True), core.SparseCategoricalCrossentropy(True)),
        ("mae", core.MeanAbsoluteError()),
    ):
        assert losses.lowered(loss) == expected
    assert Called()(np.ones((1, 1)), 3 * np.ones((1, 1))) == 6
    assert losses.MeanSquaredError()([[0.0, 1.0]], [[2.0, 1.0]]) == 2
    assert losses.MeanSquaredError(reduction="sum")([[0.0], [1.0]], [[2.0], [2.0]], sample_weight=[1, 10]) == 14
    assert losses.MeanSquaredError(reduction="none")([[0.0], [1.0]], [[2.0], [2.0]]).tolist() == [4, 1]


def test_targets_are_as_they_were_given() -> None:
    """Class numbers in one dimension for several outputs, as for one."""
    ids, shapes = np.arange(40) % 3, []

    def sparse(y_true: Any, y_pred: Any) -> Any:
        shapes.append(np.shape(y_true))
        return losses.sparse_categorical_crossentropy(y_true, y_pred)

    found, expected = model(sparse, 3, "softmax"), model("sparse_categorical_crossentropy", 3, "softmax")
    for one in (found, expected):
        one.fit(X, ids, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(found.get_weights()[0], expected.get_weights()[0], rtol=1e-4)
    found.fit(X, ids[:, None], verbose=0)
    assert shapes[0] == (32,)
    assert shapes[-1] == (8, 1)


def test_a_file_names_the_loss(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    made = model(squared)
    made.save(path)
    with pytest.warns(UserWarning, match="the loss 'squared' of your own"):
        keras.models.load_model(path)
    loaded = keras.models.load_model(path, custom_objects={"squared": squared})
    assert loaded.evaluate(X, Y, verbose=0) == pytest.approx(made.evaluate(X, Y, verbose=0))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            lambda y, p: np.linalg.inv(p),
            r"np\.inv of a prediction or of a layer's input has no derivative here.*losses\.Custom",
        ),
        (lambda y, p: ops.cast(p > 0, "float32"), "the loss does not depend on y_pred"),
        (lambda y, p: y, "the loss does not depend on y_pred"),
        (losses.MeanSquaredError(reduction="none"), "reduction='none', and training needs one number"),
        ("msee", "Did you mean 'mse'"),
        (3, "loss=3 is of type int"),
    ],
    ids=["inv", "comparison", "constant", "none", "name", "number"],
)
def test_refused(loss: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        model(loss).fit(X, Y, verbose=0)


def test_weights_need_one_value_a_row() -> None:
    with pytest.raises(ValueError, match="one weight for each row"):
        model(lambda y, p: ops.square(y - p), 2).fit(X, np.hstack([Y, Y]), sample_weight=np.ones(40), verbose=0)


def test_arguments() -> None:
    with pytest.raises(TypeError, match="delt"):
        losses.Huber(delt=2)
    with pytest.raises(ValueError, match="reduction='average' is not known"):
        losses.Huber(reduction="average")
    assert losses.Huber(2.0, name="mine").get_config() == {
        "delta": 2.0,
        "name": "mine",
        "reduction": "sum_over_batch_size",
    }
    with pytest.raises(NotImplementedError, match=r"Loss: call\(y_true, y_pred\) is missing"):
        losses.Loss()([1.0], [1.0])


def test_deserialize() -> None:
    losses = keras.losses
    assert losses.deserialize("huber") is losses.huber and losses.deserialize("f", {"f": losses.huber}) is losses.huber
    assert losses.deserialize(losses.serialize(losses.mean_squared_error)) is losses.mean_squared_error
    made = losses.deserialize(losses.serialize(losses.Huber(0.25, name="h")))
    assert type(made) is losses.Huber and made.get_config() == losses.Huber(0.25, name="h").get_config()
    with pytest.raises(ValueError, match="loss='mea_squared_error' is not a known loss. Did you mean"):
        losses.deserialize("mea_squared_error")
    for family, one in ((keras.regularizers, "L2"), (keras.constraints, "NonNeg")):
        made = getattr(family, one)()
        assert family.deserialize(family.serialize(made)) == made
