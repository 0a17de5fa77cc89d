"""Greedy selection of the members of an ensemble, by a loss or a metric on validation data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import losses, metrics
from ..arguments import quoted, shorten
from ..arrays import Array, fail
from ..losses import Loss
from ..metrics import Collected, Metric
from ..reference.losses import CLASSES, EPSILON, one_hot, row_losses
from ..reference.metrics import ROW_MEANS, state, true_classes
from ..specs import Config

ROUNDING = 1e-12  # relative, of a sum over rows in float64, which is about 1e-16 times the square root of their number
BLOCK = 1 << 16  # numbers that are scored at a time, so that all intermediate results stay in a second-level cache


@dataclass(frozen=True)
class Measure:
    """A loss or a metric of predictions: probabilities where the models' loss is a cross-entropy.

    Attributes
    ----------
    sign : float
        -1 for a metric that is to be as large as possible, else 1.
    metric : Metric or None
        None for a loss.
    config : dict
        The loss or the metric in the form that engines accept.
    outputs : int
        Columns of the predictions.
    """

    sign: float
    metric: Metric | None
    config: Config
    outputs: int

    @classmethod
    def of(cls, where: str, given: Any, loss: Loss, outputs: int) -> Measure:
        """The measure that a user named, for models with this loss; None is that loss, without label smoothing.

        Raises
        ------
        ValueError, TypeError
            If there is none of this name, or it has no meaning for such targets and outputs.
        """
        found = loss if given is None else _loss_or_metric(where, given)
        if isinstance(found, Metric):
            try:
                config = found.lower(loss, outputs)
            except ValueError as error:
                raise ValueError(f"{where}: {str(error).removeprefix('compile: ')}") from None
            return cls(-1.0 if found.maximised else 1.0, found, config, outputs)
        if (found.crossentropy or found.targets == "signs") and not (
            loss.crossentropy if found.crossentropy else loss.targets == "signs"
        ):
            needs = "probabilities" if found.crossentropy else "targets -1 and 1"
            fail(where, f"metric {found.name!r} needs {needs}, and the models' loss is {loss.name!r}",
                 "a metric of what the models give is needed", "leave out metric for the loss itself")  # fmt: skip
        config = {**found.lower(), "from_logits": False}
        return cls(1.0, None, {**config, "label_smoothing": 0.0} if given is None else config, outputs)

    def __call__(self, predictions: Array, y: Array, w: Array) -> float:
        """The value for predictions (rows, outputs), targets and weights of the rows."""
        if self.metric is None:
            return float((self._of_rows(predictions, y) * w).sum() / len(w))
        if isinstance(self.metric, Collected):
            return float(self.metric.value_of(y, predictions, w))
        return self.metric.result(state(self.config, y, predictions, w).ravel(), self.outputs)

    def _of_rows(self, predictions: Array, y: Array) -> Array:
        if self.metric is None:
            return row_losses(self.config, y, predictions, None, "").values
        return ROW_MEANS[self.config["kind"]](self.config, y, predictions)

    def scores(self, candidates: Array, y: Array, w: Array) -> tuple[Array, Callable[[Array], Array]]:
        """What the mean over the chosen candidates is taken of, and the score of such means; less is better.

        The squared error and the cross-entropies of classes are sums over numbers of which each candidate has its own:
        its errors, and the probabilities that it gives to what is true. Else the predictions themselves are needed.

        Parameters
        ----------
        candidates : float64 ndarray of shape (candidates, rows, outputs)
        y, w : ndarray
            Targets, and weights (rows,).

        Returns
        -------
        numbers : ndarray of shape (candidates, ...)
        score : callable
            Takes means of such numbers, (means, ...), and returns (means,).
        """
        kind, (count, rows, outputs) = self.config["kind"], candidates.shape
        targets, total = one_hot(y, outputs), float(w.sum())
        if not self.config.get("label_smoothing"):
            over_outputs = np.repeat(w / outputs, outputs)
            if kind == "mse":
                return (candidates - targets).reshape(count, -1), lambda errors: _sum(errors * errors, over_outputs)
            if kind == "binary_crossentropy" and ((targets == 0) | (targets == 1)).all():
                right = np.where(targets == 1, candidates, 1.0 - candidates).reshape(count, -1)
                return right, lambda p: _sum(_surprise(p), over_outputs)
            one_true = (targets.max(axis=1) == 1).all() and (targets.sum(axis=1) == 1).all()
            if kind in CLASSES and one_true and (abs(candidates.sum(axis=2) - 1) <= 1e-5).all():
                right = candidates[:, np.arange(rows), true_classes(y, outputs)]
                return right, lambda p: _sum(_surprise(p), w)
        if self.metric is not None and kind not in ROW_MEANS:
            return candidates, lambda means: np.array([self.sign * self(one, y, w) for one in means])

        def score(means: Array) -> Array:
            values = self._of_rows(means.reshape(-1, outputs), np.concatenate([y] * len(means)))
            return self.sign * _sum(values.reshape(-1, rows), w) / total

        return candidates, score


def _sum(values: Array, weights: Array) -> Array:
    """Weighted sums over the last axis: of equal rows the same bits, which a product of BLAS does not promise."""
    return np.asarray((values * weights).sum(axis=1))


def _surprise(probability: Array) -> Array:
    return np.asarray(-np.log(np.clip(probability, EPSILON, 1.0 - EPSILON)))


def _loss_or_metric(where: str, given: Any) -> Loss | Metric:
    if isinstance(given, (Loss, Metric)):
        return given
    where = f"{where}: metric"
    if isinstance(given, type) and issubclass(given, Loss):
        return losses.get(given, where)
    try:
        return metrics.get(given, where)
    except ValueError:
        try:
            return losses.get(given, where)
        except ValueError:
            names = dict.fromkeys([*Metric.family.shown, *Loss.family.shown])
            text = f"{where}={shorten(given)} is no metric and no loss. Use one of {quoted(names)}."
            raise ValueError(text) from None


def greedy(measure: Measure, candidates: Array, y: Array, w: Array, size: int) -> list[int]:
    """Choose candidates one after another, each as often as it helps (Caruana et al., 2004, with replacement).

    In every step the one is chosen that, averaged with those chosen before, has the best value; of equal ones the
    first. It ends with the best value of all steps, the first of equal ones. Values are equal if they differ by 1e-12
    of themselves: the same mean by another order of the sum is no better.

    Parameters
    ----------
    measure : Measure
    candidates : float64 ndarray of shape (candidates, rows, outputs)
        The predictions of each; one that is not finite everywhere is never chosen.
    y : ndarray
        Targets, as the loss takes them.
    w : float64 ndarray of shape (rows,)
        Weights of the rows.
    size : int
        Number of steps.

    Returns
    -------
    list of int
        The numbers of the candidates, in the order in which they were chosen; empty if none has a finite value.
    """
    usable = np.flatnonzero(np.isfinite(candidates).all(axis=(1, 2)))
    if not len(usable):
        return []
    numbers, score = measure.scores(candidates if len(usable) == len(candidates) else candidates[usable], y, w)
    chosen, order, values = np.zeros(numbers.shape[1:]), list[int](), list[float]()
    step = max(1, BLOCK // max(1, chosen.size))
    for count in range(1, size + 1):
        blocks = (numbers[first : first + step] for first in range(0, len(numbers), step))
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.concatenate([score((chosen + block) / count) for block in blocks])
        found = np.where(np.isfinite(found), found, np.inf)
        if found.min() == np.inf:
            return []
        best = _first_best(found)
        chosen += numbers[best]
        order.append(int(usable[best]))
        values.append(float(found[best]))
    return order[: _first_best(np.array(values)) + 1]


def _first_best(values: Array) -> int:
    """Index of the first value that is the smallest, or differs from it by no more than rounding may."""
    least = values.min()
    return int(np.argmax(values <= least + ROUNDING * abs(least)))
