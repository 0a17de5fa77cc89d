"""What all layers share: names, the shape of a row, weights that the model holds, and chains of layers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import layers as ours
from ..arguments import shorten, suggestion
from ..arrays import Array

if TYPE_CHECKING:
    from .chain import Chain

Shape = tuple[int, ...]

_names: dict[str, int] = {}  # how many layers of each class were made, for their names
_SHAPES = ("input_shape", "input_dim", "batch_input_shape", "batch_shape")
_OLD = {  # of Keras 1
    "output_dim": "units",
    "init": "kernel_initializer",
    "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer",
    "bias": "use_bias",
    "p": "rate",
}


def forget_names() -> None:
    """Number layers from the beginning again."""
    _names.clear()


def own_name(kind: str) -> str:
    """A name that no other layer or model of this process has: dense, dense_1, ..."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower()
    number = _names[plain] = _names.get(plain, -1) + 1
    return f"{plain}_{number}" if number else plain


class KerasTensor:
    """What a layer gives when it is called on `Input`: the layers that the data have gone through so far."""

    def __init__(self, source: InputLayer, layers: tuple[Layer, ...]) -> None:
        self.source, self.layers = source, layers

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape with None in place of the rows."""
        return (None, *through(self.layers, self.source.input_shape))

    def __repr__(self) -> str:
        return f"<KerasTensor of shape {self.shape}>"


def through(layers: Sequence[Layer], shape: Shape) -> Shape:
    """Shape of a row after these layers."""
    for layer in layers:
        shape = layer.output_shape_of(shape)
    return shape


class Layer:
    """Base of the layers.

    Attributes
    ----------
    name : str
    spec : fastdense.layers.Layer or None
        The layer that computes; None if it only shapes the data.
    owner : Chain or None
        The model that holds its weights, once there is one.
    """

    flat: ClassVar[bool] = True  # whether it needs rows of numbers rather than images

    def __init__(self, spec: ours.Layer | None, options: dict[str, Any]) -> None:
        kind = type(self).__name__
        for name in options:
            if name in _OLD:
                raise TypeError(f"{kind}: {name} is of an older Keras. Write {_OLD[name]}=....")
            if name not in (*_SHAPES, "name", "weights", "dtype", "trainable", "batch_size"):
                known = [n for n in _arguments(type(self)) if n != "options"]
                raise TypeError(
                    f"{kind}: unknown argument {name!r}.{suggestion(name, known)} "
                    f"It takes {', '.join([*known, 'input_shape', 'input_dim', 'weights', 'name'])}."
                )
        if options.get("dtype") not in (None, "float32"):
            raise TypeError(
                f"{kind}: dtype={options['dtype']!r}; a net has one dtype: keras.backend.set_floatx(...) before it."
            )
        self.name = str(options.get("name") or own_name(kind))
        self.spec, self.owner, self.chain = spec, None, None
        self.first_weights: Sequence[Any] | None = options.get("weights")
        self.input_shape_given = _given_shape(kind, options)
        self.trainable = options.get("trainable", True)

    owner: Chain | None
    chain: Chain | None  # the model it was put into, which makes the weights when they are asked for

    @property
    def trainable(self) -> bool:
        """True: layers cannot be frozen."""
        return True

    @trainable.setter
    def trainable(self, value: Any) -> None:
        if not value:
            raise ValueError(
                f"{self.name}: trainable=False is not offered. Compute what the frozen layers give once, with "
                "predict, and train a net on that."
            )

    def output_shape_of(self, shape: Shape) -> Shape:
        """Shape of a row after this layer, for a row of shape `shape`."""
        if self.spec is None or not self.flat:
            return shape
        if len(shape) != 1:
            raise ValueError(
                f"{self.name}: a row has shape {shape} here, and {type(self).__name__} takes rows of numbers. "
                f"Put keras.layers.Flatten() before it."
            )
        return (self.spec.output_width(shape[0]),)

    def made(self, shape: Shape) -> ours.Layer | None:
        """The layer that computes, for rows of this shape."""
        if self.spec is not None:
            self.spec.name = self.name
        return self.spec

    def __call__(self, x: Any) -> Any:
        """Put the layer behind others: `x` is what `Input` or a layer gave."""
        if not isinstance(x, KerasTensor):
            raise TypeError(
                f"{self.name}: called on {shorten(x)}. A layer is called on keras.Input(shape=...) or on what another "
                "layer gave; to compute with arrays use model.predict(x)."
            )
        self.output_shape_of(through(x.layers, x.source.input_shape))
        return KerasTensor(x.source, (*x.layers, self))

    # ---- weights, which are the model's ---------------------------------------------------------------------------

    def get_weights(self) -> list[Array]:
        """Copies of its tensors; empty before the model has built them."""
        self._ask_for_weights()
        return [] if self.owner is None else self.owner.weights_of(self)

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace its tensors; before the model can build them, they are what it begins with."""
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
        """What it gives, for a model that ends here: ``Model(model.input, model.layers[0].output)``."""
        chain = self.owner or self.chain
        if chain is None:
            raise ValueError(f"{self.name}: it is in no model yet. Put it into one first.")
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
                f"{kind}: {name}={options[name]!r}. The shape of one row is needed, in known numbers: e.g. "
                "input_shape=(784,) or (28, 28)."
            )
        return tuple(int(n) for n in shape)
    return None


class InputLayer(Layer):
    """Where a net begins; it says the shape of a row."""

    def __init__(self, input_shape: Any = None, batch_size: Any = None, **options: Any) -> None:
        if "shape" in options:
            input_shape = options.pop("shape")
        super().__init__(None, {**options, "input_shape": input_shape})
        if self.input_shape_given is None:
            raise ValueError("InputLayer: the shape of one row is needed: e.g. keras.Input(shape=(784,)).")
        self.input_shape: Shape = self.input_shape_given


def Input(shape: Any = None, batch_size: Any = None, dtype: Any = None, name: str | None = None) -> KerasTensor:
    """Where a net begins: ``Input(shape=(784,))``, to call layers on or to put first into a `Sequential`."""
    return KerasTensor(InputLayer(shape, name=name, dtype=dtype), ())
