"""Order and severity of findings: what trials showed each to be worth."""

from __future__ import annotations

from dataclasses import replace

from .finding import SEVERITIES, Finding
from .heldout import Outlook
from .rules import RULES, SCALES
from .verify import EARNED, MOST, Verdict, enough

SERIOUS = 0.25  # relative error: below it a net does learn, and only exact faults are errors
WORTHLESS = 0.05  # of the error: what a change must remove for its finding to be a cause
OPPOSITES = (("DIVERGED", "TOO_SLOW"),)  # findings that ask for opposite changes


def order(findings: list[Finding], verdict: Verdict | None, outlook: Outlook | None = None) -> list[Finding]:
    """Worst first: with trials by what each finding explains, else by severity and the order of the rules."""
    if verdict is not None:
        findings = [weighed(f, verdict, outlook) for f in findings]
    findings = without_contradictions(findings, verdict)
    needed = verdict.codes if verdict is not None else set()
    earned = verdict.earned if verdict is not None and not verdict.healthy else []
    place = {id(f): i for i, f in enumerate(findings)}

    def key(f: Finding) -> tuple[float, ...]:
        gain = 0.0
        if verdict is not None and not verdict.healthy:
            gain = verdict.worth(f.code)
        first = f.exact and f.severity == "error"
        follows = RULES[f.code].consequence
        if needed & SCALES:  # these cause divergence and dead units
            return (SEVERITIES.index(f.severity), not first, follows, -round(2 * gain), place[id(f)])
        unearned = f.severity == "warning" and f.code not in earned
        return (SEVERITIES.index(f.severity), not first, unearned, -round(2 * gain), follows, place[id(f)])

    return sorted(findings, key=key)


def without_contradictions(findings: list[Finding], verdict: Verdict | None = None) -> list[Finding]:
    """The findings without those that ask for the opposite of a better one.

    Better is what is beyond doubt, then what the trials needed for the repair, then what earned more in a trial alone.
    Both stay where the repair needs both, or, before trials, where neither is beyond doubt.
    """
    for pair in OPPOSITES:
        both = [[f for f in findings if f.code == code and f.severity != "info"] for code in pair]
        if not all(both):
            continue
        sure = [code for code, found in zip(pair, both, strict=True) if any(f.severity == "error" for f in found)]
        needed = sure or [code for code in pair if verdict is not None and code in verdict.codes]
        if len(needed) != 1 and verdict is not None and not (verdict.codes & set(pair)):
            needed = [max(pair, key=verdict.worth)]  # the first one, if neither earned anything
        if len(needed) == 1:
            findings = [f for f in findings if f.code not in pair or f.code in needed]
    return findings


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
        gain = verdict.worth(found.code)
        best = min(verdict.error_after, verdict.best_error)
        before = max(min(verdict.error_before, MOST) - best, 0.0) or min(verdict.error_before, MOST)  # to be gained
        fact = found.exact and found.severity == "error" and not refuted(found, verdict)
        if found.code in verdict.codes or gain > 0.5 * before:
            severity = "error" if fact or (gain > EARNED * before and verdict.error_before > SERIOUS) else "warning"
        elif found.severity == "error" and not fact and found.remedies:
            severity = "warning"
        elif found.severity == "warning" and not found.exact and found.code in verdict.singles:
            severity = "info" if gain < WORTHLESS * before else "warning"
    note = verdict.notes.get(found.code)
    return replace(
        found,
        severity=severity,
        message=f"{found.message} {note}" if note else found.message,
    )


def refuted(found: Finding, verdict: Verdict) -> bool:
    """Whether a net with this fault learns well: the repaired one still has it."""
    after = verdict.after
    if (
        after is None
        or not found.remedies
        or found.code in verdict.codes
        or not enough(after.error, verdict.best_error)
    ):
        return False
    return found.remedies[0].apply(after.plan) != after.plan
