"""Nets that learn. The first group are twins: a sick net with the smallest change that makes it well."""

from __future__ import annotations

import numpy as np

import fastdense as fd
from fastdense.initializers import Constant
from fastdense.regularizers import L2

from . import data
from .case import Array, Built, healthy, net, stack
from .goal import Goal, accuracy, fit_of

# ---- twins ---------------------------------------------------------------------------------------------------------


@healthy(goal=fit_of(), fit={"epochs": 50}, twin="nan_in_one_column", when="before")
def holes_filled() -> Built:
    """The table with holes, filled with the mean and standardised."""
    x, y = data.surface()
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.005), "mse"), x, y


@healthy(goal=accuracy(0.95), fit={"epochs": 60}, twin="minus_one_and_one_with_binary_crossentropy", when="before")
def minus_one_and_one_with_hinge() -> Built:
    """Labels -1 and 1 with the loss that is made for them."""
    x, y = data.moons()
    return net([fd.Dense(16, "relu"), fd.Dense(1)], x, fd.Adam(0.01), "hinge"), x, 2 * y - 1


@healthy(goal=accuracy(0.95), fit={"epochs": 40}, twin="softmax_of_one_unit", when="before")
def softmax_of_two_units() -> Built:
    """Two classes as two softmax units."""
    x, y = data.moons()
    layers = [fd.Dense(16, "relu"), fd.Dense(2, "softmax")]
    return net(layers, x, fd.Adam(0.01), "sparse_categorical_crossentropy"), x, y[:, 0].astype(int)


@healthy(goal=fit_of(), fit={"epochs": 200}, twin="sigmoid_for_a_sine", when="before")
def linear_for_a_sine() -> Built:
    """Sigmoids inside, a linear output for the sine."""
    x, y = data.sine()
    return net([fd.Dense(20, "sigmoid"), fd.Dense(1)], x, fd.Adam(0.02), "mse"), x, y


@healthy(goal=fit_of(), fit={"epochs": 200}, twin="relu_for_a_sine")
def relu_inside_for_a_sine() -> Built:
    """ReLU inside, a linear output."""
    x, y = data.sine()
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.01), "mse"), x, y


@healthy(goal=accuracy(0.9), fit={"epochs": 6, "batch_size": 128}, twin="softmax_twice", when="before")
def softmax_once() -> Built:
    """Linear outputs and from_logits=True, as it is meant."""
    x, y = data.digits()
    loss = fd.losses.SparseCategoricalCrossentropy(from_logits=True)
    return net([fd.Dense(32, "relu"), fd.Dense(10)], x / 16, fd.Adam(0.01), loss), x / 16, y


@healthy(goal=fit_of(), fit={"epochs": 60}, twin="percentage_error_of_sales_with_zeros", when="before")
def percentage_error_of_large_targets() -> Built:
    """Percentage error where no target is near 0."""
    x, y = data.surface()
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.005), "mape"), x, y + 6


@healthy(goal=accuracy(0.9), fit={"epochs": 25}, twin="pixels_in_bytes_with_sgd")
def pixels_between_zero_and_one_with_sgd() -> Built:
    """Pixels divided by their largest value."""
    x, y = data.digits()
    layers = [*stack(2, 32, "relu"), fd.Dense(10, "softmax")]
    return net(layers, x / 16, fd.SGD(0.1), "sparse_categorical_crossentropy"), x / 16, y


@healthy(goal=fit_of(), fit={"epochs": 100}, twin="house_prices")
def house_prices_standardised() -> Built:
    """Prices standardised like the inputs."""
    x, y = data.houses()
    x, y = data.standard(x), data.standard(y)
    return net([*stack(2, 32, "relu"), fd.Dense(1)], x, "adam", "mse"), x, y


@healthy(goal=fit_of(), fit={"epochs": 100}, twin="every_weight_one_half", when="before")
def only_the_output_starts_equal() -> Built:
    """The output's weights are all one number, the hidden ones random: enough to tell the units apart."""
    x, y = data.surface()
    layers = [fd.Dense(24, "tanh"), fd.Dense(1, kernel_initializer=Constant(0.1))]
    return net(layers, x, fd.Adam(0.01), "mse"), x, y


@healthy(goal=accuracy(0.9), fit={"epochs": 10}, twin="standard_normal_weights", when="before")
def he_weights_in_three_layers() -> Built:
    """The same net with He's initialisation."""
    x, y = data.digits()
    layers = [*stack(3, 64, "relu", kernel_initializer="he_normal"), fd.Dense(10, "softmax")]
    return net(layers, x / 16, fd.SGD(0.1), "sparse_categorical_crossentropy"), x / 16, y


