"""Callbacks of a population: early stopping of each member, progress."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.callbacks import EarlyStopping
from tests.helpers.populations import CLOSE, data, net

Array = Any


@pytest.mark.parametrize("restore", [False, True])
@pytest.mark.parametrize("validate", [False, True])
def test_early_stopping_of_each(restore: bool, validate: bool) -> None:
    x, y = data(40)
    held = data(20, seed=5)
    monitor = "val_loss" if validate else "loss"
    stop = EarlyStopping(monitor, patience=2, min_delta=2e-3, restore_best_weights=restore, start_from_epoch=1)
    model = net(optimizer=fd.SGD(0.2))
    extra: dict[str, Any] = {"validation_data": held} if validate else {}
    population = fd.fit_many(model, x, y, starts=20, epochs=40, batch_size=8, callbacks=[stop], verbose=0, **extra)
    assert len(set(population.epochs)) > 3, "the starts should stop at different times"
    for i in range(0, 20, 3):
        alone, rule = model.clone(seed=i), copy.deepcopy(stop)
        history = alone.fit(x, y, batch_size=8, epochs=40, callbacks=[rule], verbose=0, **extra)
        epochs = len(history.epoch)
        assert population.epochs[i] == epochs
        np.testing.assert_allclose(population.history[:epochs, i], history.history["loss"], **CLOSE)
        assert np.isnan(population.history[epochs:, i]).all()
        np.testing.assert_allclose(population[i].get_weights()[0], alone.get_weights()[0], **CLOSE)
        if validate:
            np.testing.assert_allclose(population.val_history[:epochs, i], history.history["val_loss"], **CLOSE)


def test_progress_shows_best_and_median(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = data()
    fd.fit_many(net(), x, y, starts=4, epochs=3, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and "best" in lines[0] and "median" in lines[0]
