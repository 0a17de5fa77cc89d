"""Layers of a user's own, `Lambda`, functions as activations, operations on symbolic tensors.

Their numbers are compared with Keras's in `tests/peers/test_keras_own_layers.py`.
"""

from __future__ import annotations

import copy
import gc
import pickle
import re
import signal
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastdense as fd
from fastdense import keras
from fastdense.keras import Input, Model, Sequential, layers, ops
from fastdense.keras.models import clone_model, load_model, model_from_json

Array = NDArray[Any]
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(60, 4)).astype("float32"), RANDOM.normal(size=(60, 1)).astype("float32")


class Linear(layers.Layer):
    def __init__(self, units: int = 3, **options: Any) -> None:
        super().__init__(**options)
        self.units = units

    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="random_normal", name="w")
        self.b = self.add_weight(shape=(self.units,), initializer="zeros", name="b")

    def call(self, inputs: Any) -> Any:
        return ops.matmul(inputs, self.w) + self.b

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class Double(layers.Layer):
    def call(self, x: Any) -> Any:
        return 2 * x


class Block(layers.Layer):
    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units, self.dense, self.drop = units, layers.Dense(units, "relu"), layers.Dropout(0.1)

    def call(self, x: Any, training: Any = None) -> Any:
        return x + self.drop(self.dense(x), training=training) * 0.5

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


def sine(x: Any) -> Any:
    return ops.sin(x)


OBJECTS = {"Linear": Linear, "Double": Double, "Block": Block, "sine": sine}


def net(seed: int = 0) -> Any:
    keras.utils.set_random_seed(seed)
    model = Sequential([Input((4,)), Linear(6), layers.Activation(sine), Double(), Block(6), layers.Dense(1, sine)])
    model.compile("adam", "mse")
    return model


def same(a: list[Array], b: list[Array]) -> bool:
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


# ---- use -------------------------------------------------------------------------------------------------------------


def test_training_and_reproducible() -> None:
    found = []
    for threads in (1, 2):
        model = net()
        model.fastdense.fit(X, Y, epochs=3, verbose=0, n_threads=threads)
        model.fit(X, Y, epochs=20, verbose=0)
        found.append(model.get_weights())
        history = model.history.history["loss"]
        assert history[-1] < history[0]
    assert same(*found)


def test_weights_before_any_model() -> None:
    layer = Linear(2)
    assert layer.weights == [] and not layer.built
    out = layer(np.ones((3, 4)))
    assert layer.built and layer.weights == [layer.w, layer.b] and layer.count_params() == 10
    np.testing.assert_allclose(np.asarray(out), np.ones((3, 4)) @ layer.w.numpy() + layer.b.numpy())
    layer.w.assign(np.ones((4, 2)))
    layer.b.assign_add([1.0, 2.0])
    np.testing.assert_allclose(np.asarray(layer(np.ones((1, 4)))), [[5.0, 6.0]])
    layer.set_weights([np.zeros((4, 2)), np.ones(2)])
    model = Sequential([Input((4,)), layer])
    np.testing.assert_array_equal(model.predict(X[:2], verbose=0), np.ones((2, 2)))
    assert [one.path for one in model.weights] == ["sequential/linear/w", "sequential/linear/b"] or len(
        model.weights
    ) == 2
    layer.w.assign(np.ones((4, 2)))
    np.testing.assert_allclose(model.predict(np.ones((1, 4)), verbose=0), [[5.0, 5.0]])
    assert (layer.w + 1).shape == (4, 2) and layer.w[0].shape == (2,) and layer.w.trainable


