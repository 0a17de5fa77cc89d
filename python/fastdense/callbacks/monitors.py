"""Callbacks that act on a monitored quantity: early stopping, learning rates, non-finite losses."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..arguments import choice, flag, integer, keywords_checked, number, shorten, suggestion
from ..arrays import Array
from ..metrics import Metric
from ..schedules import Schedule
from .base import Callback, Logs, core_model

__all__ = ["EarlyStopping", "ReduceLROnPlateau", "TerminateOnNaN"]

_GROWING = ("acc", "auc", "precision", "recall", "f1", "r2", "fmeasure")


class Monitor:
    """Keeps the best value so far of one quantity of the logs, and says whether a new value is better."""

    def __init__(
        self, owner: str, key: str, mode: str, min_delta: float = 0.0, without: str = "it does nothing"
    ) -> None:
        self.mode = choice(f"{owner}: mode", mode, ("auto", "min", "max"))
        if not isinstance(key, str):
            raise TypeError(f"{owner}: monitor is {shorten(key)}; a name from the logs is needed, such as 'val_loss'")
        self.owner, self.key, self.min_delta = owner, key, abs(number(f"{owner}: min_delta", min_delta))
        self.without = without
        self.growing = mode == "max" or (mode == "auto" and any(part in self._name for part in _GROWING))
        self.restart()

    @property
    def _name(self) -> str:
        return self.key.removeprefix("val_")

    def restart(self, best: float | None = None) -> None:
        """Forget what was seen; with `best`, as if that had been."""
        self.best = best if best is not None else -math.inf if self.growing else math.inf
        self.warned = False

    def learn(self, metrics: Sequence[Metric]) -> None:
        """With "auto", take from the metric of this name, whatever name the user gave it, what is better."""
        found = next((metric for metric in metrics if metric.name == self._name), None)
        if self.mode == "auto" and found is not None and found.maximised != self.growing:
            self.growing = found.maximised
            if math.isinf(self.best):
                self.best = -self.best

    def read(self, logs: Logs | None) -> float | None:
        """Return the number, or None with a warning, once, if the logs do not hold it."""
        value = (logs or {}).get(self.key)
        if value is not None:
            return float(value)
        if not self.warned:
            self.warned = True
            known = ", ".join(logs or {}) or "nothing"
            remedy = suggestion(self.key, logs or {}) or " Choose one of these as monitor."
            if self.key.startswith("val_") and not any(key.startswith("val_") for key in logs or {}):
                remedy = " Pass validation_data or validation_split to fit, or choose another monitor."
            warnings.warn(
                f"{self.owner}: monitor {self.key!r} is not in the logs, which hold {known}; {self.without}.{remedy}",
                RuntimeWarning,
                stacklevel=2,
            )
        return None

    @property
    def best_text(self) -> str:
        """The best value in the format of Keras; "None" before there is one."""
        return "None" if math.isinf(self.best) else f"{self.best:.5f}"

    def better(self, value: float, than: float | None = None) -> bool:
        """Whether a value is better than the best (or another) by more than `min_delta`; NaN never is."""
        best = self.best if than is None else than
        return value - self.min_delta > best if self.growing else value + self.min_delta < best


def prints(where: str, verbose: object) -> int:
    """Return the argument `verbose` of a callback that prints a line now and then, or nothing: 0 to 2, or a bool."""
    return int(verbose) if isinstance(verbose, bool) else integer(f"{where}: verbose", verbose, least=0, most=2)


class EarlyStopping(Callback):
    """Stop training when a monitored quantity has stopped improving.

    Parameters
    ----------
    monitor : str, default "val_loss"
        Name of the quantity in the logs.
    min_delta : float, default 0
        A smaller change does not count as an improvement.
    patience : int, default 0
        Epochs without improvement after which training stops.
    verbose : {0, 1}, default 0
        1 prints when it stops.
    mode : {"auto", "min", "max"}, default "auto"
        "auto" is "max" for accuracies, auc, precision, recall, f1 and r2, and "min" for everything else.
    baseline : float, optional
        Epochs count as without improvement until the quantity is better than this.
    restore_best_weights : bool, default False
        Whether to end with the weights of the best epoch, however training ends: also by Ctrl-C or another exception.
    start_from_epoch : int, default 0
        Earlier epochs are ignored.
    """

    @keywords_checked
    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        self.monitor, self.verbose = monitor, prints(where, verbose)
        self.patience = integer(f"{where}: patience", patience, least=0)
        self.baseline = None if baseline is None else number(f"{where}: baseline", baseline)
        self.restore_best_weights = flag(f"{where}: restore_best_weights", restore_best_weights)
        self.start_from_epoch = integer(f"{where}: start_from_epoch", start_from_epoch, least=0)
        self._monitor = Monitor("EarlyStopping", monitor, mode, min_delta)
        self._begin()

    def _begin(self) -> None:
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best_weights: list[Array] | None = None
        self._monitor.restart()

    @property
    def best(self) -> float:
        """Best value so far."""
        return self._monitor.best

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget the run before."""
        self._begin()
        self._monitor.learn(core_model(self.model).metrics)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look at the number, and stop if there was enough patience."""
        value = self._monitor.read(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights, self.best_epoch = self.model.get_weights(), epoch
        self.wait += 1
        if self._monitor.better(value):
            self._monitor.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._monitor.better(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Put the best weights back."""
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                print(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)

    def on_train_exception(self, error: BaseException) -> None:
        """Put the best weights back, also after Ctrl-C."""
        self.on_train_end()


