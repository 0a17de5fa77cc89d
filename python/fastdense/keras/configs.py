"""Configs of models, in Keras's format, and the parts of models made from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .expressions import keras_operation
from .graph import inputs_of, nodes, takes_list
from .layer import InputLayer, Layer
from .overrides import overridden
from .serialization import deserialize_keras_object, serialize_keras_object

if TYPE_CHECKING:
    from .chain import Chain


def sequential_config(model: Chain) -> dict[str, Any]:
    """The config of a `Sequential`."""
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}
    front = [model.source] if model.shape_known else []
    config = {"name": model.name, "trainable": bool(model.trainable), "dtype": policy,
              "layers": [serialize_keras_object(one) for one in (*front, *members_with_config(model))]}  # fmt: skip
    return {**config, "build_input_shape": list(model.input_shape)} if front else config


def sequential_layers(config: Mapping[str, Any]) -> list[Any]:
    """The layers of such a config."""
    layers = [deserialize_keras_object(one) for one in config["layers"]]
    shape = config.get("build_input_shape")
    if shape and not (layers and isinstance(layers[0], InputLayer)):
        layers.insert(0, InputLayer(batch_shape=tuple(shape)))
    return layers


def has_config(layer: Any) -> bool:
    """Whether a layer that calls others has a config of its own, and not only theirs."""
    return bool(overridden(layer, ("get_config",)))


def members_with_config(model: Chain) -> list[Any]:
    """Its layers, where one that only calls others, and has no config of its own, is these."""
    members: list[Any] = []
    for one in model.members:
        plain = isinstance(one, Layer) and one._composed and not has_config(one)
        members += one.all_layers if plain else [one]
    return members


def functional_config(model: Chain) -> dict[str, Any]:
    """The config of a `Model`: its layers, each with the tensor that it was called on."""
    layers: list[dict[str, Any]] = []
    before: Any = None
    shape: tuple[int | None, ...] = model.input_shape
    for one in (model.source, *members_with_config(model)):
        calls = []
        if before is not None:
            tensor = {"class_name": "__keras_tensor__", "config": {
                "shape": list(shape), "dtype": "float32", "keras_history": [before.name, 0, 0]}}  # fmt: skip
            calls = [{"args": [tensor], "kwargs": {}}]
            shape = one.compute_output_shape(shape)
        layers.append({**serialize_keras_object(one), "name": one.name, "inbound_nodes": calls})
        before = one
    ends = {"input_layers": [model.source.name, 0, 0], "output_layers": [before.name, 0, 0]}
    return {"name": model.name, "trainable": bool(model.trainable), "layers": layers, **ends}


def graph_config(model: Chain) -> dict[str, Any]:
    """The config of a `Model` with branches: its layers, each with the tensors that it was called on."""
    layers: list[dict[str, Any]] = []
    for node in nodes(model.all_layers, model.source, has_config):
        tensors = [
            {"class_name": "__keras_tensor__", "config": {
                "shape": [None, *one.shape], "dtype": "float32", "keras_history": [one.layer.name, 0, 0]}}
            for one in node.parents
        ]  # fmt: skip
        calls = [{"args": [tensors if takes_list(node.layer) else tensors[0]], "kwargs": {}}] if tensors else []
        layers.append({**serialize_keras_object(node.layer), "name": node.layer.name, "inbound_nodes": calls})
    names = [one["name"] for one in layers]
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise ValueError(
            f"get_config: {twice[0]!r} is called several times, or two layers or inputs have this name, which the "
            "config of a model with branches cannot say. Create a layer for each call, with a name of its own."
        )
    starts = [[one.name, 0, 0] for one in inputs_of(model.source)]
    last: Any = [names[-1], 0, 0]
    if model._ends is not None:
        last = model._ends.as_given([[one.name, 0, 0] for one in model.outputs])
    return {"name": model.name, "trainable": bool(model.trainable), "layers": layers,
            "input_layers": starts[0] if len(starts) == 1 else starts, "output_layers": last}  # fmt: skip


def functional_ends(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """Input, or a list of inputs, and output, or a list or dict of outputs, of a model with such a config."""
    made: dict[str, Any] = {}
    for one in config["layers"]:
        if str(one.get("module")).startswith("keras.src.ops"):
            made[one["name"]] = keras_operation(one, lambda tensor: made[tensor["keras_history"][0]])
            continue
        layer = deserialize_keras_object(one)
        if isinstance(layer, InputLayer):
            made[one["name"]] = layer.output
        else:
            called = _called_on(one)
            made[one["name"]] = layer(made[called] if isinstance(called, str) else [made[name] for name in called])
    inputs = [made[name] for name in _ends(config["input_layers"])]
    given = config["output_layers"]
    outputs: Any = [made[name] for name in _ends(list(given.values()) if isinstance(given, Mapping) else given)]
    if isinstance(given, Mapping):
        outputs = dict(zip(given, outputs, strict=True))
    return inputs if len(inputs) > 1 else inputs[0], outputs if len(outputs) > 1 else outputs[0]


def _called_on(config: Mapping[str, Any]) -> str | list[str]:
    """Name of the layer whose output a layer was called on, or a list of names."""
    calls = config["inbound_nodes"]
    given = calls[0]["args"] if len(calls) == 1 else []
    if len(given) != 1:
        raise ValueError(
            f"from_config: layer {config['name']!r} is called {len(calls)} times with {len(given)} arguments. "
            "Each layer is called once, on one tensor or on a list of tensors."
        )
    if isinstance(given[0], list):
        return [str(one["config"]["keras_history"][0]) for one in given[0]]
    return str(given[0]["config"]["keras_history"][0])


def _ends(places: Any) -> list[str]:
    """Names of the layers of inputs or outputs: of one, or of a list."""
    return [str(place[0]) for place in (places if isinstance(places[0], list) else [places])]
