"""Healthy twins of `sick_rows.py` and `sick_fit.py`, and traps: neither the rows nor `fit` are at fault."""

from __future__ import annotations

import numpy as np

import fastdense as fd
from fastdense.callbacks import EarlyStopping, ReduceLROnPlateau
from fastdense.regularizers import L1

from . import data, sick_fit, sick_rows
from .case import Array, Built, healthy, net
from .goal import Goal, accuracy, fit_of

# ---- twins ---------------------------------------------------------------------------------------------------------


def _fresh_momentum() -> data.Pair:
    x, _ = sick_rows._returns(1200)
    return x[600:], _momentum(x)[600:]


def _momentum(x: Array) -> Array:
    return 0.5 * x[:, -1:] + 0.3 * x[:, -2:-1]


@healthy(goal=Goal("r2", 0.8, fresh=_fresh_momentum), fit={"epochs": 40}, twin="next_return_from_the_last_five")
def returns_with_momentum() -> Built:
    """Returns that depend on the two before; a quarter of the variance can be predicted, and is."""
    x, _ = sick_rows._returns(600)
    y = _momentum(x) + data.rng(65).standard_normal((600, 1))
    return net([fd.Dense(1)], x, fd.Adam(0.01), "mse"), x, y


@healthy(goal=Goal("r2", 0.8, fresh=sick_rows._fresh_spectra), fit={"epochs": 200}, twin="three_of_a_hundred_channels")
def channels_with_a_penalty() -> Built:
    """The same spectra, a linear net with an L1 penalty."""
    x, y = sick_rows._spectra()
    layers = [fd.Dense(1, kernel_regularizer=L1(0.05))]
    return net(layers, x, fd.Adam(0.01), "mse"), x[:200], y[:200]


@healthy(goal=fit_of(), fit={"epochs": 60}, twin="one_decimal_point_lost")
def decimal_point_in_place() -> Built:
    """The same table with all decimal points."""
    x, y = data.plane(400, 4, seed=47)
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.005), "mse"), x, y


@healthy(goal=accuracy(0.9), fit={"epochs": 30, "validation_split": 0.25}, twin="last_class_only_in_validation")
def rows_in_random_order() -> Built:
    """The same rows, not sorted."""
    x, y = data.blobs(800, 4, 4, seed=49)
    layers = [fd.Dense(24, "relu"), fd.Dense(4, "softmax")]
    return net(layers, x, fd.Adam(0.01), "sparse_categorical_crossentropy"), x, y


def _later_surface() -> data.Pair:
    x, y = data.surface(900, seed=52)
    return x[600:], y[600:]


@healthy(
    goal=Goal("r2", 0.8, fresh=_later_surface), fit={"epochs": 80}, twin="test_rows_not_standardized",
    given=lambda: {"validation_data": _later_surface()},
)  # fmt: skip
def test_rows_standardized_alike() -> Built:
    """Training and test rows in the same units."""
    x, y = data.surface(900, seed=52)
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.01), "mse"), x[:600], y[:600]


@healthy(goal=fit_of(), fit={"epochs": 80}, twin="layer_norm_of_one_column")
def layer_norm_of_many_units() -> Built:
    """LayerNorm where it belongs: between wide layers."""
    x, y = data.sine()
    layers = [fd.Dense(32, "tanh"), fd.LayerNorm(), fd.Dense(32, "tanh"), fd.Dense(1)]
    return net(layers, x, fd.Adam(0.01), "mse"), x, y


@healthy(goal=accuracy(0.9), fit={"epochs": 40, "class_weight": {0: 1.0, 1: 1.5}}, twin="positives_weigh_a_thousand")
def positives_weigh_half_more() -> Built:
    """Balanced classes, one of which weighs half as much again."""
    x, y = data.moons(noise=0.15, seed=56)
    return net([fd.Dense(16, "relu"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.03), "bce"), x, y


@healthy(
    goal=fit_of(), twin="patience_of_zero",
    fit={"epochs": 400, "validation_split": 0.2, "callbacks": [EarlyStopping(patience=30)]},
)  # fmt: skip
def patience_of_thirty() -> Built:
    """EarlyStopping that lets the training converge first."""
    x, y = data.surface(seed=59)
    return net([fd.Dense(32, "tanh"), fd.Dense(1)], x, fd.Adam(0.01), "mse"), x, y


@healthy(goal=fit_of(0.25), fit={"epochs": 60}, twin="mae_and_mostly_zeros")
def mse_and_mostly_zeros() -> Built:
    """The same claims with mse: their means are predicted."""
    x, y = sick_fit._claims(2000, 62, 0.7)
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.005), "mse"), x, y


# ---- traps ---------------------------------------------------------------------------------------------------------


@healthy(
    goal=fit_of(0.9), trap=True,
    fit={"epochs": 300, "validation_split": 0.2, "callbacks": [EarlyStopping("loss", 1e-3, 5)]},
)  # fmt: skip
def stopped_long_before_the_last_epoch() -> Built:
    """Stopped by a callback after a part of the epochs, when it had learnt."""
    x, y = data.plane(500, 5, seed=66)
    return net([fd.Dense(16, "relu"), fd.Dense(1)], x, fd.Adam(0.01), "mse"), x, y


@healthy(goal=fit_of(0.9), trap=True, fit={"epochs": 120, "callbacks": [ReduceLROnPlateau("loss", patience=8)]})
def rate_lowered_at_the_end() -> Built:
    """ReduceLROnPlateau lowers the rate when the loss has settled."""
    x, y = data.plane(500, 5, 0.1, seed=67)
    return net([fd.Dense(32, "tanh"), fd.Dense(1)], x, fd.Adam(0.02), "mse"), x, y


@healthy(goal=fit_of(0.9), trap=True, fit={"epochs": 150, "validation_split": 0.2})
def sorted_by_a_column_that_does_not_matter() -> Built:
    """Rows sorted by time; the validation rows are later ones, and the target does not depend on the time."""
    x, y = data.surface(800, seed=68)
    return net([fd.Dense(32, "tanh"), fd.Dense(1)], x, fd.Adam(0.01), "mse"), x, y


@healthy(goal=Goal("recall", 0.8), fit={"epochs": 60, "class_weight": "balanced"}, trap=True)
def rare_class_balanced() -> Built:
    """One row in twenty of the rare class, balanced by weights: a weight of 10 against 0.5, as it is meant."""
    random = data.rng(69)
    x = random.standard_normal((1200, 3))
    rare = np.arange(1200) % 20 == 0
    x[rare] = 0.5 * x[rare] + np.array([2.5, -2.0, 1.5])
    return net([fd.Dense(16, "relu"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.01), "bce"), x, rare[:, None].astype(float)


@healthy(goal=fit_of(0.9), trap=True, fit={"epochs": 150})
def heavy_tail_that_is_learnt() -> Built:
    """Targets with a long tail, which the columns explain."""
    x, _ = data.surface(800, seed=70)
    y = np.exp(1.2 * x[:, :1])
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.01), "mse"), x, y


@healthy(goal=accuracy(0.9), trap=True, fit={"epochs": 60})
def more_parameters_than_rows() -> Built:
    """A net of 5000 parameters for 300 rows that does as well on new rows."""
    x, y = data.blobs(300, 3, 4, seed=71)
    layers = [fd.Dense(64, "relu"), fd.Dense(64, "relu"), fd.Dense(3, "softmax")]
    return net(layers, x, "adam", "sparse_categorical_crossentropy"), x, y