@healthy(goal=accuracy(0.95), fit={"epochs": 60}, twin="learning_rate_that_kills")
def adam_at_a_hundredth() -> Built:
    """The same net with a hundredth of the rate."""
    x, y = data.moons(noise=0.2)
    return net([*stack(3, 16, "relu"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.01), "bce"), x, y


@healthy(goal=accuracy(0.95), fit={"epochs": 60}, twin="biases_of_twenty_under_sigmoids")
def sigmoids_with_biases_of_zero() -> Built:
    """Sigmoids that start in their middle."""
    x, y = data.ring()
    return net([fd.Dense(16, "sigmoid"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.05), "bce"), x, y


@healthy(goal=accuracy(0.9), fit={"epochs": 20}, twin="eight_sigmoid_layers")
def two_sigmoid_layers() -> Built:
    """Sigmoids are no harm in two layers, with Adam."""
    x, y = data.digits()
    layers = [*stack(2, 32, "sigmoid"), fd.Dense(10, "softmax")]
    return net(layers, x / 16, fd.Adam(0.01), "sparse_categorical_crossentropy"), x / 16, y


@healthy(goal=fit_of(), fit={"epochs": 60}, twin="sgd_at_one")
def sgd_at_a_twentieth() -> Built:
    """The same regression with a rate that it bears."""
    x, y = data.surface()
    return net([*stack(2, 32, "relu"), fd.Dense(1)], x, fd.SGD(0.05), "mse"), x, y


@healthy(goal=fit_of(), fit={"epochs": 60}, twin="two_epochs", when="history")
def sixty_epochs() -> Built:
    """The same net with patience."""
    x, y = data.surface()
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.005), "mse"), x, y


@healthy(goal=fit_of(), fit={"epochs": 60}, twin="l2_of_one", when="before")
def l2_of_a_ten_thousandth() -> Built:
    """A penalty that is felt but does not rule."""
    x, y = data.surface()
    layers = [*stack(2, 32, "relu", kernel_regularizer=L2(1e-4)), fd.Dense(1, kernel_regularizer=L2(1e-4))]
    return net(layers, x, fd.Adam(0.005), "mse"), x, y


@healthy(goal=accuracy(0.95), fit={"epochs": 60}, twin="three_layers_without_activation")
def three_layers_with_activation() -> Built:
    """The same three layers with ReLU."""
    x, y = data.moons()
    return net([*stack(3, 16, "relu"), fd.Dense(1, "sigmoid")], x, fd.Adam(0.01), "bce"), x, y


@healthy(goal=accuracy(0.9), fit={"epochs": 3}, twin="classes_one_after_another")
def sorted_rows_shuffled() -> Built:
    """The rows are sorted by class, but shuffled in every epoch, as is the default."""
    x, y = data.digits()
    order = np.argsort(y, kind="stable")
    layers = [fd.Dense(64, "relu"), fd.Dense(10, "softmax")]
    x, y = x[order] / 16, y[order]
    return net(layers, x, fd.Adam(0.02), "sparse_categorical_crossentropy"), x, y


@healthy(goal=fit_of(0.97), fit={"epochs": 600, "batch_size": 1024}, twin="pyramid_with_a_double")
def pyramid_of_three_sides() -> Built:
    """The distance from the origin by three ReLUs, each of which found a side of its own."""
    x, y = data.cone()
    model = net([fd.Dense(3, "relu"), fd.Dense(1)], x, fd.Adam(0.01), "mse")
    angles = np.array([0.3, 2.4, 4.5])
    kernel = np.stack([np.cos(angles), np.sin(angles)])
    model.set_weights([kernel, np.zeros(3), np.ones((3, 1)), np.zeros(1)])
    return model, x, y


# ---- others: data, activations, depths, optimizers, losses -----------------------------------------------------------


@healthy(goal=accuracy(0.95), fit={"epochs": 15}, when="history")
def digits_as_in_the_readme() -> Built:
    """Scaled digits, ReLU, dropout, Adam."""
    x, y = data.digits()
    layers = [fd.Dense(128, "relu"), fd.Dropout(0.2), fd.Dense(10, "softmax")]
    return net(layers, x / 16, "adam", "sparse_categorical_crossentropy"), x / 16, y


@healthy(goal=accuracy(0.9), fit={"epochs": 6}, mnist=True)
def mnist_between_zero_and_one() -> Built:
    """2000 images of MNIST, scaled, 64 ReLUs."""
    x, y = data.mnist(2000)
    x = (x / 255).astype(np.float32)
    layers = [fd.Dense(64, "relu"), fd.Dense(10, "softmax")]
    return net(layers, x, "adam", "sparse_categorical_crossentropy"), x, y


