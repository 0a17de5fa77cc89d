"""Metrics of true and false positives and negatives, over thresholds. All outputs count together, as in Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...arguments import shorten
from ..formulas import as_float64, same_rank
from .base import Metric, as_value, ratio

Array = NDArray[Any]
_LOWEST = -1e10  # in the place of what is not among the k largest predictions


class Thresholds:
    """Values above which a prediction counts as positive.

    Parameters
    ----------
    values : sequence of float
        In any order.
    even : bool
        Whether they are 0, 1/n, ..., 1, perhaps with the ends moved out; predictions are then clipped to 0 .. 1, and
        compared by the number of the interval that they fall into.
    """

    def __init__(self, values: Sequence[float], even: bool | None = None) -> None:
        self.values = [float(value) for value in values]
        count = len(self.values)
        if even is None:
            spread = np.arange(count) / max(1, count - 1)
            even = count >= 3 and bool(np.allclose(self.values, spread, atol=1e-7))
        self.even, self._order = even, np.argsort(self.values, kind="stable")
        self._sorted = np.array(self.values)[self._order]

    def __len__(self) -> int:
        return len(self.values)

    def exceeded(self, p: Array) -> NDArray[np.int64]:
        """How many of the thresholds, in rising order, each prediction is above."""
        if self.even:
            ends = self._sorted[0] < 0.0 or self._sorted[-1] > 1.0
            place = np.ceil(np.clip(np.nan_to_num(p, nan=-1.0), 0.0, 1.0) * (len(self) - 1))
            above = np.maximum(place, 1.0) if ends else place
        else:
            above = np.searchsorted(self._sorted, p, side="left")
        return np.where(np.isnan(p), 0, above).astype(np.int64)

    def sums(self, p: Array, w: Array) -> Array:
        """Sums of the weights of the predictions above each threshold, column by column: (thresholds, columns)."""
        count, columns = len(self), p.shape[1]
        place = self.exceeded(p) * columns + np.arange(columns)
        found = np.bincount(place.ravel(), w.ravel(), (count + 1) * columns).reshape(count + 1, columns)
        above = np.cumsum(found[:0:-1], axis=0)[::-1]
        made = np.empty_like(above)
        made[self._order] = above
        return made


class Counts(NamedTuple):
    """Weights of true positives, false positives, true negatives and false negatives: (thresholds, columns) each."""

    tp: Array
    fp: Array
    tn: Array
    fn: Array


def count(
    thresholds: Thresholds,
    y_true: Any,
    y_pred: Any,
    sample_weight: Any = None,
    *,
    top_k: int | None = None,
    class_id: int | None = None,
    label_weights: Any = None,
    by_output: bool = False,
    where: str = "metric",
) -> Counts:
    """Count a batch.

    Parameters
    ----------
    thresholds : Thresholds
    y_true, y_pred : array
        Of one shape, but for a last axis of length 1.
    sample_weight : array, optional
        One weight for each row, or for each number.
    top_k : int, optional
        Only so many of the largest predictions of a row can be positive.
    class_id : int, optional
        Only this output counts.
    label_weights : array, optional
        One weight for each output.
    by_output : bool
        Whether the outputs have columns of their own in the counts; else there is one column.
    where : str
        The metric, for messages.
    """
    p, y = same_rank(as_float64(y_pred), as_float64(y_true))
    if p.shape != y.shape:
        raise ValueError(
            f"{where}: y_true has shape {y.shape} and y_pred {p.shape}. One target, 0 or 1, for each output is needed: "
            "class numbers as one-hot rows, keras.utils.to_categorical(y)."
        )
    w = np.ones(()) if sample_weight is None else as_float64(sample_weight)
    w = w if w.ndim in (0, y.ndim) else w.reshape(w.shape + (1,) * (y.ndim - w.ndim)) if w.ndim < y.ndim else w[..., 0]
    w = np.broadcast_to(w, p.shape)
    if top_k is not None:
        best = np.argsort(-p, axis=-1, kind="stable")[..., :top_k]
        kept = np.zeros(p.shape, dtype=bool)
        np.put_along_axis(kept, best, True, axis=-1)
        p = np.where(kept, p, _LOWEST)
    if class_id is not None:
        if p.ndim < 2 or not 0 <= class_id < p.shape[-1]:
            raise ValueError(
                f"{where}: class_id={class_id}, and y_pred has shape {p.shape}. "
                "The number of an output, from 0, of predictions of shape (rows, outputs) is needed."
            )
        p, y, w = (values[..., class_id, None] for values in (p, y, w))
    if label_weights is not None:
        w = w * as_float64(label_weights)
    p, y, w = (v.reshape(-1, v.shape[-1]) if by_output else v.reshape(-1, 1) for v in (p, y, w))
    positive = np.where(y != 0, w, 0.0)
    negative = np.where(y != 0, 0.0, w)
    tp, fp = thresholds.sums(p, positive), thresholds.sums(p, negative)
    return Counts(tp, fp, negative.sum(axis=0) - fp, positive.sum(axis=0) - tp)


def checked_thresholds(where: str, given: Any, default: float) -> list[float]:
    """Return one threshold or several as a list."""
    values = list(given) if isinstance(given, (list, tuple, np.ndarray)) else [default if given is None else given]
    if given is not None and not all(isinstance(v, (int, float, np.number)) and 0 <= v <= 1 for v in values):
        raise ValueError(f"{where}: thresholds={shorten(given)}. Numbers from 0 to 1 are needed.")
    return [float(value) for value in values]


class CountingMetric(Metric):
    """Base of the metrics that add up `Counts`.

    Parameters
    ----------
    thresholds : Thresholds
    name : str or None
    dtype : str or None
    """

    def __init__(self, thresholds: Thresholds, name: str | None, dtype: Any) -> None:
        super().__init__(dtype, name)
        self._over = thresholds
        self._counts: Counts | None = None
        self._options: dict[str, Any] = {"where": type(self).__name__}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take account of a batch.

        Parameters
        ----------
        y_true : array
            0 or 1 for each prediction.
        y_pred : array
        sample_weight : array, optional
            One weight for each row, or for each number.
        """
        added = count(self._over, y_true, y_pred, sample_weight, **self._options)
        self._counts = (
            added if self._counts is None else Counts(*(a + b for a, b in zip(self._counts, added, strict=True)))
        )

    def reset_state(self) -> None:
        """Forget all batches."""
        self._counts = None

    @property
    def counts(self) -> Counts:
        """What has been added up: (thresholds,), or (thresholds, outputs) if outputs are counted apart."""
        made = self._counts or Counts(*np.zeros((4, len(self._over), 1)))
        return made if self._options.get("by_output") else Counts(*(one[:, 0] for one in made))

    def _one_or_all(self, values: Array) -> Any:
        return as_value(values[0] if len(self._over) == 1 else values)


