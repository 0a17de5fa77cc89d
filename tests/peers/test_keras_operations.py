"""Operations on symbolic tensors in configs: what Keras wrote is read, and ours come back with Keras's numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastdense import keras as ours
from tests.peers.keras64 import keras, np_array
from tests.peers.problem import Agree

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's __array__

X = np.random.default_rng(0).normal(size=(30, 4))
EYE = np.eye(4)
OPERATIONS: dict[str, Callable[[Any, Any, Any], Any]] = {  # of keras.ops, an input and the output of a layer
    "sum": lambda ops, x, d: 2.0 * x[:, :2] + d,
    "merged": lambda ops, x, d: ops.concatenate([d, ops.sin(x), d], axis=-1),
    "chosen": lambda ops, x, d: ops.where(x > 0.5, x, ops.clip(x, -1, 1)),
    "mean": lambda ops, x, d: ops.mean(x, axis=-1, keepdims=True) * d,
    "reductions": lambda ops, x, d: ops.max(x, axis=1, keepdims=True) - ops.logsumexp(x, axis=-1, keepdims=True),
    "variance": lambda ops, x, d: ops.var(x, axis=-1, keepdims=True) + ops.prod(d, axis=1, keepdims=True),
    "powers": lambda ops, x, d: ops.power(ops.abs(x), 1.5) - x**2 + 2**x,
    "quotients": lambda ops, x, d: -d / (1 + ops.exp(-d)) + 1 / (2 + d * d),
    "shapes": lambda ops, x, d: ops.transpose(ops.reshape(x, (-1, 2, 2)), (0, 2, 1))[:, 1],
    "dimensions": lambda ops, x, d: ops.squeeze(ops.expand_dims(x, 1), axis=1)[..., ::-1],
    "new axis": lambda ops, x, d: x[:, None, 1:][:, 0] + ops.expand_dims(d, -1)[:, 1],
    "stacked": lambda ops, x, d: ops.stack([d, 2 * d], axis=1)[:, -1],
    "extremes": lambda ops, x, d: ops.maximum(x, 0) + ops.minimum(x, d[:, :1]),
    "activations": lambda ops, x, d: ops.softmax(x, axis=-1) + ops.leaky_relu(x, 0.1) + ops.elu(x, alpha=0.5),
    "cast": lambda ops, x, d: ops.cast(x > 0, "float64") * x,
    "products": lambda ops, x, d: ops.matmul(x, EYE[:, :2]) + d @ EYE[:2, :2],
    "repeated": lambda ops, x, d: ops.tile(d, (1, 2)) + ops.repeat(d, 2, axis=1) * ops.roll(x, 1, axis=1),
    "taken": lambda ops, x, d: ops.take(x, [0, 2], axis=1) % 2 + d // 2,
    "kinds": lambda ops, x, d: ops.one_hot(ops.argmax(x, axis=-1), 4) * x,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_configs(name: str, agree: Agree) -> None:
    ours.backend.set_floatx("float64")
    try:
        models = []
        for k in (keras, ours):
            inputs = k.Input((4,), name="inputs")
            models.append(k.Model(inputs, OPERATIONS[name](k.ops, inputs, k.layers.Dense(2, name="dense")(inputs))))
        theirs, mine = models
        read = ours.models.model_from_json(theirs.to_json())
        again = ours.models.model_from_json(mine.to_json())
        for model in (read, mine, again):
            model.set_weights([np_array(one) for one in theirs.weights])
        found = [one.predict(X, verbose=0) for one in (read, mine, again)]
    finally:
        ours.backend.set_floatx("float32")
    assert again.to_json() == mine.to_json()
    agree(found, [theirs.predict(X, verbose=0)] * 3)
