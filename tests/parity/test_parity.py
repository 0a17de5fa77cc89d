"""The compiled engine against the reference: outputs, losses, gradients, metrics. For runs see test_parity_runs.py."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from fastdense import _core
from tests.helpers.devices import compiled_engine
from tests.helpers.pairs import Problem, Results, compare, inputs, settle
from tests.helpers.programs import (
    ACTIVITY,
    ALPHA_DROPOUT,
    BATCH_NORM,
    BEGIN,
    DROPOUT,
    END,
    GAUSSIAN_DROPOUT,
    GAUSSIAN_NOISE,
    LAYER_NORM,
    NORMALIZATION,
    RESCALING,
    SCALE,
    UNIT_NORM,
    Spec,
    activation,
    branches,
    dense,
    embedding,
    grouped_dense,
    loss_spec,
    metric,
    periodic,
    piecewise_linear,
    select_columns,
    train,
)
from tests.helpers.tolerances import DIFFERENCE, DIFFERENCE_FLOOR, DTYPES

pytestmark = pytest.mark.usefixtures("compiled")

# name -> (loss, activation of the last layer that suits it)
LOSSES: dict[str, tuple[Spec, str]] = {
    "mse": (loss_spec("mse"), "linear"),
    "mae": (loss_spec("mae"), "linear"),
    "huber": (loss_spec("huber"), "linear"),
    "log_cosh": (loss_spec("log_cosh"), "linear"),
    "mape": (loss_spec("mape"), "linear"),
    "poisson": (loss_spec("poisson"), "softplus"),
    "quantile": (loss_spec("quantile"), "linear"),
    "hinge": (loss_spec("hinge"), "tanh"),
    "binary": (loss_spec("binary_crossentropy", label_smoothing=0.1), "sigmoid"),
    "binary_logits": (loss_spec("binary_crossentropy", from_logits=True, label_smoothing=0.2), "linear"),
    "binary_probabilities": (loss_spec("binary_crossentropy"), "hard_sigmoid"),
    "classes": (loss_spec("categorical_crossentropy", label_smoothing=0.1), "softmax"),
    "classes_logits": (loss_spec("categorical_crossentropy", from_logits=True), "linear"),
    "classes_probabilities": (loss_spec("categorical_crossentropy", label_smoothing=0.2), "softplus"),
    "ids": (loss_spec("sparse_categorical_crossentropy", label_smoothing=0.1), "softmax"),
    "ids_logits": (loss_spec("sparse_categorical_crossentropy", from_logits=True), "linear"),
    "ids_probabilities": (loss_spec("sparse_categorical_crossentropy"), "sigmoid"),
    "quantiles": (loss_spec("quantile", params=[0.1, 0.5, 0.8]), "linear"),
}


# kind -> ops around a hidden activation and the last one
def nets(hidden: str, last: str) -> dict[str, list[Spec]]:
    first, top = dense(6, hidden), dense(3, last)
    # |a| has its kink where tanh_shrink is flat: values near 0 are many there
    activity = 0.0 if hidden == "tanh_shrink" else 0.02
    return {
        "plain": [first, top],
        "no_bias": [dense(6, hidden, use_bias=False), dense(3, last, use_bias=False)],
        "activation": [dense(6), activation(hidden), dense(3), activation(last)],
        "batch_norm": [dense(6, hidden, use_bias=False), BATCH_NORM, top],
        "batch_norm_first": [BATCH_NORM, first, top],
        "batch_norm_last": [dense(6, hidden, use_bias=False), dense(3, use_bias=False), BATCH_NORM, activation(last)],
        "layer_norm": [first, LAYER_NORM, top],
        "norms_without": [
            *[dense(6, hidden, use_bias=False), BATCH_NORM | {"scales": False, "bias_l1": 0.01, "bias_l2": 0.02}],
            *[dense(6), LAYER_NORM | {"centers": False, "kernel_l1": 0.01}, LAYER_NORM | {"scales": False}],
            *[dense(5, "tanh"), BATCH_NORM | {"scales": False, "centers": False}, top],
        ],
        "unit_norm": [UNIT_NORM, first, UNIT_NORM, top],
        "activity": [ACTIVITY, dense(6, hidden, use_bias=False), BATCH_NORM, ACTIVITY, top],
        "dropout": [DROPOUT, first, DROPOUT, top],
        "noise": [GAUSSIAN_NOISE, first, ALPHA_DROPOUT, dense(5), GAUSSIAN_DROPOUT, GAUSSIAN_NOISE, top],
        "normalization": [NORMALIZATION, first, top],
        "rescaling": [RESCALING, first, RESCALING, dense(3, "sigmoid" if last == "softmax" else last), RESCALING],
        "residual": [first, BEGIN, dense(5, hidden), BEGIN, LAYER_NORM, dense(5, hidden), END, dense(6), END, top],
        "residual_first": [BEGIN, dense(4, hidden), END, top],
        "penalties": [
            dense(6, hidden, kernel_l1=0.01, kernel_l2=0.02, bias_l1=0.01, bias_l2=0.02, activity_l1=activity),
            dense(5, kernel_orthogonal=0.1, kernel_repulsion=0.2, activity_l2=0.02),
            dense(3, last, kernel_orthogonal=0.1, kernel_orthogonal_columns=True, activity_l1=0.01, activity_l2=0.02),
        ],
    }


def branch_nets(hidden: str, last: str) -> dict[str, list[Spec]]:
    """The same with branches."""
    first, top = dense(6, hidden), dense(3, last)
    inner = branches([dense(6, hidden), DROPOUT], [], merge="average")
    merged = {
        f"branches_{merge}": [first, *branches([dense(5, hidden)], [dense(7), dense(5)], merge=merge), top]
        for merge in _core.MERGES
    }
    return merged | {
        "branches_first": [*branches([], [dense(5, hidden), dense(4)], [select_columns(2, 0)]), top],
        "branches_of_columns": [
            *branches([select_columns(0, 1), BATCH_NORM, first], [select_columns(3), dense(2, hidden)]),
            *[dense(5, hidden), top],
        ],
        "branches_inside": [
            first,
            *branches(
                [], [select_columns(5, 1, 0, 2, 4, 3), *inner, BEGIN, dense(6), END], [LAYER_NORM], merge="multiply"
            ),
            top,
        ],
    }


def table_nets(hidden: str, last: str) -> dict[str, list[Spec]]:
    """The same with ops for the columns of tables."""
    first, top = dense(6, hidden), dense(3, last)
    grouped = "leaky_relu" if hidden == "prelu" else hidden  # which grouped_dense does not have
    return {
        "scale": [SCALE, first, SCALE, top],
        "piecewise_linear": [piecewise_linear([0, 2, 3], 5), first, top],
        "piecewise_linear_inside": [dense(4, hidden), piecewise_linear([0, 1, 3], 17, keep=True), top],
        "periodic": [periodic([1, 3], 5, keep=True), periodic([0, 2], 17), first, top],
        "embedding": [embedding([0, 2], [3, 5], 2), first, embedding([1], [4], 3), top],
        "grouped_dense": [grouped_dense(2, 2, 3, grouped), grouped_dense(2, 2, 1, use_bias=False), top],
        "embeddings": [
            *[embedding([3], [4], 5), piecewise_linear([0, 2], 6), grouped_dense(2, 6, 4, "softsign")],
            *[periodic([8, 12], 3, keep=True), grouped_dense(2, 3, 2, grouped), first, top],
        ],
    }


LAYER_NETS, TABLE_NETS = tuple(nets("tanh", "linear")), tuple(table_nets("tanh", "linear"))
BRANCH_NETS = tuple(branch_nets("tanh", "linear"))
NETS = LAYER_NETS + TABLE_NETS
HIDDEN = tuple(name for name in _core.ACTIVATIONS if name != "softmax")
EVERY_METRIC = (
    *(metric(kind, threshold=0.4) for kind in _core.METRICS),
    *(metric(kind, multiclass=True) for kind in ("precision", "recall", "f1")),
)


def gradients(engine: Any, problem: Problem, noise: Any) -> Results:
    """Outputs, those of rows by themselves, outputs of every op, loss and gradients in both modes."""
    x, y, w = inputs(problem, noise)
    out = np.zeros((len(x), problem.widths[-1]), dtype=engine.get_tensors()[-1].dtype)
    engine.predict(x, out, n_threads=2)
    found: Results = {"outputs": out}
    for name, dtype in (("of its own dtype", out.dtype), ("of float64", np.float64)):
        rows = [engine.predict_row(x[i : i + 1].astype(dtype)) for i in range(3)]  # None: not by a path of its own
        single = [out[i : i + 1] if row is None else row for i, row in enumerate(rows)]
        found[f"outputs of single rows {name}"] = np.concatenate(single)
    found |= {f"output of op {i}": a for i, a in enumerate(engine.activations(x, n_threads=2))}
    for training in (False, True):
        loss, grads = engine.loss_and_grad(x, y, w, training=training, n_threads=2)
        found[f"loss, training={training}"] = np.array(loss)
        found |= {f"gradient {i}, training={training}": g for i, g in enumerate(grads)}
    return found


def evaluation(engine: Any, problem: Problem, noise: Any) -> Results:
    """Every total of an evaluation by itself."""
    totals = engine.evaluate(*inputs(problem, noise), n_threads=2)
    return {f"total {i}": np.array(total) for i, total in enumerate(totals)}


def core(items: Any, *others: Any, marks: Sequence[Any] = ()) -> list[Any]:
    """Parameters: the product of all; those that show every item once are marked core, for test_parity_isa.py."""
    lists = [list(items), *map(list, others)]
    every = list(itertools.product(*lists))
    shown = {tuple(one[i % len(one)] for one in lists) for i in range(max(map(len, lists)))}
    marks = (pytest.mark.core, *marks)
    return [pytest.param(*p, id="-".join(map(str, p)), marks=marks if p in shown else ()) for p in every]


@pytest.mark.core
def test_the_instruction_set_is_the_one_asked_for() -> None:
    available = _core.build_info()["isa_available"].split(", ")
    assert _core.build_info()["isa"] == os.environ.get("FASTDENSE_ISA", available[-1])


@pytest.mark.parametrize(("loss", "net"), core(LOSSES, NETS, marks=(pytest.mark.races, pytest.mark.checked)))
def test_every_loss_and_layer(loss: str, net: str) -> None:
    spec, last = LOSSES[loss]
    hidden = HIDDEN[(list(LOSSES).index(loss) + 5 * NETS.index(net)) % len(HIDDEN)]
    compare(Problem((nets(hidden, last) | table_nets(hidden, last))[net], spec), gradients)


@pytest.mark.core
@pytest.mark.races
@pytest.mark.checked
@pytest.mark.parametrize("net", BRANCH_NETS)
def test_every_kind_of_branches(net: str) -> None:
    i = BRANCH_NETS.index(net)
    spec, last = list(LOSSES.values())[i % len(LOSSES)]
    compare(Problem(branch_nets(HIDDEN[5 * i % len(HIDDEN)], last)[net], spec), gradients_and_totals)


@pytest.mark.parametrize("merge", ["add", "concatenate"])
def test_branches_that_end_a_net(merge: str) -> None:
    chains = [[dense(6, "tanh"), dense(3)], [dense(3, "silu")]]
    widths = [select_columns(0, 1, 2)] if merge == "concatenate" else []
    compare(Problem([*branches(*chains, merge=merge), *widths]), gradients_and_totals)


# A loss of probabilities or of positive numbers has no value at the others.
PROBABILITIES, POSITIVE = ("sigmoid", "hard_sigmoid", "softmax"), ("softplus", "sigmoid", "exponential", "softmax")
SUITED = {"poisson": POSITIVE, "binary_probabilities": PROBABILITIES, "binary": PROBABILITIES}
SUITED |= dict.fromkeys(("classes", "ids", "classes_probabilities", "ids_probabilities"), (*POSITIVE, "hard_sigmoid"))


def suited() -> list[Any]:
    """(loss, last activation, hidden activation), every hidden one with every last one at least once."""
    found = []
    for (i, loss), (k, last) in itertools.product(enumerate(LOSSES), enumerate(_core.ACTIVATIONS)):
        if last in SUITED.get(loss, (last,)):
            marks = [pytest.mark.core] if k == i or last == LOSSES[loss][1] else []
            found.append(pytest.param(loss, last, HIDDEN[(i + k) % len(HIDDEN)], id=f"{loss}-{last}", marks=marks))
    return found


@pytest.mark.parametrize(("loss", "last", "hidden"), suited())
def test_every_activation_and_loss(loss: str, last: str, hidden: str) -> None:
    compare(Problem([dense(7, hidden), dense(3, last)], LOSSES[loss][0]), gradients)


@pytest.mark.core
@pytest.mark.races
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_metric(loss: str, weighted: bool) -> None:
    spec, last = LOSSES[loss]
    compare(
        Problem(nets("tanh", last)["penalties"], spec, metrics=EVERY_METRIC, rows=40, weighted=weighted), evaluation
    )


@pytest.mark.core
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["classes", "ids", "binary"])
def test_cross_entropy_at_huge_logits(loss: str, dtype: str) -> None:
    """Logits of 1e4 and -1e4: the loss is exact, not the logarithm of a probability that has become 0."""
    spec, last = LOSSES[loss]
    step, full = (0.5, 1e4) if loss == "binary" else (1.0, 2e4)
    for from_logits in (False, True):
        logits = spec | {"from_logits": from_logits, "label_smoothing": 0.0}
        engine = Problem([dense(2, "linear" if from_logits else last)], logits, inputs=1).engine(compiled_engine, dtype)
        engine.set_tensors([np.array([[1e4, -1e4]]), np.zeros(2)])
        for true, value, slope in ((0, 0.0, 0.0), (1, full, step)):
            y = np.array([true]) if loss == "ids" else np.eye(2)[[true]]
            found, gradient = engine.loss_and_grad(np.ones((1, 1)), y, None, training=True, n_threads=1)
            assert found == value and np.array_equal(gradient[1], [slope, -slope])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "last", "hidden"), suited())
def test_no_formula_swallows_a_nan(loss: str, last: str, hidden: str, dtype: str) -> None:
    """Whatever the net: a NaN in the inputs, targets or weights ends in the loss, where it is looked for."""
    problem = Problem([dense(7, hidden), dense(3, last)], LOSSES[loss][0])
    for part in range(3):
        data = list(problem.data())
        if data[part].dtype.kind == "i":
            continue  # class ids
        data[part][7] = np.nan
        engine = problem.engine(compiled_engine, dtype)
        assert np.isnan(engine.loss_and_grad(*data, training=True, n_threads=1)[0])
        result = train(engine, *data, shuffle=False, learning_rates=np.zeros(5), stop_on_nan=True)
        assert result["nonfinite_step"] == 1 and result["steps"] == 2  # in the second batch of four


WIDTHS = (1, 3, 16, 17, 127, 128, 130, 200, 784)  # around vectors, around the column slices, a picture
SMOOTH = ("tanh", "silu", "softplus", "mish", "sigmoid", "softsign", "celu")
KINKED = ("prelu", "relu", "elu", "leaky_relu")  # with few numbers, or one of them comes too close to its kink
WIDE_LOSSES = ("mse", "classes", "ids", "binary", "log_cosh", "classes_logits")
WIDE_NETS = ("plain", "batch_norm", "layer_norm", "dropout", "no_bias")


def wide(rows: int) -> Problem:
    """One net for every batch size; the first 81 show all pairs of widths."""
    a, b, c = (WIDTHS[i % len(WIDTHS)] for i in (rows, rows // 9 + rows, 4 * rows + rows // 27))
    a, c = (min(width, 784 if rows <= 81 else 200) for width in (a, c))  # for the sake of time
    names = KINKED if rows * b <= 3000 else SMOOTH
    spec, last = LOSSES[WIDE_LOSSES[rows % len(WIDE_LOSSES)]]
    net = WIDE_NETS[rows % len(WIDE_NETS)]
    net = "plain" if b == 1 and net == "layer_norm" else net  # a single feature less its own mean: all gradients are 0
    ops = nets(names[rows % len(names)], last)[net]
    units = iter((b, c))
    ops = [op | {"units": next(units)} if op["kind"] == "dense" else op for op in ops]
    return Problem(ops, spec, inputs=a, rows=rows, weighted=rows % 2 == 0, metrics=(metric("mse"), metric("mae")))


def gradients_and_totals(engine: Any, problem: Problem, noise: Any) -> Results:
    return gradients(engine, problem, noise) | evaluation(engine, problem, noise)


BATCHES = (*range(1, 131), *range(131, 301, 7))


@pytest.mark.thorough
@pytest.mark.parametrize("part", [pytest.param(i, marks=[pytest.mark.core] if i == 3 else []) for i in range(8)])
def test_batch_sizes(part: int) -> None:
    for rows in BATCHES[part::8]:
        compare(wide(rows), gradients_and_totals)


# -- the gradient is that of the loss: central differences -------------------------------------------------------


def central_differences(problem: Problem, training: bool, fixed: tuple[int, ...] = ()) -> None:
    """Compare the gradient with that of the reported loss, for every element; tolerances.py gives the reasons."""
    problem, _ = settle(problem, gradients)
    engine, data = problem.engine(compiled_engine, "float64"), problem.data()
    loss, found = engine.loss_and_grad(*data, training=training, n_threads=1)
    start = engine.get_tensors()
    trained = [i for i in range(len(start)) if i not in fixed]
    assert [g.shape for g in found] == [start[i].shape for i in trained]
    for i, gradient in zip(trained, found, strict=True):
        for index in np.ndindex(gradient.shape):
            ends = []
            for sign in (1, -1):
                moved = list(start)
                moved[i] = start[i].copy()
                moved[i][index] += sign * DIFFERENCE
                engine.set_tensors(moved)
                ends.append(engine.loss_and_grad(*data, training=training, n_threads=1)[0])
            slope = (ends[0] - ends[1]) / (2 * DIFFERENCE)
            assert abs(gradient[index] - slope) <= 1e-6 * abs(slope) + DIFFERENCE_FLOOR * max(1.0, abs(loss)), (
                i,
                index,
            )


@pytest.mark.thorough
@pytest.mark.parametrize(("loss", "last", "hidden"), suited())
def test_gradient_by_central_differences(loss: str, last: str, hidden: str) -> None:
    central_differences(Problem([dense(4, hidden), dense(3, last)], LOSSES[loss][0], rows=6), training=False)


@pytest.mark.thorough
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("net", ["dropout", "layer_norm", "residual", "penalties", "no_bias", "residual_first"])
def test_gradient_of_layers_by_central_differences(net: str, training: bool) -> None:
    central_differences(Problem(nets("silu", "linear")[net], rows=6), training)


@pytest.mark.thorough
def test_gradient_of_a_rescaled_net_by_central_differences() -> None:
    central_differences(Problem(nets("silu", "linear")["rescaling"], rows=6), True, (0, 1, 4, 5, 8, 9))


@pytest.mark.parametrize("loss", ["binary", "classes", "ids"])
def test_a_loss_is_fused_with_the_activation_after_a_rescaling(loss: str) -> None:
    spec, last = LOSSES[loss]
    compare(Problem([dense(6, "tanh"), dense(3), RESCALING, activation(last)], spec), gradients)
