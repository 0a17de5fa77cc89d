"""Greedy selection: the very choices of a search by loops over formulas written once more, for each loss and metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, r2_score, roc_auc_score

from fastdense import losses
from fastdense.metrics import Metric
from fastdense.population.selection import Measure, greedy
from fastdense.specs import members

Array = Any
ROWS, STEPS = 40, 12
RNG = np.random.default_rng(3)
WEIGHTS = RNG.uniform(0, 3, ROWS)
Formula = Callable[[Array, Array, Array], float]


def mean_over(values: Callable[[Array, Array], Array]) -> Formula:
    """Weighted mean over the rows of the mean over the outputs."""
    return lambda y, p, w: float((w * values(y, p).mean(axis=1)).sum() / w.sum())


def clipped(p: Array) -> Array:
    return np.clip(p, 1e-7, 1 - 1e-7)


def log_loss(y: Array, p: Array, w: Array) -> float:
    """Of class ids."""
    return float((w * -np.log(clipped(p)[np.arange(len(y)), y])).sum() / w.sum())


def smoothed(y: Array, p: Array, w: Array) -> float:
    targets = 0.9 * np.eye(3)[y] + 0.1 / 3
    return float((w * -(targets * np.log(clipped(p))).sum(axis=1)).sum() / w.sum())


def binary(y: Array, p: Array) -> Array:
    return -y * np.log(clipped(p)) - (1 - y) * np.log(clipped(1 - p))


def huber(e: Array) -> Array:
    return np.where(e <= 0.5, e**2 / 2, 0.5 * e - 0.125)


def auc(y: Array, p: Array, w: Array) -> float:
    """Minus the area under the ROC curve."""
    return -float(roc_auc_score(y[:, 0], p[:, 0], sample_weight=w))


Y = {
    "values": RNG.normal(size=(ROWS, 2)),
    "classes": RNG.integers(0, 3, ROWS),
    "probabilities": RNG.integers(0, 2, (ROWS, 1)) * 1.0,
}
LOSS = {
    "values": losses.MeanSquaredError(),
    "classes": losses.SparseCategoricalCrossentropy(),
    "probabilities": losses.BinaryCrossentropy(),
}
# what is asked for -> the kind of the targets, and the value that is minimised
CASES: dict[str, tuple[str, Any, Formula]] = {
    "loss of values": ("values", None, mean_over(lambda y, p: (y - p) ** 2)),
    "mse": ("values", "mse", mean_over(lambda y, p: (y - p) ** 2)),
    "mae": ("values", "mae", mean_over(lambda y, p: abs(y - p))),
    "mape": ("values", "mape", mean_over(lambda y, p: 100 * abs(y - p) / abs(y))),
    "huber": ("values", losses.Huber(0.5), mean_over(lambda y, p: huber(abs(y - p)))),
    "quantile": ("values", losses.Quantile(0.2), mean_over(lambda y, p: np.maximum(0.2 * (y - p), -0.8 * (y - p)))),
    "r2": ("values", "r2", lambda y, p, w: -float(r2_score(y, p, sample_weight=w))),
    "loss of classes": ("classes", None, log_loss),
    "one-hot loss of class ids": ("classes", "categorical_crossentropy", log_loss),
    "label smoothing": ("classes", losses.SparseCategoricalCrossentropy(label_smoothing=0.1), smoothed),
    "accuracy": ("classes", "accuracy", lambda y, p, w: -float(w @ (p.argmax(axis=1) == y) / w.sum())),
    "f1": ("classes", "f1", lambda y, p, w: -float(f1_score(y, p.argmax(axis=1), average="macro", sample_weight=w))),
    "loss of probabilities": ("probabilities", None, mean_over(binary)),
    "logits are no matter": ("probabilities", losses.BinaryCrossentropy(from_logits=True), mean_over(binary)),
    "binary accuracy": ("probabilities", "accuracy", mean_over(lambda y, p: -1.0 * ((p > 0.5) == y))),
    "auc": ("probabilities", "auc", auc),
}  # fmt: skip


def candidates(kind: str) -> Array:
    """Outputs of nine models of different worth; two more are those of the third and the fifth again."""
    rng = np.random.default_rng(8)
    if kind == "values":
        made = Y[kind] + rng.normal(size=(9, ROWS, 2)) * rng.uniform(0.5, 1.5, (9, 1, 1))
    elif kind == "classes":
        made = rng.gamma(1.0, size=(9, ROWS, 3)) + 0.6 * np.eye(3)[Y[kind]]
        made /= made.sum(axis=2, keepdims=True)
    else:
        made = np.clip(0.3 * Y[kind] + 0.7 * rng.uniform(size=(9, ROWS, 1)), 0, 1)
    return np.concatenate([made, made[[2, 4]]])


def brute_force(value: Formula, outputs: Array, y: Array, w: Array, size: int) -> list[int]:
    chosen: list[int] = []
    values: list[float] = []
    for _ in range(size):
        found = [value(y, outputs[[*chosen, i]].mean(axis=0), w) for i in range(len(outputs))]
        chosen.append(first_best(found))
        values.append(min(found))
    return chosen[: first_best(values) + 1]


def first_best(values: list[float]) -> int:
    """Equal means have values that differ by the order of sums alone: 1e-12 is no difference."""
    return next(i for i, value in enumerate(values) if value <= min(values) + 1e-12 * abs(min(values)))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_the_choices_of_brute_force(case: str, weighted: bool) -> None:
    kind, given, value = CASES[case]
    outputs, y, w = candidates(kind), Y[kind], WEIGHTS if weighted else np.ones(ROWS)
    measure = Measure.of("select", given, LOSS[kind], outputs.shape[2])
    expected = brute_force(value, outputs, y, w, STEPS)
    assert greedy(measure, outputs, y, w, STEPS) == expected
    assert len(set(expected)) > 1 and max(expected) < 9, "a case that tells nothing, or a tie that was not the first's"


@pytest.mark.parametrize("metric", members(Metric))
def test_the_direction_of_each_metric(metric: type[Metric]) -> None:
    """What is right in every row must be better than what is wrong in every row."""
    sparse = metric.default_name.startswith("sparse_categorical")
    loss: losses.Loss = LOSS["classes"] if sparse else losses.CategoricalCrossentropy()
    y = np.arange(6) % 6
    right = np.eye(6)[y]
    right, wrong = 0.9 * right + 0.1 / 6, 0.9 * np.roll(right, 1, axis=1) + 0.1 / 6
    measure = Measure.of("select", metric() if "k" not in vars(metric()) else metric(k=1), loss, 6)  # type: ignore[call-arg]
    targets = y if sparse else np.eye(6)[y]
    assert greedy(measure, np.stack([wrong, right]), targets, np.ones(6), 1) == [1]


def test_of_equal_ones_the_first() -> None:
    outputs = np.repeat(candidates("values")[:1], 4, axis=0)
    measure = Measure.of("select", None, LOSS["values"], 2)
    assert greedy(measure, outputs, Y["values"], np.ones(ROWS), 8)[0] == 0
    perfect = np.stack([Y["values"] + 1, Y["values"], Y["values"]])
    assert greedy(measure, perfect, Y["values"], np.ones(ROWS), 8) == [1], (
        "no step after the best one, if none is better"
    )


@pytest.mark.parametrize("given", [None, "mae", "r2"])
def test_blocks_of_candidates_change_nothing(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = Measure.of("select", given, LOSS["values"], 2)
    whole = greedy(measure, candidates("values"), Y["values"], WEIGHTS, STEPS)
    monkeypatch.setattr("fastdense.population.selection.BLOCK", 2 * ROWS * 2)
    assert greedy(measure, candidates("values"), Y["values"], WEIGHTS, STEPS) == whole


@pytest.mark.parametrize("given", [None, "accuracy", "f1"])
def test_outputs_that_are_not_finite_are_never_chosen(given: Any) -> None:
    outputs = candidates("classes")
    outputs[:2, 5] = np.nan
    outputs[3, 7, 1] = np.inf
    measure = Measure.of("select", given, LOSS["classes"], 3)
    assert not {0, 1, 3} & set(greedy(measure, outputs, Y["classes"], np.ones(ROWS), STEPS))
    outputs[:] = np.nan
    assert greedy(measure, outputs, Y["classes"], np.ones(ROWS), STEPS) == []


def test_what_rounding_leaves_of_the_sum_of_probabilities_is_no_matter() -> None:
    """Outputs that do not sum to 1, as no softmax gives them, are divided by their sum, as in the loss."""
    outputs = candidates("classes")
    scaled = outputs * np.random.default_rng(0).uniform(0.5, 2, (len(outputs), 1, 1))
    measure = Measure.of("select", None, LOSS["classes"], 3)

    def value(y: Array, p: Array, w: Array) -> float:
        return log_loss(y, p / p.sum(axis=1, keepdims=True), w)

    expected = brute_force(value, scaled, Y["classes"], WEIGHTS, STEPS)
    assert greedy(measure, scaled, Y["classes"], WEIGHTS, STEPS) == expected


REFUSED: list[tuple[Any, str, type[Exception], str]] = [
    ("acuracy", "classes", ValueError,
     "select: metric='acuracy' is no metric and no loss. Use one of 'mse', "),
    (3, "classes", TypeError, "select: metric=3 is of type int. "),
    ("binary_crossentropy", "values", ValueError,
     "select: metric 'binary_crossentropy' needs probabilities, and the models' loss is "
     "'mean_squared_error'; "),
    ("hinge", "classes", ValueError,
     "select: metric 'hinge' needs targets -1 and 1, and the models' loss is "
     "'sparse_categorical_crossentropy'; "),
    ("mae", "classes", ValueError,
     "select: metric 'mae' needs one target per output, but this loss takes class numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "kind", "error", "message"), REFUSED)
def test_refused(given: Any, kind: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        Measure.of("select", given, LOSS[kind], 3)
    assert str(caught.value).startswith(message)
