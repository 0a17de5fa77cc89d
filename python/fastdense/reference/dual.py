"""Arrays with a derivative along one direction: NumPy's formulas, given these, yield derivatives beside their values.

The ops of this engine are written for arrays, forward and backward. Run on a `Dual`, whose tangent is a direction of
the weights or of the data, the backward pass yields the derivative of every gradient along it (Pearlmutter 1994): a
Hessian's product with a vector, exact but for rounding. What is not in the tables below raises a TypeError.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

ERFC = np.frompyfunc(math.erfc, 1, 1)


def _erfc_slope(x: Any) -> Any:
    return -2.0 / math.sqrt(math.pi) * np.exp(-x * x)


# Partial derivatives by each operand.
_PARTIALS: dict[Any, tuple[Callable[..., Any], ...]] = {
    np.add: (lambda a, b: 1.0, lambda a, b: 1.0),
    np.subtract: (lambda a, b: 1.0, lambda a, b: -1.0),
    np.multiply: (lambda a, b: b, lambda a, b: a),
    np.true_divide: (lambda a, b: 1.0 / b, lambda a, b: -a / (b * b)),
    np.power: (lambda a, b: b * a ** (b - 1), lambda a, b: np.nan),
    np.maximum: (lambda a, b: a > b, lambda a, b: a <= b),
    np.minimum: (lambda a, b: a < b, lambda a, b: a >= b),
    np.hypot: (lambda a, b: a / np.hypot(a, b), lambda a, b: b / np.hypot(a, b)),
    np.negative: (lambda a: -1.0,),
    np.exp: (np.exp,),
    np.expm1: (np.exp,),
    np.log: (lambda a: 1.0 / a,),
    np.log1p: (lambda a: 1.0 / (1.0 + a),),
    np.sqrt: (lambda a: 0.5 / np.sqrt(a),),
    np.tanh: (lambda a: 1.0 - np.tanh(a) ** 2,),
    np.sin: (np.cos,),
    np.cos: (lambda a: -np.sin(a),),
    np.absolute: (np.sign,),
    ERFC: (_erfc_slope,),
}
_CONSTANT = (np.sign, np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal, np.logical_not)
_PRODUCTS = (np.matmul, np.einsum)  # linear in each operand
_LINEAR = (np.concatenate, np.stack, np.split, np.delete)
_LIKE = (np.zeros_like, np.ones_like, np.full_like)


def value_of(a: Any) -> Any:
    """The value of a `Dual`, of those in a list too; anything else as it is."""
    if isinstance(a, (list, tuple)):
        return type(a)(value_of(one) for one in a)
    return a.value if isinstance(a, Dual) else a


def tangent_of(a: Any) -> Any:
    """The tangent, 0 of an array without one."""
    if isinstance(a, (list, tuple)):
        return type(a)(tangent_of(one) for one in a)
    if isinstance(a, Dual):
        return a.tangent
    return np.zeros(np.shape(a)) if isinstance(a, np.ndarray) else a


class Dual(NDArrayOperatorsMixin):
    """An array and its derivative along a direction, of the same shape.

    Parameters
    ----------
    value, tangent : float64 ndarray
    """

    def __init__(self, value: Any, tangent: Any) -> None:
        self.value = np.asarray(value, dtype=np.float64)
        self.tangent = np.broadcast_to(np.asarray(tangent, dtype=np.float64), self.value.shape).copy()

    # ---- what NumPy calls ------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        values = [value_of(one) for one in inputs]
        if method == "at" and ufunc is np.add:
            target, rows, added = inputs
            np.add.at(target.value, rows, value_of(added))
            np.add.at(target.tangent, rows, tangent_of(added))
            return None
        if method != "__call__" or kwargs:
            return NotImplemented
        if ufunc in _CONSTANT:
            return ufunc(*values)
        if ufunc in _PRODUCTS:
            return _product(ufunc, (), inputs)
        if ufunc not in _PARTIALS:
            return NotImplemented
        terms = [
            partial(*values) * one.tangent
            for one, partial in zip(inputs, _PARTIALS[ufunc], strict=True)
            if isinstance(one, Dual)
        ]
        return Dual(ufunc(*values), sum(terms[1:], terms[0]))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.where:
            condition, *branches = args
            made = [np.where(value_of(condition), *map(part, branches)) for part in (value_of, _number_tangent)]
            return Dual(*made)
        if function is np.clip:
            x, low, high = args
            return Dual(np.clip(x.value, low, high), x.tangent * ((x.value > low) & (x.value < high)))
        if function in _PRODUCTS:
            return _product(function, args[:1], args[1:])
        if function is np.shape:
            return self.shape
        if function in _LIKE:
            return Dual(function(*map(value_of, args), **kwargs), 0.0)
        if function is np.fill_diagonal:
            np.fill_diagonal(self.value, args[1])
            np.fill_diagonal(self.tangent, 0.0)
            return None
        if function in _LINEAR:
            made = [function(part(args[0]), *args[1:], **kwargs) for part in (value_of, tangent_of)]
            return [Dual(*pair) for pair in zip(*made, strict=True)] if function is np.split else Dual(*made)
        return NotImplemented

    # ---- what arrays have ------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """Number of its dimensions."""
        return self.value.ndim

    @property
    def T(self) -> Dual:
        """The transpose."""
        return Dual(self.value.T, self.tangent.T)

    def __len__(self) -> int:
        return len(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __getitem__(self, key: Any) -> Dual:
        return Dual(self.value[key], self.tangent[key])

    def __setitem__(self, key: Any, new: Any) -> None:
        self.value[key], self.tangent[key] = value_of(new), tangent_of(new) if isinstance(new, Dual) else 0.0

    def copy(self) -> Dual:
        """A copy."""
        return Dual(self.value.copy(), self.tangent)

    def reshape(self, *shape: Any) -> Dual:
        """The same numbers in another shape."""
        return Dual(self.value.reshape(*shape), self.tangent.reshape(*shape))

    def sum(self, **kwargs: Any) -> Dual:
        """The sum along an axis."""
        return Dual(self.value.sum(**kwargs), self.tangent.sum(**kwargs))

    def mean(self, **kwargs: Any) -> Dual:
        """The mean along an axis."""
        return Dual(self.value.mean(**kwargs), self.tangent.mean(**kwargs))

    def var(self, axis: int, keepdims: bool = False) -> Dual:
        """The variance along an axis."""
        away = self - self.mean(axis=axis, keepdims=True)
        made: Dual = (away * away).mean(axis=axis, keepdims=keepdims)
        return made

    def max(self, **kwargs: Any) -> Any:
        """The largest, without its tangent: softmax subtracts it, and what is subtracted cancels."""
        return self.value.max(**kwargs)

    def prod(self, axis: int) -> Any:
        """The product along the first axis."""
        assert axis == 0
        made: Any = self[0]
        for i in range(1, len(self)):
            made = made * self[i]
        return made


def _product(function: Any, first: tuple[Any, ...], factors: Any) -> Dual:
    """A product of two, each of which may have a tangent."""
    a, b = factors
    tangent = 0.0
    if isinstance(a, Dual):
        tangent = tangent + function(*first, a.tangent, value_of(b))
    if isinstance(b, Dual):
        tangent = tangent + function(*first, value_of(a), b.tangent)
    return Dual(function(*first, value_of(a), value_of(b)), tangent)


def _number_tangent(a: Any) -> Any:
    """The tangent of an array or of a number, which has none."""
    return a.tangent if isinstance(a, Dual) else 0.0
