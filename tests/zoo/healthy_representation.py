"""Healthy twins of `sick_representation`, with the representation that these lack; and columns that only look so."""

from __future__ import annotations

import numpy as np

import fastdense as fd

from . import data
from .case import Built, healthy, net, stack
from .goal import Goal, accuracy, fit_of
from .sick_representation import claims, products, towns, wind


@healthy(goal=fit_of(0.9), fit={"epochs": 60}, twin="article_numbers_standardized")
def one_column_per_article() -> Built:
    """Article numbers as one column each, inside the model."""
    x, y = products()
    layers = [fd.OneHot(columns=0).adapt(x), *stack(2, 32, "relu"), fd.Dense(1)]
    return net(layers, x, fd.Adam(0.003), "mse"), x, y


@healthy(goal=fit_of(0.9), fit={"epochs": 60}, twin="angle_of_many_turns", when="before")
def sine_and_cosine_of_the_angle() -> Built:
    """The angle as a direction."""
    x, y = wind()
    return net([fd.Periodic(1 / 360, keep=False), *stack(2, 32, "tanh"), fd.Dense(1)], x, fd.Adam(0.003), "mse"), x, y


@healthy(goal=fit_of(0.95), fit={"epochs": 40}, twin="towns_with_a_few_cities")
def logarithms_of_the_towns() -> Built:
    """The logarithms, standardized, inside the model."""
    x, y = towns()
    return net([fd.Log1p(), fd.Normalization(), *stack(2, 16, "relu"), fd.Dense(1)], x, fd.Adam(0.003), "mse"), x, y


@healthy(goal=fit_of(0.95), fit={"epochs": 60}, twin="claims_over_decades", when="history")
def logarithms_of_the_claims() -> Built:
    """The logarithm as target."""
    x, y = claims()
    return net([*stack(2, 32, "relu"), fd.Dense(1)], x, fd.Adam(0.005), "mse"), x, data.standard(np.log(y))


@healthy(goal=Goal("rank", 0.9), fit={"epochs": 60}, twin="claims_over_decades")
def exponential_for_the_claims() -> Built:
    """Claims as they are, with an output that spans decades and a loss of relative errors."""
    x, y = claims()
    layers = [*stack(2, 32, "relu"), fd.Dense(1, "exponential"), fd.Rescaling(300)]
    return net(layers, x, fd.Adam(0.003), "mape"), x, y


# ---- traps -----------------------------------------------------------------------------------------------------------


@healthy(goal=fit_of(0.9), fit={"epochs": 60}, trap=True)
def numbers_of_few_values_in_order() -> Built:
    """Ages in whole years and five grades: few values, each many times, and a smooth function of them."""
    random = data.rng(81)
    age, grade = random.integers(18, 80, 1500), random.integers(1, 6, 1500)
    y = np.sin(age / 15) + 0.3 * grade + 0.1 * random.standard_normal(1500)
    x = data.standard(np.column_stack([age, grade]).astype(float))
    return net([*stack(2, 32, "relu"), fd.Dense(1)], x, fd.Adam(0.003), "mse"), x, y[:, None]


@healthy(goal=fit_of(0.25), fit={"epochs": 30}, trap=True)
def shops_that_do_not_matter() -> Built:
    """The number of a shop beside what counts; the rest is noise, so that a third of the variance is all there is."""
    random = data.rng(82)
    x = np.column_stack([random.integers(0, 60, 3000) / 30.0 - 1, random.standard_normal((3000, 2))])
    y = 0.6 * x[:, 1:2] + 0.4 * np.abs(x[:, 2:]) + random.standard_normal((3000, 1))
    return net([fd.Dense(16, "relu"), fd.Dense(1)], x, fd.Adam(0.003), "mse"), x, y


@healthy(goal=accuracy(0.9), fit={"epochs": 40}, trap=True)
def long_tail_that_does_not_matter() -> Built:
    """A column forty deviations long beside two that decide."""
    x, y = data.moons(800)
    x = data.standard(np.column_stack([x, np.exp(2 * data.rng(83).standard_normal(800))]))
    return net([*stack(2, 16, "relu"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.01), "bce"), x, y


@healthy(goal=fit_of(0.9), fit={"epochs": 100}, trap=True)
def skewed_target_that_is_learnt() -> Built:
    """Prices with a long tail, learnt as they are."""
    random = data.rng(84)
    x = random.standard_normal((1500, 3))
    y = np.exp(0.9 * (x @ np.array([[0.8], [0.5], [-0.4]])))
    return net([*stack(2, 32, "relu"), fd.Dense(1)], x, fd.Adam(0.003), "mse"), x, y


@healthy(goal=fit_of(0.35), fit={"epochs": 40}, trap=True)
def noisy_hours_of_the_day() -> Built:
    """Demand by the hour, one period within the data, with as much noise as signal."""
    random = data.rng(85)
    hour = random.uniform(0, 24, (2500, 1))
    y = np.sin(2 * np.pi * hour / 24) + 0.7 * random.standard_normal((2500, 1))
    return net([fd.Normalization(), *stack(2, 16, "tanh"), fd.Dense(1)], hour, fd.Adam(0.01), "mse"), hour, y
