"""Keras's own files without Keras: `.keras` archives and `.h5` files.

A `.keras` file is a zip of ``config.json`` and ``model.weights.h5``, where the weights of a layer are at
``layers/<class>_<number>/vars/<i>``; an `.h5` file has the config as an attribute and the weights of each layer as the
attribute ``weight_names`` of its group says. Reading parses JSON and copies numbers: classes are those of
`fastdense.keras` and those that the script itself has registered, and no code in a file is run.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..arguments import shorten
from ..arrays import Array, check_memory
from ..lazy import needed
from ..model import files
from ..versions import VERSION
from .configs import graph_config
from .serialization import serialize_keras_object

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_MOST_CONFIG = 100_000_000  # bytes
_MOST_EXPANSION = 1000  # times what is stored, of what is more than this:
_LARGE = 1 << 26  # bytes
_MODELS = ("Sequential", "Functional", "Model")
_LONG = {"mse": "mean_squared_error", "mae": "mean_absolute_error", "mape": "mean_absolute_percentage_error",
         "msle": "mean_squared_logarithmic_error"}  # fmt: skip
OF_HDF5 = (".h5", ".hdf5")  # suffixes
_KERAS_VERSION = "3.10.0"  # the format that is written
_REMEDY = "save it again by model.save('net.keras') in Keras"
_FOLDERS = ("layers", "_layer_checkpoint_dependencies")  # today, and in files of TensorFlow 2.13 to 2.15


def unreadable(path: str, problem: str, remedy: str = _REMEDY) -> ValueError:
    """The error to raise for a file of Keras that cannot be read."""
    return files.unreadable(path, problem, remedy)


# ---- reading ---------------------------------------------------------------------------------------------------------


def read(path: str) -> tuple[dict[str, Any], list[list[Array]]]:
    """What a file of Keras holds.

    Returns
    -------
    config : dict
        Of the model, as `deserialize_keras_object` takes it, with "compile_config" where there is one.
    weights : list of lists of arrays
        Of each layer that computes, in the order of the config; of an `.h5` file of each layer of the outermost model,
        those that are trained first.
    """
    h5py: Any = needed("load", "h5py", "h5py", "keras-files")
    archive = files.begins_as(path, files.OF_KERAS[:1])
    try:
        return _read_archive(path, h5py) if archive else _read_h5(path, h5py)
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError, EOFError, OSError, RuntimeError,
            NotImplementedError, zipfile.BadZipFile, UnicodeDecodeError, json.JSONDecodeError) as error:  # fmt: skip
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise unreadable(path, f"it is damaged ({type(error).__name__}: {shorten(str(error))})") from error


def _read_archive(path: str, h5py: Any) -> tuple[dict[str, Any], list[list[Array]]]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if CONFIG not in names:
            raise unreadable(path, f"it is a zip without {CONFIG}")
        config = json.loads(files.member(path, archive, CONFIG, _MOST_CONFIG))
        if WEIGHTS not in names:
            others = [name for name in names if name.startswith("model.weights")]
            problem = f"its weights are in {others[0]!r}, as pickled objects, which would be run" if others else (
                f"it has no {WEIGHTS}")  # fmt: skip
            raise unreadable(path, problem)
        size = archive.getinfo(WEIGHTS).file_size
        check_memory(
            "load", 3 * size, f"{os.path.basename(path)} with {size:,} bytes of weights", "use a smaller model"
        )
        data = files.member(path, archive, WEIGHTS, size)
    check_config(path, config)
    with h5py.File(io.BytesIO(data), "r") as file:
        weights = [_variables(path, h5py, file, place) for place in _places(config)]
    return config, weights


def check_config(path: str, config: Any) -> None:
    """Raise if a config holds what would have to be run, or is that of no model."""
    if not isinstance(config, dict) or config.get("class_name") not in _MODELS:
        kind = config.get("class_name") if isinstance(config, dict) else type(config).__name__
        raise unreadable(path, f"it holds a {shorten(kind)}", "Sequential and Model(inputs, outputs) can be read: save "
                         "such a model, or call it on an Input")  # fmt: skip
    stack: list[Any] = [config["config"]]
    while stack:
        one = stack.pop()
        if isinstance(one, dict):
            kind, inner = one.get("class_name"), one.get("config")
            if kind in ("Lambda", "__lambda__"):
                name = inner.get("name") if isinstance(inner, dict) else None
                raise unreadable(path, f"its layer {name!r} is a Lambda, whose code would have to be run",
                                 "replace it by layers of Keras")  # fmt: skip
            stack += one.values()
        elif isinstance(one, list):
            stack += one


def _layers(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The folder of each layer of a model, and its config."""
    used: dict[str, int] = {}
    for one in config["config"]["layers"]:
        name = _snake_case(str(one["class_name"]))
        count = used[name] = used.get(name, -1) + 1
        yield (f"{name}_{count}" if count else name), one


