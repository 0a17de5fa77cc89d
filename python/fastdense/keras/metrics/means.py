"""Metrics that are means of a loss's formula, or of a regression's errors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import formulas
from ..formulas import as_float64, same_rank
from .base import Mean, MeanMetricWrapper, Metric, as_value

Array = NDArray[Any]


class MeanSquaredError(MeanMetricWrapper):
    """Mean of the squared differences.

    Parameters
    ----------
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import MeanSquaredError
    >>> float(MeanSquaredError()([[0, 1], [0, 0]], [[1, 1], [0, 0]]))
    0.25
    """

    def __init__(self, name: str | None = "mean_squared_error", dtype: Any = None) -> None:
        super().__init__(formulas.mean_squared_error, name, dtype)


class RootMeanSquaredError(Mean):
    """Root of the mean of the squared differences.

    Parameters
    ----------
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import RootMeanSquaredError
    >>> float(RootMeanSquaredError()([[0, 1], [0, 0]], [[1, 1], [0, 0]]))
    0.5
    """

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def update_state(  # type: ignore[override]  # of Mean, as in Keras
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Take account of a batch."""
        y, p = same_rank(as_float64(y_true), as_float64(y_pred))
        super().update_state(np.square(p - y), sample_weight)

    def result(self) -> Any:
        return as_value(np.sqrt(super().result()))


class MeanAbsoluteError(MeanMetricWrapper):
    """Mean of the absolute differences.

    Parameters
    ----------
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import MeanAbsoluteError
    >>> float(MeanAbsoluteError()([[0, 1], [0, 0]], [[1, 1], [0, 0]]))
    0.25
    """

    def __init__(self, name: str | None = "mean_absolute_error", dtype: Any = None) -> None:
        super().__init__(formulas.mean_absolute_error, name, dtype)


class MeanAbsolutePercentageError(MeanMetricWrapper):
    """Mean of the absolute differences in per cent of the target.

    Parameters
    ----------
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import MeanAbsolutePercentageError
    >>> float(MeanAbsolutePercentageError()([[1.0, 2.0]], [[1.5, 2.0]]))
    25.0
    """

    def __init__(self, name: str | None = "mean_absolute_percentage_error", dtype: Any = None) -> None:
        super().__init__(formulas.mean_absolute_percentage_error, name, dtype)


class MeanSquaredLogarithmicError(MeanMetricWrapper):
    """Mean of the squared differences of the logarithms of 1 + target and 1 + prediction.

    Parameters
    ----------
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import MeanSquaredLogarithmicError
    >>> round(float(MeanSquaredLogarithmicError()([[0, 1], [0, 0]], [[1, 1], [0, 0]])), 6)
    0.120113
    """

    def __init__(self, name: str | None = "mean_squared_logarithmic_error", dtype: Any = None) -> None:
        super().__init__(formulas.mean_squared_logarithmic_error, name, dtype)


class LogCoshError(MeanMetricWrapper):
    """Mean of the logarithm of the hyperbolic cosine of the differences.

    Parameters
    ----------
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import LogCoshError
    >>> round(float(LogCoshError()([[0, 1], [0, 0]], [[1, 1], [0, 0]])), 6)
    0.108445
    """

    def __init__(self, name: str | None = "logcosh", dtype: Any = None) -> None:
        super().__init__(formulas.log_cosh, name, dtype)


