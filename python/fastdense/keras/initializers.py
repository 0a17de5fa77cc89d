"""Initializers by Keras's names, as classes and as functions: those of `fastdense.initializers`.

A function of the shape that returns an array, and a subclass with such a ``__call__``, are initializers, too.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import initializers as core_initializers
from ..initializers import *  # noqa: F403  (all of them, so that a new one needs no line here)
from ..initializers import Array, Initializer, Shape
from ..specs import Config
from ..text import snake_case
from .names import not_offered
from .overrides import overridden
from .serialization import deserialize_keras_object, get_registered_object, serialize_keras_object
from .settings import floatx

del Auto, Data, Draw, Draws  # noqa: F821  (which Keras does not have)
__all__ = [name for name in core_initializers.__all__ if name not in ("Auto", "Data", "Draw", "Draws")]

# Keras's functions are the classes by other names: HeNormal is he_normal too.
globals().update({snake_case(name): globals()[name] for name in __all__ if name not in ("Initializer", "get")})
IdentityInitializer, OrthogonalInitializer = (
    core_initializers.Identity,
    core_initializers.Orthogonal,
)  # Keras 3 has both
normal, uniform = core_initializers.RandomNormal, core_initializers.RandomUniform  # Keras 1
IdentityInitializer, OrthogonalInitializer = core_initializers.Identity, core_initializers.Orthogonal


class FromFunction(Initializer):
    """First values that a function of the shape gives, called with ``dtype`` if it takes that.

    A file keeps the weights that came of it, and the default in its place.
    """

    def __init__(self, function: Any) -> None:
        self.function = function
        self.takes_dtype = "dtype" in inspect.signature(function).parameters

    def values(self, shape: Shape, seed: int, index: int) -> Array:
        options = {"dtype": floatx()} if self.takes_dtype else {}
        return np.asarray(self.function(shape, **options), dtype=np.float64)

    def to_dict(self) -> Config:
        return core_initializers.GlorotUniform().to_dict()


def get(identifier: Any) -> Initializer:  # type: ignore[no-redef]
    """The initializer of a name, a class, a config dict, a function of the shape or an object."""
    if isinstance(identifier, str):
        known = get_registered_object(identifier)
        identifier = identifier if known is None else known
    if isinstance(identifier, Mapping):
        identifier = deserialize_keras_object(identifier)
    if isinstance(identifier, type):
        identifier = identifier()
    own_call = isinstance(identifier, Initializer) and overridden(identifier, ("__call__",))
    if own_call or (callable(identifier) and not isinstance(identifier, Initializer)):
        return FromFunction(identifier)
    return core_initializers.get(identifier)


def serialize(initializer: Initializer) -> Any:
    """The class and the config of an initializer, as JSON types."""
    return serialize_keras_object(initializer)


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The initializer that `serialize` described."""
    return deserialize_keras_object(config, custom_objects)


__all__ += ["deserialize", "serialize"]
__getattr__ = not_offered("initializers", __all__)
