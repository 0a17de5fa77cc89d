"""`fit` and `search`: many nets of different settings on a table, and an ensemble of those that help."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from .._model import Model
from ..arguments import integer, number, shorten
from ..arrays import Array, fail
from ..callbacks import EarlyStopping
from ..callbacks.progress import check_verbose
from ..engine.native import available_threads
from ..population.ensemble import Ensemble
from ..population.fit import fit_many
from ..population.selection import Measure, greedy
from ..population.spread import Workers
from ..training.options import check_threads
from .recipe import EPOCHS, NETS, PATIENCE, SPACE, Settings, build, finished
from .result import TabularModel
from .rows import TableRows
from .space import check_space, draw

__all__ = ["fit", "search"]
SAMPLES, STEPS = 10, 16  # of the greedy selection: samples of the validation rows, and steps on each
MOST_NETS = 64  # that are trained where time_limit allows more than a net needs
LEAST_NETS = 4  # for which epochs are fewer where time is short
TRAINING = 0.9  # of the time limit; the rest is for the choice of nets
FULL_ROUND = 0.7  # of the time that nets need, below which no more are begun


def fit(
    x: Any,
    y: Any,
    *,
    task: str,
    metric: str | None = None,
    sample_weight: Any = None,
    validation: Any = 0.2,
    categorical: Any = "from_dtype",
    time_limit: float | None = None,
    n_ensemble: int | None = None,
    random_state: int = 0,
    n_threads: int | None = None,
    verbose: int | str = 0,
    executor: Any = None,
) -> TabularModel:
    """Train an ensemble of nets on a table by one fixed recipe, without tuning.

    Nets with different settings are trained side by side, each until `metric` on the validation rows has not improved
    for a while, and keep their best weights; then those that help are chosen greedily, with replacement.

    Parameters
    ----------
    x : data frame or array of shape (rows, columns)
        Numbers, categories, dates; values may be missing. Frames of pandas, polars, pyarrow and others are read through
        narwhals.
    y : array of shape (rows,), or (rows, targets) of a regression
        Numbers, or labels of any one type.
    task : {"regression", "classification"}
    metric : str, optional
        What early stopping and the choice of nets go by: "rmse" (the default of a regression), "mse", "mae", "r2", or
        "log_loss" (the default of a classification), "accuracy", "auc".
    sample_weight : array of shape (rows,), optional
    validation : (x, y) or float, default 0.2
        Rows that are not trained on but stop and choose, or the fraction of the rows that is taken for that at random;
        of each class the same fraction.
    categorical : "from_dtype", None or sequence
        Which columns hold categories; see `Columns`.
    time_limit : float, optional
        Seconds, above 0, within which to be done: fewer epochs or nets where they are few, more nets where they are
        many. It holds to about an epoch of a net; the result then depends on the machine.
    n_ensemble : int, optional
        Number of nets that are trained, of which some make the ensemble: 24 by default.
    random_state : int, default 0
        Seed of everything that is random; without `time_limit` the result is the same at any number of threads.
    n_threads : int, optional
        By default as many as this process may use.
    verbose : {0, 1, 2, "auto"}, default 0
        As in `Model.fit`.
    executor : executor, or tuple of an executor and an int, optional
        What trains the nets in other processes; see `fit_many`.

    Returns
    -------
    TabularModel

    Raises
    ------
    ValueError, TypeError
        If the data or an argument is invalid; nothing is trained then.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdense import tabular
    >>> random = np.random.default_rng(0)
    >>> x = random.normal(size=(200, 3))
    >>> model = tabular.fit(x, x[:, 0] > x[:, 1], task="classification", n_ensemble=2)
    >>> model.predict_proba(x[:5]).shape
    (5, 2)
    """
    where = "fit"
    count = None if n_ensemble is None else integer(f"{where}: n_ensemble", n_ensemble, least=1)
    data = TableRows.of(where, x, y, task, metric, sample_weight, validation, categorical, random_state)
    return _run(where, data, SPACE, count, time_limit, n_threads, verbose, executor)


def search(
    space: Mapping[str, Any],
    x: Any,
    y: Any,
    *,
    task: str,
    metric: str | None = None,
    n_trials: int = 32,
    sample_weight: Any = None,
    validation: Any = 0.2,
    categorical: Any = "from_dtype",
    time_limit: float | None = None,
    random_state: int = 0,
    n_threads: int | None = None,
    verbose: int | str = 0,
    executor: Any = None,
) -> TabularModel:
    """Search hyperparameters at random: `n_trials` nets of settings drawn from a space are trained side by side.

    Parameters
    ----------
    space : dict
        For some of the hyperparameters of `Settings` a list of choices, or a range ``(low, high)`` or
        ``(low, high, "log")``; the others have the values of ``Settings()``.
    x, y, task, metric, sample_weight, validation, categorical, time_limit, random_state, n_threads, verbose, executor
        As in `fit`.
    n_trials : int, default 32

    Returns
    -------
    TabularModel
        With an ensemble of all that helps; `TabularModel.best` is the best single net, `report_["members"]` the table
        of all trials, and `report_["cross_fitted"]` what to expect on other rows of the choice among so many.

    Raises
    ------
    ValueError, TypeError
        If the space, the data or an argument is invalid; nothing is trained then.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdense import tabular
    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> space = {"width": [16, 32], "learning_rate": (1e-3, 1e-2, "log")}
    >>> found = tabular.search(space, x, x[:, 0] * x[:, 1], task="regression", n_trials=2)
    >>> [trial["width"] for trial in found.report_["members"]]
    [16, 32]
    """
    where = "search"
    checked = check_space(f"{where}: space", space, Settings.names())
    for name, values in checked.items():
        for value in values if isinstance(values, list) else values[:2]:
            _try(where, name, value)
    count = integer(f"{where}: n_trials", n_trials, least=1)
    data = TableRows.of(where, x, y, task, metric, sample_weight, validation, categorical, random_state)
    return _run(where, data, checked, count, time_limit, n_threads, verbose, executor)


def _try(where: str, name: str, value: Any) -> None:
    """Raise, with the name of the hyperparameter, if a net cannot have such a value."""
    probe = TableRows.of(where, np.array([[0.0], [1.0]]), [0, 1], "classification", None, None, 0.5, None, 0)
    try:
        build(replace(Settings(), **{name: value}), probe.columns, probe.task, 0, 1)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: space[{name!r}] holds {shorten(value)}: {error}") from None


def _run(
    where: str,
    rows: TableRows,
    space: Mapping[str, list[Any] | tuple[Any, ...]],
    count: int | None,
    time_limit: Any,
    n_threads: Any,
    verbose: Any,
    executor: Any,
) -> TabularModel:
    """Train nets of settings drawn from a space, and choose."""
    began = time.monotonic()
    limit = None if time_limit is None else number(f"{where}: time_limit", time_limit, above=0)
    pool = _Pool(where, rows, space, check_threads(where, n_threads), check_verbose(where, verbose), executor)
    if limit is None:
        pool.train(count or NETS, EPOCHS, None)
    else:
        pool.train_within(count, began + TRAINING * limit)
    return pool.chosen(began)


class _Pool:
    """Nets of different settings, trained on the same rows.

    Attributes
    ----------
    models : list of Model
    outputs : list of ndarray
        What each predicts for the validation rows: probabilities, or standardised numbers.
    members : list of dict
        Settings and epochs of each.
    """

    def __init__(
        self,
        where: str,
        rows: TableRows,
        space: Mapping[str, list[Any] | tuple[Any, ...]],
        n_threads: int,
        verbose: int | str,
        executor: Any,
    ) -> None:
        self.where, self.rows, self.space = where, rows, space
        self.n_threads, self.verbose, self.executor = n_threads, verbose, executor
        self.models: list[Model] = []
        self.outputs: list[Array] = []
        self.members: list[dict[str, Any]] = []

    def train(self, count: int, epochs: int, time_limit: float | None) -> None:
        """Train the next nets, side by side."""
        rows, first = self.rows, len(self.models)
        drawn = [Settings(**one) for one in draw(self.space, first + count, rows.seed)[first:]]
        models = []
        for i, settings in enumerate(drawn, first):
            steps = epochs * math.ceil(len(rows.x) / settings.batch_size)
            models.append(build(settings, rows.columns, rows.task, rows.seed + i * 1_000_003, steps))
        monitor = f"val_{rows.task.measure or 'loss'}"
        stop = EarlyStopping(monitor, patience=PATIENCE, restore_best_weights=True)
        validation = (rows.x_val, rows.y_val) if rows.w_val is None else (rows.x_val, rows.y_val, rows.w_val)
        population = fit_many(
            models, rows.x, rows.y, epochs=epochs, batch_size=[one.batch_size for one in drawn],
            label_smoothing=[one.label_smoothing for one in drawn] if rows.task.classes is not None else None,
            sample_weight=rows.w, validation_data=validation, callbacks=[stop], time_limit=time_limit,
            verbose=self.verbose, n_threads=self.n_threads or None, executor=self.executor,
        )  # fmt: skip
        self.models += list(population)
        self.outputs += list(population.predict(rows.x_val, n_threads=self.n_threads or None).astype(np.float64))
        self.members += [
            {**asdict(settings), "epochs": int(done)}
            for settings, done in zip(drawn, population.epochs, strict=True)
        ]  # fmt: skip

    def train_within(self, count: int | None, deadline: float) -> None:
        """Train nets until a deadline: each to its end, as many as there is time for."""
        most, threads, epochs = count or MOST_NETS, self.n_threads or available_threads(), EPOCHS
        if self.executor is not None:
            workers = Workers.of(self.where, self.executor, self.n_threads)
            threads = workers.groups * max(1, workers.threads)
        begun = time.monotonic()
        self.train(threads, 1, None)  # how long an epoch takes; these nets are candidates as any others
        left, took = deadline - time.monotonic(), time.monotonic() - begun
        wanted = math.ceil(LEAST_NETS / threads)  # times that every thread trains a net
        if left < wanted * took * EPOCHS:
            epochs = max(1, int(left / (wanted * took)))
        while (more := min(threads, most + threads - len(self.models))) > 0:
            begun = time.monotonic()
            if deadline - begun < FULL_ROUND * took * epochs:
                break
            self.train(more, epochs, deadline - begun)
            took = (time.monotonic() - begun) / epochs

    def _weights(self, mask: Array) -> Array:
        """How much each net counts, by some of the validation rows: the mean of choices on samples of these rows.

        Samples of as many rows with replacement: bagged selection (Caruana et al., 2004) follows chance less closely.
        """
        places, outputs = np.flatnonzero(mask), np.stack(self.outputs)
        w = np.ones(len(mask)) if self.rows.w_val is None else self.rows.w_val
        random = np.random.default_rng(self.rows.seed)
        weights: Array = np.zeros(len(outputs))
        for _ in range(SAMPLES):
            chosen = random.choice(places, len(places))
            order = greedy(self._measure, outputs[:, chosen], self.rows.y_val[chosen], w[chosen], STEPS)
            weights += np.bincount(order, minlength=len(outputs)) / max(1, len(order))
        total = weights.sum()
        return weights if total == 0 else np.asarray(weights / total)

    def _mean(self, weights: Array) -> Array:
        """Mean output of the nets that count, NaN if none does."""
        found: Array = sum((weights[i] * self.outputs[i] for i in np.flatnonzero(weights)), np.zeros(()))
        return found if weights.any() else np.full_like(self.outputs[0], np.nan)

    @property
    def _measure(self) -> Measure:
        return Measure.of(self.where, self.rows.task.measure, self.models[0].loss, self.rows.task.outputs)

    def _score(self, outputs: Array, mask: Array) -> float:
        """The metric on some of the validation rows, of a regression in the units of the targets."""
        task, y = self.rows.task, self.rows.y_val[mask]
        w = np.ones(len(y)) if self.rows.w_val is None else self.rows.w_val[mask]
        outputs = outputs[mask]
        if task.classes is None:
            outputs, y = outputs * task.scale + task.mean, y * task.scale + task.mean
        return task.value(self._measure(outputs, y, w))

    def chosen(self, began: float) -> TabularModel:
        """The nets that help, as one model."""
        task, everything = self.rows.task, np.ones(len(self.rows.x_val), dtype=bool)
        weights = self._weights(everything)
        if not weights.any():
            fail(self.where, f"no net has a finite {task.metric} on the validation rows", "one at least is needed",
                 "check that they hold every class, and y for extreme values")  # fmt: skip
        judged = [self._score(self._mean(self._weights(half)), ~half) for half in self.rows.halves()]
        each = [self._score(one, everything) for one in self.outputs]
        report = {
            "metric": task.metric,
            "validation": self._score(self._mean(weights), everything),
            "cross_fitted": float(np.mean(judged)),
            "best_member": float((np.nanmax if task.growing else np.nanmin)(each)),
            "seconds": time.monotonic() - began,
            "members": [
                {**member, "score": value, "weight": float(weight)}
                for member, value, weight in zip(self.members, each, weights, strict=True)
            ],
        }
        kept = np.flatnonzero(weights)
        models = [finished(self.models[i], task) for i in kept]
        return TabularModel(Ensemble(models, weights[kept].tolist()), self.rows.columns, task, report)
