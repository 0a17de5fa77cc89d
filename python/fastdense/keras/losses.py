"""Losses by Keras's names: classes, and functions to be passed to `compile` or called on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import losses as core_losses
from ..losses import Loss
from ..losses import get as get_loss
from ..reference.losses import row_losses
from ..text import snake_case
from .names import not_offered

_CLASSES = [name for name in core_losses.__all__ if name not in ("Loss", "Quantile", "get")]  # Keras has no Quantile
globals().update({name: getattr(core_losses, name) for name in _CLASSES})
__all__ = [*_CLASSES, "Function", "Loss"]


class Function:
    """A loss as a function: ``loss=keras.losses.mean_squared_error`` means the same as its name.

    Called as ``f(y_true, y_pred)`` it returns the loss of each row, in float64.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, y_true: Any, y_pred: Any) -> NDArray[np.float64]:
        """Loss of each row: ``(rows,)``."""
        p = np.asarray(y_pred, dtype=np.float64)
        p = p.reshape(-1, 1) if p.ndim < 2 else p
        loss, y = get_loss(self.__name__), np.asarray(y_true)
        y = y.reshape(len(p)) if loss.sparse else y.reshape(p.shape)
        return row_losses(loss.lower(), y, p, None, "").values

    def __repr__(self) -> str:
        return f"<loss function {self.__name__}>"


# The loss as a function of every class: mean_squared_error of MeanSquaredError.
globals().update({snake_case(name): Function(snake_case(name)) for name in _CLASSES})
mse = MSE = globals()["mean_squared_error"]
mae = MAE = globals()["mean_absolute_error"]
mape = MAPE = globals()["mean_absolute_percentage_error"]
logcosh = globals()["log_cosh"]


def get(identifier: Any) -> Loss:
    """The loss of a name, a function or an object."""
    return get_loss(identifier.__name__ if isinstance(identifier, Function) else identifier)


__getattr__ = not_offered(
    "losses",
    [*__all__, *(n for n, v in list(globals().items()) if isinstance(v, Function))],
    {"MeanSquaredLogarithmic|mean_squared_logarithmic|^msle$": "Train on np.log1p(y) with 'mean_squared_error'."},
)
