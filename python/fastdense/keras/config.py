"""Settings for the models made from now on, by the names of Keras 3."""

from __future__ import annotations

from .backend import backend, epsilon, floatx, image_data_format, set_epsilon, set_floatx, set_image_data_format
from .mixed_precision import dtype_policy, set_dtype_policy
from .names import not_offered
from .settings import disable_interactive_logging, enable_interactive_logging, is_interactive_logging_enabled

__all__ = [
    "backend",
    "disable_interactive_logging",
    "disable_traceback_filtering",
    "dtype_policy",
    "enable_interactive_logging",
    "epsilon",
    "floatx",
    "image_data_format",
    "is_interactive_logging_enabled",
    "is_traceback_filtering_enabled",
    "set_dtype_policy",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
]


def disable_traceback_filtering() -> None:
    """Do nothing: the tracebacks of errors are never shortened."""


def is_traceback_filtering_enabled() -> bool:
    """Always False."""
    return False


__getattr__ = not_offered("config", __all__)
