"""Layers.

A layer is a description: it checks its arguments, knows its tensors and turns itself into the plain ops of the engines.
It holds no weights; those are the model's.
"""

from __future__ import annotations

from . import ascending, blocks, cleaning, dense, function, noise, normalization, preprocessing, scaling, tables
from .adapting import Adapting
from .ascending import *  # noqa: F403
from .base import Layer, TensorSpec, get
from .blocks import *  # noqa: F403
from .blocks import Composite
from .cleaning import *  # noqa: F403
from .dense import *  # noqa: F403
from .function import *  # noqa: F403
from .noise import *  # noqa: F403
from .normalization import *  # noqa: F403
from .preprocessing import *  # noqa: F403
from .preprocessing import Preprocessing
from .scaling import *  # noqa: F403
from .tables import *  # noqa: F403

__all__ = ["Adapting", "Composite", "Layer", "Preprocessing", "TensorSpec", "get"]
__all__ += ascending.__all__
__all__ += blocks.__all__
__all__ += cleaning.__all__
__all__ += dense.__all__
__all__ += function.__all__
__all__ += noise.__all__
__all__ += normalization.__all__
__all__ += preprocessing.__all__
__all__ += scaling.__all__
__all__ += tables.__all__
