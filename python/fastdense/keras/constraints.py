"""Constraints by Keras's names: those of `fastdense.constraints`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import constraints as core_constraints
from ..constraints import *  # noqa: F403  (all of them, so that a new one needs no line here)
from ..text import snake_case
from .names import not_offered
from .serialization import deserialize_keras_object, serialize_keras_object

__all__ = list(core_constraints.__all__)

# Keras's functions are the classes by other names: MaxNorm is max_norm too; maxnorm and the like are of Keras 1.
for _name in core_constraints.__all__:
    if _name not in ("Constraint", "get"):
        globals()[snake_case(_name)] = globals()[_name.lower()] = globals()[_name]


def serialize(constraint: core_constraints.Constraint) -> Any:
    """The class and the config of a constraint, as JSON types."""
    return serialize_keras_object(constraint)


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The constraint that `serialize` described."""
    return deserialize_keras_object(config, custom_objects)


__all__ += ["deserialize", "serialize"]
__getattr__ = not_offered("constraints", __all__)
