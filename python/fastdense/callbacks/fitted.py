"""What a `fit` was given and how it ended, without the data: for a later diagnosis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Array
from ..optimizers import Optimizer
from .base import Callback

MANY_ROWS = 50_000  # whose weights are looked at
MOST_CLASSES = 1000  # more different targets are no classes
FEW_ROWS = 64  # of x, whose quartiles tell these data from others


@dataclass
class Fitted:
    """What a `fit` was given and how it ended.

    Attributes
    ----------
    rows, validation_rows : int
        Rows that it trained on, and that it was validated on.
    validation_split : float
        Fraction of the rows that were kept for validation, 0 if validation data were passed or there were none.
    class_weight : dict, "balanced" or None
    weighted : bool
        Whether there were sample weights.
    callbacks : tuple of str
        Class names of the callbacks.
    learning_rate : float or None
        Before the training; None for a schedule or a full-batch optimizer.
    columns : ndarray of shape (3, columns) or None
        Quartiles of every column of `FEW_ROWS` rows of x at equal distances; None for x on a GPU, which is not copied.
    effective_rows : float
        Rows of equal weight that would count as much as the weighted ones: (sum w)**2 / sum w**2.
    by_class : bool
        Whether the weights of the rows are weights of their classes: equal within each class, and not all alike.
    stopped_by : str
        Class name of the callback that ended the training before its last epoch, else "".
    stopped_epoch : int
        Epochs that were finished then.
    monitor, patience
        Of that callback, if it has such attributes.
    """

    rows: int
    validation_rows: int
    validation_split: float
    class_weight: Any
    weighted: bool
    callbacks: tuple[str, ...]
    learning_rate: float | None
    columns: Array | None
    effective_rows: float
    by_class: bool
    stopped_by: str = ""
    stopped_epoch: int = 0
    monitor: str = ""
    patience: int = 0

    @classmethod
    def of(
        cls,
        x: Array,
        y: Array,
        w: Array | None,
        validation_rows: int,
        split: float,
        class_weight: Any,
        weighted: bool,
        callbacks: Sequence[Callback],
        optimizer: Optimizer,
    ) -> Fitted:
        """The record of a training that begins."""
        rate = None if optimizer.full_batch else optimizer.learning_rate
        weights = dict(class_weight) if isinstance(class_weight, Mapping) else class_weight
        names = tuple(type(callback).__name__ for callback in callbacks)
        number = float(rate) if isinstance(rate, (int, float)) else None
        quartiles = columns_of(x) if isinstance(x, np.ndarray) else None
        effective = float(len(x)) if w is None else effective_rows(w)
        return cls(len(x), validation_rows, split, weights, weighted, names, number, quartiles, effective,
                   w is not None and are_class_weights(y, w))  # fmt: skip

    def ended_by(self, callback: Callback | None, epochs: int) -> None:
        """Note the callback that ended the training, if one did."""
        if callback is not None:
            self.stopped_by, self.stopped_epoch = type(callback).__name__, epochs
            self.monitor = str(getattr(callback, "monitor", ""))
            patience = getattr(callback, "patience", 0)
            self.patience = patience if isinstance(patience, int) else 0


def effective_rows(w: Array) -> float:
    """Rows of equal weight that count as much as weighted ones: (sum w)**2 / sum w**2."""
    largest = float(w.max())
    if not largest > 0:
        return 0.0
    w = np.clip(w / largest, 0, 1)  # also if another thread has written larger ones meanwhile
    return float(w.sum()) ** 2 / float((w * w).sum())


def are_class_weights(y: Array, w: Array) -> bool:
    """Whether weights are equal within each class of y, (rows,), (rows, 1) or one-hot, and not all alike.

    Of many rows some at equal distances are looked at. Arrays on a GPU are not: False.
    """
    if not (isinstance(y, np.ndarray) and isinstance(w, np.ndarray)):  # on a GPU, from which nothing is copied for this
        return False
    step = max(1, len(w) // MANY_ROWS)
    y, w = y[::step], w[::step]
    if w.min() == w.max():
        return False
    ids = y.reshape(-1) if y.size == len(y) else np.argmax(y, axis=1)
    classes, place = np.unique(ids, return_inverse=True)
    if len(classes) > MOST_CLASSES:
        return False
    low, high = np.full(len(classes), np.inf), np.zeros(len(classes))
    np.minimum.at(low, place, w)
    np.maximum.at(high, place, w)
    return bool(np.all(high <= (1 + 1e-6) * low))


def columns_of(x: Array) -> Array:
    """Quartiles of every column, of a few rows at equal distances."""
    step = max(1, len(x) // FEW_ROWS)
    chosen = np.arange(0, len(x), step)[:FEW_ROWS]
    few = np.sort(np.asarray(x[chosen], dtype=np.float64), axis=0)
    return few[[len(few) // 4, len(few) // 2, 3 * len(few) // 4]]
