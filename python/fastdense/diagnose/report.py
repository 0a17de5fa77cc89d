"""What `Model.diagnose` returns, and how it reads."""

from __future__ import annotations

import copy
import math
import os
import sys
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..callbacks.progress import is_interactive
from .finding import DYNAMICS, Finding
from .plan import Plan
from .subject import Subject
from .verify import Verdict

if TYPE_CHECKING:
    from ..model.base import BaseModel

WIDTH = 100
COLOURS = {"error": "31;1", "warning": "33;1", "info": "36", "good": "32;1"}


@dataclass(frozen=True)
class Treatment:
    """A repaired net.

    Attributes
    ----------
    model : Model
        New, compiled, not trained; takes the user's x and y as they are.
    fit_options : dict
        For ``model.fit(x, y, **fit_options)``.
    changes : list of str
        What was changed, in words; empty if nothing needs to be, or nothing helps.
    """

    model: BaseModel
    fit_options: dict[str, Any]
    changes: list[str]

    def __str__(self) -> str:
        if not self.changes:
            return "nothing was changed"
        return "\n".join(f"{i}. {change}" for i, change in enumerate(self.changes, 1))


class Diagnosis:
    """Why a net is stuck.

    Attributes
    ----------
    findings : list of Finding
        Worst first.
    headline : str
        The answer in a sentence.
    healthy : bool or None
        Whether the net learns as well as can be expected; None without trials.
    seconds : float
        What the diagnosis took.
    """

    def __init__(
        self, subject: Subject, plan: Plan, findings: list[Finding], verdict: Verdict | None, seconds: float
    ) -> None:
        self._subject, self._plan, self._verdict = subject, plan, verdict
        self.findings, self.seconds = findings, seconds
        self.healthy = None if verdict is None else verdict.healthy

    @property
    def causes(self) -> list[Finding]:
        """The findings of severity "error"."""
        return [f for f in self.findings if f.severity == "error"]

    @property
    def headline(self) -> str:
        """The answer in a sentence."""
        from .words import headline

        return headline(self._subject, self.findings, self._verdict)

    def treat(self) -> Treatment:
        """Make a new, compiled model with the remedies that trials proved, or, without trials, those of all errors.

        Returns
        -------
        Treatment
            Where nothing is to be changed, with a copy of the model as it is.
        """
        plan, changes = self._treated()
        model = plan.build() if changes else copy.deepcopy(self._subject.model)
        return Treatment(model, plan.fit_options(), changes)

    def _treated(self) -> tuple[Plan, list[str]]:
        verdict = self._verdict
        if verdict is None or verdict.inconclusive:
            plan = self._plan
            words: list[str] = []
            for found in self.findings:
                taken = found.severity == "error" or (found.severity == "warning" and found.code not in DYNAMICS)
                if taken and found.remedies:
                    changed = found.remedies[0].apply(plan)
                    if changed != plan:
                        plan, words = changed, [*words, f"{found.code}: {found.remedies[0].words}"]
            return plan, words
        if verdict.after is None:
            return self._plan, []
        plan = self._whole(verdict.after.plan)
        if verdict.new_net:
            hidden = ", ".join(f"{layer.units} {layer.activation}" for layer in plan.dense()[:-1])
            words = [f"no single change repaired it: a plain net anew ({hidden} units, standardised data, "
                     f"{plan.optimizer!r})"]  # fmt: skip
        else:
            words = [f"{step.finding.code}: {step.remedy.words}" for step in verdict.steps]
        if plan.epochs != self._plan.epochs:
            words.append(f"{plan.epochs} epochs in place of {self._plan.epochs}")
        return plan, words

    def _whole(self, plan: Plan) -> Plan:
        """A plan whose epochs were cut to fit trials gets back those of the training that it replaces."""
        from dataclasses import replace

        asked = int(self._subject.options.get("epochs", 0))
        return replace(plan, epochs=max(plan.epochs, asked))

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types."""
        verdict = self._verdict
        trials: dict[str, Any] | None = None
        if verdict is not None:
            trials = {
                "healthy": verdict.healthy,
                "hopeless": verdict.hopeless,
                "complete": verdict.complete,
                "error_before": _number(verdict.before.error) if verdict.before is not None else None,
                "error_after": _number(verdict.after.error) if verdict.after is not None else None,
                "error_of_a_new_net": _number(verdict.best_error),
                "alone": {code: _number(error) for code, error in verdict.singles.items()},
                "left_out": {code: _number(error) for code, error in verdict.without.items()},
            }
        return {
            "headline": self.headline,
            "healthy": self.healthy,
            "findings": [f.to_dict() for f in self.findings],
            "changes": self._treated()[1],
            "trials": trials,
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        return self._text(colour=_colours())

    def __repr__(self) -> str:
        return f"<Diagnosis: {', '.join(f'{f.code} ({f.severity})' for f in self.findings) or 'nothing found'}>"

    def _repr_html_(self) -> str:
        from .page import page

        return page(self, whole=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report as one self-contained HTML page, with the evidence drawn.

        Parameters
        ----------
        path : str or path
            E.g. "report.html"; an existing file is replaced.
        """
        from .page import page

        with open(path, "w", encoding="utf-8") as file:
            file.write(page(self))

    def _text(self, colour: bool) -> str:
        from .words import text

        return text(self, colour)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _colours() -> bool:
    return is_interactive(sys.stdout) and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def wrapped(text: str, indent: int) -> str:
    """Text in lines of `WIDTH`."""
    pad = " " * indent
    return textwrap.fill(text, WIDTH, initial_indent=pad, subsequent_indent=pad)
