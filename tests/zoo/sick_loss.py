"""LOSS_ACT and MAPE_ZERO: the loss does not go with the output, or with the targets."""

from __future__ import annotations

import numpy as np

import fastdense as fd

from . import data
from .case import Built, net, sick, stack
from .goal import Goal, accuracy, fit_of

# ---- LOSS_ACT ------------------------------------------------------------------------------------------------------


@sick("LOSS_ACT", goal=accuracy(0.92), fit={"epochs": 6, "batch_size": 128}, when="before")
def softmax_twice() -> Built:
    """softmax on the output and from_logits=True: the probabilities are squashed once more, the loss ends near 1.5."""
    x, y = data.digits()
    loss = fd.losses.SparseCategoricalCrossentropy(from_logits=True)
    return net([fd.Dense(32, "relu"), fd.Dense(10, "softmax")], x / 16, fd.Adam(0.01), loss), x / 16, y


@sick("LOSS_ACT", goal=accuracy(0.92), fit={"epochs": 100}, when="before")
def binary_crossentropy_of_a_linear_output() -> Built:
    """The sigmoid was forgotten: values outside 0..1 are clipped and give no gradient."""
    x, y = data.moons(noise=0.2)
    return net([fd.Dense(16, "relu"), fd.Dense(1)], x, fd.SGD(0.1), "bce"), x, y


@sick("LOSS_ACT", goal=accuracy(0.9), fit={"epochs": 30})
def categorical_crossentropy_of_linear_outputs() -> Built:
    """Ten linear outputs divided by their sum, which may be negative or 0: the loss jumps between extremes."""
    x, y = data.digits()
    layers = [fd.Dense(32, "relu"), fd.Dense(10)]
    return net(layers, x / 16, fd.Adam(0.01), "categorical_crossentropy"), x / 16, data.one_hot(y)


@sick("LOSS_ACT", "OUTPUT_RELU", goal=accuracy(0.9), fit={"epochs": 30}, also=("DEAD_RELU",))
def categorical_crossentropy_of_relu_outputs() -> Built:
    """ReLU on all layers of a classifier, the last included."""
    x, y = data.digits()
    layers = [fd.Dense(32, "relu"), fd.Dense(10, "relu")]
    return net(layers, x / 16, fd.Adam(0.01), "categorical_crossentropy"), x / 16, data.one_hot(y)


@sick("LOSS_ACT", "TARGET_ENCODING", "OUTPUT_RANGE", goal=Goal("labels", 0.9), fit={"epochs": 60}, when="before")
def softmax_for_several_labels() -> Built:
    """Tags that may apply together (0 to 4 per row), but softmax and categorical cross-entropy, which allow one."""
    x = data.rng(5).standard_normal((600, 4))
    y = (x + 0.5 * np.roll(x, 1, axis=1) ** 2 > 0.3).astype(float)
    layers = [fd.Dense(32, "relu"), fd.Dense(4, "softmax")]
    return net(layers, x, fd.Adam(0.01), "categorical_crossentropy"), x, y


@sick("LOSS_ACT", goal=accuracy(0.95), fit={"epochs": 20}, when="history")
def absolute_error_of_a_softmax() -> Built:
    """Mean absolute error for ten classes: its best constant answer is "no class at all", and there it stays."""
    x, y = data.digits()
    layers = [fd.Dense(32, "relu"), fd.Dense(10, "softmax")]
    return net(layers, x / 16, fd.SGD(0.1), "mae"), x / 16, data.one_hot(y)


@sick("LOSS_ACT", "TOO_SLOW", goal=accuracy(0.9), fit={"epochs": 20}, when="history")
def squared_error_of_a_softmax() -> Built:
    """Mean squared error for ten classes with plain SGD: fifty times smaller gradients than cross-entropy's."""
    x, y = data.digits()
    layers = [fd.Dense(32, "relu"), fd.Dense(10, "softmax")]
    return net(layers, x / 16, fd.SGD(0.1), "mse"), x / 16, data.one_hot(y)


@sick("LOSS_ACT", "OUTPUT_RANGE", goal=accuracy(0.95), fit={"epochs": 60}, when="before")
def hinge_of_a_sigmoid() -> Built:
    """The hinge loss wants -1 and 1; a sigmoid never gets below 0, so one class is pushed to 0 and stays there."""
    x, y = data.moons()
    return net([fd.Dense(16, "relu"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.01), "hinge"), x, 2 * y - 1


@sick("LOSS_ACT", "OUTPUT_RANGE", goal=fit_of(), fit={"epochs": 60})
def poisson_of_a_linear_output() -> Built:
    """Rates with the Poisson loss and no activation: where an output is below 0, its logarithm is not defined."""
    x, y = data.surface()
    y = np.exp(1 + 0.6 * y)
    layers = [fd.Dense(32, "relu"), fd.Dense(1)]
    return net(layers, x, fd.Adam(0.01), "poisson"), x, y


@sick("LOSS_ACT", goal=accuracy(0.9), fit={"epochs": 30}, when="before")
def sigmoid_outputs_with_logits_loss() -> Built:
    """Sigmoid on the output and from_logits=True: the net sees logits between 0 and 1 only."""
    x, y = data.ring()
    loss = fd.losses.BinaryCrossentropy(from_logits=True)
    return net([fd.Dense(16, "relu"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.01), loss), x, y


# ---- MAPE_ZERO -----------------------------------------------------------------------------------------------------


@sick("MAPE_ZERO", goal=fit_of(0.8), fit={"epochs": 60}, when="before")
def percentage_error_of_sales_with_zeros() -> Built:
    """Daily sales, many of them 0, percentage error as loss: billions of percent, and everything is predicted as 0."""
    x, y = data.surface()
    y = np.maximum(0, np.rint(4 * y + 2))
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.01), "mape"), x, y


@sick("MAPE_ZERO", goal=fit_of(), fit={"epochs": 60})
def percentage_error_of_standardised_targets() -> Built:
    """Standardised targets lie around 0, which is where the percentage error looks."""
    x, y = data.surface()
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.01), "mape"), x, y


@sick("MAPE_ZERO", goal=fit_of(), fit={"epochs": 30}, when="before")
def percentage_error_of_pixels() -> Built:
    """An identity or denoising net judged by percentage error, on images that are mostly black."""
    x, _ = data.digits()
    x = x / 16
    layers = [fd.Dense(48, "relu"), fd.Dense(64)]
    return net(layers, x, fd.Adam(0.005), "mape"), x, x


@sick("MAPE_ZERO", goal=fit_of(), fit={"epochs": 150}, when="history")
def percentage_error_of_a_sine() -> Built:
    """A signal that crosses 0, trained on percentage error."""
    x, y = data.sine()
    y[np.abs(y) < 0.02] = 0.0
    return net([*stack(2, 24, "tanh"), fd.Dense(1)], x, fd.Adam(0.005), "mape"), x, y
