"""A finding: the evidence, its meaning and the remedy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from .remedies import Remedy

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """One fault of, or fact about, a net and its data.

    Attributes
    ----------
    code : str
        Kind of fault; one of `fastdense.diagnose.CODES`.
    severity : {"error", "warning", "info"}
        "error": the net cannot learn until this is changed; "warning": it hurts; "info": worth knowing.
    layer : str or None
        Name of the layer, where the fault is in one.
    units : list of int or None
        Units of that layer.
    evidence : dict
        Measured quantities by name: numbers, strings and lists of them.
    message : str
        What it means, in one or two sentences.
    remedy : str
        What to do.
    """

    code: str
    severity: Severity
    layer: str | None
    units: list[int] | None
    evidence: dict[str, Any]
    message: str
    remedy: str
    remedies: tuple[Remedy, ...] = field(default=(), repr=False, compare=False)
    exact: bool = field(default=False, repr=False, compare=False)
    silent: bool = field(default=False, repr=False, compare=False)  # reported only if a trial proves it
    brief: str = field(default="", repr=False, compare=False)  # what is wrong, more precisely than the rule's words
    reachable: float | None = field(default=None, repr=False, compare=False)  # held-out error that its remedy allows

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON types."""
        return {
            "code": self.code, "severity": self.severity, "layer": self.layer, "units": self.units,
            "evidence": self.evidence, "message": self.message, "remedy": self.remedy,
        }  # fmt: skip


def finding(
    code: str,
    severity: Severity,
    message: str,
    *remedies: Remedy,
    layer: str | None = None,
    units: list[int] | None = None,
    remedy: str = "",
    exact: bool = False,
    brief: str = "",
    reachable: float | None = None,
    **evidence: Any,
) -> Finding:
    """Make a finding; `remedies` are alternatives, the most likely first.

    Its text `remedy` is left to the report (`words.worded`) unless it is given here.
    """
    plain = {name: _plain(value) for name, value in evidence.items()}
    return Finding(
        code, severity, layer, units, plain, message, remedy, remedies, exact, brief=brief, reachable=reachable
    )


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
