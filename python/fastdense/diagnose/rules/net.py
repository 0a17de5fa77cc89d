"""Rules about a net on its data: scales, initial values, units, capacity.

A threshold here only makes a change worth a trial; the trials decide (`verify.py`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...activations import TABLE
from ...arrays import Array
from ...layers import BatchNorm, Dense, LayerNorm
from .. import remedies
from ..case import Case
from ..finding import Finding, Severity, finding
from ..subject import Stage
from .registry import Group, rule

SMALL_LAYER = 8  # units; in a layer this small every dead or duplicate unit matters


@rule("INPUT_SCALE", Group.SCALES, "the columns of x are badly scaled")
def input_scale(case: Case) -> Finding | None:
    """Columns far from mean 0 and standard deviation 1, or of very different scales."""
    front = case.plan.front
    first = next(iter(case.plan.layers[len(front) :]), None)
    if not case.subject.usable or case.plan.normalized() or isinstance(first, (BatchNorm, LayerNorm)):
        return None
    mean, sd = case.subject.scale_after(front)
    moving = sd > 0
    if not moving.any():
        return None
    size, sds, means = (np.abs(mean) + sd)[moving], sd[moving], np.abs(mean)[moving]
    largest, ratio, offset = float(size.max()), float(sds.max() / sds.min()), float((means / sds).max())
    precision = (
        float(np.max(np.spacing(means.astype(np.float32)) / sds)) if case.subject.model.dtype != "float64" else 0.0
    )
    rare = float(np.mean(moving)) < 0.98 or len(sds) > 100  # e.g. pixels at the border: a large ratio is normal
    column = int(np.flatnonzero(moving)[size.argmax()])
    shown = f"Column {column} of x has mean {_number(mean[column], sd[column])} and standard deviation {sd[column]:.3g}"
    if precision > 1 / 16:
        message = f"{shown}: float32 does not resolve such differences."
    elif ratio > 100 and not rare:
        message = (
            f"The columns of x have standard deviations from {sds.min():.3g} to {sds.max():.3g}: columns of so "
            "different size need different learning rates."
        )
    elif offset > 10 and not rare:
        message = f"{shown}: next to so large a mean the differences hardly move the net."
    elif largest > 10:
        message = f"{shown}: so large inputs need a smaller learning rate than the other weights."
    elif largest < 0.01:
        message = f"{shown}, the largest of all: so small inputs hardly move the net."
    else:
        return None
    return finding(
        "INPUT_SCALE",
        "warning",
        message,
        remedies.standardize(case.subject),
        largest=largest,
        ratio_of_deviations=ratio,
        mean_over_deviation=offset,
        column=column,
    )


def _number(mean: float, sd: float) -> str:
    """A mean, as 0 where it is nothing next to the standard deviation."""
    return "0" if abs(mean) < 1e-6 * sd else f"{mean:.4g}"


@rule("TARGET_SCALE", Group.SCALES, "the targets are badly scaled")
def target_scale(case: Case) -> Finding | None:
    """Regression targets whose scale is far from that of an untrained net's outputs."""
    subject = case.subject
    if not subject.usable or subject.task.kind != "regression":
        return None
    y = subject.sample_y
    sd, mean = case.sd_y, float(np.abs(y.mean(axis=0)).max())
    size = max(sd, mean)
    sds = y.std(axis=0)
    sds = sds[sds > 0]
    if 1 < len(sds) <= remedies.FEW_COLUMNS and sds.max() > 100 * sds.min() and subject.loss.kind != "mape":
        return finding(
            "TARGET_SCALE",
            "error",
            f"The columns of y have standard deviations from {sds.min():.3g} to {sds.max():.3g}: the large columns "
            f"dominate {subject.loss.kind}, and the small ones hardly contribute.",
            remedies.scale_targets(subject),
            remedies.together(remedies.scale_targets(subject), remedies.optimizer(remedies.QUICK_ADAM)),
            exact=True,
            smallest_sd=float(sds.min()),
            largest_sd=float(sds.max()),
        )
    if sd == 0 or not (size > 10 or size < 0.01 or (sd < 0.01 and mean < 0.1) or mean > 20 * sd):
        return None
    message = f"The targets have mean {_number(float(y.mean()), sd)} and standard deviation {sd:.3g}"
    reach = case.latest.reachable
    facts: dict[str, Any] = {"target_sd": sd, "target_mean": float(y.mean())}
    if reach is not None and (y.max() > reach[1] or y.min() < reach[0]):
        message += (
            f", up to {y.max():.4g}; the bounded hidden units limit the outputs to {reach[0]:.3g} to "
            f"{reach[1]:.3g} {'now' if subject.trained else 'at first'}"
        )
        facts |= {"reachable_low": reach[0], "reachable_high": reach[1]}
    if size < 0.1:
        message += ": errors so small give gradients that hardly move the weights."
    elif mean > 20 * sd:
        message += ": the outputs start near 0, and what varies in the targets is small next to their mean."
    else:
        message += ": the outputs start near 0, far away, and errors so large make large gradients."
    return finding(
        "TARGET_SCALE", "warning", message,
        remedies.scale_targets(subject),
        **facts,
    )  # fmt: skip


