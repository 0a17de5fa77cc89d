"""Trials: short trainings of changed plans within a time budget."""

from __future__ import annotations

import contextlib
import math
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from ..arrays import Array
from ..callbacks import Callback
from ..callbacks.base import Columns
from ..callbacks.progress import Bar, is_interactive, make_bar
from ..model.base import BaseModel
from .plan import Plan
from .subject import State, Subject
from .witnesses import folds

LEAST_ROWS = 200  # needed to tell noise from signal
SCORED_ROWS = 5000
QUIET_SECONDS = 2.0  # before a progress bar appears
FIRST_EPOCHS = 2  # timed to plan the rest


@dataclass(frozen=True)
class Run:
    """Result of one training.

    Attributes
    ----------
    plan : Plan
    model : BaseModel
        Trained.
    losses : list of float
        One per epoch.
    error : float
        See `Task.errors`: 0 is perfect, 1 no better than a constant, infinite if it diverged.
    seconds : float
    """

    plan: Plan
    model: BaseModel
    losses: list[float]
    error: float
    seconds: float
    subject: Subject

    @cached_property
    def state(self) -> State:
        """The trained net on the probe rows."""
        return self.subject.state_of(self.model)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """No warnings: trials are expected to fail."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


class OutOfTime(Exception):
    """The time budget is spent."""


class _TrialBar:
    """A progress bar over the time budget, shown after two seconds on an interactive terminal."""

    def __init__(self, laboratory: Laboratory, verbose: int | str) -> None:
        self.laboratory = laboratory
        self._bar: Bar | None = None
        self._wanted = verbose in ("auto", 1) and is_interactive(sys.stdout)
        self._drawn = time.perf_counter()

    def draw(self) -> None:
        """Show the fraction of time used, at most ten times a second."""
        now, lab = time.perf_counter(), self.laboratory
        if not self._wanted or now - lab.began < QUIET_SECONDS or now - self._drawn < 0.1:
            return
        self._drawn = now
        if self._bar is None:
            self._bar = make_bar(sys.stdout, 0, 100)
            self._wanted = self._bar is not None
        if self._bar is not None:
            used = min(1.0, (now - lab.began) / lab.seconds)
            self._bar.draw(round(100 * used), "diagnose", f"trial {lab.trials + 1}")

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _Deadline(Callback):
    """Stops a training at a deadline, or when the loss is not finite."""

    deferred: ClassVar[bool] = True

    def __init__(self, until: float, bar: _TrialBar) -> None:
        super().__init__()
        self.until, self.hit, self.bar = until, False, bar
        self.losses: list[float] = []

    def on_epochs_end(self, first_epoch: int, logs: Columns) -> None:
        """Check the clock and the loss."""
        self.losses += logs["loss"]
        self.bar.draw()
        bad = not all(map(math.isfinite, logs["loss"]))
        if time.perf_counter() > self.until or bad:
            self.hit = self.hit or not bad
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """As `on_epochs_end`."""
        self.on_epochs_end(epoch, {key: [value] for key, value in (logs or {}).items()})


class Laboratory:
    """Trains plans on a subject's data within a time budget, and caches the results.

    Parameters
    ----------
    subject : Subject
    seconds : float
        Time budget of all trials.
    verbose : {"auto", 0, 1, 2}
        Whether to show a bar, as in `Model.fit`.
    """

    def __init__(self, subject: Subject, seconds: float, verbose: int | str = 0) -> None:
        self.subject, self.began, self.seconds = subject, time.perf_counter(), seconds
        self.bar = _TrialBar(self, verbose)
        self.runs: dict[str, Run] = {}
        self.trials = 0
        self.x = subject.good_x
        self.y = subject.raw_y[subject.good] if not subject.usable else subject.raw_y
        self.w = None if subject.weights is None else subject.weights[subject.good]
        self.rows = len(self.x)
        scored = np.setdiff1d(np.arange(self.rows), subject.outliers)
        if len(scored) > SCORED_ROWS:
            scored = np.sort(np.random.default_rng(2).choice(scored, SCORED_ROWS, replace=False))
        self._score_x = np.ascontiguousarray(self.x[scored])
        columns = subject.y[subject.good] if not subject.usable else subject.y
        self._score_y = np.asarray(columns[scored], dtype=np.float64)

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.seconds - (time.perf_counter() - self.began)

    def use_rows(self, rows: int) -> None:
        """Train on fewer rows from now on; cached runs are dropped."""
        if rows < self.rows:
            chosen = np.sort(np.random.default_rng(3).choice(len(self.x), rows, replace=False))
            self.x, self.y, self.rows = np.ascontiguousarray(self.x[chosen]), self.y[chosen], rows
            self.w = None if self.w is None else self.w[chosen]
            self.runs.clear()

    def error_of(self, model: BaseModel, plan: Plan) -> float:
        """Error of a model's predictions, see `Task.errors`."""
        predictions = model.predict(self._score_x)
        threshold = self.subject.threshold(plan.output_activation(), plan.loss)
        return self.subject.task.errors(self._score_y, predictions, threshold)

    def run(self, plan: Plan, most: float = math.inf) -> Run:
        """Train a plan, for at most `most` seconds.

        Raises
        ------
        OutOfTime
            If no time is left.
        """
        key = repr(plan)
        if key in self.runs:
            return self.runs[key]
        if self.left <= 0 and self.runs:
            raise OutOfTime
        began = time.perf_counter()
        until = began + max(0.05, min(most, self.left))
        deadline = _Deadline(until, self.bar)
        model = plan.build()
        with _quietly():
            model.fit(
                self.x,
                self.y,
                verbose=0,
                sample_weight=self.w if plan.weighted else None,
                callbacks=[deadline],
                **plan.fit_options(),
            )
            error = self.error_of(model, plan)
        if not all(map(math.isfinite, deadline.losses)):
            error = math.inf
        made = Run(plan, model, deadline.losses, error, time.perf_counter() - began, self.subject)
        self.runs[key] = made
        self.trials += 1
        return made

    def split_run(self, plan: Plan, split: bool, most: float) -> tuple[Run, float]:
        """Train a plan on three quarters of the rows; also the smallest error on the others during training.

        If `split` is False, train on all rows; that error is then 0.
        """
        if not split:
            return self.run(plan, most), 0.0
        order = np.random.default_rng(4).permutation(self.rows)
        train, test = np.sort(order[self.rows // 4 :]), np.sort(order[: self.rows // 4][:SCORED_ROWS])
        x, y = np.ascontiguousarray(self.x[train]), self.y[train]
        w = None if self.w is None else self.w[train]
        unseen_x = np.ascontiguousarray(self.x[test])
        unseen_y = np.asarray(np.asarray(self.y[test]).reshape(len(test), -1), dtype=np.float64)
        if self.left <= 0:
            raise OutOfTime
        began = time.perf_counter()
        deadline = _Deadline(began + max(0.05, min(most, self.left)), self.bar)
        model, smallest = plan.build(), math.inf
        threshold = self.subject.threshold(plan.output_activation(), plan.loss)
        with _quietly():
            for share in (0.1, 0.3, 0.6):
                options = {**plan.fit_options(), "epochs": max(1, round(share * plan.epochs))}
                model.fit(x, y, verbose=0, sample_weight=w if plan.weighted else None, callbacks=[deadline], **options)
                error = self.subject.task.errors(unseen_y, model.predict(unseen_x), threshold)
                smallest = min(smallest, error)
                if deadline.hit:
                    break
            error = self.error_of(model, plan)
        return Run(plan, model, deadline.losses, error, time.perf_counter() - began, self.subject), smallest

    def held_run(self, plan: Plan, fold: int | None = None, *, together: bool = False) -> Run:
        """Train a plan on part of the rows; the run's error is that on rows kept out.

        Those are the user's validation rows (`fold` None), or a quarter of the training rows, one of `FOLDS`; with
        `together`, of the training and the validation rows.
        """
        key = f"kept out {fold} {together} {plan!r}"
        if key in self.runs:
            return self.runs[key]
        if self.left <= 0:
            raise OutOfTime
        began = time.perf_counter()
        deadline = _Deadline(began + max(0.05, self.left), self.bar)
        (x, y, w), (other_x, other_y) = self._sides(fold, together)
        model = plan.build()
        with _quietly():
            weights = w if plan.weighted else None
            model.fit(x, y, verbose=0, sample_weight=weights, callbacks=[deadline], **plan.fit_options())
            error = self.error_on(model, plan, other_x, other_y)
        if deadline.hit:
            raise OutOfTime
        made = Run(plan, model, deadline.losses, error, time.perf_counter() - began, self.subject)
        self.runs[key] = made
        self.trials += 1
        return made

    def _sides(self, fold: int | None, together: bool) -> tuple[tuple[Array, Array, Array | None], tuple[Array, Array]]:
        """Rows to train on, with their weights, and rows kept out."""
        held = self.subject.held
        x, y, w = self.x, self.y, self.w
        if held is not None and fold is None:
            return (x, y, w), (held.x, held.y)
        if held is not None and together:
            x, w = np.concatenate([x, held.x]), None
            y = np.concatenate([y, held.y.astype(y.dtype).reshape((len(held.y), *y.shape[1:]))])
        known, asked = folds(len(x))[fold or 0]
        if not together:
            asked = np.setdiff1d(asked, self.subject.outliers)
        columns = np.asarray(y[asked].reshape(len(asked), -1), dtype=np.float64)
        return (np.ascontiguousarray(x[known]), y[known], None if w is None else w[known]), (x[asked], columns)

    def error_on(self, model: BaseModel, plan: Plan, x: Array, y: Array) -> float:
        """Error of a model's predictions for other rows."""
        threshold = self.subject.threshold(plan.output_activation(), plan.loss)
        return self.subject.task.errors(y, model.predict(np.ascontiguousarray(x)), threshold)

    def seconds_per_epoch(self, plan: Plan) -> float:
        """Time of an epoch of a plan on all rows, estimated from a part of them."""
        part = min(self.rows, max(2 * plan.batch_size, 2048))
        model, x, y = plan.build(), self.x[:part], self.y[:part]
        best = math.inf
        with _quietly():
            for _ in range(FIRST_EPOCHS):
                began = time.perf_counter()
                model.fit(x, y, verbose=0, **replace(plan, epochs=1, starts=1).fit_options())
                best = min(best, time.perf_counter() - began)
        return best * self.rows / part
