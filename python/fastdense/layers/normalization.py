"""Layers that normalize over the batch or over the units: `BatchNorm` and `LayerNorm`."""

from __future__ import annotations

from ..arguments import number, optional_text
from ..specs import Config
from .base import Layer, TensorSpec

__all__ = ["BatchNorm", "LayerNorm"]


class BatchNorm(Layer, names=("batch_norm", "BatchNormalization")):
    """Scales each unit to mean 0, variance 1 over the batch, then by a learned gamma and beta (Ioffe & Szegedy, 2015).

    In training the mean and (biased) variance are those of the batch; otherwise their moving averages are used.

    Parameters
    ----------
    momentum : float, default 0.99
        ``moving = momentum * moving + (1 - momentum) * batch``; 0.99 is PyTorch's 0.01.
    epsilon : float, default 0.001
        Added to the variance; PyTorch's default is 1e-5.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.

    Examples
    --------
    >>> from fastdense.layers import BatchNorm
    >>> BatchNorm(momentum=0.9)
    BatchNorm(momentum=0.9)
    """

    operations = 6

    def __init__(self, momentum: float = 0.99, epsilon: float = 1e-3, name: str | None = None) -> None:
        self.momentum = number("BatchNorm: momentum", momentum, least=0, most=1)
        self.epsilon = number("BatchNorm: epsilon", epsilon, above=0)
        self.name = optional_text("BatchNorm: name", name)

    def lower(self, inputs: int) -> list[Config]:
        return [{"kind": "batch_norm", "momentum": self.momentum, "epsilon": self.epsilon}]

    def tensors(self, inputs: int) -> list[TensorSpec]:
        names = (("gamma", True), ("beta", True), ("moving_mean", False), ("moving_variance", False))
        return [TensorSpec(name, (inputs,), trainable) for name, trainable in names]


class LayerNorm(Layer, names=("layer_norm", "LayerNormalization")):
    """Scales each row to mean 0 and variance 1 over its units, then by a learned gamma and beta (Ba et al., 2016).

    Parameters
    ----------
    epsilon : float, default 0.001
        Added to the variance.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.

    Examples
    --------
    >>> from fastdense.layers import LayerNorm
    >>> LayerNorm()
    LayerNorm()
    """

    operations = 6

    def __init__(self, epsilon: float = 1e-3, name: str | None = None) -> None:
        self.epsilon = number("LayerNorm: epsilon", epsilon, above=0)
        self.name = optional_text("LayerNorm: name", name)

    def lower(self, inputs: int) -> list[Config]:
        return [{"kind": "layer_norm", "epsilon": self.epsilon}]

    def tensors(self, inputs: int) -> list[TensorSpec]:
        return [TensorSpec(name, (inputs,), True) for name in ("gamma", "beta")]
