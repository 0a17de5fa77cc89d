"""`fit(comm=)`: several ranks end where one process with all rows ends, and with the same bits; and what they refuse.

The ranks are threads here; tests/cluster has real processes. In float64 a step of several ranks differs from one
process's by the order of its sums alone, about 1e-16 relative to the largest; over the steps of these tests that grows
by a few orders of magnitude, so that 1e-9 tells rounding from any fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastdense as fd
from fastdense.arrays import Array
from fastdense.training.ranks import speedup
from tests.helpers.ranks import ThreadComm, interleaved, on_ranks

ROUNDING = 1e-9
X = np.random.default_rng(0).normal(size=(300, 6)) * [1, 2, 3, 1, 1, 100] + [0, 0, 0, 0, 5, 1000]
Y = np.sin(X[:, :2])
FIRST_ORDER = sorted(
    name for name in fd.optimizers.__all__
    if isinstance(one := getattr(fd.optimizers, name), type) and issubclass(one, fd.optimizers.Optimizer)
    and one not in (fd.optimizers.Optimizer, fd.optimizers.Solver, fd.KFAC)
    and not issubclass(one, fd.optimizers.Solver)
)  # fmt: skip
SOLVERS = ["LBFGS", "NewtonCG", "LevenbergMarquardt"]

Make = Callable[[], fd.Model]


def regressor(optimizer: Any, *middle: Any, loss: Any = "mse", metrics: Any = ("mae",)) -> fd.Model:
    layers = [fd.Normalization(), fd.Dense(12, "tanh", kernel_regularizer="l2"), *middle, fd.Dense(2)]
    model = fd.Model(layers, inputs=6, seed=1, dtype="float64")
    model.compile(optimizer, loss, metrics=list(metrics))
    return model


def fit_on_ranks(make: Make, sizes: list[int], x: Array = X, y: Array = Y, **arguments: Any) -> list[fd.Model]:
    """A model of each rank, trained on its part of the rows; or raise what a rank raised."""
    ends = np.cumsum(sizes)

    def body(comm: ThreadComm) -> fd.Model:
        rank, model = comm.Get_rank(), make()
        mine = slice(ends[rank] - sizes[rank], ends[rank])
        own = {key: value[mine] if key == "sample_weight" else value for key, value in arguments.items()}
        model.fit(x[mine], y[mine], comm=fd.DataParallel(comm, force=True), verbose=0, n_threads=1, **own)
        return model

    outcomes = on_ranks(len(sizes), body)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return outcomes


def check_equal(models: list[fd.Model], alone: fd.Model, rounding: float = ROUNDING) -> None:
    for model in models[1:]:
        for mine, first in zip(model.get_weights(), models[0].get_weights(), strict=True):
            np.testing.assert_array_equal(mine, first)
        assert model.history.history == models[0].history.history
    assert models[0].history.history.keys() == alone.history.history.keys()
    for key, values in alone.history.history.items():
        np.testing.assert_allclose(models[0].history.history[key], values, rtol=rounding, err_msg=key)
    for mine, one in zip(models[0].get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(mine, one, rtol=rounding, atol=rounding * np.abs(one).max())


# ---- equal to one process --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("sizes", [[150, 150], [90, 1, 209]])
def test_solvers(name: str, sizes: list[int]) -> None:
    def make() -> fd.Model:
        return regressor(getattr(fd, name)())

    alone = make()
    alone.fit(X, Y, epochs=6, verbose=0)
    check_equal(fit_on_ranks(make, sizes, epochs=6), alone)


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_first_order_optimizers(name: str) -> None:
    sizes, batch = [104, 98, 98], 32  # the last step of an epoch is short

    def make() -> fd.Model:
        return regressor(getattr(fd.optimizers, name)())

    alone, order = make(), interleaved(sizes, batch)
    alone.fit(X[order], Y[order], batch_size=3 * batch, shuffle=False, epochs=3, verbose=0)
    check_equal(fit_on_ranks(make, sizes, batch_size=batch, shuffle=False, epochs=3), alone)


@pytest.mark.parametrize(
    "layer",
    [fd.Dropout(0.3), fd.layers.GaussianNoise(0.1), fd.layers.GaussianDropout(0.2), fd.layers.AlphaDropout(0.2),
     fd.LayerNorm(), fd.Residual([fd.Dense(12, "relu"), fd.Dropout(0.5)]), fd.Activation("prelu")],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_layers_draw_by_the_place_in_the_step_of_all_ranks(layer: Any) -> None:
    sizes, batch = [150, 150], 40

    def make() -> fd.Model:
        return regressor(fd.Adam(0.01, clipnorm=1.0, use_ema=True), layer)

    alone, order = make(), interleaved(sizes, batch)
    alone.fit(X[order], Y[order], batch_size=2 * batch, shuffle=False, epochs=3, verbose=0)
    check_equal(fit_on_ranks(make, sizes, batch_size=batch, shuffle=False, epochs=3), alone)


@settings(deadline=None)
@given(st.data())
def test_any_shards(data: st.DataObject) -> None:
    """Shards that have the same number of steps: full ones, and a last one of any size."""
    batch, steps, ranks = (data.draw(st.integers(1, most)) for most in (9, 4, 4))
    sizes = [(steps - 1) * batch + data.draw(st.integers(1, batch)) for _ in range(ranks)]
    if steps == 1:
        batch = max(sizes)  # one step of all rows
    rows = sum(sizes)

    def make() -> fd.Model:
        return regressor(fd.SGD(0.01, momentum=0.9), fd.Dropout(0.2))

    alone, order = make(), interleaved(sizes, batch)
    alone.fit(X[:rows][order], Y[:rows][order], batch_size=ranks * batch, shuffle=False, epochs=2, verbose=0)
    check_equal(fit_on_ranks(make, sizes, batch_size=batch, shuffle=False, epochs=2), alone)


def test_weights_of_rows_and_classes_metrics_and_validation() -> None:
    labels = np.digitize(X[:, 0], [-0.5, 1.0])
    weights = np.random.default_rng(1).uniform(0.5, 2, len(X))
    sizes, batch = [150, 150], 50

    def make() -> fd.Model:
        model = fd.Model([fd.Normalization(), fd.Dense(8, "relu"), fd.Dense(3, "softmax")], inputs=6, dtype="float64")
        model.compile(fd.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    held = X[:40] * 0.9, labels[:40]
    alone, order = make(), interleaved(sizes, batch)
    common = {"shuffle": False, "epochs": 4, "class_weight": "balanced", "validation_data": held}
    alone.fit(X[order], labels[order], sample_weight=weights[order], batch_size=100, verbose=0, **common)
    check_equal(fit_on_ranks(make, sizes, y=labels, sample_weight=weights, batch_size=batch, **common), alone)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_own_loss(optimizer: str) -> None:
    def fourth_power(y_true: Array, y_pred: Array) -> tuple[Array, Array]:
        e = y_pred - y_true
        return (e**4).mean(axis=1), 4 * e**3 / e.shape[1]

    def make() -> fd.Model:
        return regressor(optimizer, loss=fd.losses.Custom(fourth_power))

    sizes, batch = [150, 150], 50 if optimizer == "adam" else None
    alone, order = make(), interleaved(sizes, batch or 150)
    alone.fit(X[order], Y[order], batch_size=batch and 2 * batch, shuffle=False, epochs=3, verbose=0)
    check_equal(fit_on_ranks(make, sizes, batch_size=batch, shuffle=False, epochs=3), alone)


def test_several_heads() -> None:
    heads = fd.losses.PerHead([fd.losses.Head("place", 1, "mae"), fd.losses.Head("size", 1, "mse", weight=3.0)])

    def make() -> fd.Model:
        return regressor(fd.Adam(0.01), loss=heads, metrics=[fd.metrics.OfHead("size", "mae")])

    sizes, batch = [150, 150], 50
    alone, order = make(), interleaved(sizes, batch)
    alone.fit(X[order], Y[order], batch_size=100, shuffle=False, epochs=3, verbose=0)
    check_equal(fit_on_ranks(make, sizes, batch_size=batch, shuffle=False, epochs=3), alone)


def test_each_rank_shuffles_its_own_rows() -> None:
    models = fit_on_ranks(lambda: regressor(fd.Adam(0.01)), [150, 150], batch_size=50, epochs=20)
    losses = models[0].history.history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    assert models[1].history.history["loss"] == losses


def test_overlap_changes_no_bit_of_two_ranks() -> None:
    """A sum of two numbers is the same in any order, whichever slice it is in."""
    x = np.random.default_rng(0).normal(size=(64, 700)).astype(np.float32)

    def train(overlap: bool) -> list[Any]:
        def body(comm: ThreadComm) -> list[Array]:
            rank = comm.Get_rank()
            model = fd.Model([fd.Dense(700, "relu"), fd.Dense(700, "relu"), fd.Dense(1)], inputs=700, seed=3)
            model.compile("adam", "mse")  # 981,000 parameters: two slices of at least 2**18, and the rest
            settings = fd.DataParallel(comm, force=True, overlap=overlap)
            model.fit(x[rank::2], x[rank::2, :1], comm=settings, batch_size=16, epochs=2, verbose=0, n_threads=2)
            return model.get_weights()

        return on_ranks(2, body)

    apart, together = train(False), train(True)
    for one in (apart[1], *together):
        for mine, first in zip(one, apart[0], strict=True):
            np.testing.assert_array_equal(mine, first)


def test_goes_on_where_a_fit_has_ended() -> None:
    def body(comm: ThreadComm) -> fd.Model:
        rank, model = comm.Get_rank(), regressor(fd.LBFGS())
        for _ in range(2):
            model.fit(X[rank::2], Y[rank::2], epochs=3, comm=fd.DataParallel(comm, force=True), verbose=0)
        return model

    alone = regressor(fd.LBFGS())
    rows = np.concatenate([np.arange(0, 300, 2), np.arange(1, 300, 2)])
    for _ in range(2):
        alone.fit(X[rows], Y[rows], epochs=3, verbose=0)
    models = on_ranks(2, body)
    check_equal(models, alone)


# ---- callbacks -------------------------------------------------------------------------------------------------------


def test_a_backup_goes_on_and_files_are_written_by_the_first_rank(tmp_path: Path) -> None:
    folder, kept, table = tmp_path / "backup", tmp_path / "net.safetensors", tmp_path / "log.csv"

    class Fails(fd.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                raise OSError("no power")

    def train(fails_on: int | None) -> list[Any]:
        def body(comm: ThreadComm) -> fd.Model:
            rank, model = comm.Get_rank(), regressor(fd.Adam(0.01))
            callbacks: list[Any] = [Fails()] if rank == fails_on else []
            callbacks += [fd.callbacks.BackupAndRestore(folder), fd.callbacks.CSVLogger(table),
                          fd.callbacks.ModelCheckpoint(kept)]  # fmt: skip
            model.fit(X[rank::2], Y[rank::2], epochs=5, comm=fd.DataParallel(comm, force=True), batch_size=50,
                      callbacks=callbacks, verbose=0)  # fmt: skip
            return model

        return on_ranks(2, body)

    first, second = train(fails_on=1)
    assert isinstance(second, OSError)
    assert isinstance(first, fd.RankError)
    assert [path.name for path in folder.iterdir()] == ["epoch-3.safetensors"]  # of the first rank
    resumed = train(fails_on=None)
    assert resumed[0].history.epoch == [3, 4]
    whole = train(fails_on=None)
    for one in (*resumed, whole[1]):
        for mine, expected in zip(one.get_weights(), whole[0].get_weights(), strict=True):
            np.testing.assert_array_equal(mine, expected)
    assert table.read_text().splitlines()[0] == "epoch,loss,mae,val_loss,val_mae"
    assert fd.load(str(kept)).step == whole[0].step


def test_a_rank_that_stops_stops_all() -> None:
    class Enough(fd.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = epoch == 1

    def body(comm: ThreadComm) -> list[int]:
        rank, model = comm.Get_rank(), regressor(fd.Adam(0.01))
        callbacks = [Enough()] if rank == 2 else []
        model.fit(X[rank::3], Y[rank::3], epochs=9, comm=fd.DataParallel(comm, force=True), callbacks=callbacks,
                  verbose=0)  # fmt: skip
        return model.history.epoch

    assert on_ranks(3, body) == [[0, 1]] * 3


def test_terminate_on_nan_sees_the_loss_of_all_ranks() -> None:
    x = X / 100
    x[1, 0] = 1e200  # of rank 1; its square is infinite

    def body(comm: ThreadComm) -> Any:
        rank, model = comm.Get_rank(), fd.Model([fd.Dense(2)], inputs=6, dtype="float64")
        model.compile("sgd", "mse")
        model.fit(x[rank::2], Y[rank::2], epochs=3, shuffle=False, batch_size=50, verbose=0,
                  comm=fd.DataParallel(comm, force=True), callbacks=[fd.callbacks.TerminateOnNaN()])  # fmt: skip
        return model.step

    assert on_ranks(2, body) == [1, 1]


# ---- errors ----------------------------------------------------------------------------------------------------------


def outcomes_of(change: Callable[[int, dict[str, Any]], fd.Model | None], size: int = 2) -> list[Any]:
    """What the ranks raise where one changes its arguments, or brings another model."""

    def body(comm: ThreadComm) -> Any:
        rank = comm.Get_rank()
        arguments: dict[str, Any] = {"x": X[rank::size], "y": Y[rank::size], "epochs": 3, "batch_size": 50,
                                     "verbose": 0, "comm": fd.DataParallel(comm, force=True)}  # fmt: skip
        model = change(rank, arguments) or regressor(fd.Adam(0.01))
        return model.fit(arguments.pop("x"), arguments.pop("y"), **arguments)

    return on_ranks(size, body)


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("epochs", 4, "epochs"),
        ("batch_size", 49, "a batch_size"),
        ("shuffle", False, "shuffle"),
        ("validation_data", (X, Y), "validation data where that has none, or none"),
        ("callbacks", [fd.callbacks.TerminateOnNaN()], "TerminateOnNaN where that has none, or none"),
    ],
)
def test_arguments_that_differ(name: str, value: Any, what: str) -> None:
    def change(rank: int, arguments: dict[str, Any]) -> None:
        if rank == 1:
            arguments[name] = value

    for outcome in outcomes_of(change):
        assert isinstance(outcome, ValueError)
        assert str(outcome).startswith(f"fit: rank 1 has {what} other than rank 0's; all must be ")


def test_models_that_differ() -> None:
    def other_weights(rank: int, _: dict[str, Any]) -> fd.Model:
        model = fd.Model([fd.Dense(2)], inputs=6)
        model.set_weights([weights + rank for weights in model.get_weights()])
        model.compile("adam", "mse")
        return model

    for outcome in outcomes_of(other_weights):
        assert str(outcome) == (
            "fit: rank 1 has weights other than rank 0's; all must be the same, bit for bit: make the model with the "
            "same seed on all ranks, or load the same file"
        )

    for outcome in outcomes_of(lambda rank, _: regressor(fd.Adam(0.01 * (1 + rank)))):
        assert str(outcome).startswith(
            "fit: rank 1 has a loss, an optimizer or metrics other than rank 0's; all must be"
        )

    def other_layers(rank: int, _: dict[str, Any]) -> fd.Model:
        return regressor(fd.Adam(0.01), *[fd.Dense(3)] * rank)

    for outcome in outcomes_of(other_layers):
        assert str(outcome).startswith(
            "fit: rank 1 has layers, or a seed, other than rank 0's; all must be alike: call fit with "
        )


def test_rows_that_make_other_steps() -> None:
    def change(rank: int, arguments: dict[str, Any]) -> None:
        if rank == 1:
            arguments |= {"x": X[:90], "y": Y[:90]}

    for outcome in outcomes_of(change):
        assert str(outcome) == (
            "fit: the ranks have 150 rows, 3 steps, 90 rows, 2 steps; an epoch must have the same number of steps "
            "everywhere: give each rank about the same number of rows"
        )


def test_a_rank_with_bad_data_says_so_and_the_others_do_not_wait() -> None:
    def change(rank: int, arguments: dict[str, Any]) -> None:
        if rank == 1:
            arguments["x"] = np.full((150, 6), np.nan)

    outcomes = outcomes_of(change, size=3)
    assert str(outcomes[1]).startswith("fit: x[0, 0] is nan")
    for outcome in (outcomes[0], outcomes[2]):
        assert isinstance(outcome, fd.RankError)
        assert str(outcome) == (
            "fit: rank 1 of 3 has failed: its own message says why; the model is that of the last finished step"
        )


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_rank_that_fails_half_way(optimizer: str) -> None:
    """All ranks have the net of the same step then, and can go on together."""

    class Fails(fd.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    def body(comm: ThreadComm) -> Any:
        rank, model = comm.Get_rank(), regressor(optimizer)
        settings = fd.DataParallel(comm, force=True)
        raised: BaseException | None = None
        try:
            model.fit(X[rank::2], Y[rank::2], epochs=9, comm=settings, callbacks=[Fails()] * rank, verbose=0)
        except BaseException as error:
            raised = error
        weights, step = model.get_weights(), model.step
        model.fit(X[rank::2], Y[rank::2], epochs=2, comm=settings, verbose=0)
        return raised, weights, step, model.get_weights()

    (error, weights, step, later), (own, weights1, step1, later1) = on_ranks(2, body)
    assert isinstance(own, KeyboardInterrupt)
    assert re.match("fit: rank 1 of 2 was interrupted; ", str(error))
    assert step == step1
    for mine, its in zip([*weights, *later], [*weights1, *later1], strict=True):
        np.testing.assert_array_equal(mine, its)


def test_ranks_out_of_step() -> None:
    """One that calls another function meanwhile: an error on all, and no endless wait or wrong sum."""

    def body(comm: ThreadComm) -> Any:
        model = regressor(fd.Adam(0.01), *[fd.Dense(12, "relu")] * 0)
        if comm.Get_rank() == 1:
            from fastdense.training.ranks import Ranks

            return Ranks("fit", comm).sum(np.zeros(3))
        return model.fit(X, Y, comm=fd.DataParallel(comm, force=True), verbose=0)

    for outcome in on_ranks(2, body):
        assert str(outcome) == (
            "fit: rank 1 exchanges 3 numbers and rank 0 16; all ranks must call fit alike: same model, same arguments, "
            "callbacks that change the training alike"
        )


def test_a_communicator_that_breaks() -> None:
    class Broken:
        def Get_rank(self) -> int:
            return 0

        def Get_size(self) -> int:
            return 2

        def Allreduce(self, send: Array, receive: Array) -> None:
            raise OSError("connection closed by peer")

    with pytest.raises(fd.RankError, match=re.escape("fit: the ranks cannot be reached (OSError('connection closed")):
        regressor("adam").fit(X, Y, comm=Broken(), verbose=0)


def test_no_communicator() -> None:
    with pytest.raises(TypeError, match="DataParallel: comm is of type int and has no Get_rank and no Get_size and no"):
        regressor("adam").fit(X, Y, comm=3)


class Alone:
    """A communicator of one rank."""

    def Get_rank(self) -> int:
        return 0

    def Get_size(self) -> int:
        return 1

    def Allreduce(self, send: Array, receive: Array) -> None:
        receive[...] = send


def batches() -> Any:
    yield X[:32], Y[:32]


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (lambda: regressor("adam", fd.BatchNorm()), {},
         "fit: comm was given, and the net has a BatchNorm; it would need the statistics of the batches of all ranks: "
         "use LayerNorm"),
        (lambda: regressor("kfac"), {}, "fit: comm was given, and optimizer is KFAC; it takes more from each "
         "batch than gradients: use another one"),
        (lambda: regressor("adam"), {"starts": 4}, "fit: comm was given, and starts=4; it needs the rows of all ranks "
         "in one place: leave it out"),
        (lambda: regressor("adam"), {"probes": True}, "fit: comm was given, and probes; it needs"),
        (lambda: regressor("adam"), {"steps_per_epoch": 2}, "fit: comm was given, and steps_per_epoch; it needs"),
        (lambda: regressor("adam"), {"callbacks": [fd.callbacks.ReviveDeadUnits()]},
         "fit: comm was given, and a callback is ReviveDeadUnits; it needs"),
        (lambda: regressor("adam"), {"x": batches(), "y": None}, "fit: comm was given, and x is an iterable; it needs"),
        (lambda: fd.Model([fd.layers.Impute(), fd.Dense(2)], inputs=6), {},
         "fit: Impute must still adapt to data, and each rank has rows of its own; rows of all ranks are needed for "
         "that: call the layer's adapt before, with the same rows on all ranks"),
    ],
)  # fmt: skip
def test_what_ranks_cannot_do(make: Make, arguments: dict[str, Any], message: str) -> None:
    model = make()
    if not model.compiled:
        model.compile("adam", "mse")
    given = {"x": X, "y": Y, "verbose": 0, "comm": fd.DataParallel(Alone(), force=True), **arguments}
    with pytest.raises(ValueError, match=re.escape(message)):
        model.fit(given.pop("x"), given.pop("y"), **given)
    assert model.step == 0


def test_small_nets_are_refused_unless_forced() -> None:
    def body(comm: ThreadComm) -> Any:
        model = regressor("adam")
        return model.fit(X, Y, comm=comm, verbose=0, n_threads=1)

    for outcome in on_ranks(2, body):
        assert re.fullmatch(
            r"fit: 2 ranks of 32 rows a step would take \d+\.\d times as long as one with all rows, by the model of "
            r"docs/scaling\.md; the net is too small, or the batch, for what its gradients cost to exchange: use "
            r"larger batches or one process, or comm=DataParallel\(comm, force=True\)",
            str(outcome),
        )


def test_one_rank_is_a_fit_of_its_own() -> None:
    model, alone = regressor("lbfgs"), regressor("lbfgs")
    model.fit(X, Y, epochs=3, comm=Alone(), verbose=0)
    alone.fit(X, Y, epochs=3, verbose=0)
    for mine, one in zip(model.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, one)


def test_the_model_of_scaling() -> None:
    """Alone nothing is gained; a wide net with large batches gains nearly as much as there are ranks; never more."""
    assert speedup([1024], [1], 6e6, 4e6, True) == 1
    assert 6 < speedup([1024] * 8, [2] * 8, 1.5e7, 1e7, False) < 8
    assert speedup([32] * 8, [2] * 8, 3e4, 2e4, False) < 1