class _Count(CountingMetric):
    _kind = "tp"

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(Thresholds(checked_thresholds(type(self).__name__, thresholds, 0.5)), name, dtype)
        self.thresholds = self._over.values

    def result(self) -> Any:
        return self._one_or_all(getattr(self.counts, self._kind))


class TruePositives(_Count):
    """Number, or weight, of the predictions above the threshold whose target is 1.

    Parameters
    ----------
    thresholds : float or list of float, optional
        0.5 unless given; of several the result is an array.
    name : str, optional
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import TruePositives
    >>> float(TruePositives()([0, 1, 1, 1], [1, 0, 1, 1]))
    2.0
    """


class TrueNegatives(_Count):
    """Number, or weight, of the predictions not above the threshold whose target is 0.

    Parameters
    ----------
    thresholds : float or list of float, optional
        0.5 unless given; of several the result is an array.
    name : str, optional
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import TrueNegatives
    >>> float(TrueNegatives()([0, 1, 0, 0], [1, 1, 0, 0]))
    2.0
    """

    _kind = "tn"


class FalsePositives(_Count):
    """Number, or weight, of the predictions above the threshold whose target is 0.

    Parameters
    ----------
    thresholds : float or list of float, optional
        0.5 unless given; of several the result is an array.
    name : str, optional
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import FalsePositives
    >>> float(FalsePositives()([0, 1, 0, 0], [0, 0, 1, 1]))
    2.0
    """

    _kind = "fp"


class FalseNegatives(_Count):
    """Number, or weight, of the predictions not above the threshold whose target is 1.

    Parameters
    ----------
    thresholds : float or list of float, optional
        0.5 unless given; of several the result is an array.
    name : str, optional
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import FalseNegatives
    >>> float(FalseNegatives()([0, 1, 1, 1], [0, 1, 0, 0]))
    2.0
    """

    _kind = "fn"