@rule("SYMMETRIC", Group.SETTINGS, "units start with equal weights and stay equal", restart=True)
def symmetric(case: Case) -> Finding | None:
    """Units of a layer with equal initial weights, which therefore stay equal."""
    stages = case.subject.start.stages
    weights = case.subject.start.weights
    kernels = case.subject.start.kernels
    for stage in stages:
        if stage.kernel is None or (stage.last and len(kernels) > 1):
            continue
        columns = stage.kernel if stage.bias is None else np.vstack([stage.kernel, stage.bias])
        units = columns.shape[1]
        distinct = _distinct(columns.T)
        if units < 2 or distinct > units / 2 or stage.last:
            continue
        after = kernels[kernels.index(f"{stage.name}/kernel") + 1]
        rows = _distinct(weights[after])
        zero = not stage.kernel.any()
        if rows > len(weights[after]) / 2 and not zero:
            continue
        value = float(stage.kernel.flat[0])
        flat = bool((stage.kernel == value).all())
        return finding(
            "SYMMETRIC", "error",
            f"{'All' if distinct == 1 else f'All but {distinct}'} {units} units of {stage.name!r} have the "
            "same initial weights"
            f"{f' ({value:g})' if flat else ''}, so they get the same gradients and stay identical.",
            remedies.reinitialize(), layer=stage.name, exact=True, distinct_units=distinct, units_in_layer=units,
        )  # fmt: skip
    return None


def _distinct(rows: Array) -> int:
    """How many different rows there are; by their bytes, for sorting the rows of a large kernel takes seconds."""
    return len({row.tobytes() for row in np.ascontiguousarray(rows) + 0.0})  # no -0.0


@rule("INIT_SCALE", Group.SCALES, "the initial weights have a wrong scale", restart=True)
def init_scale(case: Case) -> Finding | None:
    """Initial kernels that make activations vanish or explode from layer to layer, or biases that switch units off."""
    start, last = case.subject.start, case.subject.model.layers[-1]
    gains: dict[str, float] = {}
    offsets: dict[str, float] = {}
    hidden: list[float] = []
    for layer, name in zip(case.subject.model.layers, case.subject.model.net.names, strict=True):
        if isinstance(layer, Dense):
            kernel = start.weights[f"{name}/kernel"]
            squares = float(np.einsum("ij,ij->", kernel, kernel, dtype=np.float64))
            ideal = math.sqrt(2.0) if layer.activation in ("relu", "relu6", "leaky_relu", "prelu") else 1.0
            gains[name] = math.sqrt(squares / kernel.shape[1]) / ideal
            offsets[name] = float(np.abs(start.weights.get(f"{name}/bias", np.zeros(1))).max())
            if gains[name] > 0 and layer is not last:
                hidden.append(gains[name])
    live = [gain for gain in gains.values() if gain > 0]
    if not live:
        return None
    product = math.prod(live)
    scaled = min(hidden or live) >= 0.1 and max(live) <= 5 and 1e-2 <= product <= 1e2
    at, bias = max(offsets.items(), key=lambda item: item[1])
    if scaled and bias <= 3:
        return None
    if min(hidden or live) >= 0.1 and max(live) <= 5 and bias > 3:
        message = f"The initial biases of {at!r} are as large as {bias:.3g}."
    else:
        at = max(gains, key=lambda name: abs(math.log(gains[name])) if gains[name] > 0 else 0.0)
        message = (
            f"The initial kernel of {at!r} multiplies the standard deviation of its input by {gains[at]:.2g} (all "
            f"layers: {product:.2g}), where about 1 keeps it."
        )
    ratio = (
        start.loss / case.subject.baseline[1] if case.subject.baseline and case.subject.baseline[1] > 0 else math.nan
    )
    if ratio > 5:
        message += f" The initial loss is {ratio:.3g} times that of the best constant prediction."
    return finding(
        "INIT_SCALE", "warning", message, remedies.reinitialize(), layer=at, gains=list(gains.values()),
        product=product, largest_bias=bias, first_loss_over_baseline=ratio,
    )  # fmt: skip


