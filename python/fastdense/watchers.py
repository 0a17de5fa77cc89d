"""Callbacks over many nets at once: what a callback does for one model, done for each net of a population."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .arrays import Array
from .callbacks import EarlyStopping

if TYPE_CHECKING:
    from .population import _Run


class Watcher:
    """Looks at a population after each epoch.

    Attributes
    ----------
    revived : ndarray of shape (starts,)
        Units that were revived in each net.
    """

    def __init__(self, starts: int) -> None:
        self.revived = np.zeros(starts, dtype=np.int64)

    def begin(self, run: _Run) -> None:
        """Called before the first epoch."""

    def epoch_end(self, run: _Run, epoch: int, losses: Array, validated: Array | None) -> None:
        """Called after each epoch with the losses (starts,); may change `run.active` and the tensors."""

    def finish(self, run: _Run) -> None:
        """Called after the last epoch."""


class Stopping(Watcher):
    """`EarlyStopping` for each net: the same rule, with one counter and one best value per net."""

    def __init__(self, rule: EarlyStopping, starts: int) -> None:
        super().__init__(starts)
        self.rule = rule
        self.sign = -1.0 if rule._watch.growing else 1.0
        self.best = np.full(starts, np.inf)
        self.wait = np.zeros(starts, dtype=np.int64)
        self.best_epoch = np.zeros(starts, dtype=np.int64)
        self.kept = np.zeros(starts, dtype=bool)

    def epoch_end(self, run: _Run, epoch: int, losses: Array, validated: Array | None) -> None:
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
            run.crowd.nets.keep(keep)
            self.kept |= keep
        run.active = active & ~stop

    def finish(self, run: _Run) -> None:
        if self.kept.any():
            run.crowd.nets.restore(self.kept)
        if self.rule.restore_best_weights:
            run.active = run.active & ~self.kept
