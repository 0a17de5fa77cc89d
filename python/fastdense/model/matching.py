"""Weights of one net for another that is like it in part."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from ..arrays import Array
from ..network import Net


def matched(net: Net, weights: Sequence[Array], other: Net, given: Sequence[Array]) -> tuple[list[Array], list[str]]:
    """The weights of a net with those of another one, layer by layer: of a class, the first goes to the first.

    Returns
    -------
    weights : list of ndarray
    kept : list of str
        Names of the layers that keep theirs, since there are no others of the same shapes.
    """
    found = {key: list(given[part]) for key, (_, part) in _numbered(other)}
    made, kept = list(weights), []
    for key, (name, part) in _numbered(net):
        new = found.get(key, [])
        if [array.shape for array in new] == [array.shape for array in made[part]]:
            made[part] = new
        else:
            kept.append(name)
    return made, kept


def _numbered(net: Net) -> Iterator[tuple[tuple[str, int], tuple[str, slice]]]:
    """Class and number of each layer with tensors, its name and where the tensors are."""
    seen: Counter[str] = Counter()
    for layer, part in net.leaves():
        kind = type(layer).__name__
        yield (kind, seen[kind]), (re.sub(r"[./][^./]*$", "", net.tensors[part.start].name), part)
        seen[kind] += 1
