"""Activation functions as Keras's scripts name them: to be given to a layer, or called on an array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..activations import ALPHA, NAMES
from .names import not_offered


class Function:
    """An activation function; ``activation=keras.activations.relu`` means the same as ``activation="relu"``.

    Called on an array it computes in float64, whatever the array's type.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, x: Any, alpha: float | None = None) -> NDArray[np.float64]:
        """The function of each element (softmax: of each row); `alpha` is the slope or scale of those that have one."""
        from ..reference.activations import Activation

        z = np.asarray(x, dtype=np.float64)
        return Activation(self.__name__, ALPHA.get(self.__name__, 0.0) if alpha is None else alpha).value(z, None)

    def __repr__(self) -> str:
        return f"<activation function {self.__name__}>"


linear = Function("linear")
relu = Function("relu")
leaky_relu = Function("leaky_relu")
relu6 = Function("relu6")
elu = Function("elu")
selu = Function("selu")
celu = Function("celu")
gelu = Function("gelu")
silu = swish = Function("silu")
mish = Function("mish")
softplus = Function("softplus")
softsign = Function("softsign")
tanh = Function("tanh")
sigmoid = Function("sigmoid")
hard_sigmoid = Function("hard_sigmoid")
exponential = Function("exponential")
softmax = Function("softmax")


def get(identifier: Any) -> Function:
    """The function of a name; None is linear, a function is given back."""
    if identifier is None:
        return linear
    return identifier if isinstance(identifier, Function) else Function(NAMES.find(identifier, "activation"))


__getattr__ = not_offered("activations", [n for n, v in list(globals().items()) if isinstance(v, Function)])
