"""Rules about what a net does on the data: scales, first values, dynamics. Thresholds here only raise a suspicion; what
a change does in a trial decides (`verify.py`)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from .. import optimizers
from ..arrays import Array
from ..data import Rows
from ..layers import Dense, Dropout, LayerNorm
from ..layers import BatchNorm as _BatchNorm
from ..schedules import Schedule
from . import remedies as do
from .finding import Finding, finding
from .plan import Plan
from .subject import BOUNDED, Stage, State, Subject
from .trials import Run

RELUS = ("relu", "relu6")
SMALL_LAYER = 8  # units: one that is dead or double counts
ADAM = optimizers.Adam(0.001)
QUICK_ADAM = optimizers.Adam(0.01)


@dataclass
class Case:
    """A subject, the plan of its training, and that training once more if it was made.

    Attributes
    ----------
    s : Subject
    plan : Plan
    run : Run or None
    """

    s: Subject
    plan: Plan
    run: Run | None

    @cached_property
    def losses(self) -> list[float]:
        """Losses of the training that is to be explained."""
        return self.s.history.get("loss") or (self.run.losses if self.run is not None else [])

    @cached_property
    def end(self) -> State | None:
        """The net after training, if it was trained or trained again here."""
        if self.s.trained:
            return self.s.now
        return self.run.state if self.run is not None else None

    @cached_property
    def latest(self) -> State:
        """The net after training if there was any, else at its start."""
        return self.s.start if self.end is None else self.end

    @cached_property
    def sd_y(self) -> float:
        """Root mean variance of the targets' columns."""
        return float(np.sqrt(self.s.some_y.var(axis=0).mean()))


# ---- scales ----------------------------------------------------------------------------------------------------------


def input_scale(c: Case) -> Finding | None:
    """Columns far from mean 0 and deviation 1, or far from one another."""
    if not c.s.finite or c.plan.normalized() or (c.plan.layers and isinstance(c.plan.layers[0], (_BatchNorm, LayerNorm))):
        return None
    mean, sd = c.s.column_scale
    moving = sd > 0
    if not moving.any():
        return None
    size, sds, means = (np.abs(mean) + sd)[moving], sd[moving], np.abs(mean)[moving]
    largest, ratio, offset = float(size.max()), float(sds.max() / sds.min()), float((means / sds).max())
    precision = float(np.max(np.spacing(means.astype(np.float32)) / sds)) if c.s.model.dtype != "float64" else 0.0
    rare = float(np.mean(moving)) < 0.98 or len(sds) > 100  # pixels at the border: a large ratio means nothing
    reasons = []
    if largest > 10:
        reasons.append(f"columns as large as {largest:.3g}")
    elif float(size.max()) < 0.01:
        reasons.append(f"no column larger than {largest:.2g}")
    if ratio > 100 and not rare:
        reasons.append(f"deviations that differ by a factor of {ratio:.3g}")
    if offset > 10 and not rare:
        reasons.append(f"a mean {offset:.3g} times the deviation")
    if precision > 1 / 16:
        reasons.append("differences smaller than float32 can hold beside the mean")
    if not reasons:
        return None
    column = int(np.flatnonzero(moving)[size.argmax()])
    return finding(
        "INPUT_SCALE", "warning",
        f"x has {', '.join(reasons)} (column {column}: mean {mean[column]:.4g}, deviation {sd[column]:.3g}): sums of such "
        "inputs swamp the first layer, and one learning rate cannot suit all its weights.",
        do.standardize(c.s), largest=largest, ratio_of_deviations=ratio, mean_over_deviation=offset, column=column,
    )  # fmt: skip


