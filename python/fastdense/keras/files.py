"""Files of models, and models made again from these or from JSON: `load_model`, `model_from_json`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from .._model import Model as CoreModel
from ..arguments import file_path
from ..layers.function import function_names, functions_in_order
from ..lazy import converter
from ..model import files
from . import losses
from .layer import InputLayer
from .serialization import custom_object_scope, deserialize_keras_object, library_class


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

    Files of Keras itself, ".keras" and ".h5", are read, too, with an optimizer that begins anew; they need h5py. A file
    of a plain `fastdense.Model` becomes a `Sequential`. Nothing in a file is ever run, whatever `safe_mode` says;
    `custom_objects` are the script's own classes, by name.
    """
    objects = custom_objects or {}
    own = {name: losses.lowered(one) if losses.is_loss(one) else one for name, one in objects.items()}
    path = file_path("load_model: filepath", filepath)
    if files.begins_as(path, files.OF_KERAS) and files.own_part(path) is None:
        return converter("keras_model")(path, custom_objects, compile)
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
        from .of_core import layer_of  # seldom needed

        model = library_class("keras", "Sequential")(
            [InputLayer((made.inputs,)), *map(layer_of, made.layers)], name=made.name
        )
    model.adopt(made)
    if compile and made.compiled:
        made._optimizer = model.optimizer_for(made.optimizer)
        model._compiled = {"optimizer": made.optimizer, "loss": made.loss, "metrics": made.metrics,
                           "loss_weights": made.loss_weights, "arguments": _arguments(given)}  # fmt: skip
    return model


def _arguments(notes: Any) -> dict[str, Any] | None:
    """What `compile` was given besides the optimizer, as JSON types, where a file says it."""
    config = dict((notes or {}).get("compile_config") or {})
    config.pop("optimizer", None)
    return config or None


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A model as ``to_json()`` described it, with weights of its own, compiled if that one was.

    Losses and metrics of your own are looked up by name in `custom_objects`, and among what is registered; a model with
    another one is not compiled, with a warning.
    """
    config = json.loads(json_string)
    made = deserialize_keras_object(config, custom_objects)
    if config.get("compile_config"):
        with custom_object_scope(custom_objects or {}):
            made.compile_from_config(config["compile_config"])
    return made
