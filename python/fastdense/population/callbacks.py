"""Population callbacks: what each supported callback of one model does for every member of a population."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import Array, fail
from ..callbacks import Callback, EarlyStopping, ReviveDeadUnits
from ..data.rows import evenly_spaced_rows
from ..initial.revival import revive_units
from ..training.population import PopulationCallback, PopulationFit

Snapshot = tuple[int, float, list[Array]]  # epoch, counted from 0; value; weights as of `get_weights`


class StopEach(PopulationCallback):
    """`EarlyStopping` for each member: the same rule, with one counter and one best value per member."""

    def __init__(self, callback: EarlyStopping, starts: int) -> None:
        super().__init__(starts)
        self.callback = callback
        self.sign = -1.0 if callback._monitor.growing else 1.0
        self.best = np.full(starts, np.inf)
        self.wait = np.zeros(starts, dtype=np.int64)
        self.best_epoch = np.zeros(starts, dtype=np.int64)
        self.kept = np.zeros(starts, dtype=bool)

    def epoch_end(self, fit: PopulationFit, epoch: int, logs: dict[str, Array]) -> None:
        rule = self.callback
        if epoch < rule.start_from_epoch:
            return
        values = self.sign * logs[rule.monitor]
        active, delta = fit.active, rule._monitor.min_delta
        better = active & (values + delta < self.best)
        keep = (better | (active & ~self.kept)) if rule.restore_best_weights else np.zeros_like(active)
        self.best_epoch[better | keep] = epoch
        self.best[better] = values[better]
        self.wait[active] += 1
        reset = better if rule.baseline is None else better & (values + delta < self.sign * rule.baseline)
        self.wait[reset] = 0
        stop = active & ~better & (self.wait >= rule.patience) & (epoch > 0)
        if not rule.restore_best_weights:
            keep = stop
        if keep.any():
            fit.runner.nets.keep(keep)
            self.kept |= keep
        fit.active = active & ~stop

    def finish(self, fit: PopulationFit) -> None:
        if self.kept.any():
            fit.runner.nets.restore(self.kept)
        if self.callback.restore_best_weights:
            fit.active = fit.active & ~self.kept


class ReviveEach(PopulationCallback):
    """`ReviveDeadUnits` for each member."""

    def __init__(self, callback: ReviveDeadUnits, starts: int) -> None:
        super().__init__(starts)
        self.callback, self.last, self.turn = callback, 0, 0

    def begin(self, fit: PopulationFit) -> None:
        self.every = self.callback.every or max(1, fit.options.epochs // 20)
        self.last = int(self.callback.until * fit.options.epochs)

    def epoch_end(self, fit: PopulationFit, epoch: int, logs: dict[str, Array]) -> None:
        if (epoch + 1) % self.every or epoch + 1 > self.last:
            return
        runner, rows = fit.runner, evenly_spaced_rows(fit.data.x)
        tensors = [np.array(tensor, dtype=np.float64) for tensor in runner.tensors()]
        revived = revive_units(
            runner.net, tensors, rows, runner.seeds, self.turn,
            lambda given, layer: runner.layer_outputs(rows, layer, given, fit.options.n_threads), fit.active,
        )  # fmt: skip
        self.turn += 1
        if revived.any():
            runner.set_tensors(tensors)
            self.revived += revived


class KeepBest(PopulationCallback):
    """The weights of the best epochs of each member.

    Parameters
    ----------
    count : int
        How many epochs of each member are kept.
    monitor : str
        What says which are best.
    growing : bool
        Whether larger is better.
    starts : int

    Attributes
    ----------
    kept : list of list of (epoch, value, weights)
        Of each member, the best first; of two equal ones, the earlier.
    """

    def __init__(self, count: int, monitor: str, growing: bool, starts: int) -> None:
        super().__init__(starts)
        self.count, self.monitor, self.sign = count, monitor, -1.0 if growing else 1.0
        self.kept: list[list[Snapshot]] = [[] for _ in range(starts)]

    def epoch_end(self, fit: PopulationFit, epoch: int, logs: dict[str, Array]) -> None:
        values = logs[self.monitor]
        better = [
            i for i in np.flatnonzero(fit.trained & np.isfinite(values))
            if len(self.kept[i]) < self.count or self.sign * values[i] < self.sign * self.kept[i][-1][1]
        ]  # fmt: skip
        if not better:
            return
        tensors = fit.runner.tensors()
        for i in better:
            found = (epoch, float(values[i]), [np.array(tensor[i]) for tensor in tensors])
            self.kept[i] = sorted([*self.kept[i], found], key=lambda one: self.sign * one[1])[: self.count]


# What `fit_many` accepts, and the population callback that does it. To support another callback, add it here.
POPULATION_CALLBACKS: dict[type[Callback], Any] = {EarlyStopping: StopEach, ReviveDeadUnits: ReviveEach}


def checked_callbacks(where: str, callbacks: Any, names: Sequence[Sequence[str]], validated: bool) -> list[Callback]:
    """The callbacks of an argument `callbacks`, or raise.

    Parameters
    ----------
    where : str
        Name of the function, for messages.
    callbacks : callback or list of callbacks, optional
    names : sequence of sequence of str
        The metrics of each model.
    validated : bool
        Whether there is validation data.
    """
    given: Sequence[Any] = (
        [] if callbacks is None else callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
    )
    for callback in given:
        if not isinstance(callback, tuple(POPULATION_CALLBACKS)):
            known = " and ".join(k.__name__ for k in POPULATION_CALLBACKS)
            raise TypeError(
                f"{where}: callbacks holds a {type(callback).__name__}, which monitors a single model. "
                f"{known} support populations; use fit on one model with the others."
            )
        if isinstance(callback, EarlyStopping):
            _check_monitor(where, callback.monitor, names, validated)
    return list(given)


def _check_monitor(where: str, monitor: str, names: Sequence[Sequence[str]], validated: bool) -> None:
    """Raise if there is no such number of every member."""
    what = f"EarlyStopping monitors {monitor!r}"
    if monitor == "loss":
        return
    if not monitor.startswith("val_"):
        fail(where, what, "'loss', 'val_loss' or the name of a metric on validation data is needed",
             "metrics are not computed on the training data of a population: write 'val_...'")  # fmt: skip
    if not validated:
        fail(where, f"{what} and there is no validation data", "pass validation_data, or monitor='loss'")
    for i, mine in enumerate(names):
        if monitor not in ("val_loss", *(f"val_{name}" for name in mine)):
            known = ", ".join(repr(f"val_{name}") for name in mine)
            of = f"models[{i}]" if len(names) > 1 else "the model"
            fail(where, what, f"{of} is compiled with {'the metrics ' + known if mine else 'no metrics'}",
                 "give compile that metric, or monitor 'val_loss'")  # fmt: skip


def monitored(callbacks: Sequence[Callback], validated: bool) -> tuple[str, bool]:
    """What decides which epochs are best, and whether larger is better: what `EarlyStopping` monitors, or a loss."""
    for callback in callbacks:
        if isinstance(callback, EarlyStopping):
            return callback.monitor, callback._monitor.growing
    return ("val_loss" if validated else "loss"), False


def population_callbacks(callbacks: Sequence[Callback], starts: int) -> list[PopulationCallback]:
    """Population callbacks for so many members, from callbacks that were checked."""
    return [
        next(made for kind, made in POPULATION_CALLBACKS.items() if isinstance(callback, kind))(callback, starts)
        for callback in callbacks
    ]
