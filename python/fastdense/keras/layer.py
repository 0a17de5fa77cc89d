"""Base of the layers: names, shapes, weights (held by the model), and calls on symbolic tensors."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from .. import layers as core_layers
from ..arguments import shorten, suggestion
from ..arrays import Array
from ..text import snake_case

Shape = tuple[int, ...]

_names: dict[str, int] = {}  # number of layers made of each class, for unique names
_SHAPES = ("input_shape", "input_dim", "batch_input_shape", "batch_shape")
_OLD = {  # arguments of Keras 1
    "output_dim": "units",
    "init": "kernel_initializer",
    "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer",
    "bias": "use_bias",
    "p": "rate",
}


def forget_names() -> None:
    """Restart the numbers in names."""
    _names.clear()


def unique_name(kind: str) -> str:
    """A name that is unique in this process: dense, dense_1, ..."""
    plain = snake_case(kind)
    number = _names[plain] = _names.get(plain, -1) + 1
    return f"{plain}_{number}" if number else plain


class KerasTensor:
    """Symbolic tensor, the result of calling a layer on `Input`: the layers applied so far."""

    def __init__(self, source: InputLayer, layers: tuple[Layer, ...]) -> None:
        self.source, self.layers = source, layers

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape, with None for the number of rows."""
        return (None, *output_shape(self.layers, self.source.input_shape))

    def __repr__(self) -> str:
        return f"<KerasTensor of shape {self.shape}>"


def output_shape(layers: Sequence[Layer], shape: Shape) -> Shape:
    """Shape of a row after these layers."""
    for layer in layers:
        shape = layer.output_shape_of(shape)
    return shape


class Owner(Protocol):
    """What a layer needs of the model that it is part of."""

    layers: list[Layer]

    @property
    def shape_known(self) -> bool: ...

    @property
    def source(self) -> InputLayer: ...

    def build(self) -> None: ...

    def weights_of(self, layer: Layer) -> list[Array]: ...

    def set_weights_of(self, layer: Layer, weights: Sequence[Any]) -> None: ...


