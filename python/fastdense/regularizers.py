"""Regularizers: penalties on a layer's weights or outputs, added to the loss.

Penalties on weights are added once per step as they are, not divided by the batch size; penalties on a layer's outputs
(``activity_regularizer``) are divided by the rows of the batch. Several may be given as a list or added with ``+``:

>>> from fastdense.regularizers import l1, repulsion
>>> l1(1e-4) + repulsion(0.1)
Sum([L1(l1=0.0001), RepulsionRegularizer(factor=0.1)])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .arguments import choice, items, number
from .reference import penalties
from .specs import Config, Spec, resolve

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "OrthogonalRegularizer",
    "Regularizer",
    "RepulsionRegularizer",
    "Sum",
    "get",
    "l1",
    "l1_l2",
    "l2",
    "orthogonal",
    "repulsion",
]


class Terms(NamedTuple):
    """The penalties that the engines know, with the factor of each."""

    l1: float = 0.0
    l2: float = 0.0
    orthogonal: float = 0.0
    orthogonal_columns: bool = False
    repulsion: float = 0.0


class Regularizer(Spec, family="regularizer"):
    """Base of the regularizers."""

    _own = f"{Spec._own} Penalties are those of l1, l2, orthogonal and repulsion: define terms(), or use them."
    _for_arrays = ("__call__",)

    def terms(self) -> Terms:
        """Return the factor of each penalty."""
        raise NotImplementedError

    def __call__(self, x: ArrayLike) -> float:
        """Return the penalty of an array of weights."""
        w, t = np.asarray(x, dtype=np.float64), self.terms()
        value = t.l1 * np.abs(w).sum() + t.l2 * np.square(w).sum()
        value += penalties.orthogonal(w, t.orthogonal, t.orthogonal_columns)[0] if t.orthogonal else 0.0
        value += penalties.repulsion(w, t.repulsion)[0] if t.repulsion else 0.0
        return float(value)

    def __add__(self, other: Regularizer) -> Sum:
        return Sum([self, other])


class L1(Regularizer, names=("l1",)):
    """``l1 * sum(|w|)``, which drives weights to exactly 0.

    Parameters
    ----------
    l1 : float, default 0.01
        Factor of the sum of magnitudes, at least 0.

    Examples
    --------
    >>> from fastdense.regularizers import L1
    >>> L1(0.001)
    L1(l1=0.001)
    """

    def __init__(self, l1: float = 0.01) -> None:
        self.l1 = number("L1: l1", l1, least=0)

    def terms(self) -> Terms:
        return Terms(l1=self.l1)


class L2(Regularizer, names=("l2",)):
    """``l2 * sum(w**2)``, which keeps weights small.

    Parameters
    ----------
    l2 : float, default 0.01
        Factor of the sum of squares, at least 0.

    Examples
    --------
    >>> from fastdense.regularizers import L2
    >>> L2(0.001)
    L2(l2=0.001)
    """

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = number("L2: l2", l2, least=0)

    def terms(self) -> Terms:
        return Terms(l2=self.l2)


class L1L2(Regularizer, names=("l1_l2",)):
    """``l1 * sum(|w|) + l2 * sum(w**2)``.

    Parameters
    ----------
    l1, l2 : float, default 0.0
        Both 0 unless given, as in Keras; the name "l1_l2" stands for 0.01 and 0.01.

    Examples
    --------
    >>> from fastdense.regularizers import L1L2
    >>> L1L2(l1=0.001, l2=0.01)
    L1L2(l1=0.001, l2=0.01)
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = number("L1L2: l1", l1, least=0)
        self.l2 = number("L1L2: l2", l2, least=0)

    def terms(self) -> Terms:
        return Terms(l1=self.l1, l2=self.l2)


