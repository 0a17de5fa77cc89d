"""Frozen layers, constraints, parts of normalizations and what else acts on a step, beside Keras's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense import constraints
from tests.peers.keras64 import keras, twin
from tests.peers.problem import BATCH, EPOCHS, OUTPUTS, Agree, model, rows, train

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's __array__

L = fd.layers
NORMS = {"beta_regularizer": "l2", "gamma_regularizer": "l1_l2"}
NETS: dict[str, list[Any]] = {
    "first_frozen": [fd.Dense(8, activation="tanh", kernel_regularizer="l2", trainable=False), fd.Dense(OUTPUTS)],
    "middle_frozen": [
        fd.Dense(8, activation="tanh"),
        fd.Dense(7, activation="gelu", bias_regularizer="l1", trainable=False),
        fd.BatchNorm(trainable=False),
        fd.Dense(OUTPUTS),
    ],
    "norm_frozen": [fd.BatchNorm(trainable=False), fd.Dense(8, activation="tanh"), fd.Dense(OUTPUTS)],
    "last_frozen": [fd.Dense(8, activation="tanh"), fd.Dense(OUTPUTS, kernel_regularizer="l1", trainable=False)],
    "max_norm": [fd.Dense(8, activation="tanh", kernel_constraint=constraints.MaxNorm(0.8)), fd.Dense(OUTPUTS)],
    "unit_norm": [
        fd.Dense(8, activation="tanh", kernel_constraint=constraints.UnitNorm(axis=1)),
        fd.Dense(OUTPUTS, kernel_constraint=constraints.UnitNorm(axis=[0, 1]), bias_constraint="unit_norm"),
    ],
    "non_neg": [
        fd.Dense(8, activation="tanh", kernel_constraint="non_neg"),
        fd.Dense(OUTPUTS, bias_constraint="non_neg"),
    ],
    "min_max_norm": [
        fd.Dense(8, activation="tanh", kernel_constraint=constraints.MinMaxNorm(0.5, 0.9, 0.3)),
        fd.Dense(OUTPUTS, bias_constraint=constraints.MaxNorm(0.3)),
    ],
    "batch_norm": [
        fd.Dense(8, use_bias=False),
        fd.BatchNorm(center=False, gamma_regularizer="l1_l2"),
        fd.Dense(8, activation="tanh", use_bias=False),
        fd.BatchNorm(scale=False, beta_regularizer="l2", beta_constraint="non_neg"),
        fd.BatchNorm(center=False, scale=False),
        fd.Dense(OUTPUTS),
    ],
    "layer_norm": [
        fd.Dense(8),
        fd.LayerNorm(center=False),
        fd.Dense(8, activation="tanh"),
        fd.LayerNorm(scale=False),
        fd.LayerNorm(**NORMS),
        fd.Dense(OUTPUTS),
    ],
    "unit": [fd.Dense(8), L.UnitNormalization(), fd.Dense(OUTPUTS)],
    "activity": [
        L.ActivityRegularization(0.1),
        fd.Dense(8, activation="tanh"),
        L.ActivityRegularization(0.02, 0.03),
        fd.Dense(OUTPUTS),
        L.ActivityRegularization(l2=0.1),
    ],
}


@pytest.mark.parametrize("name", NETS)
def test_layers(name: str, agree: Agree) -> None:
    made = model(NETS[name])
    other = twin(made)
    history = train(made, fd.SGD(0.02, momentum=0.9, global_clipnorm=0.5, weight_decay=0.05)).history
    other.compile(keras.optimizers.SGD(0.02, momentum=0.9, global_clipnorm=0.5, weight_decay=0.05), "mse")
    x, y = rows()
    theirs = other.fit(x, y, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0).history
    agree(made.get_weights(), other.get_weights())
    agree([history["loss"], made.evaluate(x, y, verbose=0)], [theirs["loss"], other.evaluate(x, y, verbose=0)])
    assert made.net.count(True) == sum(int(np.prod(one.shape)) for one in other.trainable_weights)


def test_excluded_from_weight_decay(agree: Agree) -> None:
    made = model()
    other = twin(made)
    ours, theirs = fd.AdamW(0.01, 0.1), keras.optimizers.AdamW(0.01, 0.1)
    for optimizer in (ours, theirs):
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma"])
    train(made, ours)
    other.compile(theirs, "mse")
    x, y = rows()
    other.fit(x, y, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0)
    agree(made.get_weights(), other.get_weights())


def test_average_of_the_weights(agree: Agree) -> None:
    """During training it is apart from the weights; at the end of `fit` it takes their place."""
    made = model()
    other = twin(made)
    options = {"learning_rate": 0.01, "use_ema": True, "ema_momentum": 0.9}
    made.compile(fd.Adam(**options), "mse")
    other.compile(keras.optimizers.Adam(**options), "mse")
    x, y = rows()
    for _ in range(5):
        made.train_on_batch(x, y)
        other.train_on_batch(x, y)
    agree(made.get_weights(), other.get_weights())
    other.optimizer.finalize_variable_values(other.trainable_variables)
    agree(made.ema_weights(), other.get_weights())


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("axis", [0, 1, [0, 1]])
def test_constraints_alone(axis: Any, dims: int, agree: Agree) -> None:
    from fastdense.reference.constraints import project

    if dims == 1 and axis != 0:
        return
    w = np.random.default_rng(0).normal(size=(5, 4)[:dims])
    for ours in (constraints.MaxNorm(1.0, axis), constraints.UnitNorm(axis), constraints.MinMaxNorm(1, 1.5, 0.4, axis)):
        theirs = getattr(keras.constraints, type(ours).__name__)(**ours.get_config())
        agree([project(ours.terms("w", dims), w)], [np.asarray(theirs(w))])
