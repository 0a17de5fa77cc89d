"""The compiled engine against the reference over 50 training steps: every part of a step in every optimizer's hands."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from fastdense import reference
from tests.helpers import devices
from tests.helpers.devices import compiled_engine
from tests.helpers.pairs import Problem, Results, compare, inputs
from tests.helpers.programs import (
    ACTIVITY,
    BATCH_NORM,
    DROPOUT,
    LAYER_NORM,
    OPTIMIZERS,
    Spec,
    branches,
    dense,
    loss_spec,
    metric,
    train,
)
from tests.helpers.tolerances import ADAM_STRIDE, ROUNDINGS, UNIT
from tests.parity.test_parity import HIDDEN, LAYER_NETS, LOSSES, TABLE_NETS, nets, table_nets

pytestmark = pytest.mark.usefixtures("compiled")

STEPS = 50
RATES = dict.fromkeys(OPTIMIZERS, 0.01) | {"sgd": 0.05, "adagrad": 0.05, "adadelta": 1.0, "lion": 0.003, "muon": 0.02}
RATES |= {"ftrl": 0.02, "ftrl_power": 0.02}
OPTIONS: dict[str, Spec] = {
    "none": {},
    "decay": {"weight_decay": 0.05, "adam_weight_decay": 0.03},
    "value": {"clipvalue": 0.02},
    "norm": {"clipnorm": 0.1},
    "global": {"global_clipnorm": 0.3, "weight_decay": 0.02},
}
# Sums without a jump: over 50 steps something always comes too close to one. test_every_metric has the others.
METRICS = (metric("mse"), metric("mae"), metric("mape"), metric("r2"))


def metrics() -> tuple[Spec, ...]:
    """Those that the device under test has on the path under test: the fused kernel knows values of single rows."""
    return METRICS[:3] if devices.under_test() in ("cuda fused", "cuda blocks") else METRICS


def run(engine: Any, problem: Problem, noise: Any, batch_size: int = 8) -> Results:
    """20 rows in batches of 8, so every third is short; 13 rows to validate on; a falling rate."""
    rates = np.geomspace(1.0, 0.3, STEPS) * RATES[problem.optimizer]
    rates *= 0.1 if problem.loss["kind"] == "mape" else 1.0  # a hundred times mae: plain momentum would diverge
    x, y, w = inputs(problem, noise)
    val, options = inputs(problem, noise, 13, 5), {"batch_size": batch_size, "learning_rates": rates, "n_threads": 2}
    result = train(engine, x, y, w, val, **options)
    epochs = STEPS // -(-len(x) // batch_size)
    assert result["steps"] == STEPS and result["nonfinite_step"] == -1 and result["interrupted"] is False
    assert len(result["totals"]) == len(result["val_totals"]) == epochs
    state = engine.get_state()
    assert state["step"] == STEPS
    found: Results = {f"tensor {i}": tensor for i, tensor in enumerate(engine.get_tensors())}
    for i, slot in enumerate(state["slots"]):
        found |= {f"slot {i} of tensor {k}": array for k, array in enumerate(slot)}
    for name in ("totals", "val_totals", "partial"):
        columns = np.atleast_2d(result[name])
        found |= {f"{name} {i}": columns[:, i] for i in range(columns.shape[1])}
    return found


def design() -> list[tuple[str, str, str, str, str, bool]]:
    """Every hidden activation with every optimizer; losses, nets and options are distributed so that pairs meet."""
    every = itertools.product(enumerate(HIDDEN), enumerate(OPTIMIZERS))
    losses, options = [name for name in LOSSES if name != "quantiles"], list(OPTIONS)
    return [
        (
            hidden,
            optimizer,
            losses[(a + 3 * o) % len(losses)],
            LAYER_NETS[(a + 5 * o) % len(LAYER_NETS)],
            options[(a + o) % len(options)],
            bool((a // 2 + o) % 2),
        )
        for (a, hidden), (o, optimizer) in every
    ]


def cases() -> list[Any]:
    """The design; a row that shows something first is marked core (see test_parity_isa.py), the others thorough."""
    seen: set[Any] = set()
    found = []
    for row in design():
        marks = [pytest.mark.thorough]
        if not seen.issuperset(row):
            marks = [pytest.mark.core, pytest.mark.races] if "penalties" in row else [pytest.mark.core]
            seen |= set(row)
        found.append(pytest.param(*row, id="-".join(map(str, row[:5])), marks=marks))
    return found


def test_the_design_covers_what_it_claims() -> None:
    """All pairs, but for activation x loss and loss x net, too many for 221 runs: test_parity.py has them all."""
    factors = ("activation", "optimizer", "loss", "net", "options", "weighted")
    rows = design()
    for i, k in itertools.combinations(range(len(factors)), 2):
        if (factors[i], factors[k]) not in {("activation", "loss"), ("loss", "net")}:
            levels = len({row[i] for row in rows}) * len({row[k] for row in rows})
            assert len({(row[i], row[k]) for row in rows}) == levels, (factors[i], factors[k])


@pytest.mark.parametrize(("hidden", "optimizer", "loss", "net", "options", "weighted"), cases())
def test_fifty_steps(hidden: str, optimizer: str, loss: str, net: str, options: str, weighted: bool) -> None:
    spec, last = LOSSES[loss]
    ops = nets(hidden, last)[net]
    compare(Problem(ops, spec, optimizer, OPTIONS[options], metrics=metrics(), weighted=weighted), run)


@pytest.mark.core
@pytest.mark.races
@pytest.mark.parametrize("net", ["plain", "penalties"])
def test_fifty_steps_of_several_quantiles(net: str) -> None:
    compare(Problem(nets("tanh", "linear")[net], LOSSES["quantiles"][0], "sgd", metrics=metrics(), weighted=True), run)


# With something trained in front of it, 50 steps would lead some number over the edge of a bin.
@pytest.mark.core
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("net", [net for net in TABLE_NETS if net != "piecewise_linear_inside"])
def test_fifty_steps_of_layers_for_tables(net: str, optimizer: str) -> None:
    compare(Problem(table_nets("tanh", "linear")[net], optimizer=optimizer, options=OPTIONS["decay"]), run)


FACTORS = {"rate_factors": [3.0, 0.5, 0.0, 1.0], "decay_factors": [1.0, 0.0, 2.0, 4.0]}


@pytest.mark.core
@pytest.mark.parametrize("clipped", ["decay", "global"])  # kernels are updated in parts, or all tensors at the end
@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name not in ("muon", "kfac")])
def test_fifty_steps_with_factors_for_tensors(optimizer: str, clipped: str) -> None:
    ops = [dense(6, "tanh", kernel_l2=0.01), dense(3)]
    compare(Problem(ops, optimizer=optimizer, options=OPTIONS[clipped] | FACTORS), run)


def penalised(**options: Any) -> list[Spec]:
    return [dense(6, "tanh", kernel_l2=0.01), BATCH_NORM, dense(5, "tanh", kernel_repulsion=0.1, **options), dense(3)]


@pytest.mark.core
@pytest.mark.races
@pytest.mark.parametrize("frozen", [(0,), (1,), (2,), (3,), (0, 1), (0, 2, 3), (0, 1, 2, 3)], ids=str)
@pytest.mark.parametrize("optimizer", ["momentum", "average", "muon"])
def test_fifty_steps_of_frozen_layers(optimizer: str, frozen: tuple[int, ...]) -> None:
    options = OPTIONS["global" if len(frozen) == 2 else "decay"]
    problem = Problem(penalised(), optimizer=optimizer, options=options, metrics=metrics(), frozen=frozen)
    compare(problem, run)


@pytest.mark.core
@pytest.mark.races
@pytest.mark.parametrize("frozen", [(2,), (3,), (2, 3), (5,), (0, 2, 3), (0, 2, 3, 5), (0, 8)], ids=str)
def test_fifty_steps_of_frozen_layers_in_branches(frozen: tuple[int, ...]) -> None:
    block = branches([dense(4, "tanh", kernel_l2=0.1), BATCH_NORM], [dense(4, "tanh"), ACTIVITY], merge="multiply")
    ops = [dense(5, "tanh"), *block, dense(3)]  # 2: dense, 3: norm, 5: dense
    compare(Problem(ops, optimizer="average", options=OPTIONS["decay"], metrics=metrics(), frozen=frozen), run)


@pytest.mark.core
@pytest.mark.parametrize("frozen", [(0,), (1,), (2,), (0, 1), (0, 2), (0, 1, 2)], ids=str)
def test_fifty_steps_of_frozen_dense_layers(frozen: tuple[int, ...]) -> None:
    ops = [dense(6, "tanh", kernel_l2=0.01), dense(5, "prelu", bias_l1=0.01), dense(3)]
    compare(Problem(ops, optimizer="adam", options=OPTIONS["decay"], metrics=metrics(), frozen=frozen), run)


@pytest.mark.core
@pytest.mark.parametrize("optimizer", ["sgd", "average", "muon", "kfac"])
@pytest.mark.parametrize("over", ["columns", "rows", "all", "non_negative", "signs"])
def test_fifty_steps_with_constraints(over: str, optimizer: str) -> None:
    norm = {"kind": "norm", "over": over, "low": 0.4, "high": 0.8, "rate": 0.7}
    signs = {"kind": "signs", "rows": [1, 0, -1, 1, -1, 0], "columns": [1, -1, 1, 1, -1]}
    kernel = {"non_negative": {"kind": "non_negative"}, "signs": signs}.get(over, norm)
    ops = penalised(kernel_constraint=kernel, bias_constraint={**norm, "over": "columns"})
    ops[1] = BATCH_NORM | {"kernel_constraint": {"kind": "non_negative"}}
    compare(Problem(ops, optimizer=optimizer, options=OPTIONS["decay"], metrics=metrics()), run)


@pytest.mark.core
@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ("muon", {}),  # without what clips: the design may combine each optimizer with other options
        ("muon", {"nesterov": False}),
        ("muon", {"rms_rate": 0.0}),
        ("kfac", {"nesterov": True}),
        ("kfac", {"momentum": 0.0}),
    ],
    ids=str,
)
def test_variants_of_the_matrix_optimizers(optimizer: str, options: Any) -> None:
    compare(Problem(nets("tanh", "linear")["plain"], optimizer=optimizer, options=options, metrics=metrics()), run)


# Wide enough for column and row slices; one op of every kind. Few of them: the reference takes a second for each. Among
# so many gradients some are as small as epsilon and rounding, where adam and similar rules jump; a large epsilon helps.
@pytest.mark.parametrize(
    ("widths", "rows", "batch_size", "optimizer"),
    [
        pytest.param((200, 130, 10), 40, 32, "adam", marks=pytest.mark.core),
        ((17, 160, 128), 70, 64, "sgd"),
        ((3, 127, 16), 100, 100, "nesterov"),
        ((48, 130, 3), 33, 17, "muon"),
        ((200, 17, 1), 20, 1, "rmsprop_centered"),
        ((16, 144, 17), 60, 40, "adadelta"),
    ],
)
def test_fifty_wide_steps(widths: tuple[int, int, int], rows: int, batch_size: int, optimizer: str) -> None:
    n, hidden, outputs = widths
    ops = [dense(hidden, "silu"), LAYER_NORM, dense(24, "tanh", kernel_l2=1e-3), DROPOUT]
    ops += [dense(hidden, use_bias=False), BATCH_NORM] if batch_size > 1 else []
    loss, options = loss_spec("log_cosh"), {"epsilon": 1e-3}
    problem = Problem([*ops, dense(outputs)], loss, optimizer, options, metrics(), n, rows, smooth=True)
    compare(problem, lambda engine, problem, noise: run(engine, problem, noise, batch_size))


# -- where rounding is amplified ---------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_bias_before_batch_norm(optimizer: str) -> None:
    """Its gradient is 0: batch norm takes the mean away again. What an engine finds is rounding.

    sgd keeps it small. An optimizer that divides by the gradient's size makes whole steps of it, in any direction: then
    the bias and the moving mean that follows it cannot be predicted, nor is validation, which uses the latter.
    """
    ops = [dense(6, "linear"), BATCH_NORM, dense(3, "tanh")]
    problem = Problem(ops, optimizer=optimizer, metrics=metrics())
    bias, beside = 1, {"tensor 1", "slot 0 of tensor 1", "slot 1 of tensor 1", "tensor 4"}
    compare(problem, run, lambda name: name in beside or name.startswith("val_totals"))
    exact = run(problem.engine(reference.Engine), problem, None)
    _, gradients = problem.engine(reference.Engine).loss_and_grad(*problem.data(), training=True)
    signal = max(np.abs(g).max() for g in gradients)
    for dtype, u in UNIT.items():
        found = run(problem.engine(compiled_engine, dtype), problem, None)
        apart = np.abs(found[f"tensor {bias}"] - exact[f"tensor {bias}"]).max()
        # A step is the rate times: for adam at most ADAM_STRIDE; for sgd the rounding of a sum of 8 rows of the signal.
        noise = ADAM_STRIDE if optimizer == "adam" else 8 * ROUNDINGS * u * (signal + 1)
        assert apart <= 2 * STEPS * RATES[optimizer] * noise
