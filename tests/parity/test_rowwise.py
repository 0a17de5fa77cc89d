"""The rowwise path at the edges of vectors, tiles, panels, chunks and groups, and beside the layerwise path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastdense import Dense, Model, _core
from tests.helpers.pairs import Array, Problem, Results, compare
from tests.helpers.programs import (
    DROPOUT,
    NORMALIZATION,
    OFF,
    OPTIMIZERS,
    RESCALING,
    Spec,
    activation,
    dense,
    loss_spec,
    metric,
    train,
)
from tests.parity.test_parity_runs import METRICS, run


@pytest.fixture(params=["rowwise", "layerwise"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to compute a net; the choice by size is switched off."""
    monkeypatch.setenv("FASTDENSE_CPU_PATH", request.param)
    return str(request.param)


# A vector has 4, 8 or 16 floats, a tile 6 or 14 rows, a panel one or two vectors of rows.
@pytest.mark.parametrize(
    ("widths", "rows", "batch_size"),
    [
        ((1, 1, 1), 7, 3),
        ((2, 3, 1), 40, 32),
        ((3, 4, 5), 33, 33),
        ((5, 13, 16), 31, 31),
        ((7, 14, 17), 40, 16),
        ((8, 15, 2), 34, 17),
        ((9, 16, 3), 65, 64),
        ((15, 17, 8), 65, 65),
        ((16, 28, 31), 50, 1),
        ((17, 29, 33), 97, 97),
        ((31, 33, 7), 130, 48),
        ((33, 65, 4), 129, 128),
    ],
)
@pytest.mark.parametrize("sparse", [False, True], ids=["targets", "ids"])
def test_sizes_around_every_edge(
    widths: tuple[int, int, int], rows: int, batch_size: int, sparse: bool, path: str
) -> None:
    n, hidden, outputs = widths
    loss = loss_spec("sparse_categorical_crossentropy" if sparse else "log_cosh")
    ops = [RESCALING, dense(hidden, "silu"), RESCALING, dense(hidden + 1, "tanh", use_bias=False), dense(outputs)]
    if sparse:
        ops = [dense(hidden, "tanh"), dense(outputs, "softmax")]
    problem = Problem(ops, loss, "momentum", {}, METRICS, n, rows, smooth=True)

    def ask(engine: Any, problem: Problem, noise: Any) -> Results:
        return run(engine, problem, noise, batch_size)

    compare(problem, ask)


@pytest.mark.parametrize("batch_size", [127, 129])
def test_dropout_in_several_blocks_of_rows(batch_size: int, path: str) -> None:
    ops = [dense(33, "tanh"), DROPOUT, dense(65, "tanh", use_bias=False), DROPOUT, dense(4)]
    problem = Problem(ops, loss_spec("log_cosh"), "momentum", {}, METRICS, 17, 129, smooth=True)
    compare(problem, lambda engine, problem, noise: run(engine, problem, noise, batch_size))


def wide_enough(rows: int, last: str = "softmax") -> list[Spec]:
    """A net with so much work that a batch is cut into groups, one per thread."""
    return [
        NORMALIZATION,
        dense(48, "relu", kernel_l2=1e-4),
        RESCALING,
        DROPOUT,
        activation("prelu"),
        dense(40, "mish"),
        dense(7, last),
    ]


@pytest.mark.parametrize("batch_size", [192, 400], ids=["batches", "whole"])
@pytest.mark.parametrize("options", [{}, {"clipnorm": 0.01}, {"global_clipnorm": 0.05}], ids=["none", "norm", "global"])
@pytest.mark.parametrize("dropout", [True, False], ids=["dropout", "plain"])
def test_the_same_bits_at_any_number_of_threads(batch_size: int, options: Spec, dropout: bool, path: str) -> None:
    ops = [op for op in wide_enough(batch_size) if dropout or op["kind"] != "dropout"]
    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, 20)).astype(np.float32)
    y, w = rng.integers(0, 7, 400), rng.uniform(0.5, 2, 400)
    metrics = [metric("sparse_categorical_accuracy"), metric("top_k", weighted=False), metric("f1", multiclass=True)]
    results = []
    for threads in (1, 2, 3, 8):
        engine = _core.Engine({"inputs": 20, "seed": 7, "dtype": "float32", "ops": ops})
        draws = np.random.default_rng(3)
        engine.set_tensors([draws.uniform(0.1, 1, t.shape) - 0.3 * (t.ndim == 2) for t in engine.get_tensors()])
        loss = loss_spec("sparse_categorical_crossentropy")
        engine.configure({"loss": loss, "optimizer": OPTIMIZERS["adam"] | OFF | options, "metrics": metrics})
        rates = np.full(9, 0.01)
        result = train(
            engine, x, y, w, (x[:90], y[:90], None), batch_size=batch_size, learning_rates=rates, n_threads=threads
        )
        numbers = [*engine.get_tensors(), result["totals"], result["val_totals"], result["partial"]]
        numbers += [a for slot in engine.get_state()["slots"] for a in slot]
        out = np.empty((400, 7), np.float32)
        engine.predict(x, out, n_threads=threads)
        results.append([*numbers, out, engine.evaluate(x, y, w, n_threads=threads)])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["uint8", "float64", "fortran", "rows_apart", "unaligned"])
