"""Files of models, and models made again from what they are: `load_model`, `clone_model`, `model_from_json`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from .._model import Model as CoreModel
from ..arguments import file_path
from ..layers.function import function_names, functions_in_order
from ..model import files
from . import losses
from .graph import leaves
from .layer import InputLayer
from .layers import layer_of
from .serialization import custom_object_scope, deserialize_keras_object, get_registered_name, library_class


def save_model(model: Any, filepath: str | os.PathLike[str], overwrite: bool = True, **options: Any) -> None:
    """As ``model.save``."""
    model.save(filepath, overwrite=overwrite, **options)


def save_weights(model: Any, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
    """As ``model.save_weights``."""
    model.save_weights(filepath, overwrite=overwrite)


def load_weights(model: Any, filepath: str | os.PathLike[str], skip_mismatch: bool = False) -> None:
    """As ``model.load_weights``."""
    model.load_weights(filepath, skip_mismatch=skip_mismatch)


def load_model(
    filepath: str | os.PathLike[str],
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """Read a model that `save` wrote: layers, weights, optimizer.

    Files written by Keras itself cannot be read. A file of a plain `fastdense.Model` becomes a `Sequential`. Nothing
    in a file is ever run, whatever `safe_mode` says; `custom_objects` are the script's own classes, by name.
    """
    objects = custom_objects or {}
    own = {name: losses.lowered(one) if losses.is_loss(one) else one for name, one in objects.items()}
    path = file_path("load_model: filepath", filepath)
    config, tensors = files.read(path)
    if "members" in config:
        raise files.unreadable(path, "it holds an ensemble, and one model is needed", "read it with fastdense.load")
    given = config.get("notes", {}).get("keras")
    model: Any = None
    with files.described(path), custom_object_scope(objects):
        if given is not None:
            model = deserialize_keras_object(given)
            own |= dict(zip(function_names(config["model"]["layers"]), functions_in_order(model.fastdense.layers),
                            strict=True))  # fmt: skip
        made = CoreModel._restore(config, tensors, None, own)
    if model is None:
        model = library_class("keras", "Sequential")(
            [InputLayer((made.inputs,)), *map(layer_of, made.layers)], name=made.name
        )
    model.adopt(made)
    if compile and made.compiled:
        made._optimizer = model.optimizer_for(made.optimizer)
        model._compiled = {"optimizer": made.optimizer, "loss": made.loss, "metrics": made.metrics,
                           "loss_weights": made.loss_weights}  # fmt: skip
    return model


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A model as ``to_json()`` described it, with weights of its own, not compiled."""
    return deserialize_keras_object(json.loads(json_string), custom_objects)


def clone_model(
    model: Any, input_tensors: Any = None, clone_function: Callable[[Any], Any] | None = None, **refused: Any
) -> Any:
    """A new model like this one, with weights of its own, not compiled.

    `clone_function` makes the new layer of each; by default from its config.
    """
    for name, value in {"input_tensors": input_tensors, **refused}.items():
        if value is not None:
            raise ValueError(f"clone_model: {name} is not offered. Leave it out.")
    if clone_function is None:
        with custom_object_scope(_own_objects(model)):
            return type(model).from_config(model.get_config())
    if model.keras_name == "Sequential":
        front = [_input_layer_like(model)] if model.shape_known else []
        return library_class("keras", "Sequential")([*front, *map(clone_function, model.members)], name=model.name)
    x = start = _input_layer_like(model).output
    for one in model.members:
        x = clone_function(one)(x)
    return library_class("keras", "Model")(start, x, name=model.name)


def _own_objects(model: Any) -> dict[str, Any]:
    """The user's own classes and functions of the layers of a model, by the names in its config."""
    found: dict[str, Any] = {}
    for layer in (*model.members, *leaves(model.all_layers)):
        for inner in layer.members if hasattr(layer, "members") else [layer]:
            if not type(inner).__module__.startswith(f"{__package__}."):
                found[get_registered_name(type(inner))] = type(inner)
            for value in getattr(inner, "_arguments", {}).values():
                if callable(value) and not isinstance(value, type):
                    name = getattr(value, "__name__", "<lambda>")
                    found[inner.name if name == "<lambda>" else get_registered_name(value)] = value
    return found


def _input_layer_like(model: Any) -> InputLayer:
    return InputLayer.from_config(model.source.get_config())
