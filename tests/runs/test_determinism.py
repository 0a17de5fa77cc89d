"""Same seed, same bits: at any number of threads, over any way to cut a run, whatever the engine did before."""

from __future__ import annotations

import faulthandler
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastdense import _core
from tests.helpers.programs import (
    BATCH_NORM,
    BEGIN,
    DROPOUT,
    END,
    LAYER_NORM,
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

THREADS = (1, 2, 4)
LARGE_TEAMS = (1, 3, 11, 24)  # layers are cut into up to 64 runs
# Enough work a step for a team of four (CpuBackend::team wants 1.5 Mflop a thread), every kind of op, every penalty.
BATCH = 96
OPS = [
    NORMALIZATION,
    dense(96, "prelu", kernel_l1=1e-4, kernel_l2=1e-4, bias_l2=1e-4, activity_l2=1e-4),
    DROPOUT,
    BEGIN,
    dense(130, "relu", kernel_repulsion=0.1),
    BATCH_NORM,
    dense(96, "gelu", kernel_orthogonal=0.1),
    END,
    LAYER_NORM,
    activation("prelu"),
    RESCALING,
    dense(48, "mish", use_bias=False),
    dense(10, "softmax", activity_l1=1e-4),
]
METRICS = [
    metric("sparse_categorical_accuracy"),
    metric("top_k", weighted=False),
    metric("f1", multiclass=True),
    metric("r2"),
    metric("mae"),
]
OPTIONS: dict[str, Spec] = {
    "adam-decay": {"weight_decay": 0.1},
    "adam-value": {"clipvalue": 1e-3},
    "adam-norm": {"clipnorm": 0.01},
    "adam-global": {"global_clipnorm": 0.01},
    "muon-global": {"global_clipnorm": 0.01, "weight_decay": 0.1, "adam_weight_decay": 0.1},
    "muon-value": {"clipvalue": 1e-3, "nesterov": False, "rms_rate": 0.0},
}
CASES = (*OPTIMIZERS, *OPTIONS)
RNG = np.random.default_rng(0)
X, IDS = RNG.normal(size=(2 * BATCH + 37, 64)).astype(np.float32), RNG.integers(0, 10, 2 * BATCH + 37)
W = RNG.uniform(0.5, 2.0, len(X))
XV, IDSV = RNG.normal(size=(70, 64)), RNG.integers(0, 10, 70)


@pytest.fixture(autouse=True)
def no_deadlock() -> Iterator[None]:
    """A team that waits for ever shows where, and ends the run."""
    faulthandler.dump_traceback_later(120, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def make(case: str = "adam", ops: list[Spec] = OPS, inputs: int = 64, dtype: str = "float32") -> Any:
    engine = _core.Engine({"inputs": inputs, "seed": 3, "dtype": dtype, "ops": ops})
    rng = np.random.default_rng(1)
    shapes = [tensor.shape for tensor in engine.get_tensors()]
    engine.set_tensors([rng.normal(size=s) / s[0] ** 0.5 if len(s) == 2 else rng.uniform(0.2, 1, s) for s in shapes])
    configure(engine, case)
    return engine


def configure(engine: Any, case: str = "adam") -> None:
    optimizer = OPTIMIZERS[case.split("-")[0]] | OFF | OPTIONS.get(case, {})
    loss = loss_spec("sparse_categorical_crossentropy", label_smoothing=0.1)
    engine.configure({"loss": loss, "optimizer": optimizer, "metrics": METRICS})


def steps(engine: Any, count: int = 7, start: int = 0, threads: int = 1, **options: Any) -> dict[str, Any]:
    """Batches of 96, 96, 37; step `start` of a run whose rate falls."""
    where = {
        "epoch": start // 3,
        "first_batch": start % 3,
        "learning_rates": 0.01 * 0.9 ** np.arange(start, start + count),
    }
    return train(engine, X, IDS, W, (XV, IDSV, None), batch_size=BATCH, n_threads=threads, **(where | options))


def bits(*values: Any) -> list[bytes]:
    """Everything that is a number, as bytes: NaN equals NaN and -0 differs from 0."""
    found: list[bytes] = []
    for value in values:
        if isinstance(value, dict):
            found += bits(*(value[key] for key in sorted(value)))
        elif isinstance(value, (list, tuple)):
            found += bits(*value)
        else:
            found.append(np.asarray(value).tobytes())
    return found


def state(engine: Any) -> list[bytes]:
    return bits(engine.get_tensors(), engine.get_state())


def answers(engine: Any, threads: int) -> list[bytes]:
    """What every question that changes nothing says."""
    out = np.zeros((len(X), 10), engine.get_tensors()[-1].dtype)
    engine.predict(X, out, n_threads=threads)
    modes = [engine.loss_and_grad(X, IDS, W, training=training, n_threads=threads) for training in (True, False)]
    return bits(out, engine.activations(X, n_threads=threads), engine.evaluate(X, IDS, W, n_threads=threads), modes)


# -- threads -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_threads_change_no_bit(case: str, dtype: str) -> None:
    runs = []
    for threads in THREADS:
        engine = make(case, dtype=dtype)
        runs.append(bits(steps(engine, threads=threads)) + state(engine) + answers(engine, threads))
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize("batch_size", [128, 31, 1000])
def test_threads_change_no_bit_of_a_large_net(batch_size: int) -> None:
    rng = np.random.default_rng(2)
    x, y, runs = rng.integers(0, 256, (300, 784), dtype=np.uint8), rng.integers(0, 10, 300), []
    ops = [NORMALIZATION, dense(512, "relu", kernel_l2=1e-4), dense(256, "relu"), dense(10, "softmax")]
    for threads in LARGE_TEAMS:
        engine = make("adam", ops, 784)
        result = train(engine, x, y, batch_size=batch_size, learning_rates=np.full(4, 1e-3), n_threads=threads)
        runs.append(bits(result) + state(engine))
    assert all(run == runs[0] for run in runs)


def test_threads_change_no_bit_of_many_groups_of_rows() -> None:
    """A small net and a batch that is cut into 64 groups of rows, each with gradients of its own."""
    rng = np.random.default_rng(2)
    x, y, runs = rng.normal(size=(16500, 64)), rng.integers(0, 10, 16500), []
    for threads in LARGE_TEAMS:
        engine = make("adam", [dense(128, "tanh"), dense(64, "relu"), dense(10, "softmax")], 64)
        result = train(engine, x, y, batch_size=16384, learning_rates=np.full(3, 1e-3), n_threads=threads)
        runs.append(bits(result) + state(engine))
    assert all(run == runs[0] for run in runs)


def test_the_team_is_really_used() -> None:
    """Otherwise the tests above would show nothing: four threads asked for are four threads of the operating system."""
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "import tests.runs.test_determinism as t\n"
        "engine, count = t.make(), lambda: len(os.listdir('/proc/self/task'))\n"
        "before = count(); t.steps(engine, threads=1); assert count() == before\n"
        "t.steps(engine, threads=4); assert count() == before + 3, (before, count())\n"
    )
    if not sys.platform.startswith("linux"):
        pytest.skip("counts threads in /proc")
    subprocess.run([sys.executable, "-c", script, str(Path(__file__).parents[2])], check=True, timeout=120)


def test_many_runs_show_no_race() -> None:
    """Short runs, so that teams start and end often, on more threads than there are cores."""
    expected: dict[int, list[bytes]] = {}
    engine = make("adam-global")
    tensors = engine.get_tensors()
    for turn in range(200):
        count = 1 + turn % 4
        engine.set_tensors(tensors)
        configure(engine, "adam-global")
        found = bits(steps(engine, count, threads=(4, 3, 2, 5, 8)[turn % 5])) + state(engine)
        assert expected.setdefault(count, found) == found, turn
    engine.set_tensors(tensors)
    configure(engine, "adam-global")
    assert bits(steps(engine, 4, threads=1)) + state(engine) == expected[4]


# -- cutting a run -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_a_new_engine_continues(case: str) -> None:
    whole, first, second = make(case), make(case), make(case, dtype="float32")
    result = steps(whole, 9)
    steps(first, 3)
    second.set_tensors([tensor.copy() for tensor in first.get_tensors()])
    second.set_state(first.get_state())
    rest = steps(second, 6, 3)
    assert state(second) == state(whole)
    assert bits(rest["totals"], rest["val_totals"], rest["partial"]) == bits(
        result["totals"][1:], result["val_totals"][1:], result["partial"]
    )


def joined(parts: list[dict[str, Any]]) -> list[bytes]:
    """The result of several calls as if they were one."""
    return bits(
        sum(part["steps"] for part in parts),
        *(np.concatenate([part[name] for part in parts]) for name in ("totals", "val_totals")),
        parts[-1]["partial"],
    )


@pytest.mark.parametrize("cuts", [*([i] for i in range(1, 8)), list(range(1, 8)), [2, 3, 7]], ids=str)
def test_a_run_cut_at_any_batch(cuts: list[int]) -> None:
    whole, pieces = make(), make()
    result = steps(whole, 8, threads=2)
    ends = [*cuts, 8]
    parts = [steps(pieces, end - start, start, threads=4) for start, end in zip([0, *cuts], ends, strict=True)]
    assert joined(parts) == joined([result])
    assert state(pieces) == state(whole)


# -- how the data lie in memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("shuffle", [True, False])
def test_the_layout_of_the_data_changes_no_bit(shuffle: bool, normalised: bool) -> None:
    """Float rows in C order are read in place if they are not shuffled; everything else goes through the gather."""
    whole = RNG.integers(-100, 100, (len(X), 64))
    wide = np.zeros((2 * len(X), 70), np.float32)
    wide[::2, 3:67] = whole
    raw = np.zeros(whole.size * 4 + 1, np.uint8)
    unaligned = np.ndarray(whole.shape, np.float32, buffer=raw.data, offset=1)
    unaligned[...] = whole
    kinds = ("float32", "int8") if normalised else ("float32", "int8", "int64", "float64")  # wide kinds: less rounding
    given = [whole.astype(kind) for kind in kinds]
    given += [np.asfortranarray(given[0]), wide[::2, 3:67], unaligned, np.ascontiguousarray(given[0][::-1])[::-1]]
    runs = []
    for x in given:
        engine = make(ops=OPS if normalised else OPS[1:])
        options = {"batch_size": BATCH, "shuffle": shuffle, "learning_rates": np.full(4, 0.01), "n_threads": 2}
        result = train(engine, x, IDS.astype(x.dtype) if x.dtype.kind == "i" else IDS, W, None, **options)
        out = np.zeros((len(X), 10), np.float32)
        engine.predict(x, out, n_threads=2)
        runs.append(bits(result, out, engine.evaluate(x, IDS, W, n_threads=2)) + state(engine))
    assert [run == runs[0] for run in runs] == [True] * len(runs)


# -- what the engine did before ----------------------------------------------------------------------------------


def upset(engine: Any, rows: int, bad: float) -> None:
    """Fill the workspace: every buffer of every pass holds what `rows` rows of `bad` leave behind."""
    x, ids, w = np.full((rows, 64), bad), np.zeros(rows, int), np.full(rows, bad)
    with np.errstate(all="ignore"):
        engine.predict(x, np.zeros((rows, 10), engine.get_tensors()[-1].dtype), n_threads=4)
        engine.activations(x, n_threads=2)
        engine.evaluate(x, ids, w, n_threads=4)
        for training in (False, True):
            engine.loss_and_grad(x, ids, w, training=training, n_threads=4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("case", ["adam", "muon", "rmsprop_centered", "adam-norm"])
def test_a_used_workspace_changes_no_bit(case: str, bad: float) -> None:
    fresh = make(case)
    expected = bits(steps(fresh, 7)) + state(fresh) + answers(fresh, 2)
    for rows in (1, 20, BATCH, 500):
        used = make(case)
        upset(used, rows, bad)
        assert bits(steps(used, 7)) + state(used) + answers(used, 2) == expected, rows


def test_questions_between_the_steps_change_no_bit() -> None:
    whole, asked = make(), make()
    result, parts = steps(whole, 8), []
    for i in range(8):
        parts.append(steps(asked, 1, i, threads=1 + i % 4))
        upset(asked, (1, 300, 17)[i % 3], np.nan)
    assert joined(parts) == joined([result])
    assert state(asked) == state(whole)


def test_a_broken_run_leaves_nothing_behind() -> None:
    """Weights, moments and statistics that became NaN are gone once good ones are set."""
    fresh, broken = make(), make()
    start, slots = broken.get_tensors(), broken.get_state()
    train(broken, np.full((400, 64), np.nan), np.zeros(400, int), batch_size=200, learning_rates=[1.0, 1.0])
    assert all(np.isnan(tensor).any() for tensor in broken.get_tensors()[4:6])
    broken.set_tensors(start)
    broken.set_state(slots)
    assert bits(steps(broken)) + state(broken) == bits(steps(fresh)) + state(fresh)
