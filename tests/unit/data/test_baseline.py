"""The constant predictor that a model is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastdense as fd
from fastdense.data.baseline import constant_predictor
from fastdense.reference.losses import row_losses

LOSSES = ["mse", "mae", "huber", "log_cosh", "mape", "poisson", "quantile", "hinge", "binary_crossentropy",
          "categorical_crossentropy", "sparse_categorical_crossentropy"]  # fmt: skip
SMOOTHED = [
    fd.losses.BinaryCrossentropy(label_smoothing=0.2),
    fd.losses.CategoricalCrossentropy(label_smoothing=0.2),
    fd.losses.SparseCategoricalCrossentropy(label_smoothing=0.2),
]


@pytest.mark.parametrize("given_loss", [*LOSSES, *SMOOTHED], ids=str)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_other_constant_has_a_smaller_loss(given_loss: Any, seed: int) -> None:
    generator = np.random.default_rng(seed)
    loss, outputs, rows = fd.losses.get(given_loss), 3, 40
    name = loss.kind
    weights = generator.uniform(0, 2, rows)
    y: Any = generator.normal(2, 1, (rows, outputs))
    if name == "hinge":
        y = np.where(generator.uniform(size=(rows, outputs)) < 0.3, -1.0, 1.0)
    elif name == "poisson":
        y = generator.poisson(3.0, (rows, outputs)).astype(float)
    elif name == "binary_crossentropy":
        y = (generator.uniform(size=(rows, outputs)) < 0.3).astype(float)
    elif "categorical" in name:
        ids = generator.integers(0, outputs, rows)
        y = ids if loss.sparse else np.eye(outputs)[ids]
    constant, value = constant_predictor(loss, y, weights, outputs)

    def of(c: Any) -> float:
        return float(
            (weights * row_losses(loss.lower(), y, np.broadcast_to(c, (rows, outputs)), None, "").values).mean()
        )

    assert value == pytest.approx(of(constant))
    for size in (1e-3, 0.03, 0.3):
        other = constant + size * generator.standard_normal(outputs)
        if "crossentropy" in name or name == "poisson":
            other = np.clip(other, 1e-3, None)
        assert of(other) >= value - 1e-9 * abs(value) - 1e-12
