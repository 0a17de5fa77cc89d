"""VANISHING, DIVERGED, TOO_SLOW, BATCHING: how it is trained, or how little of it arrives."""

from __future__ import annotations

import numpy as np

import fastdense as fd

from . import data
from .case import Built, net, sick, stack
from .goal import Goal, accuracy, fit_of

# ---- VANISHING -----------------------------------------------------------------------------------------------------


@sick("VANISHING", goal=accuracy(0.9), fit={"epochs": 20}, also=("TOO_SLOW",))
def eight_sigmoid_layers() -> Built:
    """Eight sigmoid layers on digits with SGD: accuracy 0.11, the loss at ln 10 from start to end."""
    x, y = data.digits()
    layers = [*stack(8, 32, "sigmoid"), fd.Dense(10, "softmax")]
    return net(layers, x / 16, fd.SGD(0.1), "sparse_categorical_crossentropy"), x / 16, y


@sick("VANISHING", goal=accuracy(0.9), fit={"epochs": 60}, when="before", also=("TOO_SLOW",))
def six_sigmoid_layers_on_moons() -> Built:
    """Deeper must be better, with sigmoids: predictions of one half for every point."""
    x, y = data.moons(noise=0.2)
    return net([*stack(6, 16, "sigmoid"), fd.Dense(1, "sigmoid")], x, fd.SGD(0.1), "bce"), x, y


@sick("VANISHING", goal=accuracy(0.9), fit={"epochs": 15}, when="before", also=("TOO_SLOW",))
def nine_sigmoid_layers_with_adam() -> Built:
    """Nine narrow sigmoid layers: Adam makes up for small gradients, but not for a factor of a million."""
    x, y = data.digits()
    layers = [*stack(9, 24, "sigmoid"), fd.Dense(10, "softmax")]
    return net(layers, x / 16, "adam", "sparse_categorical_crossentropy"), x / 16, y


@sick("VANISHING", goal=fit_of(), fit={"epochs": 60}, when="history", also=("TOO_SLOW",))
def seven_sigmoid_layers_for_values() -> Built:
    """Real-valued targets under a tower of sigmoids, momentum SGD: the mean is all that is learnt."""
    x, y = data.surface()
    return net([*stack(7, 32, "sigmoid"), fd.Dense(1)], x, fd.SGD(0.01, momentum=0.9), "mse"), x, y


# ---- DIVERGED ------------------------------------------------------------------------------------------------------


@sick("DIVERGED", goal=fit_of(), fit={"epochs": 30})
def sgd_at_one() -> Built:
    """SGD with a learning rate of 1 for a regression: nan in the first epoch."""
    x, y = data.surface()
    return net([*stack(2, 32, "relu"), fd.Dense(1)], x, fd.SGD(1.0), "mse"), x, y


@sick("DIVERGED", goal=fit_of(), fit={"epochs": 30}, when="history")
def momentum_of_99() -> Built:
    """A rate that works without momentum, with a momentum of 0.99, which multiplies it by a hundred."""
    x, y = data.surface()
    return net([*stack(2, 32, "relu"), fd.Dense(1)], x, fd.SGD(0.1, momentum=0.99), "mse"), x, y


@sick("DIVERGED", goal=fit_of(), fit={"epochs": 40}, when="history", also=("DEAD_RELU",))
def adam_at_five() -> Built:
    """Adam with a rate of 5: the loss jumps by powers of ten and ends above where it began."""
    x, y = data.surface()
    return net([*stack(2, 32, "tanh"), fd.Dense(1)], x, fd.Adam(5.0), "mse"), x, y


@sick("DIVERGED", goal=fit_of(), fit={"epochs": 40, "batch_size": 500}, when="before")
def rate_for_a_mean_used_on_a_sum() -> Built:
    """Code that summed the loss over 500 rows was tuned to that; here the sum's rate, 500 times too large, remains."""
    x, y = data.plane(500, 10)
    return net([fd.Dense(1)], x, fd.SGD(5.0), "mse"), x, y


@sick("INPUT_SCALE", "DIVERGED", goal=fit_of(), fit={"epochs": 100})
def powers_of_x_with_sgd() -> Built:
    """Polynomial regression: x to x**6 as columns for x up to 3, SGD with its default rate, nan."""
    x = data.rng(10).uniform(-3, 3, (300, 1))
    y = 0.2 * x**3 - x + 0.5
    powers = x ** np.arange(1, 7)
    return net([fd.Dense(1)], powers, fd.SGD(0.01), "mse"), powers, y


@sick("DIVERGED", goal=accuracy(0.9), fit={"epochs": 60}, when="history", also=("SATURATED", "DEAD_RELU"))
def rmsprop_at_five() -> Built:
    """RMSprop with a rate of 5 on a classifier: accuracy wanders between 0.3 and 0.6."""
    x, y = data.blobs(600, 4, 4)
    layers = [*stack(2, 24, "relu"), fd.Dense(4, "softmax")]
    return net(layers, x, fd.RMSprop(5.0), "sparse_categorical_crossentropy"), x, y


# ---- TOO_SLOW ------------------------------------------------------------------------------------------------------


