"""The dtypes in which engines take the tensors of a net."""

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
            np.ascontiguousarray(t, np.float64 if i < net.input_statistics else dtype) for i, t in enumerate(tensors)
        ]
