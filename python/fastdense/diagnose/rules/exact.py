"""Rules about exact facts: they need no training and almost no thresholds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...activations import TABLE
from ...arrays import Array
from .. import remedies
from ..case import Case
from ..finding import Finding, Severity, finding
from ..remedies import Remedy
from ..subject import RANGES, Subject
from ..task import Task
from .registry import Group, rule

FLOOR_FATAL, FLOOR_NOTED = 0.9, 0.2  # fraction of the targets' variance that no function of x explains
APART = 5.0  # of the range of all other values: from them to a number that stands for missing ones
FEW_EQUAL, MOST_MISSING, MANY_VALUES = 3, 0.5, 10  # rows that hold it, fraction of such rows, distinct other values
TINY = 1e-6  # relative tolerance for targets rounded at the end of an activation's range


@rule("BAD_DATA", Group.FACTS, "the data are unusable or contradict themselves")
def bad_data(case: Case) -> Finding | None:
    """NaN, infinite or too large values, refused sample weights, constant targets or inputs, contradictory rows."""
    subject = case.subject
    if not subject.usable:
        return unusable(subject)
    if subject.weights_refused:
        return finding(
            "BAD_DATA", "error", f"fit rejects the sample weights: {subject.problem.removeprefix('fit: ')}.",
            remedy="check how sample_weight was made", exact=True,
        )  # fmt: skip
    if len(subject.sample_y) > 1 and bool((subject.sample_y == subject.sample_y[0]).all()):
        constant_y = subject.sample_y[0]
        which = f"All targets are {constant_y[0]:g}" if len(constant_y) == 1 else "All rows of y are equal"
        return finding(
            "BAD_DATA", "error", f"{which}: there is nothing to learn.",
            remedy="check how y was made", exact=True, target_sd=0.0,
        )  # fmt: skip
    sd = subject.column_scale[1]
    constant = np.flatnonzero(sd == 0)
    constant = constant[(subject.x[:, constant] == subject.x[0, constant]).all(axis=0)] if len(constant) else constant
    if len(constant) == subject.x.shape[1] and len(subject.x) > 1:
        return finding(
            "BAD_DATA", "error", "All rows of x are equal, so nothing can be predicted from them.",
            remedy="check how x was made", exact=True, constant_columns=len(constant),
        )  # fmt: skip
    floor, rows = irreducible_share(subject)
    if floor > FLOOR_NOTED:
        severity: Severity = "error" if floor > FLOOR_FATAL else "warning"
        return finding(
            "BAD_DATA", severity,
            f"{rows:,} rows have an x that occurs more than once, with different targets: {floor:.0%} of the targets' "
            "variation cannot be learned by any model.",
            remedy="add features that distinguish such rows, or check how x and y were matched",
            exact=True, irreducible_share=floor, repeated_rows=rows,
        )  # fmt: skip
    if (missing := missing_values(subject)) is not None:
        return missing
    if len(constant):
        share = len(constant) / len(sd)
        return finding(
            "BAD_DATA", "info",
            f"{len(constant)} of {len(sd)} columns of x are constant and can be dropped: {_some(constant)}.",
            exact=True, constant_columns=constant[:20], constant_share=share,
        )  # fmt: skip
    return None


def unusable(subject: Subject) -> Finding:
    """The finding for data with NaN, infinity or numbers that are too large."""
    bad_x, bad_y = subject.bad_x, subject.bad_y
    name, bad = ("x", bad_x) if bad_x.any() else ("y", bad_y)
    row, column = (int(i) for i in np.argwhere(bad)[0])
    columns = np.flatnonzero(bad.any(axis=0))
    value = (subject.x if name == "x" else subject.y)[row, column]
    count = int((~subject.good).sum())
    place = f"the first ({value:g}) in row {row}, column {column}" + (
        f"; columns {_some(columns)}" if len(columns) > 1 else ""
    )
    if np.isfinite(value):
        message = (
            f"{name} holds {int(bad.sum()):,} values that {subject.model.dtype} cannot compute with, {place}: numbers "
            f"beyond {subject.largest:.2g} overflow."
        )
        remedy = f"scale {name} to about 1, or drop the {count:,} affected rows if these values are wrong"
    else:
        message = (
            f"{name} holds {int(bad.sum()):,} NaN or infinite values, {place}: a single one turns every weight into "
            "NaN."
        )
        remedy = f"drop or impute the {count:,} affected rows: good = np.isfinite({name}).all(axis=1)"
    return finding(
        "BAD_DATA", "error", message, remedy=remedy,
        exact=True, nonfinite_x=int(bad_x.sum()), nonfinite_y=int(bad_y.sum()), row=row, column=column,
        columns=columns[:20],
    )  # fmt: skip


def missing_values(subject: Subject) -> Finding | None:
    """One number that stands for all missing values of a column, such as -9999: far from all others of the column."""
    x = subject.sample_x
    low, high = x.min(axis=0), x.max(axis=0)
    for value, inner in ((low, _without(x, low)), (high, _without(x, high))):
        least, most = np.nanmin(inner, axis=0), np.nanmax(inner, axis=0)
        count = np.isnan(inner).sum(axis=0)
        gap = np.maximum(least - value, value - most)
        apart = (gap > APART * (most - least)) & (most > least)
        held = apart & (count >= FEW_EQUAL) & (count <= MOST_MISSING * len(x))
        found = [j for j in np.flatnonzero(held) if len(np.unique(inner[~np.isnan(inner[:, j]), j])) > MANY_VALUES]
        if found:
            j, names = found[0], f"Column{'s' * (len(found) > 1)} {_some(np.array(found))}"
            share = float(count[found].max()) / len(x)
            return finding(
                "BAD_DATA", "warning",
                f"{names} of x hold{'s' * (len(found) == 1)} {value[j]:g} in up to {share:.1%} of the rows, far "
                f"from all other values ({least[j]:.4g} to {most[j]:.4g} in column {j}): it seems to stand for missing "
                "values, and next to it the others are all alike.",
                remedy=f"replace {value[j]:g} by the median of the column, and add a column of 0 and 1 that says where "
                "it was", brief=f"{value[j]:g} stands for missing values", exact=True, columns=found[:20],
                value=float(value[j]), share=share,
            )  # fmt: skip
    return None


def _without(x: Array, values: Array) -> Array:
    """The columns with NaN in place of one value each; without it in all rows but one."""
    inner = np.where(x == values, np.nan, x)
    constant = np.isnan(inner).all(axis=0)
    inner[0, constant] = values[constant]
    return np.asarray(inner)


def irreducible_share(subject: Subject) -> tuple[float, int]:
    """Fraction of the targets' variation among rows of equal x, and the number of rows whose x is not unique.

    Equal rows are found by a random projection in float64: apart from rounding, different rows never collide.
    """
    x, y = subject.sample_x, subject.sample_y
    key = x @ np.random.default_rng(1).standard_normal(x.shape[1])
    _, group, counts = np.unique(key, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    repeated = int(counts[counts > 1].sum())
    if repeated < 2:
        return 0.0, 0
    if subject.task.classifies and subject.task.kind != "multilabel":
        truth = subject.task.classes_of(y)
        table = np.zeros((len(counts), int(truth.max()) + 1))
        np.add.at(table, (group, truth), 1)
        wrong = 1 - table.max(axis=1).sum() / len(y)
        total = 1 - np.bincount(truth).max() / len(y)
        return (float(wrong / total) if total > 0 else 0.0), repeated
    means = np.zeros((len(counts), y.shape[1]))
    np.add.at(means, group, y)
    means /= counts[:, None]
    within, total = np.square(y - means[group]).sum(), np.square(y - y.mean(axis=0)).sum()
    return (float(within / total) if total > 0 else 0.0), repeated


@rule("TARGET_ENCODING", Group.FACTS, "the targets are not what the loss expects")
def target_encoding(case: Case) -> Finding | None:
    """Targets outside the domain of the loss."""
    subject = case.subject
    if not subject.usable or subject.weights_refused:
        return None
    kind, y, outputs = subject.loss.kind, subject.sample_y, subject.model.outputs
    low, high = float(y.min()), float(y.max())
    remedy = remedies.matched_output(subject.task)
    severity: Severity = "error"
    message = ""
    labels = subject.task.labels
    if subject.problem:
        message = "fit rejects these targets: " + subject.problem.removeprefix("fit: ") + "."
    elif kind == "categorical_crossentropy" and subject.task.kind != "classes" and outputs > 1:
        sums = y.sum(axis=1)
        share = float(np.mean(np.abs(sums - 1) > 1e-3))
        if share > 0:
            message = (
                f"The targets of {share:.0%} of the rows do not sum to 1 (from {sums.min():.3g} to "
                f"{sums.max():.3g}), "
                "so they are not class probabilities."
            )
    elif subject.loss.over_classes and subject.task.kind == "regression":
        message = (
            f"{kind} is a classification loss, and the targets are continuous values from {low:.4g} to {high:.4g}."
        )
    elif kind == "poisson" and low < 0:
        message = f"poisson needs targets of 0 or more, and the smallest is {low:.4g}."
    elif subject.task.encoding == "ids" and outputs == 1 and len(labels) > 2:
        message = (
            f"The targets are {len(labels)} class ids and the net has one output, which treats "
            f"class {labels[1]:g} as lying between classes {labels[0]:g} and {labels[2]:g}."
        )
    elif (
        subject.task.encoding == "signs"
        and subject.activation in ("sigmoid", "softmax")
        and kind != "hinge"
        and outputs == 1
    ):
        message = f"The targets are -1 and 1, and {subject.activation} outputs lie between 0 and 1."
    elif subject.loss.measures_distance and outputs == 1 and (ids := _class_numbers(subject)) is not None:
        message = (
            f"The targets are the {len(ids.labels)} whole numbers {ids.labels[0]:g} to {ids.labels[-1]:g}, "
            f"which look like class ids; if they are, one output with {kind} treats class {ids.labels[1]:g} as lying "
            "between its neighbours."
        )
        return finding(
            "TARGET_ENCODING",
            "warning",
            message,
            remedies.matched_output(ids),
            loss=kind,
            distinct=len(ids.labels),
            outputs=1,
        )
    if not message:
        return None
    return finding(
        "TARGET_ENCODING", severity, message, remedy, exact=True, loss=kind, lowest=low, highest=high,
        distinct=len(labels) or None, outputs=outputs,
    )  # fmt: skip


def _class_numbers(subject: Subject) -> Task | None:
    """The classification task of one column of whole numbers that may be class ids; None if they cannot be."""
    labels = subject.task.labels
    if subject.task.kind != "regression" or not len(labels):
        return None
    return Task("classes", "ids", labels, int(labels[-1]) + 1)


@rule("SOFTMAX_1", Group.FACTS, "the output is always 1, a softmax over one unit")
def softmax_1(case: Case) -> Finding | None:
    """A softmax over a single unit, which is always 1."""
    subject = case.subject
    if subject.model.outputs != 1:
        return None
    over_classes = subject.loss.over_classes
    if subject.activation != "softmax" and not over_classes:
        return None
    what = "softmax over one unit" if subject.activation == "softmax" else f"{subject.loss.kind} over one output"
    return finding(
        "SOFTMAX_1",
        "error",
        f"{what} is constant: it does not depend on the weights, so the gradient is exactly 0.",
        remedies.matched_output(subject.task),
        layer=subject.output_layer,
        exact=True,
        outputs=1,
        activation=subject.activation,
    )


@rule("OUTPUT_RELU", Group.FACTS, "a relu as output is never negative and has no gradient where it is 0")
def output_relu(case: Case) -> Finding | None:
    """A relu as the output activation: no negative outputs, and no gradient where it is 0."""
    subject = case.subject
    if not TABLE[subject.activation].dead_below_zero or not subject.usable:
        return None
    stage = subject.now.stages[-1]
    off, dead = float(np.mean((stage.z <= 0).all(axis=1))), np.flatnonzero((stage.z <= 0).all(axis=0))
    negative = float(np.mean(subject.sample_y < 0))
    remedy = remedies.matched_output(subject.task, subject.loss if subject.loss.measures_distance else None)
    facts: dict[str, Any] = {"rows_with_all_outputs_off": off, "dead_outputs": len(dead), "negative_targets": negative}
    where: dict[str, Any] = {"layer": stage.name, "units": dead.tolist() or None, "exact": True}
    if subject.task.classifies:
        return finding(
            "OUTPUT_RELU", "error",
            f"The output relu sets every negative score to 0, where {subject.loss.kind} gets no gradient"
            f"{_zero_outputs(len(dead), len(stage.dead))}.",
            remedy, **where, **facts,
        )  # fmt: skip
    if negative > 0:
        return finding(
            "OUTPUT_RELU", "error",
            f"{negative:.0%} of the targets are negative, and a relu output is never negative.",
            remedy, brief="targets are negative, and a relu output never is", **where, **facts,
        )  # fmt: skip
    if len(dead) or off > 0.5:
        unused = np.flatnonzero((subject.sample_y == 0).all(axis=0))
        real = np.setdiff1d(dead, unused) if subject.sample_y.shape[1] == len(stage.dead) else dead
        all_off = len(dead) == len(stage.dead)
        return finding(
            "OUTPUT_RELU", "error" if all_off or len(real) else "warning",
            ("The relu output is 0 for every row: its gradient is exactly 0 and it stays 0."
             if all_off and len(dead) == 1 else
             f"{len(dead)} of {len(stage.dead)} relu outputs are 0 for every row: their gradient is exactly 0 and they "
             "stay 0.")
            + ("" if all_off else f" For {len(real)} of them the targets are not always 0."),
            remedy, brief="relu outputs are 0 for every row", **where, **facts,
        )  # fmt: skip
    return finding(
        "OUTPUT_RELU", "info",
        "The output activation is relu: an output that is 0 for a row gets no gradient from it.", remedy,
        **where, **facts,
    )  # fmt: skip


def _zero_outputs(dead: int, outputs: int) -> str:
    if not dead:
        return ""
    return ": the output is 0 for every row" if outputs == 1 else f": {dead} of {outputs} outputs are 0 for every row"


@rule("OUTPUT_RANGE", Group.FACTS, "targets lie outside the range of the output activation")
def output_range(case: Case) -> Finding | None:
    """Targets outside the range of the output activation."""
    subject = case.subject
    if not subject.usable or subject.activation in ("relu", "linear") or subject.activation not in RANGES:
        return None
    if subject.task.classifies and subject.task.encoding != "signs" and not subject.loss.measures_distance:
        return None
    y = subject.sample_y
    low, high = RANGES[subject.activation]
    slack = TINY * max(1.0, float(np.abs(y).max()))
    distance = np.maximum(np.maximum(low - y, y - high), 0.0)
    outside = float(np.mean(distance > slack))
    variance = float(y.var(axis=0).mean())
    floor = float(np.mean(np.square(distance)))
    if subject.task.classifies and subject.task.encoding not in ("signs", "values", "ids"):
        return None
    if subject.activation == "softmax" and subject.task.kind == "regression" and y.shape[1] > 1:
        off = float(np.mean(np.abs(y.sum(axis=1) - 1) > 1e-3))
        if off > 0 and not outside:
            return finding(
                "OUTPUT_RANGE",
                "error",
                f"softmax outputs sum to 1, and the targets of {off:.0%} of the rows do not.",
                remedies.matched_output(subject.task),
                layer=subject.output_layer,
                exact=True,
                rows_not_summing_to_1=off,
            )
    if outside == 0:
        return None
    share = floor / variance if variance > 0 else math.inf
    return finding(
        "OUTPUT_RANGE",
        "error" if share > 0.02 or outside > 0.1 else "warning",
        f"{outside:.0%} of the targets lie outside {_interval(low, high)}, the range of {subject.activation} "
        f"(they go from {y.min():.4g} to {y.max():.4g}): no weights bring the mean squared error below {floor:.3g}, "
        f"{share:.0%} of the targets' variance.",
        remedies.matched_output(subject.task, subject.loss if subject.loss.measures_distance else None),
        layer=subject.output_layer,
        exact=True,
        share_outside=outside,
        unreachable_mse=floor,
        target_variance=variance,
        lowest=float(y.min()),
        highest=float(y.max()),
    )


@rule("LOSS_ACT", Group.FACTS, "the output activation and the loss do not match")
def loss_act(case: Case) -> Finding | None:
    """An output activation and a loss that do not match."""
    subject = case.subject
    if not subject.usable:
        return None
    kind, act, outputs, task = subject.loss.kind, subject.activation, subject.model.outputs, subject.task
    over_classes = subject.loss.over_classes
    severity: Severity = "error"
    message = brief = ""
    candidates: list[Remedy] = [remedies.matched_output(task)]
    if subject.from_logits and act != "linear":
        twice = "softmax" if over_classes else "sigmoid"
        message = f"from_logits=True applies {twice} to the output, which {act} was already applied to."
        severity = "error" if act in ("softmax", "sigmoid", "relu", "relu6") else "warning"
        brief = f"{twice} is applied twice" if act == twice else ""
    elif over_classes and not subject.from_logits and act != "softmax" and outputs > 1:
        message = (
            f"{kind} expects probabilities, and {act} outputs are not (they may be negative, and need not sum to 1)."
        )
        if act == "sigmoid":
            message = (
                f"{kind} normalizes sigmoid outputs by their sum and uses the true class only: all outputs "
                "can grow towards 1 at no cost."
            )
    elif kind == "binary_crossentropy" and not subject.from_logits and act != "sigmoid":
        softmax_fits = act == "softmax" and task.encoding == "one_hot"
        message = f"binary_crossentropy expects a probability, and {act} "
        message += (
            "over all units makes them compete for a sum of 1."
            if act == "softmax"
            else "outputs can lie outside 0 to 1, where the loss is clipped and its gradient is exactly 0."
        )
        severity = "warning" if softmax_fits else "error"
    elif task.kind == "multilabel" and act == "softmax":
        per_row = float(subject.sample_y.sum(axis=1).mean())
        message = (
            f"The rows have {per_row:.2g} labels on average, and softmax outputs sum to 1: they cannot all be near 1."
        )
    elif kind == "hinge" and act in ("sigmoid", "softmax", "relu", "softplus"):
        message = f"hinge needs scores below -1 and above 1, and {act} outputs are never negative."
    elif (
        task.classifies
        and subject.loss.measures_distance
        and act in ("sigmoid", "softmax")
        and task.encoding != "signs"
    ):
        message = (
            f"{kind} on a {act} output: where a prediction is confident and wrong, the derivative of {act} is "
            "almost 0, so the net hardly learns from its worst errors."
        )
        severity = "warning"
    elif task.kind == "classes" and subject.loss.measures_distance and kind != "mse" and outputs > 1:
        message = f"{kind} on one-hot targets: the best constant prediction is 0 for every class rarer than one half."
        severity = "warning"
    elif kind == "poisson" and act in ("linear", "tanh", "leaky_relu", "elu", "selu", "gelu", "silu"):
        message = f"poisson takes the logarithm of the output, and {act} outputs may be negative."
        candidates = [Remedy("end with softplus", lambda plan: plan.with_output(outputs, "softplus", plan.loss)),
                Remedy("end with exponential", lambda plan: plan.with_output(outputs, "exponential", plan.loss)),
        ]  # fmt: skip
    elif task.kind == "regression" and subject.loss.measures_distance and act == "softmax" and outputs > 1:
        message = "softmax makes the outputs compete for a sum of 1, and the targets are continuous values."
    if not message:
        return None
    return finding(
        "LOSS_ACT", severity, message, *candidates, brief=brief, layer=subject.output_layer, exact=True,
        loss=kind, activation=act, from_logits=subject.from_logits, task=task.kind,
    )  # fmt: skip


@rule("MAPE_ZERO", Group.FACTS, "targets at or near 0 dominate the percentage error")
def mape_zero(case: Case) -> Finding | None:
    """Percentage errors with targets at or near 0."""
    subject = case.subject
    if not subject.usable:
        return None
    zeros = float(np.mean(subject.sample_y == 0))
    if subject.loss.kind != "mape":
        watched = [m.name for m in subject.model.metrics if m.kind == "mape"]
        if watched and zeros > 0:
            return finding(
                "MAPE_ZERO", "info",
                f"The metric {watched[0]} divides by the target, and {zeros:.1%} of the targets are 0: each adds about "
                "10^9 % per unit of error, so the metric is meaningless.",
                remedy="use 'mae'", exact=True, zero_targets=zeros,
            )  # fmt: skip
        return None
    weight: Array = 1.0 / np.maximum(np.abs(subject.sample_y), 1e-7).ravel()
    weight = np.sort(weight)[::-1]
    held = float(weight[: max(1, math.ceil(0.05 * len(weight)))].sum() / weight.sum())
    if zeros == 0 and (held <= 0.5 or subject.activation == "exponential"):  # then its steps are relative, too
        return None
    what = (
        f"{zeros:.1%} of the targets are 0"
        if zeros
        else f"the smallest 5 % of the targets hold {held:.0%} of the weight"
    )
    return finding(
        "MAPE_ZERO", "error" if zeros or held > 0.8 else "warning",
        f"mape weights every row by 1/|y|, and {what}: the net fits those rows and nothing else.",
        remedies.loss("mae"), remedies.loss("mse"), exact=True, zero_targets=zeros, weight_of_smallest_5_percent=held,
    )  # fmt: skip


def _some(numbers: Array) -> str:
    shown = ", ".join(str(int(i)) for i in numbers[:5])
    return shown + (", ..." if len(numbers) > 5 else "")


def _interval(low: float, high: float) -> str:
    return f"{low:g} and above" if math.isinf(high) else f"{low:g} to {high:g}"
