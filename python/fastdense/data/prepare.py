"""The data of one call, checked: `x`, `y` and weights together, validation data, and the split of rows."""

from __future__ import annotations

import math

import numpy as np

from ..arguments import number
from ..arrays import fail
from ..losses import Loss, PerHead
from .checks import check_x, check_y
from .heads import side_by_side
from .rows import Rows, Shape
from .weights import check_weights

# ---- whole data sets -----------------------------------------------------------------------------------------------


def prepare(
    where: str,
    x: object,
    y: object,
    sample_weight: object,
    net: Shape,
    loss: Loss,
    *,
    names: tuple[str, str, str] = ("x", "y", "sample_weight"),
) -> Rows:
    """Check one data set as a whole."""
    xs = check_x(where, x, net, name=names[0])
    if isinstance(loss, PerHead):
        ys, sample_weight = side_by_side(where, y, sample_weight, len(xs), net, loss, names)
    else:
        ys = check_y(where, y, len(xs), net, loss, name=names[1], x_name=names[0])
    weights = check_weights(where, sample_weight, len(xs), name=names[2], dtype=net.dtype, device=net.device)
    if net.loss_weight != 1:
        weights = np.full(len(xs), net.loss_weight) if weights is None else weights * net.loss_weight
    return Rows(xs, ys, weights)


def prepare_validation(where: str, validation_data: object, net: Shape, loss: Loss) -> Rows:
    """Check `validation_data`: (x, y) or (x, y, sample_weight)."""
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        given = (
            f"validation_data has {len(validation_data)} parts"
            if isinstance(validation_data, (tuple, list))
            else f"validation_data is a {type(validation_data).__name__}"
        )
        fail(where, given, "a tuple is needed", "pass (x_val, y_val) or (x_val, y_val, sample_weight_val)")
    x, y, weights = (*validation_data, None)[:3]
    names = ("validation x", "validation y", "validation sample_weight")
    return prepare(where, x, y, weights, net, loss, names=names)


def rows_to_train_on(where: str, rows: int, fraction: object) -> int:
    """Rows before the cut: validation takes the last `fraction` of them, before any shuffling, as in Keras."""
    part = number(f"{where}: validation_split", fraction, least=0, below=1)
    if part == 0:
        return rows
    cut = math.floor(rows * (1.0 - part))  # with Keras's rounding: 62 of 90 rows for 0.3
    if cut in (0, rows):
        side = "training" if cut == 0 else "validation"
        fail(
            where,
            f"validation_split={part:g} of {rows} rows leaves none for {side}",
            "both parts need a row",
            "change validation_split or pass validation_data",
        )
    return cut
