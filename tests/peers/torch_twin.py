"""The net of a fastdense model in PyTorch, with the same tensors, in float64 throughout."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch
    from torch import nn

import fastdense as fd
from tests.peers.problem import Array

__all__ = ["ACTIVATIONS", "Twin", "torch"]
torch.set_default_dtype(torch.float64)  # of the optimizers' scalars too
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": lambda alpha: nn.ReLU(),
    "leaky_relu": lambda alpha: nn.LeakyReLU(alpha),
    "relu6": lambda alpha: nn.ReLU6(),
    "elu": lambda alpha: nn.ELU(alpha),
    "selu": lambda alpha: nn.SELU(),
    "celu": lambda alpha: nn.CELU(alpha),
    "gelu": lambda alpha: nn.GELU(),
    "silu": lambda alpha: nn.SiLU(),
    "mish": lambda alpha: nn.Mish(),
    "softplus": lambda alpha: nn.Softplus(),
    "softsign": lambda alpha: nn.Softsign(),
    "tanh": lambda alpha: nn.Tanh(),
    "sigmoid": lambda alpha: nn.Sigmoid(),
    "hard_sigmoid": lambda alpha: nn.Hardsigmoid(),
    "exponential": lambda alpha: Function(torch.exp),
    "softmax": lambda alpha: nn.Softmax(dim=1),
}


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.forward = function


class Sum(nn.Module):
    """Adds its input to what its layers make of it."""

    def __init__(self, layers: Any) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Any) -> Any:
        return x + self.layers(x)


class Twin:
    """A PyTorch net with the layers and the tensors of a model.

    `logits` leaves the activation of the last layer out.
    """

    def __init__(self, model: fd.Model, logits: bool = False) -> None:
        self.tensors: list[Any] = []  # in fastdense's order, kernels transposed
        self.net = self._sequence(model.layers, model.inputs, iter(model.get_weights()))
        if logits:
            self.net = self.net[:-1]

    def _sequence(self, layers: Sequence[Any], width: int, values: Iterator[Array]) -> Any:
        modules: list[Any] = []
        for layer in layers:
            if isinstance(layer, fd.Residual):
                modules.append(Sum(self._sequence(layer.layers, width, values)))
            if isinstance(layer, fd.Dense):
                linear = nn.Linear(width, layer.units, bias=layer.use_bias)
                width = layer.units
                self._take(values, *((linear.weight, linear.bias) if layer.use_bias else (linear.weight,)))
                modules.append(linear)
            if isinstance(layer, fd.BatchNorm):
                norm: Any = nn.BatchNorm1d(width, eps=layer.epsilon, momentum=1.0 - layer.momentum)
                self._take(values, norm.weight, norm.bias, norm.running_mean, norm.running_var)
                modules.append(norm)
            if isinstance(layer, fd.LayerNorm):
                norm = nn.LayerNorm(width, eps=layer.epsilon)
                self._take(values, norm.weight, norm.bias)
                modules.append(norm)
            if isinstance(layer, (fd.Dense, fd.Activation)) and layer.activation == "prelu":
                slope = nn.PReLU(width)
                self._take(values, slope.weight)
                modules.append(slope)
            elif isinstance(layer, (fd.Dense, fd.Activation)) and layer.activation != "linear":
                modules.append(ACTIVATIONS[layer.activation](layer.alpha))
        return nn.Sequential(*modules)

    def _take(self, values: Iterator[Array], *tensors: Any) -> None:
        for tensor in tensors:
            with torch.no_grad():
                tensor.copy_(torch.from_numpy(next(values).T))
            self.tensors.append(tensor)

    def weights(self) -> list[Array]:
        """Return all tensors as fastdense has them."""
        return [np.array(tensor.detach().numpy().T) for tensor in self.tensors]

    def gradients(self) -> list[Array]:
        """Return the gradients of the trainable tensors after `backward`."""
        return [np.array(tensor.grad.numpy().T) for tensor in self.tensors if tensor.requires_grad]

    def train(
        self,
        optimizer: Any,
        x: Array,
        y: Array,
        steps: int,
        batch: int,
        before_step: Callable[[int], None] = lambda step: None,
        after_step: Callable[[], None] = lambda: None,
    ) -> None:
        """Make steps of mse over the rows in their order; `before_step` is called with the gradients in place."""
        inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
        per_epoch = -(-len(x) // batch)
        for step in range(steps):
            rows = slice(step % per_epoch * batch, (step % per_epoch + 1) * batch)
            optimizer.zero_grad()
            nn.functional.mse_loss(self.net(inputs[rows]), targets[rows]).backward()
            before_step(step)
            optimizer.step()
            after_step()
