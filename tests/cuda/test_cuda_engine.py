"""The engine for GPUs where it differs from the CPU's: rounds that run ahead, graphs, memory, streams, threads."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import fastdense as fd
from benchmarks.gpu import accesses
from fastdense import _core
from tests.helpers import devices
from tests.helpers.pairs import Problem, inputs
from tests.helpers.programs import BATCH_NORM, DROPOUT, LAYER_NORM, NORMALIZATION, Spec, dense, loss_spec, metric, train

pytestmark = pytest.mark.usefixtures("gpu")


def emulated(gpu: Any) -> Any:
    if not gpu.EMULATED:
        pytest.skip("only the emulator counts accesses, and only there can memory size and thread order be set")
    return gpu


NET = [dense(9, "relu"), BATCH_NORM, dense(7, "gelu"), DROPOUT, LAYER_NORM, dense(3, "softmax")]
PROBLEM = Problem(NET, loss_spec("sparse_categorical_crossentropy"), "adam", metrics=(metric("mse"),), rows=150)


def state_of(engine: Any) -> list[np.ndarray]:
    state = engine.get_state()
    return [*engine.get_tensors(), *(array for slot in state["slots"] for array in slot), np.array(state["step"])]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(p, q, equal_nan=True) for p, q in zip(a, b, strict=True))


def run(steps: int = 90, pieces: tuple[int, ...] = (), problem: Problem = PROBLEM, **options: Any) -> list[np.ndarray]:
    """Weights, state and totals after some steps of 8 rows, 19 an epoch, in one call or in several."""
    engine = problem.engine(devices.compiled_engine, "float32")
    x, y, w = inputs(problem, None)
    rates, done, totals = np.geomspace(0.02, 0.005, steps), 0, []
    for piece in (*pieces, steps - sum(pieces)):
        epoch, first = divmod(done, 19)
        call: Spec = {
            "batch_size": 8,
            "epoch": epoch,
            "first_batch": first,
            "learning_rates": rates[done : done + piece],
        }
        totals.append(train(engine, x, y, w, goes_on=done > 0, **call, **options)["totals"])
        done += piece
    return [*state_of(engine), np.concatenate(totals)]


def test_the_same_bits_every_time_and_in_pieces() -> None:
    """Alone, in graphs of 1, 8 and 32 steps, or whole rounds: what is computed is the same."""
    whole = run()
    assert same(whole, run())
    assert same(whole, run(pieces=(1, 2, 40)))
    assert same(whole, run(pieces=(19, 19, 33, 1)))


def test_probes_leave_no_trace() -> None:
    """Also where an epoch ends, and where a loss is no number."""
    assert same(run(), run(probe_level=1, probe_first=True))
    problem = Problem([dense(5, "tanh"), BATCH_NORM, dense(2)], optimizer="momentum", rows=40, weighted=False)
    x, y, _ = problem.data()
    y[27] = np.inf
    engines = [problem.engine(devices.compiled_engine, "float32") for _ in range(2)]
    call: Spec = {"batch_size": 8, "shuffle": False, "stop_on_nan": True, "learning_rates": np.full(9, 0.01)}
    results = [train(engine, x, y, probe_level=level, **call) for engine, level in zip(engines, (None, 1), strict=True)]
    assert same(*map(state_of, engines)) and results[0]["steps"] == results[1]["steps"] == 4
    probes = results[1]["probes"]
    assert probes["step"].tolist() == [3, 4] and probes["rank"].tolist()[-1] == -64
    assert np.isnan(probes["values"][-1].reshape(-1)[6 * 5 : 7 * 5]).all(), "the weights before that step were not kept"


@pytest.mark.races
@pytest.mark.checked
def test_the_order_of_threads_changes_no_bit(gpu: Any) -> None:
    emulated(gpu)
    in_order = run(25)
    for seed in (1, 2, 3):
        gpu.set_emulator(seed)
        assert same(in_order, run(25)), f"thread order {seed}"


@pytest.mark.races
@pytest.mark.checked
@pytest.mark.parametrize("bad", [0, 7, 40, 89])
def test_stops_at_the_first_loss_that_is_not_finite(bad: int) -> None:
    """Steps that were under way behind it have changed nothing."""
    problem = Problem([dense(5, "tanh"), BATCH_NORM, dense(2)], optimizer="momentum", rows=8 * 90, weighted=False)
    x, y, _ = problem.data()
    y[bad * 8] = np.nan
    engines = [problem.engine(devices.compiled_engine, "float32") for _ in range(2)]
    call: Spec = {"batch_size": 8, "shuffle": False}
    result = train(engines[0], x, y, stop_on_nan=True, learning_rates=np.full(90, 0.01), **call)
    assert result["nonfinite_step"] == bad and result["steps"] == bad + 1
    train(engines[1], x, y, learning_rates=np.full(bad + 1, 0.01), **call)
    assert same(state_of(engines[0]), state_of(engines[1]))


@pytest.mark.races
@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({}, {"kernel_l2": 0.01}),
        ({"use_ema": True, "ema_momentum": 0.7, "ema_overwrite_frequency": 3}, {}),
        ({}, {"kernel_constraint": {"kind": "norm", "over": "columns", "low": 0.0, "high": 1.0, "rate": 1.0}}),
        ({"global_clipnorm": 0.5}, {"bias_l1": 0.01}),
    ],
    ids=["penalty", "average", "constraint", "clipped"],
)
def test_what_the_end_of_a_step_follows(options: Spec, more: Spec) -> None:
    """The update ends it, in the last of its blocks, unless something follows; at a stop nothing is half done."""
    ops = [dense(300, "tanh", **more), dense(2)]
    problem = Problem(ops, optimizer="adam", options=options, rows=8 * 12, weighted=False)
    x, y, _ = problem.data()
    engines = [problem.engine(devices.compiled_engine, "float32") for _ in range(3)]
    call: Spec = {"batch_size": 8, "shuffle": False}
    right = train(engines[2], x, y, stop_on_nan=True, learning_rates=np.full(12, 0.01), **call)
    y[5 * 8] = np.inf
    result = train(engines[0], x, y, stop_on_nan=True, learning_rates=np.full(12, 0.01), **call)
    assert result["nonfinite_step"] == 5 and result["steps"] == 6 and right["steps"] == 12
    train(engines[1], x, y, learning_rates=np.full(6, 0.01), **call)
    assert same(state_of(engines[0]), state_of(engines[1]))


def test_data_larger_than_the_memory_comes_in_blocks(gpu: Any) -> None:
    """The same bits as with all data on the GPU: training, evaluation, prediction."""
    emulated(gpu)
    problem = Problem([dense(6, "tanh"), dense(2)], optimizer="adam", inputs=4000, rows=3000)
    x, y, w = problem.data()
    x = np.asfortranarray(x)

    def everything() -> list[np.ndarray]:
        engine = problem.engine(devices.compiled_engine, "float32")
        result = train(engine, x, y, w, (x, y, w), batch_size=256, learning_rates=np.full(15, 0.01))
        out = np.zeros((3000, 2), "float32")
        engine.predict(x, out, n_threads=2)
        return [*state_of(engine), result["totals"], result["val_totals"], out]

    resident = everything()
    gpu.set_emulator(0, 40 << 20)  # x alone takes 48 MB
    assert same(resident, everything())


def test_out_of_memory_leaves_the_model_as_it_was(gpu: Any) -> None:
    emulated(gpu)
    model = fd.Model([fd.Dense(400, activation="relu"), fd.Dense(2)], inputs=300, device="cuda")
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4096, 300)).astype("float32"), rng.normal(size=(4096, 2)).astype("float32")
    model.fit(x[:64], y[:64], verbose=0)
    before = model.get_weights(), model.evaluate(x[:64], y[:64])
    gpu.set_emulator(0, 12 << 20)
    with pytest.raises(
        MemoryError, match=r"GPU has not enough memory: 0\.\d\d GiB were asked for, 0\.\d\d GiB of 0\.01 GiB"
    ):
        model.fit(x, y, batch_size=4096, verbose=0)
    gpu.set_emulator(0)
    assert same(before[0], model.get_weights()) and before[1] == model.evaluate(x[:64], y[:64])
    model.fit(x[:64], y[:64], verbose=0)


def test_an_interrupt_keeps_whole_steps() -> None:
    problem = Problem([dense(4, "tanh"), dense(2)], optimizer="adam", rows=40)
    x, y, w = problem.data()
    engine, again = (problem.engine(devices.compiled_engine, "float32") for _ in range(2))

    def stop(steps: int, loss: float, rows: float) -> None:
        raise KeyboardInterrupt

    call: Spec = {"batch_size": 8}
    result = train(engine, x, y, w, learning_rates=np.full(40_000, 1e-3), progress=stop, **call)
    assert result["interrupted"] and 0 < result["steps"] < 40_000
    assert engine.get_state()["step"] == result["steps"]
    train(again, x, y, w, learning_rates=np.full(result["steps"], 1e-3), **call)
    assert same(state_of(engine), state_of(again))


def test_steps_from_several_threads() -> None:
    """Each with a model of its own; no stream or graph is shared."""
    alone = run(40)
    found: list[Any] = [None] * 4

    def work(i: int) -> None:
        found[i] = run(40)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(alone, one) for one in found)


@pytest.mark.races
@pytest.mark.checked
@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "float64", "float32"])
def test_data_of_any_type_and_order(dtype: str) -> None:
    problem = Problem([dense(3)], rows=30, inputs=5)
    rng = np.random.default_rng(1)
    x = rng.integers(0, 2 if dtype == "bool" else 100, (60, 10)).astype(dtype)
    y = rng.normal(size=(30, 3)).astype("float32")
    for view in (x[:30, :5], x[::2, ::2], np.asfortranarray(x[:30, :5]), x[29::-1, 4::-1]):
        view.flags.writeable = False
        ours, cpu = problem.engine(devices.compiled_engine, "float64"), problem.engine(_core.Engine, "float64")
        for engine in (ours, cpu):
            train(engine, view, y, learning_rates=np.full(5, 1e-5))
        np.testing.assert_allclose(ours.get_tensors()[0], cpu.get_tensors()[0], rtol=1e-12)


@pytest.mark.races
@pytest.mark.checked
@pytest.mark.parametrize("width", [3, 8])
@pytest.mark.parametrize("first", [[], [NORMALIZATION]], ids=["as_it_is", "normalized"])
def test_targets_that_are_the_inputs(first: list[Spec], width: int) -> None:
    """Rows are gathered once, with the bits of a copy; also with weights, metrics and rows of any alignment."""
    problem = Problem([*first, dense(5, "tanh"), dense(width)], metrics=(metric("mae"),), inputs=width, rows=30)
    rng = np.random.default_rng(1)
    wide, w = rng.normal(size=(30, width + 5)).astype("float32"), rng.uniform(0.5, 2, 30)
    for x in (wide[:, :width], np.ascontiguousarray(wide[:, :width])):
        found = []
        for y in (x, x.copy()):
            engine = problem.engine(devices.compiled_engine, "float32")
            totals = train(engine, x, y, w, batch_size=8, learning_rates=np.full(9, 0.01))["totals"]
            found.append([*state_of(engine), totals, np.array(engine.evaluate(x, y, w, n_threads=1))])
        assert same(*found)


@pytest.mark.parametrize(
    "optimizer", [fd.LBFGS(), fd.NewtonCG(), fd.LevenbergMarquardt(), fd.KFAC()], ids=lambda o: type(o).__name__
)
def test_what_the_cpu_does_instead(optimizer: Any) -> None:
    """Full-batch solvers and K-FAC: the CPU's numbers to the last bit, and training can go on."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(50, 4)).astype("float32"), rng.normal(size=(50, 2)).astype("float32")
    options = {} if optimizer.full_batch else {"batch_size": 25}
    models = []
    for device in ("cuda", "cpu"):
        model = fd.Model([fd.Dense(5, activation="tanh"), fd.Dense(2)], inputs=4, seed=3, device=device)
        model.compile(optimizer, "mse")
        for _ in range(2):
            model.fit(x, y, epochs=3, verbose=0, **options)
        models.append(model)
    assert same(models[0].get_weights(), models[1].get_weights())
    assert models[0].evaluate(x, y) == pytest.approx(models[1].evaluate(x, y), rel=1e-5)


