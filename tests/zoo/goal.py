"""Whether a trained model has learnt: judged by what `predict` gives, whatever the form of its output.

A treated model may have another output than its owner's: ten softmax units for class ids in one column, a sigmoid for
labels -1 and 1, logits. So a goal knows the task and reads the prediction accordingly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastdense as fd

Array = NDArray[Any]


@dataclass(frozen=True)
class Goal:
    """A metric and what it must reach.

    Attributes
    ----------
    metric : {"r2", "each", "rank", "accuracy", "recall", "labels"}
        "r2": 1 - squared error / variance, over all outputs, each with its own mean. "each": the worst output's r2.
        "accuracy": fraction of rows with the right class. "recall": the worst class's fraction of rows that are found.
        "labels": the worst output's accuracy, with several yes-or-no questions per row. "rank": Spearman's correlation.
    at_least : float
    truth : callable, optional
        What should be predicted, from ``(x, y)``, where that is not `y`.
    fresh : callable, optional
        Returns the rows ``(x, y)`` to judge by, where they are not those that the net was trained on.
    """

    metric: str
    at_least: float
    truth: Callable[[Array, Array], Array] | None = None
    fresh: Callable[[], tuple[Array, Array]] | None = None

    def __call__(self, model: Any, x: Array, y: Array) -> bool:
        """Whether `model` reaches the goal."""
        return self.value(model, x, y) >= self.at_least

    def value(self, model: Any, x: Array, y: Array) -> float:
        """The metric for `model`; minus infinity if its predictions are not finite or cannot be read."""
        x, y = (x, y) if self.fresh is None else self.fresh()
        truth = y if self.truth is None else self.truth(x, y)
        return self.of(model.predict(x), truth, decision_point(model, truth))

    def of(self, predictions: Array, truth: Array, threshold: float = 0.5) -> float:
        """The metric for predictions of shape (rows, outputs)."""
        p = np.asarray(predictions, np.float64).reshape(len(predictions), -1)
        if not np.isfinite(p).all():
            return -np.inf
        if self.metric == "r2":
            return r2(p, columns(truth))
        if self.metric == "each":
            return min(map(r2, p.T, columns(truth).T)) if p.shape == columns(truth).shape else -np.inf
        if self.metric == "rank":
            return rank_correlation(p, columns(truth))
        if self.metric == "labels":
            hits = (p > threshold) == (columns(truth) > 0.5) if p.shape == columns(truth).shape else None
            return -np.inf if hits is None else float(hits.mean(axis=0).min())
        wanted, given = class_numbers(truth), predicted_classes(p, truth, threshold)
        hit = wanted == given
        if self.metric == "accuracy":
            return float(hit.mean())
        if self.metric == "recall":
            return float(min(hit[wanted == k].mean() for k in np.unique(wanted)))
        raise ValueError(f"Goal: metric={self.metric!r} is not known")


def accuracy(at_least: float = 0.9) -> Goal:
    """Fraction of rows whose class is right."""
    return Goal("accuracy", at_least)


def fit_of(at_least: float = 0.9, truth: Callable[[Array, Array], Array] | None = None) -> Goal:
    """R2 of the predictions."""
    return Goal("r2", at_least, truth)


def each_of(at_least: float = 0.9) -> Goal:
    """R2 of the output that is predicted worst."""
    return Goal("each", at_least)


def columns(y: Array) -> Array:
    """Targets as (rows, outputs) in float64."""
    array: Array = np.asarray(y, np.float64)
    return array.reshape(len(array), -1)


def r2(p: Array, y: Array) -> float:
    """1 - squared error / variance around each column's mean."""
    if p.shape != y.shape:
        return -np.inf
    spread = float(((y - y.mean(axis=0)) ** 2).sum())
    with np.errstate(over="ignore"):
        return 1.0 - float(((p - y) ** 2).sum()) / spread if spread > 0 else -np.inf


def rank_correlation(p: Array, y: Array) -> float:
    """Spearman's correlation of one column with another; 0 for a constant prediction."""
    if p.shape != y.shape or p.shape[1] != 1:
        return -np.inf
    a, b = (_ranks(table[:, 0]) for table in (p, y))
    spread = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float(a @ b) / spread if spread > 0 else 0.0


def _ranks(values: Array) -> Array:
    """Ranks minus their mean; equal values share one."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    ranks: Array = middle[where.reshape(-1)] - (len(values) + 1) / 2
    return ranks


def class_numbers(y: Array) -> Array:
    """Class of every row, 0, 1, ...: the position of the largest column, or the rank of the value among all values."""
    table = columns(y)
    one_hot = table.shape[1] > 1
    ids: Array = np.argmax(table, axis=1) if one_hot else np.unique(table[:, 0], return_inverse=True)[1].reshape(-1)
    return ids


def predicted_classes(p: Array, y: Array, threshold: float) -> Array:
    """Class that predictions stand for, numbered as `class_numbers` does."""
    table = columns(y)
    if table.shape[1] > 1:
        return np.argmax(p, axis=1) if p.shape == table.shape else np.full(len(p), -1)
    values = np.unique(table[:, 0])
    if p.shape[1] == 1:
        sides: Array = p[:, 0] > threshold
        return sides.astype(np.intp) if len(values) == 2 else np.argmin(np.abs(p - values), axis=1)
    chosen = np.argmax(p, axis=1)
    whole = bool((values == np.rint(values)).all()) and values[0] >= 0
    if whole and values[-1] < p.shape[1]:  # output k stands for the id k
        rank = np.searchsorted(values, chosen)
        good = (rank < len(values)) & (values[np.minimum(rank, len(values) - 1)] == chosen)
        return np.where(good, rank, -1)
    return chosen if p.shape[1] == len(values) else np.full(len(p), -1)


def decision_point(model: Any, y: Array) -> float:
    """Where a single output changes from one class to the other: 0 for logits and margins, the middle otherwise."""
    loss, last = getattr(model, "loss", None), _output_activation(model)
    if loss is not None and (getattr(loss, "from_logits", False) or loss.kind == "hinge"):
        return 0.0
    if last == "sigmoid" or (loss is not None and loss.kind == "binary_crossentropy"):
        return 0.5
    table = columns(y)
    low, high = float(table.min()), float(table.max())
    return (low + high) / 2 if table.shape[1] == 1 else 0.5


def _output_activation(model: Any) -> str:
    layers = getattr(model, "layers", None) or [None]
    return getattr(layers[-1], "activation", None) or "linear" if isinstance(layers[-1], fd.layers.Layer) else "linear"
