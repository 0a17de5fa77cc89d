"""Two faults at once: each hides the other; the causes are named in the order in which they should be mended."""

from __future__ import annotations

import numpy as np

import fastdense as fd
from fastdense.initializers import RandomNormal
from fastdense.regularizers import L2

from . import data
from .case import Built, net, sick, stack
from .goal import accuracy, fit_of


@sick("TARGET_SCALE", "INPUT_SCALE", goal=fit_of(), fit={"epochs": 150}, when="before", also=("SATURATED",))
def fourth_power_up_to_a_hundred() -> Built:
    """y = x**4 for x from -100 to 100 by sigmoids: inputs far too large for them, targets up to 100 million."""
    x = np.linspace(-100, 100, 400)[:, None]
    return net([fd.Dense(32, "sigmoid"), fd.Dense(1)], x, fd.Adam(0.02), "mse"), x, x**4


@sick("INPUT_SCALE", "TARGET_SCALE", goal=fit_of(), fit={"epochs": 60}, also=("DIVERGED", "INIT_SCALE", "TOO_SLOW"))
def house_table_as_it_is() -> Built:
    """Area, rooms, year and price straight from the table."""
    x, y = data.houses()
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, "adam", "mse"), x, y


@sick("OUTPUT_RELU", "TARGET_SCALE", "OUTPUT_RANGE", goal=fit_of(), fit={"epochs": 60}, also=("DEAD_RELU",))
def profits_and_losses_with_relu() -> Built:
    """Profits in thousands, half of them negative, ReLU on the output."""
    x, y = data.surface()
    return net([fd.Dense(32, "relu"), fd.Dense(1, "relu")], x, fd.Adam(0.005), "mse"), x, 4000 * y


@sick(
    "SOFTMAX_1", "INPUT_SCALE", goal=accuracy(0.95), fit={"epochs": 40}, when="before", raises=True,
    also=("INIT_SCALE",),
)  # fmt: skip
def softmax_of_one_unit_and_raw_columns() -> Built:
    """Customers from a table with salaries, one softmax unit: scaling alone does not help, sigmoid alone hardly."""
    random = data.rng(12)
    age, salary = random.uniform(20, 60, 500), random.uniform(15000, 150000, 500)
    y = ((age - 40) / 12 + (salary - 82000) / 40000 > 0).astype(float)[:, None]
    x = np.column_stack([age, salary])
    return net([fd.Dense(8, "relu"), fd.Dense(1, "softmax")], x, fd.Adam(0.01), "bce"), x, y


@sick("NO_CAPACITY", "TOO_SLOW", goal=accuracy(0.95), fit={"epochs": 40}, when="history")
def linear_and_slow() -> Built:
    """No activation in the hidden layers and a learning rate of 1e-5."""
    x, y = data.ring()
    return net([*stack(2, 16, None), fd.Dense(1, "sigmoid")], x, fd.Adam(1e-5), "bce"), x, y


@sick("OVER_REG", "VANISHING", goal=fit_of(), fit={"epochs": 60}, also=("TOO_SLOW",))
def deep_sigmoids_with_a_penalty() -> Built:
    """Six sigmoid layers, each with l2(0.1)."""
    x, y = data.surface()
    layers = [*stack(6, 24, "sigmoid", kernel_regularizer=L2(0.1)), fd.Dense(1, kernel_regularizer=L2(0.1))]
    return net(layers, x, fd.SGD(0.05), "mse"), x, y


@sick("INIT_SCALE", "DIVERGED", goal=fit_of(), fit={"epochs": 30}, when="history")
def large_weights_and_large_steps() -> Built:
    """Standard normal weights in four ReLU layers and SGD at 0.1: nan."""
    x, y = data.surface()
    wide = RandomNormal(stddev=1.0)
    layers = [*stack(4, 32, "relu", kernel_initializer=wide), fd.Dense(1, kernel_initializer=wide)]
    return net(layers, x, fd.SGD(0.1), "mse"), x, y


@sick("LOSS_ACT", "BATCHING", goal=accuracy(0.9), fit={"epochs": 8, "shuffle": False}, also=("INPUT_SCALE",))
def absolute_error_on_sorted_classes() -> Built:
    """Mean absolute error on one-hot rows, and the classes one after another."""
    x, y = data.digits()
    order = np.argsort(y, kind="stable")
    x, y = x[order] / 16, data.one_hot(y[order])
    return net([fd.Dense(32, "relu"), fd.Dense(10, "softmax")], x, fd.Adam(0.003), "mae"), x, y


@sick("INPUT_SCALE", "OUTPUT_RANGE", goal=fit_of(), fit={"epochs": 100, "batch_size": 1}, also=("BAD_DATA",))
def sine_of_a_hundred_numbers() -> Built:
    """sin(0), sin(1), ..., sin(30) from the numbers themselves, sigmoid inside and at the end, SGD."""
    x = np.linspace(0, 30, 300)[:, None]
    return net([fd.Dense(10, "sigmoid"), fd.Dense(1, "sigmoid")], x, fd.SGD(0.05), "mse"), x, np.sin(x / 3)
