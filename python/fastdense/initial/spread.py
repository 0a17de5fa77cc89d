"""First values from the data: hidden units whose hyperplanes are spread over the rows.

For a population at once; arrays have one entry per start in front. Random numbers are those of
`fastdense.initializers`, in streams that no tensor uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..arrays import Array, fail
from ..data.rows import Rows, evenly_spaced_rows
from ..engine import native
from ..engine.blas import one_numpy_thread, qr
from ..initializers import Data
from ..layers import Dense, Layer
from ..losses import DISTANCES
from ..network import Net
from ..runners.single import Runner

FIRST_INDEX = 1 << 20  # of the streams of random numbers
INSIDE = (0.05, 0.95)  # the quantiles of the data between which a unit's hyperplane lies
RIDGE = 1e-3  # of the mean diagonal, for the last layer
SMALL = 64  # kernels up to this size have their directions pushed apart
CHUNK = 1 << 24  # elements of a temporary array, at most
LayerOutputs = Callable[[list[Array], int], Array]  # (tensors, layer) -> its outputs, (starts or 1, rows, units)


def check_trainable(where: str, layers: Sequence[Layer]) -> None:
    """Raise if there are layers that would get first values, and none of them may change."""
    if layers and not any(layer.trainable for layer in layers):
        fail(where, "no dense layer that it would change is trainable", "one must be", "set layer.trainable = True")


def data_layers(net: Net) -> list[int]:
    """Indices of the layers with ``kernel_initializer="data"``."""
    return [i for i, one in enumerate(net.layers) if isinstance(getattr(one, "kernel_initializer", None), Data)]


def untouched_data_layers(runner: Runner) -> list[int]:
    """Those of a net's `data_layers` that still have the values they were made with; none once it was trained."""
    net = runner.net
    layers = data_layers(net) if runner.step == 0 and runner.epochs_trained == 0 else []
    if not layers:
        return []
    first, now = net.initial_values(), runner.tensors()

    def is_untouched(part: slice) -> bool:
        pairs = zip(now[part], first[part], strict=True)
        return all(np.array_equal(value, initial.astype(value.dtype)) for value, initial in pairs)

    return [i for i in layers if is_untouched(net.slices[i])]


def spread_one(
    runner: Runner,
    data: Rows,
    loss_kind: str,
    tensors: list[Array],
    layers: Sequence[int] | None = None,
    n_threads: int = 0,
) -> None:
    """Place the hidden units of one net over the data; the net gets the resulting tensors.

    Parameters
    ----------
    runner : Runner
    data : Rows
        All of it; evenly spaced rows are used.
    loss_kind : str
    tensors : list of ndarray
        First values of all tensors, (1, ...) each; those of layers that are not trainable are left out.
    layers : sequence of int, optional
        As for `spread_over_data`.
    n_threads : int
        Of the engine; 0 leaves the number to it.
    """
    net = runner.net
    sample = Rows(evenly_spaced_rows(data.x), evenly_spaced_rows(data.y), None)
    known = runner.tensors()
    for one in net.statistics:
        tensors[one.tensors] = [tensor[None] for tensor in known[one.tensors]]
    for i in net.kept():
        tensors[i] = known[i][None]

    def layer_outputs(given: list[Array], layer: int) -> Array:
        runner.set_tensors([tensor[0] for tensor in given])
        return np.asarray(runner.activations(sample.x, n_threads)[layer], dtype=np.float64)[None]

    spread_over_data(net, sample, loss_kind, np.array([net.seed], dtype=np.uint64), tensors, layer_outputs, layers)
    runner.set_tensors([tensor[0] for tensor in tensors])


@one_numpy_thread()
def spread_over_data(
    net: Net,
    data: Rows,
    loss_kind: str,
    seeds: Array,
    tensors: list[Array],
    layer_outputs: LayerOutputs,
    layers: Sequence[int] | None = None,
) -> None:
    """Place the hidden units of nets over the data, in place; see `fastdense.start_on_data`.

    Parameters
    ----------
    net : Net
    data : Rows
        The rows that `layer_outputs` is for, and their targets.
    loss_kind : str
    seeds : ndarray of uint64, shape (starts,)
    tensors : list of ndarray
        First values of all tensors; those of dense layers are replaced, layer by layer.
    layer_outputs : callable
        Outputs of a layer for the tensors so far.
    layers : sequence of int, optional
        Indices of the layers to place; all dense ones that are trainable if None.
    """
    for number, (layer, part) in enumerate(zip(net.layers, net.slices, strict=True)):
        if not isinstance(layer, Dense) or not (layer.trainable if layers is None else number in layers):
            continue
        width = net.widths[number - 1] if number else net.inputs
        below = np.asarray(data.x, dtype=np.float64)[None] if number == 0 else layer_outputs(tensors, number - 1)
        if number != net.output_layer:
            kernel = _directions(seeds, number, width, layer.units)
            uniform = random_numbers(seeds, 2 * number + 1, layer.units)
            kernel, bias = through_data(below, kernel, uniform, layer.use_bias)
            tensors[part.start] = kernel
            if layer.use_bias:
                tensors[part.start + 1] = bias
        elif layer.activation == "linear" and loss_kind in DISTANCES:
            y = net.before_rescaling(np.asarray(data.y, dtype=np.float64), [tensor[0] for tensor in tensors])
            solved = _least_squares(below, y, layer.use_bias, len(seeds))
            tensors[part.start : part.start + len(solved)] = solved


