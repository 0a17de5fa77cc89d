"""Traps: nets that look sick and learn all the same. A diagnosis that calls one of them broken is wrong."""

from __future__ import annotations

import numpy as np

import fastdense as fd
from fastdense.initializers import Constant, RandomNormal
from fastdense.regularizers import L2

from . import data
from .case import Array, Built, healthy, net, stack
from .goal import Goal, accuracy, fit_of


@healthy(goal=accuracy(0.95), fit={"epochs": 30}, trap=True)
def inputs_up_to_thirty_with_batch_norm() -> Built:
    """Inputs between 0 and 30, unscaled; batch norm on the first layer takes care of it."""
    x, y = data.blobs(600, 4, 4)
    x = 15 + 3 * x
    layers = [fd.BatchNorm(), fd.Dense(24, "relu"), fd.Dense(4, "softmax")]
    return net(layers, x, fd.Adam(0.01), "sparse_categorical_crossentropy"), x, y


@healthy(goal=fit_of(), fit={"epochs": 80}, trap=True)
def relu_output_for_targets_above_zero() -> Built:
    """ReLU on the output, targets that are never negative, and it is on for nearly all rows."""
    x, y = data.surface()
    return net([fd.Dense(32, "relu"), fd.Dense(1, "relu", bias_initializer="ones")], x, fd.Adam(0.01), "mse"), x, y + 4


