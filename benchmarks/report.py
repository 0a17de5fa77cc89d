"""Convert a result file to a table, and update the one in README.md."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import BUSY, DISTURBED

Result = dict[str, Any]
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
TITLES = {
    "fastdense": "fastdense",
    "torch": "PyTorch",
    "jax": "JAX",
    "numpy": "NumPy",
    "keras": "Keras",
    "sklearn": "scikit-learn",
    "onnxruntime": "onnxruntime",
}
MAIN = ("torch", "jax")  # have columns of their own
USUAL = {"hidden": "relu", "dtype": "float32"}  # not printed


@dataclass(frozen=True)
class Figure:
    """A number of a case that may have a goal: how many times as fast as a library, or the fraction of sgemm's rate."""

    value: float
    goal: float | None = None

    @property
    def reached(self) -> bool:
        return self.goal is None or self.value >= self.goal


def measured(case: Result) -> bool:
    """Whether fastdense could do the case at all."""
    return "libraries" in case


def ratios(case: Result) -> dict[str, Figure]:
    """Speedup over each other library."""
    libraries, goals = case["libraries"], case.get("goals", {})
    mine = libraries["fastdense"]["median"]
    return {
        name: Figure(libraries[name]["median"] / mine, goals.get(name))
        for name in TITLES
        if name in libraries and name != "fastdense"
    }


def share(case: Result) -> float:
    """Rate of the matrix products over that of sgemm."""
    return float(case["gflop_per_epoch"] / case["libraries"]["fastdense"]["median"] / case["sgemm_gflops"])


def shares(result: Result) -> list[Figure | None]:
    """That fraction for every case; the goal "rising" is the fraction of the case before, if that has the same goal."""
    found: list[Figure | None] = []
    before: float | None = None
    for case in result["cases"]:
        goal = case.get("goals", {}).get("limit")
        if not measured(case) or case.get("kind") == "predict":
            found.append(None)
            before = None
            continue
        value = share(case)
        found.append(Figure(value, before if goal == "rising" else goal))
        before = value if goal == "rising" else None
    return found


def of_limit(case: Result) -> Figure | None:
    """The limit's time over the measured one, where the result has a limit (those of old versions have none)."""
    if not measured(case) or "limit" not in case:
        return None
    return Figure(case["limit"]["seconds"] / case["libraries"]["fastdense"]["median"], case["limit"]["goal"])


def _net(case: Result) -> str:
    widths = case["net"]
    if len(widths) > 3 and len(set(widths)) == 1:
        return f"{widths[0]}, {len(widths) - 1} layers"
    return " → ".join(map(str, widths))


def _training(case: Result) -> str:
    if case.get("kind") == "predict":
        return "predict, one row"
    training = case["training"]
    batch = training["batch_size"]
    rows = f"{case['rows']:,} rows".replace(",", " ")
    words = [rows, "full batch" if batch >= case["rows"] else f"batch {batch}", training["optimizer"], training["loss"]]
    words += [training[key] for key, usual in USUAL.items() if training.get(key, usual) != usual]
    return ", ".join(words)


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 0.995:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _time(library: Result) -> str:
    return f"{duration(library['median'])} ± {100 * library['mad'] / library['median']:.0f} %"


