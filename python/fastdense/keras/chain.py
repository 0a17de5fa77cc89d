"""Chains of layers, and the `fastdense.Model` that holds their weights."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._model import Model as CoreModel
from ..arguments import suggestion
from ..arrays import Array
from ..callbacks import History
from . import backend, utils
from .layer import InputLayer, KerasTensor, Layer, Shape, output_shape, unique_name
from .table import table


class Chain:
    """A chain of layers and where their weights are.

    The weights are in a `fastdense.Model`, the attribute `fastdense`, which has further methods:
    ``model.fastdense.place(x)``. It is made when it is first needed, from the input shape of the first layer or the
    shape of the first data. Models that share layers share the weights: the longest chain holds them, and parts of it
    copy them from there.
    """

    def __init__(self, layers: Sequence[Layer], source: InputLayer | None, name: str | None) -> None:
        self.name = name or unique_name({"Model": "functional"}.get(type(self).__name__, type(self).__name__))
        self.layers: list[Layer] = list(layers)
        self._hold()
        self._source = source
        self._built: CoreModel | None = None
        self._compiled: dict[str, Any] | None = None
        self.history: History | None = None

    def _hold(self) -> None:
        for layer in self.layers:
            layer.chain = layer.chain or self

    # ---- the net itself --------------------------------------------------------------------------------------------

    @property
    def fastdense(self) -> CoreModel:
        """The inner `fastdense.Model`."""
        if self._built is None:
            self._build()
        assert self._built is not None
        holder = self._holder()
        if holder is not self:
            self._built.set_weights([array for layer in self.layers for array in holder.weights_of(layer)])
        return self._built

    def _holder(self) -> Chain:
        """The chain that holds the weights: itself, or a longer one that its layers are a part of."""
        owner = self.layers[-1].owner
        others = [] if owner is None else owner.layers
        if isinstance(owner, Chain) and any(
            others[i : i + len(self.layers)] == self.layers for i in range(len(others) - len(self.layers) + 1)
        ):
            return owner
        if self._built is None:
            return self
        raise ValueError(
            f"{self.name}: its layers belong to several models now, which do not form one chain. "
            "Create new layers and copy the weights with set_weights(other.get_weights())."
        )

    @property
    def built(self) -> bool:
        """Whether the weights exist."""
        return self._built is not None

    @property
    def shape_known(self) -> bool:
        """Whether the shape of the data is known."""
        return self._source is not None or bool(self.layers and self.layers[0].input_shape_given)

    def build(self, input_shape: Any = None) -> None:
        """Create the weights, for data of shape ``(None, columns)`` unless the shape is known already."""
        if input_shape is not None:
            self._begin_at(tuple(int(n) for n in tuple(input_shape)[1:]))
        self._build()

    @property
    def source(self) -> InputLayer:
        """The input layer."""
        if self._source is None:
            given = self.layers[0].input_shape_given if self.layers else None
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
    def output_shape(self) -> tuple[int | None, ...]:
        """Shape of the outputs, with None for the number of rows."""
        return (None, *output_shape(self.layers, self.source.input_shape))

    @property
    def input(self) -> KerasTensor:
        """Its input, for a model of some of its layers: ``Model(model.input, model.layers[0].output)``."""
        return KerasTensor(self.source, ())

    @property
    def output(self) -> KerasTensor:
        """Its output, for a model with further layers."""
        return KerasTensor(self.source, tuple(self.layers))

    inputs, outputs = input, output

    def _compile(self) -> None:
        """Compile the inner model."""

    def _own(self, where: str) -> CoreModel:
        """The inner model, if it may be changed."""
        model = self.fastdense
        holder = self._holder()
        if holder is not self:
            raise ValueError(
                f"{where}: the layers of {self.name} are trained as a part of {holder.name}. "
                f"Train {holder.name}; {self.name} shares its weights."
            )
        return model

    def _begin_at(self, shape: Shape) -> None:
        if not self.shape_known:
            self._source = InputLayer(shape or (1,))

    def _build(self) -> None:
        """Create the weights; those that layers have already, from another model or from before, are kept."""
        shape, specs, first = self.source.input_shape, [], []
        width = math.prod(shape)
        for layer in self.layers:
            spec = layer.made(shape)
            shape = layer.output_shape_of(shape)
            if spec is not None:
                specs.append(spec)
                first.append(layer.first_weights if layer.owner is None else layer.get_weights())
        if not specs:
            raise ValueError(f"{self.name}: it has no layer with computations. Add one, e.g. keras.layers.Dense(10).")
        seed = utils.next_seed() if self._built is None else self._built.seed
        made = CoreModel(specs, inputs=width, seed=seed, dtype=backend.floatx(), name=self.name)
        old = [layer.owner for layer in self.layers]
        if self._holder() is self:
            for layer in self.layers:
                layer.owner = self
        self._built = made
        try:
            tensors = made.get_weights()
            for own, values in zip(made.net.slices, first, strict=True):
                if values is not None:
                    _check_count(self.name, values, own.stop - own.start)
                    tensors[own] = [np.asarray(value) for value in values]
            if any(values is not None for values in first):
                made.set_weights(tensors)
            if self._compiled is not None:
                self._compile()
        except BaseException:
            self._built = None
            for layer, owner in zip(self.layers, old, strict=True):
                layer.owner = owner
            raise

    def _slices(self, model: CoreModel) -> dict[int, slice]:
        """Which tensors of the model belong to each layer, by the layer's index."""
        computing = [i for i, layer in enumerate(self.layers) if layer.spec is not None]
        return dict(zip(computing, model.net.slices, strict=True))

    def weights_of(self, layer: Layer) -> list[Array]:
        """Copies of the tensors of one of its layers."""
        model = self.fastdense
        return model.get_weights()[self._slices(model).get(self.layers.index(layer), slice(0, 0))]

    def set_weights_of(self, layer: Layer, weights: Sequence[Any]) -> None:
        """Replace the tensors of one of its layers."""
        model = self.fastdense
        own = self._slices(model).get(self.layers.index(layer), slice(0, 0))
        _check_count(layer.name, weights, own.stop - own.start)
        tensors: list[Any] = model.get_weights()
        tensors[own] = list(weights)
        model.set_weights(tensors)

    # ---- weights, files, layers ------------------------------------------------------------------------------------

    def get_weights(self) -> list[Array]:
        """Copies of all tensors; kernels are (inputs, outputs)."""
        return self.fastdense.get_weights()

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace all tensors."""
        self._own("set_weights").set_weights(weights)

    @property
    def weights(self) -> list[Array]:
        """As `get_weights`."""
        return self.get_weights()

    trainable_weights = weights

    def count_params(self) -> int:
        """Number of parameters."""
        return self.fastdense.count_params()

    def summary(self, line_length: int = 65, *, print_fn: Callable[[str], object] = print, **ignored: Any) -> None:
        """Print the layers with their output shapes and numbers of parameters."""
        print_fn(table(self.name, self.layers, self.source.input_shape, self.fastdense, line_length))

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer with this name or index."""
        if index is not None:
            return self.layers[index]
        names = [layer.name for layer in self.layers]
        if name not in names:
            raise ValueError(f"get_layer: no layer is named {name!r}.{suggestion(str(name), names)} It has {names}.")
        return self.layers[names.index(name)]

    def save(self, filepath: str | os.PathLike[str], overwrite: bool = True, include_optimizer: bool = True) -> None:
        """Write layers, weights and optimizer to a fastdense file (safetensors), whatever its suffix."""
        self.fastdense.save(filepath, include_optimizer=include_optimizer)

    def save_weights(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write the weights only, in the same format."""
        self.fastdense.save(filepath, include_optimizer=False)

    def load_weights(self, filepath: str | os.PathLike[str]) -> None:
        """Read the weights from a file written by `save` or `save_weights`."""
        self._own("load_weights").load_weights(filepath)


def _check_count(where: str, weights: Sequence[Any], count: int) -> None:
    if len(weights) != count:
        raise ValueError(f"{where}: {len(weights)} arrays of weights were given, and it has {count}.")
