"""Rows that an estimator trains on: weights, equal rows as one, and rows kept out for validation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..arrays import Array, fail


@dataclass(frozen=True)
class Table:
    """Inputs `x` (n, columns), targets `y` (n, outputs) or class numbers (n,), weights `w` (n,) above 0 or None."""

    x: Array
    y: Array
    w: Array | None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def total(self) -> float:
        """Sum of the weights."""
        return float(len(self) if self.w is None else self.w.sum())

    @property
    def scaled(self) -> Array | None:
        """The weights with mean 1: fastdense divides by the number of rows, scikit-learn by the sum of the weights."""
        return None if self.w is None else self.w * (len(self) / self.total)

    def part(self, rows: Array) -> Table:
        """Some of the rows."""
        return Table(self.x[rows], self.y[rows], None if self.w is None else self.w[rows])


def weighted_table(where: str, x: Array, y: Array, w: Array | None) -> Table:
    """The rows whose weight is not 0; as many weights of 1 are None.

    Raises
    ------
    ValueError
        If all weights are 0.
    """
    if w is None or (w == 1).all():
        return Table(x, y, None)
    kept = w > 0
    if not kept.any():
        fail(where, "sample_weight, times class_weight, is zero for every row", "some weight above zero is needed")
    return Table(x, y, w) if kept.all() else Table(x[kept], y[kept], w[kept])


def merged(table: Table) -> Table:
    """Equal rows (inputs and targets) as one row with the sum of their weights, in an order that the values decide.

    Where a step takes all rows, this changes nothing but rounding and the dropout of rows. It makes the result the
    same bits for rows of weight 2 as for rows that are there twice, and in whatever order they are.
    """
    keys = row_keys(np.column_stack([table.x, table.y]))
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    sums = np.bincount(inverse, weights=table.w)
    return Table(table.x[first], table.y[first], None if (sums == 1).all() else sums)


def row_keys(values: Array) -> Array:
    """One uint64 for each row: equal for equal rows, and for others with probability 2**-64."""
    values = np.where(np.isnan(values), np.nan, values + 0.0)  # one NaN; -0.0 + 0.0 is 0.0
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.uint64)
    keys = np.zeros(len(bits), dtype=np.uint64)
    for column in bits.T:  # steps of splitmix64 (Steele, Lea & Flood, 2014)
        keys = (keys ^ column) + np.uint64(0x9E3779B97F4A7C15)
        keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        keys ^= keys >> np.uint64(31)
    return keys


def medians(table: Table, columns: Iterable[int]) -> list[float]:
    """Weighted median of some columns without their NaN, 0 where there is nothing else: that of repeated rows."""
    found = []
    for column in columns:
        values = table.x[:, column].astype(np.float64)
        known = ~np.isnan(values)
        weights = np.ones(len(values)) if table.w is None else table.w
        order = np.argsort(values[known], kind="stable")
        values, sums = values[known][order], np.cumsum(weights[known][order])
        if not len(values):
            found.append(0.0)
            continue
        low, high = np.searchsorted(sums, sums[-1] / 2, "left"), np.searchsorted(sums, sums[-1] / 2, "right")
        found.append(float(0.5 * values[low] + 0.5 * values[min(high, len(values) - 1)]))
    return found


def split(where: str, table: Table, fraction: float, classes: Array | None, seed: int) -> tuple[Table, Table]:
    """Rows to train on and rows to validate on, chosen at random, each class in proportion.

    Parameters
    ----------
    where : str
    table : Table
    fraction : float
        Of the rows, rounded up, for validation.
    classes : ndarray of shape (n,), optional
        Class of each row.
    seed : int

    Raises
    ------
    ValueError
        If one of the parts would be empty.
    """
    count = len(table)
    validated = math.ceil(fraction * count - 1e-9 * count)
    if not 0 < validated < count:
        text = f"n_samples={count}: the data has {count} sample{'s' * (count > 1)} that differ or have a batch each"
        fail(where, text, f"validation_fraction={fraction:g} leaves a part without rows",
             "pass more rows, or early_stopping=False")  # fmt: skip
    mixed = np.random.default_rng(seed).permutation(count)
    place = np.zeros(count) if classes is None else _places_in_class(classes[mixed])
    chosen = np.zeros(count, dtype=bool)
    chosen[mixed[np.argsort(place, kind="stable")[:validated]]] = True
    return table.part(~chosen), table.part(chosen)


def _places_in_class(classes: Array) -> Array:
    """For each row its place among the rows of its class, as a fraction of their number."""
    order = np.argsort(classes, kind="stable")
    _, first, counts = np.unique(classes[order], return_index=True, return_counts=True)
    place = np.empty(len(classes))
    place[order] = (np.arange(len(classes)) - np.repeat(first, counts) + 0.5) / np.repeat(counts, counts)
    return place


# ---- scores ----------------------------------------------------------------------------------------------------------


def accuracy(table: Table, outputs: Array) -> float:
    """Fraction of the rows, by weight, whose classes are all right."""
    chosen = outputs > 0.5 if table.y.ndim == 2 else outputs.argmax(axis=1)
    right = (chosen == table.y).reshape(len(table), -1).all(axis=1)
    return float(np.average(right, weights=table.w))


def r2(table: Table, outputs: Array) -> float:
    """Mean over the outputs of the coefficient of determination; of a constant target it is 1 or 0."""
    y, p = np.asarray(table.y, dtype=np.float64), np.asarray(outputs, dtype=np.float64)
    left = np.average((y - p) ** 2, axis=0, weights=table.w)
    there = np.average((y - np.average(y, axis=0, weights=table.w)) ** 2, axis=0, weights=table.w)
    constant = there <= 1e-30 * np.average(y**2, axis=0, weights=table.w)
    return float(np.where(constant, left == 0, 1 - left / np.where(constant, 1, there)).mean())
