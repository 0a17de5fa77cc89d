"""What the core calls with every batch: a loss of the user's, and metrics that see the batches themselves."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import Array
from ..calls import HOOK_FIRST, HOOK_GRADIENT, HOOK_LAST, HOOK_MEASURED, HOOK_TRAINING
from ..losses import Custom, Loss, PerHead
from ..metrics import Metric, OfHead
from ..reference.losses import predictions as predictions_of

Values = dict[str, Any]  # of the collected metrics, by name


class _Seen:
    """A collected metric, and of which head it is."""

    def __init__(self, metric: Metric, loss: Loss) -> None:
        self.name, self.head = metric.name, 0
        self.metric: Any = metric
        self.heads: PerHead | None = None
        if isinstance(metric, OfHead):
            assert isinstance(loss, PerHead)
            self.metric, self.heads, self.head = metric.metric, loss, loss.index(metric.head, metric.name)

    def update(self, outputs: Array, predictions: Array, targets: Array, weights: Array | None) -> None:
        seen = outputs if self.metric.sees_outputs else predictions
        if self.heads is not None:
            targets, seen, weights = self.heads.part(self.head, targets, seen, weights)
            loss = self.heads.heads[self.head].loss
            if loss is not None and not self.metric.sees_outputs:
                seen = predictions_of(loss.lower(), seen)
        self.metric.update_state(targets, seen, weights if self.metric.weighted else None)


class _Phase:
    """Collected metrics of training, or of evaluations: either has sums of its own."""

    def __init__(self, metrics: Sequence[_Seen]) -> None:
        self.metrics = metrics
        self.finished: list[Values] = []  # of each epoch or evaluation, since `forget`
        self.ended = False  # whether the last batch was the end of one

    def update(self, flags: int, outputs: Array, predictions: Array, targets: Array, weights: Array | None) -> None:
        for one in self.metrics:
            if flags & HOOK_FIRST:
                one.metric.reset_state()
            one.update(outputs, predictions, targets, weights)

    def end(self) -> None:
        self.finished.append(self.values())
        self.ended = True

    def values(self) -> Values:
        """Of the epoch or evaluation so far."""
        if self.ended and self.finished:
            return self.finished[-1]
        return {one.name: _number(one.metric.result()) for one in self.metrics}


class Hook:
    """A function of batches, as engines call it; docs/design/interface.md has its arguments.

    Parameters
    ----------
    loss : Loss
    metrics : sequence of Metric
        Those that are not collected do not matter.
    loss_weight : float
        Factor of the loss, which is in the weights of rows; metrics do not see it.
    """

    def __init__(self, loss: Loss, metrics: Sequence[Metric], loss_weight: float = 1.0) -> None:
        self._loss = loss if isinstance(loss, (Custom, PerHead)) and loss.called else None
        self._loss_weight = loss_weight
        collected = [_Seen(metric, loss) for metric in metrics if metric.collected]
        self._training, self._evaluation = _Phase(collected), _Phase(copy.deepcopy(collected))
        self._anew = True
        self.needed = bool(collected) or self._loss is not None

    def __deepcopy__(self, memo: dict[int, Any]) -> Hook:
        return self  # it belongs to the net that was configured with it

    def __call__(
        self, flags: int, outputs: Array | None, predictions: Array | None, targets: Array, weights: Array | None
    ) -> tuple[Array, Array | None] | None:
        phase = self._training if flags & HOOK_TRAINING else self._evaluation
        phase.ended = False
        answer = None
        if outputs is not None and predictions is not None:
            if self._loss is not None:
                answer = self._loss.of_batch(targets, outputs, weights, bool(flags & HOOK_GRADIENT))
            if flags & HOOK_MEASURED and phase.metrics:
                own = weights if weights is None or self._loss_weight == 1 else weights / self._loss_weight
                phase.update(flags if self._anew else flags & ~HOOK_FIRST, outputs, predictions, targets, own)
        if flags & HOOK_LAST and phase.metrics:
            phase.end()
        return answer

    def forget(self, anew: bool = True) -> None:
        """Before a call of an engine: forget the values of finished epochs and evaluations.

        Unless `anew`, the rows of the call go on with the metrics of the one before.
        """
        self._anew = anew
        self._training.finished, self._evaluation.finished = [], []

    def epochs(self, training: bool, count: int) -> list[Values]:
        """Values of the finished epochs of the last call, or of their validations: the first `count`."""
        return (self._training if training else self._evaluation).finished[:count]

    def current(self, training: bool) -> Values:
        """Values of the epoch or evaluation so far."""
        return (self._training if training else self._evaluation).values()


def _number(value: Any) -> Any:
    """A metric's result as logs have it: a float, or an array."""
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else array
