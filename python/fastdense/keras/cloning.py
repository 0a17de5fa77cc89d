"""`clone_model`: a new model like another, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..arguments import shorten
from .configs import has_config, members_with_config
from .graph import Node, leaves, nodes, takes_list
from .layer import InputLayer, KerasTensor
from .overrides import CALL, overridden
from .serialization import custom_object_scope, get_registered_name, library_class


def clone_model(
    model: Any,
    input_tensors: Any = None,
    clone_function: Callable[[Any], Any] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> Any:
    """A new model like this one, with weights of its own, and compiled likewise if this one is.

    Parameters
    ----------
    model : Sequential or Model
    input_tensors : KerasTensor or list of them, optional
        What the new model begins with; inputs like those of the model by default.
    clone_function : callable, optional
        Makes the new layer of each; by default from its config.
    call_function : callable, optional
        ``call_function(layer, x)`` calls a new layer, and may call others before and after it; for models that are made
        of inputs and outputs.
    recursive : bool
        Whether models in it are cloned by the same functions, and not made from their configs.

    Returns
    -------
    Sequential or Model
        As in Keras 3, its optimizer has the settings of the other one and begins anew, while its weights are first
        values: ``set_weights(model.get_weights())`` copies the others. Unlike in Keras, losses and metrics of your own
        need not be registered.

    Examples
    --------
    >>> from fastdense import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> model.compile("adam", "mse")
    >>> keras.models.clone_model(model).compiled
    True
    """
    if not hasattr(model, "compile_like"):
        raise TypeError(f"clone_model: model is {shorten(model)}. A model of fastdense.keras is needed.")
    clones: dict[int, Any] = {}

    def clone(layer: Any) -> Any:
        if id(layer) not in clones:
            if recursive and hasattr(layer, "compile_like"):
                own = None if layer.keras_name == "Sequential" else call_function
                clones[id(layer)] = clone_model(layer, None, clone_function, own, True)
            else:
                clones[id(layer)] = (clone_function or _from_config)(layer)
        return clones[id(layer)]

    with custom_object_scope(_own_objects(model)):
        if overridden(model, CALL):
            given = {"input_tensors": input_tensors, "clone_function": clone_function, "call_function": call_function}
            for name, value in given.items():
                if value is not None:
                    raise ValueError(f"clone_model: {name} is for models without a call() of their own. Leave it out.")
            made = _from_config(model)
        elif model.keras_name == "Sequential":
            if call_function is not None:
                raise ValueError("clone_model: call_function is for models of inputs and outputs. Leave it out.")
            (start,) = [None] if input_tensors is None and not model.shape_known else _starts(model, input_tensors)
            layers = [*([] if start is None else [start]), *map(clone, members_with_config(model))]
            made = library_class("keras", "Sequential")(layers, model.trainable, model.name)
        else:
            made = _functional(model, _starts(model, input_tensors), clone, call_function or _call)
    made.compile_like(model)
    return made


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


def _from_config(layer: Any) -> Any:
    return type(layer).from_config(layer.get_config())


def _call(layer: Any, x: Any) -> Any:
    return layer(x)


def _starts(model: Any, given: Any) -> list[KerasTensor]:
    """The tensors that the new model begins with."""
    sources = [one.source for one in model.inputs]
    if given is None:
        return [InputLayer.from_config(one.get_config()).output for one in sources]
    tensors = list(given) if isinstance(given, (list, tuple)) else [given]
    if len(tensors) != len(sources) or not all(isinstance(one, KerasTensor) for one in tensors):
        raise ValueError(
            f"clone_model: input_tensors={shorten(given)}, and {model.name} has {len(sources)} inputs. Give a result "
            "of keras.Input for each."
        )
    return tensors


def _functional(model: Any, starts: list[KerasTensor], clone: Any, call: Any) -> Any:
    """A model of inputs and outputs like another."""
    output: Any = starts[0]
    if hasattr(model, "connections"):
        given = dict(zip([one.source for one in model.inputs], starts, strict=True))
        made: dict[Node, KerasTensor] = {}
        for node in nodes(model.all_layers, model.source, has_config):
            x = [made[one] for one in node.parents]
            if x:
                output = made[node] = call(clone(node.layer), x if takes_list(node.layer) else x[0])
            else:
                made[node] = given[node.layer]
        if model._ends is not None:
            of_layer = {node.layer: tensor for node, tensor in made.items()}
            output = model._ends.as_given([of_layer[end.layers[-1]] for end in model.outputs])
    else:
        for layer in members_with_config(model):
            output = call(clone(layer), output)
    plain = library_class("keras", "Model")
    kind = type(model) if type(model).__init__ is plain.__init__ else plain  # which chooses one for several outputs
    return kind(starts if len(starts) > 1 else starts[0], output, name=model.name, trainable=model.trainable)
