"""How the outputs of branches become one, element by element, and the derivative with respect to each of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .arrays import Array

Merged = tuple[Array, list[Array]]  # the output, and its derivative with respect to each branch


def _sum(outputs: list[Array]) -> Merged:
    return sum(outputs[1:], outputs[0]), [np.ones_like(one) for one in outputs]


def _difference(outputs: list[Array]) -> Merged:
    first, second = outputs
    return first - second, [np.ones_like(first), -np.ones_like(second)]


def _mean(outputs: list[Array]) -> Merged:
    return _sum(outputs)[0] / len(outputs), [np.full_like(one, 1.0 / len(outputs)) for one in outputs]


def _product(outputs: list[Array]) -> Merged:
    stacked = np.stack(outputs)
    return stacked.prod(axis=0), [np.delete(stacked, i, axis=0).prod(axis=0) for i in range(len(outputs))]


def _maximum(outputs: list[Array], sign: float = 1.0) -> Merged:
    """One after another; two that are equal have half of the derivative each."""
    best, factors = sign * outputs[0], [np.ones_like(outputs[0])]
    for one in outputs[1:]:
        taken = np.where(sign * one > best, 1.0, np.where(sign * one == best, 0.5, 0.0))
        best, factors = np.maximum(best, sign * one), [*(factor * (1.0 - taken) for factor in factors), taken]
    return sign * best, factors


MERGES: dict[str, Callable[[list[Array]], Merged]] = {
    "add": _sum,
    "subtract": _difference,
    "multiply": _product,
    "average": _mean,
    "maximum": _maximum,
    "minimum": lambda outputs: _maximum(outputs, -1.0),
}
