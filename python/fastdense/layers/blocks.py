"""Layers made of others, `Branches` and `Residual`; and `SelectColumns`, by which a branch takes part of its input."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from ..arguments import choice, integer, optional_text, shorten
from ..specs import Config
from .base import Array, DrawFor, Layer, TensorSpec, get

__all__ = ["Branches", "Residual", "SelectColumns"]

B = TypeVar("B", bound="Composite")

MERGES = ("concatenate", "add", "subtract", "multiply", "average", "maximum", "minimum")
MOST_BRANCHES = 64
_DEEPEST = 64  # blocks in one another, far more than is of use: the work of nesting grows with its square


class Composite(Layer):
    """Base of the layers that are made of others: chains of layers that all begin with the block's input.

    A chain's ops follow an op of the block, and after the last chain comes one more. Names of the inner tensors begin
    with the place of their layer, as `prefix` gives it.

    Examples
    --------
    >>> from fastdense.layers import Composite, Dense, Residual
    >>> isinstance(Residual([Dense(3)]), Composite)
    True
    """

    @property
    def chains(self) -> list[list[Layer]]:
        """The chains."""
        raise NotImplementedError

    def with_chains(self: B, chains: list[list[Layer]]) -> B:
        """The same block of other layers."""
        raise NotImplementedError

    def prefix(self, chain: int, layer: int) -> str:
        """The place of an inner layer, for names."""
        raise NotImplementedError

    def _nested(self) -> None:
        """Raise if too many blocks are in one another; the number is part of the object."""
        inner = [layer._depth for chain in self.chains for layer in chain if isinstance(layer, Composite)]
        self._depth: int = 1 + max(inner, default=0)
        if self._depth > _DEEPEST:
            kind = type(self).__name__
            raise ValueError(f"{kind}: {self._depth} of them are nested. Give at most {_DEEPEST}, one in another.")

    def places(self, inputs: int) -> list[tuple[str, Layer, int]]:
        """Each inner layer, in the order of the ops, with its place and the width of its input."""
        found = []
        for c, chain in enumerate(self.chains):
            width = inputs
            for i, layer in enumerate(chain):
                found.append((self.prefix(c, i), layer, width))
                width = layer.output_width(width)
        return found

    def leaves(self, inputs: int) -> Iterator[tuple[Layer, int]]:
        """Each inner layer that is no block, with the width of its input; the tensors are theirs, in this order."""
        for _, layer, width in self.places(inputs):
            if isinstance(layer, Composite):
                yield from layer.leaves(width)
            else:
                yield layer, width

    def chain_widths(self, inputs: int) -> list[int]:
        """Outputs of each chain."""
        widths = []
        for chain in self.chains:
            width = inputs
            for layer in chain:
                width = layer.output_width(width)
            widths.append(width)
        return widths

    def check_dtype(self, dtype: str) -> None:
        for chain in self.chains:
            for layer in chain:
                layer.check_dtype(dtype)

    def tensors(self, inputs: int) -> list[TensorSpec]:
        return [
            TensorSpec(f"{place}.{spec.name}", spec.shape, spec.trainable)
            for place, layer, width in self.places(inputs)
            for spec in layer.tensors(width)
        ]

    def initial_values(self, inputs: int, draw: DrawFor) -> list[Array]:
        return [value for _, layer, width in self.places(inputs) for value in layer.initial_values(width, draw)]

    def many_initial_values(self, inputs: int, seeds: Any, index: int) -> list[Array]:
        values: list[Array] = []
        for _, layer, width in self.places(inputs):
            values += layer.many_initial_values(width, seeds, index + len(values))
        return values

    def chain_ops(self, inputs: int) -> list[list[Config]]:
        """The ops of each chain."""
        ops = []
        for chain in self.chains:
            own: list[Config] = []
            width = inputs
            for layer in chain:
                own += layer.lower(width)
                width = layer.output_width(width)
            ops.append(own)
        return ops

    def trained_tensors(self, inputs: int) -> list[bool]:
        inner = [one for _, layer, width in self.places(inputs) for one in layer.trained_tensors(width)]
        return [one and self.trainable for one in inner]

    def kept_tensors(self, inputs: int) -> list[bool]:
        inner = [one for _, layer, width in self.places(inputs) for one in layer.kept_tensors(width)]
        return [one or not self.trainable for one in inner]

    def frozen_ops(self, inputs: int) -> list[bool]:
        flags: list[bool] = []
        for chain in self.chains:
            width = inputs
            flags.append(False)  # the op before the chain
            for layer in chain:
                flags += (layer if self.trainable else _frozen(layer)).frozen_ops(width)
                width = layer.output_width(width)
        return [*flags, False]


def _frozen(layer: Layer) -> Layer:
    """The layer as one that is not trained."""
    made = copy.copy(layer)
    made.trainable = False
    return made


class Residual(Composite, names=("residual",)):
    """Adds its input to what its layers make of it (He et al., 2016): ``x + layers(x)``; may be nested.

    Parameters
    ----------
    layers : list of Layer
        Together they must give as many outputs as they get inputs.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.
    trainable : bool, default True
        False freezes all of its layers, whatever they say themselves.

    Examples
    --------
    >>> from fastdense.layers import Residual
    >>> Residual(["batch_norm"])
    Residual([BatchNorm()])
    """

    def __init__(self, layers: Sequence[Any], name: str | None = None, trainable: bool = True) -> None:
        if not isinstance(layers, (list, tuple)) or not layers:
            raise TypeError(f"Residual: layers={shorten(layers)}. Give a list of at least one layer.")
        self.layers = [get(layer, f"Residual: layers[{i}]") for i, layer in enumerate(layers)]
        self.name = optional_text("Residual: name", name)
        self.trainable = trainable
        self._nested()

    @property
    def chains(self) -> list[list[Layer]]:
        return [self.layers]

    def with_chains(self, chains: list[list[Layer]]) -> Residual:
        return Residual(chains[0], self.name, self.trainable)

    def prefix(self, chain: int, layer: int) -> str:
        return str(layer)

    def output_width(self, inputs: int) -> int:
        (outputs,) = self.chain_widths(inputs)
        if outputs != inputs:
            raise ValueError(
                f"Residual: its layers turn {inputs} inputs into {outputs} outputs, so they cannot be added. "
                f"Let the last layer have {inputs} units, or put a Dense({outputs}) before the Residual."
            )
        return outputs

    def lower(self, inputs: int) -> list[Config]:
        (ops,) = self.chain_ops(inputs)
        return [{"kind": "residual_begin"}, *ops, {"kind": "residual_end"}]


class Branches(Composite, names=("branches",)):
    """Passes its input through several branches and merges what they give: wide & deep nets, several inputs, skips.

    Several inputs are columns of one x, which branches select: ``[SelectColumns(range(5)), Dense(8)]``.

    Parameters
    ----------
    branches : list of lists of Layer
        At least two. An empty list passes the input as it is. They may contain further blocks.
    merge : {"concatenate", "add", "subtract", "multiply", "average", "maximum", "minimum"}, default "concatenate"
        How the outputs of the branches are put together: side by side, or element by element.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.
    trainable : bool, default True
        False freezes all of its layers, whatever they say themselves.

    Raises
    ------
    ValueError
        If there are more than 64 branches or blocks in one another, or (in a net) outputs of different widths are to be
        merged element by element.

    Examples
    --------
    >>> import fastdense as fd
    >>> fd.Branches([[], [fd.Dense(30, "relu"), fd.Dense(30, "relu")]])
    Branches([[], [Dense(30, activation='relu'), Dense(30, activation='relu')]])
    >>> wide_and_deep = fd.Model([fd.Branches([[], [fd.Dense(30, "relu")]]), fd.Dense(1)], inputs=8)
    """

    def __init__(
        self,
        branches: Sequence[Any],
        merge: str = "concatenate",
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        need = "Give a list of at least two lists of layers, e.g. [[], [fd.Dense(30)]]."
        if not isinstance(branches, (list, tuple)) or not all(isinstance(one, (list, tuple)) for one in branches):
            raise TypeError(f"Branches: branches={shorten(branches)}. {need}")
        if len(branches) < 2:
            raise ValueError(f"Branches: branches={shorten(branches)}. {need}")
        if len(branches) > MOST_BRANCHES:
            raise ValueError(
                f"Branches: {len(branches)} branches were given. Give at most {MOST_BRANCHES}, and put others "
                "into blocks of their own."
            )
        self.branches = [
            [get(layer, f"Branches: branches[{b}][{i}]") for i, layer in enumerate(branch)]
            for b, branch in enumerate(branches)
        ]
        self.merge = choice("Branches: merge", merge, MERGES, meant={"concat": "concatenate", "sum": "add"})
        if self.merge == "subtract" and len(branches) != 2:
            raise ValueError(f"Branches: merge='subtract' takes two branches, got {len(branches)}.")
        self.name = optional_text("Branches: name", name)
        self.trainable = trainable
        self._nested()

    @property
    def chains(self) -> list[list[Layer]]:
        return self.branches

    def with_chains(self, chains: list[list[Layer]]) -> Branches:
        return Branches(chains, self.merge, self.name, self.trainable)

    def prefix(self, chain: int, layer: int) -> str:
        return f"{chain}.{layer}"

    def output_width(self, inputs: int) -> int:
        widths = self.chain_widths(inputs)
        if self.merge == "concatenate":
            return sum(widths)
        if any(a != b for a, b in pairwise(widths)):
            raise ValueError(
                f"Branches: its branches give {', '.join(map(str, widths))} outputs, which merge={self.merge!r} cannot "
                "put together. Let all give as many, or use merge='concatenate'."
            )
        return widths[0]

    def lower(self, inputs: int) -> list[Config]:
        ops: list[Config] = []
        for own in self.chain_ops(inputs):
            ops += [{"kind": "branch_next" if ops else "branches_begin"}, *own]
        return [*ops, {"kind": "branches_end", "merge": self.merge}]


class SelectColumns(Layer, names=("select_columns",)):
    """Chosen columns of its input, in the order in which they are given; in a branch, the part of the data it works on.

    Parameters
    ----------
    columns : int, range or sequence of int
        Each column once.
    name : str, optional
        Name of the layer in tables and files; None lets the model number it.

    Examples
    --------
    >>> import fastdense as fd
    >>> fd.SelectColumns(range(3))
    SelectColumns([0, 1, 2])
    """

    def __init__(self, columns: int | Sequence[int], name: str | None = None) -> None:
        where = "SelectColumns: columns"
        value: Any = columns.tolist() if isinstance(columns, np.ndarray) else columns
        many = value if isinstance(value, (list, tuple, range)) else [value]
        self.columns = [integer(f"{where}[{i}]" if many is value else where, one, least=0)
                        for i, one in enumerate(many)]  # fmt: skip
        if not self.columns:
            raise ValueError(f"{where} is empty. Give at least one column.")
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(f"{where}={shorten(self.columns)}. Give each column once.")
        self.name = optional_text("SelectColumns: name", name)

    def output_width(self, inputs: int) -> int:
        if max(self.columns) >= inputs:
            raise ValueError(
                f"SelectColumns: columns holds {max(self.columns)}, but its input has {inputs} columns. "
                f"Give numbers from 0 to {inputs - 1}."
            )
        return len(self.columns)

    def lower(self, inputs: int) -> list[Config]:
        return [{"kind": "select_columns", "columns": self.columns}]
