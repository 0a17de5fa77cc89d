"""`Sequential` and `Model` with Keras's methods, around a `fastdense.Model` that is created when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from ..arguments import shorten
from . import tree
from .chain import flattened
from .cloning import clone_model
from .configs import functional_config, functional_ends, graph_config, sequential_config, sequential_layers
from .ends import Ends
from .files import load_model, model_from_json, save_model
from .graph import Join, check_used_once, inputs_of, leaves, replayed
from .inputs import inputs_like, is_several, one_array
from .layer import InputLayer, KerasTensor, Layer, Shape, output_shape
from .names import not_offered
from .network import Network
from .overrides import CALL, MODEL, check_overrides, overridden
from .serialization import custom_object_scope
from .tracing import traced, tracked

__all__ = ["Model", "Sequential", "clone_model", "load_model", "model_from_json", "save_model"]


class Sequential(Network):
    """A linear stack of layers: ``Sequential([Dense(10, input_shape=(4,)), ...])``, or `add` one by one.

    Parameters
    ----------
    layers : list of layers, optional
        May begin with ``keras.Input(shape=...)``; may contain models, whose layers are added.
    name : str, optional
    """

    def __init__(self, layers: Iterable[Any] | None = None, trainable: bool = True, name: str | None = None) -> None:
        check_overrides(self, (*CALL, *MODEL), "Use compile and fit; derive from keras.Model to write a call().")
        if isinstance(trainable, str):  # the second argument was the name
            trainable, name = True, trainable
        super().__init__([], None, name)
        for layer in layers if isinstance(layers, Iterable) else [] if layers is None else [layers]:
            self.add(layer)
        self._trainable = bool(trainable)

    def add(self, layer: Any) -> None:
        """Append a layer or a model; existing weights are kept."""
        if isinstance(layer, KerasTensor) and not layer.layers:
            layer = layer.source
        if isinstance(layer, InputLayer):
            if self.members or self._source is not None:
                raise ValueError(f"{self.name}: {layer.name} comes after other layers. An input must be the first.")
            self._source = layer
            return
        if isinstance(layer, type) and issubclass(layer, Layer):
            raise TypeError(f"{self.name}: add got the class {layer.__name__}. Pass {layer.__name__}(...).")
        if not isinstance(layer, (Layer, Network)):
            raise TypeError(f"{self.name}: add got {shorten(layer)}. A layer is needed: e.g. keras.layers.Dense(10).")
        if isinstance(layer, Network) and not self.members and self._source is None:
            self._source = layer._source
        self._trace_of(layer)
        if any(one in self.all_layers for one in layer.all_layers):
            raise ValueError(f"{self.name}: {layer.name} is in it already; a layer can be added once. Create another.")
        self._grow([*self.members, layer])

    def _trace_of(self, layer: Any) -> None:
        """Let a layer whose ``call()`` calls others do so for the shape of its input, as far as that is known."""
        first = (*self.all_layers, layer)[0]
        given = first.input_shape_given if self._source is None and isinstance(first, Layer) else None
        shape = given if self._source is None else self._source.input_shape
        if isinstance(layer, Layer) and layer._own is not None and shape is not None:
            layer(InputLayer(output_shape(self.all_layers, shape), name=f"{layer.name}_input").output)

    def pop(self, rebuild: bool = True) -> Any:
        """Remove and return the last layer."""
        if not self.members:
            raise ValueError(f"{self.name}: pop: there is no layer.")
        gone = self.members[-1]
        self._grow(self.members[:-1])
        for layer in gone.all_layers:
            layer.owner = layer.chain = None
        return gone

    def _grow(self, members: list[Any]) -> None:
        layers = flattened(members)
        if self._source is not None or (layers and layers[0].input_shape_given):
            output_shape(layers, self._source.input_shape if self._source else layers[0].input_shape_given or ())
        if self._built is not None:  # keep trained weights
            for layer in self.all_layers:
                if layer.owner is self:
                    layer.first_weights = layer.get_weights()
            for layer in self.all_layers:
                layer.owner = None if layer.owner is self else layer.owner
            self._built = None
        self.members, self.all_layers = members, layers
        self._hold()

    def get_config(self) -> dict[str, Any]:
        return sequential_config(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> Sequential:
        with custom_object_scope(custom_objects or {}):
            return cls(sequential_layers(config), name=config["name"])


class Model(Network):
    """A chain of layers from an input to an output: ``x = Input((4,)); Model(x, Dense(10)(x))``.

    A subclass may have a ``call()`` that calls layers and models on its argument; the net is what it does with a
    symbolic tensor, or with a list, a tuple or a dict of them where that is what the data are.

    Parameters
    ----------
    inputs : KerasTensor
        The result of `keras.Input`, or ``other.input``.
    outputs : KerasTensor
        The result of calling layers on it, or ``other.layers[i].output``.
    name : str, optional
    """

    keras_name, keras_module = "Functional", "keras.src.models.functional"
    branching: ClassVar[type[Model]]  # the class of models with branches, and what tells them: see functional.py
    has_branches: ClassVar[Callable[[Any, Any], bool]]

    several: ClassVar[Callable[[Any, Any], type[Model]]]  # tells the class of those with several outputs: outputs.py
    chain_of: ClassVar[Callable[[list[KerasTensor], list[KerasTensor]], tuple[tuple[Layer, ...], InputLayer]]]
    _given: list[InputLayer] = []  # the inputs, where there are several

    def __new__(cls, inputs: Any = None, outputs: Any = None, *args: Any, **kwargs: Any) -> Any:
        if cls is Model and isinstance(outputs, (list, tuple, dict)) and len(outputs) > 1:
            return object.__new__(Model.several(inputs, outputs))
        branching = cls is Model and Model.has_branches(inputs, outputs)
        return object.__new__(Model.branching if branching else cls)

    def __init__(
        self, inputs: Any = None, outputs: Any = None, name: str | None = None, trainable: bool = True
    ) -> None:
        check_overrides(self, MODEL, "Training is that of compile and fit; call() may call layers.")
        self._subclassed = bool(overridden(self, CALL))
        if self._subclassed and inputs is None and outputs is None:
            super().__init__([], None, name)
            return
        inputs, outputs = (v[0] if isinstance(v, list) and len(v) == 1 else v for v in (inputs, outputs))
        if not isinstance(inputs, KerasTensor) or not isinstance(outputs, KerasTensor):
            raise TypeError(
                f"Model: inputs={shorten(inputs)}, outputs={shorten(outputs)}. One keras.Input(...), or a list of "
                "them, and one output are needed."
            )
        if self._subclassed:
            raise TypeError(f"{type(self).__name__}: inputs and outputs are given, and a call(). Give one of both.")
        behind = outputs.layers[: len(inputs.layers)] == inputs.layers
        if inputs.source is not outputs.source or not behind or len(outputs.layers) == len(inputs.layers):
            raise ValueError("Model: outputs is not computed from inputs. Call layers on inputs: Dense(10)(inputs).")
        layers = outputs.layers[len(inputs.layers) :]
        members = outputs.members[len(inputs.members) :]
        if tuple(flattened(members)) != layers:
            members = layers
        source = inputs.source if not inputs.layers else InputLayer(inputs.shape[1:])
        super().__init__(members, source, name)
        self._trainable = bool(trainable)

    @property
    def layers(self) -> list[Any]:
        """The layers, the input included; of a subclass with a ``call()`` the layers that are its attributes."""
        return tracked(self) if self._subclassed else [self.source, *self.members]

    def _begin_at(self, shape: Shape) -> None:
        super()._begin_at(shape)
        if self._subclassed and not self.all_layers:
            try:
                self._begin_by(self.source.output, [self.source.output])
            except BaseException:
                self._source = None
                raise
            self._compile_now()

    def _begin_with(self, where: str, data: Any) -> Any:
        """Let ``call()`` make the net for a structure of arrays, or of symbolic tensors, unless it has done so."""
        if self.all_layers or not self._subclassed:
            return
        given = inputs_like(where, data)
        tensors = [one.output for one in given]
        self._begin_by(tree.pack_sequence_as(data, tensors), tensors)
        self._given = given
        self._compile_now()

    def _begin_by(self, x: Any, inputs: list[KerasTensor]) -> None:
        """Let ``call()`` make the net for symbolic tensors."""
        made = traced(self, x)
        ends = tree.flatten(made)
        if len(ends) == 1 and len(inputs) == 1:
            self._source, self.members, self.all_layers = inputs[0].source, list(made.members), list(made.layers)
        else:
            layers, source = Model.chain_of(inputs, ends)
            check_used_once(self.name, layers)
            self._source, self.members, self.all_layers = source, list(layers), list(layers)
        self._ends = Ends(made) if len(ends) > 1 else None
        self._hold()

    def _compile_now(self) -> None:
        """Read what `compile` was given before the outputs were known."""
        if self._compiled is not None and (self._compiled["loss"] is None or self._ends is not None):
            given, self._compiled = self._compiled, None  # in case of an error
            self._compiled = {**given, **self._compiled_as(**given["arguments"])}

    def _compiled_as(self, loss: Any, loss_weights: Any, metrics: Any, weighted_metrics: Any) -> dict[str, Any]:
        several = isinstance(loss, (list, tuple, dict)) or isinstance(loss_weights, (list, tuple, dict))
        if self._subclassed and not self.all_layers and several:  # known when call() has made the net
            return {"loss": None, "metrics": [], "loss_weights": None}
        return super()._compiled_as(loss, loss_weights, metrics, weighted_metrics)

    @property
    def inputs(self) -> list[KerasTensor]:
        """A list of its inputs."""
        return [one.output for one in self._given] or super().inputs

    def build(self, input_shape: Any = None) -> None:
        """Create the weights, for data of a shape such as ``(None, columns)``, or of a list or a dict of shapes."""
        nested = isinstance(input_shape, (list, tuple)) and any(isinstance(one, (list, tuple)) for one in input_shape)
        if self._subclassed and (nested or isinstance(input_shape, dict)):
            pairs = input_shape.items() if isinstance(input_shape, dict) else enumerate(input_shape)
            arrays = {key: np.empty((0, *tuple(shape)[1:])) for key, shape in pairs}
            self._begin_with("build", arrays if isinstance(input_shape, dict) else list(arrays.values()))
            input_shape = None
        super().build(input_shape)

    def _rows(self, where: str, x: Any) -> Any:
        if self._subclassed:
            if is_several(x):
                self._begin_with(where, x)
            if self._given:
                x = one_array(where, self.name, x, self._given, inputs_of(self.source))
        return super()._rows(where, x)

    def __call__(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Apply its layers to symbolic tensors (`keras.Input`), or compute its outputs for arrays."""
        parts = tree.flatten(x) if self._subclassed and tree.is_nested(x) else []
        if parts and all(isinstance(one, KerasTensor) for one in parts):
            self._begin_with(self.name, x)
            if len(parts) != len(self._given):
                raise ValueError(f"{self.name}: called on {len(parts)} tensors, and it has {len(self._given)} inputs.")
            if self._ends is not None:
                return self._ends.of(self.inputs, parts if len(parts) > 1 else parts[0])
            given = dict(zip(self._given, parts, strict=True))
            return replayed(self.all_layers, given) if len(given) > 1 else super().__call__(parts[0], training, mask)
        return super().__call__(x, training, mask)

    def _in_order(self) -> list[Layer]:
        if not self._subclassed:
            return super()._in_order()
        every = super()._in_order()
        return list(dict.fromkeys([*(layer for layer in leaves(flattened(tracked(self))) if layer in every), *every]))

    def get_config(self) -> dict[str, Any]:
        several = self._ends is not None or any(isinstance(one, Join) for one in self.all_layers)
        return graph_config(self) if several else functional_config(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> Model:
        with custom_object_scope(custom_objects or {}):
            return cls(*functional_ends(config), name=config["name"], trainable=config.get("trainable", True))


__getattr__ = not_offered("models", __all__)
