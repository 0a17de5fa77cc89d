"""SYMMETRIC, INIT_SCALE, DEAD_RELU, SATURATED: the first weights, or the units, are in a bad way."""

from __future__ import annotations

import numpy as np

import fastdense as fd
from fastdense.initializers import Constant, Orthogonal, RandomNormal, RandomUniform

from . import data
from .case import Built, net, sick, stack
from .goal import accuracy, fit_of

# ---- SYMMETRIC -----------------------------------------------------------------------------------------------------


@sick("SYMMETRIC", goal=accuracy(0.95), fit={"epochs": 100}, when="before", also=("DUPLICATE_UNITS", "INIT_SCALE"))
def zeros_and_tanh() -> Built:
    """All weights start at 0, as in a first net written by hand: with tanh nothing but the last bias ever moves."""
    x, y = data.moons()
    layers = [fd.Dense(16, "tanh", kernel_initializer="zeros"), fd.Dense(1, "sigmoid", kernel_initializer="zeros")]
    return net(layers, x, fd.Adam(0.01), "bce"), x, y


@sick("SYMMETRIC", "DEAD_RELU", goal=accuracy(0.9), fit={"epochs": 30}, also=("INIT_SCALE", "DUPLICATE_UNITS"))
def zeros_and_relu() -> Built:
    """All weights 0 with ReLU on digits: accuracy 0.1."""
    x, y = data.digits()
    layers = [
        fd.Dense(32, "relu", kernel_initializer="zeros"),
        fd.Dense(10, "softmax", kernel_initializer="zeros"),
    ]
    return net(layers, x / 16, "adam", "sparse_categorical_crossentropy"), x / 16, y


@sick("SYMMETRIC", goal=fit_of(), fit={"epochs": 100}, also=("DUPLICATE_UNITS", "NO_CAPACITY"))
def every_weight_one_half() -> Built:
    """Constant initializer: 24 hidden units, all the same, do the work of one."""
    x, y = data.surface()
    same = Constant(0.5)
    layers = [fd.Dense(24, "tanh", kernel_initializer=same), fd.Dense(1, kernel_initializer=same)]
    return net(layers, x, fd.Adam(0.01), "mse"), x, y


@sick("SYMMETRIC", goal=accuracy(0.95), fit={"epochs": 200}, when="history", also=("DUPLICATE_UNITS", "NO_CAPACITY"))
def ones_for_exclusive_or() -> Built:
    """Exclusive or with np.ones as weights "to make it reproducible"."""
    x, y = data.xor(8)
    layers = [fd.Dense(4, "sigmoid", kernel_initializer="ones"), fd.Dense(1, "sigmoid", kernel_initializer="ones")]
    return net(layers, x, fd.Adam(0.05), "bce"), x, y


@sick("SYMMETRIC", goal=accuracy(0.9), fit={"epochs": 30}, when="before", also=("DUPLICATE_UNITS", "NO_CAPACITY"))
def second_layer_constant() -> Built:
    """The first layer starts at random, those after it with one number everywhere: all classes get the same value."""
    x, y = data.digits()
    same = Constant(0.05)
    layers = [
        fd.Dense(32, "relu"),
        fd.Dense(24, "tanh", kernel_initializer=same),
        fd.Dense(10, "softmax", kernel_initializer=same),
    ]
    return net(layers, x / 16, fd.Adam(0.005), "sparse_categorical_crossentropy"), x / 16, y


# ---- INIT_SCALE ----------------------------------------------------------------------------------------------------


@sick("INIT_SCALE", goal=accuracy(0.9), fit={"epochs": 20}, when="before", also=("DEAD_RELU", "DIVERGED"))
def standard_normal_weights() -> Built:
    """Weights from tf.random_normal as in early tutorials (standard deviation 1) in four ReLU layers."""
    x, y = data.digits()
    wide = RandomNormal(stddev=1.0)
    layers = [*stack(4, 64, "relu", kernel_initializer=wide), fd.Dense(10, "softmax", kernel_initializer=wide)]
    return net(layers, x / 16, fd.SGD(0.03), "sparse_categorical_crossentropy"), x / 16, y


