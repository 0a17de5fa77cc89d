"""Operations between layers in configs, files and copies."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdense.keras import Input, Model, layers, ops
from fastdense.keras.models import clone_model, load_model, model_from_json

RANDOM = np.random.default_rng(0)
A, B = RANDOM.normal(size=(40, 4)), RANDOM.normal(size=(40, 3))
Y = np.sin(A[:, :1]) + B[:, :1]


def net() -> Any:
    """Operations before, between and behind layers, in one another, of several tensors, and shared ones."""
    first, second = Input((4,), name="first"), Input((3,), name="second")
    wave = ops.sin(first)
    twice = wave * 2
    one, two = layers.Dense(2, name="one")(wave), layers.Dense(2, name="two")(twice)
    x = 2.0 * first[:, :2] + layers.Dense(2, name="three")(first)
    x = ops.concatenate([x, one * two, ops.sin(first), np.array([1.0, -2.0, 0.5]) * second[..., ::-1]], axis=-1)
    x = ops.where(x > 0.5, x, ops.clip(x, -1, 1))
    mean = ops.mean(x, axis=-1, keepdims=True)
    return Model([first, second], [mean, layers.Dense(1, name="last")(mean + x[:, :1])])


def test_models_made_from_configs_give_the_same_numbers() -> None:
    model = net()
    want = model.predict([A, B], verbose=0)
    for made in (model_from_json(model.to_json()), Model.from_config(model.get_config()), clone_model(model)):
        assert [one.name for one in made.layers] == [one.name for one in model.layers]
        assert made.output_names == model.output_names and not np.array_equal(
            made.predict([A, B], verbose=0)[1], want[1]
        )
        made.set_weights(model.get_weights())
        for found, one in zip(made.predict([A, B], verbose=0), want, strict=True):
            np.testing.assert_array_equal(found, one)
        assert json.loads(made.to_json())["config"]["layers"] == json.loads(model.to_json())["config"]["layers"]


def test_files(tmp_path: Path) -> None:
    model = net()
    model.compile("adam", ["mse", "mae"])
    model.fit([A, B], [Y, Y], epochs=1, verbose=0)
    model.save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    histories = [one.fit([A, B], [Y, Y], epochs=2, verbose=0).history for one in (model, loaded)]
    assert histories[0] == histories[1]


def test_a_layer_that_calls_others_between_operations(tmp_path: Path) -> None:
    class Gated(layers.Layer):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.inner = layers.Dense(4)

        def call(self, x: Any) -> Any:
            return x + self.inner(x) * ops.sigmoid(x)

    inputs = Input((4,))
    model = Model(inputs, layers.Dense(1)(Gated()(inputs)))
    model.save(tmp_path / "m")  # it has no get_config() of its own, so that its layers and operations are kept
    np.testing.assert_array_equal(load_model(tmp_path / "m").predict(A, verbose=0), model.predict(A, verbose=0))


def test_the_config() -> None:
    inputs = Input((4,), name="x")
    model = Model(inputs, 2.0 * inputs[:, 1:] - ops.max(inputs, axis=-1, keepdims=True))
    layer = model.get_config()["layers"][-1]
    tensor: Callable[[int], Any] = lambda i: {"class_name": "__keras_tensor__", "config": {"index": i}}  # noqa: E731
    part: Callable[..., Any] = lambda *given: {  # noqa: E731
        "class_name": "__slice__", "config": dict(zip(("start", "stop", "step"), given, strict=True))
    }  # fmt: skip
    assert layer["module"] == "keras.operations" and layer["class_name"] == "Operation"
    assert layer["config"] == {
        "name": model.layers[-1].name, "trainable": True, "inputs": 1,
        "operations": [
            {"name": "getitem", "kwargs": {}, "args": [tensor(0), {"class_name": "__tuple__", "config": {
                "value": [part(None, None, None), part(1, None, None)]}}]},
            {"name": "multiply", "args": [2.0, tensor(1)], "kwargs": {}},
            {"name": "max", "args": [tensor(0)], "kwargs": {"axis": -1, "keepdims": True}},
            {"name": "subtract", "args": [tensor(2), tensor(3)], "kwargs": {}},
        ],
    }  # fmt: skip


def test_arguments() -> None:
    """Each kind of argument comes back as it was, with its dtype."""
    x = Input((4,))
    made = [
        x[..., 1:2], x[:, [0, 2]], x[:, np.array([3, 1])], x[:, None, 0], x * np.float64(0.5), x + np.arange(4),
        ops.cast(x > 0, "float32"), ops.minimum(x, np.inf), ops.clip(x, -1, x_max=2),
        ops.transpose(ops.reshape(x, (-1, 2, 2)), (0, 2, 1))[:, 0],
        ops.stack([x, 2 * x], axis=1)[:, 1], np.abs(x), abs(x), x**2, 3 // x, x @ np.ones((4, 2)),
        ops.amax(x, axis=1, keepdims=True), ops.swish(x),
    ]  # fmt: skip
    for one in made:
        model = Model(x, one)
        again = model_from_json(model.to_json())
        np.testing.assert_array_equal(again.predict(A, verbose=0), model.predict(A, verbose=0))
        assert again.to_json() == model.to_json()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda x: ops.cast(x, np.float32), ": get_config: cast has the argument <class 'numpy.float32'> of type type, "
         "and a config holds numbers, slices, names and NumPy arrays. Put the operations into a Lambda, or into a "
         "layer with a call() and a get_config() of its own; save_weights keeps the weights."),
        (lambda x: x[:, range(2)], "getitem has the argument range(0, 2) of type range"),
    ],
)  # fmt: skip
def test_no_config(make: Callable[[Any], Any], says: str) -> None:
    x = Input((4,))
    with pytest.raises(ValueError, match=re.escape(says)):
        Model(x, make(x)).to_json()


def test_an_unknown_operation() -> None:
    x = Input((4,))
    text = Model(x, ops.sin(x)).to_json().replace('"name": "sin", "args"', '"name": "sinus", "args"')
    with pytest.raises(ValueError, match="from_config: there is no operation 'sinus'"):
        model_from_json(text)
    with pytest.raises(ValueError, match="there is no operation 'pad'"):  # it has no derivative
        model_from_json(text.replace("sinus", "pad"))


def test_a_config_that_keras_wrote() -> None:
    def operation(name: str, module: str, *args: Any, **config: Any) -> dict[str, Any]:
        return {"module": f"keras.src.ops.{module}", "class_name": name, "config": {"name": name, **config},
                "registered_name": name, "name": name, "inbound_nodes": [{"args": args, "kwargs": {}}]}  # fmt: skip

    def tensor(name: str) -> dict[str, Any]:
        return {"class_name": "__keras_tensor__", "config": {
            "shape": [None, 4], "dtype": "float32", "keras_history": [name, 0, 0]}}  # fmt: skip

    inputs = Input((4,), name="x")
    given = Model(inputs, layers.Dense(2, name="d")(inputs)).get_config()
    every = {"class_name": "__slice__", "config": {"start": None, "stop": None, "step": None}}
    first = {"class_name": "__slice__", "config": {"start": None, "stop": 2, "step": None}}
    given["layers"] += [
        operation("GetItem", "numpy", tensor("x"), [every, first]),
        operation("LeakyRelu", "nn", tensor("GetItem"), negative_slope=0.5),
        operation("Add", "numpy", tensor("LeakyRelu"), tensor("d")),
    ]
    given["output_layers"] = ["Add", 0, 0]
    model = Model.from_config(given)
    kernel, bias = model.get_weights()
    want = np.where(A[:, :2] > 0, A[:, :2], A[:, :2] / 2) + A @ kernel + bias
    np.testing.assert_allclose(model.predict(A, verbose=0), want, rtol=1e-5, atol=1e-6)
    given["layers"][-1]["class_name"] = "Conv"
    with pytest.raises(ValueError, match="there is no operation 'conv'"):
        Model.from_config(given)
