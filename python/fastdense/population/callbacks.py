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


class StopEach(PopulationCallback):
    """`EarlyStopping` for each member: the same rule, with one counter and one best value per member."""

    def __init__(self, callback: EarlyStopping, starts: int, where: str, validated: bool) -> None:
        super().__init__(starts)
        if callback.monitor not in ("loss", "val_loss"):
            fail(where, f"EarlyStopping monitors {callback.monitor!r}", "'loss' or 'val_loss' is needed",
                 "metrics are not computed here")  # fmt: skip
        if callback.monitor == "val_loss" and not validated:
            fail(where, "EarlyStopping monitors 'val_loss' and there is no validation data",
                 "pass validation_data, or monitor='loss'")  # fmt: skip
        self.callback = callback
        self.sign = -1.0 if callback._monitor.growing else 1.0
        self.best = np.full(starts, np.inf)
        self.wait = np.zeros(starts, dtype=np.int64)
        self.best_epoch = np.zeros(starts, dtype=np.int64)
        self.kept = np.zeros(starts, dtype=bool)

    def epoch_end(self, fit: PopulationFit, epoch: int, losses: Array, val_losses: Array | None) -> None:
        rule = self.callback
        if epoch < rule.start_from_epoch:
            return
        values = self.sign * (losses if rule.monitor == "loss" or val_losses is None else val_losses)
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

    def __init__(self, callback: ReviveDeadUnits, starts: int, where: str, validated: bool) -> None:
        super().__init__(starts)
        self.callback, self.last, self.turn = callback, 0, 0

    def begin(self, fit: PopulationFit) -> None:
        self.every = self.callback.every or max(1, fit.options.epochs // 20)
        self.last = int(self.callback.until * fit.options.epochs)

    def epoch_end(self, fit: PopulationFit, epoch: int, losses: Array, val_losses: Array | None) -> None:
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


# What `fit_many` accepts, and the population callback that does it. To support another callback, add it here.
POPULATION_CALLBACKS: dict[type[Callback], Any] = {EarlyStopping: StopEach, ReviveDeadUnits: ReviveEach}


def population_callbacks(where: str, callbacks: Any, validated: bool, starts: int) -> list[PopulationCallback]:
    """The population callbacks for an argument `callbacks`, or raise.

    Parameters
    ----------
    where : str
        Name of the function, for messages.
    callbacks : callback or list of callbacks, optional
    validated : bool
        Whether there is validation data.
    starts : int
    """
    given: Sequence[Any] = (
        [] if callbacks is None else callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
    )
    made: list[PopulationCallback] = []
    for callback in given:
        kind = next((k for k in POPULATION_CALLBACKS if isinstance(callback, k)), None)
        if kind is None:
            names = " and ".join(k.__name__ for k in POPULATION_CALLBACKS)
            raise TypeError(
                f"{where}: callbacks holds a {type(callback).__name__}, which monitors a single model. "
                f"{names} support populations; use fit on one model with the others."
            )
        made.append(POPULATION_CALLBACKS[kind](callback, starts, where, validated))
    return made
