"""`plots.history`: learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import items, number, shorten, suggestion
from ..arrays import Array, fail
from .base import LINES, axes_or_new, only_one, pyplot, spans_decades

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curves = dict[str, Array]  # (epochs, runs) by "training" and "validation"
_NAMES = ("training", "validation")
FEW = 30  # epochs, which are marked each


def history(
    history: Any,
    keys: Sequence[str] | None = None,
    *,
    log: bool | None = None,
    bands: Sequence[float] = (0.5, 0.9),
    ax: Axes | None = None,
) -> Figure | Axes:
    """Draw learning curves: the loss and each metric over the epochs, training and validation in one panel.

    Of several runs, or of a population, the median is drawn, with bands that hold given fractions of the runs.

    Parameters
    ----------
    history : History, Population, dict of lists, or list of these
        Of one `fit`; of `fit_many`; or of several runs of one net.
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
    first, recorded = _recorded(where, history)
    given = items(f"{where}: bands", bands, "a list of fractions, e.g. [0.5]")
    fractions = sorted((number(f"{where}: bands", one, above=0, below=1) for one in given), reverse=True)
    chosen, last = chosen_keys(where, recorded, keys), last_epoch(first, recorded)
    if ax is not None:
        only_one(where, ax, chosen, "keys=")
        axis = axes_or_new(where, ax, (0, 0))
        draw_panel(axis, chosen[0], recorded[chosen[0]], last, fractions, log)
        return axis
    single = all(values.shape[1] == 1 for key in chosen for values in recorded[key].values())
    figure: Figure
    figure, axes = pyplot(where).subplots(
        1, len(chosen), figsize=(4.8 * len(chosen), 3.6 if single else 4.5), squeeze=False, layout="constrained"
    )
    for axis, key in zip(axes[0], chosen, strict=True):
        draw_panel(axis, key, recorded[key], last, fractions, log)
    return figure


def recorded_curves(columns: Mapping[str, Sequence[Any]]) -> dict[str, Curves]:
    """The curves of one run, by key: training, and validation where there is one; of arrays of numbers, each number."""
    found: dict[str, Curves] = {}
    for key, values in columns.items():
        name, kind = (key[4:], "validation") if key.startswith("val_") else (key, "training")
        numbers = np.array(values, dtype=np.float64).reshape(len(values), -1)
        for i, column in enumerate(numbers.T if len(values) else [numbers]):
            found.setdefault(name if numbers.shape[1] <= 1 else f"{name}[{i}]", {})[kind] = column.reshape(-1, 1)
    return {name: dict(sorted(kinds.items())) for name, kinds in found.items()}


def last_epoch(first: int, curves: Mapping[str, Curves]) -> int:
    """The number of the last epoch of any curve; all of them end there."""
    return first - 1 + max((len(values) for kinds in curves.values() for values in kinds.values()), default=0)


def _recorded(where: str, given: Any) -> tuple[int, dict[str, Curves]]:
    """Number of the first epoch, from 1, and the curves by key."""
    if isinstance(given, Mapping):
        return 1, recorded_curves(given)
    columns = getattr(given, "history", None)
    if isinstance(columns, Mapping):
        epochs = list(getattr(given, "epoch", ()))
        return (epochs[0] + 1 if epochs else 1), recorded_curves(columns)
    if isinstance(columns, np.ndarray):
        curves: dict[str, Curves] = {"loss": {"training": columns}}
        if given.val_history is not None:
            curves["loss"]["validation"] = given.val_history
        curves.update({name: {"validation": values} for name, values in given.val_metrics.items()})
        return 1, curves
    if isinstance(given, Sequence) and not isinstance(given, str) and given:
        runs = [_recorded(where, one) for one in given]
        return min(first for first, _ in runs), _joined([curves for _, curves in runs])
    needed = "what fit or fit_many returned is needed, or a list of histories"
    raise TypeError(f"{where}: history is {shorten(given)}; {needed}")


def _joined(runs: Sequence[dict[str, Curves]]) -> dict[str, Curves]:
    """The curves of several runs side by side; NaN where one is shorter."""
    joined: dict[str, Curves] = {}
    for key in dict.fromkeys(key for run in runs for key in run):
        for kind in _NAMES:
            each = [run[key][kind] for run in runs if kind in run.get(key, {})]
            if each:
                length = max(len(one) for one in each)
                padded = [np.pad(one, ((0, length - len(one)), (0, 0)), constant_values=np.nan) for one in each]
                joined.setdefault(key, {})[kind] = np.concatenate(padded, axis=1)
    return joined


def chosen_keys(where: str, recorded: Mapping[str, Curves], keys: Sequence[str] | None) -> list[str]:
    """The keys to draw, all of them by default."""
    known = [key for key, curves in recorded.items() if any(len(values) for values in curves.values())]
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
    axis: Any, key: str, curves: Curves, last: int, bands: Sequence[float] = (), log: bool | None = None
) -> None:
    """One panel: lines, of several runs medians, and the widest band first."""
    finite = np.concatenate([values[np.isfinite(values)] for values in curves.values()])
    for kind, values in curves.items():
        style, epochs, runs = LINES[_NAMES.index(kind)], last + 1 + np.arange(-len(values), 0), values.shape[1]
        label = kind if runs == 1 else f"{kind}, median of {runs}"
        middle = values[:, 0] if runs == 1 else _quantile(values, 0.5)
        if runs > 1:
            for i, fraction in enumerate(bands):
                low, high = _quantile(values, (1 - fraction) / 2), _quantile(values, (1 + fraction) / 2)
                _band(axis, epochs, low, high, kind, f"{kind}, {fraction:.0%} of the runs", i)
        marker = {"training": ".", "validation": "x"}[kind] if len(values) < FEW else ""
        axis.plot(epochs, middle, label=label, marker=marker, **style)
    axis.set(xlabel="epoch", title=key, ylabel=key)
    if spans_decades(finite) if log is None else log:
        axis.set_yscale("log")
    axis.xaxis.get_major_locator().set_params(integer=True)
    if any(values.shape[1] > 1 for values in curves.values()):  # below: bands leave no room
        axis.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)
    else:
        axis.legend(fontsize="small")


def _band(axis: Any, epochs: Array, low: Array, high: Array, kind: str, label: str, i: int) -> None:
    """Training: grey, the narrower the darker; validation: hatched, so that both are seen where they overlap."""
    if kind == "training":
        axis.fill_between(epochs, low, high, color=str(max(0.5, 0.85 - 0.2 * i)), linewidth=0, label=label, zorder=0.5)
    else:
        axis.fill_between(epochs, low, high, facecolor="none", edgecolor=LINES[1]["color"], linewidth=0.5,
                          hatch=("//", "xx", "++")[min(i, 2)], label=label, alpha=0.6, zorder=1)  # fmt: skip


def _quantile(values: Array, q: float) -> Array:
    """Of each epoch, of the runs that lasted until it; NaN if none did."""
    found = np.full(len(values), np.nan)
    there = np.isfinite(values).any(axis=1)
    found[there] = np.nanquantile(np.where(np.isfinite(values[there]), values[there], np.nan), q, axis=1)
    return found
