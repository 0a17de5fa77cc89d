"""`fit_many` and `Population`: each start is its own fit, whatever is asked for; outcomes, errors, interrupts."""

from __future__ import annotations

import signal
import threading
import time
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastdense as fd
from fastdense.callbacks import EarlyStopping, History
from fastdense.engine.serial import SerialPopulation
from fastdense.reference.rng import shuffle_indices
from fastdense.runners.population import PopulationRunner
from tests.helpers.populations import CLOSE, data, net, same

Array = Any


def test_each_start_is_its_own_fit() -> None:
    x, y = data()
    model = net(fd.Dense(5, "tanh"), fd.Dropout(0.2), fd.Dense(1), seed=99)
    before = model.get_weights()
    population = fd.fit_many(model, x, y, starts=19, epochs=4, batch_size=16, seed=7, verbose=0)
    assert len(population) == 19 and population.history.shape == (4, 19) and population.losses.shape == (19,)
    assert not population.why_one_by_one and (population.epochs == 4).all()
    for i in (0, 5, 18):
        alone = model.clone(seed=7 + i)
        same(population, i, alone, alone.fit(x, y, batch_size=16, epochs=4, verbose=0))
        assert population.losses[i] == pytest.approx(alone.evaluate(x, y, verbose=0), rel=1e-9)
        member = population[i]
        assert member.seed == 7 + i
        for each in (member, alone):
            each.fit(x, y, batch_size=16, epochs=2, verbose=0)  # with the optimizer's state, in the next order of rows
        np.testing.assert_allclose(member.get_weights()[0], alone.get_weights()[0], **CLOSE)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True)), "the model was changed"


@pytest.mark.parametrize("batch_size", [16, 50])
def test_numbers_of_their_own(batch_size: int) -> None:
    x, y = data()
    rng = np.random.default_rng(1)
    weights, rates, penalties = rng.uniform(0, 2, (3, 50)), np.array([0.001, 0.01, 0.1]), np.array([0.0, 1.0, 5.0])
    regular = fd.regularizers.l1_l2(1e-3, 1e-2)
    model = net(fd.Dense(4, "tanh", kernel_regularizer=regular, activity_regularizer="l2"), fd.Dense(1))
    population = fd.fit_many(model, x, y, epochs=3, batch_size=batch_size, learning_rate=rates, sample_weight=weights,
                             penalty=penalties, seed=[3, 3, 8], verbose=0)  # fmt: skip
    for i in range(3):
        scaled = fd.regularizers.l1_l2(1e-3 * penalties[i], 1e-2 * penalties[i])
        alone = net(fd.Dense(4, "tanh", kernel_regularizer=scaled,
                             activity_regularizer=fd.regularizers.l2(0.01 * penalties[i])),
                    fd.Dense(1), optimizer=fd.Adam(rates[i]), seed=(3, 3, 8)[i])  # fmt: skip
        history = alone.fit(x, y, batch_size=batch_size, epochs=3, sample_weight=weights[i], verbose=0)
        same(population, i, alone, history)
        member = population[i]
        assert member.optimizer.learning_rate == rates[i]
        found = member.evaluate(x, y, sample_weight=weights[i], verbose=0)
        assert found == pytest.approx(population.losses[i], rel=1e-9)


def test_normalization_and_labels() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, (60, 4)).astype(np.uint8), rng.integers(0, 3, 60).astype(np.int32)
    model = net(fd.Normalization(), fd.Dense(6, "relu"), fd.Dense(3, "softmax"), inputs=4,
                loss="sparse_categorical_crossentropy")  # fmt: skip
    population = fd.fit_many(model, x, y, starts=3, epochs=3, verbose=0)
    alone = model.clone(seed=2)
    alone.fit(x, y, epochs=3, verbose=0)
    for ours, theirs in zip(population[2].get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, **CLOSE)
    assert population.evaluate(x, y)[2] == pytest.approx(alone.evaluate(x, y, verbose=0), rel=1e-9)


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_one_net_at_a_time(device: str) -> None:
    """Muon works on matrices and a large net outgrows the caches: the same call, the same numbers."""
    x, y = data()
    model = net(fd.Dense(8, "tanh", kernel_regularizer="l2"), fd.Dense(1), optimizer=fd.Muon(0.01), device=device)
    population = fd.fit_many(model, x, y, starts=3, epochs=2, penalty=[1.0, 2.0, 3.0], verbose=0, n_threads=2)
    assert ("Muon" if device == "cpu" else "reference") in population.why_one_by_one
    alone = model.clone(seed=0)
    same(population, 0, alone, alone.fit(x, y, epochs=2, verbose=0))
    assert fd.fit_many(net(fd.Dense(600), fd.Dense(600), fd.Dense(1)), x, y, starts=2, verbose=0).why_one_by_one


