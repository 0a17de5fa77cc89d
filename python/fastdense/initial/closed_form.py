"""Weights of the last layer in closed form: ridge regression from its inputs to the targets."""

from __future__ import annotations

import numpy as np

from ..arrays import fail, to_host
from ..data.rows import Rows
from ..layers import Dense
from ..network import Net
from ..runners.single import Runner


def check_output_layer(where: str, net: Net) -> Dense:
    """Return the layer that makes a net's outputs; raise unless it has a closed form."""
    layer = net.layers[net.output_layer]
    if not isinstance(layer, Dense) or layer.activation not in ("linear", "relu"):
        kind = type(layer).__name__ + (f" with activation={layer.activation!r}" if isinstance(layer, Dense) else "")
        needed = "a Dense layer, linear or relu, has a closed form"
        fail(where, f"the last layer is {kind}", needed, "end with fd.Dense(n)")
    if not layer.trainable:
        fail(where, "the last layer is not trainable", "its weights would change", "set layer.trainable = True")
    return layer


def solve_output(where: str, runner: Runner, data: Rows, ridge: float, n_threads: int) -> None:
    """Give the output layer the weights with the smallest squared error; see `Model.solve_output`."""
    net = runner.net
    layer = check_output_layer(where, net)
    rescalings = len(net.layers) - 1 - net.output_layer
    if layer.activation == "relu":
        ends = np.stack([to_host(data.y.min(axis=0)), to_host(data.y.max(axis=0))]).astype(np.float64)
        smallest = net.before_rescaling(ends, runner.tensors()).min()
        if smallest < 0:
            given = f"y holds {smallest:g}{' before the Rescaling' * bool(rescalings)}"
            fail(where, given, "a relu output is never negative", "use a linear last layer")
    runner.adapt(data.x)
    solved = runner.solve_output(data, ridge, n_threads)
    if solved is None:
        fail(where, f"ridge={ridge:g} leaves the system singular", "it needs one solution", "e.g. ridge=1e-6")
    tensors = runner.tensors()
    kernel = net.slices[net.output_layer].start
    tensors[kernel] = solved[0]
    if solved[1] is not None:
        tensors[kernel + 1] = solved[1]
    runner.set_tensors(tensors)
