"""Causes that left no trace, worth a trial where what was found does not suffice."""

from __future__ import annotations

from dataclasses import replace

from ..layers import BatchNorm, Dropout
from . import remedies
from .case import Case
from .finding import Finding, finding
from .remedies import Remedy

FEW_ROWS, MANY_ROWS = 8, 256  # in a batch


def suspects(case: Case, found: list[Finding]) -> list[Finding]:
    """Findings that are kept only if a trial proves them."""
    known = {f.code for f in found if f.severity != "info"}
    made = [_suspect(code, said, *cures) for code, said, cures in _all(case) if code not in known]
    return [one for one in made if any(remedy.apply(case.plan) != case.plan for remedy in one.remedies)]


def _suspect(code: str, said: str, *cures: Remedy) -> Finding:
    made = finding(code, "info", f"{said} Nothing pointed to it beforehand; trials did.", *cures)
    return replace(made, silent=True)


def _all(case: Case) -> list[tuple[str, str, list[Remedy]]]:
    rates = [layer.rate for layer in case.plan.layers if isinstance(layer, Dropout)]
    normalized = any(isinstance(layer, BatchNorm) for layer in case.plan.layers)
    size, hidden = case.plan.batch_size, case.plan.hidden_activations()
    widest = max(case.plan.hidden_widths(), default=0)
    listed = []
    if rates:
        listed.append(
            ("OVER_REG", f"Dropout of {max(rates):.0%} takes away what the net needs.", [remedies.dropout(0.0)])
        )
    if size <= FEW_ROWS and (normalized or size == 1):
        what = "batch normalization sees one row at a time" if normalized else "every step follows a single row"
        listed.append(("BATCHING", f"With batches of {size}, {what}.", [remedies.batches(32)]))
    listed.append(
        ("INPUT_SCALE", "The columns of x differ in size or lie off 0.", [remedies.standardize(case.subject)])
    )
    if case.subject.task.kind == "regression":
        listed.append(
            (
                "TARGET_SCALE",
                "The targets are not of the size that the net gives.",
                [remedies.scale_targets(case.subject)],
            )
        )
    listed.append(("DIVERGED", "The steps are too long.", [remedies.learning_rate(0.1), remedies.clipping()]))
    if any(name in ("sigmoid", "tanh", "hard_sigmoid", "softsign") for name in hidden) and len(hidden) > 2:
        listed.append(
            ("VANISHING", "The gradient fades on its way through the layers.", [remedies.hidden_activation("relu")])
        )
    if widest < 4 * remedies.WIDE:
        what = f"{widest} units a layer are too few." if widest else "The net is linear."
        listed.append(("NO_CAPACITY", what, [remedies.capacity(), remedies.capacity(2 * remedies.WIDE)]))
    slow = [
        remedies.learning_rate(10),
        remedies.optimizer(remedies.ADAM),
        remedies.optimizer(remedies.QUICK_ADAM),
        remedies.epochs(5),
        remedies.epochs(20),
    ]
    if size > MANY_ROWS:
        slow.append(remedies.batches(32))
    listed.append(("TOO_SLOW", "The steps are too small or too few.", slow))
    return listed
