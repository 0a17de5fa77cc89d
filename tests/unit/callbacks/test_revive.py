"""ReviveDeadUnits, in a model and in a population."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

import fastdense as fd
from fastdense.callbacks import ReviveDeadUnits
from tests.helpers.populations import CLOSE, data, net

Array = Any


def test_revival_in_both() -> None:
    """A net whose units are all dead learns nothing; revived, it learns, and the history tells."""
    x, y = data(200)
    model = net(fd.Dense(6, "relu"), fd.Dense(1))
    weights = model.get_weights()
    weights[1][:] = -50.0
    model.set_weights(weights)
    plain, revived = copy.deepcopy(model), copy.deepcopy(model)
    assert plain.fit(x, y, epochs=60, verbose=0).history["loss"][-1] > 0.3
    history = revived.fit(x, y, epochs=60, callbacks=[ReviveDeadUnits()], verbose=0).history
    assert history["loss"][-1] < 0.1 and sum(history["revived"]) == 6
    first = [np.stack([w, w]) for w in weights]
    population = fd.fit_many(model, x, y, epochs=60, initial_weights=first, seed=[model.seed, model.seed + 1],
                             callbacks=[ReviveDeadUnits()], verbose=0)  # fmt: skip
    assert population.revived.tolist() == [6, 6] and (population.losses < 0.1).all()
    np.testing.assert_allclose(population[0].get_weights()[0], revived.get_weights()[0], **CLOSE)


def test_revival_changes_nothing_at_that_moment() -> None:
    x, y = data(100)
    model = net(fd.Dense(6, "relu"), fd.Dense(4, "relu"), fd.Dense(1), optimizer=fd.SGD(0.0))
    weights = model.get_weights()
    weights[1][:3] = -50.0
    weights[3][1] = -50.0
    model.set_weights(weights)
    before = model.predict(x)
    history = model.fit(x, y, epochs=2, callbacks=[ReviveDeadUnits(every=1, until=1.0)], verbose=0)
    assert history.history["revived"] == [4, 0]
    np.testing.assert_allclose(model.predict(x), before, rtol=1e-12, atol=1e-12)