class CosineSimilarity(MeanMetricWrapper):
    """Mean of the cosine of the angle between target and prediction.

    Parameters
    ----------
    name : str
    dtype : str, optional
    axis : int

    Examples
    --------
    >>> from fastdense.keras.metrics import CosineSimilarity
    >>> round(float(CosineSimilarity()([[0.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]])), 6)
    0.5
    """

    def __init__(self, name: str | None = "cosine_similarity", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(formulas.cosine, name, dtype, axis=axis)
        self.axis = axis


class R2Score(Metric):
    """``1 - sum (y - p)**2 / sum (y - mean y)**2`` of each output.

    Parameters
    ----------
    class_aggregation : {"uniform_average", "variance_weighted_average", None}
        How the outputs become one number; None keeps one for each.
    num_regressors : int
        Number of inputs for the adjusted score; 0 for the plain one.
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import R2Score
    >>> round(float(R2Score()([[1.0], [4.0], [3.0]], [[2.0], [4.0], [4.0]])), 6)
    0.571429
    """

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        known = (None, "uniform_average", "variance_weighted_average")
        if class_aggregation not in known:
            raise ValueError(f"R2Score: class_aggregation={class_aggregation!r}. One of {known} is needed.")
        if num_regressors < 0:
            raise ValueError(f"R2Score: num_regressors={num_regressors}. A number of at least 0 is needed.")
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors
        self._numbers, self._sums = 0, np.zeros((4, 0))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take account of a batch: (rows, outputs), and one weight for each row or number."""
        y, p = same_rank(as_float64(y_true), as_float64(y_pred))
        if y.shape != p.shape or y.ndim != 2:
            raise ValueError(f"R2Score: y_true has shape {y.shape} and y_pred {p.shape}. Both need (rows, outputs).")
        w = as_float64(1.0 if sample_weight is None else sample_weight)
        w = np.broadcast_to(w[:, None] if w.ndim == 1 else w, y.shape)
        added = np.stack([w.sum(axis=0), (w * y).sum(axis=0), (w * y * y).sum(axis=0), (w * (y - p) ** 2).sum(axis=0)])
        self._sums = self._sums + added if self._sums.size else added
        self._numbers += y.size

    def reset_state(self) -> None:
        """Forget all batches."""
        self._numbers, self._sums = 0, np.zeros((4, 0))

    def result(self) -> Any:
        weight, first, second, errors = self._sums
        with np.errstate(divide="ignore", invalid="ignore"):
            total = second - first * (first / weight)
            scores = 1.0 - errors / total
            scores = np.where(np.isinf(scores), 0.0, scores)
            if self.class_aggregation == "uniform_average":
                scores = scores.mean() if scores.size else np.float64("nan")
            elif self.class_aggregation == "variance_weighted_average":
                scores = (total * scores).sum() / total.sum()
        free = self._numbers - self.num_regressors - 1
        if self.num_regressors and free <= 0:
            warnings.warn(
                f"R2Score: num_regressors={self.num_regressors} and {self._numbers} numbers: it is not adjusted.",
                stacklevel=2,
            )
        elif self.num_regressors:
            scores = 1.0 - (1.0 - scores) * (self._numbers - 1.0) / free
        return as_value(scores)


class BinaryCrossentropy(MeanMetricWrapper):
    """Cross-entropy of targets 0 and 1.

    Parameters
    ----------
    name : str
    dtype : str, optional
    from_logits : bool
        Whether predictions are logits rather than probabilities.
    label_smoothing : float

    Examples
    --------
    >>> from fastdense.keras.metrics import BinaryCrossentropy
    >>> round(float(BinaryCrossentropy()([[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]])), 6)
    0.814924
    """

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ) -> None:
        super().__init__(
            formulas.binary_crossentropy, name, dtype, from_logits=from_logits, label_smoothing=label_smoothing
        )
        self.from_logits, self.label_smoothing = from_logits, label_smoothing


class CategoricalCrossentropy(MeanMetricWrapper):
    """Cross-entropy of one-hot targets.

    Parameters
    ----------
    name : str
    dtype : str, optional
    from_logits : bool
        Whether predictions are logits rather than probabilities.
    label_smoothing : float
    axis : int

    Examples
    --------
    >>> from fastdense.keras.metrics import CategoricalCrossentropy
    >>> round(float(CategoricalCrossentropy()([[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]])), 6)
    1.176939
    """

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ) -> None:
        options = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(formulas.categorical_crossentropy, name, dtype, **options)
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis


class SparseCategoricalCrossentropy(MeanMetricWrapper):
    """Cross-entropy of class numbers.

    Parameters
    ----------
    name : str
    dtype : str, optional
    from_logits : bool
        Whether predictions are logits rather than probabilities.
    ignore_class : int, optional
        Rows of this class do not count.
    axis : int

    Examples
    --------
    >>> from fastdense.keras.metrics import SparseCategoricalCrossentropy
    >>> round(float(SparseCategoricalCrossentropy()([1, 2], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]])), 6)
    1.176939
    """

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        options: dict[str, Any] = {"from_logits": from_logits, "ignore_class": ignore_class, "axis": axis}
        super().__init__(formulas.sparse_categorical_crossentropy, name, dtype, **options)
        self.from_logits, self.ignore_class, self.axis = from_logits, ignore_class, axis


class KLDivergence(MeanMetricWrapper):
    """Kullback-Leibler divergence, the sum of ``y log(y / p)``.

    Parameters
    ----------
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import KLDivergence
    >>> round(float(KLDivergence()([[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]])), 6)
    0.458143
    """

    def __init__(self, name: str | None = "kl_divergence", dtype: Any = None) -> None:
        super().__init__(formulas.kl_divergence, name, dtype)


class Poisson(MeanMetricWrapper):
    """Mean of ``p - y log(p)``.

    Parameters
    ----------
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import Poisson
    >>> round(float(Poisson()([[0, 1], [0, 0]], [[1, 1], [0, 0]])), 6)
    0.5
    """

    def __init__(self, name: str | None = "poisson", dtype: Any = None) -> None:
        super().__init__(formulas.poisson, name, dtype)


class Hinge(MeanMetricWrapper):
    """Mean of ``max(1 - y p, 0)``; targets 0 and 1 count as -1 and 1.

    Parameters
    ----------
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import Hinge
    >>> round(float(Hinge()([[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]])), 6)
    1.3
    """

    def __init__(self, name: str | None = "hinge", dtype: Any = None) -> None:
        super().__init__(formulas.hinge, name, dtype)


class SquaredHinge(MeanMetricWrapper):
    """Mean of ``max(1 - y p, 0)**2``; targets 0 and 1 count as -1 and 1.

    Parameters
    ----------
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import SquaredHinge
    >>> round(float(SquaredHinge()([[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]])), 6)
    1.86
    """

    def __init__(self, name: str | None = "squared_hinge", dtype: Any = None) -> None:
        super().__init__(formulas.squared_hinge, name, dtype)


class CategoricalHinge(MeanMetricWrapper):
    """Mean of ``max(largest wrong p - right p + 1, 0)``.

    Parameters
    ----------
    name : str
    dtype : str, optional

    Examples
    --------
    >>> from fastdense.keras.metrics import CategoricalHinge
    >>> round(float(CategoricalHinge()([[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]])), 6)
    1.4
    """

    def __init__(self, name: str | None = "categorical_hinge", dtype: Any = None) -> None:
        super().__init__(formulas.categorical_hinge, name, dtype)


class PearsonCorrelation(MeanMetricWrapper):
    """Mean over the rows of the correlation of target and prediction.

    Parameters
    ----------
    name : str
    dtype : str, optional
    axis : int or tuple of int

    Examples
    --------
    >>> from fastdense.keras.metrics import PearsonCorrelation
    >>> round(float(PearsonCorrelation()([[0, 1, 0.5], [1, 1, 0.2]], [[0.1, 0.9, 0.5], [1, 0.9, 0.2]])), 6)
    0.9967
    """

    def __init__(self, name: str | None = "pearson_correlation", dtype: Any = None, axis: Any = -1) -> None:
        super().__init__(formulas.pearson_correlation, name, dtype, axis=axis)
        self.axis = axis


class ConcordanceCorrelation(MeanMetricWrapper):
    """Mean over the rows of the concordance of target and prediction: 1 only where they are equal.

    Parameters
    ----------
    name : str
    dtype : str, optional
    axis : int or tuple of int

    Examples
    --------
    >>> from fastdense.keras.metrics import ConcordanceCorrelation
    >>> round(float(ConcordanceCorrelation()([[0, 1, 0.5], [1, 1, 0.2]], [[0.1, 0.9, 0.5], [1, 0.9, 0.2]])), 6)
    0.981632
    """

    def __init__(self, name: str | None = "concordance_correlation", dtype: Any = None, axis: Any = -1) -> None:
        super().__init__(formulas.concordance_correlation, name, dtype, axis=axis)
        self.axis = axis
