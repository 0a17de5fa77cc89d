"""Tables and a critical-difference plot of the results on real tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.tabular.models import TITLES
from benchmarks.tabular.tables import GREATER

Row = dict[str, Any]
# Quantiles of the Studentized range, alpha 0.05, over sqrt(2), for 2, 3, ... models (Demsar, JMLR 7, 2006, table 5).
NEMENYI = (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)


def line(row: Row) -> str:
    """A finished run in a line."""
    head = f"{row['table']:12} {row['model']:16} seed {row['seed']}"
    if "failed" in row:
        return f"{head}: failed: {row['failed']}"
    return f"{head}: {row['metric']} {number(row['test'])} (val {number(row['val'])}), {row['seconds']:.1f} s"


def number(value: float) -> str:
    """Five significant digits."""
    return f"{value:.5g}"


def usable(rows: Sequence[Row]) -> list[Row]:
    """The rows with a result; of runs of the same model, table and seed the last."""
    kept = {(row["model"], row["table"], row["seed"]): row for row in rows if "failed" not in row}
    return list(kept.values())


def means(rows: Sequence[Row], key: str = "test") -> dict[str, dict[str, float]]:
    """Mean over seeds, by table and model."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in usable(rows):
        if key in row:  # a cited result has no seconds
            found.setdefault(row["table"], {}).setdefault(row["model"], []).append(row[key])
    return {table: {model: mean(v) for model, v in models.items()} for table, models in found.items()}


def metrics(rows: Sequence[Row]) -> dict[str, str]:
    """The metric of each table."""
    return {row["table"]: row["metric"] for row in usable(rows)}


def models_of(rows: Sequence[Row]) -> list[str]:
    """The models with results, in the order in which they are defined."""
    there = {row["model"] for row in usable(rows)}
    return [name for name in TITLES if name in there]


def ranks(values: dict[str, float], greater: bool) -> dict[str, float]:
    """Rank of each model, 1 the best; those that are equal share the mean of their ranks."""
    return {
        name: 1.0
        + sum((other > value) if greater else (other < value) for other in values.values())
        + 0.5 * (sum(other == value for other in values.values()) - 1)
        for name, value in values.items()
    }


def mean_ranks(rows: Sequence[Row], models: Sequence[str]) -> tuple[dict[str, float], int]:
    """Mean rank of each model over the tables where all of them have a result, and the number of those tables."""
    by_table, kinds = means(rows), metrics(rows)
    whole = {
        table: {m: values[m] for m in models} for table, values in by_table.items() if set(models) <= values.keys()
    }
    each = [ranks(values, kinds[table] in GREATER) for table, values in whole.items()]
    return {m: mean(one[m] for one in each) if each else math.nan for m in models}, len(each)


def ranks_of_each(rows: Sequence[Row], models: Sequence[str]) -> tuple[dict[str, float], int]:
    """Mean ranks where only one of fastdense's models competes at a time: the first one, for the others' ranks."""
    own = [m for m in models if m.startswith("fastdense")]
    others = [m for m in models if m not in own]
    average, count = mean_ranks(rows, [*own[:1], *others])
    for name in own[1:]:
        average[name] = mean_ranks(rows, [name, *others])[0][name]
    return average, count


def wins(rows: Sequence[Row], first: str, second: str) -> tuple[int, int]:
    """On how many tables the first model is better than the second, of how many."""
    by_table, kinds = means(rows), metrics(rows)
    both = [
        (values[first], values[second], kinds[t]) for t, values in by_table.items() if {first, second} <= set(values)
    ]
    return sum(a > b if kind in GREATER else a < b for a, b, kind in both), len(both)


