"""initial.closed_form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import number
from ..arrays import fail, to_host
from ..data.prepare import prepare
from ..layers import Dense
from ..losses import MeanSquaredError
from ..training.options import check_threads

if TYPE_CHECKING:
    from ..model.base import BaseModel


def solve_output(model: BaseModel, x: Any, y: Any, ridge: object, sample_weight: Any, n_threads: object) -> None:
    """Solve for the last layer; see `Model.solve_output`."""
    where = "solve_output"
    ridge, threads = number(f"{where}: ridge", ridge, least=0), check_threads(where, n_threads)
    net = model.net
    layer = net.layers[net.output_layer]
    if not isinstance(layer, Dense) or layer.activation not in ("linear", "relu"):
        kind = type(layer).__name__ + (f" with activation={layer.activation!r}" if isinstance(layer, Dense) else "")
        fail(
            where,
            f"the last layer is {kind}",
            "a Dense layer, linear or relu, has a closed form",
            "end with fd.Dense(n)",
        )
    data = prepare(where, x, y, sample_weight, model._shape, MeanSquaredError())
    rescalings = len(net.layers) - 1 - net.output_layer
    if layer.activation == "relu":
        ends = np.stack([to_host(data.y.min(axis=0)), to_host(data.y.max(axis=0))]).astype(np.float64)
        least, there = net.before_rescaling(ends, model.get_weights()).min(), " before the Rescaling" * bool(rescalings)
        if least < 0:
            fail(where, f"y holds {least:g}{there}", "a relu output is never negative", "use a linear last layer")
    model.runner.adapt(data.x)
    solved = model.runner.solve_output(data, ridge, threads)
    if solved is None:
        fail(where, f"ridge={ridge:g} leaves the system singular", "it needs one solution", "e.g. ridge=1e-6")
    tensors = model.get_weights()
    kernel = len(tensors) - 2 * rescalings - (2 if layer.use_bias else 1)
    tensors[kernel] = solved[0]
    if solved[1] is not None:
        tensors[kernel + 1] = solved[1]
    model.runner.set_tensors(tensors)
