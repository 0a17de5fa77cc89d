"""Nets whose products round their operands, against the reference: bfloat16 everywhere, TF32 where there is a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from fastdense import reference
from fastdense.reference import layers
from fastdense.reference.arrays import to_bfloat16, to_tf32
from tests.helpers.devices import compiled_engine
from tests.helpers.pairs import Problem, Results, closest_call, inputs, noise_everywhere, remembered_orders
from tests.helpers.programs import OPTIMIZERS, dense, loss_spec, train
from tests.helpers.tolerances import CHANCE, CLEARANCE, FLIPS, INDEPENDENT, NOISY_RUNS, ROUNDING_EDGE, allowed
from tests.parity.test_parity import HIDDEN, LAYER_NETS, LOSSES, NETS, gradients, nets, table_nets
from tests.parity.test_parity_runs import METRICS, OPTIONS, run

Array = Any
DIGITS = {"bfloat16": 8, "tf32": 11}  # significant bits


@contextmanager
def closest_rounding() -> Iterator[list[float]]:
    """Watch reference engines: how close an operand came to where it is rounded the other way, over the largest."""
    closest = [np.inf]

    def watched(round_: Any, digits: int) -> Any:
        def call(values: Array) -> Array:
            rounded = round_(values)
            size = np.abs(values).max(initial=1e-300)
            step = np.exp2(np.floor(np.log2(np.maximum(np.abs(values), 1e-300))) + 1 - digits)
            gap = np.where(values == rounded, np.inf, step / 2 - np.abs(values - rounded))
            closest[0] = min(closest[0], float(gap.min(initial=np.inf) / size))
            return rounded

        return call

    with (
        patch.object(layers, "to_bfloat16", watched(to_bfloat16, DIGITS["bfloat16"])),
        patch.object(layers, "to_tf32", watched(to_tf32, DIGITS["tf32"])),
    ):
        yield closest


def cases() -> list[Any]:
    """Every loss and every kind of net; hidden activations are distributed over them."""
    rows = [(loss, LAYER_NETS[i % len(LAYER_NETS)]) for i, loss in enumerate(LOSSES)]
    rows += [("mse", net) for net in NETS if ("mse", net) not in rows]
    return [pytest.param(*row, id="-".join(row)) for row in rows]


@pytest.mark.core
@pytest.mark.parametrize(("loss", "net"), cases())
def test_outputs_and_gradients(rounding: str, loss: str, net: str) -> None:
    """As close as float32 nets are to theirs, where no operand is on the edge of being rounded the other way.

    TF32's edges lie too close together to keep clear of: there, as close as flips of single operands allow.
    """
    spec, last = LOSSES[loss]
    hidden = HIDDEN[(list(LOSSES).index(loss) + 5 * NETS.index(net)) % len(HIDDEN)]
    start = Problem((nets(hidden, last) | table_nets(hidden, last))[net], spec, rows=5)
    for seed in range(2000):
        problem = replace(start, seed=1000 * seed)
        with closest_call() as kink, closest_rounding() as edge:
            clean = gradients(problem.engine(reference.Engine, rounding), problem, None)
        if kink[0] > CLEARANCE and (edge[0] > ROUNDING_EDGE or rounding == "tf32"):
            break
    else:
        raise AssertionError("no draw keeps clear of every edge")
    found = gradients(problem.engine(compiled_engine, rounding), problem, None)
    if rounding == "tf32":
        exact = gradients(problem.engine(reference.Engine), problem, None)
        close_beside_the_rounding(found, clean, exact, FLIPS[rounding])
        return
    noisy = []
    for draw in range(NOISY_RUNS):
        rng = np.random.default_rng([problem.seed, 3, draw])
        with noise_everywhere(rng):
            noisy.append(gradients(problem.engine(reference.Engine, rounding), problem, rng))
    for name, exact in clean.items():
        limit = allowed("float32", max(*problem.widths, problem.rows), exact, [other[name] for other in noisy])
        assert np.abs(found[name] - exact).max() <= limit, name


def rms(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(x, np.float64)))))


def beside_the_rounding(found: Results, rounded: Results, exact: Results) -> dict[str, float]:
    """How far the compiled net is off the reference's rounding one, over what that is off its exact one."""
    effects = {name: rms(rounded[name] - exact[name]) / max(rms(exact[name]), 1e-30) for name in exact}
    typical = float(np.median([effect for effect in effects.values() if effect > 0]))
    return {
        name: rms(found[name] - rounded[name]) / max(rms(exact[name]), 1e-30) / max(effect, typical)
        for name, effect in effects.items()
    }


