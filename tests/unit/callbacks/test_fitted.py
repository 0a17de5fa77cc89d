"""What a fit remembers for a later diagnosis."""

from __future__ import annotations

import numpy as np
import pytest

import fastdense as fd
from fastdense.callbacks.fitted import Fitted, are_class_weights

IDS = np.array([0, 0, 1, 2, 2, 2])
WEIGHTS = np.array([3.0, 3.0, 1.0, 0.5, 0.5, 0.5])


@pytest.mark.parametrize(
    ("y", "w", "by_class"),
    [
        (IDS, WEIGHTS, True),
        (IDS[:, None], WEIGHTS, True),
        (np.eye(3)[IDS], WEIGHTS, True),
        (IDS, np.ones(6), False),
        (IDS, WEIGHTS + np.array([0, 0, 0, 0, 0, 0.1]), False),
        (np.repeat(IDS, 50_000), np.repeat(WEIGHTS, 50_000), True),
        (np.arange(5000.0), np.linspace(1, 2, 5000), False),
    ],
)
def test_weights_of_classes(y: np.ndarray, w: np.ndarray, by_class: bool) -> None:
    assert are_class_weights(y, w) is by_class


def test_fit_remembers_that_rows_were_weighed_by_class() -> None:
    x = np.random.default_rng(0).normal(size=(6, 2))
    model = fd.Model([fd.Dense(3, "softmax")], inputs=2)
    model.compile("sgd", "sparse_categorical_crossentropy")
    for weights, by_class in ((WEIGHTS, True), (None, False), (WEIGHTS[::-1].copy(), False)):
        fitted = model.fit(x, IDS, sample_weight=weights, verbose=0).fitted
        assert isinstance(fitted, Fitted) and fitted.by_class is by_class and fitted.weighted is (weights is not None)
