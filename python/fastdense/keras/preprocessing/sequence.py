"""Sequences of numbers."""

from ..names import not_offered
from ..utils import pad_sequences

__all__ = ["pad_sequences"]

__getattr__ = not_offered("preprocessing.sequence", __all__)