def number_rate(owner: str, model: Any) -> float:
    rate = model.optimizer.learning_rate
    if isinstance(rate, Schedule):
        raise ValueError(
            f"{owner}: the learning rate is the schedule {rate!r}, which would overrule this callback; "
            f"make the optimizer with a number, e.g. {type(model.optimizer).__name__}(learning_rate=0.001)"
        )
    return float(rate)


class ReduceLROnPlateau(Callback):
    """Reduce the learning rate when a monitored quantity has stopped improving.

    Parameters
    ----------
    monitor : str, default "val_loss"
        Name of the quantity in the logs.
    factor : float, default 0.1
        The new rate is `factor` times the old one; below 1.
    patience : int, default 10
        Epochs without improvement after which the rate is reduced.
    verbose : {0, 1}, default 0
        1 prints when it reduces the rate.
    mode : {"auto", "min", "max"}, default "auto"
        Whether smaller or larger is better; see `EarlyStopping`.
    min_delta : float, default 1e-4
        A smaller change does not count as an improvement.
    cooldown : int, default 0
        Epochs after a reduction that are ignored.
    min_lr : float, default 0
        Lower bound of the rate.
    """

    @keywords_checked
    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        self.monitor, self.verbose = monitor, prints(where, verbose)
        self.factor = number(f"{where}: factor", factor, least=0, below=1)
        self.patience = integer(f"{where}: patience", patience, least=0)
        self.cooldown = integer(f"{where}: cooldown", cooldown, least=0)
        self.min_lr = number(f"{where}: min_lr", min_lr, least=0)
        self._monitor = Monitor("ReduceLROnPlateau", monitor, mode, min_delta)
        self.wait = self.cooldown_counter = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget the run before."""
        number_rate("ReduceLROnPlateau", self.model)
        self._monitor.restart()
        self._monitor.learn(core_model(self.model).metrics)
        self.wait = self.cooldown_counter = 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look at the number, and reduce the rate if there was enough patience."""
        rate = number_rate("ReduceLROnPlateau", self.model)
        value = self._monitor.read(logs)
        if logs is not None:
            logs["learning_rate"] = rate
        if value is None:
            return
        resting = self.cooldown_counter > 0
        if resting:
            self.cooldown_counter -= 1
            self.wait = 0
        if self._monitor.better(value):
            self._monitor.best, self.wait = value, 0
        elif self.cooldown_counter == 0:
            self.wait += 1
            if self.wait >= self.patience and np.float32(rate) > np.float32(self.min_lr):  # 1e-4 is not above 1e-4
                reduced = max(rate * self.factor, self.min_lr)
                self.model.optimizer.learning_rate = reduced
                self.cooldown_counter, self.wait = self.cooldown, 0
                if self.verbose:
                    print(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {reduced}.")


class TerminateOnNaN(Callback):
    """Stop at the first step whose loss is NaN or infinite. It costs nothing: the engine checks.

    Parameters
    ----------
    raise_error : bool, default False
        Whether to raise a RuntimeError instead: other callbacks are called as after any other exception.

    Attributes
    ----------
    silent : bool
        Whether nothing is printed then.
    """

    silent: ClassVar[bool] = False

    @keywords_checked
    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = flag("TerminateOnNaN: raise_error", raise_error)
