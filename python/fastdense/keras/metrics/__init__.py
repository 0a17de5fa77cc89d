"""Metrics by Keras's names, with its definitions and options, in float64.

Every class works alone, ``m.update_state(y, p)``, ``m.result()``, and in ``compile(metrics=[...])``, as an object, a
class or a string. Functions of ``(y_true, y_pred)`` and subclasses of `Metric` are metrics, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...arguments import shorten, suggestion
from .. import losses
from ..formulas import FORMULAS, concordance_correlation, pearson_correlation
from ..names import not_offered
from ..serialization import deserialize_keras_object, serialize_keras_object
from ..settings import plain_name
from .accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from .base import Mean, MeanMetricWrapper, Metric, Sum
from .confusion import (
    FalseNegatives,
    FalsePositives,
    Precision,
    PrecisionAtRecall,
    Recall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
    TrueNegatives,
    TruePositives,
)
from .curves import AUC, F1Score, FBetaScore
from .iou import BinaryIoU, IoU, MeanIoU, OneHotIoU, OneHotMeanIoU
from .means import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    ConcordanceCorrelation,
    CosineSimilarity,
    Hinge,
    KLDivergence,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    PearsonCorrelation,
    Poisson,
    R2Score,
    RootMeanSquaredError,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)

_CLASSES: tuple[type[Metric], ...] = (
    AUC, Accuracy, BinaryAccuracy, BinaryCrossentropy, BinaryIoU, CategoricalAccuracy, CategoricalCrossentropy,
    CategoricalHinge, ConcordanceCorrelation, CosineSimilarity, F1Score, FBetaScore, FalseNegatives, FalsePositives,
    Hinge, IoU, KLDivergence, LogCoshError, Mean, MeanAbsoluteError, MeanAbsolutePercentageError, MeanIoU,
    MeanMetricWrapper, MeanSquaredError, MeanSquaredLogarithmicError, OneHotIoU, OneHotMeanIoU, PearsonCorrelation,
    Poisson, Precision, PrecisionAtRecall, R2Score, Recall, RecallAtPrecision, RootMeanSquaredError,
    SensitivityAtSpecificity, SparseCategoricalAccuracy, SparseCategoricalCrossentropy, SparseTopKCategoricalAccuracy,
    SpecificityAtSensitivity, SquaredHinge, Sum, TopKCategoricalAccuracy, TrueNegatives, TruePositives,
)  # fmt: skip
_SHORT: dict[str, type[Metric]] = {
    "bce": BinaryCrossentropy,
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError,
    "msle": MeanSquaredLogarithmicError,
}
_NAMES = {
    **{made: one for one in _CLASSES for made in (one.__name__, plain_name(one.__name__))},
    **{made: one for short, one in _SHORT.items() for made in (short, short.upper())},
}
_LOSSES = {name: getattr(losses, name) for name in FORMULAS if name != "cosine_similarity"}
globals().update(_LOSSES)
mse = MSE = _LOSSES["mean_squared_error"]
mae = MAE = _LOSSES["mean_absolute_error"]
mape = MAPE = _LOSSES["mean_absolute_percentage_error"]
msle = MSLE = _LOSSES["mean_squared_logarithmic_error"]

__all__ = [
    *(one.__name__ for one in _CLASSES),
    *_LOSSES,
    "Metric",
    "binary_accuracy",
    "categorical_accuracy",
    "concordance_correlation",
    "deserialize",
    "get",
    "pearson_correlation",
    "serialize",
    "sparse_categorical_accuracy",
    "sparse_top_k_categorical_accuracy",
    "top_k_categorical_accuracy",
]


def get(identifier: Any) -> Any:
    """The metric of a name, a class, a config dict, an object or a function; the last two are returned as they are.

    Raises
    ------
    ValueError
        If it is none of these, or the class needs arguments.
    """
    if identifier is None or isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, str):
        if identifier not in _NAMES:
            plain = sorted(plain_name(one.__name__) for one in _CLASSES)
            near = suggestion(identifier, [*plain, *_NAMES])
            raise ValueError(
                f"metrics: {identifier!r} is not a known metric.{near} Use a class, a function of (y_true, y_pred), or "
                f"one of {', '.join(map(repr, plain))}."
            )
        identifier = _NAMES[identifier]
    elif isinstance(identifier, Mapping):
        return deserialize(identifier)
    if isinstance(identifier, type):
        try:
            return identifier()
        except TypeError as error:
            raise ValueError(
                f"metrics: {identifier.__name__} needs arguments ({error}). Give an object of it."
            ) from error
    if callable(identifier):
        return identifier
    raise ValueError(
        f"metrics: {shorten(identifier)} is of type {type(identifier).__name__}. "
        "A name, a class, a metric or a function of (y_true, y_pred) is needed."
    )


def serialize(metric: Any) -> Any:
    """The config dict of a metric or a function."""
    return serialize_keras_object(metric)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The metric that `serialize` described; `custom_objects` are classes and functions of your own, by name."""
    return deserialize_keras_object(config, custom_objects)


__getattr__ = not_offered("metrics", __all__)
