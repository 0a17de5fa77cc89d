"""Callbacks that act on a monitored quantity: early stopping, checkpoints, learning rates, non-finite losses."""

from __future__ import annotations

import math
import os
import warnings
from typing import Any, ClassVar

from ..arguments import choice, file_path, flag, integer, keywords_checked, number, shorten, suggestion
from ..arrays import Array
from ..schedules import Schedule
from .base import Callback, Logs

__all__ = ["EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau", "TerminateOnNaN"]

_GROWING = ("acc", "auc", "precision", "recall", "f1", "r2", "fmeasure")


class _Monitor:
    """Keeps the best value so far of one quantity of the logs, and says whether a new value is better."""

    def __init__(self, owner: str, key: str, mode: str, min_delta: float = 0.0) -> None:
        mode = choice(f"{owner}: mode", mode, ("auto", "min", "max"))
        if not isinstance(key, str):
            raise TypeError(f"{owner}: monitor is {shorten(key)}; a name from the logs is needed, such as 'val_loss'")
        name = key.removeprefix("val_")
        self.owner, self.key, self.min_delta = owner, key, abs(number(f"{owner}: min_delta", min_delta))
        self.growing = mode == "max" or (mode == "auto" and any(part in name for part in _GROWING))
        self.restart()

    def restart(self, best: float | None = None) -> None:
        """Forget what was seen; with `best`, as if that had been."""
        self.best = best if best is not None else -math.inf if self.growing else math.inf
        self.warned = False

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
                f"{self.owner}: monitor {self.key!r} is not in the logs, which hold {known}; it does nothing.{remedy}",
                RuntimeWarning,
                stacklevel=2,
            )
        return None

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
        self._monitor = _Monitor("EarlyStopping", monitor, mode, min_delta)
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
            print(f"EarlyStopping: stopped after epoch {self.stopped_epoch + 1}")
        if self.best_weights is not None:
            if self.verbose:
                print(f"EarlyStopping: weights of epoch {self.best_epoch + 1}, {self.monitor} {self.best:.6g}")
            self.model.set_weights(self.best_weights)

    def on_train_exception(self, error: BaseException) -> None:
        """Put the best weights back, also after Ctrl-C."""
        self.on_train_end()


class ModelCheckpoint(Callback):
    """Save the model during training.

    Parameters
    ----------
    filepath : str or path
        May contain fields: ``"net-{epoch:02d}-{val_loss:.3f}.safetensors"``; epochs count from 1 here.
    monitor : str, default "val_loss"
        Name of the quantity in the logs that says which model is best.
    verbose : {0, 1}, default 0
        1 prints when it saves.
    save_best_only : bool, default False
        Whether to save only when the monitored quantity is better than ever before.
    save_weights_only : bool, default False
        Whether to leave out the optimizer's state; `fastdense.load` reads both kinds of file.
    mode : {"auto", "min", "max"}, default "auto"
        Whether smaller or larger is better; see `EarlyStopping`.
    save_freq : "epoch" or int, default "epoch"
        Save after every epoch, or after so many batches (which makes training return to Python after every batch).
    initial_value_threshold : float, optional
        The value that the first save must beat.
    """

    @keywords_checked
    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__()
        where, best = "ModelCheckpoint", initial_value_threshold
        self.filepath, self.monitor = file_path(f"{where}: filepath", filepath), monitor
        self.verbose = prints(where, verbose)
        self.save_best_only = flag(f"{where}: save_best_only", save_best_only)
        self.save_weights_only = flag(f"{where}: save_weights_only", save_weights_only)
        self._monitor = _Monitor(where, monitor, mode)
        self._monitor.restart(None if best is None else number(f"{where}: initial_value_threshold", best))
        self._batches = self._epoch = 0
        self.save_freq: str | int
        if isinstance(save_freq, str):
            self.save_freq = choice(f"{where}: save_freq", save_freq, ("epoch",), other="a number of batches")
        else:
            self.save_freq = integer(f"{where}: save_freq", save_freq, least=1)
            self.__dict__["on_train_batch_end"] = self._count_batch  # a batch hook only where one is needed

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Note the epoch for the name of the file."""
        self._epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save, if it is time."""
        if self.save_freq == "epoch":
            self._save(epoch, logs)

    def _count_batch(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        if self._batches % int(self.save_freq) == 0:
            self._save(self._epoch, logs)

    def _save(self, epoch: int, logs: Logs | None) -> None:
        if self.save_best_only:
            value = self._monitor.read(logs)
            if value is None or not self._monitor.better(value):
                return
            self._monitor.best = value
        try:
            path = self.filepath.format(epoch=epoch + 1, **(logs or {}))
        except KeyError as error:
            raise ValueError(
                f"ModelCheckpoint: filepath {self.filepath!r} names {error}, which is not in the logs; "
                f"they hold epoch, {', '.join(logs or {})}"
            ) from None
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        self.model.save(path, include_optimizer=not self.save_weights_only)
        if self.verbose:
            print(f"ModelCheckpoint: epoch {epoch + 1} saved to {path}")


def _number_rate(owner: str, model: Any) -> float:
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
        self._monitor = _Monitor("ReduceLROnPlateau", monitor, mode, min_delta)
        self.wait = self.cooldown_counter = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget the run before."""
        _number_rate("ReduceLROnPlateau", self.model)
        self._monitor.restart()
        self.wait = self.cooldown_counter = 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look at the number, and reduce the rate if there was enough patience."""
        rate = _number_rate("ReduceLROnPlateau", self.model)
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
            if self.wait >= self.patience and rate > self.min_lr:
                reduced = max(rate * self.factor, self.min_lr)
                self.model.optimizer.learning_rate = reduced
                self.cooldown_counter, self.wait = self.cooldown, 0
                if self.verbose:
                    print(f"ReduceLROnPlateau: epoch {epoch + 1}, learning rate {reduced:.6g}")


class TerminateOnNaN(Callback):
    """Stop at the first step whose loss is NaN or infinite. It costs nothing: the engine checks.

    Attributes
    ----------
    silent : bool
        Whether nothing is printed then.
    """

    silent: ClassVar[bool] = False
