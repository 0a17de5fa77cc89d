"""BAD_DATA and TARGET_ENCODING: what is wrong stands in the arrays."""

from __future__ import annotations

import numpy as np

import fastdense as fd

from . import data
from .case import Built, net, sick, stack
from .goal import accuracy, fit_of

# ---- BAD_DATA ------------------------------------------------------------------------------------------------------


@sick("BAD_DATA", goal=fit_of(), fit={"epochs": 50}, when="before", raises=True, hopeless=True)
def nan_in_one_column() -> Built:
    """A table with holes, read from a CSV file: the loss is nan from the first epoch, whatever the learning rate."""
    x, y = data.surface()
    x[::7, 1] = np.nan
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, "adam", "mse"), x, y


@sick("BAD_DATA", goal=fit_of(), fit={"epochs": 50}, when="before", raises=True, hopeless=True)
def infinity_after_a_logarithm() -> Built:
    """Logarithm of counts as a feature; some counts are 0. A usual answer to "why is my loss nan"."""
    x, y = data.surface()
    counts = np.maximum(0, np.rint(3 * x[:, 0] + 3))
    with np.errstate(divide="ignore"):
        x[:, 0] = np.log(counts)
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, "adam", "mse"), x, y


@sick("BAD_DATA", goal=fit_of(), fit={"epochs": 50}, when="before", raises=True, hopeless=True)
def nan_in_the_targets() -> Built:
    """Returns computed from shifted prices: the last rows have no target."""
    x, y = data.surface()
    y[-5:] = np.nan
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, "adam", "mse"), x, y


@sick("BAD_DATA", goal=accuracy(0.9), fit={"epochs": 30}, when="before", hopeless=True)
def all_columns_constant() -> Built:
    """Features lost in a join: every row holds the same defaults, only the labels differ."""
    x, y = data.moons()
    return net([fd.Dense(16, "relu"), fd.Dense(1, "sigmoid")], np.full_like(x, 0.5), "adam", "bce"), 0 * x + 0.5, y


@sick("BAD_DATA", goal=fit_of(), fit={"epochs": 30}, when="before", hopeless=True)
def constant_target() -> Built:
    """Integer division in the preparation made all targets 0: the loss falls to 0 and every prediction is the same."""
    x, y = data.surface()
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, "adam", "mse"), x, np.zeros_like(y)


@sick("BAD_DATA", goal=fit_of(), fit={"epochs": 60}, also=("NO_CAPACITY",), hopeless=True)
def same_rows_other_targets() -> Built:
    """Twelve distinct survey answers, each with hundreds of different outcomes: the net predicts averages."""
    random = data.rng(1)
    x = np.eye(12)[random.integers(0, 12, 600)]
    y = random.standard_normal((600, 1)) + 0.15 * x[:, :1]
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, "adam", "mse"), x, y


@sick("BAD_DATA", goal=accuracy(0.9), fit={"epochs": 60}, hopeless=True)
def same_rows_other_labels() -> Built:
    """Three yes-or-no features and labels that are a coin's: accuracy stays at one half with every architecture."""
    random = data.rng(2)
    x = random.integers(0, 2, (500, 3)).astype(float)
    y = random.integers(0, 2, (500, 1)).astype(float)
    return net([fd.Dense(32, "relu"), fd.Dense(1, "sigmoid")], x, "adam", "bce"), x, y


@sick("BAD_DATA", "BASELINE", goal=fit_of(0.5), fit={"epochs": 20}, also=("TOO_SLOW",), hopeless=True)
def targets_of_other_rows() -> Built:
    """x was shuffled and y was not: nothing in x tells anything about y. Also daily returns from yesterday's return."""
    x, y = data.surface(2000)
    y = data.rng(3).permutation(y)
    return net([fd.Dense(16, "relu"), fd.Dense(1)], x, "adam", "mse"), x, y


# ---- TARGET_ENCODING -----------------------------------------------------------------------------------------------


