"""The best constant predictor, which any trained net must beat."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array
from ..losses import Loss
from ..reference.losses import row_losses

GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0
ROUNDS = 80  # of golden-section search: the interval shrinks by 2e-17


def constant_predictor(loss: Loss, y: Array, weights: Array | None, outputs: int) -> tuple[Array, float]:
    """The constant output with the smallest loss, and that loss.

    Mean for mse and poisson, median for mae, quantile for the quantile loss, the 1/|y|-weighted median for mape, class
    frequencies for the cross-entropies; found by search for the others.

    Parameters
    ----------
    loss : Loss
    y : ndarray of shape (rows, outputs), or (rows,) class ids for a sparse loss
    weights : ndarray of shape (rows,), optional
    outputs : int

    Returns
    -------
    constant : ndarray of shape (outputs,)
        What a net would have to give for every row; probabilities for a cross-entropy.
    value : float
        Mean loss over the rows, without penalties.
    """
    spec = {**loss.lower(), "from_logits": False}
    w = np.ones(len(y)) if weights is None else weights
    if loss.sparse:
        t = np.bincount(y.astype(np.intp), weights=w, minlength=outputs)[:outputs]
        return _checked(spec, t / t.sum(), y, w)
    t = np.asarray(y, dtype=np.float64)
    kind, total = loss.kind, w.sum()
    mean = (w[:, None] * t).sum(axis=0) / total
    if loss.targets == "distribution":
        return _checked(spec, mean / max(float(mean.sum()), 1e-300), t, w)
    if kind in ("mse", "poisson", "binary_crossentropy"):
        return _checked(spec, mean, t, w)
    if kind in ("mae", "quantile", "mape"):
        levels = np.resize(spec.get("params", spec["param"] if kind == "quantile" else 0.5), t.shape[1])
        scale = 1.0 / np.maximum(np.abs(t), 1e-7) if kind == "mape" else np.ones_like(t)
        columns = [_quantile(t[:, j], w * scale[:, j], levels[j]) for j in range(t.shape[1])]
        return _checked(spec, np.array(columns), t, w)
    return _checked(spec, _search(spec, t, w), t, w)


def mean_loss(loss: Loss, y: Array, outputs: Array) -> float:
    """Mean loss of a net's outputs (rows, outputs) over the rows, without weights and penalties."""
    return float(row_losses(loss.lower(), y, outputs, None, "").values.mean())


def _checked(spec: dict[str, Any], constant: Array, y: Array, w: Array) -> tuple[Array, float]:
    if spec["label_smoothing"] and spec["kind"] == "binary_crossentropy":
        constant = constant * (1 - spec["label_smoothing"]) + spec["label_smoothing"] / 2
    elif spec["label_smoothing"]:
        constant = constant * (1 - spec["label_smoothing"]) + spec["label_smoothing"] / len(constant)
    output = np.broadcast_to(constant, (len(y), len(constant)))
    values = row_losses(spec, y, output, None, "").values
    return constant, float((w * values).sum() / len(y))


def _quantile(values: Array, weights: Array, quantile: float) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(reached, quantile * reached[-1])]])


def _search(spec: dict[str, Any], t: Array, w: Array) -> Array:
    """Golden-section search in every column at once; the losses are convex in the output."""
    low, high = t.min(axis=0), t.max(axis=0)
    for _ in range(ROUNDS):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        better = _columns(spec, left, t, w) <= _columns(spec, right, t, w)
        low, high = np.where(better, low, left), np.where(better, right, high)
    found: Array = 0.5 * (low + high)
    return found


def _columns(spec: dict[str, Any], constant: Array, t: Array, w: Array) -> Array:
    """Loss of a constant, column by column."""
    losses = []
    for j in range(t.shape[1]):
        column = t[:, j : j + 1]
        output = np.full_like(column, constant[j])
        losses.append(float((w * row_losses(spec, column, output, None, "").values).sum()))
    return np.array(losses)
