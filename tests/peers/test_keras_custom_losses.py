"""Losses of a user's own, written with `keras.ops`: values, gradients and trainings as in Keras."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastdense import keras as ours
from fastdense.keras import losses
from tests.peers.keras64 import jax, keras, np_array
from tests.peers.problem import Agree

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's __array__

Array = NDArray[Any]
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.uniform(-1, 1, (60, 4)), RANDOM.uniform(0.05, 0.95, (60, 3))
BITS, ONE_HOT, WEIGHTS = (Y > 0.5).astype(float), np.eye(3)[np.arange(60) % 3], RANDOM.uniform(0.5, 2, 60)
Made = Callable[[ModuleType], Any]  # from Keras, or ours, to a loss


def huber(k: ModuleType) -> Any:
    def loss(y_true: Any, y_pred: Any) -> Any:
        error = y_true - y_pred
        small = k.ops.abs(error) <= 0.2
        return k.ops.where(small, k.ops.square(error) / 2, 0.2 * (k.ops.abs(error) - 0.1))

    return loss


def weighted_mse(k: ModuleType) -> Any:
    def loss(weight: float, y_true: Any, y_pred: Any) -> Any:
        factor = k.ops.where(y_true > 0.5, weight, 1.0)
        return k.ops.mean(factor * k.ops.square(y_true - y_pred), axis=-1)

    return functools.partial(loss, 3.0)


def quantile(k: ModuleType) -> Any:
    class Quantile(k.losses.Loss):  # type: ignore[name-defined, misc]
        def __init__(self, q: float) -> None:
            super().__init__(name="quantile")
            self.q = q

        def call(self, y_true: Any, y_pred: Any) -> Any:
            e = y_true - y_pred
            return k.ops.mean(k.ops.maximum(self.q * e, (self.q - 1) * e), axis=-1)

    return Quantile(0.8)


def focal(k: ModuleType) -> Any:
    def loss(y_true: Any, y_pred: Any) -> Any:
        p = k.ops.clip(y_pred, 1e-7, 1 - 1e-7)
        right = k.ops.where(k.ops.equal(y_true, 1), p, 1 - p)
        alpha = y_true * 0.25 + (1 - y_true) * 0.75
        return -k.ops.sum(alpha * k.ops.power(1.0 - right, 2.0) * k.ops.log(right), axis=1)

    return loss


def smooth_l1(k: ModuleType) -> Any:
    class SmoothL1(k.losses.Loss):  # type: ignore[name-defined, misc]
        def call(self, y_true: Any, y_pred: Any) -> Any:
            e = abs(y_true - y_pred)
            return k.ops.where(e < 1.0, 0.5 * e**2, e - 0.5)

    return SmoothL1(reduction="sum")


def rmse(k: ModuleType) -> Any:
    return lambda y_true, y_pred: k.ops.sqrt(k.ops.mean(k.ops.square(y_pred - y_true)))


def dice(k: ModuleType) -> Any:
    def loss(y_true: Any, y_pred: Any) -> Any:
        overlap = k.ops.sum(y_true * y_pred, axis=0)
        return 1 - k.ops.mean((2.0 * overlap + 1.0) / (k.ops.sum(y_true, axis=0) + k.ops.sum(y_pred, axis=0) + 1.0))

    return loss


def contrastive(k: ModuleType) -> Any:
    """The first two outputs are a point, the third a radius; the batch is compared with itself."""

    def loss(y_true: Any, y_pred: Any) -> Any:
        points, radius = y_pred[:, :2], k.ops.softplus(y_pred[:, 2:])
        apart = k.ops.expand_dims(points, 1) - k.ops.expand_dims(points, 0)
        distance = k.ops.sqrt(k.ops.sum(k.ops.square(apart), axis=-1) + 1e-6)
        alike = k.ops.cast(k.ops.equal(y_true[:, :1], k.ops.transpose(y_true[:, :1])), distance.dtype)
        return k.ops.mean(alike * distance + (1.0 - alike) * k.ops.relu(radius - distance), axis=-1)

    return loss


def log_cosh(k: ModuleType) -> Any:
    def loss(y_true: Any, y_pred: Any) -> Any:
        e = y_pred - y_true
        return k.ops.mean(e + k.ops.softplus(-2.0 * e) - k.ops.log(2.0), axis=-1)

    return loss


def divergence(k: ModuleType) -> Any:
    def loss(y_true: Any, y_pred: Any) -> Any:
        p = k.ops.softmax(y_pred)
        logs = k.ops.log_softmax(k.ops.stop_gradient(y_pred) * 0.5)
        return k.ops.sum(y_true * (k.ops.log(y_true + 1e-7) - k.ops.log(p)), axis=-1) + 0.1 * k.ops.max(
            p - logs, axis=1
        )

    return loss


def built_in_inside(k: ModuleType) -> Any:
    def loss(y_true: Any, y_pred: Any) -> Any:
        both = k.losses.mean_squared_error(y_true, y_pred) + 0.1 * k.losses.cosine_similarity(y_true, y_pred)
        return both + 0.5 * k.losses.BinaryCrossentropy(from_logits=True)(y_true, y_pred)

    return loss


def thousandfold(k: ModuleType) -> Any:
    class Thousandfold(k.losses.MeanSquaredError):  # type: ignore[name-defined, misc]
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return 1000 * super().call(y_true, y_pred)

    return Thousandfold()


CASES: dict[str, tuple[Made, Array, str, bool]] = {  # targets, last activation, whether rows have weights
    "huber": (huber, Y, "linear", False),
    "weighted_mse": (weighted_mse, Y, "linear", True),
    "quantile": (quantile, Y, "linear", True),
    "focal": (focal, BITS, "sigmoid", True),
    "smooth_l1": (smooth_l1, Y, "linear", False),
    "rmse": (rmse, Y, "linear", True),
    "dice": (dice, BITS, "sigmoid", False),
    "contrastive": (contrastive, BITS, "linear", True),
    "log_cosh": (log_cosh, Y, "linear", False),
    "divergence": (divergence, ONE_HOT, "linear", True),
    "built_in_inside": (built_in_inside, BITS, "linear", True),
    "thousandfold": (thousandfold, Y, "linear", True),
}
KERAS = ("BinaryFocalCrossentropy", "CategoricalFocalCrossentropy", "CategoricalHinge", "CosineSimilarity", "Dice",
         "KLDivergence", "MeanSquaredLogarithmicError", "SquaredHinge", "Tversky")  # fmt: skip
CASES |= {name: (lambda k, name=name: getattr(k.losses, name)(), BITS, "sigmoid", True) for name in KERAS}
CASES |= {
    "logits": (lambda k: k.losses.CategoricalFocalCrossentropy(from_logits=True), ONE_HOT, "linear", True),
    "sum": (lambda k: k.losses.MeanAbsoluteError(reduction="sum"), Y, "linear", True),
    "tversky": (lambda k: k.losses.Tversky(alpha=0.3, beta=0.6), BITS, "sigmoid", True),
    "weighted mean": (lambda k: k.losses.Huber(0.3, reduction="mean_with_sample_weight"), Y, "linear", True),
}


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name: str, agree: Agree) -> None:
    make, y, last, weighted = CASES[name]
    p = RANDOM.uniform(0.1, 0.9, (60, 3)) if last == "sigmoid" else RANDOM.normal(size=(60, 3))
    w = WEIGHTS if weighted else None
    rows, gradient = losses.lowered(make(ours)).of_batch(y, p, w, True)  # type: ignore[attr-defined]
    theirs = make(keras)
    wrapped = theirs if isinstance(theirs, keras.losses.Loss) else keras.losses.Loss()
    if wrapped is not theirs:
        from keras.src.losses.losses import LossFunctionWrapper

        wrapped = LossFunctionWrapper(theirs, name="own")
    value, exact = jax.value_and_grad(lambda q: wrapped(y, q, sample_weight=w))(p)
    agree([rows.mean()], [np_array(value)], 1e-12)
    agree([gradient], [np_array(exact)], 1e-12)


@pytest.mark.parametrize("name", CASES)
def test_training(name: str, agree: Agree) -> None:
    make, y, last, weighted = CASES[name]
    found = []
    for k in (keras, ours):
        k.config.set_floatx("float64")
        model = k.Sequential([k.Input((4,)), k.layers.Dense(5, "tanh"), k.layers.Dense(3, last)])
        found.append(model)
        model.compile(k.optimizers.Adam(0.01), loss=make(k))
    found[1].set_weights([np.asarray(array) for array in found[0].get_weights()])
    options: dict[str, Any] = {"batch_size": 16, "epochs": 3, "shuffle": False, "verbose": 0}
    w = WEIGHTS if weighted else None
    validation = (X[:20], y[:20])
    histories = [model.fit(X, y, sample_weight=w, validation_data=validation, **options).history for model in found]
    agree(found[1].get_weights(), [np_array(array) for array in found[0].get_weights()], 1e-10)
    for key, values in histories[0].items():
        np.testing.assert_allclose(histories[1][key], values, rtol=2e-6)  # Keras averages in float32
    results = [model.evaluate(X, y, sample_weight=w, verbose=0) for model in found]
    assert results[1] == pytest.approx(results[0], rel=2e-6)
    ours.config.set_floatx("float32")
