"""Callbacks made from functions: `LambdaCallback` and `LearningRateScheduler`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..arguments import keywords_checked, shorten, suggestion
from .base import Callback, Logs
from .monitors import number_rate, prints

__all__ = ["LambdaCallback", "LearningRateScheduler"]


class LearningRateScheduler(Callback):
    """Set the learning rate at the beginning of each epoch.

    Parameters
    ----------
    schedule : callable
        Called with the epoch (from 0) and the current rate, or the epoch alone; returns the rate.
    verbose : {0, 1}, default 0
        1 prints the rate.
    """

    @keywords_checked
    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        super().__init__()
        if not callable(schedule):
            raise TypeError(
                f"LearningRateScheduler: schedule is {shorten(schedule)}; a function of the epoch is needed"
            )
        self.schedule, self.verbose = schedule, prints("LearningRateScheduler", verbose)
        try:
            inspect.signature(schedule).bind(0, 0.1)
            self._takes_rate = True
        except (TypeError, ValueError):
            self._takes_rate = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the rate."""
        present = number_rate("LearningRateScheduler", self.model)
        rate = self.schedule(epoch, present) if self._takes_rate else self.schedule(epoch)
        self.model.optimizer.learning_rate = rate
        if self.verbose:
            print(f"\nEpoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Note the rate in the history."""
        if logs is not None:
            logs["learning_rate"] = number_rate("LearningRateScheduler", self.model)


class LambdaCallback(Callback):
    """Make a callback of functions.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end, on_train_begin, on_train_end : callable, optional
    on_train_batch_begin, on_train_batch_end : callable, optional
        As the hooks of `Callback` of these names; any other hook may be given by keyword, too.
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **hooks: Callable[..., Any] | None,
    ) -> None:
        super().__init__()
        given = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **hooks,
        }
        known = [name for name in vars(Callback) if name.startswith("on_")]
        for name, function in given.items():
            if name not in known:
                raise TypeError(f"LambdaCallback: {name!r} is not a hook.{suggestion(name, known)}")
            if function is not None:
                if not callable(function):
                    raise TypeError(f"LambdaCallback: {name} is {shorten(function)}; a function is needed")
                self.__dict__[name] = function
