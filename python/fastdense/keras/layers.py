"""Layers with Keras's arguments and defaults. Each holds one of `fastdense.layers`, or only reshapes the data.

All also accept ``input_shape=``, ``input_dim=`` and ``batch_input_shape=`` (for the first layer), ``name=``,
``weights=`` (initial weights, in the form of ``get_weights``) and ``dtype=``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import layers as core_layers
from ..arguments import shorten
from . import activations
from .layer import Input, InputLayer, KerasTensor, Layer, Shape, output_shape
from .names import not_offered

__all__ = [
    "ELU",
    "Activation",
    "Add",
    "BatchNormalization",
    "Dense",
    "Dropout",
    "Flatten",
    "Input",
    "InputLayer",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Normalization",
    "PReLU",
    "ReLU",
    "Rescaling",
    "Reshape",
    "Softmax",
    "add",
]


def _off(kind: str, **switched: tuple[Any, Any]) -> None:
    """Raise for options of Keras that are not offered, unless they have their defaults."""
    for name, (value, default) in switched.items():
        if value != default:
            raise ValueError(f"{kind}: {name}={shorten(value)} is not offered, only {default!r}. Leave it out.")


def activation_of(where: str, value: Any) -> str | core_layers.Activation | None:
    """The activation for `fastdense`, from a name, a function of `keras.activations` or a layer."""
    if value is None or isinstance(value, (str, core_layers.Activation)):
        return value
    if isinstance(value, activations.Function):
        return value.__name__
    if isinstance(value, Layer) and isinstance(value.spec, core_layers.Activation):
        return value.spec
    raise TypeError(
        f"{where}: activation={shorten(value)}. Custom functions are not offered: pass a name such as 'relu', "
        f"or one of keras.activations. The names are {', '.join(sorted(_functions()))}."
    )


def _functions() -> list[str]:
    return [*activations.FUNCTIONS, "swish"]


class Dense(Layer):
    """``activation(x @ kernel + bias)``; the kernel is initialized by `glorot_uniform` whatever the activation."""

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **options: Any,
    ) -> None:
        if kernel_constraint is not None or bias_constraint is not None:
            raise ValueError("Dense: constraints are not offered. Use kernel_regularizer to keep weights small.")
        spec = core_layers.Dense(
            units,
            activation_of("Dense", activation),
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            activity_regularizer,
        )
        super().__init__(spec, options)


class Activation(Layer):
    """Applies an activation function, given by name or as one of `keras.activations`."""

    def __init__(self, activation: Any, **options: Any) -> None:
        given = activation_of("Activation", activation)
        super().__init__(
            given if isinstance(given, core_layers.Activation) else core_layers.Activation(given or "linear"), options
        )


class ReLU(Layer):
    """``max(0, x)``, or with a slope below 0, or cut off at 6."""

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **options: Any
    ) -> None:
        _off("ReLU", threshold=(threshold, 0.0))
        if max_value is not None and (max_value != 6 or negative_slope):
            raise ValueError(
                f"ReLU: max_value={max_value:g} with negative_slope={negative_slope:g} is not offered; "
                "max_value may be 6 or None, without a slope if it is 6."
            )
        alpha = negative_slope or None
        super().__init__(
            core_layers.Activation("relu6" if max_value else "leaky_relu" if alpha else "relu", alpha), options
        )


class LeakyReLU(Layer):
    """``max(x, negative_slope * x)``; the slope is 0.3 unless given (and 0.2 for ``activation="leaky_relu"``)."""

    def __init__(self, negative_slope: float = 0.3, **options: Any) -> None:
        super().__init__(core_layers.Activation("leaky_relu", options.pop("alpha", negative_slope)), options)


class PReLU(Layer):
    """A leaky ReLU that learns the slope of each unit, from 0."""

    def __init__(self, alpha_initializer: Any = "zeros", alpha_regularizer: Any = None, **options: Any) -> None:
        _off("PReLU", alpha_initializer=(alpha_initializer, "zeros"), alpha_regularizer=(alpha_regularizer, None))
        super().__init__(core_layers.Activation("prelu"), options)


class ELU(Layer):
    """``x`` above 0, ``alpha * (exp(x) - 1)`` below."""

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(core_layers.Activation("elu", alpha), options)


class Softmax(Layer):
    """Softmax over the units; only as the last layer."""

    def __init__(self, axis: int = -1, **options: Any) -> None:
        _off("Softmax", axis=(axis, -1))
        super().__init__(core_layers.Activation("softmax"), options)


class Dropout(Layer):
    """Sets a random fraction `rate` of the units to 0 during training; the model's seed decides which."""

    def __init__(self, rate: float, noise_shape: Any = None, seed: Any = None, **options: Any) -> None:
        _off("Dropout", noise_shape=(noise_shape, None))
        super().__init__(core_layers.Dropout(rate), options)


