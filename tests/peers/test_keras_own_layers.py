"""Layers of a user's own, `Lambda` and operations on symbolic tensors: values, gradients and trainings as in Keras."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastdense import keras as ours
from tests.peers.keras64 import in_both, jax, keras, np_array
from tests.peers.problem import Agree

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's __array__

Array = NDArray[Any]
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.uniform(-1, 1, (60, 4)), RANDOM.uniform(0.05, 0.95, (60, 3))
VALIDATION = RANDOM.uniform(-1, 1, (20, 4)), RANDOM.uniform(0.05, 0.95, (20, 3))
Made = Callable[[ModuleType], Any]  # from Keras, or ours, to a model


def linear(k: ModuleType) -> Any:
    """The layer of Keras's guide."""

    class Linear(k.layers.Layer):  # type: ignore[name-defined, misc]
        def __init__(self, units: int = 32, **options: Any) -> None:
            super().__init__(**options)
            self.units = units

        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="random_normal", trainable=True)
            self.b = self.add_weight(shape=(self.units,), initializer="random_normal", trainable=True)

        def call(self, inputs: Any) -> Any:
            return k.ops.matmul(inputs, self.w) + self.b

    return Linear


def activations(k: ModuleType) -> Any:
    x = k.Input((4,))
    h = k.layers.Dense(8, activation=lambda z: k.ops.sin(z))(x)
    h = k.layers.Dense(6, activation=lambda z: z * k.ops.sigmoid(1.5 * z))(h)
    h = k.layers.Activation(lambda z: k.ops.where(z > 0, z, 0.1 * z) + k.ops.tanh(z))(h)
    return k.Model(x, k.layers.Dense(3)(h))


def lambdas(k: ModuleType) -> Any:
    return k.Sequential(
        [
            k.Input((4,)),
            k.layers.Lambda(lambda t: t * 2),
            k.layers.Dense(6, "tanh"),
            k.layers.Lambda(lambda t: k.ops.concatenate([t, t**2], axis=-1)),
            k.layers.Lambda(lambda t, power: k.ops.abs(t) ** power + 0.1, arguments={"power": 1.5}),
            k.layers.Dense(3),
            k.layers.Lambda(lambda t: k.ops.softmax(t)),
        ]
    )


def normalized(k: ModuleType) -> Any:
    x = k.Input((4,))
    h = k.layers.Dense(5)(x)
    h = k.layers.Lambda(lambda t: t / k.ops.sqrt(k.ops.sum(k.ops.square(t), axis=-1, keepdims=True) + 1e-6))(h)
    h = k.layers.Lambda(lambda t: t - k.ops.mean(t, axis=1, keepdims=True))(h)
    return k.Model(x, k.layers.Dense(3)(h))


def stack(k: ModuleType) -> Any:
    kind = linear(k)
    return k.Sequential([k.Input((4,)), kind(7), k.layers.ReLU(), kind(3)])


def all_kinds_of_weights(k: ModuleType) -> Any:
    class Weighted(k.layers.Layer):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
            self.fixed = self.add_weight(shape=(1, 5), initializer="random_uniform", trainable=False, name="fixed")

        def build(self, input_shape: Any) -> None:
            columns = input_shape[-1]
            self.kernel = self.add_weight(
                shape=(columns, 5), initializer=k.initializers.HeNormal(seed=1), name="kernel",
                regularizer=k.regularizers.L2(0.01), constraint=k.constraints.MaxNorm(0.8),
            )  # fmt: skip
            self.cube = self.add_weight(shape=(2, 5, 2), initializer="random_normal", regularizer="l1", name="cube")

        def call(self, x: Any) -> Any:
            h = self.scale * (x @ self.kernel) + self.fixed
            return h + k.ops.sum(k.ops.tanh(k.ops.matmul(h, self.cube[0])), axis=-1, keepdims=True) * self.cube[1, 0, 1]

    return k.Sequential([k.Input((4,)), k.layers.Dense(4, "tanh"), Weighted(), k.layers.Dense(3)])


def in_training(k: ModuleType) -> Any:
    class Louder(k.layers.Layer):  # type: ignore[name-defined, misc]
        def call(self, x: Any, training: Any = None) -> Any:
            return 1.5 * x if training else x

    return k.Sequential([k.Input((4,)), k.layers.Dense(6, "tanh"), Louder(), k.layers.Dense(3)])


def block(k: ModuleType) -> Any:
    class Block(k.layers.Layer):  # type: ignore[name-defined, misc]
        def __init__(self, units: int) -> None:
            super().__init__()
            self.dense, self.out, self.drop = k.layers.Dense(units, "relu"), k.layers.Dense(4), k.layers.Dropout(0.0)

        def call(self, x: Any, training: Any = None) -> Any:
            h = self.drop(self.dense(x), training=training)
            return x + self.out(k.ops.sin(h) * 0.5 + h) * 2

    x = k.Input((4,))
    return k.Model(x, k.layers.Dense(3)(Block(4)(Block(6)(x))))


