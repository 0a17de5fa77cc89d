"""`DenseRegressor`: losses, several targets, and what differs from the classifier."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("sklearn")

from sklearn.metrics import r2_score
from sklearn.neural_network import MLPRegressor

import fastdense as fd
from fastdense.sklearn import DenseRegressor
from fastdense.sklearn.rows import Table, r2

Array = NDArray[Any]


def curve(x: Array) -> Array:
    made: Array = x[:, 0] ** 2 + np.sin(x[:, 1])
    return made


def small(**parameters: Any) -> DenseRegressor:
    return DenseRegressor(**{"hidden_layer_sizes": (16,), "max_iter": 30, "random_state": 0, **parameters})


LOSSES = {
    "squared_error": "identity",
    "absolute_error": "identity",
    "huber": "identity",
    "quantile": "identity",
    "poisson": "exp",
}


@pytest.mark.parametrize("loss", LOSSES)
def test_losses(x: Array, loss: str) -> None:
    y = np.exp(x[:, 0] / 2)
    net = small(loss=loss, solver="lbfgs", max_iter=200).fit(x, y)
    assert net.out_activation_ == LOSSES[loss]
    assert net.score(x, y) > 0.9
    assert net.predict(x).shape == y.shape


def test_a_quantile_is_learned() -> None:
    """Nine tenths of the targets are below the prediction."""
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, size=(4000, 1))
    y = x[:, 0] + random.exponential(size=len(x))
    net = small(loss="quantile", quantile=0.9, max_iter=60, learning_rate_init=0.01).fit(x, y)
    assert np.mean(y < net.predict(x)) == pytest.approx(0.9, abs=0.02)


def test_a_loss_object(x: Array) -> None:
    net = small(loss=fd.losses.Huber(0.1)).fit(x, curve(x))
    assert net.model_.loss == fd.losses.Huber(0.1)


def test_levenberg_marquardt(x: Array) -> None:
    assert small(solver="lm", activation="tanh").fit(x, curve(x)).score(x, curve(x)) > 0.99


@pytest.mark.parametrize("outputs", [2, 5])
def test_several_targets(x: Array, outputs: int) -> None:
    y = np.stack([curve(x) + i * x[:, 2] for i in range(outputs)], axis=1)
    net = small(solver="lbfgs", max_iter=200).fit(x, y)
    assert net.n_outputs_ == outputs
    assert net.predict(x).shape == y.shape
    assert net.score(x, y) > 0.9


def test_shapes_of_targets(x: Array) -> None:
    from sklearn.exceptions import DataConversionWarning

    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        net = small(max_iter=2).fit(x, curve(x)[:, None])
    assert net.predict(x).shape == (len(x),)
    assert small(max_iter=2).fit(x, curve(x).astype(str)).n_iter_ == 2  # scikit-learn takes text of numbers
    with pytest.raises(ValueError, match="y has 2 columns; 1 are needed, as in the first fit"):
        net.partial_fit(x, np.stack([curve(x)] * 2, axis=1))


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_gradient_is_that_of_scikit_learn(x: Array, loss: str, outputs: int) -> None:
    """From the same weights, one step of plain gradient descent gives the same weights."""
    pytest.importorskip("sklearn", "1.7")  # has weights and the poisson loss
    y = np.abs(np.stack([curve(x) + i * x[:, 2] for i in range(outputs)], axis=1))
    y = y[:, 0] if outputs == 1 else y
    w = np.random.default_rng(1).uniform(0.5, 2.0, len(x))
    both = {"hidden_layer_sizes": (5,), "activation": "tanh", "solver": "sgd", "momentum": 0.0, "max_iter": 1,
            "alpha": 3.0, "batch_size": len(x), "random_state": 0, "nesterovs_momentum": False}  # fmt: skip
    if loss != "squared_error":
        both["loss"] = loss
    start, theirs = (
        MLPRegressor(**both, learning_rate_init=rate).fit(x, y, sample_weight=w) for rate in (1e-300, 0.05)
    )
    ours = DenseRegressor(**both, warm_start=True, learning_rate_init=1e-300).fit(x, y, sample_weight=w)
    ours.model_.set_weights([array for pair in zip(start.coefs_, start.intercepts_, strict=True) for array in pair])
    ours.set_params(learning_rate_init=0.05).fit(x, y, sample_weight=w)
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        # the poisson loss adds 1e-7 to the logarithm's argument
        np.testing.assert_allclose(mine, other, rtol=1e-6 if loss == "poisson" else 1e-10, atol=1e-13)


def test_a_weight_is_a_number_of_copies(x: Array) -> None:
    x, random = x[:60], np.random.default_rng(1)
    y, copies = curve(x), random.integers(0, 4, len(x))
    order = random.permutation(copies.sum())
    for parameters in ({}, {"solver": "lbfgs"}, {"early_stopping": True}, {"dropout": 0.2}):
        weighted = small(**parameters).fit(x, y, sample_weight=copies)
        repeated = small(**parameters).fit(np.repeat(x, copies, axis=0)[order], np.repeat(y, copies)[order])
        np.testing.assert_array_equal(weighted.predict(x), repeated.predict(x))


def test_the_score_of_early_stopping_is_r2() -> None:
    random = np.random.default_rng(0)
    y, p, w = random.normal(size=(50, 3)), random.normal(size=(50, 3)), random.uniform(1, 2, 50)
    assert r2(Table(y, y, w), p) == pytest.approx(r2_score(y, p, sample_weight=w), rel=1e-12)
    y[:, 0] = 0.1  # whose weighted mean is not 0.1 but for rounding
    others = [r2_score(y[:, i], p[:, i], sample_weight=w) for i in (1, 2)]
    assert r2(Table(y, y, w), p) == pytest.approx(sum(others) / 3, rel=1e-12)


def test_early_stopping(x: Array) -> None:
    y = curve(x) + np.random.default_rng(0).normal(size=len(x))
    net = small(early_stopping=True, max_iter=500, learning_rate_init=0.02, hidden_layer_sizes=(64,)).fit(x, y)
    assert net.n_iter_ < 500
    assert net.best_validation_score_ == max(net.validation_scores_)


WRONG = [
    ({"loss": "log_loss"}, "loss is 'log_loss'; a loss for numbers is needed: use 'squared_error', 'absolute_error'"),
    ({"loss": "mean"}, "loss='mean' is not a known loss."),
    ({"quantile": 0.9}, "quantile is 0.9 and loss 'squared_error'; quantile belongs to loss='quantile': drop one"),
    ({"loss": "quantile", "quantile": 1}, "quantile=1 is out of range. Give a finite number above 0 and below 1."),
    (
        {"loss": "poisson"},
        "y holds -1 and loss is 'poisson'; it is for counts, 0 or more: use e.g. loss='squared_error'",
    ),
]


@pytest.mark.parametrize(("parameters", "words"), WRONG, ids=[str(one) for one, _ in WRONG])
def test_wrong_parameters(x: Array, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(f"DenseRegressor: {words}")):
        small(**parameters).fit(x, np.where(x[:, 0] > 0, 2.0, -1.0))


def test_training_that_diverges(x: Array) -> None:
    words = "the loss or a weight is not finite after epoch .*; training diverged: scale X .and y. to about 1"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one error, and no warning beside it
        with pytest.raises(ValueError, match=words):
            small(solver="sgd", learning_rate_init=1e6).fit(x, 1e6 * curve(x))


def test_every_parameter_of_scikit_learn_is_taken(x: Array) -> None:
    DenseRegressor(**MLPRegressor(max_iter=2).get_params()).fit(x, curve(x))