@sick("INIT_SCALE", "SATURATED", goal=accuracy(0.95), fit={"epochs": 60}, when="before")
def uniform_between_zero_and_one() -> Built:
    """numpy.random.rand for all weights: all positive, and 64 of them sum up to where a tanh is flat."""
    x, y = data.ring()
    up = RandomUniform(0.0, 1.0)
    layers = [*stack(3, 64, "tanh", kernel_initializer=up), fd.Dense(1, "sigmoid", kernel_initializer=up)]
    return net(layers, x, fd.SGD(0.1), "bce"), x, y


@sick("INIT_SCALE", "VANISHING", goal=accuracy(0.9), fit={"epochs": 20}, when="before")
def tiny_weights_at_depth() -> Built:
    """Weights of 0.01, right for one layer, in five: the signal is gone before it arrives."""
    x, y = data.digits()
    tiny = RandomNormal(stddev=0.01)
    layers = [*stack(5, 32, "relu", kernel_initializer=tiny), fd.Dense(10, "softmax", kernel_initializer=tiny)]
    return net(layers, x / 16, fd.SGD(0.05), "sparse_categorical_crossentropy"), x / 16, y


@sick("INIT_SCALE", "SATURATED", goal=accuracy(0.95), fit={"epochs": 100}, also=("DIVERGED",))
def orthogonal_of_gain_twenty() -> Built:
    """A gain meant for something else: tanh units that are at their ends for every row."""
    x, y = data.spiral()
    big = Orthogonal(20.0)
    layers = [*stack(6, 32, "tanh", kernel_initializer=big), fd.Dense(1, "sigmoid")]
    return net(layers, x, fd.SGD(0.1, momentum=0.9), "bce"), x, y


@sick("INIT_SCALE", goal=fit_of(), fit={"epochs": 60}, when="history", also=("DIVERGED", "TOO_SLOW"))
def weights_ten_times_too_large() -> Built:
    """A regression that starts with a loss of thousands, because its first weights are of size 10."""
    x, y = data.surface()
    big = RandomNormal(stddev=10.0)
    layers = [*stack(2, 32, "relu", kernel_initializer=big), fd.Dense(1, kernel_initializer=big)]
    return net(layers, x, "adam", "mse"), x, y


@sick("INIT_SCALE", "VANISHING", goal=fit_of(), fit={"epochs": 100}, when="before", also=("TOO_SLOW",))
def ten_tanh_layers_with_small_weights() -> Built:
    """tanh at depth with weights of a tenth of what keeps the variance."""
    x, y = data.surface()
    small = RandomNormal(stddev=0.05)
    layers = [*stack(10, 24, "tanh", kernel_initializer=small), fd.Dense(1)]
    return net(layers, x, fd.SGD(0.05), "mse"), x, y


# ---- DEAD_RELU -----------------------------------------------------------------------------------------------------


@sick("DEAD_RELU", goal=accuracy(0.9), fit={"epochs": 30}, when="before", also=("INIT_SCALE",))
def biases_of_minus_ten() -> Built:
    """All hidden biases start far below zero: no unit is on for any row, no gradient gets through."""
    x, y = data.digits()
    layers = [fd.Dense(32, "relu", bias_initializer=Constant(-10.0)), fd.Dense(10, "softmax")]
    return net(layers, x / 16, "adam", "sparse_categorical_crossentropy"), x / 16, y


@sick("DEAD_RELU", "INIT_SCALE", goal=fit_of(), fit={"epochs": 60}, when="before", also=("INPUT_SCALE",))
def negative_weights_on_positive_inputs() -> Built:
    """Uniform weights between -1 and 0 and inputs that are never negative: every unit is off."""
    x, y = data.friedman()
    down = RandomUniform(-1.0, 0.0)
    return net([fd.Dense(24, "relu", kernel_initializer=down), fd.Dense(1)], x, fd.Adam(0.01), "mse"), x, (y - 14) / 5


