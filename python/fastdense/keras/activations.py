"""Activation functions by Keras's names: to be passed to a layer, or called on an array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..activations import ACTIVATIONS, ALPHA, NAMES
from ..reference.activations import Activation as ReferenceActivation
from .names import not_offered


class Function:
    """An activation function; ``activation=keras.activations.relu`` means the same as ``activation="relu"``.

    Called on an array it computes in float64, regardless of the array's dtype.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, x: Any, alpha: float | None = None) -> NDArray[np.float64]:
        """The function of each element (softmax: of each row); `alpha` is the slope or scale of those that have one."""
        z = np.asarray(x, dtype=np.float64)
        return ReferenceActivation(self.__name__, ALPHA.get(self.__name__, 0.0) if alpha is None else alpha).value(
            z, None
        )

    def __repr__(self) -> str:
        return f"<activation function {self.__name__}>"


FUNCTIONS = {name: Function(name) for name in ACTIVATIONS if name != "prelu"}  # prelu learns its slope: a layer
globals().update(FUNCTIONS)
swish = FUNCTIONS["silu"]


def get(identifier: Any) -> Function:
    """The function of a name; None is linear, a function is returned unchanged."""
    if identifier is None:
        return FUNCTIONS["linear"]
    return identifier if isinstance(identifier, Function) else Function(NAMES.find(identifier, "activation"))


__getattr__ = not_offered("activations", [*FUNCTIONS, "swish"])
