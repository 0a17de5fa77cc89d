"""INPUT_SCALE and TARGET_SCALE: the numbers are of another size than the weights."""

from __future__ import annotations

import numpy as np

import fastdense as fd

from . import data
from .case import Array, Built, net, sick, stack
from .goal import accuracy, each_of, fit_of

# ---- INPUT_SCALE ---------------------------------------------------------------------------------------------------


@sick("INPUT_SCALE", goal=accuracy(0.9), fit={"epochs": 10}, also=("SATURATED", "DIVERGED", "INIT_SCALE"), mnist=True)
def mnist_in_bytes_with_sigmoids() -> Built:
    """Images from 0 to 255 as they come, sigmoid hidden units, plain SGD: they are at 0 or 1 before the first step."""
    x, y = data.mnist(1000)
    layers = [fd.Dense(32, "sigmoid"), fd.Dense(10, "softmax")]
    return net(layers, x, fd.SGD(0.5), "sparse_categorical_crossentropy"), x, y


@sick("INPUT_SCALE", "DIVERGED", goal=accuracy(0.9), fit={"epochs": 30}, also=("DEAD_RELU", "INIT_SCALE"))
def pixels_in_bytes_with_sgd() -> Built:
    """Pixels up to 255, ReLU, SGD with its default rate: nan, or every image gets the same class."""
    x, y = data.digits()
    x = np.rint(x * 255 / 16)
    layers = [*stack(2, 32, "relu"), fd.Dense(10, "softmax")]
    return net(layers, x, fd.SGD(0.01), "sparse_categorical_crossentropy"), x, y


@sick("INPUT_SCALE", goal=fit_of(), fit={"epochs": 100}, when="before")
def years_as_they_are() -> Built:
    """A cycle over the years 1960 to 2020, the year as the only input: one straight line, or the mean."""
    x = np.linspace(1960, 2020, 400)[:, None]
    y = np.sin((x - 1960) / 60 * 2 * np.pi)
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.003), "mse"), x, y


@sick("INPUT_SCALE", goal=accuracy(0.95), fit={"epochs": 60}, also=("DIVERGED", "DEAD_RELU", "INIT_SCALE"))
def age_beside_salary() -> Built:
    """Who buys, from age (20 to 60) and yearly salary (15 000 to 150 000), unscaled: accuracy of the larger class."""
    random = data.rng(7)
    age, salary = random.uniform(20, 60, 500), random.uniform(15000, 150000, 500)
    y = ((age - 40) / 12 + (salary - 82000) / 40000 > 0).astype(float)[:, None]
    x = np.column_stack([age, salary])
    return net([fd.Dense(8, "relu"), fd.Dense(1, "sigmoid")], x, "adam", "bce"), x, y


@sick("INPUT_SCALE", goal=fit_of(), fit={"epochs": 60}, when="before", also=("INIT_SCALE", "DIVERGED", "TOO_SLOW"))
def one_huge_column_hides_the_others() -> Built:
    """An account number among the features: what it adds at random drowns what the useful columns say."""
    x, y = data.surface()
    x = np.column_stack([x, data.rng(8).uniform(1e5, 9e5, len(x))])
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.005), "mse"), x, y


@sick("INPUT_SCALE", goal=fit_of(), fit={"epochs": 60}, when="before", also=("TOO_SLOW", "VANISHING"))
def micrometres_in_metres() -> Built:
    """Lengths of some micrometres given in metres: the net sees zeros."""
    x, y = data.surface()
    return net([fd.Dense(32, "tanh"), fd.Dense(1)], 1e-6 * x, fd.SGD(0.05), "mse"), 1e-6 * x, y


def _in_float64(x: Array, y: Array) -> tuple[fd.Model, dict[str, int]]:
    layers = [fd.Normalization(), fd.Dense(32, "tanh"), fd.Dense(1)]
    return net(layers, x, fd.Adam(0.01), "mse", dtype="float64"), {"epochs": 600}


