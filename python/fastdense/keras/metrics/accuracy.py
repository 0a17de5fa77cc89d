"""Accuracies, as functions of rows and as metrics. Like Keras they compare what the net gives, logits included."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formulas import as_float64, same_rank
from .base import MeanMetricWrapper

Array = NDArray[Any]


def _floats(hits: Any) -> Array:
    return np.asarray(hits, dtype=np.float64)


def accuracy(y_true: Any, y_pred: Any) -> Array:
    """Whether target and prediction are equal."""
    y, p = same_rank(as_float64(y_true), as_float64(y_pred))
    return _floats(y == p)


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Array:
    """Whether ``y_pred > threshold`` agrees with the target, 0 or 1."""
    y, p = same_rank(as_float64(y_true), as_float64(y_pred))
    return _floats((p > threshold) == y)


def categorical_accuracy(y_true: Any, y_pred: Any) -> Array:
    """Whether the largest prediction is the class of the one-hot target; of equal ones the first counts."""
    return _floats(np.argmax(as_float64(y_true), axis=-1) == np.argmax(as_float64(y_pred), axis=-1))


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Array:
    """Whether the largest prediction is the class whose number is the target; of equal ones the first counts."""
    y, p = as_float64(y_true), as_float64(y_pred)
    y = y[..., 0] if y.ndim == p.ndim and y.shape[-1] == 1 else y
    return _floats(y == np.argmax(p, axis=-1))


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Array:
    """Whether fewer than k predictions are larger than that of the class of the one-hot target."""
    return sparse_top_k_categorical_accuracy(np.argmax(as_float64(y_true), axis=-1), y_pred, k)


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False) -> Array:
    """Whether fewer than k predictions are larger than that of the class whose number is the target.

    If `from_sorted_ids`, predictions are class numbers, the best first.
    """
    given, p = np.asarray(y_true), as_float64(y_pred)
    p, y = p.reshape(-1, p.shape[-1]), given.reshape(-1)
    if from_sorted_ids:
        found = (p[:, :k] == y[:, None]).any(axis=1)
    else:
        own = np.take_along_axis(p, y[:, None].astype(np.int64), axis=1)
        found = (p > np.where(np.isnan(own), -np.inf, own)).sum(axis=1) < k
    return _floats(found).reshape(given.shape)


class Accuracy(MeanMetricWrapper):
    """How often predictions equal targets.

    The string "accuracy" in ``compile(metrics=["accuracy"])`` is another: the accuracy that suits targets and outputs.

    Parameters
    ----------
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import Accuracy
    >>> float(Accuracy()([1, 2, 3, 4], [0, 2, 3, 4]))
    0.75
    """

    def __init__(self, name: str | None = "accuracy", dtype: Any = None) -> None:
        super().__init__(accuracy, name, dtype)


class BinaryAccuracy(MeanMetricWrapper):
    """How often ``y_pred > threshold`` agrees with the target, 0 or 1.

    Of a net whose loss has ``from_logits=True`` the logits are compared, as in Keras: a threshold of 0.0 suits them.

    Parameters
    ----------
    name : str
    dtype : str, optional
    threshold : float

    Examples
    --------
    >>> from fastdense.keras.metrics import BinaryAccuracy
    >>> float(BinaryAccuracy()([1, 1, 0, 0], [0.98, 1, 0, 0.6]))
    0.75
    """

    def __init__(self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5) -> None:
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)
        self.threshold = threshold


class CategoricalAccuracy(MeanMetricWrapper):
    """How often the largest prediction is the class of the one-hot target.

    Parameters
    ----------
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import CategoricalAccuracy
    >>> float(CategoricalAccuracy()([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]]))
    0.5
    """

    def __init__(self, name: str | None = "categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(categorical_accuracy, name, dtype)


class SparseCategoricalAccuracy(MeanMetricWrapper):
    """How often the largest prediction is the class whose number is the target.

    Parameters
    ----------
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import SparseCategoricalAccuracy
    >>> float(SparseCategoricalAccuracy()([2, 1], [[0.1, 0.6, 0.3], [0.05, 0.95, 0]]))
    0.5
    """

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(sparse_categorical_accuracy, name, dtype)


class TopKCategoricalAccuracy(MeanMetricWrapper):
    """How often fewer than k predictions are larger than that of the true class, given one-hot.

    Equal predictions count as hits, so a constant net scores 1.0; those of `fastdense.metrics` count as misses.

    Parameters
    ----------
    k : int
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import TopKCategoricalAccuracy
    >>> float(TopKCategoricalAccuracy(k=1)([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]]))
    0.5
    """

    def __init__(self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)
        self.k = k


class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """How often fewer than k predictions are larger than that of the class whose number is the target.

    Equal predictions count as hits, as in `TopKCategoricalAccuracy`.

    Parameters
    ----------
    k : int
    name : str
    dtype : str, optional
    from_sorted_ids : bool
        Whether predictions are class numbers, the best first.

    Examples
    --------
    >>> from fastdense.keras.metrics import SparseTopKCategoricalAccuracy
    >>> float(SparseTopKCategoricalAccuracy(k=1)([2, 1], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]]))
    0.5
    """

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ) -> None:
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, k=k, from_sorted_ids=from_sorted_ids)
        self.k, self.from_sorted_ids = k, from_sorted_ids