class _Rate(CountingMetric):
    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        default = 0.5 if top_k is None else _LOWEST
        super().__init__(Thresholds(checked_thresholds(type(self).__name__, thresholds, default)), name, dtype)
        self.thresholds, self.top_k, self.class_id = self._over.values, top_k, class_id
        self._given = thresholds
        self._options.update(top_k=top_k, class_id=class_id)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal metric."""
        return {**super().get_config(), "thresholds": self._given}


class Precision(_Rate):
    """Fraction of correct ones among the predictions that are positive, over all outputs together; 0 without any.

    `fastdense.metrics.Precision` is another: the mean over the classes, each of which has its own.

    Parameters
    ----------
    thresholds : float or list of float, optional
        Predictions above it count as positive, 0.5 unless given; of several the result is an array.
    top_k : int, optional
        Only so many of the largest predictions of a row can be positive, by themselves without a threshold.
    class_id : int, optional
        Only this output counts.
    name : str, optional
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import Precision
    >>> round(float(Precision()([0, 1, 1, 1], [1, 0, 1, 1])), 4)
    0.6667
    """

    def result(self) -> Any:
        tp, fp, _, _ = self.counts
        return self._one_or_all(ratio(tp, tp + fp))


class Recall(_Rate):
    """Fraction of the positive targets whose predictions are positive, over all outputs together; 0 without any.

    `fastdense.metrics.Recall` is another: the mean over the classes, each of which has its own.

    Parameters
    ----------
    thresholds : float or list of float, optional
        Predictions above it count as positive, 0.5 unless given; of several the result is an array.
    top_k : int, optional
        Only so many of the largest predictions of a row can be positive, by themselves without a threshold.
    class_id : int, optional
        Only this output counts.
    name : str, optional
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import Recall
    >>> round(float(Recall()([0, 1, 1, 1], [1, 0, 1, 1])), 4)
    0.6667
    """

    def result(self) -> Any:
        tp, _, _, fn = self.counts
        return self._one_or_all(ratio(tp, tp + fn))


class _Tradeoff(CountingMetric):
    """The best of one rate over the thresholds at which another is large enough; 0 without any."""

    _needed, _sought = "", ""

    def __init__(self, value: float, num_thresholds: int, class_id: int | None, name: str | None, dtype: Any) -> None:
        cls = type(self).__name__
        if not 0 <= value <= 1:
            raise ValueError(f"{cls}: {self._needed}={value}. A number from 0 to 1 is needed.")
        if num_thresholds <= 0:
            raise ValueError(f"{cls}: num_thresholds={num_thresholds}. A number above 0 is needed.")
        many = num_thresholds > 1
        values = [i / (num_thresholds - 1) for i in range(num_thresholds)] if many else [0.5]
        super().__init__(Thresholds(values, even=many), name, dtype)
        self.num_thresholds, self.class_id, self.thresholds = num_thresholds, class_id, self._over.values
        self._value = value
        self._options["class_id"] = class_id

    def result(self) -> Any:
        tp, fp, tn, fn = self.counts
        rates = {
            "sensitivity": ratio(tp, tp + fn),
            "specificity": ratio(tn, tn + fp),
            "recall": ratio(tp, tp + fn),
            "precision": ratio(tp, tp + fp),
        }
        return as_value(np.where(rates[self._needed] >= self._value, rates[self._sought], 0.0).max(initial=0.0))


class SensitivityAtSpecificity(_Tradeoff):
    """The best sensitivity, ``tp / (tp + fn)``, over the thresholds with at least this specificity, ``tn / (tn + fp)``.

    Parameters
    ----------
    specificity : float
    num_thresholds : int
    class_id : int, optional
        Only this output counts.
    name : str, optional
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import SensitivityAtSpecificity
    >>> float(SensitivityAtSpecificity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8]))
    0.5
    """

    _needed, _sought = "specificity", "sensitivity"

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.specificity = specificity
        super().__init__(specificity, num_thresholds, class_id, name, dtype)


class SpecificityAtSensitivity(_Tradeoff):
    """The best specificity, ``tn / (tn + fp)``, over the thresholds with at least this sensitivity, ``tp / (tp + fn)``.

    Parameters
    ----------
    sensitivity : float
    num_thresholds : int
    class_id : int, optional
        Only this output counts.
    name : str, optional
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import SpecificityAtSensitivity
    >>> round(float(SpecificityAtSensitivity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])), 4)
    0.6667
    """

    _needed, _sought = "sensitivity", "specificity"

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.sensitivity = sensitivity
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)


class PrecisionAtRecall(_Tradeoff):
    """The best precision over the thresholds with at least this recall.

    Parameters
    ----------
    recall : float
    num_thresholds : int
    class_id : int, optional
        Only this output counts.
    name : str, optional
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import PrecisionAtRecall
    >>> float(PrecisionAtRecall(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8]))
    0.5
    """

    _needed, _sought = "recall", "precision"

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.recall = recall
        super().__init__(recall, num_thresholds, class_id, name, dtype)


class RecallAtPrecision(_Tradeoff):
    """The best recall over the thresholds with at least this precision.

    Parameters
    ----------
    precision : float
    num_thresholds : int
    class_id : int, optional
        Only this output counts.
    name : str, optional
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import RecallAtPrecision
    >>> float(RecallAtPrecision(0.8)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9]))
    0.5
    """

    _needed, _sought = "precision", "recall"

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.precision = precision
        super().__init__(precision, num_thresholds, class_id, name, dtype)
