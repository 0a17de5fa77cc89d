"""Outcomes of a population: `Population.plot`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Array
from .base import HATCHES, LINES, MAP, DrawnModel, pyplot, spans_decades

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MESH = 41
MAX_FUNCTIONS = 6


def draw_outcomes(
    losses: Array, labels: Array, representatives: dict[str, int], x: Array, member: Callable[[int], DrawnModel]
) -> Figure:
    """Histogram of the losses by outcome, and the function of a representative of each.

    Parameters
    ----------
    losses, labels : ndarray of shape (starts,)
    representatives : dict
        Index of a member by outcome.
    x : ndarray of shape (rows, inputs)
        Data, over whose range functions of one or two inputs are drawn.
    member : callable
        Index to model.
    """
    plt = pyplot("plot")
    shown = dict(list(representatives.items())[:MAX_FUNCTIONS]) if x.shape[1] <= 2 else {}
    figure = plt.figure(figsize=(5.2 + 3.2 * len(shown), 3.8))
    grid = figure.add_gridspec(1, 1 + len(shown), width_ratios=[1.6] + [1] * len(shown))
    _losses(figure.add_subplot(grid[0]), losses, labels, list(representatives))
    for position, (kind, index) in enumerate(shown.items(), 1):
        title = f"{kind}\nstart {index}, loss {losses[index]:.3g}"
        _function(figure, grid[position], x, member(index), title)
    figure.tight_layout()
    drawn: Figure = figure
    return drawn


def _losses(axis: Any, losses: Array, labels: Array, kinds: list[str]) -> None:
    finite = np.isfinite(losses)
    values = losses[finite]
    log = spans_decades(values)
    if len(values):
        low, high = float(values.min()), float(values.max())
        edges = np.geomspace(low, high, 41) if log else np.linspace(low, high if high > low else low + 1, 41)
        parts = [losses[finite & (labels == kind)] for kind in kinds]
        names = [f"{kind} ({int(np.count_nonzero(labels == kind)):,})" for kind in kinds]
        tones = [LINES[i % len(LINES)]["color"] if i else "0.75" for i in range(len(parts))]
        bars = axis.hist(parts, bins=edges, stacked=True, label=names, color=tones, edgecolor="black", linewidth=0.4)[2]
        for container, hatch in zip(bars if len(parts) > 1 else [bars], HATCHES * len(parts), strict=False):
            for bar in container:
                bar.set(hatch=hatch, edgecolor="black" if hatch == "" else "white")
        axis.legend(fontsize="small")
    axis.set(xlabel="loss", ylabel="starts", xscale="log" if log else "linear", title=f"{len(losses):,} starts")


def _function(figure: Any, cell: Any, x: Array, model: DrawnModel, title: str) -> None:
    lines = [np.linspace(column.min(), column.max(), MESH) for column in x.T]
    if len(lines) == 1:
        axis = figure.add_subplot(cell)
        axis.plot(lines[0], model.predict(lines[0][:, None])[:, 0])
        axis.set(title=title)
        return
    a, b = np.meshgrid(*lines)
    heights = model.predict(np.stack([a.ravel(), b.ravel()], axis=1))[:, 0].reshape(a.shape)
    axis = figure.add_subplot(cell, projection="3d")
    axis.plot_surface(a, b, heights, cmap=MAP, linewidth=0)
    axis.set_title(title, fontsize="small")
