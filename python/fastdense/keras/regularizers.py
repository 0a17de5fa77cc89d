"""Regularizers by Keras's names; those of `fastdense.regularizers`."""

from ..regularizers import (
    L1,
    L1L2,
    L2,
    OrthogonalRegularizer,
    Regularizer,
    RepulsionRegularizer,
    get,
    l1,
    l1_l2,
    l2,
    orthogonal,
    repulsion,
)
from .names import not_offered

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "OrthogonalRegularizer",
    "Regularizer",
    "RepulsionRegularizer",
    "get",
    "l1",
    "l1_l2",
    "l2",
    "orthogonal",
    "repulsion",
]

l1l2 = l1_l2  # Keras 1
__getattr__ = not_offered("regularizers", __all__)
