"""Judge the diagnosis by the zoo: ``python -m tests.zoo.score [--only TEXT] [--jobs 1] [--budget S] [--draw N]``.

Every net is trained first where its case says so, then diagnosed, treated, and the treated model trained with the
treatment's options. For each case: the first two codes, whether a cause is among them, whether the treated model
reaches the goal, and the seconds that the diagnosis took. BASELINE is a symptom and takes no place among the codes.

A diagnosis is written with the zoo in view. ``--draw 1``, 2, ... gives all cases other data and other first weights
(drawings of digits and clothes stay), which shows how much of the score is made to measure; cases that then no longer
fail, or learn, as they should are left out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import fastdense as fd

from . import HEALTHY, SICK, Case, data
from .check import behaves, chosen, owners_result


@dataclass(frozen=True)
class Verdict:
    """What the diagnosis made of a case.

    Attributes
    ----------
    name, kind : str
        The case's.
    codes : tuple of str
        Codes of all findings, worst first, each once, BASELINE left out unless it is a cause.
    errors : tuple of str
        Codes of the findings of severity "error".
    hit : bool
        Whether a cause is among the first two codes; of a healthy net: that there is no error.
    repaired : bool or None
        Whether the treated model reaches the goal; None where only other data could help.
    seconds : float
        Time of `diagnose` alone.
    trouble : str
        What was raised, or "".
    """

    name: str
    kind: str
    codes: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    hit: bool = False
    repaired: bool | None = None
    seconds: float = 0.0
    trouble: str = ""

    def line(self) -> str:
        """One line for a terminal."""
        found = " ".join(self.codes[:2]) or "-"
        cured = {None: "", True: "repaired", False: "NOT REPAIRED"}[self.repaired]
        hit = "ok  " if self.hit else "MISS"
        return f"{hit} {self.kind:7} {self.name:45} {found:32} {cured:13} {self.seconds:6.2f} s  {self.trouble}"


def judge(case: Case, budget: float | None = None) -> Verdict:
    """Train, diagnose, treat and train again.

    Parameters
    ----------
    case : Case
    budget : float, optional
        Seconds given to `diagnose`; its own default otherwise.
    """
    options: dict[str, Any] = {} if budget is None else {"budget": budget}
    options |= {} if case.given is None else case.given()
    began, seconds = time.perf_counter(), 0.0
    try:
        model, x, y = case.build() if case.when == "before" else case.train()
        if case.when == "history":
            options["history"] = model.history
        began = time.perf_counter()
        report = model.diagnose(x, y, **options)  # type: ignore[attr-defined]
        seconds = time.perf_counter() - began
        codes = tuple(dict.fromkeys(f.code for f in report.findings if f.code != "BASELINE" or f.code in case.causes))
        errors = tuple(f.code for f in report.findings if f.severity == "error")
    except Exception as error:  # a diagnosis that raises is a miss, and the others are still to be judged
        return Verdict(case.name, case.kind, seconds=time.perf_counter() - began, trouble=repr(error)[:200])
    hit = bool(set(codes[:2]) & set(case.causes)) if case.causes else not errors
    repaired, trouble = None, ""
    if not case.hopeless:
        try:
            repaired = _treated(case, report, x, y)
        except Exception as error:
            repaired, trouble = False, f"treat: {error!r}"[:200]
    return Verdict(case.name, case.kind, codes, errors, hit, repaired, seconds, trouble)


def _treated(case: Case, report: Any, x: Any, y: Any) -> bool:
    treatment = report.treat()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="fit: the loss became", category=RuntimeWarning)
        treatment.model.fit(x, y, verbose=0, **treatment.fit_options)
    return case.goal(treatment.model, x, y)


def totals(verdicts: Iterable[Verdict]) -> list[str]:
    """Lines that sum up."""
    every = list(verdicts)
    sick, well = ([v for v in every if (v.kind == "sick") == is_sick] for is_sick in (True, False))
    curable = [v for v in sick if v.repaired is not None]
    wrong = [v for v in well if v.errors or v.trouble]
    traps = [v for v in well if v.kind == "trap"]
    lines = [
        f"sick: cause among the first two codes in {sum(v.hit for v in sick)} of {len(sick)}, "
        f"first in {sum(v.codes[:1] == SICK[v.name].causes[:1] for v in sick)}; "
        f"repaired {sum(bool(v.repaired) for v in curable)} of {len(curable)}",
        f"healthy: {len(wrong)} of {len(well)} called broken ({sum(v in wrong for v in traps)} of {len(traps)} traps); "
        f"{sum(bool(v.repaired) for v in well)} reach the goal when treated",
        f"raised: {sum(bool(v.trouble) for v in every)} of {len(every)}",
    ]
    if every:
        lines.append(
            f"seconds of a diagnosis: median {statistics.median(v.seconds for v in every):.2f}, "
            f"largest {max(v.seconds for v in every):.2f}, together {sum(v.seconds for v in every):.1f}"
        )
    groups = Counter(SICK[v.name].causes[0] for v in sick)
    hits = Counter(SICK[v.name].causes[0] for v in sick if v.hit)
    lines.append("by cause: " + ", ".join(f"{code} {hits[code]}/{n}" for code, n in sorted(groups.items())))
    return lines


def _judge_named(name: str, budget: float | None, draw: int) -> Verdict | None:
    case = SICK.get(name) or HEALTHY[name]
    with data.drawn_again(draw):
        return None if draw and not behaves(case, owners_result(case)) else judge(case, budget)


def main() -> int:
    """Print a line per case, and the totals."""
    parser = argparse.ArgumentParser(description="judge the diagnosis by the zoo")
    parser.add_argument("--only", help="part of a name, or a code")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--budget", type=float, help="seconds given to each diagnosis")
    parser.add_argument("--draw", type=int, default=0, help="number of another draw of data and first weights")
    arguments = parser.parse_args()
    if not hasattr(fd.Model, "diagnose"):
        print("fastdense.Model has no diagnose() yet")
        return 2
    names = [case.name for case in chosen(arguments.only)]
    task, verdicts = partial(_judge_named, budget=arguments.budget, draw=arguments.draw), []
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:  # starts nothing before its map
        for name, verdict in zip(names, (map if arguments.jobs == 1 else pool.map)(task, names), strict=True):
            print(verdict.line() if verdict else f"left out: {name}", flush=True)
            verdicts += [verdict] if verdict else []
    print("\n".join(totals(verdicts)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
