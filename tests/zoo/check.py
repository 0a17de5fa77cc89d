"""Show that the zoo is what it says: ``python -m tests.zoo.check [--only TEXT] [--no-repair]``.

Every sick net, trained as its owner did, fails its goal (or `fit` refuses its data), and can be repaired unless it is
marked hopeless; every healthy net reaches its goal.
"""

from __future__ import annotations

import argparse
import sys
import time

import fastdense as fd

from . import HEALTHY, SICK, Case
from .recipe import repaired


def owners_result(case: Case) -> float | str:
    """The goal's metric after the owner's training, or "raises"."""
    try:
        return case.goal.value(*case.train())
    except ValueError:
        if not case.raises:
            raise
        return "raises"


def behaves(case: Case, result: float | str) -> bool:
    """Whether the owner's training ends as the case says."""
    if isinstance(result, str) or case.raises:
        return case.raises and isinstance(result, str)
    return (result >= case.goal.at_least) == (case.kind != "sick")


def available(case: Case) -> bool:
    """Whether the case's data is there."""
    return not case.mnist or (fd.datasets.has_local("mnist") and fd.datasets.has_local("fashion_mnist"))


def chosen(text: str | None) -> list[Case]:
    """All cases that can run, or those whose name or causes hold `text`."""
    cases = [case for case in (*SICK.values(), *HEALTHY.values()) if available(case)]
    return [case for case in cases if text is None or text in case.name or text in case.causes]


def main() -> int:
    """Print a line per case and what does not behave."""
    parser = argparse.ArgumentParser(description="show that sick nets fail, healthy ones learn, sick ones can be cured")
    parser.add_argument("--only", help="part of a name, or a code")
    parser.add_argument("--no-repair", action="store_true", help="leave out the repairs")
    arguments = parser.parse_args()
    wrong = []
    for case in chosen(arguments.only):
        began = time.perf_counter()
        result = owners_result(case)
        seconds = time.perf_counter() - began
        cured = None
        if case.kind == "sick" and not case.hopeless and not arguments.no_repair:
            cured = repaired(case)
        ok = behaves(case, result) and (cured is None or cured >= case.goal.at_least)
        wrong += [] if ok else [case.name]
        shown = result if isinstance(result, str) else f"{result:.3g}"
        print(
            f"{'ok ' if ok else 'BAD'} {case.kind:7} {case.name:45} {case.goal.metric} {shown} "
            f"(goal {case.goal.at_least:g}){'' if cured is None else f' repaired {cured:.3f}'} {seconds:.2f} s",
            flush=True,
        )
    print(f"{len(wrong)} wrong: {', '.join(wrong)}" if wrong else "all as they should be")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
