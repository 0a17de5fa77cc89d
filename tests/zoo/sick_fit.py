"""NORM_LAYER, CLASS_WEIGHT, STOPPED_EARLY, LOSS_CHOICE: the layers, and what `fit` and `compile` were given."""

from __future__ import annotations

import numpy as np

import fastdense as fd
from fastdense.callbacks import EarlyStopping, ReduceLROnPlateau

from . import data
from .case import Built, net, sick, stack
from .goal import Goal, accuracy, fit_of

# ---- NORM_LAYER ----------------------------------------------------------------------------------------------------


@sick("NORM_LAYER", goal=fit_of(), fit={"epochs": 80})
def layer_norm_of_one_column() -> Built:
    """LayerNorm in front of a net with a single input."""
    x, y = data.sine()
    return net([fd.LayerNorm(), fd.Dense(32, "tanh"), fd.Dense(1)], x, fd.Adam(0.01), "mse"), x, y


@sick("NORM_LAYER", goal=fit_of(), fit={"epochs": 80}, also=("NO_CAPACITY",))
def layer_norm_of_a_code_of_two() -> Built:
    """LayerNorm after a layer of two units: each row becomes -1 and 1, or 1 and -1."""
    x, y = data.surface(seed=54)
    layers = [fd.Dense(32, "tanh"), fd.Dense(2), fd.LayerNorm(), fd.Dense(32, "tanh"), fd.Dense(1)]
    return net(layers, x, fd.Adam(0.01), "mse"), x, y


@sick("NORM_LAYER", goal=accuracy(0.9), fit={"epochs": 2, "batch_size": 64}, also=("TOO_SLOW", "INPUT_SCALE"))
def batch_norm_after_twenty_steps() -> Built:
    """Accuracy 1.0 while training, a half in evaluate: the moving averages are still those of the start."""
    x = data.rng(55).standard_normal((640, 10))
    y = (x[:, :1] + x[:, 1:2] > 0).astype(float)
    layers = [fd.Dense(64, "relu"), fd.BatchNorm(), fd.Dense(1, "sigmoid")]
    return net(layers, 4 + x, fd.Adam(0.01), "bce"), 4 + x, y


# ---- CLASS_WEIGHT --------------------------------------------------------------------------------------------------


@sick("CLASS_WEIGHT", goal=accuracy(0.9), fit={"epochs": 40, "class_weight": {0: 1.0, 1: 1000.0}})
def positives_weigh_a_thousand() -> Built:
    """Balanced classes and a weight of 1000 for one of them, copied from a task with rare positives."""
    x, y = data.moons(noise=0.15, seed=56)
    return net([fd.Dense(16, "relu"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.01), "bce"), x, y


@sick("CLASS_WEIGHT", goal=Goal("recall", 0.8), fit={"epochs": 40, "class_weight": {0: 0.0, 1: 1.0, 2: 1.0}})
def one_class_weighs_nothing() -> Built:
    """A class weight of 0: the class is never predicted."""
    x, y = data.blobs(600, 3, 4, spread=0.4, seed=57)
    layers = [fd.Dense(24, "relu"), fd.Dense(3, "softmax")]
    return net(layers, x, fd.Adam(0.01), "sparse_categorical_crossentropy"), x, y


@sick("CLASS_WEIGHT", goal=accuracy(0.88), fit={"epochs": 30, "class_weight": {0: 2000.0, 1: 1.0}})
def negatives_weigh_two_thousand() -> Built:
    """A weight computed the wrong way round: nearly all rows are put into class 0."""
    x, y = data.moons(800, noise=0.2, seed=58)
    return net([*stack(2, 16, "tanh"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.003), "bce"), x, y


# ---- STOPPED_EARLY -------------------------------------------------------------------------------------------------


@sick(
    "STOPPED_EARLY", goal=fit_of(), also=("TOO_SLOW",),
    fit={"epochs": 200, "validation_split": 0.2, "callbacks": [EarlyStopping(min_delta=0.1)]},
)  # fmt: skip
def patience_of_zero() -> Built:
    """EarlyStopping as it comes, with patience 0: over after a few epochs."""
    x, y = data.surface(seed=59)
    return net([fd.Dense(32, "tanh"), fd.Dense(1)], x, fd.Adam(0.003), "mse"), x, y


@sick(
    "STOPPED_EARLY", goal=accuracy(0.9), also=("TOO_SLOW",),
    fit={"epochs": 100, "callbacks": [EarlyStopping(monitor="loss", mode="max", patience=2)]},
)  # fmt: skip
def loss_watched_as_a_maximum() -> Built:
    """EarlyStopping with mode="max" on the loss: every improvement counts as none."""
    x, y = data.moons(seed=60)
    return net([fd.Dense(16, "tanh"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.005), "bce"), x, y


@sick(
    "STOPPED_EARLY", goal=fit_of(), also=("TOO_SLOW",),
    fit={"epochs": 100, "callbacks": [ReduceLROnPlateau("loss", patience=1, min_delta=0.5)]},
)  # fmt: skip
def rate_lowered_every_other_epoch() -> Built:
    """ReduceLROnPlateau with a min_delta that no epoch reaches: the rate is 1e-8 after ten epochs."""
    x, y = data.surface(seed=61)
    return net([fd.Dense(32, "tanh"), fd.Dense(1)], x, fd.Adam(0.005), "mse"), x, y


# ---- LOSS_CHOICE ---------------------------------------------------------------------------------------------------


def _claims(rows: int, seed: int, zeros: float) -> data.Pair:
    random = data.rng(seed)
    x = random.standard_normal((rows, 4))
    large = (x[:, 0] + 0.3 * random.standard_normal(rows)) > np.quantile(x[:, 0], zeros)
    return x, np.where(large, 2 + x[:, 0] + 0.5 * x[:, 1], 0.0)[:, None] * (random.random((rows, 1)) < 0.55)


@sick("LOSS_CHOICE", goal=fit_of(0.3), fit={"epochs": 60})
def mae_and_mostly_zeros() -> Built:
    """Claims, most of which are 0, with mae: the net predicts 0 for every policy."""
    x, y = _claims(2000, 62, 0.7)
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.005), "mae"), x, y


@sick("LOSS_CHOICE", goal=fit_of(0.25), fit={"epochs": 40, "batch_size": 64})
def mae_for_rare_rain() -> Built:
    """Rain per hour: four hours of five are dry, and the net says dry."""
    x, y = _claims(3000, 63, 0.7)
    return net([fd.Dense(24, "tanh"), fd.Dense(1)], x, fd.Adam(0.005), "mae"), x, 5 * y


@sick("LOSS_CHOICE", goal=fit_of(0.4), fit={"epochs": 60})
def mae_for_counts_of_visits() -> Built:
    """Visits to a page, 0 for most, with mae and two layers."""
    x, y = _claims(1500, 64, 0.68)
    return net([*stack(2, 24, "relu"), fd.Dense(1)], x, fd.Adam(0.003), "mae"), x, np.rint(2 * y)
