"""`fit_many` and `cross_validate` over an executor: the same bits in any groups, and what errors and Ctrl-C leave."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from fastdense.callbacks import EarlyStopping, ReviveDeadUnits
from fastdense.engine.native import available_threads
from fastdense.population import spread
from fastdense.training.population import PopulationFit
from tests.helpers.executors import Inline, assert_same, assert_same_bits
from tests.helpers.populations import data, interrupt, net

STARTS = 37  # two full vectors of float32, or four of float64, and some
RANDOM = np.random.default_rng(7)
X, Y = (array.astype(np.float32) for array in data())
IDS = (Y[:, 0] > 0).astype(np.int64)
Dense, Dropout = fd.Dense, fd.Dropout


def model(*layers: Any, optimizer: Any = None, loss: str = "mse", metrics: Any = None, **options: Any) -> fd.Model:
    made = fd.Model(list(layers) or [Dense(5, "tanh"), Dense(1)], inputs=3, **options)
    made.compile(optimizer or fd.optimizers.Adam(0.01), loss, metrics=metrics)
    return made


def first_alike(value: float, least: float, most: float) -> list[float]:
    """One number for the first 20 members, others for the rest, so that some groups agree in it and others do not."""
    return [value] * 20 + np.linspace(least, most, STARTS - 20).tolist()


def many_models() -> list[fd.Model]:
    """Of three shapes: for lanes, too few for lanes, and too wide for them."""
    widths = [4, 8] * 15 + [90, 90, 5]
    rates = 0.01 * (1 + np.arange(33) % 3)
    return [model(Dense(width, "tanh"), Dense(1), seed=i, optimizer=fd.optimizers.Adam(float(rates[i])))
            for i, width in enumerate(widths)]  # fmt: skip


TINY = (Dense(3, "relu"), Dense(1))
VALIDATION = (X[:20], Y[:20])
CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "float32": dict,
    "float64": lambda: {"model": model(dtype="float64")},
    "bfloat16": lambda: {"model": model(dtype="bfloat16"), "starts": 5},
    "reference": lambda: {"model": model(device="reference"), "starts": 3},
    "in order": lambda: {"shuffle": False},
    "shuffle same": lambda: {"shuffle": "same", "seed": range(3, 3 + STARTS)},
    "smallest nets, full batches": lambda: {"model": model(*TINY), "batch_size": 50},
    "smallest nets, two orders": lambda: {"model": model(*TINY), "order_seed": [7] * 20 + [8] * 17},
    "smallest nets, own factors": lambda: {
        "model": model(*TINY), "shuffle": "same", "loss_weight": first_alike(2.0, 0.5, 1.0)},
    "one order": lambda: {"order_seed": 3},
    "learning rates": lambda: {"learning_rate": first_alike(0.01, 0.001, 0.1)},
    "penalties": lambda: {
        "model": model(Dense(5, "tanh", kernel_regularizer="l2"), Dense(1)), "penalty": first_alike(1.0, 0.1, 3.0)},
    "weight decays": lambda: {
        "model": model(optimizer=fd.optimizers.AdamW(0.01)), "weight_decay": first_alike(0.004, 0.0, 0.1)},
    "dropout": lambda: {"model": model(Dense(6, "tanh"), Dropout(0.2), Dense(1))},
    "dropout rates": lambda: {
        "model": model(Dense(6, "tanh"), Dropout(0.2), Dense(1)), "dropout": first_alike(0.2, 0.0, 0.5)},
    "label smoothing": lambda: {
        "model": model(Dense(5, "relu"), Dense(2, "softmax"), loss="sparse_categorical_crossentropy"), "y": IDS,
        "label_smoothing": first_alike(0.0, 0.0, 0.3)},
    "weights of rows": lambda: {"sample_weight": RANDOM.random(50)},
    "weights of rows, own": lambda: {"sample_weight": RANDOM.random((STARTS, 50))},
    "statistics of the data": lambda: {"model": model(fd.Normalization(), Dense(5, "tanh"), Dense(1))},
    "batch norm": lambda: {"model": model(Dense(5, "tanh"), fd.BatchNorm(), Dense(1))},
    "start on data": lambda: {
        "model": model(fd.Normalization(), Dense(5, "relu"), Dense(4, "relu"), Dense(1)), "start": "data"},
    "tries": lambda: {"starts": 9, "tries": 5, "epochs": 40},
    "early stopping": lambda: {
        "validation_data": VALIDATION, "epochs": 30, "snapshots": 2,
        "callbacks": [EarlyStopping("val_loss", patience=1, restore_best_weights=True)]},
    "metrics": lambda: {"model": model(metrics=["mae"]), "validation_data": VALIDATION, "snapshots": 3},
    "revived units": lambda: {
        "model": model(Dense(6, "relu"), Dense(1)), "epochs": 10, "learning_rate": np.full(STARTS, 0.5),
        "callbacks": ReviveDeadUnits(every=2)},
    "given weights": lambda: {
        "starts": None,
        "initial_weights": [RANDOM.normal(size=(STARTS, *tensor.shape)) for tensor in model().get_weights()]},
    "averaged weights": lambda: {"model": model(optimizer=fd.optimizers.Adam(0.01, use_ema=True))},
    "schedule": lambda: {"model": model(optimizer=fd.optimizers.SGD(fd.schedules.CosineDecay(0.1, 10)))},
    "LBFGS": lambda: {"model": model(optimizer=fd.optimizers.LBFGS()), "starts": 5, "batch_size": 50},
    "NewtonCG": lambda: {"model": model(optimizer=fd.optimizers.NewtonCG()), "starts": 5, "batch_size": 50},
    "LM": lambda: {"model": model(optimizer=fd.optimizers.LevenbergMarquardt()), "starts": 5, "batch_size": 50},
    "KFAC": lambda: {"model": model(optimizer=fd.optimizers.KFAC()), "starts": 5},
    "one by one": lambda: {"model": model(Dense(80, "tanh"), Dense(80, "tanh"), Dense(1)), "starts": 5},
    "models": lambda: {"model": many_models(), "starts": None},
    "models, own batches": lambda: {"model": many_models(), "starts": None, "batch_size": [16, 32, 8] * 11},
    "models, own weights of rows": lambda: {
        "model": many_models(), "starts": None, "sample_weight": RANDOM.random((33, 50))},
    "models, some with metrics": lambda: {
        "model": [model(seed=i, metrics=["mae"] if i < 20 else []) for i in range(33)], "starts": None,
        "validation_data": VALIDATION},
}  # fmt: skip


def dealt_at_random(seed: int) -> Callable[[Any, int], list[list[int]]]:
    """Groups of any sizes, in any order."""

    def dealt(costs: Any, groups: int) -> list[list[int]]:
        random = np.random.default_rng(seed)
        group, order = random.integers(0, groups, len(costs)), random.permutation(len(costs))
        return [order[group[order] == one].tolist() for one in range(groups) if (group == one).any()]

    return dealt


@pytest.mark.parametrize("case", CASES)
def test_same_bits_in_any_groups(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"model": None, "y": Y, "starts": STARTS, "epochs": 3, "batch_size": 16, "verbose": 0, **CASES[case]()}
    one, y = options.pop("model") or model(), options.pop("y")
    alone = fd.fit_many(one, X, y, **options)
    for together, groups, seed in ((16, 2, None), (1, len(alone), None), (1, 4, 1), (3, 3, 2)):
        with monkeypatch.context() as patch:
            patch.setattr(spread, "TOGETHER", together)
            if seed is not None:
                patch.setattr(spread, "dealt", dealt_at_random(seed))
            executor = Inline()
            assert_same(fd.fit_many(one, X, y, executor=(executor, groups), **options), alone, X, y)
        assert 1 < len(executor.sent) <= groups


def test_same_bits_on_a_gpu(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All members in one launch, or some of them."""
    monkeypatch.setattr(spread, "TOGETHER", 1)
    one, options = model(device="cuda"), {"learning_rate": [0.01] * 3 + [0.02], "batch_size": 50, "verbose": 0}
    alone = fd.fit_many(one, X, Y, **options)
    executor = Inline()
    joined = fd.fit_many(one, X, Y, executor=(executor, 2), **options)
    assert len(executor.sent) == 2
    assert_same_bits(joined.losses, alone.losses, "losses")
    for ours, theirs in zip(joined.weights, alone.weights, strict=True):
        assert_same_bits(ours, theirs, "weights")


