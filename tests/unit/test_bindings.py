"""What the compiled module checks by itself before it reads or writes memory, whatever Python has checked before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastdense import _core
from fastdense.calls import PopulationCall
from tests.helpers.programs import OFF, OPTIMIZERS, dense, loss_spec, metric, train

ROWS, INPUTS, OUTPUTS, STARTS = 6, 3, 2, 5
X, Y = np.ones((ROWS, INPUTS), np.float32), np.ones((ROWS, OUTPUTS), np.float32)
IDS, W = np.array([0, 1, 1, 0, 1, 0]), np.ones(ROWS)
PROGRAM = {"inputs": INPUTS, "seed": 1, "dtype": "float32", "ops": [dense(4, "tanh"), dense(OUTPUTS)]}
SEEDS = np.arange(STARTS, dtype=np.uint64)


def training(loss: str = "mse") -> dict[str, Any]:
    return {"loss": loss_spec(loss), "optimizer": OPTIMIZERS["momentum"] | OFF, "metrics": [metric("mae")]}


def engine(loss: str = "mse") -> Any:
    made = _core.Engine(PROGRAM)
    made.configure(training(loss))
    return made


def population(loss: str = "mse") -> Any:
    made = _core.Population(PROGRAM, SEEDS, {})
    made.configure(training(loss) | {"metrics": []})
    return made


def with_first(arrays: list[Any], first: Any) -> list[Any]:
    return [first, *arrays[1:]]


def train_many(nets: Any, w: Any = None, **options: Any) -> None:
    plain = {"batch_size": ROWS, "losses": np.zeros((2, STARTS)), "step_rates": np.full(2, 0.01)}
    plain |= {"shuffle": True, "member_scale": None, "active": None, "epoch": 0, "n_threads": 1}
    nets.train(PopulationCall(X, Y, w, **(plain | options)))


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


def out(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


def state(**changes: Any) -> dict[str, Any]:
    return engine().get_state() | changes


HIGH = "array: dtype complex64 is not a real number type of at most 64 bits"
NETS_ARRAY = "set_tensors or set_slots: an array has the wrong dtype, order or shape"
NETS_OUT = r"predict: out must be writeable, C-ordered \(starts, rows, outputs\) of the nets' dtype"
LOSSES = r"losses must be writeable, C-ordered \(epochs, starts\)"
OUT = r"predict: out must be a writeable C-ordered \(rows, outputs\) array of the net's dtype"
OWN = r"weights must be C-ordered float64 \(starts, rows\)"
WEIGHTS = r"weights must be contiguous float64 \(rows,\)"
BATCH = "first_batch must name an existing batch"
TARGETS = r"y must be \(rows, outputs\), or \(rows,\) class ids for the sparse loss"

REFUSED: dict[str, tuple[str, Callable[[], object]]] = {
    # arrays
    "byte order": (
        "array: byte order must be native",
        lambda: engine().evaluate(X.astype(">f4"), Y, None, n_threads=1),
    ),
    "complex": (HIGH, lambda: engine().evaluate(X.astype(np.complex64), Y, None, n_threads=1)),
    "half": ("float16 is not a real number type", lambda: engine().evaluate(X.astype("f2"), Y, None, n_threads=1)),
    "three dimensions": ("array: one or two dimensions", lambda: engine().evaluate(X[None], Y, None, n_threads=1)),
    "columns of x": (r"x must be \(rows >= 1, inputs\)", lambda: engine().evaluate(Y, Y, None, n_threads=1)),
    "no rows": (r"x must be \(rows >= 1, inputs\)", lambda: engine().evaluate(X[:0], Y[:0], None, n_threads=1)),
    "rows of y": (TARGETS, lambda: engine().evaluate(X, Y[1:], None, n_threads=1)),
    "columns of y": (TARGETS, lambda: engine().evaluate(X, X, None, n_threads=1)),
    "two columns of ids": (
        TARGETS,
        lambda: engine("sparse_categorical_crossentropy").evaluate(X, np.zeros((ROWS, 2), int), None, n_threads=1),
    ),
    # weights
    "weights of too few rows": (WEIGHTS, lambda: engine().evaluate(X, Y, W[1:], n_threads=1)),
    "weights of two dimensions": (WEIGHTS, lambda: engine().evaluate(X, Y, W[:, None], n_threads=1)),
    "float32 weights": (WEIGHTS, lambda: engine().evaluate(X, Y, W.astype(np.float32), n_threads=1)),
    "integer weights": (WEIGHTS, lambda: engine().evaluate(X, Y, W.astype(np.int64), n_threads=1)),
    "weights apart": (WEIGHTS, lambda: engine().evaluate(X, Y, np.ones(2 * ROWS)[::2], n_threads=1)),
    # class ids
    "an id too large": (
        "class id out of range in row 2",
        lambda: engine("sparse_categorical_crossentropy").evaluate(X, np.array([0, 1, 2, 0, 0, 0]), None, n_threads=1),
    ),
    "a negative id": (
        "class id out of range in row 5",
        lambda: train(engine("sparse_categorical_crossentropy"), X, np.array([0, 1, 1, 0, 0, -1], np.int8)),
    ),
    "an id of the validation": (
        "class id out of range in row 0",
        lambda: train(engine("sparse_categorical_crossentropy"), X, IDS, val=(X, IDS + 2, None)),
    ),
    "ids that are no integers": (
        "class ids must be integers",
        lambda: engine("sparse_categorical_crossentropy").loss_and_grad(
            X, IDS.astype(float), None, training=True, n_threads=1
        ),
    ),
    # tensors and state
    "count of tensors": (
        "set_tensors: 3 arrays given, 4 needed",
        lambda: engine().set_tensors(engine().get_tensors()[1:]),
    ),
    "shape of a tensor": ("wrong shape", lambda: engine().set_tensors(with_first(engine().get_tensors(), out(4, 3)))),
    "dimensions of a tensor": (
        "wrong shape",
        lambda: engine().set_tensors(with_first(engine().get_tensors(), out(12))),
    ),
    "no tensor": (
        "not convertible to an array of numbers",
        lambda: engine().set_tensors(with_first(engine().get_tensors(), "kernel")),
    ),
    "count of slots": ("set_state: wrong number of slots", lambda: engine().set_state(state(slots=[]))),
    "arrays in a slot": ("set_state: wrong number of arrays", lambda: engine().set_state(state(slots=[[out(3, 4)]]))),
    "shape in a slot": (
        "set_state: wrong shape",
        lambda: engine().set_state(state(slots=[with_first(state()["slots"][0], out(2, 4))])),
    ),
    "count of numbers": ("set_state: wrong count of numbers", lambda: engine().set_state(state(numbers=np.ones(1)))),
    # results
    "rows of out": (OUT, lambda: engine().predict(X, out(ROWS - 1, OUTPUTS), n_threads=1)),
    "columns of out": (OUT, lambda: engine().predict(X, out(ROWS, OUTPUTS - 1), n_threads=1)),
    "dtype of out": (OUT, lambda: engine().predict(X, out(ROWS, OUTPUTS, dtype=np.float64), n_threads=1)),
    "order of out": (OUT, lambda: engine().predict(X, out(OUTPUTS, ROWS).T, n_threads=1)),
    "rows of out apart": (OUT, lambda: engine().predict(X, out(2 * ROWS, OUTPUTS)[::2], n_threads=1)),
    "columns of out apart": (OUT, lambda: engine().predict(X, out(ROWS, 2 * OUTPUTS)[:, ::2], n_threads=1)),
    "out is read-only": (
        "predict: out must be writeable",
        lambda: engine().predict(X, read_only(out(6, 2)), n_threads=1),
    ),
    # training
    "batch size": ("batch_size must be at least 1", lambda: train(engine(), X, Y, batch_size=0)),
    "negative epoch": ("epoch must be from 0 to 2\\*\\*48", lambda: train(engine(), X, Y, epoch=-1)),
    "negative batch": (BATCH, lambda: train(engine(), X, Y, first_batch=-1)),
    "batch too large": (BATCH, lambda: train(engine(), X, Y, batch_size=ROWS // 2, first_batch=2)),
    "probe level": ("probe_level must be from -30 to 30", lambda: train(engine(), X, Y, probe_level=31)),
    "negative probe level": ("probe_level must be from -30 to 30", lambda: train(engine(), X, Y, probe_level=-31)),
    "validation without weights": (r"val must be \(x, y, w\)", lambda: train(engine(), X, Y, val=(X, Y))),
    "program": ("missing key 'dtype'", lambda: _core.Engine({"inputs": 1, "seed": 1, "ops": [dense(1)]})),
    "dtype of a net": ("dtype must be 'float32', 'float64'", lambda: _core.Engine(PROGRAM | {"dtype": "float16"})),
    # populations
    "seeds": (r"seeds must be \(starts,\)", lambda: _core.Population(PROGRAM, SEEDS[None], {})),
    "penalty": (
        r"penalty must be \(starts,\)",
        lambda: _core.Population(PROGRAM, SEEDS, {"penalty": np.ones(STARTS - 1)}),
    ),
    "many: batch size": ("batch_size must be at least 1", lambda: train_many(population(), batch_size=0)),
    "many: epoch": ("epoch must be from 0 to 2\\*\\*48", lambda: train_many(population(), epoch=-1)),
    "many: rates": ("step_rates must have one number a step", lambda: train_many(population(), step_rates=np.ones(3))),
    "many: scale": (r"member_scale must be \(starts,\)", lambda: train_many(population(), member_scale=np.ones(4))),
    "many: active": (r"active must be \(starts,\)", lambda: train_many(population(), active=np.ones(6, bool))),
    "many: dimensions of losses": (LOSSES, lambda: train_many(population(), losses=np.zeros(2))),
    "many: starts of losses": (LOSSES, lambda: train_many(population(), losses=np.zeros((2, STARTS - 1)))),
    "many: order of losses": (LOSSES, lambda: train_many(population(), losses=np.zeros((STARTS, 2)).T)),
    "many: losses are read-only": (LOSSES, lambda: train_many(population(), losses=read_only(np.zeros((2, STARTS))))),
    "many: starts of weights": (OWN, lambda: train_many(population(), np.ones((STARTS - 1, ROWS)))),
    "many: rows of weights": (OWN, lambda: train_many(population(), np.ones((STARTS, ROWS - 1)))),
    "many: dtype of weights": (OWN, lambda: train_many(population(), np.ones((STARTS, ROWS), np.float32))),
    "many: order of weights": (OWN, lambda: train_many(population(), np.ones((ROWS, STARTS)).T)),
    "many: which": (r"which must be \(starts,\)", lambda: population().keep(np.ones(STARTS - 1, bool))),
    "many: which to restore": (r"which must be \(starts,\)", lambda: population().restore(np.ones(STARTS + 1, bool))),
    "many: shape of a tensor": (
        NETS_ARRAY,
        lambda: population().set_tensors(with_first(population().get_tensors(), out(STARTS, 4, 3))),
    ),
    "many: dimensions of a tensor": (
        NETS_ARRAY,
        lambda: population().set_tensors(with_first(population().get_tensors(), out(STARTS, 12))),
    ),
    "many: dtype of a tensor": (
        NETS_ARRAY,
        lambda: population().set_tensors(with_first(population().get_tensors(), out(STARTS, 3, 4, dtype=float))),
    ),
    "many: order of a tensor": (
        NETS_ARRAY,
        lambda: population().set_tensors(with_first(population().get_tensors(), out(4, 3, STARTS).T)),
    ),
    "many: starts of a slot": (
        NETS_ARRAY,
        lambda: population().set_slots([[slot[1:] for slot in population().get_slots()[0]]], 0, np.zeros((STARTS, 0))),
    ),
    "many: starts of out": (NETS_OUT, lambda: population().predict(X, out(STARTS - 1, ROWS, OUTPUTS), n_threads=1)),
    "many: rows of out": (NETS_OUT, lambda: population().predict(X, out(STARTS, ROWS - 1, OUTPUTS), n_threads=1)),
    "many: outputs of out": (NETS_OUT, lambda: population().predict(X, out(STARTS, ROWS, 1), n_threads=1)),
    "many: dimensions of out": (NETS_OUT, lambda: population().predict(X, out(STARTS, ROWS), n_threads=1)),
    "many: dtype of out": (
        NETS_OUT,
        lambda: population().predict(X, out(STARTS, ROWS, OUTPUTS, dtype=np.float64), n_threads=1),
    ),
    "many: order of out": (NETS_OUT, lambda: population().predict(X, out(OUTPUTS, ROWS, STARTS).T, n_threads=1)),
    "many: out is read-only": (
        NETS_OUT,
        lambda: population().predict(X, read_only(out(STARTS, ROWS, OUTPUTS)), n_threads=1),
    ),
    "one: steps of Muon": (
        "ns_steps must be from 0 to 1000",
        lambda: engine().configure(training() | {"optimizer": OPTIMIZERS["muon"] | OFF | {"ns_steps": 1e308}}),
    ),
    "many: an id too large": (
        "class id out of range in row 1",
        lambda: population("sparse_categorical_crossentropy").evaluate(X, IDS * 2, None, n_threads=1, which=None),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    message, call = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()


def test_what_is_right_is_accepted() -> None:
    """The same calls with what they ask for, at the edges."""
    one, many = engine(), population()
    one.set_tensors(engine().get_tensors())
    one.set_state(state())
    one.evaluate(X, Y, np.ones(1)[:1].repeat(ROWS), n_threads=1)
    one.evaluate(X[:1], Y[:1], np.ones(9)[::9], n_threads=1)  # one row has no stride
    one.predict(X[:1], out(2, OUTPUTS)[::2], n_threads=1)
    train(one, X, Y, batch_size=ROWS // 2, first_batch=1, probe_level=30)
    train(one, X, Y, probe_level=-30, val=(X, Y, None))
    engine("sparse_categorical_crossentropy").evaluate(X, IDS, None, n_threads=1)
    train_many(many, np.ones((STARTS, ROWS)), member_scale=np.ones(STARTS), active=np.ones(STARTS, bool))
    many.keep(np.ones(STARTS, bool))
    many.restore(np.ones(STARTS, bool))
    many.set_tensors(population().get_tensors())
    many.set_slots(population().get_slots(), 0, np.zeros((STARTS, 0)))
    many.predict(X, out(STARTS, ROWS, OUTPUTS), n_threads=1)


def test_refused_state_changes_nothing() -> None:
    """All arrays are checked before the first is written."""
    one = engine()
    train(one, X, Y, learning_rates=[0.1, 0.1])
    before = [*one.get_tensors(), *one.get_state()["slots"][0]]
    with pytest.raises(ValueError, match="wrong shape"):
        one.set_tensors([*(np.zeros_like(t) for t in one.get_tensors()[:-1]), out(OUTPUTS + 1)])
    slot = one.get_state()["slots"][0]
    with pytest.raises(ValueError, match="wrong shape"):
        one.set_state(one.get_state() | {"slots": [[*(np.zeros_like(t) for t in slot[:-1]), out(OUTPUTS + 1)]]})
    for ours, theirs in zip(before, [*one.get_tensors(), *one.get_state()["slots"][0]], strict=True):
        np.testing.assert_array_equal(ours, theirs)
