"""Trials: short trainings of changed plans within a budget of work, see `work.py`."""

from __future__ import annotations

import contextlib
import math
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from ..arrays import Array
from ..callbacks import TerminateOnNaN
from ..callbacks.base import Columns
from ..callbacks.progress import Bar, is_interactive, make_bar
from ..data.baseline import mean_loss
from ..model.base import BaseModel
from . import work
from .plan import Plan
from .subject import State, Subject
from .witnesses import folds

LEAST_ROWS = 200  # needed to tell noise from signal
SCORED_ROWS, FEWEST_SCORED, SCORED_SECONDS = 5000, 500, 0.05  # at most, at least; in between as the budget allows
QUIET_SECONDS = 2.0  # before a progress bar appears
CLOCK_SECONDS, CLOCK_FACTOR = (
    60.0,
    20.0,
)  # after so long, and so many times the budget, trials stop whatever they are at
CHECKS = (0.1, 0.4, 1.0)  # when the error on held-out rows is measured, as fractions of a training
FALLING = 0.02  # of the constant's error: what still falls faster between two checks has not converged
WHOLE = 0.3  # part of its epochs that a training needs to show that
GROUPS = 10  # of rows, for the sampling error


@dataclass(frozen=True)
class Run:
    """Result of one training.

    Attributes
    ----------
    plan : Plan
        What was trained, with the number of epochs that there was work left for.
    model : BaseModel
        Trained.
    losses : list of float
        One per epoch; the last one is not finite if it diverged.
    error : float
        See `Task.errors`: 0 is perfect, 1 no better than a constant, infinite if it diverged.
    seconds : float
        Of work, see `work.py`.
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


@dataclass(frozen=True)
class Unseen:
    """How a training went on rows that it did not see.

    Attributes
    ----------
    error : float
        The smallest one during training.
    converged : bool
        Whether more training would not have reduced it: it was made to a good part, and the error had stopped falling.
    """

    error: float = 0.0
    converged: bool = True


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """No warnings: trials are expected to fail."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


class OutOfWork(Exception):
    """The budget does not suffice for a trial."""


class OutOfTime(Exception):
    """The clock stopped the trials; what was found then depends on the machine."""


class _TrialBar:
    """A progress bar over the budget, shown after two seconds on an interactive terminal."""

    def __init__(self, laboratory: Laboratory, verbose: int | str) -> None:
        self.laboratory = laboratory
        self._bar: Bar | None = None
        self._wanted = verbose in ("auto", 1) and is_interactive(sys.stdout)
        self._drawn = time.perf_counter()

    def draw(self) -> None:
        """Show the fraction of the budget used, at most ten times a second."""
        now, lab = time.perf_counter(), self.laboratory
        if not self._wanted or now - lab.began < QUIET_SECONDS or now - self._drawn < 0.1:
            return
        self._drawn = now
        if self._bar is None:
            self._bar = make_bar(sys.stdout, 0, 100)
            self._wanted = self._bar is not None
        if self._bar is not None:
            used = min(1.0, lab.work.spent / lab.work.budget)
            self._bar.draw(round(100 * used), "diagnose", f"trial {lab.trials + 1}")

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _Watch(TerminateOnNaN):
    """Keeps the losses of a training, and stops it when the loss is not finite; at a deadline only as a last resort."""

    deferred: ClassVar[bool] = True
    silent: ClassVar[bool] = True

    def __init__(self, until: float, bar: _TrialBar) -> None:
        super().__init__()
        self.until, self.late, self.bar = until, False, bar
        self.losses: list[float] = []

    def on_epochs_end(self, first_epoch: int, logs: Columns) -> None:
        """Note the losses and look at the clock."""
        self.losses += logs["loss"]
        self.bar.draw()
        if time.perf_counter() > self.until:
            self.late = True
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """As `on_epochs_end`."""
        self.on_epochs_end(epoch, {key: [value] for key, value in (logs or {}).items()})

    @property
    def broken(self) -> bool:
        """Whether the loss was not finite."""
        return not all(map(math.isfinite, self.losses))