@sick("TOO_SLOW", goal=fit_of(), fit={"epochs": 100}, when="history")
def sgd_at_a_hundred_thousandth() -> Built:
    """A learning rate of 1e-5 after advice to lower it: the loss falls, a little every epoch."""
    x, y = data.surface()
    return net([fd.Dense(32, "tanh"), fd.Dense(1)], x, fd.SGD(1e-5), "mse"), x, y


@sick("TOO_SLOW", goal=accuracy(0.9), fit={"epochs": 20})
def adam_at_a_millionth() -> Built:
    """A thousandth of Adam's usual rate, copied from a script that fine-tunes."""
    x, y = data.digits()
    layers = [fd.Dense(64, "relu"), fd.Dense(10, "softmax")]
    return net(layers, x / 16, fd.Adam(1e-6), "sparse_categorical_crossentropy"), x / 16, y


@sick("TOO_SLOW", goal=accuracy(0.75), fit={"epochs": 10, "batch_size": 2000}, when="history", mnist=True)
def fashion_in_one_batch() -> Built:
    """Images of clothes, scaled, all in one batch, ten epochs, SGD: ten small steps."""
    x, y = data.fashion(2000)
    x = (x / 255).astype(np.float32)
    layers = [fd.Dense(64, "relu"), fd.Dense(10, "softmax")]
    return net(layers, x, fd.SGD(0.1), "sparse_categorical_crossentropy"), x, y


@sick("TOO_SLOW", goal=fit_of(), fit={"epochs": 2}, when="history")
def two_epochs() -> Built:
    """Two epochs on a small data set: nothing is wrong but the patience."""
    x, y = data.surface()
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.005), "mse"), x, y


@sick("TOO_SLOW", goal=accuracy(0.9), fit={"epochs": 20, "batch_size": 500}, when="before")
def all_rows_in_one_batch() -> Built:
    """batch_size = number of rows and 20 epochs make 20 steps."""
    x, y = data.moons(500)
    return net([fd.Dense(16, "relu"), fd.Dense(1, "sigmoid")], x, "adam", "bce"), x, y


@sick("TOO_SLOW", goal=fit_of(), fit={"epochs": 40}, when="history")
def adadelta_as_keras_has_it() -> Built:
    """Adadelta with the default rate 0.001, a thousandth of its paper's: the loss creeps."""
    x, y = data.surface()
    return net([*stack(2, 24, "relu"), fd.Dense(1)], x, "adadelta", "mse"), x, y


@sick("TOO_SLOW", goal=fit_of(), fit={"epochs": 60}, when="history")
def decay_that_ends_it() -> Built:
    """A schedule that halves the rate every ten steps: after an epoch or two nothing moves."""
    x, y = data.surface()
    rate = fd.schedules.ExponentialDecay(0.01, decay_steps=10, decay_rate=0.5)
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(rate), "mse"), x, y


# ---- BATCHING ------------------------------------------------------------------------------------------------------


@sick("BATCHING", goal=accuracy(0.9), fit={"epochs": 3, "shuffle": False}, also=("INPUT_SCALE",))
def classes_one_after_another() -> Built:
    """Images read folder by folder, shuffle=False: the last class is predicted for everything."""
    x, y = data.digits()
    order = np.argsort(y, kind="stable")
    layers = [fd.Dense(64, "relu"), fd.Dense(10, "softmax")]
    x, y = x[order] / 16, y[order]
    return net(layers, x, fd.Adam(0.02), "sparse_categorical_crossentropy"), x, y


@sick("BATCHING", goal=accuracy(0.93), fit={"epochs": 10, "shuffle": False}, when="history")
def ones_after_zeros() -> Built:
    """All negatives first, then all positives, not shuffled: the loss of an epoch looks good, the predictions are 1."""
    x, y = data.moons(1200, 0.2)
    order = np.argsort(y[:, 0], kind="stable")
    x, y = x[order], y[order]
    return net([*stack(2, 16, "relu"), fd.Dense(1, "sigmoid")], x, fd.SGD(0.3), "bce"), x, y


@sick("BATCHING", goal=fit_of(), fit={"epochs": 10, "shuffle": False, "batch_size": 16})
def sorted_by_the_target() -> Built:
    """A table sorted by price, read in that order in every epoch."""
    x, y = data.surface(800)
    order = np.argsort(y[:, 0])
    x, y = x[order], y[order]
    return net([*stack(2, 32, "relu"), fd.Dense(1)], x, fd.SGD(0.05), "mse"), x, y


@sick("BATCHING", goal=Goal("recall", 0.7), fit={"epochs": 20}, when="history", also=("TOO_SLOW",))
def one_fraud_in_fifty() -> Built:
    """2 % positives: accuracy 0.98 and not one of them is found."""
    random = data.rng(11)
    x = random.standard_normal((2000, 4))
    rare = np.arange(2000) % 50 == 0
    x[rare] = x[rare] * 0.7 + np.array([1.5, -1.2, 1.3, 0.0])
    y = rare.astype(float)[:, None]
    return net([fd.Dense(16, "relu"), fd.Dense(1, "sigmoid")], x, fd.SGD(0.01), "bce"), x, y
