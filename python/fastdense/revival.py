"""Revival of dead hidden units while a net trains."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import Array
from .hooks import Callback, Logs
from .layers import Dense
from .net import Net
from .specs import integer, keywords_checked, number
from .starts import Outputs, random_numbers, through_data


def revive_units(
    net: Net, tensors: list[Array], rows: Array, seeds: Array, turn: int, of: Outputs, where: Array
) -> Array:
    """Give dead hidden units new directions and places, in place.

    A unit is dead if its output is the same for all rows. It gets a random hyperplane through the data and weight 0 to
    the next layer, whose bias takes over what the dead unit gave: what the net computes does not change.

    Parameters
    ----------
    net, tensors, of
        As for `spread_over_data`.
    rows : ndarray of shape (rows, inputs)
    seeds : ndarray of uint64, shape (starts,)
    turn : int
        Number of the revival: each has random numbers of its own.
    where : ndarray of bool, shape (starts,)
        Nets that may be changed.

    Returns
    -------
    ndarray of int, shape (starts,)
        How many units were revived.
    """
    revived = np.zeros(len(seeds), dtype=np.int64)
    place = 0
    for i, layer in enumerate(net.layers[:-1]):
        width = net.widths[i - 1] if i else net.inputs
        count, following = len(layer.tensors(width)), net.layers[i + 1]
        if isinstance(layer, Dense) and isinstance(following, Dense) and layer.use_bias:
            values = np.asarray(of(tensors, i), dtype=np.float64)
            with np.errstate(all="ignore"):
                mean, spread = values.mean(axis=1), values.std(axis=1)
                dead = where[:, None] & np.isfinite(mean) & ~(spread > 1e-6 * (np.abs(mean) + spread))
            chosen = np.flatnonzero(dead.any(axis=1))
            if len(chosen):
                below = np.asarray(rows, dtype=np.float64)[None] if i == 0 else of(tensors, i - 1)
                index = 1000 * (turn + 1) + 2 * i
                kernel = random_numbers(seeds[chosen], index, width * layer.units, "normal").reshape(
                    -1, width, layer.units
                )
                uniform = random_numbers(seeds[chosen], index + 1, layer.units)
                kernel, bias = through_data(below if len(below) == 1 else below[chosen], kernel, uniform, True)
                mask, after = dead[chosen], place + count
                tensors[place][chosen] = np.where(mask[:, None], kernel, tensors[place][chosen])
                tensors[place + 1][chosen] = np.where(mask, bias, tensors[place + 1][chosen])
                outgoing = tensors[after][chosen]
                if following.use_bias:
                    tensors[after + 1][chosen] += np.einsum("su,suo->so", np.where(mask, mean[chosen], 0.0), outgoing)
                tensors[after][chosen] = np.where(mask[:, :, None], 0.0, outgoing)
                revived[chosen] += mask.sum(axis=1)
        place += count
    return revived


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

    def watcher(self, starts: int) -> Any:
        """What does the same for many nets."""
        from .watchers import Reviving

        return Reviving(self.every, self.until, starts)

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
