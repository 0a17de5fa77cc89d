"""The last dense layer with its loss in one kernel: its limits, what it takes, nodes of a step."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from fastdense import reference
from tests.helpers import devices
from tests.helpers.pairs import KINKS, Problem, Results, compare, inputs
from tests.helpers.programs import BEGIN, DROPOUT, END, Spec, dense, loss_spec, train
from tests.helpers.tolerances import FLIPS
from tests.parity.test_parity import HIDDEN, LOSSES, evaluation, gradients
from tests.parity.test_rounding import close_beside_the_rounding

pytestmark = pytest.mark.usefixtures("gpu")
MOST = 32  # units


def both(engine: Any, problem: Problem, noise: Any) -> Results:
    return gradients(engine, problem, noise) | evaluation(engine, problem, noise)


def launches(gpu: Any, ops: list[Spec], products: str, loss: Spec | None = None) -> tuple[int, int]:
    """Of the gradients and of an evaluation."""
    gpu.set_products(products)
    try:
        problem = Problem(ops, loss or loss_spec("mse"), rows=5)
        engine, counts = problem.engine(devices.compiled_engine, "float32"), []
        for question in (partial(engine.loss_and_grad, training=True), engine.evaluate):
            before = gpu.launches()
            question(*problem.data(), n_threads=1)
            counts.append(gpu.launches() - before)
    finally:
        gpu.set_products("auto")
    return counts[0], counts[1]


@pytest.mark.parametrize("units", [1, 2, MOST])
def test_product_loss_and_gradient_are_one_launch(gpu: Any, units: int) -> None:
    """In place of the product, the loss, the activation's derivative, and the product that goes to the layer below."""
    ops = [dense(6, "tanh"), dense(units, "sigmoid")]
    fused, apart = launches(gpu, ops, "auto"), launches(gpu, ops, "simt")
    assert (apart[0] - fused[0], apart[1] - fused[1]) == (3, 1)


@pytest.mark.parametrize(
    "ops",
    [
        [dense(6, "tanh"), dense(MOST + 1)],
        [dense(6, "tanh"), dense(3, "prelu")],
        [dense(6, "tanh"), dense(3, activity_l2=0.1)],
        [dense(3), DROPOUT],
    ],
    ids=["units", "prelu", "activity", "not_the_last"],
)
def test_what_it_does_not_take(gpu: Any, ops: list[Spec]) -> None:
    assert launches(gpu, ops, "auto") == launches(gpu, ops, "simt")


@pytest.mark.races
@pytest.mark.parametrize(("units", "width"), [(1, 1), (2, 3), (10, 128), (15, 130), (16, 4), (31, 127), (33, 5)])
def test_units_and_inputs(units: int, width: int) -> None:
    """Also odd numbers of both, where rows do not start on a multiple of 16 bytes."""
    compare(Problem([dense(width, "tanh"), dense(units)], inputs=3, rows=9, smooth=True), both)


@pytest.mark.races
@pytest.mark.checked
@pytest.mark.parametrize("width", [128, 129, 256, 258, 521])
def test_slices_of_the_kernel(width: int) -> None:
    """With 32 units, 256 inputs fit at once in float32 and 128 in float64."""
    ops = [dense(width, "softplus"), dense(MOST, "softmax")]
    compare(Problem(ops, LOSSES["classes"][0], inputs=2, rows=9, smooth=True), both)


@pytest.mark.races
@pytest.mark.checked
@pytest.mark.parametrize("units", [3, 20])
@pytest.mark.parametrize("rows", [1, 7, 33, 150])
def test_rows(rows: int, units: int) -> None:
    """On four processors, as the emulator has, a warp makes several rows from 128 rows on, or 64 with more units."""
    ops = [dense(8, "gelu"), dense(units, "softmax")]
    compare(Problem(ops, LOSSES["ids"][0], inputs=3, rows=rows, smooth=True), both)


