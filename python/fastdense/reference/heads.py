"""Losses and metrics of heads: outputs side by side, each head with a loss and columns of y of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import losses, metrics
from .arrays import Array, Spec, as_float

HEADS = "heads"  # the kind of such a loss


class Judged(NamedTuple):
    """Loss of a batch, its gradient (n, outputs), and the sums of each metric."""

    loss: float
    gradient: Array
    states: list[Array]


class Part(NamedTuple):
    """What a head is judged by: targets or class ids, outputs, and weights of rows."""

    y: NDArray[np.generic]
    p: Array
    w: Array


def kinds(loss: Spec) -> list[str]:
    """Kinds of the losses of all heads, or of the one loss of all outputs."""
    if loss["kind"] != HEADS:
        return [loss["kind"]]
    return [head["loss"]["kind"] for head in loss["heads"] if head["loss"] is not None]


def state_size(metric: Spec, heads: Sequence[Spec]) -> int:
    """Count the sums of a metric of a head."""
    return 2 if metric["kind"] == "loss" else metrics.state_size(metric, heads[metric["head"]]["columns"])


def judged(
    spec: Spec,
    chosen: Sequence[Spec],
    y: NDArray[np.generic],
    output: Array,
    w: Array | None,
    answer: tuple[Array, Array | None] | None,
) -> Judged:
    """Evaluate the weighted sum of all heads' losses, and metrics.

    Parameters
    ----------
    spec : {"kind", "heads"}
    chosen : metrics
    y : (n, target columns), behind which there may be a column of weights for each head
    output : (n, outputs)
    w : (n,) weights of rows, or None
    answer : of the hook that computes losses: (n, heads), which hold the weights of rows, and the gradient (n, outputs)
    """
    heads, rows = spec["heads"], len(output)
    gradient = np.zeros_like(output)
    if answer is not None and answer[1] is not None:
        gradient += answer[1]
    values = np.zeros((rows, len(heads)))
    parts: list[Part] = []
    first = first_target = 0
    targets = sum(head["targets"] for head in heads)
    for h, head in enumerate(heads):
        last, last_target = first + head["columns"], first_target + head["targets"]
        loss, p = head["loss"], output[:, first:last]
        own: NDArray[np.generic] = as_float(y[:, first_target:last_target])
        weights = np.ones(rows) if w is None else as_float(w)
        if y.shape[1] > targets:
            weights = weights * as_float(y[:, targets + h])
        if loss is not None and loss["kind"] == losses.SPARSE:
            own = own[:, 0].astype(np.int64)
        if loss is not None and loss["kind"] == losses.CUSTOM:
            assert answer is not None
            values[:, h] = answer[0][:, h]
        elif loss is not None:
            row = losses.row_losses(loss, own, p, None, "")
            values[:, h] = weights * row.values
            gradient[:, first:last] = row.gradient * (head["weight"] * weights / rows)[:, None]
            p = losses.predictions(loss, p)
        parts.append(Part(own, p, weights))
        first, first_target = last, last_target
    total = float(values.sum(axis=0) @ np.array([head["weight"] for head in heads])) / rows
    states = []
    for metric in chosen:
        h = metric["head"]
        is_loss = metric["kind"] == "loss"
        states.append(np.array([values[:, h].sum(), float(rows)]) if is_loss else metrics.state(metric, *parts[h]))
    return Judged(total, gradient, states)
