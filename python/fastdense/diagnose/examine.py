"""`Model.diagnose`: apply the rules, run trials, order the findings."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np

from .case import Case
from .finding import SEVERITIES, Finding, finding
from .heldout import Outlook, look
from .plan import Plan, changed
from .report import Diagnosis, M
from .result import Result
from .rules import RULES, SCALES, check
from .rules.exact import unusable
from .subject import Given, Subject
from .suspects import suspects
from .trials import Laboratory, Run
from .verify import Verdict, Verifier

LEAST_SECONDS, MOST_SECONDS = 2.0, 20.0  # default time budget of trials
DEFAULT_STEPS = 3000  # of a training about which nothing is known
SERIOUS = 0.25  # relative error: below it a net does learn, and only exact faults are errors
TRIALS = 14  # that the budget should suffice for
FEWEST_EPOCHS, FEWEST_ROWS = 10, 500  # in a trial, unless the training itself was shorter


@np.errstate(all="ignore")  # what overflows or is not finite becomes a finding
def diagnose(
    model: M,
    given: Given,
    verify: bool,
    budget: float | None,
    verbose: int | str,
) -> Diagnosis[M]:
    """See `Model.diagnose`."""
    began = time.perf_counter()
    subject = Subject(model, given)
    plan = plan_of(subject)
    if not subject.good.any():  # there is nothing else to measure
        return Diagnosis(Result(subject, plan, [unusable(subject)], None), time.perf_counter() - began)
    if not verify:
        findings = check(Case(subject, plan, None))
        return Diagnosis(Result(subject, plan, order(findings, None), None), time.perf_counter() - began)
    seconds = budget if budget is not None else min(
        MOST_SECONDS, max(LEAST_SECONDS, float(subject.options.get("seconds", 0.0)))
    )  # fmt: skip
    laboratory = Laboratory(subject, seconds, verbose)
    try:
        return _with_trials(subject, plan, laboratory, began)
    finally:
        laboratory.bar.close()


def _with_trials(subject: Subject, plan: Plan, laboratory: Laboratory, began: float) -> Diagnosis[Any]:
    run: Run | None = None
    tried = plan
    if subject.usable and not subject.problem:
        tried = fitting(laboratory, plan)
        run = laboratory.run(tried, most=laboratory.seconds / 3)
    cut = tried != plan or laboratory.rows < int(subject.good.sum())
    case = Case(subject, plan, run)
    findings = check(case)
    blocked = not subject.usable or any(f.code == "BAD_DATA" and f.exact and f.severity == "error" for f in findings)
    verdict, outlook = None, None
    if any(f.code == "TRAIN_TEST_MISMATCH" and f.severity == "error" for f in findings):  # trials on these say nothing
        own = laboratory.error_of(subject.model, plan)
        outlook = Outlook("TRAIN_TEST_MISMATCH", len(subject.x), own, math.nan, math.nan, "")
        findings = [f for f in findings if f.exact]
    elif not blocked:
        findings += suspects(case, findings)
        verdict = Verifier(subject, laboratory, tried, findings, cut, case.bounds).verdict()
        findings = [f for f in findings if not f.silent or any(step.finding is f for step in verdict.steps)]
        outlook, more = look(case, laboratory, verdict, findings)
        refuted = verdict.healthy or (outlook is not None and bool(outlook.code))
        if refuted and subject.trained:  # the trials refute what is not exact
            findings = [f for f in findings if f.exact or f.code == "DEAD_RELU"]
        new = {f.code for f in more}
        findings = [*more, *(f for f in findings if f.code not in new)]
    if verdict is not None and verdict.hopeless:
        findings = [*(f for f in findings if f.code != "BAD_DATA"), mismatched_rows()]
    made = Result(subject, plan, order(findings, verdict, outlook), verdict, outlook)
    return Diagnosis(made, time.perf_counter() - began)


def mismatched_rows() -> Finding:
    """The finding that goes with targets that nothing predicts."""
    return finding(
        "BAD_DATA", "warning",
        "If y should depend on x, its rows may be in another order than those of x, or columns may be missing.",
        remedy="check how x and y were assembled (same order? the right columns?)", exact=True,
    )  # fmt: skip


def plan_of(subject: Subject) -> Plan:
    """The training to explain; if nothing is known about it, 3000 steps of 32 rows."""
    options = subject.options
    rows = len(subject.x)
    size = int(options.get("batch_size", 32))
    if subject.model.optimizer.full_batch:
        size = rows
    steps = math.ceil(rows / size)
    epochs = int(options.get("epochs", min(1000, max(10, DEFAULT_STEPS // steps))))
    plan = Plan.of(subject.model, size, epochs, bool(options.get("shuffle", True)), subject.given_weights)
    rate = subject.fitted.learning_rate if subject.fitted is not None else None
    if rate is not None and rate != plan.optimizer.learning_rate:  # a callback has changed it
        plan = replace(plan, optimizer=changed(plan.optimizer, learning_rate=rate))
    return replace(plan, class_weight=subject.class_weight, validation_split=subject.validation_split)


def fitting(laboratory: Laboratory, plan: Plan) -> Plan:
    """The plan, shortened so that the budget suffices for many trials: fewer epochs first, then fewer rows."""
    each = laboratory.seconds_per_epoch(plan)
    allowed = laboratory.seconds / TRIALS
    epochs = min(plan.epochs, max(FEWEST_EPOCHS, int(allowed / each)))
    if each * epochs > allowed:
        rows = max(FEWEST_ROWS, 4 * min(plan.batch_size, FEWEST_ROWS), int(laboratory.rows * allowed / (each * epochs)))
        laboratory.use_rows(rows)
    return replace(plan, epochs=epochs)


def order(findings: list[Finding], verdict: Verdict | None, outlook: Outlook | None = None) -> list[Finding]:
    """Worst first: with trials by what each finding explains, else by severity and the order of the rules."""
    if verdict is not None:
        findings = [weighed(f, verdict, outlook) for f in findings]
    needed = verdict.codes if verdict is not None else set()
    place = {id(f): i for i, f in enumerate(findings)}

    def key(f: Finding) -> tuple[float, ...]:
        gain = 0.0
        if verdict is not None and not verdict.healthy:
            gain = worth(f, verdict)
        first = f.exact and f.severity == "error"
        follows = RULES[f.code].consequence
        if needed & SCALES:  # these cause divergence and dead units
            return (SEVERITIES.index(f.severity), not first, follows, -round(2 * gain), place[id(f)])
        return (SEVERITIES.index(f.severity), not first, -round(2 * gain), follows, place[id(f)])

    return sorted(findings, key=key)


def worth(found: Finding, verdict: Verdict) -> float:
    """How much of the error a finding explains: added if its remedy is left out, or removed by its remedy alone."""
    before, after = min(verdict.error_before, 2.0), min(verdict.error_after, 2.0)
    lost = min(verdict.without.get(found.code, after), 2.0) - after
    alone = before - min(verdict.singles.get(found.code, before), 2.0)
    return max(lost if found.code in verdict.codes else 0.0, alone)


def weighed(found: Finding, verdict: Verdict, outlook: Outlook | None = None) -> Finding:
    """A finding with the severity that follows from the trials."""
    if found.code == "BASELINE":
        return found
    if outlook is not None and found.code == outlook.code:  # rows kept out have proved it
        return replace(found, severity="error")
    severity = found.severity
    if verdict.healthy:
        severity = "info" if found.severity != "warning" or not found.exact else "warning"
    elif verdict.before is not None or not found.exact:
        gain = worth(found, verdict)
        best = min(verdict.error_after, verdict.best_error)
        before = max(min(verdict.error_before, 2.0) - best, 0.0) or min(verdict.error_before, 2.0)  # to be gained
        fact = found.exact and found.severity == "error"
        if found.code in verdict.codes or gain > 0.5 * before:
            severity = "error" if fact or (gain > 0.3 * before and verdict.error_before > SERIOUS) else "warning"
        elif found.severity == "error" and not found.exact:
            severity = "warning"
        elif found.severity == "warning" and not found.exact and found.code in verdict.singles:
            severity = "info" if gain < 0.05 * before else "warning"
    taken = [step.remedy.words for step in verdict.steps if step.finding.code == found.code]
    return replace(found, severity=severity, remedy=taken[0] if taken else found.remedy)
