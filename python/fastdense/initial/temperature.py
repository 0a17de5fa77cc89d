"""Probabilities that hold: one factor for the logits of a classifier, from data that it was not trained on."""

from __future__ import annotations

import numpy as np

from ..arrays import Array, fail, to_host
from ..data.rows import Rows
from ..layers import Dense
from ..losses import Loss
from ..network import Net
from ..runners.single import Runner

LIMIT = 100.0  # of the factor, and of its reciprocal
_LAST = {"binary_crossentropy": "sigmoid", "categorical_crossentropy": "softmax",
         "sparse_categorical_crossentropy": "softmax"}  # fmt: skip


def check_classifier(where: str, net: Net, loss: Loss) -> None:
    """Raise unless the net ends with a Dense whose output the loss takes as probabilities or as logits."""
    if loss.kind not in _LAST:
        fail(where, f"the loss is {loss.name!r}", "a cross-entropy is needed", "calibrate a classifier")
    last = net.layers[-1]
    wanted = "linear" if getattr(loss, "from_logits", False) else _LAST[loss.kind]
    if not isinstance(last, Dense) or last.activation != wanted:
        fail(where, f"the last layer is {last!r}", f"a Dense with activation={wanted!r} is needed for this loss")


def calibrate(where: str, runner: Runner, data: Rows, loss: Loss, n_threads: int) -> float:
    """Divide the logits by the temperature that minimises the cross-entropy of these rows; return it."""
    net = runner.net
    tensors, first = runner.tensors(), net.slices[-1].start
    below = to_host(runner.activations(data.x, n_threads)[-2]) if len(net.layers) > 1 else to_host(data.x)
    bias = tensors[first + 1] if net.layers[-1].get_config()["use_bias"] else 0.0
    z = below.astype(np.float64) @ tensors[first].astype(np.float64) + bias
    weights = np.ones(len(z)) if data.w is None else to_host(data.w)
    targets = to_host(data.y)
    if targets.ndim == 1:
        targets = np.eye(z.shape[1])[targets]
    binary = _LAST[loss.kind] == "sigmoid"
    low, high = -np.log(LIMIT), np.log(LIMIT)
    slopes = [_slope(np.exp(end), z, targets, weights, binary) for end in (low, high)]
    if not slopes[0] < 0 < slopes[1]:
        given = (
            "all rows are classified without a doubt" if slopes[1] <= 0 else "the net is wrong more often than right"
        )
        fail(where, given, f"no temperature from {1 / LIMIT:g} to {LIMIT:g} is best", "use more rows, kept out of fit")
    while high - low > 1e-12:  # the slope grows with the factor
        middle = 0.5 * (low + high)
        if _slope(np.exp(middle), z, targets, weights, binary) < 0:
            low = middle
        else:
            high = middle
    factor = float(np.exp(0.5 * (low + high)))
    for i in range(first, net.slices[-1].stop):
        tensors[i] = tensors[i] * factor
    runner.set_tensors(tensors)
    return 1.0 / factor


def _slope(factor: float, z: Array, targets: Array, weights: Array, binary: bool) -> float:
    """Derivative of the cross-entropy of logits factor * z by the factor (Guo et al. 2017; convex in it)."""
    scaled = factor * z
    if binary:
        p = 0.5 + 0.5 * np.tanh(0.5 * scaled)
        return float(weights @ ((p - targets) * z).sum(axis=1))
    e = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    p = targets.sum(axis=1, keepdims=True) * e / e.sum(axis=1, keepdims=True)
    return float(weights @ ((p - targets) * z).sum(axis=1))
