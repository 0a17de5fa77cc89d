"""Losses, activations and layers beside PyTorch's: values and gradients of one batch, and what training keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from tests.peers.problem import BATCH, OUTPUTS, STEPS, TOLERANCE, Agree, model, rows, targets, train, weights_of
from tests.peers.torch_twin import ACTIVATIONS, Twin, torch

F = torch.nn.functional
Loss = Callable[..., Any]
COARSE = {"hard_sigmoid": 1e-7, "celu": 1e-7}  # PyTorch keeps 1/6, and alpha, in float32 when it derives these


def values(loss: Loss, **options: Any) -> Loss:
    """One value per row and output."""
    return lambda p, y: loss(p, y, reduction="none", **options)


# fastdense's loss, PyTorch's value of every row (and output), the last activation, whether PyTorch takes the logits.
LOSSES: dict[str, tuple[fd.losses.Loss, Loss, str, bool]] = {
    "mse": (fd.losses.MeanSquaredError(), values(F.mse_loss), "linear", False),
    "mae": (fd.losses.MeanAbsoluteError(), values(F.l1_loss), "linear", False),
    "huber": (fd.losses.Huber(0.4), values(F.huber_loss, delta=0.4), "linear", False),
    "poisson": (
        fd.losses.Poisson(),
        values(F.poisson_nll_loss, log_input=False, full=False, eps=1e-7),
        "softplus",
        False,
    ),
    "log_cosh": (fd.losses.LogCosh(), lambda p, y: torch.log(torch.cosh(y - p)), "linear", False),
    "mape": (
        fd.losses.MeanAbsolutePercentageError(),
        lambda p, y: 100.0 * torch.abs((y - p) / y.abs().clamp(min=1e-7)),
        "linear",
        False,
    ),
    "quantile": (
        fd.losses.Quantile(0.8),
        lambda p, y: torch.maximum(0.8 * (y - p), -0.2 * (y - p)),
        "linear",
        False,
    ),
    "hinge": (fd.losses.Hinge(), lambda p, y: torch.relu(1.0 - y * p), "linear", False),
    "binary": (fd.losses.BinaryCrossentropy(), values(F.binary_cross_entropy), "sigmoid", False),
    "binary_fused": (fd.losses.BinaryCrossentropy(), values(F.binary_cross_entropy_with_logits), "sigmoid", True),
    "binary_logits": (
        fd.losses.BinaryCrossentropy(from_logits=True),
        values(F.binary_cross_entropy_with_logits),
        "linear",
        False,
    ),
    "binary_smooth": (
        fd.losses.BinaryCrossentropy(label_smoothing=0.2),
        lambda p, y: F.binary_cross_entropy_with_logits(p, 0.8 * y + 0.1, reduction="none"),
        "sigmoid",
        True,
    ),
    "binary_hard_sigmoid": (fd.losses.BinaryCrossentropy(), values(F.binary_cross_entropy), "hard_sigmoid", False),
    "categorical": (fd.losses.CategoricalCrossentropy(), values(F.cross_entropy), "softmax", True),
    "categorical_smooth": (
        fd.losses.CategoricalCrossentropy(label_smoothing=0.2),
        values(F.cross_entropy, label_smoothing=0.2),
        "softmax",
        True,
    ),
    "sparse": (fd.losses.SparseCategoricalCrossentropy(), values(F.cross_entropy), "softmax", True),
    "sparse_smooth_logits": (
        fd.losses.SparseCategoricalCrossentropy(from_logits=True, label_smoothing=0.2),
        values(F.cross_entropy, label_smoothing=0.2),
        "linear",
        False,
    ),
    "categorical_of_sigmoid": (  # not probabilities of one whole: Keras divides them by their sum
        fd.losses.CategoricalCrossentropy(),
        lambda p, y: -(y * torch.log(p / p.sum(dim=1, keepdim=True))).sum(dim=1),
        "sigmoid",
        False,
    ),
}


def gradient_agrees(
    agree: Agree,
    layers: list[Any],
    loss: fd.losses.Loss | str = "mse",
    value: Loss | None = None,
    logits: bool = False,
    training: bool = False,
    weights: Any = None,
    tolerance: float = TOLERANCE,
) -> None:
    """Compare loss and gradient of all rows as one batch, and the output; `tolerance` is that of the gradient."""
    made = model(layers)
    twin = Twin(made, logits)
    x, y = rows()[0], targets(fd.losses.get(loss).kind)
    made.compile("sgd", loss)
    ours, gradient = made.loss_and_grad(x, y, sample_weight=weights, training=training)
    if not logits and not training:
        agree([made.predict(x)], [twin.net.eval()(torch.from_numpy(x)).detach().numpy()])
    twin.net.train(training)
    of_rows = (value or values(F.mse_loss))(twin.net(torch.from_numpy(x)), torch.from_numpy(y))
    if of_rows.ndim == 2:
        of_rows = of_rows.mean(dim=1)
    theirs = (of_rows if weights is None else of_rows * torch.from_numpy(weights)).mean()
    theirs.backward()
    agree([ours], [theirs.item()])
    agree(gradient, twin.gradients(), tolerance)


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("name", LOSSES)
def test_loss(name: str, weighted: bool, agree: Agree) -> None:
    loss, value, last, logits = LOSSES[name]
    layers = [fd.Dense(8, activation="tanh"), fd.Dense(OUTPUTS, activation=last)]
    weights = weights_of() if weighted else None
    gradient_agrees(agree, layers, loss, value, logits, weights=weights, tolerance=COARSE.get(last, TOLERANCE))


@pytest.mark.parametrize("name", [*ACTIVATIONS, "prelu"])
def test_activation(name: str, agree: Agree) -> None:
    """The default slopes, which PyTorch is given; prelu has one slope per unit, as PReLU(num_parameters=units)."""
    hidden = [] if name == "softmax" else [fd.Dense(8, activation=name)]
    layers = [*hidden, fd.Dense(OUTPUTS), fd.Activation(name)]
    gradient_agrees(agree, layers, tolerance=COARSE.get(name, TOLERANCE))


@pytest.mark.parametrize("name", ["leaky_relu", "elu", "celu"])
def test_activation_with_alpha(name: str, agree: Agree) -> None:
    layers = [fd.Dense(8, activation=fd.Activation(name, alpha=0.7)), fd.Dense(OUTPUTS)]
    gradient_agrees(agree, layers, tolerance=COARSE.get(name, TOLERANCE))


LAYERS: dict[str, list[Any]] = {
    "batch_norm": [
        fd.Dense(8, use_bias=False),  # a bias would have a gradient of nothing but rounding
        fd.BatchNorm(momentum=0.9, epsilon=1e-2),
        fd.Activation("tanh"),
        fd.Dense(OUTPUTS),
    ],
    "layer_norm": [fd.Dense(8), fd.LayerNorm(epsilon=1e-2), fd.Activation("tanh"), fd.Dense(OUTPUTS)],
    "residual": [
        fd.Dense(8),
        fd.Residual([fd.LayerNorm(), fd.Dense(5, activation="gelu"), fd.Residual([fd.Dense(5)]), fd.Dense(8)]),
        fd.Dense(OUTPUTS, use_bias=False),
    ],
}


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str, training: bool, agree: Agree) -> None:
    gradient_agrees(agree, LAYERS[name], training=training)


@pytest.mark.parametrize("name", LAYERS)
def test_training_with_layer(name: str, agree: Agree) -> None:
    """PyTorch's running variance is the unbiased one: of n rows, n / (n - 1) times Keras's."""
    made = model(LAYERS[name])
    twin, start = Twin(made), made.get_weights()
    train(made, fd.SGD(0.02, momentum=0.9))
    twin.net.train()
    twin.train(torch.optim.SGD(twin.net.parameters(), lr=0.02, momentum=0.9), *rows(), STEPS, BATCH)
    theirs = twin.weights()
    if name == "batch_norm":
        variance = 4
        left = start[variance] * 0.9**STEPS  # what the first value still counts
        theirs[variance] = left + (theirs[variance] - left) * (BATCH - 1) / BATCH
        twin.tensors[variance].copy_(torch.from_numpy(theirs[variance]))
    agree(made.get_weights(), theirs)
    x = rows()[0]
    agree([made.predict(x)], [twin.net.eval()(torch.from_numpy(x)).detach().numpy()])


def test_extreme_logits(agree: Agree) -> None:
    """Softmax and sigmoid with cross-entropy are fused: exact where probabilities would round to 0 and 1."""
    x = np.array([[1e4, -1e4, 0.0], [-300.0, 700.0, 0.0], [1.0, 2.0, 3.0]])
    for last, loss, value, y in (
        ("softmax", "categorical_crossentropy", F.cross_entropy, np.eye(3)),
        ("sigmoid", "binary_crossentropy", F.binary_cross_entropy_with_logits, 1.0 - np.eye(3)),
    ):
        made = fd.Model([fd.Dense(3, activation=last)], inputs=3, dtype="float64")
        made.set_weights([np.eye(3), np.zeros(3)])
        made.compile("sgd", loss)
        twin = Twin(made, logits=True)
        theirs = value(twin.net(torch.from_numpy(x)), torch.from_numpy(y))
        theirs.backward()
        ours, gradient = made.loss_and_grad(x, y)
        agree([ours], [theirs.item()])
        agree(gradient, twin.gradients())
