"""Pictures of results, written beside their JSON; needs matplotlib."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.report import TITLES, caption, measured, ratios

Result = dict[str, Any]


def have_matplotlib() -> bool:
    """Whether there will be pictures."""
    return find_spec("matplotlib") is not None


def draw_cases(result: Result, path: Path) -> None:
    """Bars: how many times as fast as each library fastdense is, on a log scale; a tick marks the goal."""
    from matplotlib.figure import Figure  # no pyplot: no window, no global state

    cases = [case for case in result["cases"] if measured(case)][::-1]
    names = [name for name in TITLES if any(name in ratios(case) for case in cases)]
    figure = Figure(figsize=(9, 1.5 + 0.6 * len(cases)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / max(1, len(names))
    for i, name in enumerate(names):
        found = [(y, ratios(case)[name]) for y, case in enumerate(cases) if name in ratios(case)]
        places = [y + 0.4 - (i + 0.5) * height for y, _ in found]
        axes.barh(places, [f.value - 1 for _, f in found], height, left=1, label=TITLES[name])
        for place, (_, f) in zip(places, found, strict=True):
            if f.goal is not None:
                axes.plot([f.goal] * 2, [place - height / 2, place + height / 2], color="black")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set(xscale="log", xlabel="times as fast as ... (black: the goal)")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(cases)), [case["name"] for case in cases])
    axes.legend(fontsize="small")
    axes.grid(axis="x", which="both", alpha=0.3)
    figure.suptitle(caption(result).split("; ")[1], fontsize="x-small", wrap=True)
    figure.savefig(path, dpi=110)


def draw_curves(result: Result, path: Path) -> None:
    """One panel per curve, one line per library and number of threads."""
    from matplotlib.figure import Figure

    count = len(result["curves"])
    figure = Figure(figsize=(5.5 * count, 4), layout="constrained")
    for axes, curve in zip(figure.subplots(1, count, squeeze=False).flat, result["curves"], strict=True):
        for line in curve["lines"]:
            xs = [point["value"] for point in line["points"]]
            ys = [1e-9 / point["seconds_per_flop"] for point in line["points"]]
            axes.plot(xs, ys, "o-", markersize=3, label=f"{TITLES[line['library']]}, {line['threads']} thread(s)")
        axes.set(xscale="log", yscale="log", xlabel=curve["name"], ylabel="GFLOP/s", title=curve["net"])
        axes.grid(which="both", alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=110)