def times(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def rows(result: Result) -> list[list[str]]:
    """The table as text cells, header first."""
    table = [["net", "training", "fastdense", "× PyTorch", "× JAX", "× others", "of sgemm's rate", "of the limit"]]
    columns = len(table[0]) - (not any("limit" in case for case in result["cases"]))  # old results have none
    for case, part in zip(result["cases"], shares(result), strict=True):
        head = [_net(case), _training(case)]
        if not measured(case):
            table.append([*head, "not available", "", "", "", "", ""])
            continue
        faster = ratios(case)
        cells = [with_goal(times(faster[name].value), faster[name], "") if name in faster else "–" for name in MAIN]
        others = [
            f"{TITLES[name]} {with_goal(times(figure.value), figure, '')}"
            for name, figure in faster.items()
            if name not in MAIN
        ]
        note = "" if case["gate"]["passed"] else " (results differ!)"
        rate = with_goal(percent(part.value), part, " %") if part else "–"
        bound = with_goal(percent(found.value), found, " %") if (found := of_limit(case)) else "–"
        mine = _time(case["libraries"]["fastdense"]) + note
        table.append([*head, mine, *cells, ", ".join(others) or "–", rate, bound])
    return [row[:columns] for row in table]


def percent(value: float) -> str:
    """A fraction in per cent, without the sign."""
    return f"{100 * value:.0f}" if value >= 0.0095 else f"{100 * value:.1g}"


def with_goal(value: str, figure: Figure, unit: str) -> str:
    """The value, and its goal with the verdict."""
    if figure.goal is None:
        return value + unit
    goal = f"{percent(figure.goal)}{unit}" if unit else f"{figure.goal:g}"
    return f"{value}{unit} (≥ {goal})" if figure.reached else f"{value}{unit} (missed {goal})"


def aligned(table: list[list[str]]) -> list[str]:
    """Lines with columns of one width and a rule below the header."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    lines.insert(1, "-" * max(map(len, lines)))
    return lines


def terminal(result: Result) -> str:
    """The table for a terminal, and everything that the reader should know about it."""
    return "\n".join([caption(result), "", *aligned(rows(result)), *(["", *found] if (found := notes(result)) else [])])


def notes(result: Result) -> list[str]:
    """What was left out, which rounds were disturbed, and how many goals were reached."""
    lines: list[str] = []
    reached: list[bool] = []
    for case, part in zip(result["cases"], shares(result), strict=True):
        for name, reason in case.get("unavailable", {}).items():
            lines.append(f"{case['name']}: {TITLES[name]} left out: {reason}")
        if not measured(case):
            continue
        figures = [*ratios(case).values(), *(figure for figure in (part, of_limit(case)) if figure)]
        reached += [figure.reached for figure in figures if figure.goal is not None]
        if not case["gate"]["passed"]:
            lines.append(f"{case['name']}: results differ by {case['gate']['difference']}: its times mean nothing.")
        rates = case.get("sgemm_by_round", [])
        slow = [i + 1 for i, rate in enumerate(rates) if rate < DISTURBED * max(rates)]
        if slow:
            spread = f"{min(rates):.0f} to {max(rates):.0f} GFLOP/s"
            lines.append(f"{case['name']}: rounds {', '.join(map(str, slow))} were disturbed (sgemm {spread})")
    if reached:
        lines.append(f"{sum(reached)} of {len(reached)} goals reached.")
    if result["machine"]["load_before"] > BUSY:
        lines.append(f"The machine was busy (load {result['machine']['load_before']}): do not trust these times.")
    return lines


def caption(result: Result) -> str:
    """One sentence about what was measured where."""
    machine, versions = result["machine"], result["versions"]
    used = {name for case in result["cases"] for name in case.get("libraries", {})}
    libraries = [
        f"{title} {versions[name].split('+')[0]}" for name, title in TITLES.items() if name in used and name in versions
    ]
    goals = ", with the goal in brackets" if any(case.get("goals") for case in result["cases"]) else ""
    return (
        "Time per epoch, float32, median ± median absolute deviation, and the speedup of fastdense over each baseline"
        f"{goals}; {machine['processor']}, {machine['processors']} processors, "
        f"{', '.join(libraries)}, commit {result['commit']}, {result['date'][:10]}."
    )


def without_goals(result: Result) -> Result:
    """The result as users want it: what was measured. Goals and misses are for developers."""
    cases = [{key: value for key, value in case.items() if key != "goals"} for case in result["cases"]]
    cases = [{**case, "limit": {**case["limit"], "goal": None}} if "limit" in case else case for case in cases]
    return {**result, "cases": cases}


def markdown(result: Result) -> str:
    """The table for a document."""
    header, *body = rows(result)
    lines = [header, ["---"] * len(header), *body]
    return "\n".join([textwrap.fill(caption(result), 120), "", *("| " + " | ".join(row) + " |" for row in lines)])


def with_notes(name: str, result: Result) -> str:
    """A document of the result with goals, misses and what was disturbed."""
    lines = [f"- {textwrap.fill(note, 118, subsequent_indent='  ')}" for note in notes(result)]
    return "\n".join([f"# {name}", "", markdown(result), "", *lines, ""])


def read(path: Path) -> Result:
    """A result file."""
    result: Result = json.loads(path.read_text(encoding="utf-8"))
    return result


def readme_text(result: Result) -> str:
    """README.md with its table made from this result."""
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{markdown(without_goals(result))}\n{END}{after}"
