"""Metrics as vectors of sums: adding the vectors of two batches gives the vector of both together.

Targets y are (n, outputs) or class ids (n,), predictions p (n, outputs), weights w (n,).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .arrays import Array, Spec, as_float, unknown
from .losses import EPSILON, one_hot


def true_classes(y: NDArray[np.generic], outputs: int) -> NDArray[np.int64]:
    """Class of every row: the id itself, or the largest entry of a row of targets."""
    if y.ndim == 2 and y.shape[1] == 1 and outputs > 1:
        y = y[:, 0]
    if y.ndim == 1:
        return y.astype(np.int64)
    largest: NDArray[np.int64] = np.argmax(y, axis=1).astype(np.int64)
    return largest


def _binary_accuracy(spec: Spec, y: NDArray[np.generic], p: Array) -> Array:
    return as_float(((p > spec["threshold"]) == one_hot(y, p.shape[1])).mean(axis=1))


def _class_accuracy(spec: Spec, y: NDArray[np.generic], p: Array) -> Array:
    return as_float(np.argmax(p, axis=1) == true_classes(y, p.shape[1]))


def _top_k(spec: Spec, y: NDArray[np.generic], p: Array) -> Array:
    true_score = np.take_along_axis(p, true_classes(y, p.shape[1])[:, None], axis=1)
    places = spec["k"] - (p > true_score).sum(axis=1)
    equal = (p == true_score).sum(axis=1)  # each of them is as likely as the others to be the next
    return as_float(np.clip(places / np.maximum(equal, 1), 0.0, 1.0)) * ~np.isnan(true_score[:, 0])


def _mse(spec: Spec, y: NDArray[np.generic], p: Array) -> Array:
    return as_float(((one_hot(y, p.shape[1]) - p) ** 2).mean(axis=1))


def _mae(spec: Spec, y: NDArray[np.generic], p: Array) -> Array:
    return as_float(np.abs(one_hot(y, p.shape[1]) - p).mean(axis=1))


def _mape(spec: Spec, y: NDArray[np.generic], p: Array) -> Array:
    targets = one_hot(y, p.shape[1])
    return as_float((100.0 * np.abs(targets - p) / np.maximum(np.abs(targets), EPSILON)).mean(axis=1))


# Metrics that are a weighted mean of one number per row: state [sum of w v, sum of w].
ROW_MEANS: dict[str, Callable[[Spec, NDArray[np.generic], Array], Array]] = {
    "binary_accuracy": _binary_accuracy,
    "categorical_accuracy": _class_accuracy,
    "sparse_categorical_accuracy": _class_accuracy,
    "top_k": _top_k,
    "mse": _mse,
    "mae": _mae,
    "mape": _mape,
}


def _confusion(spec: Spec, y: NDArray[np.generic], p: Array, w: Array) -> Array:
    """Weights of true positives, false positives, false negatives per output: (3, outputs)."""
    outputs = p.shape[1]
    if spec["multiclass"]:
        predicted = one_hot(np.argmax(p, axis=1), outputs)
        actual = one_hot(true_classes(y, outputs), outputs)
    else:
        predicted, actual = as_float(p > spec["threshold"]), as_float(one_hot(y, outputs) > 0.5)
    return np.stack([w @ (predicted * actual), w @ (predicted * (1.0 - actual)), w @ ((1.0 - predicted) * actual)])


def _r2(spec: Spec, y: NDArray[np.generic], p: Array, w: Array) -> Array:
    """Sums of w, w y, w y^2, w (y - p)^2 per output: (4, outputs)."""
    t = one_hot(y, p.shape[1])
    return np.stack([np.full(p.shape[1], w.sum()), w @ t, w @ (t * t), w @ ((t - p) ** 2)])


TABLES: dict[str, tuple[Callable[[Spec, NDArray[np.generic], Array, Array], Array], int]] = {
    "precision": (_confusion, 3),
    "recall": (_confusion, 3),
    "f1": (_confusion, 3),
    "r2": (_r2, 4),
}

NAMES = (*ROW_MEANS, *TABLES)


def state_size(spec: Spec, outputs: int) -> int:
    """Count the sums of a metric.

    Raises
    ------
    ValueError
        If the metric is unknown.
    """
    if spec["kind"] in ROW_MEANS:
        return 2
    if spec["kind"] not in TABLES:
        raise unknown("metric", spec["kind"], NAMES)
    return TABLES[spec["kind"]][1] * outputs


def state(spec: Spec, y: NDArray[np.generic], p: Array, w: Array) -> Array:
    """Sum up a metric over the rows of a batch, as a flat vector of `state_size` numbers."""
    if not spec["weighted"]:
        w = np.ones(len(w))
    if spec["kind"] in ROW_MEANS:
        return np.array([w @ ROW_MEANS[spec["kind"]](spec, y, p), w.sum()])
    return TABLES[spec["kind"]][0](spec, y, p, w).reshape(-1)
