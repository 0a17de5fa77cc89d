"""The arguments of `compile` as JSON types and back."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from . import losses, metrics, optimizers
from .serialization import deserialize_keras_object, get_registered_object, is_serialized, serialize_keras_object


def compile_config(compiled: Mapping[str, Any]) -> dict[str, Any]:
    """What `compile` was given, as JSON types; empty if something of the user's own has no config.

    Parameters
    ----------
    compiled : dict
        The "optimizer", and as "arguments" the others as they were given, or None if they are not known.
    """
    if compiled["arguments"] is None:
        return {}
    try:
        given = {name: serialize_keras_object(value) for name, value in compiled["arguments"].items()}
    except TypeError:
        return {}
    return {"optimizer": serialize_keras_object(compiled["optimizer"]), **given}


def compile_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that `compile_config`, or Keras, described.

    Raises
    ------
    ValueError
        If something is not known here, such as a loss of the user's that is not in the present `custom_object_scope`.
    """
    return {
        "optimizer": optimizers.deserialize(config["optimizer"]),
        "loss": _object(config.get("loss"), losses),
        "loss_weights": config.get("loss_weights"),
        "metrics": _object(config.get("metrics"), metrics),
        "weighted_metrics": _object(config.get("weighted_metrics"), metrics),
    }


def _object(value: Any, module: ModuleType) -> Any:
    """A loss or a metric, or those of a list or a dict."""
    if isinstance(value, str):
        found = get_registered_object(value)
        return value if found is None else found
    if isinstance(value, list):
        return [_object(one, module) for one in value]
    if not is_serialized(value):
        return {key: _object(one, module) for key, one in value.items()} if isinstance(value, Mapping) else value
    if value["class_name"] == "function":
        own = str(value.get("module") or "builtins")
        known = own == "builtins" or own.startswith((f"{__package__}.", "keras."))
        if known and value["config"] in _functions(module) and get_registered_object(value["config"]) is None:
            return getattr(module, value["config"])
    return deserialize_keras_object(value)


def _functions(module: ModuleType) -> list[str]:
    """The names of the functions of a module, which Keras names without it."""
    return [name for name in dir(module) if callable(getattr(module, name)) and name[0].islower()]
