"""Possible causes that the rules cannot measure; tried if the findings do not suffice to repair the net."""

from __future__ import annotations

from dataclasses import replace

from ..activations import TABLE
from ..layers import BatchNorm, Dropout
from . import remedies
from .case import Case
from .finding import Finding, finding
from .ranking import OPPOSITES
from .remedies import Remedy

FEW_ROWS, MANY_ROWS = 8, 256  # in a batch


def suspects(case: Case, found: list[Finding]) -> list[Finding]:
    """Findings that are reported only if a trial proves them."""
    known = {f.code for f in found if f.severity != "info"}
    known |= {code for pair in OPPOSITES for code in pair if known & set(pair)}
    findings = [_suspect(code, message, *candidates) for code, message, candidates in _all(case) if code not in known]
    return [one for one in findings if any(remedy.apply(case.plan) != case.plan for remedy in one.remedies)]


def _suspect(code: str, message: str, *candidates: Remedy) -> Finding:
    findings = finding(code, "info", message, *candidates)
    return replace(findings, silent=True)


def _all(case: Case) -> list[tuple[str, str, list[Remedy]]]:
    rates = [layer.rate for layer in case.plan.layers if isinstance(layer, Dropout)]
    normalized = any(isinstance(layer, BatchNorm) for layer in case.plan.layers)
    size, hidden = case.plan.batch_size, case.plan.hidden_activations()
    widest = max(case.plan.hidden_widths(), default=0)
    suspected = []
    if rates:
        suspected.append(("OVER_REG", f"Dropout of {max(rates):.0%} is too much.", [remedies.dropout(0.0)]))
    if size <= FEW_ROWS and (normalized or size == 1):
        what = (
            "batch normalization gets too few rows" if normalized else "every step follows the gradient of a single row"
        )
        suspected.append(("BATCHING", f"With batches of {size}, {what}.", [remedies.batches(32)]))
    suspected.append(
        (
            "INPUT_SCALE",
            "The columns of x have different scales or means far from 0.",
            [remedies.standardize(case.subject)],
        )
    )
    if case.subject.task.kind == "regression":
        suspected.append(
            (
                "TARGET_SCALE",
                "The scale of the targets does not suit the net.",
                [remedies.scale_targets(case.subject)],
            )
        )
    suspected.append(("DIVERGED", "The steps are too large.", [remedies.learning_rate(0.1), remedies.clipping()]))
    if any(TABLE[name].saturation for name in hidden) and len(hidden) > 2:
        suspected.append(
            ("VANISHING", "The gradient vanishes through the layers.", [remedies.hidden_activation("relu")])
        )
    if widest < 4 * remedies.WIDE:
        what = f"{widest} units per layer are too few." if widest else "The net is linear."
        suspected.append(("NO_CAPACITY", what, [remedies.capacity(), remedies.capacity(2 * remedies.WIDE)]))
    slow = [
        remedies.learning_rate(10),
        remedies.optimizer(remedies.ADAM),
        remedies.optimizer(remedies.QUICK_ADAM),
        remedies.epochs(5),
        remedies.epochs(20),
    ]
    if size > MANY_ROWS:
        slow.append(remedies.batches(32))
    suspected.append(("TOO_SLOW", "The steps are too small or too few.", slow))
    return suspected
