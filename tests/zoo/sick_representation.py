"""REPRESENTATION: the form of the columns, or of the target, hides what they say."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastdense as fd

from . import data
from .case import Array, Built, net, sick, stack
from .goal import Goal, accuracy, fit_of

Repair = tuple[fd.Model, dict[str, Any]]


def small(x: Array, front: list[Any], loss: str = "mse", last: str | None = None, rate: float = 0.005) -> Repair:
    """A net of two layers behind these layers."""
    layers = [*front, fd.Normalization(), *stack(2, 32, "relu"), fd.Dense(1, last)]
    return net(layers, x, fd.Adam(rate), loss), {"epochs": 100}


def products(rows: int = 2000) -> tuple[Array, Array]:
    """Article numbers of six figures and a discount; the price is the article's own, less the discount."""
    random = data.rng(71)
    codes = np.sort(random.choice(900_000, 60, replace=False)) + 100_000
    price, at = random.standard_normal(60), random.integers(0, 60, rows)
    discount = random.uniform(0, 0.5, rows)
    y = price[at] - 2 * discount + 0.1 * random.standard_normal(rows)
    return np.column_stack([codes[at].astype(float), discount]), y[:, None]


def wind(rows: int = 1500) -> tuple[Array, Array]:
    """The heading of a vane that has turned many times, in degrees, and the force across it."""
    random = data.rng(72)
    x = random.uniform(0, 360 * 12, (rows, 1))
    return x, np.cos(np.deg2rad(x - 40)) + 0.05 * random.standard_normal((rows, 1))


def towns(rows: int = 1500) -> tuple[Array, Array]:
    """Inhabitants, income and area of towns, lognormal; a rate that follows their logarithms."""
    random = data.rng(73)
    z = random.standard_normal((rows, 3))
    y = z @ np.array([[0.7], [-0.5], [0.4]]) + 0.1 * random.standard_normal((rows, 1))
    return np.exp(2.5 * z + np.array([8.0, 7.0, 2.0])), y


def claims(rows: int = 1200) -> tuple[Array, Array]:
    """Claims of an insurance: most small, few enormous."""
    random = data.rng(74)
    x = random.standard_normal((rows, 4))
    logs = 2.5 * (x @ np.array([0.8, -0.6, 0.4, 0.0]) + 0.3 * np.sin(2 * x[:, 3])) + 0.2 * random.standard_normal(rows)
    return x, 300 * np.exp(logs)[:, None]


@sick(
    "REPRESENTATION", goal=fit_of(0.9), fit={"epochs": 60}, also=("INPUT_SCALE",),
    repair=lambda x, y: small(x, [fd.OneHot(columns=0).adapt(x)]),
)  # fmt: skip
def article_numbers_standardized() -> Built:
    """Article numbers taken for a quantity, min-max scaled with all other columns: only the discount is learnt."""
    x, y = products()
    x = (x - x.min(axis=0)) / np.ptp(x, axis=0)
    return net([*stack(2, 32, "relu"), fd.Dense(1)], x, "adam", "mse"), x, y


@sick(
    "REPRESENTATION", goal=accuracy(0.95), fit={"epochs": 50}, also=("INPUT_SCALE",), when="history",
    repair=lambda x, y: small(x, [fd.Periodic([1 / 3, 1 / 5])], "bce", "sigmoid"),
)  # fmt: skip
def divisible_by_three() -> Built:
    """The game of counting aloud: is the number divisible by three? The number itself is the only column."""
    x = data.rng(75).permutation(900)[:, None].astype(float)
    layers = [fd.Normalization(), *stack(2, 64, "relu"), fd.Dense(1, "sigmoid")]
    return net(layers, x, "adam", "bce"), x, (x % 3 == 0).astype(float)


@sick(
    "REPRESENTATION", goal=fit_of(0.9), fit={"epochs": 60}, also=("INPUT_SCALE",),
    repair=lambda x, y: small(x, [fd.Periodic(1 / 360)]),
)  # fmt: skip
def angle_of_many_turns() -> Built:
    """An angle that counts on beyond 360 degrees: the net sees twelve waves, and gives their mean."""
    x, y = wind()
    return net([fd.Normalization(), *stack(2, 32, "tanh"), fd.Dense(1)], x, fd.Adam(0.003), "mse"), x, y


@sick(
    "REPRESENTATION", goal=fit_of(0.9), fit={"epochs": 60}, when="before",
    repair=lambda x, y: small(x, [fd.Periodic([2.2, 7.5])]),
)  # fmt: skip
def two_tides() -> Built:
    """Water level over time: two waves, nine and thirty within the data; a ReLU net draws a line through the middle."""
    x = data.rng(76).uniform(-2, 2, (1600, 1))
    y = np.sin(2 * np.pi * 7.5 * x) + 0.5 * np.cos(2 * np.pi * 2.2 * x) + 0.2 * x
    return net([*stack(2, 64, "relu"), fd.Dense(1)], x, "adam", "mse"), x, y


@sick(
    "REPRESENTATION", goal=fit_of(0.95), fit={"epochs": 40}, also=("INPUT_SCALE",),
    repair=lambda x, y: small(x, [fd.Log1p(0.001, offset=x.min(axis=0))]),
)  # fmt: skip
def towns_with_a_few_cities() -> Built:
    """Standardized, yet a few cities are thirty deviations out, and all other towns look alike."""
    x, y = towns()
    x = data.standard(x)
    return net([*stack(2, 16, "relu"), fd.Dense(1)], x, "adam", "mse"), x, y


@sick(
    "REPRESENTATION", "TARGET_SCALE", goal=Goal("rank", 0.9), fit={"epochs": 40},
    also=("TOO_SLOW", "DIVERGED"),
    repair=lambda x, y: (
        net([*stack(2, 32, "relu"), fd.Dense(1, "exponential"), fd.Rescaling(np.median(y))], x, "adam", "mape"),
        {"epochs": 100},
    ),
)  # fmt: skip
def claims_over_decades() -> Built:
    """Squared error on amounts from ten to millions: a handful of claims decides the fit, not the many others."""
    x, y = claims()
    y = y / y.std()
    return net([*stack(2, 32, "relu"), fd.Dense(1)], x, "adam", "mse"), x, y
