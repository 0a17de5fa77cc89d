"""`plot_model`: a picture of the layers."""

from __future__ import annotations

import os
from typing import Any

_LINE, _GAP = 0.28, 0.35  # inches


def plot_model(
    model: Any,
    to_file: str | os.PathLike[str] = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    **ignored: Any,
) -> None:
    """Draw the layers of a model as boxes, with matplotlib, into a file.

    Parameters
    ----------
    model : Sequential or Model
    to_file : str or path
        PNG, or what else its suffix says that matplotlib writes.
    show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable : bool
        What the boxes say besides the class of the layer.
    rankdir : {"TB", "LR"}
        From top to bottom, or from left to right.
    expand_nested : bool
        Whether to draw the layers of models in it.
    dpi : int
        Dots per inch.
    """
    if not model.built:
        raise ValueError(f"plot_model: {model.name} is not built yet. Train it, or call model.build(input_shape).")
    from ..plots.base import pyplot  # seldom needed

    pyplot("plot_model")  # says what to install
    from matplotlib.figure import Figure

    model.fastdense  # noqa: B018  (makes the weights)
    layers = _expanded(model) if expand_nested else list(model.layers)
    connections = getattr(model, "connections", None)
    if connections is not None:
        expand_nested, layers = False, list(model.layers)
    parents = None if connections is None else [[layers.index(b) for b in connections.get(one, [])] for one in layers]
    front = [] if connections is not None or (layers and layers[0] is model.source) else [model.source]
    boxes = []
    for layer in [*front, *layers]:
        lines = [f"{layer.name} ({type(layer).__name__})" if show_layer_names else type(layer).__name__]
        activation = getattr(getattr(layer, "spec", None), "activation", None)
        lines += [f"Activation: {activation}"] if show_layer_activations and activation else []
        lines += [f"Output shape: {getattr(layer, 'batch_shape', None) or layer.shown_shape}"] * show_shapes
        lines += [f"Output dtype: {layer.dtype}"] * show_dtype
        lines += [f"Trainable: {bool(layer.trainable)}"] * show_trainable
        boxes.append(lines)
    width = 0.5 + 0.085 * max(len(line) for lines in boxes for line in lines)
    heights = [_LINE * (len(lines) + 0.6) for lines in boxes]
    across = rankdir in ("LR", "RL")
    length = sum([width] * len(boxes) if across else heights) + _GAP * (len(boxes) + 1)
    size = (length, max(heights) + 2 * _GAP) if across else (width + 2 * _GAP, length)
    figure = Figure(figsize=size)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0))
    axes.axis("off")
    begin = _GAP
    ends: list[
        tuple[tuple[float, float], tuple[float, float]]
    ] = []  # of each box, where arrows end and where they begin
    for i, (lines, height) in enumerate(zip(boxes, heights, strict=True)):
        step = width if across else height
        x, y = (begin + width / 2, size[1] / 2) if across else (size[0] / 2, begin + height / 2)
        axes.text(x, y, "\n".join(lines), ha="center", va="center", fontsize=10)
        low, high = (x - width / 2, y - height / 2), (x + width / 2, y + height / 2)
        axes.plot([low[0], high[0], high[0], low[0], low[0]], [low[1], low[1], high[1], high[1], low[1]], "k", lw=1)
        ends.append(((low[0], y), (high[0], y)) if across else ((x, low[1]), (x, high[1])))
        for before in [i - 1] * bool(i) if parents is None else parents[i]:
            style = {"connectionstyle": "arc3"} if before == i - 1 else {"connectionstyle": "arc3,rad=0.4"}
            arrow = {"arrowstyle": "-|>", "color": "k", "shrinkA": 0, "shrinkB": 0, **style}
            axes.annotate("", ends[i][0], ends[before][1], arrowprops=arrow)
        begin += step + _GAP
    figure.savefig(to_file, dpi=dpi)


def _expanded(model: Any) -> list[Any]:
    """Its layers, those of models in it in their place."""
    layers: list[Any] = []
    for one in model.layers:
        layers += _expanded(one) if hasattr(one, "layers") else [one]
    return layers
