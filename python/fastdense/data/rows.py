"""Checked data, what checks need to know about a net, and samples of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..arrays import Array, beside, to_host
from ..network import Net
from ..specs import Config

SAMPLE_ROWS = 256  # from which first values are computed


def evenly_spaced_rows(x: Array, rows: int = SAMPLE_ROWS) -> Array:
    """At most so many rows at equal distances, first and last included, in the host's memory.

    Initial values depend on these very rows.
    """
    chosen = np.linspace(0, len(x) - 1, min(rows, len(x))).astype(np.int64)  # at least 1 apart, so none comes twice
    return np.ascontiguousarray(to_host(x[beside(chosen, x)]))


def random_rows(array: Array, rows: int) -> Array:
    """At most so many rows, in order, chosen at random but always the same ones, in the host's memory.

    For estimates: data that repeat with some period would bias rows at equal distances.
    """
    if len(array) > rows:
        chosen = np.sort(np.random.default_rng(0).choice(len(array), rows, replace=False))
        array = array[beside(chosen, array)]
    return np.ascontiguousarray(to_host(array))


@dataclass(frozen=True)
class Shape:
    """What the checks need to know about a net."""

    inputs: int
    outputs: int
    dtype: str
    loss_weight: float = 1.0  # factor of the loss, which every row's weight takes over
    device: str = "cpu"  # "cuda": data may be on a GPU
    missing: Sequence[int] = ()  # columns of x that may hold NaN
    any_targets: bool = True  # whether no metric needs one target per output, if the loss does not
    names: tuple[str, ...] | None = None  # of the columns of x, if the model knows them


@dataclass(frozen=True)
class GivenDerivatives:
    """Derivatives of the targets by the inputs, (n, outputs inputs), and the weight of their term in the loss."""

    values: Array
    weight: float


@dataclass(frozen=True)
class Rows:
    """Checked data: `x` (n, inputs), `y` (n, outputs) or (n,) class ids, `w` float64 (n,) or None, `dy` or None.

    Each of the first three may be in the host's memory or, for a model on a GPU, there.
    """

    x: Array
    y: Array
    w: Array | None
    _encoded: list[tuple[object, list[Config], Array]] = field(default_factory=list, repr=False, compare=False)
    dy: GivenDerivatives | None = None

    def encoded(self, net: Net) -> Array:
        """x as the engine of a net gets it; encoded once for all calls with these rows, and for all nets alike."""
        if not net.front:
            return self.x
        described = [layer.to_dict() for layer in net.front]
        for encoding, front, x in self._encoded:
            if encoding is net.encoding or front == described:
                return x
        self._encoded.append((net.encoding, described, net.encoded(self.x)))
        return self._encoded[-1][-1]

    def with_weights(self, weights: Array | None) -> Rows:
        """The same rows with other weights; they share what was encoded."""
        return replace(self, w=weights)

    def __len__(self) -> int:
        return len(self.x)

    def weighted(self, weights: Array | None) -> Rows:
        """The same rows with their weights multiplied by others."""
        return replace(self, w=_multiply(self.w, weights), _encoded=[])

    def part(self, rows: slice) -> Rows:
        """Some of the rows, without a copy."""
        dy = None if self.dy is None else replace(self.dy, values=self.dy.values[rows])
        return Rows(self.x[rows], self.y[rows], None if self.w is None else self.w[rows], dy=dy)

    def on_host(self) -> Rows:
        """The same rows in the host's memory, where arrays on a GPU are copied to."""
        return Rows(to_host(self.x), to_host(self.y), None if self.w is None else to_host(self.w))


def _multiply(a: Array | None, b: Array | None) -> Array | None:
    return b if a is None else a if b is None else beside(a, b) * beside(b, a)
