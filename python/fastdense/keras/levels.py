"""Nets with several outputs as chains: level by level, with all tensors that are still needed side by side.

A level is a block of branches: one for each run of layers whose inputs are known by then, and one for each tensor that
a later level needs. So a tensor may be used anywhere behind it, and each layer is computed once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import layers as core_layers
from ..arrays import Array
from .graph import Join, Merge, Node, Part, Several, Step, read
from .layer import InputLayer, Layer, Shape
from .tensor import tensor


class Take(Step):
    """Takes one of the tensors that a level has side by side; `pick` is its number, `first` its first column."""

    def __init__(self, node: Node, pick: int, first: int) -> None:
        super().__init__(node.layer.name)
        self.pick, self.shape = pick, node.shape
        self.spec = core_layers.SelectColumns(range(first, first + math.prod(node.shape)))

    def output_shape_of(self, shape: Shape) -> Shape:
        return self.shape


class Level(Join):
    """The tensors of a level, flat and side by side."""

    def __init__(self, branches: Sequence[tuple[Layer, ...]]) -> None:
        super().__init__("concatenate", None, branches)

    def with_branches(self, branches: Sequence[tuple[Layer, ...]]) -> Level:
        return Level(branches)

    def merged_shape(self, shapes: Sequence[Shape]) -> Shape:
        return (sum(map(math.prod, shapes)),)

    def merged(self, outputs: Sequence[NDArray[np.generic]]) -> Array:
        return tensor(np.concatenate([one.reshape(len(one), -1) for one in outputs], axis=1))


class _Run:
    """Layers one after the other, which nothing else looks into: they are a branch of one level."""

    def __init__(self, first: Node) -> None:
        self.nodes = [first]
        self.level = 0

    @property
    def last(self) -> Node:
        """Its output."""
        return self.nodes[-1]

    def layers(self, take: Mapping[Node, tuple[Layer, ...]]) -> tuple[Layer, ...]:
        """Its layers, behind what takes its inputs."""
        first = self.nodes[0]
        if isinstance(first.layer, Merge):
            begin: tuple[Layer, ...] = (Join(first.layer.merge, first.layer, [take[one] for one in first.parents]),)
        elif len(first.parents) > 1:  # it takes them side by side
            begin = (Level([take[one] for one in first.parents]), first.layer)
        else:
            begin = (*take[first.parents[0]], first.layer)
        behind = [one for node in self.nodes[1:] for one in (node.layer, *node.applied)]
        return (*begin, *first.applied, *behind)


def levels(
    inputs: Sequence[InputLayer], histories: Sequence[tuple[Layer, ...]]
) -> tuple[tuple[Layer, ...], InputLayer]:
    """The layers that give the tensors of these histories, side by side in this order, and what they begin with.

    Parameters
    ----------
    inputs : sequence of InputLayer
    histories : sequence of tuples of Layer
        From the input on, or from the wide x of several inputs.

    Raises
    ------
    ValueError
        If a tensor is given twice.
    """
    known: dict[Any, Node] = {}
    sources = {one: Node(one, [], one.input_shape) for one in inputs}
    wide = len(inputs) > 1
    last = [
        node for layers in histories for node in read(layers, [sources[inputs[0]]], sources, known, lambda _: False)
    ]
    if len(set(last)) < len(last):
        raise ValueError("Model: a tensor is given twice in outputs. Give each one once.")
    runs = _runs(last)
    source = Several(list(inputs)) if wide else inputs[0]
    starts = np.cumsum([0, *(math.prod(one.input_shape) for one in inputs)]).tolist()
    take: dict[Node, tuple[Layer, ...]] = {
        node: (Part(one, first),) if wide else ()
        for (one, node), first in zip(sources.items(), starts, strict=False)
    }  # fmt: skip
    chain: list[Layer] = []
    depth = max((run.level for run in runs), default=0)
    for level in range(1, depth + 1):
        own = {run.last: run for run in runs if run.level == level}
        later = {one for run in runs if run.level > level for one in run.nodes[0].parents}
        kept = [node for node in take if node in later or node in last]
        held = [*own, *kept] if level < depth else last
        branches = [own[node].layers(take) if node in own else take[node] for node in held]
        chain += [Level(branches)] if len(branches) > 1 else branches[0]
        firsts = np.cumsum([0, *(math.prod(node.shape) for node in held)]).tolist()
        take = {
            node: (Take(node, i, first),) if len(held) > 1 else ()
            for i, (node, first) in enumerate(zip(held, firsts, strict=False))
        }  # fmt: skip
    if not depth:
        chain.append(Level([take[node] for node in last]))
    return tuple(chain), source


def _runs(last: Sequence[Node]) -> list[_Run]:
    """The layers that these outputs depend on, in runs as long as possible; those of a level before those behind it."""
    users: dict[Node, int] = dict.fromkeys(last, 1)
    order: list[Node] = []
    stack = [(node, False) for node in reversed(last)]
    seen: set[Node] = set()
    while stack:
        node, finished = stack.pop()
        if finished:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack += [(node, True), *((one, False) for one in reversed(node.parents))]
            for one in node.parents:
                users[one] = users.get(one, 0) + 1
    ends = set(last)
    of: dict[Node, _Run] = {}
    runs = []
    for node in order:
        if not node.parents:
            continue
        before = of.get(node.parents[0])
        alone = len(node.parents) == 1 and users[node.parents[0]] == 1 and node.parents[0] not in ends
        if before is not None and alone:
            before.nodes.append(node)
            of[node] = before
            continue
        run = of[node] = _Run(node)
        run.level = 1 + max(of[one].level if one in of else 0 for one in node.parents)
        runs.append(run)
    return runs
