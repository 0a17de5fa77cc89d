"""Callbacks by Keras's names: those of `fastdense.callbacks`. ``self.model`` is the `fastdense.Model` inside."""

from .. import callbacks as core_callbacks
from ..callbacks import *  # noqa: F403  (all of them, so that a new one needs no line here)
from .names import not_offered

del ProgressBar  # noqa: F821  (fit(verbose=1) prints Keras's lines)
__all__ = [name for name in core_callbacks.__all__ if name != "ProgressBar"]

__getattr__ = not_offered("callbacks", __all__)
