"""Full-batch solvers for many nets at once: each is solved as if alone, and stops when it has nothing more to do."""

from __future__ import annotations

import signal
import threading
from typing import Any

import numpy as np
import pytest

import fastdense as fd

Array = Any
SOLVERS: dict[str, Any] = {
    "lbfgs": lambda **options: fd.LBFGS(**options),
    "levenberg_marquardt": lambda **options: fd.LevenbergMarquardt(**options),
    "newton_cg": lambda **options: fd.NewtonCG(**options),
}


def sine() -> tuple[Array, Array]:
    x = np.linspace(-3.0, 3.0, 60)[:, None]
    return x, np.sin(x)


def net(optimizer: Any, **options: Any) -> fd.Model:
    model = fd.Model([fd.Dense(5, "tanh"), fd.Dense(1)], inputs=1, dtype="float64", **options)
    model.compile(optimizer, "mse")
    return model


@pytest.mark.parametrize("name", SOLVERS)
def test_start_i_is_the_net_fitted_alone(name: str, device: str) -> None:
    x, y = sine()
    model = net(SOLVERS[name](gtol=0.0, ftol=0.0), device=device)
    population = fd.fit_many(model, x, y, starts=3, epochs=6, seed=4, verbose=0)
    assert "full-batch" in population.why_one_by_one or device == "reference"
    assert population.history.shape == (6, 3) and (population.epochs == 6).all()
    for i in range(3):
        alone = model.clone(seed=4 + i)
        history = alone.fit(x, y, epochs=6, verbose=0)
        np.testing.assert_array_equal(population.history[:, i], history.history["loss"])
        for ours, theirs in zip(population[i].get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        population_member = population[i]  # goes on where it stood, with what its solver remembers
        population_member.fit(x, y, epochs=2, verbose=0)
        alone.fit(x, y, epochs=2, verbose=0)
        np.testing.assert_array_equal(population_member.predict(x), alone.predict(x))


def test_a_net_that_has_ended_is_left_alone() -> None:
    x, y = sine()
    model = net(fd.LevenbergMarquardt(ftol=0.1))
    population = fd.fit_many(model, x, y, starts=5, epochs=40, verbose=0)
    alone = [model.clone(seed=i) for i in range(5)]
    for i, one in enumerate(alone):
        one.fit(x, y, epochs=40, verbose=0)
        assert population.epochs[i] == len(one.history.epoch) < 40
        assert np.isfinite(population.history[: population.epochs[i], i]).all()
        assert np.isnan(population.history[population.epochs[i] :, i]).all()
    np.testing.assert_allclose(population.losses, [one.evaluate(x, y, verbose=0) for one in alone], rtol=1e-12)
    assert sum(population.outcomes().counts.values()) == 5


def test_early_stopping_and_validation() -> None:
    x, y = sine()
    stop = fd.callbacks.EarlyStopping("val_loss", patience=2, min_delta=0.05)
    options: dict[str, Any] = {"epochs": 30, "validation_data": (x[::7], y[::7]), "verbose": 0}
    model = net(fd.LBFGS())
    population = fd.fit_many(model, x, y, starts=3, callbacks=[stop], **options)
    for i in range(3):
        alone = model.clone(seed=i)
        alone.fit(x, y, callbacks=[fd.callbacks.EarlyStopping("val_loss", patience=2, min_delta=0.05)], **options)
        assert population.epochs[i] == len(alone.history.epoch) < 30


def test_tries_and_starts() -> None:
    x, y = sine()
    population = fd.fit_many(net("levenberg_marquardt"), x, y, starts=2, tries=4, start="data", epochs=60, verbose=0)
    assert (population.losses < 1e-4).all()
    model = net("lbfgs")
    model.fit(x, y, epochs=100, starts=8, verbose=0)
    assert model.evaluate(x, y, verbose=0) < 1e-3


def test_no_learning_rates() -> None:
    x, y = sine()
    message = (
        "^fit_many: learning_rate is given and the optimizer is LBFGS; a full-batch optimizer has no learning rate: "
        "leave it out, or use e.g. Adam$"
    )
    with pytest.raises(ValueError, match=message):
        fd.fit_many(net("lbfgs"), x, y, learning_rate=[0.1, 0.2], verbose=0)
    with pytest.raises(ValueError, match="^fit_many: batch_size is 20 for 60 rows; LBFGS is a full-batch optimizer"):
        fd.fit_many(net("lbfgs"), x, y, starts=2, batch_size=20, verbose=0)


def test_ctrl_c() -> None:
    x = np.random.default_rng(0).normal(size=(2000, 8))
    model = fd.Model([fd.Dense(40, "tanh"), fd.Dense(1)], inputs=8)
    model.compile(fd.LBFGS(gtol=0.0, ftol=0.0), "mse")
    threading.Timer(0.6, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(fd.PopulationInterrupt, match="^fit_many: interrupted in epoch") as stopped:
        fd.fit_many(model, x, np.sin(3.0 * x[:, :1]) * x[:, 1:2], starts=64, epochs=10**5, verbose=0)
    population = stopped.value.population
    assert population.interrupted and np.isfinite(population.losses).all()