def random_numbers(seeds: Array, index: int, n: int, kind: str = "uniform") -> Array:
    """Random numbers (starts, n) of stream `index`: "uniform" from 0 to 1, or "normal"."""
    return native.random_many(np.ascontiguousarray(seeds, dtype=np.uint64), FIRST_INDEX + index, n, kind)


def _directions(seeds: Array, number: int, inputs: int, units: int) -> Array:
    """Unit vectors (starts, inputs, units) with angles between them as large as possible."""
    d = random_numbers(seeds, 2 * number, inputs * units, "normal").reshape(len(seeds), inputs, units)
    d /= np.maximum(np.linalg.norm(d, axis=1, keepdims=True), 1e-12)
    if inputs * units > SMALL:
        blocks = []
        for first in range(0, units, inputs):
            block = d[:, :, first : first + inputs]
            blocks.append(np.stack([q * np.where(diagonal < 0, -1.0, 1.0) for q, diagonal in map(qr, block)]))
        return np.concatenate(blocks, axis=2)
    apart = 1.0 - np.eye(units)
    for _ in range(100 if inputs > 1 else 0):  # like charges on a sphere, which repel one another
        push = np.exp(2 * np.matmul(d.transpose(0, 2, 1), d)) * apart
        d = d - 0.2 / units * np.matmul(d, push)
        d /= np.maximum(np.linalg.norm(d, axis=1, keepdims=True), 1e-12)
    return d


def through_data(below: Array, kernel: Array, uniform: Array, use_bias: bool) -> tuple[Array, Array]:
    """Scale units so that they vary by 1 over the rows, and let each hyperplane cut the rows at another quantile."""
    starts, _, units = kernel.shape
    bias = np.zeros((starts, units))
    order = np.argsort(uniform, axis=1).argsort(axis=1)  # which unit gets which quantile
    low, high = INSIDE
    quantiles = low + (high - low) * (order + np.modf(uniform * 4099.0)[0]) / units
    rows = below.shape[1]
    step = max(1, CHUNK // (rows * units))
    for first in range(0, starts, step):
        part = slice(first, first + step)
        z = np.matmul(below if len(below) == 1 else below[part], kernel[part])
        size = z.std(axis=1)
        size = np.where(size > 1e-12, size, 1.0)
        kernel[part] /= size[:, None]
        if use_bias:
            z = np.sort(z, axis=1)
            at = np.minimum((quantiles[part] * rows).astype(np.int64), rows - 1)
            above = np.minimum(at + 1, rows - 1)
            # between two rows: on one of them, rounding would decide whether the unit is on
            cut = 0.5 * sum(np.take_along_axis(z, k[:, None], axis=1)[:, 0] for k in (at, above))
            bias[part] = -cut / size
    return kernel, bias


def _least_squares(below: Array, y: Array, use_bias: bool, starts: int) -> list[Array]:
    """The last layer that fits the targets y best (ridge), for each start: kernel and bias."""
    below = np.broadcast_to(below, (starts, *below.shape[1:]))
    rows, width = below.shape[1:]
    solved = np.zeros((starts, width + 1, y.shape[1]))
    step = max(1, CHUNK // (rows * (width + 1)))
    for first in range(0, starts, step):
        h = np.asarray(below[first : first + step], dtype=np.float64)
        mean, target = (h.mean(axis=1, keepdims=True), y.mean(axis=0)) if use_bias else (0.0 * h[:, :1], 0.0 * y[0])
        h = h - mean
        gram = np.matmul(h.transpose(0, 2, 1), h)
        ridge = RIDGE * np.trace(gram, axis1=1, axis2=2) / width + 1e-30
        gram += ridge[:, None, None] * np.eye(width)
        kernel = np.linalg.solve(gram, np.matmul(h.transpose(0, 2, 1), y - target))
        solved[first : first + step, :width] = kernel
        solved[first : first + step, width] = target - np.matmul(mean, kernel)[:, 0]
    return [solved[:, :width], solved[:, width]] if use_bias else [solved[:, :width]]
