"""The training loop of `fit`: how many steps each engine call runs, and which callbacks run between calls."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import Array
from ..callbacks import CallbackList, History, ProgressBar, TerminateOnNaN
from ..callbacks.base import Logs
from ..callbacks.progress import say
from ..data.rows import Rows
from ..metrics import Metric
from ..optimizers import Optimizer
from ..optimizers.full_batch import ENDINGS
from ..runners.single import Runner
from .logs import columns
from .options import Options
from .pacing import Pacing

CALL_STEPS = 1 << 22  # the most steps of a call, since the learning rates of all of them are passed


class Fit:
    """One training run of one net; everything was checked before.

    Parameters
    ----------
    runner : Runner
    optimizer : Optimizer
    metrics : sequence of Metric
    data : Rows
    validation : Rows or None
    options : Options
    callbacks : CallbackList
        Those of the user, a `History` and progress bars; its `stop_training` ends the run.
    """

    def __init__(
        self,
        runner: Runner,
        optimizer: Optimizer,
        metrics: Sequence[Metric],
        data: Rows,
        validation: Rows | None,
        options: Options,
        callbacks: CallbackList,
    ) -> None:
        self.runner, self.optimizer, self.metrics, self.callbacks = runner, optimizer, metrics, callbacks
        self.data, self.validation, self.options = data, validation, options
        self.bars = [callback for callback in callbacks.callbacks if isinstance(callback, ProgressBar)]
        watches = [callback for callback in callbacks.callbacks if isinstance(callback, TerminateOnNaN)]
        self.stop_on_nan = bool(watches)
        self.says_so = any(not callback.silent for callback in watches)
        self.history = next(callback for callback in callbacks.callbacks if isinstance(callback, History))
        self.batch_size = min(options.batch_size, len(data))
        self.steps = math.ceil(len(data) / self.batch_size)  # per epoch
        self.finite = True
        self.latest: tuple[int, dict[str, Any]] | None = None  # first epoch and result of the last call of the engine
        self.counted = 0  # epochs that the runner has counted in this run

    def run(self) -> None:
        """Train; on an exception the net is that of the last finished step and the history has all finished epochs.

        An epoch is finished when it was validated, too: the runner counts those that the history has.
        """
        callbacks, pacing = self.callbacks, Pacing(self.steps, CALL_STEPS)
        epoch, logs = self.options.initial_epoch, {}
        callbacks.stop_training = False
        try:
            callbacks.call("on_train_begin", {})
            try:
                while epoch < self.options.epochs and not callbacks.stop_training:
                    if callbacks.by_epoch:
                        callbacks.call("on_epoch_begin", epoch, {})
                    if callbacks.by_batch:
                        logs = self._one_epoch_by_batches(epoch)
                        epoch += 1
                        continue
                    count = 1 if callbacks.by_epoch else pacing.next(self.options.epochs - epoch)
                    began = time.perf_counter()
                    done, logs = self._epochs(epoch, count)
                    pacing.learn(done, time.perf_counter() - began)
                    epoch += done
                callbacks.call("on_train_end", logs)
            except BaseException as error:
                self._record_the_rest()
                callbacks.call("on_train_exception", error)
                raise
        finally:
            for bar in self.bars:
                bar.close()

    def _epochs(self, epoch: int, count: int) -> tuple[int, Logs]:
        """Train `count` epochs in one call of the engine; return how many finished, and the last logs."""
        inside = self.validation if not self.callbacks.sees_tests else None
        result: dict[str, Any] = {}
        self.latest = (epoch, result) if inside is self.validation else None  # filled also by a call that raises
        self._train(epoch, 0, count * self.steps, inside, result)
        cut_short = self.stop_on_nan and result["nonfinite_step"] >= 0
        if cut_short and result["steps"] % self.steps:
            result["totals"] = np.concatenate([result["totals"], result["partial"][None]])
            if inside is not None:
                result["val_totals"] = np.concatenate([result["val_totals"], self._evaluate(inside)[None]])
        if self.validation is not None and inside is None and not result["interrupted"]:
            result["val_totals"] = self._tested_validation()
        if cut_short:
            self._terminate(result["nonfinite_step"] % self.steps)
        done, logs = self._notify(epoch, result)
        if result["interrupted"]:
            raise KeyboardInterrupt
        self._end(result["ended"], epoch + done)
        return done, logs

    def _end(self, ended: str, epochs: int) -> None:
        """Stop where a full-batch optimizer has converged, and print why."""
        if not ended:
            return
        self.callbacks.stop_training = True
        self.history.params["ended"] = ENDINGS[ended]
        for bar in self.bars:
            bar.close()
            say(bar.verbose, f"{type(self.optimizer).__name__} ends after epoch {epochs}: {ENDINGS[ended]}")

    def _values(self, result: dict[str, Any]) -> dict[str, list[float]]:
        """Loss and metrics of the epochs that a call of the engine finished, their validation included."""
        if self.validation is None:
            return self._columns(result["totals"])
        whole = min(len(result["totals"]), len(result["val_totals"]))  # an interrupt may come between the two
        return self._columns(result["totals"][:whole]) | self._columns(result["val_totals"][:whole], "val_")

    def _record_the_rest(self) -> None:
        """After an exception: record finished epochs that callbacks have not seen, and count no others."""
        recorded = self.history.epoch
        epoch, result = self.latest or (0, {})
        if "totals" in result and (not recorded or recorded[-1] < epoch):
            values = self._values(result)
            missing = {key: [math.nan] * len(values["loss"]) for key in self.history.history if key not in values}
            self.history.on_epochs_end(epoch, values | missing)
        self.runner.epochs_trained -= max(0, self.counted - len(recorded))
        self.counted = min(self.counted, len(recorded))

    def _one_epoch_by_batches(self, epoch: int) -> Logs:
        """Train one epoch with one batch per call of the engine."""
        callbacks = self.callbacks
        totals, ended = np.zeros((1, 2)), ""
        for batch in range(self.steps):
            callbacks.call("on_train_batch_begin", batch, {})
            result = self._train(epoch, batch, 1, None, {})
            if result["interrupted"]:
                raise KeyboardInterrupt
            totals, ended = result["partial"][None], result["ended"]
            if self.stop_on_nan and result["nonfinite_step"] >= 0:
                self._terminate(batch)
            logs = {key: values[0] for key, values in self._columns(totals).items()}
            callbacks.call("on_train_batch_end", batch, logs)
            if callbacks.stop_training:
                break
        val_totals = np.zeros((0, 2)) if self.validation is None else self._tested_validation()
        logs = self._notify(epoch, {"totals": totals, "val_totals": val_totals})[1]
        self._end(ended, epoch + 1)
        return logs

    def _train(
        self, epoch: int, first_batch: int, steps: int, validation: Rows | None, result: dict[str, Any]
    ) -> dict[str, Any]:
        """Make steps in one call of the engine, or in several that go on with a long epoch, as if it were one.

        The engine keeps the totals of an epoch from one call to the next. `result` is filled and returned.
        """
        made = 0
        while True:
            asked = min(steps - made, CALL_STEPS)
            self._call(epoch, first_batch + made, asked, validation, result)
            broken = self.stop_on_nan and result["nonfinite_step"] >= 0
            if broken:
                result["nonfinite_step"] += made
            made += result["steps"]
            if broken or made == steps or result["steps"] < asked or result["interrupted"]:
                result["steps"] = made
                return result

    def _call(self, epoch: int, first_batch: int, steps: int, validation: Rows | None, result: dict[str, Any]) -> None:
        bars = [bar for bar in self.bars if bar.wants_progress]

        def progress(steps_done: int, loss_sum: float, rows: float) -> None:
            ahead, batch = divmod(first_batch + steps_done, self.steps)
            for bar in bars:
                bar.running(epoch + ahead, batch / self.steps, loss_sum / rows if rows else math.nan)

        probes, trained = self.history.probes, self.runner.epochs_trained
        try:
            self.runner.train(
                self.optimizer,
                self.data,
                validation,
                batch_size=self.batch_size,
                shuffle=self.options.shuffle,
                first_batch=first_batch,
                steps=steps,
                stop_on_nan=self.stop_on_nan,
                progress=progress if bars else None,
                n_threads=self.options.n_threads,
                result=result,
                **({} if probes is None else probes.request()),
            )
        finally:
            self.counted += self.runner.epochs_trained - trained
        if probes is not None:
            probes.add(result["probes"], epoch - trained)

    def _columns(self, totals: Array, prefix: str = "") -> dict[str, list[float]]:
        return columns(totals, self.metrics, self.runner.net.outputs, prefix)

    def _evaluate(self, rows: Rows) -> Array:
        return self.runner.totals(rows, self.options.n_threads)

    def _tested_validation(self) -> Array:
        """Totals (1, K) of an evaluation of the validation data, with the test hooks around it."""
        assert self.validation is not None
        call = self.callbacks.call
        call("on_test_begin", {})
        call("on_test_batch_begin", 0, {})
        totals = self._evaluate(self.validation)[None]
        logs = {key: values[0] for key, values in self._columns(totals).items()}
        call("on_test_batch_end", 0, logs)
        call("on_test_end", logs)
        return totals

    def _notify(self, epoch: int, result: dict[str, Any]) -> tuple[int, Logs]:
        """Call the callbacks for finished epochs; return how many these are, and the last logs.

        Warns, once, if the loss is not finite any more.
        """
        self.latest = (epoch, result)
        values = self._values(result)
        logs = self.callbacks.epochs_end(epoch, values)
        bad = next((i for i, loss in enumerate(values["loss"]) if not math.isfinite(loss)), None)
        if bad is not None and self.finite:
            self.finite = False
            if not self.stop_on_nan:
                warnings.warn(
                    f"fit: the loss became {values['loss'][bad]} in epoch {epoch + bad + 1}; a finite loss is needed "
                    "to learn: use a smaller learning rate, scale x and y to about 1, or clipnorm=1 in "
                    "the optimizer; callbacks=[TerminateOnNaN()] stops at once",
                    RuntimeWarning,
                    stacklevel=6,
                )
        return len(values["loss"]), logs

    def _terminate(self, batch: int) -> None:
        if self.says_so:
            print(f"TerminateOnNaN: the loss of batch {batch} is not finite; training stops")
        self.callbacks.stop_training = True
