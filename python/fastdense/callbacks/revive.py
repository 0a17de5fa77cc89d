"""`ReviveDeadUnits`: reinitialize dead hidden units during training."""

from __future__ import annotations

import numpy as np

from ..arguments import integer, keywords_checked, number
from ..arrays import Array
from ..initial.revival import revive_units
from .base import Callback, Logs, TrainedModel


class ReviveDeadUnits(Callback):
    """Reinitialize dead hidden units during training; for `fit` and `fit_many`.

    A hidden unit whose output is the same for all rows gets no gradient and cannot recover. It gets new weights: a
    random hyperplane that cuts the data, and weight 0 to the next layer, so that what the net computes does not change
    at that moment. Units of dense layers that a dense layer follows are checked, if both are trainable. The logs and
    the history get ``revived``, the number of units.

    Parameters
    ----------
    every : int, optional
        Epochs between two checks; by default a twentieth of all epochs.
    until : float, default 0.6
        The fraction of the epochs after which no unit is reinitialized, so that such units have time to learn.
    """

    @keywords_checked
    def __init__(self, every: int | None = None, until: float = 0.6) -> None:
        super().__init__()
        self.every = None if every is None else integer("ReviveDeadUnits: every", every, least=1)
        self.until = number("ReviveDeadUnits: until", until, least=0, most=1)
        self.rows: Array | None = None  # a sample of the training data, which `fit` sets
        self.n_threads: int | None = None  # that of `fit`

    def set_model(self, model: TrainedModel) -> None:
        """Receive the model; of one of `fastdense.keras` the net inside."""
        self.model = getattr(model, "fastdense", model)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Count the checks anew."""
        self._turn = 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Check, if it is time, and reinitialize."""
        epochs = int(self.params["epochs"])
        revived = 0
        if (epoch + 1) % (self.every or max(1, epochs // 20)) == 0 and epoch + 1 <= self.until * epochs:
            model, rows = self.model, self.rows
            assert rows is not None
            tensors = [np.array(tensor, dtype=np.float64)[None] for tensor in model.get_weights()]
            # a dead unit changes nothing above it, so the outputs before any change serve for all layers
            values = model.activations(rows, n_threads=self.n_threads)
            seeds, active = np.array([model.seed], dtype=np.uint64), np.ones(1, dtype=bool)
            counts = revive_units(
                model.net, tensors, rows, seeds, self._turn, lambda _, layer: values[layer][None], active
            )
            revived = int(counts[0])
            self._turn += 1
            if revived:
                model.set_weights([tensor[0] for tensor in tensors])
        if logs is not None:
            logs["revived"] = revived
