"""`Model.diagnose`: apply the rules, run trials, order the findings."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from ..engine.blas import one_numpy_thread
from . import work
from .case import Case
from .finding import Finding, finding
from .heldout import MIXED, Outlook, aligned, look
from .plan import Plan, changed
from .ranking import order, without_contradictions
from .report import Diagnosis, M
from .result import Result
from .rules import check
from .rules.exact import unusable
from .subject import Given, Subject
from .suspects import suspects
from .trials import Laboratory, OutOfTime, OutOfWork, Run
from .verify import Verifier
from .words import worded

DEFAULT_STEPS = 3000  # of a training about which nothing is known
TRIALS, FEWEST_TRIALS = 14, 4  # that the budget should suffice for; must, if there are few rows and epochs already
FEWEST_EPOCHS, FEWEST_ROWS = 10, 500  # in a trial, unless the training itself was shorter


@one_numpy_thread()  # sums then do not depend on the number of cores
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
        subject.work.budget = work.epoch_seconds(plan, len(subject.x))
        findings = check(Case(subject, plan, None))
        return Diagnosis(worded(Result(subject, plan, order(findings, None), None)), time.perf_counter() - began)
    subject.work.budget = work.default_budget(plan, len(subject.x)) if budget is None else budget
    laboratory = Laboratory(subject, verbose)
    try:
        return _with_trials(subject, plan, laboratory, began)
    finally:
        laboratory.bar.close()


def _with_trials(subject: Subject, plan: Plan, laboratory: Laboratory, began: float) -> Diagnosis[Any]:
    run: Run | None = None
    tried = plan
    if subject.usable and not subject.problem:
        tried = fitting(laboratory, plan)
        laboratory.epochs = tried.epochs
        with suppress(OutOfWork, OutOfTime):
            run = laboratory.run(tried)
    cut = tried != plan or laboratory.rows < int(subject.good.sum())
    case = Case(subject, plan, run)
    findings = without_contradictions(check(case))
    blocked = not subject.usable or any(f.code == "BAD_DATA" and f.exact and f.severity == "error" for f in findings)
    verdict, outlook = None, None
    if any(f.code == "TRAIN_TEST_MISMATCH" and f.severity == "error" for f in findings):  # trials on these say nothing
        own = laboratory.error_of(subject.model, plan)
        after, advice = aligned(subject, laboratory, plan)
        outlook = Outlook("TRAIN_TEST_MISMATCH", len(subject.x), own, math.nan, math.nan, "")
        if after < MIXED * own:
            outlook = replace(outlook, after=after, advice=advice)
        findings = [f for f in findings if f.exact]
    elif not blocked:
        findings += suspects(case, findings)
        verdict = Verifier(subject, laboratory, tried, findings, cut, case.bounds).verdict()
        findings = [f for f in findings if not f.silent or any(step.finding is f for step in verdict.steps)]
        if verdict.healthy or (verdict.after is not None and not verdict.hopeless):  # x does say something
            findings = [f for f in findings if f.code != "NOISE"]
        outlook, more = look(case, laboratory, verdict, findings)
        refuted = verdict.healthy or (outlook is not None and bool(outlook.code))
        if refuted and subject.trained:  # the trials refute what is not exact
            findings = [f for f in findings if f.exact or f.code == "DEAD_RELU"]
        new = {f.code for f in more}
        findings = [*more, *(f for f in findings if f.code not in new)]
    if verdict is not None and verdict.hopeless:
        findings = [*(f for f in findings if f.code != "BAD_DATA"), mismatched_rows()]
    made = Result(subject, plan, order(findings, verdict, outlook), verdict, outlook)
    return Diagnosis(worded(made), time.perf_counter() - began)


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
    allowed = laboratory.left / TRIALS
    each, once = epochs_and_rest(laboratory, plan)
    epochs = min(plan.epochs, max(FEWEST_EPOCHS, int((allowed - once) / each)))
    if once + each * epochs > allowed:
        share = max(allowed - once, 0.0) / (each * epochs)
        rows = max(FEWEST_ROWS, 4 * min(plan.batch_size, FEWEST_ROWS), int(laboratory.rows * share))
        laboratory.use_rows(rows)
        each, once = epochs_and_rest(laboratory, plan)
        epochs = max(1, min(epochs, int((laboratory.left / FEWEST_TRIALS - once) / each)))
    return replace(plan, epochs=epochs)


def epochs_and_rest(laboratory: Laboratory, plan: Plan) -> tuple[float, float]:
    """Work of an epoch of a trial, and of all else in it."""
    each = work.epoch_seconds(plan, laboratory.rows)
    return each, laboratory.seconds(plan) - plan.epochs * each
