"""``python -m tests.mutation``: change single lines in a copy of the package, and count what the tests notice."""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import operators, suites
from .operators import Mutation
from .scratch import ROOT, Build, Scratch

EQUIVALENT = Path(__file__).with_name("equivalent.json")


def equivalents() -> dict[tuple[str, str, str], str]:
    """Why nothing can be noticed: (file, line, changed line) -> reason."""
    entries = json.loads(EQUIVALENT.read_text(encoding="utf-8"))
    return {(one["file"], one["was"], one["changed"]): one["why"] for one in entries}


def draws(language: str, seed: int) -> Iterator[Mutation]:
    """Lines in random order, with one mutation each."""
    lines: dict[tuple[str, int], dict[str, list[Mutation]]] = {}
    for file in suites.files(ROOT, language):
        left_out = suites.left_out_lines(file, (ROOT / file).read_text(encoding="utf-8"))
        for one in operators.mutations(ROOT, file):
            if one.line not in left_out:
                lines.setdefault((file, one.line), {}).setdefault(one.operator, []).append(one)
    chance = random.Random(seed)
    places = sorted(lines)
    chance.shuffle(places)
    for place in places:
        kinds = lines[place]
        yield chance.choice(kinds[chance.choice(sorted(kinds))])


def attempt(scratch: Scratch, one: Mutation, seconds: float, groups: int, why: str | None) -> dict[str, Any]:
    """Try a mutation; its record."""
    result = {"file": one.file, "line": one.line, "operator": one.operator, "was": " ".join(one.source.split())}
    result |= {"changed": one.changed, "by": ""}
    began = time.monotonic()
    if why is not None:
        return {**result, "state": "equivalent", "by": why}
    try:
        state = scratch.apply(one)
        if not state:
            outcome = scratch.test(suites.suite(one.file)[:groups], seconds)
            state = "noticed" if outcome.noticed else "survived"
            result["by"] = outcome.by
    finally:
        scratch.restore(one)
    return {**result, "state": state, "seconds": round(time.monotonic() - began)}


def table(results: Sequence[dict[str, Any]]) -> str:
    """Counts by folder."""
    folders: dict[str, dict[str, int]] = {}
    for one in results:
        parts = one["file"].split("/")
        name = "/".join(parts[:3] if len(parts) > 3 else parts[:2] if parts[0] == "csrc" else parts[:3])
        for key in (name, "all"):
            counts = folders.setdefault(key, {})
            counts[one["state"]] = counts.get(one["state"], 0) + 1
    rows = ["| folder | mutations | noticed | equivalent |", "|---|---:|---:|---:|"]
    for name, counts in sorted(folders.items(), key=lambda row: (row[0] == "all", row[0])):
        noticed, same = counts.get("noticed", 0), counts.get("equivalent", 0) + counts.get("same code", 0)
        rows.append(f"| {name} | {noticed + counts.get('survived', 0)} | {noticed} | {same} |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 1 if the tests noticed less than 95 % of the mutations."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("language", choices=["cpp", "python"], help="of the lines")
    parser.add_argument("--count", type=int, default=100, help="mutations that count")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--build", type=Path, help="for cpp: folder of a CMake build of this tree, with its test programs"
    )
    parser.add_argument("--seconds", type=float, default=120, help="a test that takes longer has noticed")
    parser.add_argument(
        "--groups", type=int, help="how many groups of tests to run, of those in suites.py; all by default"
    )
    parser.add_argument(
        "--results", type=Path, help="file that gets a line for each mutation; a second run goes on from it"
    )
    parser.add_argument("--again", action="store_true", help="those that survived in the file of results, once more")
    parser.add_argument("--list", action="store_true", help="show the mutations, and run nothing")
    parser.add_argument("--unchanged", action="store_true", help="run all the tests on the copy as it is")
    options = parser.parse_args(arguments)
    if options.language == "cpp" and not (options.build or options.list):
        parser.error("cpp needs --build")
    if options.list:
        for one, _ in zip(draws(options.language, options.seed), range(options.count), strict=False):
            print(f"{one.file}:{one.line} {one.operator}\n    {one.source.strip()}\n    {one.changed}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what runs in the copy ends too
    before = (
        [json.loads(line) for line in options.results.read_text().splitlines()]
        if options.results and options.results.exists()
        else []
    )
    known = {(one["file"], one["line"], one["changed"]): one for one in before}
    reasons = equivalents()
    build = Build(options.build.resolve()) if options.language == "cpp" else None
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        durations = options.results.with_suffix(".durations") if options.results else Path(folder) / "durations"
        scratch = Scratch(Path(folder), build, durations.resolve())
        if options.unchanged:
            for pattern, steps in (suites.CPP if build else suites.PYTHON).items():
                outcome = scratch.test(steps, options.seconds)
                print(pattern, "fails: " + outcome.by if outcome.noticed else "passes", flush=True)
            return 0
        for one in draws(options.language, options.seed):
            if sum(result["state"] in ("noticed", "survived") for result in results) >= options.count:
                break
            why = reasons.get((one.file, " ".join(one.source.split()), one.changed))
            result = known.get((one.file, one.line, one.changed))
            if result is None or why or (options.again and result["state"] == "survived"):
                result = attempt(scratch, one, options.seconds, options.groups or 99, why)
                print(
                    f"{result['state']:10} {one.file}:{one.line} {one.operator}: {one.changed}  [{result['by']}]",
                    flush=True,
                )
                if options.results:
                    with options.results.open("a") as file:
                        file.write(json.dumps(result) + "\n")
            results.append(result)
    print(table(results))
    counted = [one for one in results if one["state"] in ("noticed", "survived")]
    for result in counted:
        if result["state"] == "survived":
            print("survived: {file}:{line} {operator}\n    {was}\n    {changed}".format(**result))
    return int(sum(one["state"] == "noticed" for one in counted) < 0.95 * len(counted))


if __name__ == "__main__":
    sys.exit(main())
