"""What a ``call()`` of the user's own does with a symbolic tensor: the layers that it calls join the chain."""

from __future__ import annotations

import inspect
from typing import Any

from . import tree
from .ops.tape import Symbolic

_KEPT = ("members", "all_layers", "history", "owner", "chain", "spec", "own")  # attributes of ours


def tracked(obj: Any) -> list[Any]:
    """The layers and models that the user has made attributes of a model or layer, also in lists and dicts."""
    found: list[Any] = []
    for name, value in vars(obj).items():
        if name.startswith("_") or name in _KEPT:
            continue
        values = value if isinstance(value, (list, tuple)) else value.values() if isinstance(value, dict) else [value]
        found += [one for one in values if _is_layer(one) and not any(one is other for other in found)]
    return found


def held_layers(layer: Any) -> list[Any]:
    """A layer, or those that are attributes of one that calls layers, in their order."""
    return [inner for one in tracked(layer) for inner in held_layers(one)] if layer._composed else [layer]


def _is_layer(value: Any) -> bool:
    return hasattr(type(value), "all_layers") or hasattr(value, "all_layers")


def traced(obj: Any, x: Any) -> Any:
    """The symbolic tensor that ``obj.call(x)`` gives, or those of a model; `x` is one, or a structure of them.

    If it asks for `training`, it is called for both; without training only layers may be missing that do nothing then.
    """
    takes = "training" in inspect.signature(obj.call).parameters
    made = _called(obj, x, {"training": True} if takes else {})
    if takes:
        rest = iter(_structure(_layers(_called(obj, x, {"training": False}))))
        one = next(rest, None)
        for layer in _structure(_layers(made)):
            if layer == one:
                one = next(rest, None)
            elif not getattr(layer, "idle", False):
                one = layer
                break
        if one is not None:
            raise TypeError(
                f"{type(obj).__name__}: its call() gives another net with training=True than without. Only layers that "
                "do nothing without training, such as Dropout, may depend on it."
            )
    return made


def _layers(made: Any) -> list[Any]:
    return [layer for one in tree.flatten(made) for layer in one.layers]


def _structure(layers: Any) -> list[Any]:
    """The layers, with those of branches; those that operations make anew in each call are only named."""
    found: list[Any] = []
    for layer in layers:
        inner = [_structure(branch) for branch in getattr(layer, "branches", ())]
        found += [*sum(inner, []), getattr(layer, "merge", "")] if inner else [getattr(layer, "trace", layer)]
    return found


def _called(obj: Any, x: Any, options: dict[str, Any]) -> Any:
    try:
        made = obj.call(x, **options)
    except (TypeError, AttributeError, ValueError) as error:
        said = str(error).rstrip(".")
        raise TypeError(f"{type(obj).__name__}: its call() cannot be made part of a net: {said}. {_REMEDY}") from error
    parts = tree.flatten(made) if hasattr(obj, "compile_like") and tree.is_nested(made) else []
    several = len(parts) > 1 and len(parts) == len(made) and all(isinstance(one, Symbolic) for one in parts)
    if not isinstance(made, Symbolic) and not several:
        needed = "tensors" if len(parts) > 1 else "one tensor"
        raise TypeError(f"{type(obj).__name__}: its call() returns a {type(made).__name__}, not {needed}. {_REMEDY}")
    return made


_REMEDY = "call() may call layers and models, and compute with tensors by operators, keras.ops and NumPy's functions."
