"""What every peer is given: data, a net with weights, how many steps to make, and how near the answers must be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastdense as fd

Array = NDArray[Any]
Agree = Callable[..., None]  # the fixture that compares two lists of arrays

INPUTS, OUTPUTS, ROWS, BATCH, STEPS = 6, 3, 160, 16, 100
EPOCHS = STEPS * BATCH // ROWS
TOLERANCE = 1e-10  # 1e-5 is promised; in float64 the same formulas are apart by rounding only


def rows(seed: int = 0, n: int = ROWS) -> tuple[Array, Array]:
    """Return inputs and real targets."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, INPUTS))
    y = np.sin(x[:, :OUTPUTS] + x[:, OUTPUTS : 2 * OUTPUTS]) + 0.1 * random.normal(size=(n, OUTPUTS))
    return x, y


def targets(loss: str, n: int = ROWS) -> Array:
    """Return targets that a loss can take, for the inputs of `rows`."""
    y = rows(n=n)[1]
    classes: Array = np.argmax(y, axis=1)
    if loss == "sparse_categorical_crossentropy":
        return classes
    if loss == "categorical_crossentropy":
        one_hot: Array = np.eye(OUTPUTS)[classes]
        return one_hot
    if loss == "binary_crossentropy":
        return (y > 0).astype(float)
    if loss == "hinge":
        return np.where(y > 0, 1.0, -1.0)
    return np.asarray(np.floor(np.exp(1.5 * y))) if loss == "poisson" else y


def weights_of(n: int = ROWS) -> Array:
    """Return sample weights, some of them 0."""
    return np.random.default_rng(5).integers(0, 4, n) / 2.0


def model(layers: list[Any] | None = None, inputs: int = INPUTS) -> fd.Model:
    """Return a float64 model with random tensors, every one that is not a kernel within (0.2, 1).

    Without ReLUs, so that no gradient is exactly 0 and an optimizer can be compared that divides by it.
    """
    net = [fd.Dense(8, activation="tanh"), fd.Dense(7, activation="gelu"), fd.Dense(OUTPUTS)]
    made = fd.Model(net if layers is None else layers, inputs=inputs, dtype="float64", device="cpu")
    random = np.random.default_rng(3)
    shapes = [tensor.shape for tensor in made.get_weights()]
    made.set_weights(
        [random.normal(size=s) / np.sqrt(s[0]) if len(s) == 2 else random.uniform(0.2, 1.0, s) for s in shapes]
    )
    return made


def train(made: fd.Model, optimizer: Any, loss: Any = "mse", **options: Any) -> fd.History:
    """Make 100 steps: ten times over the rows in their order."""
    x, y = rows()
    made.compile(optimizer, loss)
    return made.fit(x, y, **({"batch_size": BATCH, "epochs": EPOCHS, "shuffle": False, "verbose": 0} | options))


def difference(ours: Sequence[Any], theirs: Sequence[Any]) -> float:
    """Return the largest difference, that of every array relative to its own largest element."""
    assert len(ours) == len(theirs)
    worst = 0.0
    for a, b in zip(map(np.asarray, ours), map(np.asarray, theirs), strict=True):
        assert a.shape == b.shape, (a.shape, b.shape)
        assert np.isfinite(b).all()
        scale = float(np.max(np.abs(b)))
        gap = float(np.max(np.abs(a - b)))
        worst = max(worst, gap / scale if scale else gap)
    return worst
