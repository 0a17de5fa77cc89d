"""NOISE, OVERFIT, OUTLIERS, SPLIT, TRAIN_TEST_MISMATCH: what is wrong lies in the rows, not in the net."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastdense as fd
from fastdense.regularizers import L1, L2

from . import data
from .case import Array, Built, net, sick, stack
from .data import Pair
from .goal import Goal, accuracy, fit_of

# ---- NOISE ---------------------------------------------------------------------------------------------------------


def _returns(rows: int) -> Pair:
    steps = data.rng(41).standard_normal(rows + 5)
    return np.lib.stride_tricks.sliding_window_view(steps[:-1], 5)[:rows], steps[5:, None]


def _fresh_returns() -> Pair:
    x, y = _returns(1200)
    return x[600:], y[600:]


@sick("NOISE", goal=Goal("r2", 0.1, fresh=_fresh_returns), fit={"epochs": 150}, also=("BAD_DATA",), hopeless=True)
def next_return_from_the_last_five() -> Built:
    """Returns of a random walk from the five before: the loss falls, and new days are not predicted."""
    x, y = _returns(600)
    return net([*stack(2, 64, "relu"), fd.Dense(1)], x, fd.Adam(0.005), "mse"), x, y


def _coins() -> Pair:
    random = data.rng(42)
    return random.standard_normal((1600, 8)), random.integers(0, 2, (1600, 1)).astype(float)


def _fresh_coins() -> Pair:
    x, y = _coins()
    return x[800:], y[800:]


@sick("NOISE", goal=Goal("accuracy", 0.6, fresh=_fresh_coins), fit={"epochs": 100}, also=("BAD_DATA",), hopeless=True)
def coin_tosses_learnt_by_heart() -> Built:
    """Labels drawn by chance: 90 % right in training, half of the new ones."""
    x, y = _coins()
    return net([*stack(2, 48, "relu"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.005), "bce"), x[:800], y[:800]


def _ratings() -> Pair:
    random = data.rng(43)
    return random.integers(0, 2, (1500, 20)).astype(float), random.integers(1, 6, (1500, 1)).astype(float)


def _fresh_ratings() -> Pair:
    x, y = _ratings()
    return x[1000:], y[1000:]


@sick(
    "NOISE", goal=Goal("r2", 0.1, fresh=_fresh_ratings), fit={"epochs": 40, "validation_split": 0.2},
    also=("BAD_DATA", "OVERFIT"), hopeless=True,
)  # fmt: skip
def ratings_from_unrelated_answers() -> Built:
    """Stars given to a film, from twenty yes-or-no answers about something else; the validation loss only rises."""
    x, y = _ratings()
    return net([fd.Dense(64, "relu"), fd.Dense(1)], x, fd.Adam(0.01), "mse"), x[:1000], y[:1000]


# ---- OVERFIT -------------------------------------------------------------------------------------------------------


def _spectra() -> Pair:
    random = data.rng(44)
    x = random.standard_normal((1100, 100))
    y = x[:, :3] @ np.array([[1.0], [-0.8], [0.6]]) + 0.3 * random.standard_normal((1100, 1))
    return x, y


def _fresh_spectra() -> Pair:
    x, y = _spectra()
    return x[200:], y[200:]


def _linear(penalty: Any, activation: str | None = None, loss: str = "mse") -> Any:
    def repair(x: Array, y: Array) -> tuple[fd.Model, dict[str, Any]]:
        layers = [fd.Dense(1, activation, kernel_regularizer=penalty)]
        return net(layers, x, fd.Adam(0.01), loss), {"epochs": 200}

    return repair


@sick("OVERFIT", goal=Goal("r2", 0.6, fresh=_fresh_spectra), fit={"epochs": 200}, repair=_linear(L1(0.05)))
def three_of_a_hundred_channels() -> Built:
    """200 spectra of 100 channels, three of which matter: R2 1 in training, less than half on new samples."""
    x, y = _spectra()
    return net([*stack(2, 64, "relu"), fd.Dense(1)], x, "adam", "mse"), x[:200], y[:200]


def _patients() -> Pair:
    random = data.rng(45)
    ids = random.integers(0, 2, 1300)
    x = random.standard_normal((1300, 400))
    x[:, :8] += 0.6 * (2 * ids[:, None] - 1)
    return x, ids[:, None].astype(float)


def _fresh_patients() -> Pair:
    x, y = _patients()
    return x[300:], y[300:]


@sick(
    "OVERFIT", goal=Goal("accuracy", 0.88, fresh=_fresh_patients), fit={"epochs": 60, "validation_split": 0.25},
    repair=_linear(L1(0.05), "sigmoid", "bce"),
)  # fmt: skip
def eight_of_four_hundred_genes() -> Built:
    """300 patients, 400 genes, eight of which matter: all right in training, fewer on validation rows."""
    x, y = _patients()
    return net([fd.Dense(64, "relu"), fd.Dense(1, "sigmoid")], x, "adam", "bce"), x[:300], y[:300]


def _noisy_line() -> Pair:
    random = data.rng(46)
    x = random.standard_normal((1150, 10))
    return x, x[:, :1] - 0.7 * x[:, 1:2] + 0.9 * random.standard_normal((1150, 1))


def _fresh_line() -> Pair:
    x, y = _noisy_line()
    return x[150:], x[150:, :1] - 0.7 * x[150:, 1:2]


@sick("OVERFIT", goal=Goal("r2", 0.75, fresh=_fresh_line), fit={"epochs": 400}, repair=_linear(L2(0.01)))
def noise_around_a_plane_learnt_by_heart() -> Built:
    """150 rows around a plane, 128-128 ReLU, 400 epochs: every row is hit, and the plane is not found."""
    x, y = _noisy_line()
    return net([*stack(2, 128, "relu"), fd.Dense(1)], x, fd.Adam(0.003), "mse"), x[:150], y[:150]


# ---- OUTLIERS ------------------------------------------------------------------------------------------------------


def _clean_plane(x: Array, y: Array) -> Array:
    return data.plane(400, 4, seed=47)[1]


def _clean_surface(x: Array, y: Array) -> Array:
    return data.surface(500, seed=48)[1]


def _huber(x: Array, y: Array) -> tuple[fd.Model, dict[str, Any]]:
    return net([fd.Dense(32, "tanh"), fd.Dense(1)], x, fd.Adam(0.01), fd.losses.Huber(1.0)), {"epochs": 200}


@sick("OUTLIERS", goal=fit_of(0.9, _clean_plane), fit={"epochs": 60}, repair=_huber)
def one_decimal_point_lost() -> Built:
    """One target a thousand times too large: a lost decimal point; the net is far off everywhere."""
    x, y = data.plane(400, 4, seed=47)
    y[123] = 1000.0
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.005), "mse"), x, y


@sick("OUTLIERS", goal=fit_of(0.8, _clean_surface), fit={"epochs": 60}, repair=_huber)
def minus_999_for_no_reading() -> Built:
    """Four targets of -999, which stand for a failed sensor."""
    x, y = data.surface(500, seed=48)
    y[[7, 160, 161, 402]] = -999.0
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.005), "mse"), x, y


@sick("OUTLIERS", goal=fit_of(0.9, _clean_plane), fit={"epochs": 40, "batch_size": 16}, repair=_huber)
def three_spikes_of_two_hundred() -> Built:
    """Three spikes in a measured series, two hundred deviations high, of both signs."""
    x, y = data.plane(400, 4, seed=47)
    y[[20, 200, 333]] = np.array([[200.0], [-180.0], [210.0]])
    return net([fd.Dense(32, "tanh"), fd.Dense(1)], x, fd.Adam(0.01), "mse"), x, y


# ---- SPLIT ---------------------------------------------------------------------------------------------------------


@sick("SPLIT", goal=accuracy(0.9), fit={"epochs": 30, "validation_split": 0.25})
def last_class_only_in_validation() -> Built:
    """Rows sorted by class and validation_split: the last class is never trained on."""
    x, y = data.blobs(800, 4, 4, seed=49)
    order = np.argsort(y, kind="stable")
    layers = [fd.Dense(24, "relu"), fd.Dense(4, "softmax")]
    return net(layers, x, fd.Adam(0.01), "sparse_categorical_crossentropy"), x[order], y[order]


@sick("SPLIT", goal=fit_of(0.95), fit={"epochs": 120, "validation_split": 0.35})
def warmest_days_last() -> Built:
    """A table sorted by its first column, the largest third kept for validation."""
    x, y = data.surface(800, seed=50)
    order = np.argsort(x[:, 0])
    return net([fd.Dense(32, "tanh"), fd.Dense(1)], x, fd.Adam(0.01), "mse"), x[order], y[order]


@sick("SPLIT", goal=fit_of(0.9), fit={"epochs": 150, "validation_split": 0.25})
def last_quarter_of_the_range() -> Built:
    """A curve sampled from left to right; the right end is kept for validation and the curve turns there."""
    x = np.linspace(-3, 3, 600)[:, None]
    y = np.cos(1.6 * x) + 0.02 * data.rng(51).standard_normal((600, 1))
    return net([fd.Dense(32, "tanh"), fd.Dense(1)], x, fd.Adam(0.01), "mse"), x, y


# ---- TRAIN_TEST_MISMATCH -------------------------------------------------------------------------------------------


def _unscaled_surface() -> Pair:
    x, y = data.surface(900, seed=52)
    return 50 + 12 * x[600:], y[600:]


@sick(
    "TRAIN_TEST_MISMATCH", goal=Goal("r2", 0.8, fresh=_unscaled_surface), fit={"epochs": 80}, hopeless=True,
    given=lambda: {"validation_data": _unscaled_surface()},
)  # fmt: skip
def test_rows_not_standardized() -> Built:
    """The training rows were standardized, the test rows were not."""
    x, y = data.surface(900, seed=52)
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.01), "mse"), x[:600], y[:600]


def _pixels() -> Pair:
    x, y = data.digits(1000)
    return x[700:], y[700:]


@sick(
    "TRAIN_TEST_MISMATCH", goal=Goal("accuracy", 0.88, fresh=_pixels), fit={"epochs": 40}, hopeless=True,
    given=lambda: {"validation_data": _pixels()},
)  # fmt: skip
def pixels_in_another_unit() -> Built:
    """Trained on pixels from -2 to 2, tested on pixels as they come, from 0 to 16."""
    x, y = data.digits(1000)
    layers = [fd.Dense(32, "tanh"), fd.Dense(10, "softmax")]
    x = x / 4 - 2
    return net(layers, x, fd.Adam(0.005), "sparse_categorical_crossentropy"), x[:700], y[:700]


def _fahrenheit() -> Pair:
    x, y = data.houses(800, seed=53)
    x = data.standard(x)
    x[:, 3] = 32 + 9 * x[:, 3]
    return x[500:], data.standard(y)[500:]


@sick(
    "TRAIN_TEST_MISMATCH", goal=Goal("r2", 0.8, fresh=_fahrenheit), fit={"epochs": 80}, hopeless=True,
    given=lambda: {"validation_data": _fahrenheit()},
)  # fmt: skip
def one_column_in_other_units() -> Built:
    """One column comes in other units than in training."""
    x, y = data.houses(800, seed=53)
    x, y = data.standard(x), data.standard(y)
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.01), "mse"), x[:500], y[:500]