def table(rows: Sequence[Row]) -> list[list[str]]:
    """The test metric, mean over seeds, as cells of Markdown; the best of a row in bold."""
    models, by_table, kinds = models_of(rows), means(rows), metrics(rows)
    cells = [["table", *(TITLES[m] for m in models)]]
    for name, values in by_table.items():
        best = (max if kinds[name] in GREATER else min)(values.values())
        shown = [
            "–" if m not in values else f"**{number(values[m])}**" if values[m] == best else number(values[m])
            for m in models
        ]
        cells.append([f"{name} ({kinds[name]})", *shown])
    average, count = ranks_of_each(rows, models)
    cells.append([f"mean rank ({count} tables)", *(f"{average[m]:.2f}" if count else "–" for m in models)])
    for key, title in (("seconds", "seconds"), ("cpu_seconds", "processor seconds")):
        spent = means(rows, key)
        sums = {m: sum(values[m] for values in spent.values() if m in values) for m in models}
        cells.append([f"{title}, tables measured", *(f"{sums[m]:.0f}" if sums[m] else "–" for m in models)])
    return cells


def sources(rows: Sequence[Row]) -> list[str]:
    """What was not measured here, and where it is from."""
    found: dict[str, set[str]] = {}
    for row in usable(rows):
        if row.get("source"):
            found.setdefault(row["source"], set()).add(row["model"])
    return [
        f"Cited, not measured here: {', '.join(TITLES[m] for m in TITLES if m in models)} ({source})."
        for source, models in found.items()
    ]


def spread(rows: Sequence[Row]) -> list[str]:
    """Standard deviation over seeds, for what has several."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in usable(rows):
        found.setdefault((row["table"], row["model"]), []).append(row["test"])
    return [
        f"{name}, {TITLES[model]}: {number(mean(v))} ± {stdev(v):.2g} over {len(v)} seeds"
        for (name, model), v in found.items()
        if len(v) > 1
    ]


def text(rows: Sequence[Row]) -> str:
    """Everything for a terminal, in Markdown."""
    if not usable(rows):
        return "no results"
    header, *body = table(rows)
    lines = ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *body)]
    models = models_of(rows)
    for mine in (m for m in models if m.startswith("fastdense")):
        counted = [(TITLES[m], *wins(rows, mine, m)) for m in models if not m.startswith("fastdense")]
        better = ", ".join(f"{title} on {won} of {of}" for title, won, of in counted)
        lines += ["", f"{TITLES[mine]} is better than {better}."]
    return "\n".join([*lines, "", *spread(rows), *sources(rows)]).rstrip()


def critical_difference(models: int, count: int) -> float:
    """Mean ranks that differ by less do not differ significantly at the 5 % level (Nemenyi's test)."""
    return NEMENYI[models - 2] * math.sqrt(models * (models + 1) / (6 * count))


def draw(rows: Sequence[Row], path: Path) -> None:
    """Critical-difference plot: mean ranks on a line, bars join models that do not differ significantly."""
    from matplotlib.figure import Figure  # no pyplot: no window, no global state

    own = [m for m in models_of(rows) if m.startswith("fastdense")][1:]
    models = [m for m in models_of(rows) if m not in own]
    average, count = mean_ranks(rows, models)
    if count < 2 or not 2 <= len(models) <= len(NEMENYI) + 1:
        return
    apart = critical_difference(len(models), count)
    order = sorted(models, key=average.__getitem__)
    figure = Figure(figsize=(8, 1.6 + 0.28 * len(models)), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0.8, len(models) + 0.2), ylim=(-(len(models) + 1) // 2 - 0.3, 1.2), yticks=[])
    axes.xaxis.tick_top()
    axes.spines[["left", "right", "bottom"]].set_visible(False)
    half = (len(order) + 1) // 2
    for i, name in enumerate(order):
        left = i < half
        level = -1.0 - (i if left else len(order) - 1 - i) * 1.0
        end = 0.8 if left else len(models) + 0.2
        axes.plot([average[name], average[name], end], [1.2, level, level], color="black", linewidth=0.8)
        axes.text(end, level + 0.08, f"{TITLES[name]} ({average[name]:.2f})", ha="left" if left else "right",
                  va="bottom", fontsize="small")  # fmt: skip
    height, last = 0.8, -1
    for i, name in enumerate(order):
        j = max(k for k, other in enumerate(order) if average[other] - average[name] <= apart)
        if j > i and j > last:
            axes.plot([average[name] - 0.03, average[order[j]] + 0.03], [height, height], color="black", linewidth=3)
            height, last = height - 0.35, j
    axes.set_title(f"mean rank on {count} tables (critical difference {apart:.2f})", fontsize="small")
    figure.savefig(path, dpi=110)
