"""REPRESENTATION: columns, or targets, whose form hides what they say from a net."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...arrays import Array
from ...data.rows import random_rows
from ...layers.preprocessing import encoded
from .. import remedies
from ..case import PART, Case
from ..finding import Finding, finding
from ..representations import (
    BETTER,
    FITS,
    LEAST_GAIN,
    LEAST_ROWS,
    MOST_COLUMNS,
    ROWS,
    TAIL_NUMBERS,
    TARGETS,
    Choice,
    Sample,
    fitting_seconds,
    heavy_tails,
    search,
    two_sizes,
)
from ..work import affordable_rows, numbers, sizes_of
from .registry import Group, rule

SORTED = 40  # elementary operations per number of columns that are sorted
LEARNT = 0.05  # a net with a smaller error needs no other representation
PREDICTED_SECONDS, FEWEST_PREDICTED = 0.05, 500  # for the error of the net as it is; rows
LINEAR_OUTPUTS = ("linear", "relu", "leaky_relu", "elu", "softplus")


@rule("REPRESENTATION", Group.SETTINGS, "columns or targets need another representation")
def representation(case: Case) -> Finding | None:
    """Simple models predict far more with logarithms, one column per code, or sines of columns, or a log target."""
    subject = case.subject
    if not subject.usable or subject.problem:
        return None
    wide = subject.x.shape[1] > MOST_COLUMNS
    subject.work.charge(numbers(SORTED * min(TAIL_NUMBERS, subject.x.size)) if wide else 0.0)
    if wide and not subject.task.scale and not heavy_tails(subject.sample_x):  # then there is nothing to look for
        return None
    own = _own_error(case)
    if own is not None and own < LEARNT:
        return None
    rows, width, targets = (
        ROWS,
        encoded(case.plan.front, subject.sample_x[:1]).shape[1],
        min(TARGETS, max(subject.task.width, subject.y.shape[1])),
    )
    while FITS * fitting_seconds(rows, width, targets) > PART * subject.work.left:
        rows //= 2
        if rows < LEAST_ROWS:
            return None
    sample = Sample.of(subject.task, encoded(case.plan.front, subject.sample_x), subject.sample_y, rows)
    found = None if sample is None else search(sample, subject.work)
    if sample is None or found is None:
        return None
    choice, reached = found.choice, found.error
    limit = BETTER * own if own is not None else np.inf
    if reached > min(limit, 1.0 - LEAST_GAIN) or (own is not None and own - reached < LEAST_GAIN):
        return None
    log_target = bool(subject.task.scale) and case.plan.loss.measures_distance
    log_target = log_target and case.plan.output_activation() in LINEAR_OUTPUTS
    columns = [remedies.represented(subject, choice, case.plan.front)] if choice.columns else []
    target = remedies.log_target(subject) if log_target else []
    if not (columns or target):
        return None
    both = [remedies.together(*columns, one) for one in target] if columns else []
    says = [*_of_columns(choice, two_sizes(sample.x)), *(_of_target(case) if log_target else [])]
    before = f" (with the columns as they are {sample.score(found.as_given)})" if choice.columns else ""
    return finding(
        "REPRESENTATION",
        "warning",
        f"{' '.join(says)} So represented, models as simple as ridge regression reach {sample.score(reached)} on rows "
        f"kept out{before}.",
        *both,
        *target,
        *columns,
        reachable=reached,
        held_out_error_as_given=found.as_given if choice.columns else None,
        held_out_error=reached,
        columns_with_tails=list(choice.tails),
        columns_of_codes=list(choice.codes),
        frequencies={str(j): f for j, f in choice.periods.items()},
        target_scale=subject.task.scale if log_target else None,
    )


def _own_error(case: Case) -> float | None:
    """Error of the net as it is, on a sample of the rows; None if it is not trained."""
    subject = case.subject
    if not subject.trained:
        return case.run.error if case.run is not None else None
    net = sizes_of(subject.model)
    count = affordable_rows(PREDICTED_SECONDS, net.forward(1), FEWEST_PREDICTED, len(subject.sample_x))
    x, y = random_rows(subject.sample_x, count), random_rows(subject.sample_y, count)
    subject.work.charge(net.forward(len(x)))
    threshold = subject.threshold(case.plan.output_activation(), case.plan.loss)
    return subject.task.errors(y, subject.model.predict(np.ascontiguousarray(x)), threshold)


def _of_columns(choice: Choice, units: Array) -> list[str]:
    """A sentence for each kind of column; `units` (bool) are those of two sets of numbers of different size."""
    says = []
    if mixed := [j for j in sorted(choice.columns) if units[j]]:
        says.append(f"{_columns(mixed)} two sets of numbers of very different size: two units? Convert them to one.")
    if tails := [j for j in choice.tails if not units[j]]:
        says.append(
            f"{_columns(tails)} a long tail: a few values lie so far out that all others "
            "look alike; take the logarithm."
        )
    if choice.codes:
        count = sum(map(len, choice.codes.values()))
        says.append(
            f"{_columns(choice.codes)} codes ({count}) whose order as numbers means little; use one column per code."
        )
    if periods := {j: some for j, some in choice.periods.items() if not units[j]}:
        j, some = next(iter(periods.items()))
        says.append(
            f"{_columns(periods)} many periods of the targets (one every {1 / some[0]:.4g} in column {j}), more "
            "than a net learns soon; use sines and cosines."
        )
    return says


def _of_target(case: Case) -> list[str]:
    y = case.subject.sample_y
    largest = np.sort(np.square(y - y.mean()).ravel())[::-1]
    few = int(np.searchsorted(np.cumsum(largest), 0.9 * largest.sum())) + 1
    return [
        f"The targets go over decades: {few} of {len(y)} rows hold{'s' * (few == 1)} 90 % of their variance, so that a "
        "squared error sees no others; learn their logarithm, by which nets are compared here."
    ]


def _columns(columns: Iterable[int]) -> str:
    """The columns as the subject of a sentence, and its verb."""
    some = list(columns)
    shown = ", ".join(map(str, some[:5])) + (", ..." if len(some) > 5 else "")
    return f"Column {shown} has" if len(some) == 1 else f"Columns {shown} have"