@healthy(goal=accuracy(0.8), fit={"epochs": 12}, mnist=True, when="history")
def fashion_with_small_batches() -> Built:
    """2000 images of clothes, scaled, in batches of 32."""
    x, y = data.fashion(2000)
    x = (x / 255).astype(np.float32)
    layers = [fd.Dense(64, "relu"), fd.Dense(10, "softmax")]
    return net(layers, x, fd.SGD(0.1), "sparse_categorical_crossentropy"), x, y


@healthy(goal=accuracy(0.95), fit={"epochs": 40})
def one_hot_blobs_with_momentum() -> Built:
    """One-hot rows, categorical cross-entropy, SGD with Nesterov's momentum."""
    x, y = data.blobs(600, 5, 6)
    layers = [fd.Dense(24, "tanh"), fd.Dense(5, "softmax")]
    return net(layers, x, fd.SGD(0.05, momentum=0.9, nesterov=True), "categorical_crossentropy"), x, data.one_hot(y)


@healthy(goal=Goal("labels", 0.9), fit={"epochs": 80})
def several_labels_with_sigmoids() -> Built:
    """Tags that may apply together: sigmoids and binary cross-entropy."""
    x = data.rng(5).standard_normal((600, 4))
    y = (x + 0.5 * np.roll(x, 1, axis=1) ** 2 > 0.3).astype(float)
    return net([fd.Dense(32, "relu"), fd.Dense(4, "sigmoid")], x, fd.Adam(0.01), "bce"), x, y


@healthy(goal=fit_of(0.95), fit={"epochs": 80})
def friedman_standardised() -> Built:
    """Friedman's function, both sides standardised, ELU, Nadam."""
    x, y = data.friedman()
    x, y = data.standard(x), data.standard(y)
    return net([*stack(2, 24, "elu"), fd.Dense(1)], x, fd.Nadam(0.005), "mse"), x, y


@healthy(goal=accuracy(0.95), fit={"epochs": 150})
def spiral_with_three_layers() -> Built:
    """Two spirals by three tanh layers, AdamW."""
    x, y = data.spiral()
    return net([*stack(3, 32, "tanh"), fd.Dense(1, "sigmoid")], x, fd.AdamW(0.01), "bce"), x, y


def _without_outliers(x: Array, y: Array) -> Array:
    return data.surface()[1]


@healthy(goal=fit_of(0.9, _without_outliers), fit={"epochs": 60})
def huber_with_outliers() -> Built:
    """A few targets are far off; the Huber loss does not mind. The goal is the surface without them."""
    x, y = data.surface()
    y = y.copy()
    y[::40] += 5
    return net([fd.Dense(32, "relu"), fd.Dense(1)], x, fd.Adam(0.01), fd.losses.Huber(0.5)), x, y


@healthy(goal=fit_of(), fit={"epochs": 150})
def rates_with_poisson() -> Built:
    """Positive rates, softplus, Poisson loss."""
    x, y = data.surface()
    return net([fd.Dense(32, "relu"), fd.Dense(1, "softplus")], x, fd.Adam(0.01), "poisson"), x, np.exp(1 + 0.35 * y)


@healthy(goal=fit_of(), fit={"epochs": 60})
def eight_residual_layers() -> Built:
    """Eight layers with skip connections and layer norm."""
    x, y = data.surface()
    blocks = [fd.Residual([fd.LayerNorm(), fd.Dense(24, "gelu"), fd.Dense(24)]) for _ in range(4)]
    return net([fd.Dense(24), *blocks, fd.Dense(1)], x, fd.Adam(0.003), "mse"), x, y


@healthy(goal=fit_of(0.95), fit={"epochs": 40, "batch_size": 400})
def sine_with_lbfgs() -> Built:
    """A full-batch solver on a sine."""
    x, y = data.sine()
    return net([fd.Dense(12, "tanh"), fd.Dense(1)], x, fd.LBFGS(), "mse"), x, y


@healthy(goal=fit_of(), fit={"epochs": 100}, when="before")
def autoencoder_of_digits() -> Built:
    """Pixels from pixels through a bottleneck of 24, sigmoid outputs for targets between 0 and 1."""
    x, _ = data.digits()
    x = x / 16
    return net([fd.Dense(64, "relu"), fd.Dense(24, "relu"), fd.Dense(64, "sigmoid")], x, fd.Adam(0.005), "mse"), x, x


@healthy(goal=accuracy(0.95), fit={"epochs": 60}, when="history")
def swish_with_rmsprop() -> Built:
    """Ring and disc by SiLU units with RMSprop."""
    x, y = data.ring()
    return net([*stack(2, 16, "silu"), fd.Dense(1, "sigmoid")], x, fd.RMSprop(0.005), "bce"), x, y
