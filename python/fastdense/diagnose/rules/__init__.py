"""The rules: each checks a case for one kind of fault. To add one, write a function with `@rule` in a file here."""

from __future__ import annotations

from ..case import Case
from ..finding import Finding
from . import exact, net, representation, training, usage
from .registry import REGISTERED, Group, Rule

__all__ = ["CODES", "RULES", "Group", "Rule", "check", "exact", "net", "representation", "training", "usage"]

RULES = {rule.code: rule for rule in sorted(REGISTERED, key=lambda rule: rule.group)}  # stable: order of the functions
CODES = tuple(RULES)
SCALES = frozenset(code for code, rule in RULES.items() if rule.group is Group.SCALES)


def check(case: Case) -> list[Finding]:
    """Apply every rule."""
    return [found for rule in RULES.values() if (found := rule.find(case)) is not None]