@healthy(goal=Goal("recall", 0.8), fit={"epochs": 80}, trap=True)
def one_in_twenty_found() -> Built:
    """5 % positives, far from the others: both classes are learnt."""
    random = data.rng(13)
    x = random.standard_normal((1000, 3))
    rare = np.arange(1000) % 20 == 0
    x[rare] = 0.5 * x[rare] + np.array([3.0, -2.5, 2.0])
    return net([fd.Dense(16, "relu"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.01), "bce"), x, rare[:, None].astype(float)


def _linear_truth(x: Array, y: Array) -> Array:
    return data.plane(2000, 5)[1]


@healthy(goal=fit_of(0.9, _linear_truth), fit={"epochs": 40}, trap=True, when="history")
def noise_of_sixty_percent() -> Built:
    """60 % of the variance of y is noise: R2 stays at 0.4, and the true line is found."""
    x, y = data.plane(2000, 5)
    y = y + np.sqrt(1.5) * data.rng(14).standard_normal(y.shape)
    return net([fd.Dense(1)], x, fd.Adam(0.01), "mse"), x, y


@healthy(goal=fit_of(0.55), fit={"epochs": 40}, trap=True)
def floor_reached_with_repeated_rows() -> Built:
    """Ten distinct rows with scattered targets: the means of the groups explain 60 % of y, and that is all there is."""
    random = data.rng(15)
    group = random.integers(0, 10, 800)
    centre = np.linspace(-1.5, 1.5, 10)[random.permutation(10)]
    y = centre[group][:, None] + 0.78 * random.standard_normal((800, 1))
    x = np.eye(10)[group]
    return net([fd.Dense(16, "relu"), fd.Dense(1)], x, fd.Adam(0.01), "mse"), x, y


@healthy(goal=fit_of(), fit={"epochs": 600}, trap=True)
def small_rate_with_many_epochs() -> Built:
    """Adam at 0.0002, and the time that it needs."""
    x, y = data.surface()
    return net([fd.Dense(48, "relu"), fd.Dense(1)], x, fd.Adam(2e-4), "mse"), x, y


@healthy(goal=fit_of(0.98), fit={"epochs": 60}, trap=True)
def one_linear_layer_on_linear_data() -> Built:
    """No hidden layer, no activation: all that a linear target needs."""
    x, y = data.plane(500, 6, 0.05)
    return net([fd.Dense(1)], x, fd.SGD(0.05), "mse"), x, y


@healthy(goal=fit_of(0.98), fit={"epochs": 60}, trap=True, when="before")
def deep_linear_net_on_linear_data() -> Built:
    """Three layers without activation, on data that is linear."""
    x, y = data.plane(500, 6, 0.05)
    return net([*stack(2, 8, None), fd.Dense(1)], x, fd.Adam(0.005), "mse"), x, y


@healthy(goal=fit_of(), fit={"epochs": 100}, trap=True, when="before")
def sigmoid_output_for_shares() -> Built:
    """A sigmoid with mean squared error for real targets that lie between 0 and 1."""
    x, y = data.surface()
    return net([fd.Dense(32, "relu"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.01), "mse"), x, 1 / (1 + np.exp(-1.5 * y))


@healthy(goal=fit_of(0.9), fit={"epochs": 100}, trap=True, when="before")
def probabilities_with_binary_crossentropy() -> Built:
    """Targets that are probabilities, not labels: its loss never comes near 0, and should not."""
    x, y = data.surface()
    return net([fd.Dense(32, "relu"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.01), "bce"), x, 1 / (1 + np.exp(-1.5 * y))


@healthy(goal=fit_of(), fit={"epochs": 60}, trap=True)
def a_third_of_the_units_dead() -> Built:
    """16 of 48 ReLUs are off for all rows; the others are more than enough."""
    x, y = data.surface()
    model = net([fd.Dense(48, "relu"), fd.Dense(1)], x, fd.Adam(0.01), "mse")
    weights = model.get_weights()
    weights[1][:16] = -20.0
    model.set_weights(weights)
    return model, x, y


@healthy(goal=fit_of(), fit={"epochs": 80}, trap=True, when="history")
def first_loss_of_hundreds() -> Built:
    """The output starts far from the targets, so the first loss is high; it is gone after a few epochs."""
    x, y = data.surface()
    layers = [fd.Dense(32, "relu"), fd.Dense(1, bias_initializer=Constant(15.0))]
    return net(layers, x, fd.Adam(0.02), "mse"), x, y


@healthy(goal=accuracy(0.95), fit={"epochs": 80}, trap=True)
def confident_tanh_classifier() -> Built:
    """Trained until most tanh units stand near -1 or 1: that is how it tells clouds apart."""
    x, y = data.blobs(600, 3, 2, 0.3)
    layers = [fd.Dense(12, "tanh", kernel_initializer=RandomNormal(stddev=2.0)), fd.Dense(3, "softmax")]
    return net(layers, x, fd.Adam(0.02), "sparse_categorical_crossentropy"), x, y


@healthy(goal=accuracy(0.9), fit={"epochs": 20}, trap=True, when="before")
def squared_error_on_one_hot_that_works() -> Built:
    """Squared error on softmax outputs is not the matched loss; with Adam it learns digits."""
    x, y = data.digits()
    layers = [fd.Dense(48, "relu"), fd.Dense(10, "softmax")]
    return net(layers, x / 16, fd.Adam(0.005), "mse"), x / 16, data.one_hot(y)


@healthy(goal=accuracy(0.95), fit={"epochs": 60}, trap=True)
def columns_of_mixed_size() -> Built:
    """Columns of size 0.3, 1 and 8, unscaled: Adam copes."""
    x, y = data.blobs(600, 4, 4, 0.4)
    x = x * np.array([0.3, 1.0, 4.0, 0.3])
    layers = [fd.Dense(32, "relu"), fd.Dense(4, "softmax")]
    return net(layers, x, fd.Adam(0.01), "sparse_categorical_crossentropy"), x, y


@healthy(goal=accuracy(0.9), fit={"epochs": 20}, trap=True)
def raw_pixels_with_adam() -> Built:
    """Pixels from 0 to 16 without scaling, some of them always 0: Adam learns them."""
    x, y = data.digits()
    layers = [fd.Dense(48, "relu"), fd.Dense(10, "softmax")]
    return net(layers, x, "adam", "sparse_categorical_crossentropy"), x, y


@healthy(goal=accuracy(0.95), fit={"epochs": 60}, trap=True, when="before")
def two_columns_say_nothing() -> Built:
    """Two of six columns are constant, one is noise."""
    x, y = data.blobs(600, 4, 4, 0.5)
    x = np.column_stack([x, np.ones(600), np.zeros(600), data.rng(16).standard_normal(600)])
    layers = [fd.Dense(32, "relu"), fd.Dense(4, "softmax")]
    return net(layers, x, fd.Adam(0.01), "sparse_categorical_crossentropy"), x, y


@healthy(goal=fit_of(), fit={"epochs": 100}, trap=True)
def targets_around_twenty() -> Built:
    """Targets of mean 14 and standard deviation 5, not scaled: Adam at 0.02 gets there."""
    x, y = data.friedman()
    return net([*stack(2, 32, "relu"), fd.Dense(1)], x, fd.Adam(0.02), "mse"), x, y


@healthy(goal=accuracy(0.95), fit={"epochs": 40, "shuffle": False}, trap=True)
def not_shuffled_but_mixed() -> Built:
    """shuffle=False on rows that are mixed already."""
    x, y = data.blobs(600, 4, 4)
    layers = [fd.Dense(24, "relu"), fd.Dense(4, "softmax")]
    return net(layers, x, fd.Adam(0.01), "sparse_categorical_crossentropy"), x, y


@healthy(goal=fit_of(), fit={"epochs": 150}, trap=True)
def dropout_in_a_wide_regression() -> Built:
    """Dropout under a linear output, in a layer wide enough for it: the training loss is far above the other."""
    x, y = data.surface()
    return net([fd.Dense(128, "relu"), fd.Dropout(0.3), fd.Dense(1)], x, fd.Adam(0.005), "mse"), x, y


@healthy(goal=accuracy(0.9), fit={"epochs": 30}, trap=True)
def penalty_above_the_loss() -> Built:
    """At the end the L2 penalty is larger than the data's loss, because that has become so small."""
    x, y = data.digits()
    layers = [fd.Dense(48, "relu", kernel_regularizer=L2(1e-3)), fd.Dense(10, "softmax", kernel_regularizer=L2(1e-3))]
    return net(layers, x / 16, fd.Adam(0.005), "sparse_categorical_crossentropy"), x / 16, y


@healthy(goal=accuracy(0.95), fit={"epochs": 300, "batch_size": 4}, trap=True)
def four_rows_of_exclusive_or() -> Built:
    """Four rows, eight tanh units: more weights than data, and it is exactly what is wanted."""
    x, y = data.xor()
    return net([fd.Dense(8, "tanh"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.05), "bce"), x, y


@healthy(goal=fit_of(), fit={"epochs": 60}, trap=True, when="before")
def softmax_for_shares_that_sum_to_one() -> Built:
    """Softmax with squared error, for three parts of a whole."""
    x, _ = data.surface()
    shares = np.exp(np.column_stack([x[:, 0], x[:, 1] * x[:, 2], np.sin(2 * x[:, 2])]))
    y = shares / shares.sum(axis=1, keepdims=True)
    return net([fd.Dense(32, "relu"), fd.Dense(3, "softmax")], x, fd.Adam(0.01), "mse"), x, y