class Laboratory:
    """Trains plans on a subject's data within the budget of its work, and caches the results.

    Parameters
    ----------
    subject : Subject
    verbose : {"auto", 0, 1, 2}
        Whether to show a bar, as in `Model.fit`.

    Attributes
    ----------
    epochs : int
        Of the training that trials are compared with: none is made with fewer, unless its own plan has fewer.
    """

    def __init__(self, subject: Subject, verbose: int | str = 0) -> None:
        self.subject, self.work, self.began = subject, subject.work, time.perf_counter()
        self.bar = _TrialBar(self, verbose)
        self.runs: dict[str, Run] = {}
        self.trials, self.epochs = 0, 1
        self.x, self.y = subject.good_x, subject.good_y
        self.w = self.all_w = None if subject.weights is None else subject.weights[subject.good]
        self.rows, self.groups = len(self.x), subject.groups
        scored = np.setdiff1d(np.arange(self.rows), subject.outliers)
        scored = scored[self._sample(len(scored), 2)]
        self._score_x = np.ascontiguousarray(self.x[scored])
        self._score_y = np.asarray(subject.good_columns[scored], dtype=np.float64)

    def _sample(self, rows: int, seed: int) -> Array:
        """Numbers of the rows that errors are measured on: fewer for a large net."""
        each = work.sizes_of(self.subject.model).forward(1)
        most = work.affordable_rows(SCORED_SECONDS, each, FEWEST_SCORED, SCORED_ROWS)
        if rows <= most:
            return np.arange(rows)
        return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))

    @property
    def left(self) -> float:
        """Work left, in seconds."""
        return self.work.left

    @property
    def scored_rows(self) -> int:
        """Number of rows that errors are measured on."""
        return len(self._score_x)

    @property
    def scored(self) -> tuple[Array, Array]:
        """The rows that errors are measured on, and their targets."""
        return self._score_x, self._score_y

    def use_rows(self, rows: int) -> None:
        """Train on fewer rows from now on; cached runs are dropped."""
        if rows < self.rows:
            chosen = np.sort(np.random.default_rng(3).choice(len(self.x), rows, replace=False))
            self.x, self.y, self.rows = np.ascontiguousarray(self.x[chosen]), self.y[chosen], rows
            self.w = None if self.w is None else self.w[chosen]
            self.groups = None if self.groups is None else self.groups[chosen]
            self.runs.clear()

    # ---- errors ------------------------------------------------------------------------------------------------------

    def error_on(self, model: BaseModel, plan: Plan, x: Array, y: Array) -> float:
        """Error of a model's predictions for these rows, see `Task.errors`."""
        self.work.charge(work.sizes_of(model).forward(len(x)))
        return self.task_error(plan, y, model.predict(x))

    def task_error(self, plan: Plan, y: Array, predictions: Array) -> float:
        """Error of predictions that a model of this plan made."""
        threshold = self.subject.threshold(plan.output_activation(), plan.loss)
        return self.subject.task.errors(y, predictions, threshold)

    def error_of(self, model: BaseModel, plan: Plan) -> float:
        """Error of a model's predictions for the rows that all trials are compared on."""
        return self.error_on(model, plan, self._score_x, self._score_y)

    def sampling_error(self, model: BaseModel, plan: Plan) -> float:
        """Standard error of `error_of` for being measured on a sample of rows (jackknife over groups); 0 if on all."""
        rows = len(self._score_x)
        if rows == int(self.subject.good.sum()) - len(self.subject.outliers):
            return 0.0
        self.work.charge(work.sizes_of(model).forward(rows) + work.numbers(4 * GROUPS * self._score_y.size))
        predictions = model.predict(self._score_x)
        threshold = self.subject.threshold(plan.output_activation(), plan.loss)
        group = np.random.default_rng(5).permutation(rows) % GROUPS
        errors = np.array([self.subject.task.errors(self._score_y[group != g], predictions[group != g], threshold)
                           for g in range(GROUPS)])  # fmt: skip
        return float(np.sqrt((GROUPS - 1) * errors.var())) if np.isfinite(errors).all() else math.inf

    def loss_of(self, model: BaseModel, plan: Plan) -> float:
        """The user's loss of a model, as their own training shows it but for penalties; NaN if it has another loss."""
        subject = self.subject
        if plan.loss != subject.loss or model.outputs != subject.model.outputs:
            return math.nan
        self.work.charge(work.sizes_of(model).forward(len(self._score_x)))
        return self.mean_loss(self._score_y, np.asarray(model.predict(self._score_x), dtype=np.float64))

    def mean_loss(self, y: Array, predictions: Array) -> float:
        """The user's loss of predictions, with the user's loss weight."""
        targets = y[:, 0] if self.subject.loss.sparse else y
        return float(self.subject.model.loss_weights * mean_loss(self.subject.loss, targets, predictions))

    # ---- trainings ---------------------------------------------------------------------------------------------------

    def seconds(self, plan: Plan) -> float:
        """Work of a trial of a plan."""
        return work.training_seconds(plan, self.rows) + work.sizes_of(plan).forward(len(self._score_x))

    def run(self, plan: Plan, most: float = math.inf) -> Run:
        """Train a plan, with `most` seconds of work.

        A plan with more epochs than `self.epochs` is trained with as many of them as there is work left for.

        Raises
        ------
        OutOfWork
            If these are fewer than `self.epochs`.
        OutOfTime
        """
        key = repr(plan)
        if key in self.runs:
            return self.runs[key]
        made = self._affordable(plan, min(most, self.left), min(plan.epochs, self.epochs))
        short = repr(made)
        if short not in self.runs:
            self.runs[short] = self._train(made, self.x, self.y, self.w, self._score_x, self._score_y)[0]
        self.runs[key] = self.runs[short]
        return self.runs[key]

    def split_run(self, plan: Plan, most: float = math.inf) -> tuple[Run, Unseen]:
        """Train a plan on three quarters of the rows, with as many epochs as `most` seconds of work allow.

        Returns
        -------
        Run
            Its error is that on the rows of `error_of`.
        Unseen
            What it did on the others. With fewer than `LEAST_ROWS` rows there are none: all are trained on.

        Raises
        ------
        OutOfWork
            If they allow no epoch.
        OutOfTime
        """
        made = self._affordable(plan, min(most, self.left), 1)
        if self.rows < LEAST_ROWS:
            return self.run(made), Unseen()
        order = np.random.default_rng(4).permutation(self.rows)
        train, test = np.sort(order[self.rows // 4 :]), order[: self.rows // 4]
        if self.groups is not None:
            train, test = folds(self.rows, 1, self.groups)[0]
        test = np.sort(test[self._sample(len(test), 6)])
        y = np.asarray(np.asarray(self.y[test]).reshape(len(test), -1), dtype=np.float64)
        x, w = np.ascontiguousarray(self.x[train]), None if self.w is None else self.w[train]
        run, errors = self._train(made, x, self.y[train], w, np.ascontiguousarray(self.x[test]), y, CHECKS)
        error = self.error_of(run.model, plan) if math.isfinite(run.error) else math.inf
        smallest = min(errors)
        enough = made.epochs >= WHOLE * plan.epochs
        converged = enough and (errors[-1] > smallest or len(errors) < 2 or errors[-2] - errors[-1] < FALLING)
        return replace(run, error=error), Unseen(smallest, converged)

    def solve(self, plan: Plan, fraction: float) -> Run:
        """Solve for the last layer of a plan, without training: on the rows that a fraction of the work left allows.

        Its error is the larger one of that on the rows solved for and that on others.

        Raises
        ------
        OutOfWork
            If the rows are too few for the number of weights.
        """
        subject = self.subject
        known = len(subject.good_x)
        fixed, each = work.solving_seconds(plan, 0), work.solving_seconds(plan, 1000) / 1000
        rows = work.affordable_rows(fraction * self.left - fixed, each - fixed / 1000, 0, known)
        if rows < max(LEAST_ROWS, 3 * work.sizes_of(plan).matrices[-1][0]):
            raise OutOfWork
        before = self.work.spent
        self.work.charge(work.solving_seconds(plan, rows))
        chosen = np.random.default_rng(7).choice(known, rows, replace=False)
        train, test = np.sort(chosen[rows // 4 :]), chosen[: rows // 4]
        test = np.sort(test[self._sample(len(test), 6)])
        x, y, columns, w = subject.good_x, subject.good_y, subject.good_columns, self.all_w
        with _quietly():
            model = plan.solve(plan.build(), np.ascontiguousarray(x[train]), y[train], None if w is None else w[train])
            seen = self.error_of(model, plan)
            unseen = self.error_on(model, plan, np.ascontiguousarray(x[test]), np.asarray(columns[test], np.float64))
        self.trials += 1
        return Run(plan, model, [], max(seen, unseen), self.work.spent - before, subject)

    def _affordable(self, plan: Plan, seconds: float, least: int) -> Plan:
        """The plan with as many epochs as so much work allows, at least `least`."""
        fixed = work.start_seconds(plan, self.rows) + work.sizes_of(plan).forward(len(self._score_x))
        epochs = int((seconds - fixed) / work.epoch_seconds(plan, self.rows))
        if epochs >= plan.epochs:
            return plan
        if epochs < least:
            raise OutOfWork
        return replace(plan, epochs=epochs)

    def _train(
        self, plan: Plan, x: Array, y: Array, w: Array | None, score_x: Array, score_y: Array,
        checks: Sequence[float] = (1.0,),
    ) -> tuple[Run, list[float]]:  # fmt: skip
        """Train a plan; also the errors on the score rows after these fractions of the epochs."""
        until = self.began + CLOCK_SECONDS + CLOCK_FACTOR * self.work.budget
        before, done = self.work.spent, 0
        watch, errors = _Watch(until, self.bar), []
        self.work.charge(work.start_seconds(plan, len(x)))
        model = plan.build()
        with _quietly():
            for share in checks:
                epochs = max(1, round(share * plan.epochs)) - done
                if epochs < 1:
                    continue
                options = {**plan.fit_options(), "epochs": epochs}
                if done:
                    options.pop("starts", None)
                model.fit(x, y, verbose=0, sample_weight=w if plan.weighted else None, callbacks=[watch], **options)
                if watch.late:
                    raise OutOfTime
                done += epochs
                self.work.charge(epochs * work.epoch_seconds(plan, len(x)))
                errors.append(math.inf if watch.broken else self.error_on(model, plan, score_x, score_y))
                if watch.broken:
                    break
        self.trials += 1
        seconds = self.work.spent - before
        return Run(plan, model, watch.losses, errors[-1], seconds, self.subject), errors

    def held_run(self, plan: Plan, fold: int | None = None, *, together: bool = False) -> Run:
        """Train a plan on part of the rows; the run's error is that on rows kept out.

        Those are the user's validation rows (`fold` None), or a quarter of the training rows, one of `FOLDS`; with
        `together`, of the training and the validation rows.

        Raises
        ------
        OutOfWork
            If the budget does not suffice for all epochs.
        OutOfTime
        """
        key = f"kept out {fold} {together} {plan!r}"
        if key not in self.runs:
            made = self._affordable(plan, self.left, plan.epochs)
            (x, y, w), (other_x, other_y) = self._sides(fold, together)
            self.runs[key] = self._train(made, x, y, w, np.ascontiguousarray(other_x), other_y)[0]
        return self.runs[key]

    def held_predictions(self, plan: Plan, fold: int | None = None, *, together: bool = False) -> tuple[Array, Array]:
        """Targets of the rows kept out of such a run, and its predictions for them."""
        model = self.held_run(plan, fold, together=together).model
        x, y = self._sides(fold, together)[1]
        self.work.charge(work.sizes_of(model).forward(len(x)))
        return y, np.asarray(model.predict(np.ascontiguousarray(x)), dtype=np.float64)

    def _sides(self, fold: int | None, together: bool) -> tuple[tuple[Array, Array, Array | None], tuple[Array, Array]]:
        """Rows to train on, with their weights, and rows kept out."""
        held = self.subject.held
        x, y, w, groups = self.x, self.y, self.w, self.groups
        if held is not None and fold is None:
            return (x, y, w), (held.x, held.y)
        if held is not None and together:
            groups = None if groups is None else np.concatenate([groups, len(x) + np.arange(len(held.x))])
            x, w = np.concatenate([x, held.x]), None
            y = np.concatenate([y, held.y.astype(y.dtype).reshape((len(held.y), *y.shape[1:]))])
        known, asked = folds(len(x), groups=groups)[fold or 0]
        if not together:
            asked = np.setdiff1d(asked, self.subject.outliers)
        columns = np.asarray(y[asked].reshape(len(asked), -1), dtype=np.float64)
        return (np.ascontiguousarray(x[known]), y[known], None if w is None else w[known]), (x[asked], columns)