@sick(
    "INPUT_SCALE",
    goal=fit_of(),
    fit={"epochs": 300},
    when="before",
    repair=_in_float64,
    also=("INIT_SCALE", "DIVERGED"),
)
def seconds_since_1970() -> Built:
    """Time stamps within half an hour, as seconds since 1970: float32 rounds them to steps of 128 seconds."""
    x = 1.6e9 + np.linspace(0, 1800, 500)[:, None]
    y = np.sin((x - 1.6e9) / 1800 * 4 * np.pi)
    return net([fd.Dense(32, "tanh"), fd.Dense(1)], x, fd.Adam(0.01), "mse"), x, y


@sick("INPUT_SCALE", "SATURATED", goal=fit_of(), fit={"epochs": 60})
def sensors_up_to_a_thousand_with_tanh() -> Built:
    """Raw sensor readings of hundreds into tanh units, all of which end at -1 or 1."""
    x, y = data.surface()
    x = 500 + 200 * x
    return net([fd.Dense(24, "tanh"), fd.Dense(1)], x, fd.Adam(0.003), "mse"), x, y


@sick("INPUT_SCALE", goal=fit_of(), fit={"epochs": 60}, when="history")
def temperatures_in_kelvin() -> Built:
    """Temperatures of 290 to 300 kelvin: the differences that matter are a hundredth of the value."""
    x, y = data.surface()
    x = 293.15 + x
    return net([fd.Dense(24, "relu"), fd.Dense(1)], x, fd.Adam(0.003), "mse"), x, y


@sick(
    "INPUT_SCALE", "BAD_DATA", goal=fit_of(0.75), fit={"epochs": 60}, when="before", also=("INIT_SCALE",), hopeless=True
)
def missing_values_as_minus_9999() -> Built:
    """Missing measurements written as -9999, as weather stations do, in a tenth of the cells."""
    x, y = data.surface()
    x[data.rng(9).uniform(size=x.shape) < 0.1] = -9999
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, "adam", "mse"), x, y


# ---- TARGET_SCALE --------------------------------------------------------------------------------------------------


@sick("TARGET_SCALE", goal=fit_of(), fit={"epochs": 40}, also=("TOO_SLOW",))
def house_prices() -> Built:
    """Standardised inputs, prices in currency, Adam: a loss of 10 to the 11th that hardly falls."""
    x, y = data.houses()
    x = data.standard(x)
    return net([*stack(2, 32, "relu"), fd.Dense(1)], x, fd.Adam(0.003), "mse"), x, y


@sick("TARGET_SCALE", "DIVERGED", goal=fit_of(), fit={"epochs": 20}, when="history")
def house_prices_with_sgd() -> Built:
    """The same with SGD: nan within the first epoch."""
    x, y = data.houses()
    x = data.standard(x)
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.SGD(0.01), "mse"), x, y


@sick("TARGET_SCALE", goal=fit_of(), fit={"epochs": 60}, when="before")
def targets_of_a_ten_thousandth() -> Built:
    """Targets of 0.0001: the loss looks perfect at once, the predictions are noise of the weights' size."""
    x, y = data.surface()
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.003), "mse"), x, 1e-4 * y


@sick("TARGET_SCALE", goal=fit_of(), fit={"epochs": 60}, when="before")
def populations_with_absolute_error() -> Built:
    """Millions of inhabitants with the mean absolute error, whose gradient is the same however far away it is."""
    x, y = data.surface()
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.005), "mae"), x, 5e6 + 1e6 * y


@sick("TARGET_SCALE", goal=fit_of(), fit={"epochs": 50})
def small_wave_on_a_large_offset() -> Built:
    """Air pressure in hectopascal: 1000 and a small wave on top; the net spends its time climbing to 1000."""
    x, y = data.sine()
    return net([fd.Dense(32, "tanh"), fd.Dense(1)], x, fd.Adam(0.003), "mse"), x, 1000 + 5 * y


@sick("TARGET_SCALE", goal=each_of(), fit={"epochs": 60}, when="history")
def one_output_a_thousand_times_the_other() -> Built:
    """Power in watts beside efficiency in 0..1 as two targets: only the first one counts, and neither is reached."""
    x, y = data.surface()
    y = np.column_stack([3000 + 1000 * y[:, 0], 0.5 + 0.1 * np.tanh(x[:, 0])])
    return net([fd.Dense(32, "relu"), fd.Dense(2)], x, fd.Adam(0.005), "mse"), x, y
