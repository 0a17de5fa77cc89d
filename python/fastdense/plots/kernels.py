"""`plots.weights`: kernels as images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import integer, items
from ..arrays import Array, fail
from .base import MAP, axes_or_new, drawn_model, grid_of, layer_index, only_one, pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 12
CLIPPED = 0.999  # of the values are within the limits of the map; single large ones do not hide all others


def weights(
    model: Any,
    *,
    layer: int | str | None = None,
    shape: tuple[int, int] | None = None,
    units: int = 64,
    ax: Axes | None = None,
) -> Figure | Axes:
    """Draw the kernels of a model as images.

    The map goes from dark blue (negative) over grey (0) to bright yellow (positive), so that a copy in black and white
    still tells the sign: darker than the grey of 0 is negative, brighter is positive. Each picture has its own limits,
    symmetric about 0. Units that have learnt nothing look like the noise of the initial values; dead inputs are rows
    that never changed; two equal columns are two equal units.

    Parameters
    ----------
    model : Model
    layer : int or str, optional
        Number or name of the layer whose kernel to draw; by default every layer with a kernel.
    shape : (int, int), optional
        Height and width of the inputs as an image, e.g. (28, 28): the weights of each unit of the first layer (or of
        `layer`) are drawn as such an image, beside one another.
    units : int, default 64
        The most units that are drawn as images with `shape`: the first ones.
    ax : Axes, optional
        Where to draw; for one kernel. A block (`Residual`, `Branches`) may have several.

    Returns
    -------
    Figure or Axes
        The Axes, if `ax` is given or `layer` has one kernel; else the Figure with a picture for each kernel.

    Raises
    ------
    ValueError
        If there is no such layer or it has no kernel, or the inputs are not as many as `shape` says.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import fastdense as fd
    >>> model = fd.Model([fd.Dense(16, "relu"), fd.Dense(10)], inputs=64)
    >>> figure = fd.plots.weights(model, shape=(8, 8))
    >>> figure.axes[0].get_title()
    'dense: 64 to 16'
    """
    where = "plots.weights"
    core = drawn_model(where, model)
    most = integer(f"{where}: units", units, least=1)
    found = _kernels(where, core)
    if layer is not None:
        index = layer_index(where, core, layer)
        held = ", ".join(core.net.names[i] for i in dict.fromkeys(i for i, _, _ in found))
        found = [one for one in found if one[0] == index]
        if not found:
            fail(where, f"layer {core.net.names[index]!r} has no kernel", f"one of {held} is needed")
    chosen = [(name, kernel) for _, name, kernel in found[:MOST_PANELS]]
    only_one(where, ax, [name for name, _ in chosen], "layer=")
    image = None if shape is None else _image(where, shape, *chosen[0])
    if ax is not None or (layer is not None and len(chosen) == 1):
        axis: Axes = axes_or_new(where, ax, (4.8, 4.2))
        _draw(axis, *chosen[0], image, most)
        return axis
    rows, columns = grid_of(len(chosen), 3)
    figure: Figure
    figure, axes = pyplot(where).subplots(
        rows, columns, figsize=(4.4 * columns, 3.8 * rows), squeeze=False, layout="constrained"
    )
    for i, axis in enumerate(axes.flat):
        if i < len(chosen):
            _draw(axis, *chosen[i], image if i == 0 else None, most)
        else:
            axis.set_axis_off()
    if len(chosen) < len(found):
        figure.suptitle(f"the first {len(chosen)} of {len(found)} kernels")
    return figure


def _kernels(where: str, model: Any) -> list[tuple[int, str, Array]]:
    """Every kernel, (inputs, units), with its name and the number of its layer, which may be a block of several."""
    tensors, found = model.get_weights(), []
    for i, part in enumerate(model.net.slices):
        for spec, tensor in zip(model.net.tensors[part], tensors[part], strict=True):
            # "dense/kernel", or of a block "branches/1.0.kernel"
            if spec.name.endswith(("/kernel", ".kernel")):
                name = spec.name[: -len("/kernel")].replace("/", " ")
                found.append((i, name, np.asarray(tensor, dtype=np.float64).reshape(-1, tensor.shape[-1])))
    if not found:
        fail(where, "the model has no layer with a kernel", "one of Dense layers is needed")
    return found


def _image(where: str, shape: Any, name: str, kernel: Array) -> tuple[int, int]:
    sides = [integer(f"{where}: shape", side, least=1) for side in items(f"{where}: shape", shape, "(height, width)")]
    if len(sides) != 2:
        fail(where, f"shape is {tuple(sides)}", "(height, width) is needed")
    if math.prod(sides) != len(kernel):
        fail(where, f"shape {tuple(sides)} is {math.prod(sides)} inputs", f"{name!r} has {len(kernel)}")
    return sides[0], sides[1]


def _draw(axis: Any, name: str, kernel: Array, image: tuple[int, int] | None, most: int) -> None:
    inputs, count = kernel.shape
    finite = np.abs(kernel[np.isfinite(kernel)])
    limit = float(np.quantile(finite, CLIPPED)) if finite.size else 0.0
    limit = limit or 1.0
    title = f"{name}: {inputs} to {count}"
    if image is None:
        shown = axis.imshow(kernel, cmap=MAP, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
        axis.set(xlabel="unit", ylabel="input", title=title)
        from matplotlib.ticker import MaxNLocator

        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    else:
        tiles = _mosaic(kernel[:, :most], image)
        shown = axis.imshow(np.ma.masked_invalid(tiles), cmap=MAP, vmin=-limit, vmax=limit, interpolation="nearest")
        axis.set(xticks=[], yticks=[], title=title)
        drawn = min(most, count)
        axis.set_xlabel(f"{'' if drawn == count else 'the first '}{drawn} units, {image[0]} x {image[1]} weights each")
        for side in axis.spines.values():
            side.set_visible(False)
    bar = axis.figure.colorbar(shown, ax=axis, extend="both" if finite.size and finite.max() > limit else "neither")
    bar.set_label("weight")


def _mosaic(kernel: Array, image: tuple[int, int]) -> Array:
    """The units' images in rows, nearly a square of them, with a pixel of NaN between them."""
    height, width = image
    columns = math.ceil(math.sqrt(kernel.shape[1] * height / width))
    rows = math.ceil(kernel.shape[1] / columns)
    tiles = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for unit, one in enumerate(kernel.T):
        top, left = unit // columns * (height + 1), unit % columns * (width + 1)
        tiles[top : top + height, left : left + width] = one.reshape(image)
    return tiles
