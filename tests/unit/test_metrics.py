"""Metrics: what they lower to, their names, and results from the engine's sums."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest

from fastdense import losses, metrics

MSE, HINGE = losses.get("mse"), losses.get("hinge")
BINARY, CATEGORICAL = losses.get("binary_crossentropy"), losses.get("categorical_crossentropy")
SPARSE = losses.get("sparse_categorical_crossentropy")


@pytest.mark.parametrize(
    ("name", "loss", "outputs", "expected"),
    [
        ("accuracy", MSE, 1, {"kind": "binary_accuracy"}),
        ("accuracy", MSE, 3, {"kind": "categorical_accuracy"}),
        ("accuracy", BINARY, 3, {"kind": "binary_accuracy"}),
        ("accuracy", CATEGORICAL, 3, {"kind": "categorical_accuracy"}),
        ("accuracy", SPARSE, 3, {"kind": "sparse_categorical_accuracy"}),
        ("top_k_accuracy", SPARSE, 9, {"kind": "top_k", "k": 5}),
        ("mean_absolute_error", MSE, 1, {"kind": "mae"}),
        ("f1", BINARY, 3, {"kind": "f1"}),
        ("f1", CATEGORICAL, 3, {"kind": "f1", "multiclass": True}),
        ("precision", SPARSE, 3, {"kind": "precision", "multiclass": True}),
        ("recall", MSE, 1, {"kind": "recall"}),
        ("auc", SPARSE, 3, {"kind": "collected"}),
        ("r2", MSE, 2, {"kind": "r2"}),
    ],
)
def test_metrics_lower(name: str, loss: losses.Loss, outputs: int, expected: dict[str, Any]) -> None:
    metric = metrics.get(name)
    assert metric.name == name
    assert metric.lower(loss, outputs) == {"k": 0, "threshold": 0.5, "multiclass": False, "weighted": True, **expected}


@pytest.mark.parametrize(
    ("name", "loss", "outputs", "message"),
    [
        (
            "mse",
            SPARSE,
            3,
            r"^compile: metric 'mse' needs one target per output, but this loss takes class numbers \(los",
        ),
        ("binary_accuracy", SPARSE, 3, r"Use 'accuracy' instead"),
        ("sparse_categorical_accuracy", CATEGORICAL, 3, r"needs class numbers as targets.*Use 'accuracy' instead"),
        ("categorical_accuracy", MSE, 1, r"needs one output per class, but the model has 1.*Use 'binary_accuracy'"),
        ("accuracy", HINGE, 1, r"needs targets 0 and 1, but this loss takes -1 and 1 \(loss 'hinge'\)"),
    ],
)
def test_metrics_refuse_what_has_no_meaning(name: str, loss: losses.Loss, outputs: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.get(name).lower(loss, outputs)


def test_names_in_the_history() -> None:
    made = metrics.get_list(["mape", "acc", metrics.TopKAccuracy(3), metrics.F1Score(), metrics.AUC(name="area")])
    assert [metric.name for metric in made] == ["mape", "acc", "top_k_accuracy", "f1_score", "area"]
    assert metrics.get_list(None) == [] and metrics.get_list("mae") == [metrics.get("mae")]


def _result(name: str, y: Any, p: Any, loss: losses.Loss = BINARY, w: Any = None) -> float:
    """The metric by way of the reference engine's sums."""
    from fastdense.reference import metrics as sums

    metric, y, p = metrics.get(name), np.asarray(y), np.asarray(p, dtype=float)
    w = np.ones(len(y)) if w is None else np.asarray(w, dtype=float)
    state = sums.state(metric.lower(loss, p.shape[1]), y, p, w)
    assert state.size == metric.state_size(p.shape[1])
    return metric.result(state, p.shape[1])


def test_row_means_are_weighted() -> None:
    y, p = np.array([[0.0], [0.0]]), np.array([[1.0], [3.0]])
    assert _result("mae", y, p, MSE) == 2 and _result("mae", y, p, MSE, [3, 1]) == 1.5
    assert math.isnan(_result("mae", y, p, MSE, [0, 0]))


def test_counts_of_one_output() -> None:
    y, p = [[1.0], [1.0], [1.0], [0.0], [0.0]], [[0.9], [0.8], [0.1], [0.7], [0.2]]
    assert _result("precision", y, p) == pytest.approx(2 / 3)
    assert _result("recall", y, p) == pytest.approx(2 / 3)
    assert _result("f1", y, p, w=[1, 1, 4, 1, 1]) == pytest.approx(4 / 9)
    assert _result("precision", [[1.0]], [[0.1]]) == 0.0


