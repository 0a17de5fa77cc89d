"""Callbacks over many nets at once: what a callback does for one model, done for each net of a population."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Array
from ..callbacks import EarlyStopping
from ..data.rows import sample
from ..initial.revival import revive_units

if TYPE_CHECKING:
    from .fit import PopulationFit


class PopulationCallback:
    """Looks at a population after each epoch.

    Attributes
    ----------
    revived : ndarray of shape (starts,)
        Units that were revived in each net.
    """

    every = 1  # epochs between two looks

    def __init__(self, starts: int) -> None:
        self.revived = np.zeros(starts, dtype=np.int64)

    def begin(self, run: PopulationFit) -> None:
        """Called before the first epoch."""

    def epoch_end(self, run: PopulationFit, epoch: int, losses: Array, validated: Array | None) -> None:
        """Called after each epoch with the losses (starts,); may change `run.active` and the tensors."""

    def finish(self, run: PopulationFit) -> None:
        """Called after the last epoch."""

    def until_look(self, epoch: int) -> int:
        """Epochs from `epoch` to the next look."""
        return self.every - epoch % self.every


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

    def epoch_end(self, run: PopulationFit, epoch: int, losses: Array, validated: Array | None) -> None:
        rule = self.rule
        if epoch < rule.start_from_epoch:
            return
        values = self.sign * (losses if rule.monitor == "loss" or validated is None else validated)
        active, delta = run.active, rule._watch.min_delta
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
            run.runner.nets.keep(keep)
            self.kept |= keep
        run.active = active & ~stop

    def finish(self, run: PopulationFit) -> None:
        if self.kept.any():
            run.runner.nets.restore(self.kept)
        if self.rule.restore_best_weights:
            run.active = run.active & ~self.kept


class ReviveEach(PopulationCallback):
    """`ReviveDeadUnits` for each net."""

    def __init__(self, every: int | None, until: float, starts: int) -> None:
        super().__init__(starts)
        self.asked, self.until, self.last = every, until, 0
        self.turn = 0

    def begin(self, run: PopulationFit) -> None:
        self.every = self.asked or max(1, run.options.epochs // 20)
        self.last = int(self.until * run.options.epochs)

    def epoch_end(self, run: PopulationFit, epoch: int, losses: Array, validated: Array | None) -> None:
        if (epoch + 1) % self.every or epoch + 1 > self.last:
            return
        runner, rows = run.runner, sample(run.data.x)
        tensors = [np.array(tensor, dtype=np.float64) for tensor in runner.tensors()]
        found = revive_units(
            runner.net, tensors, rows, runner.seeds, self.turn,
            lambda given, layer: runner.layer_outputs(rows, layer, given), run.active,
        )  # fmt: skip
        self.turn += 1
        if found.any():
            runner.set_tensors(tensors)
            self.revived += found