def test_bfloat16_goes_one_by_one() -> None:
    x, y = data()
    model = fd.Model([fd.Dense(5, "tanh"), fd.Dense(1)], inputs=3, dtype="bfloat16")
    model.compile(fd.Adam(0.01), "mse")
    population = fd.fit_many(model, x, y, starts=2, epochs=2, verbose=0)
    assert "bfloat16" in population.why_one_by_one
    alone = model.clone(seed=1)
    alone.fit(x, y, epochs=2, verbose=0)
    assert all((a == b).all() for a, b in zip(population[1].get_weights(), alone.get_weights(), strict=True))


def test_any_number_of_threads_gives_the_same_bits() -> None:
    x, y = data()
    found = [fd.fit_many(net(), x, y, starts=40, epochs=3, verbose=0, n_threads=n).weights for n in (1, 2, 3)]
    for other in found[1:]:
        assert all((a == b).all() for a, b in zip(found[0], other, strict=True))


def test_best_members_and_success() -> None:
    x, y = data()
    population = fd.fit_many(net(), x, y, starts=12, epochs=30, verbose=0)
    assert population.best_index == int(np.argmin(population.losses))
    assert population.best.evaluate(x, y, verbose=0) == pytest.approx(population.losses.min(), rel=1e-9)
    assert population.success_rate(0.0) == pytest.approx(1 / 12)
    assert population.success_rate(reference=0.0) == 0.0 and population.success_rate(1e9) == 1.0
    assert len(population[2:5]) == 3 and population[-1].seed == 11
    assert [model.seed for model in population] == list(range(12))
    with pytest.raises(IndexError, match="index 12 is out of range for 12 starts"):
        population[12]
    assert "12 starts of 3 -> 5 -> 1, 30 epochs" in repr(population)


@pytest.mark.parametrize("optimizer", [fd.Adam(0.01), fd.Muon(0.01)])
def test_ctrl_c_keeps_what_is_done(optimizer: Any) -> None:
    x, y = data(2000)
    model = net(fd.Dense(30, "tanh"), fd.Dense(1), optimizer=optimizer)
    threading.Timer(0.6, signal.raise_signal, [signal.SIGINT]).start()
    began = time.perf_counter()
    message = (
        r"^fit_many: interrupted in epoch \d+ of 20000; the population as trained by then is the attribute "
        r"`population` of this exception \(in an interactive session: sys.last_value.population\)$"
    )
    with pytest.raises(KeyboardInterrupt, match=message) as stopped:
        fd.fit_many(model, x, y, starts=64, epochs=20_000, verbose=0)
    assert time.perf_counter() - began < 10  # of a machine that may be busy; 0.2 s when it is not
    assert isinstance(stopped.value, fd.PopulationInterrupt)
    population = stopped.value.population
    assert population.interrupted and len(population) == 64
    assert len(population.history) == population.epochs.max() > 0
    assert population.predict(x[:3]).shape == (64, 3, 1) and np.isfinite(population.losses).all()
    population.best.fit(x, y, verbose=0)  # can go on