def target_scale(c: Case) -> Finding | None:
    """Measured targets far from the size of what a net gives at first."""
    s = c.s
    if not s.finite or s.task.kind != "regression":
        return None
    y = s.some_y
    sd, mean = c.sd_y, float(np.abs(y.mean(axis=0)).max())
    size = max(sd, mean)
    if sd == 0 or not (size > 10 or size < 0.01 or (sd < 0.01 and mean < 0.1) or mean > 20 * sd):
        return None
    said = f"The targets have mean {y.mean():.4g} and deviation {sd:.3g}"
    reach = reachable(c.latest)
    facts: dict[str, Any] = {"target_sd": sd, "target_mean": float(y.mean())}
    if reach is not None and (y.max() > reach[1] or y.min() < reach[0]):
        said += (f", up to {y.max():.4g}; with its hidden units at their limits the net gives {reach[0]:.3g} to {reach[1]:.3g} "
                 f"at most {'now' if s.trained else 'at its start'}")  # fmt: skip
        facts |= {"reachable_low": reach[0], "reachable_high": reach[1]}
    said += ": steps of ordinary size take very long to get there, or the first errors are so large that steps explode."
    return finding(
        "TARGET_SCALE", "warning", said,
        do.together(do.matched_output(s.task, s.loss if s.loss.kind in ("mse", "mae", "huber", "log_cosh") else None),
                    do.scale_targets(s)),
        **facts,
    )  # fmt: skip


def reachable(state: State) -> tuple[float, float] | None:
    """Smallest and largest output of a net whose last hidden layer is bounded: bias -+ sum |kernel|, over all units."""
    last = state.stages[-1]
    below = [stage for stage in state.stages if stage.layer == last.layer - 1]
    if not below or below[0].activation not in BOUNDED or last.kernel is None or last.activation != "linear":
        return None
    low, high = BOUNDED[below[0].activation]
    bias = 0.0 if last.bias is None else last.bias
    up, down = np.maximum(last.kernel, 0), np.minimum(last.kernel, 0)
    return (
        float(np.min(bias + (up * low + down * high).sum(axis=0))),
        float(np.max(bias + (up * high + down * low).sum(axis=0))),
    )


# ---- first values ----------------------------------------------------------------------------------------------------


def symmetric(c: Case) -> Finding | None:
    """Units of a layer that start alike and therefore stay alike."""
    stages = c.s.start.stages
    weights = c.s.start.weights
    kernels = c.s.start.kernels
    for stage in stages:
        if stage.kernel is None or (stage.last and len(kernels) > 1):
            continue
        columns = stage.kernel if stage.bias is None else np.vstack([stage.kernel, stage.bias])
        units = columns.shape[1]
        distinct = len(np.unique(columns, axis=1).T)
        if units < 2 or distinct > units / 2 or stage.last:
            continue
        after = kernels[kernels.index(f"{stage.name}/kernel") + 1]
        rows = len(np.unique(weights[after], axis=0))
        zero = not stage.kernel.any()
        if rows > len(weights[after]) / 2 and not zero:
            continue
        value = float(stage.kernel.flat[0])
        flat = bool((stage.kernel == value).all())
        return finding(
            "SYMMETRIC", "error",
            f"{'All' if distinct == 1 else f'All but {distinct}'} {units} units of {stage.name!r} start with the same weights"
            f"{f' ({value:g})' if flat else ''}, so they get the same gradient and stay one and the same unit.",
            do.fresh_start(), layer=stage.name, exact=True, distinct_units=distinct, units_in_layer=units,
        )  # fmt: skip
    return None


