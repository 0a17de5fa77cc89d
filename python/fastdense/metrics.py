"""Metrics: numbers that are reported but not optimised.

An engine adds up sums over the batches of an epoch (`Metric.state_size` of them), and `Metric.result` turns the sums
into the number, so a metric is that of all rows, not a mean over batches. With a cross-entropy, metrics see
probabilities, whether or not the loss takes logits. ``y`` is the target, ``p`` the output. Sample weights count.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from .arguments import flag, integer, number, optional_text
from .losses import Loss, PerHead
from .specs import Config, Spec, find_class, resolve

__all__ = [
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "Collected",
    "F1Score",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "Metric",
    "OfHead",
    "Precision",
    "R2Score",
    "Recall",
    "SparseCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "TopKAccuracy",
    "TopKCategoricalAccuracy",
    "get",
    "get_list",
]

Array = NDArray[np.float64]
M = TypeVar("M", bound="Metric")


class Metric(Spec, family="metric"):
    """Base of the metrics.

    Parameters
    ----------
    name : str, optional
        The key in ``History``; a metric given as a string has that very string as its name.

    Attributes
    ----------
    maximised : bool
        Whether larger values are better.
    weighted : bool
        Whether sample weights count, as they do unless it is set to False before `compile`.
    """

    _own = "For a metric of your own subclass fastdense.metrics.Collected."
    kind: ClassVar[str]
    default_name: ClassVar[str]
    maximised: bool = False
    collected: bool = False
    name: str
    weighted: bool = True

    def __init__(self, name: str | None = None) -> None:
        self.name = optional_text(f"{type(self).__name__}: name", name) or self.default_name

    def _is_default(self, name: str, value: Any) -> bool:
        return value == self.default_name if name == "name" else super()._is_default(name, value)

    def lower(self, loss: Loss, outputs: int) -> Config:
        """Return the metric in the form that engines accept.

        Parameters
        ----------
        loss : Loss
            What the model is trained with; it determines what the targets are.
        outputs : int
            Number of outputs of the model.

        Raises
        ------
        ValueError
            If the metric has no meaning for such targets and outputs.
        """
        self._need_targets(loss)
        return self._op(self.kind)

    def _need(self, fits: bool, loss: Loss, why: str, remedy: str) -> None:
        if not fits:
            raise ValueError(f"compile: metric {self.name!r} {why} (loss {loss.name!r}). Use {remedy} instead.")

    def _need_targets(self, loss: Loss) -> None:
        why = "needs one target per output, but this loss takes class numbers"
        self._need(not loss.sparse, loss, why, "'accuracy'")

    def _need_classes(self, loss: Loss) -> None:
        remedy = "loss 'binary_crossentropy' with targets 0 and 1"
        self._need(loss.targets != "signs", loss, "needs targets 0 and 1, but this loss takes -1 and 1", remedy)

    def _op(self, kind: str, *, k: int = 0, threshold: float = 0.5, multiclass: bool = False) -> Config:
        return {"kind": kind, "k": k, "threshold": threshold, "multiclass": multiclass, "weighted": self.weighted}

    def get_config(self) -> Config:
        """As for every object; a metric without sample weights says so."""
        return super().get_config() | ({} if self.weighted else {"weighted": False})

    @classmethod
    def from_config(cls: type[M], config: Mapping[str, Any]) -> M:
        """Return the metric that `get_config` described."""
        given = dict(config)
        weighted = flag(f"{cls.__name__}: weighted", given.pop("weighted", True))
        made = cls(**given)
        made.weighted = weighted
        return made

    def state_size(self, outputs: int) -> int:
        """Return how many sums the engines keep."""
        return 2

    def result(self, state: Array, outputs: int) -> float:
        """Return the number from the sums; NaN where it is not defined, as over no rows at all."""
        total, weight = (float(value) for value in np.ravel(state))
        return total / weight if weight else float("nan")


class Collected(Metric):
    """Base of metrics that see every batch themselves, in NumPy, such as those of your own.

    A subclass gives the three methods; `result` is called at the end of an epoch, or of an evaluation. While training,
    each batch is seen as it was trained on, before the step. Populations compute them for validation data.

    Parameters
    ----------
    name : str, optional
        Key in ``History``; None uses `default_name`, or the name of the class.

    Attributes
    ----------
    sees_outputs : bool
        Whether `update_state` is given the outputs as `predict` returns them. Otherwise, with a cross-entropy
        ``from_logits``, it is given probabilities.

    Examples
    --------
    >>> import fastdense as fd
    >>> import numpy as np
    >>> class LargestError(fd.metrics.Collected):
    ...     def reset_state(self):
    ...         self.largest = 0.0
    ...
    ...     def update_state(self, y_true, y_pred, sample_weight):
    ...         self.largest = max(self.largest, np.abs(y_true - y_pred).max())
    ...
    ...     def result(self):
    ...         return self.largest
    >>> model = fd.Model([fd.Dense(1)], inputs=2)
    >>> model.compile("adam", "mse", metrics=[LargestError()])
    >>> sorted(model.fit(np.eye(2), [1.0, 2.0], verbose=0).history)
    ['LargestError', 'loss']
    """

    kind, default_name = "collected", ""
    collected = True
    sees_outputs: bool = False

    def __init__(self, name: str | None = None) -> None:
        self.name = optional_text(f"{type(self).__name__}: name", name) or self.default_name or type(self).__name__

    def reset_state(self) -> None:
        """Begin an epoch or an evaluation."""

    def update_state(self, y_true: NDArray[Any], y_pred: NDArray[Any], sample_weight: Array | None) -> None:
        """Take in a batch.

        Parameters
        ----------
        y_true : ndarray of shape (rows, columns), or class ids (rows,) for a sparse loss
            In the net's type; ids are int32. All arrays may be kept.
        y_pred : ndarray of shape (rows, outputs)
        sample_weight : ndarray of shape (rows,), or None
            Sample and class weights, float64.
        """
        raise NotImplementedError(f"{type(self).__name__}: update_state is missing")

    def result(self) -> Any:  # type: ignore[override]
        """The number, or an array, of the batches since `reset_state`."""
        raise NotImplementedError(f"{type(self).__name__}: result is missing")

    def lower(self, loss: Loss, outputs: int) -> Config:
        """Return nothing that an engine needs; a subclass may raise for a loss that does not suit."""
        return self._op(self.kind)

    def state_size(self, outputs: int) -> int:
        """None of the sums of engines are its."""
        return 0

    def value_of(self, y_true: NDArray[Any], y_pred: NDArray[Any], sample_weight: Array | None) -> Any:
        """Return the result for these rows alone; what was seen before stays."""
        one = copy.deepcopy(self)
        one.reset_state()
        one.update_state(y_true, y_pred, sample_weight if self.weighted else None)
        return one.result()


class MeanSquaredError(Metric, names=("mse", "mean_squared_error")):
    """Mean of ``(y - p)**2`` over rows and outputs.

    Parameters
    ----------
    name : str, optional
        Key in ``History``; None uses the metric's own name.

    Examples
    --------
    >>> from fastdense.metrics import MeanSquaredError
    >>> MeanSquaredError().name
    'mean_squared_error'
    """

    kind, default_name = "mse", "mean_squared_error"


class MeanAbsoluteError(Metric, names=("mae", "mean_absolute_error")):
    """Mean of ``|y - p|`` over rows and outputs.

    Parameters
    ----------
    name : str, optional
        Key in ``History``; None uses the metric's own name.

    Examples
    --------
    >>> from fastdense.metrics import MeanAbsoluteError
    >>> MeanAbsoluteError().name
    'mean_absolute_error'
    """

    kind, default_name = "mae", "mean_absolute_error"


class MeanAbsolutePercentageError(Metric, names=("mape", "mean_absolute_percentage_error")):
    """Mean of ``100 |y - p| / max(|y|, 1e-7)`` over rows and outputs.

    Parameters
    ----------
    name : str, optional
        Key in ``History``; None uses the metric's own name.

    Examples
    --------
    >>> from fastdense.metrics import MeanAbsolutePercentageError
    >>> MeanAbsolutePercentageError(name="percent").name
    'percent'
    """

    kind, default_name = "mape", "mean_absolute_percentage_error"


class BinaryAccuracy(Metric, names=("binary_accuracy",)):
    """Fraction of outputs for which ``p > threshold`` agrees with the target, 0 or 1.

    Parameters
    ----------
    threshold : float, default 0.5
        Outputs above it count as positive.
    name : str, optional
        Key in ``History``; None uses the metric's own name.

    Examples
    --------
    >>> from fastdense.metrics import BinaryAccuracy
    >>> BinaryAccuracy(threshold=0.3)
    BinaryAccuracy(threshold=0.3)
    """

    kind, default_name = "binary_accuracy", "binary_accuracy"
    maximised = True

    def __init__(self, threshold: float = 0.5, name: str | None = None) -> None:
        super().__init__(name)
        self.threshold = number("BinaryAccuracy: threshold", threshold)

    def lower(self, loss: Loss, outputs: int) -> Config:
        self._need_targets(loss)
        self._need_classes(loss)
        return self._op(self.kind, threshold=self.threshold)


class CategoricalAccuracy(Metric, names=("categorical_accuracy",)):
    """Fraction of rows whose largest output is the class of the one-hot target.

    Parameters
    ----------
    name : str, optional
        Key in ``History``; None uses the metric's own name.

    Examples
    --------
    >>> from fastdense.metrics import CategoricalAccuracy
    >>> CategoricalAccuracy().name
    'categorical_accuracy'
    """

    kind, default_name = "categorical_accuracy", "categorical_accuracy"
    maximised = True

    def lower(self, loss: Loss, outputs: int) -> Config:
        self._need(outputs > 1, loss, "needs one output per class, but the model has 1", "'binary_accuracy'")
        return super().lower(loss, outputs)


class SparseCategoricalAccuracy(Metric, names=("sparse_categorical_accuracy",)):
    """Fraction of rows whose largest output is the class whose number is the target.

    Parameters
    ----------
    name : str, optional
        Key in ``History``; None uses the metric's own name.

    Examples
    --------
    >>> from fastdense.metrics import SparseCategoricalAccuracy
    >>> SparseCategoricalAccuracy().name
    'sparse_categorical_accuracy'
    """

    kind, default_name = "sparse_categorical_accuracy", "sparse_categorical_accuracy"
    maximised = True

    def lower(self, loss: Loss, outputs: int) -> Config:
        why = "needs class numbers as targets, but this loss takes one target per output"
        self._need(loss.sparse, loss, why, "'accuracy'")
        return self._op(self.kind)


class Accuracy(Metric, names=("accuracy", "acc")):
    """Fraction of correct answers, in the form that suits the model.

    `SparseCategoricalAccuracy` with a sparse loss, `BinaryAccuracy` with binary cross-entropy or a single output, and
    `CategoricalAccuracy` otherwise. (Keras goes by shapes alone, and so takes the last for binary cross-entropy with
    several outputs.)

    Parameters
    ----------
    name : str, optional
        Key in ``History``; None uses the metric's own name.

    Examples
    --------
    >>> from fastdense.metrics import Accuracy
    >>> Accuracy(name="acc").name
    'acc'
    """

    kind, default_name = "accuracy", "accuracy"
    maximised = True

    def lower(self, loss: Loss, outputs: int) -> Config:
        self._need_classes(loss)
        if loss.sparse:
            return self._op("sparse_categorical_accuracy")
        binary = outputs == 1 or loss.targets == "probabilities"
        return self._op("binary_accuracy" if binary else "categorical_accuracy")


class TopKAccuracy(Metric, names=("top_k_accuracy",)):
    """Fraction of rows whose true class is among the k highest scores; targets one-hot or class numbers.

    Of classes with equal scores each is as likely to be counted first: a row whose true class shares the last places
    with others counts the fraction of them that fits. So a net that gives every row the same scores for all of 10
    classes has k / 10, and not 1 as in Keras, for which a tie is a hit.

    Parameters
    ----------
    k : int, default 5
        Number of highest scores among which the true class must be; at least 1.
    name : str, optional
        Key in ``History``; None uses the metric's own name.

    Examples
    --------
    >>> from fastdense.metrics import TopKAccuracy
    >>> TopKAccuracy(k=3)
    TopKAccuracy(k=3)
    """

    kind, default_name = "top_k", "top_k_accuracy"
    maximised = True

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        super().__init__(name)
        self.k = integer(f"{type(self).__name__}: k", k, least=1, most=2**31 - 1)

    def lower(self, loss: Loss, outputs: int) -> Config:
        self._need(outputs > 1, loss, "needs one output per class, but the model has 1", "'binary_accuracy'")
        return self._op(self.kind, k=self.k)


class TopKCategoricalAccuracy(TopKAccuracy, names=("top_k_categorical_accuracy",)):
    """`TopKAccuracy` by Keras's name.

    Parameters
    ----------
    k : int, default 5
        Number of highest scores among which the true class must be; at least 1.
    name : str, optional
        Key in ``History``; None uses the metric's own name.

    Examples
    --------
    >>> from fastdense.metrics import TopKCategoricalAccuracy
    >>> TopKCategoricalAccuracy(k=3)
    TopKCategoricalAccuracy(k=3)
    """

    default_name = "top_k_categorical_accuracy"


class SparseTopKCategoricalAccuracy(TopKAccuracy, names=("sparse_top_k_categorical_accuracy",)):
    """`TopKAccuracy` by Keras's name for class numbers as targets.

    Parameters
    ----------
    k : int, default 5
        Number of highest scores among which the true class must be; at least 1.
    name : str, optional
        Key in ``History``; None uses the metric's own name.

    Examples
    --------
    >>> from fastdense.metrics import SparseTopKCategoricalAccuracy
    >>> SparseTopKCategoricalAccuracy(k=3)
    SparseTopKCategoricalAccuracy(k=3)
    """

    default_name = "sparse_top_k_categorical_accuracy"


class R2Score(Metric, names=("r2", "r2_score")):
    """``1 - sum (y - p)**2 / sum (y - mean y)**2``, averaged over the outputs.

    An output whose target is constant counts 1 if it is met exactly and 0 otherwise, as in scikit-learn.

    Parameters
    ----------
    name : str, optional
        Key in ``History``; None uses the metric's own name.

    Examples
    --------
    >>> from fastdense.metrics import R2Score
    >>> R2Score().name
    'r2_score'
    """

    kind, default_name = "r2", "r2_score"
    maximised = True

    def state_size(self, outputs: int) -> int:
        return 4 * outputs

    def result(self, state: Array, outputs: int) -> float:
        weight, first, second, errors = np.reshape(state, (4, outputs))
        if not weight.all():
            return float("nan")
        spread = second - first**2 / weight
        constant = spread <= 1e-13 * second  # what rounding leaves of 0
        fractions = np.where(constant, errors > 0, errors / np.where(constant, 1.0, spread))
        return float(np.mean(1.0 - fractions))


class _Counts(Metric):
    """Metrics from true positives, false positives and false negatives per output."""

    maximised = True

    def __init__(self, threshold: float = 0.5, name: str | None = None) -> None:
        super().__init__(name)
        self.threshold = number(f"{type(self).__name__}: threshold", threshold)

    def lower(self, loss: Loss, outputs: int) -> Config:
        self._need_classes(loss)
        multiclass = loss.over_classes
        return self._op(self.kind, threshold=self.threshold, multiclass=multiclass)

    def state_size(self, outputs: int) -> int:
        return 3 * outputs

    def result(self, state: Array, outputs: int) -> float:
        tp, fp, fn = np.reshape(state, (3, outputs))
        seen = tp + fp + fn > 0
        if not seen.any():
            return 0.0
        over = self._denominator(tp, fp, fn)[seen]
        return float(np.mean(np.where(over > 0, self._numerator * tp[seen] / np.where(over > 0, over, 1.0), 0.0)))

    _numerator: ClassVar[float] = 1.0

    def _denominator(self, tp: Array, fp: Array, fn: Array) -> Array:
        raise NotImplementedError


class Precision(_Counts, names=("precision",)):
    """Fraction of correct ones among the predicted positives, ``tp / (tp + fp)``; 0 if there are none.

    With several outputs, the mean over those that occur as a target or as a prediction (macro average, as in
    scikit-learn). With a categorical or sparse cross-entropy the prediction is the largest output.

    Parameters
    ----------
    threshold : float, default 0.5
        Outputs above it count as positive, where several may at a time.
    name : str, optional
        Key in ``History``; None uses the metric's own name.

    Examples
    --------
    >>> from fastdense.metrics import Precision
    >>> Precision(threshold=0.8)
    Precision(threshold=0.8)
    """

    kind, default_name = "precision", "precision"

    def _denominator(self, tp: Array, fp: Array, fn: Array) -> Array:
        return tp + fp


class Recall(_Counts, names=("recall",)):
    """Fraction of the positive rows that are predicted as positive, ``tp / (tp + fn)``; averaged as `Precision`.

    Parameters
    ----------
    threshold : float, default 0.5
        Outputs above it count as positive.
    name : str, optional
        Key in ``History``; None uses the metric's own name.

    Examples
    --------
    >>> from fastdense.metrics import Recall
    >>> Recall(threshold=0.2)
    Recall(threshold=0.2)
    """

    kind, default_name = "recall", "recall"

    def _denominator(self, tp: Array, fp: Array, fn: Array) -> Array:
        return tp + fn


class F1Score(_Counts, names=("f1", "f1_score")):
    """Harmonic mean of precision and recall, ``2 tp / (2 tp + fp + fn)``; averaged as `Precision`.

    Parameters
    ----------
    threshold : float, default 0.5
        Outputs above it count as positive.
    name : str, optional
        Key in ``History``; None uses the metric's own name.

    Examples
    --------
    >>> from fastdense.metrics import F1Score
    >>> F1Score(name="f1").name
    'f1'
    """

    kind, default_name, _numerator = "f1", "f1_score", 2.0

    def _denominator(self, tp: Array, fp: Array, fn: Array) -> Array:
        return 2.0 * tp + fp + fn


class AUC(Collected, names=("auc",)):
    """Area under the ROC curve: how often a positive row scores higher than a negative one; equal scores count half.

    Exact, by sorting the scores, with sample weights. With several outputs, the mean over those that have both positive
    and negative rows (one class against the rest); NaN if none has, or if a score is NaN.

    Until the end of the epoch or the evaluation it keeps the scores: per row 4 bytes for each output (8 of a float64
    net), and 1 byte for each output or 4 for a class number, and 8 for a sample weight. For 10 million rows and one
    output this makes 50 MB; a fit with validation data keeps those of the training rows and of the validation rows.

    Parameters
    ----------
    name : str, optional
        Key in ``History``; None uses the metric's own name.

    Examples
    --------
    >>> from fastdense.metrics import AUC
    >>> AUC().name
    'auc'
    """

    default_name = "auc"
    maximised = True

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self.reset_state()

    def __getstate__(self) -> dict[str, Any]:  # copies and files hold no scores
        return {"name": self.name, "weighted": self.weighted}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.reset_state()

    def lower(self, loss: Loss, outputs: int) -> Config:
        self._need_classes(loss)
        return super().lower(loss, outputs)

    def reset_state(self) -> None:
        self._scores: list[NDArray[Any]] = []
        self._targets: list[NDArray[Any]] = []
        self._weights: list[Array | None] = []

    def update_state(self, y_true: NDArray[Any], y_pred: NDArray[Any], sample_weight: Array | None = None) -> None:
        self._scores.append(y_pred)
        self._targets.append(y_true if y_true.ndim == 1 else y_true > 0.5)
        self._weights.append(sample_weight)

    def result(self) -> float:  # type: ignore[override]
        if not self._scores:
            return float("nan")
        scores, targets = np.concatenate(self._scores), np.concatenate(self._targets)
        given = [w for w in self._weights if w is not None]
        weights = np.concatenate(given) if given else np.ones(len(scores))
        areas = [
            area_under_roc(scores[:, c], targets == c if targets.ndim == 1 else targets[:, c], weights)
            for c in range(scores.shape[1])
        ]
        known = [area for area in areas if area is not None]
        return sum(known) / len(known) if known else float("nan")


class OfHead(Metric, names=("of_head",), listed=False):
    """A metric of one head of a net with several, or the loss of it; see `losses.PerHead`.

    Parameters
    ----------
    head : str
        Its name.
    metric : str or Metric
        "loss": its mean loss, before its weight. Metrics of your own see this head alone.
    name : str, optional
        Key in ``History``; None uses the head's and the metric's, as in "kind_accuracy".

    Examples
    --------
    >>> from fastdense.metrics import OfHead
    >>> [OfHead("kind", "accuracy").name, OfHead("kind", "loss").name]
    ['kind_accuracy', 'kind_loss']
    """

    kind = "of_head"

    def __init__(self, head: str, metric: Any, name: str | None = None) -> None:
        self.head = optional_text("OfHead: head", head) or ""
        self.metric: Any = metric if isinstance(metric, str) and metric == "loss" else get(metric, "OfHead: metric")
        own = self.metric if isinstance(self.metric, Metric) else None
        self.name = optional_text("OfHead: name", name) or f"{self.head}_{own.name if own else 'loss'}"
        self.collected, self.maximised = bool(own and own.collected), bool(own and own.maximised)
        self.columns = 0  # those of its head, known once a model is compiled

    def _is_default(self, name: str, value: Any) -> bool:
        own = self.metric.name if isinstance(self.metric, Metric) else "loss"
        return value == f"{self.head}_{own}" if name == "name" else super()._is_default(name, value)

    def lower(self, loss: Loss, outputs: int) -> Config:
        where = f"compile: metric {self.name!r}"
        if not isinstance(loss, PerHead):
            raise ValueError(f"{where} is of a head, and the loss is {loss!r}. Give losses.PerHead as loss.")
        index = loss.index(self.head, where)
        head = loss.heads[index]
        if head.loss is None:
            raise ValueError(
                f"{where} is of head {self.head!r}, which has no loss and so no targets. Leave it out, or give the "
                "head a loss (with weight=0 it trains nothing)."
            )
        own = self.metric == "loss" or self.collected or head.loss.sparse
        if not own and head.targets != head.columns:
            raise ValueError(
                f"{where} needs one target per output, and head {self.head!r} has {head.columns} outputs and "
                f"{head.targets} columns of targets. Give a subclass of metrics.Collected."
            )
        self.columns = head.columns
        made = self._op("loss") if self.metric == "loss" else self.metric.lower(head.loss, head.columns)
        return {**made, "head": index}

    def state_size(self, outputs: int) -> int:
        return 2 if self.metric == "loss" else int(self.metric.state_size(self.columns))

    def result(self, state: Array, outputs: int) -> float:
        if self.metric == "loss":
            return super().result(state, outputs)
        return float(self.metric.result(state, self.columns))


def area_under_roc(scores: NDArray[Any], positive: NDArray[np.bool_], weights: Array) -> float | None:
    """Weight of the pairs of a positive and a negative row in which the positive has the higher score, by that of all.

    Parameters
    ----------
    scores : ndarray of shape (rows,)
    positive : ndarray of bool, shape (rows,)
    weights : ndarray of shape (rows,)

    Returns
    -------
    float or None
        A pair of equal scores counts half. None without a positive or a negative row; NaN if a score is NaN.
    """
    order = np.argsort(scores)
    ranked, up, w = scores[order], positive[order], weights[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of each run of equal scores
    above, below = (np.cumsum(np.where(of, w, 0.0))[last] for of in (up, ~up))
    if not (above[-1] > 0 and below[-1] > 0):
        return None
    if np.isnan(ranked[-1]):
        return float("nan")
    ups, downs = np.diff(above, prepend=0.0), np.diff(below, prepend=0.0)
    return float((ups * (below - downs / 2.0)).sum() / (above[-1] * below[-1]))


def get(value: Any, where: str = "metrics") -> Metric:
    """Return a metric from a name (then its key in ``History``), an object, a class or a config dict."""
    if isinstance(value, str):
        return find_class(Metric, value, where)(name=value)
    return resolve(Metric, value, where)


def get_list(values: Any, where: str = "metrics") -> list[Metric]:
    """Return the metrics of ``compile``: None, one metric or a list of them.

    Raises
    ------
    ValueError
        If two have one name, or one is called "loss".
    """
    items: Sequence[Any] = [] if values is None else values if isinstance(values, (list, tuple)) else [values]
    made = [get(item, where) for item in items]
    taken = {"loss"}
    for metric in made:
        if metric.name in taken:
            raise ValueError(f"{where}: two entries of the history would be {metric.name!r}. Give another name=.")
        taken.add(metric.name)
    return made
