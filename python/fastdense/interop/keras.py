"""Keras: its files without Keras, and live models."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import layers, losses, metrics
from ..activations import ALPHA
from ..arguments import shorten
from ..arrays import Array
from ..initializers import Data
from ..keras import layers as kl
from ..keras import models, optimizers
from ..keras.archive import check_config, read, write
from ..keras.layer import InputLayer
from ..keras.serialization import custom_object_scope, deserialize_keras_object, serialize_keras_object
from ..layers import Branches, Composite, Layer
from ..model import files
from .chain import refuse

if TYPE_CHECKING:
    from .._model import Model

# Names of losses and metrics that Keras has, too; a loss's is written in Keras's words.
_LOSSES = {"mean_squared_error": "mse", "mean_absolute_error": "mae", "mean_absolute_percentage_error": "mape",
           "huber_loss": "huber", "log_cosh": "log_cosh", "poisson": "poisson", "hinge": "hinge",
           "binary_crossentropy": "binary_crossentropy", "categorical_crossentropy": "categorical_crossentropy",
           "sparse_categorical_crossentropy": "sparse_categorical_crossentropy"}  # fmt: skip
_METRICS = ("accuracy", "mse", "mae", "mape")


def keras_model(path: str, custom_objects: Mapping[str, Any] | None = None, compile: bool = True) -> Any:
    """The model of `fastdense.keras` of a file of Keras."""
    config, weights = read(path)
    with files.described(path):
        made = _made(config, custom_objects)
        if files.begins_as(path, files.OF_KERAS[:1]):
            made.set_weights([array for own in weights for array in own])
        else:
            _set_by_layer(made, weights)
    if compile and config.get("compile_config"):
        with custom_object_scope(custom_objects or {}):
            made.compile_from_config(config["compile_config"])
    return made


def load_keras(path: str, device: str | None, custom_objects: Mapping[str, Any] | None) -> Model:
    """The model of a file of Keras, for `fastdense.load`."""
    model: Model = keras_model(path, custom_objects).fastdense
    return model if device is None else model.to(device)


def save_keras(model: Model, path: str, whole: bytes | None) -> None:
    """Write a `.keras` file of a model, for `Model.save`; `whole` is fastdense's own file, to be part of it."""
    writer = _KerasLayers(model)
    compiled = _compile_config(model) if model.compiled else None
    write(path, writer.made(), writer.weights, compiled, whole)


def save_keras_model(model: Any, path: str, include_optimizer: bool) -> None:
    """Write a file of Keras of a model of `fastdense.keras`: its layers as they are there."""
    core = model.fastdense
    with core.runner.lock:
        core._check_saveable()
        whole = files.as_bytes(*core._describe(include_optimizer))
        write(path, model, None, model.get_compile_config() or None, whole)


class _KerasLayers:
    """The layers of Keras for those of a model, and the weights of each by its name.

    Parameters
    ----------
    model : Model
    """

    def __init__(self, model: Model) -> None:
        self.model, self.tensors, self.used = model, model.get_weights(), 0
        self.weights: dict[str, list[Array]] = {}

    def made(self) -> Any:
        """The model of `fastdense.keras`: a Sequential, or with branches a Model of its inputs and outputs."""
        net = self.model.net
        x = kl.Input((self.model.inputs,), name=self._name("input"))
        chain = [
            (layer, name, f"layers[{i}]") for i, (layer, name) in enumerate(zip(net.layers, net.names, strict=True))
        ]
        y = self.chain(chain, x, self.model.inputs)
        if any(isinstance(layer, Composite) for layer in net.layers):
            return models.Model(x, y, name=self.model.name)
        return models.Sequential([x, *y.layers], name=self.model.name)

    def chain(self, layers: Sequence[tuple[Layer, str, str]], x: Any, width: int) -> Any:
        """The symbolic tensor behind these layers, which have names and places for messages."""
        for layer, name, place in layers:
            x = self.layer(layer, name, f"{place} ({type(layer).__name__})", x, width)
            width = layer.output_width(width)
        return x

    def layer(self, layer: Layer, name: str, place: str, x: Any, width: int) -> Any:
        """The symbolic tensor behind a layer."""
        if isinstance(layer, Composite):
            ends = []
            for c, inner in enumerate(layer.chains):
                named = [(one, f"{name}_{c}_{i}", f"{place}, its layers[{layer.prefix(c, i)}]")
                         for i, one in enumerate(inner)]  # fmt: skip
                ends.append(self.chain(named, x, width))
            merge = layer.merge if isinstance(layer, Branches) else "add"
            merged = ends if isinstance(layer, Branches) else [x, *ends]
            return _MERGES[merge](name=self._name(name))(merged)
        row = LAYERS.get(type(layer))
        if row is None:
            refuse("save", place, "is no layer that Keras has",
                   "Save to 'net.safetensors', or export by model.to_onnx")  # fmt: skip
        count = len(layer.tensors(width))
        tensors = self.tensors[self.used : self.used + count]
        self.used += count
        for made, own in row(layer, tensors, place, width):
            made.name = self._name(name if not isinstance(made, kl.PReLU) or own is tensors else f"{name}_slope")
            self.weights[made.name] = own
            x = made(x)
        return x

    def _name(self, wanted: str) -> str:
        """A name that no other layer has."""
        while wanted in self.weights or (wanted == "input" and wanted in self.model.net.names):
            wanted += "_"
        self.weights[wanted] = []
        return wanted


