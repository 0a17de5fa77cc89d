"""Pictures of populations; matplotlib is needed only here, when something is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import to_host

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .outcomes import Outcomes

MESH = 41
MOST = 6  # functions drawn


def pyplot(where: str) -> Any:
    """matplotlib's pyplot, or an ImportError that says how to get it."""
    try:
        from matplotlib import pyplot as module
    except ImportError as error:
        raise ImportError(f"{where}: matplotlib is not installed; install it with pip install matplotlib") from error
    return module


def draw_outcomes(outcomes: Outcomes) -> Figure:
    """Losses by outcome, and the function of a typical start of each."""
    plt = pyplot("plot")
    population = outcomes.population
    inputs = population._model.inputs
    typical = dict(list(outcomes.representatives.items())[:MOST]) if inputs <= 2 else {}
    figure = plt.figure(figsize=(5.2 + 3.2 * len(typical), 3.8))
    grid = figure.add_gridspec(1, 1 + len(typical), width_ratios=[1.6] + [1] * len(typical))
    _losses(figure.add_subplot(grid[0]), outcomes)
    for place, (kind, start) in enumerate(typical.items(), 1):
        title = f"{kind}\nstart {start}, loss {outcomes.losses[start]:.3g}"
        _function(figure, grid[place], population, start, title)
    figure.tight_layout()
    made: Figure = figure
    return made


def _losses(axis: Any, outcomes: Outcomes) -> None:
    finite = np.isfinite(outcomes.losses)
    values = outcomes.losses[finite]
    log = bool(len(values)) and values.min() > 0 and values.max() > 10 * values.min()
    if len(values):
        low, high = float(values.min()), float(values.max())
        edges = np.geomspace(low, high, 41) if log else np.linspace(low, high if high > low else low + 1, 41)
        kinds = list(outcomes.counts)
        parts = [outcomes.losses[finite & (outcomes.labels == kind)] for kind in kinds]
        axis.hist(parts, bins=edges, stacked=True, label=[f"{kind} ({outcomes.counts[kind]:,})" for kind in kinds])
        axis.legend(fontsize="small")
    axis.set(xlabel="loss", ylabel="starts", xscale="log" if log else "linear", title=f"{len(outcomes):,} starts")


def _function(figure: Any, cell: Any, population: Any, start: int, title: str) -> None:
    x, model = to_host(population._data.x).astype(np.float64), population[start]
    lines = [np.linspace(column.min(), column.max(), MESH) for column in x.T]
    if len(lines) == 1:
        axis = figure.add_subplot(cell)
        axis.plot(lines[0], model.predict(lines[0][:, None])[:, 0])
        axis.set(title=title)
        return
    a, b = np.meshgrid(*lines)
    heights = model.predict(np.stack([a.ravel(), b.ravel()], axis=1))[:, 0].reshape(a.shape)
    axis = figure.add_subplot(cell, projection="3d")
    axis.plot_surface(a, b, heights, cmap="viridis", linewidth=0)
    axis.set_title(title, fontsize="small")
