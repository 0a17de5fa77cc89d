"""The data of nets with several inputs, as one wide x."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..arguments import quoted, shorten, suggestion
from ..arrays import Array
from .layer import InputLayer
from .tree import flatten_with_path


def is_several(x: Any) -> bool:
    """Whether data are arrays for several inputs, and not rows in a list."""
    return isinstance(x, dict) or (isinstance(x, (list, tuple)) and any(getattr(one, "ndim", 0) > 1 for one in x))


def inputs_like(where: str, data: Any) -> list[InputLayer]:
    """An input for each array, or symbolic tensor, of a list, a tuple or a dict, whose keys are their names."""
    parts = dict(flatten_with_path(data))
    if not parts or any(len(path) != 1 for path in parts):
        raise ValueError(f"{where}: x is {shorten(data)}. Give a list, a tuple or a dict of arrays.")
    return [
        InputLayer(tuple(np.shape(one)[1:]) or (1,), name=path[0] if isinstance(data, dict) else None)
        for path, one in parts.items()
    ]


def check_one_array(where: str, model: str, x: Any) -> None:
    """Raise unless x may be the one array of a model with one input."""
    if isinstance(x, dict) or (isinstance(x, (list, tuple)) and x and getattr(x[0], "ndim", 0) > 1):
        raise ValueError(
            f"{where}: x is a {type(x).__name__} of arrays; {model} has one input. Pass one array, or make the model "
            "by keras.Model(inputs=[...], outputs=...)."
        )
    if not hasattr(x, "shape") and not hasattr(x, "__array__") and not isinstance(x, (list, tuple)):
        raise TypeError(f"{where}: x is a {type(x).__name__}. An array is needed.")


def check_keys(where: str, given: Mapping[Any, Any], names: Sequence[str], known: str) -> None:
    """Raise if a dict by names has another key; `known` says which there are."""
    for key in given:
        if key not in names:
            near = suggestion(str(key), list(names))
            raise ValueError(f"{where} has the key {key!r}.{near} {known}")


def one_array(
    where: str, name: str, x: Any, sources: Sequence[InputLayer], needed: Sequence[InputLayer] | None = None
) -> Any:
    """What was given for the inputs of a net, as one array: a list in their order, or a dict by their names.

    `needed`: the inputs that are in the array, in its order; all of them by default.
    """
    names = [one.name for one in sources]
    if isinstance(x, dict):
        known = f"The inputs of {name} are {quoted(names)}."
        check_keys(f"{where}: x", x, names, known)
        missing = [one for one in names if one not in x]
        if missing:
            raise ValueError(f"{where}: x lacks {quoted(missing)}. {known}")
        x = [x[one] for one in names]
    elif len(sources) == 1 and not (isinstance(x, (list, tuple)) and len(x) == 1 and getattr(x[0], "ndim", 0) > 1):
        return x
    if not isinstance(x, (list, tuple)) or len(x) != len(sources):
        given = f"{len(x)} arrays" if isinstance(x, (list, tuple)) else f"a {type(x).__name__}"
        raise ValueError(
            f"{where}: x is {given}, and {name} has {len(sources)} inputs. Pass a list of {len(sources)} arrays, in "
            f"the order {', '.join(names)}, or a dict by these names."
        )
    chosen = sources if needed is None else needed
    return _side_by_side(where, [x[sources.index(one)] for one in chosen], chosen)


def _side_by_side(where: str, arrays: Sequence[Any], sources: Sequence[InputLayer]) -> Array:
    parts: list[Array] = []
    for given, source in zip(arrays, sources, strict=True):
        array = np.asarray(given)
        shape, width = source.input_shape, math.prod(source.input_shape)
        array = array[:, None] if array.ndim == 1 and width == 1 else array
        if array.ndim < 2 or (tuple(array.shape[1:]) != shape and array.shape[1:] != (width,)):
            raise ValueError(
                f"{where}: the input {source.name!r} has shape {tuple(array.shape)}. Rows of shape {shape} are needed."
            )
        parts.append(array.reshape(len(array), -1))
    rows = [len(part) for part in parts]
    if len(set(rows)) > 1:
        raise ValueError(
            f"{where}: the inputs have {', '.join(map(str, rows))} rows. All must have as many, one for each row of y."
        )
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
