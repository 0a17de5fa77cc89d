"""Settings for the models made from now on, by the names of Keras 3."""

from __future__ import annotations

from .backend import backend, epsilon, floatx, image_data_format, set_epsilon, set_floatx
from .mixed_precision import dtype_policy, set_dtype_policy
from .names import not_offered

__all__ = [
    "backend",
    "dtype_policy",
    "epsilon",
    "floatx",
    "image_data_format",
    "set_dtype_policy",
    "set_epsilon",
    "set_floatx",
]

__getattr__ = not_offered("config", __all__)
