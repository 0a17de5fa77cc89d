"""Nets that one kernel trains whole, alone or many at once: what they hold beside parity with the reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fastdense.calls import PopulationCall
from fastdense.engine import gpu as cuda
from tests.helpers import devices
from tests.helpers.pairs import Problem
from tests.helpers.programs import (
    BATCH_NORM,
    BEGIN,
    DROPOUT,
    END,
    LAYER_NORM,
    NORMALIZATION,
    dense,
    loss_spec,
    metric,
    train,
)
from tests.helpers.tolerances import UNIT

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif("cuda" not in devices.available(), reason="there is no GPU, and no emulated one"),
]

CLASSES = loss_spec("sparse_categorical_crossentropy")
NETS: dict[str, Problem] = {  # a warp each in a population; whole blocks alone
    "smallest": Problem([dense(3, "tanh"), dense(1)], inputs=2, optimizer="adam"),
    "every op": Problem(
        [dense(8, "gelu"), LAYER_NORM, DROPOUT, BEGIN, dense(8, "prelu"), END, BATCH_NORM, dense(4, "softmax")],
        CLASSES, "nadam", metrics=(metric("sparse_categorical_accuracy"),)),
    "clipped": Problem([dense(20, "relu", kernel_l2=0.01), dense(3)], optimizer="momentum", options={"clipnorm": 0.1}),
    "measured": Problem([dense(20, "relu"), dense(3)], metrics=(metric("mse"),)),  # before gradients replace outputs
    "many rows": Problem([dense(33, "tanh"), dense(30, "relu"), dense(5)], inputs=11, rows=150),
}  # fmt: skip


@pytest.fixture(autouse=True)
def fused() -> Iterator[None]:
    with devices.testing("cuda fused"):
        yield


@pytest.fixture
def module() -> Any:
    return cuda.require()


def batch_of(problem: Problem) -> int:
    return 100 if problem.rows > 20 else 8


def alone(problem: Problem, dtype: str = "float32", steps: int = 9) -> list[Any]:
    """Everything that a training leaves behind."""
    engine = problem.engine(devices.compiled_engine, dtype)
    rates = np.full(steps, 0.02)
    result = train(engine, *problem.data(), batch_size=batch_of(problem), learning_rates=rates)
    slots = engine.get_state()["slots"]
    return [*engine.get_tensors(), *(a for slot in slots for a in slot), result["totals"], result["partial"]]


def program(problem: Problem, dtype: str) -> dict[str, Any]:
    return {"inputs": problem.inputs, "seed": 7, "dtype": dtype, "ops": problem.ops}


class Many:
    """Populations of the GPU and of the CPU from the same first values."""

    def __init__(self, problem: Problem, starts: int, dtype: str = "float32", penalties: Any = None) -> None:
        self.problem, self.starts = problem, starts
        self.seeds = np.arange(7, 7 + starts, dtype=np.uint64)
        self.dtype, self.numbers = dtype, {} if penalties is None else {"penalty": penalties}

    def nets(self, device: str) -> Any:
        with devices.testing(device):
            nets = devices.compiled_population(program(self.problem, self.dtype), self.seeds, self.numbers)
        values = self.problem.tensors([tensor.shape[1:] for tensor in nets.get_tensors()])
        grow = 1 + 0.01 * np.arange(self.starts)
        shared = 2 if self.problem.ops[0]["kind"] == "normalization" else 0
        nets.set_tensors([
            v.astype(np.float64) if i < shared else
            np.ascontiguousarray(np.multiply.outer(grow, v), self.dtype) for i, v in enumerate(values)
        ])  # fmt: skip
        nets.configure({**self.problem.training, "metrics": []})  # the GPU's population computes none
        return nets

    def train(self, device: str, epochs: int = 3, w: Any = None, **options: Any) -> tuple[Any, list[Any]]:
        nets = self.nets(device)
        x, y, own = self.problem.data()
        batch = batch_of(self.problem)
        losses = np.full((epochs, self.starts), -1.0)
        rates = np.linspace(0.02, 0.01, epochs * -(-len(x) // batch))
        call = PopulationCall(x, y, own if w is None else w, rates, losses, batch, epoch=1, n_threads=1, **options)
        self.result = nets.train(call)
        slots = [array for slot in nets.get_slots() for array in slot]
        return nets, [*nets.get_tensors(), *slots, losses.T.copy()]


def same(a: list[Any], b: list[Any]) -> None:
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.races
@pytest.mark.checked
@pytest.mark.parametrize("name", NETS)
def test_results_do_not_depend_on_the_order_of_threads(name: str, module: Any) -> None:
    if not module.EMULATED:
        pytest.skip("only an emulator can change it")
    found = []
    for seed in (0, 1, 2, 3):
        module.set_emulator(seed)
        found.append(alone(NETS[name]) + Many(NETS[name], 5).train("cuda")[1])
    module.set_emulator(0)
    for other in found[1:]:
        same(found[0], other)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETS)
def test_a_net_is_the_same_among_others(name: str, dtype: str) -> None:
    few, many = (Many(NETS[name], starts, dtype).train("cuda")[1] for starts in (1, 7))
    same(few, [array[:1] for array in many])


def test_a_net_alone_is_a_member_of_a_population() -> None:
    """To the bit, where both take a warp; the kernel is the same one and its sums have the same order."""
    problem = NETS["smallest"]
    _, found = Many(problem, 3).train("cuda")
    losses = found.pop()
    engine = problem.engine(devices.compiled_engine, "float32")
    rates = np.linspace(0.02, 0.01, 9)
    result = train(engine, *problem.data(), batch_size=8, epoch=1, learning_rates=rates)
    slots = engine.get_state()["slots"]
    same([*engine.get_tensors(), *(a for slot in slots for a in slot)], [array[0] for array in found])
    np.testing.assert_array_equal(result["totals"][:, 0] / result["totals"][:, 1], losses[0])


PER_START: dict[str, dict[str, Any]] = {
    "orders of their own": {},
    "one order": {"order_seed": 3},
    "in order": {"shuffle": False},
    "scale": {"member_scale": np.array([0.5, 2.0, 1.0, 0.0, 1.5])},
    "active": {"active": np.array([True, False, False, True, True])},
    "weights": {"w": np.random.default_rng(0).uniform(0.5, 2.0, (5, 20))},
}


@pytest.mark.parametrize("what", [*PER_START, "penalties"])
def test_what_each_start_has_of_its_own(what: str) -> None:
    """As the CPU's population, in float64; tests against the reference tell that this one is right."""
    ops = [NORMALIZATION, dense(5, "tanh", kernel_l1=0.01, activity_l2=0.02), DROPOUT, dense(2, kernel_l2=0.02)]
    problem = Problem(ops, optimizer="adam", options={"weight_decay": 0.1})
    penalties = np.array([0.0, 1.0, 2.0, 0.5, 3.0]) if what == "penalties" else None
    many = Many(problem, 5, "float64", penalties)
    (cpu, expected), (gpu, found) = (many.train(device, **PER_START.get(what, {})) for device in ("cpu", "cuda"))
    x, y, w = problem.data()
    w = PER_START.get(what, {}).get("w", w)
    for nets, results in ((cpu, expected), (gpu, found)):
        out = np.empty((5, len(x), 2))
        nets.predict(x, out, n_threads=1)
        results += [nets.evaluate(x, y, w, n_threads=1, which=None), out]
    train = PER_START.get(what, {}).get("active", np.ones(5, dtype=bool))  # the CPU's lanes go on beside these
    expected, found = ([array[train] for array in arrays] for arrays in (expected, found))
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1000 * UNIT["float64"] * max(1.0, np.abs(a).max()))