def close_beside_the_rounding(found: Results, rounded: Results, exact: Results, share: float) -> None:
    """Every array is off by at most this fraction of what rounding does."""
    off = beside_the_rounding(found, rounded, exact)
    assert max(off.values()) <= share, off


def close_after_many_steps(found: Results, rounded: Results, exact: Results, share: float) -> None:
    """Most arrays are off by at most this fraction of what rounding does, single ones by no more than chance makes."""
    off = beside_the_rounding(found, rounded, exact)
    assert np.median(list(off.values())) <= share, off
    assert max(off.values()) <= CHANCE * share, off


@pytest.mark.core
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fifty_steps(rounding: str, optimizer: str) -> None:
    """All in one net, every optimizer, every way of clipping: the update must refresh what products read."""
    ops = [dense(23, "tanh", kernel_l2=1e-3), layers_between(), dense(17, "silu"), dense(3)]
    option = list(OPTIONS)[list(OPTIMIZERS).index(optimizer) % len(OPTIONS)]
    options = OPTIONS[option] | {"epsilon": 1e-3}
    problem = Problem(ops, loss_spec("log_cosh"), optimizer, options, METRICS, inputs=9, rows=20, smooth=True)
    with remembered_orders():
        exact, rounded = (run(problem.engine(reference.Engine, t), problem, None) for t in ("float64", rounding))
    found = run(problem.engine(compiled_engine, rounding), problem, None)
    close_after_many_steps(found, rounded, exact, INDEPENDENT[rounding])


def layers_between() -> Any:
    return {"kind": "layer_norm", "epsilon": 1e-3}


@pytest.mark.parametrize("widths", [(1, 1, 1), (3, 17, 2), (64, 127, 31), (129, 130, 65), (200, 33, 10)], ids=str)
@pytest.mark.parametrize("rows", [1, 2, 31, 33, 64])
def test_shapes(rounding: str, widths: tuple[int, int, int], rows: int) -> None:
    """Odd and even widths and batches around the tiles, panels and pairs, one step of training each."""
    n, hidden, outputs = widths
    problem = Problem([dense(hidden, "tanh"), dense(outputs)], inputs=n, rows=rows, smooth=True)

    def ask(engine: Any) -> Results:
        x, y, w = inputs(problem, None)
        train(engine, x, y, w, batch_size=rows, learning_rates=[0.01])
        return gradients(engine, problem, None)

    exact, rounded = (ask(problem.engine(reference.Engine, dtype)) for dtype in ("float64", rounding))
    close_beside_the_rounding(ask(problem.engine(compiled_engine, rounding)), rounded, exact, FLIPS[rounding])


def test_large_tiles(rounding: str) -> None:
    """A GPU has larger tiles for larger products."""
    test_shapes(rounding, (270, 260, 140), 520)


@pytest.mark.core
def test_operands_are_rounded_and_nothing_else(rounding: str) -> None:
    x, w = np.float32(1 + 2**-13), np.float32(3 - 2**-12)
    engine = compiled_engine({"inputs": 1, "seed": 0, "dtype": rounding, "ops": [dense(1)]})
    engine.set_tensors([np.array([[w]]), np.array([x])])
    out = np.zeros((1, 1), np.float32)
    engine.predict(np.array([[x]]), out, n_threads=1)
    assert out[0, 0] == 1.0 * 3.0 + x  # the bias keeps its bits
    assert engine.get_tensors()[0][0, 0] == w  # and so do the weights
