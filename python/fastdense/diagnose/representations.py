"""Which representation of the columns, or of the targets, lets simple models predict more: a search without training.

Transforms are suspected column by column, from what a smooth model of the columns as they are leaves unexplained: means
of every code, and the spectrum over every column. Heavy tails are read off the columns. What is suspected is then
judged together, by ridge regression and kernel ridge regression (a Gaussian kernel as wide as the data, which like a
plain net learns no fast oscillation) on rows that they were not fitted to. All is deterministic, and the work is
bounded: at most `ROWS` rows, `KERNEL_ROWS` of them for kernels, `MOST_COLUMNS` columns for codes and spectra.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..arrays import Array
from ..data.rows import random_rows
from ..engine.blas import one_numpy_thread
from ..layers import Log1p, OneHot, Periodic
from ..layers.preprocessing import Preprocessing, encoded
from .task import DECADE, LEAST_NONZERO, Task
from .work import Work, numbers, products

ROWS = 3000  # that are looked at
KERNEL_ROWS = 500  # of these, to which a kernel model is fitted
KERNEL_COLUMNS = 300
RIDGE_NUMBERS = 400_000  # rows times columns to which a linear model is fitted, but no fewer rows than KERNEL_ROWS
LEAST_ROWS = 60
TARGETS = 16  # columns of y, or classes
MOST_COLUMNS = 100  # of a table whose columns are examined for codes and periods; pixels and words are neither
FAR = 8.0  # standard deviations from the median to the farthest value: a heavy tail
TAILS = 4.0  # and how many times farther than the 90 % quantile it is
SEVERAL = 3  # equal values in a tail
UNITS = 10.0  # factor between two sets of values that one column holds, larger than within either
RATIO = 3.0  # of the median to the quarter, counted from one end, of a column over decades
TAIL_NUMBERS = 1 << 19  # rows times columns in which tails are looked for
CODES, ROWS_PER_CODE = 400, 4  # the most codes of all columns together, and the fewest rows per code on average
LEAST_CODES = 5
BINS = 4096  # of the range of a column, for its spectrum
MOST_FREQUENCIES = 6
SIGNIFICANT = 12.0  # a peak's share of the variance, times rows / 2, above the logarithm of the number of frequencies
WORTH = 0.02  # fraction of the unexplained variance that one column, or one frequency, must explain to be suspected
RIDGES = (1e-3, 1.0)
KERNEL_RIDGE = 0.01
BETTER, LEAST_GAIN = 0.7, 0.05  # what a representation must reduce the squared held-out error to, and by
KEEP, SMALL = 0.9, 0.02  # what one part of it must reduce that error to; an error that needs no further part
FEWEST_PERIODS = 1.5  # within the range of a column; less is no oscillation
MOST_PAIRS = 64  # of columns, whose products with oscillations are looked for
FITS = 8  # of the simple models in a search


@dataclass(frozen=True)
class Sample:
    """Rows for the search: columns x, and targets y as numbers (classes as columns of 0 and 1, decades as logarithms).

    `known` and `asked` are the rows that models are fitted to and those that they are judged by.
    """

    task: Task
    x: Array
    y: Array
    raw_y: Array
    known: Array
    asked: Array

    @classmethod
    def of(cls, task: Task, x: Array, y: Array, rows: int = ROWS) -> Sample | None:
        """A sample of at most so many of these rows; None if there are too few, or nothing to predict."""
        x, y = random_rows(x, rows), random_rows(y, rows)
        order = np.random.default_rng(5).permutation(len(x))
        cut = len(x) // 4
        numbers = _targets(task, y)
        if len(x) < LEAST_ROWS or not numbers.shape[1]:
            return None
        return cls(task, x, numbers, y, order[cut:], order[:cut])

    def score(self, error: float) -> str:
        """An error in words."""
        if self.task.kind == "regression":
            return f"R2 {max(1 - error, -9.99):.2f}"
        return f"{error:.0%} of the errors of a constant prediction"

    def error(self, predictions: Array) -> float:
        """Error of predictions of the targets for the rows `asked`, as `Task.errors` measures it."""
        truth = self.raw_y[self.asked]
        if self.task.scale:
            predictions = np.expm1(predictions) * self.task.scale
        if self.task.kind in ("regression", "multilabel"):
            if predictions.shape != truth.shape:
                missed = np.square(self.y[self.asked] - predictions).sum()
                return float(missed / np.square(self.y[self.asked] - self.y[self.asked].mean(axis=0)).sum())
            return self.task.errors(truth, predictions, 0.5)
        classes = self.task.classes_of(truth)
        columns = _classes_of_columns(self.task, self.raw_y)
        wrong = float(np.mean(columns[np.argmax(predictions, axis=1)] != classes))
        constant = 1 - float(np.bincount(classes).max()) / len(classes)
        return wrong / constant if constant > 0 else float(wrong > 0)


def _targets(task: Task, y: Array) -> Array:
    if task.scale:
        return task.logarithm(y)
    if task.kind == "regression" or task.kind == "multilabel":
        varying = np.flatnonzero(y.std(axis=0) > 0)
        return np.asarray(y[:, varying] if len(varying) <= TARGETS and len(varying) == y.shape[1] else
                          y[:, varying[:: -(-len(varying) // TARGETS)]] if len(varying) else y[:, :0])  # fmt: skip
    columns = _classes_of_columns(task, y)
    return np.asarray(task.classes_of(y)[:, None] == columns[None], dtype=np.float64)


def _classes_of_columns(task: Task, y: Array) -> Array:
    """The most frequent classes, at most `TARGETS` of them."""
    classes, counts = np.unique(task.classes_of(y), return_counts=True)
    return np.asarray(np.sort(classes[np.argsort(-counts, kind="stable")][:TARGETS]))


# ---- models that need no training ------------------------------------------------------------------------------------


def _standard(x: Array, known: Array) -> Array:
    """Columns of mean 0 and standard deviation 1; constant ones become 0."""
    mean, sd = x[known].mean(axis=0), x[known].std(axis=0)
    return np.asarray((x - mean) / np.where(sd > 1e-12 * (1 + np.abs(mean)), sd, np.inf))


def _ridge(x: Array, y: Array, known: Array, asked: Array, penalty: float) -> Array:
    """Predictions of ridge regression for the rows `asked`, fitted to fewer of the others where columns are many."""
    known = known[: max(KERNEL_ROWS, RIDGE_NUMBERS // x.shape[1])]
    mean = y[known].mean(axis=0)
    a, b = x[known], y[known] - mean
    if x.shape[1] <= len(known):
        solved = np.linalg.solve(a.T @ a + penalty * np.eye(x.shape[1]), a.T @ b)
        return np.asarray(x[asked] @ solved + mean)
    dual = np.linalg.solve(a @ a.T + penalty * np.eye(len(known)), b)
    return np.asarray(x[asked] @ (a.T @ dual) + mean)


def _kernel_ridge(x: Array, y: Array, known: Array, asked: Array, penalty: float) -> Array:
    """Predictions with a Gaussian kernel over all columns, as wide as the data; fitted to few of the rows."""
    known = known[:KERNEL_ROWS]
    mean = y[known].mean(axis=0)
    square = np.square(x).sum(axis=1)
    width = 2.0 * max(1.0, float(square[known].mean()))

    def kernel(rows: Array) -> Array:
        distance = square[rows, None] + square[None, known] - 2 * x[rows] @ x[known].T
        return np.asarray(np.exp(-np.maximum(distance, 0.0) / width))

    dual = np.linalg.solve(kernel(known) + penalty * np.eye(len(known)), y[known] - mean)
    return np.asarray(kernel(asked) @ dual + mean)


def fitting_seconds(rows: int, columns: int, targets: int) -> float:
    """Work of fitting the simple models once to three quarters of so many rows; see `work.py`."""
    known, asked = 3 * rows // 4, rows // 4
    few, least = min(known, max(KERNEL_ROWS, RIDGE_NUMBERS // columns)), 0.0
    for solved, made in ((min(few, columns), len(RIDGES)), (min(known, KERNEL_ROWS), int(columns <= KERNEL_COLUMNS))):
        least += made * products(2 * few * columns * solved + solved**3 + 2 * asked * columns * (solved + targets))
    near = min(known, KERNEL_ROWS) * (min(known, KERNEL_ROWS) + asked)
    return least + numbers(20 * near * (columns <= KERNEL_COLUMNS) + 10 * rows * columns)


def _best(sample: Sample, x: Array, y: Array, work: Work) -> tuple[float, Array]:
    """Error of the best of the simple models on the rows `asked`, and its predictions there."""
    work.charge(fitting_seconds(len(x), x.shape[1], y.shape[1]))
    z = _standard(x, sample.known)
    tried = [_ridge(z, y, sample.known, sample.asked, penalty) for penalty in RIDGES]
    if z.shape[1] <= KERNEL_COLUMNS:
        tried.append(_kernel_ridge(z, y, sample.known, sample.asked, KERNEL_RIDGE))
    truth = y[sample.asked]
    spread = float(np.square(truth - y[sample.known].mean(axis=0)).sum()) or 1.0
    errors = [float(np.square(truth - p).sum()) / spread for p in tried]
    best = int(np.argmin(errors))
    return errors[best], tried[best]


def _left(sample: Sample, x: Array, y: Array, work: Work) -> Array:
    """What simple models leave of y for every row, from models that were not fitted to that row."""
    work.charge(2 * fitting_seconds(2 * len(x), x.shape[1], y.shape[1]))
    z, left = _standard(x, sample.known), np.empty_like(y)
    order = np.random.default_rng(6).permutation(len(x))
    for fold in range(2):
        asked, known = np.sort(order[fold::2]), np.sort(order[1 - fold :: 2])
        known = np.random.default_rng(7).permutation(known)
        tried = [_ridge(z, y, known, asked, RIDGES[-1])]
        if z.shape[1] <= KERNEL_COLUMNS:
            tried.append(_kernel_ridge(z, y, known, asked, KERNEL_RIDGE))
        best = min(tried, key=lambda p: float(np.square(y[asked] - p).sum()))
        left[asked] = y[asked] - best
    left -= left.mean(axis=0)
    return left


# ---- suspicions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """Which columns are encoded, and how; no column twice.

    Attributes
    ----------
    tails : dict
        Offset and scale of a logarithm by column.
    periods : dict
        Frequencies of sines and cosines by column.
    codes : dict
        Codes, one column each, by column.
    """

    tails: dict[int, tuple[float, float]] = field(default_factory=dict)
    periods: dict[int, list[float]] = field(default_factory=dict)
    codes: dict[int, list[float]] = field(default_factory=dict)

    @property
    def columns(self) -> set[int]:
        """All columns that are encoded."""
        return {*self.tails, *self.periods, *self.codes}

    def with_(self, other: Choice) -> Choice:
        """Both together; a column in both stays as it is here."""

        def joined(own: dict[int, Any], new: dict[int, Any]) -> dict[int, Any]:
            return dict(sorted({**own, **{j: v for j, v in new.items() if j not in self.columns}}.items()))

        return Choice(*(joined(own, new) for own, new in zip(_parts(self), _parts(other), strict=True)))

    def layers_for(self, x: Array) -> list[Preprocessing]:
        """The layers, with the codes of all rows of x."""
        codes = {j: np.unique(x[:, j]).tolist() for j in self.codes}
        return replace(self, codes=codes).layers()

    def layers(self) -> list[Preprocessing]:
        """The layers that encode rows so: those after `Periodic` find their columns where that layer moved them."""
        made: list[Preprocessing] = []
        if self.tails:
            offsets, scales = zip(*self.tails.values(), strict=True)
            made.append(Log1p(scales, list(self.tails), offsets))
        if self.periods:
            made.append(Periodic(list(self.periods.values()), list(self.periods)))
        if self.codes:
            moved = [j + sum(2 * len(f) for i, f in self.periods.items() if i < j) for j in self.codes]
            made.append(OneHot(moved, list(self.codes.values())))
        return made


def _parts(choice: Choice) -> tuple[dict[int, Any], ...]:
    return choice.tails, choice.periods, choice.codes


def heavy_tails(x: Array) -> list[int]:
    """Columns whose largest values are so far out that they hide the others."""
    x = random_rows(x, max(KERNEL_ROWS, TAIL_NUMBERS // x.shape[1]))
    middle, end = np.median(x, axis=0), _ends(x)
    away, size = np.abs(x - middle), np.abs(x - end)
    sd, farthest = x.std(axis=0), away.max(axis=0)
    alone = (farthest > FAR * sd) & (farthest > TAILS * np.quantile(away, 0.9, axis=0))
    small, usual, large = np.quantile(size, (0.25, 0.5, 0.95), axis=0)
    decades = (small > 0) & (usual > RATIO * small) & (large > DECADE * usual)
    varied = (sd > 0) & ((away > 0).mean(axis=0) > LEAST_NONZERO)
    found = []
    for j in np.flatnonzero(varied & (alone | decades)):
        far = x[away[:, j] > 0.5 * farthest[j], j]
        one_number = len(far) >= SEVERAL and np.ptp(far) == 0  # for all that is missing, such as -9999
        if not one_number and len(np.unique(x[:, j])) > LEAST_CODES:
            found.append(int(j))
    return found


def two_sizes(x: Array) -> Array:
    """Columns (bool) of two sets of positive numbers a decade or more apart, as of two units; both vary."""
    some = np.sort(x, axis=0)
    least = max(SEVERAL, len(x) // 20)
    ratio = some[1:] / np.where(some[:-1] > 0, some[:-1], np.inf)
    at = ratio[least - 1 : len(x) - least].argmax(axis=0) + least
    columns = np.arange(x.shape[1])
    low, high = some[0], some[-1]
    inner = np.maximum(some[at - 1, columns] / np.where(low > 0, low, np.nan), high / some[at, columns])
    apart = some[at, columns] / np.where(some[at - 1, columns] > 0, some[at - 1, columns], np.nan)
    varied = (np.ptp(some[:least], axis=0) > 0) & (np.ptp(some[-least:], axis=0) > 0)
    return np.asarray(varied & (apart > UNITS) & (apart > inner))


def _ends(x: Array) -> Array:
    """The least or the largest value of every column, whichever is nearer to the median."""
    low, middle, high = x.min(axis=0), np.median(x, axis=0), x.max(axis=0)
    return np.asarray(np.where(middle - low < high - middle, low, high))


def _logarithms(x: Array, columns: list[int]) -> list[dict[int, tuple[float, float]]]:
    """Offsets and scales of logarithms that are tried: from where the column begins to vary, and from its usual size.

    The offset is 0, or the end of a column with one tail only if that is not at 0.
    """
    made: list[dict[int, tuple[float, float]]] = [{}, {}]
    ends = _ends(x)
    for j in columns:
        column = x[:, j]
        end, middle = float(ends[j]), float(np.median(column))
        one_sided = abs(middle - end) < 0.1 * np.ptp(column)
        offset = end if one_sided and not 0 <= end / (middle or 1.0) < 0.5 else 0.0
        size = np.abs(column - offset)
        for tried, quantile in zip(made, (0.05, 0.5), strict=True):
            tried[j] = (offset, float(np.quantile(size[size > 0], quantile)))
    return made if columns else []


def _codes(x: Array, left: Array) -> dict[int, list[float]]:
    """Columns of few values, whose means explain what a smooth function of them does not."""
    found: list[tuple[float, int, list[float]]] = []
    order = np.random.default_rng(9).permutation(len(x))  # rows may come in a regular order of codes
    even, odd = np.sort(order[::2]), np.sort(order[1::2])
    total = float(np.square(left).sum()) or 1.0
    for j in range(x.shape[1]):
        values, place = np.unique(x[:, j], return_inverse=True)
        if not LEAST_CODES <= len(values) <= min(CODES, len(x) // ROWS_PER_CODE):
            continue
        place, missed = place.reshape(-1), 0.0
        for known, asked in ((even, odd), (odd, even)):
            count = np.bincount(place[known], minlength=len(values)) + 0.5
            sums = np.stack([np.bincount(place[known], t[known], len(values)) for t in left.T], axis=1)
            missed += float(np.square(left[asked] - (sums / count[:, None])[place[asked]]).sum())
        if missed < (1 - WORTH) * total:
            found.append((missed, j, values.tolist()))
    chosen: dict[int, list[float]] = {}
    for _, j, codes in sorted(found):
        if len(codes) + sum(map(len, chosen.values())) <= CODES:
            chosen[j] = codes
    return dict(sorted(chosen.items()))


def _spectrum(column: Array, left: Array, low: float, step: float) -> tuple[Array, Array]:
    """Frequencies, and how much of the sum of squares a sine of each explains, summed over the targets."""
    bins = np.rint((column - low) / step).astype(np.intp)
    size = 2 * (int(bins.max()) + 1)
    power = np.zeros(size // 2 + 1)
    for target in left.T:
        power += np.square(np.abs(np.fft.rfft(np.bincount(bins, target, size))))
    return np.fft.rfftfreq(size, step), 2 * power / len(column)


def _grid(column: Array) -> tuple[float, float]:
    """Lower end and spacing of the grid that a column's values are put on: their own if they have one."""
    values = np.unique(column)
    gaps = np.diff(values)
    span = float(values[-1] - values[0])
    least = float(np.median(np.sort(gaps)[: max(1, len(gaps) // 10)]))
    places = (values - values[0]) / least if least > 0 else np.zeros(1)
    if least > 0 and span / least <= 4 * BINS and float(np.abs(places - np.rint(places)).max()) < 1e-3:
        return float(values[0]), least
    return float(values[0]), span / (BINS - 1)


def _sines(column: Array, frequencies: Sequence[float]) -> Array:
    angle = 2 * np.pi * column[:, None] * np.asarray(frequencies)
    return np.concatenate([np.sin(angle), np.cos(angle), np.ones((len(column), 1))], axis=1)


def _without(column: Array, left: Array, frequencies: Sequence[float]) -> Array:
    """What sines of these frequencies leave."""
    design = _sines(column, frequencies)
    return np.asarray(left - design @ np.linalg.lstsq(design, left, rcond=1e-8)[0])


def _refined(column: Array, left: Array, frequency: float, step: float, work: Work) -> float:
    """The frequency nearby whose sine leaves least."""
    work.charge(numbers(45 * 200 * left.size))
    best = frequency
    for _ in range(5):
        near = [f for f in best + step * np.linspace(-1, 1, 9) if f > 0]
        best = min(near, key=lambda f: float(np.square(_without(column, left, [f])).sum()))
        step /= 4
    return float(best)


def _periods(column: Array, left: Array, work: Work) -> list[float]:
    """Frequencies of a column whose sines explain what is left, the strongest first, if there are several periods."""
    if len(np.unique(column)) < 2 * LEAST_CODES:
        return []
    low, step = _grid(column)
    span, total = float(np.ptp(column)), float(np.square(left).sum()) or 1.0
    found: list[float] = []
    rest = left
    on_grid = bool(np.allclose((column - low) / step, np.rint((column - low) / step), atol=1e-3))
    while len(found) < MOST_FREQUENCIES:
        frequencies, power = _spectrum(column, rest, low, step)
        work.charge(numbers(40 * len(power) * left.shape[1] + 60 * left.size * len(found)))
        most = 0.5 / step if on_grid else min(0.125 / step, len(column) / (4 * span))
        power[(frequencies * span < FEWEST_PERIODS) | (frequencies > 1.001 * most)] = 0
        at, now = int(np.argmax(power)), float(np.square(rest).sum())
        if now <= 1e-9 * total or power[at] / now * len(column) / 2 < math.log(len(power)) + SIGNIFICANT:
            break
        best = float(frequencies[at])
        if best * step < 0.499:  # else it alternates on the grid
            best = _refined(column, rest, best, float(frequencies[1]) / 2, work)
        after = _without(column, left, [*found, best])
        if float(np.square(after).sum()) > now - WORTH * total:
            break
        found, rest = [*found, best], after
    return found


def _products(x: Array, left: Array, work: Work) -> dict[int, list[float]]:
    """Frequencies of columns whose sines, times another column, explain what is left; as many pairs as allowed."""
    z = _standard(x, np.arange(len(x)))
    columns = [j for j in range(x.shape[1]) if bool(z[:, j].any())]
    pairs = [(j, k) for j in columns for k in columns if j != k]
    found: dict[int, list[float]] = {}
    for j, k in pairs if len(pairs) <= MOST_PAIRS else ():
        some = _periods(x[:, j], left * z[:, k : k + 1], work)
        found[j] = list(dict.fromkeys([*found.get(j, []), *some]))[:MOST_FREQUENCIES]
    return found


# ---- the search ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Representation:
    """Encoders of columns that let simple models predict more.

    Attributes
    ----------
    choice : Choice
        Empty if no encoding helps much.
    as_given, error : float
        Held-out error of the best simple model with the columns as they are, and encoded, as `Task.errors` measures it.
    """

    choice: Choice
    as_given: float
    error: float


@one_numpy_thread()
def search(sample: Sample, work: Work | None = None) -> Representation | None:
    """The encoding of columns that reduces the held-out error of simple models most; None if there is none to try.

    What it does is charged to `work`.
    """
    work = Work() if work is None else work
    tails, wide = heavy_tails(sample.x), sample.x.shape[1] > MOST_COLUMNS
    if wide and not tails and not sample.task.scale:
        return None
    spread = sample.y.std(axis=0)
    y = sample.y / np.where(spread > 0, spread, 1.0)
    base, predicted = _best(sample, sample.x, y, work)
    before, best, choice = sample.error(predicted * spread), base, Choice()

    def consider(*others: Choice) -> None:
        """Add the best of these to the choice if that helps much."""
        nonlocal best, predicted, choice
        made = [choice.with_(other) for other in others]
        tried = [(*_best(sample, encoded(one.layers(), sample.x), y, work), one) for one in made if one != choice]
        error, p, one = min(tried, key=lambda made: made[0], default=(math.inf, y, choice))
        if error < KEEP * best:
            best, predicted, choice = error, p, one

    consider(*map(Choice, _logarithms(sample.x, tails)))
    if not wide and best > SMALL:
        left = _left(sample, encoded(choice.layers(), sample.x), y, work)
        work.charge(numbers(sample.x.size * (40 + 10 * y.shape[1])))
        consider(Choice(codes=_codes(sample.x, left)))
        found = {j: _periods(column, left, work) for j, column in enumerate(sample.x.T) if j not in choice.codes}
        consider(Choice(periods={j: f for j, f in found.items() if f}))
        if best > BETTER * base:  # nothing found yet
            found = _products(sample.x, left, work)
            consider(Choice(periods={j: f for j, f in found.items() if f}))
        if best > BETTER * base:
            consider(*map(Choice, _logarithms(sample.x, np.flatnonzero(two_sizes(sample.x)).tolist())))
    if best > BETTER * base or base - best < LEAST_GAIN:
        return Representation(Choice(), before, before)
    return Representation(choice, before, sample.error(predicted * spread))
