"""The array type of the reference engine and the one conversion into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Spec = Mapping[str, Any]  # one op, loss, optimizer or metric, as plain data


def as_float(values: ArrayLike) -> Array:
    """Return `values` as a float64 array, copied only if it is not one already."""
    return np.asarray(values, dtype=np.float64)


def unknown(what: str, given: object, known: Iterable[str]) -> ValueError:
    """Make the error for a name that no table of this engine holds."""
    return ValueError(f"unknown {what} {given!r}; known are: {', '.join(sorted(known))}")


def to_bfloat16(x: Array) -> Array:
    """Round to the nearest number with 8 significant bits, ties to even: what bfloat16 can hold, as float64."""
    bits = np.ascontiguousarray(x, dtype=np.float64).view(np.uint64)
    cut = np.uint64(52 - 7)
    half = (np.uint64(1) << (cut - np.uint64(1))) - np.uint64(1) + ((bits >> cut) & np.uint64(1))
    rounded = ((bits + half) >> cut << cut).view(np.float64)
    rounded = np.where(np.abs(rounded) < 2.0**128, rounded, np.copysign(np.inf, x))
    return as_float(np.where(np.isnan(x), x, rounded))
