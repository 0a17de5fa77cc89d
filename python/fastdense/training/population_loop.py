"""The training loop of a population: how many epochs each engine call runs, and which callbacks run between calls."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from ..arrays import Array
from ..callbacks import ProgressBar
from ..data.rows import Rows
from ..optimizers import Optimizer
from ..runners.population import PopulationRunner
from .options import Options
from .pacing import Pacing

CALL_STEPS = 1 << 17  # the most steps of a call


class PopulationCallback:
    """Base of the callbacks of a population, which act between epochs.

    Attributes
    ----------
    every : int
        Epochs between two checks.
    revived : ndarray of shape (starts,)
        Units that were reinitialized in each net.
    """

    every = 1

    def __init__(self, starts: int) -> None:
        self.revived = np.zeros(starts, dtype=np.int64)

    def begin(self, loop: PopulationLoop) -> None:
        """Called before the first epoch."""

    def epoch_end(self, loop: PopulationLoop, epoch: int, losses: Array, validated: Array | None) -> None:
        """Called after each epoch with the losses (starts,); may change `loop.active` and the tensors."""

    def finish(self, loop: PopulationLoop) -> None:
        """Called after the last epoch."""

    def until_check(self, epoch: int) -> int:
        """Epochs from `epoch` to the next check."""
        return self.every - epoch % self.every


class PopulationLoop:
    """One training run of a population; everything was checked before.

    Parameters
    ----------
    runner : PopulationRunner
    optimizer : Optimizer
    data : Rows
    weights : ndarray of shape (starts, rows) or None
        Weights of the rows for each net, in place of those of `data`.
    validation : Rows or None
    options : Options
    learning_rates : ndarray of shape (starts,) or None
        Each net's learning rate, in place of the optimizer's.
    callbacks : sequence of PopulationCallback
    bar : ProgressBar
    previous_losses : ndarray of shape (epochs, starts), optional
        Of the epochs that the nets were trained before: the run goes on after them.

    Attributes
    ----------
    history, val_history : ndarray of shape (epochs, starts)
        Losses; NaN where a net was not trained. None in place of the latter without validation data.
    active : ndarray of bool, shape (starts,)
        Nets that are trained.
    epochs : ndarray of int, shape (starts,)
        Epochs that each net was trained.
    """

    def __init__(
        self,
        runner: PopulationRunner,
        optimizer: Optimizer,
        data: Rows,
        weights: Array | None,
        validation: Rows | None,
        options: Options,
        learning_rates: Array | None,
        callbacks: Sequence[PopulationCallback],
        bar: ProgressBar,
        previous_losses: Array | None = None,
    ) -> None:
        self.runner, self.optimizer, self.options = runner, optimizer, options
        self.data, self.weights, self.validation = data, weights, validation
        self.learning_rates, self.callbacks, self.bar = learning_rates, callbacks, bar
        self.batch_size = min(options.batch_size, len(data))
        self.steps = math.ceil(len(data) / self.batch_size)  # per epoch
        starts = len(runner)
        self.history = np.full((options.epochs, starts), np.nan, runner.value_dtype)
        self.val_history = None if validation is None else self.history.copy()
        self.active = np.ones(starts, dtype=bool)
        self.epochs = np.zeros(starts, dtype=np.int64)
        if previous_losses is not None:
            self.history[: len(previous_losses)] = previous_losses
            self.epochs[:] = len(previous_losses)
        self.first = int(self.epochs[0])

    def run(self) -> tuple[int, bool]:
        """Train; returns the epoch that was reached and whether Ctrl-C ended the run."""
        options, bar = self.options, self.bar
        bar.set_params({"epochs": options.epochs, "steps": self.steps, "verbose": bar.verbose, "initial_epoch": 0})
        epoch, pacing, interrupted = self.first, Pacing(self.steps, CALL_STEPS), False
        bar.on_train_begin()
        for callback in self.callbacks:
            callback.begin(self)
        try:
            while epoch < options.epochs and self.active.any():
                checks = (callback.until_check(epoch) for callback in self.callbacks)
                count = 1 if self.validation is not None else pacing.next(options.epochs - epoch, *checks)
                began = time.perf_counter()
                interrupted = self._epochs(epoch, count)
                if interrupted:
                    break
                pacing.learn(count, time.perf_counter() - began)
                epoch += count
        except KeyboardInterrupt:  # outside of the engine
            interrupted = True
        finally:
            bar.close()
        for callback in self.callbacks:
            callback.finish(self)
        return epoch, interrupted

    def _epochs(self, epoch: int, count: int) -> bool:
        """Train `count` epochs in one call of the engine; returns whether Ctrl-C came."""
        losses, steps = np.full((count, len(self.runner)), np.nan), count * self.steps
        own_rates = self.learning_rates is not None

        def progress(fraction: float) -> None:
            self.bar.running(epoch, fraction * count, math.nan)

        try:
            result = self.runner.train(
                self.data,
                self.weights,
                batch_size=self.batch_size,
                shuffle=self.options.shuffle,
                order_seed=self.options.order_seed,
                epoch=epoch,
                rates=np.ones(steps) if own_rates else self.optimizer.learning_rates(epoch * self.steps, steps),
                factors=self.learning_rates,
                active=None if self.active.all() else self.active,
                losses=losses,
                progress=progress if self.bar.wants_progress else None,
                n_threads=self.options.n_threads,
            )
            self.history[epoch : epoch + count] = losses
            self.epochs += np.where(self.active, result["epochs"], 0)
            trained, self.active = self.active, self.active & np.logical_not(result["ended"])
            if result["interrupted"]:
                return True
            validated = None
            if self.validation is not None and self.val_history is not None:
                validated = self.runner.losses(self.validation, None, self.options.n_threads)
                self.val_history[epoch] = np.where(trained, validated, np.nan)
            for callback in self.callbacks:
                callback.epoch_end(self, epoch + count - 1, losses[-1], validated)
        except KeyboardInterrupt:
            return True
        self._show(epoch, losses)
        return False

    def _show(self, epoch: int, losses: Array) -> None:
        """Give the progress bar the best and the median loss of the epochs."""
        if self.bar.verbose == 0:
            return
        finite = np.where(np.isfinite(losses), losses, np.inf)
        columns = {"best": finite.min(axis=1).tolist(), "median": np.median(finite, axis=1).tolist()}
        self.bar.on_epochs_end(epoch, columns)
