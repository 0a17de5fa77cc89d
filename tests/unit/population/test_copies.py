"""A population that was pickled or copied is the same to the last bit, also when its members go on."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from tests.helpers.populations import data, net

Array = Any
X, Y = data()


def through_pickle(population: fd.Population[fd.Model]) -> fd.Population[fd.Model]:
    made: fd.Population[fd.Model] = pickle.loads(pickle.dumps(population))
    return made


def identical(one: fd.Population[fd.Model], other: fd.Population[fd.Model]) -> None:
    kept = ("losses", "history", "epochs", "seeds", "revived", "interrupted", "why_one_by_one")
    for name in kept:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for ours, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(one.predict(X), other.predict(X))
    np.testing.assert_array_equal(one.evaluate(X, Y), other.evaluate(X, Y))
    assert repr(one) == repr(other) and one.outcomes().counts == other.outcomes().counts
    for i in (0, len(one) - 1):
        mine, its = one[i], other[i]
        for member in (mine, its):
            member.fit(X, Y, epochs=2, batch_size=16 if not member.optimizer.full_batch else None, verbose=0)
        assert mine.runner.step == its.runner.step and mine.runner.epochs_trained == its.runner.epochs_trained
        for ours, theirs in zip(mine.get_weights(), its.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def normalized(**options: Any) -> fd.Model:
    return net(fd.Normalization(), fd.Dense(5, "tanh", kernel_regularizer="l2"), fd.Dense(1), **options)


@pytest.mark.parametrize("twin", [through_pickle, copy.deepcopy, copy.copy])
@pytest.mark.parametrize(
    "trained",
    [
        lambda: fd.fit_many(net(), X, Y, starts=5, epochs=3, batch_size=16, verbose=0),
        lambda: fd.fit_many(
            normalized(), X, Y, epochs=3, batch_size=16, verbose=0, validation_data=(X, Y), sample_weight=Y[:, 0] ** 2,
            learning_rate=[0.1, 0.01, 0.02], penalty=[1, 2, 3], callbacks=[fd.callbacks.EarlyStopping("loss")],
        ),
        lambda: fd.fit_many(normalized(optimizer=fd.Muon(0.01)), X, Y, starts=2, epochs=2, batch_size=16, verbose=0),
        lambda: fd.fit_many(net(optimizer=fd.LBFGS()), X, Y, starts=2, epochs=4, verbose=0),
        lambda: fd.fit_many(net(device="reference"), X, Y, starts=2, epochs=2, batch_size=16, verbose=0),
    ],
    ids=["together", "settings", "one by one", "full batch", "reference"],
)  # fmt: skip
def test_a_copy_is_the_same(
    trained: Callable[[], fd.Population[fd.Model]], twin: Callable[[Any], fd.Population[fd.Model]]
) -> None:
    population = trained()
    copied = twin(population)
    assert copied.weights[0] is not population.weights[0]
    identical(population, copied)
    identical(copied, twin(copied))


def test_a_copy_is_one_of_its_own() -> None:
    population = fd.fit_many(net(), X, Y, starts=3, epochs=2, verbose=0)
    copied, before = copy.deepcopy(population), population.weights
    copied._parts[0].runner.set_tensors([np.zeros_like(tensor) for tensor in before])
    for ours, theirs in zip(population.weights, before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_interrupt_keeps_its_population_through_pickle() -> None:
    population = fd.fit_many(net(), X, Y, starts=3, epochs=2, verbose=0)
    stopped = pickle.loads(pickle.dumps(fd.PopulationInterrupt("fit_many: interrupted", population)))
    assert str(stopped) == "fit_many: interrupted"
    identical(population, stopped.population)
