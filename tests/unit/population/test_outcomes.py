"""Outcomes: what is wrong with members that did not reach the best loss."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastdense as fd
from tests.helpers.populations import data, net

Array = Any


def test_outcomes_say_what_is_wrong() -> None:
    """Nets made to fail in a known way: dead, duplicate, constant, diverged."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (200, 2))
    y = np.abs(x[:, :1]) + np.abs(x[:, 1:])
    model = net(fd.Dense(4, "relu"), fd.Dense(1), inputs=2, optimizer=fd.SGD(0.0))
    kernel = np.array([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]])
    good = [kernel, np.zeros(4), np.ones((4, 1)), np.zeros(1)]
    dead = [kernel, np.array([-9.0, 0, 0, 0]), np.ones((4, 1)), np.ones(1) * 0.3]
    twins = [kernel[:, [0, 0, 2, 3]], np.zeros(4), np.ones((4, 1)), np.ones(1) * 0.3]
    constant = [kernel, np.full(4, -9.0), np.ones((4, 1)), np.ones(1)]
    broken = [kernel, np.zeros(4), np.full((4, 1), np.inf), np.zeros(1)]
    other = [kernel * [1.0, 1.0, 0.1, 0.2], np.zeros(4), np.ones((4, 1)), np.zeros(1)]
    with np.errstate(all="ignore"):
        stacked = [np.stack(tensors) for tensors in zip(good, dead, twins, constant, broken, other, strict=True)]
        population = fd.fit_many(model, x, y, epochs=30, batch_size=200, initial_weights=stacked, verbose=0)
    outcomes = population.outcomes()
    expected = ["converged", "dead units", "duplicate units", "constant", "diverged", "plateau"]
    assert outcomes.labels.tolist() == expected
    assert outcomes.dead.tolist()[:4] == [0, 1, 0, 4] and outcomes.duplicates.tolist()[:3] == [0, 0, 1]
    assert outcomes.counts == dict.fromkeys(["diverged", "converged", "constant", "dead units", "duplicate units",
                                             "plateau"], 1)  # fmt: skip
    assert outcomes.representatives["dead units"] == 1
    table = repr(outcomes)
    assert "6 starts, best loss" in table and "duplicate units" in table and "16.7%" in table


def test_moving_and_stuck_members_are_distinguished() -> None:
    x, y = data()
    slow = fd.fit_many(net(optimizer=fd.SGD(0.05)), x, y, starts=8, epochs=20, batch_size=50, verbose=0)
    assert slow.outcomes(reference=0.0).counts["moving"] >= 6
    still = fd.fit_many(net(optimizer=fd.SGD(0.0)), x, y, starts=8, epochs=20, batch_size=50, verbose=0)
    assert "moving" not in still.outcomes(reference=0.0).counts
