"""The learning task, inferred from the targets, and one error measure for all nets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..arrays import Array
from ..losses import Loss

Kind = Literal["regression", "binary", "classes", "multilabel"]
Encoding = Literal["values", "zero_one", "signs", "ids", "one_hot", "columns"]

FEW_CLASSES = 20  # whole numbers from 0 or 1 on may be class ids, even with a regression loss
MOST_CLASSES = 1000  # more distinct whole numbers are continuous values
DECADE, HELD = (
    20.0,
    0.9,
)  # targets over decades: their 95 % quantile over the median; fraction that the largest 5 % hold
LEAST_FOR_DECADES, LEAST_NONZERO = 60, 0.2  # how many, and which share, must not be 0


@dataclass(frozen=True)
class Task:
    """A regression or classification task.

    Attributes
    ----------
    kind : {"regression", "binary", "classes", "multilabel"}
    encoding : {"values", "zero_one", "signs", "ids", "one_hot", "columns"}
        Encoding of the targets: numbers; 0 and 1; -1 and 1; class ids; one-hot rows; several columns of 0 and 1.
    labels : ndarray
        The sorted distinct targets of a one-column classification, or of values that may be class ids; else empty.
    width : int
        Number of outputs that the task needs.
    scale : float
        Of targets of one sign over several decades: their usual size, with their sign; 0 for all others.
    balanced : bool
        Whether all classes count alike, however many rows they have: for a net that is trained with class weights.
    """

    kind: Kind
    encoding: Encoding
    labels: Array
    width: int
    scale: float = 0.0
    balanced: bool = False

    @property
    def classifies(self) -> bool:
        """Whether the task is a classification."""
        return self.kind != "regression"

    # ---- scores ------------------------------------------------------------------------------------------------

    def errors(self, y: Array, predictions: Array, threshold: float) -> float:
        """Error of predictions relative to that of the best constant: 0 is perfect, 1 no better than a constant.

        Classification: the error rate relative to that of the most frequent class; if `balanced`, both are means over
        the classes. Regression: 1 - R2, over all columns
        or of the median column, whichever is larger. Where a few rows hold nearly all of the variance because the
        targets go over decades it is 1 - R2 of their logarithms.

        Parameters
        ----------
        y : ndarray of shape (rows, columns)
        predictions : ndarray of shape (rows, outputs)
        threshold : float
            Decision threshold of a single output.
        """
        p = np.asarray(predictions, dtype=np.float64)
        if not np.isfinite(p).all():
            return np.inf
        if self.kind == "regression":
            if y.shape[1] == 1 and p.shape[1] > 1:  # one class per whole number
                p = np.argmax(p, axis=1).astype(np.float64)[:, None]
            if p.shape != y.shape:
                return np.inf
            if self.scale:
                return self.unscaled().errors(self.logarithm(y), self.logarithm(p), threshold)
            missed, total = np.square(y - p).sum(axis=0), np.square(y - y.mean(axis=0)).sum(axis=0)
            varies = total > 0
            if not varies.any():
                return float(missed.sum() > 0)
            if len(self.labels):  # values that may be class ids: the smaller of both errors
                wrong = np.abs(p - self.labels).argmin(axis=1) != np.searchsorted(self.labels, y[:, 0])
                _, counts = np.unique(y[:, 0], return_counts=True)
                error_rate = float(wrong.mean() / (1 - counts.max() / len(y)))
                return min(error_rate, float(missed.sum() / total.sum()))
            # Large columns must not hide small ones, nor may rarely varying ones (pixels at the border) dominate.
            return float(max(missed.sum() / total.sum(), np.median(missed[varies] / total[varies])))
        if self.kind == "multilabel":
            if p.shape != y.shape:
                return np.inf
            wrong = float(np.mean((p > threshold) != (y > 0.5)))
            constant = float(np.minimum(y.mean(axis=0), 1 - y.mean(axis=0)).mean())
            return float(wrong / constant) if constant > 0 else float(wrong > 0)
        truth = self.classes_of(y)
        missed = self.answers(p, threshold) != truth
        _, place, counts = np.unique(truth, return_inverse=True, return_counts=True)
        if self.balanced:
            wrong = float(np.mean(np.bincount(place.reshape(-1), weights=missed) / counts))
            constant = 1 - 1 / len(counts)
        else:
            wrong, constant = float(np.mean(missed)), 1 - counts.max() / counts.sum()
        return float(wrong / constant) if constant > 0 else float(wrong > 0)

    def unscaled(self) -> Task:
        """The task with targets that are not compared by their logarithms."""
        return replace(self, scale=0.0)

    def logarithm(self, y: Array) -> Array:
        """log(1 + y / scale) of targets over decades, 0 for those of the other sign."""
        return np.asarray(np.log1p(np.maximum(y / self.scale, 0.0)))

    def classes_of(self, y: Array) -> Array:
        """Class of every row, as an index into `labels` (one column) or a column number (one-hot)."""
        if self.encoding == "one_hot":
            return np.asarray(np.argmax(y, axis=1))
        return np.asarray(np.searchsorted(self.labels, y[:, 0]))

    def answers(self, p: Array, threshold: float) -> Array:
        """Predicted class of every row, numbered as by `classes_of`."""
        if self.encoding == "one_hot":
            return np.argmax(p, axis=1) if p.shape[1] > 1 else np.zeros(len(p), np.intp)
        if p.shape[1] > 1:  # output j stands for label j
            chosen = np.argmax(p, axis=1).astype(np.float64)
            place = np.searchsorted(self.labels, chosen)
            known = self.labels[np.minimum(place, len(self.labels) - 1)] == chosen
            return np.where(known, place, -1)
        if self.kind == "binary":
            return (p[:, 0] > threshold).astype(np.intp)
        return np.asarray(np.abs(p - self.labels).argmin(axis=1))  # one output for class ids: the nearest one


def read_task(y: Array, loss: Loss, activation: str, outputs: int, metrics: list[str]) -> Task:
    """Infer the task from the targets, and from the loss where they are ambiguous.

    Parameters
    ----------
    y : ndarray of shape (rows, columns), finite
    loss : Loss
    activation : str
        The output activation.
    outputs : int
    metrics : list of str
        Names of the model's metrics.
    """
    none = np.zeros(0)
    classes_wanted = (
        loss.classifies
        or activation == "softmax"
        or any("accuracy" in name or name in ("precision", "recall", "f1", "auc") for name in metrics)
    )
    whole = bool((y == np.rint(y)).all())
    zero_one = whole and bool(((y == 0) | (y == 1)).all())
    if y.shape[1] > 1:
        sums = y.sum(axis=1)
        if zero_one and bool((sums == 1).all()):
            return Task("classes", "one_hot", none, y.shape[1])
        if zero_one and loss.kind != "categorical_crossentropy":
            return Task("multilabel", "columns", none, y.shape[1])
        if classes_wanted and y.min() >= 0 and zero_one:
            return Task("multilabel", "columns", none, y.shape[1])
        if loss.kind == "categorical_crossentropy" and y.min() >= 0 and bool(np.abs(sums - 1).max() < 1e-3):
            return Task("classes", "one_hot", none, y.shape[1])  # soft classes
        return Task("regression", "values", none, y.shape[1])
    scale = _decades(y[:, 0])
    if not whole:
        return Task("regression", "values", none, 1, scale)
    labels = np.unique(y)
    if len(labels) == 2 and (zero_one or bool((np.abs(y) == 1).all())):
        return Task("binary", "zero_one" if zero_one else "signs", labels, 1)
    ids = 1 < len(labels) <= MOST_CLASSES and labels[0] >= 0 and labels[-1] <= 10 * len(labels)
    if classes_wanted and ids and len(labels) <= max(2, len(y) // 2) and (outputs > 1 or len(labels) <= 100):
        return Task("classes", "ids", labels, int(labels[-1]) + 1)
    if classes_wanted and len(labels) == 2:
        return Task("binary", "values", labels, 1)
    counted = 3 <= len(labels) <= FEW_CLASSES and labels[0] in (0, 1) and labels[-1] - labels[0] == len(labels) - 1
    return Task("regression", "values", labels if counted and len(y) >= 10 * len(labels) else none, 1, scale)


def _decades(y: Array) -> float:
    """The usual size, with its sign, of targets of one sign whose largest twentieth holds nearly all of their variance.

    0 if they are not like that.
    """
    size = np.sort(np.abs(y[y != 0]))
    if len(size) < max(LEAST_FOR_DECADES, LEAST_NONZERO * len(y)) or (y.min() < 0 < y.max()):
        return 0.0
    usual, large = np.quantile(size, (0.5, 0.95))
    away = np.sort(np.square(y - y.mean()))
    held = float(away[-max(1, len(y) // 20) :].sum() / (away.sum() or 1.0))
    return float(np.copysign(usual, y.sum())) if large > DECADE * usual and held > HELD else 0.0