def init_scale(c: Case) -> Finding | None:
    """First kernels that make signals vanish or explode from layer to layer."""
    start = c.s.start
    gains = []
    for layer, name in zip(c.s.model.layers, c.s.model.net.names, strict=True):
        if isinstance(layer, Dense):
            kernel = start.weights[f"{name}/kernel"].astype(np.float64)
            fan_in = len(kernel)
            ideal = math.sqrt(2.0) if layer.activation in (*RELUS, "leaky_relu", "prelu") else 1.0
            square = float(np.sqrt(np.mean(np.square(kernel)) * fan_in))
            bias = start.weights.get(f"{name}/bias")
            offset = 0.0 if bias is None else float(np.abs(bias).max())
            gains.append((name, square / ideal, offset, bool(layer is c.s.model.layers[-1])))
    live = [gain for _, gain, _, _ in gains if gain > 0]
    if not live:
        return None
    hidden = [gain for _, gain, _, last in gains if gain > 0 and not last] or live
    product = math.prod(live)
    worst = max(gains, key=lambda g: abs(math.log(g[1])) if g[1] > 0 else 0.0)
    offset = max(gains, key=lambda g: g[2])
    biased = offset[2] > 3
    if not biased and 0.1 <= min(hidden) and max(live) <= 5 and 1e-2 <= product <= 1e2:
        return None
    if biased and 0.1 <= min(hidden) and max(live) <= 5:
        said, layer = f"The biases of {offset[0]!r} start at up to {offset[2]:.3g}", offset[0]
    else:
        said = f"The first kernel of {worst[0]!r} makes signals {worst[1]:.3g} times the size they should keep"
        layer = worst[0]
    said += f" (all layers together: {product:.3g})."
    ratio = start.loss / c.s.baseline[1] if c.s.baseline and c.s.baseline[1] > 0 else math.nan
    if ratio > 5:
        said += f" The first loss is {ratio:.3g} times that of the best constant."
    return finding(
        "INIT_SCALE", "warning", said, do.fresh_start(), layer=layer, gains=[gain for _, gain, _, _ in gains],
        product=product, largest_bias=offset[2], first_loss_over_baseline=ratio,
    )  # fmt: skip


# ---- units -----------------------------------------------------------------------------------------------------------


def dead_relu(c: Case) -> Finding | None:
    """Hidden relu units that are off for every row."""
    found: list[tuple[Stage, Array, float]] = []
    for stage in c.latest.hidden:
        if stage.activation in RELUS and len(stage.z):
            found.append((stage, np.flatnonzero(stage.dead), float(stage.dead.mean())))
    if not found:
        return None
    stage, dead, share = max(found, key=lambda item: item[2])
    small = stage.z.shape[1] <= SMALL_LAYER
    if share < (0.1 if small else 0.3):
        return None
    when, extra = _deaths(c, stage, dead)
    total = sum(len(d) for _, d, _ in found)
    severity = "error" if share == 1 else "warning" if share >= 0.5 or small else "info"
    said = (
        f"All {len(dead)} units of {stage.name!r} are off for every row: no gradient passes, and nothing below it learns."
        if share == 1
        else f"{len(dead)} of {stage.z.shape[1]} relu units of {stage.name!r} are off for every row looked at; their gradient "
        "is exactly 0, so they never come back."
    )
    return finding(
        "DEAD_RELU", severity, said + when,
        do.together(do.hidden_activation("leaky_relu"), do.fresh_start()),
        do.together(do.optimizer(ADAM), do.fresh_start()),
        do.learning_rate(0.1), do.starts(), do.together(do.standardize(c.s), do.optimizer(ADAM)),
        layer=stage.name, units=dead.tolist(), dead_share=share, dead_in_all_layers=total, **extra,
    )  # fmt: skip


def _deaths(c: Case, stage: Stage, dead: Array) -> tuple[str, dict[str, Any]]:
    """When units died, from the probes of the training."""
    probes = getattr(c.s.record, "probes", None)
    if probes is None or not len(dead):
        born = [u for u in dead.tolist() if u in _dead_at_start(c, stage)]
        if born:
            return f" {len(born)} of them started dead.", {"dead_at_start": len(born)}
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


def _dead_at_start(c: Case, stage: Stage) -> set[int]:
    for other in c.s.start.stages:
        if other.layer == stage.layer:
            return set(np.flatnonzero(other.dead).tolist())
    return set()


def saturated(c: Case) -> Finding | None:
    """Sigmoid or tanh units on their flat ends."""
    stages = [stage for stage in (*c.latest.hidden, *c.s.start.hidden) if stage.saturated > 0.5]
    if not stages:
        return None
    stage = max(stages, key=lambda item: item.saturated)
    early = any(other.layer == stage.layer and other.saturated > 0.5 for other in c.s.start.hidden)
    return finding(
        "SATURATED", "warning",
        f"{stage.saturated:.0%} of what {stage.name!r} gives lies on the flat ends of {stage.activation}"
        f"{', from the start on' if early else ''}: its gradient is next to 0 there.",
        do.standardize(c.s), do.together(do.standardize(c.s), do.fresh_start(), do.optimizer(ADAM)),
        do.hidden_activation("relu"), layer=stage.name, saturated_share=stage.saturated, at_start=early,
    )  # fmt: skip