def arithmetic(k: ModuleType) -> Any:
    x = k.Input((4,))
    a, b = k.layers.Dense(5, "tanh")(x), k.layers.Dense(5)(x)
    gate = k.ops.sigmoid(b)
    h = a * gate + (1 - gate) * k.ops.mean(a, axis=-1, keepdims=True) - a / (1 + k.ops.exp(-b)) ** 2
    h = k.ops.concatenate([h, x[:, 1:3], 2.0 * x[:, :1]], axis=1)
    return k.Model(x, k.layers.Dense(3)(h))


def several(k: ModuleType) -> Any:
    class Pair(k.layers.Layer):  # type: ignore[name-defined, misc]
        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight(shape=(input_shape[0][-1], input_shape[1][-1]), initializer="random_normal")

        def call(self, inputs: Any) -> Any:
            a, b = inputs
            return k.ops.sum(k.ops.expand_dims(a, 2) * self.w * k.ops.expand_dims(b, 1), axis=1)

    x = k.Input((4,))
    made = Pair()([k.layers.Dense(5, "tanh")(x), k.layers.Dense(3)(x)])
    lam = k.layers.Lambda(lambda pair: pair[0] * k.ops.cos(pair[1]))([made, k.layers.Dense(3)(x)])
    return k.Model(x, lam)


def subclass(k: ModuleType) -> Any:
    kind = linear(k)

    class Net(k.Model):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = kind(6), k.layers.Dense(6, "relu"), kind(3)

        def call(self, x: Any) -> Any:
            h = k.ops.relu(self.a(x))
            return self.c(h + 0.5 * self.b(h))

    made = Net()
    made(X[:2])
    return made


def images(k: ModuleType) -> Any:
    return k.Sequential(
        [
            k.Input((4,)),
            k.layers.Dense(6, "tanh"),
            k.layers.Reshape((2, 3)),
            k.layers.Lambda(lambda t: k.ops.transpose(t, (0, 2, 1)) * 2 + k.ops.max(t, axis=2, keepdims=True)[:, :1]),
            k.layers.Flatten(),
            k.layers.Dense(3),
        ]
    )


CASES: dict[str, Made] = {
    one.__name__: one
    for one in (activations, lambdas, normalized, stack, all_kinds_of_weights, in_training, block, arithmetic, several,
                subclass, images)
}  # fmt: skip


def pair(name: str) -> tuple[Any, Any]:
    """The model in Keras and here, with the same weights."""
    keras.utils.set_random_seed(0)  # from other first values a few of these nets diverge, in both
    (theirs,), mine = in_both(lambda k: (CASES[name](k),))
    random = np.random.default_rng(1)
    values = [one + random.uniform(-0.1, 0.1, one.shape) for one in map(np_array, theirs.weights)]
    theirs.set_weights(values)
    mine.set_weights(values)
    return theirs, mine


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients(name: str, agree: Agree) -> None:
    theirs, mine = pair(name)
    assert mine.count_params() == theirs.count_params()
    agree([mine.predict(X, verbose=0), np.asarray(mine(X))], [np.asarray(theirs(X))] * 2)
    trainable = [np_array(one) for one in theirs.trainable_variables]
    fixed = [np_array(one) for one in theirs.non_trainable_variables]

    def loss(values: Any) -> Any:
        outputs, _, losses = theirs.stateless_call(values, fixed, X, return_losses=True)
        return ((outputs - Y) ** 2).mean() + sum(losses)

    value, gradients = jax.value_and_grad(loss)(trainable)
    mine.compile("sgd", "mse")
    found, own = mine.fastdense.loss_and_grad(X, Y)
    order = [i for i, one in enumerate(mine.weights) if one.trainable]
    flat = {id(one): g for one, g in zip(_in_order(mine), own, strict=True)}
    agree([found, *(flat[id(mine.weights[i])] for i in order)], [value, *gradients])


def _in_order(model: Any) -> list[Any]:
    """The trained weights in the order of the tensors inside."""
    tensors, left = model.fastdense.get_weights(), list(model.trainable_weights)
    trained = [t for t, own in zip(tensors, model.fastdense.net.trained(), strict=True) if own]
    found = []
    for tensor in trained:
        one = next(w for w in left if w.shape == tensor.shape and np.array_equal(np.asarray(w.numpy()), tensor))
        left = [w for w in left if w is not one]
        found.append(one)
    return found


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", CASES)
def test_trainings(name: str, optimizer: str, agree: Agree) -> None:
    theirs, mine = pair(name)
    histories = []
    for model, k in ((mine, ours), (theirs, keras)):
        chosen = k.optimizers.SGD(0.005, momentum=0.9) if optimizer == "sgd" else k.optimizers.Adam(0.01)
        model.compile(chosen, "mse", metrics=["mae"])
        history = model.fit(X, Y, batch_size=20, epochs=4, shuffle=False, verbose=0, validation_data=VALIDATION).history
        histories.append(history)
    keys = ["loss", "mae", "val_loss", "val_mae"]
    agree(*([h[key] for key in keys] for h in histories), tolerance=1e-10)  # type: ignore[call-arg]
    agree(mine.get_weights(), [np_array(one) for one in theirs.weights], tolerance=1e-9)
    agree(
        [mine.evaluate(X, Y, verbose=0)], [theirs.evaluate(X, Y, batch_size=60, verbose=0)], tolerance=1e-10
    )  # fmt: skip
