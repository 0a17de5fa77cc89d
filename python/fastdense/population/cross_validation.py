"""Cross-validation of many settings in one call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from ..arguments import integer
from ..arrays import Array, as_array, fail
from ..callbacks import ProgressBar
from ..callbacks.monitors import Monitor
from ..callbacks.progress import check_verbose
from ..data.prepare import prepare
from ..data.rows import Rows
from ..model.base import BaseModel
from ..training.feasible import check_one_loss
from ..training.options import check_batch_size, check_threads
from .arguments import MAX_SEED, one_per
from .fit import fit_many
from .spread import Workers, dealt

_Found = tuple[Array, dict[str, Array]]  # losses on the rows that were trained on, and scores on those held out


@dataclass(frozen=True)
class CrossValidation:
    """Result of `cross_validate`.

    Attributes
    ----------
    settings : dict of ndarray
        "learning_rate" and "penalty", one value per setting; only those that were passed.
    scores : dict of ndarray, shape (settings, folds)
        "loss" and the metrics of the model on the held-out rows of each fold.
    train_loss : ndarray of shape (settings, folds)
        Loss on the training rows.
    best : int
        Index of the setting with the best mean of the first metric, or with the smallest mean loss if there is none.
    """

    settings: dict[str, Array]
    scores: dict[str, Array]
    train_loss: Array
    best: int

    @property
    def best_setting(self) -> dict[str, float]:
        """The values of the best setting."""
        return {name: float(values[self.best]) for name, values in self.settings.items()}

    def __repr__(self) -> str:
        found = ", ".join(f"{name} {np.nanmean(values[self.best]):.4g}" for name, values in self.scores.items())
        chosen = ", ".join(f"{name}={value:.4g}" for name, value in self.best_setting.items()) or "the model's own"
        count, folds = self.train_loss.shape
        return f"<CrossValidation of {count} settings, {folds} folds: best {chosen} ({found})>"


def folds_of(y: Array, folds: int, seed: int, stratified: bool) -> list[Array]:
    """Row numbers of each fold, of equal size and, if stratified, with equal class frequencies, as far as possible."""
    order = np.random.default_rng(seed).permutation(len(y))
    if stratified:
        order = order[np.argsort(np.asarray(y)[order], kind="stable")]  # then distribute them class by class
    return [np.sort(order[k::folds]) for k in range(folds)]


def cross_validate(
    model: BaseModel,
    x: Any,
    y: Any,
    *,
    folds: int | Sequence[Any] = 5,
    learning_rate: Any = None,
    penalty: Any = None,
    epochs: int = 1,
    batch_size: int | None = 32,
    sample_weight: Any = None,
    seed: int = 0,
    verbose: int | str = 0,
    n_threads: int | None = None,
    executor: Any = None,
) -> CrossValidation:
    """K-fold cross-validation of many settings, trained at once.

    Up to rounding, setting i on fold k gets the scores of ``model.clone(seed=seed)``, compiled with its learning rate
    and penalties, fitted on the other folds and evaluated on fold k.

    Parameters
    ----------
    model : Model
        Compiled; its metrics are the scores.
    x, y, epochs, batch_size, sample_weight, n_threads
        As in `Model.fit`; arrays on a GPU are copied to the host, where the folds are cut.
    folds : int or list of arrays of row numbers
        An int splits the rows at random, stratified for class ids; a list gives the held-out rows of each fold.
    learning_rate : float or array of shape (settings,), optional
    penalty : float or array of shape (settings,), optional
        Factor of all penalties of the model. Two arrays are paired: for a grid, pass all combinations.
    seed : int
        Seed of the nets and of the folds.
    verbose : {"auto", 0, 1, 2}
    executor : executor, or tuple of an executor and an int, optional
        What trains in other processes, as in `fit_many`: the settings of each fold are divided among its workers. The
        scores are the same.

    Returns
    -------
    CrossValidation

    Raises
    ------
    ValueError, TypeError
        If the data or an argument is invalid; nothing is trained then.
    KeyboardInterrupt
        On Ctrl-C, as in `fit_many`: of the running fold. With an executor, a plain one.
    WorkerLost
        As in `fit_many`; its `cross_validation` has NaN where a score is missing.
    """
    where = "cross_validate"
    if not isinstance(model, BaseModel):
        raise TypeError(f"{where}: model is of type {type(model).__name__}. Give a compiled fastdense.Model.")
    loss, seed = model._trained_loss(where), integer(f"{where}: seed", seed, least=0, most=MAX_SEED)
    check_one_loss(where, loss)
    data = prepare(where, x, y, sample_weight, replace(model._shape, loss_weight=1.0), loss).on_host()
    given = {"learning_rate": learning_rate, "penalty": penalty}
    settings = {
        name: one_per(where, name, [v] if isinstance(v, Real) else v, "setting")
        for name, v in given.items()
        if v is not None
    }
    count = max((len(values) for values in settings.values()), default=1)
    threads, batch_size = check_threads(where, n_threads), check_batch_size(where, batch_size)
    for name, values in settings.items():
        if len(values) not in (1, count):
            fail(where, f"{name} has shape {values.shape}", f"one number or {count}, one per setting, are needed")
        settings[name] = np.broadcast_to(values, count)
    parts = _parts(where, folds, data, loss.sparse, seed)
    bar = ProgressBar(check_verbose(where, verbose))
    options = {
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "verbose": verbose,
        "n_threads": threads or None,
    }
    scores = {name: np.full((count, len(parts)), np.nan) for name in model.metrics_names}
    train_loss = np.full((count, len(parts)), np.nan)
    every, rows = np.arange(count), (data.x, data.y, data.w)

    def job(k: int, which: Array) -> tuple[Any, ...]:
        return model, parts[k], {name: values[which] for name, values in settings.items()}, len(which), options

    def enter(k: int, which: Array, found: _Found) -> None:
        train_loss[which, k] = found[0]
        for name, values in found[1].items():
            scores[name][which, k] = values

    if executor is None:
        for k in range(len(parts)):
            enter(k, every, _fold(rows, *job(k, every)))
        return CrossValidation(settings, scores, train_loss, _best(model, scores))
    workers = Workers.of(where, executor, threads)
    workers.check_sent({"the model": model})
    options |= {"verbose": 0, "n_threads": workers.threads or None}
    pieces = min(count, workers.groups // math.gcd(workers.groups, len(parts)))  # so that all groups get equally many
    cut = [(k, which) for which in np.array_split(every, pieces) for k in range(len(parts))]
    shares = dealt([len(which) for _, which in cut], workers.groups)
    jobs = [([job(*cut[i]) for i in share],) for share in shares]
    for share, found in zip(shares, workers.run(_folds, rows, jobs, bar, _losses), strict=True):
        for i, one in zip(share, found or (), strict=found is not None):
            enter(*cut[i], one)
    if workers.interrupted:
        raise KeyboardInterrupt(f"{where}: interrupted {workers.interrupted}")
    result = CrossValidation(settings, scores, train_loss, _best(model, scores))
    if workers.lost:
        lost = sum(len(cut[i][1]) for share in workers.lost for i in shares[share])
        error = workers.error(f"{lost} of {train_loss.size} trainings", "`cross_validation` of this exception")
        error.cross_validation = result
        raise error
    return result


def _fold(
    rows: tuple[Array, Array, Array | None],
    model: BaseModel,
    part: Array,
    settings: dict[str, Array],
    count: int,
    options: dict[str, Any],
) -> _Found:
    """Train on all rows but a part, with some settings, and evaluate on that part."""
    x, y, w = rows
    rest, each = np.setdiff1d(np.arange(len(x)), part), model.loss.outputs_each
    population = fit_many(
        model, x[rest], y[rest, ::each] if each > 1 else y[rest], starts=count,  # each target once
        learning_rate=settings.get("learning_rate"), penalty=settings.get("penalty"),
        sample_weight=None if w is None else w[rest],
        **{**options, "seed": np.full(count, options["seed"], dtype=np.uint64)},
    )  # fmt: skip
    held, threads = Rows(x[part], y[part], None if w is None else w[part]), options["n_threads"] or 0
    return population.losses, population._evaluated("cross_validate", [held], threads, metrics=True)


def _folds(rows: tuple[Array, Array, Array | None], jobs: Sequence[tuple[Any, ...]]) -> list[_Found]:
    """The same for several parts, in a worker."""
    return [_fold(rows, *job) for job in jobs]


def _losses(found: Sequence[_Found]) -> list[Array]:
    return [losses for losses, _ in found]


def _parts(where: str, folds: Any, data: Rows, sparse: bool, seed: int) -> list[Array]:
    if isinstance(folds, (list, tuple)):
        parts = [np.unique(as_array(where, f"folds[{k}]", rows).astype(np.int64)) for k, rows in enumerate(folds)]
        for k, part in enumerate(parts):
            if not len(part) or part[0] < 0 or part[-1] >= len(data) or len(part) == len(data):
                fail(where, f"folds[{k}] is empty, holds all rows, or has row numbers out of range",
                     f"row numbers from 0 to {len(data) - 1} are needed")  # fmt: skip
        return parts
    count = integer(f"{where}: folds", folds, least=2)
    if count > len(data):
        fail(where, f"there are {len(data)} rows for {count} folds", "each fold needs a row", "use fewer folds")
    return folds_of(data.y, count, seed, sparse)


def _best(model: BaseModel, scores: dict[str, Array]) -> int:
    """Index of the setting with the best mean of the first metric, or the smallest loss."""
    name = model.metrics[0].name if model.metrics else "loss"
    known = np.isfinite(scores[name])
    mean = np.where(known, scores[name], 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    growing = Monitor("cross_validate", name, "auto").growing
    mean = np.where(known.any(axis=1), mean, -np.inf if growing else np.inf)
    return int(np.argmax(mean) if growing else np.argmin(mean))
