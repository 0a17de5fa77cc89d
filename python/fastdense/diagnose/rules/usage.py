"""Rules about what `fit` and `compile` were given: targets, split, other rows, weights, callbacks, loss."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...arrays import Array
from ...callbacks.fitted import effective_rows
from ...layers import BatchNorm, Dense, LayerNorm
from .. import remedies
from ..case import PART, Case
from ..finding import Finding, Severity, finding
from ..shift import Shift
from ..subject import Held, Subject
from ..trials import LEAST_ROWS
from ..witnesses import bounds as all_bounds
from ..witnesses import bounds_seconds
from .registry import Group, rule

HELD_BY_TAIL = 0.5  # fraction of the variance that the largest hundredth of the targets must hold
ORDERED = 0.7  # error for the ranks of the targets below which their order counts as known
CHANCE = 0.9  # smallest error that may still be chance
RISEN = 1.2  # of a val_loss, from its smallest value
OUTSIDE = 0.2  # fraction of rows beyond the range that was trained on, or copied from it
ROUNDED = 1e-5  # of a mean of 0 and a deviation of 1
UNSETTLED = 0.05  # weight that the first values still have in a moving average
FEW_FEATURES = 4
FEW_COUNT = 0.1  # fraction of the rows that the weights leave
EXTREME = 0.97  # fraction of the total weight for one class


@rule("NOISE", Group.FACTS, "nothing tried predicts y from x")
def noise(case: Case) -> Finding | None:
    """Targets that no witness predicts; `heldout.py` decides, when the nets have been tried."""
    if case.run is None or case.bounds is None or len(case.subject.x) < LEAST_ROWS:
        return None
    bounds = case.bounds
    if bounds.signal or bounds.best.error < CHANCE or _tail(case) is not None:
        return None
    figures = {one.name: one.error for one in bounds.witnesses}
    return finding(
        "NOISE", "warning",
        f"None of {', '.join(figures)} predicts y from x better than a constant on {bounds.rows:,} rows kept out.",
        remedy="check what y depends on: other columns, more rows, or a target with less noise", errors=figures,
        rows_kept_out=bounds.rows,
    )  # fmt: skip


@rule("OVERFIT", Group.PROGRESS, "the net overfits")
def overfit(case: Case) -> Finding | None:
    """A validation loss that rises while the loss falls; `heldout.py` measures what helps."""
    losses, val = case.subject.history.get("loss", []), case.subject.history.get("val_loss", [])
    if len(val) < 5 or not np.isfinite([*losses, *val]).all():
        return None
    at = int(np.argmin(val))
    if not (val[-1] > RISEN * val[at] and losses[-1] < losses[at]):
        return None
    return finding(
        "OVERFIT", "warning",
        f"val_loss was smallest in epoch {at + 1} of {len(val)} ({val[at]:.4g}) and rose to {val[-1]:.4g}, while the "
        f"loss fell from {losses[at]:.4g} to {losses[-1]:.4g}.",
        remedy="EarlyStopping(restore_best_weights=True), a penalty on the weights, dropout, or more rows",
        epoch=at + 1, smallest_val_loss=val[at], val_loss=val[-1], loss=losses[-1],
    )  # fmt: skip


@rule("OUTLIERS", Group.FACTS, "a few targets far from all others dominate the loss")
def outliers(case: Case) -> Finding | None:
    """A few targets far from all others, which hold much of the variance."""
    subject = case.subject
    odd, share = subject.outliers, subject.outliers_share
    if not len(odd):
        return _tail(case)
    y = np.asarray(subject.y[subject.good], dtype=np.float64)
    square = np.square(y - y.mean(axis=0))
    rows = np.flatnonzero(subject.good)[odd]
    column = int(np.argmax(square[odd].sum(axis=0) / np.maximum(square.sum(axis=0), 1e-300)))
    values, middle = y[odd, column], np.median(y[:, column])
    order = np.argsort(-np.abs(values - middle))
    one = len(rows) == 1
    squared = subject.loss.kind == "mse"
    return finding(
        "OUTLIERS", "warning",
        f"{len(rows)} of {len(y):,} targets ({'row' if one else 'rows'} {_some(rows[order])}) {'is' if one else 'are'} "
        f"far from all others ({values[order[0]]:.4g}; the median is {middle:.4g}) and hold{'s' if one else ''} "
        f"{share:.0%} of the variance of y"
        + (": with mse the net fits these rows and little else." if squared else "."),
        remedies.robust(subject),
        remedy=f"check {'that row' if one else 'those rows'}; if they are right, loss='huber' on standardized targets",
        rows=rows[order][:20], values=values[order][:20], share_of_variance=share,
    )  # fmt: skip


def _tail(case: Case) -> Finding | None:
    """Targets whose order can be predicted, though their values cannot, because few hold all of the variance."""
    subject, bounds = case.subject, case.bounds
    if subject.task.kind != "regression" or len(subject.task.labels) or bounds is None or bounds.signal:
        return None
    y = subject.sample_y
    square = np.sort(np.square(y - y.mean(axis=0)).sum(axis=1))
    few = max(1, len(y) // 100)
    share = float(square[-few:].sum() / max(float(square.sum()), 1e-300))
    if share < HELD_BY_TAIL:
        return None
    ranks = np.argsort(np.argsort(y, axis=0, kind="stable"), axis=0, kind="stable").astype(np.float64)
    price = bounds_seconds(len(y), subject.x.shape[1], y.shape[1])
    if price > PART * subject.work.left:
        return None
    subject.work.charge(price)
    ordered = all_bounds(subject.task, subject.sample_x, ranks)
    if not (ordered.signal and ordered.best.error < ORDERED):
        return None
    return finding(
        "OUTLIERS", "error",
        f"The {few} largest of {len(y):,} targets hold {share:.0%} of the variance of y, which hides all others from a "
        f"squared error: {ordered.best.name} predicts the order of the targets on rows kept out (it explains "
        f"{1 - ordered.best.error:.0%} of their ranks), and not their values.",
        remedy="learn log(y), or log1p(y - min), if y is positive; else loss='huber' on y divided by its median "
        "distance from the median",
        share_of_variance=share, rows=few, error_of_ranks=ordered.best.error, exact=True,
    )  # fmt: skip


@rule("SPLIT", Group.FACTS, "the validation rows are unlike the training rows")
def unlike_validation_rows(case: Case) -> Finding | None:
    """Validation rows that are unlike the training rows because the rows are sorted."""
    subject = case.subject
    held = subject.held
    if subject.copied > OUTSIDE:
        return finding(
            "SPLIT", "warning",
            f"{subject.copied:.0%} of the validation rows are copies of rows trained on: the validation figures "
            "measure what the net remembers. Here they do not count as kept out.",
            remedy="split first, and copy or augment the training rows alone: "
            "x, first = np.unique(x, axis=0, return_index=True); y = y[first]",
            brief="validation rows are copies of rows trained on", exact=True, share_copied=subject.copied,
        )  # fmt: skip
    if held is None or not held.usable or not subject.usable or not subject.validation_split:
        return None
    share, what = _unlike(subject, held)
    if share <= OUTSIDE:
        return None
    return finding(
        "SPLIT", "warning",
        f"validation_split={subject.validation_split:g} keeps the last {len(held.x):,} rows, and the rows are sorted: "
        f"{what}. The validation figures say nothing about rows like those trained on.",
        remedies.whole(),
        remedy="shuffle the rows before the split: order = np.random.default_rng(0).permutation(len(x)); "
        "fit(x[order], y[order], validation_split=...)",
        exact=True, share_unlike=share, validation_rows=len(held.x), validation_split=subject.validation_split,
    )  # fmt: skip


def _unlike(subject: Subject, held: Held) -> tuple[float, str]:
    """Fraction of the rows kept out whose class, target or input was not in the range trained on, and words for it."""
    y = np.asarray(subject.y, dtype=np.float64)
    task = subject.task
    if task.classifies and task.kind != "multilabel" and held.y.shape[1] == y.shape[1]:
        known = np.unique(y, axis=0)
        new = np.array([not (known == row).all(axis=1).any() for row in held.y])
        if new.mean() > OUTSIDE:
            return float(new.mean()), f"the class of {new.mean():.0%} of them does not occur in the rows trained on"
        return 0.0, ""
    beyond = _beyond(y, held.y) if held.y.shape[1] == y.shape[1] else np.zeros(1)
    across = _beyond(np.asarray(subject.x, np.float64), held.x)
    worst = float(beyond.max())
    if worst >= float(across.max()):
        return worst, f"{worst:.0%} of their targets lie outside the range of those trained on"
    column = int(across.argmax())
    return float(across.max()), f"{across.max():.0%} of them have a column {column} outside the range trained on"


def _beyond(known: Array, asked: Array) -> Array:
    low, high = known.min(axis=0), known.max(axis=0)
    return np.asarray(((asked < low) | (asked > high)).mean(axis=0))


@rule("TRAIN_TEST_MISMATCH", Group.FACTS, "these rows are prepared in another way than those of the training")
def train_test_mismatch(case: Case) -> Finding | None:
    """Columns whose mean or range differs between the rows trained on and those given or kept out."""
    subject = case.subject
    shift = Shift.of(subject)
    if shift is None or not shift.moved.any():
        return _each_by_itself(subject)
    then, now, moved, column = shift.then, shift.now, shift.moved, shift.most
    a, b, c, d = (float(one[column]) for one in (then[1], then[2] - then[0], now[1], now[2] - now[0]))
    count = int(moved.sum())
    end, losses = case.end, subject.history.get("loss", [])
    worse = shift.where == "this x" and end is not None and bool(losses) and not end.loss < 2 * losses[-1]
    blank = np.flatnonzero(shift.blank)
    known, advice = "", "prepare both in the same way: the scaling computed from the training rows, applied to all"
    if len(blank):
        names = f"column{'s' * (len(blank) > 1)} {_some(blank)}"
        known = (
            f" {names.capitalize()} {'are' if len(blank) > 1 else 'is'} the same in all rows here: known only later?"
        )
        advice = f"fill in {names} here as in the training rows, or train without {'them' if len(blank) > 1 else 'it'}"
    return finding(
        "TRAIN_TEST_MISMATCH", "error" if worse else "warning",
        f"{count} of {len(moved)} columns of {shift.where} {'differs' if count == 1 else 'differ'} from "
        f"{shift.other}: column {column} has median {c:.4g} and quartiles {d:.3g} apart, it was {a:.4g} and {b:.3g} in "
        f"training. The net was never trained on such numbers.{known}"
        + (f" The loss was {losses[-1]:.4g} at the end of fit and is {end.loss:.4g} here." if worse and end else ""),
        *([remedies.without_columns(subject, blank)] if len(blank) and subject.validation_data is not None else []),
        remedy=advice,
        exact=True, columns=np.flatnonzero(moved)[:20], blank_columns=blank[:20], median_trained=a,
        quartiles_apart_trained=b, median_here=c, quartiles_apart_here=d,
    )  # fmt: skip


def _each_by_itself(subject: Subject) -> Finding | None:
    """Training and validation rows that were each standardised by their own mean and deviation."""
    held = subject.held
    if held is None or not held.usable or subject.validation_data is None:
        return None
    if not (_standard(subject.x) and _standard(held.x)):
        return None
    return finding(
        "TRAIN_TEST_MISMATCH", "warning",
        "Every column has mean 0 and standard deviation 1 in x, and in validation_data as well: each was standardised "
        "by its own statistics, so that equal values mean one thing there and another here.",
        remedy="standardize both by the mean and standard deviation of the training rows: fd.Normalization() as first "
        "layer does that, on raw rows",
        brief="x and validation_data were each standardised by their own statistics", exact=True,
    )  # fmt: skip


def _standard(x: Array) -> bool:
    """Whether all columns have mean 0 and deviation 1 (of the population, or of the sample), but for rounding."""
    rows = np.asarray(x, dtype=np.float64)
    mean, sd = rows.mean(axis=0), rows.std(axis=0)
    other = sd * np.sqrt(len(rows) / max(1, len(rows) - 1))
    exact = (np.abs(sd - 1) < ROUNDED) | (np.abs(other - 1) < ROUNDED)
    return bool((np.abs(mean) < ROUNDED).all() and (exact | (sd == 0)).all() and exact.any())


@rule("NORM_LAYER", Group.SETTINGS, "a normalization layer removes or distorts the signal")
def norm_layer(case: Case) -> Finding | None:
    """A layer normalization over so few features that nothing is left, or batch averages that have not settled."""
    widths = [case.plan.inputs]
    for layer in case.plan.layers:
        widths.append(layer.units if isinstance(layer, Dense) else widths[-1])
    names = case.subject.model.net.names
    for i, layer in enumerate(case.plan.layers):
        width = widths[i]
        if isinstance(layer, LayerNorm) and (width <= 2 or (i == 0 and width <= FEW_FEATURES)):
            return _few_features(width, names[i] if i < len(names) else "layer_norm")
    averages = [layer for layer in case.plan.layers if isinstance(layer, BatchNorm)]
    if not averages or case.plan.optimizer.full_batch:
        return None
    if case.plan.batch_size == 1 and len(case.subject.x) > 1:
        return finding(
            "NORM_LAYER", "error",
            "BatchNorm with batches of one row: a number minus its own mean is 0, so in training the layers above see "
            "a constant, and predict uses averages of what they have never seen.",
            remedies.batches(32), remedies.together(remedies.batches(32), remedies.batch_momentum(_steps(case, 32))),
            brief="BatchNorm of batches of one row gives 0", exact=True, batch_size=1,
        )  # fmt: skip
    momentum = max(layer.momentum for layer in averages)
    steps = _steps(case, case.plan.batch_size)
    left = momentum**steps
    if left < UNSETTLED:
        return None
    return finding(
        "NORM_LAYER", "warning",
        f"BatchNorm's moving averages have not settled: after {steps} steps with momentum {momentum:g} their first "
        f"values (mean 0, variance 1) still weigh {momentum:g}^{steps} = {left:.0%}. Training uses the batches' own "
        "statistics, so fit reports another net than predict and evaluate use."
        + _gap(case),
        remedies.batch_momentum(steps), remedies.epochs(10), brief="BatchNorm's averages have not settled",
        exact=True, momentum=momentum, steps=steps,
        weight_of_first_values=left,
    )  # fmt: skip


def _gap(case: Case) -> str:
    """The loss that fit ended with and the one of the same net in evaluate, where they differ."""
    losses = case.subject.history.get("loss", [])
    if not losses or case.end is None or not case.end.loss > 1.5 * losses[-1]:
        return ""
    return f" The loss was {losses[-1]:.4g} at the end of fit and is {case.end.loss:.4g} in evaluate."


def _steps(case: Case, size: int) -> int:
    return max(1, case.plan.epochs * math.ceil(len(case.subject.x) / size))


def _few_features(width: int, name: str) -> Finding:
    what = {
        1: "one number minus its own mean is 0, for every row: the layers above see a constant",
        2: "two numbers become -1 and 1 or 1 and -1: all that is left is which of them is larger",
    }.get(width, f"of {width} columns it removes their sum and their scale, which each row may need")
    severity: Severity = "error" if width <= 2 else "warning"
    return finding(
        "NORM_LAYER", severity, f"LayerNorm over {width} feature{'s' * (width > 1)}: {what}.",
        remedies.without_layer_norm(), brief=f"LayerNorm over {width} feature{'s' * (width > 1)} removes the signal",
        layer=name, exact=width <= 2, features=width,
    )  # fmt: skip


@rule("CLASS_WEIGHT", Group.SETTINGS, "some classes or rows hold nearly all the weight", restart=True)
def unequal_weights(case: Case) -> Finding | None:
    """Class or sample weights that leave one class, or a few rows, with nearly all the weight."""
    subject = case.subject
    if not subject.usable or subject.rows is None:
        return None
    w = np.ones(len(subject.x)) if subject.rows.w is None else np.asarray(subject.rows.w, dtype=np.float64)
    if subject.class_weight is not None and subject.task.kind in ("binary", "classes"):
        truth = subject.task.classes_of(np.asarray(subject.y, dtype=np.float64))
        counts, total = np.bincount(truth), np.bincount(truth, weights=w / max(float(w.max()), 1e-300))
        share, usual = total / max(total.sum(), 1e-300), counts / counts.sum()
        heavy = int(share.argmax())
        unseen = [int(k) for k in np.flatnonzero((counts > 0) & (share < 0.002) & (share < 0.05 * usual))]
        if share[heavy] > max(EXTREME, usual[heavy] + 0.5 * (1 - usual[heavy])) or unseen:
            light = int(np.where(counts > 0, share, np.inf).argmin())
            return finding(
                "CLASS_WEIGHT", "error",
                f"With these class weights class {heavy} holds {share[heavy]:.1%} of the total weight "
                f"({usual[heavy]:.0%} of the rows), and class {light} {share[light]:.2%} ({usual[light]:.0%} of the "
                f"rows): always answering class {heavy} is nearly the best for this loss.",
                remedies.weigh_classes("balanced"), remedies.weigh_classes(None),
                brief=f"class {heavy} holds nearly all the weight",
                weight_shares=share, row_shares=usual,
            )  # fmt: skip
    if subject.weights is not None:
        rows, count = len(w), effective_rows(w)
    elif subject.fitted is not None and subject.fitted.weighted:  # of weights that were not passed on
        rows, count = subject.fitted.rows, subject.fitted.effective_rows
    else:
        return None
    if count > max(10.0, FEW_COUNT * rows):
        return None
    return finding(
        "CLASS_WEIGHT", "warning",
        f"The sample weights are so unequal that {rows:,} rows have the effect of {count:.3g}: the others are hardly "
        "learnt.",
        remedies.unweighted(), brief="a few rows hold nearly all the weight", effective_rows=count, rows=rows,
    )  # fmt: skip


@rule("STOPPED_EARLY", Group.STEPS, "a callback ended the training too soon", restart=True)
def stopped_early(case: Case) -> Finding | None:
    """A callback that ended the training, or lowered the rate to nothing, before the net had learnt."""
    fitted, history = case.subject.fitted, case.subject.history
    if fitted is None or not case.subject.trained:
        return None
    asked = int(getattr(case.subject.record, "params", {}).get("epochs", 0))
    if fitted.stopped_by and fitted.stopped_epoch < asked:
        rule_of_it = f" (monitor {fitted.monitor!r}, patience {fitted.patience})" if fitted.monitor else ""
        return finding(
            "STOPPED_EARLY", "warning",
            f"{fitted.stopped_by}{rule_of_it} ended the training after epoch {fitted.stopped_epoch} of {asked}.",
            remedies.all_epochs(asked), remedies.all_epochs(5 * asked),
            remedy=f"a larger patience, or no {fitted.stopped_by}",
            callback=fitted.stopped_by, epoch=fitted.stopped_epoch, asked=asked, monitor=fitted.monitor,
            patience=fitted.patience,
        )  # fmt: skip
    rates = history.get("learning_rate", [])
    if fitted.learning_rate and rates and 0 < rates[-1] < 0.02 * fitted.learning_rate:
        epoch = next(i for i, rate in enumerate(rates) if rate < 0.02 * fitted.learning_rate)
        if epoch < 0.7 * len(rates):
            return finding(
                "STOPPED_EARLY", "warning",
                f"A callback had lowered the learning rate from {fitted.learning_rate:g} to {rates[epoch]:.2g} by "
                f"epoch {epoch + 1} of {len(rates)}: from there on the net hardly moved.",
                remedies.constant_rate(fitted.learning_rate), remedies.all_epochs(3 * len(rates)),
                remedy="a larger patience, a min_lr, or no ReduceLROnPlateau",
                epoch=epoch + 1, first_rate=fitted.learning_rate, last_rate=rates[-1],
            )  # fmt: skip
    return None


@rule("LOSS_CHOICE", Group.SETTINGS, "the loss or the metric asks for something else")
def loss_choice(case: Case) -> Finding | None:
    """A loss or a metric that measures something else than what is wanted."""
    subject = case.subject
    if not subject.usable or subject.task.kind != "regression":
        return None
    y, kind = subject.sample_y, subject.loss.kind
    facts: dict[str, Any] = {"loss": kind}
    if kind in ("mae", "mape", "quantile"):
        middle = np.median(y, axis=0)
        share = float(np.mean(y == middle, axis=0).max())
        if share > 0.5 and kind != "quantile":
            value = float(middle[int(np.mean(y == middle, axis=0).argmax())])
            return finding(
                "LOSS_CHOICE", "error",
                f"{share:.0%} of the targets are {value:g}, so their median is {value:g}, and the median is what "
                f"{kind} asks for: always predicting {value:g} is the best constant.",
                remedies.loss("mse"), remedies.together(remedies.loss("mse"), remedies.optimizer(remedies.QUICK_ADAM)),
                brief=f"most targets are {value:g}, and so is the best constant for {kind}",
                share_equal_to_median=share, median=value, **facts,
            )  # fmt: skip
    watched = [m.name for m in subject.model.metrics if "accuracy" in m.name]
    if watched:
        return finding(
            "LOSS_CHOICE", "warning",
            f"The targets are numbers from {y.min():.4g} to {y.max():.4g}, and the metric {watched[0]!r} counts "
            "predictions that are exactly equal: it stays near 0 however good the net is.",
            remedy="metrics=['mae'] or R2 for a regression; classes need one output each and a cross-entropy",
            exact=True, metric=watched[0], **facts,
        )  # fmt: skip
    return None


def _some(numbers: Array) -> str:
    shown = ", ".join(str(int(i)) for i in numbers[:5])
    return shown + (", ..." if len(numbers) > 5 else "")
