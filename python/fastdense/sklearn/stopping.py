"""When an estimator's training ends, and at what rate it goes on: scikit-learn's rules, as a callback."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..arrays import Array
from ..callbacks import Callback, TerminateOnNaN
from ..callbacks.base import Logs

SMALLEST_RATE = 1e-6  # at which learning_rate="adaptive" ends training
MANY = 1 << 30
LOWERED = 5.0  # divides the rate


class StopOnNaN(TerminateOnNaN):
    """`TerminateOnNaN` that prints nothing: the estimator raises an error."""

    silent = True


@dataclass
class Curves:
    """What was seen of a training, over all of its calls."""

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    rows: int = 0  # that were trained on, each as often as it was
    best: list[float] = field(default_factory=list)  # smallest of each watched value
    waited: int = 0  # epochs without improvement
    rate: float | None = None  # learning rate that was reached


class Stopping(Callback):
    """Ends training once no watched value has improved by `tol` for more than `patience` epochs.

    Watched is the training loss; or the validation loss; or the validation score, and with it the validation loss,
    since a score such as accuracy stays the same over many epochs of progress. With validation, the net ends with the
    weights of the best value (of equal scores that of the smallest loss).

    Parameters
    ----------
    curves : Curves
        Continued.
    watched : {"training", "loss", "score"}
    noisy : bool
        Whether the training loss of an epoch is random, as with dropout. The mean of the last `patience` is watched.
    score : callable, optional
        Gives the score of the validation rows by the model as it is; needed where there are such.
    tol, patience
        `tol` and `n_iter_no_change` of the estimator; a `patience` of None never ends training.
    rate : {"constant", "invscaling", "adaptive"}
    first_rate : float
        With which training began, of a rate that is not constant.
    power : float
        Exponent of "invscaling".
    rows : int
        Of an epoch.
    seconds : float, optional
        After which training ends.
    """

    def __init__(
        self,
        curves: Curves,
        watched: str,
        score: Callable[[Any], float] | None,
        *,
        tol: float,
        patience: int | None,
        rate: str,
        first_rate: Any,
        power: float,
        rows: int,
        noisy: bool = False,
        seconds: float | None = None,
    ) -> None:
        super().__init__()
        self.curves, self.watched, self.score = curves, watched, score
        self.tol, self.patience, self.rate, self.power, self.rows = tol, patience, rate, power, rows
        self.first_rate = first_rate
        self.window = patience or 1 if noisy else 1
        self.seconds, self.epochs, self.stopped = seconds, 0, False
        self._best: tuple[float, ...] = ()
        self._best_weights: list[Array] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Set the rate that was reached."""
        self._began = time.perf_counter()
        if self.rate != "constant":
            self.model.optimizer.learning_rate = self.first_rate if self.curves.rate is None else self.curves.rate

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look at the epoch."""
        logs, curves = logs or {}, self.curves
        self.epochs += 1
        curves.rows += self.rows
        curves.loss.append(logs["loss"])
        if self.score is not None:
            curves.validation_loss.append(logs["val_loss"])
            curves.validation_score.append(self.score(self.model))
        values = self._values()
        curves.best = curves.best or [math.inf] * len(values)
        improved = any(value < best - self.tol for value, best in zip(values, curves.best, strict=True))
        curves.waited = 0 if improved else curves.waited + 1
        curves.best = [min(value, best) for value, best in zip(values, curves.best, strict=True)]
        if self.score is not None and (not self._best or tuple(values) < self._best):
            self._best, self._best_weights = tuple(values), self.model.get_weights()
        if self.rate == "invscaling":
            self._set_rate(self.first_rate / (curves.rows + 1) ** self.power)
        if self.patience is not None and curves.waited > self.patience:
            self._stop_or_slow_down()
        if self.seconds is not None and time.perf_counter() - self._began > self.seconds:
            self._stop()

    def epochs_ahead(self) -> int:
        """Training cannot end, nor the rate change, before so many epochs without improvement are there."""
        if self.score is not None or self.rate == "invscaling" or self.seconds is not None:
            return 1
        return MANY if self.patience is None else self.patience + 1 - self.curves.waited

    def _values(self) -> list[float]:
        """The watched values, the smaller the better."""
        if self.watched == "training":
            latest = self.curves.loss[-self.window :]
            return [sum(latest) / len(latest)]
        loss = self.curves.validation_loss[-1]
        return [loss] if self.watched == "loss" else [-self.curves.validation_score[-1], loss]

    def _stop_or_slow_down(self) -> None:
        if self.rate != "adaptive":
            self._stop()
            return
        rate = float(self.model.optimizer.learning_rate)
        if rate <= SMALLEST_RATE:
            self._stop()
        else:
            self._set_rate(rate / LOWERED)
            self.curves.waited = 0

    def _set_rate(self, rate: float) -> None:
        self.model.optimizer.learning_rate = self.curves.rate = rate

    def _stop(self) -> None:
        self.stopped = self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Put the best weights back."""
        if self._best_weights is not None:
            self.model.set_weights(self._best_weights)

    def on_train_exception(self, error: BaseException) -> None:
        """Put the best weights back, also after Ctrl-C."""
        self.on_train_end()
