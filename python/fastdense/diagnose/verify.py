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
from .trials import LEAST_ROWS, Laboratory, OutOfTime, OutOfWork, Run
from .witnesses import FOLDS, USELESS, Bounds, chance

HEALTHY = 0.05  # an error this small needs no repair, even if a smaller one could be reached
CLOSE, SLACK = 1.3, 0.03  # errors up to CLOSE * best + SLACK count as equal to the best
ENOUGH = 0.03  # and a repair is done when the error is this small, or within 1.1 * best + 0.01
EARNED = 0.3  # of the error: what a cause explains
MOST = 2.0  # errors above it are all the same
ILL_CONDITIONED, FAR_BETTER = 100.0, 0.1  # a closed form is tried, and kept if the error becomes so small a part
SOLVING = 0.5  # of the work left, for a closed form
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
    notes : dict
        What the trials add to the message of a finding, by code.
    again_error : float
        Error of the same training made again, with which trials are compared; infinite if that is no comparison.
    healthy : bool
    hopeless : bool
        Whether neither a new net nor nearest neighbours beat a constant on held-out rows.
    complete : bool
        Whether the budget sufficed for all trials.
    clocked : bool
        Whether the clock stopped them, as a last resort: on another machine the verdict may differ.
    converged : bool
        Whether the plain new nets were trained until more training did not help.
    best_error : float
        Error of a plain new net, or of the user's own if that is smaller.
    new_net : bool
        Whether `after` is that new net.
    cut : bool
        Whether trials were shorter than the user's own training; `before` is then such a short one.
    own_error : float
        Error of the net as the user has it.
    sampling_error : float
        Standard error of the errors if they are measured on a sample of the rows, else 0.
    rows : int
        Number of rows that trials were trained on.
    loss_before, loss_after : float
        The user's loss, in the user's units, of the net that the user has and of `after`; NaN if it has another one.
    unseen : float
        Smallest error of a plain new net on rows kept out; infinite if there are too few rows.
    """

    before: Run | None
    after: Run | None = None
    steps: list[Step] = field(default_factory=list)
    singles: dict[str, float] = field(default_factory=dict)
    without: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    healthy: bool = False
    hopeless: bool = False
    complete: bool = True
    clocked: bool = False
    converged: bool = True
    best_error: float = math.inf
    new_net: bool = False
    cut: bool = False
    own_error: float = math.inf
    again_error: float = math.inf
    sampling_error: float = 0.0
    rows: int = 0
    loss_before: float = math.nan
    loss_after: float = math.nan
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

    def reference(self, code: str) -> float:
        """Error of the training without any change, by which a change of one finding is measured.

        If the same training made again does better than the user's net, a change earns only what it adds to that,
        unless training again is itself the remedy.
        """
        return self.error_before if RULES[code].restart else min(self.error_before, self.again_error)

    def worth(self, code: str) -> float:
        """How much of the error a finding explains.

        What its remedy removed in a trial of that change alone, or what leaving it out of the repaired net cost.
        """
        after = min(self.error_after, MOST)
        lost = min(self.without.get(code, after), MOST) - after
        reference = self.reference(code)
        alone = min(reference, MOST) - min(self.singles.get(code, reference), MOST)
        return max(lost, alone)

    @property
    def earned(self) -> list[str]:
        """Codes of the findings whose treatment removed a good part of the error."""
        least = EARNED * min(self.error_before, MOST)
        return [code for code in dict.fromkeys(step.finding.code for step in self.steps) if self.worth(code) > least]

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
    out if the error does not grow. A trial that the budget does not suffice for is left out.

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
        self._own: Run | None = None
        self._again: Run | None = None
        self._complete, self._reserved = True, 0.0  # work that is kept for leaving changes out again
        self._alternatives = 1  # remedies per finding that the budget suffices for
        self._lucky = False
        # Restarts spread over the data compensate for wrong scales: they would hide the cause.
        self._scales_wrong = any(f.code in SCALES and f.severity != "info" for f in findings)

    def verdict(self) -> Verdict:
        """Run the trials."""
        found = Verdict(None, cut=self.cut, rows=self.lab.rows)
        try:
            self._judge_own(found)
            floor = self._recipes(found)
            found.unseen = floor if floor > 0 else math.inf
            shown = [f.reachable for f in self.findings if f.reachable is not None]
            for error in shown if self.bounds is None else [*shown, self.bounds.best.error]:
                floor, found.best_error = min(floor, error), min(found.best_error, error)
            self._decide(found, floor)
            if not (found.healthy or found.hopeless):
                solved = self._closed_form(found)
                self._search(found)
                self._compare_with_solved(found, solved)
            self._measure(found)
        except OutOfTime:
            self._complete, found.clocked = False, True
        found.complete = found.complete and self._complete
        return found

    def _try(self, plan: Plan) -> Run | None:
        """Train a plan; None if it cannot be trained, or the budget does not suffice."""
        try:
            return self.lab.run(plan, self.lab.left - self._reserved)
        except OutOfWork:
            self._complete = False
        except (ValueError, TypeError, MemoryError):
            pass
        return None

    def _judge_own(self, found: Verdict) -> None:
        """Measure the net that the user has, and the same training made again."""
        self._again = before = self._try(self.plan) if not self.subject.problem else None
        if self.subject.trained and not self.subject.problem:
            own = self.lab.error_of(self.subject.model, self.plan)
            seconds = self.lab.seconds(self.plan)
            losses = self.subject.history.get("loss", [])
            before = Run(self.plan, self.subject.model, losses, own, seconds, self.subject)
        self._own = before
        found.before, found.own_error = before, math.inf if before is None else before.error
        if self.subject.trained and not self.cut and self._again is not None:
            found.again_error = self._again.error

    def _decide(self, found: Verdict, floor: float) -> None:
        """Whether the net is healthy, or nothing can be learnt."""
        before, again = found.before, self._again
        found.best_error = min(found.best_error, found.error_before)
        flawed = any(f.exact and f.severity == "error" for f in self.findings)
        found.healthy = before is not None and bool(
            good(found.error_before, found.best_error)
            or (found.error_before < USELESS and found.error_before <= 1.1 * floor + 0.02)
        )
        if flawed and found.error_before > HEALTHY:  # an exact fault is in the way, whatever a new net reaches
            found.healthy = False
        if self.bounds is not None and not self.bounds.signal and floor > chance(self.lab.rows // FOLDS):
            found.hopeless = not found.healthy
        self._lucky = again is not None and enough(found.again_error, found.best_error)
        if self.cut and not found.healthy and again is not None:
            found.before = again

    def _recipes(self, found: Verdict) -> float:
        """Train plain new nets, to see what is possible. Returns their smallest error on held-out rows."""
        steps = max(1, math.ceil(self.lab.rows / min(32, self.plan.batch_size)))
        floor, budget = math.inf, self.lab.work.budget
        for trained, recipe in enumerate(RECIPES):
            plan = remedies.recipe(self.subject, *recipe).apply(self.plan)
            plan = replace(plan, epochs=max(min(self.plan.epochs, 200), min(2000, max(5, RECIPE_STEPS // steps))))
            try:
                run, unseen = self.lab.split_run(plan, most=budget / 8)
            except OutOfWork:
                found.converged, self._complete = found.converged and trained > 0, False
                break
            found.converged = found.converged and unseen.converged
            floor = min(floor, unseen.error)
            if run.error < found.best_error:
                found.best_error, self._new = run.error, run
            if found.best_error < 0.02 or self.lab.left < budget / 2:
                break
        return floor if self.lab.rows >= LEAST_ROWS else 0.0

    def _measure(self, found: Verdict) -> None:
        """The sampling error, and losses in the user's units."""
        shown = found.after or found.before
        if shown is not None and math.isfinite(shown.error):
            found.sampling_error = self.lab.sampling_error(shown.model, shown.plan)
        if found.before is not None and found.after is not None:
            found.loss_before = self.lab.loss_of(found.before.model, found.before.plan)
            found.loss_after = self.lab.loss_of(found.after.model, found.after.plan)

    # ---- the search ------------------------------------------------------------------------------------------------

    def _search(self, found: Verdict) -> None:
        taken = self._exact(found)
        if not enough(found.error_after, found.best_error):
            taken = self._scales(found, taken)
        affordable = 0.6 * self.lab.left / max(self.lab.seconds(self.plan) * len(self._open(taken)), 1e-9)
        if affordable < 1:
            taken = self._all_at_once(found, taken)
        self._alternatives = max(1, int(affordable))
        for stage in STAGES:
            self._one_by_one(found, taken, stage)
            taken = found.steps if found.after is not None else taken
        self._reserved = 0.0
        self._prune(found)
        self._prolong(found)
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
            if done and run.error < found.error_before:  # others may be better by a little
                found.after, found.steps = run, list(taken)
            else:
                self._keep(found, taken, run)
            self._reserved = min(len(taken) * run.seconds, self.lab.left / 2) if len(taken) > 1 else 0.0

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
            code = step.finding.code
            if not others:
                found.without[code] = found.reference(code)
                continue
            try:
                run = self.lab.run(self._plan_of(others))
            except OutOfWork:  # not measured, so nothing is credited
                self._complete = False
                continue
            except (ValueError, TypeError, MemoryError):
                run = None
            error = run.error if run is not None else math.inf
            if error <= found.error_after + COST and not (step.finding.exact and step.finding.severity == "error"):
                found.steps, found.after = others, run
            else:
                found.without[code] = error

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

    def _closed_form(self, found: Verdict) -> Run | None:
        """Where gradient steps are ill-conditioned: the net as it is, with its last layer in closed form."""
        own = remedies.closed_form(self.subject).apply(self.plan)
        if not own.closed_form or self.subject.problem or self.subject.conditioning < ILL_CONDITIONED:
            return None
        try:
            return self.lab.solve(own, SOLVING)
        except OutOfWork:
            self._complete = False
        except ValueError:  # a singular system
            pass
        return None

    def _compare_with_solved(self, found: Verdict, solved: Run | None) -> None:
        """Take the closed form if its error is so much smaller that training would not get there."""
        steps = [f for code in ("TOO_SLOW", "DIVERGED") for f in self.findings if f.code == code]
        if solved is None or not steps or solved.error > FAR_BETTER * min(found.error_after, found.own_error):
            return
        if found.cut:  # it is compared with the user's own training, which shortened trials cannot be
            found.before, found.cut, found.rows, found.singles = self._own, False, 0, {}
        found.after, found.new_net = solved, False
        found.steps = [Step(steps[0], remedies.closed_form(self.subject))]
        code, ratio = steps[0].code, self.subject.conditioning
        found.singles[code], found.without = solved.error, {code: found.reference(code)}
        times = f"{ratio:.2g} times" if math.isfinite(ratio) else "infinitely many times"
        found.notes[code] = (
            f"The columns of x are strongly correlated: their variance is {times} as large in some directions as "
            "in others, where gradient steps are slower by that factor; a least-squares solution of the last layer is "
            "exact."
        )

    def _compare_with_new(self, found: Verdict) -> None:
        if self._new is None or enough(found.error_after, self._new.error):
            return
        if self._new.error + NEW_NET < min(found.error_after, found.own_error):
            # What the changes so far did is no part of what the new net does: nothing is credited to them for it.
            found.after, found.new_net, found.steps, found.without = self._new, True, [], {}