def test_ctrl_c_ends_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of `fit_many`, and of what is made of it."""
    x, y = data()
    calls: list[Any] = []

    def interrupted(self: PopulationRunner, call: Any) -> dict[str, Any]:
        calls.append(call)
        return {"epochs": np.zeros(len(self), dtype=int), "interrupted": True, "ended": False}

    monkeypatch.setattr(PopulationRunner, "train", interrupted)
    for task in (fd.fit_many, fd.cross_validate, fd.learning_rate_test):
        with pytest.raises(KeyboardInterrupt):
            for _ in range(3):
                task(net(), x, y)
    assert len(calls) == 3


@settings(max_examples=20, deadline=None)
@given(starts=st.integers(1, 40), rows=st.integers(1, 40), batch=st.integers(1, 45), units=st.integers(1, 9),
       inputs=st.integers(1, 5), act=st.sampled_from(["relu", "tanh"]), outputs=st.integers(1, 3))  # fmt: skip
def test_any_shape(starts: int, rows: int, batch: int, units: int, inputs: int, act: str, outputs: int) -> None:
    """The last start of any number, in any batch, is its own fit."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(rows, inputs)), rng.normal(size=(rows, outputs))
    model = net(fd.Dense(units, act), fd.Dense(outputs), inputs=inputs, optimizer=fd.SGD(0.01))
    population = fd.fit_many(model, x, y, starts=starts, epochs=2, batch_size=batch, verbose=0)
    alone = model.clone(seed=starts - 1)
    alone.fit(x, y, epochs=2, batch_size=batch, verbose=0)
    for ours, theirs in zip(population[-1].get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, **CLOSE)


ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"starts": 0}, ValueError, "fit_many: starts=0 is out of range. Give a whole number, at least 1."),
    ({"starts": 3, "learning_rate": [0.1, 0.2]}, ValueError,
     "fit_many: the number of starts is ambiguous: starts implies 3, learning_rate implies 2; all must agree"),
    ({"learning_rate": [0.1, -1.0]}, ValueError, "fit_many: learning_rate[1] is -1; learning_rate must be 0 or more"),
    ({"penalty": [[1.0]]}, ValueError, "fit_many: penalty has shape (1, 1); one number, or one per start, is needed"),
    ({"sample_weight": np.ones((4, 7))}, ValueError,
     "fit_many: sample_weight has shape (4, 7); (50,) or (4, 50) is needed"),
    ({"seed": -1}, ValueError, "fit_many: seed=-1 is out of range."),
    ({"start": "clever"}, ValueError, "fit_many: start='clever' is not known. Use 'random' or 'data'."),
    ({"callbacks": [History()]}, TypeError, "fit_many: callbacks holds a History, which monitors a single model."),
    ({"callbacks": [EarlyStopping()]}, ValueError,
     "fit_many: EarlyStopping monitors 'val_loss' and there is no validation data; pass validation_data, or "
     "monitor='loss'"),
    ({"callbacks": [EarlyStopping("accuracy")]}, ValueError, "fit_many: EarlyStopping monitors 'accuracy'"),
    ({"initial_weights": [np.zeros((2, 3, 5))]}, ValueError,
     "fit_many: initial_weights holds 1 arrays; 4 are needed: dense/kernel (2, 3, 5), dense/bias (2, 5)"),
    ({"starts": 10**9}, MemoryError, "fit_many: training 1,000,000,000 nets of 26 parameters for 1 epochs takes"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "kind", "message"), ERRORS, ids=[str(next(iter(e[0]))) for e in ERRORS])
def test_errors(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    x, y = data()
    with pytest.raises(kind) as caught:
        fd.fit_many(net(), x, y, verbose=0, **options)
    assert str(caught.value).startswith(message)


def test_a_model_must_be_compiled() -> None:
    with pytest.raises(ValueError, match="fit_many: the model is not compiled"):
        fd.fit_many(fd.Model([fd.Dense(1)], inputs=3), *data())
    with pytest.raises(TypeError, match="fit_many: model is of type str"):
        fd.fit_many("model", *data())  # type: ignore[arg-type]


def test_the_loop_hands_errors_on() -> None:
    model = net(optimizer=fd.Muon(0.01))
    training = {"loss": model.loss.lower(), "optimizer": model.optimizer.lower(), "metrics": []}
    runner = PopulationRunner(model.net, "cpu", training, np.arange(2, dtype=np.uint64), {}, 32)
    assert isinstance(runner.nets, SerialPopulation)
    with warnings.catch_warnings(), pytest.raises(ValueError, match="x must be"):
        runner.nets.evaluate(np.zeros((3, 9)), np.zeros((3, 1)), None, n_threads=2, which=None)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_one_order_for_all_starts_is_that_of_the_first_seed(weighted: bool, device: str) -> None:
    x, y = data()
    weights = np.random.default_rng(5).uniform(0.5, 2, (3, len(x))) if weighted else None
    model = net(fd.Dense(5, "tanh"), fd.BatchNorm(), fd.Dense(1), device=device)
    population = fd.fit_many(
        model, x, y, starts=3, epochs=4, batch_size=16, seed=7, shuffle="same", sample_weight=weights, verbose=0
    )
    assert bool(population.why_one_by_one) == (device == "reference")
    for i in range(3):
        alone = model.clone(seed=7 + i)
        for epoch in range(4):
            order = shuffle_indices(len(x), 7, epoch)
            w = None if weights is None else weights[i][order]
            alone.fit(x[order], y[order], batch_size=16, shuffle=False, sample_weight=w, verbose=0)
        for ours, theirs in zip(population[i].get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, **CLOSE)


def test_shuffle_is_checked() -> None:
    x, y = data()
    with pytest.raises(ValueError, match="fit_many: shuffle='all' is not known. Use 'same', or True or False."):
        fd.fit_many(net(), x, y, starts=2, shuffle="all", verbose=0)
