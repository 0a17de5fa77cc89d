"""The tensors of a net as engines take them, and the average that an optimizer keeps of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import Array
from ..network import Net


def engine_tensors(net: Net, dtype: np.dtype[Any], tensors: Sequence[Array]) -> list[Array]:
    """Contiguous arrays of `dtype`; the mean and variance of the data stay float64, as precise as they were computed.

    Parameters
    ----------
    net : Net
    dtype : dtype
        That of the engine's tensors.
    tensors : sequence of ndarray
        Of one net or of a population; the mean and variance of the data have no axis for members.
    """
    with np.errstate(over="ignore"):
        return [
            np.asarray(t, np.float64 if i < net.input_statistics else dtype, order="C") for i, t in enumerate(tensors)
        ]


def averaged(trained: Sequence[bool], net: Net, tensors: Sequence[Array], average: Sequence[Array]) -> list[Array]:
    """The tensors, with an optimizer's average in place of those that it trains.

    Parameters
    ----------
    trained : sequence of bool
        Whether each tensor is trained.
    net : Net
    tensors : sequence of ndarray
        Of one net or of a population.
    average : sequence of ndarray
        The last slot of the optimizer: one array per tensor with a gradient.
    """
    own = iter(average)
    kept = [next(own) if spec.trainable else tensor for spec, tensor in zip(net.tensors, tensors, strict=True)]
    return [new if chosen else old for chosen, new, old in zip(trained, kept, tensors, strict=True)]
