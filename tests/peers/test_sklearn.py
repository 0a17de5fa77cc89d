"""Metrics and losses beside scikit-learn's, on outputs that are given."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from tests.peers.problem import Agree, Array, targets, weights_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sklearn import metrics as sk

ROWS, CLASSES = 160, 3
Score = Callable[..., Any]


def outputs(kind: str) -> Array:
    """Return outputs of a net as a loss takes them."""
    random = np.random.default_rng(2)
    if kind == "binary_crossentropy":
        return np.stack([(random.permutation(199)[:ROWS] + 0.5) / 199.0 for _ in range(CLASSES)], axis=1)
    p = random.normal(size=(ROWS, CLASSES))
    return np.exp(p) / np.exp(p).sum(axis=1, keepdims=True) if kind.endswith("crossentropy") else p


def evaluate(loss: Any, metric: Any, p: Array, y: Array, w: Array | None) -> list[float]:
    """Return loss and metric of outputs p."""
    made = fd.Model([fd.Activation("linear")], inputs=p.shape[1], dtype="float64")
    made.compile("sgd", loss, metrics=[metric])
    return list(made.evaluate(p, y, sample_weight=w, verbose=0))


def macro(score: Score) -> Score:
    return lambda y, p, **w: score(y, p.argmax(axis=1), average="macro", zero_division=0, **w)


def each(score: Score) -> Score:
    return lambda y, p, **w: score(y, p > 0.4, average="macro", zero_division=0, **w)


BINARY, SPARSE = "binary_crossentropy", "sparse_categorical_crossentropy"
METRICS: dict[str, tuple[str, Any, Score]] = {
    "accuracy": (SPARSE, "accuracy", lambda y, p, **w: sk.accuracy_score(y, p.argmax(axis=1), **w)),
    "top_k": (SPARSE, fd.metrics.TopKAccuracy(2), lambda y, p, **w: sk.top_k_accuracy_score(y, p, k=2, **w)),
    "precision": (SPARSE, "precision", macro(sk.precision_score)),
    "recall": (SPARSE, "recall", macro(sk.recall_score)),
    "f1": (SPARSE, "f1", macro(sk.f1_score)),
    "precision_per_output": (BINARY, fd.metrics.Precision(0.4), each(sk.precision_score)),
    "recall_per_output": (BINARY, fd.metrics.Recall(0.4), each(sk.recall_score)),
    "f1_per_output": (BINARY, fd.metrics.F1Score(0.4), each(sk.f1_score)),
    "auc": (BINARY, "auc", lambda y, p, **w: sk.roc_auc_score(y, p, average="macro", **w)),
    "r2": ("mse", "r2", sk.r2_score),
    "mse": ("mse", "mse", sk.mean_squared_error),
    "mae": ("mse", "mae", sk.mean_absolute_error),
    "mape": ("mse", "mape", lambda y, p, **w: 100.0 * sk.mean_absolute_percentage_error(y, p, **w)),
}


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("name", METRICS)
def test_metric(name: str, weighted: bool, agree: Agree) -> None:
    loss, ours, theirs = METRICS[name]
    p, y = outputs(loss), targets(loss)
    weights = weights_of() if weighted else None
    agree([evaluate(loss, ours, p, y, weights)[1]], [theirs(y, p, sample_weight=weights)])


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_class_that_never_occurs(name: str, agree: Agree) -> None:
    """A class that is neither a target nor a prediction does not count in the mean."""
    loss, ours, theirs = METRICS[name]
    p, y = outputs(loss), np.minimum(targets(loss), 1)
    p[:, 2] *= 1e-3
    agree([evaluate(loss, ours, p, y, None)[1]], [theirs(y, p)])


def test_r2_of_a_constant_target(agree: Agree) -> None:
    y = np.column_stack([np.linspace(0.0, 1.0, ROWS), np.full(ROWS, 0.25)])
    for p in (y, y + 0.1):
        agree([evaluate("mse", "r2", p, y, None)[1]], [sk.r2_score(y, p)])


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("digits", [1, 15], ids=["ties", "all differ"])
def test_auc_of_rare_positives(weighted: bool, digits: int, agree: Agree) -> None:
    """Probabilities near 0, between which the thresholds of a grid would not tell."""
    random = np.random.default_rng(4)
    y = (random.random((5000, 1)) < 0.02) * 1.0
    logits = np.round(random.normal(-7.0, 0.5, (5000, 1)) + 1.05 * y, digits)
    p, w = 1.0 / (1.0 + np.exp(-logits)), random.random(5000) if weighted else None
    agree([evaluate(BINARY, "auc", p, y, w)[1]], [sk.roc_auc_score(y, p, sample_weight=w)])


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize(
    ("loss", "theirs"),
    [
        ("mse", sk.mean_squared_error),
        ("mae", sk.mean_absolute_error),
        (fd.losses.Quantile(0.8), lambda y, p, **w: sk.mean_pinball_loss(y, p, alpha=0.8, **w)),
        (SPARSE, sk.log_loss),
    ],
    ids=["mse", "mae", "quantile", "log_loss"],
)
def test_loss(loss: Any, theirs: Score, weighted: bool, agree: Agree) -> None:
    """scikit-learn divides by the sum of the weights, fastdense and Keras by the number of rows."""
    kind = fd.losses.get(loss).kind
    p, y = outputs(kind), targets(kind)
    metric = "accuracy" if kind == SPARSE else "mse"
    weights = weights_of() if weighted else None
    mean = weights_of().mean() if weighted else 1.0
    agree([evaluate(loss, metric, p, y, weights)[0]], [mean * theirs(y, p, sample_weight=weights)])
