"""Starts that cannot be stuck: hidden units placed so that all data pass through, and the last layer in closed form.

A ReLU that is off for a row forgets what it saw of it, and a saturated unit nearly so. `place` puts each unit where the
data keep it on (or in its steep part), with kernels that keep directions apart, so that the layers together lose
nothing where they are wide enough; `solve_output` then reads off whatever the last layer can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..activations import TABLE
from ..arrays import Array, fail
from ..data.checks import check_x
from ..data.prepare import prepare
from ..data.rows import sample
from ..initializers import Orthogonal
from ..layers import Dense
from ..losses import MeanSquaredError

if TYPE_CHECKING:
    from ..model.base import BaseModel

ROWS = 2048  # that decide where units go
MARGIN = 0.5  # of their range, for rows that were not seen
SHRINKAGE = 0.1  # of the mean variance, added to all of them before correlations are taken out


def place(model: BaseModel, x: Any, y: Any = None) -> None:
    """Place the hidden units; see `Model.place`."""
    rows = check_x("place", x, model._shape)
    if y is not None:
        last = model.layers[-1]
        if not (isinstance(last, Dense) and last.activation == "linear" and last.use_bias):
            fail("place", "y is given", "a linear last Dense layer with a bias is needed", "leave y out")
        y = sample(prepare("place", x, y, None, model._shape, MeanSquaredError()).y, ROWS).astype(np.float64)
    model.runner.adapt(rows)
    few = sample(rows, ROWS)
    tensors, at, first = model.get_weights(), 0, True
    for i, layer in enumerate(model.layers):
        width = model.net.widths[i - 1] if i else model.inputs
        count = len(layer.tensors(width))
        if isinstance(layer, Dense) and i < model.net.output_layer:
            below = few if i == 0 else model.runner.activations(few, 0)[i - 1]
            below = np.asarray(below, dtype=np.float64)
            kernel = Orthogonal()((width, layer.units), model.seed, at)
            if first:
                kernel, first = _whitener(below) @ kernel, False
            z = below @ kernel
            scale, bias = _fit(z, layer.activation, layer.use_bias)
            tensors[at] = kernel * scale
            if layer.use_bias:
                tensors[at + 1] = bias
            model.runner.set_tensors(tensors)
        at += count
    if y is not None:
        z = np.asarray(model.predict(few), dtype=np.float64)
        scale = float(np.sqrt(y.var(axis=0).mean() / (z.var(axis=0).mean() or 1.0))) or 1.0
        tensors[-2], tensors[-1] = scale * tensors[-2], y.mean(axis=0) + scale * (tensors[-1] - z.mean(axis=0))
        model.runner.set_tensors(tensors)


def _whitener(x: Array) -> Array:
    """The matrix (columns, columns) that takes the correlations out of rows, but for directions that hardly vary.

    (C + s I)^(-1/2), C the covariance and s a share of its mean diagonal: a direction that few of the rows seen know
    must not be blown up when others use it.
    """
    x = x - x.mean(axis=0)
    covariance = x.T @ x / len(x)
    values, vectors = np.linalg.eigh(covariance)
    shrink = SHRINKAGE * float(np.mean(np.diagonal(covariance))) or 1.0
    return np.asarray((vectors / np.sqrt(np.maximum(values, 0.0) + shrink)) @ vectors.T)


def _fit(z: Array, activation: str, use_bias: bool) -> tuple[float, Array]:
    """One factor for a layer, so that directions stay apart, and each unit's bias."""
    low, high = z.min(axis=0), z.max(axis=0)
    spread = float(np.sqrt(np.mean(z.var(axis=0)))) or 1.0
    begin, end = TABLE[activation].passes or (0.0, np.inf)
    if end == np.inf:
        scale = 1.0 / spread
        bias = begin - scale * (low - MARGIN * (high - low))
    else:
        reach = (0.5 + MARGIN) * (high - low) if use_bias else np.maximum(np.abs(low), np.abs(high)) * (1.0 + MARGIN)
        scale = 0.5 * (end - begin) / (float(reach.max()) or 1.0)
        bias = 0.5 * (begin + end) - 0.5 * scale * (low + high)
    return scale, np.where(TABLE[activation].passes is None, 0.0, bias)