@pytest.mark.parametrize("last", [name for name in HIDDEN if name != "prelu"])
def test_every_activation(last: str) -> None:
    """Of the last layer, and behind it the next one in the list, whose derivative the kernel applies too."""
    below = HIDDEN[(HIDDEN.index(last) + 1) % len(HIDDEN)]
    smooth = last not in KINKS and below not in KINKS
    compare(Problem([dense(6, below), dense(3, last)], loss_spec("log_cosh"), rows=9, smooth=smooth), both)


@pytest.mark.parametrize("loss", ["mse", "log_cosh", "poisson", "binary_probabilities"])
def test_softmax_that_the_loss_does_not_skip(loss: str) -> None:
    """Other losses are in test_parity.py, each with an activation that suits it. Here without a layer below."""
    compare(Problem([dense(3, "softmax")], LOSSES[loss][0], rows=9, smooth=True), both)


@pytest.mark.parametrize(
    "ops",
    [
        [dense(4, "tanh"), DROPOUT, dense(3)],
        [BEGIN, dense(4, "tanh"), END, dense(3)],
        [dense(4, "prelu"), dense(3)],
        [dense(4, "tanh", activity_l1=0.01), dense(3)],
        [dense(4, use_bias=False), dense(3, use_bias=False)],
    ],
    ids=["dropout", "residual", "prelu", "activity", "linear"],
)
def test_what_may_lie_below(ops: list[Spec]) -> None:
    compare(Problem(ops, rows=9), both)


@pytest.mark.parametrize("frozen", [(0,), (1,)])
def test_frozen_layers(frozen: tuple[int, ...]) -> None:
    compare(Problem([dense(5, "tanh"), dense(3)], rows=9, frozen=frozen, smooth=True), both)


@pytest.mark.races
@pytest.mark.parametrize("dtype", ["bfloat16", "tf32"])
@pytest.mark.parametrize(("units", "rows"), [(10, 140), (20, 9)])
def test_rounded_operands(units: int, rows: int, dtype: str) -> None:
    problem = Problem([dense(24, "tanh"), dense(units, "softmax")], LOSSES["ids"][0], rows=rows, smooth=True)
    exact, rounded = (gradients(problem.engine(reference.Engine, name), problem, None) for name in ("float64", dtype))
    found = gradients(problem.engine(devices.compiled_engine, dtype), problem, None)
    close_beside_the_rounding(found, rounded, exact, FLIPS[dtype])


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_same_bits(gpu: Any, dtype: str) -> None:
    """In every order of threads, alone and in graphs, and with probes."""
    problem = Problem([dense(9, "relu"), dense(20, "softmax")], LOSSES["ids"][0], "adam", rows=180)

    def result(pieces: tuple[int, ...] = (12,), **options: Any) -> list[bytes]:
        engine = problem.engine(devices.compiled_engine, dtype)
        x, y, w = inputs(problem, None)
        done, totals = 0, []
        for piece in pieces:
            call: Spec = {"batch_size": 90, "epoch": done // 2, "first_batch": done % 2}
            found = train(engine, x, y, w, goes_on=done > 0, learning_rates=[0.01] * piece, **call, **options)
            totals.append(found["totals"])
            done += piece
        return [array.tobytes() for array in (*engine.get_tensors(), np.concatenate(totals))]

    once = result()
    assert once == result((1, 3, 8))
    assert once == result(probe_level=1, probe_first=True)
    if gpu.EMULATED:
        gpu.set_emulator(3)
        assert once == result()


def nodes(gpu: Any, problem: Problem) -> float:
    """Of a captured step."""
    engine, counts = problem.engine(devices.compiled_engine, "float32"), []
    for steps in (80, 40, 72):  # the first call captures graphs of 1, 8 and 32 steps
        before = gpu.launches()
        train(engine, *problem.data(), batch_size=problem.rows, learning_rates=[0.01] * steps)
        counts.append(gpu.launches() - before)
    return float(counts[2] - counts[1]) / 32


def test_nodes_of_a_captured_step(gpu: Any) -> None:
    """Rows, two products, the last layer, gradients of three kernels and one of outputs, update and end."""
    net = [dense(12, "relu"), dense(12, "relu"), dense(10, "softmax")]
    assert nodes(gpu, Problem(net, LOSSES["ids"][0], "adam", rows=8, weighted=False)) == 9
