"""The report that `Model.diagnose` returns."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from ..arguments import file_path
from ..callbacks.progress import is_interactive
from ..model.base import BaseModel
from .finding import Finding
from .page import page
from .result import Result
from .words import headline, text

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Treatment(Generic[M]):
    """A repaired net.

    Attributes
    ----------
    model : BaseModel
        New, compiled, not trained; accepts the user's x and y unchanged.
    fit_options : dict
        For ``model.fit(x, y, **fit_options)``.
    changes : list of str
        Descriptions of the changes; empty if none is needed or none helps.
    dropped : list of str
        Options of the last `fit` that `fit_options` does not hold: pass them again if they are wanted.
    """

    model: M
    fit_options: dict[str, Any]
    changes: list[str]
    dropped: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{i}. {change}" for i, change in enumerate(self.changes, 1)] or ["nothing was changed"]
        return "\n".join([*lines, *(f"to be passed to fit again: {option}" for option in self.dropped)])


class Diagnosis(Generic[M]):
    """Report on why a net does not learn.

    Attributes
    ----------
    findings : list of Finding
        Worst first.
    headline : str
        The conclusion in one sentence.
    healthy : bool or None
        Whether the net learns as well as can be expected; None without trials.
    seconds : float
        Duration of the diagnosis.
    """

    def __init__(self, result: Result, seconds: float) -> None:
        self._result = result
        self.findings, self.seconds = result.findings, seconds
        self.healthy = result.healthy

    @property
    def causes(self) -> list[Finding]:
        """The findings of severity "error"."""
        return self._result.causes

    @property
    def headline(self) -> str:
        """The conclusion in one sentence."""
        return headline(self._result)

    def treat(self) -> Treatment[M]:
        """Make a new, compiled model with the remedies that trials proved, or, without trials, those of all errors.

        Returns
        -------
        Treatment
            With a copy of the model as it is if nothing is to be changed.
        """
        model, plan, changes = self._result.treated_model()
        return Treatment(cast(M, model), self._result.fit_options(plan), changes, self._result.dropped(plan))

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types."""
        verdict = self._result.verdict
        trials: dict[str, Any] | None = None
        if verdict is not None:
            trials = {
                "healthy": verdict.healthy,
                "hopeless": verdict.hopeless,
                "complete": verdict.complete,
                "stopped_by_the_clock": verdict.clocked,
                "rows": verdict.rows,
                "sampling_error": _number(verdict.sampling_error),
                "loss_before": _number(verdict.loss_before),
                "loss_after": _number(verdict.loss_after),
                "error_before": _number(verdict.before.error) if verdict.before is not None else None,
                "error_after": _number(verdict.after.error) if verdict.after is not None else None,
                "error_of_a_new_net": _number(verdict.best_error),
                "kept_out": self._kept_out(),
                "alone": {code: _number(error) for code, error in verdict.singles.items()},
                "left_out": {code: _number(error) for code, error in verdict.without.items()},
            }
        return {
            "headline": self.headline,
            "healthy": self.healthy,
            "findings": [f.to_dict() for f in self.findings],
            "changes": self._result.treated()[1],
            "trials": trials,
            "work": self._result.subject.work.spent,
            "seconds": self.seconds,
        }

    def _kept_out(self) -> dict[str, Any] | None:
        outlook = self._result.outlook
        if outlook is None:
            return None
        return {
            "rows": outlook.rows, "error": _number(outlook.kept_out), "smallest_error": _number(outlook.best),
            "reached_by": outlook.name, "error_after": _number(outlook.after),
        }  # fmt: skip

    def __str__(self) -> str:
        return text(self._result, _colours())

    def __repr__(self) -> str:
        return f"<Diagnosis: {', '.join(f'{f.code} ({f.severity})' for f in self.findings) or 'nothing found'}>"

    def _repr_html_(self) -> str:
        return page(self._result, whole=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report as one self-contained HTML page, with the evidence drawn.

        Parameters
        ----------
        path : str or path
            E.g. "report.html"; an existing file is replaced.

        Raises
        ------
        TypeError
            If it is neither a string nor a path.
        OSError
            If the file cannot be written.
        """
        path, whole = file_path("save: path", path), page(self._result)
        with open(path, "w", encoding="utf-8") as file:
            file.write(whole)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _colours() -> bool:
    return is_interactive(sys.stdout) and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
