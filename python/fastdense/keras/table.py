"""The table that ``model.summary()`` prints, as Keras 3 does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..text import bytes_text
from .progress import can_print
from .settings import floatx

UNITS = ("B", "KB", "MB", "GB")
_PLAIN = str.maketrans("┏━┳┓┃┡╇┩│├─┼┤└┴┘…", "+=++|+++|+-+++++.")
Row = tuple[str, ...]


def summary(
    model: Any,
    line_length: int | None,
    positions: Sequence[float] | None,
    expand_nested: bool,
    show_trainable: bool,
    layer_range: Sequence[str] | None,
) -> str:
    """The table of the layers, and the sums."""
    import shutil  # slow to import

    heads, ends = ["Layer (type)", "Output Shape", "Param #"], list(positions or [0.45, 0.80, 1.0])
    longest = 88
    connections = getattr(model, "connections", None)
    if connections is not None:
        heads, ends = [*heads, "Connected to"], list(positions or [0.3, 0.56, 0.74, 1.0])
    if show_trainable:
        heads, ends, longest = [*heads, "Trainable"], [*(0.9 * end for end in ends), 1.0], longest + 12
    length = line_length or min(longest, shutil.get_terminal_size().columns - 4)
    sums = [("Total", model.weights), ("Trainable", model.trainable_weights),
            ("Non-trainable", model.non_trainable_weights)]  # fmt: skip
    rows: list[Row] = []
    for layer in _chosen(model.layers, layer_range):
        for *row, trained in _rows(layer, expand_nested, ""):
            before = [] if connections is None else [f"{one.name}[0][0]" for one in connections.get(layer, [])]
            row += [] if connections is None else [", ".join(before) or "-"]
            rows.append((*row, trained) if show_trainable else tuple(row))
    totals = [(title, sum(one.size for one in found), sum(one.size * _bytes(one.dtype) for one in found))
              for title, found in sums]  # fmt: skip
    slots = model.optimizer_size()
    if slots is not None:
        totals = [(totals[0][0], totals[0][1] + slots[0], totals[0][2] + slots[1]), *totals[1:], ("Optimizer", *slots)]
    lines = [f" {title} params: {count:,} ({bytes_text(size, UNITS, whole=False)})" for title, count, size in totals]
    text = "\n".join([f'Model: "{model.name}"', *table(tuple(heads), rows, ends, length), *lines, ""])
    return text if can_print("┏") else text.translate(_PLAIN)


def _bytes(dtype: str) -> int:
    """Of one number; those of layers that keep more digits than others count as these, as in Keras."""
    return 8 if floatx() == "float64" and dtype == "float64" else 4


def _chosen(layers: list[Any], layer_range: Sequence[str] | None) -> list[Any]:
    if layer_range is None:
        return layers
    names = [layer.name for layer in layers]
    ends = []
    for pattern, last in zip(layer_range, (False, True), strict=True):
        found = [i for i, name in enumerate(names) if re.match(pattern, name)]
        if not found:
            raise ValueError(f"summary: layer_range={layer_range!r}: no layer matches {pattern!r}. There are {names}.")
        ends.append(found[-1 if last else 0])
    return layers[ends[0] : ends[1] + 1]


def _rows(layer: Any, expand: bool, indent: str) -> list[Row]:
    built = bool(layer.built)
    try:
        shape = str(layer.shown_shape) if built else "?"
    except ValueError:
        shape = "?"
    count = f"{layer.count_params():,}" if built else "0 (unbuilt)"
    trained = "-" if not built or not layer.weights else "Y" if layer.trainable else "N"
    prefix = f"{indent}└ " if indent else ""
    rows: list[Row] = [(f"{prefix}{layer.name} ({type(layer).__name__})", shape, count, trained)]
    for inner in layer.layers if expand and hasattr(layer, "layers") else []:
        rows += _rows(inner, expand, indent + "   ")
    return rows


def table(heads: Row, rows: Sequence[Row], ends: Sequence[float], length: int) -> list[str]:
    """Lines of a table in boxes; its columns end at these fractions of the length."""
    stops = [int(end * length) for end in ends]
    widths = [stop - before + 2 for stop, before in zip(stops, [0, *stops[:-1]], strict=True)]
    excess = sum(widths) + len(widths) + 1 - length
    for i in range(len(widths)):  # what is too much is taken from all equally
        share = round(excess / (len(widths) - i))
        widths[i], excess = widths[i] - share, excess - share
    if min(widths) < 4:
        raise ValueError(f"summary: line_length={length} is too short for the table. Give at least 40.")

    def cells(row: Row, bar: str, at_bottom: bool = False) -> list[str]:
        wrapped = [_wrapped(text, width - 2) for text, width in zip(row, widths, strict=True)]
        lines, most = [], max(map(len, wrapped))
        if at_bottom:
            wrapped = [[*[""] * (most - len(part)), *part] for part in wrapped]
        for i in range(most):
            parts = [part[i] if i < len(part) else "" for part in wrapped]
            lines.append(bar + bar.join(f" {_aligned(part, heads[k], width - 2)} " for k, (part, width)
                                        in enumerate(zip(parts, widths, strict=True))) + bar)  # fmt: skip
        return lines

    def rule(left: str, line: str, between: str, right: str) -> str:
        return left + between.join(line * width for width in widths) + right

    lines = [rule("┏", "━", "┳", "┓"), *cells(heads, "┃", at_bottom=True), rule("┡", "━", "╇", "┩")]
    for i, row in enumerate(rows):
        lines += ([rule("├", "─", "┼", "┤")] if i else []) + cells(row, "│")
    return [*lines, rule("└", "─", "┴", "┘")]


def _aligned(text: str, head: str, width: int) -> str:
    return text.rjust(width) if head == "Param #" else text.center(width) if head == "Trainable" else text.ljust(width)


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of whole words; one that is longer than a line ends in dots."""
    indent = text[: len(text) - len(text.lstrip())]
    lines = [indent]
    for word in text.split():
        gap = " " if lines[-1].strip() else ""
        if lines[-1].strip() and len(lines[-1] + gap + word) > width:
            lines.append("")
            gap = ""
        lines[-1] += gap + word
    return [line if len(line) <= width else line[: width - 1] + "…" for line in lines]