def test_any_array_gives_the_numbers_of_a_plain_one(kind: str, path: str) -> None:
    rng = np.random.default_rng(6)
    plain = rng.integers(0, 200, (70, 21)).astype(np.float32)
    y = rng.integers(0, 90, (70, 2)).astype(np.float32)
    spread = np.zeros((70, 42), np.float32)
    spread[:, ::2] = plain
    raw = np.zeros(plain.nbytes + 1, np.uint8)
    raw[1:] = plain.view(np.uint8).ravel()
    x = {
        "uint8": plain.astype(np.uint8),
        "float64": plain.astype(np.float64),
        "fortran": np.asfortranarray(plain),
        "rows_apart": spread[:, ::2],
        "unaligned": raw[1:].view(np.float32).reshape(plain.shape),
    }[kind]
    results = []
    for data in (plain, x):
        engine = _core.Engine({"inputs": 21, "seed": 1, "dtype": "float32", "ops": [dense(9, "tanh"), dense(2)]})
        draws = np.random.default_rng(3)
        engine.set_tensors([draws.normal(size=t.shape) * 0.05 for t in engine.get_tensors()])
        engine.configure({"loss": loss_spec("mse"), "optimizer": OPTIMIZERS["adam"] | OFF, "metrics": []})
        totals = train(engine, data, y, batch_size=33, learning_rates=np.full(6, 0.01))["totals"]
        results.append([*engine.get_tensors(), totals])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_order_of_an_epoch_is_the_reference_s() -> None:
    """One weight, one row a step: the weights tell which row came when. Sizes around powers of four."""
    from fastdense.reference.rng import shuffle_indices

    for n in (1, 2, 15, 16, 17, 255, 256, 257, 300, 1023, 1024, 1025, 4097):
        engine = _core.Engine({"inputs": 1, "seed": 11, "dtype": "float64", "ops": [dense(1, use_bias=False)]})
        engine.set_tensors([np.zeros((1, 1))])
        engine.configure({"loss": loss_spec("mae"), "optimizer": OPTIMIZERS["sgd"] | OFF, "metrics": []})
        x = np.arange(1.0, n + 1)[:, None]
        seen = []
        for step in range(min(n, 40)):
            engine.set_tensors([np.zeros((1, 1))])
            train(engine, x, 10 * x + 1, batch_size=1, first_batch=step, epoch=3, learning_rates=[1.0])
            seen.append(round(float(engine.get_tensors()[0][0, 0])) - 1)
        assert seen == list(shuffle_indices(n, 11, 3)[: len(seen)])


def trained(model: Model, x: Array, y: Array) -> tuple[object, ...]:
    """Loss before, losses of two epochs of one batch each, and all numbers of a net afterwards."""
    first = model.evaluate(x, y)
    history = model.fit(x, y, epochs=2, batch_size=len(x), shuffle=False, verbose=0).history
    return first, *history["loss"], *(part.tobytes() for part in model.get_weights())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_behind_the_last_one_are_not_read(dtype: str, path: str) -> None:
    """A slice of an array whose other rows are NaN, at every number of rows that a panel may have."""
    rng = np.random.default_rng(4)
    for cols in (3, 8, 17):
        x, y = (rng.uniform(-1, 1, (80, n)).astype(dtype) for n in (cols, 2))

        def model(cols: int = cols, x: Array = x, y: Array = y) -> Model:
            made = Model([Dense(9, "tanh"), Dense(2)], inputs=cols, seed=1, dtype=dtype)
            made.compile("sgd", "mse")
            made.fit(x, y, epochs=1, batch_size=80, shuffle=False, verbose=0)  # numbers of more rows are left in memory
            return made

        for rows in range(1, 40):
            behind = np.full_like(x, np.nan)
            behind[:rows] = x[:rows]
            assert trained(model(), behind[:rows], y[:rows]) == trained(model(), x[:rows], y[:rows]), rows


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lanes_without_a_row_count_for_nothing(dtype: str, path: str) -> None:
    """They hold rows of zeros, of which this net's loss is the logarithm of a negative number."""
    for rows in range(1, 40):
        model = Model([Dense(1)], inputs=2, dtype=dtype)
        model.compile("sgd", "poisson")
        model.set_weights([np.ones((2, 1)), np.full(1, -1.0)])
        assert np.isfinite(trained(model, np.ones((rows, 2)), np.ones((rows, 1)))[:3]).all(), rows
