"""Single kernels of every instruction set this CPU has, at the sizes where vectors and their tails begin and end."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastdense import _core, reference
from fastdense.reference.activations import ELEMENTWISE
from tests.helpers.tolerances import CANCELLING, DTYPES, GELU_TAIL, QUANTILE, QUICK, SLOPE, SLOPE_PER_X, SUM, ULP, UNIT

kernels = _core.kernels
ISAS = [isa for isa in _core.build_info()["isa_available"].split(", ") if not isa.endswith("bf16")]  # see test_bf16.py
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 257)
Long = np.longdouble
Array = Any
ALPHA = 0.3

pytestmark = [
    pytest.mark.skipif(np.finfo(Long).eps > 1e-18, reason="long double is not wider than double here"),
    pytest.mark.filterwarnings("ignore:overflow", "ignore:underflow", "ignore:invalid value", "ignore:divide by zero"),
]
every_kernel = pytest.mark.parametrize("dtype", DTYPES)
every_isa = pytest.mark.parametrize("isa", ISAS)


# -- activations against long double -----------------------------------------------------------------------------


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, Long(1), e) / (1 + e)


def softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def phi(x: Array) -> Array:
    """Normal distribution function, good to double precision: gelu's error is a multiple of that."""
    return Long(0.5) * np.frompyfunc(math.erfc, 1, 1)(-np.asarray(x, float) / math.sqrt(2)).astype(float).astype(Long)


def below(x: Array) -> Array:
    return np.minimum(x, 0)


SELU, SELU_ALPHA = Long(1.0507009873554805), Long(1.6732632423543772)
EXACT: dict[str, tuple[Callable[[Array, Array], Array], Callable[[Array, Array], Array]]] = {
    "linear": (lambda x, a: x, lambda x, a: x * 0 + 1),
    "relu": (lambda x, a: np.maximum(x, 0), lambda x, a: (x > 0) * Long(1)),
    "leaky_relu": (lambda x, a: np.where(x > 0, x, a * x), lambda x, a: np.where(x > 0, 1, a)),
    "relu6": (lambda x, a: np.clip(x, 0, 6), lambda x, a: ((x > 0) & (x < 6)) * Long(1)),
    "elu": (
        lambda x, a: np.where(x > 0, x, a * np.expm1(below(x))),
        lambda x, a: np.where(x > 0, 1, a * np.exp(below(x))),
    ),
    "selu": (
        lambda x, a: SELU * np.where(x > 0, x, SELU_ALPHA * np.expm1(below(x))),
        lambda x, a: SELU * np.where(x > 0, 1, SELU_ALPHA * np.exp(below(x))),
    ),
    "celu": (
        lambda x, a: np.where(x > 0, x, a * np.expm1(below(x) / a)),
        lambda x, a: np.where(x > 0, 1, np.exp(below(x) / a)),
    ),
    "gelu": (lambda x, a: x * phi(x), lambda x, a: phi(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * Long(np.pi))),
    "silu": (lambda x, a: x * sigmoid(x), lambda x, a: sigmoid(x) * (1 + x * sigmoid(-x))),
    "mish": (
        lambda x, a: x * np.tanh(softplus(x)),
        lambda x, a: np.tanh(softplus(x)) + x * sigmoid(x) / np.cosh(softplus(x)) ** 2,
    ),
    "softplus": (lambda x, a: softplus(x), lambda x, a: sigmoid(x)),
    "log_sigmoid": (lambda x, a: -softplus(-x), lambda x, a: sigmoid(-x)),
    "tanh_shrink": (lambda x, a: x - np.tanh(x), lambda x, a: np.tanh(x) ** 2),
    "softsign": (lambda x, a: x / (1 + np.abs(x)), lambda x, a: 1 / (1 + np.abs(x)) ** 2),
    "tanh": (lambda x, a: np.tanh(x), lambda x, a: 1 / np.cosh(x) ** 2),
    "sigmoid": (lambda x, a: sigmoid(x), lambda x, a: sigmoid(x) * sigmoid(-x)),
    "hard_sigmoid": (lambda x, a: np.clip(x + 3, 0, 6) / 6, lambda x, a: ((x > -3) & (x < 3)) / Long(6)),
    "exponential": (lambda x, a: np.exp(x), lambda x, a: np.exp(x)),
}


