"""Statistics of every unit during training, for a sample of the rows, at the current weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .activations import SATURATION
from .arrays import Array
from .layers import Dense, Forward, Op

ROWS = 256  # at most, spread evenly over the data
ALWAYS = -64  # rank of a record that belongs to every level
DEEPEST = -40


def rows_of(n: int) -> Any:
    """The rows of a data set of n rows that a probe takes."""
    count = min(ROWS, n)
    return np.arange(count) * n // count


def is_due(level: int, epoch: int, batch: int, batches: int) -> bool:
    """Whether a probe follows this batch: 2**level times an epoch, below 0 at the end of every 2**-level-th epoch."""
    if level < 0:
        return batch + 1 == batches and (epoch + 1) % (1 << -level) == 0
    count = 1 << level
    return -(-(batch * count // batches + 1) * batches // count) == batch + 1


def rank_of(level: int, epoch: int, batch: int, batches: int) -> int:
    """The lowest level at which a probe is due there; `ALWAYS` if none is at `level`."""
    if not is_due(level, epoch, batch, batches):
        return ALWAYS
    while level > DEEPEST and is_due(level - 1, epoch, batch, batches):
        level -= 1
    return level


def numbers(
    ops: Sequence[Op],
    tensors: Sequence[list[Array]],
    before: Sequence[list[Array]] | None,
    passes: Sequence[Forward],
    gradients: Sequence[list[Array]],
) -> Array:
    """Seven numbers of every unit of every op, flat: see docs/design/interface.md, "Probes"."""
    found: list[Array] = []
    for i, (op, done) in enumerate(zip(ops, passes, strict=True)):
        block = np.full((7, op.width), np.nan)
        if op.activation and done.z is not None:
            block[0] = (done.z <= 0).mean(axis=0)
            if op.activation in SATURATION:
                block[1] = (np.abs(done.z) > SATURATION[op.activation]).mean(axis=0)
        block[2], block[3] = done.output.mean(axis=0), done.output.var(axis=0)
        if isinstance(op, Dense):
            kernel = tensors[i][0]
            block[4], block[5] = (np.linalg.norm(array, axis=0) for array in (gradients[i][0], kernel))
            if before is not None:
                block[6] = np.linalg.norm(kernel - before[i][0], axis=0)
        found.append(block.ravel())
    return np.concatenate(found)


def first_nonfinite(passes: Sequence[Forward]) -> int:
    """Number of the first op with an output that is not finite, or -1."""
    return next((i for i, done in enumerate(passes) if not np.isfinite(done.output).all()), -1)


class Records:
    """The records of one call of `train`, in the form that engines return."""

    _kinds = {"step": int, "epoch": int, "rank": int, "loss": float, "nonfinite_op": int}

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows: list[dict[str, Any]] = []

    def add(self, **record: Any) -> None:
        """Add what one probe found."""
        self.rows.append(record)

    def result(self) -> dict[str, Array]:
        """One array per name, an entry per record."""
        columns: dict[str, Any] = {
            name: np.array([row[name] for row in self.rows], kind) for name, kind in self._kinds.items()
        }
        values = np.array([row["values"] for row in self.rows], dtype=np.float64)
        return columns | {"values": values.reshape(len(self.rows), self.width)}
