"""Registration of rules: a rule is a function with `@rule`, and all that is known of its code stands there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from ..case import Case
from ..finding import Finding

Find = Callable[[Case], "Finding | None"]


class Group(IntEnum):
    """The order in which causes are checked and, if equally likely, reported; within a group that of the functions."""

    FACTS = 1  # hold or do not hold, whatever training does
    SETTINGS = 2  # first values, penalties, batches and forms of columns that defeat training
    SCALES = 3  # of data and weights; a wrong one hides what other changes are worth
    STEPS = 4  # too long
    UNITS = 5  # dead, saturated, duplicate or too few
    PROGRESS = 6  # too slow
    SYMPTOM = 7  # never a cause


@dataclass(frozen=True)
class Rule:
    """One kind of fault.

    Attributes
    ----------
    code : str
        Name of the fault, in capitals.
    group : Group
    words : str
        What is wrong, as part of a sentence.
    find : callable
        Case to finding, None if the fault is not there.
    restart : bool
        Whether another random initialization may be all that is needed.
    consequence : bool
        Whether it often follows from another fault: then its remedy is not applied without a trial.
    """

    code: str
    group: Group
    words: str
    find: Find
    restart: bool
    consequence: bool


REGISTERED: list[Rule] = []


def rule(
    code: str, group: Group, words: str, *, restart: bool = False, consequence: bool = False
) -> Callable[[Find], Find]:
    """Register a function as the rule for a code; see `Rule` for the arguments."""

    def register(find: Find) -> Find:
        REGISTERED.append(Rule(code, group, words, find, restart, consequence))
        return find

    return register