def vanishing(c: Case) -> Finding | None:
    """Gradients that shrink from the last layer to the first."""
    start = c.s.start
    kernels = [name for name in start.kernels if name in start.gradient]
    if len(kernels) < 3:
        return None
    first, last = start.rms(kernels[0]), start.rms(kernels[-1])
    if not (last > 0 and 0 <= first / last < 3e-3) or any(stage.dead.all() for stage in start.hidden):
        return None
    names = sorted({stage.activation for stage in start.hidden})
    depth = len(kernels)
    return finding(
        "VANISHING", "warning",
        f"The gradient of the first of {depth} layers is {first / last:.1e} times that of the last: each layer of "
        f"{' and '.join(names) or 'linear units'} takes a part of it, and the first layers hardly move.",
        do.together(do.hidden_activation("relu"), do.fresh_start()),
        do.together(do.hidden_activation("relu"), do.fresh_start(), do.optimizer(ADAM)),
        do.together(do.hidden_activation("relu"), do.normalize_batches(), do.optimizer(ADAM)),
        layer=kernels[0].rpartition("/")[0], first_over_last=first / last, depth=depth,
    )  # fmt: skip


def duplicate_units(c: Case) -> Finding | None:
    """Two units of a layer that compute the same function up to a factor."""
    for stage in c.latest.hidden:
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
        return finding(
            "DUPLICATE_UNITS", "warning" if small else "info",
            f"Units {one} and {two} of {stage.name!r} give the same answer up to a factor (correlation "
            f"{r[pairs[0][0], pairs[0][1]]:.5f}): the net works with one unit fewer than it has.",
            do.starts(), do.fresh_start(), layer=stage.name, units=units, pairs=len(pairs),
        )  # fmt: skip
    return None


# ---- capacity and penalties ------------------------------------------------------------------------------------------


def no_capacity(c: Case) -> Finding | None:
    """A net that can only draw straight lines, or hardly any bends."""
    dense, hidden = c.plan.dense(), c.plan.hidden_activations()
    widths = c.plan.hidden_widths()
    no_bias = [layer for layer in dense if not layer.use_bias]
    cures = [do.capacity(), do.together(do.capacity(64), do.optimizer(QUICK_ADAM))]
    facts = {"hidden_layers": len(widths), "smallest_width": min(widths, default=0)}
    if not widths:
        said = "The net has no hidden layer: it is a linear model, whatever it is trained with."
    elif not hidden:
        said = f"None of the {len(widths)} hidden layers has an activation: together they are one linear layer."
    elif min(widths) <= SMALL_LAYER and min(widths) < max(c.s.task.width, 3 if c.s.model.inputs > 1 else 9):
        said = f"The narrowest hidden layer has {min(widths)} units: all that the net knows must pass through them."
    elif no_bias and len(no_bias) == len(dense):
        said = "No layer has a bias: every unit's bend goes through the origin, and x = 0 always gives the same output."
        cures = [do.capacity(1), *cures]
    else:
        return None
    return finding("NO_CAPACITY", "warning", said, *cures, **facts)