Made = list[tuple[Any, list[Array]]]  # layers one after another, and the weights of each
Row = Callable[[Any, list[Array], str, int], Made]  # of a layer, its tensors, its place for messages and its inputs
_MERGES = {"concatenate": kl.Concatenate, "add": kl.Add, "subtract": kl.Subtract, "multiply": kl.Multiply,
           "average": kl.Average, "maximum": kl.Maximum, "minimum": kl.Minimum}  # fmt: skip


def _alike(kind: Any, *left_out: str) -> Row:
    """A layer whose arguments have the same names there."""

    def row(layer: Any, tensors: list[Array], place: str, width: int) -> Made:
        names = [name for name in layer.__signature__.parameters if name not in ("name", *left_out)]
        return [(kind(**{name: getattr(layer, name) for name in names}), tensors)]

    return row


def _dense(layer: Any, tensors: list[Array], place: str, width: int) -> Made:
    prelu = layer.activation == "prelu"
    if layer.alpha != ALPHA.get(layer.activation):
        refuse("save", place, f"has the activation {layer.activation!r} with a parameter of its own, which Keras's "
               "Dense has not", "Put an fd.Activation behind a Dense without one")  # fmt: skip
    names = [name for name in layer.__signature__.parameters if name not in ("name", "activation")]
    arguments = {name: getattr(layer, name) for name in names}
    arguments["kernel_initializer"] = layer.kernel_initializer.for_activation(layer.activation)
    if isinstance(layer.kernel_initializer, Data):
        arguments["kernel_initializer"] = "glorot_uniform"  # Keras cannot place units on data
    made = kl.Dense(**arguments, activation=None if prelu else layer.activation)
    return [(made, tensors[:-1]), (kl.PReLU(), tensors[-1:])] if prelu else [(made, tensors)]


def _activation(layer: Any, tensors: list[Array], place: str, width: int) -> Made:
    if layer.activation == "prelu":
        return [(kl.PReLU(), tensors)]
    if layer.activation in ("leaky_relu", "elu"):
        return [((kl.LeakyReLU if layer.activation == "leaky_relu" else kl.ELU)(layer.alpha), tensors)]
    if layer.alpha != ALPHA.get(layer.activation):
        refuse("save", place, f"is {layer!r}, whose parameter Keras's activation has not", "Leave alpha out")
    return [(kl.Activation(layer.activation), tensors)]


def _normalization(layer: Any, tensors: list[Array], place: str, width: int) -> Made:
    mean, variance = (np.asarray(one, dtype=np.float32) for one in tensors)
    varied = np.where(variance == 0, np.float32(1.0), variance)  # Keras divides by 1e-7 there, and fastdense by 1
    return [(kl.Normalization(), [mean, varied, np.zeros((), np.int64)])]


def _rescaling(layer: Any, tensors: list[Array], place: str, width: int) -> Made:
    scale, offset = (np.asarray(one, dtype=np.float64).tolist() for one in tensors)
    return [(kl.Rescaling(scale, offset), [])]


def _select(layer: Any, tensors: list[Array], place: str, width: int) -> Made:
    chosen: Array = np.zeros((width, len(layer.columns)), np.float32)  # Keras has no such layer
    chosen[list(layer.columns), np.arange(len(layer.columns))] = 1
    return [(kl.Dense(len(layer.columns), use_bias=False, trainable=False), [chosen])]


