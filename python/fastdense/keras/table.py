"""The table that ``model.summary()`` prints."""

from __future__ import annotations

from collections.abc import Sequence

from .._model import Model
from ..text import bytes_text
from .layer import Layer, Shape

UNITS = ("B", "KB", "MB", "GB")


def table(name: str, layers: Sequence[Layer], shape: Shape, model: Model, width: int) -> str:
    """One line a layer, and the sums."""
    rows = [("Layer (type)", "Output Shape", "Param #")]
    for layer in layers:
        shape = layer.output_shape_of(shape)
        count = sum(array.size for array in layer.get_weights())
        rows.append((f"{layer.name} ({type(layer).__name__})", str((None, *shape)), f"{count:,}"))
    first = max(max(len(row[0]) for row in rows) + 2, width * 45 // 100)
    second = max(max(len(row[1]) for row in rows) + 2, width * 35 // 100)
    width = max(width, first + second + 10)
    text = [f" {a:<{first}}{b:<{second}}{c:>{width - first - second - 2}}" for a, b, c in rows]
    size = model.net.itemsize
    totals = [
        f"{title} params: {count:,} ({bytes_text(count * size, UNITS, whole=False)})"
        for title, count in (
            ("Total", model.net.count()),
            ("Trainable", model.net.count(True)),
            ("Non-trainable", model.net.count(False)),
        )
    ]
    return "\n".join(
        [f'Model: "{name}"', "_" * width, text[0], "=" * width, *text[1:], "=" * width, *totals, "_" * width]
    )