def over_reg(c: Case) -> Finding | None:
    """Penalties or dropout that outweigh the data."""
    s = c.s
    if s.probe is None:
        return None
    rates = [layer.rate for layer in c.plan.layers if isinstance(layer, Dropout)]
    penalised = c.plan.each(_without_penalties) != c.plan
    decay = 0.0 if c.plan.optimizer.full_batch else c.plan.optimizer.weight_decay or 0.0
    reasons, facts, cures = [], {}, []
    if penalised:
        plain = c.plan.each(_without_penalties).build()
        model = s.model if s.trained else (c.run.model if c.run is not None else s.fresh)
        plain.set_weights(model.get_weights())
        data_loss, data_gradient = plain.machine.loss_and_grad(s.probe, False, 0)
        whole, gradient = model.machine.loss_and_grad(s.probe, False, 0)
        penalty = whole - data_loss
        pull = math.sqrt(sum(float(np.square(a - b).sum()) for a, b in zip(gradient, data_gradient, strict=True)))
        push = math.sqrt(sum(float(np.square(b).sum()) for b in data_gradient))
        start_model = s.fresh
        plain.set_weights(start_model.get_weights())
        first_data = plain.machine.loss_and_grad(s.probe, False, 0)
        first_whole = start_model.machine.loss_and_grad(s.probe, False, 0)
        first_pull = math.sqrt(sum(float(np.square(a - b).sum()) for a, b in zip(first_whole[1], first_data[1], strict=True)))
        first_push = math.sqrt(sum(float(np.square(b).sum()) for b in first_data[1]))
        base = s.baseline[1] if s.baseline else math.nan
        stuck = not data_loss < 0.7 * base
        facts |= {"penalty": penalty, "data_loss": data_loss, "first_pull_over_push": first_pull / max(first_push, 1e-30)}
        if first_pull > first_push or (stuck and (penalty > 0.3 * data_loss or pull > 0.5 * push)) or penalty > data_loss:
            reasons.append(
                f"At first the penalties pull on the weights {first_pull / max(first_push, 1e-30):.2g} times as hard as the data; "
                f"{'now' if s.trained else 'after a trial'} they are {penalty:.3g} of a loss of {whole:.3g}."
            )
            cures += [do.penalties(0.01), do.penalties(0.0)]
    if decay and not c.plan.optimizer.full_batch:
        lr = c.plan.optimizer.learning_rate
        per_step = decay * (lr if isinstance(lr, float) else float(c.plan.optimizer.learning_rates(0, 1)[0]))
        steps = max(1, c.plan.epochs * math.ceil(len(s.x) / c.plan.batch_size))
        facts |= {"weight_decay": decay}
        if decay >= 0.1 and per_step * steps > 0.3 or per_step > 0.01:
            reasons.append(f"weight_decay={decay:g} shrinks every weight by {per_step:.2%} in each step.")
            cures += [do.penalties(0.01), do.penalties(0.0)]
    if rates and max(rates) >= 0.5:
        small = min(c.plan.hidden_widths(), default=0) * (1 - max(rates)) < 8
        last = isinstance(c.plan.layers[-1], Dropout)
        if max(rates) >= 0.7 or small or last or len(rates) >= 3:
            reasons.append(
                f"Dropout takes {max(rates):.0%} of {'the output' if last else 'the units'} away in every step"
                f"{f', {len(rates)} times over' if len(rates) > 1 else ''}."
            )
            cures += [do.dropout(0.2 if max(rates) < 0.7 else 0.1), do.dropout(0.0)]
        facts |= {"dropout": max(rates)}
    if not reasons:
        return None
    both = [do.together(do.penalties(0.0), do.dropout(0.0))] if penalised and rates else []
    return finding("OVER_REG", "warning", " ".join(reasons), *cures, *both, **facts)


def _without_penalties(layer: Any) -> Any:
    from .plan import changed

    return changed(layer, kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None)


# ---- the data's order ------------------------------------------------------------------------------------------------


def batching(c: Case) -> Finding | None:
    """Batches that do not look like the data: rows sorted and not shuffled."""
    s, size = c.s, c.plan.batch_size
    if not s.finite or c.plan.optimizer.full_batch or len(s.y) < 2 * size:
        return None
    y = np.asarray(s.y if s.y.shape[1] <= 64 else s.y[:, :64], dtype=np.float64)
    inside, whole = _spread_in_batches(s, y, size)
    ratio = inside / whole if whole > 0 else 1.0
    if c.plan.shuffle or ratio >= 0.5:
        return _rare_class(c)
    return finding(
        "BATCHING", "error" if ratio < 0.2 else "warning",
        f"shuffle=False, and the rows are sorted: inside a batch of {size} the targets vary by {ratio:.0%} of what they do "
        "in the data, so each batch teaches one answer and the next unteaches it.",
        do.batches(None), spread_in_batches=ratio, batch_size=size,
    )  # fmt: skip


