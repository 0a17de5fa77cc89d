"""Intersection over union of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..formulas import as_float64
from ..settings import EPSILON
from .base import Metric, as_value


class IoU(Metric):
    """Mean over some classes of true positives over those that are of the class or predicted as such.

    Parameters
    ----------
    num_classes : int
    target_class_ids : list of int
        Classes that count; those that do not occur are left out.
    name : str, optional
    dtype : str, optional
    ignore_class : int, optional
        Rows of this class do not count.
    sparse_y_true, sparse_y_pred : bool
        Whether targets and predictions are class numbers rather than one number for each class.
    axis : int
        Along which the classes lie.

    Examples
    --------
    >>> from fastdense.keras.metrics import IoU
    >>> round(float(IoU(num_classes=2, target_class_ids=[0])([0, 0, 1, 1], [0, 1, 0, 1])), 4)
    0.3333
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(dtype, name)
        if max(target_class_ids) >= num_classes:
            raise ValueError(
                f"{type(self).__name__}: target_class_ids={list(target_class_ids)} and num_classes={num_classes}. "
                f"Class numbers from 0 to {num_classes - 1} are needed."
            )
        self.num_classes, self.target_class_ids, self.ignore_class = num_classes, list(target_class_ids), ignore_class
        self.sparse_y_true, self.sparse_y_pred, self.axis = sparse_y_true, sparse_y_pred, axis
        self.total_cm = self.add_variable((num_classes, num_classes), name="total_confusion_matrix")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take account of a batch."""
        y, p = as_float64(y_true), as_float64(y_pred)
        y = (y if self.sparse_y_true else np.argmax(y, axis=self.axis)).reshape(-1).astype(np.int64)
        p = (p if self.sparse_y_pred else np.argmax(p, axis=self.axis)).reshape(-1).astype(np.int64)
        w = np.broadcast_to(as_float64(1.0 if sample_weight is None else sample_weight).reshape(-1), y.shape)
        counts = (y >= 0) & (y < self.num_classes) & (p >= 0) & (p < self.num_classes)
        if self.ignore_class is not None:
            counts &= y != self.ignore_class
        place = y[counts] * self.num_classes + p[counts]
        found = np.bincount(place, w[counts], self.num_classes**2)
        self.total_cm.assign_add(found.reshape(self.num_classes, self.num_classes))

    def result(self) -> Any:
        table = np.asarray(self.total_cm)
        right = np.diag(table)
        union = (table.sum(axis=0) + table.sum(axis=1) - right)[self.target_class_ids]
        occurs = union > 1e-9
        return as_value(
            np.where(occurs, right[self.target_class_ids] / (union + EPSILON), 0).sum() / (occurs.sum() + EPSILON)
        )


class BinaryIoU(IoU):
    """`IoU` of the classes 0 and 1, of predictions at or above a threshold.

    Parameters
    ----------
    target_class_ids : sequence of int
    threshold : float
    name : str, optional
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import BinaryIoU
    >>> round(float(BinaryIoU(threshold=0.3)([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7])), 4)
    0.3333
    """

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take account of a batch."""
        super().update_state(y_true, as_float64(y_pred) >= self.threshold, sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal metric."""
        return {"name": self.name, "dtype": self.dtype, "target_class_ids": self.target_class_ids,
                "threshold": self.threshold}  # fmt: skip


class MeanIoU(IoU):
    """`IoU` of all classes.

    Parameters
    ----------
    num_classes : int
    name : str, optional
    dtype : str, optional
    ignore_class : int, optional
    sparse_y_true, sparse_y_pred : bool
    axis : int
        As in `IoU`.

    Examples
    --------
    >>> from fastdense.keras.metrics import MeanIoU
    >>> round(float(MeanIoU(num_classes=2)([0, 0, 1, 1], [0, 1, 0, 1])), 4)
    0.3333
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, range(num_classes), name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)


class OneHotIoU(IoU):
    """`IoU` of one-hot targets.

    Parameters
    ----------
    num_classes : int
    target_class_ids : list of int
    name : str, optional
    dtype : str, optional
    ignore_class : int, optional
    sparse_y_pred : bool
    axis : int
        As in `IoU`.

    Examples
    --------
    >>> from fastdense.keras.metrics import OneHotIoU
    >>> round(float(OneHotIoU(num_classes=2, target_class_ids=[1])([[0, 1], [1, 0]], [[0.2, 0.8], [0.4, 0.6]])), 4)
    0.5
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)


class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` of one-hot targets.

    Parameters
    ----------
    num_classes : int
    name : str, optional
    dtype : str, optional
    ignore_class : int, optional
    sparse_y_pred : bool
    axis : int
        As in `IoU`.

    Examples
    --------
    >>> from fastdense.keras.metrics import OneHotMeanIoU
    >>> round(float(OneHotMeanIoU(num_classes=2)([[0, 1], [1, 0]], [[0.2, 0.8], [0.4, 0.6]])), 4)
    0.25
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)
