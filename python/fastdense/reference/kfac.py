"""K-FAC: from gradients to steps, by two Kronecker factors of each dense layer's curvature (Martens & Grosse, 2015).

For a layer z = x W + b, C is the covariance of its inputs, G the second moment of the gradient of z, scaled to a mean
diagonal of 1: only its shape counts. Inputs count from their mean m over the batch: z = (x - m) W + c with c = b + m W.
The step (C + a I)^-1 g (G + o I)^-1 of W, and g (G + o I)^-1 of c, is scaled so that it changes z, in the rows of the
batch, by the spread that z has over the rows: the learning rate is the fraction of it that a step changes. Gradients of
other tensors are scaled to a mean square of 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .arrays import Array, Spec, as_float, flat
from .layers import Forward, Op
from .optimizers import Slots

LEAST_VARIANCE = 1e-3  # of the mean square: what damping refers to where inputs hardly vary


class Factors(NamedTuple):
    """State of a dense op; a spread of 0 means that there is none yet."""

    spread: float  # of z
    variance: float  # that damping refers to
    c: Array
    g: Array


def first_numbers(ops: list[Op]) -> Array:
    """Zeros, as many as are remembered of all dense ops."""
    return np.zeros(sum(2 + n * n + u * u for n, u in (op.shapes[0] for op in ops if op.kind == "dense")))


def _factors(ops: list[Op], numbers: Array) -> Iterator[Factors]:
    place = 0
    for op in ops:
        if op.kind == "dense":
            n, u = op.shapes[0]
            spread, variance, *_ = numbers[place : place + 2].tolist()
            c, g = np.split(numbers[place + 2 : place + 2 + n * n + u * u], [n * n])
            yield Factors(spread, variance, c.reshape(n, n), g.reshape(u, u))
            place += 2 + n * n + u * u


def _observed(spec: Spec, old: Factors, kernel: Array, inputs: Array, d: Array) -> Factors:
    """The factors with a batch taken in: inputs (rows, n), gradient of z (rows, u)."""
    keep, mean = spec["rho"], inputs.mean(axis=0)
    covariance, shape = inputs.T @ inputs / len(inputs) - np.outer(mean, mean), d.T @ d
    c, g = old.c, old.g
    if old.spread == 0.0:  # a past that varies as much in all directions
        c, g = np.eye(len(c)) * np.mean(np.diagonal(covariance)), np.eye(len(g))
    size = float(np.mean(np.diagonal(shape)))
    c = keep * c + (1.0 - keep) * covariance
    g = keep * g + (1.0 - keep) * (shape / size if size > 0.0 else shape)
    own = float(np.mean(np.diagonal(c)))
    square = float(np.sum(kernel * (c @ kernel))) / kernel.shape[1]
    variance = max(own, LEAST_VARIANCE * (own + float(np.mean(mean * mean))), 1e-30)
    return Factors(np.sqrt(square) if square > 0.0 else 1.0, variance, c, g)


def _with_momentum(spec: Spec, grads: list[list[Array]], slots: Slots) -> tuple[list[list[Array]], Slots]:
    """Return the gradients with momentum, and the new slots."""
    if not slots:
        return grads, slots
    old = iter(slots[0])
    momentum = spec["momentum"]
    new = [[momentum * next(old) + g for g in own] for own in grads]
    ahead = [[g + momentum * m for g, m in zip(*pair, strict=True)] for pair in zip(grads, new, strict=True)]
    return ahead if spec["nesterov"] else new, [[m for own in new for m in own]]


def steps_of(
    spec: Spec, step: int, ops: list[Op], tensors: list[list[Array]], passes: list[Forward], x: Array,
    grads: list[list[Array]], slots: Slots, numbers: Array,
) -> tuple[list[list[Array]], Slots, Array]:  # fmt: skip
    """Turn the gradients of a batch into steps for learning rate 1.

    Parameters
    ----------
    spec : the optimizer as plain data
    step : number of steps done
    ops, tensors, passes, x : the net, and how the batch x (rows, inputs) went through it, both ways
    grads : [op][trainable tensor]
    slots, numbers : what is remembered; the first numbers are those of `first_numbers`

    Returns
    -------
    steps, slots, numbers
    """
    due = step < spec["interval"] or step % spec["interval"] == 0
    source, known, batch = _factors(ops, numbers), {}, {}
    for i, op in enumerate(ops):
        if op.kind == "dense":
            known[i], inputs = next(source), as_float(x) if i == 0 else passes[i - 1].output
            batch[i] = inputs
            if due:
                known[i] = _observed(spec, known[i], tensors[i][0], inputs, passes[i].z_gradients[-1])
            if op.spec["use_bias"]:
                grads[i][0] = grads[i][0] - np.outer(inputs.mean(axis=0), grads[i][1])
    grads, slots = _with_momentum(spec, grads, slots)
    steps: list[list[Array]] = []
    for i, own in enumerate(grads):
        plain = [g / np.sqrt(np.mean(g * g)) if np.any(g) else g for g in own]
        if i in known:
            bias = bool(ops[i].spec["use_bias"])
            plain[: 1 + bias] = _step_of_layer(spec, known[i], batch[i], own[0], own[1] if bias else None)
        steps.append(plain)
    parts = [part for one in known.values() for part in (np.array([one.spread, one.variance]), one.c, one.g)]
    return steps, slots, flat(parts) if parts else numbers


def _step_of_layer(spec: Spec, known: Factors, x: Array, g: Array, of_c: Array | None) -> list[Array]:
    mean, shape = x.mean(axis=0), known.g + spec["output_damping"] * np.eye(len(known.g))
    inputs = known.c + spec["input_damping"] * known.variance * np.eye(len(known.c))
    if of_c is None:
        inputs = inputs + np.outer(mean, mean)
    u = np.linalg.solve(inputs, np.linalg.solve(shape, g.T).T)
    change = x @ u
    if of_c is not None:
        of_c = np.linalg.solve(shape, of_c)
        change = change - mean @ u + of_c
    square = float(np.mean(change * change))
    factor = known.spread / np.sqrt(square) if square > 0.0 else 0.0
    return [factor * u] if of_c is None else [factor * u, factor * (of_c - mean @ u)]
