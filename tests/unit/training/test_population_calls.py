"""What one call of a population's engine is asked for: bounded, however many epochs and rows there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense import arrays
from fastdense.training import pacing, population
from tests.helpers.populations import data, net

X, Y = data(64)


@pytest.mark.parametrize("options", [{}, {"learning_rate": [0.1, 0.2, 0.3]}], ids=["schedule", "own rates"])
def test_learning_rates_of_a_call_are_those_of_one_epoch_or_of_few_steps(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the result does not depend on how many that are; calls as long as they may be, on any machine."""
    asked: list[int] = []
    train = population.PopulationRunner.train

    def counted(self: population.PopulationRunner, call: Any) -> dict[str, Any]:
        asked.append(len(call.step_rates))
        return train(self, call)

    monkeypatch.setattr(population.PopulationRunner, "train", counted)
    monkeypatch.setattr(pacing, "CALL_SECONDS", 1e9)
    rate = fd.Adam(fd.schedules.CosineDecay(0.01, 800))
    histories = []
    for steps, most in ((1 << 17, 33 * 16), (100, 6 * 16), (1, 16)):  # of epochs of 16 batches
        monkeypatch.setattr(population, "CALL_STEPS", steps)
        asked.clear()
        found = fd.fit_many(net(optimizer=rate), X, Y, starts=3, epochs=50, batch_size=4, verbose=0, **options)
        histories.append(found.history)
        assert sum(asked) == 50 * 16 and max(asked) == most
    for history in histories[1:]:
        np.testing.assert_array_equal(history, histories[0])


def test_rates_of_an_epoch_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 1 << 20
    x, y = np.broadcast_to(np.uint8(1), (rows, 3)), np.broadcast_to(np.uint8(1), (rows, 1))
    monkeypatch.setattr(arrays, "memory_limit", lambda: 96 * rows)  # the rows take 64 bytes each, a step 64
    fd.fit_many(net(), x, y, starts=2, batch_size=32, verbose=0)
    message = "^fit_many: training 2 nets of .* for 1 epochs takes .* GiB; this machine has .*larger batches$"
    with pytest.raises(MemoryError, match=message):
        fd.fit_many(net(), x, y, starts=2, batch_size=1, verbose=0)
