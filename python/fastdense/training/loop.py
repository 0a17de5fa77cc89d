"""The training loop of `fit`: how many steps each engine call runs, and which callbacks run between calls."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Array
from ..callbacks import CallbackList, History, ProgressBar, TerminateOnNaN
from ..callbacks.base import Logs
from ..callbacks.progress import say
from ..data.rows import Rows
from ..metrics import Metric
from ..optimizers import Optimizer
from ..optimizers.full_batch import ENDINGS
from ..runners.hook import Values
from ..runners.single import Runner
from .logs import columns
from .options import Options
from .pacing import Pacing
from .validation import Validations, tested

if TYPE_CHECKING:
    from .ranks import Ranks  # few programs need it

CALL_STEPS = 1 << 22  # the most steps of a call, since the learning rates of all of them are passed


class Fit:
    """One training run of one net; everything was checked before. What an epoch is, the classes below say.

    Parameters
    ----------
    runner : Runner
    optimizer : Optimizer
    metrics : sequence of Metric
    validation : Validations or None
    options : Options
    callbacks : CallbackList
        Those of the user, a `History` and progress bars; its `stop_training` ends the run.
    ranks : Ranks, optional
        The other processes that train this net.
    """

    def __init__(
        self,
        runner: Runner,
        optimizer: Optimizer,
        metrics: Sequence[Metric],
        validation: Validations | None,
        options: Options,
        callbacks: CallbackList,
        ranks: Ranks | None = None,
    ) -> None:
        self.runner, self.optimizer, self.metrics, self.callbacks = runner, optimizer, metrics, callbacks
        self.validation, self.options, self.ranks = validation, options, ranks
        self.bars = [callback for callback in callbacks.callbacks if isinstance(callback, ProgressBar)]
        watches = [callback for callback in callbacks.callbacks if isinstance(callback, TerminateOnNaN)]
        self.stop_on_nan, self.raise_on_nan = bool(watches), any(watch.raise_error for watch in watches)
        self.says_so = any(not callback.silent for callback in watches)
        self.history = next(callback for callback in callbacks.callbacks if isinstance(callback, History))
        self.finite = True
        self.latest: tuple[int, dict[str, Any]] | None = None  # first epoch and result of the last call of the engine
        self.counted = 0  # epochs that the runner has counted in this run

    def run(self) -> None:
        """Train; on an exception the net is that of the last finished step and the history has all finished epochs.

        An epoch is finished when it was validated, too: the runner counts those that the history has.
        """
        callbacks, pacing = self.callbacks, self._pacing()
        epoch = self.options.initial_epoch
        logs: Logs = {}
        callbacks.stop_training = False
        try:
            callbacks.call("on_train_begin", {})
            epoch = int(callbacks.params.get("initial_epoch", epoch))  # `BackupAndRestore` goes on with a later one
            try:
                self._check_ranks(epoch)
                while epoch < self.options.epochs and not self._stops():
                    if callbacks.by_epoch:
                        callbacks.call("on_epoch_begin", epoch, {})
                    if callbacks.by_batch:
                        done, logs = self._epochs_by_batches(epoch)
                        epoch += done
                        continue
                    ahead, left = callbacks.epochs_ahead(), self.options.epochs - epoch
                    count = 1 if ahead == 1 else pacing.next(left if ahead is None else min(left, ahead))
                    if self.validation is not None:
                        count = self.validation.alike(epoch, count)
                    began = time.perf_counter()
                    done, logs = self._epochs(epoch, count)
                    pacing.learn(done, time.perf_counter() - began)
                    epoch += done
                if self.optimizer.use_ema and self.runner.step:
                    self.runner.take_average()
                self._check_ranks(epoch)
                callbacks.call("on_train_end", logs)
            except BaseException as error:
                self._record_the_rest()
                callbacks.call("on_train_exception", error)
                raise
        finally:
            for bar in self.bars:
                bar.close()

    def _stops(self) -> bool:
        stops = self.callbacks.stop_training
        return stops if self.ranks is None else self.ranks.any(stops)

    def _check_ranks(self, epoch: int) -> None:
        """Raise unless the model is the same on all ranks: before the first step and after the last one."""
        if self.ranks is not None:
            self.ranks.check_state(self.runner, epoch, self.stop_on_nan)

    def _pacing(self) -> Pacing:
        """How many epochs a call may train."""
        raise NotImplementedError

    def _epochs(self, epoch: int, count: int) -> tuple[int, Logs]:
        """Train `count` epochs; return how many finished, and the last logs."""
        raise NotImplementedError

    def _epochs_by_batches(self, epoch: int) -> tuple[int, Logs]:
        """Train one epoch with one batch per call of the engine; return how many finished, and the last logs."""
        raise NotImplementedError

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
        collected, val_collected = result.get("collected", []), result.get("val_collected", [])
        if not self._due(result):
            return self._columns(result["totals"], collected)
        whole = min(len(result["totals"]), len(result["val_totals"]))  # an interrupt may come between the two
        validated = self._columns(result["val_totals"][:whole], val_collected[:whole], "val_")
        return self._columns(result["totals"][:whole], collected[:whole]) | validated

    def _due(self, result: dict[str, Any]) -> bool:
        """Whether the epochs of a result are followed by a validation."""
        return self.validation is not None and self.validation.due(result["epoch"])

    def _record_the_rest(self) -> None:
        """After an exception: record finished epochs that callbacks have not seen, and count no others."""
        recorded = self.history.epoch
        epoch, result = (0, {}) if self.latest is None or self.ranks is not None else self.latest
        if "totals" in result and (not recorded or recorded[-1] < epoch):
            values = self._values(result)
            missing = {key: [math.nan] * len(values["loss"]) for key in self.history.history if key not in values}
            if not self._due(result):  # validated epochs alone have these
                missing = {key: column for key, column in missing.items() if not key.startswith("val_")}
            self.history.on_epochs_end(epoch, values | missing)
        self.runner.epochs_trained -= max(0, self.counted - len(recorded))
        self.counted = min(self.counted, len(recorded))

    def _columns(self, totals: Array, collected: list[Values], prefix: str = "") -> dict[str, list[Any]]:
        return columns(totals, self.metrics, self.runner.net.outputs, prefix, collected)

    def _validate(self, result: dict[str, Any]) -> None:
        """Add an evaluation of the validation data, with the test hooks around it, to the result of an epoch."""
        assert self.validation is not None
        data, threads = self.validation.data, self.options.n_threads
        self.callbacks.call("on_test_begin", {})
        totals, collected = tested(self.runner, data, threads, self.callbacks, self._logs, self.options.batch_size)
        result["val_totals"], result["val_collected"] = totals[None], [collected]

    def _finish(self, epoch: int, totals: Array, collected: Values) -> Logs:
        """Validate after an epoch with totals (K,), if it is time, and call the callbacks; return the logs."""
        result: dict[str, Any] = {"epoch": epoch, "totals": totals[None], "collected": [collected]}
        if self._due(result):
            self._validate(result)
        return self._notify(epoch, result)[1]

    def _logs(self, totals: Array, collected: Values) -> Logs:
        return {key: values[0] for key, values in self._columns(totals[None], [collected]).items()}

    def _notify(self, epoch: int, result: dict[str, Any]) -> tuple[int, Logs]:
        """Call the callbacks for finished epochs; return how many these are, and the last logs.

        Warns, once, if the loss is not finite any more.
        """
        self.latest = (epoch, result)
        if self.ranks is not None:
            for name in ("totals", "val_totals"):
                if name in result:
                    self.ranks.sum(result[name])
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

    def _terminate(self, batch: int, totals: Array) -> None:
        """Stop, or raise, after a batch whose loss is not finite; it is in these totals (K,)."""
        if self.raise_on_nan:
            loss = totals[0] / totals[1]
            raise RuntimeError(
                f"TerminateOnNaN: the loss became {loss} in batch {batch}; a finite loss is needed to learn: "
                "use a smaller learning rate, or raise_error=False to stop without an error"
            )
        if self.says_so:
            print(f"Batch {batch}: Invalid loss, terminating training")
        self.callbacks.stop_training = True


class ArrayFit(Fit):
    """A training on arrays, where an epoch is a pass over all rows; many of them may be one call of the engine.

    Parameters
    ----------
    data : Rows
    runner, optimizer, metrics, validation, options, callbacks
        As in `Fit`.
    """

    def __init__(self, data: Rows, *rest: Any) -> None:
        super().__init__(*rest)
        self.data = data
        self.batch_size = min(self.options.batch_size, len(data))
        self.steps = math.ceil(len(data) / self.batch_size)  # per epoch

    def _pacing(self) -> Pacing:
        return Pacing(self.steps, CALL_STEPS if self.ranks is None else 1)  # of ranks, after each epoch

    def _epochs(self, epoch: int, count: int) -> tuple[int, Logs]:
        result: dict[str, Any] = {"epoch": epoch}
        due, inside = self._due(result), None
        if due and self.validation is not None and not self.callbacks.sees_tests:
            inside = self.validation.rows
        self.latest = (epoch, result) if inside is not None or not due else None  # filled also by a call that raises
        self._train(epoch, 0, count * self.steps, inside, result)
        cut_short = self.stop_on_nan and result["nonfinite_step"] >= 0
        if cut_short and result["steps"] % self.steps:
            self._append(result, "", result["partial"], result.get("partial_collected", {}))
            if inside is not None:
                last = self.runner.totals(inside, self.options.n_threads, self.options.batch_size)
                self._append(result, "val_", *last)
        if due and inside is None and not result["interrupted"]:
            self._validate(result)
        if cut_short:
            self._terminate(result["nonfinite_step"] % self.steps, result["totals"][-1])
        done, logs = self._notify(epoch, result)
        if result["interrupted"]:
            raise KeyboardInterrupt
        self._end(result["ended"], epoch + done)
        return done, logs

    def _epochs_by_batches(self, epoch: int) -> tuple[int, Logs]:
        callbacks = self.callbacks
        totals, ended = np.zeros((1, 2)), ""
        collected: list[Values] = [{}]
        for batch in range(self.steps):
            callbacks.call("on_train_batch_begin", batch, {})
            result = self._train(epoch, batch, 1, None, {})
            if result["interrupted"]:
                raise KeyboardInterrupt
            totals, ended = result["partial"][None], result["ended"]
            collected = [result.get("partial_collected", {})]
            if self.stop_on_nan and result["nonfinite_step"] >= 0:
                self._terminate(batch, totals[0])
            callbacks.call("on_train_batch_end", batch, self._logs(totals[0], collected[0]))
            if callbacks.stop_training:
                break
        logs = self._finish(epoch, totals[0], collected[0])
        self._end(ended, epoch + 1)
        return 1, logs

    def _append(self, result: dict[str, Any], prefix: str, totals: Array, collected: Values) -> None:
        """Add an epoch that was cut short to those of a result."""
        result[f"{prefix}totals"] = np.concatenate([result[f"{prefix}totals"], totals[None]])
        result[f"{prefix}collected"] = [*result.get(f"{prefix}collected", []), collected]

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
                ranks=None if self.ranks is None else self.ranks.call,
                result=result,
                **({} if probes is None else probes.request()),
            )
        finally:
            self.counted += self.runner.epochs_trained - trained
        if probes is not None:
            probes.add(result["probes"], epoch - trained)
