"""What a chain computes, in NumPy and float64: the measure of formats, and of the loss of accuracy of int8."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from ..arrays import Array
from ..reference import activations
from .chain import Chain, ChainBlock, ChainStep

Row = Callable[[ChainStep, Array], Array]


def computed(chain: Chain, x: Array, dense: Row | None = None) -> Array:
    """Outputs (rows, outputs) for rows (rows, inputs).

    Parameters
    ----------
    chain : Chain
    x : float64 array
    dense : callable, optional
        What takes the place of the formula of a dense step, before its bias: for nets whose numbers are rounded.
    """
    for one in chain:
        if isinstance(one, ChainBlock):
            x = MERGES[one.merge]([computed(inner, x, dense) for inner in one.chains])
        elif one.kind == "dense" and dense is not None:
            x = dense(one, x)
        elif one.kind in STEPS:
            x = STEPS[one.kind](one, x)
    return x


def _or(value: Any, otherwise: float) -> Any:
    return otherwise if value is None else np.asarray(value, dtype=np.float64)


def _dense(step: ChainStep, x: Array) -> Array:
    made: Array = x @ step.get("kernel").astype(np.float64) + _or(step.get("bias"), 0.0)
    return made


def _activation(step: ChainStep, x: Array) -> Array:
    function = activations.Activation(step.get("name"), step.get("alpha") or 0.0)
    return function.value(x, step.get("slope"))


def _standardized(step: ChainStep, x: Array, mean: Array, variance: Array) -> Array:
    made: Array = (x - mean) / np.sqrt(variance + step.get("epsilon"))
    made = made * _or(step.get("gamma"), 1.0) + _or(step.get("beta"), 0.0)
    return made


def _piecewise_linear(step: ChainStep, x: Array) -> Array:
    low, width, wide, least, most = bins_of(step.get("edges"))
    made: Array = np.clip((x[:, :, None] - low) / width, least, most) * wide
    return made.reshape(len(x), -1)


def bins_of(edges: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Lower edge, width, whether there is any, least and most value of each bin, (columns, bins)."""
    edges = np.asarray(edges, dtype=np.float64)
    low, high = edges[:, :-1], edges[:, 1:]
    wide = high > low
    least, most = np.zeros_like(low), np.ones_like(low)
    least[:, 0], most[:, -1] = -np.inf, np.inf
    return low, np.where(wide, high - low, 1.0), wide.astype(np.float64), least, most


def _cosines(step: ChainStep, x: Array) -> Array:
    made: Array = np.cos(2 * np.pi * (step.get("frequencies") * x[:, :, None] + step.get("phases")))
    return made.reshape(len(x), -1)


def _grouped_dense(step: ChainStep, x: Array) -> Array:
    groups, inputs, _ = step.get("kernel").shape
    z = np.einsum("rgi,giu->rgu", x.reshape(len(x), groups, inputs), step.get("kernel")) + step.get("bias")
    made: Array = z.reshape(len(x), -1)
    return made


def _embedding(step: ChainStep, x: Array) -> Array:
    found = x == np.asarray(step.get("codes"), dtype=np.float64)
    rows = np.where(found.any(axis=1), found.argmax(axis=1), found.shape[1])
    made: Array = np.asarray(step.get("table"), dtype=np.float64)[rows]
    return made


def _log1p(step: ChainStep, x: Array) -> Array:
    away = x - np.array(step.get("offset"))
    made: Array = np.copysign(np.log1p(np.abs(away) / np.array(step.get("scale"))), away)
    return made


def _one_hot(step: ChainStep, x: Array) -> Array:
    return np.concatenate([x[:, i : i + 1] == np.array(one) for i, one in enumerate(step.get("codes"))], 1) + 0.0


def _waves(step: ChainStep, x: Array) -> Array:
    parts = []
    for i, frequencies in enumerate(step.get("frequencies")):
        periods = x[:, i : i + 1] * np.array(frequencies)
        angle = 2 * np.pi * (periods - np.rint(periods))
        parts.append(np.stack([np.sin(angle), np.cos(angle)], axis=2).reshape(len(x), -1))
    return np.concatenate(parts, axis=1)


def _robust_scale(step: ChainStep, x: Array) -> Array:
    scale = np.array(step.get("scale"))
    away = (x - np.array(step.get("center"))) / np.where(scale == 0, 1.0, scale) * (scale != 0)
    made: Array = away if step.get("clip") is None else away / np.hypot(1.0, away / step.get("clip"))
    return made


def _unit_norm(step: ChainStep, x: Array) -> Array:
    made: Array = x / np.maximum(np.sqrt((x * x).sum(axis=1, keepdims=True)), 1e-12)
    return made


STEPS: dict[str, Row] = {
    "dense": _dense,
    "activation": _activation,
    "batch_norm": lambda s, x: _standardized(s, x, _or(s.get("mean"), 0.0), _or(s.get("variance"), 1.0)),
    "layer_norm": lambda s, x: _standardized(s, x, x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)),
    "unit_norm": _unit_norm,
    "normalization": lambda s, x: np.asarray((x - s.get("mean")) / s.get("deviation")),
    "rescaling": lambda s, x: np.asarray(x * s.get("scale") + s.get("offset")),
    "scale": lambda s, x: np.asarray(x * s.get("scale")),
    "select": lambda s, x: np.asarray(x[:, s.get("columns")]),
    "piecewise_linear": _piecewise_linear,
    "cosines": _cosines,
    "grouped_dense": _grouped_dense,
    "embedding": _embedding,
    "log1p": _log1p,
    "one_hot": _one_hot,
    "waves": _waves,
    "robust_scale": _robust_scale,
    "fill": lambda s, x: np.where(np.isnan(x), np.array(s.get("fill")), x),
    "is_nan": lambda s, x: np.isnan(x).astype(np.float64),
}

MERGES: dict[str, Callable[[list[Array]], Array]] = {
    "concatenate": lambda outputs: np.concatenate(outputs, axis=1),
    "add": lambda outputs: reduce(np.add, outputs),
    "subtract": lambda outputs: outputs[0] - outputs[1],
    "multiply": lambda outputs: reduce(np.multiply, outputs),
    "average": lambda outputs: reduce(np.add, outputs) / len(outputs),
    "maximum": lambda outputs: reduce(np.maximum, outputs),
    "minimum": lambda outputs: reduce(np.minimum, outputs),
}
