"""Cross-validation of many settings in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from ..arguments import integer
from ..arrays import Array, as_array, fail
from ..callbacks.monitors import Monitor
from ..data.prepare import prepare
from ..data.rows import Rows
from ..model.base import BaseModel
from ..training.feasible import check_one_loss
from ..training.options import check_batch_size, check_threads
from .arguments import MAX_SEED, one_per
from .fit import fit_many


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

    Returns
    -------
    CrossValidation

    Raises
    ------
    ValueError, TypeError
        If the data or an argument is invalid; nothing is trained then.
    KeyboardInterrupt
        On Ctrl-C, as in `fit_many`: of the running fold.
    """
    where = "cross_validate"
    if not isinstance(model, BaseModel):
        raise TypeError(f"{where}: model is of type {type(model).__name__}. Give a compiled fastdense.Model.")
    loss, seed = model._trained_loss(where), integer(f"{where}: seed", seed, least=0, most=MAX_SEED)
    check_one_loss(where, loss)
    data = prepare(where, x, y, sample_weight, replace(model._shape, loss_weight=1.0), loss).on_host()
    targets = data.y[:, :: loss.outputs_each] if loss.outputs_each > 1 else data.y  # each once, for fit_many
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
    scores = {name: np.empty((count, len(parts))) for name in model.metrics_names}
    train_loss = np.empty((count, len(parts)))
    for k, part in enumerate(parts):
        rest = np.setdiff1d(np.arange(len(data)), part)
        population = fit_many(
            model, data.x[rest], targets[rest], starts=count, epochs=epochs, batch_size=batch_size,
            learning_rate=settings.get("learning_rate"), penalty=settings.get("penalty"),
            sample_weight=None if data.w is None else data.w[rest], seed=np.full(count, seed, dtype=np.uint64),
            verbose=verbose, n_threads=n_threads,
        )  # fmt: skip
        held = Rows(data.x[part], data.y[part], None if data.w is None else data.w[part])
        train_loss[:, k] = population.losses
        for name, values in population._evaluated(where, [held], threads, metrics=True).items():
            scores[name][:, k] = values
    return CrossValidation(settings, scores, train_loss, _best(model, scores))


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
    mean = np.nanmean(np.where(np.isfinite(scores[name]), scores[name], np.nan), axis=1)
    growing = Monitor("cross_validate", name, "auto").growing
    mean = np.where(np.isfinite(mean), mean, -np.inf if growing else np.inf)
    return int(np.argmax(mean) if growing else np.argmin(mean))
