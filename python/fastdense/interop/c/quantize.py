"""Weights in int8: one factor for each unit, and one for the inputs of each layer, by rows for calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...arrays import Array
from ..chain import Chain, ChainStep, steps_of
from ..compute import computed

MOST_INPUTS = 2**31 // 128**2  # of a layer, so that sums of products fit in 32 bits


@dataclass(frozen=True)
class Rounded:
    """A dense layer in int8: ``y = sum(w q) scale + bias`` with ``q = round(x per_step + zero)``, -128 to 127."""

    weights: Array
    per_step: float
    zero: int
    scale: Array
    bias: Array


def quantized(chain: Chain, rows: Array) -> dict[int, Rounded]:
    """The dense steps of a chain in int8, by their ids; `rows` are typical inputs (rows, inputs)."""
    seen: dict[int, tuple[float, float]] = {}

    def look(step: ChainStep, x: Array) -> Array:
        low, high = seen.get(id(step), (0.0, 0.0))
        seen[id(step)] = (min(low, float(x.min())), max(high, float(x.max())))
        return _plain(step, x)

    computed(chain, rows, look)
    return {id(step): _rounded(step, *seen[id(step)]) for step in steps_of(chain) if step.kind == "dense"}


def computed_rounded(chain: Chain, rows: Array, rounded: dict[int, Rounded]) -> Array:
    """What a chain computes with these layers."""

    def layer(step: ChainStep, x: Array) -> Array:
        one = rounded[id(step)]
        q = np.clip(np.floor(x * one.per_step + one.zero + 0.5), -128, 127)
        made: Array = (q @ one.weights.astype(np.float64)) * one.scale + one.bias
        return made

    return computed(chain, rows, layer)


def _plain(step: ChainStep, x: Array) -> Array:
    bias = step.get("bias")
    made: Array = x @ np.asarray(step.get("kernel"), np.float64) + (0.0 if bias is None else bias)
    return made


def _rounded(step: ChainStep, low: float, high: float) -> Rounded:
    """The range of the inputs, which holds 0, becomes -128 to 127, and that of each unit's weights -127 to 127."""
    kernel = np.asarray(step.get("kernel"), np.float64)
    size = (high - low) / 255.0 or 1.0
    zero = int(np.clip(np.round(-128.0 - low / size), -128, 127))
    factors = np.abs(kernel).max(axis=0) / 127.0
    factors = np.where(factors == 0, 1.0, factors)
    weights = np.round(kernel / factors).astype(np.int8)
    bias = np.zeros(kernel.shape[1]) if step.get("bias") is None else np.asarray(step.get("bias"), np.float64)
    scale = factors * size
    return Rounded(weights, 1.0 / size, zero, scale, bias - zero * scale * weights.astype(np.float64).sum(axis=0))
