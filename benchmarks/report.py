"""Turn a result file into a table, and keep the one in README.md equal to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Result = dict[str, Any]
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
TITLES = {"fastdense": "fastdense", "torch": "PyTorch", "numpy": "NumPy"}


def _net(case: Result) -> str:
    widths = case["net"]
    if len(widths) > 3 and len(set(widths)) == 1:
        return f"{widths[0]}, {len(widths) - 1} layers"
    return " → ".join(map(str, widths))


def _time(library: Result) -> str:
    return f"{library['median']:.3g} ± {100 * library['mad'] / library['median']:.0f} %"


def rows(result: Result) -> list[list[str]]:
    """The table as text cells, header first."""
    names = [name for name in TITLES if any(name in case["libraries"] for case in result["cases"])]
    table = [["net", "training", *(f"{TITLES[name]}, s" for name in names), "times as fast as", "of sgemm's rate"]]
    for case in result["cases"]:
        libraries = case["libraries"]
        mine = libraries["fastdense"]["median"]
        cells = [_time(libraries[name]) if name in libraries else "–" for name in names]
        others = [name for name in names if name in libraries and name != "fastdense"]
        ratios = [f"{TITLES[name]} {libraries[name]['median'] / mine:.2f}" for name in others]
        share = case["gflop_per_epoch"] / mine / case["sgemm_gflops"]
        training = f"{case['training']['loss']}, {case['training']['optimizer']}, {case['training']['batch_size']}"
        note = "" if case["gate"]["passed"] else " (results differ!)"
        table.append([_net(case), training, *cells, ", ".join(ratios) + note, f"{100 * share:.0f} %"])
    return table


def terminal(result: Result) -> str:
    """The table for a terminal."""
    table = rows(result)
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join([caption(result), "", *lines])


def caption(result: Result) -> str:
    """One sentence about what was measured where."""
    machine, versions, first = result["machine"], result["versions"], result["cases"][0]
    torch = f", PyTorch {versions['torch'].split('+')[0]}" if versions["torch"] else ""
    return (
        f"Seconds per epoch of {first['rows']} rows ({first['data']}), float32, median ± median deviation; "
        f"{machine['processor']}, {machine['processors']} processors, NumPy {versions['numpy']}{torch}, "
        f"commit {result['commit']}, {result['date'][:10]}."
    )


def markdown(result: Result) -> str:
    """The table for README.md."""
    header, *body = rows(result)
    lines = [header, ["---"] * len(header), *body]
    return "\n".join([caption(result), "", *("| " + " | ".join(row) + " |" for row in lines)])


def read(path: Path) -> Result:
    """A result file."""
    result: Result = json.loads(path.read_text(encoding="utf-8"))
    return result


def readme_text(result: Result) -> str:
    """README.md with its table made from this result."""
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{markdown(result)}\n{END}{after}"
