"""Activation functions: value and derivative, formula by formula.

Each element-wise activation is a pair (value, derivative) of functions of the input x (and of alpha, the slope of
leaky_relu, the scale of elu and celu, the threshold of the shrinks and squareplus's b). At a kink the derivative is
that of the flat or negative branch.
softmax couples the elements of a row and prelu learns its slope, so `Activation` treats them itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .arrays import Array, as_float, unknown
from .dual import ERFC

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def sigmoid(x: Array) -> Array:
    """1/(1 + exp(-x)), from exp(-|x|) so that nothing overflows."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def softplus(x: Array) -> Array:
    """log(1 + exp(x))."""
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def softmax(x: Array) -> Array:
    """exp(x)/sum exp(x) along rows; the shift by the row's maximum cancels and keeps exp in range."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return as_float(e / e.sum(axis=-1, keepdims=True))


def normal_cdf(x: Array) -> Array:
    """Phi(x) = erfc(-x/sqrt 2)/2: erfc, unlike 1 + erf, keeps its digits in the lower tail."""
    return 0.5 * as_float(ERFC(-x / math.sqrt(2.0)))


def _gelu_derivative(x: Array) -> Array:
    return normal_cdf(x) + x * np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def _silu_derivative(x: Array) -> Array:
    s = sigmoid(x)
    return s + x * s * (1.0 - s)


def _mish_derivative(x: Array) -> Array:
    t = np.tanh(softplus(x))
    return t + x * sigmoid(x) * (1.0 - t * t)


def _squareplus(x: Array, a: float) -> Array:
    """(x + sqrt(x^2 + a))/2; of a negative x, where that cancels, a/2/(sqrt(x^2 + a) - x)."""
    root = np.hypot(x, np.sqrt(a))
    return np.where(x < 0, 0.5 * a / (root + np.abs(x)), 0.5 * x + 0.5 * root)


def _sigmoid_derivative(x: Array) -> Array:
    return sigmoid(x) * sigmoid(-x)


def _negative(x: Array) -> Array:
    """min(x, 0): keeps exp from overflowing in a branch that np.where then discards."""
    return np.minimum(x, 0.0)


Function = Callable[[Array, float], Array]

ELEMENTWISE: dict[str, tuple[Function, Function]] = {
    "linear": (lambda x, a: x.copy(), lambda x, a: np.ones_like(x)),
    "relu": (lambda x, a: np.maximum(x, 0.0), lambda x, a: as_float(x > 0)),
    "leaky_relu": (lambda x, a: np.where(x > 0, x, a * x), lambda x, a: np.where(x > 0, 1.0, a)),
    "relu6": (lambda x, a: np.clip(x, 0.0, 6.0), lambda x, a: as_float((x > 0) & (x < 6))),
    "elu": (
        lambda x, a: np.where(x > 0, x, a * np.expm1(_negative(x))),
        lambda x, a: np.where(x > 0, 1.0, a * np.exp(_negative(x))),
    ),
    "selu": (
        lambda x, a: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(_negative(x))),
        lambda x, a: SELU_SCALE * np.where(x > 0, 1.0, SELU_ALPHA * np.exp(_negative(x))),
    ),
    "celu": (
        lambda x, a: np.where(x > 0, x, a * np.expm1(_negative(x) / a)),
        lambda x, a: np.where(x > 0, 1.0, np.exp(_negative(x) / a)),
    ),
    "gelu": (lambda x, a: x * normal_cdf(x), lambda x, a: _gelu_derivative(x)),
    "silu": (lambda x, a: x * sigmoid(x), lambda x, a: _silu_derivative(x)),
    "mish": (lambda x, a: x * np.tanh(softplus(x)), lambda x, a: _mish_derivative(x)),
    "softplus": (lambda x, a: softplus(x), lambda x, a: sigmoid(x)),
    "softsign": (lambda x, a: x / (1.0 + np.abs(x)), lambda x, a: 1.0 / (1.0 + np.abs(x)) ** 2),
    "tanh": (lambda x, a: np.tanh(x), lambda x, a: 1.0 - np.tanh(x) ** 2),
    "sigmoid": (lambda x, a: sigmoid(x), lambda x, a: _sigmoid_derivative(x)),
    "hard_sigmoid": (
        lambda x, a: np.clip(x + 3.0, 0.0, 6.0) / 6.0,
        lambda x, a: as_float((x > -3) & (x < 3)) / 6.0,
    ),
    "exponential": (lambda x, a: np.exp(x), lambda x, a: np.exp(x)),
    "log_sigmoid": (lambda x, a: -softplus(-x), lambda x, a: sigmoid(-x)),
    "hard_silu": (
        lambda x, a: x * (np.clip(x + 3.0, 0.0, 6.0) / 6.0),  # x times 6 may overflow
        lambda x, a: np.where(x <= -3, 0.0, np.where(x >= 3, 1.0, x / 3.0 + 0.5)),
    ),
    "hard_tanh": (lambda x, a: np.clip(x, -1.0, 1.0), lambda x, a: as_float((x > -1) & (x < 1))),
    "tanh_shrink": (lambda x, a: x - np.tanh(x), lambda x, a: np.tanh(x) ** 2),
    "soft_shrink": (
        lambda x, a: np.where(np.abs(x) > a, x - a * np.sign(x), 0.0 * x),
        lambda x, a: as_float(np.abs(x) > a),
    ),
    "hard_shrink": (lambda x, a: np.where(np.abs(x) > a, x, 0.0 * x), lambda x, a: as_float(np.abs(x) > a)),
    "squareplus": (_squareplus, lambda x, a: _squareplus(x, a) / np.hypot(x, np.sqrt(a))),
    "sparse_plus": (
        lambda x, a: np.where(x <= -1, 0.0, np.where(x >= 1, x, 0.25 * (x + 1.0) ** 2)),
        lambda x, a: np.where(x <= -1, 0.0, np.where(x >= 1, 1.0, 0.5 * (x + 1.0))),
    ),
    "sparse_sigmoid": (
        lambda x, a: np.clip(0.5 * (x + 1.0), 0.0, 1.0),
        lambda x, a: 0.5 * as_float((x > -1) & (x < 1)),
    ),
}

NAMES = (*ELEMENTWISE, "prelu", "softmax")
SATURATION = {  # saturated beyond this |x|
    "sigmoid": 5.0,
    "tanh": 2.5,
    "hard_sigmoid": 3.0,
    "softsign": 10.0,
    "hard_tanh": 1.0,
    "sparse_sigmoid": 1.0,
}


class Activation:
    """One activation of one op: values forward, gradients backward.

    Parameters
    ----------
    name : one of `NAMES`
    alpha : slope of leaky_relu, scale of elu and celu

    Raises
    ------
    ValueError
        If the name is unknown.
    """

    def __init__(self, name: str, alpha: float) -> None:
        if name not in NAMES:
            raise unknown("activation", name, NAMES)
        self.name, self.alpha = name, alpha
        self.has_slope = name == "prelu"

    def value(self, z: Array, slope: Array | None) -> Array:
        """Apply to z (n, units); slope (units,) for prelu only."""
        if slope is not None:
            return np.where(z > 0, z, slope * z)
        if self.name == "softmax":
            return softmax(z)
        return ELEMENTWISE[self.name][0](z, self.alpha)

    def gradient(self, z: Array, a: Array, grad: Array, slope: Array | None) -> tuple[Array, list[Array]]:
        """Turn the gradient with respect to a = value(z) into that of z, and of the slope if there is one."""
        if slope is not None:
            return grad * np.where(z > 0, 1.0, slope), [(grad * _negative(z)).sum(axis=0)]
        if self.name == "softmax":
            return a * (grad - (grad * a).sum(axis=-1, keepdims=True)), []
        return grad * ELEMENTWISE[self.name][1](z, self.alpha), []
