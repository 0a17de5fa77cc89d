"""Models that are compiled again from JSON."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdense import keras
from fastdense.keras import Input, Model, Sequential, layers, ops
from fastdense.keras.models import load_model, model_from_json

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 4))
Y = 1.0 * (X[:, :1] > 0)
QUIET: dict[str, Any] = {"verbose": 0, "shuffle": False, "batch_size": 10}


def net() -> Any:
    return Sequential([Input((4,)), layers.Dense(3, "tanh"), layers.Dense(1, "sigmoid")])


def own(y: Any, p: Any) -> Any:
    return 3 * ops.mean(ops.square(y - p), axis=-1)


def huber(y: Any, p: Any) -> Any:
    """Another one than Keras's of this name."""
    return own(y, p)


class Scaled(keras.losses.MeanSquaredError):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return 1000 * super().call(y_true, y_pred)


def trained_alike(model: Any, again: Any, y: Any = Y) -> None:
    """Whether both are compiled, and alike: the same history from the same weights."""
    assert model.compiled and again.compiled
    again.set_weights(model.get_weights())
    assert model.fit(X, y, epochs=2, **QUIET).history == again.fit(X, y, epochs=2, **QUIET).history


DECAY = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)


@pytest.mark.parametrize(
    "given",
    [
        {"optimizer": "adam", "loss": "mse", "metrics": ["mae", "accuracy"]},
        {"optimizer": keras.optimizers.SGD(DECAY, momentum=0.9, clipnorm=1.0), "loss": keras.losses.Huber(0.5)},
        {"loss": keras.losses.mean_absolute_error, "metrics": [keras.metrics.AUC(name="area")], "loss_weights": 0.5},
        {
            "loss": "binary_crossentropy",
            "metrics": {"a": "mse"},
            "weighted_metrics": [keras.metrics.mean_squared_error],
        },
        {"optimizer": "lbfgs", "loss": keras.losses.BinaryCrossentropy(label_smoothing=0.1)},
        {"loss": keras.losses.KLDivergence()},
    ],
)
def test_compiled_alike(given: dict[str, Any]) -> None:
    options = {} if given.get("optimizer") != "lbfgs" else {"batch_size": None}
    model = net()
    model.compile(**given)
    again = model_from_json(model.to_json())
    assert again.get_compile_config() == model.get_compile_config() != {}
    again.set_weights(model.get_weights())
    histories = [one.fit(X, Y, epochs=2, **{**QUIET, **options}).history for one in (model, again)]
    assert histories[0] == histories[1]


def test_several_outputs() -> None:
    inputs = Input((4,))
    model = Model(inputs, [layers.Dense(1, name="a")(inputs), layers.Dense(1, name="b")(inputs)])
    model.compile("sgd", {"a": "mse", "b": "mae"}, loss_weights={"a": 2.0, "b": 0.5}, metrics={"b": ["mse", "mape"]})
    trained_alike(model, model_from_json(model.to_json()), [Y, Y + 1])


def test_what_is_written_are_the_arguments() -> None:
    model = net()
    assert model.get_compile_config() == {} and not model_from_json(model.to_json()).compiled
    model.compile("sgd", "mse", metrics=["mae"])
    config = json.loads(model.to_json())["compile_config"]
    assert {name: config[name] for name in ("loss", "loss_weights", "metrics", "weighted_metrics")} == {
        "loss": "mse", "loss_weights": None, "metrics": ["mae"], "weighted_metrics": None
    }  # fmt: skip
    assert config["optimizer"]["class_name"] == "SGD" and config["optimizer"]["config"]["learning_rate"] == 0.01
    model.optimizer.learning_rate = 0.5
    assert float(model_from_json(model.to_json()).optimizer.learning_rate) == 0.5
    assert not Sequential.from_config(model.get_config()).compiled  # as in Keras


def test_a_model_of_a_file_is_written_with_them(tmp_path: Path) -> None:
    model = net()
    model.compile("adam", "mse", metrics=["mae"])
    model.save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert loaded.get_compile_config() == model.get_compile_config()
    trained_alike(loaded, model_from_json(loaded.to_json()))
    keras.models.clone_model(model).fastdense.save(tmp_path / "plain")
    assert load_model(tmp_path / "plain").get_compile_config() == {}  # it says what is computed, not what was given


@pytest.mark.parametrize(
    ("loss", "metric", "name"),
    [(own, "mae", "own"), (huber, "mae", "huber"), (Scaled(), "mae", "Scaled"), ("mse", own, "own")],
)  # fmt: skip
def test_losses_and_metrics_of_ones_own(loss: Any, metric: Any, name: str) -> None:
    model = net()
    model.compile("sgd", loss, metrics=[metric])
    text = model.to_json()
    with pytest.warns(UserWarning, match=re.escape(f"pass custom_objects={{{name!r}: ...}} or register it")):
        assert not model_from_json(text).compiled
    trained_alike(model, model_from_json(text, {name: {"own": own, "huber": huber, "Scaled": Scaled}[name]}))


def test_registered_losses() -> None:
    @keras.saving.register_keras_serializable("tests")
    def registered(y: Any, p: Any) -> Any:
        return own(y, p)

    model = net()
    model.compile("sgd", registered)
    trained_alike(model, model_from_json(model.to_json()))


def test_what_cannot_be_compiled() -> None:
    model = net()
    model.compile("sgd", "mse")
    config = json.loads(model.to_json())
    config["compile_config"]["optimizer"]["class_name"] = "Lamb"
    with pytest.warns(UserWarning, match="is not compiled: .*Lamb.* Or call model.compile"):
        assert not model_from_json(json.dumps(config)).compiled
    config["compile_config"] |= {"optimizer": "sgd", "loss": "mze"}
    with pytest.warns(UserWarning, match="is not compiled: .*mze"):
        assert not model_from_json(json.dumps(config)).compiled


def test_a_loss_without_a_name() -> None:
    model = net()
    model.compile("sgd", functools.partial(own))
    assert model.get_compile_config() == {} and not model_from_json(model.to_json()).compiled
