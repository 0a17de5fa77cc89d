"""`python -m benchmarks tabular`: models on real tables, each run in a process of its own.

Every model gets the same rows: it trains on the part "train", stops and chooses on "val", and is scored on "test" once.
Results are lines of benchmarks/results/NAME.jsonl; what a file has already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import pictures
from benchmarks.machine import describe, processors
from benchmarks.run import RESULTS
from benchmarks.tabular import report, tables
from benchmarks.tabular.models import MODELS, PACKAGES

Row = dict[str, Any]
DEFAULT = ("fastdense", "lightgbm", "catboost", "xgboost", "hist_gb", "realmlp_td", "sk_mlp")  # TabM takes hours


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(prog="python -m benchmarks tabular", description="Models on real tables.")
    found.add_argument("--models", nargs="+", choices=list(MODELS), default=list(DEFAULT), metavar="NAME",
                       help=f"{', '.join(MODELS)} (default: {', '.join(DEFAULT)})")  # fmt: skip
    found.add_argument("--tables", nargs="+", metavar="NAME", help="default: all, the smallest first")
    found.add_argument("--seeds", nargs="+", type=int, default=[0], help="default: 0")
    found.add_argument("--threads", type=int, default=processors(), help="default: one per processor (%(default)s)")
    found.add_argument("--timeout", type=float, default=3600.0, help="seconds after which a run is ended (%(default)s)")
    found.add_argument("--name", default="local-tabular", help="results/NAME.jsonl (default: one that git ignores)")
    found.add_argument("--show", action="store_true", help="measure nothing: print tables of what is there, and draw")
    return found


def read(path: Path) -> list[Row]:
    """The rows of a result file; none if there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def measure(model: str, table: str, seed: int, threads: int, timeout: float) -> Row:
    """One run; a row with "failed" in place of results if it did not end well."""
    command = [sys.executable, "-m", "benchmarks.tabular.worker", model, table, str(seed), str(threads)]
    row: Row = {"model": model, "table": table, "seed": seed, "threads": threads}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {**row, "failed": f"took more than {timeout:g} s"}
    if done.returncode:
        return {**row, "failed": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    measured: Row = json.loads(done.stdout.strip().splitlines()[-1])
    return measured


def main(arguments: Sequence[str]) -> int:
    """Measure what the file lacks, print the tables, draw the picture; 1 if a run failed."""
    options = parser().parse_args(arguments)
    path = RESULTS / f"{options.name}.jsonl"
    rows = read(path)
    failed = False
    if not options.show:
        missing = sorted({PACKAGES[m] for m in options.models if find_spec(PACKAGES[m]) is None})
        if missing:
            print(f"not installed, left out: {', '.join(missing)} (pip install '.[bench]')", file=sys.stderr)
        known = tables.names()
        chosen = options.tables or known
        if unknown := [name for name in chosen if name not in known]:
            raise SystemExit(f"no such table: {', '.join(unknown)}. There are {', '.join(known)}")
        machine = describe()
        there = {(row["model"], row["table"], row["seed"]) for row in rows if "failed" not in row}
        path.parent.mkdir(exist_ok=True)
        for seed in options.seeds:
            for table in chosen:
                for model in options.models:
                    if (model, table, seed) in there or PACKAGES[model] in missing:
                        continue
                    row = measure(model, table, seed, options.threads, options.timeout)
                    row |= {"date": machine["date"], "commit": machine["commit"], "machine": machine["machine"]}
                    rows.append(row)
                    with path.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
                    print(report.line(row), file=sys.stderr, flush=True)
                    failed = failed or "failed" in row
    print(report.text(rows))
    if rows and pictures.have_matplotlib():
        report.draw(rows, path.with_suffix(".png"))
    return int(failed)
