"""`plots.units`: nets of two inputs, as hyperplanes and surfaces over the plane of the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Array, as_array, fail, to_host
from .base import FILLS, HATCHES, MAP, MARKERS, axes_or_new, drawn_model, grid_of, layer_index, only_one, pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MESH = 121  # points along each input
MOST_UNITS = 12  # surfaces of a layer
MOST_NAMED = 24  # hyperplanes with their unit's number
MOST_CLASSES = 10
MOST_ROWS = 250  # of the data that are drawn
LINES_OF, OUTPUT = -1, -2  # pictures of a whole layer, in the place of a unit's number


def units(
    model: Any,
    x: Any = None,
    y: Any = None,
    *,
    layer: int | str | None = None,
    span: float | Sequence[float] | None = None,
    ax: Axes | None = None,
) -> Figure | Axes:
    """Draw what the units of a net of two inputs do, over the plane of the inputs.

    - The first Dense layer: the line on which each unit's input (its weighted sum) is 0, with the number of the unit
      and small strokes on the side where the sum is positive, which for a ReLU is where the unit is active.
    - The output: its surface as a map with contour lines, or for several outputs the regions in which each is the
      largest.
    - The units of any other layer: a surface each.

    Maps are dark where a value is small and bright where it is large; contour lines have numbers.

    Parameters
    ----------
    model : Model
        Of two inputs.
    x : array of shape (rows, 2), optional
        Data, over whose range the plane is drawn and which are drawn into it (some hundred of them).
    y : array of shape (rows,) or (rows, outputs), optional
        Targets: classes have different markers; of numbers bright ones are large, in the map of the output.
    layer : int or str, optional
        Number or name of the layer to draw; by default the first Dense layer, the output, and the layers between.
    span : float or (low, high, low, high), optional
        The plane: from -span to span, or limits of both inputs. By default the range of x with a margin, and without
        x from -1 to 1.
    ax : Axes, optional
        Where to draw; for a layer that is one picture, the first Dense layer or one with one unit.

    Returns
    -------
    Figure or Axes
        The Axes, if `layer` is one picture; else a Figure.

    Raises
    ------
    ValueError
        If the model has not two inputs, there is no such layer, or x and y do not fit.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np, fastdense as fd
    >>> x = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    >>> model = fd.Model([fd.Dense(6, "relu"), fd.Dense(1, "sigmoid")], inputs=2)
    >>> figure = fd.plots.units(model, x, x[:, 0] * x[:, 1] > 0)
    >>> [axis.get_title() for axis in figure.axes if axis.get_title()]
    ['dense: where the sums of its 6 units are 0', 'dense_1: output']
    """
    where = "plots.units"
    core = drawn_model(where, model)
    width = core.net.inputs
    if width != 2:
        fail(where, f"the model has {width} inputs", "two are needed, for a plane",
             "draw kernels by plots.weights, or fix the other inputs in a model of your own")  # fmt: skip
    rows, targets = _data(where, x, y)
    plane = _Plane(where, core, rows, targets, span)
    first = next((i for i, one in enumerate(core.layers) if type(one).__name__ == "Dense"), None)
    last = len(core.layers) - 1
    if layer is not None or ax is not None:
        chosen = last if layer is None else layer_index(where, core, layer)
        if chosen == first and (layer is not None or chosen != last):
            axis: Axes = axes_or_new(where, ax, (5.2, 4.6))
            plane.lines(axis, chosen)
            return axis
        count = core.net.widths[chosen]
        if count == 1 or (chosen == last and plane.classifies):
            axis = axes_or_new(where, ax, (5.6, 4.6))
            plane.output(axis) if chosen == last else plane.surface(axis, chosen, 0)
            return axis
        only_one(where, ax, [f"unit {k}" for k in range(count)], "layer=")
        return _many(where, plane, [(chosen, k) for k in range(min(count, MOST_UNITS))])
    pictures: list[tuple[int, int]] = [(first, LINES_OF)] if first is not None and first < last else []
    pictures += [(last, OUTPUT)] if core.net.widths[last] == 1 or plane.classifies else [
        (last, k) for k in range(min(core.net.widths[last], MOST_UNITS))]  # fmt: skip
    for i in range(0 if first is None else first + 1, last):
        if core.net.widths[i] > 1 and type(core.layers[i]).__name__ in ("Dense", "Activation", "Residual", "Branches"):
            pictures += [(i, k) for k in range(min(core.net.widths[i], MOST_UNITS))]
    return _many(where, plane, pictures)


def _many(where: str, plane: _Plane, pictures: Sequence[tuple[int, int]]) -> Figure:
    """A figure of several pictures: of layers and units; those of a whole layer are twice as wide and as high."""
    whole, parts = [one for one in pictures if one[1] < 0], [one for one in pictures if one[1] >= 0]
    rows, columns = grid_of(len(parts), 4) if parts else (0, 0)
    across = max(2 * len(whole), columns)
    figure: Figure = pyplot(where).figure(
        figsize=(max(2.5 * across, 5.0), 4.4 * bool(whole) + 2.3 * rows), layout="constrained"
    )
    grid = figure.add_gridspec(2 * bool(whole) + rows, max(across, 1))
    for k, (i, kind) in enumerate(whole):
        axis = figure.add_subplot(grid[:2, 2 * k : 2 * k + 2])
        plane.lines(axis, i) if kind == LINES_OF else plane.output(axis)
    for k, (i, unit) in enumerate(parts):
        axis = figure.add_subplot(grid[2 * bool(whole) + k // columns, k % columns])
        plane.surface(axis, i, unit, small=True)
    return figure


class _Plane:
    """The plane of the inputs, and what a model makes of it.

    Parameters
    ----------
    where : str
    model : Model
    x, y : ndarray or None
        Data.
    span : float, sequence or None
    """

    def __init__(self, where: str, model: Any, x: Array | None, y: Array | None, span: Any) -> None:
        self.model, self.x, self.y = model, x, y
        self.limits = _limits(where, x, span)
        low, high = self.limits[::2], self.limits[1::2]
        self.a, self.b = np.meshgrid(*(np.linspace(one, other, MESH) for one, other in zip(low, high, strict=True)))
        self.points = np.stack([self.a.ravel(), self.b.ravel()], axis=1)
        self.outputs: list[Array] = [np.asarray(one, dtype=np.float64) for one in model.activations(self.points)]
        outputs = model.net.widths[-1]
        self.classifies = outputs > 1 and getattr(model.layers[-1], "activation", None) == "softmax"

    def lines(self, axis: Any, index: int) -> None:
        """Where the weighted sums of a Dense layer's units are 0."""
        from matplotlib.patheffects import withTickedStroke

        tensors = self.model.get_weights()[self.model.net.slices[index]]
        before = self.points if index == 0 else self.outputs[index - 1]
        kernel = np.asarray(tensors[0], dtype=np.float64)
        sums = before @ kernel + (np.asarray(tensors[1], dtype=np.float64) if self.model.layers[index].use_bias else 0)
        missing = 0
        self.rows(axis)
        for unit in range(kernel.shape[1]):
            z = sums[:, unit].reshape(self.a.shape)
            if not np.isfinite(z).all() or z.min() * z.max() >= 0:
                missing += 1
                continue
            # contours go with larger values on their left, where strokes at 60 degrees are
            drawn = axis.contour(self.a, self.b, z, levels=[0.0], colors="black", linewidths=1.2, zorder=4)
            drawn.set(path_effects=[withTickedStroke(angle=60, length=0.6, spacing=8)], gid=f"unit {unit}")
            if kernel.shape[1] <= MOST_NAMED:
                self._name(axis, drawn, unit)
        name, count = self.model.net.names[index], kernel.shape[1]
        axis.set_title(f"{name}: where the sums of its {count} units are 0")
        note = "strokes: the positive side"
        if missing:
            note += f"; {missing} {'has' if missing == 1 else 'have'} no 0 in here"
        self._finish(axis, note)

    def _name(self, axis: Any, drawn: Any, unit: int) -> None:
        """The number of a unit on its line; at places that differ from unit to unit, as lines cross."""
        vertices = np.concatenate([path.vertices for path in drawn.get_paths() if len(path.vertices)])
        at = vertices[int((0.15 + 0.7 * ((unit * 0.618) % 1)) * (len(vertices) - 1))]
        box = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "black", "linewidth": 0.6}
        axis.text(*at, str(unit), ha="center", va="center", fontsize="small", zorder=5, bbox=box)

    def output(self, axis: Any) -> None:
        """The output: a surface, or for a softmax the regions of the classes."""
        index = len(self.model.layers) - 1
        if not self.classifies:
            self.surface(axis, index, 0)
            return
        chosen = self.outputs[-1].argmax(axis=1).reshape(self.a.shape)
        count = self.outputs[-1].shape[1]
        greys = [str(one) for one in np.linspace(0.97, 0.6, count)]
        hatches = [HATCHES[i % len(HATCHES)] for i in range(count)]
        for i in range(count):  # one by one: between two classes there is no third
            own = (chosen == i).astype(float)
            if own.any():
                axis.contourf(self.a, self.b, own, levels=[0.5, 1.5], colors=[greys[i]], hatches=[hatches[i]])
            if own.any() and not own.all():
                axis.contour(self.a, self.b, own, levels=[0.5], colors="black", linewidths=1.0)
        from matplotlib.patches import Patch

        there = np.unique(chosen)
        axis.legend(handles=[Patch(facecolor=greys[i], hatch=hatches[i], edgecolor="black", label=f"class {i}")
                             for i in there], fontsize="small", loc="upper right", framealpha=0.9)  # fmt: skip
        axis.set_title(f"{self.model.net.names[index]}: the most probable class")
        self.rows(axis)
        self._finish(axis)

    def surface(self, axis: Any, index: int, unit: int, small: bool = False) -> None:
        """The output of a unit as a map with contour lines."""
        name, z = self.model.net.names[index], self.outputs[index][:, unit].reshape(self.a.shape)
        whole = self.outputs[index].shape[1] == 1
        title = f"{name}: output" if index == len(self.model.layers) - 1 and whole else f"{name}: unit {unit}"
        finite = z[np.isfinite(z)]
        if not finite.size or finite.max() - finite.min() <= 1e-6 * max(1.0, float(np.abs(finite).max())):
            value = f"{finite.flat[0]:.3g}" if finite.size else "not finite"
            axis.text(0.5, 0.5, f"{value}\neverywhere", transform=axis.transAxes, ha="center", va="center")
            axis.set(xlim=self.limits[:2], ylim=self.limits[2:])
        else:
            shown = axis.pcolormesh(self.a, self.b, z, cmap=MAP, shading="gouraud", rasterized=True)
            low, high = float(finite.min()), float(finite.max())
            sure = getattr(self.model.layers[index], "activation", None) == "sigmoid"
            levels = np.array([0.5]) if sure and low < 0.5 < high else np.linspace(low, high, 5 if small else 7)[1:-1]
            ink = ["white" if level < (low + high) / 2 else "black" for level in levels]
            lines = axis.contour(self.a, self.b, z, levels=levels, colors=ink, linewidths=0.7, linestyles="-")
            if small:
                bar = axis.figure.colorbar(shown, ax=axis, ticks=[low, high])
                bar.ax.set_yticklabels([f"{low:.2g}", f"{high:.2g}"], fontsize="x-small")
            else:
                axis.clabel(lines, fontsize="small", fmt="%.3g")
                axis.figure.colorbar(shown, ax=axis, label="output")
        axis.set_title(title, **({"fontsize": "small"} if small else {}))
        if small:
            axis.tick_params(labelsize="x-small")
            axis.locator_params(nbins=4)
            return
        self.rows(axis, None if not finite.size else (float(finite.min()), float(finite.max())))
        self._finish(axis)

    def rows(self, axis: Any, limits: tuple[float, float] | None = None) -> None:
        """The data: classes by markers, numbers by the map."""
        if self.x is None:
            return
        step = -(-len(self.x) // MOST_ROWS)
        x = self.x[::step]
        if self.y is None:
            axis.plot(*x.T, ".", color="0.35", markersize=4, zorder=3)
            return
        y = self.y[::step]
        if y.dtype.kind == "i":
            for i in np.unique(self.y):
                axis.plot(*x[y == i].T, MARKERS[i % len(MARKERS)], linestyle="none", markersize=4.5,
                          markerfacecolor=FILLS[i % len(FILLS)], markeredgecolor="black", markeredgewidth=0.6,
                          label=f"class {i}", zorder=3)  # fmt: skip
            if axis.get_legend() is None:
                axis.legend(fontsize="small", loc="upper right", framealpha=0.9)
            return
        low, high = limits or (float(self.y.min()), float(self.y.max()))
        axis.scatter(*x.T, c=y, cmap=MAP, vmin=low, vmax=high, s=18, edgecolors="black", linewidths=0.5, zorder=3)

    def _finish(self, axis: Any, note: str = "") -> None:
        axis.locator_params(nbins=6)
        axis.set(xlim=self.limits[:2], ylim=self.limits[2:], ylabel="input 1",
                 xlabel=f"input 0\n({note})" if note else "input 0")  # fmt: skip


def _limits(where: str, x: Array | None, span: Any) -> tuple[float, float, float, float]:
    if span is None:
        if x is None:
            return -1.0, 1.0, -1.0, 1.0
        low, high = x.min(axis=0), x.max(axis=0)
        margin = np.where(high > low, 0.06 * (high - low), 1.0)
        return (
            float(low[0] - margin[0]),
            float(high[0] + margin[0]),
            float(low[1] - margin[1]),
            float(high[1] + margin[1]),
        )
    given = np.asarray(as_array(where, "span", span), dtype=np.float64).ravel()
    if given.size == 1:
        given = np.array([-1.0, 1.0, -1.0, 1.0]) * given
    if given.size != 4 or not (np.isfinite(given).all() and given[0] < given[1] and given[2] < given[3]):
        fail(where, f"span is {span!r}", "a number above 0, or (low, high, low, high) is needed")
    return float(given[0]), float(given[1]), float(given[2]), float(given[3])


def _data(where: str, x: Any, y: Any) -> tuple[Array | None, Array | None]:
    """Rows and targets on the host; integer targets are classes."""
    if x is None:
        if y is not None:
            fail(where, "y is given without x", "both are needed, or x alone")
        return None, None
    rows = to_host(as_array(where, "x", x)).astype(np.float64)
    if rows.ndim != 2 or rows.shape[1] != 2 or not len(rows) or not np.isfinite(rows).all():
        fail(where, f"x has shape {rows.shape}", "(rows, 2) with finite numbers is needed")
    if y is None:
        return rows, None
    given = to_host(as_array(where, "y", y))
    if given.ndim == 0 or len(given) != len(rows):
        fail(where, f"x has {len(rows)} rows, and y shape {given.shape}", "as many are needed")
    if given.ndim == 2 and given.shape[1] > 1:
        if not ((given == 0) | (given == 1)).all():
            fail(where, f"y has {given.shape[1]} columns", "one is needed, or one-hot classes",
                 "choose a column, e.g. y[:, 0]")  # fmt: skip
        return rows, given.argmax(axis=1)
    flat = given.reshape(len(rows), -1)[:, 0].astype(np.float64)
    if not np.isfinite(flat).all():
        fail(where, "y has values that are not finite", "numbers are needed")
    several = np.unique(flat)
    classes = len(several) <= MOST_CLASSES and (several == np.floor(several)).all() and several[0] >= 0
    return rows, flat.astype(np.int64) if classes else flat
