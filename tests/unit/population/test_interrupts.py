"""Ctrl-C in `fit_many` loses nothing that was trained: among tries, and in the evaluation at the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.runners.population import PopulationRunner
from fastdense.training.search import tries_of
from tests.helpers.populations import data, interrupt, net

X, Y = data()
SEEDS = np.array([3, 4], dtype=np.uint64)
TRIES = 6
LATER = r"; the population as trained by then is the attribute `population` of this exception"


def stopped(message: str, **options: Any) -> fd.Population[fd.Model]:
    with pytest.raises(fd.PopulationInterrupt, match=f"^fit_many: interrupted {message}{LATER}") as caught:
        fd.fit_many(net(), X, Y, verbose=0, **options)
    assert caught.value.population.interrupted
    return caught.value.population


def test_in_the_evaluation_at_the_end(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses are those of the last epoch, and members go on as if nothing had been."""
    whole = fd.fit_many(net(device=device), X, Y, starts=3, epochs=4, verbose=0)
    with monkeypatch.context() as patch:
        interrupt(patch, PopulationRunner, "losses", at=0)
        with pytest.raises(
            fd.PopulationInterrupt, match="^fit_many: interrupted in the evaluation after the"
        ) as caught:
            fd.fit_many(net(device=device), X, Y, starts=3, epochs=4, verbose=0)
    population = caught.value.population
    np.testing.assert_array_equal(population.losses, whole.history[-1])
    np.testing.assert_array_equal(population.history, whole.history)
    for ours, theirs in zip(population.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    mine, its = population[1], whole[1]
    assert mine.runner.step == its.runner.step > 0
    assert mine.fit(X, Y, verbose=0).history == its.fit(X, Y, verbose=0).history


def test_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """While members are trained, and again while their losses are computed; a member without an epoch has none."""
    interrupt(monkeypatch, PopulationRunner, "losses", at=0)
    interrupt(monkeypatch, PopulationRunner, "train", at=0)
    population = stopped("in epoch 1 of 9", starts=3, epochs=9)
    assert np.isnan(population.losses).all() and not population.epochs.any() and population.history.shape == (0, 3)


def test_among_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each start the try with the smallest loss by then: here after one epoch, since the second call is none."""
    every = tries_of(SEEDS, TRIES)
    first = fd.fit_many(net(), X, Y, seed=every.ravel(), epochs=1, verbose=0)
    best = first.history[0].reshape(2, TRIES).argmin(axis=1)
    assert best.any()  # not the first tries, which nothing had to choose
    with monkeypatch.context() as patch:
        interrupt(patch, PopulationRunner, "train", at=1)
        population = stopped("in epoch 2 of 100 of the tries", seed=SEEDS, tries=TRIES, epochs=100)
    np.testing.assert_array_equal(population.seeds, every[[0, 1], best])
    np.testing.assert_array_equal(population.epochs, [1, 1])
    chosen = np.arange(2) * TRIES + best
    np.testing.assert_array_equal(population.history, first.history[:, chosen])
    np.testing.assert_array_equal(population.losses, first.history[0, chosen])
    for ours, theirs in zip(population.weights, first.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs[chosen])
    population.best.fit(X, Y, verbose=0)


def test_before_the_first_epoch_of_the_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, PopulationRunner, "train", at=0)
    population = stopped("in epoch 1 of 100 of the tries", seed=SEEDS, tries=TRIES, epochs=100, validation_data=(X, Y))
    np.testing.assert_array_equal(population.seeds, SEEDS)
    assert np.isnan(population.losses).all() and population.history.shape == (0, 2)


def test_in_the_evaluation_of_the_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, PopulationRunner, "losses", at=0)
    population = stopped("in epoch 11 of 100 of the tries", seed=SEEDS, tries=TRIES, epochs=100)
    assert (population.epochs == 10).all() and np.isfinite(population.losses).all()


def test_fit_before_the_first_epoch_of_its_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = net()
    model.fit(X, Y, verbose=0)
    before, step = model.get_weights(), model.runner.step
    interrupt(monkeypatch, PopulationRunner, "train", at=0)
    with pytest.raises(KeyboardInterrupt, match="^fit: interrupted while it tried 8 starts; the model is unchanged$"):
        model.fit(X, Y, epochs=100, starts=8, verbose=0)
    assert model.runner.step == step > 0
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("method", "at", "epochs"), [("train", 1, 1), ("losses", 0, 10)])
def test_fit_among_its_starts(method: str, at: int, epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is the best try by then, without the optimizer's state, and can be trained."""
    model = net()
    model.fit(X, Y, verbose=0)
    seeds = tries_of(np.array([model.seed], dtype=np.uint64), 8).ravel()
    alone = fd.fit_many(net(), X, Y, seed=seeds, epochs=epochs, start="data", verbose=0)
    best = int(alone.history[-1].argmin())
    assert best  # not the first, which nothing had to choose
    with monkeypatch.context() as patch:
        interrupt(patch, PopulationRunner, method, at)
        after = f"after {epochs} epoch{'s' * (epochs > 1)}"
        with pytest.raises(
            KeyboardInterrupt,
            match=f"^fit: interrupted while it tried 8 starts; the model is the best of them {after}$",
        ) as caught:
            model.fit(X, Y, epochs=100, starts=8, verbose=0)
    assert type(caught.value) is KeyboardInterrupt and model.runner.step == model.runner.epochs_trained == 0
    for ours, theirs in zip(model.get_weights(), alone.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs[best])
    assert not any(slot.any() for slots in model.runner.slots() for slot in slots)
    assert len(model.fit(X, Y, epochs=2, verbose=0).epoch) == 2


def test_validation_of_tries_is_that_of_later_epochs() -> None:
    population = fd.fit_many(net(), X, Y, starts=2, tries=4, epochs=20, validation_data=(X, Y), verbose=0)
    assert population.val_history is not None
    assert np.isnan(population.val_history[:10]).all() and np.isfinite(population.val_history[10:]).all()
