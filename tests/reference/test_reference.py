"""The reference engine's numbers: random streams, gradients, penalties, stability and metrics."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from fastdense.reference.activations import NAMES, Activation
from fastdense.reference.engine import Engine
from fastdense.reference.losses import CLASSES
from fastdense.reference.merges import MERGES
from fastdense.reference.rng import dropout_mask, normal, philox, shuffle_indices, truncated_normal, uniform
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
    activation,
    branches,
    code_columns,
    dense,
    embedding,
    grouped_dense,
    loss_spec,
    make,
    metric,
    periodic,
    piecewise_linear,
    select_columns,
)

RNG = np.random.default_rng(11)
X = RNG.normal(size=(6, 3))
W = RNG.uniform(0.5, 2.0, 6)
IDS = np.array([0, 1, 2, 1, 0, 2])
ONE_HOT = np.eye(3)[IDS]
SOFT = RNG.dirichlet([1.0, 1.0, 1.0], 6)
REAL = RNG.normal(size=(6, 3))


# -- random numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(counter: tuple[int, ...], key: tuple[int, ...], words: tuple[int, ...]) -> None:
    """Known-answer vectors of the Random123 distribution (kat_vectors, philox4x32 10)."""
    assert tuple(philox(counter, key)) == words
    assert tuple(philox([[1, 2, 3, 4], counter], key)[1]) == words


def scalar_shuffle(n: int, seed: int, epoch: int, position: int) -> int:
    """Follow the shuffle's definition with Python's own integers."""
    low = 0xFFFFFFFF
    key = (seed & low, seed >> 32 & low)
    keys = [int(word) for block in (0, 1) for word in philox((block, 0, epoch, 2), key)][:6]
    h = max(4, math.ceil((n - 1).bit_length() / 2))
    value: int = position
    while True:
        left, right = value >> h, value & (2**h - 1)
        for k in keys:
            mixed = (right + k) & low
            mixed ^= mixed >> 16
            mixed = mixed * 0x85EBCA6B & low
            mixed ^= mixed >> 13
            mixed = mixed * 0xC2B2AE35 & low
            mixed ^= mixed >> 16
            left, right = right, left ^ (mixed & (2**h - 1))
        value = left << h | right
        if value < n:
            return value


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 17, 255, 256, 257, 1000, 1025, 65537])
def test_shuffle_is_a_permutation(n: int) -> None:
    order = shuffle_indices(n, seed=2**40 + 5, epoch=3)
    assert np.array_equal(np.sort(order), np.arange(n))
    some = np.unique([0, n // 2, n - 1])
    assert np.array_equal(shuffle_indices(n, 2**40 + 5, 3, some), order[some])
    assert [scalar_shuffle(n, 2**40 + 5, 3, int(i)) for i in some] == list(order[some])
    if n > 16:
        assert not np.array_equal(order, shuffle_indices(n, 2**40 + 5, 4))
        assert not np.array_equal(order, shuffle_indices(n, 5, 3))


def test_shuffle_is_uniform() -> None:
    """Every bound is five standard deviations of what uniformly random orders would give."""
    epochs, n = 400, 200
    orders = np.array([shuffle_indices(n, 0, epoch) for epoch in range(epochs)])
    tenth = np.broadcast_to(np.arange(n) // 20, orders.shape)
    cells = np.histogram2d(tenth.ravel(), orders.ravel() // 20, bins=10)[0]
    assert ((cells - epochs * 2) ** 2 / (epochs * 2)).sum() < 81 + 5 * math.sqrt(2 * 81)
    first = np.bincount(orders[:, 0] // 20, minlength=10)
    assert ((first - epochs / 10) ** 2 / (epochs / 10)).sum() < 9 + 5 * math.sqrt(2 * 9)
    ascents = (np.diff(orders, axis=1) > 0).sum()
    assert abs(ascents - epochs * (n - 1) / 2) < 5 * math.sqrt(epochs * (n + 1) / 12)
    small = np.unique([shuffle_indices(3, 0, epoch) for epoch in range(60)], axis=0, return_counts=True)[1]
    assert len(small) == 6 and ((small - 10) ** 2 / 10).sum() < 5 + 5 * math.sqrt(2 * 5)


def test_uniform_and_normals() -> None:
    seed, n = 2**33 + 9, 20001
    u = uniform(seed, 2, n)
    assert u.min() > 0 and u.max() < 1
    assert abs(u.mean() - 0.5) < 5 * math.sqrt(1 / 12 / n)
    assert abs((u**2).mean() - 1 / 3) < 5 * math.sqrt(4 / 45 / n)
    words = [int(word) for word in philox((4, 0, 2, 1), (9, 2))]
    assert u[9] == ((words[2] >> 5) * 2**26 + (words[3] >> 6) + 0.5) / 2**53
    assert not np.array_equal(u[:10], uniform(seed, 3, 10))
    assert normal(seed, 2, 4)[3] == NormalDist().inv_cdf(u[3])
    t = truncated_normal(seed, 2, 5000)
    assert np.abs(t).max() < 2
    # The variance of a normal cut at +-2 is 1 - 4 phi(2)/(2 Phi(2) - 1) = 0.7737.
    assert abs(t.var() - 0.7737413) < 0.05


def test_dropout_mask_follows_the_stream() -> None:
    seed, op, step, rate = 2**35 + 3, 5, 2**32 + 8, 0.3
    mask = dropout_mask(seed, op, step, rate, (3, 5))
    for e in range(15):
        word = int(philox((e >> 2, 8, 5 | 1 << 16, 3), (3, 8))[e & 3])
        assert mask[divmod(e, 5)] == (word >= int(rate * 2**32))
    large = dropout_mask(seed, op, 0, rate, (200, 500))
    assert abs(large.mean() - 0.7) < 5 * math.sqrt(0.21 / 1e5)
    assert dropout_mask(seed, op, 0, 0.0, (2, 3)).all()


def test_dropout_keeps_the_mean() -> None:
    engine = make([DROPOUT])
    kept = dropout_mask(7, 0, 0, DROPOUT["rate"], (6, 3))
    assert 0 < kept.sum() < 18
    value = engine.loss_and_grad(np.ones((6, 3)), np.zeros((6, 3)), None, training=True)[0]
    assert value == pytest.approx(kept.mean() / 0.6**2, rel=1e-14)
    assert engine.loss_and_grad(np.ones((6, 3)), np.zeros((6, 3)), None, training=False)[0] == 1.0


# -- activations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "x", "value"),
    [
        ("relu6", 7.0, 6.0),
        ("leaky_relu", -2.0, -0.6),
        ("elu", -1.0, 0.3 * (math.exp(-1) - 1)),
        ("celu", -1.0, 0.3 * (math.exp(-1 / 0.3) - 1)),
        ("selu", -1.0, -1.1113307378125625),
        ("gelu", 1.0, 0.8413447460685429),
        ("gelu", -9.0, -9.0 * 1.1285884059538406e-19),
        ("silu", -1.0, -1 / (1 + math.e)),
        ("mish", 1.0, math.tanh(math.log(1 + math.e))),
        ("softplus", 0.0, math.log(2)),
        ("softplus", 800.0, 800.0),
        ("softsign", -3.0, -0.75),
        ("tanh", 0.5, math.tanh(0.5)),
        ("sigmoid", -800.0, 0.0),
        ("sigmoid", 1.0, 1 / (1 + math.exp(-1))),
        ("hard_sigmoid", 1.0, 2 / 3),
        ("exponential", 1.0, math.e),
        ("linear", -2.5, -2.5),
    ],
)
def test_activation_values(name: str, x: float, value: float) -> None:
    # 2e-14: a few dozen roundings, in the cdf's tail too.
    assert Activation(name, 0.3).value(np.array([[x]]), None)[0, 0] == pytest.approx(value, rel=2e-14, abs=1e-300)


@pytest.mark.parametrize(
    ("name", "x", "slope"),
    [
        ("relu", 0.0, 0.0),
        ("relu6", 0.0, 0.0),
        ("relu6", 6.0, 0.0),
        ("hard_sigmoid", -3.0, 0.0),
        ("hard_sigmoid", 3.0, 0.0),
        ("leaky_relu", 0.0, 0.3),
        ("elu", 0.0, 0.3),
        ("celu", 0.0, 1.0),
        ("selu", 0.0, 1.0507009873554805 * 1.6732632423543772),
    ],
)
def test_activation_derivatives_at_kinks(name: str, x: float, slope: float) -> None:
    z, one = np.array([[x]]), np.ones((1, 1))
    function = Activation(name, 0.3)
    assert function.gradient(z, function.value(z, None), one, None)[0][0, 0] == slope


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("prelu", "softmax")])
def test_activation_derivatives(name: str) -> None:
    """Central differences from -8 to 8, past every kink; tolerances as in `check_gradient`."""
    function, h = Activation(name, 0.3), 6e-6
    z = np.linspace(-8.0, 8.0, 65)[:, None] + 0.013
    expected = (function.value(z + h, None) - function.value(z - h, None)) / (2 * h)
    found = function.gradient(z, function.value(z, None), np.ones_like(z), None)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_prelu_takes_the_slope_at_zero() -> None:
    z, one, slope = np.zeros((1, 1)), np.ones((1, 1)), np.array([0.2])
    assert Activation("prelu", 0.0).gradient(z, z, one, slope)[0][0, 0] == 0.2


# -- gradients against central differences -----------------------------------------------------------------------


def check_gradient(engine: Engine, x: Any, y: Any, w: Any = None, *, training: bool = True, fixed: Any = ()) -> None:
    """Compare the gradient with central differences of the reported loss, for every element not in tensors `fixed`.

    With h = 6e-6, about eps^(1/3), the truncation error h^2 f'''/6 and the rounding error eps |loss|/h of a difference
    are both about 4e-11 times the size of f. Relative 1e-6 leaves room for curvature; a wrong formula is off by far
    more. The fixed random points lie further than h from every kink.
    """
    value, gradient = engine.loss_and_grad(x, y, w, training=training)
    assert math.isfinite(value)
    h, start = 6e-6, engine.get_tensors()
    trained = [i for i in range(len(start)) if i not in fixed]
    assert [g.shape for g in gradient] == [start[i].shape for i in trained]
    assert max(np.abs(g).max() for g in gradient) > 1e-3
    for i, found in zip(trained, gradient, strict=True):
        expected = np.zeros_like(found)
        for index in np.ndindex(found.shape):
            ends = []
            for sign in (1, -1):
                moved = [tensor.copy() for tensor in start]
                moved[i][index] += sign * h
                engine.set_tensors(moved)
                ends.append(engine.loss_and_grad(x, y, w, training=training)[0])
            expected[index] = (ends[0] - ends[1]) / (2 * h)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9 * max(1.0, abs(value)), err_msg=f"tensor {i}")
    engine.set_tensors(start)


ANY_OUTPUT = ("mse", "mae", "huber", "log_cosh", "mape", "quantile", "hinge")
POSITIVE = ("softplus", "sigmoid", "exponential", "softmax")
SHARES = ("softmax", "sigmoid", "softplus", "exponential", "hard_sigmoid")  # categorical divides by the sum
LOSS_CASES = [
    *((kind, name, False) for kind, name in itertools.product(ANY_OUTPUT, NAMES)),
    *(("poisson", name, False) for name in POSITIVE),
    *(("binary_crossentropy", name, False) for name in ("sigmoid", "hard_sigmoid", "softmax")),
    *((kind, name, False) for kind, name in itertools.product(CLASSES, SHARES)),
    *((kind, name, True) for kind, name in itertools.product(("binary_crossentropy", *CLASSES), NAMES)),
]


@pytest.mark.parametrize(("kind", "name", "from_logits"), LOSS_CASES)
def test_gradient_of_every_activation_and_loss(kind: str, name: str, from_logits: bool) -> None:
    smoothing = 0.2 if "crossentropy" in kind else 0.0
    targets = {"hinge": 2 * ONE_HOT - 1, "poisson": np.abs(REAL), "binary_crossentropy": SOFT}
    y = targets.get(kind, REAL) if "categorical" not in kind else IDS if kind.startswith("sparse") else SOFT
    spec = loss_spec(kind, from_logits=from_logits, label_smoothing=smoothing)
    engine = make([dense(4, "tanh"), dense(3, name)], loss=spec)
    check_gradient(engine, X, y, W)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "softmax"])
def test_gradient_of_hidden_activations(name: str) -> None:
    check_gradient(make([dense(4, name), activation(name), dense(2)]), X / 4, REAL[:, :2])  # small: exp of exp


INNER = [
    branches([dense(4)], [dense(3, "tanh"), dense(4)], [], merge="multiply"),
    [BEGIN, *branches([dense(4)], [dense(4, "silu")], merge="subtract"), END],
]
LAYERS: dict[str, tuple[list[dict[str, Any]], tuple[int, ...]]] = {
    "no_bias": ([dense(4, "prelu", use_bias=False), dense(2, use_bias=False)], ()),
    "batch_norm": ([dense(4, "tanh"), BATCH_NORM, dense(2)], (4, 5)),
    "batch_norm_first": ([BATCH_NORM, dense(2)], (2, 3)),
    "batch_norm_last": ([dense(2), BATCH_NORM], (4, 5)),
    "layer_norm": ([dense(4, "tanh"), LAYER_NORM, dense(2)], ()),
    "dropout": ([DROPOUT, dense(6, "tanh"), DROPOUT, dense(2)], ()),
    "noise": ([GAUSSIAN_NOISE, dense(6, "tanh"), ALPHA_DROPOUT, dense(3), GAUSSIAN_DROPOUT, dense(2)], ()),
    "unit_norm": ([UNIT_NORM, dense(4, "tanh"), UNIT_NORM, dense(2)], ()),
    "activity": ([ACTIVITY, dense(4, "tanh"), ACTIVITY, dense(2), ACTIVITY], ()),
    "norms_without": (
        [
            *[dense(4, "tanh"), LAYER_NORM | {"centers": False, "kernel_l1": 0.1}, dense(4)],
            *[LAYER_NORM | {"scales": False, "bias_l2": 0.1}, BATCH_NORM | {"scales": False, "centers": False}],
            dense(2),
        ],
        (6, 7),
    ),
    "normalization": ([dense(3), NORMALIZATION, dense(2)], (2, 3)),
    "rescaling": ([RESCALING, dense(3), RESCALING, dense(2), RESCALING], (0, 1, 4, 5, 8, 9)),
    "scale": ([SCALE, dense(3), SCALE, dense(2)], ()),
    "piecewise_linear": ([dense(3), piecewise_linear([0, 2], 4), dense(2)], (2,)),
    "piecewise_linear_keep": ([dense(3), piecewise_linear([0, 2], 4, keep=True), dense(2)], (2,)),
    "periodic": ([dense(3), periodic([1], 4), periodic([0, 2], 2, keep=True), dense(2)], ()),
    "embedding": ([embedding([0, 2], [3, 2], 2), dense(2)], (1,)),
    "grouped_dense": (
        [dense(5), grouped_dense(2, 2, 3, "tanh"), grouped_dense(3, 2, 2, use_bias=False), dense(2)],
        (),
    ),
    "branches": ([*branches([], [dense(4, "tanh"), dense(2, "silu")]), dense(2)], ()),
    "branches_of_columns": (
        [*branches([select_columns(2, 0), dense(2, "tanh")], [select_columns(1)], [LAYER_NORM, dense(3)]), dense(2)],
        (),
    ),
    "branches_inside": (
        [dense(4, "tanh"), *branches([], *[[select_columns(3, 1, 0, 2), *inner] for inner in INNER], []), dense(2)],
        (),
    ),
    "branches_last": ([*branches([dense(2)], [dense(2, "tanh")], merge="multiply")], ()),
    "branches_empty": ([dense(2), *branches([], [], merge="average")], ()),
    "residual": ([BEGIN, dense(4, "tanh"), BEGIN, dense(4, "silu"), END, dense(3), END, dense(2)], ()),
    "residual_last": ([dense(2), BEGIN, LAYER_NORM, END], ()),
    "residual_empty": ([dense(2), BEGIN, END], ()),
    "activation_last": ([dense(2), activation("prelu")], ()),
    "softmax_op_last": ([dense(2), activation("softmax")], ()),
}


@pytest.mark.parametrize("merge", ["concatenate", *MERGES])
def test_gradient_of_merges(merge: str) -> None:
    chains = [[dense(4, "tanh")], [dense(3, "silu"), dense(4)], [LAYER_NORM]][: 2 if merge == "subtract" else None]
    check_gradient(make([dense(4, "tanh"), *branches(*chains, merge=merge), dense(2)]), X, REAL[:, :2], W)


def test_equal_branches_share_the_derivative_of_a_maximum() -> None:
    """By halves, as one after another is compared with the largest so far; so does Keras with JAX."""
    for merge in ("maximum", "minimum"):
        engine = make([*branches([dense(1)], [dense(1)], [dense(1)], merge=merge)], inputs=1)
        engine.set_tensors([np.ones((1, 1)), np.zeros(1)] * 3)
        grads = engine.loss_and_grad(np.ones((1, 1)), np.zeros((1, 1)), None, training=True)[1]
        assert [float(g[0]) for g in grads[1::2]] == [0.5, 0.5, 1.0]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_gradient_of_layers(name: str, training: bool) -> None:
    ops, fixed = LAYERS[name]
    x = X.copy()
    for column, codes in code_columns(ops).items():
        x[:, column] = IDS % (codes + 1)  # the last one is not known
    check_gradient(make(ops), x, REAL[:, :2], W, training=training, fixed=fixed)


PENALTIES: dict[str, dict[str, Any]] = {
    "l1": {"kernel_l1": 0.3},
    "l2": {"kernel_l2": 0.3},
    "bias": {"bias_l1": 0.2, "bias_l2": 0.3},
    "rows": {"kernel_orthogonal": 0.7},
    "columns": {"kernel_orthogonal": 0.7, "kernel_orthogonal_columns": True},
    "repulsion": {"kernel_repulsion": 0.7},
    "activity_l1": {"activity_l1": 0.3},
    "activity_l2": {"activity_l2": 0.3},
    "all": {"kernel_l1": 0.1, "kernel_l2": 0.1, "kernel_orthogonal": 0.1, "kernel_repulsion": 0.1, "activity_l2": 0.1},
}


@pytest.mark.parametrize("name", PENALTIES)
def test_gradient_of_penalties(name: str) -> None:
    check_gradient(make([dense(4, "tanh", **PENALTIES[name]), dense(2)]), X, REAL[:, :2], W)
    fused = make([dense(3, "softmax", **PENALTIES[name])], loss="categorical_crossentropy")
    check_gradient(fused, X, SOFT, W, training=False)


@pytest.mark.parametrize("kind", ["binary_crossentropy", "categorical_crossentropy"])
def test_gradient_through_probabilities_that_are_clipped(kind: str) -> None:
    """A sigmoid that is not last is not fused: beyond the clip at 1e-7 the gradient is 0."""
    engine = make([dense(2, "sigmoid"), activation("linear")], inputs=1, loss=kind)
    engine.set_tensors([np.array([[40.0, -40.0]]), np.zeros(2)])
    value, gradient = engine.loss_and_grad(np.ones((1, 1)), np.array([[0.0, 1.0]]), None, training=False)
    assert value == pytest.approx(-math.log(1e-7), rel=1e-6)
    assert all(np.array_equal(g, np.zeros_like(g)) for g in gradient)


# -- losses and penalties: values --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "y", "p", "param", "value"),
    [
        ("mse", 1.0, 3.0, 0.0, 4.0),
        ("mae", 1.0, 3.0, 0.0, 2.0),
        ("huber", 1.0, 1.2, 0.5, 0.02),
        ("huber", 1.0, 3.0, 0.5, 0.875),
        ("log_cosh", 1.0, 3.0, 0.0, math.log(math.cosh(2.0))),
        ("log_cosh", 0.0, -1e4, 0.0, 1e4 - math.log(2.0)),
        ("mape", 4.0, 3.0, 0.0, 25.0),
        ("mape", 0.0, 1e-7, 0.0, 100.0),
        ("poisson", 2.0, 3.0, 0.0, 3.0 - 2.0 * math.log(3.0)),
        ("quantile", 1.0, 3.0, 0.9, 0.2),
        ("quantile", 3.0, 1.0, 0.9, 1.8),
        ("hinge", -1.0, 0.5, 0.0, 1.5),
        ("hinge", 1.0, 2.0, 0.0, 0.0),
    ],
)
def test_loss_values(kind: str, y: float, p: float, param: float, value: float) -> None:
    engine = make([activation("linear")], inputs=1, loss=loss_spec(kind, param=param))
    totals = engine.evaluate(np.array([[p], [p]]), np.array([[y], [y]]), np.array([1.0, 3.0]))
    # 1e-7: poisson's fuzz inside the logarithm. Weights 1 and 3: the sum is 4 values, not their mean.
    np.testing.assert_allclose(totals, [4.0 * value, 2.0], rtol=1e-7, atol=1e-14)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_fused_cross_entropy_is_that_of_the_probabilities(smoothing: float) -> None:
    z = REAL
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    for kind, y in (("sparse_categorical_crossentropy", IDS), ("categorical_crossentropy", ONE_HOT)):
        expected = -((ONE_HOT * (1 - smoothing) + smoothing / 3) * np.log(p)).sum()
        for name, from_logits, x in (("softmax", False, z), ("linear", True, z), ("linear", False, p)):
            spec = loss_spec(kind, from_logits=from_logits, label_smoothing=smoothing)
            assert make([activation(name)], loss=spec).evaluate(x, y, None)[0] == pytest.approx(expected, rel=1e-13)
    s = 1 / (1 + np.exp(-z))
    t = ONE_HOT * (1 - smoothing) + smoothing / 2
    expected = -(t * np.log(s) + (1 - t) * np.log(1 - s)).mean(axis=1).sum()
    for name, from_logits, x in (("sigmoid", False, z), ("linear", True, z), ("linear", False, s)):
        spec = loss_spec("binary_crossentropy", from_logits=from_logits, label_smoothing=smoothing)
        assert make([activation(name)], loss=spec).evaluate(x, ONE_HOT, None)[0] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("name", ["softmax", "sigmoid"])
@pytest.mark.parametrize("from_logits", [False, True])
def test_cross_entropy_at_huge_logits(name: str, from_logits: bool) -> None:
    kind = "categorical_crossentropy" if name == "softmax" else "binary_crossentropy"
    last = "linear" if from_logits else name
    engine = make([dense(2, last)], inputs=1, loss=loss_spec(kind, from_logits=from_logits))
    engine.set_tensors([np.array([[1e4, -1e4]]), np.zeros(2)])
    x, right, wrong = np.ones((1, 1)), np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    full = 2e4 if name == "softmax" else 1e4
    step = 1.0 if name == "softmax" else 0.5
    value, gradient = engine.loss_and_grad(x, right, None, training=True)
    assert value == 0.0 and np.array_equal(gradient[1], [0.0, 0.0])
    value, gradient = engine.loss_and_grad(x, wrong, None, training=True)
    assert value == full and np.array_equal(gradient[1], [step, -step])


def test_penalty_values() -> None:
    x, y = np.zeros((2, 2)), np.zeros((2, 2))

    def penalty(kernel: Any, **options: Any) -> float:
        engine = make([dense(2, **options)], inputs=2)
        engine.set_tensors([np.array(kernel, dtype=float), np.zeros(2)])
        return engine.loss_and_grad(x, y, None, training=True)[0]

    assert penalty([[1, -2], [3, 0]], kernel_l1=0.5, kernel_l2=0.1) == pytest.approx(0.5 * 6 + 0.1 * 14)
    assert penalty([[2, 0], [0, 5]], kernel_orthogonal=1.0, kernel_repulsion=1.0) == 0.0
    assert penalty([[1, 1], [0, 1]], kernel_orthogonal=0.5) == pytest.approx(0.5 * math.sqrt(0.5))
    assert penalty([[3, -1], [3, -1]], kernel_orthogonal=0.5, kernel_orthogonal_columns=True) == pytest.approx(0.5)
    assert penalty([[3, -1], [3, -1]], kernel_repulsion=0.5) == 0.0  # opposite units do not collapse
    assert penalty([[3, 1], [3, 1]], kernel_repulsion=0.5) == pytest.approx(0.5)
    assert penalty([[0, 1], [0, 1]], kernel_orthogonal=0.5, kernel_orthogonal_columns=True) == 0.0


def test_activity_penalty_is_per_row() -> None:
    engine = make([dense(2, "relu", activity_l1=0.5, activity_l2=0.25)], inputs=1)
    engine.set_tensors([np.array([[1.0, -1.0]]), np.zeros(2)])
    x = np.array([[2.0], [-4.0]])
    a = np.array([[2.0, 0.0], [0.0, 4.0]])
    assert engine.loss_and_grad(x, a, None, training=True)[0] == pytest.approx((0.5 * 6 + 0.25 * 20) / 2)
    # Evaluated in parts or whole, the sum of loss * rows is the same.
    many = np.resize(x, (9000, 1))
    assert engine.evaluate(many, np.resize(a, (9000, 2)), None)[0] == pytest.approx(4500 * (0.5 * 6 + 0.25 * 20))


# -- metrics -----------------------------------------------------------------------------------------------------

P3 = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3]])
T3 = np.array([0, 1, 1])
W3 = np.array([1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("spec", "sums"),
    [
        (metric("categorical_accuracy"), [5, 7]),
        (metric("sparse_categorical_accuracy"), [5, 7]),
        (metric("top_k", k=2), [7, 7]),
        (metric("top_k", k=1), [5, 7]),
        (metric("binary_accuracy", threshold=0.25), [1 + 2 * 2 / 3 + 4 * 2 / 3, 7]),
        (metric("mse"), [0.14 / 3 + 2 * 0.86 / 3 + 4 * 0.38 / 3, 7]),
        (metric("mae"), [0.2 + 2 * 1.4 / 3 + 4 / 3, 7]),
        (metric("mape"), [(30 + 3e8) / 3 + 2 * (70 + 7e8) / 3 + 4 * (50 + 5e8) / 3, 7]),
        (metric("f1", multiclass=True), [1, 4, 0, 0, 0, 2, 0, 2, 0]),
        (metric("precision", threshold=0.25), [1, 6, 0, 0, 0, 6, 0, 0, 0]),
        (metric("recall", threshold=0.55), [1, 0, 0, 0, 0, 2, 0, 6, 0]),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_metric_sums(spec: dict[str, Any], sums: list[float]) -> None:
    engine = make([activation("linear")], metrics=(spec,))
    y = np.eye(3)[T3]
    np.testing.assert_allclose(engine.evaluate(P3, y, W3)[2:], sums, rtol=1e-12)
    apart = sum(engine.evaluate(P3[[i]], y[[i]], W3[[i]]) for i in range(3))
    np.testing.assert_allclose(apart, engine.evaluate(P3, y, W3), rtol=1e-12)
    ids = make([activation("softmax")], loss="sparse_categorical_crossentropy", metrics=(spec,))
    np.testing.assert_allclose(ids.evaluate(np.log(P3), T3, W3)[2:], sums, rtol=1e-12)
    logits = loss_spec("sparse_categorical_crossentropy", from_logits=True)
    engine = make([activation("linear")], loss=logits, metrics=(spec,))
    unweighted = engine.evaluate(np.log(P3), T3, None)
    assert np.array_equal(unweighted, engine.evaluate(np.log(P3), T3, np.ones(3)))
    np.testing.assert_allclose(unweighted[2:], ids.evaluate(np.log(P3), T3, None)[2:], rtol=1e-12)


def test_r2_sums() -> None:
    engine = make([activation("linear")], inputs=1, metrics=(metric("r2"),))
    totals = engine.evaluate(np.array([[1.0], [2.0]]), np.array([[3.0], [1.0]]), np.array([1.0, 2.0]))
    np.testing.assert_allclose(totals[2:], [3, 5, 11, 6])


def test_equal_scores_share_the_places_that_are_left() -> None:
    p = np.array([[0.25] * 4, [0.4, 0.3, 0.3, 0.0], [0.4, 0.3, 0.3, 0.0], [np.nan, 0.0, 0.0, 0.0]])
    y = np.array([2, 0, 1, 0])
    for k, expected in ((1, [1 / 4, 1, 0, 0]), (2, [1 / 2, 1, 1 / 2, 0]), (3, [3 / 4, 1, 1, 0]), (5, [1, 1, 1, 0])):
        for i in range(4):
            loss = loss_spec("sparse_categorical_crossentropy")
            engine = make([activation("linear")], inputs=4, loss=loss, metrics=(metric("top_k", k=k),))
            assert engine.evaluate(p[i : i + 1], y[i : i + 1], None)[2:].tolist() == [expected[i], 1.0]


@pytest.mark.parametrize("kind", ["mse", "binary_accuracy", "precision", "r2"])
def test_metrics_may_leave_sample_weights_out(kind: str) -> None:
    rng = np.random.default_rng(0)
    p, y, w = rng.random((9, 1)), rng.integers(0, 2, (9, 1)) * 1.0, rng.random(9)
    weighted, plain = (
        make([activation("linear")], inputs=1, metrics=(metric(kind, weighted=of),)) for of in (True, False)
    )
    assert np.array_equal(plain.evaluate(p, y, w)[2:], plain.evaluate(p, y, None)[2:])
    assert np.array_equal(plain.evaluate(p, y, None)[2:], weighted.evaluate(p, y, None)[2:])
    assert not np.array_equal(plain.evaluate(p, y, w)[2:], weighted.evaluate(p, y, w)[2:])
