"""Checks of the arguments that `fit_many` accepts per start: seeds, learning rates, penalties, weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from ..arguments import integer, items, number
from ..arrays import Array, as_array, check_memory, fail, first_place, namespace_of
from ..data.checks import check_finite
from ..data.rows import Shape
from ..network import Net

STARTS = 100  # by default
MAX_SEED = 2**64 - 1


@dataclass(frozen=True)
class Starts:
    """The members of a population, as the arguments describe them.

    Attributes
    ----------
    count : int
    seeds : ndarray of uint64, shape (starts,)
    learning_rates, penalties : ndarray of shape (starts,), or None
    """

    count: int
    seeds: Array
    learning_rates: Array | None
    penalties: Array | None


def read_starts(
    where: str,
    starts: Any,
    seed: Any,
    learning_rate: Any,
    penalty: Any,
    own_weights: Array | None,
    initial_weights: Any,
    check_size: Callable[[int], None],
) -> Starts:
    """The number of starts and the values of each; `check_size` may reject the number.

    `own_weights` are sample weights of each start.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, or two imply different numbers of starts.
    """
    sizes: dict[str, int] = {}
    if starts is not None:
        sizes["starts"] = integer(f"{where}: starts", starts, least=1)
    rates = _per_start(where, "learning_rate", learning_rate, sizes)
    penalties = _per_start(where, "penalty", penalty, sizes)
    if not isinstance(seed, Integral):
        seed = items(f"{where}: seed", seed, "a whole number, or a list of one per start")
        sizes["seed"] = len(seed)
    if own_weights is not None:
        sizes["sample_weight"] = len(own_weights)
    if initial_weights is not None and len(initial_weights):
        first = as_array(where, "initial_weights[0]", initial_weights[0])
        sizes |= {"initial_weights": len(first)} if first.ndim else {}
    if 0 in sizes.values():
        name = next(name for name, size in sizes.items() if size == 0)
        fail(where, f"{name} is empty", "one entry per start is needed")
    if len(set(sizes.values())) > 1:
        given = ", ".join(f"{name} implies {size}" for name, size in sizes.items())
        fail(where, f"the number of starts is ambiguous: {given}", "all must agree",
             "leave out starts, or fix the array")  # fmt: skip
    count = next(iter(sizes.values()), STARTS)
    check_size(count)
    return Starts(count, _seeds(where, seed, count), _filled(rates, count), _filled(penalties, count))


def _per_start(where: str, name: str, value: Any, sizes: dict[str, int]) -> Array | None:
    """A number (0-d) or one number per start, whose length is entered into `sizes`."""
    if value is None:
        return None
    if isinstance(value, Real):
        return np.array(number(f"{where}: {name}", value, least=0))
    array = one_per(where, name, value, "start")
    check_finite(where, name, array)
    if (array < 0).any():
        (i,) = first_place(array < 0)
        fail(where, f"{name}[{i}] is {array[i]:g}", f"{name} must be 0 or more")
    sizes[name] = len(array)
    return array


def one_per(where: str, name: str, value: Any, what: str) -> Array:
    """Numbers in a vector of float64, one for each start or setting."""
    array = as_array(where, name, value)
    if array.ndim != 1 or not len(array):
        fail(where, f"{name} has shape {array.shape}", f"one number, or one per {what}, is needed")
    check_memory(where, 8 * len(array), f"{name} with {len(array)} numbers", "give fewer")
    return array.astype(np.float64)


def _filled(values: Array | None, count: int) -> Array | None:
    return np.full(count, float(values)) if values is not None and values.ndim == 0 else values


def _seeds(where: str, seed: Any, count: int) -> Array:
    if isinstance(seed, Integral):
        begin = integer(f"{where}: seed", seed, least=0, most=MAX_SEED - count + 1)
        return np.asarray(np.arange(count, dtype=np.uint64) + np.uint64(begin))
    seeds = [integer(f"{where}: seed[{i}]", one, least=0, most=MAX_SEED) for i, one in enumerate(seed)]
    return np.asarray(seeds, dtype=np.uint64)


def is_per_start(weights: Array | None) -> bool:
    """Whether sample weights have one row for each start, rather than one column for all."""
    return weights is not None and weights.ndim == 2 and weights.shape[1:] != (1,)


def check_own_weights(where: str, array: Array, starts: int, rows: int, shape: Shape) -> Array:
    """Check sample weights that differ between starts."""
    if array.shape != (starts, rows):
        fail(where, f"sample_weight has shape {array.shape}", f"({rows},) or ({starts}, {rows}) is needed")
    check_finite(where, "sample_weight", array, shape.dtype)
    if (array < 0).any():
        i, j = first_place(array < 0)
        fail(where, f"sample_weight[{i}, {j}] is {array[i, j].item():g}", "weights must be 0 or more")
    contiguous: Array = namespace_of(array).ascontiguousarray(array, dtype=np.float64)
    return contiguous


def check_initial_weights(where: str, net: Net, given: list[Any], starts: int) -> list[Array]:
    """Check initial weights of every member."""
    specs = net.tensors
    if len(given) != len(specs):
        names = ", ".join(f"{spec.name} {(starts, *spec.shape)}" for spec in specs)
        fail(where, f"initial_weights holds {len(given)} arrays", f"{len(specs)} are needed", names)
    checked = []
    for i, (value, spec) in enumerate(zip(given, specs, strict=True)):
        array = as_array(where, f"initial_weights[{i}]", value)
        if array.shape != (starts, *spec.shape):
            given_shape = f"initial_weights[{i}] has shape {array.shape}"
            fail(where, given_shape, f"{spec.name} needs {(starts, *spec.shape)}")
        checked.append(array)
    return checked
