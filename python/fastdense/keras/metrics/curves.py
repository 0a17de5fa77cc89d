"""Area under a curve over thresholds, and the F scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...arguments import shorten
from ..formulas import as_float64, same_rank
from ..settings import EPSILON
from .base import Metric, as_value, ratio
from .confusion import CountingMetric, Thresholds

Array = NDArray[Any]


def _one_of(where: str, given: Any, known: tuple[str, ...]) -> str:
    name = str(getattr(given, "value", given))
    for one in known:
        if name in (one, one.lower(), one.upper(), one.capitalize()):
            return one
    raise ValueError(f"{where}={shorten(given)}. One of {', '.join(map(repr, known))} is needed.")


class AUC(CountingMetric):
    """Area under a curve, by its values at thresholds, 200 of them by default.

    The thresholds lie from 0 to 1, so the area is rough where most predictions are close together, as those of rare
    positives are; `fastdense.metrics.AUC` is exact.

    Parameters
    ----------
    num_thresholds : int
    curve : {"ROC", "PR", "PRGAIN"}
        True over false positive rate, precision over recall, or the gains of both.
    summation_method : {"interpolation", "minoring", "majoring"}
        Trapezoids, or the smaller or the larger of the heights; for "PR", "interpolation" is that of Davis & Goadrich.
    name : str, optional
    dtype : str, optional
    thresholds : list of float, optional
        Instead of `num_thresholds`, besides 0 and 1.
    multi_label : bool
        Whether each output has an area of its own, of which the mean is taken; else all count together.
    num_labels : int, optional
        Number of outputs, if `multi_label`.
    label_weights : list of float, optional
        One weight for each output.
    from_logits : bool
        Whether predictions are logits rather than probabilities.

    Examples
    --------
    >>> from fastdense.keras.metrics import AUC
    >>> float(AUC(num_thresholds=3)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9]))
    0.75
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: Any = "ROC",
        summation_method: Any = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Any = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Any = None,
        from_logits: bool = False,
    ) -> None:
        self.curve = _one_of("AUC: curve", curve, ("ROC", "PR", "PRGAIN"))
        self.summation_method = _one_of(
            "AUC: summation_method", summation_method, ("interpolation", "majoring", "minoring")
        )
        if thresholds is None and num_thresholds <= 1:
            raise ValueError(f"AUC: num_thresholds={num_thresholds}. A number above 1 is needed.")
        if num_labels and not multi_label:
            raise ValueError(f"AUC: num_labels={num_labels} without multi_label=True. Leave it out, or give both.")
        if thresholds is None:
            inner, even = [i / (num_thresholds - 1) for i in range(1, num_thresholds - 1)], True
        else:
            inner = sorted(float(value) for value in thresholds)
            even = Thresholds([0.0, *inner, 1.0]).even
        super().__init__(Thresholds([-EPSILON, *inner, 1.0 + EPSILON], even), name, dtype)
        self.num_thresholds, self.thresholds = len(self._over), self._over.values
        self.multi_label, self.num_labels, self.from_logits = multi_label, num_labels, from_logits
        self.label_weights = None if label_weights is None else as_float64(label_weights).tolist()
        self._given = thresholds
        self._options.update(by_output=multi_label, label_weights=None if multi_label else label_weights)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal metric."""
        return {**super().get_config(), "thresholds": self._given}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take account of a batch; see `CountingMetric`."""
        p = as_float64(y_pred)
        p = 0.5 * (1.0 + np.tanh(0.5 * p)) if self.from_logits else p
        if self.multi_label and (p.ndim != 2 or (self.num_labels or p.shape[1]) != p.shape[1]):
            raise ValueError(
                f"AUC: y_pred has shape {p.shape} with multi_label=True and num_labels={self.num_labels}. "
                f"(rows, {self.num_labels or 'outputs'}) is needed."
            )
        super().update_state(y_true, p, sample_weight)

    def result(self) -> Any:
        tp, fp, tn, fn = self.counts
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self._over_labels(_interpolated_precision(tp, fp, fn))
        recall = ratio(tp, tp + fn)
        if self.curve == "ROC":
            x, y = ratio(fp, fp + tn), recall
        elif self.curve == "PR":
            x, y = recall, ratio(tp, tp + fp)
        else:
            odds = ratio(tp + fn, tn + fp)
            x = np.maximum(np.where(tp == 0, 0.0, 1.0 - odds * ratio(fn, tp)), 0.0)
            y = np.where(tp == 0, 1.0, 1.0 - odds * ratio(fp, tp))
        pair = y[:-1], y[1:]
        heights = {"interpolation": sum(pair) / 2.0, "minoring": np.minimum(*pair), "majoring": np.maximum(*pair)}
        return self._over_labels((x[:-1] - x[1:]) * heights[self.summation_method])

    def _over_labels(self, parts: Array) -> Any:
        areas = parts.sum(axis=0)
        if not self.multi_label or self.label_weights is None:
            return as_value(areas.mean())
        return as_value(ratio((areas * self.label_weights).sum(), np.sum(self.label_weights)))


