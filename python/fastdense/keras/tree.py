"""Nested structures of lists, tuples and dicts: `keras.tree`. The values of a dict are in the order of its sorted keys.

>>> from fastdense.keras import tree
>>> tree.flatten({"b": [2, 3], "a": 1})
[1, 2, 3]
>>> tree.map_structure(lambda x: 10 * x, [1, (2, 3)])
[10, (20, 30)]
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..arguments import shorten
from .names import not_offered

__all__ = [
    "assert_same_structure",
    "flatten",
    "flatten_with_path",
    "is_nested",
    "lists_to_tuples",
    "map_structure",
    "map_structure_up_to",
    "pack_sequence_as",
]
Path = tuple[Any, ...]


def is_nested(structure: Any) -> bool:
    """Whether it is a list, a tuple or a dict, also an empty one; everything else is a leaf, None too."""
    return isinstance(structure, (list, tuple, dict, deque))


def _keys(structure: Any) -> list[Any]:
    if not isinstance(structure, dict):
        return list(range(len(structure)))
    if isinstance(structure, OrderedDict):
        return list(structure)
    try:
        return sorted(structure)
    except TypeError:  # keys of several types
        return sorted(structure, key=lambda key: (type(key).__qualname__, repr(key)))


def _like(structure: Any, parts: dict[Any, Any]) -> Any:
    """The same kind of structure with other parts, by their keys."""
    if isinstance(structure, dict):
        made = {key: parts[key] for key in structure}
        if isinstance(structure, defaultdict):
            return defaultdict(structure.default_factory, made)
        return OrderedDict(made) if isinstance(structure, OrderedDict) else made
    if hasattr(structure, "_fields"):
        return type(structure)(*parts.values())
    return deque(parts.values(), structure.maxlen) if isinstance(structure, deque) else type(structure)(parts.values())


def flatten(structure: Any) -> list[Any]:
    """Its leaves, in order; a leaf alone is a list of one."""
    return [leaf for _, leaf in flatten_with_path(structure)]


def flatten_with_path(structure: Any) -> list[tuple[Path, Any]]:
    """Its leaves with their paths: the keys and the indices that lead to them."""
    return list(_leaves(structure, ()))


def _leaves(structure: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if not is_nested(structure):
        yield path, structure
        return
    for key in _keys(structure):
        yield from _leaves(structure[key], (*path, key))


def map_structure(func: Callable[..., Any], *structures: Any, none_is_leaf: bool = True) -> Any:
    """A structure with the values of `func` for the leaves of one structure, or of several that are alike.

    Parameters
    ----------
    func : callable
    *structures
    none_is_leaf : bool, default True
        Whether `func` is called for None; otherwise it stays.

    Raises
    ------
    ValueError
        If the structures differ.
    """
    _check(func, structures)
    for other in structures[1:]:
        assert_same_structure(structures[0], other)
    return _mapped(func, structures, none_is_leaf)


def map_structure_up_to(shallow_structure: Any, func: Callable[..., Any], *structures: Any) -> Any:
    """As `map_structure`, where the leaves are those of `shallow_structure`, also where the others go on."""
    _check(func, structures)
    for other in structures:
        _check_alike(shallow_structure, other, up_to=True)
    return _mapped(lambda _, *parts: func(*parts), (shallow_structure, *structures), True)


def _check(func: Any, structures: tuple[Any, ...]) -> None:
    if not callable(func):
        raise TypeError(f"map_structure: func is {shorten(func)}. A function of a leaf is needed.")
    if not structures:
        raise ValueError("map_structure: no structure is given. Give at least one.")


def _mapped(func: Callable[..., Any], structures: tuple[Any, ...], none_is_leaf: bool) -> Any:
    first = structures[0]
    if not is_nested(first):
        return None if first is None and not none_is_leaf else func(*structures)
    keys = _keys(first)
    return _like(first, {key: _mapped(func, tuple(one[key] for one in structures), none_is_leaf) for key in keys})


def pack_sequence_as(structure: Any, flat_sequence: Iterable[Any]) -> Any:
    """A structure like this one with other leaves, in the order of `flatten`."""
    leaves, needed = list(flat_sequence), len(flatten(structure))
    if len(leaves) != needed:
        raise ValueError(
            f"pack_sequence_as: flat_sequence holds {len(leaves)} leaves, and structure {needed}. Give as many."
        )
    left = iter(leaves)
    return _mapped(lambda _: next(left), (structure,), True)


def assert_same_structure(a: Any, b: Any, check_types: Any = None) -> None:
    """Raise ValueError unless both are nested alike: leaves in the same places. `check_types` changes nothing."""
    _check_alike(a, b)


def _check_alike(a: Any, b: Any, path: Path = (), up_to: bool = False) -> None:
    if not is_nested(a) and (up_to or not is_nested(b)):
        return
    where = "".join(f"[{key!r}]" for key in path) or "at the top"
    same = _kind(a) is _kind(b) and is_nested(a)
    if not same or set(_keys(a)) != set(_keys(b)):
        raise ValueError(
            f"the structures differ {where}: {shorten(a)} and {shorten(b)}. They must be nested alike, with the same "
            "lengths and keys."
        )
    for key in _keys(a):
        _check_alike(a[key], b[key], (*path, key), up_to)


def _kind(structure: Any) -> Any:
    return dict if isinstance(structure, dict) else type(structure)


def lists_to_tuples(structure: Any) -> Any:
    """The same structure with tuples in the place of lists."""
    if not is_nested(structure):
        return structure
    made = _like(structure, {key: lists_to_tuples(structure[key]) for key in _keys(structure)})
    return tuple(made) if type(made) is list else made


__getattr__ = not_offered("tree", __all__)
