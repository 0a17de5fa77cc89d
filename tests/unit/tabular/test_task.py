"""Tasks: targets, labels and metrics, and the messages about them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from fastdense.tabular.task import Task


def test_a_regression_knows_its_mean_and_scale() -> None:
    task, numbers = Task.of("fit", "regression", None, [1, 3, 5, 7])
    assert (task.metric, task.loss, task.outputs, task.growing) == ("rmse", "mse", 1, False)
    np.testing.assert_allclose((task.mean, task.scale), ([4.0], [np.std([1, 3, 5, 7])]))
    assert numbers.shape == (4, 1)
    assert task.value(4.0) == 2.0
    several, numbers = Task.of("fit", "regression", "r2", np.ones((4, 2)))
    assert (several.outputs, several.scale.tolist(), numbers.shape) == (2, [1.0, 1.0], (4, 2))


def test_labels_become_numbers_of_classes() -> None:
    task, numbers = Task.of("fit", "classification", "auc", np.array(["no", "yes", "no"]))
    assert (task.loss, task.outputs, task.growing, task.measure) == ("binary_crossentropy", 1, True, "auc")
    assert numbers.tolist() == [[0.0], [1.0], [0.0]]
    three, numbers = Task.of("fit", "classification", None, [[7], [3], [5]])
    assert (three.metric, three.loss, three.outputs) == ("log_loss", "sparse_categorical_crossentropy", 3)
    assert numbers.tolist() == [2, 0, 1]
    assert three.targets("fit", [5, 5]).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("kind", "metric", "y", "message"),
    [
        ("ranking", None, [1], "fit: task='ranking' is not known. Use 'regression' or 'classification'."),
        ("regression", "auc", [1], "fit: metric is 'auc'; of a regression one of 'rmse', 'mse', 'mae', 'r2' is needed"),
        ("regression", None, ["a"], "numbers are needed for a regression: use task='classification' for labels"),
        ("regression", None, [np.nan], "fit: y holds NaN or infinity; finite targets are needed: leave those rows out"),
        ("regression", None, [], "fit: y has shape (0,); one target per row is needed"),
        ("classification", None, [2, 2], "fit: all rows have the label 2; two classes at least are needed"),
        ("classification", None, [[1, 0], [0, 1]], "fit: y has shape (2, 2); one label per row is needed"),
        ("classification", None, [0.0, np.nan], "fit: y holds NaN or infinity; a label for every row is needed"),
        ("classification", "auc", [1, 2, 3], "fit: metric 'auc' is defined for two classes, and y has 3"),
    ],
)
def test_wrong_targets_are_refused(kind: str, metric: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Task.of("fit", kind, metric, y)


def test_an_unknown_label_is_refused() -> None:
    task, _ = Task.of("fit", "classification", None, ["a", "b"])
    with pytest.raises(ValueError, match=re.escape("fit: validation holds the label 'c', which y does not")):
        task.targets("fit", ["a", "c"], "validation")