def _spread_in_batches(s: Subject, y: Array, size: int) -> tuple[float, float]:
    """Mean entropy (classes) or variance of the targets inside batches, and of all."""
    count = len(y) // size
    y = y[: count * size]
    if s.task.classifies and s.task.kind != "multilabel":
        truth = s.task.classes_of(y)
        classes = int(truth.max()) + 1
        table = np.zeros((count, classes))
        np.add.at(table, (np.repeat(np.arange(count), size), truth), 1.0 / size)
        return float(_entropy(table).mean()), float(_entropy(table.mean(axis=0)[None]).mean())
    batches = y.reshape(count, size, -1)
    return float(batches.var(axis=1).mean()), float(y.var(axis=0).mean())


def _entropy(table: Array) -> Array:
    with np.errstate(all="ignore"):
        return -np.where(table > 0, table * np.log(table), 0.0).sum(axis=1)


def _rare_class(c: Case) -> Finding | None:
    """A class that is rare and never predicted: worth knowing, no fault of the net."""
    s = c.s
    if c.end is None or not s.task.classifies or s.task.kind == "multilabel" or s.probe is None:
        return None
    y = s.some_y
    truth = s.task.classes_of(y)
    counts = np.bincount(truth)
    rare = np.flatnonzero((counts > 0) & (counts < 0.1 * len(y)))
    if not len(rare) or len(counts) > 20:
        return None
    x = np.ascontiguousarray(s.some_x[:5000])
    model = s.model if s.trained else c.run.model if c.run is not None else None
    if model is None or s.problem:
        return None
    answers = s.task.answers(np.asarray(model.predict(x), dtype=np.float64), s.threshold(s.activation, s.loss))
    missed = [int(k) for k in rare if not np.any(answers == k)]
    if not missed:
        return None
    return finding(
        "BATCHING", "info",
        f"Class {missed[0]} makes up {counts[missed[0]] / len(y):.1%} of the rows and is never predicted; a net that is right "
        f"{1 - counts[missed[0]] / len(y):.1%} of the time without it sees little reason to.",
        remedy="fit(class_weight='balanced'), or predict the class below a lower threshold", classes=missed,
        shares=[float(counts[k] / len(y)) for k in missed],
    )  # fmt: skip


# ---- dynamics --------------------------------------------------------------------------------------------------------


