"""Iterables of batches, and arguments that do not go with them, checked for a call."""

from __future__ import annotations

from typing import Any

from ..arguments import integer, shorten
from ..arrays import Array, fail
from ..data.checks import check_x
from ..data.heads import side_by_side
from ..data.prepare import prepare
from ..data.rows import Rows, Shape
from ..data.stream import Batches, Blocks
from ..data.weights import check_weights, class_weights
from ..losses import Loss, PerHead


def blocks_of(
    batches: Batches, shape: Shape, loss: Loss | None, class_weight: Any = None, *, checked: bool = False
) -> Blocks:
    """The blocks of an iterable, whose rows are checked for a net and a loss; without a loss they have no targets.

    Rows that are `checked` already are taken as they are.
    """

    def side(where: str, rows: int, y: Any, w: Any = None) -> tuple[Any, Any]:
        assert isinstance(loss, PerHead)
        return side_by_side(where, y, w, rows, shape, loss)

    joined = side if isinstance(loss, PerHead) and not checked else None

    def check(where: str, x: Array, y: Array | None = None, w: Array | None = None) -> Rows:
        if checked:
            assert y is not None
            return Rows(x, y, w)
        if loss is None:
            return Rows(check_x(where, x, shape), x, None)
        if joined is None or y is None:
            rows = prepare(where, x, y, w, shape, loss)
        else:  # which has checked them
            rows = Rows(check_x(where, x, shape), y, check_weights(where, w, len(x), dtype=shape.dtype))
        return rows.weighted(class_weights(where, class_weight, rows.y, shape, loss))

    if isinstance(class_weight, str):
        given = f"class_weight is {shorten(class_weight)} and x is {stream_name(batches.given)}"
        fail(batches.where, given, "the number of rows of each class is not known", "give a dict from class to weight")
    return Blocks(batches, shape, check, targets=loss is not None, joined=joined)


def batches_of(where: str, x: Any, steps: int | None) -> Batches:
    """The batches of an iterable."""
    return x if isinstance(x, Batches) else Batches(where, x, steps)


def stream_name(x: object) -> str:
    """An iterable, for messages."""
    return f"a {type(x.given if isinstance(x, Batches) else x).__name__} of batches"


def check_alone(where: str, x: object, **given: Any) -> None:
    """Raise for an argument that does not go with an iterable of batches."""
    instead = {
        "y": "its items hold the targets: let it give (x, y)",
        "sample_weight": "its items hold the weights: let it give (x, y, sample_weight)",
        "batch_size": "its items are the batches: leave batch_size out",
        "validation_split": "the last rows are not known before the end: pass validation_data",
        "dy": "its batches hold no derivatives: pass arrays",
        "validation_batch_size": "its items are the batches: leave validation_batch_size out",
    }
    for name, value in given.items():
        if value is not None and not (name == "validation_split" and value == 0):
            shown = "" if hasattr(value, "__len__") else f"={shorten(value)}"
            fail(where, f"{name}{shown} was given and x is {stream_name(x)}", instead[name])


def check_steps(where: str, steps: object) -> int | None:
    """Return a number of batches of at least 1, or None."""
    return None if steps is None else integer(where, steps, least=1)