class BatchNormalization(Layer):
    """Scales each unit to mean 0 and variance 1 over the batch, then by a learned gamma and beta."""

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        **options: Any,
    ) -> None:
        _off("BatchNormalization", axis=(1 if axis in (-1, 1) else axis, 1), center=(center, True), scale=(scale, True))
        super().__init__(core_layers.BatchNorm(momentum, epsilon), options)


class LayerNormalization(Layer):
    """Scales each row to mean 0 and variance 1 over its units, then by a learned gamma and beta."""

    def __init__(
        self, axis: int = -1, epsilon: float = 1e-3, center: bool = True, scale: bool = True, **options: Any
    ) -> None:
        _off("LayerNormalization", axis=(1 if axis in (-1, 1) else axis, 1), center=(center, True), scale=(scale, True))
        super().__init__(core_layers.LayerNorm(epsilon), options)


class Normalization(Layer):
    """Scales each column by a mean and variance: those given, those of `adapt`, or else those of the first ``fit``."""

    spec: core_layers.Normalization

    def __init__(self, axis: int = -1, mean: Any = None, variance: Any = None, **options: Any) -> None:
        _off("Normalization", axis=(1 if axis in (-1, 1) else axis, 1))
        super().__init__(core_layers.Normalization(), options)
        if (mean is None) != (variance is None):
            raise ValueError("Normalization: mean and variance belong together. Pass both, or neither.")
        self._given = None if mean is None else (np.asarray(mean), np.asarray(variance))

    def adapt(self, data: Any) -> None:
        """Compute mean and variance of each column of data of shape (rows, columns)."""
        self.spec.adapt(data)

    def made(self, shape: Shape) -> core_layers.Layer | None:
        if self._given is not None:
            self.spec.set_statistics(*(np.broadcast_to(value, shape) for value in self._given))
        return super().made(shape)


class Rescaling(Layer):
    """``scale * x + offset`` with fixed numbers, also of images before a `Flatten`: ``Rescaling(1 / 255)``."""

    flat = False

    def __init__(self, scale: Any, offset: Any = 0.0, **options: Any) -> None:
        super().__init__(core_layers.Rescaling(scale, offset), options)


class Flatten(Layer):
    """Flattens each image into a row, in memory order."""

    def __init__(self, data_format: Any = None, **options: Any) -> None:
        super().__init__(None, options)

    def output_shape_of(self, shape: Shape) -> Shape:
        return (math.prod(shape),)