class Layer:
    """Base of the layers.

    Attributes
    ----------
    name : str
    spec : fastdense.layers.Layer or None
        The inner layer; None if it only reshapes the data.
    owner : Chain or None
        The model that holds its weights, once there is one.
    """

    flat: ClassVar[bool] = True  # whether it needs flat rows rather than images

    def __init__(self, spec: core_layers.Layer | None, options: dict[str, Any]) -> None:
        kind = type(self).__name__
        for name in options:
            if name in _OLD:
                raise TypeError(f"{kind}: {name} belongs to an older version of Keras. Use {_OLD[name]}=....")
            if name not in (*_SHAPES, "name", "weights", "dtype", "trainable", "batch_size"):
                known = [n for n in _arguments(type(self)) if n != "options"]
                raise TypeError(
                    f"{kind}: unknown argument {name!r}.{suggestion(name, known)} "
                    f"It accepts {', '.join([*known, 'input_shape', 'input_dim', 'weights', 'name'])}."
                )
        if options.get("dtype") not in (None, "float32"):
            raise TypeError(
                f"{kind}: dtype={options['dtype']!r}; all layers share one dtype: use keras.backend.set_floatx(...)."
            )
        self.name = str(options.get("name") or unique_name(kind))
        self.spec, self.owner, self.chain = spec, None, None
        self.first_weights: Sequence[Any] | None = options.get("weights")
        self.input_shape_given = _given_shape(kind, options)
        self.trainable = options.get("trainable", True)

    owner: Owner | None
    chain: Owner | None  # the model it was added to, which makes the weights when they are needed

    @property
    def trainable(self) -> bool:
        """True: layers cannot be frozen."""
        return True

    @trainable.setter
    def trainable(self, value: Any) -> None:
        if not value:
            raise ValueError(
                f"{self.name}: trainable=False is not offered. Compute the outputs of the frozen layers once, with "
                "predict, and train a net on them."
            )

    def output_shape_of(self, shape: Shape) -> Shape:
        """Shape of a row after this layer, for a row of shape `shape`."""
        if self.spec is None or not self.flat:
            return shape
        if len(shape) != 1:
            raise ValueError(
                f"{self.name}: a row has shape {shape} here, and {type(self).__name__} needs flat rows. "
                f"Insert keras.layers.Flatten() before it."
            )
        return (self.spec.output_width(shape[0]),)

    def made(self, shape: Shape) -> core_layers.Layer | None:
        """The inner layer, for rows of this shape."""
        if self.spec is not None:
            self.spec.name = self.name
        return self.spec

    def __call__(self, x: Any) -> Any:
        """Apply the layer to a symbolic tensor, the result of `Input` or of another layer."""
        if not isinstance(x, KerasTensor):
            raise TypeError(
                f"{self.name}: called on {shorten(x)}. A layer is called on keras.Input(shape=...) or on the output of "
                "another layer; for arrays use model.predict(x)."
            )
        self.output_shape_of(output_shape(x.layers, x.source.input_shape))
        return KerasTensor(x.source, (*x.layers, self))

    # ---- weights, held by the model -------------------------------------------------------------------------------

    def get_weights(self) -> list[Array]:
        """Copies of its tensors; empty before the model has built them."""
        self._ask_for_weights()
        return [] if self.owner is None else self.owner.weights_of(self)

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace its tensors; before the model is built, set its initial weights."""
        self._ask_for_weights()
        if self.owner is None:
            self.first_weights = list(weights)
        else:
            self.owner.set_weights_of(self, weights)

    def _ask_for_weights(self) -> None:
        if self.owner is None and self.chain is not None and self.chain.shape_known:
            self.chain.build()

    @property
    def weights(self) -> list[Array]:
        """As `get_weights`."""
        return self.get_weights()

    @property
    def output(self) -> KerasTensor:
        """Its output, for a model that ends here: ``Model(model.input, model.layers[0].output)``."""
        chain = self.owner or self.chain
        if chain is None:
            raise ValueError(f"{self.name}: it does not belong to a model yet. Add it to one first.")
        return KerasTensor(chain.source, tuple(chain.layers[: chain.layers.index(self) + 1]))

    def count_params(self) -> int:
        """Number of its parameters, 0 before the model has built them."""
        return sum(array.size for array in self.get_weights())

    def __getattr__(self, name: str) -> Any:
        spec = self.__dict__.get("spec")
        if spec is not None and not name.startswith("_") and hasattr(spec, name):
            return getattr(spec, name)
        known = [n for n in dir(type(self)) if not n.startswith("_")]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.{suggestion(name, known)}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


def _arguments(cls: type[Layer]) -> list[str]:
    """The arguments of a layer."""
    return list(inspect.signature(cls.__init__).parameters)[1:]


def _given_shape(kind: str, options: dict[str, Any]) -> Shape | None:
    for name in _SHAPES:
        value = options.get(name)
        if value is None:
            continue
        if name == "input_dim":
            value = (value,)
        shape = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        shape = shape[1:] if name.startswith("batch") else shape
        if not shape or not all(isinstance(n, (int, np.integer)) and n > 0 for n in shape):
            raise ValueError(
                f"{kind}: {name}={options[name]!r}. The shape of one row is needed, without None: e.g. "
                "input_shape=(784,) or (28, 28)."
            )
        return tuple(int(n) for n in shape)
    return None


class InputLayer(Layer):
    """The input of a net, with the shape of a row."""

    def __init__(self, input_shape: Any = None, batch_size: Any = None, **options: Any) -> None:
        if "shape" in options:
            input_shape = options.pop("shape")
        super().__init__(None, {**options, "input_shape": input_shape})
        if self.input_shape_given is None:
            raise ValueError("InputLayer: the shape of one row is needed: e.g. keras.Input(shape=(784,)).")
        self.input_shape: Shape = self.input_shape_given


def Input(shape: Any = None, batch_size: Any = None, dtype: Any = None, name: str | None = None) -> KerasTensor:
    """The input of a net: ``Input(shape=(784,))``, to call layers on or as the first item of a `Sequential`."""
    return KerasTensor(InputLayer(shape, name=name, dtype=dtype), ())
