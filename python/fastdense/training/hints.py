"""The hint that `fit` prints after a training that plainly failed."""

from __future__ import annotations

import math

import numpy as np

from ..activations import TABLE
from ..data.baseline import constant_predictor
from ..data.rows import Rows, random_rows
from ..layers import Activation, Dense
from ..losses import Loss
from ..runners.single import Runner

ROWS = 256  # from which outputs are estimated
FLAT = 0.05  # of the targets' standard deviation: predictions that vary less count as constant
NEAR = 0.02  # of the best constant's loss
ASK = "model.diagnose(x, y) says why and what to do"


def hint(runner: Runner, loss: Loss, data: Rows, losses: list[float], n_threads: int = 0) -> str | None:
    """Say what is plainly wrong after a training: a loss that is not finite, a dead layer, a constant prediction.

    Parameters
    ----------
    runner : Runner
        The net that was trained.
    loss : Loss
    data : Rows
        What it was trained on.
    losses : list of float
        One per epoch.
    n_threads : int

    Returns
    -------
    str or None
        One line, or None if nothing is plainly wrong.
    """
    if not losses:
        return None
    if not math.isfinite(losses[-1]):
        return f"fit: the loss is {losses[-1]}; {ASK}"
    net = runner.net
    x, y = random_rows(data.x, ROWS), random_rows(data.y, ROWS)
    outputs = runner.activations(x, n_threads)
    for layer, name, output in zip(net.layers[:-1], net.names, outputs, strict=False):
        dead = isinstance(layer, (Dense, Activation)) and TABLE[layer.activation].dead_below_zero and not output.any()
        if dead:
            return f"fit: every unit of {name!r} is 0 for every row, so nothing below it learns; {ASK}"
    if data.w is not None or loss.targets in ("any", "heads"):
        return None  # the best constant of weighted rows is another one, and that of other losses is not known
    constant, value = constant_predictor(loss, random_rows(data.y, 16 * ROWS), None, net.outputs)
    if not (math.isfinite(value) and value > 0 and losses[-1] > (1 - NEAR) * value):
        return None
    if loss.sparse:
        wanted = float(np.sqrt(np.mean(constant * (1 - constant))))
    else:
        wanted = float(np.asarray(y, np.float64).std(axis=0).mean())
    if float(np.std(outputs[-1], axis=0, dtype=np.float64).mean()) > FLAT * wanted:
        return None
    return (
        f"fit: the predictions are nearly the same for every row (loss {losses[-1]:.4g}, that of the best constant is "
        f"{value:.4g}); {ASK}"
    )
