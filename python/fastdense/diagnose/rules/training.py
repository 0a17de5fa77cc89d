"""Rules about a training run: penalties, batches, step sizes, and the loss it ended with.

A threshold here only makes a change worth a trial; the trials decide (`verify.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ... import optimizers
from ...arrays import Array
from ...data.rows import Rows, random_rows
from ...layers import Dense, Dropout, Layer
from ...model.base import BaseModel
from ...schedules import Schedule
from .. import remedies
from ..case import PART, Case
from ..finding import Finding, finding
from ..plan import Plan, changed
from ..subject import Subject
from ..work import LONGEST, affordable_rows, numbers, sizes_of
from .registry import Group, rule

CURVATURE_SHARE, FEWEST_FOR_CURVATURE = 0.1, 32  # of the budget; rows
PREDICTED_SECONDS, FEWEST_PREDICTED = 0.05, 500  # for a look at the predictions of a rare class; rows
LARGE = 20.0  # times the usual learning rate


@rule("OVER_REG", Group.SETTINGS, "penalties, weight decay or dropout outweigh the data")
def over_reg(case: Case) -> Finding | None:
    """Penalties, weight decay or dropout that outweigh the data."""
    if case.subject.probe is None:
        return None
    parts = [found for look in (_penalties, _decay, _dropout) if (found := look(case)) is not None]
    if not parts:
        return None
    reasons, facts = (
        " ".join(message for _, message, _, _ in parts),
        {name: v for _, _, found, _ in parts for name, v in found.items()},
    )
    candidates = [remedy for *_, found in parts for remedy in found]
    if len(parts) > 1:
        candidates.append(remedies.together(remedies.penalties(0.0), remedies.dropout(0.0)))
    brief = " and ".join(words for words, *_ in parts)
    return finding("OVER_REG", "warning", reasons, *candidates, brief=brief, **facts)


Part = tuple[str, str, dict[str, Any], list[remedies.Remedy]]  # in brief, message, evidence, remedies


def _without_penalties(layer: Dense) -> Layer:
    return changed(layer, kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None)


def _penalties(case: Case) -> Part | None:
    subject, free = case.subject, case.plan.each(_without_penalties)
    if free == case.plan or subject.probe is None:
        return None
    plain = free.build()
    model = case.trained or subject.fresh
    subject.work.charge(sizes_of(model).made + 4 * sizes_of(model).gradient(len(subject.probe)))
    first_pull, first_push, _, _ = _forces(subject.fresh, plain, subject.probe)
    pull, push, whole, data = _forces(model, plain, subject.probe)
    penalty, ratio = whole - data, first_pull / max(first_push, 1e-30)
    stuck = subject.baseline is None or not data < 0.7 * subject.baseline[1]
    if not (ratio > 1 or penalty > data or (stuck and (penalty > 0.3 * data or pull > 0.5 * push))):
        return None
    if ratio > 1:
        message = f"At the start the penalties pull {ratio:.2g} times as hard at the weights as the data."
    else:
        message = (
            f"The penalties are {penalty:.3g} of a loss of {whole:.3g} {'now' if subject.trained else 'in a trial'}."
        )
    facts = {"penalty": penalty, "data_loss": data, "first_pull_over_push": ratio}
    return "the penalties outweigh the data", message, facts, [remedies.penalties(0.01), remedies.penalties(0.0)]


def _forces(model: BaseModel, plain: BaseModel, probe: Rows) -> tuple[float, float, float, float]:
    """Norms of the gradients of the penalties and of the data, loss with and without penalties."""
    plain.set_weights(model.get_weights())
    whole, gradient = model.runner.loss_and_grad(probe, False, 0)
    data, data_gradient = plain.runner.loss_and_grad(probe, False, 0)
    pull = math.sqrt(sum(float(np.square(a - b).sum()) for a, b in zip(gradient, data_gradient, strict=True)))
    push = math.sqrt(sum(float(np.square(b).sum()) for b in data_gradient))
    return pull, push, whole, data


def _decay(case: Case) -> Part | None:
    optimizer = case.plan.optimizer
    decay = 0.0 if optimizer.full_batch else optimizer.weight_decay or 0.0
    rate = _rate(case.plan, len(case.subject.x))
    if not decay or rate is None:
        return None
    each = decay * rate
    if not (each > 0.01 or (decay >= 0.1 and each * _steps(case) > 0.3)):
        return None
    message = f"weight_decay={decay:g} shrinks every weight by {each:.2%} per step."
    return (
        "the weight decay is too large",
        message,
        {"weight_decay": decay},
        [remedies.penalties(0.01), remedies.penalties(0.0)],
    )


def _dropout(case: Case) -> Part | None:
    rates = [layer.rate for layer in case.plan.layers if isinstance(layer, Dropout)]
    most = max(rates, default=0.0)
    last = bool(case.plan.layers) and isinstance(case.plan.layers[-1], Dropout)
    narrow = min(case.plan.hidden_widths(), default=0) * (1 - most) < 8
    if most < 0.5 or not (most >= 0.7 or narrow or last or len(rates) >= 3):
        return None
    message = f"Dropout zeroes {most:.0%} of {'the output' if last else 'the units'} in every step"
    message += f", in {len(rates)} layers." if len(rates) > 1 else "."
    candidates = [remedies.dropout(0.2 if most < 0.7 else 0.1), remedies.dropout(0.0)]
    return "there is too much dropout", message, {"dropout": most}, candidates


def _steps(case: Case) -> int:
    return max(1, case.plan.epochs * math.ceil(len(case.subject.x) / case.plan.batch_size))


@rule("BATCHING", Group.SETTINGS, "the batches do not represent the data")
def batching(case: Case) -> Finding | None:
    """Batches that do not represent the data: rows sorted and not shuffled."""
    subject, size = case.subject, case.plan.batch_size
    if not subject.usable or case.plan.optimizer.full_batch or len(subject.y) < 2 * size:
        return None
    y = np.asarray(subject.y if subject.y.shape[1] <= 64 else subject.y[:, :64], dtype=np.float64)
    inside, whole = _spread_in_batches(subject, y, size)
    ratio = inside / whole if whole > 0 else 1.0
    if case.plan.shuffle or ratio >= 0.5:
        return _rare_class(case)
    return finding(
        "BATCHING", "error" if ratio < 0.2 else "warning",
        f"shuffle=False, and the rows are sorted: within a batch of {size} the targets vary by only "
        f"{ratio:.0%} of their variation in the data, so the net follows the last batches.",
        remedies.batches(None), brief="the rows are sorted and not shuffled", spread_in_batches=ratio, batch_size=size,
    )  # fmt: skip


def _spread_in_batches(subject: Subject, y: Array, size: int) -> tuple[float, float]:
    """Mean entropy (classes) or variance of the targets within batches, and over all rows."""
    count = len(y) // size
    y = y[: count * size]
    if subject.task.classifies and subject.task.kind != "multilabel":
        truth = subject.task.classes_of(y)
        classes = int(truth.max()) + 1
        table = np.zeros((count, classes))
        np.add.at(table, (np.repeat(np.arange(count), size), truth), 1.0 / size)
        return float(_entropy(table).mean()), float(_entropy(table.mean(axis=0)[None]).mean())
    batches = y.reshape(count, size, -1)
    return float(batches.var(axis=1).mean()), float(y.var(axis=0).mean())


def _entropy(table: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(-np.where(table > 0, table * np.log(table), 0.0).sum(axis=1))


def _rare_class(case: Case) -> Finding | None:
    """A rare class that is never predicted: worth knowing, and not a fault of the net."""
    subject = case.subject
    if case.end is None or not subject.task.classifies or subject.task.kind == "multilabel" or subject.probe is None:
        return None
    y = subject.sample_y
    truth = subject.task.classes_of(y)
    counts = np.bincount(truth)
    rare = np.flatnonzero((counts > 0) & (counts < 0.1 * len(y)))
    if not len(rare) or len(counts) > 20:
        return None
    model = case.trained
    if model is None or subject.problem:
        return None
    net = sizes_of(model)
    x = random_rows(subject.sample_x, affordable_rows(PREDICTED_SECONDS, net.forward(1), FEWEST_PREDICTED, 5000))
    if net.forward(len(x)) > PART * subject.work.left:
        return None
    subject.work.charge(net.forward(len(x)))
    answers = subject.task.answers(
        np.asarray(model.predict(x), dtype=np.float64), subject.threshold(subject.activation, subject.loss)
    )
    missed = [int(k) for k in rare if not np.any(answers == k)]
    if not missed or (len(counts) > 2 and len(np.unique(answers)) == 1):  # then rare classes are not the point
        return None
    return finding(
        "BATCHING", "info",
        f"Class {missed[0]} makes up {counts[missed[0]] / len(y):.1%} of the rows and is never predicted; "
        f"without it a net can still reach an accuracy of {1 - counts[missed[0]] / len(y):.1%}.",
        remedy="fit(class_weight='balanced'), or predict the class below a lower threshold", exact=True, classes=missed,
        shares=[float(counts[k] / len(y)) for k in missed],
    )  # fmt: skip


@dataclass(frozen=True)
class Course:
    """The loss curve of a training run, summarized.

    Attributes
    ----------
    first, last, highest : float
        Of the finite losses; `first` is that of the initial weights.
    broken : str
        When the loss or a tensor became NaN or infinite; "" if none did.
    grown, rough : bool
        Whether it ended above ten times its initial value; whether it oscillated.
    """

    first: float
    last: float
    highest: float
    broken: str
    grown: bool
    rough: bool
    rises: float
    swing: float

    @classmethod
    def of(cls, case: Case) -> Course | None:
        """Summarize the losses and the net after training."""
        losses = np.asarray(case.losses, dtype=np.float64)
        finite = losses[np.isfinite(losses)]
        where = case.end.first_nonfinite if case.end is not None else None
        if not len(losses) and where is None:
            return None
        broken = ""
        if len(finite) < len(losses) or where is not None:
            epoch = int(np.argmax(~np.isfinite(losses))) + 1 if len(finite) < len(losses) else len(losses)
            broken = f"in epoch {epoch}{f', first seen in {where}' if where else ''}"
        first = (
            case.subject.start.loss
            if math.isfinite(case.subject.start.loss)
            else float(losses[0])
            if len(losses)
            else math.nan
        )
        last, highest = (float(finite[-1]), float(finite.max())) if len(finite) else (math.nan, math.nan)
        rises = swing = 0.0
        if len(finite) > 4:
            late = finite[len(finite) // 2 :]
            rises = float(np.mean(np.diff(finite) > 0))
            swing = float(np.abs(np.diff(late)).mean() / max(late.mean(), 1e-30))
        return cls(
            first, last, highest, broken, last > 10 * max(first, 1e-12), rises > 0.4 and swing > 0.1, rises, swing
        )


@rule("DIVERGED", Group.STEPS, "the steps are too large", consequence=True)
def diverged(case: Case) -> Finding | None:
    """Losses that diverge or oscillate because steps are too large."""
    course, rate = Course.of(case), _rate(case.plan, len(case.subject.x))
    if course is None:
        return None
    usual, name = _usual_rate(case.plan), type(case.plan.optimizer).__name__
    reach, momentum = _reach(case.plan, rate)
    died = _died(case)
    facts: dict[str, Any] = {"rises": course.rises, "swing": course.swing, "learning_rate": rate}
    large = reach is not None and reach > LARGE * usual
    if course.broken:
        message = f"The loss became NaN or infinite {course.broken}."
    elif course.grown:
        message = f"The loss grew from {course.first:.4g} to {course.last:.4g}."
    elif course.rough:
        message = (
            f"The loss rose in {course.rises:.0%} of the epochs and changed by {course.swing:.0%} per epoch on average."
        )
    elif died:
        message = f"Units of {died!r} were active at initialization and are dead now: the steps were too large."
    elif large:
        with_momentum = f", {reach:g} with momentum {momentum:g}," if momentum else ""
        message = f"A learning rate of {rate:g}{with_momentum} is far above the usual {usual:g} of {name}."
    else:
        return None
    candidates: list[remedies.Remedy] = []
    curvature = (
        largest_curvature(case.subject)
        if case.run is not None and isinstance(case.plan.optimizer, optimizers.SGD)
        else None
    )
    if curvature and rate:
        limit = 2 * (1 + momentum) / curvature
        facts |= {"curvature": curvature, "longest_stable_rate": limit}
        if rate > limit:
            message += (
                f" The largest eigenvalue of the initial Hessian is {curvature:.3g}: steps are stable up to a "
                f"learning rate of {limit:.2g}, and it is {rate:g}."
            )
            if limit > 1e-3 * usual:  # else the initial weights are at fault
                candidates.append(remedies.rate(_round(0.5 * limit)))
    if rate is not None and rate > 3 * usual:
        candidates.insert(0, remedies.rate(usual))
    candidates += [
        remedies.learning_rate(0.1),
        remedies.learning_rate(0.01),
        remedies.clipping(),
        remedies.optimizer(remedies.ADAM),
    ]
    return finding("DIVERGED", "error" if course.broken or course.grown else "warning", message, *candidates, **facts)


def _reach(plan: Plan, rate: float | None) -> tuple[float | None, float]:
    """The total of steps in one direction per gradient, and the momentum."""
    momentum = getattr(plan.optimizer, "momentum", 0.0) if isinstance(plan.optimizer, optimizers.SGD) else 0.0
    return (None if rate is None else rate / (1 - momentum)), momentum


def _died(case: Case) -> str | None:
    """Name of a layer most of whose relu units died during training."""
    if case.end is None or case.end.first_nonfinite is not None:
        return None
    at_start = {stage.layer: float(stage.dead.mean()) for stage in case.subject.start.hidden}
    for stage in case.end.hidden:
        if float(stage.dead.mean()) >= 0.5 > 2 * at_start.get(stage.layer, 1.0):
            return stage.name
    return None


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


def largest_curvature(subject: Subject, rounds: int = 12) -> float | None:
    """Largest eigenvalue of the initial Hessian, by power iteration on differences of gradients (float64).

    On as many of the probe rows as a small part of the budget allows; None if that does not suffice.
    """
    if subject.probe is None:
        return None
    net = sizes_of(subject.fresh)
    allowed = CURVATURE_SHARE * min(subject.work.budget, LONGEST) - net.made - 8 * rounds * numbers(net.parameters)
    count = affordable_rows(allowed, 4 * rounds * net.gradient(1), 0, len(subject.probe))
    if count < min(len(subject.probe), FEWEST_FOR_CURVATURE):
        return None
    subject.work.charge(net.made + 4 * rounds * net.gradient(count) + 8 * rounds * numbers(net.parameters))
    exact = replace(Plan.of(subject.fresh, 32, 1, True, None), dtype="float64").build()
    exact.set_weights(subject.fresh.get_weights())
    weights = exact.get_weights()
    names = exact.net.tensors
    trainable = [i for i, tensor in enumerate(names) if tensor.trainable]
    probe, w = subject.probe, None if subject.probe.w is None else random_rows(subject.probe.w, count)
    rows = Rows(np.asarray(random_rows(probe.x, count), dtype=np.float64), random_rows(probe.y, count), w)
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
            exact.runner.set_tensors(moved)
            sides.append(exact.runner.loss_and_grad(rows, False, 0)[1])
        product = [(a - b) / (2 * step) for a, b in zip(*sides, strict=True)]
        value = sum(float((a * b).sum()) for a, b in zip(v, product, strict=True))
        v = product
    return value if math.isfinite(value) and value > 0 else None


@rule("TOO_SLOW", Group.PROGRESS, "the steps are too small or too few", consequence=True)
def too_slow(case: Case) -> Finding | None:
    """A loss that is still falling when training ends, or steps that are too small or too few."""
    losses = np.asarray(case.losses, dtype=np.float64)
    rate = _rate(case.plan, len(case.subject.x))
    small = rate is not None and rate < 0.2 * _usual_rate(case.plan)
    steps, falling = _steps(case), 0.0
    if len(losses) >= 5 and np.isfinite(losses).all():
        tail = losses[-max(2, len(losses) // 10) - 1 :]
        falling = float((tail[0] - tail[-1]) / max(abs(tail[0]), 1e-30))
        floor = case.subject.baseline[1] if case.subject.baseline else math.nan
        moved = float((losses[0] - losses[-1]) / max(abs(losses[0]), 1e-30))
        calm = float(np.mean(np.diff(losses) <= 0)) > 0.7
        slow = falling > 0.02 or (calm and 0 <= moved < 0.02 and losses[-1] > 0.5 * floor)
    else:
        slow = len(losses) > 0
    too_few = steps < 300
    course = Course.of(case)
    if course is not None and not course.highest <= 2 * max(course.first, losses[0]):
        slow, falling = False, 0.0  # a loss that exploded is not slow, even if it came down again
    reach, _ = _reach(case.plan, rate)
    too_large = reach is not None and reach > LARGE * _usual_rate(case.plan)
    if too_large or not (small or slow or too_few):
        return None
    message = ""
    usual, name = _usual_rate(case.plan), type(case.plan.optimizer).__name__
    if rate == 0:
        message = "The learning rate is 0. "
    elif small and rate is not None:
        message = f"A learning rate of {rate:g} is {usual / rate:,.0f} times below the usual one of {name}. "
    if falling > 0.02:
        message += f"The loss still fell by {falling:.0%} over the last tenth of the epochs. "
    if too_few:
        message += f"The training has only {steps} steps. "
    if not message and len(losses) < 5:
        message = f"The training has {len(losses)} epochs: too few to see a trend of the loss. "
    message = message or "The loss hardly changes. "
    candidates = [
        remedies.learning_rate(10),
        remedies.learning_rate(100),
        remedies.optimizer(remedies.ADAM),
        remedies.optimizer(remedies.QUICK_ADAM),
        remedies.epochs(5),
        remedies.epochs(20),
    ]
    if small:
        candidates.insert(0, remedies.rate(usual))
    if too_few and case.plan.batch_size > 64:
        candidates.insert(0, remedies.batches(32))
    return finding(
        "TOO_SLOW", "warning", message.strip(), *candidates, still_falling=falling, steps=steps, learning_rate=rate,
    )  # fmt: skip


@rule("BASELINE", Group.SYMPTOM, "the predictions are constant")
def baseline(case: Case) -> Finding | None:
    """A net that predicts the same for every row: a symptom of other faults."""
    subject = case.subject
    if subject.baseline is None or case.end is None:
        return None
    constant, value = subject.baseline
    p = case.end.predictions.astype(np.float64)
    if not np.isfinite(p).all():
        return None
    reached = case.end.loss  # on these rows, which the history's may not be
    gain = (value - reached) / value if value else 0.0
    spread = float(np.sqrt(p.var(axis=0).mean()))
    wanted = case.sd_y if not subject.loss.sparse else float(np.sqrt(np.mean(constant * (1 - constant))))
    flat = spread < 0.05 * max(wanted, 1e-12)
    if not (flat or abs(gain) < 0.02):
        return None
    near = _compared(reached, value)
    what = {"mse": "the mean", "mae": "the median"}.get(subject.loss.kind, "the best constant")
    if subject.loss.kind.endswith("crossentropy"):
        what = "the class frequencies"
    return finding(
        "BASELINE", "info",
        f"The loss is {reached:.4g}; predicting {what} for every row gives {value:.4g}{near}. "
        + (f"All predictions are almost equal{', and far from the targets' * (value > 0 and gain < -0.5)}." if flat
           else "The predictions vary, but do not reduce the loss."),
        baseline_loss=value, loss=reached, gain=gain, spread_of_predictions=spread,
        spread_of_targets=wanted, constant=constant[:10],
    )  # fmt: skip


def _compared(loss: float, constant: float) -> str:
    """The loss next to that of the best constant."""
    if not (math.isfinite(loss) and constant > 0):
        return ""
    if loss > 10 * constant:
        return f" ({loss / constant:.2g} times as much)" if loss < 100 * constant else " (more than 100 times as much)"
    change = abs(loss / constant - 1)
    return " (the same within 1%)" if change < 0.01 else f" ({change:.0%} {'above' if loss > constant else 'below'})"
