"""Verification by short trainings: which findings are causes, and which changes repair the net."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from . import remedies
from .finding import Finding
from .plan import Plan
from .remedies import Remedy
from .rules import RULES, SCALES
from .subject import Subject
from .trials import LEAST_ROWS, Laboratory, OutOfTime, Run
from .witnesses import FOLDS, USELESS, Bounds, chance

HEALTHY = 0.05  # an error this small needs no repair, even if a smaller one could be reached
CLOSE, SLACK = 1.3, 0.03  # errors up to CLOSE * best + SLACK count as equal to the best
ENOUGH = 0.03  # and a repair is done when the error is this small, or within 1.1 * best + 0.01
COST = 0.004  # what a change must reduce the error by to be kept
NEW_NET = 0.03  # what a whole new net must reduce it by
MOST_CHANGES = 4
RECIPES = ((32, "tanh", 0.01, 1), (64, "relu", 0.003, 2), (64, "tanh", 0.01, 2))  # width, activation, rate, depth
RECIPE_STEPS = 3000
STAGES = (
    "found",
    "suspected",
    "last resort",
)  # what is tried: findings, then causes that cannot be measured, then remedies that may hide a scale


@dataclass(frozen=True)
class Step:
    """A finding and the remedy for it that was applied."""

    finding: Finding
    remedy: Remedy


@dataclass
class Verdict:
    """Result of the trials.

    Attributes
    ----------
    before : Run or None
        The user's own net; None if it cannot be trained.
    after : Run or None
        The best plan that was found; None if nothing beats `before`.
    steps : list of Step
        The changes that lead from `before` to `after`.
    singles : dict
        Error with only this finding treated, by code.
    without : dict
        Error of the repaired net without this treatment, by code.
    healthy : bool
    hopeless : bool
        Whether neither a new net nor nearest neighbours beat a constant on held-out rows.
    complete : bool
        Whether there was time for all trials.
    best_error : float
        Error of a plain new net, or of the user's own if that is smaller.
    new_net : bool
        Whether `after` is that new net.
    cut : bool
        Whether trials were shorter than the user's own training; `before` is then such a short one.
    own_error : float
        Error of the net as the user has it.
    unseen : float
        Smallest error of a plain new net on rows kept out; infinite if there are too few rows.
    """

    before: Run | None
    after: Run | None = None
    steps: list[Step] = field(default_factory=list)
    singles: dict[str, float] = field(default_factory=dict)
    without: dict[str, float] = field(default_factory=dict)
    healthy: bool = False
    hopeless: bool = False
    complete: bool = True
    best_error: float = math.inf
    new_net: bool = False
    cut: bool = False
    own_error: float = math.inf
    unseen: float = math.inf

    @property
    def codes(self) -> set[str]:
        """Codes of the findings that were treated."""
        return {step.finding.code for step in self.steps}

    @property
    def inconclusive(self) -> bool:
        """Whether trials were too short to prove anything; the findings are then unproved."""
        return self.after is None and not (self.healthy or self.hopeless) and (self.cut or not self.complete)

    @property
    def error_before(self) -> float:
        """Error of the user's own net, infinite if it cannot be trained."""
        return self.before.error if self.before is not None else math.inf

    @property
    def error_after(self) -> float:
        """Error of the best plan that was found."""
        return self.after.error if self.after is not None else self.error_before


def good(error: float, best: float) -> bool:
    """Whether an error is close to the best that is known to be possible."""
    return error < USELESS and error <= max(HEALTHY, CLOSE * best + SLACK)


def enough(error: float, best: float) -> bool:
    """Whether a repair needs no further improvement."""
    return error < USELESS and error <= max(ENOUGH, 1.1 * best + 0.01)


