"""Constraints: what a tensor is replaced by after each of its updates.

Formulas and defaults are those of Keras 3, whose small constant 1e-7 keeps divisions finite. First values are taken as
they are.

>>> from fastdense.layers import Dense
>>> Dense(8, kernel_constraint="max_norm")
Dense(8, kernel_constraint=MaxNorm())
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .arguments import integer, number, shorten
from .reference.arrays import Array, as_float
from .reference.constraints import project
from .specs import Config, Spec, members, resolve

__all__ = ["Constraint", "MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm", "get"]

Axis = int | Sequence[int]


class Constraint(Spec, family="constraint"):
    """Base of the constraints."""

    _own = (
        "Give one of those of fastdense.constraints, or change the weights in a callback: "
        "LambdaCallback(on_train_batch_end=...) with get_weights and set_weights."
    )
    _for_arrays = ("__call__",)

    def __call__(self, w: ArrayLike) -> Array:
        """Return what a tensor is replaced by, in float64."""
        tensor = as_float(np.asarray(w))
        return project(self.terms(type(self).__name__, tensor.ndim), tensor)

    def terms(self, where: str, dimensions: int) -> Config:
        """Return the constraint in the form that engines accept, for a tensor of so many dimensions."""
        raise NotImplementedError


class NonNeg(Constraint, names=("non_neg",)):
    """``max(w, 0)``.

    Examples
    --------
    >>> from fastdense.constraints import NonNeg
    >>> NonNeg()
    NonNeg()
    """

    def terms(self, where: str, dimensions: int) -> Config:
        return {"kind": "non_negative"}


class _Norm(Constraint):
    """Base of the constraints of norms."""

    axis: int | list[int]

    def _norm(self, where: str, dimensions: int, low: float, high: float, rate: float = 1.0) -> Config:
        given = [self.axis] if isinstance(self.axis, int) else self.axis
        axes = {axis + dimensions if axis < 0 else axis for axis in given}
        if not axes or not axes <= set(range(dimensions)):
            raise ValueError(
                f"{where}: {self!r} takes norms along axis {self.axis}, and the tensor has {dimensions} dimension"
                f"{'s' if dimensions > 1 else ''}. "
                f"Give {'axis=0' if dimensions == 1 else 'axis=0 for the norm of each unit, axis=1, or axis=[0, 1]'}."
            )
        over = "columns" if axes == {0} else "rows" if axes == {1} else "all"
        return {"kind": "norm", "over": over, "low": low, "high": high, "rate": rate}


class MaxNorm(_Norm, names=("max_norm",)):
    """``w * min(norm, max_value) / (norm + 1e-7)``.

    Parameters
    ----------
    max_value : float, default 2
        Largest norm.
    axis : int or list of int, default 0
        Along which norms are taken: 0 for the weight vector of each unit of a kernel (inputs, units).

    Examples
    --------
    >>> from fastdense.constraints import MaxNorm
    >>> MaxNorm(3)
    MaxNorm(max_value=3.0)
    """

    def __init__(self, max_value: float = 2.0, axis: Axis = 0) -> None:
        self.max_value = number("MaxNorm: max_value", max_value, least=0)
        self.axis = _axis("MaxNorm", axis)

    def terms(self, where: str, dimensions: int) -> Config:
        return self._norm(where, dimensions, 0.0, self.max_value)


class UnitNorm(_Norm, names=("unit_norm",)):
    """``w / (norm + 1e-7)``.

    Parameters
    ----------
    axis : int or list of int, default 0
        Along which norms are taken: 0 for the weight vector of each unit of a kernel (inputs, units).

    Examples
    --------
    >>> from fastdense.constraints import UnitNorm
    >>> UnitNorm()
    UnitNorm()
    """

    def __init__(self, axis: Axis = 0) -> None:
        self.axis = _axis("UnitNorm", axis)

    def terms(self, where: str, dimensions: int) -> Config:
        return self._norm(where, dimensions, 1.0, 1.0)


class MinMaxNorm(_Norm, names=("min_max_norm",)):
    """``w * (rate * clip(norm, min_value, max_value) + (1 - rate) * norm) / (norm + 1e-7)``.

    Parameters
    ----------
    min_value, max_value : float, default 0 and 1
        Smallest and largest norm.
    rate : float, default 1
        From 0 to 1: the fraction of the way into this range that each update goes.
    axis : int or list of int, default 0
        Along which norms are taken: 0 for the weight vector of each unit of a kernel (inputs, units).

    Examples
    --------
    >>> from fastdense.constraints import MinMaxNorm
    >>> MinMaxNorm(0.5, 2)
    MinMaxNorm(min_value=0.5, max_value=2.0)
    """

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axis = 0) -> None:
        self.min_value = number("MinMaxNorm: min_value", min_value, least=0)
        self.max_value = number("MinMaxNorm: max_value", max_value, least=self.min_value)
        self.rate = number("MinMaxNorm: rate", rate, least=0, most=1)
        self.axis = _axis("MinMaxNorm", axis)

    def terms(self, where: str, dimensions: int) -> Config:
        return self._norm(where, dimensions, self.min_value, self.max_value, self.rate)


def _axis(where: str, value: Any) -> int | list[int]:
    if isinstance(value, (list, tuple)):
        return [integer(f"{where}: axis[{i}]", axis, least=-2, most=1) for i, axis in enumerate(value)]
    return integer(f"{where}: axis", value, least=-2, most=1)


def get(value: Any, where: str = "constraint") -> Constraint:
    """Return a constraint from an object, a name, a class or a config dict; see `fastdense.specs.resolve`."""
    made = resolve(Constraint, value, where)
    if type(made) not in members(Constraint):
        raise TypeError(
            f"{where}={shorten(made)} is of a class of your own, which the engines do not apply. "
            f"Give one of {', '.join(member.__name__ for member in members(Constraint))}, or change the weights in "
            "a callback, in its on_train_batch_end, with get_weights and set_weights of the model."
        )
    return made


def optional(value: Any, where: str, dimensions: int) -> Constraint | None:
    """Return the constraint of a tensor with so many dimensions, or None for none."""
    if value is None:
        return None
    made = get(value, where)
    made.terms(where, dimensions)
    return made


def lower_constraint(prefix: str, constraint: Constraint | None, dimensions: int) -> Config:
    """Return the constraint as a key of an op, no key if there is none."""
    return {} if constraint is None else {f"{prefix}_constraint": constraint.terms(prefix, dimensions)}
