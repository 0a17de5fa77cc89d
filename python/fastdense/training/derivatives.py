"""Which nets and optimizers have derivatives beyond the gradient, and the check of derivatives to train on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

from ..arguments import number
from ..arrays import as_array, fail, to_host
from ..data.checks import check_finite
from ..data.rows import GivenDerivatives, Rows
from ..layers.base import Layer
from ..network import Net
from ..optimizers import Optimizer

_KNOWN = {  # ops whose second derivatives the CPU's engine has
    "dense", "activation", "normalization", "rescaling", "scale", "dropout", "gaussian_noise", "gaussian_dropout",
    "alpha_dropout", "activity", "residual_begin", "residual_end",
}  # fmt: skip
_RANDOM = ("dropout", "gaussian_noise", "gaussian_dropout", "alpha_dropout")
_BY_ROW = ("batch_norm", *_RANDOM)  # ops that do something else in training


def check_second(where: str, net: Net, device: str, *, encoded: bool = False) -> None:
    """Raise unless the derivative of the Jacobian of this net is known on this device.

    `encoded`: it is that by what the layers in front make of the data.
    """
    if net.front and not encoded:
        _refuse(where, net.front[0], "apply it to the data before")
    for layer, (first, last) in zip(net.layers, _ranges(net), strict=True):
        for op in net.ops[first:last]:
            if op["kind"] == "function":
                _refuse(where, layer, "use layers of fastdense's")
            known = op["kind"] in _KNOWN and op.get("activation") != "softmax"
            if device != "reference" and not known:
                _refuse(where, layer, "model.to('reference') knows it")


def _ranges(net: Net) -> list[tuple[int, int]]:
    """First op of each layer, and the one after its last."""
    ends = [end + 1 for end in net.ends]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _refuse(where: str, layer: Layer, remedy: str) -> NoReturn:
    fail(where, f"the net contains {layer!r}", "its second derivative is not known there", remedy)


def check_steps_from_gradients(where: str, optimizer: Optimizer) -> None:
    """Raise for an optimizer that needs more than a gradient to make a step."""
    name = type(optimizer).__name__
    if optimizer.full_batch or name == "KFAC":
        fail(where, f"the optimizer is {name}", "one that makes a step from a gradient is needed", "e.g. Adam")


def with_derivatives(
    where: str,
    rows: Rows,
    dy: Any,
    weight: Any,
    net: Net,
    device: str,
    optimizer: Optimizer,
    others: Mapping[str, bool],
) -> Rows:
    """Rows with `dy`, (rows, outputs, inputs), or (rows, inputs) for one output, and `dy_weight`, checked.

    `others`: by name, which other arguments are on, none of which goes with them.

    Raises
    ------
    ValueError, TypeError
        If they are invalid, or the net or the optimizer does not suit.
    """
    for name in (name for name, on in others.items() if on):
        fail(where, f"dy and {name} are both given", "training on derivatives does not know that", f"leave {name} out")
    check_steps_from_gradients(where, optimizer)
    check_second(f"{where}: dy", net, device)
    for op in net.ops:
        if op["kind"] in _BY_ROW:
            fail(where, f"dy is given, and the net contains {op['kind']}", "the net must be the same in training",
                 "leave it out")  # fmt: skip
    shape = (len(rows), net.outputs, net.inputs)
    given = to_host(as_array(where, "dy", dy))
    if given.shape == (len(rows), net.inputs) and net.outputs == 1:
        given = given.reshape(shape)
    if given.shape != shape:
        plain = f" or {(len(rows), net.inputs)}" if net.outputs == 1 else ""
        fail(where, f"dy has shape {given.shape}", f"{shape}{plain} is needed: (rows, outputs, inputs)")
    flat = given.reshape(len(given), -1)
    check_finite(where, "dy", flat, net.dtype)
    return replace(rows, dy=GivenDerivatives(flat, number(f"{where}: dy_weight", weight, least=0)))
