"""The metrics of `fastdense.keras` and those of Keras 3 in float64: the same options, the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastdense import keras as ours
from tests.peers.keras64 import keras, np_array
from tests.peers.problem import Array

ROWS, OUTPUTS = 60, 4
TOLERANCE = 1e-12  # sums of some hundred float64 numbers, taken in another order


def data(kind: str) -> tuple[Array, Array]:
    """Targets and predictions with ties, zeros and ones."""
    rng = np.random.default_rng(5)
    coarse = np.round(rng.random((ROWS, OUTPUTS)) * 12) / 12
    if kind == "values":
        return rng.normal(size=(ROWS, OUTPUTS)), rng.normal(size=(ROWS, OUTPUTS))
    if kind == "counts":
        return rng.poisson(3.0, (ROWS, OUTPUTS)).astype(float), rng.random((ROWS, OUTPUTS)) * 5 + 0.1
    if kind == "column":
        return rng.normal(size=(ROWS, 1)), rng.normal(size=(ROWS, 1))
    if kind == "labels":
        return (rng.random((ROWS, OUTPUTS)) < 0.4).astype(float), coarse
    if kind == "binary":
        return (rng.random((ROWS, 1)) < 0.4).astype(float), coarse[:, :1]
    if kind == "flat":  # targets as a vector beside a column
        return (rng.random(ROWS) < 0.4).astype(float), coarse[:, :1]
    if kind == "logits":
        return (rng.random((ROWS, OUTPUTS)) < 0.4).astype(float), np.round(rng.normal(size=(ROWS, OUTPUTS)) * 3, 1)
    if kind == "signs":
        return np.sign(rng.normal(size=(ROWS, OUTPUTS))), rng.normal(size=(ROWS, OUTPUTS))
    classes = rng.integers(0, OUTPUTS, ROWS)
    scores = np.round(rng.dirichlet(np.ones(OUTPUTS), ROWS), 1) + 1e-3
    if kind == "sparse":
        return classes, scores
    if kind == "sparse_column":
        return classes[:, None], scores
    if kind == "class_numbers":
        return classes, rng.integers(0, OUTPUTS, ROWS)
    assert kind == "one_hot"
    return np.eye(OUTPUTS)[classes], scores


PAIRS: list[tuple[str, dict[str, Any], str]] = [
    ("Accuracy", {}, "class_numbers"),
    ("BinaryAccuracy", {}, "labels"), ("BinaryAccuracy", {}, "binary"), ("BinaryAccuracy", {}, "flat"),
    ("BinaryAccuracy", {"threshold": 0.25}, "labels"), ("BinaryAccuracy", {}, "logits"),
    ("CategoricalAccuracy", {}, "one_hot"),
    ("SparseCategoricalAccuracy", {}, "sparse"), ("SparseCategoricalAccuracy", {}, "sparse_column"),
    ("TopKCategoricalAccuracy", {"k": 2}, "one_hot"), ("TopKCategoricalAccuracy", {}, "one_hot"),
    ("SparseTopKCategoricalAccuracy", {"k": 1}, "sparse"), ("SparseTopKCategoricalAccuracy", {"k": 2}, "sparse"),
    ("SparseTopKCategoricalAccuracy", {"k": 2, "from_sorted_ids": True}, "sparse"),
    ("MeanSquaredError", {}, "values"), ("MeanSquaredError", {}, "column"), ("MeanSquaredError", {}, "flat"),
    ("RootMeanSquaredError", {}, "values"), ("RootMeanSquaredError", {}, "flat"),
    ("MeanAbsoluteError", {}, "values"), ("MeanAbsolutePercentageError", {}, "values"),
    ("MeanAbsolutePercentageError", {}, "counts"), ("MeanSquaredLogarithmicError", {}, "counts"),
    ("MeanSquaredLogarithmicError", {}, "values"), ("LogCoshError", {}, "values"),
    ("CosineSimilarity", {}, "values"), ("CosineSimilarity", {}, "labels"),
    ("R2Score", {}, "values"), ("R2Score", {}, "column"), ("R2Score", {"class_aggregation": None}, "values"),
    ("R2Score", {"class_aggregation": "variance_weighted_average"}, "counts"),
    ("R2Score", {"num_regressors": 5}, "values"), ("PearsonCorrelation", {}, "values"),
    ("ConcordanceCorrelation", {}, "values"),
    ("BinaryCrossentropy", {}, "labels"), ("BinaryCrossentropy", {"label_smoothing": 0.2}, "labels"),
    ("BinaryCrossentropy", {"from_logits": True}, "logits"),
    ("CategoricalCrossentropy", {}, "one_hot"), ("CategoricalCrossentropy", {"label_smoothing": 0.1}, "one_hot"),
    ("CategoricalCrossentropy", {"from_logits": True}, "logits"),
    ("SparseCategoricalCrossentropy", {}, "sparse"), ("SparseCategoricalCrossentropy", {"from_logits": True}, "sparse"),
    ("KLDivergence", {}, "one_hot"), ("KLDivergence", {}, "labels"), ("Poisson", {}, "counts"),
    ("Hinge", {}, "signs"), ("Hinge", {}, "logits"), ("SquaredHinge", {}, "signs"), ("SquaredHinge", {}, "logits"),
    ("CategoricalHinge", {}, "one_hot"),
    *((kind, {"thresholds": given}, of)
      for kind in ("TruePositives", "TrueNegatives", "FalsePositives", "FalseNegatives")
      for given, of in ((None, "labels"), (0.25, "binary"), ([0.0, 0.5, 1.0], "labels"), ([0.75, 0.25], "one_hot"))),
    *((kind, options, of) for kind in ("Precision", "Recall") for options, of in (
        ({}, "one_hot"), ({}, "labels"), ({}, "binary"), ({}, "flat"), ({"thresholds": 0.25}, "labels"),
        ({"thresholds": [0.0, 0.25, 0.5, 0.75, 1.0]}, "labels"), ({"class_id": 1}, "labels"), ({"top_k": 2}, "labels"),
        ({"top_k": 1, "class_id": 2}, "one_hot"), ({"top_k": 3, "thresholds": 0.5}, "labels"))),
    *((kind, {of: 0.4, **options}, "labels")
      for kind, of in (("SensitivityAtSpecificity", "specificity"), ("SpecificityAtSensitivity", "sensitivity"),
                       ("PrecisionAtRecall", "recall"), ("RecallAtPrecision", "precision"))
      for options in ({}, {"num_thresholds": 5}, {"num_thresholds": 1}, {"class_id": 2})),
    *(("AUC", options, "labels") for options in (
        {}, {"curve": "PR"}, {"num_thresholds": 20}, {"num_thresholds": 2}, {"multi_label": True},
        {"thresholds": [0.3, 0.1, 0.7]}, {"thresholds": [0.25, 0.5, 0.75]}, {"label_weights": [1.0, 2.0, 0.5, 0.0]},
        {"multi_label": True, "num_labels": OUTPUTS, "label_weights": [1.0, 2.0, 0.5, 0.0]},
        {"curve": "PR", "multi_label": True}, {"curve": "pr", "summation_method": "minoring"},
        {"summation_method": "majoring"}, {"curve": "PR", "summation_method": "majoring", "multi_label": True},
        {"curve": "PRGAIN"}, {"curve": "PRGAIN", "summation_method": "minoring"})),
    ("AUC", {}, "binary"), ("AUC", {}, "flat"), ("AUC", {}, "one_hot"), ("AUC", {"from_logits": True}, "logits"),
    ("AUC", {}, "logits"), ("AUC", {"curve": "PR", "from_logits": True, "multi_label": True}, "logits"),
    *(("F1Score", {"average": average, "threshold": threshold}, of)
      for average in (None, "micro", "macro", "weighted") for threshold, of in ((None, "one_hot"), (0.5, "labels"))),
    ("F1Score", {"threshold": 0.5}, "binary"), ("FBetaScore", {"beta": 2.0, "average": "macro"}, "one_hot"),
    ("IoU", {"num_classes": OUTPUTS, "target_class_ids": [0, 2]}, "class_numbers"),
    ("IoU", {"num_classes": OUTPUTS, "target_class_ids": [0, 2], "ignore_class": 2}, "class_numbers"),
    ("MeanIoU", {"num_classes": OUTPUTS}, "class_numbers"), ("BinaryIoU", {"threshold": 0.4}, "binary"),
    ("MeanIoU", {"num_classes": OUTPUTS, "sparse_y_pred": False}, "sparse"),
    ("OneHotIoU", {"num_classes": OUTPUTS, "target_class_ids": [1]}, "one_hot"),
    ("OneHotMeanIoU", {"num_classes": OUTPUTS}, "one_hot"),
]  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize(("name", "options", "kind"), PAIRS, ids=[f"{n}-{o}-{k}" for n, o, k in PAIRS])
def test_alone(name: str, options: dict[str, Any], kind: str, weighted: bool) -> None:
    """Two batches of unequal size, then a batch alone after `reset_state`."""
    y, p = data(kind)
    w = np.round(np.random.default_rng(6).random(ROWS) * 3) if weighted else None
    mine, theirs = getattr(ours.metrics, name)(**options), getattr(keras.metrics, name)(**options)
    one_by_one = "IoU" in name and w is not None  # Keras wants integer weights there
    for part in (slice(0, 40), slice(40, None)):
        own = None if w is None else w[part]
        mine.update_state(y[part], p[part], sample_weight=own)
        theirs.update_state(y[part], p[part], sample_weight=own.astype(int) if one_by_one else own)
    agree(mine, theirs, name)
    for metric in (mine, theirs):
        metric.reset_state()
        metric.update_state(y[:7], p[:7])
    agree(mine, theirs, name)


def agree(mine: Any, theirs: Any, name: str) -> None:
    found, wanted = mine.result(), np_array(theirs.result())
    assert found.shape == wanted.shape and found.numpy().dtype == np.float64
    loose = 1e-6 if "IoU" in name else TOLERANCE  # which Keras computes in float32
    np.testing.assert_allclose(found, wanted, rtol=loose, atol=loose)


@pytest.mark.parametrize("weights", [None, 2.0, [1, 1, 0, 0], [[1], [2], [0], [1]], "each"])
@pytest.mark.parametrize("name", ["Mean", "Sum"])
def test_reductions(name: str, weights: Any) -> None:
    values = np.array([1.0, 3.0, 5.0, 7.0]) if weights != "each" else np.arange(8.0).reshape(4, 2)
    weights = np.arange(1.0, 9.0).reshape(4, 2) if weights == "each" else weights
    mine, theirs = getattr(ours.metrics, name)(), getattr(keras.metrics, name)()
    for _ in range(2):
        mine.update_state(values, sample_weight=None if weights is None else np.asarray(weights, dtype=float))
        theirs.update_state(values, sample_weight=None if weights is None else np.asarray(weights, dtype=float))
    agree(mine, theirs, name)


def test_all_of_keras() -> None:
    """Every class of `keras.metrics` is there, with its arguments in their order and with their defaults."""
    import inspect

    for name, theirs in vars(keras.metrics).items():
        if isinstance(theirs, type) and issubclass(theirs, keras.metrics.Metric):
            mine = getattr(ours.metrics, name)
            wanted, found = (inspect.signature(one.__init__).parameters for one in (theirs, mine))
            assert {n: p.default for n, p in wanted.items()} == {n: p.default for n, p in found.items()}, name
            assert list(wanted) == list(found), name


def test_names() -> None:
    """Of strings and objects, as histories have them."""
    keras.backend.clear_session()
    ours.backend.clear_session()
    for name in [n for n, c in vars(keras.metrics).items() if isinstance(c, type)]:
        if name in ("Metric", "MeanMetricWrapper", "MeanIoU", "IoU", "OneHotIoU", "OneHotMeanIoU") or "At" in name:
            continue
        mine, theirs = getattr(ours.metrics, name)(), getattr(keras.metrics, name)()
        assert mine.name == theirs.name
        assert getattr(ours.metrics, name)().name == getattr(keras.metrics, name)().name
        assert theirs.get_config().keys() <= mine.get_config().keys(), name
