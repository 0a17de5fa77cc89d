"""initial.revival."""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from ..layers import Dense
from ..network import Net
from .spread import Outputs, random_numbers, through_data


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
