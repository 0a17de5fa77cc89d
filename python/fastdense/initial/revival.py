"""Reinitialize dead hidden units of a net or a population."""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from ..engine.blas import one_numpy_thread
from ..layers import Dense
from ..network import Net
from .spread import LayerOutputs, random_numbers, through_data

CONSTANT = 1e-6  # of |mean| + standard deviation: outputs that vary less are the same for all rows


def constant_units(mean: Array, deviation: Array) -> Array:
    """Which units are dead: their outputs, of this mean and standard deviation over the rows, do not vary."""
    return np.asarray(~(deviation > CONSTANT * (np.abs(mean) + deviation)))


@one_numpy_thread()
def revive_units(
    net: Net, tensors: list[Array], rows: Array, seeds: Array, turn: int, layer_outputs: LayerOutputs, active: Array
) -> Array:
    """Give dead hidden units new weights and biases, in place.

    A unit is dead if its output is the same for all rows. It gets a random hyperplane through the data and weight 0 to
    the next layer, whose bias is increased by the constant contribution of the dead unit: what the net computes does
    not change.

    Parameters
    ----------
    net, tensors, layer_outputs
        As for `spread_over_data`.
    rows : ndarray of shape (rows, inputs)
    seeds : ndarray of uint64, shape (starts,)
    turn : int
        How many times it was called before for these nets: each call has random numbers of its own.
    active : ndarray of bool, shape (starts,)
        Nets that may be changed.

    Returns
    -------
    ndarray of int, shape (starts,)
        How many units were reinitialized.
    """
    revived = np.zeros(len(seeds), dtype=np.int64)
    for i, layer in enumerate(net.layers[:-1]):
        width, following = (net.widths[i - 1] if i else net.inputs), net.layers[i + 1]
        if not (isinstance(layer, Dense) and isinstance(following, Dense) and layer.use_bias):
            continue
        if not (layer.trainable and following.trainable):  # both would change
            continue
        values = np.asarray(layer_outputs(tensors, i), dtype=np.float64)
        with np.errstate(all="ignore"):
            mean, deviation = values.mean(axis=1), values.std(axis=1)
            dead = active[:, None] & np.isfinite(mean) & constant_units(mean, deviation)
        chosen = np.flatnonzero(dead.any(axis=1))
        if not len(chosen):
            continue
        below = np.asarray(rows, dtype=np.float64)[None] if i == 0 else layer_outputs(tensors, i - 1)
        stream = 1000 * (turn + 1) + 2 * i
        normal = random_numbers(seeds[chosen], stream, width * layer.units, "normal")
        uniform = random_numbers(seeds[chosen], stream + 1, layer.units)
        kernel, bias = through_data(
            below if len(below) == 1 else below[chosen], normal.reshape(-1, width, layer.units), uniform, True
        )
        mask, own, after = dead[chosen], net.slices[i].start, net.slices[i + 1].start
        tensors[own][chosen] = np.where(mask[:, None], kernel, tensors[own][chosen])
        tensors[own + 1][chosen] = np.where(mask, bias, tensors[own + 1][chosen])
        outgoing = tensors[after][chosen]
        if following.use_bias:
            tensors[after + 1][chosen] += np.einsum("su,suo->so", np.where(mask, mean[chosen], 0.0), outgoing)
        tensors[after][chosen] = np.where(mask[:, :, None], 0.0, outgoing)
        revived[chosen] += mask.sum(axis=1)
    return revived
