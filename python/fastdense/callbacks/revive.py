"""Revival of dead hidden units while a net trains."""

from __future__ import annotations

import numpy as np

from ..arguments import integer, keywords_checked, number
from ..arrays import Array
from ..initial.revival import revive_units
from .base import Callback, Logs


class ReviveDeadUnits(Callback):
    """Give hidden units that no row of the data can wake a new place; in `fit` and in `fit_many`.

    A unit whose output is the same for all rows gets no gradient and is lost. It is placed anew: a random hyperplane
    that cuts the data, and weight 0 to the next layer, so that what the net computes does not change at that moment.
    Units between two dense layers are looked at. The logs and the history get ``revived``, the number of units.

    Parameters
    ----------
    every : int, optional
        Epochs between two looks; by default a twentieth of all.
    until : float
        The share of the epochs after which nothing is revived, so that revived units have time to learn.
    """

    @keywords_checked
    def __init__(self, every: int | None = None, until: float = 0.6) -> None:
        super().__init__()
        self.every = None if every is None else integer("ReviveDeadUnits: every", every, least=1)
        self.until = number("ReviveDeadUnits: until", until, least=0, most=1)
        self.rows: Array | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Count the looks anew."""
        self._turn = 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look, if it is time, and revive."""
        epochs = int(self.params["epochs"])
        found = 0
        if (epoch + 1) % (self.every or max(1, epochs // 20)) == 0 and epoch + 1 <= self.until * epochs:
            model, rows = self.model, self.rows
            assert rows is not None
            tensors = [np.array(tensor, dtype=np.float64)[None] for tensor in model.get_weights()]
            # a dead unit changes nothing above it, so the outputs of before serve for all layers
            values = model.activations(rows)
            seeds = np.array([model.seed], dtype=np.uint64)
            found = int(revive_units(model.net, tensors, rows, seeds, self._turn, lambda _, layer: values[layer][None],
                               np.ones(1, dtype=bool))[0])  # fmt: skip
            self._turn += 1
            if found:
                model.set_weights([tensor[0] for tensor in tensors])
        if logs is not None:
            logs["revived"] = found
