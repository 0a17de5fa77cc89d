"""Losses as Keras's scripts name them: classes, and functions to be given to `compile` or called on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Hinge,
    Huber,
    LogCosh,
    Loss,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    Poisson,
    SparseCategoricalCrossentropy,
)
from ..losses import get as get_loss
from .names import not_offered

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Function",
    "Hinge",
    "Huber",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "Poisson",
    "SparseCategoricalCrossentropy",
]


class Function:
    """A loss as a function: ``loss=keras.losses.mean_squared_error`` means the same as its name.

    Called as ``f(y_true, y_pred)`` it gives the loss of each row, in float64.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, y_true: Any, y_pred: Any) -> NDArray[np.float64]:
        """Loss of each row: ``(rows,)``."""
        from ..reference.losses import row_losses

        p = np.asarray(y_pred, dtype=np.float64)
        p = p.reshape(-1, 1) if p.ndim < 2 else p
        loss, y = get_loss(self.__name__), np.asarray(y_true)
        y = y.reshape(len(p)) if loss.sparse else y.reshape(p.shape)
        return row_losses(loss.lower(), y, p, None, "").values

    def __repr__(self) -> str:
        return f"<loss function {self.__name__}>"


mean_squared_error = mse = MSE = Function("mean_squared_error")
mean_absolute_error = mae = MAE = Function("mean_absolute_error")
mean_absolute_percentage_error = mape = MAPE = Function("mean_absolute_percentage_error")
huber = Function("huber")
log_cosh = logcosh = Function("log_cosh")
poisson = Function("poisson")
hinge = Function("hinge")
binary_crossentropy = Function("binary_crossentropy")
categorical_crossentropy = Function("categorical_crossentropy")
sparse_categorical_crossentropy = Function("sparse_categorical_crossentropy")


def get(identifier: Any) -> Loss:
    """The loss of a name, a function or an object."""
    return get_loss(identifier.__name__ if isinstance(identifier, Function) else identifier)


__getattr__ = not_offered(
    "losses",
    [*__all__, *(n for n, v in list(globals().items()) if isinstance(v, Function))],
    {"MeanSquaredLogarithmic|mean_squared_logarithmic|^msle$": "Train on np.log1p(y) with 'mean_squared_error'."},
)
