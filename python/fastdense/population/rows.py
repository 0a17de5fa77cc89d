"""The data of a population: rows that all members share, and weights that some have for themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays import Array, beside, check_memory
from ..data.names import Names
from ..data.prepare import prepare, prepare_validation
from ..data.rows import Rows, Shape
from ..losses import Loss
from ..model.base import BaseModel


def training_rows(
    where: str, models: Sequence[BaseModel], x: Any, y: Any, sample_weight: Any, names: Names | None = None
) -> list[Rows]:
    """Checked rows for each model, without the factors of the losses; equal losses share one object, all share x.

    `names`: those of the columns, if not those of the first model.
    """

    def checked(known: Rows | None, shape: Shape, loss: Loss) -> Rows:
        return prepare(where, x if known is None else known.x, y, sample_weight, shape, loss)

    return _for_each_loss(models, checked, names)


def validation_rows(
    where: str, models: Sequence[BaseModel], validation_data: Any, names: Names | None = None
) -> list[Rows]:
    """The same for validation data."""

    def checked(known: Rows | None, shape: Shape, loss: Loss) -> Rows:
        return prepare_validation(
            where, validation_data if known is None else (known.x, *validation_data[1:]), shape, loss
        )

    return _for_each_loss(models, checked, names)


def _for_each_loss(
    models: Sequence[BaseModel], checked: Callable[[Rows | None, Shape, Loss], Rows], names: Names | None
) -> list[Rows]:
    found: dict[str, Rows] = {}
    keys = [repr((type(model.loss), {**model.loss.lower(), "label_smoothing": 0})) for model in models]
    for model, key in zip(models, keys, strict=True):
        if key not in found:
            known = next(iter(found.values()), None)
            shape = replace(model._shape, loss_weight=1.0, names=names or models[0].feature_names)
            made = checked(known, shape, model.loss)
            found[key] = made if known is None else Rows(known.x, made.y, made.w, known._encoded)
    return [found[key] for key in keys]


def weighted(where: str, rows: Rows, own: Array | None, factors: Array, alike: bool) -> tuple[Rows, Array | None]:
    """Rows for some members, with the factors of their losses in the weights.

    Parameters
    ----------
    where : str
    rows : Rows
    own : ndarray of shape (members, rows), optional
        Weights of the rows for each member, in place of those in `rows`.
    factors : ndarray of shape (members,)
    alike : bool
        Whether the factors are equal, also those of members that one process would train together with these.

    Returns
    -------
    Rows
    weights : ndarray of shape (members, rows), or None if the members share those in the rows
    """
    if own is None and alike:
        if factors[0] == 1:
            return rows, None
        return rows.with_weights(np.full(len(rows), factors[0]) if rows.w is None else rows.w * factors[0]), None
    if own is None:
        size = 8 * len(factors) * len(rows)
        check_memory(where, size, f"weights of {len(rows):,} rows for {len(factors):,} members", "use fewer starts")
        own = np.ones((1, len(rows))) if rows.w is None else rows.w[None]
    elif (factors == 1).all():
        return rows, own
    product: Array = beside(factors, own)[:, None] * own
    return rows, product
