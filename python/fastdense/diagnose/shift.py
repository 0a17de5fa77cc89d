"""Columns of some rows that lie elsewhere than those of the rows that a net was trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..arrays import Array
from ..callbacks.fitted import columns_of
from ..data.rows import random_rows
from .subject import Subject

MOVED, STRETCHED = 2.5, 5.0  # of a column: medians apart in distances of the quartiles, factor between those distances
ROWS = 2000  # from which quartiles are taken
SIMPLE = 0.12  # of the logarithm, base 10, of a factor, from a whole number: a unit of a thousand, a per cent
SAME_PLACE = 0.5  # distances of the quartiles, from where a factor alone takes the median
NO_OFFSET = 0.1  # of the same distances: an offset that is none
NAMED = 3  # columns that are described one by one


@dataclass(frozen=True)
class Shift:
    """Two sets of rows, compared by the quartiles of their columns.

    Attributes
    ----------
    then, now : ndarray of shape (3, columns)
        Quartiles in training, and of the other rows.
    where, other : str
        Names of the other rows, and of those trained on.
    """

    then: Array
    now: Array
    where: str
    other: str

    @classmethod
    def of(cls, subject: Subject) -> Shift | None:
        """The rows of validation data beside x, or else the x given beside that of the last fit; None if unknown."""
        if not subject.usable:
            return None
        held = subject.held
        if held is not None and held.usable and subject.validation_data is not None:
            return cls(
                _quartiles(subject.filled(subject.x)), _quartiles(subject.filled(held.x)), "validation_data", "x"
            )
        if subject.fitted is not None and subject.fitted.columns is not None:
            return cls(subject.fitted.columns, columns_of(subject.x), "this x", "the x of the last fit")
        return None

    @cached_property
    def moved(self) -> Array:
        """Columns (bool) whose median is far away, whose spread is another one, or that vary no more."""
        spread, other = self._spreads
        both = (spread > 0) & (other > 0)
        far = both & (np.abs(self.now[1] - self.then[1]) > MOVED * np.maximum(spread, other))
        wide = both & (np.maximum(other / _positive(spread), spread / _positive(other)) > STRETCHED)
        return np.asarray(far | wide | self.blank)

    @cached_property
    def blank(self) -> Array:
        """Columns (bool) that varied in training and do not vary here."""
        spread, other = self._spreads
        return np.asarray((spread > 0) & (other == 0))

    @property
    def most(self) -> int:
        """The column that has moved farthest, in distances of the quartiles in training."""
        return int(np.argmax(self.moved * np.abs(self.now - self.then).max(axis=0) / _positive(self._spreads[0])))

    @property
    def _spreads(self) -> tuple[Array, Array]:
        return self.then[2] - self.then[0], self.now[2] - self.now[0]

    @cached_property
    def common(self) -> tuple[float, float] | None:
        """Factor and offset that all columns have in common, as pixels of another range; None if they have none."""
        spread, other = self._spreads
        varying = (spread > 0) & (other > 0)
        if varying.sum() < 2 or not self.moved.any():
            return None
        then, now = self.then[:, varying].ravel(), self.now[:, varying].ravel()
        factor, offset = (float(one) for one in np.polyfit(then, now, 1))
        if not factor > 0:
            return None
        decades = math.log10(factor)
        factor = 10.0 ** round(decades) if abs(decades - round(decades)) < SIMPLE / 4 else float(f"{factor:.3g}")
        offset = float(np.median(now - factor * then))
        offset = 0.0 if abs(offset) < NO_OFFSET * float(np.median(other[varying])) else float(f"{offset:.3g}")
        undone = Shift(self.then, (self.now - offset) / factor, self.where, self.other)
        return None if undone.moved.any() else (factor, offset)

    def undone(self, x: Array) -> Array:
        """The other rows with the columns that moved as they were in training; blank ones stay."""
        x = np.array(x, dtype=np.float64)
        if self.common is not None:
            return np.asarray((x - self.common[1]) / self.common[0])
        for j in np.flatnonzero(self.moved & ~self.blank):
            factor, offset = self._change(int(j))
            x[:, j] = (x[:, j] - offset) / factor
        return x

    def advice(self) -> str:
        """How to undo it, column by column; "" if no column can be mended."""
        if self.common is not None:
            return _words("x", *self.common)
        mended = np.flatnonzero(self.moved & ~self.blank)
        words = []
        for j in mended[:NAMED]:
            words.append(_words(f"column {j}", *self._change(int(j))))
        return ", ".join(words) + (f", and so on for {len(mended)} columns" if len(mended) > NAMED else "")

    def _change(self, j: int) -> tuple[float, float]:
        """Factor and offset by which a column has become what it is here, the simplest that fit its quartiles."""
        spread, other = (float(one[j]) for one in self._spreads)
        factor, then, now = other / spread, float(self.then[1, j]), float(self.now[1, j])
        decades = math.log10(factor)
        if abs(decades - round(decades)) < SIMPLE:
            factor = 10.0 ** round(decades)
        offset = now - factor * then
        return (factor, 0.0) if abs(offset) < SAME_PLACE * other and factor != 1 else (factor, offset)


def _words(what: str, factor: float, offset: float) -> str:
    """How to undo a change."""
    if offset == 0:
        return f"{'divide' if factor > 1 else 'multiply'} {what} by {max(factor, 1 / factor):.4g}"
    if factor == 1:
        return f"{'subtract' if offset > 0 else 'add'} {abs(offset):.4g} {'to' if offset < 0 else 'from'} {what}"
    return f"{what} = ({what} {'-' if offset > 0 else '+'} {abs(offset):.4g}) / {factor:.4g}"


def _quartiles(x: Array) -> Array:
    return np.asarray(np.quantile(np.asarray(random_rows(x, ROWS), np.float64), (0.25, 0.5, 0.75), axis=0))


def _positive(values: Array) -> Array:
    return np.where(values > 0, values, 1.0)
