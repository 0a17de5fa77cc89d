"""`python -m benchmarks`: time fastdense beside other libraries; `--help` tells the rest."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from importlib.util import find_spec

from benchmarks import report
from benchmarks.cases import CASES
from benchmarks.run import LIBRARIES, RESULTS, run, save


def main() -> int:
    """Measure, print the table, write the JSON; exit code 1 when the libraries' results do not agree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Seconds per epoch, library by library.")
    names = [case.name for case in CASES]
    parser.add_argument("--case", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--library", nargs="+", choices=LIBRARIES, default=LIBRARIES, help="default: all installed")
    parser.add_argument("--rows", type=int, help="fewer training rows, for a quick look")
    parser.add_argument("--rounds", type=int, default=5, help="at least so many timed epochs (default: %(default)s)")
    parser.add_argument("--max-rounds", type=int, default=15, help="at most so many (default: %(default)s)")
    parser.add_argument("--spread", type=float, default=0.03, help="stop at this relative MAD (default: %(default)s)")
    parser.add_argument("--name", help="write benchmarks/results/NAME.json, to be committed")
    parser.add_argument("--readme", metavar="NAME", help="measure nothing: put results/NAME.json into README.md")
    options = parser.parse_args()
    if options.readme:
        text = report.readme_text(report.read(RESULTS / f"{options.readme}.json"))
        report.README.write_text(text, encoding="utf-8")
        return 0
    cases = [case for case in CASES if case.name in options.case]
    if options.rows:
        cases = [replace(case, rows=options.rows) for case in cases]
    libraries = [name for name in LIBRARIES if name in options.library]
    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        print(f"not installed, left out: {', '.join(missing)}", file=sys.stderr)
    result = run(
        cases,
        [name for name in libraries if name not in missing],
        options.rounds,
        max(options.rounds, options.max_rounds),
        options.spread,
    )
    print(report.terminal(result))
    if result["machine"]["load_before"] > 0.5:
        print(f"\nThe machine was busy (load {result['machine']['load_before']}): do not trust these times.")
    print(f"\nwritten to {save(result, options.name).relative_to(RESULTS.parents[1])}")
    return 0 if all(case["gate"]["passed"] for case in result["cases"]) else 1


if __name__ == "__main__":
    sys.exit(main())