def test_pickled_population_keeps_the_state_of_solvers() -> None:
    """LBFGS keeps float64 numbers for a float32 net."""
    alone = fd.fit_many(model(optimizer=fd.optimizers.LBFGS()), X, Y, starts=2, epochs=3, batch_size=50, verbose=0)
    assert_same(pickle.loads(pickle.dumps(alone)), alone, X, Y)


def test_outcomes_ensemble_and_file(tmp_path: Path) -> None:
    options: dict[str, Any] = {"starts": STARTS, "epochs": 5, "snapshots": 2, "verbose": 0}
    alone = fd.fit_many(model(), X, Y, **options)
    joined = fd.fit_many(model(), X, Y, executor=(Inline(), 3), **options)
    assert str(joined.outcomes()) == str(alone.outcomes())
    ours, theirs = joined.ensemble(X, Y, size=5), alone.ensemble(X, Y, size=5)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    joined.best.save(tmp_path / "best.safetensors")
    np.testing.assert_array_equal(fd.load(tmp_path / "best.safetensors").predict(X), alone.best.predict(X))
    assert_same(pickle.loads(pickle.dumps(joined)), alone, X, Y)


VALIDATIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "one setting": dict,
    "settings": lambda: {"learning_rate": np.linspace(0.001, 0.1, 11), "sample_weight": RANDOM.random(50)},
    "penalties, the first of them 1": lambda: {
        "model": model(Dense(5, "tanh", kernel_regularizer="l2"), Dense(1)), "penalty": [1.0] * 9 + [2.0, 3.0]},
    "classes": lambda: {
        "model": model(Dense(4, "relu"), Dense(2, "softmax"), loss="sparse_categorical_crossentropy",
                       metrics=["accuracy", "auc"]), "y": IDS, "learning_rate": [0.01, 0.02, 0.03]},
    "quantiles": lambda: {"model": model(Dense(4, "relu"), Dense(2), loss=fd.losses.Quantile([0.1, 0.9]))},
}  # fmt: skip


