"""Losses and metrics of rows by Keras's formulas, in float64: over the last axis of arrays of any shape.

They are what `keras.losses` and `keras.metrics` compute for arrays, and inside of a user's own loss, where predictions
are differentiated; training with the losses themselves has formulas of its own in the engines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .ops.tape import Traced
from .settings import EPSILON

__all__ = ["FORMULAS", "as_float64", "same_rank"]

Array = NDArray[Any]


def as_float64(values: Any) -> Any:
    """An array, a list or a value of a metric as a float64 array; a prediction that is differentiated as it is."""
    return values if isinstance(values, Traced) else np.asarray(values, dtype=np.float64)


def _settled(values: Any) -> Array:
    """A result as an array, unless it is differentiated."""
    return cast("Array", values if isinstance(values, Traced) else np.asarray(values))


def same_rank(a: Any, b: Any, expand: bool = True) -> tuple[Any, Any]:
    """Give both the same number of axes if they differ by a last axis of length 1.

    Parameters
    ----------
    a, b : ndarray
    expand : bool
        Whether a vector beside a column becomes a column; else the column becomes a vector.
    """
    if a.ndim == b.ndim + 1 and a.shape[-1] == 1:
        return (a, b[:, None]) if b.ndim == 1 and expand else (a[..., 0], b)
    if b.ndim == a.ndim + 1 and b.shape[-1] == 1:
        return (a[:, None], b) if a.ndim == 1 and expand else (a, b[..., 0])
    return a, b


def _pair(y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    return same_rank(as_float64(y_true), as_float64(y_pred))


def _mean(values: Array) -> Array:
    return _settled(values.mean(axis=-1))


def mean_squared_error(y_true: Any, y_pred: Any) -> Array:
    """Mean of the squared differences."""
    y, p = _pair(y_true, y_pred)
    return _mean(np.square(y - p))


def mean_absolute_error(y_true: Any, y_pred: Any) -> Array:
    """Mean of the absolute differences."""
    y, p = _pair(y_true, y_pred)
    return _mean(np.abs(y - p))


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Array:
    """Mean of the absolute differences in per cent of the target, but at least of 1e-7."""
    y, p = _pair(y_true, y_pred)
    return 100.0 * _mean(np.abs((y - p) / np.maximum(np.abs(y), EPSILON)))


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Array:
    """Mean of the squared differences of ``log(1 + max(value, 1e-7))``."""
    y, p = (np.log(np.maximum(values, EPSILON) + 1.0) for values in _pair(y_true, y_pred))
    return _mean(np.square(p - y))


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Array:
    """Half the squared differences up to `delta`, and linear beyond."""
    y, p = _pair(y_true, y_pred)
    error = np.abs(p - y)
    return _mean(np.where(error <= delta, 0.5 * error**2, delta * error - 0.5 * delta**2))


def log_cosh(y_true: Any, y_pred: Any) -> Array:
    """Mean of the logarithm of the hyperbolic cosine of the differences."""
    y, p = _pair(y_true, y_pred)
    error = p - y
    return _mean(error + np.logaddexp(0.0, -2.0 * error) - np.log(2.0))


def poisson(y_true: Any, y_pred: Any) -> Array:
    """Mean of ``p - y log(p + 1e-7)``."""
    y, p = _pair(y_true, y_pred)
    return _mean(p - y * np.log(p + EPSILON))


def kl_divergence(y_true: Any, y_pred: Any) -> Array:
    """Sum of ``y log(y / p)``, both clipped to 1e-7 .. 1."""
    y, p = (np.clip(values, EPSILON, 1.0) for values in _pair(y_true, y_pred))
    return _settled((y * np.log(y / p)).sum(axis=-1))


def _signs(y: Array) -> Array:
    """Targets 0 and 1 as -1 and 1; all others as they are."""
    return 2.0 * y - 1.0 if ((y == 0) | (y == 1)).all() else y


def hinge(y_true: Any, y_pred: Any) -> Array:
    """Mean of ``max(1 - y p, 0)``; targets 0 and 1 count as -1 and 1."""
    y, p = _pair(y_true, y_pred)
    return _mean(np.maximum(1.0 - _signs(y) * p, 0.0))


def squared_hinge(y_true: Any, y_pred: Any) -> Array:
    """Mean of ``max(1 - y p, 0)**2``; targets 0 and 1 count as -1 and 1."""
    y, p = _pair(y_true, y_pred)
    return _mean(np.square(np.maximum(1.0 - _signs(y) * p, 0.0)))


def categorical_hinge(y_true: Any, y_pred: Any) -> Array:
    """``max(largest wrong p - right p + 1, 0)`` for one-hot targets."""
    y, p = _pair(y_true, y_pred)
    return _settled(np.maximum(((1.0 - y) * p).max(axis=-1) - (y * p).sum(axis=-1) + 1.0, 0.0))


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Array:
    """Minus the cosine of the angle between target and prediction: the loss."""
    return -cosine(y_true, y_pred, axis)


def cosine(y_true: Any, y_pred: Any, axis: int = -1) -> Array:
    """The cosine of the angle between target and prediction: the metric."""
    y, p = (
        values / np.maximum(np.sqrt(np.square(values).sum(axis=axis, keepdims=True)), EPSILON)
        for values in _pair(y_true, y_pred)
    )
    return _settled((y * p).sum(axis=axis))


def pearson_correlation(y_true: Any, y_pred: Any, axis: Any = -1) -> Array:
    """The correlation of target and prediction."""
    y, p = _pair(y_true, y_pred)
    y, p = (values - values.mean(axis=axis, keepdims=True) for values in (y, p))
    y, p = (values / values.std(axis=axis, keepdims=True) for values in (y, p))
    return _settled((y * p).mean(axis=axis))


def concordance_correlation(y_true: Any, y_pred: Any, axis: Any = -1) -> Array:
    """Twice the covariance of target and prediction over their variances and the squared difference of their means."""
    y, p = _pair(y_true, y_pred)
    middle, offset = p.mean(axis=axis, keepdims=True), y.mean(axis=axis, keepdims=True)
    norm = y.var(axis=axis, keepdims=True) + p.var(axis=axis, keepdims=True) + np.square(offset - middle)
    return _settled((2.0 * (y - middle) * (p - middle) / (norm + EPSILON)).mean(axis=axis))


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Array:
    """Cross-entropy of targets 0 and 1, averaged over the outputs; probabilities are clipped to 1e-7 .. 1 - 1e-7."""
    y, p = _pair(y_true, y_pred)
    y = y * (1.0 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        values = y * np.logaddexp(0.0, -p) + (1.0 - y) * np.logaddexp(0.0, p)
    else:
        p = np.clip(p, EPSILON, 1.0 - EPSILON)
        values = -y * np.log(p) - (1.0 - y) * np.log(1.0 - p)
    return _settled(values.mean(axis=axis))


def _log_probabilities(p: Array, from_logits: bool, axis: int) -> Array:
    if from_logits:
        shifted = p - p.max(axis=axis, keepdims=True)
        return _settled(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))
    return _settled(np.log(np.clip(p / p.sum(axis=axis, keepdims=True), EPSILON, 1.0 - EPSILON)))


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Array:
    """Cross-entropy of one-hot targets; probabilities are divided by their sum and clipped."""
    y, p = _pair(y_true, y_pred)
    y = y * (1.0 - label_smoothing) + label_smoothing / y.shape[-1]
    return _settled(-(y * _log_probabilities(p, from_logits, axis)).sum(axis=axis))


def class_numbers(y_true: Any, y_pred: Array) -> NDArray[np.int64]:
    """Class numbers without a last axis of length 1."""
    y = np.asarray(y_true)
    return (y[..., 0] if y.ndim == y_pred.ndim and y.shape[-1] == 1 else y).astype(np.int64)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Array:
    """Cross-entropy of class numbers; rows of the class `ignore_class` have loss 0."""
    p = as_float64(y_pred)
    y = class_numbers(y_true, p)
    ignored = np.zeros(y.shape, dtype=bool) if ignore_class is None else y == ignore_class
    found = _log_probabilities(np.where(np.expand_dims(ignored, axis), 1.0, p), from_logits, axis)
    safe = np.expand_dims(np.where(ignored, 0, y), axis)
    if safe.size and not 0 <= safe.min() <= safe.max() < p.shape[axis]:
        raise ValueError(
            f"sparse_categorical_crossentropy: class numbers from {safe.min()} to {safe.max()}, and y_pred has "
            f"{p.shape[axis]} classes. Class numbers from 0 to {p.shape[axis] - 1} are needed."
        )
    return np.where(ignored, 0.0, -np.take_along_axis(found, safe, axis).squeeze(axis))


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Array:
    """Binary cross-entropy times ``(1 - probability of the truth)**gamma``, and class weights alpha and 1 - alpha."""
    y, p = _pair(y_true, y_pred)
    y = y * (1.0 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        p = 0.5 * (1.0 + np.tanh(0.5 * p))
    q = np.clip(p, EPSILON, 1.0 - EPSILON)
    values = -y * np.log(q) - (1.0 - y) * np.log(1.0 - q)
    right = y * p + (1.0 - y) * (1.0 - p)
    values = (1.0 - right) ** gamma * values
    if apply_class_balancing:
        values = (y * alpha + (1.0 - y) * (1.0 - alpha)) * values
    return _settled(values.mean(axis=axis))


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: Any = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Array:
    """Categorical cross-entropy times ``alpha (1 - p)**gamma`` of each class."""
    y, p = _pair(y_true, y_pred)
    y = y * (1.0 - label_smoothing) + label_smoothing / y.shape[-1]
    if from_logits:
        p = np.exp(_log_probabilities(p, True, axis))
    p = np.clip(p / p.sum(axis=axis, keepdims=True), EPSILON, 1.0 - EPSILON)
    return _settled((alpha * (1.0 - p) ** gamma * -(y * np.log(p))).sum(axis=axis))


def dice(y_true: Any, y_pred: Any, axis: Any = None) -> Array:
    """1 minus twice the overlap of target and prediction over their sum, of the whole batch."""
    y, p = _pair(y_true, y_pred)
    overlap, whole = (y * p).sum(axis=axis), y.sum(axis=axis) + p.sum(axis=axis)
    return _settled(1.0 - 2.0 * overlap / (whole + EPSILON))


def tversky(y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Any = None) -> Array:
    """As `dice`, with weights `alpha` of what was missed and `beta` of what is too much, as in Keras's code."""
    y, p = _pair(y_true, y_pred)
    overlap = (y * p).sum(axis=axis)
    extra, missed = (p * (1.0 - y)).sum(axis=axis), ((1.0 - p) * y).sum(axis=axis)
    return _settled(1.0 - overlap / (overlap + missed * alpha + extra * beta + EPSILON))


FORMULAS: dict[str, Callable[..., Array]] = {
    one.__name__: one
    for one in (
        mean_squared_error, mean_absolute_error, mean_absolute_percentage_error, mean_squared_logarithmic_error, huber,
        log_cosh, poisson, kl_divergence, hinge, squared_hinge, categorical_hinge, cosine_similarity,
        binary_crossentropy, categorical_crossentropy, sparse_categorical_crossentropy, binary_focal_crossentropy,
        categorical_focal_crossentropy, dice, tversky,
    )
}  # fmt: skip