@sick("DEAD_RELU", "DIVERGED", goal=accuracy(0.95), fit={"epochs": 30}, also=("TOO_SLOW",))
def learning_rate_that_kills() -> Built:
    """Adam at 1: the first steps push all ReLUs below zero, after which the loss is constant to the last digit."""
    x, y = data.moons(noise=0.2)
    return net([*stack(3, 16, "relu"), fd.Dense(1, "sigmoid")], x, fd.Adam(1.0), "bce"), x, y


@sick("DEAD_RELU", "NO_CAPACITY", goal=fit_of(), fit={"epochs": 100}, also=("VANISHING",), when="history")
def ten_narrow_relu_layers() -> Built:
    """|x| by ten layers of two ReLUs: such nets are born dead nine times out of ten (Lu et al., 2019)."""
    x = np.linspace(-1.7, 1.7, 400)[:, None]
    return net([*stack(10, 2, "relu"), fd.Dense(1)], x, fd.Adam(0.003), "mse", seed=1), x, np.abs(x)


@sick("DEAD_RELU", goal=fit_of(0.97), fit={"epochs": 1500, "batch_size": 1024}, also=("NO_CAPACITY",))
def pyramid_with_a_dead_unit() -> Built:
    """The distance from the origin by three ReLUs, one of which is off for all points of the square."""
    x, y = data.cone()
    model = net([fd.Dense(3, "relu"), fd.Dense(1)], x, fd.Adam(0.01), "mse", seed=0)
    weights = model.get_weights()
    weights[1][:] = [0.0, 0.0, -4.0]
    model.set_weights(weights)
    return model, x, y


# ---- SATURATED -----------------------------------------------------------------------------------------------------


@sick("INPUT_SCALE", "SATURATED", goal=accuracy(0.9), fit={"epochs": 25}, when="before", also=("INIT_SCALE",))
def pixels_into_sigmoids() -> Built:
    """Pixels up to 255 into sigmoid units, quadratic loss, plain SGD: a course's first net, without its scaling."""
    x, y = data.digits()
    x = x * 16
    layers = [fd.Dense(32, "sigmoid"), fd.Dense(10, "sigmoid")]
    return net(layers, x, fd.SGD(2.0), "mse"), x, data.one_hot(y)


@sick("SATURATED", "INIT_SCALE", goal=fit_of(), fit={"epochs": 80}, when="before")
def tanh_with_wide_weights() -> Built:
    """Standardised data, but weights of size 8: every tanh is a step function without slope."""
    x, y = data.surface()
    wide = RandomNormal(stddev=8.0)
    layers = [*stack(2, 24, "tanh", kernel_initializer=wide), fd.Dense(1)]
    return net(layers, x, fd.SGD(0.02), "mse"), x, y


@sick("SATURATED", goal=accuracy(0.95), fit={"epochs": 60}, also=("INIT_SCALE",))
def biases_of_twenty_under_sigmoids() -> Built:
    """Biases of 20 put all sigmoids at 1: the next layer sees a constant."""
    x, y = data.ring()
    layers = [fd.Dense(16, "sigmoid", bias_initializer=Constant(20.0)), fd.Dense(1, "sigmoid")]
    return net(layers, x, fd.Adam(0.01), "bce"), x, y


@sick("SATURATED", "DIVERGED", goal=accuracy(0.92), fit={"epochs": 40}, when="history")
def steps_that_saturate() -> Built:
    """Momentum and a rate of 10 on tanh units: after one epoch they all stand at their ends."""
    x, y = data.moons(noise=0.2)
    return net([*stack(2, 16, "tanh"), fd.Dense(1, "sigmoid")], x, fd.SGD(10.0, momentum=0.9), "bce"), x, y


@sick("SATURATED", goal=accuracy(0.92), fit={"epochs": 150})
def weights_of_an_earlier_bad_run() -> Built:
    """The learning rate was mended, but training goes on from weights that the old one had driven to the ends."""
    x, y = data.moons(noise=0.2)
    model = net([*stack(2, 16, "tanh"), fd.Dense(1, "sigmoid")], x, fd.SGD(10.0, momentum=0.9), "bce")
    model.fit(x, y, epochs=3, verbose=0)
    model.compile(fd.SGD(0.05), "bce")
    return model, x, y