def _interpolated_precision(tp: Array, fp: Array, fn: Array) -> Array:
    """Areas under precision over recall between thresholds; counts are linear there (Davis & Goadrich, 2006)."""
    positive = tp + fp
    gained, counted = tp[:-1] - tp[1:], positive[:-1] - positive[1:]
    slope = ratio(gained, np.maximum(counted, 0.0))
    start = tp[1:] - slope * positive[1:]
    grows = (positive[:-1] > 0) & (positive[1:] > 0)
    growth = np.where(grows, ratio(positive[:-1], positive[1:]), 1.0)
    return ratio(slope * (gained + start * np.log(growth)), np.maximum(tp[1:] + fn[1:], 0.0))


class FBetaScore(Metric):
    """Weighted harmonic mean of precision and recall, ``(1 + beta**2) p r / (beta**2 p + r)``, for each output.

    Parameters
    ----------
    average : {None, "micro", "macro", "weighted"}
        None gives an array, one number for each output; "micro" counts all outputs together, "macro" takes their mean,
        "weighted" weights it by the number of positives.
    beta : float
        Above 1, recall counts more.
    threshold : float, optional
        Predictions above it are positive; by default the largest of each row.
    name : str
    dtype : str, optional

    Examples
    --------
    >>> import numpy as np
    >>> from fastdense.keras.metrics import FBetaScore
    >>> y, p = [[1, 1, 1], [1, 0, 0], [1, 1, 0]], [[0.2, 0.6, 0.7], [0.2, 0.6, 0.6], [0.6, 0.8, 0.0]]
    >>> FBetaScore(beta=2.0, threshold=0.5)(y, p).numpy().round(4).tolist()
    [0.3846, 0.9091, 0.8333]
    """

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        cls = type(self).__name__
        if average not in (None, "micro", "macro", "weighted"):
            raise ValueError(f"{cls}: average={average!r}. One of None, 'micro', 'macro' and 'weighted' is needed.")
        if not isinstance(beta, float) or beta <= 0:
            raise ValueError(f"{cls}: beta={beta!r}. A float above 0 is needed.")
        if threshold is not None and (not isinstance(threshold, float) or not 0 < threshold <= 1):
            raise ValueError(f"{cls}: threshold={threshold!r}. A float above 0 and up to 1 is needed.")
        self.average, self.beta, self.threshold = average, beta, threshold
        self._sums = np.zeros((4, 0))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take account of a batch: (rows, outputs), and one weight for each row."""
        y, p = same_rank(as_float64(y_true), as_float64(y_pred))
        if y.shape != p.shape or y.ndim != 2:
            raise ValueError(
                f"{type(self).__name__}: y_true has shape {y.shape} and y_pred {p.shape}. Both need (rows, outputs): "
                "class numbers as one-hot rows, keras.utils.to_categorical(y)."
            )
        if self.threshold is None:
            chosen = (p >= p.max(axis=-1, keepdims=True)) & (np.abs(p) > 1e-9)
        else:
            chosen = p > self.threshold
        w = np.ones(len(y)) if sample_weight is None else as_float64(sample_weight).reshape(len(y))
        found = chosen.astype(np.float64)
        added = np.stack([w @ (found * y), w @ (found * (1.0 - y)), w @ ((1.0 - found) * y), w @ y])
        added = added.sum(axis=1, keepdims=True) if self.average == "micro" else added
        self._sums = self._sums + added if self._sums.size else added

    def reset_state(self) -> None:
        """Forget all batches."""
        self._sums = np.zeros((4, 0))

    def result(self) -> Any:
        tp, fp, fn, weight = self._sums
        precision, recall = tp / (tp + fp + EPSILON), tp / (tp + fn + EPSILON)
        square = self.beta**2
        scores = (1.0 + square) * precision * recall / (square * precision + recall + EPSILON)
        if self.average == "weighted":
            scores = (scores * (weight / (weight.sum() + EPSILON))).sum()
        elif self.average is not None:
            scores = scores.mean() if scores.size else np.zeros(())
        return as_value(scores)


class F1Score(FBetaScore):
    """Harmonic mean of precision and recall, ``2 p r / (p + r)``, for each output.

    `fastdense.metrics.F1Score` is another: the mean over the classes that occur.

    Parameters
    ----------
    average : {None, "micro", "macro", "weighted"}
        None gives an array, one number for each output; "micro" counts all outputs together, "macro" takes their mean,
        "weighted" weights it by the number of positives.
    threshold : float, optional
        Predictions above it are positive; by default the largest of each row.
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import F1Score
    >>> y, p = [[1, 1, 1], [1, 0, 0], [1, 1, 0]], [[0.2, 0.6, 0.7], [0.2, 0.6, 0.6], [0.6, 0.8, 0.0]]
    >>> F1Score(threshold=0.5)(y, p).numpy().round(4).tolist()
    [0.5, 0.8, 0.6667]
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average=average, beta=1.0, threshold=threshold, name=name, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal metric."""
        return {name: value for name, value in super().get_config().items() if name != "beta"}