def points(dtype: str) -> Array:
    """Where nets live, the whole range of exp, tiny numbers of both signs, the ends."""
    rng, end = np.random.default_rng(0), {"float32": 104.0, "float64": 746.0}[dtype]
    x = [
        rng.uniform(-20, 20, 20000),
        rng.uniform(-end, end, 10000),
        rng.normal(size=6000) * 10.0 ** rng.uniform(-40, 0, 6000),
    ]
    return np.concatenate([*x, np.linspace(-1e4, 1e4, 101), np.arange(-8.0, 8.5, 0.5)]).astype(dtype)


def off(got: Array, exact: Array, unit: Array) -> Array:
    """|got - exact| in units; 0 where exact is beyond got's type."""
    finite = np.abs(exact) <= np.finfo(got.dtype).max
    return np.where(finite, np.abs(got.astype(Long) - exact) / unit, 0)


@every_isa
@every_kernel
@pytest.mark.parametrize("name", EXACT)
def test_activation_accuracy(isa: str, dtype: str, name: str) -> None:
    x, kind = points(dtype), np.dtype(dtype).type
    alpha, info = Long(kind(ALPHA)), np.finfo(dtype)
    value, slope = (f(x.astype(Long), alpha) for f in EXACT[name])
    got = kernels.activation(isa, name, x[None], ALPHA)[0]
    assert np.array_equal(np.isinf(got), np.abs(value) > info.max)
    if name in CANCELLING:
        unit, limit = info.eps * np.maximum(1, np.abs(x)), CANCELLING[name]
    else:  # silu and mish are x times something that may be subnormal
        floor = info.tiny * np.where(name in ("silu", "mish"), np.maximum(1, np.abs(x)), 1)
        unit, limit = np.spacing(np.maximum(np.abs(value), floor).astype(dtype)).astype(Long), ULP[name]
    worst = off(got, value, unit)
    assert worst.max() <= limit, (x[worst.argmax()], float(worst.max()))
    got = kernels.activation_slope(isa, name, x[None], ALPHA)[0]
    worst = off(got, slope, info.eps * np.maximum(1, np.abs(slope)))
    allowance = SLOPE + SLOPE_PER_X * np.abs(x) * (name in ("silu", "mish"))
    assert (worst <= allowance).all(), (x[(worst - allowance).argmax()], float(worst.max()))


@every_isa
def test_gelu_keeps_its_tail(isa: str) -> None:
    """Below 0 as well as above, gelu of float32 has its digits: 1 + erf would have none left at -6."""
    x = np.linspace(-13, 0, 20011, dtype=np.float32)[:-1]
    exact = x.astype(Long) * phi(x.astype(Long))
    allowed = (GELU_TAIL + x.astype(float) ** 2) * UNIT["float32"] * np.abs(exact)
    off_by = np.abs(kernels.activation(isa, "gelu", x[None])[0] - exact)
    assert (off_by <= allowed).all(), x[(off_by - allowed).argmax()]


@every_isa
@every_kernel
@pytest.mark.parametrize("name", _core.ACTIVATIONS)
def test_special_values(isa: str, dtype: str, name: str) -> None:
    """The reference's verdict on 0, -0, infinities, NaN, subnormals and huge numbers, in every lane and in the tail."""
    tiny = float(np.finfo(dtype).smallest_subnormal)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, tiny, -tiny, 3 * tiny, 1e4, -1e4, 6.0, 3.0, -3.0, 88.0, -88.0]
    special += [float(np.finfo(dtype).max), float(np.finfo(dtype).min), float(np.finfo(dtype).tiny)]
    if name == "softmax":
        for bad in (np.nan, np.inf):
            rows = np.zeros((3, 19), dtype)
            rows[1, 17] = bad
            assert np.isnan(kernels.activation(isa, name, rows)).any(axis=1).tolist() == [False, True, False]
        return
    for shift in range(0, 33, 4):
        x = np.full((1, 40), 0.5, dtype)
        for at, number in enumerate(special):
            x[0, (at + shift) % 40] = number
        got, slope = kernels.activation(isa, name, x, ALPHA)[0], kernels.activation_slope(isa, name, x, ALPHA)[0]
        f, g = ELEMENTWISE.get(name, ELEMENTWISE["leaky_relu"])  # prelu without its slopes: alpha is taken
        alpha = float(np.dtype(dtype).type(ALPHA))
        with np.errstate(all="ignore"):
            exact, exact_slope = f(x[0].astype(float), alpha), g(x[0].astype(float), alpha)
            exact = exact.astype(dtype).astype(float)  # float32 overflows earlier
        assert np.array_equal(np.isnan(got), np.isnan(exact)), (x[0], got, exact)
        assert np.array_equal(np.isinf(got), np.isinf(exact)), (x[0], got, exact)
        finite = np.isfinite(exact) & np.isfinite(exact_slope.astype(dtype)) & (np.abs(x[0]) < 1e30)
        np.testing.assert_allclose(got[finite], exact[finite], rtol=1e-5, atol=16 * tiny)
        np.testing.assert_allclose(slope[finite], exact_slope[finite], rtol=1e-5, atol=3e4 * np.finfo(dtype).eps)