@rule("DEAD_RELU", Group.UNITS, "relu units are dead", restart=True, consequence=True)
def dead_relu(case: Case) -> Finding | None:
    """Hidden relu units that are 0 for every row."""
    found: list[tuple[Stage, Array, float]] = []
    for stage in case.latest.hidden:
        if TABLE[stage.activation].dead_below_zero and len(stage.z):
            found.append((stage, np.flatnonzero(stage.dead), float(stage.dead.mean())))
    if not found:
        return None
    stage, dead, share = max(found, key=lambda item: item[2])
    small = stage.z.shape[1] <= SMALL_LAYER
    if share < (0.1 if small else 0.3):
        return None
    when, extra = _deaths(case, stage, dead)
    total = sum(len(d) for _, d, _ in found)
    severity: Severity = "error" if share == 1 else "warning" if share >= 0.5 or small else "info"
    message = (
        f"All {len(dead)} units of {stage.name!r} are 0 for every row: no gradient passes, and the "
        "layers below it do not learn."
        if share == 1
        else f"{len(dead)} of {stage.z.shape[1]} relu units of {stage.name!r} are 0 for every row; "
        "their gradient is exactly 0, so they cannot recover."
    )
    return finding(
        "DEAD_RELU", severity, message + when,
        remedies.together(remedies.hidden_activation("leaky_relu"), remedies.reinitialize()),
        remedies.together(remedies.optimizer(remedies.ADAM), remedies.reinitialize()),
        remedies.learning_rate(0.1), remedies.starts(),
        layer=stage.name, units=dead.tolist(), dead_share=share, dead_in_all_layers=total, **extra,
    )  # fmt: skip


def _deaths(case: Case, stage: Stage, dead: Array) -> tuple[str, dict[str, Any]]:
    """When the units died, according to the probes of the training."""
    probes = getattr(case.subject.record, "probes", None)
    if probes is None or not len(dead):
        born = [u for u in dead.tolist() if u in _dead_at_start(case, stage)]
        if born:
            words = f" {len(dead) - len(born)} died in training, {len(born)} were dead at the start."
            if len(born) == len(dead):
                words = " All of them were dead at the start."
            return words, {"dead_at_start": len(born)}
        return "", {}
    try:
        moments = [(probes.first_death(stage.layer, unit), unit) for unit in dead.tolist()]
    except (IndexError, KeyError, ValueError):
        return "", {}
    known = sorted((m[1], m[0], unit) for m, unit in moments if m is not None)
    if not known:
        return "", {}
    step, epoch, unit = known[0]
    return (
        f" Unit {unit} was the first, in epoch {epoch + 1}, by step {step}.",
        {"first_dead_unit": unit, "epoch": epoch, "step": step},
    )


def _dead_at_start(case: Case, stage: Stage) -> set[int]:
    for other in case.subject.start.stages:
        if other.layer == stage.layer:
            return set(np.flatnonzero(other.dead).tolist())
    return set()


@rule("SATURATED", Group.UNITS, "hidden units are saturated", restart=True, consequence=True)
def saturated(case: Case) -> Finding | None:
    """Hidden units in the flat part of a saturating activation."""
    stages = [stage for stage in (*case.latest.hidden, *case.subject.start.hidden) if stage.saturated > 0.5]
    if not stages:
        return None
    stage = max(stages, key=lambda item: item.saturated)
    early = any(other.layer == stage.layer and other.saturated > 0.5 for other in case.subject.start.hidden)
    return finding(
        "SATURATED",
        "warning",
        f"{stage.saturated:.0%} of the outputs of {stage.name!r} are saturated {stage.activation}"
        f"{' (already at initialization)' if early else ''}: the gradient is almost 0 there.",
        remedies.standardize(case.subject),
        remedies.together(
            remedies.standardize(case.subject), remedies.reinitialize(), remedies.optimizer(remedies.ADAM)
        ),
        remedies.hidden_activation("relu"),
        layer=stage.name,
        saturated_share=stage.saturated,
        at_start=early,
    )


