"""The suite on the CPU: time fastdense and other libraries."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from benchmarks import curves, pictures, report
from benchmarks.cases import CASES
from benchmarks.machine import use_processors
from benchmarks.run import LIBRARIES, RESULTS, Plan, run, save


def parser() -> argparse.ArgumentParser:
    """The options."""
    plan = Plan()
    found = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time per epoch, library by library.",
        epilog="gpu, gpu-session, gpu-calibrate, gpu-accesses, tabular, as the first word, have a --help of their own.",
    )
    names = [case.name for case in CASES]
    found.add_argument("--case", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    found.add_argument("--library", nargs="+", choices=LIBRARIES, help="default: all installed (curves: fastdense)")
    found.add_argument("--threads", type=int, help="use so many processors (default: all)")
    found.add_argument("--rows", type=int, help="at most so many training rows, for a quick check")
    found.add_argument("--rounds", type=int, default=plan.rounds, help="at least so many (default: %(default)s)")
    found.add_argument("--max-rounds", type=int, default=plan.most, help="at most so many (default: %(default)s)")
    found.add_argument(
        "--seconds", type=float, default=plan.seconds, help="per case, but for the least number of rounds"
    )
    found.add_argument("--spread", type=float, default=plan.spread, help="stop at this relative MAD (%(default)s)")
    found.add_argument("--turn", type=float, default=plan.turn, help="least seconds of a turn (default: %(default)s)")
    found.add_argument("--curves", action="store_true", help="width, batch, depth and rows instead of the cases")
    found.add_argument("--curve", nargs="+", choices=curves.CURVES, help="only these curves")
    found.add_argument("--name", help="write benchmarks/results/NAME.json, to be committed")
    found.add_argument(
        "--readme",
        metavar="NAME",
        help="measure nothing: results/NAME.json as the table of README.md, and with goals as results/NAME.md",
    )
    return found


def installed(libraries: list[str]) -> list[str]:
    """Those that are installed; the others are reported."""
    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        print(f"not installed, left out: {', '.join(missing)}", file=sys.stderr)
    return [name for name in libraries if name not in missing]


def report_path(path: Path) -> None:
    """Where a file was written."""
    print(f"written to {path.relative_to(RESULTS.parents[1])}")


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table, write JSON and picture; exit code 1 when the libraries' results do not agree."""
    options = parser().parse_args(arguments)
    if options.readme:
        result = report.read(RESULTS / f"{options.readme}.json")
        report.README.write_text(report.readme_text(result), encoding="utf-8")
        (RESULTS / f"{options.readme}.md").write_text(report.with_notes(options.readme, result), encoding="utf-8")
        return 0
    if options.threads:
        use_processors(options.threads)
    if options.curves or options.curve:
        libraries = installed(options.library or ["fastdense"])
        result = curves.run(options.curve or list(curves.CURVES), libraries, options.turn, options.rows)
        print(curves.text(result))
        path, draw = save(result, options.name, "-curves"), pictures.draw_curves
    else:
        cases = [case for case in CASES if case.name in options.case]
        if options.rows:
            cases = [replace(case, rows=min(case.rows, options.rows)) for case in cases]
        libraries = installed([name for name in LIBRARIES if name in (options.library or LIBRARIES)])
        most = max(options.rounds, options.max_rounds)
        plan = Plan(options.rounds, most, options.seconds, options.spread, options.turn)
        result = run(cases, libraries, plan)
        print(report.terminal(result))
        path, draw = save(result, options.name), pictures.draw_cases
    report_path(path)
    if pictures.have_matplotlib():
        draw(result, path.with_suffix(".png"))
        report_path(path.with_suffix(".png"))
    return 0 if all(case["gate"]["passed"] for case in result.get("cases", []) if "gate" in case) else 1