class OrthogonalRegularizer(Regularizer, names=("orthogonal", "orthogonal_regularizer")):
    """Mean of ``|cos|`` of the angle between every two rows (or columns) of a kernel, times `factor`; kernels only.

    Parameters
    ----------
    factor : float, default 0.01
        Factor of the penalty, at least 0.
    mode : {"rows", "columns"}, default "rows"
        A column is the weight vector of one unit.

    Examples
    --------
    >>> from fastdense.regularizers import OrthogonalRegularizer
    >>> OrthogonalRegularizer(0.1, mode="columns")
    OrthogonalRegularizer(factor=0.1, mode='columns')
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor = number("OrthogonalRegularizer: factor", factor, least=0)
        self.mode = choice("OrthogonalRegularizer: mode", mode, ("rows", "columns"))

    def terms(self) -> Terms:
        return Terms(orthogonal=self.factor, orthogonal_columns=self.mode == "columns")


class RepulsionRegularizer(Regularizer, names=("repulsion",)):
    """Mean of ``max(0, cos)**2`` of the angle between every two columns of a kernel, times `factor`; kernels only.

    It keeps the units of a layer from collapsing onto one another: it is 0, and does nothing, as soon as no two units
    point the same way. Opposite units are no harm and cost nothing.

    Parameters
    ----------
    factor : float, default 0.01
        Factor of the penalty, at least 0.

    Examples
    --------
    >>> from fastdense.regularizers import RepulsionRegularizer
    >>> RepulsionRegularizer(0.1)
    RepulsionRegularizer(factor=0.1)
    """

    def __init__(self, factor: float = 0.01) -> None:
        self.factor = number("RepulsionRegularizer: factor", factor, least=0)

    def terms(self) -> Terms:
        return Terms(repulsion=self.factor)


class Sum(Regularizer, names=("sum",)):
    """Several regularizers at once; what a list and ``+`` make.

    Parameters
    ----------
    regularizers : list
        Names, objects or config dicts; orthogonal rows and orthogonal columns cannot be had together.

    Examples
    --------
    >>> from fastdense.regularizers import Sum
    >>> Sum(["l1", "l2"])
    Sum([L1(), L2()])
    """

    def __init__(self, regularizers: Sequence[Any]) -> None:
        self.regularizers: list[Regularizer] = []
        parts = items("Sum: regularizers", regularizers, "a list of regularizers, such as ['l1', 'l2']")
        for i, item in enumerate(parts):
            part = get(item, f"Sum: regularizers[{i}]")
            self.regularizers += part.regularizers if isinstance(part, Sum) else [part]
        modes = {part.mode for part in self.regularizers if isinstance(part, OrthogonalRegularizer)}
        if len(modes) > 1:
            raise ValueError("Sum: orthogonal rows and orthogonal columns in one layer. Keep one of them.")

    def terms(self) -> Terms:
        parts = [part.terms()._asdict() for part in self.regularizers]
        total = {name: sum(part[name] for part in parts) for name in Terms._fields}
        total["orthogonal_columns"] = bool(total["orthogonal_columns"])
        return Terms(**total)


def l1(l1: float = 0.01) -> L1:
    """Return `L1`."""
    return L1(l1)


def l2(l2: float = 0.01) -> L2:
    """Return `L2`."""
    return L2(l2)


def l1_l2(l1: float | None = None, l2: float | None = None) -> L1L2:
    """Return `L1L2`: 0.01 and 0.01 if nothing is given; if one is given, the other is 0, as in Keras 3."""
    if l1 is None and l2 is None:
        return L1L2(0.01, 0.01)
    return L1L2(0.0 if l1 is None else l1, 0.0 if l2 is None else l2)


def orthogonal(factor: float = 0.01, mode: str = "rows") -> OrthogonalRegularizer:
    """Return `OrthogonalRegularizer`."""
    return OrthogonalRegularizer(factor, mode)


def repulsion(factor: float = 0.01) -> RepulsionRegularizer:
    """Return `RepulsionRegularizer`."""
    return RepulsionRegularizer(factor)


def get(value: Any, where: str = "regularizer") -> Regularizer:
    """Return a regularizer from a name, an object, a class, a config dict, or a list of these."""
    if isinstance(value, (list, tuple)):
        return Sum(value)
    made = resolve(Regularizer, value, where)
    return l1_l2() if isinstance(value, str) and isinstance(made, L1L2) else made


def for_weights_or_outputs(value: Any, where: str) -> Regularizer | None:
    """Return a regularizer for a bias or for activities: None, or l1 and l2 only."""
    if value is None:
        return None
    made = get(value, where)
    terms = made.terms()
    if terms._replace(l1=0.0, l2=0.0) != Terms():
        raise ValueError(f"{where}: {made!r} compares the columns or rows of a kernel. Use l1, l2 or l1_l2 here.")
    return made


def lower(prefix: str, regularizer: Regularizer | None) -> Config:
    """Return the penalties as keys of an op: "kernel" accepts all of them, "bias" and "activity" l1 and l2."""
    terms = (regularizer.terms() if regularizer is not None else Terms())._asdict()
    return {f"{prefix}_{name}": terms[name] for name in (terms if prefix == "kernel" else ("l1", "l2"))}
