"""The rows of a table that are trained on, and those that stop and choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arguments import integer, number
from ..arrays import Array, as_array, fail
from .frames import Columns
from .task import Task

__all__ = ["TableRows"]

MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class TableRows:
    """Rows of a table as nets take them.

    Attributes
    ----------
    columns : Columns
    task : Task
    x, x_val : ndarray of shape (rows, columns)
        As `Columns.transform` makes them.
    y, y_val : ndarray
        As `Task.targets` makes them; of a regression standardised.
    w, w_val : ndarray of shape (rows,), or None
    seed : int
    """

    columns: Columns
    task: Task
    x: Array
    y: Array
    w: Array | None
    x_val: Array
    y_val: Array
    w_val: Array | None
    seed: int

    @classmethod
    def of(
        cls,
        where: str,
        x: Any,
        y: Any,
        task: Any,
        metric: Any,
        sample_weight: Any,
        validation: Any,
        categorical: Any,
        seed: Any,
    ) -> TableRows:
        """Check what a user gives for a fit, and divide the rows.

        Raises
        ------
        ValueError, TypeError
            If something is wrong with it.
        """
        seed = integer(f"{where}: random_state", seed, least=0, most=MAX_SEED)
        known, targets = Task.of(where, task, metric, y)
        columns = Columns(categorical)
        matrix = columns.fit_transform(x)
        if len(matrix) != len(targets):
            fail(where, f"x has {len(matrix)} rows and y has {len(targets)}", "as many are needed")
        weights = None if sample_weight is None else _weights(where, sample_weight, len(matrix))
        if isinstance(validation, tuple) and len(validation) in (2, 3):
            x_val = columns.transform(validation[0])
            y_val = known.targets(where, validation[1], "y of validation")
            w_val = _weights(where, validation[2], len(x_val)) if len(validation) == 3 else None
            if len(x_val) != len(y_val):
                fail(where, f"validation has {len(x_val)} rows of x and {len(y_val)} of y", "as many are needed")
        elif isinstance(validation, (tuple, list)):
            fail(where, f"validation is a {type(validation).__name__} of {len(validation)}",
                 "a tuple (x, y) or (x, y, sample_weight), or a fraction of the rows, is needed")  # fmt: skip
        else:
            fraction = number(f"{where}: validation", validation, above=0, below=1)
            held = _held_out(where, targets if known.classes is not None else None, len(matrix), fraction, seed)
            x_val, y_val, w_val = matrix[held], targets[held], None if weights is None else weights[held]
            matrix, targets, weights = matrix[~held], targets[~held], None if weights is None else weights[~held]
        y_train, y_held = (((one - known.mean) / known.scale if known.classes is None else one)
                           for one in (targets, y_val))  # fmt: skip
        return cls(columns, known, matrix, y_train, weights, x_val, y_held, w_val, seed)

    def halves(self) -> tuple[Array, Array]:
        """Two masks that divide the validation rows at random, each class alike."""
        labels = None if self.task.classes is None else self.y_val
        held = _held_out("halves", labels, len(self.y_val), 0.5, self.seed)
        return held, ~held


def _weights(where: str, given: Any, rows: int) -> Array:
    made = as_array(where, "sample_weight", given).astype(np.float64)
    if made.shape != (rows,):
        fail(where, f"sample_weight has shape {made.shape}", f"({rows},) is needed")
    return made


def _held_out(where: str, labels: Array | None, rows: int, fraction: float, seed: int) -> Array:
    """A mask of rows chosen at random, so many of each label."""
    if rows < 2:
        fail(where, f"x has {rows} row", "at least two are needed, one to train on and one to validate")
    random = np.random.default_rng(seed)
    order = random.permutation(rows)
    if labels is not None:
        # Rows in the order of their labels, so that every fraction of the sequence has its share of each.
        order = order[np.argsort(labels.reshape(rows, -1)[order, 0], kind="stable")]
    count = min(max(1, round(fraction * rows)), rows - 1)
    places = np.floor((np.arange(count) + random.random()) * rows / count).astype(np.int64)
    mask = np.zeros(rows, dtype=bool)
    mask[order[places]] = True
    return mask
