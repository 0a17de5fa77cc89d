"""Layers: what a net is made of.

A layer is a description: it checks its arguments, knows its tensors and turns itself into the plain ops of the engines.
It holds no weights; those are the model's.
"""

from __future__ import annotations

from .base import Layer, TensorSpec, get
from .dense import Activation, Dense, Dropout, Residual
from .normalization import BatchNorm, LayerNorm
from .scaling import Normalization, Rescaling

__all__ = [
    "Activation",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Layer",
    "LayerNorm",
    "Normalization",
    "Rescaling",
    "Residual",
    "TensorSpec",
    "get",
]