def test_build_is_called_once() -> None:
    calls: list[Any] = []

    class Counted(Linear):
        def build(self, input_shape: Any) -> None:
            calls.append(input_shape)
            super().build(input_shape)
            self.built = True

    layer = Counted()
    layer.build((None, 4))
    model = Sequential([layer, layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    model.predict(X, verbose=0)
    assert calls == [(None, 4)] and len(model.get_weights()) == 4


def test_without_an_input_shape() -> None:
    model = Sequential([Double(), layers.Lambda(lambda t: t + 1), Linear(3), layers.Dense(1)])
    assert model.get_weights() == []
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    assert [w.shape for w in model.get_weights()] == [(4, 3), (3,), (3, 1), (1,)]


def test_frozen_and_not_trained() -> None:
    class Shifted(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.shift = self.add_weight(shape=(input_shape[-1],), trainable=False, name="shift")
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

        def call(self, x: Any) -> Any:
            return self.scale * x + self.shift

    layer = Shifted()
    model = Sequential([Input((4,)), layer, Linear(2), layers.Dense(1)])
    assert [one.name for one in layer.weights] == ["scale", "shift"]  # trained ones first, as in Keras
    assert [one.name for one in model.non_trainable_weights] == ["shift"]
    model.layers[1].trainable = False
    model.compile("adam", "mse")
    before = model.get_weights()
    model.fit(X, Y, epochs=2, verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert changed == [True, False, False, False, True, True]


def test_names_as_activations() -> None:
    assert layers.Dense(2, sine).activation is sine
    assert layers.Activation(sine).activation is sine
    assert isinstance(layers.Dense(2, ops.tanh).spec.activation, str)
    assert keras.activations.get(sine) is sine
    inner = Model(x := Input((4,)), layers.Dense(3, sine, name="d")(x))
    outside = Model(inner.input, inner.get_layer("d").output)
    np.testing.assert_array_equal(outside.predict(X, verbose=0), inner.predict(X, verbose=0))
    kernel, bias = inner.get_weights()
    np.testing.assert_allclose(inner.predict(X, verbose=0), np.sin(X @ kernel + bias), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.asarray(inner.layers[1](X)), np.sin(X @ kernel + bias), rtol=1e-5, atol=1e-6)


def test_layers_in_several_places() -> None:
    x = Input((4,))
    square, shared = layers.Lambda(np.square), Linear(3)
    model = Model(x, layers.Add()([square(layers.Dense(3)(x)), square(layers.Dense(3, activation=np.sin)(x))]))
    k1, b1, k2, b2 = model.get_weights()
    expected = (X @ k1 + b1) ** 2 + np.sin(X @ k2 + b2) ** 2
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="is needed in several places, and layers that share weights are not"):
        Model(x, layers.Add()([shared(layers.Dense(3)(x)), shared(layers.Dense(3)(x))]))


def test_arrays_have_the_type_of_the_layers() -> None:
    assert np.asarray(Double()(np.ones((2, 2)))).dtype == np.float32
    assert np.asarray(Double()(np.ones((2, 2), int))).dtype == np.int64


def test_restarts() -> None:
    model = net()
    model.fastdense.fit(X, Y, epochs=2, starts=3, verbose=0)
    assert model.evaluate(X, Y, verbose=0) > 0


def test_registered_names_as_activations() -> None:
    """As in programs for Keras 2."""
    with keras.saving.custom_object_scope({"own": layers.Activation(sine), "sine": sine}):
        model = Sequential([Input((4,)), layers.Dense(3, activation="own"), layers.Activation("sine")])
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(model.predict(X, verbose=0), np.sin(np.sin(X @ kernel + bias)), rtol=1e-5, atol=1e-6)


def test_layers_made_in_build() -> None:
    class Tower(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.inner = [layers.Dense(input_shape[-1], "tanh") for _ in range(2)]

        def call(self, x: Any) -> Any:
            for layer in self.inner:
                x = x + layer(x)
            return x

    model = Sequential([Input((4,)), Tower(), layers.Dense(1)])
    assert len(model.get_weights()) == 6
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    unknown = Sequential([Tower(), layers.Dense(1)])
    unknown.compile("adam", "mse")
    with pytest.raises(ValueError, match="its build\\(\\) makes layers, for which the shape of the data must be known"):
        unknown.fit(X, Y, verbose=0)


def test_operations_between_layers() -> None:
    x = Input((4,))
    h = layers.Dense(4, "tanh", name="h")(x)
    y = ops.sin(x) + h * ops.mean(h, axis=-1, keepdims=True) - 1.0
    assert y.shape == (None, 4) and ops.shape(y) == (None, 4)
    model = Model(x, layers.Dense(1)(y))
    kernel, bias, k2, b2 = model.get_weights()
    hidden = np.tanh(X @ kernel + bias)
    expected = (np.sin(X) + hidden * hidden.mean(axis=1, keepdims=True) - 1) @ k2 + b2
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=2e-5, atol=2e-6)
    model.compile("adam", "mse")
    loss = model.fit(X, Y, epochs=10, verbose=0).history["loss"]
    assert loss[-1] < loss[0]
    two = Model(x, h + x)
    assert [type(one).__name__ for one in two.layers] == ["InputLayer", "Dense", "Add"]


def test_two_inputs() -> None:
    a, b = Input((4,)), Input((3,))
    model = Model([a, b], ops.sum(a[:, :3] * b, axis=1, keepdims=True) / (1 + ops.square(b[:, :1])))
    left, right = X, X[:, :3] + 1
    expected = (left[:, :3] * right).sum(axis=1, keepdims=True) / (1 + right[:, :1] ** 2)
    np.testing.assert_allclose(model.predict([left, right], verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_random_numbers_in_a_layer() -> None:
    """What is random is not checked for rows, and its derivative is that of the same numbers."""

    class Noisy(layers.Layer):
        def call(self, x: Any, training: Any = None) -> Any:
            return x * keras.random.uniform(ops.shape(x), 0.5, 1.5) if training else x

    losses = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        model = Sequential([Input((4,)), Noisy(), layers.Dense(1)])
        model.compile("adam", "mse")
        losses.append(model.fit(X, Y, epochs=3, verbose=0).history["loss"])
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(model.predict(X, verbose=0), model.predict(X, verbose=0))


def test_a_callback_changes_what_a_layer_computes() -> None:
    class Annealed(layers.Layer):
        factor = 1.0

        def call(self, x: Any) -> Any:
            return self.factor * x

    layer = Annealed()
    model = Sequential([Input((4,)), layer])
    np.testing.assert_array_equal(model.predict(X, verbose=0), X) if model.built else None
    layer.factor = 3.0
    np.testing.assert_allclose(model.predict(X, verbose=0), 3 * X, rtol=1e-6)


# ---- files and copies ------------------------------------------------------------------------------------------------


def test_files(tmp_path: Path) -> None:
    model = net()
    model.fit(X, Y, epochs=1, verbose=0)
    path = tmp_path / "model.keras"
    model.save(path)
    with pytest.raises(ValueError, match=re.escape("there is no tests.unit.keras.test_own_layers.Linear")):
        load_model(path)
    loaded = load_model(path, custom_objects=OBJECTS)
    assert same(loaded.get_weights(), model.get_weights())
    assert [type(one).__name__ for one in loaded.layers] == [type(one).__name__ for one in model.layers]
    losses = [one.fit(X, Y, epochs=2, verbose=0).history["loss"] for one in (loaded, model)]
    assert losses[0] == losses[1]
    model.save_weights(tmp_path / "weights")
    other = net(1)
    other.load_weights(tmp_path / "weights")
    assert same(other.get_weights(), model.get_weights())
    again = model_from_json(model.to_json(), OBJECTS)
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


def test_registered_classes(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable("tests")
    class Triple(layers.Layer):
        def call(self, x: Any) -> Any:
            return 3 * x

    model = Sequential([Input((4,)), Triple(), layers.Dense(1)])
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(load_model(tmp_path / "m").predict(X, verbose=0), model.predict(X, verbose=0))


def test_functions_without_a_name_have_that_of_the_layer(tmp_path: Path) -> None:
    double, root = (lambda t: t * 2), (lambda t: ops.sqrt(ops.abs(t)))
    model = Sequential([Input((4,)), layers.Lambda(double, name="double"), layers.Dense(3, root, name="root")])
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match="custom_objects={'double': ...}"):
        load_model(tmp_path / "m")
    loaded = load_model(tmp_path / "m", custom_objects={"double": double, "root": root})
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))


def test_copies() -> None:
    model = net()
    model.fit(X, Y, epochs=1, verbose=0)
    expected = model.predict(X, verbose=0)
    for made in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(made.predict(X, verbose=0), expected)
        made.fit(X, Y, epochs=1, verbose=0)
        assert not np.array_equal(made.predict(X, verbose=0), expected)
        np.testing.assert_array_equal(model.predict(X, verbose=0), expected)
    cloned = Sequential([Input((4,)), Linear(2)])
    twin = clone_model(cloned)
    assert not np.array_equal(twin.get_weights()[0], cloned.get_weights()[0])
    population = fd.fit_many(model.fastdense, X, Y, starts=3, epochs=1, verbose=0)
    assert len(np.unique(population.losses)) == 3


def test_models_are_collected() -> None:
    def made() -> weakref.ref[Any]:
        model = net()
        model.fit(X, Y, verbose=0)
        return weakref.ref(model.fastdense)

    found = made()
    gc.collect()
    assert found() is None


def test_threads() -> None:
    model = net()
    expected, found = model.predict(X, verbose=0), []

    def use() -> None:
        found.extend(model.predict(X, verbose=0) for _ in range(10))

    threads = [threading.Thread(target=use) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 30 and all(np.array_equal(one, expected) for one in found)


# ---- stopping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raised", [ZeroDivisionError, KeyboardInterrupt])
def test_what_a_layer_raises_ends_the_call(raised: type[BaseException]) -> None:
    calls = [0]

    class Fragile(layers.Layer):
        def call(self, x: Any) -> Any:
            calls[0] += 1
            if calls[0] == 20:
                if raised is KeyboardInterrupt:
                    signal.raise_signal(signal.SIGINT)
                else:
                    raise raised("on purpose")
            return 2 * x

    model = Sequential([Input((4,)), layers.Dense(3), layers.BatchNormalization(), Fragile(), layers.Dense(1)])
    model.compile("adam", "mse")
    calls[0] = 0
    with pytest.raises(raised):
        model.fit(X, Y, batch_size=20, epochs=100, verbose=0)
    assert model.fastdense.step == 19
    other = Sequential([Input((4,)), layers.Dense(3), layers.BatchNormalization(), Double(), layers.Dense(1)])
    assert len(other.get_weights()) == len(model.get_weights())
    model.fit(X, Y, epochs=1, verbose=0)


# ---- what is refused -------------------------------------------------------------------------------------------------


class Mixed(layers.Layer):
    def call(self, x: Any) -> Any:
        return x - ops.mean(x, axis=0)


class Counting(layers.Layer):
    def build(self, input_shape: Any) -> None:
        self.total = self.add_weight(shape=(input_shape[-1],), initializer="zeros", trainable=False, name="total")

    def call(self, x: Any) -> Any:
        self.total.assign_add(ops.sum(x, axis=0))
        return self.total


class WithLoss(layers.Layer):
    def call(self, x: Any) -> Any:
        self.add_loss(ops.mean(x))
        return x


class WithVariable(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.v = keras.Variable([1.0])

    def call(self, x: Any) -> Any:
        return x * self.v


class Both(layers.Layer):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dense, self.alpha = layers.Dense(4), self.add_weight(shape=(), name="alpha")

    def call(self, x: Any) -> Any:
        return self.alpha * self.dense(x)


class Wrong(layers.Layer):
    def call(self, x: Any) -> Any:
        return x[:, :2]

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], 3)


class Lost(layers.Layer):
    def call(self, x: Any) -> Any:
        return np.asarray(x) * 2


OTHER = layers.Dense(4)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda x: Mixed(name="mixed")(x), ValueError,
         "layer 'mixed': a row of its outputs depends on other rows; rows must be independent of one another"),
        (lambda x: Counting(name="c")(x), ValueError, "c/total is assigned in call(), which would not last"),
        (lambda x: WithLoss(name="w")(x), TypeError, "w: add_loss() is not offered. Give regularizer= to add_weight"),
        (lambda x: WithVariable()(x), TypeError, "its attribute 'v' is a keras.Variable, which training would not"),
        (lambda x: Both(name="both")(x), TypeError, "both/alpha is a weight that operations between layers use"),
        (lambda x: Wrong(name="wrong")(x), ValueError, "wrong: its compute_output_shape() or output_shape says "
         "(None, 3), and a row of its outputs has shape (2,)."),
        (lambda x: layers.Lambda(lambda t: t, output_shape=(7,), name="l")(x), ValueError, "l: its compute_output_s"),
        (lambda x: Lost(name="lost")(x), TypeError,
         "layer 'lost': it cannot be computed: conversion to a NumPy array of a prediction or of a layer's input"),
        (lambda x: layers.Lambda(lambda t: ops.sum(t, axis=1), name="s")(x), ValueError, "layer 's': its function "
         "returned an array of shape (3,) for 3 rows; shape (3, ...) with at least two dimensions is needed: e.g. "
         "keepdims=True in sums and means"),
        (lambda x: layers.Lambda(lambda t: None, name="n")(x), ValueError, "layer 'n': its function returned None; one "
         "tensor is needed"),
        (lambda x: layers.Lambda(lambda t: 1 / 0, name="z")(x), ValueError,
         "layer 'z': its function raised ZeroDivisionError: division by zero"),
        (lambda x: Double(name="d")(x, x), TypeError, "d: called on two arguments. Give several tensors as one list"),
        (lambda x: layers.Lambda(3), TypeError, "Lambda: function=3. Give a function of a tensor."),
        (lambda x: layers.Lambda(sine, mask=sine), ValueError, "Lambda: mask="),
        (lambda x: layers.Dense(2, sine, activity_regularizer="l2"), ValueError,
         "Dense: activity_regularizer with a function of your own as activation is not offered."),
        (lambda x: layers.Dense(2, layers.Dense), TypeError, "Dense: activation="),
        (lambda x: OTHER.add_weight(shape=()), TypeError, "add_weight is for layers with a call() of their own."),
        (lambda x: Linear(2).add_weight("w", (3,)), TypeError, "add_weight: shape='w'. Since Keras 3 the shape comes"),
        (lambda x: Linear(2).add_weight((3,), dtype="int32"), TypeError, "add_weight: dtype='int32'."),
        (lambda x: layers.Lambda(lambda t: ops.matmul(t, OTHER(t)), name="q")(x), TypeError,
         "q: its function calls dense"),
        (lambda x: np.linalg.inv(x), TypeError, "np.inv of a prediction or of a layer's input has no derivative here"),
        (lambda x: x * OTHER.kernel if OTHER(X[:1]) is not None else x, TypeError,
         "/kernel is a weight that operations between layers use"),
        (lambda x: list(x), TypeError, "a symbolic tensor cannot be iterated over"),
        (lambda x: 1 if x > 0 else 2, TypeError, "a symbolic tensor is neither true nor false"),
    ],
)  # fmt: skip
def test_refused(make: Callable[[Any], Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=re.escape(says)):
        make(Input((4,)))


def test_not_on_a_gpu() -> None:
    with pytest.raises(ValueError, match="the net has a layer that computes a function of your own"):
        net().fastdense.to("cuda")


def test_a_function_without_a_derivative_is_no_error_but_trains_nothing_below() -> None:
    """As in JAX: comparisons and stop_gradient have the derivative 0."""
    model = Sequential(
        [Input((4,)), layers.Dense(3), layers.Lambda(lambda t: ops.cast(t > 0, "float32")), layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert changed == [False, False, True, True]
