"""Initializers by Keras's names, as classes and as functions: those of `fastdense.initializers`."""

from .. import initializers as core_initializers
from ..initializers import *  # noqa: F403  (all of them, so that a new one needs no line here)
from ..text import snake_case
from .names import not_offered

del Auto, Data, Draw, Draws  # noqa: F821  (which Keras does not have)
__all__ = [name for name in core_initializers.__all__ if name not in ("Auto", "Data", "Draw", "Draws")]

# Keras's functions are the classes by other names: HeNormal is he_normal too.
globals().update({snake_case(name): globals()[name] for name in __all__ if name not in ("Initializer", "get")})
normal, uniform = core_initializers.RandomNormal, core_initializers.RandomUniform  # Keras 1

__getattr__ = not_offered(
    "initializers",
    __all__,
    {
        "VarianceScaling": "Glorot, He and LeCun are there by name (HeNormal, ...); or pass the kernel itself: "
        "Dense(..., weights=[kernel, bias])."
    },
)
