"""Patterns of ONNX nodes: how a formula is written down, to make nodes of it and to find it in a graph.

A pattern is an `Op` whose arguments are patterns, `X` (the rows that go in), a `Fixed` that is known by its name, a
`Number` (one number, known by its name) or a plain number. Attributes are plain values or a `Number`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...arrays import Array


@dataclass(frozen=True)
class Source:
    """The rows that go in."""


@dataclass(frozen=True)
class Fixed:
    """An array that is known by its name; `optional`: it may be left out."""

    name: str
    optional: bool = False
    dtype: str = "float"


@dataclass(frozen=True)
class Number:
    """A number that is known by its name."""

    name: str


@dataclass(frozen=True, eq=False)
class Op:
    """A node: its operator, what it takes, and its attributes."""

    name: str
    args: tuple[Any, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


X = Source()
COMMUTATIVE = ("Add", "Mul", "Max", "Min")
DEFAULTS: dict[str, dict[str, Any]] = {  # of attributes that nodes may leave out
    "LeakyRelu": {"alpha": 0.01},
    "Elu": {"alpha": 1.0},
    "Celu": {"alpha": 1.0},
    "Selu": {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "Gelu": {"approximate": "none"},
    "Shrink": {"bias": 0.0, "lambd": 0.5},
    "Softmax": {"axis": -1},
    "BatchNormalization": {"epsilon": 1e-5, "momentum": 0.9, "training_mode": 0},
    "LayerNormalization": {"axis": -1, "epsilon": 1e-5},
    "Swish": {"alpha": 1.0},
    "Gather": {"axis": 0},
    "ReduceL2": {"keepdims": 1},
    "ReduceMean": {"keepdims": 1},
}


def op(name: str, *args: Any, **attributes: Any) -> Op:
    """Make an `Op`."""
    return Op(name, args, attributes)


@dataclass
class Node:
    """A node of a graph that is read: what it takes is nodes, arrays, or None for the input of the graph.

    Attributes
    ----------
    op : str
    args : list
    attributes : dict
    place : str
        For messages.
    shape : tuple of int, or None
        Of a row, where it is known.
    """

    op: str
    args: list[Any]
    attributes: dict[str, Any]
    place: str
    shape: tuple[int, ...] | None = None


def match(pattern: Any, value: Any, found: dict[str, Any]) -> bool:
    """Whether a value of a graph is what a pattern says; `found` gets the constants, and "x" what goes in."""
    if isinstance(pattern, Source):
        if isinstance(value, np.ndarray):
            return False
        known = found.setdefault("x", value)
        return known is value
    if isinstance(pattern, Fixed):
        if not isinstance(value, np.ndarray):
            return False
        known = found.setdefault(pattern.name, value)
        return known is value or np.array_equal(known, value)
    if isinstance(pattern, Number):
        if not isinstance(value, np.ndarray) or value.size != 1:
            return False
        number = float(str(value.reshape(-1)[0]))
        return bool(np.isclose(found.setdefault(pattern.name, number), number, rtol=1e-6))
    if isinstance(pattern, (int, float)):
        return isinstance(value, np.ndarray) and value.size > 0 and bool(np.allclose(value, pattern, 2e-6, 1e-12))
    if not isinstance(value, Node) or value.op != pattern.name:
        return False
    return _attributes(pattern, value, found) and _arguments(pattern, value.args, found)


def _attributes(pattern: Op, node: Node, found: dict[str, Any]) -> bool:
    given = {**DEFAULTS.get(node.op, {}), **node.attributes}
    for name, wanted in pattern.attributes.items():
        value = given.get(name)
        if isinstance(wanted, Number):
            if value is None or found.setdefault(wanted.name, value) != value:
                return False
        elif isinstance(wanted, float):
            if value is None or not np.isclose(value, wanted, rtol=1e-6):
                return False
        elif isinstance(wanted, tuple):
            if value not in wanted:
                return False
        elif value != wanted:
            return False
    return True


def _arguments(pattern: Op, args: list[Any], found: dict[str, Any]) -> bool:
    needed = list(pattern.args)
    while len(needed) > len(args) and isinstance(needed[-1], Fixed) and needed[-1].optional:
        needed.pop()
    if len(needed) != len(args):
        return False
    orders = [args, args[::-1]] if pattern.name in COMMUTATIVE and len(args) == 2 else [args]
    for order in orders:
        trial = dict(found)
        if all(match(one, value, trial) for one, value in zip(needed, order, strict=True)):
            found.clear()
            found.update(trial)
            return True
    return False


def repeated(columns: int, times: int) -> Array:
    """Columns 0, 0, ..., 1, 1, ...: each so many times."""
    return np.repeat(np.arange(columns, dtype=np.int64), times)
