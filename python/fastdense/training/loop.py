"""The loop behind `Model.fit`: how many steps each call of the engine makes, and what is told to whom in between."""

from __future__ import annotations

import math
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Array
from ..callbacks import Callback, CallbackList, History, ProgressBar, TerminateOnNaN
from ..callbacks.base import Logs
from ..callbacks.progress import say
from ..data.rows import Rows
from ..optimizers.full_batch import ENDINGS
from .hints import hint
from .logs import columns
from .options import Options
from .pacing import _Budget

if TYPE_CHECKING:
    from ..model.base import BaseModel


class Fit:
    """One run of `fit`; everything was checked before.

    Parameters
    ----------
    model : Model
    data : Rows
    validation : Rows or None
    options : Options
    callbacks : list of Callback
        Those of the user, the history and the progress bar.
    params : dict
        What callbacks see as `params`.
    """

    def __init__(
        self,
        model: BaseModel,
        data: Rows,
        validation: Rows | None,
        options: Options,
        callbacks: list[Callback],
        params: dict[str, Any],
    ) -> None:
        self.model, self.data, self.validation, self.options = model, data, validation, options
        self.callbacks = CallbackList(callbacks, model, params)
        self.bars = [callback for callback in callbacks if isinstance(callback, ProgressBar)]
        self.stop_on_nan = any(isinstance(callback, TerminateOnNaN) for callback in callbacks)
        self.batch_size = min(options.batch_size, len(data))
        self.steps = math.ceil(len(data) / self.batch_size)  # per epoch
        self.finite = True
        self.history = next(callback for callback in callbacks if isinstance(callback, History))
        self.latest: tuple[int, dict[str, Any]] | None = None  # first epoch and result of the last call of the engine

    def run(self) -> None:
        """Train; on an exception the model is that of the last finished step and the history holds what was told."""
        model, callbacks = self.model, self.callbacks
        budget = _Budget(self.steps)
        epoch, logs = self.options.initial_epoch, {}
        model.stop_training = False
        try:
            callbacks.call("on_train_begin", {})
            while epoch < self.options.epochs and not model.stop_training:
                if callbacks.by_epoch:
                    callbacks.call("on_epoch_begin", epoch, {})
                if callbacks.by_batch:
                    logs = self._one_epoch_by_batches(epoch)
                    epoch += 1
                    continue
                count = 1 if callbacks.by_epoch else budget.next(self.options.epochs - epoch)
                began = time.perf_counter()
                done, logs = self._epochs(epoch, count)
                budget.learn(done, time.perf_counter() - began)
                epoch += done
            callbacks.call("on_train_end", logs)
            self._hint()
        except BaseException:
            self._record_the_rest()
            raise
        finally:
            for bar in self.bars:
                bar.close()

    def _hint(self) -> None:
        """Print one line if the training plainly came to nothing, once for a model."""
        speaks = any(bar.verbose != 0 for bar in self.bars)
        if not speaks or self.model.hinted:
            return
        line = hint(self.model, self.data, self.history.history.get("loss", []))
        if line is not None:
            self.model.hinted = True
            for bar in self.bars:
                bar.close()
            print(line)

    def _epochs(self, epoch: int, count: int) -> tuple[int, Logs]:
        """Train `count` epochs in one call of the engine; return how many were told of, and the last logs."""
        inside = self.validation if not self.callbacks.sees_tests else None
        result = self._train(epoch, 0, count * self.steps, inside)
        self.latest = (epoch, result) if inside is self.validation else None
        cut_short = self.stop_on_nan and result["nonfinite_step"] >= 0
        if cut_short and result["steps"] % self.steps:
            result["totals"] = np.concatenate([result["totals"], result["partial"][None]])
            if inside is not None:
                result["val_totals"] = np.concatenate([result["val_totals"], self._evaluate(inside)[None]])
        found = self._found(result)
        if self.validation is not None and inside is None and not result["interrupted"]:
            found.update(self._tested_validation())
        if cut_short:
            self._terminate(result["nonfinite_step"] % self.steps)
        logs = self._told(epoch, found)
        if result["interrupted"]:
            raise KeyboardInterrupt
        self._end(result["ended"], epoch + len(found["loss"]))
        return len(found["loss"]), logs

    def _end(self, ended: str, epochs: int) -> None:
        """Stop where a full-batch optimizer has nothing more to do, and say why."""
        if not ended:
            return
        self.model.stop_training = True
        self.history.params["ended"] = ENDINGS[ended]
        for bar in self.bars:
            bar.close()
            say(bar.verbose, f"{type(self.model.optimizer).__name__} ends after epoch {epochs}: {ENDINGS[ended]}")

    def _found(self, result: dict[str, Any]) -> dict[str, list[float]]:
        """The numbers of the epochs that a call of the engine finished."""
        if not len(result["val_totals"]):
            return self._columns(result["totals"])
        whole = min(len(result["totals"]), len(result["val_totals"]))  # an interrupt may come between the two
        return self._columns(result["totals"][:whole]) | self._columns(result["val_totals"][:whole], "val_")

    def _record_the_rest(self) -> None:
        """After an exception: give the history the finished epochs that it was not told of yet."""
        if self.latest is None:
            return
        epoch, found = self.latest[0], self._found(self.latest[1])
        if not self.history.epoch or self.history.epoch[-1] < epoch:
            count = len(found["loss"])
            missing = {key: [math.nan] * count for key in self.history.history if key not in found}
            self.history.on_epochs_end(epoch, found | missing)

    def _one_epoch_by_batches(self, epoch: int) -> Logs:
        """Train one epoch with one batch per call of the engine."""
        model, callbacks = self.model, self.callbacks
        totals = np.zeros((1, 2))
        for batch in range(self.steps):
            callbacks.call("on_train_batch_begin", batch, {})
            result = self._train(epoch, batch, 1, None)
            if result["interrupted"]:
                raise KeyboardInterrupt
            totals = result["partial"][None]
            if self.stop_on_nan and result["nonfinite_step"] >= 0:
                self._terminate(batch)
            logs = {key: values[0] for key, values in self._columns(totals).items()}
            callbacks.call("on_train_batch_end", batch, logs)
            self._end(result["ended"], epoch + 1)
            if model.stop_training:
                break
        found = self._columns(totals)
        if self.validation is not None:
            found.update(self._tested_validation())
        return self._told(epoch, found)

    def _train(self, epoch: int, first_batch: int, steps: int, validation: Rows | None) -> dict[str, Any]:
        """Make steps, and keep the model's counts true whatever happens."""
        model, data, bars = self.model, self.data, [bar for bar in self.bars if bar.wants_progress]

        def progress(steps_done: int, loss_sum: float, rows: float) -> None:
            ahead, batch = divmod(first_batch + steps_done, self.steps)
            for bar in bars:
                bar.running(epoch + ahead, batch / self.steps, loss_sum / rows if rows else math.nan)

        probes, life = self.history.probes, model.runner.epochs_trained
        result = model.runner.train(
            model.optimizer,
            data,
            validation,
            batch_size=self.batch_size,
            shuffle=self.options.shuffle,
            first_batch=first_batch,
            steps=steps,
            stop_on_nan=self.stop_on_nan,
            progress=progress if bars else None,
            n_threads=self.options.n_threads,
            **({} if probes is None else probes.request()),
        )
        if probes is not None:
            probes.add(result["probes"], epoch - life)
        return result

    def _columns(self, totals: Array, prefix: str = "") -> dict[str, list[float]]:
        return columns(totals, self.model.metrics, self.model.outputs, prefix)

    def _evaluate(self, rows: Rows) -> Array:
        return self.model.runner.totals(rows, self.options.n_threads)

    def _tested_validation(self) -> dict[str, list[float]]:
        """Evaluate the validation data, with the test hooks around it."""
        assert self.validation is not None
        call = self.callbacks.call
        call("on_test_begin", {})
        call("on_test_batch_begin", 0, {})
        found = self._columns(self._evaluate(self.validation)[None])
        logs = {key: values[0] for key, values in found.items()}
        call("on_test_batch_end", 0, logs)
        call("on_test_end", logs)
        return {f"val_{key}": values for key, values in found.items()}

    def _told(self, epoch: int, found: dict[str, list[float]]) -> Logs:
        """Tell the callbacks of finished epochs; warn, once, if the loss is no number any more."""
        logs = self.callbacks.epochs_end(epoch, found)
        bad = next((i for i, loss in enumerate(found["loss"]) if not math.isfinite(loss)), None)
        if bad is not None and self.finite:
            self.finite = False
            if not self.stop_on_nan:
                warnings.warn(
                    f"fit: the loss became {found['loss'][bad]} in epoch {epoch + bad + 1}; a finite loss is needed "
                    "to learn: use a smaller learning rate, scale x and y to about 1, or clipnorm=1 in "
                    "the optimizer; callbacks=[TerminateOnNaN()] stops at once",
                    RuntimeWarning,
                    stacklevel=6,
                )
        return logs

    def _terminate(self, batch: int) -> None:
        print(f"TerminateOnNaN: the loss of batch {batch} is not finite; training stops")
        self.model.stop_training = True