@every_isa
@every_kernel
def test_lanes_and_tails_agree(isa: str, dtype: str) -> None:
    """What is computed for a number depends neither on its neighbours nor on its place: bitwise, at every size."""
    x = np.random.default_rng(1).normal(size=257).astype(dtype) * 3
    for name in _core.ACTIVATIONS:
        if name == "softmax":
            continue
        whole, slopes = (
            kernels.activation(isa, name, x[None], ALPHA)[0],
            kernels.activation_slope(isa, name, x[None], ALPHA)[0],
        )
        for n in SIZES:
            for first in (0, 257 - n):
                part = x[None, first : first + n]
                assert np.array_equal(kernels.activation(isa, name, part, ALPHA)[0], whole[first : first + n]), (
                    name,
                    n,
                )
                assert np.array_equal(kernels.activation_slope(isa, name, part, ALPHA)[0], slopes[first : first + n])


# -- sums, softmax -----------------------------------------------------------------------------------------------


@every_isa
@every_kernel
def test_softmax(isa: str, dtype: str) -> None:
    rng = np.random.default_rng(2)
    for n in SIZES:
        for scale in (1.0, 30.0, 1e4):
            z = (rng.normal(size=(5, n)) * scale).astype(dtype)
            shifted = z.astype(Long) - z.max(axis=1, keepdims=True)
            exact = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
            # exp is good to ULP, its argument z - max to u of itself, the sum to SUM n; two roundings at the end.
            limit = (2 * ULP["exponential"] - shifted + SUM * n + 4) * UNIT[dtype] * exact + np.finfo(dtype).tiny
            assert (np.abs(kernels.activation(isa, "softmax", z) - exact) <= limit).all(), (n, scale)
    same = kernels.activation(isa, "softmax", np.full((2, 10), -1e4, dtype))
    np.testing.assert_allclose(same, 0.1, rtol=4 * UNIT[dtype])


@every_isa
@every_kernel
def test_sums(isa: str, dtype: str) -> None:
    rng = np.random.default_rng(3)
    for n in (*SIZES, 1000, 5000):
        for rows in (1, 2, 3, 4, 5, 8, 33):
            d = rng.uniform(0.5, 1.0, (rows, n % 300 + 1)).astype(dtype)
            exact = d.astype(Long).sum(axis=0)
            assert (np.abs(kernels.column_sums(isa, d) - exact) <= max(1, rows * SUM) * 2 * UNIT[dtype] * exact).all()
        a, b = rng.uniform(0.5, 1.0, (2, n)).astype(dtype)
        exact = (a.astype(Long) * b.astype(Long)).sum()
        assert abs(kernels.dot(isa, a, b) - exact) <= max(4, n * SUM) * UNIT[dtype] * exact, n
        signs = rng.integers(-8, 9, (2, n)).astype(dtype)  # small integers: exact in any order
        assert kernels.dot(isa, *signs) == float((signs[0].astype(float) * signs[1]).sum())
    whole = rng.integers(-100, 101, (37, 65)).astype(dtype)
    assert np.array_equal(kernels.column_sums(isa, whole), whole.sum(axis=0))