def test_a_model_goes_from_device_to_device() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(64, 4)), rng.normal(size=(64, 2))
    model = fd.Model([fd.Normalization(), fd.Dense(6, activation="relu"), fd.Dense(2)], inputs=4, dtype="float64")
    model.compile("adam", "mse", metrics=["mae"])
    twin = model.clone()
    twin.compile("adam", "mse", metrics=["mae"])
    for device in ("cuda", "cpu", "cuda"):
        model.to(device)
        for m in (model, twin):
            m.fit(x, y, epochs=2, verbose=0)
    np.testing.assert_allclose(model.predict(x), twin.predict(x), rtol=1e-9)
    assert model.device == "cuda" and "on cuda" in repr(model)


@pytest.mark.races
@pytest.mark.checked
def test_metrics_of_more_rows_than_a_block_has_threads() -> None:
    """What is shared in a block is used again for the next rows."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(600, 4)), rng.integers(0, 3, 600)
    found = []
    for device in ("cpu", "cuda"):
        model = fd.Model([fd.Dense(3, "softmax")], inputs=4, seed=1, device=device, dtype="float64")
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy", "precision", "recall", "f1"])
        found.append(model.evaluate(x, y, verbose=0))
    np.testing.assert_allclose(*found, rtol=1e-12)


@pytest.mark.races
@pytest.mark.checked
def test_accesses_are_counted_by_line(gpu: Any) -> None:
    """Where kernels announce them: lines of ours are there, and none costs less than it could."""
    found = accesses.places(emulated(gpu), accesses.NETS["odd"])
    if not found:
        pytest.skip("this emulated module does not announce its accesses; the one in emulated/races does")
    assert {place.line.partition(":")[0] for place in found} >= {"gemm.cu", "gather.cu"}
    assert all(place.cost >= place.least > 0 and place.requests > 0 for place in found)