SHARED: dict[str, Problem] = {
    "a row or none to a block": Problem([dense(5, "tanh"), dense(2)], optimizer="adam"),
    "penalties": Problem(
        [dense(9, "gelu", kernel_l1=0.01, kernel_l2=0.02, activity_l1=0.01), dense(3, bias_l2=0.1)], optimizer="nadam"
    ),
    "every op": Problem(
        [dense(8, "silu"), LAYER_NORM, DROPOUT, BEGIN, dense(8, "prelu"), END, dense(4, "softmax")],
        CLASSES, "momentum", metrics=(metric("mse"),), options={"weight_decay": 0.1, "clipvalue": 0.1}, rows=50),
}  # fmt: skip


@pytest.mark.races
@pytest.mark.parametrize("name", SHARED)
def test_blocks_that_share_a_net(name: str, module: Any) -> None:
    """The same numbers as from one block, within rounding, whatever the order of threads; and to the bit each time."""
    problem, found = SHARED[name], []
    one = alone(problem, "float64")
    for seed in (0, 1, 2) if module.EMULATED else (0, 0):
        if module.EMULATED:
            module.set_emulator(seed)
        with devices.testing("cuda blocks"):
            found.append(alone(problem, "float64"))
    same(found[0], found[-1])
    for a, b in zip(one, found[0], strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1000 * UNIT["float64"] * max(1.0, np.abs(a).max()))
    if module.EMULATED:
        module.set_emulator(0)


def test_plans(module: Any) -> None:
    """The nets of these tests take the ways that they are here for."""

    def plan(problem: Problem, alone: bool) -> dict[str, Any]:
        given = program(problem, "float32"), problem.training, batch_of(problem)
        return dict(module.fused_plan(*given, alone))

    for problem in (*NETS.values(), *SHARED.values()):
        assert all(plan(problem, alone)["why_not"] == "" for alone in (True, False))
    assert plan(NETS["smallest"], True)["threads"] == 32
    assert plan(NETS["smallest"], False)["nets_per_block"] == 4
    assert plan(NETS["many rows"], True)["threads"] > 32 and plan(NETS["many rows"], True)["blocks"] == 1
    module.set_path("blocks")
    assert all(plan(problem, True)["blocks"] > 1 for problem in SHARED.values())
    assert all(plan(problem, False)["blocks"] == 1 for problem in SHARED.values())


