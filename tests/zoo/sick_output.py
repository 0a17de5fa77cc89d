"""OUTPUT_RANGE, OUTPUT_RELU and SOFTMAX_1: the last activation cannot give the targets."""

from __future__ import annotations

import numpy as np

import fastdense as fd

from . import data
from .case import Built, net, sick, stack
from .goal import accuracy, fit_of

# ---- OUTPUT_RANGE --------------------------------------------------------------------------------------------------


@sick("OUTPUT_RANGE", goal=fit_of(), fit={"epochs": 200}, when="before")
def sigmoid_for_a_sine() -> Built:
    """A sine from a tutorial net with sigmoids everywhere: the lower half of the curve is cut off at 0."""
    x, y = data.sine()
    return net([fd.Dense(20, "sigmoid"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.02), "mse"), x, y


@sick("OUTPUT_RANGE", "TARGET_SCALE", goal=fit_of(), fit={"epochs": 150})
def sigmoid_for_marks() -> Built:
    """Marks out of 50 from hours slept and studied, sigmoid output: one and the same prediction for everybody."""
    random = data.rng(4)
    x = random.uniform(0, 1, (300, 4))
    y = np.clip(50 * (0.5 * x[:, :1] + 0.4 * x[:, 1:2] - 0.2 * x[:, 2:3] + 0.2), 2, 50)
    return net([fd.Dense(8, "sigmoid"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.02), "mse"), x, y


@sick("OUTPUT_RANGE", "TARGET_SCALE", goal=fit_of(), fit={"epochs": 150}, when="history")
def tanh_for_values_up_to_thirty() -> Built:
    """tanh in every layer, the output included, for values between 0 and 30: all predictions are 1."""
    x, y = data.friedman()
    return net([fd.Dense(32, "tanh"), fd.Dense(1, "tanh")], x, fd.Adam(0.005), "mse"), x, y


@sick("OUTPUT_RANGE", goal=fit_of(), fit={"epochs": 80}, when="before")
def sigmoid_for_standardised_targets() -> Built:
    """Targets standardised as advised, the sigmoid left from the classification example."""
    x, y = data.surface()
    return net([fd.Dense(32, "relu"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.005), "mse"), x, y


@sick("OUTPUT_RANGE", "LOSS_ACT", goal=fit_of(), fit={"epochs": 80}, when="before")
def softmax_for_three_quantities() -> Built:
    """Three unrelated measurements predicted by a softmax, which makes them sum to 1."""
    x, y = data.surface()
    y = np.column_stack([y, x[:, 0] * x[:, 1], np.abs(x[:, 2])])
    return net([fd.Dense(32, "relu"), fd.Dense(3, "softmax")], x, fd.Adam(0.01), "mse"), x, y


@sick("OUTPUT_RANGE", goal=fit_of(), fit={"epochs": 80}, also=("TARGET_SCALE",))
def relu6_for_values_up_to_thirty() -> Built:
    """An activation that ends at 6 on the output for larger values."""
    x, y = data.friedman()
    return net([fd.Dense(32, "relu"), fd.Dense(1, "relu6")], x, fd.Adam(0.01), "mse"), x, y


# ---- OUTPUT_RELU ---------------------------------------------------------------------------------------------------


@sick("OUTPUT_RELU", "OUTPUT_RANGE", goal=fit_of(), fit={"epochs": 200})
def relu_for_a_sine() -> Built:
    """ReLU on every layer because it is said to be the best activation: the fit is flat below 0."""
    x, y = data.sine()
    return net([fd.Dense(32, "relu"), fd.Dense(1, "relu")], x, fd.Adam(0.01), "mse"), x, y


@sick(
    "OUTPUT_RELU",
    "OUTPUT_RANGE",
    goal=fit_of(0.95),
    fit={"epochs": 500},
    also=("DEAD_RELU", "TOO_SLOW"),
    when="history",
)
def line_with_relu_everywhere() -> Built:
    """y = 2x - 1 from seven points and 4-2-1 ReLU units: the loss stays where it is in most runs."""
    x = np.arange(-1.0, 6.0)[:, None]
    layers = [fd.Dense(4, "relu"), fd.Dense(2, "relu"), fd.Dense(1, "relu")]
    return net(layers, x, fd.Adam(0.01), "mse", seed=7), x, 2 * x - 1


@sick("OUTPUT_RELU", "OUTPUT_RANGE", goal=fit_of(), fit={"epochs": 60}, when="before")
def relu_for_negative_targets() -> Built:
    """Log-probabilities and depths below sea level: targets below 0 throughout, so every prediction is 0."""
    x, y = data.surface()
    return net([fd.Dense(32, "relu"), fd.Dense(1, "relu")], x, fd.Adam(0.005), "mse"), x, y - 5


@sick("OUTPUT_RELU", "DEAD_RELU", "INIT_SCALE", goal=fit_of(), fit={"epochs": 100}, when="before")
def relu_output_off_from_the_start() -> Built:
    """Targets are positive, but the last bias starts at -10: the output is 0 for all rows and so is its gradient."""
    x, y = data.surface()
    layers = [fd.Dense(16, "relu"), fd.Dense(1, "relu", bias_initializer=fd.initializers.Constant(-10.0))]
    return net(layers, x, fd.Adam(0.01), "mse"), x, y - y.min() + 0.5


@sick("OUTPUT_RELU", "LOSS_ACT", goal=accuracy(0.92), fit={"epochs": 100}, also=("DEAD_RELU",))
def relu_output_with_binary_crossentropy() -> Built:
    """Two classes, one ReLU output, cross-entropy: stuck at a loss of several, or at half of the rows."""
    x, y = data.moons(noise=0.2)
    return net([fd.Dense(16, "relu"), fd.Dense(1, "relu")], x, fd.SGD(0.1), "bce"), x, y


@sick("OUTPUT_RELU", "DEAD_RELU", goal=fit_of(), fit={"epochs": 60}, also=("BAD_DATA", "INPUT_SCALE"), when="history")
def identity_of_pixels_with_relu_output() -> Built:
    """An identity net of one ReLU layer on raw pixels: outputs that start below 0 for all images never come back."""
    x, _ = data.digits()
    return net([fd.Dense(64, "relu")], x, "rmsprop", "mse"), x, x


# ---- SOFTMAX_1 -----------------------------------------------------------------------------------------------------


@sick("SOFTMAX_1", goal=accuracy(0.95), fit={"epochs": 40}, when="before", raises=True)
def softmax_of_one_unit() -> Built:
    """Two classes, Dense(1, softmax), binary cross-entropy: always 1, accuracy exactly the fraction of ones."""
    x, y = data.moons()
    return net([fd.Dense(16, "relu"), fd.Dense(1, "softmax")], x, fd.Adam(0.01), "bce"), x, y


@sick("SOFTMAX_1", "OUTPUT_RANGE", goal=fit_of(), fit={"epochs": 40}, when="before", raises=True)
def softmax_of_one_unit_for_values() -> Built:
    """A regression with softmax on its single output: the loss does not move by one digit."""
    x, y = data.plane()
    return net([fd.Dense(32, "relu"), fd.Dense(1, "softmax")], x, "adam", "mse"), x, y


@sick("SOFTMAX_1", "LOSS_ACT", goal=accuracy(0.95), fit={"epochs": 40}, when="before", raises=True)
def categorical_crossentropy_of_one_column() -> Built:
    """Sigmoid on one unit with categorical cross-entropy: divided by its own sum the output is 1, the loss about 0."""
    x, y = data.moons()
    return net([fd.Dense(16, "relu"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.01), "categorical_crossentropy"), x, y


@sick("SOFTMAX_1", goal=accuracy(0.95), fit={"epochs": 30}, when="before", raises=True)
def softmax_of_one_unit_at_depth() -> Built:
    """The same at the end of a deep net with dropout and batch norm, where everything else was suspected first."""
    x, y = data.ring()
    layers = [*stack(2, 32, "relu"), fd.BatchNorm(), fd.Dropout(0.2), fd.Dense(16, "relu"), fd.Dense(1, "softmax")]
    return net(layers, x, "adam", "categorical_crossentropy"), x, y
