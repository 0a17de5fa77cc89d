"""The derivative of every output of every row with respect to every parameter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .arrays import Array
from .layers import ActivationOp, Dense, Forward, Op, Rescaling


def jacobian(
    ops: Sequence[Op], tensors: Sequence[list[Array]], passes: Sequence[Forward], x: Array, fused: bool = False
) -> Array:
    """Go back through a net from each output in turn. It may have no prelu and no normalisation but of the input.

    Parameters
    ----------
    ops, tensors, passes : of the net, one per op; passes of a forward pass in inference mode
    x : (rows, inputs)
    fused : leave the last activation out

    Returns
    -------
    ndarray of shape (rows, outputs, parameters)
        Parameters in the order of the ops' trainable tensors, flat.
    """
    rows, outputs = passes[-1].output.shape
    seeds = [np.eye(outputs)[[k] * rows] for k in range(outputs)]
    every = [_from_output(ops, tensors, passes, x, seed, fused) for seed in seeds]
    return np.stack(every, axis=1)


def _from_output(
    ops: Sequence[Op], tensors: Sequence[list[Array]], passes: Sequence[Forward], x: Array, seed: Array, fused: bool
) -> Array:
    """Derivatives (rows, parameters) of the outputs that `seed` (rows, outputs) picks."""
    grad, columns, skipped = seed, [], []
    for i in range(len(ops) - 1, -1, -1):
        op, done, below = ops[i], passes[i], passes[i - 1].output if i else x
        if op.kind == "residual_end":
            skipped.append(grad)
        elif op.kind == "residual_begin":
            grad = grad + skipped.pop()
        if isinstance(op, (Dense, ActivationOp)) and done.z is not None and not (fused and i + 1 == len(ops)):
            grad = op.function.gradient(done.z, done.output, grad, None)[0]
        elif isinstance(op, Rescaling):
            grad = grad * tensors[i][0]
        if isinstance(op, Dense):
            if op.spec["use_bias"]:
                columns.append(grad)
            columns.append((below[:, :, None] * grad[:, None, :]).reshape(len(x), -1))
            grad = grad @ tensors[i][0].T
    return np.concatenate(columns[::-1], axis=1)