@pytest.mark.parametrize("case", VALIDATIONS)
def test_cross_validation_has_the_same_bits(case: str) -> None:
    given = {"model": model(metrics=["mae"]), "y": Y, "epochs": 3, **VALIDATIONS[case]()}
    one, y = given.pop("model"), given.pop("y")
    alone = fd.cross_validate(one, X, y, folds=3, **given)
    for groups in (1, 2, 3, 7, 40):
        executor = Inline()
        spread_out = fd.cross_validate(one, X, y, folds=3, executor=(executor, groups), **given)
        assert len(executor.sent) == min(groups, 3 * len(alone.train_loss)) or groups == 40
        assert (spread_out.best, repr(spread_out)) == (alone.best, repr(alone))
        np.testing.assert_array_equal(spread_out.train_loss, alone.train_loss)
        assert list(spread_out.scores) == list(alone.scores)
        for name, values in spread_out.scores.items():
            np.testing.assert_array_equal(values, alone.scores[name])


def test_cross_validation_sends_the_data_once_to_each_worker(tmp_path: Path) -> None:
    """Folds are cut there; and a memory-mapped array is not sent at all."""
    x = RANDOM.normal(size=(20_000, 3))
    np.save(tmp_path / "x.npy", x)
    sizes = []
    for given in (x, np.load(tmp_path / "x.npy", mmap_mode="r")):
        executor = Inline()
        options: dict[str, Any] = {"folds": 10, "batch_size": 20_000, "executor": (executor, 2)}
        found = fd.cross_validate(model(), given, x[:, :1] > 0, **options)
        sizes.append([len(one) for one in executor.sent])
    assert len(sizes[0]) == len(sizes[1]) == 2 and found.train_loss.shape == (1, 10)
    assert max(sizes[0]) < 2 * x.nbytes and min(sizes[0]) - max(sizes[1]) > 0.9 * x.nbytes


