"""Preparing data before a fit: `sequence.pad_sequences`."""

from ..names import not_offered
from . import sequence

__all__ = ["sequence"]

__getattr__ = not_offered("preprocessing", __all__)