@sick("TARGET_ENCODING", goal=accuracy(0.95), fit={"epochs": 60}, when="before", raises=True)
def minus_one_and_one_with_binary_crossentropy() -> Built:
    """Labels -1 and 1, as support vector machines take them, with a sigmoid: the loss goes below 0."""
    x, y = data.moons()
    return net([fd.Dense(16, "relu"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.01), "bce"), x, 2 * y - 1


@sick("TARGET_ENCODING", "LOSS_ACT", goal=accuracy(0.9), fit={"epochs": 20}, when="before", raises=True)
def ten_classes_one_sigmoid() -> Built:
    """Digits 0 to 9 as one column, one sigmoid, binary cross-entropy: accuracy 0.11 and a loss of minus 55."""
    x, y = data.digits()
    return net([fd.Dense(64, "relu"), fd.Dense(1, "sigmoid")], x / 16, "adam", "bce"), x / 16, y


@sick("TARGET_ENCODING", "LOSS_ACT", "TARGET_SCALE", goal=fit_of(), fit={"epochs": 50}, when="before", raises=True)
def prices_with_binary_crossentropy() -> Built:
    """A tutorial for classification applied to prices: hugely negative loss, accuracy near 0."""
    x, y = data.houses()
    x = data.standard(x)
    return net([fd.Dense(32, "relu"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.005), "bce"), x, y


@sick("TARGET_ENCODING", "NO_CAPACITY", goal=accuracy(0.9), fit={"epochs": 40})
def class_ids_as_values() -> Built:
    """Digits 0 to 9 as a number to predict, linear output, mse, rounded afterwards: most classes are missed."""
    x, y = data.digits()
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x / 16, "adam", "mse"), x / 16, y.astype(float)


@sick("TARGET_ENCODING", "OUTPUT_RANGE", goal=accuracy(0.9), fit={"epochs": 60}, when="history")
def class_ids_with_a_sigmoid_and_mse() -> Built:
    """Three kinds of flower as 0, 1, 2, one sigmoid, mean squared error: class 2 is never predicted."""
    x, y = data.blobs(450, 3, 4)
    return net([fd.Dense(16, "relu"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.01), "mse"), x, y[:, None].astype(float)


@sick("TARGET_ENCODING", goal=accuracy(0.9), fit={"epochs": 30}, when="before", raises=True)
def labels_from_one_to_ten() -> Built:
    """Ten classes numbered from 1 and ten softmax units: label 10 has no unit (elsewhere the loss turns to nan)."""
    x, y = data.digits()
    return (
        net([fd.Dense(32, "relu"), fd.Dense(10, "softmax")], x / 16, "adam", "sparse_categorical_crossentropy"),
        (x / 16),
        y + 1,
    )


@sick("TARGET_ENCODING", goal=accuracy(0.9), fit={"epochs": 30}, when="before", raises=True)
def nine_units_for_ten_classes() -> Built:
    """One output unit too few for the classes, a staple of benchmarks of faulty nets."""
    x, y = data.digits()
    return (
        net([fd.Dense(32, "relu"), fd.Dense(9, "softmax")], x / 16, "adam", "sparse_categorical_crossentropy"),
        (x / 16),
        y,
    )


@sick("TARGET_ENCODING", "LOSS_ACT", goal=accuracy(0.9), fit={"epochs": 30}, when="before", raises=True)
def class_ids_with_categorical_crossentropy() -> Built:
    """Whole numbers as labels with the loss for one-hot rows: the most asked question about shapes."""
    x, y = data.blobs(600, 5, 6)
    return net([fd.Dense(32, "relu"), fd.Dense(5, "softmax")], x, "adam", "categorical_crossentropy"), x, y


@sick("TARGET_ENCODING", "LOSS_ACT", goal=accuracy(0.95), fit={"epochs": 60}, when="before", raises=True)
def one_and_two_with_hinge() -> Built:
    """Two classes numbered 1 and 2, as R's factors are, with the hinge loss."""
    x, y = data.moons()
    return net([fd.Dense(16, "relu"), fd.Dense(1, "tanh")], x, fd.Adam(0.01), "hinge"), x, y + 1


@sick("TARGET_ENCODING", "LOSS_ACT", "OUTPUT_RANGE", goal=fit_of(), fit={"epochs": 60})
def standardised_counts_with_poisson() -> Built:
    """Counts were standardised like everything else, so half of them are negative: the Poisson loss has no minimum."""
    x, y = data.surface()
    return net([fd.Dense(32, "relu"), fd.Dense(1, "softplus")], x, fd.Adam(0.005), "poisson"), x, y


@sick("TARGET_ENCODING", "TARGET_SCALE", "DIVERGED", goal=accuracy(0.95), fit={"epochs": 40, "batch_size": 32})
def one_hot_of_255() -> Built:
    """One-hot rows made from a mask image: 255 in place of 1. The gradient is 255 times what the step is meant for."""
    x, y = data.blobs(600, 4, 4, 1.0)
    layers = [*stack(2, 32, "relu"), fd.Dense(4, "softmax")]
    return net(layers, x, fd.SGD(0.1), "categorical_crossentropy"), x, 255 * data.one_hot(y)