def test_counts_are_averaged_over_the_classes_that_occur() -> None:
    p = np.eye(4)[[0, 0, 1, 1]]  # class 2 is never predicted, class 3 does not occur at all
    assert _result("precision", np.array([0, 1, 1, 2]), p, SPARSE) == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert _result("recall", np.array([0, 1, 1, 2]), p, SPARSE) == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert _result("f1", np.array([0, 1, 1, 2]), p, SPARSE) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert _result("f1", np.eye(4)[[0, 1, 1, 2]], p, CATEGORICAL) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


def test_r2() -> None:
    y = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    assert _result("r2", y, y, MSE) == 1.0
    assert _result("r2", y, np.array([[2.0, 5.0]] * 3), MSE) == pytest.approx(0.5)
    assert _result("r2", y, np.array([[1.0, 5.1], [2.0, 5.0], [3.0, 5.0]]), MSE) == pytest.approx(0.5)
    assert _result("r2", y[:, :1], [[1.0], [2.0], [4.0]], MSE) == pytest.approx(1 - 1 / 2)
    assert _result("r2", np.full((1000, 1), 0.1), np.full((1000, 1), 0.1), MSE) == 1.0


def _area(y: Any, p: Any, w: Any = None, batches: int = 1) -> float:
    made = metrics.AUC()
    w = None if w is None else np.asarray(w, dtype=float)
    for part in np.array_split(np.arange(len(y)), batches):
        made.update_state(np.asarray(y)[part], np.asarray(p, dtype=float)[part], None if w is None else w[part])
    return made.result()


def test_auc_is_exact() -> None:
    y, p = np.array([[0.0], [0.0], [1.0], [1.0]]), [[0.0], [0.5], [0.3], [0.9]]
    assert _area(y, p) == _area(y, p, batches=3) == 0.75
    assert _area(y, [[0.0], [0.3], [0.3], [0.9]]) == 3.5 / 4  # the pair of equal scores counts half
    assert _area(y, p, [1, 2, 3, 4]) == (3 * 1 + 4 * 1 + 4 * 2) / (7 * 3)
    assert _area(y, np.multiply(p, 1e-6)) == 0.75  # however close to one another they are
    assert math.isnan(_area([[1.0]], [[0.5]])) and math.isnan(_area(y, [[0.0], [0.5], [np.nan], [0.9]]))
    assert math.isnan(metrics.AUC().result())
    both = np.hstack([y, np.zeros_like(y)])  # the second output has no positive rows
    assert _area(both, np.hstack([p, p])) == 0.75
    classes = np.array([0, 1, 2, 1])
    scores = np.array([[0.6, 0.2, 0.2], [0.2, 0.3, 0.5], [0.1, 0.2, 0.7], [0.7, 0.2, 0.1]])
    assert _area(classes, scores) == pytest.approx((2 / 3 + 3 / 4 + 1) / 3)


def test_auc_of_rare_positives() -> None:
    """Logits around -7: between the thresholds 0, 1/199, ... there is nothing to tell the rows apart."""
    rng = np.random.default_rng(0)
    y = rng.random(20000) < 0.02
    p = 1.0 / (1.0 + np.exp(-(rng.normal(-7.0, 0.5, 20000) + 1.05 * y)))
    wins = (p[y][:, None] > p[~y]).mean()
    assert wins == pytest.approx(0.93, abs=0.01)
    assert _area(y[:, None] * 1.0, p[:, None], batches=7) == pytest.approx(wins, rel=1e-12)


def test_auc_keeps_no_scores_in_copies() -> None:
    made = metrics.AUC(name="area")
    made.update_state(np.array([[0.0], [1.0]]), np.array([[0.1], [0.2]]), None)
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert other == made and other.name == "area" and math.isnan(other.result())
    assert made.result() == 1.0
    made.reset_state()
    assert math.isnan(made.result())


def test_metrics_without_sample_weights() -> None:
    made = metrics.BinaryAccuracy()
    made.weighted = False
    assert made.lower(BINARY, 1)["weighted"] is False
    assert made.get_config() == {"threshold": 0.5, "name": "binary_accuracy", "weighted": False}
    again = metrics.get(made.to_dict())
    assert again == made and again.weighted is False and made != metrics.BinaryAccuracy()
