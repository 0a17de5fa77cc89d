"""Regularizers by Keras's names: those of `fastdense.regularizers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import regularizers as core_regularizers
from ..regularizers import *  # noqa: F403  (all of them, so that a new one needs no line here)
from .names import not_offered
from .serialization import deserialize_keras_object, serialize_keras_object

del Sum  # noqa: F821  (a sum of penalties, which Keras does not have)
__all__ = [name for name in core_regularizers.__all__ if name != "Sum"]

l1l2 = core_regularizers.l1_l2  # Keras 1


def serialize(regularizer: core_regularizers.Regularizer) -> Any:
    """The class and the config of a regularizer, as JSON types."""
    return serialize_keras_object(regularizer)


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The regularizer that `serialize` described."""
    return deserialize_keras_object(config, custom_objects)


__all__ += ["deserialize", "serialize"]
__getattr__ = not_offered("regularizers", __all__)
