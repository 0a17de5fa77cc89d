"""Losses: for every row the value v and its gradient.

A loss function takes targets y and predictions p, both (n, outputs), and returns the element-wise values and their
derivatives with respect to p. Their mean over the outputs is the row's loss; cross-entropies over classes sum instead.
The factor 1/rows and the sample weights are applied by the engine, in one place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .activations import sigmoid, softmax, softplus
from .arrays import Array, Spec, as_float, unknown

EPSILON = 1e-7  # Keras's fuzz factor: keeps logarithms and divisions finite

Pair = tuple[Array, Array]


class RowLoss(NamedTuple):
    """Loss of every row, (n,), its gradient (n, outputs), and whether that is the gradient of the pre-activation."""

    values: Array
    gradient: Array
    fused: bool


def _mse(y: Array, p: Array, _: float) -> Pair:
    return (p - y) ** 2, 2.0 * (p - y)


def _mae(y: Array, p: Array, _: float) -> Pair:
    return np.abs(p - y), np.sign(p - y)


def _huber(y: Array, p: Array, delta: float) -> Pair:
    e = p - y
    inside = np.abs(e) <= delta
    return np.where(inside, 0.5 * e * e, delta * np.abs(e) - 0.5 * delta**2), np.where(inside, e, delta * np.sign(e))


def _log_cosh(y: Array, p: Array, _: float) -> Pair:
    e = p - y
    return e + softplus(-2.0 * e) - math.log(2.0), np.tanh(e)


def _mape(y: Array, p: Array, _: float) -> Pair:
    scale = 100.0 / np.maximum(np.abs(y), EPSILON)
    return scale * np.abs(y - p), scale * np.sign(p - y)


def _poisson(y: Array, p: Array, _: float) -> Pair:
    return p - y * np.log(p + EPSILON), 1.0 - y / (p + EPSILON)


def _quantile(y: Array, p: Array, q: float | Array) -> Pair:
    e = y - p
    return np.maximum(q * e, (q - 1.0) * e), np.where(e > 0, -q, np.where(e < 0, 1.0 - q, 0.0))


def _hinge(y: Array, p: Array, _: float) -> Pair:
    margin = 1.0 - y * p
    return np.maximum(margin, 0.0), np.where(margin > 0, -y, 0.0)


ELEMENTWISE: dict[str, Callable[[Array, Array, Any], Pair]] = {
    "mse": _mse,
    "mae": _mae,
    "huber": _huber,
    "log_cosh": _log_cosh,
    "mape": _mape,
    "poisson": _poisson,
    "quantile": _quantile,
    "hinge": _hinge,
}
SPARSE = "sparse_categorical_crossentropy"
CUSTOM = "custom"  # a function of the caller's, which is no formula of this module
CLASSES = ("categorical_crossentropy", SPARSE)
CROSSENTROPIES = ("binary_crossentropy", *CLASSES)
NAMES = (*ELEMENTWISE, *CROSSENTROPIES)


def one_hot(y: NDArray[np.generic], outputs: int) -> Array:
    """Turn class ids (n,) into targets (n, outputs); targets that are 2-D already pass through as float64."""
    if y.ndim == 2:
        return as_float(y)
    return as_float(y[:, None] == np.arange(outputs))


def _clip(q: Array) -> tuple[Array, Array]:
    """Clip probabilities away from 0 and 1; the second array is the clip's derivative."""
    inside = as_float((q >= EPSILON) & (q <= 1.0 - EPSILON))
    return np.clip(q, EPSILON, 1.0 - EPSILON), inside


def _binary_from_logits(t: Array, z: Array) -> Pair:
    # -t log sigmoid(z) - (1 - t) log(1 - sigmoid(z)), rearranged so that exp only sees negative numbers.
    return np.maximum(z, 0.0) - z * t + np.log1p(np.exp(-np.abs(z))), sigmoid(z) - t


def _binary_from_probabilities(t: Array, p: Array) -> Pair:
    q, inside = _clip(p)
    r, _ = _clip(1.0 - p)  # 1 - q by itself: next to 1, q has lost most digits of EPSILON
    return -t * np.log(q) - (1.0 - t) * np.log(r), inside * ((1.0 - t) / r - t / q)


def _classes_from_logits(t: Array, z: Array) -> Pair:
    top = z.max(axis=1, keepdims=True)
    logsumexp = top[:, 0] + np.log(np.exp(z - top).sum(axis=1))
    mass = t.sum(axis=1, keepdims=True)  # 1 for a distribution; targets need not be one
    return mass[:, 0] * logsumexp - (t * z).sum(axis=1), mass * softmax(z) - t


