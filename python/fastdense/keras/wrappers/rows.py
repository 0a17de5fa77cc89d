"""What both kinds of estimators do with data: checks, class labels, the estimator that is fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cloning import clone_model
from ..network import Network

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
    from sklearn.utils.multiclass import type_of_target
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        f"keras.wrappers: scikit-learn cannot be imported ({error}). Run: pip install 'fastdense[sklearn]'"
    ) from None

__all__ = [
    "Array",
    "BaseEstimator",
    "ClassifierMixin",
    "RegressorMixin",
    "TransformerMixin",
    "class_numbers",
    "new_model_like",
    "rows_of",
    "training_rows",
]
Array = NDArray[Any]


def training_rows(estimator: BaseEstimator, x: Any, y: Any) -> tuple[Array, Array]:
    """x and y as arrays of finite numbers and labels, checked as scikit-learn does."""
    rows, targets = validate_data(estimator, x, y, multi_output=True, dtype="numeric")
    return np.asarray(rows), np.asarray(targets)


def rows_of(estimator: BaseEstimator, x: Any) -> Array:
    """x of a fitted estimator as an array with the columns that it was fitted on."""
    check_is_fitted(estimator)
    return np.asarray(validate_data(estimator, x, reset=False))


def class_numbers(where: str, y: Array) -> tuple[Array, Array]:
    """The classes and, for each row, the number of its class; rows (rows, 1) are labels too."""
    kind = type_of_target(y, raise_unknown=True)
    if kind not in ("binary", "multiclass"):
        raise ValueError(f"{where}: y is {kind}. Class labels are needed, one per row.")
    classes, numbers = np.unique(y.reshape(len(y)), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"{where}: y holds one class, {classes.tolist()}. At least two are needed.")
    return classes, numbers.reshape(-1)


def new_model_like(model: Network) -> Network:
    """A model with other first values, compiled likewise."""
    made: Network = clone_model(model)
    return made