LAYERS: dict[type[Layer], Row] = {
    layers.Dense: _dense,
    layers.Activation: _activation,
    layers.Dropout: _alike(kl.Dropout),
    layers.GaussianNoise: _alike(kl.GaussianNoise),
    layers.GaussianDropout: _alike(kl.GaussianDropout),
    layers.AlphaDropout: _alike(kl.AlphaDropout),
    layers.ActivityRegularization: _alike(kl.ActivityRegularization),
    layers.BatchNorm: _alike(kl.BatchNormalization),
    layers.LayerNorm: _alike(kl.LayerNormalization),
    layers.UnitNormalization: _alike(kl.UnitNormalization),
    layers.Normalization: _normalization,
    layers.Rescaling: _rescaling,
    layers.SelectColumns: _select,
}


def _compile_config(model: Model) -> dict[str, Any] | None:
    """How the model is compiled, in Keras's words, as far as Keras has them; None where it has not."""
    kind = type(model.optimizer).__name__
    if kind not in optimizers.__all__ or model.optimizer.full_batch or not _plain(losses, model.loss, _LOSSES):
        return None
    try:
        optimizer = serialize_keras_object(optimizers.deserialize(model.optimizer.to_dict()))
    except (TypeError, ValueError):  # an option that Keras has not
        return None
    known = [one.name for one in model.metrics if _plain(metrics, one, _METRICS)]
    weight = model.loss_weights
    return {"optimizer": optimizer, "loss": _LOSSES[model.loss.name], "metrics": known,
            "loss_weights": None if weight == 1 else weight, "weighted_metrics": None}  # fmt: skip


def _plain(family: Any, given: Any, known: Collection[str]) -> bool:
    """Whether it is what its name stands for, without options, and Keras has that name."""
    try:
        return given.name in known and bool(family.get(given.name) == given)
    except (TypeError, ValueError):
        return False


def from_keras(model: Any, *, device: str = "cpu") -> Model:
    """Make a model of a live model of Keras: of its config and its weights.

    It is compiled as that one is, with an optimizer that begins anew. Layers and their options are those of
    `fastdense.keras` (docs/keras.md).

    Parameters
    ----------
    model : keras.Sequential or keras.Model
        Of Keras 3, or another object with ``to_json()`` and ``get_weights()``.
    device : {"cpu", "cuda", "reference"}

    Returns
    -------
    Model

    Raises
    ------
    ValueError, TypeError
        If it is no model, not built, or holds a layer that is not here (the message names it).

    Examples
    --------
    >>> import fastdense as fd
    >>> fd.from_keras(keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]))  # doctest: +SKIP
    """
    where = "from_keras"
    if not callable(getattr(model, "to_json", None)) or not callable(getattr(model, "get_weights", None)):
        raise TypeError(f"{where}: model is {shorten(model)}; a Sequential or a Model of Keras is needed")
    config = json.loads(model.to_json())
    try:
        check_config("model", config)
        made = _made(config, None)
        made.set_weights(model.get_weights())
    except (KeyError, IndexError, TypeError, ValueError) as error:
        problem = str(error).replace("load: 'model' cannot be loaded: ", "")
        raise ValueError(f"{where}: {problem}") from error
    if config.get("compile_config"):
        made.compile_from_config(config["compile_config"])
    core: Model = made.fastdense
    return core.to(device)


def _made(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None) -> Any:
    """The model of a config, not compiled."""
    plain = {key: value for key, value in config.items() if key in ("class_name", "config")}
    return deserialize_keras_object({**plain, "module": "keras"}, custom_objects)


def _set_by_layer(made: Any, weights: Sequence[Sequence[Array]]) -> None:
    """Set the weights of each layer, those that are trained first."""
    members = [one for one in made.layers if not isinstance(one, InputLayer)]
    if len(members) != len(weights):
        raise ValueError(f"{len(weights)} layers have weights, and the model has {len(members)} layers")
    made.build()
    for member, own in zip(members, weights, strict=True):
        variables = [*member.trainable_weights, *member.non_trainable_weights]
        if len(variables) != len(own):
            raise ValueError(f"{member.name!r} has {len(own)} arrays, and needs {len(variables)}")
        for variable, array in zip(variables, own, strict=True):
            variable.assign(array)