def _classes_from_probabilities(t: Array, p: Array) -> Pair:
    total = p.sum(axis=1, keepdims=True)
    q = p / total
    clipped, inside = _clip(q)
    grad_q = -inside * t / clipped
    # q = p/total: every p also moves the total.
    return -(t * np.log(clipped)).sum(axis=1), (grad_q - (grad_q * q).sum(axis=1, keepdims=True)) / total


def row_losses(spec: Spec, y: NDArray[np.generic], output: Array, z: Array | None, activation: str) -> RowLoss:
    """Evaluate a loss and its gradient for every row.

    Parameters
    ----------
    spec : {"kind", "from_logits", "label_smoothing", "param"}, and "params" of several quantiles
    y : (n, outputs) targets, or (n,) class ids
    output : (n, outputs), the net's output
    z : (n, outputs), the input of the last op's activation, or None if the last op has none
    activation : name of that activation, "" if there is none

    Returns
    -------
    RowLoss
        `fused` is True where the gradient is that of z. A cross-entropy of a softmax or sigmoid is computed from z,
        because the output itself has lost the digits near 0 and 1 (and is exactly 0 or 1 soon after).
    """
    kind, smoothing, outputs = spec["kind"], spec["label_smoothing"], output.shape[1]
    targets = one_hot(y, outputs)
    if kind in ELEMENTWISE:
        each = (
            np.resize(spec["params"], outputs) if "params" in spec else spec["param"]
        )  # those of a target, over again
        values, gradient = ELEMENTWISE[kind](targets, output, each)
        return RowLoss(as_float(values.mean(axis=1)), gradient / outputs, False)
    if kind not in CROSSENTROPIES:
        raise unknown("loss", kind, NAMES)
    over_classes = kind in CLASSES
    fused = z is not None and not spec["from_logits"] and activation == ("softmax" if over_classes else "sigmoid")
    logits = z if fused else output if spec["from_logits"] else None
    if over_classes:
        targets = targets * (1.0 - smoothing) + smoothing / outputs
        if logits is None:
            return RowLoss(*_classes_from_probabilities(targets, output), fused)
        return RowLoss(*_classes_from_logits(targets, logits), fused)
    targets = targets * (1.0 - smoothing) + 0.5 * smoothing
    if logits is None:
        values, gradient = _binary_from_probabilities(targets, output)
    else:
        values, gradient = _binary_from_logits(targets, logits)
    return RowLoss(as_float(values.mean(axis=1)), gradient / outputs, fused)


class Curvature(NamedTuple):
    """Second derivative of every row's loss, (n, outputs, outputs), and whether it is that in the pre-activation."""

    matrices: Array
    fused: bool


def curvature(spec: Spec, y: NDArray[np.generic], output: Array, z: Array | None, activation: str) -> Curvature:
    """Evaluate the second derivative of a loss for every row; arguments as in `row_losses`.

    Raises
    ------
    ValueError
        For a loss that is piecewise linear, or a cross-entropy of probabilities.
    """
    kind, smoothing, outputs = spec["kind"], spec["label_smoothing"], output.shape[1]
    targets, eye = one_hot(y, outputs), np.eye(outputs)
    if kind in CROSSENTROPIES:
        fused = (
            z is not None and not spec["from_logits"] and activation == ("softmax" if kind in CLASSES else "sigmoid")
        )
        logits = z if fused else output if spec["from_logits"] else None
        if logits is None:
            raise ValueError(f"no curvature of {kind} of probabilities")
        if kind in CLASSES:
            p, mass = softmax(logits), (targets * (1.0 - smoothing) + smoothing / outputs).sum(axis=1)
            return Curvature(mass[:, None, None] * (p[:, :, None] * eye - p[:, :, None] * p[:, None, :]), fused)
        return Curvature((sigmoid(logits) * sigmoid(-logits) / outputs)[:, :, None] * eye, fused)
    e = output - targets
    second = {
        "mse": lambda: np.full_like(e, 2.0),
        "huber": lambda: as_float(np.abs(e) <= spec["param"]),
        "log_cosh": lambda: 1.0 - np.tanh(e) ** 2,
        "poisson": lambda: targets / (output + EPSILON) ** 2,
    }
    if kind not in second:
        raise ValueError(f"{kind} is piecewise linear: it has no curvature")
    return Curvature((second[kind]() / outputs)[:, :, None] * eye, False)


def predictions(spec: Spec, output: Array) -> Array:
    """Give what metrics compare with the targets: the output, made probabilities if it holds logits."""
    if spec["kind"] in CROSSENTROPIES and spec["from_logits"]:
        return softmax(output) if spec["kind"] in CLASSES else sigmoid(output)
    return output
