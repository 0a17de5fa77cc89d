"""What all pictures share: matplotlib, Axes to draw on, and looks that differ in black and white, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ..arguments import shorten
from ..arrays import Array, fail
from ..lazy import needed

# Lines and markers, which differ in dashes, form and luminance. The hues are those of Okabe and Ito
# (2008), which the colour-blind can distinguish.
LINES: tuple[dict[str, Any], ...] = (
    {"color": "#000000", "linestyle": "-"},
    {"color": "#0072b2", "linestyle": "--"},
    {"color": "#d55e00", "linestyle": "-."},
    {"color": "#009e73", "linestyle": ":"},
    {"color": "#cc79a7", "linestyle": (0, (6, 1, 1, 1, 1, 1))},
    {"color": "#56b4e9", "linestyle": (0, (9, 3))},
)
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<", "*", ">")
FILLS = ("#ffffff", "#999999", "#56b4e9", "#e69f00", "#000000")
HATCHES = ("", "..", "//", "xx", "\\\\", "--", "||", "oo", "++", "**")
# From dark blue over grey to bright yellow: the luminance alone tells the order, and with limits that are symmetric the
# sign, as grey is 0.
MAP = "cividis"


class DrawnModel(Protocol):
    """What pictures need of a model; see `fastdense.Model`."""

    net: Any

    @property
    def layers(self) -> list[Any]: ...

    def get_weights(self) -> list[Array]: ...

    def predict(self, x: Any) -> Array: ...

    def activations(self, x: Any) -> list[Array]: ...


def pyplot(where: str) -> Any:
    """Return matplotlib's pyplot, or raise an ImportError that says how to install it."""
    needed(where, "matplotlib", "matplotlib", "plot")
    from matplotlib import pyplot as module

    return module


def drawn_model(where: str, model: Any) -> DrawnModel:
    """The `fastdense.Model`: the model itself, or the one inside of a model of `fastdense.keras`."""
    core = getattr(model, "fastdense", model)
    if not all(hasattr(core, name) for name in ("net", "activations", "get_weights")):
        remedy = "take one of its members, e.g. population.best" if hasattr(model, "best") else ""
        fail(where, f"model is {shorten(model)}", "a fastdense.Model is needed", remedy)
    found: DrawnModel = core
    return found


def axes_or_new(where: str, ax: Any, size: tuple[float, float]) -> Any:
    """The Axes that were given, or those of a new figure."""
    if ax is None:
        return pyplot(where).subplots(figsize=size, layout="constrained")[1]
    check_axes(where, ax)
    return ax


def check_axes(where: str, ax: Any) -> None:
    """Raise unless it is an Axes of matplotlib."""
    pyplot(where)
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise TypeError(
            f"{where}: ax is {shorten(ax)}; an Axes of matplotlib is needed, e.g. that of pyplot.subplots()"
        )


def only_one(where: str, ax: Any, what: Sequence[str], argument: str) -> None:
    """Raise where one Axes is given for several pictures."""
    if ax is not None and len(what) != 1:
        fail(where, f"ax is one Axes, and there are {len(what)} pictures to draw ({', '.join(what)})",
             f"leave ax out for a figure of all, or choose one by {argument}")  # fmt: skip


def layer_index(where: str, model: DrawnModel, layer: Any) -> int:
    """The number of a layer that is given by its number or its name."""
    names: list[str] = list(model.net.names)
    if isinstance(layer, str) and layer in names:
        return names.index(layer)
    if isinstance(layer, int) and not isinstance(layer, bool) and -len(names) <= layer < len(names):
        return layer % len(names)
    fail(
        where,
        f"layer is {shorten(layer)}",
        f"a number from 0 to {len(names) - 1} or one of {', '.join(names)} is needed",
    )


def grid_of(count: int, across: int) -> tuple[int, int]:
    """Rows and columns of so many panels."""
    columns = max(1, min(across, count))
    return -(-count // columns), columns


def spans_decades(values: Array) -> bool:
    """Whether values are better drawn on a logarithmic scale: all positive, and more than a factor of 10 apart."""
    return bool(values.size) and float(values.min()) > 0 and float(values.max()) > 10 * float(values.min())