def test_cross_validation_without_some_workers() -> None:
    options: dict[str, Any] = {"learning_rate": [0.1, 0.01, 0.02, 0.03], "folds": 2}
    alone = fd.cross_validate(model(metrics=["mae"]), X, Y, **options)
    message = "^cross_validate: 2 of 8 trainings were lost .* `cross_validation` of this exception$"
    with pytest.raises(fd.WorkerLost, match=message) as caught:
        fd.cross_validate(model(metrics=["mae"]), X, Y, executor=(Inline(lost_at(0, 4)), 4), **options)
    found = caught.value.cross_validation
    missing = np.isnan(found.train_loss)
    assert missing.sum() == 2 and caught.value.population is None
    for name, values in found.scores.items():
        np.testing.assert_array_equal(values, np.where(missing, np.nan, alone.scores[name]))
    with pytest.raises(KeyboardInterrupt, match="^cross_validate: interrupted when 1 of 4 groups were done$"):
        fd.cross_validate(model(), X, Y, executor=(Inline(interrupted_at(1)), 4), **options)


def test_cross_validation_shows_groups(capsys: pytest.CaptureFixture[str]) -> None:
    found = fd.cross_validate(model(), X, Y, folds=4, verbose=2, executor=(Inline(), 2))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" - ")[0] for line in lines] == ["group 1/2", "group 2/2"]
    assert lines[-1].endswith(f"best {found.train_loss.min():.4g} - median {np.median(found.train_loss):.4g}")


# ---- what is sent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_memory_mapped_array_is_sent_by_the_name_of_its_file(mode: Any, tmp_path: Path) -> None:
    """But not a private copy ("c"), whose changes are not in the file. Views and float64 for a float32 net, too."""
    rows = 20_000
    whole = RANDOM.normal(size=(rows, 4))
    np.save(tmp_path / "rows.npy", whole)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode=mode)
    x, y = mapped[::-2, :3], mapped[::-2, 3:]
    executor, options = Inline(), {"starts": 3, "batch_size": 4096, "verbose": 0}
    joined = fd.fit_many(model(), x, y, validation_data=(x[:50], y[:50]), executor=(executor, 2), **options)
    copied = np.array(x), np.array(y)
    alone = fd.fit_many(model(), *copied, validation_data=(x[:50], y[:50]), **options)
    assert_same(joined, alone, X, Y)
    assert (max(map(len, executor.sent)) < 100_000) == (mode != "c"), "bytes of a group"


def test_a_data_frame_with_columns_in_another_order() -> None:
    pandas = pytest.importorskip("pandas")
    one, frame = model(), pandas.DataFrame(X, columns=["a", "b", "c"])
    one.fit(frame, Y, verbose=0)
    turned, options = frame[["c", "a", "b"]], {"starts": 18, "verbose": 0}
    joined = fd.fit_many(one, turned, Y, validation_data=(turned[:9], Y[:9]), executor=(Inline(), 2), **options)
    alone = fd.fit_many(one, X, Y, validation_data=(X[:9], Y[:9]), **options)
    assert_same(joined, alone, X, Y)
    assert joined.best.feature_names == ("a", "b", "c")


def test_each_group_gets_its_own_weights_of_rows_only() -> None:
    executor, own = Inline(), RANDOM.random((32, 5000))
    x = RANDOM.normal(size=(5000, 3))
    fd.fit_many(model(), x, x[:, :1], sample_weight=own, batch_size=5000, verbose=0, executor=(executor, 2))
    assert len(executor.sent) == 2 and max(map(len, executor.sent)) < own.nbytes // 2 + 2 * x.nbytes