@every_isa
@every_kernel
def test_product(isa: str, dtype: str) -> None:
    """Around the edges of its register tiles and panels; one chain of sums for each number, however the work is cut."""
    rng = np.random.default_rng(6)
    for rows in (1, 2, 5, 6, 7, 12, 13, 14, 15, 28, 29):
        for cols in (1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65):
            length = (rows * cols) % 50 + 1
            s, b = (rng.normal(size=shape).astype(dtype) for shape in ((rows, length), (length, cols)))
            whole, turned = kernels.product(isa, s, b, False), kernels.product(isa, s, b.T.copy(), True)
            assert np.array_equal(whole, turned.T)
            exact = s.astype(Long) @ b.astype(Long)
            assert (np.abs(whole - exact) <= length * UNIT[dtype] * (np.abs(s) @ np.abs(b)).astype(Long)).all()
            assert np.array_equal(whole[-1:], kernels.product(isa, s[-1:], b, False))
            assert np.array_equal(whole[:, -1:], kernels.product(isa, s, b[:, -1:], False))
            bad = s.copy()
            bad[rows // 2, length // 2] = np.nan
            assert np.isnan(kernels.product(isa, bad, b, False)).sum() == cols  # its own row, no other


# -- updates -----------------------------------------------------------------------------------------------------


@every_isa
@every_kernel
def test_quick_roots_and_quotients(isa: str, dtype: str) -> None:
    """g/sqrt(v) of rmsprop and m/(sqrt(v) + epsilon) of adam, with constants that leave the slots as they are."""
    rng, info = np.random.default_rng(7), np.finfo(dtype)
    low, high = (-45.0, 38.0) if dtype == "float32" else (-320.0, 300.0)
    v = (10.0 ** rng.uniform(low, high, 20011)).astype(dtype)  # subnormal numbers too
    a, w = rng.normal(size=v.size).astype(dtype), np.zeros_like(v)
    v[:6] = info.smallest_subnormal, info.tiny, info.max, 1.0, 4.0, 0.25
    kernels.update(isa, "rmsprop", (1, 1, 0, 0, 0, 0), w, a, [v])
    exact = -a.astype(Long) / np.sqrt(v.astype(Long))
    worst = off(w, exact, np.spacing(np.abs(exact).astype(dtype)).astype(Long))
    assert worst.max() <= QUICK, (v[worst.argmax()], worst.max())
    for epsilon in (0.0, 1e-7):
        w = np.zeros_like(v)
        kernels.update(isa, "adam", (1, 0, 0, 0, 0, epsilon), w, a, [a.copy(), v])
        exact = -a.astype(Long) / (np.sqrt(v.astype(Long)) + Long(np.dtype(dtype).type(epsilon)))
        worst = off(w, exact, np.spacing(np.abs(exact).astype(dtype)).astype(Long))
        assert worst.max() <= 2 * QUICK + 1, (v[worst.argmax()], worst.max())


@every_isa
@every_kernel
def test_updates_of_special_values(isa: str, dtype: str) -> None:
    """NaN, infinities and 0/0 come out as the plain formulas have them, in whole vectors and in the tail."""
    roots = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1e30], dtype)
    m, v = (part.ravel() for part in np.meshgrid([0.0, 1.0, -1.0, 1e10], [0.0, 1.0, np.nan, 1e-40, 1e30, -1.0]))
    for first in (0, 1, 7):
        d = np.tile(roots, 3)[first:].copy()
        w = np.zeros_like(d)
        kernels.update(isa, "rmsprop", (1, 1, 0, 0, 0, 0), w, np.ones_like(d), [d.copy()])
        np.testing.assert_allclose(w, -1 / np.sqrt(d + 0), rtol=4 * UNIT[dtype])
        for epsilon in (0.0, 1e-7):
            g, d = m[first:].astype(dtype), v[first:].astype(dtype)
            w = np.zeros_like(g)
            kernels.update(isa, "adam", (1, 0, 0, 0, 0, epsilon), w, g, [g.copy(), d.copy()])
            np.testing.assert_allclose(w, -g / (np.sqrt(d) + d.dtype.type(epsilon)), rtol=8 * UNIT[dtype])


@every_isa
@every_kernel
def test_the_constants_of_an_update(isa: str, dtype: str) -> None:
    """All six of them, each in its place: nadam's rule with numbers that no optimizer would take."""
    lr, a, b, c, d, epsilon = 0.5, 0.125, 0.25, 0.75, 0.375, 0.0625
    rng = np.random.default_rng(9)
    w, g, m, v = (rng.uniform(0.5, 2, 37).astype(dtype) for _ in range(4))
    mean, square = (x.astype(Long) for x in (m, v))
    mean, square = mean + a * (g - mean), square + b * (g.astype(Long) ** 2 - square)
    expected = w - lr * (c * mean + d * g) / (np.sqrt(square) + epsilon)
    kernels.update(isa, "nadam", (lr, a, b, c, d, epsilon), w, g, [m, v])
    for got, exact in ((w, expected), (m, mean), (v, square)):
        np.testing.assert_allclose(got.astype(Long), exact, rtol=0, atol=16 * UNIT[dtype])  # of numbers up to 4


# -- gather ------------------------------------------------------------------------------------------------------

KINDS = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


