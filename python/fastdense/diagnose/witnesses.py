"""Witnesses: predictors in closed form that show, on rows kept out, what can be learnt from x; nothing is trained.

Their errors bound the reachable error from above; the targets' scatter among equal rows bounds it from below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from .task import Task
from .work import numbers, products

ROWS = 2000  # at most so many rows are looked at
DISTANCES = 1e9  # multiplications of the matrix of distances, which bounds the rows where there are many columns
LARGE = 400  # unknowns of a linear system beyond which one fold is enough
FOLDS = 4
PENALTIES = (1e-4, 1e-2, 0.1, 1.0, 10.0)  # times the number of rows, for standardized columns
NEIGHBOURS = (1, 5, 20)
MANY_COLUMNS, SELECTED, MOST_OUTPUTS = 30, 32, 20  # for a selection of columns
FEATURES = 256  # random tanh units
ELEMENTS = 15  # operations on every distance between rows, to sort out the nearest, and on every random unit
RIDGE, SELECTION = "ridge regression", "least squares on selected columns"  # names of witnesses
USELESS = 0.97  # error that is no better than a constant's
SURE = 3.0  # standard errors by which a witness beats a constant

Predictor = Callable[[Array, Array, Array], Array]  # known x, known y, asked x -> scores of the asked rows
Fold = tuple[Array, Array]  # indices of the known and of the asked rows


@dataclass(frozen=True)
class Witness:
    """A predictor's error on rows kept out.

    Attributes
    ----------
    name : str
    error : float
        See `Task.errors`: 0 is perfect, 1 no better than a constant.
    sure : float
        By how many standard errors it is better than a constant, over the rows kept out.
    """

    name: str
    error: float
    sure: float


@dataclass(frozen=True)
class Bounds:
    """What can be learnt from x, as far as predictors in closed form show it.

    Attributes
    ----------
    witnesses : tuple of Witness
    floor : float
        Fraction of the targets' variation among rows of equal x: no function of x explains it.
    rows : int
        Rows kept out on which the errors were measured.
    """

    witnesses: tuple[Witness, ...]
    floor: float
    rows: int

    @property
    def best(self) -> Witness:
        """The one with the smallest error; a constant if none is better."""
        return min((Witness("constant", 1.0, 0.0), *self.witnesses), key=lambda one: one.error)

    @property
    def signal(self) -> bool:
        """Whether a witness is better than a constant beyond chance."""
        return any(one.sure > SURE for one in self.witnesses)


def bounds(task: Task, x: Array, y: Array, floor: float = 0.0, count: int = FOLDS) -> Bounds:
    """Errors of all witnesses by cross-validation.

    Parameters
    ----------
    task : Task
    x, y : ndarray of shape (rows, columns), float64, finite
        At most `ROWS` of them are used, always the same ones.
    floor : float
        Fraction of the variation that no function of x explains.
    count : int
        Folds at most.
    """
    x, y = _few(x, y)
    parts = folds(len(x), count if min(x.shape[1], len(x)) <= LARGE else 1)
    return _measured(task, x, y, parts, floor)


def bounds_seconds(rows: int, columns: int, outputs: int, count: int = FOLDS) -> float:
    """Work of all witnesses for so many rows and folds, see `work.py`."""
    rows = int(min(rows, ROWS, np.sqrt(DISTANCES / columns)))
    wide, smaller = columns + FEATURES, min(rows, columns)
    parts = count if smaller <= LARGE else 1
    systems = 0.0
    for n in (columns, wide):
        less = min(rows, n)
        systems += 4 * rows * n * less + (len(PENALTIES) + 1) * (2 * less**3 / 3 + 4 * less**2 * outputs)
    flops = parts * (systems + 4 * rows**2 * columns + SELECTED * 4 * rows * columns * outputs)
    return products(float(flops)) + numbers(parts * (ELEMENTS * rows**2 + 2 * ELEMENTS * rows * FEATURES))


def bounds_of(task: Task, x: Array, y: Array, other_x: Array, other_y: Array, floor: float = 0.0) -> Bounds:
    """The same for predictors that know the rows x and are asked for other rows."""
    (x, y), (other_x, other_y) = _few(x, y), _few(other_x, other_y)
    known, asked = np.arange(len(x)), len(x) + np.arange(len(other_x))
    return _measured(task, np.concatenate([x, other_x]), np.concatenate([y, other_y]), [(known, asked)], floor)


def known_and_asked(rows: int) -> Fold:
    """Three quarters of the rows to learn from, and one to be asked for; always the same ones."""
    return folds(rows, 1)[0]


def folds(rows: int, count: int = FOLDS, groups: Array | None = None) -> list[Fold]:
    """Folds of a cross-validation, each with a quarter of the rows asked for; the first `count` of four.

    Rows of one group (a number per row) stay together.
    """
    if groups is not None:
        place = np.unique(groups, return_inverse=True)[1].reshape(-1)
        order = np.random.default_rng(4).permutation(int(place.max()) + 1)
        parts = [np.flatnonzero(np.isin(place, part)) for part in np.array_split(order, FOLDS)]
    else:
        order = np.random.default_rng(4).permutation(rows)
        parts = np.array_split(order, FOLDS)
    return [(np.sort(np.concatenate([*parts[:i], *parts[i + 1 :]])), np.sort(parts[i])) for i in range(count)]


def ridge_error(task: Task, x: Array, y: Array, known: Array, asked: Array) -> float:
    """Error of ridge regression on standardized columns."""
    return _error(task, x, y, [(known, asked)], _ridge)[0]


def features_error(task: Task, x: Array, y: Array, known: Array, asked: Array) -> float:
    """Error of ridge regression on the columns and on random tanh units of them: a net whose last layer is solved."""
    return _error(task, x, y, [(known, asked)], _features)[0]


def neighbour_error(task: Task, x: Array, y: Array, known: Array, asked: Array) -> float:
    """Error of the mean of the nearest neighbours."""
    return _error(task, x, y, [(known, asked)], _neighbours)[0]


def equal_rows_error(task: Task, x: Array, y: Array, known: Array, asked: Array) -> float:
    """Error of the mean of the known rows that equal the row asked for; of a constant where there is none."""
    return _error(task, x, y, [(known, asked)], _equal_rows)[0]


def _measured(task: Task, x: Array, y: Array, parts: list[Fold], floor: float) -> Bounds:
    made = []
    for name, predictor in WITNESSES.items():
        if predictor is _equal_rows and len(np.unique(_key(x))) > 0.7 * len(x):
            continue
        if predictor is _few_columns and (x.shape[1] < MANY_COLUMNS or one_hot(task, y[:1]).shape[1] > MOST_OUTPUTS):
            continue
        made.append(Witness(name, *_error(task, x, y, parts, predictor)))
    return Bounds(tuple(made), floor, sum(len(asked) for _, asked in parts))


def _error(task: Task, x: Array, y: Array, parts: list[Fold], predictor: Predictor) -> tuple[float, float]:
    """Error on the asked rows of all folds together, and the number of standard errors by which it beats a constant."""
    wanted = one_hot(task, y)
    asked = np.concatenate([part for _, part in parts])
    scores, constant = np.zeros((len(asked), wanted.shape[1])), np.zeros((len(asked), wanted.shape[1]))
    done = 0
    for known, others in parts:
        here = slice(done, done + len(others))
        scores[here] = predictor(x[known], wanted[known], x[others])
        constant[here] = wanted[known].mean(axis=0)
        done += len(others)
    predictions, threshold = answers(task, scores)
    base, _ = answers(task, constant)
    nearer = np.square(wanted[asked] - constant).sum(axis=1) - np.square(wanted[asked] - scores).sum(axis=1)
    sure = _beyond_chance(nearer)
    if task.classifies:  # of a rare class the scores say more than the answers, of many classes the answers
        sure = max(sure, _beyond_chance(row_errors(task, y[asked], base) - row_errors(task, y[asked], predictions)))
    return rounded(task.errors(y[asked], predictions, threshold)), rounded(sure)


def _beyond_chance(gain: Array) -> float:
    """Mean of a gain per row, in standard errors."""
    deviation = float(gain.std()) / np.sqrt(max(1, len(gain)))
    return float(gain.mean() / deviation) if deviation > 0 else np.inf if gain.mean() > 0 else 0.0


def chance(rows: int) -> float:
    """The error that a predictor may reach on so many rows by chance, where there is nothing to learn."""
    return float(USELESS - 1 / np.sqrt(max(1, rows)))


def rounded(value: float) -> float:
    """Six digits: the others depend on the number of threads of a matrix product."""
    return float(f"{value:.6g}")


def one_hot(task: Task, y: Array) -> Array:
    """Targets to regress on: one column per class for class numbers in one column, else as they are."""
    if task.classifies and task.encoding not in ("one_hot", "columns"):
        return np.eye(len(task.labels))[np.minimum(task.classes_of(y), len(task.labels) - 1)]
    return np.asarray(y, dtype=np.float64)


def answers(task: Task, scores: Array) -> tuple[Array, float]:
    """Predictions in the form that `Task.errors` takes, and the threshold between two classes."""
    if task.classifies and task.encoding not in ("one_hot", "columns"):
        return task.labels[scores.argmax(axis=1)][:, None], float(task.labels.mean())
    return scores, 0.5


def row_errors(task: Task, y: Array, predictions: Array, threshold: float | None = None) -> Array:
    """Error of every row: wrong or right, or the squared distance."""
    if task.kind == "regression":
        return np.asarray(np.square(y - predictions).sum(axis=1))
    if task.kind == "multilabel":
        return np.asarray(((predictions > 0.5) != (y > 0.5)).mean(axis=1))
    middle = threshold if threshold is not None else float(task.labels.mean()) if len(task.labels) else 0.5
    return np.asarray(task.answers(predictions, middle) != task.classes_of(y), dtype=np.float64)


# ---- predictors ------------------------------------------------------------------------------------------------------


def _ridge(x: Array, y: Array, asked: Array) -> Array:
    (x, asked), mean = _standardized(x, asked), y.mean(axis=0)
    return np.asarray(_solved(x, y - mean, asked, _best_penalty(x, y)) + mean)


def _features(x: Array, y: Array, asked: Array) -> Array:
    x, asked = _standardized(x, asked)
    generator = np.random.default_rng(5)
    kernel = generator.standard_normal((x.shape[1], FEATURES)) * (1.5 / np.sqrt(min(x.shape[1], 9)))
    bias = generator.uniform(-2, 2, FEATURES)
    return _ridge(np.hstack([x, np.tanh(x @ kernel + bias)]), y, np.hstack([asked, np.tanh(asked @ kernel + bias)]))


def _few_columns(x: Array, y: Array, asked: Array) -> Array:
    """Forward selection of columns, as many as serve best on a quarter of the rows, then least squares on them."""
    x, asked = _standardized(x, asked)
    mean = y.mean(axis=0)
    known, others = known_and_asked(len(x))
    chosen = _forward(x[known], y[known] - y[known].mean(axis=0))
    best, count = np.inf, 1
    for k in sorted({1, 2, 4, 8, 16, len(chosen)}):
        here = np.array(chosen[:k])
        guess = _solved(x[known][:, here], y[known] - mean, x[others][:, here], PENALTIES[0])
        error = float(np.square(y[others] - mean - guess).sum())
        if error < best:
            best, count = error, k
    here = np.array(_forward(x, y - mean, count))
    return np.asarray(_solved(x[:, here], y - mean, asked[:, here], PENALTIES[0]) + mean)


def _forward(x: Array, y: Array, count: int = SELECTED) -> list[int]:
    """Columns in the order in which orthogonal matching pursuit takes them."""
    chosen: list[int] = []
    rest = y
    for _ in range(min(count, x.shape[1], len(x) // 4)):
        gain = np.square(x.T @ rest).sum(axis=1)
        gain[chosen] = -1.0
        chosen.append(int(gain.argmax()))
        rest = y - _solved(x[:, chosen], y, x[:, chosen], 1e-9)
    return chosen


def _neighbours(x: Array, y: Array, asked: Array) -> Array:
    x, asked = _standardized(x, asked)
    within = _nearest(x, x, own=True)
    errors = [float(np.square(y - y[within[:, :k]].mean(axis=1)).mean()) for k in NEIGHBOURS]
    k = NEIGHBOURS[int(np.argmin(errors))]
    return np.asarray(y[_nearest(x, asked)[:, :k]].mean(axis=1))


def _equal_rows(x: Array, y: Array, asked: Array) -> Array:
    keys, group, counts = np.unique(_key(x), return_inverse=True, return_counts=True)
    sums = np.zeros((len(keys), y.shape[1]))
    np.add.at(sums, group.reshape(-1), y)
    place = np.minimum(np.searchsorted(keys, wanted := _key(asked)), len(keys) - 1)
    return np.where((keys[place] == wanted)[:, None], (sums / counts[:, None])[place], y.mean(axis=0))


WITNESSES: dict[str, Predictor] = {
    RIDGE: _ridge,
    "random features with ridge regression": _features,
    SELECTION: _few_columns,
    "nearest neighbours": _neighbours,
    "mean of equal rows": _equal_rows,
}


def _few(x: Array, y: Array) -> tuple[Array, Array]:
    most = int(min(ROWS, np.sqrt(DISTANCES / x.shape[1])))
    if len(x) <= most:
        return x, y
    chosen = np.sort(np.random.default_rng(6).choice(len(x), most, replace=False))
    return x[chosen], y[chosen]


def _standardized(x: Array, asked: Array) -> tuple[Array, Array]:
    mean, sd = x.mean(axis=0), x.std(axis=0)
    moving = sd > 1e-12 * np.maximum(np.abs(mean), 1e-300)
    sd = np.where(moving, sd, 1.0)
    return np.where(moving, (x - mean) / sd, 0.0), np.where(moving, (asked - mean) / sd, 0.0)


def _best_penalty(x: Array, y: Array) -> float:
    """The penalty with the smallest error on a quarter of these rows, learnt from the others."""
    known, asked = known_and_asked(len(x))
    mean = y[known].mean(axis=0)
    guesses = _all_solved(x[known], y[known] - mean, x[asked], PENALTIES)
    errors = [float(np.square(y[asked] - mean - guess).sum()) for guess in guesses]
    return PENALTIES[int(np.argmin(errors))]


def _solved(x: Array, y: Array, asked: Array, penalty: float) -> Array:
    """Predictions of the ridge solution."""
    return _all_solved(x, y, asked, (penalty,))[0]


def _all_solved(x: Array, y: Array, asked: Array, penalties: tuple[float, ...]) -> list[Array]:
    """Predictions of the ridge solutions, by whichever of the two linear systems is smaller."""
    rows, columns = x.shape
    wide = columns > rows
    system = x @ x.T if wide else x.T @ x
    right, left = (y, asked @ x.T) if wide else (x.T @ y, asked)
    diagonal = system.diagonal().copy()
    made = []
    for penalty in penalties:
        np.fill_diagonal(system, diagonal + penalty * rows)
        made.append(np.asarray(left @ np.linalg.solve(system, right)))
    return made


def _nearest(x: Array, asked: Array, own: bool = False) -> Array:
    """Indices of the nearest rows of x for every row asked for, nearest first; `own`: other rows than itself."""
    square = np.square(x).sum(axis=1)
    distance = np.square(asked).sum(axis=1)[:, None] + square - 2 * asked @ x.T
    if own:
        np.fill_diagonal(distance, np.inf)
    count = min(max(NEIGHBOURS), len(x) - 1)
    near = np.argpartition(distance, count - 1, axis=1)[:, :count]
    order = np.argsort(np.take_along_axis(distance, near, axis=1), axis=1, kind="stable")
    return np.take_along_axis(near, order, axis=1)


def _key(x: Array) -> Array:
    """A number per row; equal rows have equal ones, and others, but for rounding, do not."""
    return np.asarray(x @ np.random.default_rng(1).standard_normal(x.shape[1]))