def _snake_case(name: str) -> str:
    """As Keras names folders: "PReLU" is "p_re_lu"."""
    name = re.sub(r"\W+", "", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


def _places(config: Mapping[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The folders of all layers that may have weights, those of models in it in the place of these."""
    for folder, one in _layers(config):
        if one["class_name"] in _MODELS:
            yield from _places(one, (*before, folder))
        elif one["class_name"] != "InputLayer":
            yield (*before, folder)


def _variables(path: str, h5py: Any, file: Any, place: tuple[str, ...]) -> list[Array]:
    group = file
    for part in place:
        inside = next((name for name in _FOLDERS if name in group), None)
        if inside is None or part not in group[inside]:
            return []
        group = _plain(path, h5py, group, f"{inside}/{part}")
    own = _plain(path, h5py, group, "vars") if "vars" in group else {}
    return [_array(path, h5py, own, str(i)) for i in range(len(own))]


def _plain(path: str, h5py: Any, group: Any, name: str) -> Any:
    """A member of a group that is in this file: links lead elsewhere."""
    for part in name.split("/"):
        link = group.get(part, getlink=True)
        if link is None:
            raise unreadable(path, f"it has no {name!r} in {group.name!r}")
        if not isinstance(link, h5py.HardLink):
            raise unreadable(path, f"{name!r} is a link, which may lead to another file")
        group = group[part]
    return group


def _array(path: str, h5py: Any, group: Any, name: str) -> Array:
    """The numbers of a data set, which must be stored in this file and not be much larger than that."""
    data = _plain(path, h5py, group, name)
    if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external:
        raise unreadable(path, f"{name!r} does not hold its numbers")
    size = math.prod(data.shape) * data.dtype.itemsize
    if size > _LARGE and size > _MOST_EXPANSION * data.id.get_storage_size():
        raise unreadable(path, f"{name!r} says that it is {size:,} bytes, of which {data.id.get_storage_size():,} are "
                         "stored")  # fmt: skip
    if data.dtype.kind not in "fiub":
        raise unreadable(path, f"{name!r} has dtype {data.dtype}, which are no numbers")
    check_memory("load", size, f"{name!r} with {size:,} bytes", "use a smaller model")
    return np.asarray(data[()])


def _read_h5(path: str, h5py: Any) -> tuple[dict[str, Any], list[list[Array]]]:
    with h5py.File(path, "r") as file:
        text = file.attrs.get("model_config")
        if text is None:
            raise unreadable(path, "it holds no config of a model: weights alone, or other data",
                             "save the whole model, not only its weights")  # fmt: skip
        config = json.loads(text.decode("utf-8") if isinstance(text, bytes) else text)
        check_config(path, config)
        training = file.attrs.get("training_config")
        if training is not None:
            given = json.loads(training.decode("utf-8") if isinstance(training, bytes) else training)
            config["compile_config"] = {**given, "optimizer": given.get("optimizer_config")}
        group = _plain(path, h5py, file, "model_weights")
        weights = []
        for one in config["config"]["layers"]:
            if one["class_name"] == "InputLayer":
                continue
            name = str(one["config"]["name"])
            own = _plain(path, h5py, group, name) if name in group else group
            names = _texts(own, "weight_names") if own is not group else []
            weights.append([_array(path, h5py, own, weight) for weight in names])
    _modernize(config)
    return config, weights


def _texts(group: Any, name: str) -> list[str]:
    """An attribute that is a list of texts, which may be cut into several attributes."""
    parts = [name] if name in group.attrs else []
    while f"{name}{len(parts)}" in group.attrs:
        parts.append(f"{name}{len(parts)}")
    found = [one for part in parts for one in group.attrs[part]]
    return [one.decode("utf-8") if isinstance(one, bytes) else str(one) for one in found]


def _modernize(config: dict[str, Any]) -> None:
    """Write the calls of layers in a config of Keras 2 as Keras 3 does."""
    for one in config["config"]["layers"]:
        if one["class_name"] in _MODELS:
            _modernize(one)
        calls = []
        for call in one.get("inbound_nodes", []):
            if isinstance(call, list):  # [[name, node, tensor, arguments], ...]
                nested = call if call and isinstance(call[0], list) else [call]
                tensors = [{"class_name": "__keras_tensor__", "config": {"keras_history": tensor[:3]}}
                           for tensor in nested]  # fmt: skip
                call = {"args": [tensors if len(tensors) > 1 else tensors[0]], "kwargs": {}}
            calls.append(call)
        if "inbound_nodes" in one:
            one["inbound_nodes"] = calls


# ---- writing ---------------------------------------------------------------------------------------------------------


def write(path: str, model: Any, weights: Mapping[str, list[Array]] | None, compiled: Mapping[str, Any] | None,
          whole: bytes | None) -> None:  # fmt: skip
    """Write a `.keras` archive, or a file of HDF5 if that is what its suffix says.

    Parameters
    ----------
    path : str
    model : Sequential or Model
        Of `fastdense.keras`.
    weights : dict, optional
        Those of each layer, by its name; by default those of the model.
    compiled : dict or None
        The arguments of `compile`, as Keras has them.
    whole : bytes or None
        fastdense's own file of the model, which Keras leaves alone.
    """
    h5py: Any = needed("save", "h5py", "h5py", "keras-files")
    sequential = model.keras_name == "Sequential"
    described = {
        "module": "keras" if sequential else "keras.src.models.functional",
        "class_name": "Sequential" if sequential else "Functional",
        "config": serialize_keras_object(model.get_config() if sequential else graph_config(model)),
        "registered_name": "Sequential" if sequential else "Functional",
        "build_config": {"input_shape": serialize_keras_object(model.input_shape)},
        **({"compile_config": compiled} if compiled else {}),
    }
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        if path.endswith(OF_HDF5):
            _write_h5(file, model, described, whole)
        else:
            _write_weights(file, model, described, weights)
    with files.replacement(os.path.realpath(path)) as out:
        if path.endswith(OF_HDF5):
            out.write(memory.getvalue())
            return
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr(METADATA, json.dumps({"keras_version": _KERAS_VERSION, "fastdense_version": VERSION}))
            archive.writestr(CONFIG, json.dumps(described))
            archive.writestr(WEIGHTS, memory.getvalue())
            if whole is not None:
                archive.writestr(files.OWN, whole)


def _write_weights(
    group: Any, model: Any, described: Mapping[str, Any], weights: Mapping[str, list[Array]] | None
) -> None:
    """The weights of each layer in the folder that Keras has for it; those of models in it in folders of theirs."""
    for folder, one in _layers(described):
        name, place = one["config"]["name"], f"layers/{folder}"
        if weights is None and one["class_name"] in _MODELS:
            _write_weights(group.create_group(place), model.get_layer(name), one, None)
            continue
        own = group.create_group(f"{place}/vars")
        given = weights.get(name, []) if weights is not None else _weights_of(model, one)
        for i, weight in enumerate(given):
            own[str(i)] = weight
    group.create_group("vars")


def _weights_of(model: Any, one: Mapping[str, Any]) -> list[Array]:
    """The weights of a layer or a model in a model, those that are trained first, as Keras keeps them."""
    if one["class_name"] == "InputLayer":
        return []
    layers = {layer.name: layer for layer in (*model.all_layers, *model.layers)}
    layer = layers.get(one["config"]["name"])
    if layer is None:  # an operation
        return []
    variables = [*layer.trainable_weights, *layer.non_trainable_weights]
    arrays = [np.asarray(variable.numpy()) for variable in variables]
    if one["class_name"] == "Normalization" and len(arrays) == 3:
        mean, variance, count = arrays
        varied = np.where(variance == 0, 1.0, variance)  # Keras divides by 1e-7 there, and fastdense by 1
        return [mean.astype(np.float32), varied.astype(np.float32), count]
    return arrays


def _spelled_out(given: Any) -> Any:
    """Losses and metrics by their long names: of "mse" Keras says in these files that it cannot be deserialized."""
    if isinstance(given, Mapping):
        return {key: _spelled_out(value) for key, value in given.items()}
    if isinstance(given, list):
        return [_spelled_out(value) for value in given]
    return _LONG.get(given.lower(), given) if isinstance(given, str) else given


def _write_h5(file: Any, model: Any, described: Mapping[str, Any], whole: bytes | None) -> None:
    """A file as Keras's older format has it: the config in attributes, the weights of the outermost layers."""
    config = {key: described[key] for key in ("class_name", "config", "module", "registered_name")}
    file.attrs["keras_version"], file.attrs["backend"] = _KERAS_VERSION, "fastdense"
    try:
        file.attrs["model_config"] = json.dumps(config)
        compiled = dict(described.get("compile_config", {}))
        if compiled:
            compiled = {"optimizer_config": compiled.pop("optimizer"), **_spelled_out(compiled)}
            file.attrs["training_config"] = json.dumps(compiled)
    except OSError as error:
        problem = "save: HDF5 holds no description as long as this model's; save to 'net.keras'"
        raise ValueError(problem) from error
    group = file.create_group("model_weights")
    layers = [one for one in described["config"]["layers"] if one["class_name"] != "InputLayer"]
    group.attrs["layer_names"] = np.array([str(one["config"]["name"]).encode() for one in layers], dtype="S")
    for one in layers:
        name = str(one["config"]["name"])
        own = group.create_group(name)
        arrays = _weights_of(model, one)
        own.attrs["weight_names"] = np.array([f"{name}/{i}".encode() for i in range(len(arrays))], dtype="S")
        for i, array in enumerate(arrays):
            own[f"{name}/{i}"] = array
    if whole is not None:
        file[files.OWN] = np.frombuffer(whole, dtype=np.uint8)
