"""Learning rate schedules: their values, step by step."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastdense import schedules


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (schedules.ExponentialDecay(0.8, 10, 0.5), {0: 0.8, 5: 0.8 * math.sqrt(0.5), 10: 0.4, 30: 0.1}),
        (schedules.ExponentialDecay(0.8, 10, 0.5, staircase=True), {0: 0.8, 9: 0.8, 10: 0.4, 19: 0.4}),
        (schedules.InverseTimeDecay(1.0, 10, 2.0), {0: 1.0, 5: 0.5, 10: 1 / 3}),
        (schedules.InverseTimeDecay(1.0, 10, 2.0, staircase=True), {9: 1.0, 10: 1 / 3, 19: 1 / 3}),
        (schedules.PolynomialDecay(1.0, 10, 0.2), {0: 1.0, 5: 0.6, 10: 0.2, 99: 0.2}),
        (schedules.PolynomialDecay(1.0, 10, 0.0, power=2), {5: 0.25}),
        (schedules.PolynomialDecay(1.0, 10, 0.0, cycle=True), {0: 1.0, 10: 0.0, 15: 0.25, 20: 0.0, 21: 0.3}),
        (schedules.PiecewiseConstantDecay([3, 6], [1.0, 0.5, 0.1]), {0: 1.0, 3: 1.0, 4: 0.5, 6: 0.5, 7: 0.1}),
        (schedules.PiecewiseConstantDecay([], [0.3]), {0: 0.3, 9: 0.3}),
        (schedules.CosineDecay(1.0, 10), {0: 1.0, 5: 0.5, 10: 0.0, 11: 0.0}),
        (schedules.CosineDecay(1.0, 12, alpha=0.2), {4: 0.8, 12: 0.2}),
        (schedules.CosineDecay(0.1, 10, 0.0, 0.5, 4), {0: 0.1, 2: 0.3, 4: 0.5, 9: 0.25, 14: 0.0, 20: 0.0}),
        (schedules.CosLog(0.8, 15), {0: 0.0, math.sqrt(2) - 1: 0.8, 1: 0.0, 3: 0.0, 7: 0.0, 15: 0.0, 16: 0.0}),
        (schedules.CosLog(0.8, 3, cycles=1), {0: 0.0, 3 * (math.sqrt(2) - 1): 0.8, 3: 0.0}),
        (schedules.CosineDecayRestarts(1.0, 4), {0: 1.0, 2: 0.5, 4: 1.0, 8: 0.5, 12: 1.0, 20: 0.5, 28: 1.0}),
        (schedules.CosineDecayRestarts(1.0, 4, 1.0, 0.5), {0: 1.0, 2: 0.5, 4: 0.5, 6: 0.25, 8: 0.25}),
        (schedules.CosineDecayRestarts(1.0, 4, 3.0, 0.5, 0.1), {4: 0.55, 10: 0.325, 16: 0.325}),
    ],
)
def test_schedules(schedule: schedules.Schedule, expected: dict[int, float]) -> None:
    rates = schedule(np.array(list(expected)))
    assert rates.dtype == np.float64
    np.testing.assert_allclose(rates, list(expected.values()), rtol=1e-14, atol=1e-16)
    assert [schedule(step) for step in expected] == rates.tolist()


def test_restarts_fall_on_their_step_however_late() -> None:
    schedule = schedules.CosineDecayRestarts(1.0, 1, t_mul=3.0)
    starts = np.cumsum(3.0 ** np.arange(20))
    assert (schedule(starts) == 1.0).all() and (schedule(starts - 1.0)[1:] < 0.3).all()


def test_a_schedule_must_give_usable_rates() -> None:
    class Falling(schedules.Schedule):
        def rates(self, steps: schedules.Steps) -> schedules.Steps:
            return 1.0 - steps

    from fastdense.optimizers import SGD

    with pytest.raises(ValueError, match=r"^SGD: Falling\(\) gives -1\.0 at step 2\. Learning rates must be finite"):
        SGD(Falling()).learning_rates(0, 3)
