"""What a net is to predict: numbers or classes, by which metric, and the targets as a net takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arguments import choice, quoted, shorten
from ..arrays import Array, fail

__all__ = ["METRICS", "TASKS", "Task"]

TASKS = ("regression", "classification")
# name -> what `compile` and the choice of members take for it (None: the loss itself)
METRICS: Mapping[str, Mapping[str, str | None]] = {
    "regression": {"rmse": None, "mse": None, "mae": "mae", "r2": "r2"},
    "classification": {"log_loss": None, "accuracy": "accuracy", "auc": "auc"},
}
GROWING = ("accuracy", "auc", "r2")


@dataclass(frozen=True)
class Task:
    """What a net is to predict.

    Attributes
    ----------
    kind : {"regression", "classification"}
    metric : str
        A key of `METRICS`.
    classes : ndarray or None
        The labels in the order of the outputs; None for a regression.
    mean, scale : ndarray of shape (outputs,)
        Of the targets of a regression; 0 and 1 for classes.
    """

    kind: str
    metric: str
    classes: Array | None
    mean: Array
    scale: Array

    @classmethod
    def of(cls, where: str, kind: Any, metric: Any, y: Any) -> tuple[Task, Array]:
        """The task that targets, their kind and a metric make, and the targets as a net takes them.

        Raises
        ------
        ValueError, TypeError
            If a name is unknown, there is no or only one class, a target is not a finite number, or auc is asked of
            more than two classes.
        """
        kind = choice(f"{where}: task", kind, TASKS)
        known = METRICS[kind]
        if metric is None:
            metric = next(iter(known))
        if metric not in known:
            fail(where, f"metric is {shorten(metric)}", f"of a {kind} one of {quoted(known)} is needed")
        values = _column(where, y)
        if kind == "regression":
            numbers = _numbers(where, values)
            scale = numbers.std(axis=0)
            scale = np.where(scale > 0, scale, 1.0)
            return cls(kind, metric, None, numbers.mean(axis=0), scale), numbers
        if values.ndim != 1:
            fail(where, f"y has shape {values.shape}", "one label per row is needed")
        classes, numbers = _classes(where, values)
        if len(classes) < 2:
            fail(where, f"all rows have the label {shorten(classes.tolist()[0])}", "two classes at least are needed")
        if metric == "auc" and len(classes) > 2:
            fail(where, f"metric 'auc' is defined for two classes, and y has {len(classes)}", "another is needed",
                 "use 'log_loss' or 'accuracy'")  # fmt: skip
        task = cls(kind, metric, classes, np.zeros(1), np.ones(1))
        return task, task.targets(where, values)

    @property
    def outputs(self) -> int:
        """Outputs of a net: one per target, one for two classes, else one per class."""
        if self.classes is None:
            return len(self.mean)
        return 1 if len(self.classes) == 2 else len(self.classes)

    @property
    def loss(self) -> str:
        """The loss of a net."""
        if self.classes is None:
            return "mse"
        return "binary_crossentropy" if self.outputs == 1 else "sparse_categorical_crossentropy"

    @property
    def growing(self) -> bool:
        """Whether a larger value of the metric is better."""
        return self.metric in GROWING

    @property
    def measure(self) -> str | None:
        """The metric by the name of `fastdense.metrics`, None for the loss."""
        return METRICS[self.kind][self.metric]

    def value(self, measured: float) -> float:
        """The metric from its measure: the root for rmse."""
        return float(np.sqrt(measured)) if self.metric == "rmse" else float(measured)

    def targets(self, where: str, y: Any, name: str = "y") -> Array:
        """Targets of other rows as a net takes them; ValueError for a label that is unknown."""
        values = _column(where, y, name)
        if self.classes is None:
            numbers = _numbers(where, values, name)
            if numbers.shape[1] != len(self.mean):
                fail(where, f"{name} has {numbers.shape[1]} columns", f"{len(self.mean)} are needed")
            return numbers
        places = {label: i for i, label in enumerate(self.classes.tolist())}
        found = [places.get(label, -1) for label in values.tolist()]
        if -1 in found:
            label = values.tolist()[found.index(-1)]
            fail(where, f"{name} holds the label {shorten(label)}, which y does not", "the classes of y are needed")
        numbers = np.array(found, dtype=np.int64)
        return numbers[:, None].astype(np.float32) if self.outputs == 1 else numbers


def _column(where: str, y: Any, name: str = "y") -> Array:
    """Targets as an array: one column as a vector."""
    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim not in (1, 2) or not len(values):
        fail(where, f"{name} has shape {values.shape}", "one target per row is needed")
    return values


def _numbers(where: str, values: Array, name: str = "y") -> Array:
    """Targets of a regression as a matrix."""
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        fail(where, f"{name} has the dtype {values.dtype}", "numbers are needed for a regression",
             "use task='classification' for labels")  # fmt: skip
    if not np.isfinite(numbers).all():
        fail(where, f"{name} holds NaN or infinity", "finite targets are needed", "leave those rows out")
    return numbers[:, None] if numbers.ndim == 1 else numbers


def _classes(where: str, values: Array) -> tuple[Array, Array]:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        fail(where, "y holds NaN or infinity", "a label for every row is needed", "leave those rows out")
    try:
        classes, numbers = np.unique(values, return_inverse=True)
    except TypeError:
        fail(where, "y holds labels of several types", "labels of one type are needed", "make strings of them")
    return classes, numbers
