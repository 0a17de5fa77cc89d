"""`plots.history`: learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import items, number, shorten, suggestion
from ..arrays import Array, fail
from .base import HATCHES, LINES, axes_or_new, only_one, pyplot, spans_decades

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 30  # epochs, which are marked each
MARKS = 8  # on a longer curve of validation


@dataclass(frozen=True)
class Curve:
    """A line of a panel, or the median and the bands of several runs.

    Attributes
    ----------
    label : str
    epochs : ndarray of shape (epochs,)
        Numbers from 1.
    values : ndarray of shape (epochs, runs)
        NaN where a run was shorter.
    line : int
        Which of the `LINES` and of the bands it has.
    validation : bool
    """

    label: str
    epochs: Array
    values: Array
    line: int
    validation: bool

    @property
    def runs(self) -> int:
        """How many."""
        return int(self.values.shape[1])


Panels = dict[str, list[Curve]]  # by key


def history(
    history: Any,
    keys: Sequence[str] | None = None,
    *,
    log: bool | None = None,
    bands: Sequence[float] = (0.5, 0.9),
    ax: Axes | None = None,
) -> Figure | Axes:
    """Draw learning curves: the loss and each metric over the epochs, training and validation in one panel.

    Of several runs, or of a population, the median is drawn, with bands that hold given fractions of the runs. A dict
    of such compares them, by its names.

    Parameters
    ----------
    history : History, Population, dict of lists, list of these, or dict of these
        Of one `fit`; of `fit_many`; of several runs of one net; or of several nets, by name.
    keys : list of str, optional
        What to draw, e.g. ["loss"]; everything by default. Validation is drawn beside the training.
    log : bool, optional
        Logarithmic scale; by default where all values are positive and span more than a factor of 10.
    bands : sequence of float, default (0.5, 0.9)
        Fractions of the runs that are in the bands about the median, between quantiles: 0.5 is from the lower to the
        upper quartile. Empty for none. Runs that were stopped count as long as they lasted.
    ax : Axes, optional
        Where to draw; for one key.

    Returns
    -------
    Figure or Axes
        The Axes, if `ax` is given; else the Figure with a panel for each key.

    Raises
    ------
    ValueError
        If there is no such key, nothing was recorded, or a band is no fraction between 0 and 1.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np, fastdense as fd
    >>> x = np.random.default_rng(0).normal(size=(64, 2))
    >>> model = fd.Model([fd.Dense(8, "tanh"), fd.Dense(1)], inputs=2)
    >>> model.compile("adam", "mse")
    >>> population = fd.fit_many(model, x, x[:, :1] ** 2, starts=20, epochs=30, verbose=0)
    >>> figure = fd.plots.history(population, bands=[0.8])
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['training, median of 20']
    >>> figure = fd.plots.history({"many": population, "one": model.fit(x, x[:, :1] ** 2, epochs=9, verbose=0)})
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['many, median of 20', 'one']
    """
    drawn: Figure | Axes = draw_history("plots.history", history, keys, log, bands, ax)
    return drawn


def draw_history(
    where: str,
    history: Any,
    keys: Sequence[str] | None = None,
    log: bool | None = None,
    bands: Sequence[float] = (),
    ax: Any = None,
) -> Any:
    """As `history`; `where` is the caller's name in messages."""
    panels = _panels(where, history)
    given = items(f"{where}: bands", bands, "a list of fractions, e.g. [0.5]")
    fractions = sorted((number(f"{where}: bands", one, above=0, below=1) for one in given), reverse=True)
    chosen = chosen_keys(where, panels, keys)
    if ax is not None:
        only_one(where, ax, chosen, "keys=")
        axis = axes_or_new(where, ax, (0, 0))
        draw_panel(axis, chosen[0], panels[chosen[0]], fractions, log)
        return axis
    banded = fractions and any(curve.runs > 1 for key in chosen for curve in panels[key])
    figure: Figure
    figure, axes = pyplot(where).subplots(
        1, len(chosen), figsize=(4.8 * len(chosen), 4.5 if banded else 3.6), squeeze=False, layout="constrained"
    )
    for axis, key in zip(axes[0], chosen, strict=True):
        draw_panel(axis, key, panels[key], fractions, log)
    return figure


def panels_of(columns: Mapping[str, Sequence[Any]], first: int = 1) -> Panels:
    """The curves of one run, by key: training, and validation where there is one; of arrays of numbers, each number.

    Parameters
    ----------
    columns : mapping of lists
        As `History.history`.
    first : int
        Number of the first epoch. Curves that are shorter than others end where these do.
    """
    last = first + max((len(values) for values in columns.values()), default=0)
    found: Panels = {}
    for key, values in columns.items():
        validation = key.startswith("val_")
        numbers = np.array(values, dtype=np.float64).reshape(len(values), -1)
        for i, column in enumerate(numbers.T if len(values) else []):
            name = key.removeprefix("val_") + (f"[{i}]" if numbers.shape[1] > 1 else "")
            found.setdefault(name, []).append(_curve(validation, column[:, None], last - len(column)))
    return {name: sorted(curves, key=lambda curve: curve.validation) for name, curves in found.items()}


def _curve(validation: bool, values: Array, first: int = 1) -> Curve:
    label = "validation" if validation else "training"
    return Curve(label, first + np.arange(len(values)), values, int(validation), validation)


