"""Files of models, and models made again from these or from JSON: `load_model`, `model_from_json`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from .._model import load
from ..model.files import described
from . import losses
from .layer import InputLayer
from .layers import layer_of
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

    Files written by Keras itself cannot be read. A file of a plain `fastdense.Model` becomes a `Sequential`. Nothing
    in a file is ever run, whatever `safe_mode` says; `custom_objects` are the script's own classes, by name.
    """
    objects = custom_objects or {}
    own = {name: losses.lowered(one) if losses.is_loss(one) else one for name, one in objects.items()}
    with custom_object_scope(objects):
        made = load(filepath, custom_objects=own)
    given = made.notes.get("keras")
    if given is None:
        model = library_class("keras", "Sequential")(
            [InputLayer((made.inputs,)), *map(layer_of, made.layers)], name=made.name
        )
    else:
        with described(filepath), custom_object_scope(objects):
            model = deserialize_keras_object(given)
    model.adopt(made)
    if compile and made.compiled:
        made._optimizer = model.optimizer_for(made.optimizer)
        model._compiled = {"optimizer": made.optimizer, "loss": made.loss, "metrics": made.metrics,
                           "loss_weights": made.loss_weights}  # fmt: skip
    return model


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A model as ``to_json()`` described it, with weights of its own, not compiled."""
    return deserialize_keras_object(json.loads(json_string), custom_objects)
