"""OVER_REG and NO_CAPACITY: it may not, or it cannot."""

from __future__ import annotations

import numpy as np

import fastdense as fd
from fastdense.regularizers import L1, L2

from . import data
from .case import Built, net, sick, stack
from .goal import accuracy, fit_of

# ---- OVER_REG ------------------------------------------------------------------------------------------------------


@sick("OVER_REG", goal=fit_of(), fit={"epochs": 60}, when="before")
def l2_of_one() -> Built:
    """l2(1.0) on every layer: all weights go to 0 and the output to a constant."""
    x, y = data.surface()
    layers = [*stack(2, 32, "relu", kernel_regularizer=L2(1.0)), fd.Dense(1, kernel_regularizer=L2(1.0))]
    return net(layers, x, fd.Adam(0.005), "mse"), x, y


@sick("OVER_REG", goal=accuracy(0.9), fit={"epochs": 30})
def l1_of_a_tenth() -> Built:
    """l1(0.1) on digits, ten times the default: a sum over two thousand weights outweighs everything else."""
    x, y = data.digits()
    layers = [fd.Dense(32, "relu", kernel_regularizer=L1(0.1)), fd.Dense(10, "softmax", kernel_regularizer=L1(0.1))]
    return net(layers, x / 16, fd.Adam(0.003), "sparse_categorical_crossentropy"), x / 16, y


@sick("OVER_REG", "TARGET_SCALE", goal=fit_of(), fit={"epochs": 60}, when="history")
def l2_by_name_on_small_targets() -> Built:
    """kernel_regularizer="l2" (0.01) with targets of standard deviation 0.1: the penalty is larger than the loss."""
    x, y = data.surface()
    layers = [*stack(2, 32, "relu", kernel_regularizer="l2"), fd.Dense(1, kernel_regularizer="l2")]
    return net(layers, x, fd.Adam(0.005), "mse"), x, 0.1 * y


@sick("OVER_REG", goal=accuracy(0.92), fit={"epochs": 40})
def dropout_of_nine_tenths() -> Built:
    """Dropout(0.9), keep and drop confused, after each of three narrow layers."""
    x, y = data.moons(600, 0.2)
    layers = [item for _ in range(3) for item in (fd.Dense(12, "relu"), fd.Dropout(0.9))]
    return net([*layers, fd.Dense(1, "sigmoid")], x, fd.Adam(0.01), "bce"), x, y


@sick("OVER_REG", goal=fit_of(), fit={"epochs": 80}, when="history")
def dropout_under_a_regression() -> Built:
    """Half of eight units dropped before a linear output: training loss far above evaluation loss, and both high."""
    x, y = data.surface()
    layers = [fd.Dense(8, "relu"), fd.Dropout(0.5), fd.Dense(8, "relu"), fd.Dropout(0.5), fd.Dense(1)]
    return net(layers, x, fd.Adam(0.01), "mse"), x, y


@sick("OVER_REG", goal=fit_of(), fit={"epochs": 80}, when="before")
def dropout_of_the_inputs() -> Built:
    """Dropout(0.7) right on three input columns: seven of ten numbers are missing in every step."""
    x, y = data.surface()
    layers = [fd.Dropout(0.7), fd.Dense(32, "relu"), fd.Dense(1)]
    return net(layers, x, fd.Adam(0.005), "mse"), x, y


@sick("OVER_REG", goal=fit_of(), fit={"epochs": 60})
def penalty_on_the_activity() -> Built:
    """activity_regularizer=l2(100) where kernel_regularizer was meant: the hidden layer is silenced."""
    x, y = data.surface()
    layers = [fd.Dense(24, "relu", activity_regularizer=L2(100.0)), fd.Dense(1)]
    return net(layers, x, fd.Adam(0.01), "mse"), x, y


# ---- NO_CAPACITY ---------------------------------------------------------------------------------------------------


@sick("NO_CAPACITY", goal=accuracy(0.95), fit={"epochs": 60})
def three_layers_without_activation() -> Built:
    """Dense layers without activation: together they are one line through two moons."""
    x, y = data.moons()
    return net([*stack(3, 16, None), fd.Dense(1, "sigmoid")], x, fd.Adam(0.01), "bce"), x, y


@sick("NO_CAPACITY", goal=accuracy(0.95), fit={"epochs": 100}, when="before")
def exclusive_or_by_one_unit() -> Built:
    """Exclusive or by a single sigmoid, as Minsky and Papert's readers try it: one half for all four rows."""
    x, y = data.xor(8)
    return net([fd.Dense(1, "sigmoid")], x, fd.Adam(0.05), "bce"), x, y


@sick("NO_CAPACITY", goal=fit_of(), fit={"epochs": 100}, when="history")
def sine_by_a_line() -> Built:
    """A sine by layers without activation, "since it is a regression"."""
    x, y = data.sine()
    return net([*stack(2, 20, None), fd.Dense(1)], x, fd.Adam(0.01), "mse"), x, y


@sick("NO_CAPACITY", goal=accuracy(0.95), fit={"epochs": 200})
def spiral_by_two_units() -> Built:
    """Two hidden units for two spirals."""
    x, y = data.spiral()
    return net([fd.Dense(2, "tanh"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.01), "bce"), x, y


@sick("NO_CAPACITY", goal=fit_of(), fit={"epochs": 60}, when="before")
def no_bias_anywhere() -> Built:
    """use_bias=False in all ReLU layers: the net is 0 at 0 and scales with x, but the target is a bump around 0."""
    x = np.linspace(-2, 2, 400)[:, None]
    y = np.exp(-(x**2) * 2)
    layers = [*stack(2, 32, "relu", use_bias=False), fd.Dense(1, use_bias=False)]
    return net(layers, x, fd.Adam(0.005), "mse"), x, y


@sick("NO_CAPACITY", goal=fit_of(), fit={"epochs": 150}, when="history")
def two_periods_by_two_units() -> Built:
    """Two periods of a sine by two tanh units, which can bend twice."""
    x, _ = data.sine(600)
    return net([fd.Dense(2, "tanh"), fd.Dense(1)], x, fd.Adam(0.02), "mse"), x, np.sin(2 * x)


@sick("NO_CAPACITY", goal=accuracy(0.9), fit={"epochs": 40})
def bottleneck_of_one() -> Built:
    """A layer of one unit in the middle of a digit classifier: a typing mistake, 1 for 10."""
    x, y = data.digits()
    layers = [fd.Dense(32, "relu"), fd.Dense(1, "relu"), fd.Dense(32, "relu"), fd.Dense(10, "softmax")]
    return net(layers, x / 16, fd.Adam(0.003), "sparse_categorical_crossentropy", seed=1), x / 16, y
