"""The array type of the reference engine and the one conversion into it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .dual import Dual

Array = NDArray[np.float64]
Spec = Mapping[str, Any]  # one op, loss, optimizer or metric, as plain data


def as_float(values: ArrayLike) -> Array:
    """Return `values` as a float64 array, copied only if it is not one already; a `Dual` as it is."""
    return values if isinstance(values, Dual) else np.asarray(values, dtype=np.float64)


def unknown(what: str, given: object, known: Iterable[str]) -> ValueError:
    """Make the error for a name that no table of this engine holds."""
    return ValueError(f"unknown {what} {given!r}; known are: {', '.join(sorted(known))}")


def flat(tensors: Iterable[Array]) -> Array:
    """All elements of some tensors, one tensor after another, as a vector."""
    return np.concatenate([np.zeros(0), *(np.ravel(tensor) for tensor in tensors)])


def split(vector: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """Undo `flat`."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    return (
        [part.reshape(shape) for part, shape in zip(np.split(vector, ends[:-1]), shapes, strict=True)] if shapes else []
    )


def to_bfloat16(x: Array) -> Array:
    """Round to the nearest number with 8 significant bits, ties to even: what bfloat16 can hold, as float64."""
    return _round_bits(x, 8)


def to_tf32(x: Array) -> Array:
    """Round to the nearest number with 11 significant bits, ties to even: what TF32 can hold, as float64."""
    return _round_bits(x, 11)


def _round_bits(x: Array, significant: int) -> Array:
    """Round to so many significant bits within the range of float32's exponent, which both formats have."""
    if isinstance(x, Dual):  # rounding is constant between its steps: the derivative is that of what is rounded
        return as_float(Dual(_round_bits(x.value, significant), x.tangent))
    bits = np.ascontiguousarray(x, dtype=np.float64).view(np.uint64)
    cut = np.uint64(53 - significant)
    half = (np.uint64(1) << (cut - np.uint64(1))) - np.uint64(1) + ((bits >> cut) & np.uint64(1))
    rounded = ((bits + half) >> cut << cut).view(np.float64)
    rounded = np.where(np.abs(rounded) < 2.0**128, rounded, np.copysign(np.inf, x))
    return as_float(np.where(np.isnan(x), x, rounded))