def test_what_was_kept_is_put_back() -> None:
    many = Many(NETS["every op"], 6)
    nets, _ = many.train("cuda")
    before = nets.get_tensors()
    nets.keep(np.array([True, True, False, True, False, True]))
    x, y, w = many.problem.data()
    nets.train(PopulationCall(x, y, w, np.full(3, 0.1), np.empty((1, 6)), 8, epoch=4, n_threads=1))
    after = nets.get_tensors()
    chosen = np.array([True, False, False, False, False, True])
    nets.restore(chosen)
    for found, old, new in zip(nets.get_tensors(), before, after, strict=True):
        np.testing.assert_array_equal(found, np.where(chosen.reshape(-1, *[1] * (old.ndim - 1)), old, new))
        if old.ndim == 3:
            assert (old != new).any()


def test_a_callback_may_stop_all_nets() -> None:
    def stop(share: float) -> None:
        raise KeyboardInterrupt

    many = Many(Problem([dense(3, "tanh"), dense(1)], inputs=2), 40)
    many.train("cuda", epochs=2000, progress=stop)
    assert many.result["interrupted"] and len(set(many.result["epochs"])) == 1 and many.result["epochs"][0] < 2000


@pytest.mark.parametrize("device", ["cuda fused", "cuda blocks"])
def test_training_stops_at_the_first_loss_that_is_not_finite(device: str) -> None:
    with devices.testing(device):
        stop_at_the_first()


def stop_at_the_first() -> None:
    problem = Problem([dense(5, "relu"), dense(2)], weighted=False)
    engine = problem.engine(devices.compiled_engine, "float32")
    x, y, _ = problem.data()
    y = y.copy()
    y[9] = np.inf
    options = {"batch_size": 4, "shuffle": False, "learning_rates": np.full(10, 0.01), "stop_on_nan": True}
    result = train(engine, x, y, None, **options)
    assert result["nonfinite_step"] == 2 and result["steps"] == 3 and engine.get_state()["step"] == 3


@pytest.mark.parametrize("path", ["layers", "fused", "blocks"])
def test_accuracy(path: str, module: Any) -> None:
    """Of the probabilities before each step, weighted, as when they are computed one by one."""
    problem = Problem([dense(16, "relu"), dense(4, "softmax")], CLASSES, inputs=6, rows=24,
                      metrics=(metric("sparse_categorical_accuracy"), metric("top_k", k=2)))  # fmt: skip
    module.set_path(path)
    engine = problem.engine(devices.compiled_engine, "float32")
    x, y, w = problem.data()
    out = np.empty((24, 4), np.float32)
    engine.predict(x, out, n_threads=1)
    result = train(engine, x, y, w, batch_size=24, learning_rates=[0.1])
    right = out.argmax(axis=1) == y
    second = (out > out[np.arange(24), y][:, None]).sum(axis=1) < 2
    expected = [w @ right, w.sum(), w @ second, w.sum()]
    np.testing.assert_allclose(result["totals"][0, 2:], expected, rtol=1e-12)


def test_slots_stay_in_global_memory_where_shared_memory_is_full() -> None:
    """Nets of 17 thousand weights, for which Adam's slots are too many; and one that does not fit at all."""
    problem = Problem([dense(128, "tanh"), dense(64, "relu"), dense(3)], inputs=64, rows=24, optimizer="adam")
    (_, expected), (_, found) = (Many(problem, 2).train(device, epochs=1) for device in ("cpu", "cuda"))
    for a, b in zip(expected[:6], found[:6], strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-4)
    wide = program(Problem([dense(128), dense(128), dense(128)], inputs=128), "float64")
    assert "do not fit" in cuda.require().why_not_fused(wide, problem.training, 8)


@pytest.mark.parametrize(
    ("ops", "optimizer", "reason"),
    [
        ([dense(129), dense(1)], "sgd", "a layer is wider than 128"),
        ([dense(2)] * 21, "sgd", "it has more than 20 layers"),
        ([dense(3, kernel_repulsion=0.1)], "sgd", "there is a penalty on whole matrices (orthogonal or repulsion)"),
        ([dense(3)], "muon", "Muon needs whole matrices"),
    ],
)
def test_why_not(ops: list[Any], optimizer: str, reason: str) -> None:
    problem = Problem(ops, optimizer=optimizer)
    assert cuda.require().why_not_fused(program(problem, "float32"), problem.training, 8) == reason


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64, bool])
@pytest.mark.parametrize("order", ["C", "F"])
def test_data_of_any_type_is_read_where_it_lies(dtype: Any, order: str) -> None:
    problem = Problem([NORMALIZATION, dense(5, "tanh"), dense(2)])
    x = np.asarray(np.random.default_rng(1).integers(0, 200, (20, 4)) % 7, dtype=dtype, order=order)
    _, y, w = problem.data()
    found = []
    for given in (x, np.ascontiguousarray(x, np.float32)):
        engine = problem.engine(devices.compiled_engine, "float32")
        train(engine, given, y, w, batch_size=8, learning_rates=np.full(6, 0.05))
        found.append(engine.get_tensors())
    same(*found)