@rule("VANISHING", Group.UNITS, "the gradient vanishes towards the first layers", consequence=True)
def vanishing(case: Case) -> Finding | None:
    """Gradients that vanish from the last layer to the first."""
    start = case.subject.start
    kernels = [name for name in start.kernels if name in start.gradient]
    if len(kernels) < 3:
        return None
    first, last = start.rms(kernels[0]), start.rms(kernels[-1])
    if not (last > 0 and 0 <= first / last < 3e-3) or any(stage.dead.all() for stage in start.hidden):
        return None
    names = sorted({stage.activation for stage in start.hidden})
    depth = len(kernels)
    return finding(
        "VANISHING",
        "warning",
        f"The gradient of the first of {depth} layers is {first / last:.1e} times that of the last: each layer of "
        f"{' and '.join(names) or 'linear units'} shrinks it, and the first layers hardly learn.",
        remedies.together(remedies.hidden_activation("relu"), remedies.reinitialize()),
        remedies.together(
            remedies.hidden_activation("relu"), remedies.reinitialize(), remedies.optimizer(remedies.ADAM)
        ),
        remedies.together(
            remedies.hidden_activation("relu"), remedies.normalize_batches(), remedies.optimizer(remedies.ADAM)
        ),
        layer=kernels[0].rpartition("/")[0],
        first_over_last=first / last,
        depth=depth,
    )


@rule("NO_CAPACITY", Group.UNITS, "the net has too few units, or no activation or bias")
def no_capacity(case: Case) -> Finding | None:
    """A net that is linear, or has too few units."""
    if case.plan.computes_functions():
        return None
    dense, hidden = case.plan.dense(), case.plan.hidden_activations()
    widths = case.plan.hidden_widths()
    no_bias = [layer for layer in dense if not layer.use_bias]
    candidates = [
        remedies.capacity(),
        remedies.together(remedies.capacity(64), remedies.optimizer(remedies.QUICK_ADAM)),
    ]
    facts: dict[str, Any] = {"hidden_layers": len(widths), "smallest_width": min(widths, default=0)}
    if not widths:
        message, brief = "The net has no hidden layer: it is a linear model.", "the net has no hidden layer"
    elif not hidden:
        message = f"None of the {len(widths)} hidden layers has an activation: together they are one linear layer."
        brief = "no hidden layer has an activation"
    elif min(widths) <= SMALL_LAYER and min(widths) < max(
        case.subject.task.width, 3 if case.subject.model.inputs > 1 else 9
    ):
        units, many = min(widths), "s" * (min(widths) > 1)
        message = f"A hidden layer of {units} unit{many}, a bottleneck, passes on at most {units} number{many}."
        brief = "a hidden layer is a bottleneck"
    elif no_bias and len(no_bias) == len(dense):
        message = (
            "No layer has a bias: every hidden unit's kink is at the origin, and x = 0 always gives the same output."
        )
        candidates, brief = [remedies.capacity(1), *candidates], "no layer has a bias"
    else:
        return None
    return finding("NO_CAPACITY", "warning", message, *candidates, brief=brief, **facts)


@rule("DUPLICATE_UNITS", Group.UNITS, "hidden units are redundant", restart=True, consequence=True)
def duplicate_units(case: Case) -> Finding | None:
    """Two units of a layer that compute the same function up to a factor."""
    for stage in case.latest.hidden:
        live = np.flatnonzero(~stage.dead & ~stage.constant)
        if len(live) < 2 or stage.a.shape[1] > 512 or stage.kernel is None or len(stage.a) < 8:
            continue
        a = stage.a[:, live]
        with np.errstate(all="ignore"):
            r = np.corrcoef(a.T)
        pairs = np.argwhere(np.triu(np.abs(r) > 0.999, 1))
        if not len(pairs):
            continue
        units = sorted({int(live[i]) for pair in pairs for i in pair})
        small = stage.a.shape[1] <= SMALL_LAYER
        share = len(units) / stage.a.shape[1]
        if not small and share < 0.5:
            continue
        one, two = (int(live[i]) for i in pairs[0])
        same = float(np.abs(r[pairs[:, 0], pairs[:, 1]]).max()) > 1 - 1e-9
        return finding(
            "DUPLICATE_UNITS",
            "warning" if small else "info",
            f"Units {one} and {two} of {stage.name!r} compute the same function up to a factor (correlation "
            f"{r[pairs[0][0], pairs[0][1]]:.5f}): one of them is redundant.",
            remedies.starts(),
            remedies.reinitialize(),
            layer=stage.name,
            units=units,
            exact=same and small,
            pairs=len(pairs),
        )
    return None