def layouts(rng: np.random.Generator, kind: str, cols: int) -> dict[str, Array]:
    """The same kind of numbers laid out in every way NumPy knows."""

    def numbers(rows: int, columns: int) -> Array:
        if kind == "bool":
            return rng.integers(0, 2, (rows, columns)).astype(bool)
        if kind.startswith("float"):
            return (rng.normal(size=(rows, columns)) * 100).astype(kind)
        info = np.iinfo(kind)
        return rng.integers(info.min, info.max, (rows, columns), dtype=kind, endpoint=True)

    size = np.dtype(kind).itemsize
    raw = np.frombuffer(b"\0" + numbers(5, cols).tobytes(), np.uint8)
    unaligned = np.ndarray((5, cols), kind, buffer=raw.data, offset=1, strides=(cols * size, size))
    read_only = numbers(5, cols)
    read_only.flags.writeable = False
    return {
        "C": numbers(5, cols),
        "Fortran": np.asfortranarray(numbers(5, cols)),
        "every other": numbers(10, 2 * cols)[::2, ::2],
        "reversed": numbers(5, cols)[::-1, ::-1],
        "one row for all": np.broadcast_to(numbers(1, cols), (5, cols)),
        "one number per row": np.broadcast_to(numbers(5, 1), (5, cols)),
        "read-only": read_only,
        "unaligned": unaligned,
        "one column": numbers(5, cols)[:, :1],
        "row of a wider one": numbers(5, cols + 3)[:, 2 : 2 + cols],
    }


@every_isa
@every_kernel
@pytest.mark.parametrize("kind", KINDS)
def test_gather(isa: str, dtype: str, kind: str) -> None:
    rng, none = np.random.default_rng(4), np.zeros(0)
    for cols in (1, 3, 8, 16, 17, 33, 100):
        for layout, x in layouts(rng, kind, cols).items():
            got = np.empty(x.shape, dtype)
            kernels.gather(isa, x, none, none, got)
            assert np.array_equal(got, x.astype(dtype)), (cols, layout)
            mean = (rng.normal(size=x.shape[1]) * 50).astype(dtype).astype(np.float64)
            inverse = rng.uniform(0.5, 2.0, x.shape[1]).astype(dtype).astype(np.float64)
            exact = (x.astype(Long) - mean.astype(Long)) * inverse.astype(Long)
            # The difference is taken in dtype, or in double for numbers that dtype cannot hold: three roundings.
            scale = np.maximum(np.abs(exact), np.finfo(dtype).tiny)
            kernels.gather(isa, x, mean, inverse, got)
            assert (np.abs(got - exact) <= 3 * UNIT[dtype] * scale).all(), (
                cols,
                layout,
            )


# -- random numbers, checks of data ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2**32 + 5, 2**63 - 1, 2**64 - 1])
def test_random_numbers_are_the_references(seed: int) -> None:
    for index, n in ((0, 1), (1, 2), (7, 2001), (65535, 64)):
        assert np.array_equal(_core.random_uniform(seed, index, n), reference.uniform(seed, index, n))
        for truncated, exact in ((False, reference.normal), (True, reference.truncated_normal)):
            got, wanted = _core.random_normal(seed, index, n, truncated), exact(seed, index, n)
            assert (np.abs(got - wanted) <= QUANTILE * np.maximum(1.0, np.abs(wanted))).all()


@pytest.mark.parametrize("n", [1, 2, 3, 15, 16, 17, 100, 255, 256, 257, 4097, 70000])
def test_shuffle_is_the_references(n: int) -> None:
    for seed, epoch in ((0, 0), (7, 3), (2**40 + 5, 2**32 - 1)):
        order = _core.shuffle_indices(n, seed, epoch)
        some = np.arange(n) if n < 300 else np.random.default_rng(n).integers(0, n, 40)
        assert np.array_equal(order[some], reference.shuffle_indices(n, seed, epoch, some))
        assert np.array_equal(np.sort(order), np.arange(n))


@every_kernel
def test_first_nonfinite(dtype: str) -> None:
    """Nothing in the build may assume that numbers are finite: every place, every bad value, every layout."""
    for cols in (1, 3, 7, 8, 9, 16, 33):
        clean = np.random.default_rng(5).normal(size=(3, cols)).astype(dtype)
        clean[0, 0], clean[-1, -1] = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
        for x in (clean, np.asfortranarray(clean), clean[::-1], np.repeat(clean, 2, axis=1)[:, ::2]):
            assert _core.first_nonfinite(x) == -1
            for at in range(x.size):
                for bad in (np.nan, -np.nan, np.inf, -np.inf):
                    marked = x.copy(order="K")
                    marked[at // cols, at % cols] = bad
                    assert _core.first_nonfinite(marked) == at
                    marked[-1, -1] = np.nan
                    assert _core.first_nonfinite(marked) == at  # the first of two
    assert _core.first_nonfinite(np.arange(6).reshape(2, 3)) == -1