def test_time_limit_begins_with_each_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where the call was: a group that waited for a worker is trained as long as the others."""
    executor = Inline()
    left: list[float] = []
    monkeypatch.setattr(PopulationFit, "going", property(lambda self: left.append(self.deadline) or False))
    fd.fit_many(model(), X, Y, starts=32, epochs=9, time_limit=50, verbose=0, executor=(executor, 2))
    assert all(time.monotonic() < deadline <= time.monotonic() + 50 for deadline in left) and left


def test_progress_counts_groups(capsys: pytest.CaptureFixture[str]) -> None:
    fd.fit_many(model(), X, Y, starts=STARTS, executor=(Inline(), 3), verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" - ")[0] for line in lines] == ["group 1/3", "group 2/3", "group 3/3"]
    best = fd.fit_many(model(), X, Y, starts=STARTS, verbose=0).losses
    assert lines[-1].endswith(f"best {best.min():.4g} - median {np.median(best):.4g}")


# ---- the argument ----------------------------------------------------------------------------------------------------


def test_what_is_no_executor() -> None:
    message = (
        r"^fit_many: executor is of type int, without a method submit. "
        r"Give one such as concurrent.futures.ProcessPoolExecutor\(4\).$"
    )
    with pytest.raises(TypeError, match=message):
        fd.fit_many(model(), X, Y, executor=4)
    with pytest.raises(
        ValueError, match=r"^fit_many: executor\[1\]=0 is out of range\. Give a whole number, at least 1"
    ):
        fd.fit_many(model(), X, Y, executor=(Inline(), 0))


@pytest.mark.parametrize("several", [False, True])
def test_what_cannot_be_sent_is_named_before_any_work(several: bool) -> None:
    one = fd.Model([fd.Function(lambda x: x * 2, lambda x, dy: dy * 2), Dense(1)], inputs=3)
    one.compile("adam", "mse")
    name = r"models\[1\]" if several else "the model"
    with ProcessPoolExecutor(1) as pool:
        with pytest.raises(ValueError, match=f"^fit_many: {name} cannot be pickled .*; the executor sends it to other"):
            fd.fit_many([model(), one] if several else one, X, Y, starts=2, verbose=0, executor=pool)
        assert not pool._processes
    with ThreadPoolExecutor(2) as threads:  # which sends nothing
        assert_same(fd.fit_many(one, X, Y, starts=2, verbose=0, executor=threads),
                    fd.fit_many(one, X, Y, starts=2, verbose=0), X, Y)  # fmt: skip


class Dask(Inline):
    def __init__(self, *threads: int) -> None:
        super().__init__()
        self.of_each = {f"tcp://{i}": n for i, n in enumerate(threads)}

    def nthreads(self) -> dict[str, int]:
        return self.of_each


def test_groups_and_threads() -> None:
    """As many groups as workers; threads share this machine, are those of a Dask worker, or are left to the worker."""

    def found(executor: Any, n_threads: int = 0) -> tuple[int, int]:
        workers = spread.Workers.of("fit_many", executor, n_threads)
        return workers.groups, workers.threads

    pool, cores = ThreadPoolExecutor(2), available_threads()
    assert found(pool) == (2, max(1, cores // 2))
    assert found((pool, 7)) == (7, max(1, cores // 2))
    assert found(ProcessPoolExecutor(cores + 3)) == (cores + 3, 1)
    assert found(pool, n_threads=5) == (2, 5)
    assert found(Dask(4, 3, 4)) == (3, 3)
    assert found(Dask()) == (8, 0)
    assert found(Inline()) == (8, 0)
    assert found((Inline(), 3), n_threads=2) == (3, 2)


# ---- errors, interrupts ----------------------------------------------------------------------------------------------


def lost_at(*calls: int) -> Callable[[int], None]:
    def fails(call: int) -> None:
        if call in calls:
            raise ConnectionError(f"worker {call} is gone")

    return fails


def test_a_group_that_was_lost_is_submitted_again() -> None:
    executor = Inline(lost_at(0))
    joined = fd.fit_many(model(), X, Y, starts=STARTS, verbose=0, executor=(executor, 3))
    assert_same(joined, fd.fit_many(model(), X, Y, starts=STARTS, verbose=0), X, Y)
    assert len(executor.sent) == 4


def test_a_group_that_was_lost_twice_is_named_and_the_others_are_kept() -> None:
    alone = fd.fit_many(model(), X, Y, starts=STARTS, epochs=2, verbose=0)
    untrained = fd.fit_many(model(), X, Y, starts=STARTS, epochs=0, verbose=0)
    message = (
        r"^fit_many: members \[16, 17, [0-9, ]* 31\] were lost with their workers, and again when they were submitted "
        r"once more \(ConnectionError: worker 3 is gone\); what was done is `population` of this "
        r"exception$"
    )
    with pytest.raises(fd.WorkerLost, match=message) as caught:
        fd.fit_many(model(), X, Y, starts=STARTS, epochs=2, verbose=0, executor=(Inline(lost_at(1, 3)), 3))
    assert isinstance(caught.value.__cause__, ConnectionError) and caught.value.cross_validation is None
    population: Any = caught.value.population
    done = population.epochs > 0
    np.testing.assert_array_equal(np.flatnonzero(~done), np.arange(16, 32))
    np.testing.assert_array_equal(population.losses, np.where(done, alone.losses, np.nan))
    np.testing.assert_array_equal(population.history, np.where(done, alone.history, np.nan))
    for ours, theirs, initial in zip(population.weights, alone.weights, untrained.weights, strict=True):
        np.testing.assert_array_equal(ours[done], theirs[done])
        np.testing.assert_array_equal(ours[~done], initial[~done])
    assert not population.interrupted and done[population.best_index]
    mine, its = population[16], model(seed=16)
    assert mine.fit(X, Y, verbose=0).history == its.fit(X, Y, verbose=0).history


def test_a_group_of_one_shape_that_was_lost_from_a_list() -> None:
    with pytest.raises(fd.WorkerLost) as caught:
        fd.fit_many(many_models(), X, Y, verbose=0, executor=(Inline(lost_at(0, 4)), 4))
    population: Any = caught.value.population
    assert 0 < (population.epochs == 0).sum() < len(population) == 33
    assert np.isfinite(population.losses[population.epochs > 0]).all()


def test_what_training_raises_is_passed_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr(PopulationFit, "run", fails)
    monkeypatch.setattr(PopulationFit, "advance", fails)
    executor = Inline()
    with pytest.raises(MemoryError, match="^no more") as caught:
        fd.fit_many(model(), X, Y, starts=STARTS, verbose=0, executor=(executor, 3))
    assert "in a worker:\nTraceback" in caught.value.__notes__[0]
    assert len(executor.sent) == 3 and [one.cancelled for one in executor.results] == [False, True, True]


class Unsendable(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def test_an_error_that_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any) -> None:
        raise Unsendable(1, 2)

    monkeypatch.setattr(PopulationFit, "advance", fails)
    with pytest.raises(RuntimeError, match="^Unsendable: 1 and 2\nin a worker:"):
        fd.fit_many(model(), X, Y, starts=STARTS, verbose=0, executor=(Inline(), 3))


def interrupted_at(call: int) -> Callable[[int], None]:
    def fails(number: int) -> None:
        if number == call:
            raise KeyboardInterrupt

    return fails


@pytest.mark.parametrize("tries", [1, 3])
def test_ctrl_c_keeps_what_is_done(tries: int) -> None:
    options: dict[str, Any] = {"starts": STARTS, "epochs": 2, "tries": tries, "verbose": 0}
    alone = fd.fit_many(model(), X, Y, **options)
    executor = Inline(interrupted_at(1))
    message = "^fit_many: interrupted when 1 of 3 groups were done; the population as trained by then is the attribute"
    with pytest.raises(fd.PopulationInterrupt, match=message) as caught:
        fd.fit_many(model(), X, Y, executor=(executor, 3), **options)
    population = caught.value.population
    done = population.epochs > 0
    assert population.interrupted and done.sum() == {1: 16, 3: 18}[tries]  # a full vector
    np.testing.assert_array_equal(population.losses, np.where(done, alone.losses, np.nan))
    np.testing.assert_array_equal(population.seeds[~done], np.arange(STARTS)[~done])
    for i in (0, 20):
        population[i].fit(X, Y, verbose=0)
    assert [one.cancelled for one in executor.results] == [False, False, True]


def test_ctrl_c_in_a_worker_is_ctrl_c_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal sends it to all processes of a pool, and any of them may be the first to end."""
    interrupt(monkeypatch, PopulationFit, "_train_epochs", at=1)
    with pytest.raises(fd.PopulationInterrupt, match="when 1 of 3 groups were done"):
        fd.fit_many(net(), *data(), starts=3 * 16, verbose=0, executor=(Inline(), 3))