def _panels(where: str, given: Any) -> Panels:
    """The curves of what the caller gave, by key."""
    if isinstance(given, Mapping):
        if not any(isinstance(one, Mapping) or hasattr(one, "history") or _is_runs(one) for one in given.values()):
            return panels_of(given)
        return _compared({str(name): _panels(where, one) for name, one in given.items()})
    columns = getattr(given, "history", None)
    if isinstance(columns, Mapping):
        epochs = list(getattr(given, "epoch", ()))
        return panels_of(columns, epochs[0] + 1 if epochs else 1)
    if isinstance(columns, np.ndarray):
        panels = {"loss": [_curve(False, columns)]}
        if given.val_history is not None:
            panels["loss"].append(_curve(True, given.val_history))
        return {**panels, **{name: [_curve(True, values)] for name, values in given.val_metrics.items()}}
    if _is_runs(given):
        return _joined([_panels(where, one) for one in given])
    needed = "what fit or fit_many returned is needed, or a list or a dict of such"
    raise TypeError(f"{where}: history is {shorten(given)}; {needed}")


def _is_runs(given: Any) -> bool:
    """Whether it is a list of histories."""
    return isinstance(given, (list, tuple)) and bool(given) and all(
        isinstance(one, Mapping) or hasattr(one, "history") for one in given)  # fmt: skip


def _joined(runs: Sequence[Panels]) -> Panels:
    """The curves of several runs side by side; NaN where one is shorter."""
    joined: Panels = {}
    for key in dict.fromkeys(key for run in runs for key in run):
        for validation in (False, True):
            each = [curve for run in runs for curve in run.get(key, []) if curve.validation == validation]
            if each:
                first, last = (int(end) for end in (min(c.epochs[0] for c in each), max(c.epochs[-1] for c in each)))
                padded = [
                    np.pad(c.values, ((c.epochs[0] - first, last - c.epochs[-1]), (0, 0)), constant_values=np.nan)
                    for c in each
                ]
                joined.setdefault(key, []).append(_curve(validation, np.concatenate(padded, axis=1), first))
    return joined


def _compared(named: Mapping[str, Panels]) -> Panels:
    """The curves of several nets in the same panels, with a line for each name."""
    found: Panels = {}
    for line, (name, panels) in enumerate(named.items()):
        for key, curves in panels.items():
            for curve in curves:
                label = f"{name}, validation" if curve.validation and len(curves) > 1 else name
                found.setdefault(key, []).append(replace(curve, label=label, line=line))
    return found


def chosen_keys(where: str, recorded: Mapping[str, Sequence[Curve]], keys: Sequence[str] | None) -> list[str]:
    """The keys to draw, all of them by default."""
    known = [key for key, curves in recorded.items() if any(len(curve.values) for curve in curves)]
    chosen = known if keys is None else items(f"{where}: keys", keys, "a list of names, e.g. ['loss']")
    for key in chosen:
        if key not in known:
            held = ", ".join(known) or "no epoch yet"
            if str(key).startswith("val_") and str(key)[4:] in known:
                fail(where, f"{key!r} is drawn beside its training values", f"ask for one of {held}")
            near = suggestion(str(key), known)
            fail(where, f"{shorten(key)} is not in the history", f"it holds {held}{near and '.' + near}")
    if not chosen:
        if known:
            fail(where, "keys is empty", "name what to draw, e.g. ['loss']")
        fail(where, "no epoch was recorded", "train for at least one epoch first")
    return chosen


def draw_panel(
    axis: Any, key: str, curves: Sequence[Curve], bands: Sequence[float] = (), log: bool | None = None
) -> None:
    """One panel: lines, of several runs medians, and the widest band first."""
    finite = np.concatenate([curve.values[np.isfinite(curve.values)] for curve in curves])
    for curve in curves:
        values, runs = curve.values, curve.runs
        middle = values[:, 0] if runs == 1 else _quantile(values, 0.5)
        for i, fraction in enumerate(bands if runs > 1 else ()):
            low, high = _quantile(values, (1 - fraction) / 2), _quantile(values, (1 + fraction) / 2)
            _band(axis, curve, low, high, f"{curve.label}, {fraction:.0%} of the runs", i)
        marker = "" if len(values) >= FEW and not curve.validation else "x" if curve.validation else "."
        axis.plot(curve.epochs, middle, label=curve.label if runs == 1 else f"{curve.label}, median of {runs}",
                  marker=marker, markevery=max(1, len(values) // MARKS) if len(values) >= FEW else 1,
                  **LINES[curve.line % len(LINES)])  # fmt: skip
    axis.set(xlabel="epoch", title=key, ylabel=key)
    if spans_decades(finite) if log is None else log:
        axis.set_yscale("log")
    axis.xaxis.get_major_locator().set_params(integer=True)
    if bands and any(curve.runs > 1 for curve in curves):  # below: bands leave no room
        axis.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)
    else:
        axis.legend(fontsize="small")


def _band(axis: Any, curve: Curve, low: Array, high: Array, label: str, i: int) -> None:
    """Of the first line grey, the narrower the darker; of others hatched, so that all are seen where they overlap."""
    if curve.line == 0:
        tone = str(max(0.5, 0.85 - 0.2 * i))
        axis.fill_between(curve.epochs, low, high, color=tone, linewidth=0, label=label, zorder=0.5)
        return
    hatch = HATCHES[2 + (2 * (curve.line - 1) + min(i, 1)) % (len(HATCHES) - 2)]
    axis.fill_between(curve.epochs, low, high, facecolor="none", edgecolor=LINES[curve.line % len(LINES)]["color"],
                      linewidth=0.5, hatch=hatch, label=label, alpha=0.6, zorder=1)  # fmt: skip


def _quantile(values: Array, q: float) -> Array:
    """Of each epoch, of the runs that lasted until it; NaN if none did."""
    found = np.full(len(values), np.nan)
    there = np.isfinite(values).any(axis=1)
    found[there] = np.nanquantile(np.where(np.isfinite(values[there]), values[there], np.nan), q, axis=1)
    return found
