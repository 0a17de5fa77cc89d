"""Operations on each element: of one array, and of two that are broadcast."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .tape import Array, array, node, plain, registered, to_shape

Formula = Callable[..., Any]

# ---- of one array ----------------------------------------------------------------------------------------------------


def _unary(name: str, value: Formula, derivative: Formula, *functions: Any) -> Formula:
    """An operation with ``derivative(x, value of x)``."""

    def operation(x: Any) -> Any:
        given = array(x)
        made = value(given)
        return node(made, (x, lambda g: g * derivative(given, made)))

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"``{name}`` of each element."
    return registered(*functions)(operation)


def _zero(x: Any, _: Any) -> Any:
    return np.zeros_like(x)


def _stable_sigmoid(x: Any) -> Any:
    z = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, z) / (1 + z)


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


_ERF = np.frompyfunc(math.erf, 1, 1)


def _erf(x: Any) -> Any:
    x = np.asarray(x)
    return _ERF(x).astype(x.dtype if x.dtype.kind == "f" else np.float64)


def _erf_derivative(x: Any, _: Any) -> Any:
    return 2 / math.sqrt(math.pi) * np.exp(-(x**2))


absolute = abs = _unary("absolute", np.absolute, lambda x, _: np.sign(x), np.absolute)
negative = _unary("negative", np.negative, lambda x, _: np.full_like(x, -1), np.negative)
positive = _unary("positive", np.positive, lambda x, _: np.ones_like(x), np.positive)
square = _unary("square", np.square, lambda x, _: 2 * x, np.square)
sqrt = _unary("sqrt", np.sqrt, lambda _, y: 0.5 / y, np.sqrt)
rsqrt = _unary("rsqrt", lambda x: 1 / np.sqrt(x), lambda x, y: -0.5 * y / x)
reciprocal = _unary("reciprocal", lambda x: 1 / x, lambda _, y: -y * y, np.reciprocal)
exp = _unary("exp", np.exp, lambda _, y: y, np.exp)
exp2 = _unary("exp2", np.exp2, lambda _, y: math.log(2) * y, np.exp2)
expm1 = _unary("expm1", np.expm1, lambda _, y: y + 1, np.expm1)
log = _unary("log", np.log, lambda x, _: 1 / x, np.log)
log1p = _unary("log1p", np.log1p, lambda x, _: 1 / (1 + x), np.log1p)
log2 = _unary("log2", np.log2, lambda x, _: 1 / (x * math.log(2)), np.log2)
log10 = _unary("log10", np.log10, lambda x, _: 1 / (x * math.log(10)), np.log10)
sin = _unary("sin", np.sin, lambda x, _: np.cos(x), np.sin)
cos = _unary("cos", np.cos, lambda x, _: -np.sin(x), np.cos)
tan = _unary("tan", np.tan, lambda _, y: 1 + y * y, np.tan)
arcsin = _unary("arcsin", np.arcsin, lambda x, _: 1 / np.sqrt(1 - x * x), np.arcsin)
arccos = _unary("arccos", np.arccos, lambda x, _: -1 / np.sqrt(1 - x * x), np.arccos)
arctan = _unary("arctan", np.arctan, lambda x, _: 1 / (1 + x * x), np.arctan)
sinh = _unary("sinh", np.sinh, lambda x, _: np.cosh(x), np.sinh)
cosh = _unary("cosh", np.cosh, lambda x, _: np.sinh(x), np.cosh)
tanh = _unary("tanh", np.tanh, lambda _, y: 1 - y * y, np.tanh)
arcsinh = _unary("arcsinh", np.arcsinh, lambda x, _: 1 / np.sqrt(1 + x * x), np.arcsinh)
erf = _unary("erf", _erf, _erf_derivative)
sigmoid = _unary("sigmoid", _stable_sigmoid, lambda _, y: y * (1 - y))
softplus = _unary("softplus", _softplus, lambda x, _: _stable_sigmoid(x))
softsign = _unary("softsign", lambda x: x / (1 + np.abs(x)), lambda x, _: 1 / (1 + np.abs(x)) ** 2)
log_sigmoid = _unary("log_sigmoid", lambda x: -_softplus(-x), lambda x, _: _stable_sigmoid(-x))
relu = _unary("relu", lambda x: np.maximum(x, 0), lambda x, _: (x > 0) * np.ones_like(x))
relu6 = _unary("relu6", lambda x: np.clip(x, 0, 6), lambda x, _: ((x > 0) & (x < 6)) * np.ones_like(x))
silu = swish = _unary("silu", lambda x: x * _stable_sigmoid(x), lambda x, y: y + _stable_sigmoid(x) * (1 - y))
sign = _unary("sign", np.sign, _zero, np.sign)
floor = _unary("floor", np.floor, _zero, np.floor)
ceil = _unary("ceil", np.ceil, _zero, np.ceil)
trunc = _unary("trunc", np.trunc, _zero, np.trunc)


@registered(np.round)
def round(x: Any, decimals: int = 0) -> Any:
    """The nearest number with so many decimals; its derivative is 0."""
    return node(np.round(array(x), decimals), (x, np.zeros_like))


@registered(np.clip)
def clip(x: Any, x_min: Any, x_max: Any) -> Any:
    """`x` where it is between two bounds, else the nearer one."""
    made = x if x_min is None else maximum(x, x_min)
    return made if x_max is None else minimum(made, x_max)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """`x`, times `negative_slope` where it is below 0."""
    return where(plain(x) >= 0, x, multiply(negative_slope, x))


def elu(x: Any, alpha: float = 1.0) -> Any:
    """`x`, or ``alpha (exp(x) - 1)`` where it is below 0."""
    return where(plain(x) > 0, x, multiply(alpha, expm1(minimum(x, 0))))


def selu(x: Any) -> Any:
    """``elu(x, 1.6733)`` times 1.0507."""
    return multiply(1.0507009873554805, elu(x, 1.6732632423543772))


def gelu(x: Any, approximate: bool = True) -> Any:
    """``x Phi(x)`` with the normal distribution function, or its approximation by a tanh."""
    if approximate:
        inside = multiply(math.sqrt(2 / math.pi), add(x, multiply(0.044715, power(x, 3))))
        return multiply(multiply(0.5, x), add(1, tanh(inside)))
    return multiply(multiply(0.5, x), add(1, erf(multiply(x, 1 / math.sqrt(2)))))


def hard_sigmoid(x: Any) -> Any:
    """``relu6(x + 3) / 6``."""
    return multiply(1 / 6, relu6(add(x, 3)))


# ---- of two arrays ---------------------------------------------------------------------------------------------------


def _binary(name: str, value: Formula, by_first: Formula, by_second: Formula, *functions: Any) -> Formula:
    """An operation with ``by_first(g, a, b, value)``, the gradient of `a` before broadcasting, and `by_second`."""

    def operation(x1: Any, x2: Any) -> Any:
        a, b = array(x1), array(x2)
        made = value(a, b)
        return node(
            made,
            (x1, lambda g: to_shape(by_first(g, a, b, made), np.shape(a))),
            (x2, lambda g: to_shape(by_second(g, a, b, made), np.shape(b))),
        )

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"``{name}`` of each pair of elements."
    return registered(*functions)(operation)


def _power_by_base(g: Array, a: Any, b: Any, _: Any) -> Any:
    return g * np.where(np.equal(b, 0), 0, b * np.power(a, np.where(np.equal(b, 0), 1, b - np.ones_like(b))))


def _power_by_exponent(g: Array, a: Any, b: Any, y: Any) -> Any:
    return g * np.where(np.equal(a, 0), 0, y * np.log(np.where(np.equal(a, 0), 1, a)))


def _share(chosen: Any, other: Any) -> Any:
    """1 where an argument is the result, 1/2 where both are."""
    return np.where(chosen == other, 0.5, 0.0)


add = _binary("add", np.add, lambda g, a, b, y: g, lambda g, a, b, y: g, np.add)
subtract = _binary("subtract", np.subtract, lambda g, a, b, y: g, lambda g, a, b, y: -g, np.subtract)
multiply = _binary("multiply", np.multiply, lambda g, a, b, y: g * b, lambda g, a, b, y: g * a, np.multiply)
divide = true_divide = _binary(
    "divide", np.true_divide, lambda g, a, b, y: g / b, lambda g, a, b, y: -g * y / b, np.true_divide
)
power = _binary("power", np.power, _power_by_base, _power_by_exponent, np.power, np.float_power)
maximum = _binary(
    "maximum",
    np.maximum,
    lambda g, a, b, y: g * ((a > b) + _share(a, b)).astype(g.dtype),
    lambda g, a, b, y: g * ((b > a) + _share(a, b)).astype(g.dtype),
    np.maximum,
    np.fmax,
)
minimum = _binary(
    "minimum",
    np.minimum,
    lambda g, a, b, y: g * ((a < b) + _share(a, b)).astype(g.dtype),
    lambda g, a, b, y: g * ((b < a) + _share(a, b)).astype(g.dtype),
    np.minimum,
    np.fmin,
)
arctan2 = _binary(
    "arctan2",
    np.arctan2,
    lambda g, a, b, y: g * b / (a * a + b * b),
    lambda g, a, b, y: -g * a / (a * a + b * b),
    np.arctan2,
)
logaddexp = _binary(
    "logaddexp",
    np.logaddexp,
    lambda g, a, b, y: g * np.exp(a - y),
    lambda g, a, b, y: g * np.exp(b - y),
    np.logaddexp,
)
hypot = _binary("hypot", np.hypot, lambda g, a, b, y: g * a / y, lambda g, a, b, y: g * b / y, np.hypot)
floor_divide = _binary(
    "floor_divide",
    np.floor_divide,
    lambda g, a, b, y: np.zeros_like(g),
    lambda g, a, b, y: np.zeros_like(g),
    np.floor_divide,
)
mod = _binary("mod", np.remainder, lambda g, a, b, y: g, lambda g, a, b, y: -g * np.floor_divide(a, b), np.remainder)


def divide_no_nan(x1: Any, x2: Any) -> Any:
    """The quotient, and 0 where the divisor is 0."""
    zero = np.equal(plain(x2), 0)
    return where(zero, 0.0, divide(x1, where(zero, 1.0, x2)))


@registered(np.where)
def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """`x1` where the condition holds, else `x2`; without them, the places where it holds."""
    chosen = np.asarray(plain(condition))
    if x1 is None and x2 is None:
        return np.where(chosen)
    a, b = array(x1), array(x2)
    return node(
        np.where(chosen, a, b),
        (x1, lambda g: to_shape(np.where(chosen, g, np.zeros_like(g)), np.shape(a))),
        (x2, lambda g: to_shape(np.where(chosen, np.zeros_like(g), g), np.shape(b))),
    )


# ---- without a derivative --------------------------------------------------------------------------------------------


def _compared(name: str, function: Any) -> Formula:
    def operation(*x: Any) -> Any:
        return function(*(array(one) for one in x))

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"``{name}`` of elements: true or false, without a derivative."
    return registered(function)(operation)


equal = _compared("equal", np.equal)
not_equal = _compared("not_equal", np.not_equal)
less = _compared("less", np.less)
less_equal = _compared("less_equal", np.less_equal)
greater = _compared("greater", np.greater)
greater_equal = _compared("greater_equal", np.greater_equal)
logical_and = _compared("logical_and", np.logical_and)
logical_or = _compared("logical_or", np.logical_or)
logical_xor = _compared("logical_xor", np.logical_xor)
logical_not = _compared("logical_not", np.logical_not)
isnan = _compared("isnan", np.isnan)
isinf = _compared("isinf", np.isinf)
isfinite = _compared("isfinite", np.isfinite)
