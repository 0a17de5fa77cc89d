"""Checks of the arguments that `fit_many` accepts per start: seeds, settings, weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np

from ..arguments import integer, items, number
from ..arrays import Array, as_array, check_memory, fail, first_place, namespace_of
from ..data.checks import check_finite
from ..data.rows import Shape
from ..model.base import BaseModel
from ..network import Net
from ..training.feasible import DEFAULT_BATCH

STARTS = 100  # by default
MAX_SEED = 2**64 - 1


@dataclass(frozen=True)
class Starts:
    """The members of a population, as the arguments describe them.

    Attributes
    ----------
    count : int
    seeds : ndarray of uint64, shape (starts,)
    batch_sizes : ndarray of int, shape (starts,)
    learning_rates, penalties, weight_decays, dropouts, label_smoothings, loss_weights : ndarray of shape (starts,)
        Or None where the models' own values count.
    order_seeds : ndarray of uint64, shape (starts,), or None
    """

    count: int
    seeds: Array
    batch_sizes: Array
    learning_rates: Array | None = None
    penalties: Array | None = None
    weight_decays: Array | None = None
    dropouts: Array | None = None
    label_smoothings: Array | None = None
    loss_weights: Array | None = None
    order_seeds: Array | None = None

    def of(self, which: Array) -> Starts:
        """Some of the members."""
        values = {name: value[which] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, count=len(which), **values)

    def one(self, i: int) -> dict[str, float]:
        """The values of one member that replace its model's, by the names of the fields."""
        return {
            name: float(value[i])
            for name, value in vars(self).items()
            if isinstance(value, np.ndarray) and name not in ("seeds", "order_seeds", "batch_sizes")
        }


# The arguments of numbers, and their bounds.
BOUNDS: dict[str, dict[str, float]] = {
    "learning_rate": {"least": 0},
    "penalty": {"least": 0},
    "weight_decay": {"least": 0},
    "dropout": {"least": 0, "below": 1},
    "label_smoothing": {"least": 0, "most": 1},
    "loss_weight": {"above": 0},
}
FIELDS = {
    "learning_rate": "learning_rates",
    "penalty": "penalties",
    "weight_decay": "weight_decays",
    "dropout": "dropouts",
    "label_smoothing": "label_smoothings",
    "loss_weight": "loss_weights",
}


def read_starts(
    where: str,
    starts: Any,
    seed: Any,
    batch_size: Any,
    order_seed: Any,
    numbers: dict[str, Any],
    own_weights: Array | None,
    initial_weights: Any,
    models: Sequence[BaseModel] | None,
    check_size: Callable[[int, int], None],
) -> Starts:
    """The number of starts and the values of each; `check_size` may reject the number, with the smallest batch.

    Parameters
    ----------
    where : str
    starts, seed, batch_size, order_seed, initial_weights
        As in `fit_many`.
    numbers : dict
        What was given for the arguments of `BOUNDS`.
    own_weights : ndarray, optional
        Sample weights of each start.
    models : sequence of BaseModel, optional
        One for each start.
    check_size : callable

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, or two imply different numbers of starts.
    """
    sizes: dict[str, int] = {} if models is None else {"the list of models": len(models)}
    if starts is not None:
        sizes["starts"] = integer(f"{where}: starts", starts, least=1)
    values = {FIELDS[name]: _per_start(where, name, value, sizes, **BOUNDS[name]) for name, value in numbers.items()}
    seed = 0 if seed is None and models is None else seed
    if seed is not None and not isinstance(seed, Integral):
        seed = items(f"{where}: seed", seed, "a whole number, or a list of one per start")
        sizes["seed"] = len(seed)
    batches = _whole_numbers(where, "batch_size", DEFAULT_BATCH if batch_size is None else batch_size, 1, None, sizes)
    orders = None if order_seed is None else _whole_numbers(where, "order_seed", order_seed, 0, MAX_SEED, sizes)
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
    check_size(count, min(batches))
    if seed is None and models is not None:
        seed = [model.seed for model in models]
    return Starts(
        count,
        _seeds(where, seed, count),
        np.full(count, batches[0], dtype=np.int64) if len(batches) == 1 else np.asarray(batches, dtype=np.int64),
        order_seeds=None if orders is None else np.asarray(orders * (count // len(orders)), dtype=np.uint64),
        **{name: _filled(value, count) for name, value in values.items()},
    )


def _per_start(where: str, name: str, value: Any, sizes: dict[str, int], **bounds: float) -> Array | None:
    """A number (0-d) or one number per start, whose length is entered into `sizes`."""
    if value is None:
        return None
    if isinstance(value, Real):
        return np.array(number(f"{where}: {name}", value, **bounds))
    array = one_per(where, name, value, "start")
    check_finite(where, name, array)
    inside = {"least": np.greater_equal, "above": np.greater, "below": np.less, "most": np.less_equal}
    words = {"least": "{:g} or more", "above": "above {:g}", "below": "below {:g}", "most": "at most {:g}"}
    good = np.all([inside[kind](array, bound) for kind, bound in bounds.items()], axis=0)
    if not good.all():
        (i,) = first_place(~good)
        needed = " and ".join(words[kind].format(bound) for kind, bound in bounds.items())
        fail(where, f"{name}[{i}] is {array[i]:g}", f"{name} must be {needed}")
    sizes[name] = len(array)
    return array


def _whole_numbers(where: str, name: str, value: Any, least: int, most: int | None, sizes: dict[str, int]) -> list[int]:
    """A whole number, in a list, or one per start, whose count is entered into `sizes`."""
    if isinstance(value, Integral):
        return [integer(f"{where}: {name}", value, least=least, most=most)]
    if isinstance(value, Real):
        integer(f"{where}: {name}", value, least=least, most=most)  # raises
    given = items(f"{where}: {name}", value, "a whole number, or a list of one per start")
    sizes[name] = len(given)
    return [integer(f"{where}: {name}[{i}]", one, least=least, most=most) for i, one in enumerate(given)]


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