def diverged(c: Case) -> Finding | None:
    """Losses that explode, or bounce, because steps are too long."""
    losses = np.asarray(c.losses, dtype=np.float64)
    end = c.end
    broken = end is not None and end.first_nonfinite is not None
    if not len(losses) and not broken:
        return None
    first = c.s.start.loss if math.isfinite(c.s.start.loss) else (losses[0] if len(losses) else math.nan)
    finite = losses[np.isfinite(losses)]
    exploded = len(finite) < len(losses) or broken
    grown = bool(len(finite)) and finite[-1] > 10 * max(first, 1e-12)
    rises = float(np.mean(np.diff(finite) > 0)) if len(finite) > 4 else 0.0
    swing = float(np.abs(np.diff(finite[len(finite) // 2 :])).mean() / max(finite[len(finite) // 2 :].mean(), 1e-30)) if len(finite) > 4 else 0.0  # fmt: skip
    rough = rises > 0.4 and swing > 0.1
    base = c.s.baseline[1] if c.s.baseline else math.nan
    worse = bool(len(finite)) and math.isfinite(base) and finite[-1] > 1.5 * base and finite[-1] > 0.5 * finite[0]
    rate = _rate(c.plan, len(c.s.x))
    large = rate is not None and rate > 20 * _usual_rate(c.plan)
    if not (exploded or grown or rough or (worse and large) or large):
        return None
    said, facts = "", {"rises": rises, "swing": swing, "learning_rate": rate}
    if exploded:
        where = end.first_nonfinite if end is not None else None
        epoch = int(np.argmax(~np.isfinite(losses))) + 1 if len(finite) < len(losses) else len(losses)
        said = f"The loss stopped being a number in epoch {epoch}{f', first seen in {where}' if where else ''}."
    elif grown:
        said = f"The loss grew from {first:.4g} to {finite[-1]:.4g}."
    elif rough:
        said = f"The loss rose in {rises:.0%} of the epochs, by {swing:.0%} of itself on average."
    else:
        said = f"A learning rate of {rate:g} is {rate / _usual_rate(c.plan):.3g} times what {type(c.plan.optimizer).__name__} usually takes."  # type: ignore[operator]  # fmt: skip
    curvature = largest_curvature(c.s) if isinstance(c.plan.optimizer, optimizers.SGD) else None
    cures: list[do.Remedy] = []
    if curvature and rate:
        momentum = getattr(c.plan.optimizer, "momentum", 0.0)
        limit = 2 * (1 + momentum) / curvature
        facts |= {"curvature": curvature, "longest_stable_rate": limit}
        if rate > limit:
            said += f" At the start the loss curves by {curvature:.3g}: steps are stable up to a learning rate of {limit:.2g}, and it is {rate:g}."
            cures.append(do.rate(_round(0.5 * limit)))
    cures += [do.learning_rate(0.1), do.learning_rate(0.01), do.clipping()]
    if rate is not None and rate > 3 * _usual_rate(c.plan):
        cures.insert(0, do.rate(_usual_rate(c.plan)))
    return finding("DIVERGED", "error" if exploded or grown else "warning", said, *cures, do.optimizer(ADAM), **facts)


def _rate(plan: Plan, rows: int) -> float | None:
    """Learning rate; of a schedule, the median over the training."""
    if plan.optimizer.full_batch:
        return None
    rate = plan.optimizer.learning_rate
    if not isinstance(rate, Schedule):
        return float(rate)
    steps = max(1, plan.epochs * math.ceil(rows / plan.batch_size))
    return float(np.median(plan.optimizer.learning_rates(0, min(steps, 100_000))))


def _usual_rate(plan: Plan) -> float:
    if isinstance(plan.optimizer, optimizers.SGD):
        return 0.01
    if isinstance(plan.optimizer, (optimizers.Adadelta,)):
        return 1.0
    return 1e-4 if isinstance(plan.optimizer, optimizers.Lion) else 1e-3


def _round(value: float) -> float:
    return float(f"{value:.1e}")


def largest_curvature(s: Subject, rounds: int = 12) -> float | None:
    """Largest eigenvalue of the Hessian at the start, by power iteration on differences of gradients (float64)."""
    if s.probe is None:
        return None
    exact = replace(Plan.of(s.fresh, 32, 1, True, None), dtype="float64").build()
    exact.set_weights(s.fresh.get_weights())
    weights = exact.get_weights()
    names = exact.net.tensors
    trainable = [i for i, tensor in enumerate(names) if tensor.trainable]
    rows = Rows(np.asarray(s.probe.x, dtype=np.float64), s.probe.y, s.probe.w)
    generator = np.random.default_rng(0)
    v = [generator.standard_normal(weights[i].shape) for i in trainable]
    value = 0.0
    for _ in range(rounds):
        norm = math.sqrt(sum(float(np.square(part).sum()) for part in v))
        if not norm > 0 or not math.isfinite(norm):
            return None
        v = [part / norm for part in v]
        size = math.sqrt(sum(float(np.square(weights[i]).sum()) for i in trainable)) or 1.0
        step = 1e-5 * size
        sides = []
        for sign in (1.0, -1.0):
            moved = list(weights)
            for i, part in zip(trainable, v, strict=True):
                moved[i] = weights[i] + sign * step * part
            exact.machine.set_tensors(moved)
            sides.append(exact.machine.loss_and_grad(rows, False, 0)[1])
        product = [(a - b) / (2 * step) for a, b in zip(*sides, strict=True)]
        value = sum(float((a * b).sum()) for a, b in zip(v, product, strict=True))
        v = product
    return value if math.isfinite(value) and value > 0 else None


def too_slow(c: Case) -> Finding | None:
    """A loss that still falls when training ends, or steps too small to matter."""
    losses = np.asarray(c.losses, dtype=np.float64)
    rate = _rate(c.plan, len(c.s.x))
    small = rate is not None and rate < 0.05 * _usual_rate(c.plan)
    steps = max(1, c.plan.epochs * math.ceil(len(c.s.x) / c.plan.batch_size))
    falling = 0.0
    if len(losses) >= 5 and np.isfinite(losses).all():
        tail = losses[-max(2, len(losses) // 10) - 1 :]
        falling = float((tail[0] - tail[-1]) / max(abs(tail[0]), 1e-30))
        floor = c.s.baseline[1] if c.s.baseline else math.nan
        moved = float((losses[0] - losses[-1]) / max(abs(losses[0]), 1e-30))
        calm = float(np.mean(np.diff(losses) <= 0)) > 0.7
        slow = falling > 0.02 or (calm and 0 <= moved < 0.02 and losses[-1] > 0.5 * floor)
    else:
        slow = len(losses) > 0
    few = steps < 300
    if not (small or slow or few):
        return None
    said = ""
    if small:
        said = f"A learning rate of {rate:g} is {_usual_rate(c.plan) / rate:.3g} times below what {type(c.plan.optimizer).__name__} usually takes. "  # type: ignore[operator]  # fmt: skip
    if falling > 0.02:
        said += f"The loss still fell by {falling:.0%} in the last tenth of the training. "
    if few:
        said += f"The training has {steps} steps in all. "
    said = said or "The loss hardly moves. "
    cures = [do.learning_rate(10), do.learning_rate(100), do.optimizer(ADAM), do.optimizer(QUICK_ADAM), do.epochs(5), do.epochs(20)]
    if small and rate and rate > 0:
        cures.insert(0, do.rate(_usual_rate(c.plan)))
    if rate == 0:
        cures.insert(0, do.rate(_usual_rate(c.plan)))
    if few and c.plan.batch_size > 64:
        cures.insert(0, do.batches(32))
    return finding(
        "TOO_SLOW", "warning", said.strip(), *cures, still_falling=falling, steps=steps, learning_rate=rate,
    )  # fmt: skip


def baseline(c: Case) -> Finding | None:
    """A net that answers every row alike: the symptom behind all that it is stuck on."""
    s = c.s
    if s.baseline is None or c.end is None:
        return None
    constant, value = s.baseline
    p = c.end.predictions.astype(np.float64)
    if not np.isfinite(p).all():
        return None
    reached = c.losses[-1] if c.losses and math.isfinite(c.losses[-1]) else c.end.loss
    gain = (value - reached) / value if value else 0.0
    spread = float(np.sqrt(p.var(axis=0).mean()))
    wanted = c.sd_y if not s.loss.sparse else float(np.sqrt(np.mean(constant * (1 - constant))))
    flat = spread < 0.05 * max(wanted, 1e-12)
    if not (flat or abs(gain) < 0.02):
        return None
    near = f"{abs(gain):.1%} {'below' if gain >= 0 else 'above'}" if math.isfinite(gain) else "not below"
    what = {"mse": "the mean", "mae": "the median"}.get(s.loss.kind, "the best constant")
    if s.loss.kind.endswith("crossentropy"):
        what = "the class frequencies"
    return finding(
        "BASELINE", "info",
        f"The loss is {reached:.4g}; answering {what} for every row gives {value:.4g} ({near}). "
        + ("All predictions are nearly the same." if flat else "The predictions vary, but to no use."),
        remedy="see the causes above", baseline_loss=value, loss=reached, gain=gain, spread_of_predictions=spread,
        spread_of_targets=wanted, constant=constant[:10],
    )  # fmt: skip
