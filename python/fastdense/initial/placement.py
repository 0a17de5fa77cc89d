"""Data-dependent initialization without dead or saturated units.

A ReLU that is off for a row loses what it was given there, and a saturated unit nearly so. `place` chooses biases with
which the data keep each unit on (or in the steep part of its activation), and kernels whose columns are orthogonal, so
that no layer loses information where it is at least as wide as the one below; `closed_form.solve_output` then fits the
last layer.
"""

from __future__ import annotations

import numpy as np

from ..activations import TABLE
from ..arrays import Array, fail
from ..data.rows import evenly_spaced_rows
from ..engine.blas import one_numpy_thread, product
from ..initializers import Orthogonal
from ..layers import Dense, Layer
from ..network import Net
from ..runners.single import Runner

ROWS = 2048  # from which kernels and biases are computed
MARGIN = 0.5  # of the range of the rows, for rows that were not among them
SHRINKAGE = 0.1  # of the mean variance, added to all of them before correlations are taken out


def check_last_layer(net: Net) -> None:
    """Raise unless the last layer can be scaled to targets."""
    last = net.layers[-1]
    if not (isinstance(last, Dense) and last.activation == "linear" and last.use_bias):
        fail("place", "y is given", "a linear last Dense layer with a bias is needed", "leave y out")
    if not last.trainable:
        fail("place", "y is given", "a last layer that is trainable is needed, since it is scaled", "leave y out")


def hidden_layers(net: Net) -> list[Layer]:
    """The layers whose units are placed, trainable or not."""
    return [layer for layer in net.layers[: net.output_layer] if isinstance(layer, Dense)]


@one_numpy_thread()
def place(runner: Runner, x: Array, y: Array | None = None) -> None:
    """Place the hidden units of a net; see `Model.place`. x and y were checked and are of any number of rows."""
    net = runner.net
    targets = None if y is None else evenly_spaced_rows(y, ROWS).astype(np.float64)
    runner.adapt(x)
    sample = evenly_spaced_rows(x, ROWS)
    tensors, first = runner.tensors(), True
    for i, (layer, part) in enumerate(zip(net.layers, net.slices, strict=True)):
        if not isinstance(layer, Dense) or i >= net.output_layer or not layer.trainable:
            continue
        width, index = (net.widths[i - 1] if i else net.inputs), part.start
        below = np.asarray(sample if i == 0 else runner.activations(sample, 0)[i - 1], dtype=np.float64)
        kernel = Orthogonal()((width, layer.units), net.seed, index)
        if first:
            kernel, first = product(_whitener(below), kernel), False
        z = product(below, kernel)
        scale, bias = _fit(z, layer.activation, layer.use_bias)
        tensors[index] = kernel * scale
        if layer.use_bias:
            tensors[index + 1] = bias
        runner.set_tensors(tensors)
    if targets is not None:
        z = np.asarray(runner.predict(sample, 0), dtype=np.float64)
        scale = float(np.sqrt(targets.var(axis=0).mean() / (z.var(axis=0).mean() or 1.0))) or 1.0
        tensors[-2], tensors[-1] = scale * tensors[-2], targets.mean(axis=0) + scale * (tensors[-1] - z.mean(axis=0))
        runner.set_tensors(tensors)


def _whitener(x: Array) -> Array:
    """The matrix (columns, columns) that removes the correlations of rows, but for directions that hardly vary.

    (C + s I)^(-1/2), C the covariance and s a fraction of its mean diagonal: a direction in which few of these rows
    vary must not be amplified for others.
    """
    x = x - x.mean(axis=0)
    covariance = product(x.T, x) / len(x)
    values, vectors = np.linalg.eigh(covariance)
    shrink = SHRINKAGE * float(np.mean(np.diagonal(covariance))) or 1.0
    return product(vectors / np.sqrt(np.maximum(values, 0.0) + shrink), vectors.T)


def _fit(z: Array, activation: str, use_bias: bool) -> tuple[float, Array]:
    """One factor for the kernel of a layer, and the bias of each unit."""
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
