"""How a net does on rows kept out, beside what witnesses learn there: healthy, overfitted, or nothing to learn."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import remedies
from .case import FEWEST, Case
from .finding import Finding, finding
from .plan import Plan
from .remedies import Remedy
from .shift import Shift
from .subject import Subject
from .trials import Laboratory, OutOfTime, OutOfWork, Run
from .verify import CLOSE, HEALTHY, SLACK, Step, Verdict, enough
from .witnesses import FOLDS, RIDGE, SELECTION, USELESS, chance

FEW, FEW_HELD = 400, 30  # rows below which all folds are used, and validation rows that are too few
CHOICES = 4  # remedies that must be affordable with all folds
BETTER = 0.03  # what a remedy must gain on rows kept out
WORTH = 0.1  # smallest gap between a net and what can be reached that is called overfitting
WELL_FITTED, CLEARLY_WORSE = (
    0.5,
    1.2,
)  # times the loss of a constant prediction: the loss, and a val_loss that says overfitting
SAME = "the same net, on rows kept out of x itself"  # what a net on other rows is compared with
MIXED = 0.5  # part of the gap that shuffling the rows must close


@dataclass(frozen=True)
class Outlook:
    """A net on rows kept out.

    Attributes
    ----------
    code : str
        What stands between the net and what can be reached there: "OVERFIT", "NOISE", "SPLIT",
        "TRAIN_TEST_MISMATCH"; "" if nothing does.
    rows : int
        Rows kept out.
    own : float
        Error of the net on its own rows.
    kept_out : float
        Its error on rows kept out; NaN if it was not measured.
    best : float
        The smallest error there that anything reached, and `name`: what did.
    name : str
    after : float
        Error there with the remedy.
    advice : str
        What to do with the rows, where that is the remedy.
    chosen_from : int
        Remedies from which the one reported was chosen.
    fitted : float
        Error of the same training on those rows that it was trained on, where some of x were kept out.
    losses : tuple of three floats, or None
        Where the loss on rows kept out is the fault: that loss, with the remedy, and of a constant prediction.
    sure : bool
        Of NOISE: whether the nets that found nothing were trained until more training did not help.
    """

    code: str
    rows: int
    own: float
    kept_out: float
    best: float
    name: str
    after: float = math.nan
    advice: str = ""
    chosen_from: int = 1
    losses: tuple[float, float, float] | None = None
    fitted: float = math.nan
    sure: bool = True


@dataclass(frozen=True)
class Kept:
    """Which rows are kept out.

    Attributes
    ----------
    folds : tuple of int, or None
        Folds of a cross-validation; None for the user's own validation rows.
    together : bool
        Whether the folds are of the training and validation rows together.
    rows : int
        Rows kept out, of all folds.
    """

    folds: tuple[int, ...] | None
    together: bool
    rows: int

    @classmethod
    def of(cls, case: Case) -> Kept | None:
        """The user's validation rows if there are enough; else folds, all of them where rows are few."""
        held, groups = case.subject.held, case.subject.groups
        count = len(case.subject.x) if groups is None else len(np.unique(groups))
        usable = held is not None and held.usable
        if held is not None and usable and len(held.x) >= FEW_HELD:
            return cls(None, False, len(held.x))
        together = held is not None and usable and case.subject.validation_data is None
        count += len(held.x) if held is not None and together else 0
        if count < FEWEST:
            return None
        return cls(tuple(range(FOLDS)), together, count) if count < FEW else cls((0,), together, count // FOLDS)

    def for_choice(self, case: Case, lab: Laboratory, plan: Plan) -> Kept:
        """Rows to choose a remedy by: all rows in turn instead of few of a validation split, if the work allows it."""
        held = case.subject.held
        if self.folds is not None or held is None or len(held.x) >= FEW or case.subject.validation_data is not None:
            return self
        if CHOICES * FOLDS * lab.seconds(plan) > lab.left:
            return self
        return Kept(tuple(range(FOLDS)), True, len(case.subject.x) + len(held.x))

    def run(self, lab: Laboratory, plan: Plan) -> Run:
        """Train a plan and measure its error on the rows kept out."""
        if self.folds is None:
            return lab.held_run(plan)
        runs = [lab.held_run(plan, fold, together=self.together) for fold in self.folds]
        return replace(runs[-1], error=float(np.mean([run.error for run in runs])))

    def halves(self, lab: Laboratory, plan: Plan) -> tuple[float, float]:
        """Errors of such a run on either half of the rows kept out."""
        parts = [lab.held_predictions(plan, fold, together=self.together) for fold in self.folds or (None,)]
        y, p = (np.concatenate(some) for some in zip(*parts, strict=True))
        half = np.random.default_rng(8).permutation(len(y)) % 2 == 0
        one, other = (lab.task_error(plan, y[part], p[part]) for part in (half, ~half))
        return one, other

    def loss(self, lab: Laboratory, plan: Plan) -> float:
        """The user's loss on the rows kept out."""
        parts = [lab.held_predictions(plan, fold, together=self.together) for fold in self.folds or (None,)]
        return float(np.mean([lab.mean_loss(*part) for part in parts]))


def look(case: Case, lab: Laboratory, verdict: Verdict, found: list[Finding]) -> tuple[Outlook | None, list[Finding]]:
    """Judge a net on rows kept out after the trials on its own rows; findings to add.

    It changes the verdict where rows kept out say otherwise, and gives it the steps that help there.
    """
    known, kept = case.bounds, Kept.of(case)
    if known is None or kept is None:
        return None, []
    best, name = known.best.error, known.best.name
    if verdict.unseen < best:
        best, name = verdict.unseen, "a plain new net"
    codes = {f.code for f in found if f.severity != "info"}
    fits = verdict.healthy or verdict.own_error <= HEALTHY
    if not fits and not verdict.hopeless:
        return None, []
    outlook = Outlook("", kept.rows, verdict.own_error, math.nan, best, name)
    if verdict.hopeless:
        return _nothing(case, verdict, outlook, codes)
    try:
        own, kept_out, plan = _errors(case, lab, verdict, kept)
    except (OutOfTime, OutOfWork):
        return None, []
    outlook = replace(outlook, kept_out=kept_out, fitted=own)
    gap = kept_out > CLOSE * own + WORTH
    if (
        kept.folds is None
        and gap
        and (codes & {"SPLIT", "TRAIN_TEST_MISMATCH"} or case.subject.validation_data is not None)
    ):
        made, more = _other_rows(case, lab, verdict, outlook, found)
        if made is not None:
            return made, more
    least = chance(kept.rows)
    if gap and kept_out > least:  # the smallest of several errors on few rows may lie a little lower by chance
        least -= _deviation(1.0, kept.rows) / 2
    if not known.signal and min(best, kept_out) > least:
        return _nothing(case, verdict, outlook, codes)
    near = max(HEALTHY, CLOSE * best + SLACK, best + WORTH, best + _deviation(kept_out, kept.rows))
    if kept.folds is not None and plan == case.plan and (other := _val_loss_of_other_rows(case, lab, kept)) is not None:
        verdict.healthy = False
        return replace(outlook, code="TRAIN_TEST_MISMATCH", kept_out=math.nan, best=kept_out, name=SAME), [other]
    shorter = plan != case.plan and kept.folds is not None  # a shorter training than the user's may end elsewhere
    if shorter and kept_out > near:
        return replace(outlook, kept_out=math.nan), []
    if kept.folds is None and gap and _val_loss_says_so(case):  # sure of answers that are wrong, however many are right
        return _overfit(case, lab, verdict, outlook, kept, plan, by_loss=True)
    if own > verdict.own_error + WORTH and kept_out > near and _fault_that_chance_hid(lab, verdict, kept, plan, found):
        return outlook, []
    if kept_out <= near or not gap:  # if it is as bad on its own rows, it does not overfit
        return outlook, []
    return _overfit(case, lab, verdict, outlook, kept, plan)


def _fault_that_chance_hid(lab: Laboratory, verdict: Verdict, kept: Kept, plan: Plan, found: list[Finding]) -> bool:
    """A fact that stops the same training on other rows, though the net at hand has learnt: whether there is one."""
    for one in found:
        if not (one.exact and one.severity == "error" and one.remedies):
            continue
        changed = one.remedies[0].apply(plan)
        try:
            before, run = kept.run(lab, plan), kept.run(lab, changed)
        except (OutOfTime, OutOfWork):
            return False
        if changed != plan and run.error < MIXED * before.error:
            _take(verdict, one, one.remedies[0], run)
            return True
    return False


def _val_loss_says_so(case: Case) -> bool:
    """Whether the net fits its own rows, but its last val_loss is worse than the loss of a constant prediction."""
    history, baseline = case.subject.history, case.subject.baseline
    loss, val = history.get("loss", []), history.get("val_loss", [])
    if not (case.subject.trained and loss and val and baseline):
        return False
    return bool(loss[-1] < WELL_FITTED * baseline[1] and val[-1] > CLEARLY_WORSE * baseline[1])


def _val_loss_of_other_rows(case: Case, lab: Laboratory, kept: Kept) -> Finding | None:
    """A val_loss far above the loss on rows kept out of x, where validation data were passed to fit and not here."""
    subject, fitted = case.subject, case.subject.fitted
    val, baseline = subject.history.get("val_loss", []), subject.baseline
    if fitted is None or fitted.validation_split or fitted.validation_rows < FEW_HELD or not (val and baseline):
        return None
    if subject.validation_data is not None or not math.isfinite(val[-1]):
        return None
    loss = kept.loss(lab, case.plan)
    if not (val[-1] > CLEARLY_WORSE / MIXED * loss and val[-1] - loss > WORTH * baseline[1]):
        return None
    return finding(
        "TRAIN_TEST_MISMATCH", "error",
        f"val_loss ended at {val[-1]:.4g}, and the same training gives {loss:.4g} on rows kept out of x: the rows of "
        "validation_data are unlike those of x. Overfitting is not the reason.",
        remedy="pass validation_data to diagnose as well, to see which columns differ; prepare both in the same way",
        exact=True, val_loss=val[-1], loss_on_rows_of_x_kept_out=loss,
    )  # fmt: skip


def _deviation(error: float, rows: int) -> float:
    """Two standard errors of an error on so many rows, as those of a rate relative to a half."""
    return 2 * math.sqrt(2 * min(error, 1.0) / rows)


def _errors(case: Case, lab: Laboratory, verdict: Verdict, kept: Kept) -> tuple[float, float, Plan]:
    """Error of a net on the rows that it was trained on, and on those kept out, and how it was trained."""
    held, plan = case.subject.held, case.plan
    if kept.folds is None and held is not None and case.subject.trained:
        return verdict.own_error, lab.error_on(case.subject.model, plan, held.x, held.y), plan
    try:
        run = kept.run(lab, plan)
    except OutOfWork:  # trials may be shorter
        plan = verdict.before.plan if verdict.before is not None else plan
        run = kept.run(lab, plan)
    mixed = lab.error_of(run.model, run.plan)
    if kept.folds is None:
        return mixed, run.error, plan
    return max(0.0, (4 * mixed - run.error) / 3), run.error, plan  # a quarter of the rows were kept out


# ---- nothing to learn ------------------------------------------------------------------------------------------------


def _nothing(case: Case, verdict: Verdict, outlook: Outlook, codes: set[str]) -> tuple[Outlook | None, list[Finding]]:
    known = case.bounds
    assert known is not None
    verdict.healthy, verdict.hopeless = False, True
    if codes & {"REPRESENTATION", "OUTLIERS"}:  # x does hold it, in another form, or y does
        verdict.hopeless = False
        return None, []
    outlook = replace(outlook, code="NOISE", rows=max(outlook.rows, known.rows), sure=verdict.converged)
    figures = ", ".join(f"{one.name} {_share(one.error)}" for one in known.witnesses)
    own = f" The net explains {_share(outlook.own)} of its own rows" if math.isfinite(outlook.own) else ""
    if own and math.isfinite(outlook.kept_out):
        own += f" and {_share(outlook.kept_out)} of rows kept out: what it has learnt is noise."
    elif own:
        own += "."
    last = (
        " A change of the net will hardly help, unless y depends on x in a way that none of them finds, such as fast "
        "oscillations or the parity of many columns."
        if verdict.converged
        else " The new nets were trained only briefly: with a larger budget they may find more."
    )
    noise = finding(
        "NOISE", "error",
        f"Nothing tried predicts y from x better than a constant on {outlook.rows:,} rows kept out (explained: "
        f"{figures}, new nets at best {_share(verdict.unseen)}).{own}{last}",
        remedy="other or more informative columns, more rows, or a target with less noise", exact=True,
        rows_kept_out=outlook.rows, error_on_own_rows=outlook.own, error_kept_out=outlook.kept_out,
        errors_of_witnesses={one.name: one.error for one in known.witnesses},
    )  # fmt: skip
    return outlook, [noise]


def _share(error: float) -> str:
    return f"{1 - error:.0%}" if error < 1 else "nothing"


# ---- rows kept out that are unlike the others ------------------------------------------------------------------------


def _other_rows(
    case: Case, lab: Laboratory, verdict: Verdict, outlook: Outlook, found: list[Finding]
) -> tuple[Outlook | None, list[Finding]]:
    """Prove that the rows kept out are unlike those trained on; None if they are not the reason. Findings to add."""
    plan = verdict.before.plan if verdict.before is not None else case.plan
    for one in found:
        if one.code == "SPLIT" and one.remedies:
            changed = one.remedies[0].apply(plan)
            try:
                run = lab.held_run(changed, 0, together=True)
            except (OutOfTime, OutOfWork):  # that the rows are unlike is a fact all the same
                verdict.healthy = verdict.complete = False
                return replace(outlook, code="SPLIT"), []
            if run.error < MIXED * outlook.kept_out:
                _take(verdict, one, one.remedies[0], run)
                return replace(outlook, code="SPLIT", after=run.error), []
        if one.code == "TRAIN_TEST_MISMATCH":
            after, advice = aligned(case.subject, lab, case.plan)
            if after < MIXED * outlook.kept_out:
                verdict.healthy = False
                return replace(outlook, code=one.code, after=after, advice=advice), []
            for remedy in one.remedies:
                try:
                    run = lab.held_run(remedy.apply(plan))
                except (OutOfTime, OutOfWork):
                    verdict.complete = False
                    break
                if run.error < MIXED * outlook.kept_out:
                    _take(verdict, one, remedy, run)
                    return replace(outlook, code=one.code, after=run.error), []
    return (None, []) if case.subject.validation_data is None else _unlike(case, lab, verdict, outlook, found)


def _unlike(
    case: Case, lab: Laboratory, verdict: Verdict, outlook: Outlook, found: list[Finding]
) -> tuple[Outlook | None, list[Finding]]:
    """Whether the net fails on validation data alone: on rows kept out of x the same training does far better."""
    try:
        run = lab.held_run(verdict.before.plan if verdict.before is not None else case.plan, 0)
    except (OutOfTime, OutOfWork):
        verdict.complete = False
        return None, []
    if not (run.error < MIXED * outlook.kept_out and run.error < outlook.kept_out - WORTH):
        return None, []
    verdict.healthy = False
    made = replace(outlook, code="TRAIN_TEST_MISMATCH", best=run.error, name=SAME)
    if any(one.code == made.code for one in found):
        return made, []
    unlike = finding(
        made.code, "error",
        f"The same training explains {_share(run.error)} of rows that were kept out of x, and "
        f"{_share(outlook.kept_out)} of validation_data: these rows are of another kind, though no column of them "
        "shows it. Overfitting is not the reason.",
        remedy="find out in what the two differ: how x and y were made there, of which time or place they are; split "
        "one shuffled table instead", exact=True, error_on_rows_of_x_kept_out=run.error,
        error_on_validation_data=outlook.kept_out,
    )  # fmt: skip
    return made, [unlike]


def aligned(subject: Subject, lab: Laboratory, plan: Plan) -> tuple[float, str]:
    """Error of the net on the rows that differ, with their columns as in training, and what was done for that."""
    shift = Shift.of(subject)
    if shift is None or not (advice := shift.advice()):
        return math.inf, ""
    held = subject.held if shift.where == "validation_data" else None
    x, y = lab.scored if held is None else (held.x, held.y)
    return lab.error_on(subject.model, plan, np.ascontiguousarray(shift.undone(subject.filled(x))), y), advice


# ---- overfitting -----------------------------------------------------------------------------------------------------


def _overfit(
    case: Case, lab: Laboratory, verdict: Verdict, outlook: Outlook, kept: Kept, plan: Plan, *, by_loss: bool = False
) -> tuple[Outlook | None, list[Finding]]:
    """The finding, with trials of what helps: judged by the error on rows kept out, or by the loss there."""
    history, baseline = case.subject.history, case.subject.baseline
    constant = baseline[1] if by_loss and baseline is not None else 0.0
    tried: list[tuple[Remedy, Run]] = []
    losses: list[float] = []  # relative to that of the best constant
    kept = kept.for_choice(case, lab, plan)
    try:
        for remedy in _candidates(case, plan, _resembled(case, outlook)):
            if (changed := remedy.apply(plan)) == plan:
                continue
            tried.append((remedy, kept.run(lab, changed)))
            if constant:
                losses.append(kept.loss(lab, changed) / constant)
            if losses[-1] < USELESS if constant else enough(tried[-1][1].error, outlook.best):
                break
    except (OutOfTime, OutOfWork):
        verdict.complete = False
    facts: dict[str, Any] = {}
    curve = ""
    val = history.get("val_loss", [])
    if len(val) > 4 and np.isfinite(val).all() and val[-1] > 1.1 * min(val):
        at = int(np.argmin(val))
        curve = (
            f" val_loss was smallest in epoch {at + 1} ({val[at]:.4g}) and is {val[-1]:.4g} now, while the loss fell "
            f"to {history['loss'][-1]:.4g}."
        )
        facts = {"epoch_of_smallest_val_loss": at + 1, "smallest_val_loss": val[at], "val_loss": val[-1]}
    message = (
        f"The net has learnt its own rows by heart: it explains {_share(outlook.own)} of them and "
        f"{_share(outlook.kept_out)} of {outlook.rows:,} rows kept out, where {outlook.name} explains "
        f"{_share(outlook.best)}.{curve}"
    )
    weights, count = case.subject.model.count_params(), len(case.subject.x)
    if weights > count:
        message += f" It has {weights:,} parameters for {count:,} rows."
    made = finding(
        "OVERFIT", "error", message, *[remedy for remedy, _ in tried],
        remedy="more rows; fewer epochs, a penalty on the weights, dropout or a smaller net", exact=True,
        rows_kept_out=outlook.rows, error_on_own_rows=outlook.own, error_kept_out=outlook.kept_out,
        smallest_error_kept_out=outlook.best, reached_by=outlook.name, parameters=weights, rows=count,
        errors_with_remedies={remedy.words: run.error for remedy, run in tried}, **facts,
    )  # fmt: skip
    verdict.healthy = False
    if not tried:
        return replace(outlook, code="OVERFIT"), [made]
    values, before = (
        (losses, history["val_loss"][-1] / constant)
        if constant
        else ([run.error for _, run in tried], outlook.kept_out)
    )
    at = int(np.argmin(values))
    remedy, run = tried[at]
    if values[at] > min(before - BETTER, USELESS):
        return replace(outlook, code="OVERFIT"), [made]
    if constant:
        outlook = replace(outlook, losses=(before * constant, losses[at] * constant, constant))
    after = _not_chosen_by(lab, kept, [remedy.apply(plan) for remedy, _ in tried]) if len(tried) > 1 else run.error
    _take(verdict, made, remedy, replace(run, error=after))
    return replace(outlook, code="OVERFIT", after=after, chosen_from=len(tried)), [made]


def _not_chosen_by(lab: Laboratory, kept: Kept, plans: list[Plan]) -> float:
    """Error of the best of several plans on rows that it was not chosen by: chosen by one half, measured on the other.

    The smallest of several errors on the same rows would be too small, the more so the fewer rows and the more plans.
    """
    halves = np.array([kept.halves(lab, plan) for plan in plans])
    best = halves.argmin(axis=0)
    return float((halves[best[0], 1] + halves[best[1], 0]) / 2)


def _resembled(case: Case, outlook: Outlook) -> str:
    """The simplest predictor that is as good as the best one within a standard error: a remedy should resemble it."""
    assert case.bounds is not None
    near = outlook.best + _deviation(outlook.best, case.bounds.rows) / 2
    simple = [one for one in case.bounds.witnesses if one.name in (RIDGE, SELECTION) and one.error <= near]
    return min(simple, key=lambda one: one.error).name if simple else outlook.name


def _candidates(case: Case, plan: Plan, name: str) -> list[Remedy]:
    """What may help against overfitting, what resembles this predictor first."""
    subject = case.subject
    val = subject.history.get("val_loss", [])
    short = [remedies.shorter(int(np.argmin(val)) + 1)] if len(val) > 4 and np.isfinite(val).all() else []
    short += [remedies.shorter(max(1, round(share * plan.epochs))) for share in (0.3, 0.1)]
    sparse = [remedies.shrink(0.01, subject, "l1")]
    small = [remedies.shrink(0.01, subject), remedies.shrink(0.1, subject), remedies.shrink(0.001, subject)]
    straight = []
    if len(plan.dense()) > 1:
        straight = [remedies.together(remedies.linear(), remedies.shrink(0.01, subject, kind)) for kind in ("l1", "l2")]
    order = {SELECTION: [sparse, straight, small, short], RIDGE: [straight[::-1], small, short, sparse]}
    usual = [short, small, sparse, straight, [remedies.thin_out(0.5)]]
    return [remedy for group in order.get(name, usual) for remedy in group]


def _take(verdict: Verdict, made: Finding, remedy: Remedy, run: Run) -> None:
    verdict.healthy, verdict.after, verdict.steps = False, run, [Step(made, remedy)]
