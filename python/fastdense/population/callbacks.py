"""Callbacks of a population: what a callback does for one model, done for each net."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Array
from ..callbacks import Callback, EarlyStopping, ReviveDeadUnits
from ..data.rows import evenly_spaced_rows
from ..initial.revival import revive_units
from ..training.population_loop import PopulationCallback, PopulationLoop


class StopEach(PopulationCallback):
    """`EarlyStopping` for each net: the same rule, with one counter and one best value per net."""

    def __init__(self, rule: EarlyStopping, starts: int) -> None:
        super().__init__(starts)
        self.rule = rule
        self.sign = -1.0 if rule._watch.growing else 1.0
        self.best = np.full(starts, np.inf)
        self.wait = np.zeros(starts, dtype=np.int64)
        self.best_epoch = np.zeros(starts, dtype=np.int64)
        self.kept = np.zeros(starts, dtype=bool)

    def epoch_end(self, loop: PopulationLoop, epoch: int, losses: Array, validated: Array | None) -> None:
        rule = self.rule
        if epoch < rule.start_from_epoch:
            return
        values = self.sign * (losses if rule.monitor == "loss" or validated is None else validated)
        active, delta = loop.active, rule._watch.min_delta
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
            loop.runner.nets.keep(keep)
            self.kept |= keep
        loop.active = active & ~stop

    def finish(self, loop: PopulationLoop) -> None:
        if self.kept.any():
            loop.runner.nets.restore(self.kept)
        if self.rule.restore_best_weights:
            loop.active = loop.active & ~self.kept


class ReviveEach(PopulationCallback):
    """`ReviveDeadUnits` for each net."""

    def __init__(self, rule: ReviveDeadUnits, starts: int) -> None:
        super().__init__(starts)
        self.rule, self.last, self.turn = rule, 0, 0

    def begin(self, loop: PopulationLoop) -> None:
        self.every = self.rule.every or max(1, loop.options.epochs // 20)
        self.last = int(self.rule.until * loop.options.epochs)

    def epoch_end(self, loop: PopulationLoop, epoch: int, losses: Array, validated: Array | None) -> None:
        if (epoch + 1) % self.every or epoch + 1 > self.last:
            return
        runner, rows = loop.runner, evenly_spaced_rows(loop.data.x)
        tensors = [np.array(tensor, dtype=np.float64) for tensor in runner.tensors()]
        revived = revive_units(
            runner.net, tensors, rows, runner.seeds, self.turn,
            lambda given, layer: runner.layer_outputs(rows, layer, given), loop.active,
        )  # fmt: skip
        self.turn += 1
        if revived.any():
            runner.set_tensors(tensors)
            self.revived += revived


# For each callback that a population can have, what does the same for each of its nets.
COUNTERPARTS: dict[type[Callback], Callable[[Any, int], PopulationCallback]] = {
    EarlyStopping: StopEach,
    ReviveDeadUnits: ReviveEach,
}


def population_callback(callback: object, starts: int) -> PopulationCallback | None:
    """What does for each net of a population what `callback` does for one model; None if there is no such thing."""
    return next((make(callback, starts) for kind, make in COUNTERPARTS.items() if isinstance(callback, kind)), None)
