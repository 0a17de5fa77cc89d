"""Names of columns: a data frame brings its columns in the order in which the model knows them, or is refused."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..arguments import quoted
from ..arrays import as_array, fail

Names = tuple[str, ...]
MOST_SHOWN = 8  # names in a message


def names_of(x: object) -> Names | None:
    """The names of the columns of a data frame (pandas, polars, pyarrow and others), if all of them are text."""
    if isinstance(x, np.ndarray):
        return None
    names = getattr(x, "column_names", None)  # pyarrow, whose `columns` are the columns themselves
    if names is None:
        names = getattr(x, "columns", None)
    if not isinstance(names, Iterable) or isinstance(names, str):
        return None
    found = tuple(names)
    return tuple(map(str, found)) if found and all(isinstance(name, str) for name in found) else None


def in_order(where: str, name: str, x: object, known: Names | None, device: str | None = None) -> object:
    """`x` with its columns in the order of `known`; what has no names is taken as it is.

    Raises
    ------
    ValueError
        If a name is missing, or there is one that is not known.
    """
    given = None if known is None else names_of(x)
    if known is None or given is None or given == known:
        return x
    if len(given) == len(known) and set(given) == set(known) and len(set(given)) == len(given):
        return as_array(where, name, x, device)[:, [given.index(one) for one in known]]
    missing, more = [one for one in known if one not in given], [one for one in given if one not in known]
    parts = [f"lacks {_shown(missing)}"] * bool(missing) + [f"has {_shown(more)} besides"] * bool(more)
    fail(
        where,
        f"{name} {' and '.join(parts) or f'has its columns as {_shown(given)}'}",
        f"the columns that the model was fitted on are needed: {_shown(known)}",
        f"rename or select them, or pass {name} as a NumPy array to go by their positions",
    )


def _shown(names: Iterable[str]) -> str:
    every = list(names)
    return quoted(every[:MOST_SHOWN]) + (f" and {len(every) - MOST_SHOWN} more" if len(every) > MOST_SHOWN else "")
