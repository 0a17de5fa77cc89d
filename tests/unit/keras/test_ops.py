"""`keras.ops`: NumPy's numbers, and the gradients of losses against differences of values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastdense.keras import activations, ops
from fastdense.keras import backend as K
from fastdense.keras.ops import NoDerivative, Traced, elementwise, gradient

Array = NDArray[Any]
RANDOM = np.random.default_rng(0)
A, C = RANDOM.normal(size=(4, 3)), RANDOM.normal(size=(4, 3))
P = np.abs(A) + 0.3
IDS = np.array([0, 1, 2, 1])

EXPRESSIONS: dict[str, tuple[Callable[[Any], Any], Array]] = {
    "softmax": (lambda t: ops.softmax(t) * C, A),
    "log_softmax": (lambda t: ops.log_softmax(t, axis=0) * C, A),
    "logsumexp": (lambda t: ops.logsumexp(t, -1) ** 2 + ops.logsumexp(t), A),
    "max": (lambda t: ops.max(t, axis=1) * t[:, 0] + np.min(t, 0, keepdims=True).sum(), A),
    "mean": (lambda t: np.mean(np.square(t - C)) * t.sum() + t.mean(axis=(0, 1)), A),
    "prod": (lambda t: ops.prod(t, axis=1), A),
    "prod of a zero": (lambda t: ops.prod(t, axis=1), np.where(np.eye(4, 3) > 0, 0.0, A)),
    "cumsum": (lambda t: ops.cumsum(t, axis=1) * C + np.cumsum(t)[3], A),
    "norm": (lambda t: ops.norm(t, axis=-1) + ops.norm(t, ord=1, axis=-1) + ops.norm(t, ord=np.inf, axis=1), A),
    "normalize": (lambda t: ops.normalize(t) * C, A),
    "var": (lambda t: ops.std(t, axis=0) * C[0] + np.var(t), A),
    "average": (lambda t: ops.average(t, axis=0, weights=P) ** 2, A),
    "power": (lambda t: t**2.5 + 2.0**t + P**t + t**P + ops.power(t, 0), P),
    "concatenate": (lambda t: ops.concatenate([t, t * t], -1)[:, 1:5] ** 2, A),
    "stack": (lambda t: ops.stack([t, t * 2.0], 0) ** 2, A),
    "matmul": (lambda t: t @ C.T @ t + ops.matmul(C, ops.transpose(t)) @ A, A),
    "vectors": (lambda t: ops.dot(t[:, 0], t[:, 1]) * (t[0] @ C.T).sum() * ops.dot(2.0, t), A),
    "einsum": (lambda t: np.einsum("ij,kj->ik", t, t) @ ops.einsum("ij,jk->ik", t, C.T), A),
    "where": (lambda t: ops.where(t > 0, t * t, ops.exp(t)), A),
    "activations": (
        lambda t: (
            ops.gelu(t, False) + ops.gelu(t) + ops.silu(t) + ops.elu(t) + ops.selu(t) + ops.leaky_relu(t)
            + ops.hard_sigmoid(t) + ops.softsign(t) + ops.erf(t) + ops.softplus(t) + ops.sigmoid(t) + ops.log_sigmoid(t)
            + ops.relu(t) + ops.relu6(t) + activations.sigmoid(t) + activations.linear(t) + activations.gelu(t)
        ),
        A,
    ),
    "functions": (
        lambda t: (
            ops.sin(t) + ops.cos(t) + ops.tan(t / 2) + ops.sinh(t) + ops.cosh(t) + ops.tanh(t) + ops.arctan(t)
            + ops.arcsinh(t) + ops.arcsin(t / 9) + ops.arccos(t / 9) + ops.expm1(t) + abs(t) + -t + +t
        ),
        A,
    ),
    "roots": (
        lambda t: (
            ops.rsqrt(t) + ops.reciprocal(t) + ops.log2(t) + ops.log10(t) + ops.exp2(t) + ops.log1p(t) + np.sqrt(t)
        ),
        P,
    ),
    "pairs": (
        lambda t: (
            1 / (2 - t.mean(axis=0, keepdims=True) / t) - t // 1 + t % 1.5 + np.maximum(t, C) + np.minimum(C, t)
            + np.clip(t, -1, 0.5) + np.hypot(t, C) + np.arctan2(t, C) + np.logaddexp(t, C) + np.round(t) + np.floor(t)
        ),
        A,
    ),
    "activations by the reference": (
        lambda t: sum(activations.get(name)(t) for name in ("mish", "celu", "hard_silu", "log_sigmoid", "tanh_shrink"))
        + activations.elu(t, 0.5) + activations.leaky_relu(t, 0.3) + activations.softmax(t) ** 2,
        A,
    ),
    "divide_no_nan": (lambda t: ops.divide_no_nan(t, np.where(C > 0, C, 0)), A),
    "parts": (lambda t: ops.take(t, [0, 2, 2], axis=1) ** 2 + ops.take_along_axis(t, IDS[:, None], 1), A),
    "order": (lambda t: ops.sort(t, axis=0) * C + ops.top_k(t, 2)[0].sum() * t, A),
    "split": (lambda t: sum(x * x for x in ops.split(t, 3, axis=1)) + ops.unstack(t, axis=1)[0][0], A),
    "shapes": (
        lambda t: (
            ops.squeeze(ops.expand_dims(t, 1), 1) ** 2 + t.T.T + np.flip(t) + ops.swapaxes(t, 0, 1).T
            + ops.roll(t, 1, 0)
            + ops.moveaxis(t, 0, 1).T + t.reshape(2, 6).flatten()[0] + t.ravel()[2]
        ),
        A,
    ),
    "repeats": (lambda t: np.tile(t, 2) ** 2 * np.repeat(t, 2, axis=1) + ops.broadcast_to(t[:, :1], (4, 6)), A),
    "triangles": (lambda t: ops.triu(t) * ops.tril(t) + ops.outer(t[0], t[0])[0] + ops.diagonal(t).sum(), A),
    "cast": (lambda t: ops.cast(t, "float64") * ops.cast(t > 0, "float64"), A),
    "binary": (lambda t: ops.binary_crossentropy(C > 0, t, from_logits=True), A),
    "binary of probabilities": (lambda t: ops.binary_crossentropy(C > 0, t / 9), P),
    "categorical": (lambda t: ops.categorical_crossentropy(ops.one_hot(IDS, 3), t), P),
    "sparse": (lambda t: ops.sparse_categorical_crossentropy(IDS[:, None], t, from_logits=True), A),
    "sparse of probabilities": (lambda t: ops.sparse_categorical_crossentropy(IDS, t), P),
    "old names": (lambda t: K.mean(K.square(K.flatten(t)) + K.pow(K.abs(K.flatten(t)), 1.5)), A),
}  # fmt: skip


def difference(f: Callable[[Any], Any], at: Array, step: float = 1e-6) -> Array:
    found = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        by = np.zeros_like(at)
        by[place] = step
        found[place] = (np.sum(f(at + by)) - np.sum(f(at - by))) / (2 * step)
    return found


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_gradient(name: str) -> None:
    f, at = EXPRESSIONS[name]
    traced = Traced(at)
    made = f(traced)
    if not name.startswith("activations"):  # functions of keras.activations compute plain arrays by other formulas
        np.testing.assert_array_equal(made.value, f(at))
    np.testing.assert_allclose(gradient(ops.sum(made), traced), difference(f, at), rtol=2e-5, atol=2e-7)


UNARY = [ops.exp, ops.tanh, ops.sigmoid, ops.square, ops.softplus, ops.sin, ops.relu, ops.abs, ops.negative, ops.silu]
BINARY = [ops.add, ops.subtract, ops.multiply, ops.maximum, ops.minimum, ops.logaddexp]
REDUCE = [ops.sum, ops.mean, ops.max, ops.logsumexp, ops.var]


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.data())
def test_gradient_of_random_expressions(data: st.DataObject) -> None:
    """Chains of operations, broadcast, reduced and sliced at random."""
    steps = data.draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=6))
    at = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(3, 2))

    def f(t: Any) -> Any:
        x: Any = t
        for n in steps:
            kind, n = n % 4, n // 4
            if kind == 0:
                x = UNARY[n % len(UNARY)](x) * 0.7
            elif kind == 1:
                x = BINARY[n % len(BINARY)](x, t[n % 3] if n % 2 else ops.sin(t))
            elif kind == 2:
                x = x + REDUCE[n % len(REDUCE)](x, axis=n % 2, keepdims=True)
            else:
                x = ops.concatenate([x[:, 1:], x[:, :1] * 0.5], axis=1)
        return x

    traced = Traced(at)
    exact = gradient(ops.sum(f(traced)), traced)
    coarse, fine = difference(f, at, 1e-5), difference(f, at, 5e-6)
    near_a_corner = np.abs(coarse - fine) > 1e-6 * (1 + np.abs(coarse))
    np.testing.assert_allclose(exact[~near_a_corner], coarse[~near_a_corner], rtol=1e-4, atol=1e-5)


def test_corners() -> None:
    traced = Traced(np.zeros(3))
    for f, expected in ((ops.abs, 0.0), (ops.relu, 0.0), (lambda t: ops.maximum(t, 0.0), 0.5)):
        np.testing.assert_array_equal(gradient(ops.sum(f(traced)), traced), np.full(3, expected))
    np.testing.assert_allclose(gradient(ops.max(traced), traced), np.full(3, 1 / 3))


def test_float32_stays_float32() -> None:
    traced = Traced(A.astype(np.float32))
    made = ops.mean(ops.square(traced * 2 - 1.0) / 3, axis=-1)
    assert made.dtype == np.float32
    assert gradient(ops.sum(made), traced).dtype == np.float32


@pytest.mark.parametrize(
    ("use", "what"),
    [
        (np.asarray, "conversion to a NumPy array"),
        (lambda t: t.numpy(), "conversion to a NumPy array"),
        (np.linalg.inv, r"np\.inv"),
        (np.fft.fft, r"np\.fft"),
        (np.add.accumulate, r"np\.add\.accumulate"),
        (float, r"item\(\) or float\(\)"),
        (ops.convert_to_numpy, "convert_to_numpy"),
        (lambda t: gradient(ops.sum(ops.stop_gradient(t)), t), "the loss does not depend on y_pred"),
        (lambda t: gradient(ops.sum(ops.argmax(t)), t), "the loss does not depend on y_pred"),
    ],
)
def test_no_derivative(use: Callable[[Any], Any], what: str) -> None:
    with pytest.raises(NoDerivative, match=rf"{what}.*fastdense\.losses\.Custom\(fn\)"):
        use(Traced(np.ones((2, 2))))


def test_attributes_of_a_prediction() -> None:
    traced = Traced(A)
    assert (traced.shape, traced.ndim, traced.size, len(traced), traced.dtype) == ((4, 3), 2, 12, 4, np.float64)
    assert ops.shape(traced) == (4, 3)
    assert len(list(traced)) == 4
    assert isinstance(traced > 0, np.ndarray)
    assert isinstance(traced == traced, np.ndarray)
    assert ops.any(traced > 0)
    with pytest.raises(AttributeError, match=r"no attribute 'detach'\. Use keras\.ops"):
        traced.detach()


def test_plain_arrays() -> None:
    assert ops.zeros((2,)).dtype == np.float32
    np.testing.assert_array_equal(ops.one_hot([1, 0], 2), [[0, 1], [1, 0]])
    np.testing.assert_array_equal(ops.convert_to_tensor([1, 2], dtype="float32"), np.float32([1, 2]))
    assert isinstance(ops.mean([1.0, 2.0]), float)
    with pytest.raises(AttributeError, match="has no conv"):
        ops.conv  # noqa: B018


@pytest.mark.parametrize("name", ["relu", "elu", "selu", "silu", "softplus", "softsign", "tanh", "sigmoid", "exp"])
def test_operations_are_activations(name: str) -> None:
    function = activations.get(getattr(elementwise, name))
    np.testing.assert_allclose(getattr(ops, name)(3 * A), function(3 * A), rtol=1e-12, atol=1e-15)


def test_operations_for_arrays_alone_refuse_predictions() -> None:
    assert ops.median([1.0, 2.0, 9.0]) == 2 and ops.hstack([[1], [2]]).tolist() == [1, 2]
    for use in (lambda p: ops.median(p), lambda p: ops.vstack([np.ones(2), p]), lambda p: ops.pad(x=p, pad_width=1)):
        with pytest.raises(
            ops.NoDerivative,
            match="of a prediction or of a layer's input has no derivative here. Use operations of keras.ops",
        ):
            use(ops.Traced(np.ones(2)))
