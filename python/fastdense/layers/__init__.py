"""Layers.

A layer is a description: it checks its arguments, knows its tensors and turns itself into the plain ops of the engines.
It holds no weights; those are the model's.
"""

from __future__ import annotations

from . import dense, normalization, preprocessing, scaling
from .base import Layer, TensorSpec, get
from .dense import *  # noqa: F403
from .normalization import *  # noqa: F403
from .preprocessing import *  # noqa: F403
from .preprocessing import Preprocessing
from .scaling import *  # noqa: F403

__all__ = ["Layer", "Preprocessing", "TensorSpec", "get"]
__all__ += dense.__all__
__all__ += normalization.__all__
__all__ += preprocessing.__all__
__all__ += scaling.__all__
