"""Chains of layers, and the `fastdense.Model` that holds their weights."""

from __future__ import annotations

import json
import math
import os
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from .._model import Model as CoreModel
from ..arguments import file_path, flag, suggestion
from ..arrays import Array
from ..callbacks import History
from ..layers import TensorSpec
from ..lazy import converter
from ..model.base import BaseModel
from . import settings
from .compiling import compile_config
from .graph import Join, Place, Step, held_tensors, leaves
from .layer import InputLayer, KerasTensor, Layer, Shape, output_shape
from .serialization import serialize_keras_object
from .settings import unique_name
from .table import summary
from .tracing import held_layers
from .variables import Trainable, Weight

C = TypeVar("C", bound="Chain")
_NAMES = {"Model": "functional", "MultiOutput": "functional", "Outputs": "functional"}  # of models without a name


class Chain(Trainable):
    """A chain of layers and where their weights are.

    The weights are in a `fastdense.Model`, the attribute `fastdense`, which has further methods:
    ``model.fastdense.place(x)``. It is made when it is first needed, from the input shape of the first layer or the
    shape of the first data. Models that share layers share the weights: the one that was trained last holds them, and
    the others copy them from there.

    Attributes
    ----------
    members : list of Layer or Chain
        What the user put together; a model in it is one member.
    all_layers : list of Layer
        All layers, those of such models, too.
    """

    keras_name = "Sequential"
    _trainable = True
    _ends: Any = None  # the `Ends` of a model with several outputs

    def __init__(self, members: Sequence[Layer | Chain], source: InputLayer | None, name: str | None) -> None:
        self.name = name or unique_name(_NAMES.get(type(self).__name__, type(self).__name__))
        self.members: list[Layer | Chain] = list(members)
        self.all_layers: list[Layer] = flattened(self.members)
        self._hold()
        self._source = source
        self._built: CoreModel | None = None
        self._compiled: dict[str, Any] | None = None
        self.history: History | None = None

    def _hold(self) -> None:
        for layer in self.all_layers:
            layer.chain = layer.chain or self

    @property
    def root(self) -> Chain:
        """Itself, for layers that ask what model holds them."""
        return self

    @property
    def layers(self) -> list[Any]:
        """The layers; a model in it is one of them."""
        return list(self.members)

    # ---- the net itself --------------------------------------------------------------------------------------------

    @property
    def fastdense(self) -> CoreModel:
        """The inner `fastdense.Model`."""
        if self._built is None:
            self._build()
        assert self._built is not None
        if self._held_elsewhere():
            self._built.set_weights(held_tensors(self.all_layers))
        return self._built

    def _held_elsewhere(self) -> bool:
        """Whether other models hold weights of its layers."""
        return any(layer.owner is not None and layer.owner.root is not self for layer in leaves(self.all_layers))

    @property
    def built(self) -> bool:
        """Whether the weights exist, or the shape of the data is known."""
        return self._built is not None or (self.shape_known and bool(self.all_layers))

    @property
    def shape_known(self) -> bool:
        """Whether the shape of the data is known."""
        if self._source is None and self.all_layers and not self.all_layers[0].input_shape_given:
            owner = self.all_layers[0].owner
            if owner is None or owner is self or not owner.shape_known:
                return False
            before = owner.all_layers[: owner.all_layers.index(self.all_layers[0])]
            self._source = InputLayer(output_shape(before, owner.source.input_shape))
        return self._source is not None or bool(self.all_layers)

    def build(self, input_shape: Any = None) -> None:
        """Create the weights, for data of shape ``(None, columns)`` unless the shape is known already."""
        if input_shape is not None:
            self._begin_at(tuple(int(n) for n in tuple(input_shape)[1:]))
        self._build()

    @property
    def source(self) -> InputLayer:
        """The input layer."""
        if not self.shape_known or self._source is None:
            given = self.all_layers[0].input_shape_given if self.all_layers else None
            if given is None:
                raise ValueError(
                    f"{self.name}: the shape of its input is not known yet. Pass input_shape=(columns,) to the first "
                    "layer, begin with keras.Input(shape=(columns,)), or train first."
                )
            self._source = InputLayer(given)
        return self._source

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Shape of the data, with None for the number of rows."""
        return (None, *self.source.input_shape)

    @property
    def output_shape(self) -> Any:
        """Shape of the outputs, with None for the number of rows."""
        if self._ends is not None:
            return [one.shape for one in self._ends.tensors]
        return (None, *output_shape(self.all_layers, self.source.input_shape))

    @property
    def shown_shape(self) -> tuple[int | None, ...]:
        """The same, for the table of a model that it is in."""
        return self.all_layers[-1].output.shape

    def optimizer_size(self) -> tuple[int, int] | None:
        """Numbers and bytes that the optimizer keeps, step and learning rate included; None before it has begun."""
        runner = None if self._built is None or self._compiled is None else self._built.runner
        if runner is None or not runner.step:
            return None
        trained = [own for spec, own in zip(runner.net.tensors, runner.net.trained(), strict=True) if spec.trainable]
        kept = [array for slot in runner.slots() for array, own in zip(slot, trained, strict=True) if own]
        return sum(array.size for array in kept) + 2, sum(array.nbytes for array in kept) + 8

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Shape of the outputs, for data of a shape with the number of rows, or None, in front."""
        rows, *shape = tuple(input_shape)
        return (rows, *output_shape(self.all_layers, tuple(shape)))

    @property
    def input(self) -> KerasTensor:
        """Its input, for a model of some of its layers: ``Model(model.input, model.layers[0].output)``."""
        return KerasTensor(self.source, ())

    @property
    def output(self) -> Any:
        """Its output, for a model with further layers; several as they were given, in a list, a tuple or a dict."""
        if self._ends is not None:
            return self._ends.as_given(self.outputs)
        return KerasTensor(self.source, tuple(self.all_layers), tuple(self.members))

    @property
    def inputs(self) -> list[KerasTensor]:
        """A list of its input."""
        return [self.input]

    @property
    def outputs(self) -> list[KerasTensor]:
        """A list of its outputs."""
        return [self.output] if self._ends is None else list(self._ends.tensors)

    def _compile(self) -> None:
        """Compile the inner model."""

    def _own(self) -> CoreModel:
        """The inner model, to be changed: it holds the weights of all layers from now on."""
        model = self.fastdense
        for layer in self.all_layers:
            layer.owner = self
        return model

    def _begin_at(self, shape: Shape) -> None:
        if not self.shape_known:
            self._source = InputLayer(shape or (1,))

    def _build(self) -> None:
        """Create the weights; those that layers have already, from another model or from before, are kept."""
        shape, specs, first = self.source.input_shape, [], []
        width = math.prod(shape)
        for layer in self.all_layers:
            spec = layer.made(shape)
            shape = layer.output_shape_of(shape)
            if spec is not None:
                specs.append(spec)
                first.append(layer.first_weights if layer.owner is None else layer.owner.tensors_of(layer)[1])
        if not specs:
            raise ValueError(f"{self.name}: it has no layer with computations. Add one, e.g. keras.layers.Dense(10).")
        seed = settings.next_seed() if self._built is None else self._built.seed
        made = CoreModel(specs, inputs=width, seed=seed, dtype=settings.model_dtype(), name=self.name)
        old = [layer.owner for layer in self.all_layers]
        computing = [layer for layer in self.all_layers if layer.spec is not None]
        if not self._held_elsewhere() or any(layer.owner is None for layer in leaves(self.all_layers)):
            for layer in self.all_layers:
                layer.owner = layer.chain = self
        self._built, made.outer = made, weakref.ref(self)
        try:
            tensors: list[Any] = list(made.get_weights())
            for layer, own, values in zip(computing, made.net.slices, first, strict=True):
                if values is None:
                    continue
                if layer.first_weights is not None and layer.first_weights is values:
                    layer.check_count(values, tensors[own])
                    values = layer.inner_tensors(values, tensors[own])
                tensors[own] = [np.asarray(value) for value in values]
            if any(values is not None for values in first):
                made.set_weights(tensors)
            if self._compiled is not None:
                self._compile()
        except BaseException:
            self._built = None
            for layer, owner in zip(self.all_layers, old, strict=True):
                layer.owner = owner
            raise

    def _describe(self) -> None:
        """Let the inner model keep in files what it is here."""
        assert self._built is not None
        config = serialize_keras_object(self.get_config())
        self._built.notes["keras"] = {"module": "keras", "class_name": self.keras_name, "config": config,
                                      "compile_config": self.get_compile_config()}  # fmt: skip

    def _slices(self, model: CoreModel) -> dict[int, slice]:
        """Which tensors of the model belong to each layer, by the layer's index."""
        computing = [i for i, layer in enumerate(self.all_layers) if layer.spec is not None]
        return dict(zip(computing, model.net.slices, strict=True))

    def _held(self) -> CoreModel:
        """The inner model, for layers of which it holds the weights, whatever model holds those of the others."""
        if self._built is None:
            self._build()
        assert self._built is not None
        return self._built

    def tensors_of(self, layer: Layer) -> tuple[list[TensorSpec], list[Array]]:
        """The tensors of one of its layers: what they are, and copies of them."""
        model = self._held()
        own = self._slices(model).get(self.all_layers.index(layer), slice(0, 0))
        return model.net.tensors[own], model.get_weights()[own]

    def tensor_before(self, layer: Layer) -> KerasTensor:
        """The symbolic tensor that one of its layers is called on."""
        return KerasTensor(self.source, tuple(self.all_layers[: self.all_layers.index(layer)]))

    def tensor_after(self, layer: Layer) -> KerasTensor:
        """The symbolic tensor that one of its layers gives."""
        return KerasTensor(self.source, tuple(self.all_layers[: self.all_layers.index(layer) + 1]))

    def set_tensors_of(self, layer: Layer, tensors: Sequence[Any]) -> None:
        """Replace the tensors of one of its layers."""
        model = self._held()
        every: list[Any] = model.get_weights()
        every[self._slices(model).get(self.all_layers.index(layer), slice(0, 0))] = list(tensors)
        model.set_weights(every)

    def path_to(self, layer: Layer) -> list[str]:
        """Names of the `Sequential` models that the layer is in, from outside, and its own."""
        own = [self.name] if self.keras_name == "Sequential" else []
        inner = next((one for one in self.members if isinstance(one, Chain) and layer in one.all_layers), None)
        return [*own, *(inner.path_to(layer) if inner is not None else [layer.name])]

    # ---- weights ---------------------------------------------------------------------------------------------------

    def _in_order(self) -> list[Layer]:
        """Its layers, with those of blocks, in the order of their weights."""
        every, found = list(dict.fromkeys(leaves(self.all_layers))), list[Layer]()
        for one in self.members:
            own_call = isinstance(one, Layer) and one._composed
            found += held_layers(one) if own_call else list(leaves(one.all_layers))
        return list(dict.fromkeys([*(layer for layer in found if layer in every), *every]))

    def _places(self, model: CoreModel) -> list[tuple[Layer, Place]]:
        """The tensors of each layer, with those of blocks, in the order of their weights."""
        slices, known = self._slices(model), {}
        for i, layer in enumerate(self.all_layers):
            own = Place(slices.get(i, slice(0, 0)))
            known.update(own.inside(layer) if isinstance(layer, Join) else {layer: own})
        return [(layer, known.get(layer, Place(slice(0, 0)))) for layer in self._in_order()]

    def get_weights(self) -> list[Array]:
        """Copies of all weights; kernels are (inputs, outputs). Empty before the shape of the data is known."""
        if not self.built:
            return []
        model = self.fastdense
        tensors = model.get_weights()
        return [array for layer, own in self._places(model) for array in layer.shown_weights(own.read(tensors))]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace all weights."""
        model = self._own()
        tensors: list[Any] = list(model.get_weights())
        left, places = list(weights), self._places(model)
        needed = [len(layer.shown_weights(own.read(tensors))) for layer, own in places]
        if len(left) != sum(needed):
            raise ValueError(
                f"{self.name}: set_weights got {len(left)} arrays, and it has {sum(needed)} weights. Give as many, "
                "as get_weights() does."
            )
        for (layer, own), count in zip(places, needed, strict=True):
            own.write(tensors, layer.inner_tensors(left[:count], own.read(tensors)))
            del left[:count]
        model.set_weights(tensors)

    @property
    def weights(self) -> list[Weight]:
        """All weights as variables; empty before the shape of the data is known."""
        if not self.built:
            return []
        self.fastdense  # noqa: B018  (makes them)
        return [weight for layer in self._in_order() for weight in layer.weights]

    def _trained_parts(self) -> Iterable[Any]:
        return self.layers

    def count_params(self) -> int:
        """Number of parameters."""
        if not self.built:
            raise ValueError(
                f"{self.name}: count_params: it is not built yet. Train it first, or call model.build(input_shape)."
            )
        return sum(array.size for array in self.get_weights())

    # ---- layers, config, files -------------------------------------------------------------------------------------

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[..., object] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Print the layers with their output shapes and numbers of parameters, as Keras does.

        Parameters
        ----------
        line_length : int, optional
            Columns of the table: at most 88, as many as the terminal has.
        positions : list of float, optional
            Where the columns end, as fractions of the length.
        print_fn : callable, optional
            Called with the table as one string.
        expand_nested : bool
            Whether to list the layers of models in it.
        show_trainable : bool
            Whether to say which layers are trained.
        layer_range : pair of str, optional
            Names, or patterns, of the first and the last layer to show.
        """
        text = summary(self, line_length, positions, expand_nested, show_trainable, layer_range)
        if print_fn is None:
            print(text, end="")
        else:
            print_fn(text)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """The layer with this name or index."""
        if index is not None:
            return self.layers[index]
        names = [layer.name for layer in self.layers]
        if name not in names:
            raise ValueError(f"get_layer: no layer is named {name!r}.{suggestion(str(name), names)} It has {names}.")
        return self.layers[names.index(name)]

    def get_config(self) -> dict[str, Any]:
        """What it is made of, as JSON types; `from_config` makes an equal model of it, with weights of its own."""
        raise NotImplementedError

    @classmethod
    def from_config(cls: type[C], config: Mapping[str, Any], custom_objects: Any = None) -> C:
        """The model that `get_config` described."""
        raise NotImplementedError

    def further_config(self) -> dict[str, Any]:
        """What Keras adds to its config in that of another model and in JSON."""
        built = {"build_config": {"input_shape": list(self.input_shape)}} if self.shape_known else {}
        return {**built, "compile_config": self.get_compile_config()}

    def get_compile_config(self) -> dict[str, Any]:
        """The arguments of `compile` as JSON types; empty before `compile`, and if some of your own have no config."""
        return {} if self._compiled is None else compile_config(self._compiled)

    def to_json(self, **options: Any) -> str:
        """What it is made of as a string; `keras.models.model_from_json` makes an equal model of it."""
        return json.dumps(serialize_keras_object(self), **options)

    def save(
        self,
        filepath: str | os.PathLike[str],
        overwrite: bool = True,
        include_optimizer: bool = True,
        zipped: bool | None = None,
    ) -> None:
        """Write layers, weights and optimizer: files of Keras where the suffix is ".keras" or ".h5", else of fastdense.

        The former are read by Keras, with an optimizer that begins anew, as far as it has the layers; a part of them
        is the model as it is here, with all that it is. They need h5py; without it the file is one of fastdense,
        whatever its suffix, with a warning. With ``overwrite=False`` a file that is there already is an error.
        """
        _check_overwrite("save", filepath, overwrite)
        model, path = self.fastdense, file_path("save: filepath", filepath)
        self._describe()
        if path.endswith((".keras", ".h5", ".hdf5")):
            try:
                converter("save_keras_model")(self, path, flag("save: include_optimizer", include_optimizer))
                return
            except ImportError:
                warnings.warn(f"save: {os.path.basename(path)!r} is a file of fastdense's own format, which Keras does "
                              "not read: h5py is not installed; run: pip install 'fastdense[keras-files]'",
                              stacklevel=2)  # fmt: skip
        BaseModel.save(model, path, include_optimizer=include_optimizer)

    def save_weights(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write the weights only, in the same format."""
        _check_overwrite("save_weights", filepath, overwrite)
        self.fastdense.save(filepath, include_optimizer=False)

    def load_weights(self, filepath: str | os.PathLike[str], skip_mismatch: bool = False) -> None:
        """Read the weights from a file written by `save` or `save_weights`.

        With `skip_mismatch`, each layer takes those of the file's layer that is as far from the front among those of
        its class, and keeps its own, with a warning, where there is none or it has other shapes.
        """
        self._own().load_weights(filepath, skip_mismatch=skip_mismatch)


def flattened(members: Iterable[Layer | Chain]) -> list[Layer]:
    """The layers of layers and models."""
    found: list[Layer] = []
    for one in members:
        for layer in one.all_layers:
            if not (isinstance(layer, Step) and found and layer is found[-1]):  # it came with the layer before it
                found.append(layer)
    return found


def _check_overwrite(where: str, path: str | os.PathLike[str], overwrite: bool) -> None:
    """Raise if there is a file already that must stay."""
    if not overwrite and os.path.exists(path):
        raise FileExistsError(
            f"{where}: {os.fspath(path)!r} exists already, and overwrite is False. Give another path, or "
            "overwrite=True."
        )
