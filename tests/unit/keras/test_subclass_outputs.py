"""Subclasses of `Model` whose `call()` returns several outputs."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdense import keras
from fastdense.keras import Input, Model, layers, ops
from fastdense.keras.models import load_model, model_from_json

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 4))
Y = np.hstack([np.sin(X), X**2])[:, :7]
CODE, VALUE = Y[:, :3], Y[:, 3:4]
QUIET: dict[str, Any] = {"verbose": 0, "batch_size": 20, "epochs": 2, "shuffle": False}


class Two(Model):
    """Its outputs in a list, a tuple or a dict."""

    def __init__(self, kind: Any = list) -> None:
        super().__init__()
        self.hidden, self.drop = layers.Dense(5, "tanh", name="hidden"), layers.Dropout(0.5)
        self.code, self.value = layers.Dense(3, name="code"), layers.Dense(1, name="value")
        self.kind = kind

    def call(self, x: Any, training: bool = False) -> Any:
        h = self.hidden(x)
        return self.as_kind(self.code(self.drop(h) if training else h), self.value(ops.sin(h)))

    def as_kind(self, code: Any, value: Any) -> Any:
        return {"v": value, "c": code} if self.kind is dict else self.kind([code, value])


def functional() -> Any:
    inputs = Input((4,))
    h = layers.Dense(5, "tanh", name="hidden")(inputs)
    return Model(
        inputs, [layers.Dense(3, name="code")(layers.Dropout(0.5)(h)), layers.Dense(1, name="value")(ops.sin(h))]
    )


LOSSES: dict[Any, Any] = {dict: {"c": "mse", "v": "mae"}, list: ["mse", "mae"], tuple: ("mse", "mae")}


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_it_is_the_net_of_the_functional_model(kind: Any) -> None:
    model, other = Two(kind), functional()
    weights = {"c": 2.0, "v": 0.5} if kind is dict else [2.0, 0.5]
    metrics: Any = {"v": ["mse"]} if kind is dict else [[], ["mse"]]
    model.compile("sgd", LOSSES[kind], loss_weights=weights, metrics=metrics)  # before its outputs are known
    keras.utils.set_random_seed(1)
    model.build((None, 4))
    keras.utils.set_random_seed(1)
    other.compile("sgd", ["mse", "mae"], loss_weights=[2.0, 0.5], metrics=[[], ["mse"]])
    other.set_weights(model.get_weights())
    y = model.as_kind(CODE, VALUE)
    history, want = model.fit(X, y, **QUIET).history, other.fit(X, [CODE, VALUE], **QUIET).history
    names = {"code": "c", "value": "v"} if kind is dict else {"code": "code", "value": "value"}
    assert history == {
        "_".join([names.get(one, one) for one in key.split("_")]): value for key, value in want.items()
    }  # fmt: skip
    assert model.evaluate(X, y, verbose=0) == other.evaluate(X, [CODE, VALUE], verbose=0)
    found = model.predict(X, verbose=0)
    assert type(found) is kind and type(model(X)) is kind and type(model(X, training=True)) is kind
    for one, wanted in zip(
        found.values() if kind is dict else found, _like(kind, other.predict(X, verbose=0)), strict=True
    ):
        np.testing.assert_array_equal(one, wanted)


def _like(kind: Any, outputs: list[Any]) -> list[Any]:
    return outputs[::-1] if kind is dict else outputs


def test_all_ways_to_begin() -> None:
    """The outputs are known with the first data, whatever they are given to."""
    ways: list[Callable[[Any], Any]] = [
        lambda m: m.fit(X, [CODE, VALUE], **QUIET), lambda m: m.evaluate(X, [CODE, VALUE], verbose=0),
        lambda m: m.predict(X, verbose=0), lambda m: m(X), lambda m: m(Input((4,))), lambda m: m.build((None, 4)),
        lambda m: m.train_on_batch(X, [CODE, VALUE]), lambda m: m.test_on_batch(X, [CODE, VALUE]),
        lambda m: m.fit(((X[i:i + 20], (CODE[i:i + 20], VALUE[i:i + 20])) for i in (0, 20, 40)), verbose=0),
    ]  # fmt: skip
    for way in ways:
        model = Two()
        model.compile("sgd", ["mse", "mae"])
        way(model)
        assert model.metrics_names == ["loss", "code_loss", "value_loss"]
        assert model.output_shape == [(None, 3), (None, 1)] and len(model.outputs) == 2
    model = Two()
    model.build((None, 4))
    model.compile("sgd", "mse")  # one loss for all, when they are known already
    assert model.metrics_names == ["loss", "code_loss", "value_loss"]


def test_several_inputs() -> None:
    class Both(Model):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = layers.Dense(2, name="one"), layers.Dense(1, name="two")

        def call(self, x: Any) -> Any:
            return self.one(ops.concatenate([x["a"], x["b"]], axis=-1)), self.two(x["b"])

    model = Both()
    model.compile("sgd", ["mse", "mse"])
    data = {"a": X[:, :1], "b": X[:, 1:]}
    assert set(model.fit(data, (Y[:, :2], VALUE), **QUIET).history) == {"loss", "one_loss", "two_loss"}
    one, two = model.predict(data, verbose=0)
    kernel, bias = model.one.get_weights()
    np.testing.assert_allclose(one, X @ kernel + bias, rtol=1e-5, atol=1e-5)
    kernel, bias = model.two.get_weights()
    np.testing.assert_allclose(two, X[:, 1:] @ kernel + bias, rtol=1e-5, atol=1e-5)
    first, second = model({"a": Input((1,)), "b": Input((3,))})
    assert first.shape == (None, 2) and second.shape == (None, 1)


def test_in_another_model() -> None:
    inner, inputs = Two(), Input((4,))
    code, value = inner(inputs)
    model = Model(inputs, layers.Dense(1)(layers.concatenate([code, value])))
    model.compile("sgd", "mse")
    model.fit(X, VALUE, **QUIET)
    kernel, bias = model.layers[-1].get_weights()
    want = np.hstack(inner.predict(X, verbose=0)) @ kernel + bias
    np.testing.assert_allclose(model.predict(X, verbose=0), want, rtol=1e-5, atol=1e-5)


def test_files(tmp_path: Path) -> None:
    model = Two(dict)
    model.compile("adam", LOSSES[dict])
    y = {"c": CODE, "v": VALUE}
    model.fit(X, y, **QUIET)
    model.save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert loaded.evaluate(X, y, verbose=0) == model.evaluate(X, y, verbose=0)
    assert loaded.fit(X, y, **QUIET).history == model.fit(X, y, **QUIET).history
    again = model_from_json(model.to_json())  # the net of its layers, too
    again.set_weights(model.get_weights())
    assert again.evaluate(X, y, verbose=0) == model.evaluate(X, y, verbose=0)


class Returns(Model):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.one, self.two, self.function = layers.Dense(1, name="one"), layers.Dense(1, name="two"), function

    def call(self, x: Any) -> Any:
        return self.function(self.one(x), self.two(x))


@pytest.mark.parametrize(
    ("function", "loss", "says"),
    [
        (lambda a, b: (a, 3), ["mse", "mse"], "its call() returns a tuple, not tensors."),
        (lambda a, b: [a], ["mse"], "its call() returns a list, not one tensor."),
        (lambda a, b: {"x": [a, b]}, ["mse"], "its call() returns a dict, not tensors."),
        (lambda a, b: (a, b), ["mse"], "compile: loss is a list of 1, and there are 2 outputs."),
        (lambda a, b: (a, b), {"one": "mse", "tow": "mse"}, "loss has the key 'tow'. Did you mean 'two'?"),
        (lambda a, b: a, ["mse", "mse"], "a net has one output. Give one loss."),
        (lambda a, b: (a, a), "mse", "a tensor is given twice in outputs."),
    ],
)
def test_errors(function: Any, loss: Any, says: str) -> None:
    model = Returns(function)
    model.compile("sgd", loss)
    with pytest.raises((TypeError, ValueError), match=re.escape(says)):
        model.fit(X, [VALUE, VALUE], verbose=0)


def test_a_wrong_loss_is_an_error_at_once() -> None:
    with pytest.raises(ValueError, match="mze"):
        Two().compile("sgd", "mze")


def test_targets() -> None:
    model = Two()
    model.compile("sgd", ["mse", "mse"])
    with pytest.raises(ValueError, match=re.escape("y is an array of shape (60, 3), and there are 2 outputs")):
        model.fit(X, CODE, verbose=0)


def test_compiled_again_after_an_error() -> None:
    model = Two()
    model.compile("sgd", ["mse"])
    with pytest.raises(ValueError, match="compile: loss is a list of 1"):
        model.fit(X, [CODE, VALUE], **QUIET)
    with pytest.raises(RuntimeError, match="is not compiled"):
        model.fit(X, [CODE, VALUE], **QUIET)
    model.compile("sgd", ["mse", "mae"])
    assert set(model.fit(X, [CODE, VALUE], **QUIET).history) == {"loss", "code_loss", "value_loss"}
    assert [one.shape for one in model(Input((4,)))] == [(None, 3), (None, 1)]


def test_copies() -> None:
    model = Two(dict)
    model.compile("sgd", LOSSES[dict])
    model.fit(X, {"c": CODE, "v": VALUE}, **QUIET)
    copied = copy.deepcopy(model)
    np.testing.assert_array_equal(copied.predict(X, verbose=0)["v"], model.predict(X, verbose=0)["v"])


def test_one_array_by_its_name() -> None:
    class Named(Two):
        def call(self, x: Any, training: bool = False) -> Any:
            return super().call(x["x"], training)

    model = Named()
    model.compile("sgd", ["mse", "mae"])
    assert set(model.fit({"x": X}, [CODE, VALUE], **QUIET).history) == {"loss", "code_loss", "value_loss"}
    assert [one.shape for one in model.predict({"x": X}, verbose=0)] == [(60, 3), (60, 1)]
