"""Spaces of hyperparameters, and settings drawn from them so that few of them already cover every range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..arguments import integer, number, shorten
from ..arrays import fail

__all__ = ["BLOCK", "check_space", "draw"]

BLOCK = 8  # settings that together have every eighth of each range
Space = Mapping[str, Sequence[Any]]


def check_space(where: str, space: Any, known: Sequence[str]) -> dict[str, list[Any] | tuple[Any, ...]]:
    """Check a space of hyperparameters.

    Parameters
    ----------
    where : str
        Begins messages.
    space : dict
        For each name a list of choices, or a range ``(low, high)`` or ``(low, high, "log")``; whole numbers are drawn
        from a range of whole numbers.
    known : sequence of str
        The names there are.

    Returns
    -------
    dict
        The same, with the choices as lists and the ranges as tuples.

    Raises
    ------
    ValueError, TypeError
        If the space is empty, a name is unknown, a list is empty or a range is none.
    """
    if not isinstance(space, Mapping) or not space:
        raise TypeError(f"{where}={shorten(space)}. Give a dict of names to lists of choices or ranges (low, high).")
    checked: dict[str, list[Any] | tuple[Any, ...]] = {}
    for name, values in space.items():
        if name not in known:
            fail(where, f"{name!r} is no hyperparameter of the recipe", "the names are " + ", ".join(known))
        here = f"{where}[{name!r}]"
        if isinstance(values, tuple):
            checked[name] = _range(here, values)
        elif isinstance(values, list) and values:
            checked[name] = list(values)
        else:
            raise TypeError(f"{here}={shorten(values)}. Give a list of choices, or a range (low, high).")
    return checked


def _range(where: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(values) not in (2, 3) or (len(values) == 3 and values[2] != "log"):
        raise ValueError(f"{where}={shorten(values)} is no range. Give (low, high) or (low, high, 'log').")
    ends: list[float]
    if all(isinstance(end, (int, np.integer)) and not isinstance(end, bool) for end in values[:2]):
        ends = [integer(where, end, least=0) for end in values[:2]]
    else:
        ends = [number(where, end) for end in values[:2]]
    if ends[0] > ends[1] or (len(values) == 3 and ends[0] <= 0):
        positive = " above 0" if len(values) == 3 else ""
        raise ValueError(f"{where}={shorten(values)} is no range. Give low and high{positive}, low first.")
    return (*ends, *values[2:])


def draw(space: Mapping[str, list[Any] | tuple[Any, ...]], count: int, seed: int) -> list[dict[str, Any]]:
    """Draw settings, a Latin hypercube for each `BLOCK` of them (McKay, Beckman & Conover, 1979).

    In a block each hyperparameter has one value in every eighth of its range (each choice as often as any other, up to
    one), in an order that does not depend on the other hyperparameters. The first settings do not depend on how many
    are drawn, nor a hyperparameter's values on those beside it.

    Parameters
    ----------
    space : dict
        As `check_space` returns it.
    count : int
    seed : int

    Returns
    -------
    list of dict
    """
    columns = {name: _column(values, count, seed, name) for name, values in space.items()}
    return [{name: column[i] for name, column in columns.items()} for i in range(count)]


def _column(values: list[Any] | tuple[Any, ...], count: int, seed: int, name: str) -> list[Any]:
    """The values of one hyperparameter."""
    random = np.random.default_rng([seed, *name.encode()])
    blocks = math.ceil(count / BLOCK)
    of_blocks = [(random.permutation(BLOCK) + random.random(BLOCK)) / BLOCK for _ in range(blocks)]
    places = np.concatenate(of_blocks).tolist()
    return [_value(values, place) for place in places[:count]]


def _value(values: list[Any] | tuple[Any, ...], place: float) -> Any:
    """The value at a place from 0 to below 1 of a list or a range."""
    if isinstance(values, list):
        return values[int(place * len(values))]
    low, high = values[:2]
    if isinstance(low, int) and isinstance(high, int):
        if len(values) == 3:
            return min(high, int(math.exp(math.log(low) + place * (math.log(high + 1) - math.log(low)))))
        return low + int(place * (high + 1 - low))
    if len(values) == 3:
        return math.exp(math.log(low) + place * (math.log(high) - math.log(low)))
    return low + place * (high - low)
