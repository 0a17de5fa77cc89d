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
ONE_NUMBER = [name for name, (spec, _) in LOSSES.items() if "params" not in spec]  # others go layer by layer


@pytest.fixture(autouse=True)
def every_batch(gpu: Any) -> Iterator[None]:
    """Batches of any size take this way."""
    gpu.set_fused_mlp(0)
    yield
    gpu.set_fused_mlp()


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
@pytest.mark.parametrize(("rows", "blocks"), [(1, 0), (65, 0), (270, 2)])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_shapes(gpu: Any, widths: tuple[int, ...], rows: int, blocks: int, dtype: str) -> None:
    """Odd batches and widths around the tiles; a block goes through several tiles of rows."""
    gpu.set_fused_mlp(0, blocks)
    ops = [dense(width, "tanh") for width in widths[1:-1]] + [dense(widths[-1])]
    compare(gpu, Problem(ops, inputs=widths[0], rows=rows, smooth=True), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("widths", [(7, 33, 2), (7, 70, 2)], ids=str)
@pytest.mark.parametrize("rows", [520, 1100])
def test_large_tiles(gpu: Any, rows: int, widths: tuple[int, ...], dtype: str) -> None:
    """The more rows, the more of them a tile has, up to 64 in wide nets and 128 in others."""
    test_shapes(gpu, widths, rows, 3, dtype)


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
    runs = gpu.fused_mlp_runs()
    found = run(problem.engine(devices.compiled_engine, "bfloat16"), problem, None)
    assert gpu.fused_mlp_runs() > runs
    close_after_many_steps(found, rounded, exact, INDEPENDENT["bfloat16"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("least", [0, 1000], ids=["fused", "layer_by_layer"])
def test_same_bits(gpu: Any, least: int, dtype: str) -> None:
    """In every order of threads."""
    problem = Problem(
        [dense(40, "gelu"), dense(70, "relu"), dense(5, "softmax")], LOSSES["classes"][0], "adam", rows=200
    )
    gpu.set_fused_mlp(least, 2)

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
