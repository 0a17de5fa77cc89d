"""K-FAC: from gradients to steps, by two Kronecker factors of each dense layer's curvature (Martens & Grosse, 2015).

For a layer z = x W + b, A is the second moment of its inputs and a constant 1, G that of the gradient of z, scaled to a
mean diagonal of 1: only its shape counts. The step (A + a I)^-1 g (G + c I)^-1 is then scaled so that, by its own
measure, it changes z by the spread that z has over the rows: the learning rate is the share of it that is wanted. Other
tensors' gradients are scaled to a mean square of 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .arrays import Array, Spec, as_float, flat
from .layers import Forward, Op
from .optimizers import Slots


def _sides(op: Op) -> tuple[int, int]:
    n, units = op.shapes[0]
    return n + 1, units


def first_numbers(ops: list[Op]) -> Array:
    """Zeros, as many as `precondition` remembers: of each dense op the spread of z, A and G."""
    return np.zeros(sum(1 + n * n + u * u for n, u in (_sides(op) for op in ops if op.kind == "dense")))


def _factors(ops: list[Op], numbers: Array) -> Iterator[tuple[float, Array, Array]]:
    place = 0
    for op in ops:
        if op.kind == "dense":
            n, u = _sides(op)
            a, g = numbers[place + 1 : place + 1 + n * n], numbers[place + 1 + n * n : place + 1 + n * n + u * u]
            yield float(numbers[place]), a.reshape(n, n), g.reshape(u, u)
            place += 1 + n * n + u * u


def _observed(spec: Spec, ops: list[Op], tensors: list[list[Array]], passes: list[Forward], x: Array, numbers: Array
              ) -> Array:  # fmt: skip
    parts: list[Array] = []
    source = _factors(ops, numbers)
    for i, op in enumerate(ops):
        if op.kind != "dense":
            continue
        _, a, g = next(source)
        inputs = as_float(x) if i == 0 else passes[i - 1].output
        inputs, d = np.column_stack([inputs, np.ones(len(x))]), passes[i].z_gradients[-1]
        first, moments, shape = bool(a[-1, -1] == 0.0), inputs.T @ inputs / len(x), d.T @ d
        if first:  # a past with the batch's means and, in all directions, its mean variance
            mean = moments[-1]
            variance = float(np.mean(np.diagonal(moments)[:-1] - mean[:-1] ** 2))
            a, g = np.outer(mean, mean) + variance * np.diag(np.append(np.ones(len(mean) - 1), 0.0)), np.eye(len(g))
        size = float(np.mean(np.diagonal(shape)))
        a = spec["rho"] * a + (1.0 - spec["rho"]) * moments
        g = spec["rho"] * g + (1.0 - spec["rho"]) * (shape / size if size > 0.0 else shape)
        kernel, mean = tensors[i][0], a[-1, :-1]
        covariance = a[:-1, :-1] - np.outer(mean, mean)
        variance = float(np.sum(kernel * (covariance @ kernel))) / kernel.shape[1]
        parts += [np.array([np.sqrt(variance) if variance > 0.0 else 1.0]), a, g]
    return flat(parts)


def with_momentum(spec: Spec, grads: list[list[Array]], slots: Slots) -> tuple[list[list[Array]], Slots]:
    """Return the gradients with momentum, and the new slots."""
    if not slots:
        return grads, slots
    old = iter(slots[0])
    momentum = spec["momentum"]
    new = [[momentum * next(old) + g for g in own] for own in grads]
    ahead = [[g + momentum * m for g, m in zip(*pair, strict=True)] for pair in zip(grads, new, strict=True)]
    return ahead if spec["nesterov"] else new, [[m for own in new for m in own]]


def precondition(
    spec: Spec, step: int, ops: list[Op], tensors: list[list[Array]], passes: list[Forward], x: Array,
    grads: list[list[Array]], numbers: Array,
) -> tuple[list[list[Array]], Array]:  # fmt: skip
    """Turn the gradients of a batch into steps for learning rate 1.

    Parameters
    ----------
    spec : the optimizer as plain data
    step : number of steps done
    ops, tensors, passes, x : the net, and how the batch x (rows, inputs) went through it, both ways
    grads : [op][trainable tensor], momentum included
    numbers : what is remembered; the first is of `first_numbers`

    Returns
    -------
    steps, numbers
    """
    if step < spec["interval"] or step % spec["interval"] == 0:
        numbers = _observed(spec, ops, tensors, passes, x, numbers)
    source = _factors(ops, numbers)
    steps: list[list[Array]] = []
    for op, own in zip(ops, grads, strict=True):
        plain = [g / np.sqrt(np.mean(g * g)) if np.any(g) else g for g in own]
        if op.kind == "dense":
            spread, a, shape = next(source)
            bias = bool(op.spec["use_bias"])
            mean, side = a[-1, :-1], len(a) - 1 + bias
            variance = max(float(np.mean(np.diagonal(a)[:-1] - mean * mean)), 1e-12)
            g = np.vstack([own[0], own[1][None]]) if bias else own[0]
            right = np.linalg.solve(shape + spec["output_damping"] * np.eye(len(shape)), g.T).T
            u = np.linalg.solve(a[:side, :side] + spec["input_damping"] * variance * np.eye(side), right)
            square = float(np.sum(u * right)) / len(shape)
            u = u * (spread / np.sqrt(square) if square > 0.0 else 0.0)
            plain[: 1 + bias] = [u[: len(a) - 1], u[-1]] if bias else [u]
        steps.append(plain)
    return steps, numbers
