"""precision="3xtf32": products on tensor cores of operands in two TF32 parts, with errors like float32's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fastdense import _core
from tests.helpers import devices
from tests.helpers.pairs import Problem, compare, inputs
from tests.helpers.programs import LAYER_NORM, dense, loss_spec, train
from tests.parity.test_parity import gradients

Array = Any
pytestmark = [pytest.mark.races, pytest.mark.usefixtures("gpu")]
LINEAR = {"use_bias": False}
USES = ("forward", "backward", "gradient")  # a b, a bᵀ and aᵀ b, as they lie in memory


@pytest.fixture(autouse=True)
def tiles(gpu: Any) -> Iterator[None]:
    yield
    gpu.set_product_tile(0)


def product(kind: Any, dtype: str, a: Array, b: Array, use: str) -> Array:
    """A product of (m, k) and (k, n) as a net makes it: its output, its inner gradient, or that of its kernel.

    The weights are such that outputs are 0 and the loss's gradient is the operand, but for two roundings.
    """
    (m, k), n = a.shape, b.shape[1]
    ops = [dense(n, **LINEAR)] if use != "backward" else [dense(n, **LINEAR), dense(k, **LINEAR)]
    engine = kind({"inputs": {"forward": k, "backward": m, "gradient": m}[use], "seed": 0, "dtype": dtype, "ops": ops})
    if use == "forward":
        engine.set_tensors([b])
        out = np.zeros((m, n), np.float32)
        engine.predict(a, out, n_threads=1)
        return out
    engine.configure(Problem(ops, loss_spec("mse")).training)
    wanted = a if use == "backward" else b
    x = np.eye(m, dtype=np.float32) if use == "backward" else np.ascontiguousarray(a.T)
    zeros = np.zeros((m, n), np.float32)
    engine.set_tensors([zeros, np.ascontiguousarray(b.T)] if use == "backward" else [zeros])
    y = -(wanted.astype(np.float64) * wanted.size / 2).astype(np.float32)
    return engine.loss_and_grad(x, y, None, training=False, n_threads=1)[1][0]


def operands(kind: str, m: int, n: int, k: int) -> tuple[Array, Array]:
    """float32 numbers whose products are as hard as this."""
    random = np.random.RandomState(k)
    a, b = random.normal(size=(m, k)), random.normal(size=(k, n))
    if kind == "scaled":  # 10^-20 to 10^20, and all terms count
        scales = 10.0 ** random.uniform(-20, 20, k)
        a, b = a * scales, b / scales[:, None]
    elif kind == "cancelling":  # pairs that leave a millionth
        half = k // 2
        a[:, half : 2 * half] = -a[:, :half] * (1 + 1e-6 * random.normal(size=(m, half)))
        b[half : 2 * half] = b[:half]
    elif kind == "positive":  # sums only grow, and what is cut off adds up
        a, b = np.abs(a), np.abs(b)
    return a.astype(np.float32), b.astype(np.float32)


def rms(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


@pytest.mark.parametrize(
    ("tile", "shape"), [(32, (33, 31, 65)), (32, (3, 32, 1)), (64, (65, 68, 40)), (128, (130, 132, 19))], ids=str
)
@pytest.mark.parametrize("kind", ["plain", "scaled", "cancelling"])
def test_error(kind: str, tile: int, shape: tuple[int, int, int], gpu: Any) -> None:
    """Within the bound that docs/design/numerics.md derives, in every layout, at the edges of every tile."""
    gpu.set_product_tile(tile)
    a, b = operands(kind, *shape)
    exact, sizes = a.astype(np.float64) @ b, np.abs(a).astype(np.float64) @ np.abs(b)
    for use in USES:
        made = product(devices.compiled_engine, "3xtf32", a, b, use)
        bound = (
            2.0**-21 + 2.0**-20 + (shape[2] / 8 + 16 + 2 + 8) * 2.0**-24
        )  # also of parts, operands, the last product
        assert (np.abs(made - exact) <= bound * sizes).all(), use


@pytest.mark.parametrize("kind", ["plain", "scaled", "cancelling", "positive"])
def test_beside_float32_and_tf32(kind: str) -> None:
    """Off by less than both kernels of float32, which add up one term at a time, and much less than TF32."""
    a, b = operands(kind, 20, 24, 1000)

    def off(engine: Any, dtype: str) -> float:
        return rms(product(engine, dtype, a, b, "forward") - a.astype(np.float64) @ b)

    split, rounded, on_gpu = (off(devices.compiled_engine, dtype) for dtype in ("3xtf32", "tf32", "float32"))
    assert split <= min(on_gpu, off(_core.Engine, "float32"))  # 0.35 to 0.41 of it
    assert 50 * split <= rounded  # 60 where the sum's own error is most of it, else 1300


def test_numbers_at_the_ends_of_the_range() -> None:
    """Infinities and NaN go where they go in float32; the largest numbers keep 11 bits, below 2^-137 there is 0."""
    inf, nan, largest = np.inf, np.nan, np.finfo(np.float32).max
    a = np.array(
        [[inf, 1], [-inf, 1], [nan, 1], [inf, -inf], [largest, 1], [-largest, 0], [2.0**-130, 0], [2.0**-149, 0]]
    )
    b = np.array([[2 + 2**-12, -3.3, 0, inf, -inf, 2**-12], [1, 1 + 2**-20, 1, 1, 1, 2**-20]])
    a, b = a.astype(np.float32), b.astype(np.float32)
    made = product(devices.compiled_engine, "3xtf32", a, b, "forward")
    with np.errstate(all="ignore"):
        wanted = np.where(np.abs(a) < 2.0**-137, 0, a.astype(np.float64)) @ b
        special = wanted.astype(np.float32)
    assert np.array_equal(np.isnan(made), np.isnan(special))
    assert np.array_equal(np.isinf(made), np.isinf(special))
    assert np.array_equal(made[np.isinf(made)], special[np.isinf(special)])
    finite = np.isfinite(special)
    off = np.abs(made[finite] - wanted[finite])
    assert (off <= 2.0**-10 * np.abs(wanted[finite]) + 4 * 2.0**-136).all()


NETS = {
    "plain": [dense(33, "tanh", kernel_l2=1e-3), dense(17, "silu"), dense(3)],
    "normalized": [dense(65, "gelu"), LAYER_NORM, dense(31, "softplus"), dense(5)],
}


@pytest.mark.parametrize("rows", [1, 33, 130])
@pytest.mark.parametrize("net", NETS)
def test_nets(net: str, rows: int) -> None:
    """As close to the reference as float32 nets have to be."""
    compare(Problem(NETS[net], inputs=9, rows=rows, smooth=True), gradients, dtypes=("3xtf32",))


def test_the_library_and_the_kernel_of_tiles_are_left_out(gpu: Any) -> None:
    """Neither has such products: at every size and whatever is asked for, they are our own."""
    problem = Problem(NETS["plain"], inputs=9, rows=40)
    x, y, w = inputs(problem, None)

    def trained() -> list[Array]:
        engine = problem.engine(devices.compiled_engine, "3xtf32")
        train(engine, x, y, w, batch_size=40, learning_rates=[0.01] * 2)
        return list(engine.get_tensors())

    assert not gpu.product_plan(4096, 2048, 2048, dtype="3xtf32")["library"]
    gpu.set_products("mma")  # a last layer with its loss in one kernel is made for "auto" alone
    try:
        before, runs = trained(), gpu.fused_mlp_runs()
        gpu.set_products("cublaslt")
        gpu.set_fused_mlp(0)
        assert all(np.array_equal(one, other) for one, other in zip(before, trained(), strict=True))
    finally:
        gpu.set_products("auto")
        gpu.set_fused_mlp()
    assert gpu.fused_mlp_runs() == runs


def test_small_nets_are_trained_by_the_whole_net_kernel() -> None:
    """In plain float32, to the same bits."""
    problem = Problem(NETS["plain"], inputs=9, rows=40)
    x, y, w = inputs(problem, None)
    found = []
    with devices.testing("cuda fused"):
        for dtype in ("float32", "3xtf32"):
            engine = problem.engine(devices.compiled_engine, dtype)
            train(engine, x, y, w, batch_size=16, learning_rates=[0.01] * 6)
            found.append(engine.get_tensors())
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))
