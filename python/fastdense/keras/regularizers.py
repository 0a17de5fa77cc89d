"""Regularizers by Keras's names: those of `fastdense.regularizers`."""

from .. import regularizers as core_regularizers
from ..regularizers import *  # noqa: F403  (all of them, so that a new one needs no line here)
from .names import not_offered

del Sum  # noqa: F821  (a sum of penalties, which Keras does not have)
__all__ = [name for name in core_regularizers.__all__ if name != "Sum"]

l1l2 = core_regularizers.l1_l2  # Keras 1
__getattr__ = not_offered("regularizers", __all__)