class Reshape(Layer):
    """Reshapes each row; one dimension may be -1, to be inferred."""

    def __init__(self, target_shape: Sequence[int], **options: Any) -> None:
        super().__init__(None, options)
        self.target_shape = tuple(int(n) for n in target_shape)

    def output_shape_of(self, shape: Shape) -> Shape:
        size, known = math.prod(shape), math.prod(n for n in self.target_shape if n != -1)
        made = tuple(size // known if n == -1 else n for n in self.target_shape)
        if self.target_shape.count(-1) > 1 or math.prod(made) != size:
            raise ValueError(f"{self.name}: a row of shape {shape} cannot be reshaped to {self.target_shape}.")
        return made


class Add(Layer):
    """Adds the output of a branch to its input: ``Add()([x, Dense(64)(x)])``, a residual connection."""

    def __init__(self, **options: Any) -> None:
        super().__init__(None, options)

    def __call__(self, x: Any) -> KerasTensor:
        if isinstance(x, (list, tuple)) and len(x) == 2 and all(isinstance(one, KerasTensor) for one in x):
            short, long = sorted(x, key=lambda one: len(one.layers))
            branch = long.layers[len(short.layers) :]
            if short.source is long.source and branch and long.layers[: len(short.layers)] == short.layers:
                width = output_shape(short.layers, short.source.input_shape)
                inner, shape = [], width
                for layer in branch:
                    made = layer.made(shape)
                    inner += [] if made is None else [made]
                    shape = layer.output_shape_of(shape)
                self.spec = core_layers.Residual(inner)
                self.output_shape_of(width)
                return KerasTensor(short.source, (*short.layers, self))
        raise ValueError(
            f"{self.name}: only the input and the output of one branch can be added: Add()([x, layers(x)]). "
            "Other sums, and nets that are not a chain of layers, are not offered."
        )


def add(inputs: Sequence[KerasTensor], **options: Any) -> KerasTensor:
    """``Add()(inputs)``."""
    return Add(**options)(inputs)


_CLASSES: dict[type[core_layers.Layer], type[Layer]] = {
    core_layers.Dense: Dense,
    core_layers.Activation: Activation,
    core_layers.Dropout: Dropout,
    core_layers.BatchNorm: BatchNormalization,
    core_layers.LayerNorm: LayerNormalization,
    core_layers.Normalization: Normalization,
    core_layers.Rescaling: Rescaling,
    core_layers.Residual: Add,
}


def layer_of(spec: core_layers.Layer) -> Layer:
    """The layer around one of `fastdense.layers`, for models read from a file."""
    if isinstance(spec, core_layers.Preprocessing):
        raise ValueError(
            f"load_model: the model holds a {type(spec).__name__} layer, which has no counterpart here. Read the file "
            "with fastdense.load."
        )
    cls = _CLASSES[type(spec)]
    layer = object.__new__(cls)
    Layer.__init__(layer, spec, {"name": spec.name})
    if isinstance(layer, Normalization):
        layer._given = None
    return layer


_DENSE_ONLY = "fastdense trains dense nets only"
_HINTS = {
    "Conv|Pool|UpSampling|ZeroPadding|Cropping": f"{_DENSE_ONLY}, without convolutions: use Flatten() and Dense.",
    "LSTM|GRU|RNN|Attention|Embedding|TimeDistributed|Bidirectional|Masking|StringLookup|TextVector": f"{_DENSE_ONLY}"
    ", without sequences: give rows of one length to Dense.",
    "Concatenate|concatenate|Multiply|multiply|Subtract|subtract|Average|average|Dot|dot|Maximum|maximum": "A net is "
    "one chain of layers; the only join is Add()([x, layers(x)]).",
    "Lambda": "Apply the function to the data before fit, or use Activation with a name.",
    "GaussianNoise|GaussianDropout|AlphaDropout|SpatialDropout": "Dropout is the nearest alternative.",
    "ActivityRegularization": "Use Dense(activity_regularizer=...), which does the same.",
    "ThresholdedReLU": "ReLU is the nearest alternative.",
    "Random|Resizing|CenterCrop": "Transform the images before fit.",
    "CategoryEncoding|IntegerLookup|Hashing": "fastdense.OneHot does this in a fastdense.Model; or encode the columns "
    "with NumPy before fit.",
    "Discretization": "Encode the columns with NumPy before fit.",
    "^experimental$": "Rescaling and Normalization are in keras.layers itself.",
}
__getattr__ = not_offered("layers", __all__, _HINTS)
