"""One line at the end of a training that came to nothing, with the call that tells more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..activations import TABLE
from ..data.rows import Rows
from ..layers import Activation, Dense

if TYPE_CHECKING:
    from ..model.base import BaseModel

ROWS = 256  # that are looked at
FLAT = 0.05  # of the targets' deviation: predictions that vary less are one and the same
NEAR = 0.02  # of the best constant's loss
ASK = "model.diagnose(x, y) says why and what to do"


def hint(model: BaseModel, data: Rows, losses: list[float]) -> str | None:
    """Say what is plainly wrong after a training: a loss that is no number, a dead layer, a constant answer.

    Parameters
    ----------
    model : Model
        Just trained.
    data : Rows
        What it was trained on.
    losses : list of float
        One per epoch.

    Returns
    -------
    str or None
        One line, or None if nothing is plainly wrong.
    """
    if not losses:
        return None
    if not math.isfinite(losses[-1]):
        return f"fit: the loss is {losses[-1]}; {ASK}"
    from ..data.baseline import constant_predictor
    from ..diagnose.subject import sample

    x, y = sample(data.x, ROWS), sample(data.y, ROWS)
    outputs = model.runner.activations(x, 0)
    for layer, name, output in zip(model.layers[:-1], model.net.names, outputs, strict=False):
        dead = isinstance(layer, (Dense, Activation)) and TABLE[layer.activation].dead_below_zero and not output.any()
        if dead:
            return f"fit: every unit of {name!r} is 0 for every row, so nothing below it learns; {ASK}"
    if data.w is not None:
        return None  # the best constant of weighted rows is another one
    many = sample(data.y, 16 * ROWS)
    constant, value = constant_predictor(model.loss, many, None, model.outputs)
    if not (math.isfinite(value) and value > 0 and losses[-1] > (1 - NEAR) * value):
        return None
    if model.loss.sparse:
        wanted = float(np.sqrt(np.mean(constant * (1 - constant))))
    else:
        wanted = float(np.asarray(y, np.float64).std(axis=0).mean())
    if float(np.std(outputs[-1], axis=0, dtype=np.float64).mean()) > FLAT * wanted:
        return None
    return (
        f"fit: the net answers nearly the same for every row (loss {losses[-1]:.4g}, the best constant answer has "
        f"{value:.4g}); {ASK}"
    )
