"""Dense nets at large batches on a GPU: one kernel for all of a step's gradients, here at batches of any size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fastdense import reference
from tests.helpers import devices
from tests.helpers.pairs import KINKS, Problem, Results, inputs, remembered_orders
from tests.helpers.programs import NORMALIZATION, OPTIMIZERS, Spec, dense, loss_spec, train
from tests.helpers.tolerances import FLIPS, INDEPENDENT
from tests.parity.test_parity import HIDDEN, LOSSES
from tests.parity.test_parity_runs import METRICS, OPTIONS, run
from tests.parity.test_rounding import close_after_many_steps, close_beside_the_rounding, gradients

pytestmark = pytest.mark.races
DTYPES = ("bfloat16", "tf32")
CLASSES = loss_spec("sparse_categorical_crossentropy")
H200 = (132, 232448)  # processors, bytes of shared memory that a block may have
ONE_NUMBER = [name for name, (spec, _) in LOSSES.items() if "params" not in spec]  # others go layer by layer


@pytest.fixture(autouse=True)
def every_batch(gpu: Any) -> Iterator[None]:
    """Batches of any size take this way."""
    gpu.set_fused_mlp(0)
    yield
    gpu.set_fused_mlp()


@pytest.mark.parametrize("dtype", DTYPES)
def test_layout(gpu: Any, dtype: str) -> None:
    """Two blocks of 8 warps where all fits twice, else one of 16; where sums do not fit, warps have their own rows."""
    found: dict[int, Any] = {}
    for width in (16, 32, 48, 64, 80, 96, 128):
        problem = Problem([*[dense(width, "relu") for _ in range(4)], dense(10)], inputs=width)
        program = {"inputs": width, "seed": 7, "dtype": dtype, "ops": problem.ops}
        plans = [gpu.mlp_plan(program, problem.training, rows, *H200) for rows in (2048, 16384, 65536)]
        if plans[0] is None:
            assert plans == [None] * 3
            continue
        for plan in plans:
            by_rows, blocks = plan["by_rows"], 1 if plan["by_rows"] else 16 // plan["warps"]
            assert plan["relu"] and (plan["bytes_per_row"] > 0) == by_rows
            assert blocks * plan["bytes"] + 1024 * (blocks - 1) <= H200[1], "blocks of a multiprocessor"
        found[width] = ("rows" if by_rows else blocks, *(plan["tile_rows"] for plan in plans))
    assert found == {
        "bfloat16": {
            16: (2, 16, 64, 128), 32: (2, 16, 64, 128), 48: (2, 16, 64, 64), 64: (1, 16, 128, 128),
            80: ("rows", 16, 16, 32), 96: ("rows", 16, 16, 32), 128: ("rows", 16, 16, 32),
        },
        "tf32": {
            16: (2, 16, 64, 128), 32: (2, 16, 64, 64), 48: (1, 16, 64, 64),
            64: ("rows", 16, 16, 16), 80: ("rows", 16, 16, 16), 96: ("rows", 16, 16, 16),
        },
    }[dtype]  # fmt: skip


def compare(gpu: Any, problem: Problem, dtype: str) -> None:
    """Gradients and losses, before and after a step."""

    def ask(engine: Any) -> Results:
        before = gradients(engine, problem, None)
        x, y, w = inputs(problem, None)
        train(engine, x, y, w, batch_size=problem.rows, learning_rates=[0.01])
        return before | {f"{name}, trained": array for name, array in gradients(engine, problem, None).items()}

    exact, rounded = (ask(problem.engine(reference.Engine, name)) for name in ("float64", dtype))
    runs = gpu.fused_mlp_runs()
    found = ask(problem.engine(devices.compiled_engine, dtype))
    assert gpu.fused_mlp_runs() == runs + 5
    close_beside_the_rounding(found, rounded, exact, 2 * FLIPS[dtype])  # up to three layers pass flips on


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ONE_NUMBER)
def test_losses_and_activations(gpu: Any, loss: str, dtype: str) -> None:
    """Every loss; hidden activations are distributed over them, each of the smooth ones at least once."""
    spec, last = LOSSES[loss]
    smooth = [name for name in HIDDEN if name not in (*KINKS, "celu")]
    place = ONE_NUMBER.index(loss)
    gpu.set_fused_mlp(0, by_rows=place % 2 == DTYPES.index(dtype))
    names = [smooth[(2 * place + k) % len(smooth)] for k in range(2)]
    ops = [dense(18, names[0]), dense(7, names[1], use_bias=place % 3 > 0), dense(3, last, use_bias=place % 2 > 0)]
    compare(gpu, Problem(ops, spec, rows=77, inputs=5, weighted=place % 2 > 0, smooth=True), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [name for name in (*KINKS, "celu") if name not in ("prelu", "hard_shrink")])
def test_activations_with_kinks(gpu: Any, hidden: str, dtype: str) -> None:
    """All but hard_shrink: it jumps, and rounding moves units over the jump."""
    compare(gpu, Problem([dense(20, hidden, alpha=0.3), dense(2)], rows=33, inputs=6), dtype)


WIDTHS = [(1, 1, 1), (16, 16, 16), (17, 33, 2), (64, 64, 64, 10), (100, 100, 3), (128, 128, 128, 10), (128, 128, 128)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "blocks", "by_rows"), [(1, 0, False), (65, 0, True), (270, 2, False)])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_shapes(gpu: Any, widths: tuple[int, ...], rows: int, blocks: int, by_rows: bool, dtype: str) -> None:
    """Odd batches and widths around the tiles; blocks go through several tiles of rows, and warps."""
    gpu.set_fused_mlp(0, blocks, by_rows=by_rows)
    ops = [dense(width, "tanh") for width in widths[1:-1]] + [dense(widths[-1])]
    compare(gpu, Problem(ops, inputs=widths[0], rows=rows, smooth=True), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("tile", "by_rows"), [(64, False), (128, False), (32, True)])
def test_large_tiles(gpu: Any, tile: int, by_rows: bool, dtype: str) -> None:
    """As large batches have them; a warp has no more than 16 rows of tf32."""
    gpu.set_fused_mlp(0, 3, tile, by_rows)
    problem = Problem([dense(33, "tanh"), dense(20, "relu"), dense(2)], inputs=7, rows=520)
    program = {"inputs": 7, "seed": 7, "dtype": dtype, "ops": problem.ops}
    plan = gpu.mlp_plan(program, problem.training, 520, *H200)
    most = {"bfloat16": 32, "tf32": 16}[dtype] if by_rows else tile
    assert (plan["by_rows"], plan["tile_rows"]) == (by_rows, min(tile, most))
    compare(gpu, problem, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("path", ["simt", "mma", "cublaslt"])
def test_products_of_what_is_written(gpu: Any, path: str, dtype: str) -> None:
    """By the library and by tensor cores, which also stand in where other kernels are asked for."""
    gpu.set_fused_mlp(0, by_rows=True)
    gpu.set_products(path)
    try:
        compare(gpu, Problem([dense(33, "relu"), dense(20, "tanh"), dense(2)], inputs=7, rows=300), dtype)
    finally:
        gpu.set_products("auto")


@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name != "kfac"])  # kfac trains on the CPU
def test_fifty_steps(gpu: Any, optimizer: str) -> None:
    """Every optimizer, every way of clipping, metrics, penalties, a normalization before; the last batch is short."""
    penalties: Spec = {"kernel_l2": 1e-3, "bias_l1": 1e-3, "kernel_orthogonal": 0.01}
    ops = [NORMALIZATION, dense(23, "tanh", **penalties), dense(17, "silu"), dense(3)]
    option = list(OPTIONS)[list(OPTIMIZERS).index(optimizer) % len(OPTIONS)]
    options = OPTIONS[option] | {"epsilon": 1e-3}
    problem = Problem(ops, loss_spec("log_cosh"), optimizer, options, METRICS, inputs=9, rows=20, smooth=True)
    with remembered_orders():
        exact, rounded = (run(problem.engine(reference.Engine, t), problem, None) for t in ("float64", "bfloat16"))
    gpu.set_fused_mlp(0, by_rows=list(OPTIMIZERS).index(optimizer) % 2 > 0)
    runs = gpu.fused_mlp_runs()
    found = run(problem.engine(devices.compiled_engine, "bfloat16"), problem, None)
    assert gpu.fused_mlp_runs() > runs
    close_after_many_steps(found, rounded, exact, INDEPENDENT["bfloat16"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", ["tiles", "rows", "layer_by_layer"])
def test_same_bits(gpu: Any, way: str, dtype: str) -> None:
    """In every order of threads."""
    problem = Problem(
        [dense(40, "gelu"), dense(70, "relu"), dense(5, "softmax")], LOSSES["classes"][0], "adam", rows=200
    )
    gpu.set_fused_mlp(1000 if way == "layer_by_layer" else 0, 2, by_rows=way == "rows")

    def result() -> list[bytes]:
        engine = problem.engine(devices.compiled_engine, dtype)
        x, y, w = inputs(problem, None)
        train(engine, x, y, w, batch_size=170, learning_rates=[0.01] * 4)
        loss, found = engine.loss_and_grad(x, y, w, training=True, n_threads=1)
        assert np.isfinite(loss)
        return [array.tobytes() for array in (*engine.get_tensors(), *found, np.array(loss))]

    first = result()
    for seed in (1, 2, 3):
        if gpu.EMULATED:
            gpu.set_emulator(seed)
        assert result() == first


@pytest.mark.parametrize("by_rows", [False, True])
def test_rows_are_read_where_they_lie(gpu: Any, by_rows: bool) -> None:
    """The same bits as where they are gathered first, since their type or their strides are others, or for a metric."""
    gpu.set_fused_mlp(0, by_rows=by_rows)
    problem = Problem([dense(24, "relu"), dense(5, "softmax")], CLASSES, "adam", inputs=9, rows=90)
    x, y, w = problem.data()
    wide = np.zeros((90, 18), x.dtype)
    wide[:, ::2] = x
    metric = Problem(problem.ops, CLASSES, "adam", metrics=METRICS[:1], inputs=9, rows=90)

    def result(problem: Problem, x: Any, y: Any) -> list[bytes]:
        engine = problem.engine(devices.compiled_engine, "bfloat16")
        launches = gpu.launches()
        train(engine, x, y, w, batch_size=40, learning_rates=[0.01] * 7)
        counts.append(gpu.launches() - launches)
        return [array.tobytes() for array in engine.get_tensors()]

    counts: list[int] = []
    expected = result(problem, x, y)
    assert result(problem, x.astype(np.float64), y) == expected
    assert result(problem, wide[:, ::2], y) == expected
    assert result(metric, x, y) == expected
    assert result(problem, x, y.astype(np.int16)) == expected
    assert counts[0] == counts[4] == counts[1] - 7, "a launch a step less"


@pytest.mark.parametrize("by_rows", [False, True])
def test_stops_where_a_loss_is_not_finite(gpu: Any, by_rows: bool) -> None:
    """Steps that were under way behind it have changed nothing."""
    gpu.set_fused_mlp(0, by_rows=by_rows)
    problem = Problem([dense(20, "tanh"), dense(2)], optimizer="momentum", rows=700, weighted=False)
    x, y, _ = problem.data()
    y[6 * 70] = np.nan
    engines = [problem.engine(devices.compiled_engine, "bfloat16") for _ in range(2)]
    call: Spec = {"batch_size": 70, "shuffle": False}
    result = train(engines[0], x, y, stop_on_nan=True, learning_rates=np.full(10, 0.01), **call)
    assert result["nonfinite_step"] == 6 and result["steps"] == 7
    train(engines[1], x, y, learning_rates=np.full(7, 0.01), **call)
    for tensor, other in zip(*(engine.get_tensors() for engine in engines), strict=True):
        np.testing.assert_array_equal(tensor, other)


@pytest.mark.parametrize("by_rows", [False, True])
def test_probes(gpu: Any, by_rows: bool) -> None:
    """They go layer by layer between steps that do not; their gradients have the parts that those have left."""
    problem = Problem([dense(40, "tanh"), dense(2)], rows=600, inputs=9, smooth=True)
    found = []
    for least in (0, 1000):
        gpu.set_fused_mlp(least, by_rows=by_rows)
        engine = problem.engine(devices.compiled_engine, "bfloat16")
        rates = np.full(3, 1e-6)  # the weights stay the same, but for their change, which both round alike
        found.append(train(engine, *problem.data(), batch_size=600, learning_rates=rates, probe_level=0)["probes"])
    assert found[0]["step"].tolist() == found[1]["step"].tolist()
    np.testing.assert_allclose(found[0]["values"], found[1]["values"], rtol=0.02)


def test_what_goes_another_way(gpu: Any) -> None:
    """Nets it has no kernel for train all the same, layer by layer."""
    nets = [
        [dense(129, "relu"), dense(2)],
        [dense(4, "prelu"), dense(2)],
        [dense(4, activity_l2=0.1), dense(2)],
        [dense(4), dense(3, "softmax")],
        [dense(4, "relu") for _ in range(9)],
    ]
    runs = gpu.fused_mlp_runs()
    for ops in nets:
        problem = Problem(ops, rows=10)
        engine = problem.engine(devices.compiled_engine, "bfloat16")
        engine.loss_and_grad(*problem.data(), training=True, n_threads=1)
    problem = Problem([dense(4), dense(2)], rows=10)
    problem.engine(devices.compiled_engine, "float32").loss_and_grad(*problem.data(), training=True, n_threads=1)
    gpu.set_fused_mlp(11)
    problem.engine(devices.compiled_engine, "bfloat16").loss_and_grad(*problem.data(), training=True, n_threads=1)
    assert gpu.fused_mlp_runs() == runs
    gpu.set_fused_mlp(10)
    problem.engine(devices.compiled_engine, "bfloat16").loss_and_grad(*problem.data(), training=True, n_threads=1)
    assert gpu.fused_mlp_runs() == runs + 1
