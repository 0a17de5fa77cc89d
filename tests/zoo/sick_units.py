"""DUPLICATE_UNITS: two units of a layer do the work of one."""

from __future__ import annotations

import numpy as np

import fastdense as fd

from . import data
from .case import Built, net, sick
from .goal import accuracy, fit_of


def _twin(model: fd.Model, layer: int, of: int, unit: int, scale: float = 1.0) -> fd.Model:
    """Make one unit of a layer the other's double: its weights and bias times `scale`, its outgoing weights too."""
    weights = model.get_weights()
    kernel, bias, after = weights[2 * layer : 2 * layer + 3]
    kernel[:, unit], bias[unit] = scale * kernel[:, of], scale * bias[of]
    after[unit] = scale * after[of]
    model.set_weights(weights)
    return model


@sick("DUPLICATE_UNITS", goal=fit_of(0.97), fit={"epochs": 1500, "batch_size": 1024}, also=("NO_CAPACITY", "SYMMETRIC"))
def pyramid_with_a_double() -> Built:
    """The distance from the origin by three ReLUs, two of which lie on one another: two sides in place of three."""
    x, y = data.cone()
    model = net([fd.Dense(3, "relu"), fd.Dense(1)], x, fd.Adam(0.01), "mse", seed=3)
    return _twin(model, 0, 0, 1), x, y


@sick("DUPLICATE_UNITS", "SYMMETRIC", goal=accuracy(0.95), fit={"epochs": 300}, when="before", also=("NO_CAPACITY",))
def exclusive_or_with_equal_units() -> Built:
    """Exclusive or by two tanh units that were given the same weights."""
    x, y = data.xor(8)
    model = net([fd.Dense(2, "tanh"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.05), "bce", seed=1)
    return _twin(model, 0, 0, 1), x, y


@sick("DUPLICATE_UNITS", "SYMMETRIC", goal=fit_of(), fit={"epochs": 300}, when="history", also=("NO_CAPACITY",))
def bump_with_equal_units() -> Built:
    """A bump needs two different slopes; the layer was widened by copying its only unit."""
    x = np.linspace(-3, 3, 400)[:, None]
    model = net([fd.Dense(2, "tanh"), fd.Dense(1)], x, fd.Adam(0.02), "mse", seed=2)
    return _twin(model, 0, 0, 1), x, np.exp(-(x**2))


@sick("DUPLICATE_UNITS", "SYMMETRIC", goal=fit_of(), fit={"epochs": 150}, also=("NO_CAPACITY",))
def layer_widened_by_copies() -> Built:
    """A net grown from 2 to 8 hidden units by repeating their weights and dividing the outgoing ones: no gain."""
    x, y = data.surface()
    model = net([fd.Dense(8, "tanh"), fd.Dense(1)], x, fd.Adam(0.01), "mse", seed=0)
    for unit in range(2, 8):
        _twin(model, 0, unit % 2, unit)
    return model, x, y
