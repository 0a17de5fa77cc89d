"""Modules for what PyTorch has none for; this imports torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Parallel", "Operation"]


class Operation(nn.Module):  # type: ignore[misc]
    """An operation of fastdense on rows (rows, inputs).

    Parameters
    ----------
    kind : str
        Its name in `fastdense.interop.chain`.
    inputs, outputs : int
    parameters, buffers : mapping of str to Tensor
        Numbers that are trained, and that are not.
    constants : mapping
        Others.
    """

    def __init__(
        self,
        kind: str,
        inputs: int,
        outputs: int,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        constants: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.kind, self.inputs, self.outputs, self.constants = kind, inputs, outputs, dict(constants)
        self.buffer_names = list(buffers)
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(value))
        for name, value in buffers.items():
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return FORMULAS[self.kind](self, x)

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return f"{self.constants.get('name', self.kind)}, {self.inputs}, {self.outputs}"


class Parallel(nn.Module):  # type: ignore[misc]
    """Several chains that begin with the same input, merged.

    Parameters
    ----------
    merge : str
    chains : list of Sequential
        An empty one passes the input.
    """

    def __init__(self, merge: str, chains: list[nn.Module]) -> None:
        super().__init__()
        self.merge, self.chains = merge, nn.ModuleList(chains)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the chains, and merge."""
        outputs = [chain(x) for chain in self.chains]
        if self.merge == "concatenate":
            return torch.cat(outputs, dim=1)
        made = outputs[0]
        for one in outputs[1:]:
            made = MERGES[self.merge](made, one)
        return made / len(outputs) if self.merge == "average" else made

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return repr(self.merge)


MERGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "average": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}


def _activation(m: Any, x: Tensor) -> Tensor:
    return ACTIVATIONS[m.constants["name"]](x, m.constants["alpha"])


def _squareplus(x: Tensor, alpha: float) -> Tensor:
    return torch.relu(x) + 0.5 * alpha / (torch.sqrt(x * x + alpha) + torch.abs(x))


def _piecewise_linear(m: Any, x: Tensor) -> Tensor:
    made = torch.minimum(torch.maximum((x[:, :, None] - m.low) / m.width, m.least), m.most) * m.wide
    return made.flatten(1)


def _grouped_dense(m: Any, x: Tensor) -> Tensor:
    groups, inputs, _ = m.kernel.shape
    return (torch.einsum("rgi,giu->rgu", x.reshape(-1, groups, inputs), m.kernel) + m.bias).flatten(1)


def _embedding(m: Any, x: Tensor) -> Tensor:
    found = x == m.codes
    rows = torch.where(found.any(dim=1), found.to(torch.uint8).argmax(dim=1), found.shape[1])
    return m.table[rows]


def _log1p(m: Any, x: Tensor) -> Tensor:
    away = x - m.offset
    return torch.copysign(torch.log1p(torch.abs(away) / m.scale), away)


def _waves(m: Any, x: Tensor) -> Tensor:
    periods = x[:, m.columns] * m.frequencies
    angle = 2 * math.pi * (periods - torch.round(periods))
    return torch.stack([torch.sin(angle), torch.cos(angle)], dim=2).flatten(1)


def _robust_scale(m: Any, x: Tensor) -> Tensor:
    away, clip = (x - m.center) / m.scale * m.varies, m.constants["clip"]
    return away if clip is None else away / torch.sqrt(1 + (away / clip) ** 2)


def _gaussian_noise(m: Any, x: Tensor) -> Tensor:
    return x + m.constants["stddev"] * torch.randn_like(x) if m.training else x


def _gaussian_dropout(m: Any, x: Tensor) -> Tensor:
    rate = m.constants["rate"]
    return x * (1 + math.sqrt(rate / (1 - rate)) * torch.randn_like(x)) if m.training else x


ACTIVATIONS: dict[str, Callable[[Tensor, Any], Tensor]] = {
    "exponential": lambda x, a: torch.exp(x),
    "squareplus": _squareplus,
    "sparse_plus": lambda x, a: 0.25 * (torch.clip(x, -1, 1) + 1) ** 2 + torch.relu(x - 1),
    "sparse_sigmoid": lambda x, a: torch.clip(0.5 * (x + 1), 0, 1),
}
FORMULAS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "activation": _activation,
    "unit_norm": lambda m, x: x / torch.clamp(torch.linalg.vector_norm(x, dim=1, keepdim=True), min=1e-12),
    "normalization": lambda m, x: (x - m.mean) / m.deviation,
    "rescaling": lambda m, x: x * m.scale + m.offset,
    "scale": lambda m, x: x * m.scale,
    "select": lambda m, x: x[:, m.columns],
    "piecewise_linear": _piecewise_linear,
    "cosines": lambda m, x: torch.cos(2 * math.pi * (x[:, :, None] * m.frequencies + m.phases)).flatten(1),
    "grouped_dense": _grouped_dense,
    "embedding": _embedding,
    "log1p": _log1p,
    "one_hot": lambda m, x: (x[:, m.columns] == m.codes).to(x.dtype),
    "waves": _waves,
    "robust_scale": _robust_scale,
    "fill": lambda m, x: torch.where(torch.isnan(x), m.fill, x),
    "is_nan": lambda m, x: torch.isnan(x).to(x.dtype),
    "gaussian_noise": _gaussian_noise,
    "gaussian_dropout": _gaussian_dropout,
}