class Verifier:
    """Searches for the smallest set of changes that repairs a net.

    Exact faults are repaired first, for nothing can be learned with them. Then every finding's remedies are tried
    alone; the best is kept and the others are added to it, until the error is as small as that of a plain new net. If
    trials are expensive, all changes are applied at once, then ablated. Finally each change is removed again, and stays
    out if the error does not grow. When time is up, the best result so far is kept.

    Parameters
    ----------
    subject : Subject
    laboratory : Laboratory
    plan : Plan
        The training that all trials are changes of.
    findings : list of Finding
    cut : bool
        Whether it is shorter, or on fewer rows, than the user's own, which then cannot be compared with trials.
    bounds : Bounds or None
        What witnesses reach on rows kept out: a net need not be better, and must not be far worse.
    """

    def __init__(
        self,
        subject: Subject,
        laboratory: Laboratory,
        plan: Plan,
        findings: list[Finding],
        cut: bool = False,
        bounds: Bounds | None = None,
    ) -> None:
        self.subject, self.lab, self.plan, self.findings, self.cut = subject, laboratory, plan, findings, cut
        self.bounds = bounds
        self._new: Run | None = None
        self._again: Run | None = None
        self._alternatives = 1  # remedies per finding that there is time for
        self._lucky = False
        # Restarts spread over the data compensate for wrong scales: they would hide the cause.
        self._scales_wrong = any(f.code in SCALES and f.severity != "info" for f in findings)

    def verdict(self) -> Verdict:
        """Run the trials."""
        self._again = before = self._try(self.plan) if not self.subject.problem else None
        if before is not None and self.subject.trained:  # judge the net that the user has
            own = self.lab.error_of(self.subject.model, self.plan)
            before = Run(
                self.plan, self.subject.model, self.subject.history.get("loss", []), own, before.seconds, self.subject
            )
        found = Verdict(before, cut=self.cut, own_error=math.inf if before is None else before.error)
        try:
            floor = self._recipes(found)
            witness = 1.0 if self.bounds is None else self.bounds.best.error
            if self.bounds is not None:
                found.unseen, floor = floor if floor > 0 else math.inf, min(floor, witness)
                found.best_error = min(found.best_error, witness)
            found.best_error = min(found.best_error, found.error_before)
            flawed = any(f.exact and f.severity == "error" for f in self.findings)
            found.healthy = before is not None and bool(
                good(found.error_before, found.best_error)
                or (found.error_before < USELESS and found.error_before <= 1.1 * floor + 0.02)
            )
            if flawed and found.error_before > HEALTHY:  # an exact fault is in the way, whatever a new net reaches
                found.healthy = False
            nothing = self.bounds is not None and not self.bounds.signal and floor > chance(self.lab.rows // FOLDS)
            found.hopeless = nothing and not found.healthy
            again = self._again
            comparable = self.subject.trained and not self.cut
            self._lucky = comparable and again is not None and enough(again.error, found.best_error)
            if self.cut and not found.healthy:
                found.before = again
            if not (found.healthy or found.hopeless):
                self._search(found)
        except OutOfTime:
            found.complete = False
        return found

    def _try(self, plan: Plan) -> Run | None:
        try:
            return self.lab.run(plan)
        except (ValueError, TypeError, MemoryError):
            return None

    def _recipes(self, found: Verdict) -> float:
        """Train plain new nets, to see what is possible. Returns their smallest error on held-out rows."""
        steps = max(1, math.ceil(self.lab.rows / min(32, self.plan.batch_size)))
        split = self.lab.rows >= LEAST_ROWS
        floor = math.inf
        for recipe in RECIPES:
            plan = remedies.recipe(self.subject, *recipe).apply(self.plan)
            plan = replace(plan, epochs=max(min(self.plan.epochs, 200), min(2000, max(5, RECIPE_STEPS // steps))))
            run, unseen = self.lab.split_run(plan, split, most=self.lab.seconds / 8)
            floor = min(floor, unseen)
            if run.error < found.best_error:
                found.best_error, self._new = run.error, run
            if found.best_error < 0.02 or self.lab.left < self.lab.seconds / 2:
                break
        return floor if split else 0.0

    # ---- the search ------------------------------------------------------------------------------------------------

    def _search(self, found: Verdict) -> None:
        try:
            taken = self._exact(found)
            if not enough(found.error_after, found.best_error):
                taken = self._scales(found, taken)
            each = found.before.seconds if found.before is not None else 0.0
            affordable = 0.6 * self.lab.left / max(each * len(self._open(taken)), 1e-9)
            if affordable < 1:
                taken = self._all_at_once(found, taken)
            self._alternatives = max(1, int(affordable))
            for stage in STAGES:
                self._one_by_one(found, taken, stage)
                taken = found.steps if found.after is not None else taken
        except OutOfTime:
            found.complete = False
        try:
            self._prune(found)
            self._prolong(found)
        except OutOfTime:
            found.complete = False
        self._compare_with_new(found)
        if found.after is not None and found.after.error > USELESS:  # better than before, but no better than a constant
            found.after, found.steps = None, []

    def _open(self, taken: list[Step], silent: bool = False) -> list[Finding]:
        """Findings not treated yet; with `silent`, those that no measurement supports too."""
        done = [step.finding for step in taken]
        left = [f for f in self.findings if f.remedies and f.code != "BASELINE" and not any(f is d for d in done)]
        left = [f for f in left if silent or not f.silent]
        # Training again from the seed succeeds: then the initial weights were bad, and any change would seem to help.
        return [f for f in left if RULES[f.code].restart] or left if self._lucky else left

    def _plan_of(self, steps: list[Step]) -> Plan:
        plan = self.plan
        for step in steps:
            plan = step.remedy.apply(plan)
        return plan

    def _keep(self, found: Verdict, steps: list[Step], run: Run | None) -> None:
        """Keep a plan if it is the best so far."""
        if run is not None and (run.error < found.error_after - COST or run.error < found.error_after == math.inf):
            found.after, found.steps = run, list(steps)

    def _first_remedies(self, taken: list[Step], findings: list[Finding]) -> list[Step]:
        """The steps so far, and the first remedy of each of these findings that changes something."""
        plan, steps = self._plan_of(taken), list(taken)
        for item in findings:
            changed = item.remedies[0].apply(plan)
            if changed != plan:
                plan, steps = changed, [*steps, Step(item, item.remedies[0])]
        return steps

    def _exact(self, found: Verdict) -> list[Step]:
        """Repair all exact faults."""
        taken = self._first_remedies([], [f for f in self._open([]) if f.exact and f.severity == "error"])
        if taken:
            run = self._try(self._plan_of(taken))
            self._keep(found, taken, run)
            if len(taken) == 1 and run is not None:
                found.singles[taken[0].finding.code] = run.error
        return taken

    def _scales(self, found: Verdict, taken: list[Step]) -> list[Step]:
        """Correct all scales together if several are wrong: each hides what correcting the other gains."""
        wrong = [f for f in self._open(taken) if f.code in SCALES and f.severity != "info"]
        if len(wrong) < 2:
            return taken
        steps = [*taken, *(Step(f, f.remedies[0]) for f in wrong)]
        run = self._try(self._plan_of(steps))
        self._keep(found, steps, run)
        return steps if run is not None and enough(run.error, found.best_error) else taken

    def _all_at_once(self, found: Verdict, taken: list[Step]) -> list[Step]:
        """Apply the first remedy of every finding."""
        steps = self._first_remedies(taken, [f for f in self._open(taken) if f.severity != "info"])
        run = self._try(self._plan_of(steps))
        self._keep(found, steps, run)
        return list(found.steps) if found.after is not None else taken

    def _one_by_one(self, found: Verdict, taken: list[Step], stage: str) -> None:
        """Add the change that helps most, repeatedly."""
        while len(taken) < MOST_CHANGES and not enough(found.error_after, found.best_error):
            # A change must improve on the changes so far, though these alone may be no better than the original net.
            run = self._try(self._plan_of(taken)) if taken else found.before
            error = run.error if run is not None else math.inf
            trials = self._round(self._plan_of(taken), taken, found, stage)
            trials = [t for t in trials if t[1].error < error - COST or (math.isinf(error) and t[1].error < math.inf)]
            if not trials:
                return
            # The first sufficient one in the order of the rules, else the one that helps most.
            done = [t for t in trials if enough(t[1].error, found.best_error)]
            step, run = done[0] if done else min(trials, key=lambda t: t[1].error)
            taken = [*taken, step]
            self._keep(found, taken, run)

    def _round(self, plan: Plan, taken: list[Step], found: Verdict, stage: str) -> list[tuple[Step, Run]]:
        made = []
        for item in self._open(taken, silent=stage != "found"):
            best: tuple[Step, Run] | None = None
            for remedy in item.remedies[: self._alternatives]:
                if remedy.last_resort and stage != "last resort" and self._scales_wrong:
                    continue
                changed = remedy.apply(plan)
                # The user's initial weights may not be those of the seed: then training from the seed is a remedy.
                again = changed == plan and not taken and RULES[item.code].restart and self.subject.trained
                if changed == plan and not again:
                    continue
                run = self._try(changed)
                if run is None:
                    continue
                self._keep(found, [*taken, Step(item, remedy)], run)
                if best is None or run.error < best[1].error - COST:
                    best = (Step(item, remedy), run)
                if enough(run.error, found.best_error):
                    break
            if best is not None:
                made.append(best)
                if not taken:
                    found.singles[item.code] = best[1].error
        return made

    # ---- afterwards ------------------------------------------------------------------------------------------------

    def _prune(self, found: Verdict) -> None:
        """Remove changes that are not needed, and measure what each of the others gains."""
        for step in list(found.steps):
            others = [other for other in found.steps if other is not step]
            run = found.before if not others else self._try(self._plan_of(others))
            error = run.error if run is not None else math.inf
            needless = bool(others) and run is not None and error <= found.error_after + COST
            if needless and not (step.finding.exact and step.finding.severity == "error"):
                found.steps, found.after = others, run
            else:
                found.without[step.finding.code] = error

    def _prolong(self, found: Verdict) -> None:
        """Train longer while that helps and the error is not small enough."""
        while (
            found.after is not None
            and not enough(found.after.error, found.best_error)
            and found.after.seconds * 4 < self.lab.left / 2
        ):
            run = self._try(remedies.epochs(4).apply(found.after.plan))
            if run is None or run.error > found.after.error - 2 * COST:
                return
            found.after = run

    def _compare_with_new(self, found: Verdict) -> None:
        if self._new is None or enough(found.error_after, self._new.error):
            return
        if self._new.error + NEW_NET < min(found.error_after, found.own_error):
            found.after, found.new_net = self._new, True
