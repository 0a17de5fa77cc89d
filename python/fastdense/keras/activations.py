"""Activation functions by Keras's names: to be passed to a layer, or called on an array."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..activations import ACTIVATIONS, ALPHA, NAMES
from ..reference.activations import Activation as ReferenceActivation
from .names import not_offered
from .ops import elementwise
from .ops.arrays import softmax as _softmax
from .ops.tape import Symbolic, Traced, node, now


class Function:
    """An activation function; ``activation=keras.activations.relu`` means the same as ``activation="relu"``.

    Called on an array it computes in float64, regardless of the array's dtype.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, x: Any, alpha: float | None = None) -> Any:
        """The function of each element (softmax: of each row); `alpha` is the slope or scale of those that have one.

        Of a prediction inside a loss, or inside a layer, it is differentiated.
        """
        x = now(x)
        if isinstance(x, Symbolic):
            return x.operation(self, (x,) if alpha is None else (x, alpha), {})
        if isinstance(x, Traced):
            return _traced(self.__name__, x, alpha)
        z = np.asarray(x, dtype=np.float64)
        return ReferenceActivation(self.__name__, ALPHA.get(self.__name__, 0.0) if alpha is None else alpha).value(
            z, None
        )

    def __repr__(self) -> str:
        return f"<activation function {self.__name__}>"


FUNCTIONS = {name: Function(name) for name in ACTIVATIONS if name != "prelu"}  # prelu learns its slope: a layer
globals().update(FUNCTIONS)
swish = FUNCTIONS["silu"]
hard_swish = FUNCTIONS["hard_silu"]


# Operations that are the same functions with their defaults.
_SAME = ("relu", "relu6", "leaky_relu", "elu", "selu", "silu", "softplus", "softsign", "tanh", "sigmoid",
         "hard_sigmoid")  # fmt: skip
_OPERATIONS: dict[Any, str] = {getattr(elementwise, name): name for name in _SAME}
_OPERATIONS |= {_softmax: "softmax", elementwise.exp: "exponential"}


def _traced(name: str, x: Traced, alpha: float | None) -> Any:
    """The function of a traced array: an operation, or the reference's formula and derivative."""
    further = () if alpha is None else (alpha,)
    if name == "gelu":
        return elementwise.gelu(x, approximate=False)
    for operation, known in _OPERATIONS.items():
        if known == name:
            return operation(x, *further)
    function = ReferenceActivation(name, ALPHA.get(name, 0.0) if alpha is None else alpha)
    z = np.asarray(x.value, dtype=np.float64)
    y = function.value(z, None)
    return node(y.astype(x.dtype), (x, lambda g: function.gradient(z, y, g, None)[0].astype(x.dtype)))


def of_operation(value: Any) -> Any:
    """The function that an operation of `keras.ops` is, as of ``activation=ops.relu``; others as they are."""
    try:
        return FUNCTIONS[_OPERATIONS[getattr(value, "__wrapped__", value)]]
    except (KeyError, TypeError):  # also what cannot be a key
        return value


def get(identifier: Any) -> Any:
    """The function of a name; None is linear, a function is returned unchanged."""
    identifier = of_operation(identifier)
    if identifier is None:
        return FUNCTIONS["linear"]
    if isinstance(identifier, Function) or callable(identifier):
        return identifier
    name = NAMES.find(identifier, "activation")
    return FUNCTIONS.get(name) or Function(name)


def serialize(activation: Function) -> str:
    """Its name."""
    return activation.__name__


deserialize = get
__getattr__ = not_offered("activations", [*FUNCTIONS, "swish", "hard_swish", "deserialize", "get", "serialize"])
